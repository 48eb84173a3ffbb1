//! How a call fails as a whole: gRPC's status.

use std::fmt;

/// The status codes of gRPC that a cluster answers with; the numbers are gRPC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// The call was given up by its caller.
    Cancelled = 1,
    /// Any failure without a code of its own.
    Unknown = 2,
    /// The request makes no sense, whatever the state.
    InvalidArgument = 3,
    /// The deadline passed.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// A limit was passed.
    ResourceExhausted = 8,
    /// The state forbids the call.
    FailedPrecondition = 9,
    /// What was asked for lies outside what there is.
    OutOfRange = 11,
    /// The server does not have the method.
    Unimplemented = 12,
    /// The call broke a rule of the protocol.
    Internal = 13,
    /// The server cannot be reached or cannot serve now.
    Unavailable = 14,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
#[non_exhaustive]
pub struct Status {
    /// What kind of failure.
    pub code: Code,
    /// What clients match on, in places to the letter.
    pub message: String,
}

impl Status {
    /// A failure of kind `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A failure of no other kind, as Go's servers answer an error that is not a status.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(Code::Unknown, message)
    }

    /// The answer to a method that the server's service does not have.
    // grpc-go: server.go: handleStream
    #[must_use]
    pub fn unimplemented(path: &str) -> Self {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        Self::new(Code::Unimplemented, format!("unknown method {method} for service {service}"))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
