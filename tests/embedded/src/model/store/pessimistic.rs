//! The commands of pessimistic transactions: PessimisticLock, which may wait, and PessimisticRollback.
//!
//! Spec: `cluster.md` 7.2, 7.3, 7.8. TiKV: `txn/commands/{acquire_pessimistic_lock,acquire_pessimistic_lock_resumed,
//! pessimistic_rollback,pessimistic_rollback_read_phase}.rs`.

use bytes::Bytes;
use tikv_proto::kvrpcpb::*;
use tikv_proto::tikvpb::batch_commands_response::response;

use super::acquire::{LockKey, LockWish, NotLocked, Seen};
use super::admission::{Access, Admitted};
use super::answer::{Answer, Failure};
use super::error::{MAX_KEY_SIZE, TxnError};
use super::key::EncodedKey;
use super::locks::{KeyLock, Lock};
use super::raw::owned;
use super::txn::Txn;
use super::waits::{WaitId, Waiter};
use super::{Engine, Outcome, Place};

/// What a lock request came to.
#[derive(Debug)]
pub(super) enum Locking {
    Answer(Box<PessimisticLockResponse>),
    Waits(WaitId),
}

impl Engine {
    pub(super) fn pessimistic_lock(&mut self, at: Place<'_>, request: PessimisticLockRequest) -> Outcome {
        let answer = match self.try_pessimistic_lock(at, request) {
            Ok(Locking::Waits(id)) => return Outcome::Waits(id),
            Ok(Locking::Answer(answer)) => Ok(*answer),
            Err(failure) => Err(failure),
        };
        Outcome::Ready(response::Cmd::PessimisticLock(Answer::of(answer)))
    }

    fn try_pessimistic_lock(
        &mut self,
        at: Place<'_>,
        request: PessimisticLockRequest,
    ) -> Result<Locking, Failure> {
        let context = request.context.as_ref();
        let named = request.mutations.iter().map(|mutation| &mutation.key);
        self.api.check_keys(context, "acquire_pessimistic_lock", named)?;
        let keys = request.mutations.iter().map(LockKey::new).collect::<Result<Vec<_>, _>>()?;
        let place = self.admit(at, context, Access::Write)?;
        let wish = LockWish::new(&request, self.pessimistic_in_memory);
        if wish.force && keys.len() > 1 {
            return Err(TxnError::Other("a forced lock takes one key").into());
        }
        if (wish.return_values || !wish.only_if_exists)
            && keys.iter().any(|key| wish.reads(key.must_be_absent))
        {
            self.raise_max_ts(wish.for_update_ts);
        }
        let mut txn = Txn::new(&self.columns, wish.start_ts);
        let mut seen = Vec::with_capacity(keys.len());
        for key in keys {
            place.check_point(key.key.as_bytes())?;
            match txn.acquire(&wish, &key) {
                Ok(what) => seen.push(what),
                Err(NotLocked::Failed(error)) => return Err(error.into()),
                Err(NotLocked::Held(lock)) => return Ok(self.wait_for(at, &request, wish, key, *lock)),
                Err(NotLocked::Growing(mut shared)) => {
                    // Nobody shall join any more, so that this key comes free; the client asks again.
                    shared.shrink_only = true;
                    let error = TxnError::Locked(Box::new(shared.info(&key.key)));
                    let mut txn = Txn::new(&self.columns, wish.start_ts);
                    txn.put_lock(key.key, KeyLock::Shared(shared));
                    let effects = txn.into_effects();
                    self.apply(at, effects);
                    return Err(error.into());
                }
            }
        }
        let effects = txn.into_effects();
        self.apply(at, effects);
        Ok(Locking::Answer(Box::new(granted(&wish, seen))))
    }

    /// A request that met `lock`: it gives up what it would have locked and waits, if its client lets it.
    fn wait_for(
        &mut self,
        at: Place<'_>,
        request: &PessimisticLockRequest,
        wish: LockWish,
        key: LockKey,
        lock: LockInfo,
    ) -> Locking {
        let Ok(timeout_ms) = u64::try_from(request.wait_timeout) else {
            return Locking::Answer(Box::new(refused(&wish, TxnError::Locked(Box::new(lock)))));
        };
        let context = request.context.clone();
        let waiter = Waiter::new(at.store, context, wish, key, request.is_first_lock, lock);
        let id = self.waits.push(at.now, waiter, timeout_ms);
        self.settle_waits(at);
        Locking::Waits(id)
    }

    /// Lets a request that was woken up try again.
    pub(super) fn resume(&mut self, at: Place<'_>, id: WaitId) {
        let Some(waiter) = self.waits.waiter(id).cloned() else { return };
        let (wish, key) = (&waiter.wish, &waiter.key);
        let admitted =
            self.admit(Place { store: waiter.store, ..at }, waiter.context.as_ref(), Access::Write);
        let place = match admitted {
            Ok(place) => place,
            Err(error) => {
                let results = vec![failed_result()];
                let region_error = Some(error);
                let answer = PessimisticLockResponse { region_error, results, ..Default::default() };
                return self.finish_wait(id, answer);
            }
        };
        if wish.reads(key.must_be_absent) {
            self.raise_max_ts(wish.for_update_ts);
        }
        let mut txn = Txn::new(&self.columns, wish.start_ts);
        let key = LockKey { shared: false, ..key.clone() };
        let tried = place.check_point(key.key.as_bytes()).map_err(NotLocked::Failed);
        match tried.and_then(|()| txn.acquire(wish, &key)) {
            Ok(seen) => {
                let effects = txn.into_effects();
                self.finish_wait(id, granted(wish, vec![seen]));
                self.apply(at, effects);
            }
            Err(NotLocked::Held(lock)) if lock.shared_lock_infos.is_empty() => self.waits.push_back(id),
            Err(NotLocked::Held(lock)) => self.finish_wait(id, refused(wish, TxnError::Locked(lock))),
            Err(NotLocked::Growing(shared)) => {
                let error = TxnError::Locked(Box::new(shared.info(&key.key)));
                self.finish_wait(id, refused(wish, error));
            }
            Err(NotLocked::Failed(error)) => self.finish_wait(id, refused(wish, error)),
        }
    }

    fn finish_wait(&mut self, id: WaitId, answer: PessimisticLockResponse) {
        if self.waits.finish(id).is_some() {
            self.finished.push_back((id, response::Cmd::PessimisticLock(answer)));
        }
    }

    pub(super) fn pessimistic_rollback(
        &mut self,
        at: Place<'_>,
        request: PessimisticRollbackRequest,
    ) -> Result<PessimisticRollbackResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Write)?;
        let ours = |lock: &Lock| {
            lock.start_ts == request.start_version
                && lock.is_pessimistic()
                && lock.for_update_ts <= request.for_update_ts
        };
        let mut txn = Txn::new(&self.columns, request.start_version);
        for key in rollback_keys(self, &place, &request, ours)? {
            if let Some(found) = txn.lock(&key)
                && found.of(request.start_version).is_some_and(ours)
            {
                txn.give_back(key, &found, 0);
            }
        }
        let effects = txn.into_effects();
        self.apply(at, effects);
        Ok(PessimisticRollbackResponse::default())
    }
}

/// The keys to roll back: those that are named or, if none is, all that the transaction has locked in the region.
fn rollback_keys(
    engine: &Engine,
    place: &Admitted<'_>,
    request: &PessimisticRollbackRequest,
    ours: impl Fn(&Lock) -> bool,
) -> Result<Vec<EncodedKey>, TxnError> {
    if request.keys.is_empty() {
        let locks = engine.columns.locks(&place.region.start, &place.region.end);
        return Ok(locks.filter(|(_, lock)| lock.holders().any(&ours)).map(|(key, _)| key).collect());
    }
    let keys = request.keys.iter().map(|user| {
        let key = EncodedKey::of(user);
        place.check_point(key.as_bytes()).map(|()| key)
    });
    keys.collect()
}

impl LockWish {
    fn new(request: &PessimisticLockRequest, in_memory: bool) -> Self {
        let shared = request.mutations.iter().any(|mutation| mutation.op() == Op::SharedPessimisticLock);
        Self {
            start_ts: request.start_version,
            primary: owned(&request.primary_lock),
            ttl_ms: request.lock_ttl,
            for_update_ts: request.for_update_ts,
            min_commit_ts: request.min_commit_ts,
            return_values: request.return_values,
            check_existence: request.check_existence,
            only_if_exists: request.lock_only_if_exists,
            force: request.wake_up_mode() == PessimisticLockWakeUpMode::WakeUpModeForceLock,
            in_memory: in_memory && !shared,
        }
    }
}

impl LockKey {
    fn new(mutation: &Mutation) -> Result<Self, TxnError> {
        let shared = match Op::try_from(mutation.op) {
            Ok(Op::PessimisticLock) => false,
            Ok(Op::SharedPessimisticLock) => true,
            _ => return Err(TxnError::Other("mismatch Op in pessimistic lock mutations")),
        };
        let key = EncodedKey::of(&mutation.key);
        let size = key.as_bytes().len();
        if size > MAX_KEY_SIZE {
            return Err(TxnError::KeyTooLarge { size });
        }
        Ok(Self { key, must_be_absent: mutation.assertion() == Assertion::NotExist, shared })
    }
}

/// The answer to a request that got its locks.
fn granted(wish: &LockWish, seen: Vec<Seen>) -> PessimisticLockResponse {
    let mut answer = PessimisticLockResponse::default();
    if wish.force {
        answer.results = seen.into_iter().map(result).collect();
        return answer;
    }
    for what in seen {
        match what {
            Seen::Nothing => {}
            Seen::Existence(exists) => answer.not_founds.push(!exists),
            Seen::Value(value) | Seen::Conflict { value, .. } => {
                answer.not_founds.push(value.is_none());
                answer.values.push(value.unwrap_or_default());
            }
        }
    }
    answer
}

fn result(seen: Seen) -> PessimisticLockKeyResult {
    let kind = PessimisticLockKeyResultType::LockResultNormal;
    let mut told = PessimisticLockKeyResult { r#type: kind.into(), ..Default::default() };
    let fill = |told: &mut PessimisticLockKeyResult, value: Option<Bytes>| {
        told.existence = value.is_some();
        told.value = value.unwrap_or_default();
    };
    match seen {
        Seen::Nothing => {}
        Seen::Existence(exists) => told.existence = exists,
        Seen::Value(value) => fill(&mut told, value),
        Seen::Conflict { value, conflict_ts } => {
            told.set_type(PessimisticLockKeyResultType::LockResultLockedWithConflict);
            told.locked_with_conflict_ts = conflict_ts;
            fill(&mut told, value);
        }
    }
    told
}

fn failed_result() -> PessimisticLockKeyResult {
    let kind = PessimisticLockKeyResultType::LockResultFailed;
    PessimisticLockKeyResult { r#type: kind.into(), ..Default::default() }
}

/// The answer to a request that met a lock and did not get it.
pub(super) fn refused(wish: &LockWish, error: TxnError) -> PessimisticLockResponse {
    PessimisticLockResponse {
        errors: vec![error.into_key_error()],
        results: if wish.force { vec![failed_result()] } else { Vec::new() },
        ..Default::default()
    }
}
