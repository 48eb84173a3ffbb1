//! What servers say only in words: phrases that decide what a refusal means, each at one place.

/// The address belongs to another cluster, and will tomorrow.
///
/// client-go: `error/error.go: MismatchClusterID`.
pub(crate) const WRONG_CLUSTER: &str = "mismatch cluster id";

/// A read's timestamp lies too far ahead of PD. TiKV: `components/concurrency_manager/src/lib.rs: InvalidMaxTsUpdate`.
pub(crate) const INVALID_MAX_TS: &str = "invalid max_ts update";

/// The time of a request was over before the store had done it: in the reason of `ServerIsBusy`.
///
/// client-go: `internal/locate/region_request.go: onRegionError`.
pub(crate) const BUSY_DEADLINE: &str = "deadline is exceeded";

/// The same, in the message of an error that is nothing else.
///
/// client-go: `internal/locate/region_request.go: isDeadlineExceeded`.
pub(crate) const DEADLINE: &str = "Deadline is exceeded";

/// All of these: what is left of a server's words where they are hidden, so that they still mean the same.
pub(crate) const ALL: [&str; 4] = [WRONG_CLUSTER, INVALID_MAX_TS, BUSY_DEADLINE, DEADLINE];
