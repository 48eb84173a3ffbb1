//! Details of transactions' commits and pessimistic locks.

use std::time::Duration;

use super::store::StoreDetails;
use crate::types::{RegionId, StoreId, Timestamp};

/// The slowest of some requests.
///
/// client-go: `util/execdetails.go: ReqDetailInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowRequest {
    /// What it took.
    pub time: Duration,
    /// Its region.
    pub region: RegionId,
    /// The store that answered.
    pub store: StoreId,
    /// What the store said of it.
    pub details: StoreDetails,
}

impl SlowRequest {
    /// A request.
    #[must_use]
    pub fn new(time: Duration, region: RegionId, store: StoreId, details: StoreDetails) -> Self {
        Self { time, region, store, details }
    }

    /// Keeps the slower one; of two alike, the first.
    ///
    /// client-go: `util/execdetails.go: MergePrewriteReqDetails`.
    pub fn merge(&mut self, other: &Self) {
        if other.time > self.time {
            self.clone_from(other);
        }
    }
}

/// How PD's timestamps lagged behind one that a commit had to wait for.
///
/// client-go: `util/execdetails.go: CommitTSLagDetails`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitLag {
    /// What was waited.
    pub wait: Duration,
    /// Pauses in that time.
    pub pauses: u32,
    /// The first timestamp, which was too small; none: nothing lagged.
    pub first: Timestamp,
    /// The one that was to be passed.
    pub wait_until: Timestamp,
}

impl CommitLag {
    /// Adds `other`; its timestamps replace these, if it lagged.
    pub fn merge(&mut self, other: &Self) {
        if other.first.0 > 0 {
            self.wait += other.wait;
            self.pauses += other.pauses;
            (self.first, self.wait_until) = (other.first, other.wait_until);
        }
    }
}

/// Where the time of a commit went.
///
/// client-go: `util/execdetails.go: CommitDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitDetails {
    /// Getting the timestamp of the commit.
    pub get_commit_ts: Duration,
    /// Getting the timestamp that an async commit is not to be below.
    pub get_latest_ts: Duration,
    /// Waiting for PD's timestamps to pass another.
    pub lag: CommitLag,
    /// From the first prewrite to the last one's answer.
    pub prewrite: Duration,
    /// From the first commit request to the last one's answer.
    pub commit: Duration,
    /// Waiting behind this client's other transactions.
    pub local_latch: Duration,
    /// Finding out about and removing others' locks.
    pub resolve_locks: Duration,
    /// Pauses, prewrites and commits together.
    pub pauses: Duration,
    /// The kinds of the prewrites' pauses, in order.
    pub prewrite_pauses: Vec<&'static str>,
    /// The kinds of the commits' pauses, in order.
    pub commit_pauses: Vec<&'static str>,
    /// The slowest prewrite.
    pub slowest_prewrite: SlowRequest,
    /// The commit of the primary.
    pub commit_primary: SlowRequest,
    /// Keys written.
    pub write_keys: u64,
    /// Bytes of their keys and values.
    pub write_bytes: u64,
    /// Regions that prewrites went to.
    pub prewrite_regions: u32,
    /// Prewrites sent.
    pub prewrite_requests: u32,
    /// How often the transaction was run again.
    pub retries: u32,
}

impl CommitDetails {
    /// Adds `other`. Of the slowest requests the slower one stays. client-go leaves `prewrite_requests` out.
    pub fn merge(&mut self, other: &Self) {
        self.get_commit_ts += other.get_commit_ts;
        self.get_latest_ts += other.get_latest_ts;
        self.lag.merge(&other.lag);
        self.prewrite += other.prewrite;
        self.commit += other.commit;
        self.local_latch += other.local_latch;
        self.resolve_locks += other.resolve_locks;
        self.pauses += other.pauses;
        self.prewrite_pauses.extend(&other.prewrite_pauses);
        self.commit_pauses.extend(&other.commit_pauses);
        self.slowest_prewrite.merge(&other.slowest_prewrite);
        self.commit_primary.merge(&other.commit_primary);
        self.write_keys += other.write_keys;
        self.write_bytes += other.write_bytes;
        self.prewrite_regions += other.prewrite_regions;
        self.prewrite_requests += other.prewrite_requests;
        self.retries += other.retries;
    }
}

/// Where the time of locking keys went.
///
/// client-go: `util/execdetails.go: LockKeysDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockKeysDetails {
    /// All together.
    pub total: Duration,
    /// Regions of the keys.
    pub regions: u32,
    /// Keys locked.
    pub keys: u32,
    /// Fair locking: keys locked anew.
    pub fair_new: u32,
    /// Fair locking: locks taken over from the statement before.
    pub fair_derived: u32,
    /// Fair locking: keys locked although there was a newer version.
    pub locked_with_conflict: u32,
    /// Finding out about and removing others' locks.
    pub resolve_locks: Duration,
    /// Pauses.
    pub pauses: Duration,
    /// The kinds of the pauses, in order.
    pub pause_kinds: Vec<&'static str>,
    /// The slowest request.
    pub slowest: SlowRequest,
    /// Time of all requests, added up.
    pub request_time: Duration,
    /// Requests sent.
    pub requests: u32,
    /// How often it was done again.
    pub retries: u32,
}

impl LockKeysDetails {
    /// Adds `other`, which is one more try: the retries grow by one, whatever its own were.
    pub fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.regions += other.regions;
        self.keys += other.keys;
        self.fair_new += other.fair_new;
        self.fair_derived += other.fair_derived;
        self.locked_with_conflict += other.locked_with_conflict;
        self.resolve_locks += other.resolve_locks;
        self.pauses += other.pauses;
        self.pause_kinds.extend(&other.pause_kinds);
        self.slowest.merge(&other.slowest);
        self.request_time += other.request_time;
        self.requests += other.requests;
        self.retries += 1;
    }
}
