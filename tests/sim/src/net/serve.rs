//! The servers' end: what arrives, what is executed, what is answered.

use std::time::Duration;

use bytes::Bytes;
use tikv_client_core::machine::{TransportClass, TransportFault};
use tikv_embedded::control::Node;
use tikv_embedded::model::frame::{Answers, commands};
use tikv_embedded::model::{Answer, Call, Command, Met, Reply, Status, pd};
use tikv_proto::methods::tikv;
use tikv_proto::tikvpb::batch_commands_response::response;

use super::{Held, Net, State, cluster_time, lock, number};
use crate::digest::Mark;

/// A message to a server.
pub(super) struct Up {
    line: u64,
    pipe: u64,
    what: Asked,
}

enum Asked {
    /// A frame of commands, by id.
    Batch(Vec<(u64, Option<Box<Command>>)>),
    /// A call, or an item of a stream that answers in order.
    One(Box<Call>),
    /// What no server understands.
    Bad(Status),
}

/// A message to a client.
pub(super) struct Down {
    line: u64,
    pipe: u64,
    what: Result<Bytes, TransportFault>,
    /// The commands that it answers, and whether with a region error.
    answers: Vec<(u64, bool)>,
}

/// An answer to a command of a batch.
pub(super) struct Answered {
    id: u64,
    answer: Option<response::Cmd>,
}

/// Where a reply goes.
pub(super) struct ReplyTo {
    line: u64,
    pipe: u64,
    /// The id of the command in its batch; `None`: the reply is a message of its own.
    id: Option<u64>,
}

fn asked(node: Node, path: &'static str, body: Bytes) -> Asked {
    let call = match node {
        Node::Store(_) if path == tikv::BATCH_COMMANDS => {
            return match commands(body).and_then(Iterator::collect) {
                Ok(all) => Asked::Batch(all),
                Err(status) => Asked::Bad(status),
            };
        }
        Node::Store(store) => {
            Command::decode(path, body).map(|command| Call::Store { store, command: Box::new(command) })
        }
        Node::Pd(member) => pd::method(path)
            .map(|path| Call::Pd { member, follower_may: false, path, body })
            .ok_or_else(|| pd::unknown_method(path)),
        _ => Err(Status::unimplemented(path)),
    };
    call.map_or_else(Asked::Bad, |call| Asked::One(Box::new(call)))
}

impl Net {
    /// A client sends a message.
    pub(super) fn send(&self, line: u64, pipe: u64, path: &'static str, body: Bytes) {
        let now = self.0.executor.now();
        let mut state = lock(&self.0.state);
        let Some(node) = state.lines.get(&line).filter(|line| line.dead_at.is_none()).map(|line| line.node)
        else {
            return;
        };
        self.0.digest.add(Mark::Up, now, number(node), &body);
        let what = asked(node, path, body);
        if let Asked::Batch(commands) = &what {
            for (id, command) in commands {
                if let Some(command) = command {
                    state.witness.sent(now, pipe, *id, command);
                }
            }
        }
        self.carry_up(&mut state, Up { line, pipe, what });
    }

    pub(super) fn carry_up(&self, state: &mut State, up: Up) {
        let now = self.0.executor.now();
        let trip = state.weather.trip(&mut state.rng);
        let Some(line) = state.lines.get_mut(&up.line) else { return };
        if state.cuts.contains(&(line.client, line.node)) {
            state.held.push((line.client, line.node, Held::Up(up)));
            return;
        }
        let at = (now + trip).max(line.last_up + 1);
        line.last_up = at;
        let net = self.clone();
        self.0.executor.at(at, move || net.arrive(up));
    }

    fn arrive(&self, up: Up) {
        let now = self.0.executor.now();
        let mut state = lock(&self.0.state);
        let state = &mut *state;
        let Some(entry) = state.lines.get_mut(&up.line) else { return };
        let (client, node) = (entry.client, entry.node);
        if entry.dead_at.is_some_and(|at| at <= now) || state.absent.contains_key(&node) {
            return;
        }
        if state.cuts.contains(&(client, node)) {
            state.held.push((client, node, Held::Up(up)));
            return;
        }
        let Up { line, pipe, what } = up;
        match what {
            Asked::Bad(status) => {
                let to = ReplyTo { line, pipe, id: None };
                self.respond(state, to, Reply::Fail(status));
            }
            Asked::One(call) => match entry.behind.get_mut(&pipe) {
                Some(behind) => behind.push_back(*call),
                None => self.execute(state, line, pipe, None, *call),
            },
            Asked::Batch(commands) => {
                let Node::Store(store) = node else { return };
                let start = state.start_of(node);
                for (id, command) in commands {
                    let Some(command) = command else {
                        self.answer(state, line, pipe, Answered { id, answer: None });
                        continue;
                    };
                    let slow = state.slow.get(&store).copied().unwrap_or(Duration::ZERO);
                    let work = state.weather.work(&mut state.rng);
                    let work = Duration::from_nanos(work) + slow;
                    let net = self.clone();
                    self.0.executor.after(work, move || {
                        let mut state = lock(&net.0.state);
                        if state.start_of(node) == start {
                            net.execute(&mut state, line, pipe, Some(id), Call::Store { store, command });
                        }
                    });
                }
            }
        }
    }

    fn execute(&self, state: &mut State, line: u64, pipe: u64, id: Option<u64>, call: Call) {
        let at = self.0.executor.now();
        let now = cluster_time(at);
        let State { cluster, witness, .. } = state;
        self.0.verdict.check(witness.before(cluster, &call));
        match &call {
            Call::Store { command, .. } => self.0.tally.count(&format!("method.{}", command.method())),
            Call::Pd { path, .. } => {
                self.0.tally.count(&format!("method.{}", path.rsplit('/').next().unwrap_or(path)));
            }
            _ => {}
        }
        match cluster.call(now, call) {
            Met::Now(reply) => self.respond(state, ReplyTo { line, pipe, id }, reply),
            Met::Later(token) => {
                state.waiters.insert(token, ReplyTo { line, pipe, id });
                if id.is_none()
                    && let Some(line) = state.lines.get_mut(&line)
                {
                    line.behind.entry(pipe).or_default();
                }
            }
            _ => {}
        }
        self.settle(state);
    }

    /// Sends what became of a call that waited; those behind it go on.
    pub(super) fn respond_late(&self, state: &mut State, to: ReplyTo, reply: Reply) {
        let (line, pipe, alone) = (to.line, to.pipe, to.id.is_none());
        self.respond(state, to, reply);
        if !alone {
            return;
        }
        let Some(entry) = state.lines.get_mut(&line) else { return };
        for call in entry.behind.remove(&pipe).into_iter().flatten() {
            match state.lines.get_mut(&line).and_then(|entry| entry.behind.get_mut(&pipe)) {
                // One of them waits in its turn.
                Some(behind) => behind.push_back(call),
                None => self.execute(state, line, pipe, None, call),
            }
        }
    }

    /// Sends what became of a call.
    pub(super) fn respond(&self, state: &mut State, to: ReplyTo, reply: Reply) {
        let ReplyTo { line, pipe, id } = to;
        let what = match reply {
            Reply::Store(answer) => match (id, *answer) {
                (Some(id), Answer::Batched(answer)) => {
                    self.count_errors(&answer);
                    return self.answer(state, line, pipe, Answered { id, answer: Some(answer) });
                }
                (_, answer) => Ok(answer.encode()),
            },
            Reply::Bytes(body) => Ok(body),
            Reply::Fail(Status { code, message, .. }) => {
                let code = u8::try_from(code as u32).unwrap_or(2);
                Err(TransportFault::new(TransportClass::Rejected(code), message))
            }
            Reply::Broken => Err(TransportFault::new(TransportClass::Lost, "the stream was reset")),
            Reply::Watch(watch) => {
                if let Some(line) = state.lines.get_mut(&line) {
                    line.watches.insert(pipe, *watch);
                }
                return self.tell(state);
            }
            // Nothing will ever be heard of it.
            _ => return,
        };
        self.carry_down(state, Down { line, pipe, what, answers: Vec::new() });
    }

    /// Tells the streams that watch PD's keys what has changed.
    pub(super) fn tell(&self, state: &mut State) {
        state.told = state.cluster.pd.revision();
        let State { cluster, lines, .. } = state;
        let mut told = Vec::new();
        for (&line, entry) in lines {
            // Of a client that has enough, or of a connection that broke.
            entry.watches.retain(|pipe, _| entry.pipes.contains_key(pipe));
            entry.watches.retain(|&pipe, watch| {
                let replies = std::iter::from_fn(|| cluster.watched(watch));
                let before = told.len();
                told.extend(replies.map(|reply| (ReplyTo { line, pipe, id: None }, reply)));
                // One that has failed has ended.
                !told[before..].iter().any(|(_, reply)| matches!(reply, Reply::Fail(_)))
            });
        }
        for (to, reply) in told {
            self.respond(state, to, reply);
        }
    }

    /// Puts an answer to those that go out with the next frame of their stream.
    fn answer(&self, state: &mut State, line: u64, pipe: u64, answered: Answered) {
        let reorders = state.weather.reorders;
        let hurry = state.rng.u64(0..if reorders { 2_000_000 } else { 20_000 });
        let Some(entry) = state.lines.get_mut(&line) else { return };
        let ready = entry.ready.entry(pipe).or_default();
        ready.push(answered);
        if ready.len() == 1 {
            let net = self.clone();
            self.0.executor.after(Duration::from_nanos(hurry), move || net.flush(line, pipe));
        }
    }

    fn flush(&self, line: u64, pipe: u64) {
        let mut state = lock(&self.0.state);
        let state = &mut *state;
        let Some(entry) = state.lines.get_mut(&line) else { return };
        let Some(mut ready) = entry.ready.remove(&pipe) else { return };
        if state.weather.reorders {
            state.rng.shuffle(&mut ready);
            self.0.tally.count("net.reordered");
        }
        let mut frame = Answers::new(0);
        let mut answers = Vec::new();
        let mut frames = Vec::new();
        for Answered { id, answer } in ready {
            let refused = answer.as_ref().is_some_and(|answer| region_error(answer).is_some());
            if state.rng.u32(..1000) < state.weather.doubled_per_mille {
                self.0.tally.count("net.doubled");
                frame.push(id, answer.clone());
                answers.push((id, refused));
            }
            frame.push(id, answer);
            answers.push((id, refused));
            if state.weather.reorders && state.rng.bool() {
                frames.extend(frame.close().map(|frame| (frame, std::mem::take(&mut answers))));
            }
        }
        frames.extend(frame.close().map(|frame| (frame, answers)));
        for (frame, answers) in frames {
            self.carry_down(state, Down { line, pipe, what: Ok(frame.freeze()), answers });
        }
    }

    pub(super) fn carry_down(&self, state: &mut State, down: Down) {
        let now = self.0.executor.now();
        let trip = state.weather.trip(&mut state.rng);
        let Some(line) = state.lines.get_mut(&down.line) else { return };
        if state.cuts.contains(&(line.client, line.node)) {
            state.held.push((line.client, line.node, Held::Down(down)));
            return;
        }
        let at = (now + trip).max(line.last_down + 1);
        line.last_down = at;
        let net = self.clone();
        self.0.executor.at(at, move || net.deliver(down));
    }

    fn deliver(&self, down: Down) {
        let now = self.0.executor.now();
        let mut state = lock(&self.0.state);
        let State { lines, cuts, held, witness, .. } = &mut *state;
        let Some(line) = lines.get_mut(&down.line) else { return };
        if cuts.contains(&(line.client, line.node)) {
            held.push((line.client, line.node, Held::Down(down)));
            return;
        }
        let who = number(line.node);
        // A client that has gone, or has given the stream up, hears nothing.
        let Some(pipe) = line.pipes.get(&down.pipe) else { return };
        for (id, refused) in &down.answers {
            witness.answered(now, down.pipe, *id, *refused);
        }
        self.0.digest.add(Mark::Down, now, who, down.what.as_deref().unwrap_or_default());
        if down.what.is_err() {
            let pipe = line.pipes.remove(&down.pipe);
            drop(state);
            if let Some(pipe) = pipe {
                pipe.push(down.what);
            }
            return;
        }
        pipe.push(down.what);
    }

    /// Counts the region errors that clients are told.
    fn count_errors(&self, answer: &response::Cmd) {
        if let Some(error) = region_error(answer) {
            self.0.tally.count(&format!("told.{}", kind(error)));
        }
    }
}

/// The region error of an answer.
fn region_error(answer: &response::Cmd) -> Option<&tikv_proto::errorpb::Error> {
    use response::Cmd as C;
    macro_rules! of {
        ($($variant:ident)*) => {
            match answer {
                $(C::$variant(answer) => answer.region_error.as_deref(),)*
                _ => None,
            }
        };
    }
    of!(Get Scan Prewrite Commit Cleanup BatchGet BatchRollback ScanLock ResolveLock DeleteRange RawGet RawBatchGet RawPut
        RawBatchPut RawDelete RawBatchDelete RawScan RawDeleteRange PessimisticLock PessimisticRollback CheckTxnStatus
        TxnHeartBeat CheckSecondaryLocks)
}

/// The name of a region error.
fn kind(error: &tikv_proto::errorpb::Error) -> &'static str {
    macro_rules! named {
        ($($field:ident)*) => {
            $(if error.$field.is_some() { return stringify!($field); })*
        };
    }
    named!(not_leader region_not_found key_not_in_region epoch_not_match server_is_busy stale_command store_not_match
        max_timestamp_not_synced read_index_not_ready proposal_in_merging_mode data_is_not_ready disk_full
        undetermined_result recovery_in_progress region_not_initialized is_witness mismatch_peer_id);
    "other"
}
