//! Requests for pessimistic locks that wait for another transaction to let go of the key.
//!
//! Each key has a queue, the oldest transaction first. When its lock is released, the head wakes up: a usual request
//! is answered with a conflict, so that its client tries again, and a little later so are all others that waited at
//! that time; a request for a forced lock tries itself again. Whoever waits too long is told the lock.
//!
//! Spec: `cluster.md` 7.3. TiKV: `storage/lock_manager/lock_waiting_queue.rs`, `server/lock_manager/waiter_manager.rs`,
//! `storage/txn/scheduler.rs: on_wait_for_lock, on_release_locks`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tikv_proto::deadlock::WaitForEntry;
use tikv_proto::kvrpcpb::write_conflict::Reason;
use tikv_proto::kvrpcpb::{Context, LockInfo};

use super::acquire::{LockKey, LockWish};
use super::detector::{Detector, Wait};
use super::error::TxnError;
use super::key::EncodedKey;
use super::txn::Released;
use crate::model::Now;

/// The longest time that a request waits, and the time of one that names none.
// TiKV: `pessimistic-txn.wait-for-lock-timeout`
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(1000);
/// How long the rest of a queue sleeps on when its head has been woken.
// TiKV: `pessimistic-txn.wake-up-delay-duration`
const WAKE_UP_DELAY: Duration = Duration::from_millis(20);

/// Names a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId(u64);

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) store: u64,
    pub(super) context: Option<Context>,
    pub(super) wish: LockWish,
    pub(super) key: LockKey,
    /// The transaction has no other lock, so nobody can wait for it.
    pub(super) first_lock: bool,
    /// The lock that it waits for.
    pub(super) lock: LockInfo,
    /// When the key was last seen to be locked anew.
    pub(super) changed: Option<Now>,
    /// By how many wake-ups the queue had been gone through when the request joined it.
    joined: u64,
    until: Now,
}

/// Those who wait for one key.
#[derive(Debug, Default)]
struct Queue {
    /// By start timestamp: the oldest transaction is the head.
    waiting: BTreeSet<(u64, WaitId)>,
    wake_ups: u64,
    /// The last lock that was released.
    released: Option<Released>,
    /// When the rest is woken up.
    rest: Option<Now>,
}

/// What only time makes happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    WakeRest(EncodedKey),
    TimeOut(WaitId),
}

/// All requests that wait.
#[derive(Debug, Default)]
pub(super) struct LockWaits {
    waiters: BTreeMap<WaitId, Waiter>,
    queues: BTreeMap<EncodedKey, Queue>,
    timers: BTreeSet<(Now, Due)>,
    detector: Detector,
    last_id: u64,
    /// Whose wait has ended with an error.
    pub(super) failed: VecDeque<(Waiter, WaitId, TxnError)>,
    /// Who is to try again.
    pub(super) resumed: VecDeque<WaitId>,
}

impl Waiter {
    pub(super) fn new(
        store: u64,
        context: Option<Context>,
        wish: LockWish,
        key: LockKey,
        first_lock: bool,
        lock: LockInfo,
    ) -> Self {
        let (changed, joined, until) = (None, 0, Now::default());
        Self { store, context, wish, key, first_lock, lock, changed, joined, until }
    }

    /// The waits for all holders of the lock.
    fn waits(&self) -> Vec<Wait> {
        let holders = if self.lock.shared_lock_infos.is_empty() {
            std::slice::from_ref(&self.lock)
        } else {
            &self.lock.shared_lock_infos
        };
        holders.iter().map(|holder| self.wait(holder.lock_version)).collect()
    }

    fn wait(&self, holder: u64) -> Wait {
        let tag = self.context.as_ref().map(|context| context.resource_group_tag.clone());
        Wait {
            waiter: self.wish.start_ts,
            holder,
            key_hash: self.key.key.hash(),
            key: self.key.key.user(),
            tag: tag.unwrap_or_default(),
        }
    }

    fn conflict(&self, with: &Released) -> TxnError {
        TxnError::WriteConflict {
            start_ts: self.wish.start_ts,
            conflict_start_ts: with.start_ts,
            conflict_commit_ts: with.commit_ts,
            key: self.key.key.user(),
            primary: self.wish.primary.clone(),
            reason: Reason::PessimisticRetry,
        }
    }
}

impl LockWaits {
    /// Lets a request wait, `timeout_ms` at most (0: as long as is usual). A deadlock ends the wait at once.
    pub(super) fn push(&mut self, now: Now, mut waiter: Waiter, timeout_ms: u64) -> WaitId {
        self.last_id += 1;
        let id = WaitId(self.last_id);
        let timeout = match timeout_ms {
            0 => LONGEST_WAIT,
            ms => LONGEST_WAIT.min(Duration::from_millis(ms)),
        };
        waiter.until = now.after(timeout);
        self.timers.insert((waiter.until, Due::TimeOut(id)));
        self.enqueue(id, &mut waiter);
        let waits = if waiter.first_lock { Vec::new() } else { waiter.waits() };
        self.waiters.insert(id, waiter);
        self.detect(now, id, &waits);
        id
    }

    /// Lets a request that tried again in vain wait on.
    pub(super) fn push_back(&mut self, id: WaitId) {
        if let Some(mut waiter) = self.waiters.remove(&id) {
            self.enqueue(id, &mut waiter);
            self.waiters.insert(id, waiter);
        }
    }

    fn enqueue(&mut self, id: WaitId, waiter: &mut Waiter) {
        let queue = self.queues.entry(waiter.key.key.clone()).or_default();
        waiter.joined = queue.wake_ups;
        queue.waiting.insert((waiter.wish.start_ts, id));
    }

    fn detect(&mut self, now: Now, id: WaitId, waits: &[Wait]) {
        let circle = waits.iter().find_map(|wait| Some((wait, self.detector.detect(now, wait)?)));
        let Some((wait, circle)) = circle else { return };
        let Some(waiter) = self.take(id) else { return };
        if !waiter.lock.shared_lock_infos.is_empty() {
            self.forget_waits(&waiter);
        }
        let error = TxnError::Deadlock {
            start_ts: wait.waiter,
            lock_ts: wait.holder,
            lock_key: wait.key.clone(),
            deadlock_key_hash: circle.key_hash,
            wait_chain: circle.chain,
        };
        self.failed.push_back((waiter, id, error));
    }

    /// Takes a request out of its queue and away.
    fn take(&mut self, id: WaitId) -> Option<Waiter> {
        let waiter = self.waiters.remove(&id)?;
        self.timers.remove(&(waiter.until, Due::TimeOut(id)));
        self.leave_queue(&waiter.key.key, (waiter.wish.start_ts, id));
        Some(waiter)
    }

    fn leave_queue(&mut self, key: &EncodedKey, entry: (u64, WaitId)) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.waiting.remove(&entry);
            self.drop_if_empty(key);
        }
    }

    fn drop_if_empty(&mut self, key: &EncodedKey) {
        if let Some(queue) = self.queues.get(key)
            && queue.waiting.is_empty()
        {
            if let Some(at) = queue.rest {
                self.timers.remove(&(at, Due::WakeRest(key.clone())));
            }
            self.queues.remove(key);
        }
    }

    fn forget_waits(&mut self, waiter: &Waiter) {
        for wait in waiter.waits() {
            self.detector.forget(wait.waiter, wait.holder, wait.key_hash);
        }
    }

    /// The request that was resumed, still waiting as far as anyone else knows.
    pub(super) fn waiter(&self, id: WaitId) -> Option<&Waiter> {
        self.waiters.get(&id)
    }

    /// Ends a wait, as the request has its answer.
    pub(super) fn finish(&mut self, id: WaitId) -> Option<Waiter> {
        let waiter = self.take(id)?;
        self.forget_waits(&waiter);
        Some(waiter)
    }

    /// Ends the waits for keys in `[start, end)` without an answer; an empty end is open.
    pub(super) fn forget_range(&mut self, start: &Bytes, end: &Bytes) -> Vec<WaitId> {
        let lies = |waiter: &Waiter| {
            let key = waiter.key.key.as_bytes();
            key >= start && (end.is_empty() || key < end)
        };
        let ids: Vec<_> = self.waiters.iter().filter(|(_, waiter)| lies(waiter)).map(|(id, _)| *id).collect();
        ids.into_iter().filter(|id| self.finish(*id).is_some()).collect()
    }

    /// A key is no longer locked.
    pub(super) fn released(&mut self, now: Now, released: &Released) {
        let Some(queue) = self.queues.get_mut(&released.key) else { return };
        queue.released = Some(released.clone());
        let mut woken = Vec::new();
        let mut usual = 0;
        let waiters = &self.waiters;
        let is = |id: &WaitId, of: fn(&Waiter) -> bool| waiters.get(id).is_some_and(of);
        while let Some(&(start_ts, id)) = queue.waiting.first() {
            let shared = is(&id, |waiter| waiter.key.shared);
            // Those who share wake up together.
            if !woken.is_empty() && !shared {
                break;
            }
            queue.waiting.remove(&(start_ts, id));
            usual += u64::from(!is(&id, |waiter| waiter.wish.force));
            woken.push(id);
            if !shared {
                break;
            }
        }
        queue.wake_ups += usual;
        if usual > 0 && !queue.waiting.is_empty() {
            if let Some(at) = queue.rest {
                self.timers.remove(&(at, Due::WakeRest(released.key.clone())));
            }
            let at = now.after(WAKE_UP_DELAY);
            queue.rest = Some(at);
            self.timers.insert((at, Due::WakeRest(released.key.clone())));
        }
        self.drop_if_empty(&released.key);
        self.wake_up(woken, released);
    }

    fn wake_up(&mut self, woken: Vec<WaitId>, released: &Released) {
        for id in woken {
            if self.waiters.get(&id).is_some_and(|waiter| waiter.wish.force) {
                self.resumed.push_back(id);
            } else if let Some(waiter) = self.finish(id) {
                let error = waiter.conflict(released);
                self.failed.push_back((waiter, id, error));
            }
        }
    }

    /// A key has been locked: those who wait for it now wait for `lock`.
    pub(super) fn acquired(&mut self, now: Now, key: &EncodedKey, lock: &LockInfo) {
        let Some(queue) = self.queues.get(key) else { return };
        let ids: Vec<_> = queue.waiting.iter().map(|(_, id)| *id).collect();
        for id in ids {
            let Some(waiter) = self.waiters.get_mut(&id) else { continue };
            waiter.changed = Some(now);
            let shrinks = !waiter.lock.shared_lock_infos.is_empty() && !lock.shared_lock_infos.is_empty();
            if !shrinks && waiter.lock.lock_version == lock.lock_version {
                continue;
            }
            let before = waiter.waits();
            waiter.lock = lock.clone();
            // A usual request is woken up soon; its waits are left as they are.
            if waiter.first_lock || !waiter.wish.force {
                continue;
            }
            let after = waiter.waits();
            for wait in before {
                self.detector.forget(wait.waiter, wait.holder, wait.key_hash);
            }
            self.detect(now, id, &after);
        }
    }

    /// When time alone will make something happen.
    pub(super) fn next_wake(&self) -> Option<Now> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Makes happen what was due first, by `now`; false when nothing was.
    pub(super) fn wake(&mut self, now: Now) -> bool {
        if self.timers.first().is_none_or(|(at, _)| *at > now) {
            return false;
        }
        match self.timers.pop_first() {
            Some((_, Due::TimeOut(id))) => self.time_out(now, id),
            Some((_, Due::WakeRest(key))) => self.wake_rest(&key),
            None => {}
        }
        true
    }

    fn time_out(&mut self, now: Now, id: WaitId) {
        let Some(waiter) = self.finish(id) else { return };
        let mut lock = waiter.lock.clone();
        lock.duration_to_last_update_ms = waiter
            .changed
            .map_or(0, |at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX).max(1));
        self.failed.push_back((waiter, id, TxnError::Locked(Box::new(lock))));
    }

    /// Wakes those up who waited when the head of their queue was last woken, up to the first forced request.
    fn wake_rest(&mut self, key: &EncodedKey) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        queue.rest = None;
        let released = queue.released.clone();
        let mut woken = Vec::new();
        while let Some(&(start_ts, id)) = queue.waiting.first() {
            let Some(waiter) = self.waiters.get(&id) else { break };
            if waiter.joined >= queue.wake_ups {
                break;
            }
            queue.waiting.remove(&(start_ts, id));
            woken.push(id);
            if waiter.wish.force {
                break;
            }
        }
        self.drop_if_empty(key);
        if let Some(released) = released {
            self.wake_up(woken, &released);
        }
    }

    /// Who waits for whose lock on `store`.
    pub(super) fn entries(&self, store: u64) -> Vec<WaitForEntry> {
        let here = self.waiters.values().filter(|waiter| waiter.store == store);
        here.map(|waiter| waiter.wait(waiter.lock.lock_version).entry()).collect()
    }
}
