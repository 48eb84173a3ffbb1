//! The doors of the cluster: one call in, its reply out, now or later.
//!
//! A caller hands a [`Call`] and the time to [`Cluster::call`]. Most calls are replied at once. A call that has to
//! wait (a fault rule delays it, or holds it back) is replied later under its [`Token`]: [`Cluster::next_wake`] says
//! when time alone will make something happen, [`Cluster::wake`] makes it happen, and [`Cluster::take_replies`] hands
//! out what has become ready by any call.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tikv_proto::kvrpcpb;
use tikv_proto::tikvpb::{self, batch_commands_request::request, batch_commands_response::response};

use super::clock::Now;
use super::command::{Answer, Command};
pub use super::health::{HEALTH_CHECK, HEALTH_PATH};
use super::health::{Health, health_check};
use super::pd::{self, Asked, Pd, Watch};
use super::region::{StoreState, Topology};
use super::region_error::raft_entry_too_large;
use super::status::{Code, Status};
use super::store::{Api, Engine, Outcome, WaitId, admit_write};
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
                CallFacts::new(Node::Store(*store), command.method()).with_context(command.context())
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

/// Shorter delays of an `Empty` command are none.
// TiKV: src/server/service/kv.rs: future_handle_empty
const LEAST_EMPTY_DELAY: Duration = Duration::from_millis(10);

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

    fn execute(&mut self, now: Now, call: Call) -> Met {
        match call {
            Call::Pd { member, follower_may, path, body } => {
                let mut asked = Asked::new(&mut self.topology, member, now);
                asked.follower_may = follower_may;
                if pd::watch::METHODS.contains(&path) {
                    let opened = self.pd.watch(asked, path, &body);
                    return Met::Now(opened.map_or_else(Reply::Fail, |watch| Reply::Watch(Box::new(watch))));
                }
                let reply = self.pd.call(asked, path, body).map_or_else(Reply::Fail, Reply::Bytes);
                self.collect_garbage();
                Met::Now(reply)
            }
            Call::Health { body, .. } => Met::Now(health_check(&body).map_or_else(Reply::Fail, Reply::Bytes)),
            Call::Store { store, command } => self.command(now, store, *command),
        }
    }

    fn command(&mut self, now: Now, store: u64, command: Command) -> Met {
        let cluster_id = command.context().map_or(0, |context| context.cluster_id);
        if cluster_id != 0 && cluster_id != self.pd.cluster_id() {
            // TiKV: src/server/service/kv.rs: reject_if_cluster_id_mismatch
            let message = "the cluster id of the request does not match the TiKV cluster";
            return Met::Now(Reply::Fail(Status::new(Code::InvalidArgument, message)));
        }
        if let Some(error) = self.too_large(store, &command) {
            let answer = command.refused(*error);
            return Met::Now(answer.map_or(Reply::Lost, |answer| Reply::Store(Box::new(answer))));
        }
        let answer = match command {
            Command::Batched(request::Cmd::Empty(ask)) => return self.empty(now, &ask),
            Command::Batched(request::Cmd::GetHealthFeedback(_)) => self.health_feedback(store),
            Command::Batched(request::Cmd::BroadcastTxnStatus(_)) => {
                Answer::Batched(response::Cmd::BroadcastTxnStatus(kvrpcpb::BroadcastTxnStatusResponse {}))
            }
            Command::Batched(batched) => match self.engine.handle(&self.topology, store, now, batched) {
                Outcome::Ready(answer) => Answer::Batched(answer),
                Outcome::Waits(id) => {
                    let token = self.token();
                    self.lock_waits.insert(id, token);
                    return Met::Later(token);
                }
                Outcome::Unimplemented => {
                    let status = Status::new(Code::Unimplemented, "the command is not served");
                    return Met::Now(Reply::Fail(status));
                }
            },
            Command::Unary(unary) => {
                Answer::Unary(self.engine.handle_unary(&self.topology, store, now, unary))
            }
            Command::Split(ask) => Answer::Split(super::store_split::split(&mut self.topology, store, &ask)),
            Command::LockWaits(_) => {
                let entries = self.engine.lock_waits(store);
                Answer::LockWaits(kvrpcpb::GetLockWaitInfoResponse { entries, ..Default::default() })
            }
            Command::CheckLeader(ask) => Answer::CheckLeader(kvrpcpb::CheckLeaderResponse {
                regions: self.topology.agreed_leaders(store, &ask.regions),
                ts: ask.ts,
            }),
            Command::SafeTs(ask) => {
                let range = ask.key_range.unwrap_or_default();
                let safe_ts =
                    self.engine.safe_ts(&self.topology, store, now, &range.start_key, &range.end_key);
                Answer::SafeTs(kvrpcpb::StoreSafeTsResponse { safe_ts })
            }
        };
        Met::Now(Reply::Store(Box::new(answer)))
    }

    /// Has the stores collect garbage if PD's safe point has moved. Keyspaces that drive a collection of their own are left
    /// alone.
    fn collect_garbage(&mut self) {
        let safe_point = self.pd.common_gc_safe_point();
        if safe_point > self.collected {
            self.collected = safe_point;
            self.engine.collect_garbage(&Bytes::new(), &Bytes::new(), safe_point);
        }
    }

    /// Why a write is too long for the log of its region, if it is and would be served.
    fn too_large(&self, store: u64, command: &Command) -> Option<Box<tikv_proto::errorpb::Error>> {
        let size = command.written_bytes();
        if size <= self.topology.conditions.entry_limit() {
            return None;
        }
        let region = admit_write(&self.topology, store, command.context()).ok()?;
        Some(raft_entry_too_large(region.id, u64::try_from(size).unwrap_or(u64::MAX)))
    }

    fn empty(&mut self, now: Now, ask: &tikvpb::BatchCommandsEmptyRequest) -> Met {
        let answer = tikvpb::BatchCommandsEmptyResponse { test_id: ask.test_id };
        let reply = Reply::Store(Box::new(Answer::Batched(response::Cmd::Empty(answer))));
        let delay = Duration::from_millis(ask.delay_time);
        if delay < LEAST_EMPTY_DELAY {
            return Met::Now(reply);
        }
        self.park(now.after(delay), Waiting::Reply(Box::new(reply)))
    }

    /// What `store` says of itself next.
    pub fn feedback(&mut self, store: u64) -> kvrpcpb::HealthFeedback {
        self.health.entry(store).or_default().feedback(store)
    }

    fn health_feedback(&mut self, store: u64) -> Answer {
        let feedback = self.feedback(store);
        Answer::Batched(response::Cmd::GetHealthFeedback(kvrpcpb::GetHealthFeedbackResponse {
            region_error: None,
            health_feedback: Some(feedback),
        }))
    }

    /// Each running store reports to PD up to which timestamp it is resolved, as stores do every second. What others
    /// have told PD of a store since stays.
    pub fn report_resolved(&mut self, now: Now) {
        let running = self.topology.stores().filter(|store| store.started_unix_s > 0);
        let up = running.filter(|store| store.state != StoreState::Tombstone);
        for store in up.map(|store| store.id).collect::<Vec<_>>() {
            if self.pd.min_resolved_ts(store) == self.resolved.get(&store).copied() {
                let ts = self.engine.safe_ts(&self.topology, store, now, &Bytes::new(), &Bytes::new());
                self.pd.set_min_resolved_ts(store, Some(ts));
                self.resolved.insert(store, ts);
            }
        }
    }

    /// Sets what `store` says of itself: from 1, healthy, to 100.
    pub fn set_slow_score(&mut self, store: u64, slow_score: i32) {
        self.health.entry(store).or_default().set_slow_score(slow_score);
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
