//! Requests: one command, encoded once for all its attempts.
//!
//! [`command`] is the table of commands: how each travels and what it answers. [`Request`] holds the encoded message
//! without its context; `context` encodes the context of one attempt, which is appended when the request is sent
//! (a protobuf message is the concatenation of its fields). [`response`] looks into a response without decoding it.

pub mod command;
mod context;
pub mod response;

use std::fmt;

use bytes::Bytes;

pub use command::{Command, Typed};
pub(crate) use context::context_len;
pub use context::{Profile, append_context};

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
