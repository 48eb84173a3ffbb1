//! What stores are asked beside requests: whether they serve, how slow they are, and up to which timestamp their reads
//! are whole.

use bytes::Bytes;
use prost::Message;

use crate::machine::{Completion, Fault, Feedback, TransportClass};
use crate::types::{Liveness, StoreId, Timestamp};
use tikv_proto::kvrpcpb as pb;
use tikv_proto::methods::tikv::{GET_HEALTH_FEEDBACK, GET_STORE_SAFE_TS};

/// What a store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Whether it serves. gRPC: `grpc/health/v1/health.proto`.
    Liveness,
    /// How slow it is.
    Health,
    /// Its safe timestamp.
    SafeTs,
}

impl Probe {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Liveness => "/grpc.health.v1.Health/Check",
            Self::Health => GET_HEALTH_FEEDBACK,
            Self::SafeTs => GET_STORE_SAFE_TS,
        }
    }

    pub(super) fn body(self) -> Bytes {
        match self {
            // Of no service by name: of the whole server. Of all regions.
            Self::Liveness | Self::SafeTs => Bytes::new(),
            Self::Health => pb::GetHealthFeedbackRequest::default().encode_to_vec().into(),
        }
    }
}

/// Answer to a health check.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// How a server refuses what it does not know: UNIMPLEMENTED.
const NO_SUCH_SERVICE: TransportClass = TransportClass::Rejected(12);

/// What the answer to a probe says.
///
/// | answer | liveness |
/// |---|---|
/// | SERVING (1) | reachable |
/// | UNKNOWN (0), SERVICE_UNKNOWN (3) | unknown |
/// | no such service (gRPC status 12) | reachable: it answers, and its requests say the rest |
/// | any other status, any failure | unreachable |
///
/// client-go: `internal/locate/store_cache.go: invokeKVStatusAPI`, where a server without the service never comes back.
pub(super) fn liveness(completion: &Completion) -> Liveness {
    let body = match completion {
        Completion::Response(body) => body,
        Completion::Fault(Fault::Transport(fault)) if fault.class == NO_SUCH_SERVICE => {
            return Liveness::Reachable;
        }
        _ => return Liveness::Unreachable,
    };
    match Health::decode(body.clone()).map(|health| health.status) {
        Ok(1) => Liveness::Reachable,
        Ok(0 | 3) => Liveness::Unknown,
        Ok(_) | Err(_) => Liveness::Unreachable,
    }
}

/// What a store says of itself; `None` when it says nothing, or speaks of another store.
pub(super) fn health(store: StoreId, completion: &Completion) -> Option<Feedback> {
    let Completion::Response(body) = completion else { return None };
    let told = pb::GetHealthFeedbackResponse::decode(body.clone()).ok()?.health_feedback?;
    let slow_score = u32::try_from(told.slow_score).ok()?;
    (told.store_id == store.0).then_some(Feedback::Health { store, slow_score })
}

/// A store's safe timestamp; 0 and the highest say that it has none.
///
/// client-go: `tikv/kv.go: updateSafeTS`.
pub(super) fn safe_ts(completion: &Completion) -> Option<Timestamp> {
    let Completion::Response(body) = completion else { return None };
    let ts = pb::StoreSafeTsResponse::decode(body.clone()).ok()?.safe_ts;
    (ts != 0 && ts != u64::MAX).then_some(Timestamp(ts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::TransportFault;

    fn body(message: &impl Message) -> Completion {
        Completion::Response(message.encode_to_vec().into())
    }

    fn failed() -> Completion {
        Completion::Fault(Fault::Transport(TransportFault::new(TransportClass::TimedOut, "s:1")))
    }

    #[test]
    fn only_a_store_that_says_it_serves_is_reachable() {
        let table = [
            (0, Liveness::Unknown),
            (1, Liveness::Reachable),
            (2, Liveness::Unreachable),
            (3, Liveness::Unknown),
            (77, Liveness::Unreachable),
        ];
        for (status, expected) in table {
            assert_eq!(liveness(&body(&Health { status })), expected, "{status}");
        }
        assert_eq!(liveness(&failed()), Liveness::Unreachable);
        let unknown = TransportFault::new(TransportClass::Rejected(12), "s:1");
        let unknown = Completion::Fault(Fault::Transport(unknown));
        assert_eq!(liveness(&unknown), Liveness::Reachable, "a server without health checks answers");
        let garbage = Completion::Response(Bytes::from_static(b"\x08"));
        assert_eq!(liveness(&garbage), Liveness::Unreachable);
    }

    #[test]
    fn a_score_counts_for_the_store_that_told_it() {
        let told = |store_id, slow_score| {
            let feedback = pb::HealthFeedback { store_id, feedback_seq_no: 3, slow_score };
            body(&pb::GetHealthFeedbackResponse { health_feedback: Some(feedback), ..Default::default() })
        };
        let store = StoreId(4);
        assert_eq!(health(store, &told(4, 90)), Some(Feedback::Health { store, slow_score: 90 }));
        assert_eq!(health(store, &told(5, 90)), None);
        assert_eq!(health(store, &told(4, -1)), None);
        assert_eq!(health(store, &body(&pb::GetHealthFeedbackResponse::default())), None);
        assert_eq!(health(store, &failed()), None);
    }

    #[test]
    fn no_safe_timestamp_is_none() {
        let answer = |safe_ts| safe_ts_of(safe_ts);
        assert_eq!([0, 9, u64::MAX].map(answer), [None, Some(Timestamp(9)), None]);
        assert_eq!(safe_ts(&failed()), None);
    }

    fn safe_ts_of(ts: u64) -> Option<Timestamp> {
        safe_ts(&body(&pb::StoreSafeTsResponse { safe_ts: ts }))
    }
}
