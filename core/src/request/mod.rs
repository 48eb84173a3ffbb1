//! Requests: one command, encoded once for all its attempts.
//!
//! [`Command`] is a row of the table of commands: how each travels and what it answers. [`Request`] holds the encoded message
//! without its context; `context` encodes the context of one attempt, which is appended when the request is sent
//! (a protobuf message is the concatenation of its fields). [`response`] looks into a response without decoding it.

mod command;
mod context;
mod intercept;
mod marks;
pub mod options;
pub mod response;
pub mod source;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::{Bytes, BytesMut};
use prost::Message;
use tikv_proto::coprocessor;

use crate::machine::Attempt;
use crate::types::Timestamp;

pub(crate) use command::Visitor;
pub use command::{Level, Travel, Typed};
pub use context::{Profile, append_context};
pub(crate) use context::{append_client_context, context_len};
pub use intercept::{Answered, Flow, Interceptor, Outgoing};
pub use marks::{NoTraceparent, TraceFlags, TraceId};
pub use options::RequestOptions;
pub use source::RequestSource;
pub use table::Command;

/// A command's message, encoded without its context.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    command: Command,
    body: Bytes,
    profile: Profile,
}

impl Request {
    /// Encodes `message`, whose own context must be unset: attempts bring theirs.
    pub fn new<M: Typed>(message: &M, profile: Profile) -> Self {
        Self { command: M::COMMAND, body: message.encode_to_vec().into(), profile }
    }

    /// The request of a coprocessor stream: its message type is that of the unary command.
    #[must_use]
    pub fn coprocessor_stream(message: &coprocessor::Request, profile: Profile) -> Self {
        Self { command: Command::CoprocessorStream, body: message.encode_to_vec().into(), profile }
    }

    /// The start timestamp of its transaction, or the timestamp it reads at; 0 when it has none.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: GetStartTS`.
    #[must_use]
    pub fn start_ts(&self) -> Timestamp {
        Timestamp(response::number(self.command.start_ts_field(), &self.body))
    }

    /// The whole message of one attempt, as a unary call sends it; `client` is what all requests of the client have in their
    /// context.
    #[must_use]
    pub fn whole(&self, client: &Profile, attempt: &Attempt) -> Bytes {
        if self.command.context_field().is_none() {
            return self.body.clone();
        }
        let mut whole =
            BytesMut::with_capacity(self.body.len() + context_len(client, &self.profile, attempt));
        whole.extend_from_slice(&self.body);
        append_client_context(client, &self.profile, attempt, &mut whole);
        whole.freeze()
    }

    /// The same request with the fields of `profile` before its own in its context.
    pub(crate) fn under(&self, profile: &Profile) -> Self {
        Self { command: self.command, body: self.body.clone(), profile: profile.and(&self.profile) }
    }

    /// The command.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command
    }

    /// The encoded message without its context.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What all attempts of the request have in their context.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} bytes)", self.command, self.body.len())
    }
}
