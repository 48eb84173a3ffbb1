//! Prewrite: the first phase of a commit, or all of it.
//!
//! Each mutation is checked and then locked; the changes of all of them are applied at once, or none. A transaction
//! whose client asked for it gets a timestamp from which on it may be committed (async commit), or is committed at it
//! right away (one phase). A transaction for which that timestamp would be too large falls back to two phases.
//!
//! Only optimistic transactions: without pessimistic locks there is nothing for the other mode to find.
//!
//! Spec: `cluster.md` 7.1. TiKV: `txn/commands/prewrite.rs`, `txn/actions/prewrite.rs`.

use bytes::Bytes;
use tikv_proto::kvrpcpb::*;

use super::admission::{Access, Admitted, admit, check_api_version};
use super::answer::Failure;
use super::constraint::{Checked, check_mutation};
use super::error::{MAX_KEY_SIZE, TxnError};
use super::key::EncodedKey;
use super::mvcc::Fate;
use super::raw::owned;
use super::records::{AsyncCommit, Lock, LockKind, SHORT_VALUE_MAX, Write};
use super::txn::Txn;
use super::{Engine, Place};

/// What a prewrite is asked for, apart from its mutations.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) start_ts: u64,
    pub(super) primary: Bytes,
    pub(super) skip_constraint_check: bool,
    pub(super) assertion_level: AssertionLevel,
    ttl_ms: u64,
    txn_size: u64,
    txn_source: u64,
    min_commit_ts: u64,
    /// 0: no limit.
    max_commit_ts: u64,
    secondaries: Vec<Bytes>,
}

/// How the transaction is to be committed; a fallback moves it to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    OnePhase {
        /// Also asked for, and so told, if the answer is not that the transaction is committed.
        and_async: bool,
    },
    Async,
    TwoPhase,
}

/// A mutation in the words of the engine.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: EncodedKey,
    /// `None`: the key is only checked.
    kind: Option<LockKind>,
    value: Bytes,
    /// The key must have no value.
    pub(super) must_be_absent: bool,
    pub(super) assertion: Assertion,
}

/// A prewrite at work.
#[derive(Debug)]
struct Prewrite<'a> {
    txn: Txn<'a>,
    wish: &'a Wish,
    max_ts: u64,
    mode: Mode,
    /// The keys of a one-phase transaction, which get no lock unless it falls back.
    one_phase: Vec<(EncodedKey, Lock)>,
    /// 0 unless all keys so far can be committed by async commit or in one phase.
    min_commit_ts: u64,
    locked: Vec<TxnError>,
    /// Told only if nothing else is wrong.
    assertion_failed: Option<TxnError>,
}

/// Why a prewrite goes no further.
#[derive(Debug)]
enum Stop {
    Failed(TxnError),
    /// The request came before and the transaction has been committed since.
    Committed(u64),
}

impl From<TxnError> for Stop {
    fn from(error: TxnError) -> Self {
        Self::Failed(error)
    }
}

impl Engine {
    pub(super) fn prewrite(
        &mut self,
        at: Place<'_>,
        request: PrewriteRequest,
    ) -> Result<PrewriteResponse, Failure> {
        let context = request.context.as_ref();
        check_api_version(context, "prewrite")?;
        let changes = request.mutations.iter().map(Change::new).collect::<Result<Vec<_>, _>>()?;
        let mode = Mode::of(&request);
        let place = admit(at.topology, at.store, context, Access::Write)?;
        if changes.iter().any(|change| change.must_be_absent) {
            self.raise_max_ts(request.start_version);
        }
        let wish = Wish::new(&request);
        let mut prewrite = Prewrite {
            txn: Txn::new(&self.columns, wish.start_ts),
            wish: &wish,
            max_ts: self.max_ts,
            mode,
            one_phase: Vec::new(),
            min_commit_ts: 0,
            locked: Vec::new(),
            assertion_failed: None,
        };
        for change in changes {
            match prewrite.step(&place, change) {
                Ok(()) => {}
                Err(Stop::Committed(commit_ts)) => return Ok(prewrite.mode.answer(commit_ts)),
                Err(Stop::Failed(error)) => return Err(error.into()),
            }
        }
        let (response, rows) = prewrite.finish()?;
        self.columns.apply(rows);
        Ok(response)
    }
}

impl Mode {
    fn of(request: &PrewriteRequest) -> Self {
        match (request.try_one_pc, request.use_async_commit) {
            (true, and_async) => Self::OnePhase { and_async },
            (false, true) => Self::Async,
            (false, false) => Self::TwoPhase,
        }
    }

    fn is_async(self) -> bool {
        matches!(self, Self::Async | Self::OnePhase { and_async: true })
    }

    /// The answer of a transaction that is or may be committed at `ts`.
    fn answer(self, ts: u64) -> PrewriteResponse {
        PrewriteResponse {
            min_commit_ts: if self.is_async() { ts } else { 0 },
            one_pc_commit_ts: if matches!(self, Self::OnePhase { .. }) { ts } else { 0 },
            ..Default::default()
        }
    }
}

impl Wish {
    fn new(request: &PrewriteRequest) -> Self {
        Self {
            start_ts: request.start_version,
            primary: owned(&request.primary_lock),
            skip_constraint_check: request.skip_constraint_check,
            assertion_level: request.assertion_level(),
            ttl_ms: request.lock_ttl,
            txn_size: request.txn_size,
            txn_source: request.context.as_ref().map_or(0, |context| context.txn_source),
            min_commit_ts: request.min_commit_ts,
            max_commit_ts: request.max_commit_ts,
            secondaries: request.secondaries.iter().map(|key| owned(key)).collect(),
        }
    }

    /// A lock for two phases, still without value.
    fn lock(&self, kind: LockKind) -> Lock {
        Lock {
            kind,
            primary: self.primary.clone(),
            start_ts: self.start_ts,
            ttl_ms: self.ttl_ms,
            txn_size: self.txn_size,
            txn_source: self.txn_source,
            short_value: None,
            min_commit_ts: self.min_commit_ts,
            async_commit: None,
            rolled_back: Vec::new(),
        }
    }
}

impl Change {
    fn new(mutation: &Mutation) -> Result<Self, TxnError> {
        let key = EncodedKey::of(&mutation.key);
        let size = key.as_bytes().len();
        if size > MAX_KEY_SIZE {
            return Err(TxnError::KeyTooLarge { size });
        }
        let kind = match mutation.op() {
            Op::Put | Op::Insert => Some(LockKind::Put),
            Op::Del => Some(LockKind::Delete),
            // A shared lock that is prewritten without a pessimistic one before it is like any other.
            Op::Lock | Op::SharedLock => Some(LockKind::Lock),
            Op::CheckNotExists => None,
            Op::Rollback | Op::PessimisticLock | Op::SharedPessimisticLock => {
                return Err(TxnError::Other("mismatch Op in prewrite mutations"));
            }
        };
        let must_be_absent = matches!(mutation.op(), Op::Insert | Op::CheckNotExists);
        let value = if kind == Some(LockKind::Put) { owned(&mutation.value) } else { Bytes::new() };
        Ok(Self { key, kind, value, must_be_absent, assertion: mutation.assertion() })
    }
}

impl Prewrite<'_> {
    /// Checks one mutation and locks its key.
    fn step(&mut self, place: &Admitted<'_>, change: Change) -> Result<(), Stop> {
        place.check_point(change.key.as_bytes())?;
        let key = change.key.clone();
        match self.check_and_lock(change) {
            Ok(0) => {
                // A key that was locked without a timestamp decides for all: the client commits in two phases.
                if self.mode != Mode::TwoPhase {
                    self.fall_back();
                }
                Ok(())
            }
            Ok(min_commit_ts) => {
                self.min_commit_ts = self.min_commit_ts.max(min_commit_ts);
                Ok(())
            }
            Err(Stop::Failed(error @ TxnError::WriteConflict { conflict_commit_ts, start_ts, .. }))
                if conflict_commit_ts > start_ts =>
            {
                self.stop_if_committed(&key)?;
                Err(error.into())
            }
            Err(Stop::Failed(error @ TxnError::Locked(_))) => {
                self.stop_if_committed(&key)?;
                self.locked.push(error);
                Ok(())
            }
            Err(Stop::Failed(error @ TxnError::AssertionFailed { .. })) => {
                self.assertion_failed.get_or_insert(error);
                Ok(())
            }
            Err(stop) => Err(stop),
        }
    }

    /// What stands in the way of a repeated request may be the commit of its own transaction.
    fn stop_if_committed(&self, key: &EncodedKey) -> Result<(), Stop> {
        match self.txn.fate(key) {
            Fate::Committed(commit_ts) => Err(Stop::Committed(commit_ts)),
            Fate::RolledBack | Fate::Unknown { .. } => Ok(()),
        }
    }

    /// The timestamp from which on the key may be committed; 0 when only in two phases.
    fn check_and_lock(&mut self, change: Change) -> Result<u64, Stop> {
        if let Checked::LockedBefore { min_commit_ts } = check_mutation(&self.txn, self.wish, &change)? {
            return Ok(min_commit_ts);
        }
        let Some(kind) = change.kind else {
            // Nothing is written here, so it does not matter what others have read.
            let least = self.wish.min_commit_ts.max(self.wish.start_ts.saturating_add(1));
            return Ok(if self.mode == Mode::TwoPhase { 0 } else { least });
        };
        let mut lock = self.wish.lock(kind);
        if kind == LockKind::Put {
            if change.value.len() <= SHORT_VALUE_MAX {
                lock.short_value = Some(change.value);
            } else {
                self.txn.put_value(change.key.clone(), change.value);
            }
        }
        if self.mode == Mode::TwoPhase {
            self.txn.put_lock(change.key, lock);
            return Ok(0);
        }
        let least = self.max_ts.max(self.wish.start_ts).saturating_add(1).max(self.wish.min_commit_ts);
        if self.wish.max_commit_ts != 0 && least > self.wish.max_commit_ts {
            self.stop_if_committed(&change.key)?;
            self.txn.put_lock(change.key, lock);
            return Ok(0);
        }
        lock.min_commit_ts = least;
        if self.mode.is_async() {
            let is_primary = EncodedKey::of(&self.wish.primary) == change.key;
            let secondaries = if is_primary { self.wish.secondaries.clone() } else { Vec::new() };
            lock.async_commit = Some(AsyncCommit { secondaries });
        }
        if matches!(self.mode, Mode::OnePhase { .. }) {
            self.one_phase.push((change.key, lock));
        } else {
            self.txn.put_lock(change.key, lock);
        }
        Ok(least)
    }

    /// From here on, the keys are locked for two phases. Locks that are there already stay as they are.
    fn fall_back(&mut self) {
        self.mode = Mode::TwoPhase;
        self.min_commit_ts = 0;
        for (key, lock) in self.one_phase.drain(..) {
            self.txn.put_lock(key, lock);
        }
    }

    fn finish(mut self) -> Result<(PrewriteResponse, Vec<super::columns::Change>), TxnError> {
        if let Some(error) = self.assertion_failed {
            return Err(error);
        }
        let mut response = self.mode.answer(self.min_commit_ts);
        if !self.locked.is_empty() {
            response.one_pc_commit_ts = 0;
            response.errors = self.locked.into_iter().map(TxnError::into_key_error).collect();
            return Ok((response, Vec::new()));
        }
        for (key, lock) in self.one_phase {
            self.txn.put_write(key, self.min_commit_ts, Write::commit(&lock, self.min_commit_ts));
        }
        Ok((response, self.txn.into_changes()))
    }
}
