//! Prewrite: the first phase of a commit, or all of it; and Flush, a prewrite of part of a pipelined transaction.
//!
//! Each mutation is checked and then locked; the changes of all of them are applied at once, or none. A transaction
//! whose client asked for it gets a timestamp from which on it may be committed (async commit), or is committed at it
//! right away (one phase). A transaction for which that timestamp would be too large falls back to two phases.
//!
//! A flush is not atomic: the keys that others have locked are told, the rest is written.
//!
//! Spec: `cluster.md` 7.1, 7.14, 7.15. TiKV: `txn/commands/{prewrite,flush}.rs`, `txn/actions/prewrite.rs`.

use bytes::Bytes;
use tikv_proto::kvrpcpb::prewrite_request::PessimisticAction;
use tikv_proto::kvrpcpb::*;

use super::admission::{Access, Admitted};
use super::answer::Failure;
use super::constraint::{Standing, check_mutation};
use super::error::TxnError;
use super::key::EncodedKey;
use super::locks::{AsyncCommit, KeyLock, Lock, LockKind};
use super::mvcc::Fate;
use super::records::{SHORT_VALUE_MAX, Write};
use super::txn::{Effects, Txn};
use super::wish::{Change, TxnKind, Wish};
use super::{Engine, Place};
use crate::model::region_error::max_timestamp_not_synced;

/// More optimistic mutations than this are first looked at together: a range in which nothing was ever written has
/// nothing to check.
// TiKV: txn/commands/prewrite.rs: FORWARD_MIN_MUTATIONS_NUM
const LOOK_TOGETHER_ABOVE: usize = 12;

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

/// A key of a one-phase transaction, which gets no lock unless it falls back.
#[derive(Debug)]
struct OnePhaseKey {
    key: EncodedKey,
    lock: Lock,
    /// A pessimistic lock lies there.
    held: bool,
}

/// A prewrite at work.
#[derive(Debug)]
struct Prewrite<'a> {
    txn: Txn<'a>,
    wish: &'a Wish,
    max_ts: u64,
    mode: Mode,
    one_phase: Vec<OnePhaseKey>,
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
        let named = request.mutations.iter().map(|mutation| &mutation.key);
        self.api.check_keys(context, "prewrite", named)?;
        let mut changes = Change::of_prewrite(&request)?;
        let mode = Mode::of(&request);
        let place = self.admit(at, context, Access::WriteData)?;
        if mode != Mode::TwoPhase && at.topology.conditions.is_max_ts_unsynced(place.region.id) {
            return Err(max_timestamp_not_synced(place.region.id).into());
        }
        let sent_again = context.is_some_and(|context| context.is_retry_request);
        let mut wish = Wish::of_prewrite(&request, sent_again || self.is_committed(request.start_version));
        self.skip_checks_of_nothing(&mut wish, &mut changes);
        Change::constrain(&mut changes, &request)?;
        self.raise_max_ts_for(&wish, &changes);
        let mut prewrite = Prewrite::new(self, &wish, mode);
        for change in changes {
            match prewrite.step(&place, change) {
                Ok(()) => {}
                Err(Stop::Committed(commit_ts)) => return Ok(prewrite.mode.answer(commit_ts)),
                Err(Stop::Failed(error)) => return Err(error.into()),
            }
        }
        let (response, effects) = prewrite.finish()?;
        self.apply(at, effects);
        Ok(response)
    }

    pub(super) fn flush(&mut self, at: Place<'_>, request: FlushRequest) -> Result<FlushResponse, Failure> {
        let context = request.context.as_ref();
        let named = request.mutations.iter().map(|mutation| &mutation.key);
        self.api.check_keys(context, "flush", named)?;
        let changes = Change::all(&request.mutations)?;
        let place = self.admit(at, context, Access::WriteData)?;
        if request.generation == 0 {
            return Err(TxnError::Other("generation should be greater than 0 for Flush requests").into());
        }
        let wish = Wish::of_flush(&request);
        self.raise_max_ts_for(&wish, &changes);
        let mut prewrite = Prewrite::new(self, &wish, Mode::TwoPhase);
        for change in changes {
            match prewrite.step(&place, change) {
                // An older flush that comes late changes nothing.
                Ok(()) | Err(Stop::Failed(TxnError::GenerationOutOfOrder { .. })) => {}
                Err(Stop::Committed(_)) => return Ok(FlushResponse::default()),
                Err(Stop::Failed(error)) => return Err(error.into()),
            }
        }
        if let Some(error) = prewrite.assertion_failed {
            return Err(error.into());
        }
        let errors = prewrite.locked.into_iter().map(TxnError::into_key_error).collect();
        let effects = prewrite.txn.into_effects();
        self.apply(at, effects);
        Ok(FlushResponse { errors, ..Default::default() })
    }

    /// Who finds a key absent has read it.
    fn raise_max_ts_for(&mut self, wish: &Wish, changes: &[Change]) {
        if changes.iter().any(|change| change.must_be_absent) {
            self.raise_max_ts(wish.start_ts);
        }
    }

    fn skip_checks_of_nothing(&self, wish: &mut Wish, changes: &mut [Change]) {
        if wish.is_pessimistic() || changes.len() <= LOOK_TOGETHER_ABOVE {
            return;
        }
        changes.sort_by(|one, other| one.key.cmp(&other.key));
        let (Some(first), Some(last)) = (changes.first(), changes.last()) else { return };
        if self.columns.versions(first.key.as_bytes(), &last.key.successor()).next().is_none() {
            wish.kind = TxnKind::Optimistic { skip_constraint_check: true };
        }
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

impl<'a> Prewrite<'a> {
    fn new(engine: &'a Engine, wish: &'a Wish, mode: Mode) -> Self {
        Self {
            txn: Txn::new(&engine.columns, wish.start_ts),
            wish,
            max_ts: engine.max_ts,
            mode,
            one_phase: Vec::new(),
            min_commit_ts: 0,
            locked: Vec::new(),
            assertion_failed: None,
        }
    }

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
            Err(Stop::Failed(error @ TxnError::PessimisticLockNotFound { .. })) => {
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
        if self.wish.is_pessimistic() && change.kind.is_none() {
            return Err(TxnError::Other("cannot handle checkNotExists in pessimistic prewrite").into());
        }
        let standing = check_mutation(&self.txn, self.wish, &change)?;
        if let Standing::Prewritten { min_commit_ts } = standing
            && self.wish.generation == 0
        {
            return Ok(min_commit_ts);
        }
        let Some(kind) = change.kind else {
            // Nothing is written here, so it does not matter what others have read.
            let least = self.wish.min_commit_ts.max(self.wish.start_ts.saturating_add(1));
            return Ok(if self.mode == Mode::TwoPhase { 0 } else { least });
        };
        self.lock(change, kind, standing)
    }

    /// Locks a key that may be locked.
    fn lock(&mut self, change: Change, kind: LockKind, standing: Standing) -> Result<u64, Stop> {
        let new = change.action != PessimisticAction::DoPessimisticCheck
            || matches!(standing, Standing::Free { amended: true });
        let (held, shared) = match standing {
            Standing::Pessimistic { lock, shared } => (Some(lock), shared),
            Standing::Free { .. } | Standing::Prewritten { .. } => (None, None),
        };
        let mut lock = self.wish.lock(kind, held.as_ref());
        if kind == LockKind::Put {
            if change.value.len() <= SHORT_VALUE_MAX {
                lock.short_value = Some(change.value);
            } else {
                self.txn.put_value(change.key.clone(), change.value);
            }
        }
        let least = self.commit_from(&change.key, &mut lock)?;
        if let Some(shared) = shared {
            if least != 0 {
                return Err(TxnError::Other("shared lock prewrite needs two phases").into());
            }
            self.txn.put_lock(change.key, KeyLock::Shared(shared.with(lock)));
        } else if least != 0 && matches!(self.mode, Mode::OnePhase { .. }) {
            self.one_phase.push(OnePhaseKey { key: change.key, lock, held: held.is_some() });
        } else if new {
            self.txn.put_new_lock(change.key, KeyLock::Sole(lock));
        } else {
            self.txn.put_lock(change.key, KeyLock::Sole(lock));
        }
        Ok(least)
    }

    /// The timestamp from which on `lock` may be committed, which it then knows; 0 when only in two phases.
    fn commit_from(&self, key: &EncodedKey, lock: &mut Lock) -> Result<u64, Stop> {
        if self.mode == Mode::TwoPhase {
            return Ok(0);
        }
        let seen = self.max_ts.max(self.wish.start_ts).max(self.wish.for_update_ts());
        let least = seen.saturating_add(1).max(lock.min_commit_ts);
        if self.wish.max_commit_ts != 0 && least > self.wish.max_commit_ts {
            self.stop_if_committed(key)?;
            return Ok(0);
        }
        lock.min_commit_ts = least;
        if self.mode.is_async() {
            let is_primary = EncodedKey::of(&self.wish.primary) == *key;
            let secondaries: Vec<Bytes> = if is_primary { self.wish.secondaries.clone() } else { Vec::new() };
            lock.async_commit = Some(AsyncCommit { secondaries });
        }
        Ok(least)
    }

    /// From here on, the keys are locked for two phases. Locks that are there already stay as they are.
    fn fall_back(&mut self) {
        self.mode = Mode::TwoPhase;
        self.min_commit_ts = 0;
        for OnePhaseKey { key, lock, held } in self.one_phase.drain(..) {
            if held {
                self.txn.put_lock(key, KeyLock::Sole(lock));
            } else {
                self.txn.put_new_lock(key, KeyLock::Sole(lock));
            }
        }
    }

    fn finish(mut self) -> Result<(PrewriteResponse, Effects), TxnError> {
        if let Some(error) = self.assertion_failed {
            return Err(error);
        }
        let mut response = self.mode.answer(self.min_commit_ts);
        if !self.locked.is_empty() {
            response.one_pc_commit_ts = 0;
            response.errors = self.locked.into_iter().map(TxnError::into_key_error).collect();
            return Ok((response, Effects::default()));
        }
        for OnePhaseKey { key, lock, held } in self.one_phase {
            if let Some(write) = Write::commit(&lock, self.min_commit_ts) {
                self.txn.put_write(key.clone(), self.min_commit_ts, write);
            }
            if held {
                self.txn.unlock(key, self.min_commit_ts);
            }
        }
        if matches!(self.mode, Mode::OnePhase { .. }) {
            self.txn.note_commit(self.min_commit_ts);
        }
        Ok((response, self.txn.into_effects()))
    }
}
