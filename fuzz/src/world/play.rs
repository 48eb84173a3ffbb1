//! Transactions, readers and dead clients side by side, one completion at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tikv_client_core::backoff::Allowance;
use tikv_client_core::error::Error;
use tikv_client_core::machine::{Attempt, Interrupt};
use tikv_client_core::request::{Command, Request};
use tikv_client_core::snapshot::batch_get::BatchGetMachine;
use tikv_client_core::snapshot::get::GetMachine;
use tikv_client_core::snapshot::page::ScanOptions;
use tikv_client_core::snapshot::scan::ScanMachine;
use tikv_client_core::start::Start;
use tikv_client_core::txn::commit::CommitPlan;
use tikv_client_core::txn::mutation::{Mutation, Op};
use tikv_client_core::txn::{CommitInfo, CommitMachine};
use tikv_client_core::types::{Instant, Key, KeyRange, Timestamp, Value};
use tikv_proto::kvrpcpb as pb;

use super::cluster::{Known, World, decoded};
use super::dead::Dead;
use super::operation::{Operation, Wait};
use super::task::{LIMIT, Outcome, Task};
use super::truth::At;
use crate::choices::Choices;

/// Transactions, readers and dead clients of one input at the most.
const MOST: usize = 5;

/// How long operations in the background may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// More completions than any input needs to come to rest.
const TURNS: usize = 20_000;

/// How a transaction ended for who ran it.
#[derive(Debug)]
pub(crate) enum End {
    Committed(CommitInfo),
    Failed(Error),
    Dropped,
}

/// A transaction of this client.
#[derive(Debug)]
pub(crate) struct Txn {
    pub(crate) start_ts: Timestamp,
    /// The keys that get locks; the first is the primary.
    pub(crate) keys: Vec<Key>,
    pub(crate) end: Option<End>,
    /// The fate of a commit of its primary was not known.
    pub(crate) uncertain: bool,
    /// A prewrite was sent.
    pub(crate) prewrote: bool,
    /// What was spawned for it.
    pub(crate) spawned: Vec<Start>,
    /// Its primary was asked to roll back.
    rolling_back: bool,
}

/// What a reader wanted and got.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) ts: Timestamp,
    pub(crate) of: Of,
    pub(crate) found: Option<Vec<(Key, Value)>>,
}

/// What is read.
#[derive(Clone, Debug)]
pub(crate) enum Of {
    Keys(Vec<Key>),
    Range { range: KeyRange, limit: usize, reverse: bool },
}

/// Whose operation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Txn(usize),
    Read(usize),
    /// In the background, for a transaction of this client if it is known.
    Spawned,
}

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) operation: Operation<Task>,
    whose: Whose,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) world: World,
    pub(crate) running: Vec<Running>,
    pub(crate) txns: Vec<Txn>,
    pub(crate) reads: Vec<Read>,
    pub(crate) dead: Vec<Dead>,
    /// Every key that was written or read.
    pub(crate) keys: BTreeSet<Key>,
    seed: u64,
}

impl Play {
    pub(crate) fn new(choices: &mut Choices<'_>) -> Self {
        let bounds: Vec<Key> = (0..choices.below(4)).map(|_| choices.key()).collect();
        Self {
            world: World::new(&bounds),
            running: Vec::new(),
            txns: Vec::new(),
            reads: Vec::new(),
            dead: Vec::new(),
            keys: BTreeSet::new(),
            seed: choices.any(),
        }
    }

    pub(crate) fn some_keys(&mut self, choices: &mut Choices<'_>) -> Vec<Key> {
        let keys: BTreeSet<Key> = (0..1 + choices.below(4)).map(|_| choices.key()).collect();
        self.keys.extend(keys.iter().cloned());
        keys.into_iter().collect()
    }

    fn run(&mut self, task: Task, allowance: Allowance, deadline: Instant, whose: Whose) {
        self.seed = self.seed.wrapping_add(1);
        let operation =
            Operation::begin(task, (self.seed, allowance, deadline), self.world.now, &self.world.tables);
        self.running.push(Running { operation, whose });
        self.after(self.running.len() - 1, None);
    }

    fn deadline(&self, choices: &mut Choices<'_>) -> Instant {
        match choices.below(3) {
            0 => self.world.now + Duration::from_millis(u64::from(choices.any::<u8>()) * 100),
            _ => Instant::FAR,
        }
    }

    /// Begins a transaction and its commit.
    pub(crate) fn begin(&mut self, choices: &mut Choices<'_>) {
        if self.txns.len() >= MOST {
            return;
        }
        let name = self.txns.len() as u8;
        let op = |choices: &mut Choices<'_>| match choices.below(6) {
            0 => Op::Delete,
            1 => Op::Insert(vec![name].into()),
            2 => Op::CheckNotExists,
            // Large ones part a region's keys into several requests.
            3 => Op::Put(vec![name; 9000].into()),
            _ => Op::Put(vec![name].into()),
        };
        let mutations: Vec<Mutation> =
            self.some_keys(choices).into_iter().map(|key| Mutation { key, op: op(choices) }).collect();
        let keys = mutations
            .iter()
            .filter(|mutation| mutation.locks())
            .map(|mutation| mutation.key.clone())
            .collect();
        let start_ts = self.world.timestamp();
        let (end, spawned) = (None, Vec::new());
        let (uncertain, prewrote, rolling_back) = (false, false, false);
        self.txns.push(Txn { start_ts, keys, end, uncertain, prewrote, spawned, rolling_back });
        let plan = CommitPlan { start_ts, begun: self.world.now, mutations, limit: LIMIT, redacted: false };
        let task = Task::Commit(CommitMachine::new(plan));
        self.run(task, Allowance::COMMIT, self.deadline(choices), Whose::Txn(usize::from(name)));
    }

    /// Begins a read.
    pub(crate) fn read(&mut self, choices: &mut Choices<'_>) {
        if self.reads.len() >= MOST {
            return;
        }
        let ts = self.world.timestamp();
        let (of, task) = match choices.below(3) {
            0 => {
                let key = self.some_keys(choices).swap_remove(0);
                (Of::Keys(vec![key.clone()]), Task::Get(key.clone(), GetMachine::new(key, ts, false)))
            }
            1 => {
                let keys = self.some_keys(choices);
                (Of::Keys(keys.clone()), Task::BatchGet(BatchGetMachine::new(keys, ts, LIMIT, false)))
            }
            _ => {
                let (a, b) = (choices.key(), choices.key());
                let range = if b.is_empty() || a < b {
                    KeyRange { start: a, end: b }
                } else {
                    KeyRange { start: b, end: a }
                };
                let (limit, reverse) = (1 + choices.below(4), choices.one_in(2));
                let options = ScanOptions { reverse, keys_only: false, page: 1 + choices.below(3) as u32 };
                let scan = ScanMachine::new(range.clone(), ts, limit, options, false);
                (Of::Range { range, limit, reverse }, Task::Scan(scan))
            }
        };
        self.reads.push(Read { ts, of, found: None });
        self.run(task, Allowance::GET, self.deadline(choices), Whose::Read(self.reads.len() - 1));
    }

    pub(crate) fn dead(&mut self, choices: &mut Choices<'_>) {
        if self.dead.len() < MOST && (self.dead.is_empty() || choices.one_in(3)) {
            let keys = self.some_keys(choices);
            self.dead.push(Dead::begin(keys, &mut self.world, choices));
        } else {
            let at = choices.below(self.dead.len());
            self.dead[at].step(&mut self.world, choices);
        }
    }

    fn is_live(running: &Running) -> bool {
        !running.operation.over
    }

    /// Completes something that some operation waits for.
    pub(crate) fn complete(&mut self, choices: &mut Choices<'_>) {
        let live: Vec<usize> =
            (0..self.running.len()).filter(|&at| Self::is_live(&self.running[at])).collect();
        if live.is_empty() {
            return;
        }
        let task = *choices.of(&live);
        let open = choices.below(self.running[task].operation.open.len());
        self.complete_one(task, open, Some(choices));
        self.expire(Some(choices));
    }

    fn complete_one(&mut self, task: usize, open: usize, choices: Option<&mut Choices<'_>>) {
        let wait = self.running[task].operation.open[open].1.clone();
        let completion = match &wait {
            Wait::Timer { at } => {
                self.world.now = self.world.now.max(*at);
                wait.expired()
            }
            Wait::Ask { question, .. } => self.world.ask(question, choices),
            Wait::Call { attempt, request, .. } => {
                self.observe(request);
                let (completion, known) = self.world.call(attempt, request, choices);
                if known == Known::Uncertain {
                    self.uncertain(task, request);
                }
                completion
            }
        };
        let now = self.world.now;
        self.running[task].operation.complete(open, completion, now, &self.world.tables);
        self.after(task, None);
    }

    /// Completes what time has completed.
    fn expire(&mut self, mut choices: Option<&mut Choices<'_>>) {
        for task in 0..self.running.len() {
            for _ in 0..TURNS {
                let now = self.world.now;
                let open = self.running[task].operation.open.iter().position(|open| open.1.until() <= now);
                let Some(open) = open else { break };
                let wait = self.running[task].operation.open[open].1.clone();
                if let Wait::Call { attempt, request, .. } = &wait {
                    self.uncertain(task, request);
                    self.under_way(attempt, request, choices.as_deref_mut());
                }
                self.running[task].operation.complete(open, wait.expired(), now, &self.world.tables);
                self.after(task, choices.as_deref_mut());
            }
        }
    }

    /// A request that nobody waits for: it may come yet.
    fn under_way(&mut self, attempt: &Attempt, request: &Arc<Request>, choices: Option<&mut Choices<'_>>) {
        if choices.is_some_and(|choices| choices.one_in(2)) {
            self.world.late.push((attempt.to.store.0, World::command(attempt, request)));
        }
    }

    fn uncertain(&mut self, task: usize, request: &Request) {
        if request.command() != Command::Commit {
            return;
        }
        let start_ts = Timestamp(decoded::<pb::CommitRequest>(request).start_version);
        if matches!(self.running[task].whose, Whose::Txn(_))
            && let Some(txn) = self.txns.iter_mut().find(|txn| txn.start_ts == start_ts)
        {
            txn.uncertain = true;
        }
    }

    /// Notes what a step came to.
    fn after(&mut self, task: usize, mut choices: Option<&mut Choices<'_>>) {
        let Running { operation, whose } = &mut self.running[task];
        let (whose, spawned) = (*whose, std::mem::take(&mut operation.spawned));
        let cancelled = std::mem::take(&mut operation.cancelled);
        let output = operation.output.take();
        if let Whose::Txn(txn) = whose {
            self.txns[txn].prewrote |= operation.sent.contains(&Command::Prewrite);
            self.txns[txn].spawned.extend(spawned.iter().cloned());
        }
        for wait in cancelled {
            if let Wait::Call { attempt, request, .. } = &wait {
                self.uncertain(task, request);
                self.under_way(attempt, request, choices.as_deref_mut());
            }
        }
        match (output, whose) {
            (Some(Outcome::Commit(end)), Whose::Txn(txn)) => {
                if let Ok(info) = &end {
                    assert!(
                        info.commit_ts.0 <= self.world.cluster.pd.oracle.last(),
                        "committed in the future"
                    );
                }
                self.txns[txn].end = Some(end.map_or_else(End::Failed, End::Committed));
            }
            (Some(Outcome::Read(found)), Whose::Read(read)) => self.reads[read].found = found.ok(),
            (Some(output), Whose::Txn(_) | Whose::Read(_)) => panic!("another outcome: {output:?}"),
            (Some(_) | None, _) => {}
        }
        for start in spawned {
            let deadline = self.world.now + PATIENCE;
            self.run(Task::of_start(start), Allowance::COMMIT_SECONDARIES, deadline, Whose::Spawned);
        }
    }

    /// Ends an operation that its caller does not wait for any more.
    pub(crate) fn stop(&mut self, choices: &mut Choices<'_>) {
        let callers = |running: &Running| Self::is_live(running) && running.whose != Whose::Spawned;
        let live: Vec<usize> = (0..self.running.len()).filter(|&at| callers(&self.running[at])).collect();
        if live.is_empty() {
            return;
        }
        let task = *choices.of(&live);
        let now = self.world.now;
        let Running { operation, whose } = &mut self.running[task];
        if choices.one_in(2) {
            operation.interrupt(
                *choices.of(&[Interrupt::Killed, Interrupt::Closed]),
                now,
                &self.world.tables,
            );
        } else {
            operation.abandon(now, &self.world.tables);
            if let Whose::Txn(txn) = whose {
                self.txns[*txn].end = Some(End::Dropped);
            }
        }
        self.after(task, Some(choices));
    }

    pub(crate) fn pass(&mut self, choices: &mut Choices<'_>) {
        self.world.now = self.world.now + Duration::from_millis(u64::from(choices.any::<u8>()) * 80);
        self.expire(Some(choices));
    }

    pub(crate) fn arrive(&mut self, choices: &mut Choices<'_>) {
        if !self.world.late.is_empty() {
            let at = choices.below(self.world.late.len());
            self.world.arrive(at);
        }
    }

    /// No more faults: every operation comes to its end, and what was late arrives, before or after that.
    pub(crate) fn finish(&mut self, late_first: bool) {
        self.world.heal();
        for round in 0..2 {
            if (round == 0) == late_first {
                while !self.world.late.is_empty() {
                    self.world.arrive(0);
                }
            }
            self.rest();
        }
    }

    fn rest(&mut self) {
        for _ in 0..TURNS {
            let Some(task) = self.running.iter().position(Self::is_live) else { return };
            let open = &self.running[task].operation.open;
            let asked = open.iter().position(|open| !matches!(open.1, Wait::Timer { .. }));
            let first = (0..open.len()).min_by_key(|&at| open[at].1.until());
            let at = asked.or(first).expect("what is not over waits for something");
            self.complete_one(task, at, None);
            self.expire(None);
        }
        let live: Vec<_> = self.running.iter().filter(|running| Self::is_live(running)).collect();
        panic!("the world does not come to rest: {live:#?}");
    }

    /// Reads every key behind all that happened, long after every lock's time: no lock may stay.
    pub(crate) fn resolve(&mut self) -> Timestamp {
        for _ in 0..4 {
            self.world.now = self.world.now + Duration::from_secs(200);
            let ts = self.world.timestamp();
            let keys: Vec<Key> = self.keys.iter().cloned().collect();
            let task = Task::BatchGet(BatchGetMachine::new(keys.clone(), ts, LIMIT, false));
            self.reads.push(Read { ts, of: Of::Keys(keys.clone()), found: None });
            self.run(task, Allowance::Unlimited, Instant::FAR, Whose::Read(self.reads.len() - 1));
            self.rest();
            let read = self.reads.last().expect("it was just pushed");
            assert!(read.found.is_some(), "a healthy cluster is not read");
            let locked = |key: &Key, world: &mut World| world.history(key).0.lock.is_some();
            if !keys.iter().any(|key| locked(key, &mut self.world)) {
                return ts;
            }
        }
        panic!("locks stay: {:?}", self.keys.iter().map(|key| self.world.history(key)).collect::<Vec<_>>());
    }

    /// Before a request is carried out: nothing is decided against the primary.
    fn observe(&mut self, request: &Request) {
        let (start, commit_ts, keys) = match request.command() {
            Command::ResolveLock => {
                let ask: pb::ResolveLockRequest = decoded(request);
                (ask.start_version, ask.commit_version, ask.keys)
            }
            Command::Commit => {
                let ask: pb::CommitRequest = decoded(request);
                (ask.start_version, ask.commit_version, ask.keys)
            }
            Command::BatchRollback => {
                let ask: pb::BatchRollbackRequest = decoded(request);
                (ask.start_version, 0, ask.keys)
            }
            _ => return,
        };
        let start_ts = Timestamp(start);
        let own =
            self.txns.iter().find(|txn| txn.start_ts == start_ts).map(|txn| (txn.keys[0].clone(), false));
        let dead = self.dead.iter().find(|dead| dead.start_ts == start_ts);
        let dead = dead.map(|dead| (dead.primary().clone(), dead.is_async));
        let (primary, is_async) = own.or(dead).expect("a transaction that somebody began");
        if request.command() == Command::BatchRollback {
            let own = self.txns.iter_mut().find(|txn| txn.start_ts == start_ts);
            let own = own.expect("only its owner rolls a transaction back");
            own.rolling_back |= keys.contains(&primary.0);
            assert!(own.rolling_back, "the rollback of {start_ts} begins with {keys:?}, not its primary");
        }
        // The request about the primary decides.
        if keys.contains(&primary.0) && !is_async {
            return;
        }
        let at = self.world.history(&primary).of(start_ts);
        match (commit_ts, at) {
            (0, At::Committed(ts)) => {
                panic!("{start_ts} is committed at {ts} and is rolled back at {keys:?}")
            }
            (0, At::Locked) if !is_async => {
                panic!("{start_ts} is rolled back at {keys:?} while its primary has its lock")
            }
            (0, _) => {}
            (ts, At::Committed(at)) => {
                assert_eq!(at, Timestamp(ts), "{start_ts} is committed at another time")
            }
            (_, At::Locked) if is_async => {}
            (ts, at) => panic!("{start_ts} is committed at {ts} at {keys:?} while its primary is {at:?}"),
        }
    }
}
