//! The processes of clients: each has a runtime, a client and workers; it can die, and another takes its place.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tikv_client_core::client::{Client, Runtime};
use tikv_client_core::config::Config;
use tikv_client_core::replica::{ReadProfile, Replica};

use crate::exec::{Group, WORLD, within};
use crate::load::{Ctx, Worker};
use crate::net::SimRuntime;
use crate::plan::stream;
use crate::violation::Invariant;

/// How long a process that cannot connect waits before it tries again.
const PAUSE: Duration = Duration::from_millis(500);

struct Process {
    group: Group,
    runtime: Arc<SimRuntime>,
    client: Client,
}

/// A place for a process, and the work that is left for it.
struct Slot {
    process: Option<Process>,
    /// Operations that each worker has left.
    left: Vec<Arc<AtomicU32>>,
    clock: Arc<AtomicI64>,
    /// Counts its processes.
    lives: u64,
}

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    last_group: Group,
}

/// See the module. Clones share it.
#[derive(Clone)]
pub(crate) struct Processes {
    ctx: Ctx,
    state: Arc<Mutex<State>>,
    working: Arc<AtomicU32>,
}

/// Somebody is at work, or will be.
pub(crate) struct Working(Arc<AtomicU32>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Processes {
    pub(crate) fn new(ctx: Ctx) -> Self {
        let plan = Arc::clone(&ctx.plan);
        let mut rng = stream(plan.seed, 5);
        let skew = i64::try_from(plan.skew_ms).unwrap_or(0);
        let slots = (0..plan.clients).map(|_| Slot {
            process: None,
            left: (0..plan.workers)
                .map(|_| Arc::new(AtomicU32::new(u32::try_from(plan.ops).unwrap_or(u32::MAX))))
                .collect(),
            clock: Arc::new(AtomicI64::new(rng.i64(-skew..=skew))),
            lives: 0,
        });
        let state = State { slots: slots.collect(), last_group: WORLD };
        Self { ctx, state: Arc::new(Mutex::new(state)), working: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn working(&self) -> Working {
        self.working.fetch_add(1, Ordering::Relaxed);
        Working(Arc::clone(&self.working))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.working.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().slots.len()
    }

    /// Starts the process of `slot` without workers; tries until PD answers.
    pub(crate) async fn start(&self, slot: usize) {
        let ctx = &self.ctx;
        let (group, clock, seed) = {
            let mut state = self.lock();
            state.last_group += 1;
            let group = state.last_group;
            let Some(slot) = state.slots.get_mut(slot) else { return };
            slot.lives += 1;
            (group, Arc::clone(&slot.clock), ctx.plan.seed ^ u64::from(group) << 32)
        };
        let runtime = Arc::new(SimRuntime::new(ctx.executor.clone(), ctx.net.clone(), group, clock));
        let pd: Vec<String> = (0..ctx.plan.pd_members).map(|n| format!("pd-{n}:2379")).collect();
        let mut config = Config::default();
        config.deadline = ctx.plan.deadline;
        config.connect_timeout = Duration::from_secs(5);
        config.seed = Some(seed);
        config.trace = ctx.recorder.clone();
        config.reading = reading(seed);
        while !ctx.verdict.is_broken() {
            ctx.tally.count("call.connect");
            let until = ctx.executor.now() + 6_000_000_000;
            let connect = Client::connect(Arc::clone(&runtime) as Arc<dyn Runtime>, &pd, config.clone());
            match within(&ctx.executor, until, connect).await {
                Some(Ok(client)) => {
                    if let Some(slot) = self.lock().slots.get_mut(slot) {
                        slot.process = Some(Process { group, runtime, client });
                    }
                    return;
                }
                Some(Err(error)) if ctx.plan.faults.is_empty() => {
                    ctx.verdict.violate(Invariant::WrongError, format!("connect: {error:?}"));
                }
                Some(Err(_)) => ctx.tally.count("error.connect"),
                None => ctx.verdict.violate(Invariant::Deadline, "connect takes more than its time"),
            }
            ctx.executor.sleep(PAUSE).await;
        }
    }

    /// Starts the workers of `slot`.
    pub(crate) fn put_to_work(&self, slot: usize) {
        let (process, left, lives) = {
            let state = self.lock();
            let Some(slot) = state.slots.get(slot) else { return };
            let Some(process) = &slot.process else { return };
            ((process.group, process.client.clone()), slot.left.clone(), slot.lives)
        };
        let (group, client) = process;
        for (n, left) in left.into_iter().enumerate() {
            let part = 100 + (slot as u64) * 1_000_000 + lives * 1_000 + n as u64;
            let rng = stream(self.ctx.plan.seed, part);
            let worker = Worker { ctx: self.ctx.clone(), client: client.clone(), rng };
            let working = self.working();
            self.ctx.executor.spawn(
                group,
                Box::pin(async move {
                    worker.run(left).await;
                    drop(working);
                }),
            );
        }
    }

    /// Starts the process of `slot`, and its workers.
    pub(crate) async fn boot(&self, slot: usize) {
        self.start(slot).await;
        self.put_to_work(slot);
    }

    /// The process of `slot` dies, with all of its tasks; false when there is none.
    pub(crate) fn kill(&self, slot: usize) -> bool {
        let Some(process) = self.lock().slots.get_mut(slot).and_then(|slot| slot.process.take()) else {
            return false;
        };
        let Process { group, runtime, client } = process;
        self.ctx.executor.kill(group);
        drop(client);
        self.check_gone(group, &runtime);
        true
    }

    fn check_gone(&self, group: Group, runtime: &Arc<SimRuntime>) {
        let (tasks, holders) = (self.ctx.executor.tasks(group), Arc::strong_count(runtime));
        if tasks > 0 || holders > 1 {
            let story = format!("{tasks} tasks and {} holders of its runtime outlive a client", holders - 1);
            self.ctx.verdict.violate(Invariant::Leak, story);
        }
    }

    /// The client of `slot`.
    pub(crate) fn client(&self, slot: usize) -> Option<Client> {
        self.lock().slots.get(slot)?.process.as_ref().map(|process| process.client.clone())
    }

    /// Closes the client of `slot`, which must leave nothing behind.
    pub(crate) async fn close(&self, slot: usize) {
        let Some(process) = self.lock().slots.get_mut(slot).and_then(|slot| slot.process.take()) else {
            return;
        };
        let Process { group, runtime, client } = process;
        let executor = &self.ctx.executor;
        let patience = Duration::from_secs(150);
        let until = executor.now() + 160_000_000_000;
        match within(executor, until, client.close(patience)).await {
            Some(0) => {}
            Some(left) => {
                let story = format!("{left} operations in the background do not end");
                self.ctx.verdict.violate(Invariant::Hang, story);
            }
            None => self.ctx.verdict.violate(Invariant::Hang, "a client does not close"),
        }
        // Its tasks see that it is closed.
        executor.sleep(Duration::from_millis(1)).await;
        self.check_gone(group, &runtime);
    }

    /// Draws a slot.
    pub(crate) fn any(&self, rng: &mut Rng) -> Option<usize> {
        let count = self.count();
        (count > 0).then(|| rng.usize(..count))
    }

    /// Draws the group of a process.
    pub(crate) fn any_group(&self, rng: &mut Rng) -> Option<Group> {
        let groups: Vec<Group> =
            self.lock().slots.iter().filter_map(|slot| slot.process.as_ref()).map(|one| one.group).collect();
        rng.choice(groups)
    }

    /// Draws the wall clock of a process.
    pub(crate) fn any_clock(&self, rng: &mut Rng) -> Option<Arc<AtomicI64>> {
        let clocks: Vec<_> = self.lock().slots.iter().map(|slot| Arc::clone(&slot.clock)).collect();
        rng.choice(clocks)
    }
}

/// How a client reads: half of them from the leaders, the others from any replica in any way. What they see must be the same.
fn reading(seed: u64) -> Option<Arc<ReadProfile>> {
    const REPLICAS: [Replica; 5] =
        [Replica::Leader, Replica::Follower, Replica::Mixed, Replica::Learner, Replica::PreferLeader];
    let mut draw = Rng::with_seed(seed ^ 0x7265_6164);
    if draw.bool() {
        return None;
    }
    let mut profile =
        ReadProfile::new().replica(REPLICAS[draw.usize(..REPLICAS.len())]).stale(draw.u8(..4) == 0);
    if draw.u8(..4) == 0 {
        profile = profile.busy_threshold(Duration::from_millis(draw.u64(1..50)));
    }
    if draw.u8(..4) == 0 {
        profile = profile.attempt(Duration::from_millis(draw.u64(20..2_000)));
    }
    Some(Arc::new(profile))
}
