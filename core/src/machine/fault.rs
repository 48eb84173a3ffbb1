//! What can come back instead of an answer.

use std::fmt;
use std::sync::Arc;

/// Why an operation was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Interrupt {
    /// The operation's deadline passed.
    Deadline,
    /// The caller asked for it.
    Killed,
    /// The client was closed, or its runtime ended.
    Closed,
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "the deadline passed",
            Self::Killed => "the operation was killed",
            Self::Closed => "the client is closed",
        })
    }
}

/// What is known of a request that got no answer: the only thing that decides whether it may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TransportClass {
    /// Nothing was sent: the request did not happen.
    Unreachable,
    /// The connection broke behind the request: it may have happened.
    Lost,
    /// No answer in the time an attempt has: it may have happened.
    TimedOut,
    /// The server refused it with a gRPC status (the number is the status code): it may have happened. 0: a stream that is
    /// read on demand came to its end.
    Rejected(u8),
}

impl TransportClass {
    /// Whether the server may have executed the request.
    #[must_use]
    pub const fn may_have_happened(self) -> bool {
        !matches!(self, Self::Unreachable)
    }
}

/// A request that got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportFault {
    /// What is known of the request.
    pub class: TransportClass,
    /// The address and what the runtime said of it, for people.
    pub detail: Arc<str>,
}

impl TransportFault {
    /// A fault of `class` with its text.
    pub fn new(class: TransportClass, detail: impl Into<Arc<str>>) -> Self {
        Self { class, detail: detail.into() }
    }
}

impl fmt::Display for TransportFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.class {
            TransportClass::Unreachable => "unreachable",
            TransportClass::Lost => "connection lost behind the request",
            TransportClass::TimedOut => "no answer in time",
            TransportClass::Rejected(code) => {
                return write!(f, "refused with gRPC status {code}: {}", self.detail);
            }
        };
        write!(f, "{what}: {}", self.detail)
    }
}

impl std::error::Error for TransportFault {}

/// What completes a ticket when no answer does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The request got no answer.
    Transport(TransportFault),
    /// The operation was stopped.
    Interrupted(Interrupt),
    /// The operation's deadline passed while it waited for this: the same as [`Interrupt::Deadline`], with who did not answer.
    Late(TransportFault),
    /// A service of this client has too much waiting: nothing was sent.
    Overloaded,
    /// What the service was asked for cannot be had; the error says why.
    Refused(crate::error::ServiceError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(fault) => fault.fmt(f),
            Self::Interrupted(why) => why.fmt(f),
            Self::Late(fault) => write!(f, "{}: {fault}", Interrupt::Deadline),
            Self::Overloaded => f.write_str("too many requests wait within this client"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}
