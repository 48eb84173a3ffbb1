//! The doors of the cluster: one call in, its reply out, now or later.
//!
//! A caller hands a [`Call`] and the time to [`Cluster::call`]. Most calls are replied at once. A call that has to
//! wait (a fault rule delays it, or holds it back) is replied later under its [`Token`]: [`Cluster::next_wake`] says
//! when time alone will make something happen, [`Cluster::wake`] makes it happen, and [`Cluster::take_replies`] hands
//! out what has become ready by any call. `execute` is what a call comes to.

mod execute;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use tikv_proto::kvrpcpb;

use super::clock::Now;
use super::command::{Answer, Command};
use super::health::Health;
pub use super::health::{HEALTH_CHECK, HEALTH_PATH};
use super::pd::{Pd, Watch};
use super::region::Topology;
use super::status::Status;
use super::store::{Api, Engine, WaitId};
use crate::control::{Action, CallFacts, Faults, Node, Rule, RuleId};

/// A call to one of the cluster's servers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Call {
    /// To a PD member: a unary call, or one item of a stream.
    Pd {
        /// The member's index.
        member: usize,
        /// Whether the caller lets a follower answer.
        follower_may: bool,
        /// The method's path, as `tikv_proto::methods::pd` has it.
        path: &'static str,
        /// The encoded request.
        body: Bytes,
    },
    /// A health check of whichever server.
    Health {
        /// The server.
        node: Node,
        /// The encoded request.
        body: Bytes,
    },
    /// To a store.
    Store {
        /// The store's id.
        store: u64,
        /// What it is asked.
        command: Box<Command>,
    },
}

impl Call {
    /// What fault rules and counters have to know of it.
    #[must_use]
    pub fn facts(&self) -> CallFacts<'_> {
        match self {
            Self::Pd { member, path, .. } => {
                CallFacts::new(Node::Pd(*member), path.rsplit('/').next().unwrap_or(path))
            }
            Self::Health { node, .. } => CallFacts::new(*node, HEALTH_CHECK),
            Self::Store { store, command } => {
                CallFacts::new(Node::Store(*store), command.method()).with_command(command)
            }
        }
    }
}

/// How a call ends.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// A store's answer.
    Store(Box<Answer>),
    /// The encoded answer of PD or of a health check.
    Bytes(Bytes),
    /// A stream that watches is open: [`Cluster::watched`] has what it is told.
    Watch(Box<Watch>),
    /// With a status.
    Fail(Status),
    /// Not at all: nothing will ever be heard of it.
    Lost,
    /// Its stream is broken off.
    Broken,
}

/// Names a call that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Met {
    /// It has been replied.
    Now(Reply),
    /// It will be replied under this token.
    Later(Token),
}

/// What a waiting call waits with.
#[derive(Clone, Debug)]
enum Waiting {
    /// To be executed.
    Call(Box<Call>),
    /// To be executed once the replica has caught up with what the leader had when the call came.
    Lagging(Box<Call>),
    /// Executed; the reply comes late.
    Reply(Box<Reply>),
}

/// PD and the stores.
#[derive(Debug)]
pub struct Cluster {
    /// Who serves what.
    pub topology: Topology,
    /// PD's own state.
    pub pd: Pd,
    engine: Engine,
    faults: Faults,
    waiting: BTreeMap<Token, Waiting>,
    /// Waiting calls by when they go on.
    timers: BTreeSet<(Now, Token)>,
    /// Waiting calls by the rule that holds them.
    held: BTreeMap<RuleId, Vec<Token>>,
    /// Calls that wait for a lock.
    lock_waits: BTreeMap<WaitId, Token>,
    replies: VecDeque<(Token, Reply)>,
    next_token: u64,
    /// The safe point up to which garbage was collected.
    collected: u64,
    /// The health feedback of a store: sequence number and slow score.
    health: BTreeMap<u64, Health>,
    /// The resolved timestamps that the stores have reported last.
    resolved: BTreeMap<u64, u64>,
}

/// The reply to a call with nothing but this error of a key; `None` to one whose answer has no place for it.
fn key_refused(call: &Call, error: kvrpcpb::KeyError) -> Option<Reply> {
    let Call::Store { command, .. } = call else { return None };
    command.key_refused(error).map(|answer| Reply::Store(Box::new(answer)))
}

/// The reply to a call that may not take as long as it has to wait.
// TiKV: storage/errors.rs: extract_region_error_from_error, of DeadlineExceeded
fn late(call: &Call, wait: Duration) -> Option<Reply> {
    let Call::Store { command, .. } = call else { return None };
    let limit_ms = command.context()?.max_execution_duration_ms;
    if limit_ms == 0 || wait <= Duration::from_millis(limit_ms) {
        return None;
    }
    let reason = "deadline is exceeded".to_owned();
    let error = tikv_proto::errorpb::Error {
        message: "Deadline is exceeded".to_owned(),
        server_is_busy: Some(tikv_proto::errorpb::ServerIsBusy { reason, ..Default::default() }),
        ..Default::default()
    };
    command.refused(error).map(|answer| Reply::Store(Box::new(answer)))
}

impl Cluster {
    /// A cluster of these stores, regions and PD members, without data.
    #[must_use]
    pub fn new(topology: Topology, pd: Pd) -> Self {
        Self {
            topology,
            pd,
            engine: Engine::new(),
            faults: Faults::default(),
            waiting: BTreeMap::new(),
            timers: BTreeSet::new(),
            held: BTreeMap::new(),
            lock_waits: BTreeMap::new(),
            replies: VecDeque::new(),
            next_token: 0,
            collected: 0,
            health: BTreeMap::new(),
            resolved: BTreeMap::new(),
        }
    }

    /// The data.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same cluster, whose stores speak this version of the storage API.
    #[must_use]
    pub fn with_api(mut self, api: Api) -> Self {
        self.engine.set_api(api);
        self
    }

    /// Makes a call at `now`.
    pub fn call(&mut self, now: Now, call: Call) -> Met {
        if self.faults.is_empty() {
            return self.run(now, call);
        }
        match self.faults.meet(&call.facts()) {
            None => self.run(now, call),
            Some((rule, action)) => self.act(now, rule, action, call),
        }
    }

    /// Carries a fault out.
    fn act(&mut self, now: Now, rule: RuleId, action: Action, call: Call) -> Met {
        match action {
            Action::Pass => self.run(now, call),
            Action::Refuse(refusal) => match self.refused(&refusal, &call) {
                Some(reply) => Met::Now(reply),
                None => self.run(now, call),
            },
            Action::RefuseAfter(refusal) => {
                let refused = self.refused(&refusal, &call);
                let met = self.run(now, call);
                refused.map_or(met, Met::Now)
            }
            Action::KeyError(error) => match key_refused(&call, *error) {
                Some(reply) => Met::Now(reply),
                None => self.run(now, call),
            },
            Action::KeyErrorAfter(error) => {
                let refused = key_refused(&call, *error);
                let met = self.run(now, call);
                refused.map_or(met, Met::Now)
            }
            Action::PdError(kind, message) => match call {
                Call::Pd { .. } => Met::Now(Reply::Bytes(self.pd.refusal(kind, message))),
                other => self.run(now, other),
            },
            Action::Fail(status) => Met::Now(Reply::Fail(status)),
            Action::Delay(by) => match late(&call, by) {
                Some(reply) => self.park(now.after(by), Waiting::Reply(Box::new(reply))),
                None => self.park(now.after(by), Waiting::Call(Box::new(call))),
            },
            Action::DelayAnswer(by) => match self.run(now, call) {
                Met::Now(reply) => self.park(now.after(by), Waiting::Reply(Box::new(reply))),
                later => later,
            },
            Action::DropAnswer => {
                self.run(now, call);
                Met::Now(Reply::Lost)
            }
            Action::Lose => Met::Now(Reply::Lost),
            Action::Break => Met::Now(Reply::Broken),
            Action::BreakAfter => {
                self.run(now, call);
                Met::Now(Reply::Broken)
            }
            Action::Hold => {
                let token = self.token();
                self.waiting.insert(token, Waiting::Call(Box::new(call)));
                self.held.entry(rule).or_default().push(token);
                Met::Later(token)
            }
        }
    }

    fn refused(&self, refusal: &crate::control::Refusal, call: &Call) -> Option<Reply> {
        let Call::Store { store, command } = call else { return None };
        let error = refusal.error(&self.topology, *store, command.region());
        command.refused(error).map(|answer| Reply::Store(Box::new(answer)))
    }

    /// Has the leaders that have crashed forget what they had in memory.
    fn crash_leaders(&mut self) {
        for region in std::mem::take(&mut self.topology.crashed) {
            let Some(region) = self.topology.region(region) else { continue };
            for id in self.engine.crash(&region.start, &region.end) {
                self.replies.extend(self.lock_waits.remove(&id).map(|token| (token, Reply::Broken)));
            }
        }
    }

    /// Executes a call, past all faults: at once, unless a replica that lags is to read.
    fn run(&mut self, now: Now, call: Call) -> Met {
        if let Call::Store { store, command } = &call
            && let Some(context) = command.context()
            && context.replica_read
            && let Some(lag) = self.topology.conditions.lag(context.region_id, *store)
            && self.topology.region(context.region_id).is_some_and(|region| !region.led_by(*store))
        {
            let waiting = match late(&call, lag) {
                Some(reply) => Waiting::Reply(Box::new(reply)),
                None => Waiting::Lagging(Box::new(call)),
            };
            return self.park(now.after(lag), waiting);
        }
        self.run_now(now, call)
    }

    fn run_now(&mut self, now: Now, call: Call) -> Met {
        self.crash_leaders();
        let met = self.execute(now, call);
        self.end_lock_waits();
        met
    }

    /// Replies to those whose wait for a lock has ended.
    fn end_lock_waits(&mut self) {
        for (id, answer) in self.engine.take_finished() {
            if let Some(token) = self.lock_waits.remove(&id) {
                self.replies.push_back((token, Reply::Store(Box::new(Answer::Batched(answer)))));
            }
        }
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn park(&mut self, until: Now, waiting: Waiting) -> Met {
        let token = self.token();
        self.waiting.insert(token, waiting);
        self.timers.insert((until, token));
        Met::Later(token)
    }

    /// When time alone will make something happen.
    #[must_use]
    pub fn next_wake(&self) -> Option<Now> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.engine.next_wake()).chain(self.pd.next_due()).min()
    }

    /// Makes happen what was due by `now`.
    pub fn wake(&mut self, now: Now) {
        self.pd.tick(&mut self.topology, now);
        while let Some(&(at, token)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.resume(now, token);
        }
        self.crash_leaders();
        self.engine.wake(&self.topology, now);
        self.end_lock_waits();
    }

    fn resume(&mut self, now: Now, token: Token) {
        let reply = match self.waiting.remove(&token) {
            None => return,
            Some(Waiting::Reply(reply)) => *reply,
            Some(Waiting::Call(call)) => match self.run(now, *call) {
                Met::Now(reply) => reply,
                Met::Later(renamed) => return self.rename(renamed, token),
            },
            Some(Waiting::Lagging(call)) => match self.run_now(now, *call) {
                Met::Now(reply) => reply,
                Met::Later(renamed) => return self.rename(renamed, token),
            },
        };
        self.replies.push_back((token, reply));
    }

    /// A call that waits again keeps the token its caller knows.
    fn rename(&mut self, from: Token, to: Token) {
        let same = |token: &&mut Token| **token == from;
        let ready = self.replies.iter_mut().map(|(token, _)| token);
        self.lock_waits.values_mut().chain(ready).filter(same).for_each(|token| *token = to);
        if let Some(waiting) = self.waiting.remove(&from) {
            self.waiting.insert(to, waiting);
        }
        let timer = self.timers.iter().find(|(_, token)| *token == from).copied();
        if let Some((at, _)) = timer {
            self.timers.remove(&(at, from));
            self.timers.insert((at, to));
        }
    }

    /// What a stream that watches is told next, if there is something; once it fails, the stream has ended.
    pub fn watched(&self, watch: &mut Watch) -> Option<Reply> {
        self.pd.watched(watch).map(|told| told.map_or_else(Reply::Fail, Reply::Bytes))
    }

    /// What has become ready since it was last asked.
    pub fn take_replies(&mut self) -> VecDeque<(Token, Reply)> {
        std::mem::take(&mut self.replies)
    }

    /// Loses the pessimistic locks that only the leader of `region` knows, as its crash does.
    pub fn lose_memory_locks(&mut self, region: u64) {
        if let Some(region) = self.topology.region(region) {
            self.engine.lose_memory_locks(&region.start, &region.end);
        }
    }

    /// The rules that make calls fail.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Adds a rule behind those that are there.
    pub fn add_fault(&mut self, rule: Rule) -> RuleId {
        self.faults.add(rule)
    }

    /// Takes a rule away, and executes the calls that it holds; returns how often it has acted.
    pub fn remove_fault(&mut self, now: Now, rule: RuleId) -> Option<u64> {
        let hits = self.faults.remove(rule);
        for token in self.held.remove(&rule).unwrap_or_default() {
            self.resume(now, token);
        }
        hits
    }
}
