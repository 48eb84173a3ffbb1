//! One thread and virtual time: tasks that are ready run, one after the other; when none is, time moves to the next thing
//! that is due. A run is a function of its seed.
//!
//! * here: [`Executor`]: its queue of ready tasks, what is due, and [`Executor::run`];
//! * `sleep`: waiting for a time, and bounded waiting.
//!
//! Which of the ready tasks runs next is drawn from the seed in some runs, the oldest in others. Time only moves when nothing
//! is ready, so a program that spins is caught by counting polls. Tasks belong to a group, which can be killed: a client that dies.

mod sleep;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use fastrand::Rng;

use crate::digest::{Digest, Mark};

pub(crate) use sleep::{Sleep, within};

/// A task: a future of nobody's.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Which tasks die together.
pub(crate) type Group = u32;

/// The group of whatever never dies.
pub(crate) const WORLD: Group = 0;

/// Polls at one moment beyond which a run is taken to spin for ever.
const MOST_POLLS_AT_ONCE: u32 = 200_000;

/// Something to be done at a time.
pub(crate) type Act = Box<dyn FnOnce() + Send>;

enum Due {
    Wake(Waker),
    Act(Act),
}

/// When, and which of those at that time.
type DueKey = (u64, u64);

#[derive(Default)]
struct State {
    /// Nanoseconds since the world began.
    now: u64,
    next_due: u64,
    due: BTreeMap<DueKey, Due>,
    /// By id; an id is not used again. `None` while it is polled.
    tasks: BTreeMap<u64, Entry>,
    next_task: u64,
    /// Spawned while they could not be put in: their group dies at this moment.
    dying: Option<Group>,
}

struct Entry {
    group: Group,
    task: Option<Task>,
    waker: Arc<TaskWaker>,
}

type Ready = Arc<Mutex<VecDeque<u64>>>;

struct Shared {
    state: Mutex<State>,
    ready: Ready,
    digest: Digest,
    /// Draws which task is next; `None`: the oldest.
    order: Mutex<Option<Rng>>,
}

/// See the module. Clones share it.
#[derive(Clone)]
pub(crate) struct Executor(Arc<Shared>);

/// Why a run did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Nothing is ready and nothing is due.
    Deadlock,
    /// Tasks wake each other for ever.
    Livelock,
    /// The time that the run has is over.
    Late,
    /// The run was to stop.
    Stopped,
}

struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.ready).push_back(self.id);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Executor {
    /// An executor at time 0. With `order` ready tasks run in an order drawn from it.
    pub(crate) fn new(order: Option<Rng>, digest: Digest) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            ready: Arc::default(),
            digest,
            order: Mutex::new(order),
        }))
    }

    /// Nanoseconds since the world began.
    pub(crate) fn now(&self) -> u64 {
        lock(&self.0.state).now
    }

    /// Runs `task` beside the others.
    pub(crate) fn spawn(&self, group: Group, task: Task) {
        let mut state = lock(&self.0.state);
        if state.dying == Some(group) {
            drop(state);
            drop(task);
            return;
        }
        let id = state.next_task;
        state.next_task += 1;
        let ready = Arc::clone(&self.0.ready);
        let waker = Arc::new(TaskWaker { id, queued: AtomicBool::new(true), ready });
        state.tasks.insert(id, Entry { group, task: Some(task), waker });
        lock(&self.0.ready).push_back(id);
    }

    /// Does `act` at `at`, or as soon as it can when that is over.
    pub(crate) fn at(&self, at: u64, act: impl FnOnce() + Send + 'static) {
        self.put(at, Due::Act(Box::new(act)));
    }

    /// Does `act` after `by`.
    pub(crate) fn after(&self, by: Duration, act: impl FnOnce() + Send + 'static) {
        self.at(self.now().saturating_add(nanos(by)), act);
    }

    fn put(&self, at: u64, due: Due) -> DueKey {
        let mut state = lock(&self.0.state);
        let key = (at.max(state.now), state.next_due);
        state.next_due += 1;
        state.due.insert(key, due);
        key
    }

    fn forget(&self, key: DueKey) {
        let gone = lock(&self.0.state).due.remove(&key);
        drop(gone);
    }

    /// Waits until `at`.
    pub(crate) fn sleep_until(&self, at: u64) -> Sleep {
        Sleep::new(self.clone(), at)
    }

    /// Waits for `by`.
    pub(crate) fn sleep(&self, by: Duration) -> Sleep {
        self.sleep_until(self.now().saturating_add(nanos(by)))
    }

    /// Drops every task of `group`, as when its process dies.
    pub(crate) fn kill(&self, group: Group) {
        let dead: Vec<Task> = {
            let mut state = lock(&self.0.state);
            state.dying = Some(group);
            let ids: Vec<u64> =
                state.tasks.iter().filter(|(_, task)| task.group == group).map(|(&id, _)| id).collect();
            ids.into_iter().filter_map(|id| state.tasks.remove(&id)?.task).collect()
        };
        drop(dead);
        lock(&self.0.state).dying = None;
    }

    /// How many tasks of `group` have not ended.
    pub(crate) fn tasks(&self, group: Group) -> usize {
        lock(&self.0.state).tasks.values().filter(|task| task.group == group).count()
    }

    /// Ends the world: drops all that is left. What is dropped may still look at the time.
    pub(crate) fn end(&self) {
        let (tasks, due) = {
            let mut state = lock(&self.0.state);
            (std::mem::take(&mut state.tasks), std::mem::take(&mut state.due))
        };
        drop(tasks);
        drop(due);
    }

    /// Runs `root`, and whatever it spawns, until it is ready; at the latest until `until`. Stops when `stop` says so.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        root: impl Future<Output = T> + Send + 'static,
        until: u64,
        stop: impl Fn() -> bool,
    ) -> Result<T, Stuck> {
        let output: Arc<Mutex<Option<T>>> = Arc::default();
        let slot = Arc::clone(&output);
        self.spawn(WORLD, Box::pin(async move { *lock(&slot) = Some(root.await) }));
        let mut polls_now = 0_u32;
        loop {
            if let Some(output) = lock(&output).take() {
                return Ok(output);
            }
            if stop() {
                return Err(Stuck::Stopped);
            }
            if let Some(id) = self.next_ready() {
                self.poll(id);
                polls_now += 1;
                if polls_now > MOST_POLLS_AT_ONCE {
                    return Err(Stuck::Livelock);
                }
                continue;
            }
            let due = {
                let mut state = lock(&self.0.state);
                let Some(((at, _), due)) = state.due.pop_first() else { return Err(Stuck::Deadlock) };
                if at > state.now {
                    polls_now = 0;
                }
                if at > until {
                    return Err(Stuck::Late);
                }
                state.now = at;
                due
            };
            match due {
                Due::Wake(waker) => waker.wake(),
                Due::Act(act) => act(),
            }
        }
    }

    fn next_ready(&self) -> Option<u64> {
        let mut ready = lock(&self.0.ready);
        match &mut *lock(&self.0.order) {
            Some(rng) if ready.len() > 1 => {
                let at = rng.usize(..ready.len());
                ready.remove(at)
            }
            _ => ready.pop_front(),
        }
    }

    fn poll(&self, id: u64) {
        let taken = {
            let mut state = lock(&self.0.state);
            let now = state.now;
            state
                .tasks
                .get_mut(&id)
                .and_then(|entry| Some((now, entry.task.take()?, Arc::clone(&entry.waker))))
        };
        // A task that has ended is woken in vain.
        let Some((now, mut task, waker)) = taken else { return };
        self.0.digest.add(Mark::Poll, now, id, &[]);
        // From here on a wake-up queues it again.
        waker.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(waker);
        let ended = task.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(());
        let mut state = lock(&self.0.state);
        match state.tasks.get_mut(&id) {
            Some(entry) if !ended => entry.task = Some(task),
            _ => {
                // It ended, or was killed by itself.
                let gone = state.tasks.remove(&id);
                drop(state);
                drop((gone, task));
            }
        }
    }
}

/// The nanoseconds of a duration.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
