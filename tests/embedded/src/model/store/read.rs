//! Transactional reads: Get, BatchGet, Scan.
//!
//! Spec: `cluster.md` 8. TiKV: `storage/mod.rs: get, batch_get_command, scan`; `txn_types/src/lock.rs: check_ts_conflict`.

use std::collections::BTreeSet;

use bytes::Bytes;
use tikv_proto::kvrpcpb::write_conflict::Reason;
use tikv_proto::kvrpcpb::*;

use super::admission::{Access, Admitted};
use super::answer::{Failure, failed_pair};
use super::columns::Columns;
use super::details::Reading;
use super::error::TxnError;
use super::key::{EncodedKey, encoded_bound};
use super::locks::{Lock, LockKind};
use super::mvcc::Version;
use super::{Engine, Place};
use crate::model::region_error::data_is_not_ready;

/// What a reader sees of the columns.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    columns: &'a Columns,
    ts: u64,
    isolation: IsolationLevel,
    /// Start timestamps of transactions that are known to be of no interest at `ts`.
    resolved: BTreeSet<u64>,
    /// Start timestamps of transactions that are known to be committed at or before `ts`.
    committed: BTreeSet<u64>,
    /// Newer rows are met from the oldest on.
    backwards: bool,
    /// A follower does not know the newest commits well enough to read past the lock of a primary key.
    on_follower: bool,
}

impl Engine {
    pub(super) fn get(&mut self, at: Place<'_>, request: GetRequest) -> Result<GetResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_keys(context, "get", [&request.key])?;
        let place = self.admit_read(at, context, request.version)?;
        let key = EncodedKey::of(&request.key);
        place.check_point(key.as_bytes())?;
        let snapshot = self.snapshot(&place, context, request.version);
        let found = snapshot.get(&key, request.need_commit_ts)?;
        let not_found = found.is_none();
        let (value, commit_ts) = found.map(|version| (version.value, version.commit_ts)).unwrap_or_default();
        let commit_ts = if request.need_commit_ts { commit_ts } else { 0 };
        let mut reading = Reading { keys: 1, ..Default::default() };
        if !not_found {
            reading.add(&request.key, &value);
        }
        let exec_details_v2 = reading.details(context);
        Ok(GetResponse { value, not_found, commit_ts, exec_details_v2, ..Default::default() })
    }

    pub(super) fn batch_get(
        &mut self,
        at: Place<'_>,
        request: BatchGetRequest,
    ) -> Result<BatchGetResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_keys(context, "batch_get_command", &request.keys)?;
        let place = self.admit_read(at, context, request.version)?;
        let snapshot = self.snapshot(&place, context, request.version);
        let mut pairs = Vec::with_capacity(request.keys.len());
        let mut reading = Reading::default();
        for user in request.keys {
            let key = EncodedKey::of(&user);
            reading.keys += 1;
            let found = place.check_point(key.as_bytes());
            match found.and_then(|()| snapshot.get(&key, request.need_commit_ts)) {
                Ok(Some(Version { value, commit_ts })) => {
                    let commit_ts = if request.need_commit_ts { commit_ts } else { 0 };
                    reading.add(&user, &value);
                    pairs.push(KvPair { key: user, value, commit_ts, error: None });
                }
                Ok(None) => {}
                Err(error) => pairs.push(failed_pair(error)),
            }
        }
        let exec_details_v2 = reading.details(context);
        Ok(BatchGetResponse { pairs, exec_details_v2, ..Default::default() })
    }

    pub(super) fn scan(&mut self, at: Place<'_>, request: ScanRequest) -> Result<ScanResponse, Failure> {
        let context = request.context.as_ref();
        let (start, end) = (&request.start_key, &request.end_key);
        let range = if request.reverse { (end, start) } else { (start, end) };
        self.api.check_ranges(context, "scan", [range])?;
        let place = self.admit_read(at, context, request.version)?;
        let (lower, upper) = scanned_range(&place, &request)?;
        let mut snapshot = self.snapshot(&place, context, request.version);
        snapshot.backwards = request.reverse;
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let step = usize::try_from(request.sample_step.max(1)).unwrap_or(usize::MAX);
        let mut seen: usize = 0;
        let mut pairs = Vec::new();
        let mut keys = KeyWalk { columns: &self.columns, lower, upper, reverse: request.reverse };
        while pairs.len() < limit
            && let Some(key) = keys.next()
        {
            match snapshot.get(&key, false) {
                Ok(Some(Version { value, .. })) => {
                    seen += 1;
                    if (seen - 1).is_multiple_of(step) {
                        let value = if request.key_only { Bytes::new() } else { value };
                        pairs.push(KvPair { key: key.user(), value, ..Default::default() });
                    }
                }
                Ok(None) => {}
                // A lock concerns its key only; all else ends the scan.
                Err(error @ TxnError::Locked(_)) => pairs.push(failed_pair(error)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ScanResponse { pairs, ..Default::default() })
    }

    /// What a pipelined transaction has flushed of these keys.
    pub(super) fn buffer_batch_get(
        &mut self,
        at: Place<'_>,
        mut request: BufferBatchGetRequest,
    ) -> Result<BufferBatchGetResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_keys(context, "buffer_batch_get", &request.keys)?;
        let place = self.admit_read(at, context, request.version)?;
        request.keys.sort();
        request.keys.dedup();
        let mut pairs = Vec::new();
        for user in request.keys {
            let key = EncodedKey::of(&user);
            if let Err(error) = place.check_point(key.as_bytes()) {
                pairs.push(failed_pair(error));
                continue;
            }
            let lock = self.columns.lock_to_read(&key).filter(|lock| lock.start_ts == request.version);
            let value = match lock {
                Some(lock) if lock.kind == LockKind::Put => {
                    self.columns.load(&key, lock.start_ts, lock.short_value.as_ref())
                }
                // A delete hides what was committed before.
                Some(lock) if lock.kind == LockKind::Delete => Ok(Bytes::new()),
                _ => continue,
            };
            pairs.push(match value {
                Ok(value) => KvPair { key: user, value, ..Default::default() },
                Err(error) => failed_pair(error),
            });
        }
        Ok(BufferBatchGetResponse { pairs, ..Default::default() })
    }

    /// Admits a read at `version` and makes later commits come after it.
    pub(super) fn admit_read<'t>(
        &mut self,
        at: Place<'t>,
        context: Option<&Context>,
        version: u64,
    ) -> Result<Admitted<'t>, Failure> {
        let place = self.admit(at, context, Access::ReadAt(version))?;
        if context.is_some_and(|context| context.stale_read) {
            let safe_ts = self.peer_safe_ts(at, place.region);
            if version <= safe_ts {
                // A real store has its `max_ts` at its safe timestamps already.
                self.raise_max_ts(version);
            } else if !place.leads {
                return Err(data_is_not_ready(place.region.id, place.peer.id, safe_ts).into());
            }
        } else {
            self.raise_max_ts(version);
        }
        Ok(place)
    }

    pub(super) fn snapshot(&self, place: &Admitted<'_>, context: Option<&Context>, ts: u64) -> Snapshot<'_> {
        let set = |of: fn(&Context) -> &Vec<u64>| context.map(of).into_iter().flatten().copied().collect();
        Snapshot {
            columns: &self.columns,
            ts,
            isolation: context.map(Context::isolation_level).unwrap_or_default(),
            resolved: set(|context| &context.resolved_locks),
            committed: set(|context| &context.committed_locks),
            backwards: false,
            on_follower: !place.leads,
        }
    }
}

impl Snapshot<'_> {
    /// The value of `key`; with `need_commit_ts` no value is taken from a lock, which has no commit timestamp.
    fn get(&self, key: &EncodedKey, need_commit_ts: bool) -> Result<Option<Version>, TxnError> {
        if let Some(lock) = self.columns.lock_to_read(key)
            && let Err(conflict) = self.check_lock(key, lock)
        {
            if need_commit_ts || !self.committed.contains(&lock.start_ts) {
                return Err(conflict);
            }
            if lock.kind != LockKind::Put {
                return Ok(None);
            }
            let value = self.columns.load(key, lock.start_ts, lock.short_value.as_ref())?;
            return Ok(Some(Version { value, commit_ts: 0 }));
        }
        if self.isolation == IsolationLevel::RcCheckTs {
            self.check_newest(key)?;
        }
        self.columns.visible(key, self.ts)
    }

    /// Whether `lock` hides what this reader would see.
    pub(super) fn check_lock(&self, key: &EncodedKey, lock: &Lock) -> Result<(), TxnError> {
        let harmless = matches!(lock.kind, LockKind::Lock | LockKind::Pessimistic);
        if harmless || self.resolved.contains(&lock.start_ts) {
            return Ok(());
        }
        match self.isolation {
            IsolationLevel::Rc => Ok(()),
            IsolationLevel::RcCheckTs => Err(TxnError::WriteConflict {
                start_ts: self.ts,
                conflict_start_ts: lock.start_ts,
                conflict_commit_ts: 0,
                key: key.user(),
                primary: lock.primary.clone(),
                reason: Reason::RcCheckTs,
            }),
            IsolationLevel::Si => {
                let later = lock.start_ts > self.ts || lock.min_commit_ts > self.ts;
                // Who reads the newest of a primary key reads what is committed: the transaction is not yet, unless
                // it commits itself once all its locks are there.
                let newest_of_primary = self.ts == u64::MAX
                    && lock.async_commit.is_none()
                    && !self.on_follower
                    && key.user() == lock.primary;
                if later || newest_of_primary {
                    return Ok(());
                }
                Err(TxnError::Locked(Box::new(lock.info(key))))
            }
        }
    }

    /// A checking read refuses any newer row of the key.
    fn check_newest(&self, key: &EncodedKey) -> Result<(), TxnError> {
        let mut newer = self.columns.writes(key, u64::MAX).take_while(|(commit_ts, _)| *commit_ts > self.ts);
        let met = if self.backwards { newer.last() } else { newer.next() };
        let Some((newest, _)) = met else { return Ok(()) };
        Err(TxnError::WriteConflict {
            start_ts: self.ts,
            conflict_start_ts: 0,
            conflict_commit_ts: newest,
            // The row's own key, as TiKV tells it.
            key: key.at(newest),
            primary: Bytes::new(),
            reason: Reason::RcCheckTs,
        })
    }
}

/// The range of a scan, in region form; a part outside the region refuses the scan, an open bound does not.
///
/// TiKV: `txn/store.rs: SnapshotStore::verify_range`.
fn scanned_range(place: &Admitted<'_>, request: &ScanRequest) -> Result<(Bytes, Bytes), TxnError> {
    let start = EncodedKey::of(&request.start_key).as_bytes().clone();
    let end = encoded_bound(&request.end_key);
    let (lower, upper) = if request.reverse { (end, start) } else { (start, end) };
    let before = !lower.is_empty() && lower < place.region.start;
    let behind = !upper.is_empty() && !place.region.end.is_empty() && upper > place.region.end;
    if before || behind { Err(TxnError::InvalidReqRange) } else { Ok(place.clip(&lower, &upper)) }
}

/// The keys of a range that have a lock or a version, each once.
#[derive(Debug)]
struct KeyWalk<'a> {
    columns: &'a Columns,
    lower: Bytes,
    upper: Bytes,
    reverse: bool,
}

impl KeyWalk<'_> {
    fn next(&mut self) -> Option<EncodedKey> {
        let mut locked = self.columns.stored_locks(&self.lower, &self.upper).map(|(key, _)| key);
        let mut written = self.columns.written_keys(&self.lower, &self.upper);
        if self.reverse {
            let key = locked.next_back().max(written.next_back())?.clone();
            drop((locked, written));
            // No key is empty, so this does not open the range again.
            self.upper = key.as_bytes().clone();
            Some(key)
        } else {
            let key = locked.next().into_iter().chain(written.next()).min()?.clone();
            drop((locked, written));
            self.lower = key.successor();
            Some(key)
        }
    }
}
