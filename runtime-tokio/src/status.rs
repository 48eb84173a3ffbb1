//! Our errors as gRPC statuses, for services that are themselves served by tonic.

use tikv_client_core::error::{Error, ErrorKind};
use tonic::{Code, Status};

/// What a service that is called over gRPC answers when a call of ours failed: the code says to its callers what
/// [`Error::kind`] says to us, the message is the error's text, and the error is the status's source.
///
/// | kind | code |
/// |---|---|
/// | `Retry`, `Unavailable` | `UNAVAILABLE`: the caller may do the same again |
/// | `Conflict` | `ABORTED`: the caller may run its transaction again |
/// | `Undetermined` | `UNKNOWN`: the caller must find out before it does anything again |
/// | `Timeout` | `DEADLINE_EXCEEDED` |
/// | `Cancelled` | `CANCELLED` |
/// | `Invalid` | `INVALID_ARGUMENT`; where a store refused what no caller can mend, `INTERNAL` |
/// | `Corrupt` | `DATA_LOSS` |
///
/// Of `UNAVAILABLE` mind that a raw write whose answer was lost may have happened: do not let a proxy repeat what must not happen twice.
///
/// Keys stand in texts unless [`Config::redact_keys`](tikv_client_core::config::Config::redact_keys) is set.
///
/// ```
/// use tikv_client_tokio::client::Client;
/// use tikv_client_tokio::grpc_status;
///
/// async fn handler(client: &Client) -> Result<(), tonic::Status> {
///     client.raw().put("k", "v").await.map_err(grpc_status)
/// }
/// ```
///
/// gRPC: `doc/statuscodes.md`.
#[must_use]
pub fn grpc_status(error: Error) -> Status {
    let code = match error.kind() {
        // The words are a store's, not about the caller's arguments.
        ErrorKind::Invalid if matches!(error, Error::Server { .. } | Error::Region { .. }) => Code::Internal,
        ErrorKind::Retry | ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Corrupt => Code::DataLoss,
        // A kind that is newer than this function is no promise that nothing happened.
        ErrorKind::Undetermined | _ => Code::Unknown,
    };
    let mut status = Status::new(code, error.to_string());
    status.set_source(std::sync::Arc::new(error));
    status
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use tikv_client_core::error::{InputError, TxnError};
    use tikv_client_core::machine::Interrupt;
    use tikv_client_core::types::Timestamp;

    use super::*;

    fn interrupted(why: Interrupt) -> Error {
        Error::Interrupted { operation: "get", why, last: None }
    }

    #[test]
    fn the_code_says_what_the_kind_says() {
        let unknown = TxnError::Undetermined {
            start_ts: Timestamp(7),
            cause: Box::new(interrupted(Interrupt::Deadline)),
        };
        for (error, code) in [
            (interrupted(Interrupt::Deadline), Code::DeadlineExceeded),
            (interrupted(Interrupt::Killed), Code::Cancelled),
            (InputError::EmptyKey { operation: "get" }.into(), Code::InvalidArgument),
            (unknown.into(), Code::Unknown),
            (Error::Corrupt { operation: "get", detail: "x".into() }, Code::DataLoss),
        ] {
            let text = error.to_string();
            let status = grpc_status(error);
            assert_eq!((status.code(), status.message()), (code, text.as_str()));
            assert_eq!(status.source().map(ToString::to_string), Some(text));
        }
    }
}
