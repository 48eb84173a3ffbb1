//! What a prewrite or a flush is asked for, in the words of the engine.

use bytes::Bytes;
use tikv_proto::kvrpcpb::prewrite_request::PessimisticAction;
use tikv_proto::kvrpcpb::*;

use super::error::{MAX_KEY_SIZE, TxnError};
use super::key::EncodedKey;
use super::locks::{Lock, LockKind};
use super::raw::owned;

/// What is asked for, apart from the mutations.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) start_ts: u64,
    pub(super) primary: Bytes,
    pub(super) kind: TxnKind,
    pub(super) assertion_level: AssertionLevel,
    pub(super) ttl_ms: u64,
    pub(super) txn_size: u64,
    pub(super) txn_source: u64,
    pub(super) min_commit_ts: u64,
    /// 0: no limit.
    pub(super) max_commit_ts: u64,
    /// User keys of the locks besides the primary one, for async commit.
    pub(super) secondaries: Vec<Bytes>,
    /// The request may have been executed before.
    pub(super) is_retry: bool,
    /// Which flush of a pipelined transaction this is; 0: none.
    pub(super) generation: u64,
}

/// How the transaction keeps others away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TxnKind {
    /// It looks at its prewrite whether anyone came between.
    Optimistic {
        /// Its client has looked already.
        skip_constraint_check: bool,
    },
    /// It has locked most keys before.
    Pessimistic {
        /// Up to which timestamp it knows what was written.
        for_update_ts: u64,
    },
}

/// A mutation.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: EncodedKey,
    /// `None`: the key is only checked.
    pub(super) kind: Option<LockKind>,
    pub(super) value: Bytes,
    /// The key must have no value.
    pub(super) must_be_absent: bool,
    /// Others may hold the key, too.
    pub(super) shared: bool,
    pub(super) assertion: Assertion,
    /// Whether the transaction holds a pessimistic lock, as its client knows.
    pub(super) action: PessimisticAction,
    /// What that lock must say.
    pub(super) expected_for_update_ts: Option<u64>,
}

impl Wish {
    pub(super) fn of_prewrite(request: &PrewriteRequest, is_retry: bool) -> Self {
        let kind = match request.for_update_ts {
            0 => TxnKind::Optimistic { skip_constraint_check: request.skip_constraint_check },
            for_update_ts => TxnKind::Pessimistic { for_update_ts },
        };
        Self {
            start_ts: request.start_version,
            primary: owned(&request.primary_lock),
            kind,
            assertion_level: request.assertion_level(),
            ttl_ms: request.lock_ttl,
            txn_size: request.txn_size,
            txn_source: request.context.as_ref().map_or(0, |context| context.txn_source),
            min_commit_ts: request.min_commit_ts,
            max_commit_ts: request.max_commit_ts,
            secondaries: request.secondaries.iter().map(|key| owned(key)).collect(),
            is_retry,
            generation: 0,
        }
    }

    pub(super) fn of_flush(request: &FlushRequest) -> Self {
        Self {
            start_ts: request.start_ts,
            primary: owned(&request.primary_key),
            kind: TxnKind::Optimistic { skip_constraint_check: false },
            assertion_level: request.assertion_level(),
            ttl_ms: request.lock_ttl,
            // Not known, and no reason to resolve its locks one by one.
            txn_size: u64::MAX,
            txn_source: request.context.as_ref().map_or(0, |context| context.txn_source),
            // 0 would keep readers from pushing it.
            min_commit_ts: request.start_ts.saturating_add(1),
            max_commit_ts: 0,
            secondaries: Vec::new(),
            is_retry: request.context.as_ref().is_some_and(|context| context.is_retry_request),
            generation: request.generation,
        }
    }

    pub(super) fn is_pessimistic(&self) -> bool {
        matches!(self.kind, TxnKind::Pessimistic { .. })
    }

    /// 0 of an optimistic transaction.
    pub(super) fn for_update_ts(&self) -> u64 {
        match self.kind {
            TxnKind::Optimistic { .. } => 0,
            TxnKind::Pessimistic { for_update_ts } => for_update_ts,
        }
    }

    /// A lock for two phases, still without value; what `held`, its pessimistic lock, was given meanwhile stays.
    pub(super) fn lock(&self, kind: LockKind, held: Option<&Lock>) -> Lock {
        let at_least =
            |asked: u64, held_has: fn(&Lock) -> u64| held.map_or(asked, |lock| held_has(lock).max(asked));
        Lock {
            kind,
            primary: self.primary.clone(),
            start_ts: self.start_ts,
            ttl_ms: at_least(self.ttl_ms, |lock| lock.ttl_ms),
            txn_size: self.txn_size,
            txn_source: self.txn_source,
            short_value: None,
            for_update_ts: at_least(self.for_update_ts(), |lock| lock.for_update_ts),
            min_commit_ts: at_least(self.min_commit_ts, |lock| lock.min_commit_ts),
            async_commit: None,
            rolled_back: Vec::new(),
            generation: self.generation,
            with_conflict: false,
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
        let kind = match Op::try_from(mutation.op) {
            Ok(Op::Put | Op::Insert) => Some(LockKind::Put),
            Ok(Op::Del) => Some(LockKind::Delete),
            Ok(Op::Lock | Op::SharedLock) => Some(LockKind::Lock),
            Ok(Op::CheckNotExists) => None,
            Ok(Op::Rollback | Op::PessimisticLock | Op::SharedPessimisticLock) | Err(_) => {
                return Err(TxnError::Other("mismatch Op in prewrite mutations"));
            }
        };
        let must_be_absent = matches!(mutation.op(), Op::Insert | Op::CheckNotExists);
        let value = if kind == Some(LockKind::Put) { owned(&mutation.value) } else { Bytes::new() };
        Ok(Self {
            key,
            kind,
            value,
            must_be_absent,
            shared: mutation.op() == Op::SharedLock,
            assertion: mutation.assertion(),
            action: PessimisticAction::SkipPessimisticCheck,
            expected_for_update_ts: None,
        })
    }

    pub(super) fn all(mutations: &[Mutation]) -> Result<Vec<Self>, TxnError> {
        mutations.iter().map(Self::new).collect()
    }

    /// The mutations of a prewrite. Those of a pessimistic transaction for which the request names no action are
    /// passed over, as TiKV does.
    pub(super) fn of_prewrite(request: &PrewriteRequest) -> Result<Vec<Self>, TxnError> {
        let mut changes = Self::all(&request.mutations)?;
        if request.for_update_ts != 0 {
            for (change, action) in changes.iter_mut().zip(request.pessimistic_actions()) {
                change.action = action;
            }
            changes.truncate(request.pessimistic_actions.len());
        }
        Ok(changes)
    }

    /// Notes what the pessimistic locks of a prewrite must say.
    pub(super) fn constrain(changes: &mut [Self], request: &PrewriteRequest) -> Result<(), TxnError> {
        if request.for_update_ts == 0 {
            return Ok(());
        }
        for constraint in &request.for_update_ts_constraints {
            let index = usize::try_from(constraint.index).unwrap_or(usize::MAX);
            let change =
                changes.get_mut(index).ok_or(TxnError::Other("prewrite: constraint of no mutation"))?;
            change.expected_for_update_ts = Some(constraint.expected_for_update_ts);
        }
        Ok(())
    }
}
