//! How servers say that they serve, and how stores say how they feel.

use bytes::Bytes;
use prost::Message;
use tikv_proto::kvrpcpb;

use super::status::{Code, Status};

/// How a store says it feels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    /// Counts what has been told.
    sequence: u64,
    /// From 1, healthy, to 100.
    slow_score: i32,
}

impl Default for Health {
    fn default() -> Self {
        Self { sequence: 0, slow_score: 1 }
    }
}

impl Health {
    /// What `store`, whose health this is, tells next.
    pub(super) fn feedback(&mut self, store: u64) -> kvrpcpb::HealthFeedback {
        self.sequence += 1;
        kvrpcpb::HealthFeedback {
            store_id: store,
            feedback_seq_no: self.sequence,
            slow_score: self.slow_score,
        }
    }

    pub(super) fn set_slow_score(&mut self, slow_score: i32) {
        self.slow_score = slow_score;
    }
}

/// The method of a health check, as rules name it.
pub const HEALTH_CHECK: &str = "Check";
/// The path of a health check.
pub const HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";

/// Every server serves, but knows no service by name.
// gRPC: grpc/health/v1/health.proto
pub(super) fn health_check(body: &Bytes) -> Result<Bytes, Status> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Request {
        #[prost(string, tag = "1")]
        service: String,
    }
    let request = Request::decode(body.clone())
        .map_err(|error| Status::new(Code::Internal, format!("no health check request: {error}")))?;
    if !request.service.is_empty() {
        return Err(Status::new(Code::NotFound, "unknown service"));
    }
    // Field 1, a number: SERVING.
    Ok(Bytes::from_static(&[0x08, 0x01]))
}
