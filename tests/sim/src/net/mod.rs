//! The network between clients and the model of the cluster, and the clock both hang on.
//!
//! * here: [`Net`]: connections, and what breaks them;
//! * `weather`: delays;
//! * `channel`: the core's `Runtime` with its channels: the clients' end;
//! * `serve`: the servers' end: messages that arrive, commands that run, answers.
//!
//! It is as TCP and gRPC show a network to a client: a connection keeps its order and loses nothing, but it breaks, and
//! then nobody knows which of the last messages arrived; behind a cut messages wait, and arrive when it heals, even if
//! their connection was given up meanwhile; a server answers one stream's commands in any order, or never. What happens
//! to single commands (lost, executed without an answer, refused) are fault rules of the model.

mod channel;
mod serve;
#[cfg(test)]
mod tests;
mod weather;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use tikv_client_core::machine::{TransportClass, TransportFault};
use tikv_embedded::control::Node;
use tikv_embedded::model::pd::Watch;
use tikv_embedded::model::{Call, Cluster, Now, Token};

use crate::digest::{Digest, Mark};
use crate::exec::{Executor, Group};
use crate::tally::Tally;
use crate::violation::Verdict;
use crate::witness::Witness;

pub(crate) use channel::SimRuntime;
use serve::{Answered, Down, ReplyTo, Up};
pub(crate) use weather::{Weather, draw};

/// When the world begins, in seconds since the Unix epoch.
pub(crate) const BEGIN_S: u64 = 1_700_000_000;

/// How long a client's keepalive takes to find that a connection is dead.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(13));

/// How a server that does not serve is seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Its host refuses dials.
    Refuses,
    /// Nothing answers dials.
    Silent,
}

/// The client's end of a stream or of one call.
#[derive(Default)]
pub(crate) struct Pipe(Mutex<PipeState>);

#[derive(Default)]
struct PipeState {
    inbox: VecDeque<Result<Bytes, TransportFault>>,
    waker: Option<Waker>,
}

impl Pipe {
    fn push(&self, item: Result<Bytes, TransportFault>) {
        let waker = {
            let mut state = lock(&self.0);
            state.inbox.push_back(item);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A connection.
struct Line {
    client: Group,
    node: Node,
    /// What arrives at the server from then on is lost; `None`: nothing is.
    dead_at: Option<u64>,
    pipes: BTreeMap<u64, Arc<Pipe>>,
    last_up: u64,
    last_down: u64,
    /// Answers to be sent, by pipe.
    ready: BTreeMap<u64, Vec<Answered>>,
    /// Items behind one that waits for its answer, by pipe: such streams answer in order.
    behind: BTreeMap<u64, VecDeque<Call>>,
    /// Streams that are told what changes at PD, by pipe.
    watches: BTreeMap<u64, Watch>,
}

/// What is held up by a cut.
enum Held {
    Up(Up),
    Down(Down),
}

/// All that the network's mutex guards.
pub(crate) struct State {
    pub(crate) cluster: Cluster,
    pub(crate) witness: Witness,
    pub(crate) weather: Weather,
    /// Commands at these stores take so much longer.
    pub(crate) slow: BTreeMap<u64, Duration>,
    pub(crate) addresses: BTreeMap<String, Node>,
    rng: Rng,
    lines: BTreeMap<u64, Line>,
    /// Of lines and pipes.
    next_id: u64,
    cuts: BTreeSet<(Group, Node)>,
    held: Vec<(Group, Node, Held)>,
    absent: BTreeMap<Node, Absence>,
    /// Counts starts: commands that a server had not executed when it stopped are gone.
    starts: BTreeMap<Node, u64>,
    waiters: BTreeMap<Token, ReplyTo>,
    armed: Option<Now>,
    /// The revision of PD's keys that streams have been told.
    told: i64,
}

struct Shared {
    executor: Executor,
    digest: Digest,
    tally: Tally,
    verdict: Verdict,
    state: Mutex<State>,
}

/// See the module. Clones share it.
#[derive(Clone)]
pub(crate) struct Net(Arc<Shared>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cluster's time `at` nanoseconds after the world's begin.
pub(crate) fn cluster_time(at: u64) -> Now {
    Now::from_unix(Duration::from_secs(BEGIN_S) + Duration::from_nanos(at))
}

/// A number for a server, for digests.
fn number(node: Node) -> u64 {
    match node {
        Node::Pd(member) => u64::MAX - u64::try_from(member).unwrap_or(0),
        Node::Store(id) => id,
        _ => 0,
    }
}

impl Net {
    /// A network around `cluster`, whose servers are at `addresses`.
    pub(crate) fn new(
        executor: Executor,
        (digest, tally, verdict): (Digest, Tally, Verdict),
        cluster: Cluster,
        addresses: BTreeMap<String, Node>,
        weather: Weather,
        rng: Rng,
    ) -> Self {
        let state = State {
            cluster,
            witness: Witness::default(),
            weather,
            slow: BTreeMap::new(),
            addresses,
            rng,
            lines: BTreeMap::new(),
            next_id: 0,
            cuts: BTreeSet::new(),
            held: Vec::new(),
            absent: BTreeMap::new(),
            starts: BTreeMap::new(),
            waiters: BTreeMap::new(),
            armed: None,
            told: 0,
        };
        Self(Arc::new(Shared { executor, digest, tally, verdict, state: Mutex::new(state) }))
    }

    /// Does anything to the cluster and the network, between two messages.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State, Now) -> R) -> R {
        let now = cluster_time(self.0.executor.now());
        let mut state = lock(&self.0.state);
        let result = act(&mut state, now);
        self.settle(&mut state);
        result
    }

    /// A new connection, if the server can be reached now.
    fn dial(&self, client: Group, address: &str) -> Result<u64, Absence> {
        let now = self.0.executor.now();
        let mut state = lock(&self.0.state);
        let Some(&node) = state.addresses.get(address) else { return Err(Absence::Refuses) };
        if state.cuts.contains(&(client, node)) {
            return Err(Absence::Silent);
        }
        if let Some(&absence) = state.absent.get(&node) {
            return Err(absence);
        }
        let line = state.id();
        let entry = Line {
            client,
            node,
            dead_at: None,
            pipes: BTreeMap::new(),
            last_up: now,
            last_down: now,
            ready: BTreeMap::new(),
            behind: BTreeMap::new(),
            watches: BTreeMap::new(),
        };
        state.lines.insert(line, entry);
        self.0.digest.add(Mark::Line, now, number(node), &[0]);
        Ok(line)
    }

    /// Begins a stream or a call; `None` when the connection is broken.
    fn open(&self, line: u64) -> Option<(u64, Arc<Pipe>)> {
        let mut state = lock(&self.0.state);
        let id = state.id();
        let line = state.lines.get_mut(&line).filter(|line| line.dead_at.is_none())?;
        let pipe: Arc<Pipe> = Arc::default();
        line.pipes.insert(id, Arc::clone(&pipe));
        Some((id, pipe))
    }

    /// The client wants nothing more of this.
    fn close(&self, line: u64, pipe: u64) {
        let gone = lock(&self.0.state).lines.get_mut(&line).and_then(|line| line.pipes.remove(&pipe));
        drop(gone);
    }

    /// Breaks the connections between `client` (or any) and `node`.
    pub(crate) fn disconnect(&self, client: Option<Group>, node: Node) {
        let mut state = lock(&self.0.state);
        let lines: Vec<u64> = state
            .lines
            .iter()
            .filter(|(_, line)| line.node == node && client.is_none_or(|client| line.client == client))
            .map(|(&id, _)| id)
            .collect();
        for line in lines {
            self.break_line(&mut state, line);
        }
    }

    /// The client learns that a connection is broken; some of what it sent last arrives, the rest never does.
    fn break_line(&self, state: &mut State, id: u64) {
        let now = self.0.executor.now();
        let alive = state.rng.u64(0..1_000_000);
        let Some(line) = state.lines.get_mut(&id) else { return };
        if line.dead_at.is_some() {
            return;
        }
        line.dead_at = Some(now + alive);
        let text = format!("{:?}: connection reset", line.node);
        self.0.digest.add(Mark::Line, now, number(line.node), &[1]);
        for pipe in std::mem::take(&mut line.pipes).into_values() {
            pipe.push(Err(TransportFault::new(TransportClass::Lost, text.as_str())));
        }
    }

    /// Nothing comes through between `client` and `node` from now on.
    pub(crate) fn cut(&self, client: Group, node: Node) {
        let mut state = lock(&self.0.state);
        if !state.cuts.insert((client, node)) {
            return;
        }
        let found = draw(KEEPALIVE, &mut state.rng);
        drop(state);
        let net = self.clone();
        self.0.executor.after(Duration::from_nanos(found), move || net.keepalive(client, node));
    }

    /// A client's keepalive notices that nothing came through.
    fn keepalive(&self, client: Group, node: Node) {
        let mut state = lock(&self.0.state);
        if !state.cuts.contains(&(client, node)) {
            return;
        }
        let lines = state.lines.iter().filter(|(_, line)| line.node == node && line.client == client);
        let lines: Vec<u64> = lines.map(|(&id, _)| id).collect();
        for id in lines {
            self.break_line(&mut state, id);
            // The server does not know: what waits behind the cut may still arrive.
            let late = state.rng.bool();
            if let Some(line) = state.lines.get_mut(&id)
                && late
            {
                line.dead_at = Some(u64::MAX);
            }
        }
    }

    /// Messages come through again; those that waited arrive.
    pub(crate) fn heal(&self, client: Group, node: Node) {
        let mut state = lock(&self.0.state);
        if !state.cuts.remove(&(client, node)) {
            return;
        }
        let held = std::mem::take(&mut state.held);
        for (who, at, message) in held {
            if (who, at) != (client, node) {
                state.held.push((who, at, message));
                continue;
            }
            match message {
                Held::Up(up) => self.carry_up(&mut state, up),
                Held::Down(down) => self.carry_down(&mut state, down),
            }
        }
    }

    /// A server stops: its connections break, what it had not executed is gone, dials fail. Its data stay.
    pub(crate) fn stop(&self, node: Node, absence: Absence) {
        {
            let mut state = lock(&self.0.state);
            state.absent.insert(node, absence);
            *state.starts.entry(node).or_default() += 1;
        }
        self.disconnect(None, node);
    }

    /// A server serves again.
    pub(crate) fn start(&self, node: Node) {
        lock(&self.0.state).absent.remove(&node);
    }

    /// Which servers do not serve, and which cuts there are.
    pub(crate) fn troubles(&self) -> (Vec<Node>, Vec<(Group, Node)>) {
        let state = lock(&self.0.state);
        (state.absent.keys().copied().collect(), state.cuts.iter().copied().collect())
    }

    /// Does what the cluster has become ready for, and sees to it that it is woken when time makes it so.
    fn settle(&self, state: &mut State) {
        for (token, reply) in state.cluster.take_replies() {
            if let Some(to) = state.waiters.remove(&token) {
                self.respond_late(state, to, reply);
            }
        }
        if state.cluster.pd.revision() != state.told {
            self.tell(state);
        }
        let Some(next) = state.cluster.next_wake() else { return };
        if state.armed.is_some_and(|armed| armed <= next) {
            return;
        }
        state.armed = Some(next);
        let net = self.clone();
        self.0.executor.after(next.since(cluster_time(self.0.executor.now())), move || net.tick());
    }

    fn tick(&self) {
        let now = cluster_time(self.0.executor.now());
        let mut state = lock(&self.0.state);
        state.armed = None;
        state.cluster.wake(now);
        self.settle(&mut state);
    }
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn start_of(&self, node: Node) -> u64 {
        self.starts.get(&node).copied().unwrap_or(0)
    }
}
