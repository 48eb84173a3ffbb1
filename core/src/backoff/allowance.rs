//! How long each operation may sleep in all.

use std::time::Duration;

/// What a client's settings change in the table of waits.
///
/// client-go: `kv/variables.go: Variables`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "plain settings, built with `..Tuning::default()`")]
pub struct Tuning {
    /// What weighted allowances are multiplied with; 0 counts as 1.
    pub weight: u32,
    /// The first sleep of [`Kind::TxnLockFast`](super::Kind::TxnLockFast), in ms; below 2 counts as 2.
    pub lock_fast_ms: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { weight: 2, lock_fast_ms: 10 }
    }
}

/// How long an operation may sleep in all before it gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Allowance {
    /// Nothing: the first setback ends the operation. Its children inherit it, as they share the budget.
    ///
    /// client-go: `config/retry/backoff.go: NewNoopBackoff`.
    Nothing,
    /// So many ms, taken times [`Tuning::weight`].
    Weighted(u32),
    /// So many ms.
    Plain(u32),
    /// No bound: only the deadline or a kill ends it.
    Unlimited,
}

/// The longest allowance that a weight may lead to, in ms; client-go counts in 32 bits.
const WEIGHTED_MAX_MS: u32 = i32::MAX as u32;

impl Allowance {
    /// One get of a snapshot. client-go: `getMaxBackoff`.
    pub const GET: Self = Self::Weighted(20_000);
    /// One batch get of a snapshot. client-go: `batchGetMaxBackoff`.
    pub const BATCH_GET: Self = Self::Weighted(20_000);
    /// One step of a scan. client-go: `scannerNextMaxBackoff`.
    pub const SCAN_STEP: Self = Self::Weighted(20_000);
    /// Prewrite. client-go: `PrewriteMaxBackoff`.
    pub const PREWRITE: Self = Self::Weighted(40_000);
    /// Commit of the primary. client-go: `CommitMaxBackoff`.
    pub const COMMIT: Self = Self::Weighted(40_000);
    /// Commit of secondaries, cleanup in the background, pipelined commit. client-go: `CommitSecondaryMaxBackoff`.
    pub const COMMIT_SECONDARIES: Self = Self::Weighted(41_000);
    /// Cleanup and rollback. client-go: `cleanupMaxBackoff`.
    pub const CLEANUP: Self = Self::Weighted(20_000);
    /// Rollback of the regions of a pipelined transaction. client-go: `cleanupMaxBackoff`.
    pub const PIPELINED_ROLLBACK: Self = Self::Plain(20_000);
    /// Commit of the regions of a pipelined transaction. client-go: `CommitSecondaryMaxBackoff`.
    pub const PIPELINED_COMMIT: Self = Self::Plain(41_000);
    /// Flush of a pipelined transaction's buffer. client-go: `internal/unionstore/pipelined_memdb.go`.
    pub const PIPELINED_FLUSH: Self = Self::Weighted(20_000);
    /// Pessimistic lock. client-go: `pessimisticLockMaxBackoff`.
    pub const PESSIMISTIC_LOCK: Self = Self::Weighted(20_000);
    /// Pessimistic rollback. client-go: `pessimisticRollbackMaxBackoff`.
    pub const PESSIMISTIC_ROLLBACK: Self = Self::Weighted(20_000);
    /// One heartbeat of a lock. client-go: `keepAliveMaxBackoff`.
    pub const KEEP_ALIVE: Self = Self::Weighted(20_000);
    /// Broadcast of a transaction's state. client-go: `broadcastMaxBackoff`.
    pub const BROADCAST: Self = Self::Weighted(10_000);
    /// One timestamp. client-go: `TsoMaxBackoff`.
    pub const TSO: Self = Self::Weighted(15_000);
    /// Query of a transaction's state. client-go: `getTxnStatusMaxBackoff`.
    pub const TXN_STATUS: Self = Self::Plain(20_000);
    /// Resolving locks in the background. client-go: `asyncResolveLockMaxBackoff`.
    pub const ASYNC_RESOLVE: Self = Self::Plain(40_000);
    /// Resolving the locks of one region for GC. client-go: `gcResolveLockMaxBackoff`.
    pub const GC_RESOLVE: Self = Self::Weighted(100_000);
    /// Deleting a range within one region. client-go: `deleteRangeOneRegionMaxBackoff`.
    pub const DELETE_RANGE: Self = Self::Weighted(100_000);
    /// Finding regions for a range task. client-go: `locateRegionMaxBackoff`.
    pub const LOCATE: Self = Self::Weighted(20_000);
    /// Waiting for scattered regions. client-go: `waitScatterRegionFinishBackoff`.
    pub const WAIT_SCATTER: Self = Self::Weighted(120_000);
    /// One raw call. client-go: `rawkvMaxBackoff`.
    pub const RAW: Self = Self::Weighted(20_000);
    /// Loading all regions at the start. client-go: `internal/locate/region_cache.go: NewRegionCache`.
    pub const PRELOAD: Self = Self::Weighted(20_000);
    /// Loading one region's buckets. client-go: `internal/locate/region_cache.go: UpdateBucketsIfNeeded`.
    pub const BUCKETS: Self = Self::Plain(20_000);

    /// Splitting at `keys` keys. client-go: `tikv/split_region.go: splitRegionBackoff`.
    #[must_use]
    pub fn split(keys: usize) -> Self {
        const PER_KEY_MS: u32 = 20_000;
        const MAX_MS: u32 = 120_000;
        let keys = u32::try_from(keys.max(1)).unwrap_or(u32::MAX);
        Self::Weighted(keys.saturating_mul(PER_KEY_MS).min(MAX_MS))
    }

    /// The time itself; [`None`]: no bound. A number of 0 means no bound too, as in client-go.
    ///
    /// A product that does not fit in 31 bits is not taken: the allowance stays unweighted.
    ///
    /// client-go: `config/retry/backoff.go: withVars`.
    #[must_use]
    pub fn limit(self, tuning: Tuning) -> Option<Duration> {
        let ms = match self {
            Self::Nothing => return Some(Duration::ZERO),
            Self::Unlimited | Self::Weighted(0) | Self::Plain(0) => return None,
            Self::Plain(ms) => ms,
            Self::Weighted(ms) => {
                ms.checked_mul(tuning.weight.max(1)).filter(|&all| all <= WEIGHTED_MAX_MS).unwrap_or(ms)
            }
        };
        Some(Duration::from_millis(ms.into()))
    }
}
