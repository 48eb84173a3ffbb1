//! The model behind its lock, the clock, and the replies that come later.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc, oneshot};

use super::grpc::Unfinished;
use crate::control::Node;
use crate::model::{Call, Cluster, Met, Now, Reply, Token};

/// What the unfinished messages of all clients may hold, in bytes.
const MOST_UNFINISHED: usize = 512 << 20;

/// Where a late reply goes.
#[derive(Debug)]
pub(super) enum Waiter {
    /// To a call of its own.
    Unary(oneshot::Sender<Reply>),
    /// Into a batch stream, under the id of the request.
    Batch(mpsc::UnboundedSender<(u64, Reply)>, u64),
}

#[derive(Debug)]
struct State {
    cluster: Cluster,
    waiters: HashMap<Token, Waiter>,
    /// How many calls each server has had, by method.
    calls: BTreeMap<(Node, &'static str), u64>,
    /// Tasks that wait for a fault rule to act.
    watchers: Vec<Waker>,
    /// When the driver will wake up by itself.
    armed: Option<Now>,
    /// The revision of PD's keys that watching streams have been woken for.
    revision: i64,
}

/// What the server's tasks and the handle share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Of the messages that clients are sending.
    pub(super) unfinished: Arc<Unfinished>,
    /// Tells the driver that something is due earlier than it thinks.
    due: Notify,
    /// Tells streams that watch PD's keys that these have changed.
    revised: Notify,
    /// Tells threads that wait for a fault rule that one has acted.
    hit: Condvar,
    /// How far the cluster's clock is ahead of the host's, in nanoseconds.
    ahead_ns: AtomicI64,
}

impl State {
    /// Makes one call.
    fn call(&mut self, now: Now, call: Call) -> Met {
        let facts = call.facts();
        *self.calls.entry((facts.node, facts.method)).or_default() += 1;
        self.cluster.call(now, call)
    }
}

impl Shared {
    pub(super) fn new(cluster: Cluster) -> Self {
        let revision = cluster.pd.revision();
        Self {
            state: Mutex::new(State {
                cluster,
                waiters: HashMap::new(),
                calls: BTreeMap::new(),
                watchers: Vec::new(),
                armed: None,
                revision,
            }),
            unfinished: Unfinished::new(MOST_UNFINISHED),
            due: Notify::new(),
            revised: Notify::new(),
            hit: Condvar::new(),
            ahead_ns: AtomicI64::new(0),
        }
    }

    /// The cluster's time.
    pub(super) fn now(&self) -> Now {
        // A host whose clock stands before the epoch gets the epoch.
        let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead = self.ahead_ns.load(Ordering::Relaxed);
        let by = Duration::from_nanos(ahead.unsigned_abs());
        Now::from_unix(if ahead < 0 { host.saturating_sub(by) } else { host.saturating_add(by) })
    }

    /// Moves the cluster's clock against the host's.
    pub(super) fn shift_clock(&self, by_ns: i64) {
        self.ahead_ns.fetch_add(by_ns, Ordering::Relaxed);
        self.due.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The model has no state that a panic could leave half changed and that a test would then rely on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when PD's keys have changed since it was first polled or enabled.
    pub(super) fn revised(&self) -> tokio::sync::futures::Notified<'_> {
        self.revised.notified()
    }

    /// Does something to the cluster, then delivers what has become ready.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Cluster, Now) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state.cluster, self.now());
        self.settle(&mut state);
        // A rule may have been taken away under those who wait for it.
        self.hit.notify_all();
        state.watchers.drain(..).for_each(Waker::wake);
        result
    }

    /// Makes calls to the cluster in one go: `act` gets a function that makes one, and says for each that is replied
    /// later where its reply goes.
    pub(super) fn call_all<R>(
        &self,
        act: impl FnOnce(&mut dyn FnMut(Call, &dyn Fn() -> Waiter) -> Option<Reply>) -> R,
    ) -> R {
        let mut state = self.lock();
        let now = self.now();
        let result = act(&mut |call, waiter| match state.call(now, call) {
            Met::Now(reply) => Some(reply),
            Met::Later(token) => {
                state.waiters.insert(token, waiter());
                None
            }
        });
        self.settle(&mut state);
        result
    }

    /// Makes one call; its reply comes at once or through the receiver.
    pub(super) fn call(&self, call: Call) -> Result<Reply, oneshot::Receiver<Reply>> {
        let mut state = self.lock();
        let met = state.call(self.now(), call);
        let result = match met {
            Met::Now(reply) => Ok(reply),
            Met::Later(token) => {
                let (send, receive) = oneshot::channel();
                state.waiters.insert(token, Waiter::Unary(send));
                Err(receive)
            }
        };
        self.settle(&mut state);
        result
    }

    /// Delivers what has become ready, and sees to it that the driver wakes up in time.
    fn settle(&self, state: &mut State) {
        for (token, reply) in state.cluster.take_replies() {
            // A waiter that is gone wants no reply.
            match state.waiters.remove(&token) {
                Some(Waiter::Unary(send)) => drop(send.send(reply)),
                Some(Waiter::Batch(send, id)) => drop(send.send((id, reply))),
                None => {}
            }
        }
        if !state.cluster.faults().is_empty() {
            self.hit.notify_all();
            state.watchers.drain(..).for_each(Waker::wake);
        }
        let revision = state.cluster.pd.revision();
        if revision != state.revision {
            state.revision = revision;
            self.revised.notify_waiters();
        }
        let next = state.cluster.next_wake();
        if next.is_some() && next != state.armed {
            state.armed = next;
            self.due.notify_one();
        }
    }

    /// Makes happen what only time makes happen; ends when it is dropped.
    pub(super) async fn drive(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                state.cluster.wake(self.now());
                self.settle(&mut state);
                state.armed = state.cluster.next_wake();
                state.armed
            };
            let Some(at) = next else {
                self.due.notified().await;
                continue;
            };
            // Once more after the host's clock was set back, at the latest after a second.
            let sleep = at.since(self.now()).min(Duration::from_secs(1));
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = self.due.notified() => {}
            }
        }
    }

    /// How many calls each server has had, by method.
    pub(super) fn calls(&self) -> BTreeMap<(Node, &'static str), u64> {
        self.lock().calls.clone()
    }

    /// Blocks until `done` or until `timeout` has passed; returns what `done` said last.
    pub(super) fn wait(&self, timeout: Duration, mut done: impl FnMut(&Cluster) -> bool) -> bool {
        let state = self.lock();
        let waited = self.hit.wait_timeout_while(state, timeout, |state| !done(&state.cluster));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        done(&state.cluster)
    }

    /// Polls whether `done`; if not, the task is woken when a fault rule may have acted.
    pub(super) fn poll(&self, waker: &Waker, done: impl FnOnce(&Cluster) -> bool) -> bool {
        let mut state = self.lock();
        let ready = done(&state.cluster);
        if !ready && !state.watchers.iter().any(|other| other.will_wake(waker)) {
            state.watchers.push(waker.clone());
        }
        ready
    }
}
