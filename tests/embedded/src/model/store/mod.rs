//! The stores' side of the cluster: one key-value engine, and the commands that TiKV runs on it.
//!
//! [`Engine`] is the one door. It takes a decoded request, the store that it was sent to, the topology and the time; it
//! checks the request against the region, runs it on the data at once, and returns the decoded answer. It reads no
//! clock and holds no latches over time, so a request is one step for whoever drives it. Only a request for a
//! pessimistic lock may wait, under a [`WaitId`]: other requests or time ([`Engine::next_wake`]) end its wait.
//!
//! The data of all regions is one logical copy: replicas differ in their role and in how far a test lets them lag, which
//! the topology knows. No client can tell, as a replica that lags lets reads wait or refuses them. So is
//! `max_ts`, the largest timestamp that anyone has read at: real stores have one each, and a new leader first learns
//! how far others may have read; here it knows.
//!
//! * `admission`, `api`: may this store serve this request? Region errors, API versions.
//! * `key`, `locks`, `records`, `columns`: the data: encoded keys, locks and versions, and the three columns of TiKV.
//! * `mvcc`, `txn`: what the columns say about the versions of a key, and one transaction's changes to them.
//! * `read` with `details`, `prewrite` with `wish` and `constraint`, `commit`, `status`, `resolve`, `range`: commands of
//!   transactions.
//! * `pessimistic` with `acquire`: locks before the prewrite. `waits` with `detector`: who waits for them.
//! * `flashback`: a range as it was before. `gc`: versions that nobody reads any more.
//! * `cop`: coprocessor requests, of which only the place and the locks are looked at.
//! * `raw`, `raw_range` with `crc64`: raw commands. They share the columns with transactions, as in TiKV.
//! * `look`: what the columns hold, for who checks them.
//! * `error`, `answer`: why a command failed, and how each response message tells it.
//!
//! Spec: `cluster.md` 4 to 9, `rawkv.md`. The judge is recorded behaviour of a real TiKV.

mod acquire;
mod admission;
mod answer;
mod api;
mod columns;
mod commit;
mod constraint;
mod cop;
mod crc64;
mod details;
mod detector;
mod error;
mod flashback;
mod gc;
mod key;
mod locks;
mod look;
mod mvcc;
mod pessimistic;
mod prewrite;
mod range;
mod raw;
mod raw_range;
mod read;
mod records;
mod resolve;
mod status;
#[cfg(test)]
mod tests;
mod txn;
mod waits;
mod wish;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tikv_proto::deadlock::WaitForEntry;
use tikv_proto::kvrpcpb::*;
use tikv_proto::tikvpb::{batch_commands_request::request, batch_commands_response::response};

pub(super) use self::admission::admit_write;
use self::answer::Answer;
pub use self::api::Api;
use self::columns::Columns;
pub(super) use self::error::Hex;
pub use self::look::{LockRow, RowKind, WriteRow};
use self::txn::Effects;
use self::waits::LockWaits;
pub use self::waits::WaitId;
use super::{Now, Region, Topology};

/// The data of a cluster and the commands on it.
#[derive(Debug)]
pub struct Engine {
    columns: Columns,
    /// The largest timestamp that has been read at: commits whose timestamp is computed here lie above it.
    max_ts: u64,
    waits: LockWaits,
    /// Answers to requests that waited.
    finished: VecDeque<(WaitId, response::Cmd)>,
    /// By start timestamp: transactions that were committed lately, at which timestamp and when it was learnt.
    committed: BTreeMap<u64, (u64, Now)>,
    /// Pessimistic locks stay in the leader's memory.
    pessimistic_in_memory: bool,
    api: Api,
    /// By region: up to which timestamp its replicas have served stale reads or said that they would.
    safe_ts: BTreeMap<u64, u64>,
    /// Regions that are being taken back to an older version, and the start timestamps of the flashbacks.
    flashbacks: BTreeMap<u64, u64>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "an answer is moved once, into the frame that carries it")]
pub enum Outcome {
    /// It was run, or refused, and this is the answer.
    Ready(response::Cmd),
    /// It waits for a lock; [`Engine::take_finished`] will have its answer.
    Waits(WaitId),
    /// The store does not serve it: gRPC `Unimplemented`.
    Unimplemented,
}

/// A command that no `BatchCommands` frame can carry.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Unary {
    /// Compares the value of a raw key and sets it if it is the expected one.
    RawCompareAndSwap(RawCasRequest),
    /// Asks how long a raw value lives.
    RawGetKeyTtl(RawGetKeyTtlRequest),
    /// Sums up the raw pairs of ranges.
    RawChecksum(RawChecksumRequest),
    /// Destroys a range of the whole store.
    UnsafeDestroyRange(UnsafeDestroyRangeRequest),
    /// Shows all versions of a key.
    MvccGetByKey(MvccGetByKeyRequest),
    /// Shows all versions of a key that a transaction wrote.
    MvccGetByStartTs(MvccGetByStartTsRequest),
}

/// The answer to a [`Unary`] command, variant by variant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variants are those of the commands")]
pub enum UnaryAnswer {
    RawCompareAndSwap(RawCasResponse),
    RawGetKeyTtl(RawGetKeyTtlResponse),
    RawChecksum(RawChecksumResponse),
    UnsafeDestroyRange(UnsafeDestroyRangeResponse),
    MvccGetByKey(MvccGetByKeyResponse),
    MvccGetByStartTs(MvccGetByStartTsResponse),
}

/// Where and when a request arrived.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    topology: &'a Topology,
    store: u64,
    now: Now,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            columns: Columns::default(),
            max_ts: 0,
            waits: LockWaits::default(),
            finished: VecDeque::new(),
            committed: BTreeMap::new(),
            pessimistic_in_memory: true,
            api: Api::V1,
            safe_ts: BTreeMap::new(),
            flashbacks: BTreeMap::new(),
        }
    }
}

impl Engine {
    /// An engine without data.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The version of the storage API.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api
    }

    /// Sets the version of the storage API. It is to be set before there is data.
    pub fn set_api(&mut self, api: Api) {
        self.api = api;
    }

    /// Runs a command that `store` received at `now`: one of those that a `BatchCommands` frame can carry, whether it
    /// came in one or by its own method.
    pub fn handle(&mut self, topology: &Topology, store: u64, now: Now, command: request::Cmd) -> Outcome {
        use request::Cmd as Ask;
        use response::Cmd as Tell;

        let at = Place { topology, store, now };
        Outcome::Ready(match command {
            Ask::Get(ask) => Tell::Get(Answer::of(self.get(at, ask))),
            Ask::BatchGet(ask) => Tell::BatchGet(Answer::of(self.batch_get(at, ask))),
            Ask::Scan(ask) => Tell::Scan(Answer::of(self.scan(at, ask))),
            Ask::Prewrite(ask) => Tell::Prewrite(Answer::of(self.prewrite(at, ask))),
            Ask::Commit(ask) => Tell::Commit(Answer::of(self.commit(at, ask))),
            Ask::Cleanup(ask) => Tell::Cleanup(Answer::of(self.cleanup(at, ask))),
            Ask::BatchRollback(ask) => Tell::BatchRollback(Answer::of(self.batch_rollback(at, ask))),
            Ask::TxnHeartBeat(ask) => Tell::TxnHeartBeat(Answer::of(self.txn_heart_beat(at, ask))),
            Ask::CheckTxnStatus(ask) => Tell::CheckTxnStatus(Answer::of(self.check_txn_status(at, ask))),
            Ask::CheckSecondaryLocks(ask) => {
                Tell::CheckSecondaryLocks(Answer::of(self.check_secondary_locks(at, ask)))
            }
            Ask::ScanLock(ask) => Tell::ScanLock(Answer::of(self.scan_lock(at, ask))),
            Ask::ResolveLock(ask) => Tell::ResolveLock(Answer::of(self.resolve_lock(at, ask))),
            Ask::Coprocessor(ask) => Tell::Coprocessor(self.coprocessor(at, &ask)),
            Ask::PessimisticLock(ask) => return self.pessimistic_lock(at, ask),
            Ask::PessimisticRollback(ask) => {
                Tell::PessimisticRollback(Answer::of(self.pessimistic_rollback(at, ask)))
            }
            Ask::Flush(ask) => Tell::Flush(Answer::of(self.flush(at, ask))),
            Ask::BufferBatchGet(ask) => Tell::BufferBatchGet(Answer::of(self.buffer_batch_get(at, ask))),
            Ask::PrepareFlashbackToVersion(ask) => {
                Tell::PrepareFlashbackToVersion(Answer::of(self.prepare_flashback(at, ask)))
            }
            Ask::FlashbackToVersion(ask) => Tell::FlashbackToVersion(Answer::of(self.flashback(at, ask))),
            Ask::DeleteRange(ask) => Tell::DeleteRange(Answer::of(self.delete_range(at, ask))),
            other => return self.handle_raw(at, other),
        })
    }

    fn handle_raw(&mut self, at: Place<'_>, command: request::Cmd) -> Outcome {
        use request::Cmd as Ask;
        use response::Cmd as Tell;

        Outcome::Ready(match command {
            Ask::RawGet(ask) => Tell::RawGet(Answer::of(self.raw_get(at, ask))),
            Ask::RawBatchGet(ask) => Tell::RawBatchGet(Answer::of(self.raw_batch_get(at, ask))),
            Ask::RawPut(ask) => Tell::RawPut(Answer::of(self.raw_put(at, ask))),
            Ask::RawBatchPut(ask) => Tell::RawBatchPut(Answer::of(self.raw_batch_put(at, ask))),
            Ask::RawDelete(ask) => Tell::RawDelete(Answer::of(self.raw_delete(at, ask))),
            Ask::RawBatchDelete(ask) => Tell::RawBatchDelete(Answer::of(self.raw_batch_delete(at, ask))),
            Ask::RawScan(ask) => Tell::RawScan(Answer::of(self.raw_scan(at, ask))),
            Ask::RawBatchScan(ask) => Tell::RawBatchScan(Answer::of(self.raw_batch_scan(at, ask))),
            Ask::RawDeleteRange(ask) => Tell::RawDeleteRange(Answer::of(self.raw_delete_range(at, ask))),
            Ask::RawCoprocessor(_) => Tell::RawCoprocessor(RawCoprocessorResponse {
                error: "Coprocessor plugin is disabled!".to_owned(),
                ..Default::default()
            }),
            _ => return Outcome::Unimplemented,
        })
    }

    /// Runs a command that `store` received at `now` and that only has a method of its own.
    pub fn handle_unary(&mut self, topology: &Topology, store: u64, now: Now, command: Unary) -> UnaryAnswer {
        let at = Place { topology, store, now };
        match command {
            Unary::RawCompareAndSwap(ask) => {
                UnaryAnswer::RawCompareAndSwap(Answer::of(self.raw_cas(at, ask)))
            }
            Unary::RawGetKeyTtl(ask) => UnaryAnswer::RawGetKeyTtl(Answer::of(self.raw_get_key_ttl(at, ask))),
            Unary::RawChecksum(ask) => UnaryAnswer::RawChecksum(Answer::of(self.raw_checksum(at, ask))),
            Unary::UnsafeDestroyRange(ask) => {
                UnaryAnswer::UnsafeDestroyRange(Answer::of(self.unsafe_destroy_range(ask)))
            }
            Unary::MvccGetByKey(ask) => UnaryAnswer::MvccGetByKey(Answer::of(self.mvcc_get_by_key(at, ask))),
            Unary::MvccGetByStartTs(ask) => {
                UnaryAnswer::MvccGetByStartTs(Answer::of(self.mvcc_get_by_start_ts(at, ask)))
            }
        }
    }

    /// The timestamp up to which the replicas on `store` of regions that meet `[start, end)` serve stale reads: the
    /// smallest of them; 0 if there are none. Bounds are in region form, an empty end is open.
    #[must_use]
    pub fn safe_ts(&mut self, topology: &Topology, store: u64, now: Now, start: &Bytes, end: &Bytes) -> u64 {
        let at = Place { topology, store, now };
        let regions = topology
            .regions()
            .filter(|region| region.peer_on(store).is_some() && region.ends_after(start))
            .filter(|region| end.is_empty() || region.start < *end);
        let told = regions.map(|region| self.peer_safe_ts(at, region));
        told.filter(|&safe_ts| safe_ts > 0).min().unwrap_or(0)
    }

    /// The safe timestamp of a region's replica on the store that was asked: no lock of a transaction that began before
    /// it is left, so nothing will be committed at or below it. A replica that lags knows what was so a while ago.
    ///
    /// It does not go back, though a lock of a transaction that began earlier may come.
    fn peer_safe_ts(&mut self, at: Place<'_>, region: &Region) -> u64 {
        let conditions = &at.topology.conditions;
        if let Some(pinned) = conditions.safe_ts(region.id, at.store) {
            return pinned;
        }
        let lag = conditions.lag(region.id, at.store).unwrap_or_default();
        let lag_ms = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX).saturating_add(SAFE_TS_LAG_MS);
        let behind = at.now.unix_ms().saturating_sub(lag_ms) << records::LOGICAL_BITS;
        let locks = self.columns.stored_locks(&region.start, &region.end);
        let oldest = locks.flat_map(|(_, lock)| lock.holders().map(|lock| lock.start_ts)).min();
        let settled = oldest.map_or(behind, |start_ts| start_ts.min(behind));
        let told = self.safe_ts.entry(region.id).or_default();
        *told = settled.max(*told);
        // One that lags does not know yet what the others know.
        (*told).min(behind)
    }

    /// Does what a command came to, and then what follows for those who wait for its locks.
    fn apply(&mut self, at: Place<'_>, effects: Effects) {
        self.columns.apply(effects.changes);
        for (start_ts, commit_ts) in effects.committed {
            self.note_commit(at.now, start_ts, commit_ts);
        }
        for released in &effects.released {
            self.waits.released(at.now, released);
        }
        for (key, lock) in &effects.acquired {
            self.waits.acquired(at.now, key, lock);
        }
        self.settle_waits(at);
    }

    /// Answers those whose wait has ended, and lets those try again who may.
    fn settle_waits(&mut self, at: Place<'_>) {
        while let Some((waiter, id, error)) = self.waits.failed.pop_front() {
            let answer = response::Cmd::PessimisticLock(pessimistic::refused(&waiter.wish, error));
            self.finished.push_back((id, answer));
        }
        if let Some(id) = self.waits.resumed.pop_front() {
            self.resume(at, id);
            self.settle_waits(at);
        }
    }

    /// When time alone will end a wait.
    #[must_use]
    pub fn next_wake(&self) -> Option<Now> {
        self.waits.next_wake()
    }

    /// Ends the waits whose time has come by `now`.
    pub fn wake(&mut self, topology: &Topology, now: Now) {
        while self.waits.wake(now) {
            self.settle_waits(Place { topology, store: 0, now });
        }
    }

    /// The answers to requests that waited.
    pub fn take_finished(&mut self) -> VecDeque<(WaitId, response::Cmd)> {
        std::mem::take(&mut self.finished)
    }

    /// Who waits for whose lock on `store`.
    #[must_use]
    pub fn lock_waits(&self, store: u64) -> Vec<WaitForEntry> {
        self.waits.entries(store)
    }

    /// Loses the locks that only the leader of a region knows, as a crash does. Bounds are in region form.
    pub fn lose_memory_locks(&mut self, start: &Bytes, end: &Bytes) {
        self.columns.lose_memory_locks(start, end);
    }

    /// Loses what only the leader of a region knows, which has crashed: its locks in memory, and who waits for a lock.
    /// Returns the requests that waited; they are never answered. Bounds are in region form.
    pub fn crash(&mut self, start: &Bytes, end: &Bytes) -> Vec<WaitId> {
        self.lose_memory_locks(start, end);
        self.waits.forget_range(start, end)
    }

    fn note_commit(&mut self, now: Now, start_ts: u64, commit_ts: u64) {
        self.committed.retain(|_, (_, at)| now.since(*at) < COMMITS_KEPT);
        self.committed.insert(start_ts, (commit_ts, now));
    }

    /// Whether the transaction is known to be committed; one that was so long ago may be forgotten.
    fn is_committed(&self, start_ts: u64) -> bool {
        self.committed.contains_key(&start_ts)
    }

    /// Makes commits whose timestamp is computed here come after `ts`; the largest timestamp means the newest data and
    /// binds nobody.
    pub(super) fn raise_max_ts(&mut self, ts: u64) {
        if ts != u64::MAX {
            self.max_ts = self.max_ts.max(ts);
        }
    }
}

/// How long a store remembers which transactions were committed.
// TiKV: `txn/txn_status_cache.rs: CACHE_ITEMS_REQUIRED_KEEP_TIME`
const COMMITS_KEPT: Duration = Duration::from_secs(30);

/// How far safe timestamps lie behind the clock. Measured: a stale read 1.5 s back is served, one 0.5 s back is not.
const SAFE_TS_LAG_MS: u64 = 1000;
