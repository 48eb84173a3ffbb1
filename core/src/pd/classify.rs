//! What a failure of PD means: one place for its codes and texts.
//!
//! | what came | means |
//! |---|---|
//! | nothing sent, connection broke, no answer in time | look for the leader, ask it |
//! | gRPC Unavailable, DeadlineExceeded | the same |
//! | a text of a member that does not lead | the same |
//! | another cluster's id in the header, `mismatch cluster id` | the same; never adopted |
//! | NOT_BOOTSTRAPPED | ask again, until the deadline |
//! | any other error, an answer that cannot be understood | ask again, a few times |
//!
//! pd: `client/errs/errs.go: IsLeaderChange`, `IsNetworkError`; `server/grpc_service.go`.

use std::sync::Arc;

use crate::error::ServiceError;
use crate::machine::{Address, Fault, TransportClass, TransportFault};
use crate::types::ClusterId;
use tikv_proto::pdpb;

/// What is to be done after a failure; the error says what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Who was asked does not lead, or cannot be reached: find out who leads.
    Elsewhere(ServiceError),
    /// The cluster is not there yet: ask again after a pause.
    NotYet(ServiceError),
    /// It says no: asking again a few times is enough.
    Refused(ServiceError),
    /// It does not have the method.
    Unimplemented(ServiceError),
}

impl Failure {
    pub(crate) fn into_error(self) -> ServiceError {
        let (Self::Elsewhere(error)
        | Self::NotYet(error)
        | Self::Refused(error)
        | Self::Unimplemented(error)) = self;
        error
    }
}

/// What members that do not lead say, in a status or a header.
const DOES_NOT_LEAD: [&str; 4] = ["no leader", "not leader", "is not served", "not primary"];

/// gRPC status codes.
const DEADLINE_EXCEEDED: u8 = 4;
const UNIMPLEMENTED: u8 = 12;
const UNAVAILABLE: u8 = 14;

fn does_not_lead(text: &str) -> bool {
    DOES_NOT_LEAD.iter().any(|words| text.contains(words))
}

/// A call to PD at `from` that brought no answer. `wanted` is the cluster that its header named.
pub(crate) fn of_transport(from: &Address, fault: &TransportFault, wanted: Option<ClusterId>) -> Failure {
    let unreachable =
        || ServiceError::PdUnreachable { addresses: Arc::clone(from), last: fault.to_string().into() };
    let said = || pd(from, &fault.detail);
    let TransportClass::Rejected(code) = fault.class else { return Failure::Elsewhere(unreachable()) };
    if let Some((wanted, found)) = wanted.zip(other_cluster(&fault.detail)) {
        let address = Arc::clone(from);
        return Failure::Elsewhere(ServiceError::ClusterMismatch { address, wanted, found });
    }
    match code {
        _ if does_not_lead(&fault.detail) => Failure::Elsewhere(said()),
        UNAVAILABLE | DEADLINE_EXCEEDED => Failure::Elsewhere(unreachable()),
        UNIMPLEMENTED => Failure::Unimplemented(said()),
        _ => Failure::Refused(said()),
    }
}

/// What completed a call to PD at `from` in place of an answer.
pub(crate) fn of_fault(from: &Address, fault: &Fault, wanted: Option<ClusterId>) -> Failure {
    match fault {
        Fault::Transport(fault) => of_transport(from, fault, wanted),
        Fault::Refused(error) => Failure::Elsewhere(error.clone()),
        Fault::Interrupted(_) | Fault::Late(_) | Fault::Overloaded => {
            Failure::Refused(pd(from, &fault.to_string()))
        }
    }
}

/// An error in the header of an answer of PD at `from`.
pub(crate) fn of_header(from: &Address, error: &pdpb::Error) -> Failure {
    let code = pdpb::ErrorType::try_from(error.r#type);
    let name = code.map_or("an error of a newer PD", |code| code.as_str_name());
    let said = pd(from, &format!("{name}: {}", error.message));
    if does_not_lead(&error.message) {
        return Failure::Elsewhere(said);
    }
    match error.r#type() {
        pdpb::ErrorType::NotBootstrapped => Failure::NotYet(said),
        pdpb::ErrorType::Ok
        | pdpb::ErrorType::Unknown
        | pdpb::ErrorType::StoreTombstone
        | pdpb::ErrorType::AlreadyBootstrapped
        | pdpb::ErrorType::IncompatibleVersion
        | pdpb::ErrorType::RegionNotFound
        | pdpb::ErrorType::GlobalConfigNotFound
        | pdpb::ErrorType::DuplicatedEntry
        | pdpb::ErrorType::EntryNotFound
        | pdpb::ErrorType::InvalidValue
        | pdpb::ErrorType::DataCompacted
        | pdpb::ErrorType::RegionsNotContainAllKeyRange => Failure::Refused(said),
    }
}

fn pd(from: &Address, message: &str) -> ServiceError {
    ServiceError::Pd { address: Arc::clone(from), message: Arc::from(message) }
}

/// The cluster of a PD that was asked with another cluster's id.
///
/// pd: `server/grpc_service.go: validateRequest` (`mismatch cluster id, need %d but got %d`).
fn other_cluster(text: &str) -> Option<ClusterId> {
    let (_, behind) = text.split_once("mismatch cluster id, need ")?;
    let (digits, _) = behind.split_once(' ')?;
    digits.parse().ok().map(ClusterId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(failure: &Failure) -> &'static str {
        match failure {
            Failure::Elsewhere(_) => "look for the leader",
            Failure::NotYet(_) => "until the deadline",
            Failure::Refused(_) => "a few times",
            Failure::Unimplemented(_) => "unimplemented",
        }
    }

    #[test]
    fn each_transport_failure_has_its_meaning() {
        let table = [
            (TransportClass::Unreachable, "refused"),
            (TransportClass::Lost, "reset"),
            (TransportClass::TimedOut, ""),
            (TransportClass::Rejected(14), "server not started"),
            (TransportClass::Rejected(4), "context deadline exceeded"),
            (TransportClass::Rejected(14), "not leader"),
            (TransportClass::Rejected(2), "[PD] no leader"),
            (TransportClass::Rejected(2), "requested pd is not served"),
            (TransportClass::Rejected(2), "not primary"),
            (TransportClass::Rejected(9), "mismatch cluster id, need 7 but got 8"),
            (TransportClass::Rejected(9), "mismatch cluster id, need x"),
            (TransportClass::Rejected(12), "unknown method"),
            (TransportClass::Rejected(2), "anything"),
            (TransportClass::Rejected(7), "denied"),
        ];
        let lines: Vec<String> = table
            .iter()
            .map(|&(class, text)| {
                let failure =
                    of_transport(&"pd:1".into(), &TransportFault::new(class, text), Some(ClusterId(8)));
                format!("{} <- {}", kind(&failure), failure.into_error())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn each_error_of_a_header_has_its_meaning() {
        let lines: Vec<String> = (-1..14)
            .map(|code| pdpb::Error { r#type: code, message: "why".into() })
            .chain([pdpb::Error { r#type: 1, message: "region 5 is not leader".into() }])
            .map(|error| {
                let failure = of_header(&"pd:1".into(), &error);
                format!("{} <- {}", kind(&failure), failure.into_error())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
