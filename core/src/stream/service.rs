//! The machine of one store's streams.
//!
//! Each *lane* is a stream on one of the store's connections:
//!
//! ```text
//!        call                 writable
//!  Down ------> Opening --------------> Open --+
//!   ^  \           |                     |     | idle and writable: send a frame
//!   |   call       | closed              |<----+
//!   |   before     v                     v
//!   +-- `until` <--+------ closed -------+
//!       fails
//! ```
//!
//! | lane | input | does |
//! |---|---|---|
//! | Down | call, pause over | opens a stream, keeps the call |
//! | Down | call, pause not over, no other lane | answers unreachable at once |
//! | Opening | writable | is open |
//! | Opening | closed | pauses longer each time; answers all that wait as unreachable, if no other lane is there |
//! | Open | idle, writable | sends one frame of what waits |
//! | Open | all have enough to do | another lane opens, on a connection of its own |
//! | Open | item | answers the operations of that frame, each woken once |
//! | Open | closed | answers what was sent on it as lost; what was not sent stays and a new stream opens |
//! | any | moved | is Down at the new address, without a pause; what was not sent opens a stream there |
//! | any | nothing to do for long | is Down, its connection closed |
//! | any | deadline | answers requests whose deadline is over, and says how far they came |
//! | any | withdrawn | is forgotten at the next idle, before anything is sent |
//!
//! A move does not end an open stream that something was sent on: it *leaves*. Nothing more is sent on it, and it is closed
//! once all that was sent is answered, over or withdrawn, or it breaks: an answer on its way is not lost, which would leave a
//! commit undetermined for no reason.
//!
//! Requests that the store is to forward to another one are a *group* with a queue and a lane of their own: gRPC's headers belong to a
//! stream, and a host that hangs must not hold up the others. Requests that no batch can carry are unary calls.
//!
//! A stream begins with its first requests: our HTTP/2 sends a request's headers before anything else, so there is no
//! need for a message that only makes the server answer.
//!
//! Sources: client-go: `internal/client/client_batch.go`, `conn_batch.go`; TiKV: `src/server/service/kv.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::batch::Batching;
use super::config::StreamConfig;
use super::flight::{Flight, MOST, Sent};
use super::flow::Flows;
use super::frame::{FrameError, FrameReader, FrameWriter};
use super::group::Group;
use super::lane::{Lane, Leaving, Pause, Progress, State, unsent};
use super::queue::{Call, HIGH};
use super::rate::Bucket;
use crate::machine::{
    Address, Asker, Attempt, Completion, Fault, Feedback, Input, Metadata, Service, ServiceCx, ServiceEffect,
    StreamId, TicketId, TransportClass, TransportFault, Way, Withdrawn,
};
use crate::request::{Profile, Request, Travel};
use crate::types::{Instant, StoreId};
use tikv_proto::methods::tikv::BATCH_COMMANDS;

/// What the stream of a store is asked.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every command")]
pub enum StreamCommand {
    /// Send a request and answer its response; of a command that is answered by a stream, its first message.
    Call {
        /// Who waits.
        asker: Asker,
        /// Its context.
        attempt: Attempt,
        /// The request.
        request: Arc<Request>,
        /// When the attempt is over.
        deadline: Instant,
        /// Whom the store is to forward it to, `host:port`; `None`: it is for the store itself.
        forward: Option<Address>,
    },
    /// Brings the next message of a call that brings many: the one that was begun by a `Call` of the same seat.
    Next {
        /// Who waits.
        asker: Asker,
        /// When the message must have come.
        deadline: Instant,
    },
    /// An operation does not wait any more.
    Withdraw(Withdrawn),
    /// The store serves at another address from now on.
    Move {
        /// Where.
        address: Address,
    },
}

/// The timers of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every timer")]
pub enum StreamTimer {
    /// The earliest deadline of a request.
    Deadline,
    /// A frame has waited long enough for more requests.
    Batch,
    /// The rate allows the next request.
    Rate,
    /// Whether the connections are in use is to be looked at.
    Idle,
}

/// Connections are kept at least so long.
const SHORTEST: Duration = Duration::from_millis(1);

/// The streams of one store. See the module for their states.
#[derive(Debug)]
pub struct StoreStream {
    address: Address,
    config: StreamConfig,
    /// Those of the store itself first.
    groups: Vec<Group>,
    /// Streams to where the store was before, oldest first.
    leaving: Vec<Leaving>,
    flight: Flight,
    /// Requests that are calls of their own.
    unary: BTreeMap<TicketId, Asker>,
    /// Calls that bring many messages.
    flows: Flows,
    /// Why those are not tried.
    pause: Pause,
    batching: Batching,
    bucket: Option<Bucket>,
    writer: FrameWriter,
    /// What every request has in its context.
    client: Profile,
    reader: FrameReader,
    /// Operations that do not wait any more.
    withdrawn: Vec<Withdrawn>,
    /// What the deadline timer is armed for.
    armed: Option<Instant>,
    /// When something was last asked for.
    used: Instant,
    /// Whether the idle timer is armed.
    watched: bool,
}

pub(super) type Cx<'a> = ServiceCx<'a, StreamTimer, std::convert::Infallible>;

impl StoreStream {
    /// Streams to the store at `address`; opened by the first call.
    #[must_use]
    pub fn new(address: Address, config: StreamConfig) -> Self {
        Self {
            address,
            groups: vec![Group::new(None)],
            leaving: Vec::new(),
            flight: Flight::default(),
            unary: BTreeMap::new(),
            flows: Flows::default(),
            pause: Pause::default(),
            batching: Batching::new(&config),
            bucket: config.rate.map(Bucket::new),
            writer: FrameWriter::default(),
            client: Profile::default(),
            reader: FrameReader::default(),
            withdrawn: Vec::new(),
            armed: None,
            used: Instant::default(),
            watched: false,
            config,
        }
    }

    /// Adds `client` to the context of every request: what all requests of one client have in it.
    #[must_use]
    pub(crate) fn of_client(mut self, client: Profile) -> Self {
        self.client = client.clone();
        self.writer = FrameWriter::of_client(client);
        self
    }

    /// The requests that wait to be sent.
    fn queued(&self) -> usize {
        self.groups.iter().map(|group| group.queue.len()).sum()
    }

    fn call(&mut self, call: Call, forward: Option<Address>, cx: &mut Cx<'_>) {
        if self.config.max_batch == 0 || call.request.command().batch_tag().is_none() {
            return self.call_alone(call, forward, cx);
        }
        if self.queued() >= self.config.max_queued {
            cx.answer(call.asker, Completion::Fault(Fault::Overloaded));
            return;
        }
        let at = self.groups.iter().position(|group| group.forward == forward).unwrap_or_else(|| {
            self.groups.push(Group::new(forward));
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        if let Some(why) = group.why_not(cx.now()) {
            cx.answer(call.asker, Completion::Fault(Fault::Transport(why)));
            return;
        }
        let deadline = call.deadline;
        group.queue.push(call);
        open(group, &self.address, &self.config, cx);
        self.expect(deadline, cx);
        self.watch(cx);
    }

    /// Sees to it that the deadline is kept.
    fn expect(&mut self, deadline: Instant, cx: &mut Cx<'_>) {
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.armed = Some(deadline);
            cx.arm(StreamTimer::Deadline, deadline);
        }
    }

    /// Sends a request as a call of its own; who carries it out ends it at its deadline.
    fn call_alone(&mut self, call: Call, forward: Option<Address>, cx: &mut Cx<'_>) {
        let Call { asker, attempt, request, deadline } = call;
        if self.unary.len() >= self.config.max_in_flight {
            cx.answer(asker, Completion::Fault(Fault::Overloaded));
            return;
        }
        if let Some(why) = self.pause.why(cx.now()) {
            cx.answer(asker, Completion::Fault(Fault::Transport(unsent(why))));
            return;
        }
        if request.command().travel() == Travel::Streamed {
            let way = (&self.address, request.command().path(), forward.as_ref());
            self.flows.begin(way, request.whole(&self.client, &attempt), (asker, deadline), cx);
            self.expect(deadline, cx);
            return self.watch(cx);
        }
        let (to, path) = (Arc::clone(&self.address), request.command().path());
        let way = Way { metadata: forwarding(forward.as_ref()), ..Way::default() };
        let ticket = cx.unary_by(to, path, request.whole(&self.client, &attempt), deadline, way);
        self.unary.insert(ticket, asker);
        self.watch(cx);
    }

    fn called(&mut self, ticket: TicketId, completion: Completion, cx: &mut Cx<'_>) {
        let Some(asker) = self.unary.remove(&ticket) else { return };
        match &completion {
            Completion::Fault(Fault::Transport(fault)) if fault.class == TransportClass::Unreachable => {
                let now = cx.now();
                self.pause.broke(fault, false, (now, cx.rng()), &self.config);
            }
            _ => self.pause.worked(),
        }
        cx.answer(asker, completion);
    }

    /// Sees to it that connections which are not used any more are closed.
    fn watch(&mut self, cx: &mut Cx<'_>) {
        self.used = cx.now();
        if !self.watched {
            self.watched = true;
            cx.arm(StreamTimer::Idle, cx.now() + self.idle_timeout());
        }
    }

    /// A timer that fires at once, again and again, would be a loop.
    fn idle_timeout(&self) -> Duration {
        self.config.idle_timeout.max(SHORTEST)
    }

    fn writable(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        if self.flows.writable(id, cx) {
            return;
        }
        let lane = self.groups.iter_mut().find_map(|group| group.lane_mut(id));
        if let Some(lane) = lane {
            lane.state = State::Open { writable: true };
        }
    }

    /// Sends what waits: a frame on each lane that takes one.
    fn flush(&mut self, cx: &mut Cx<'_>) {
        for at in 0..self.groups.len() {
            while self.send(at, cx) {}
            let group = &mut self.groups[at];
            if !group.queue.is_empty() {
                open(group, &self.address, &self.config, cx);
            }
        }
    }

    /// Sends one frame of a group; false when nothing waits, takes it, or may go.
    fn send(&mut self, at: usize, cx: &mut Cx<'_>) -> bool {
        let (now, group) = (cx.now(), &mut self.groups[at]);
        if group.queue.is_empty() {
            return false;
        }
        let Some(stream) = group.writable(&self.config) else { return false };
        let places = self.config.max_in_flight.min(MOST).saturating_sub(self.flight.len());
        let rate = self.bucket.as_ref().map_or(usize::MAX, |bucket| bucket.allows(now));
        let mut room = places.min(rate);
        if !group.queue.is_high() {
            if room == 0 {
                if let Some(bucket) = self.bucket.as_ref().filter(|_| places > 0) {
                    cx.arm(StreamTimer::Rate, bucket.next());
                }
                return false;
            }
            if let Some(until) = self.batching.holds(group.queue.len(), now, &self.config) {
                cx.arm(StreamTimer::Batch, until);
                return false;
            }
        }
        let mut counted = 0;
        while self.writer.len() < self.config.max_batch
            && self.writer.bytes() < self.config.max_frame_bytes
            && self.flight.len() < MOST
            && let Some(call) = group.queue.pop(room == 0)
        {
            let Call { asker, attempt, request, deadline } = call;
            if request.profile().priority() < HIGH {
                room -= 1;
                counted += 1;
            }
            let tag = request.command().number();
            let id = self.flight.add(Sent { tag, stream, asker, deadline, at: now });
            self.writer.push(id, &request, &attempt);
        }
        let sent = self.writer.len();
        if sent == 0 {
            return false;
        }
        group.sent(stream, sent);
        self.batching.sent(sent);
        if let Some(bucket) = &mut self.bucket {
            bucket.take(counted, now);
        }
        cx.effect(ServiceEffect::Send { stream, message: self.writer.finish() });
        true
    }

    fn item(&mut self, id: StreamId, frame: &Bytes, cx: &mut Cx<'_>) {
        if self.flows.item(id, frame, cx) {
            return;
        }
        let Some(progress) = progress(&mut self.groups, &mut self.leaving, id) else { return };
        if let Err(error) = answer(frame, &mut self.reader, &mut self.flight, progress, &self.address, cx) {
            return self.misunderstood(id, &error, cx);
        }
        if let Some(lane) = self.groups.iter_mut().find_map(|group| group.lane_mut(id)) {
            lane.pause.worked();
        }
        self.batching.told(self.reader.load());
        if let Some((store, slow_score)) = self.reader.health() {
            cx.effect(ServiceEffect::Report(Feedback::Health { store: StoreId(store), slow_score }));
        }
        self.close_left(cx);
    }

    /// A stream brought what is no frame: nothing that it says can be relied on.
    fn misunderstood(&mut self, id: StreamId, error: &FrameError, cx: &mut Cx<'_>) {
        let old = self.leaving.iter_mut().find(|old| old.stream == id);
        let address = old.as_ref().map_or(&self.address, |old| &old.address);
        let detail = format!("{address}: a frame cannot be understood: {error}");
        let fault = TransportFault::new(TransportClass::Lost, detail);
        if let Some(old) = old {
            old.progress.in_flight = 0;
            self.flight
                .lose(id, |asker| cx.answer(asker, Completion::Fault(Fault::Transport(fault.clone()))));
            return self.close_left(cx);
        }
        cx.effect(ServiceEffect::Close { stream: id });
        self.closed(id, &fault, cx);
    }

    /// Turns to another address; see the module for what becomes of the streams.
    fn relocate(&mut self, address: Address, cx: &mut Cx<'_>) {
        if address == self.address {
            return;
        }
        let old = std::mem::replace(&mut self.address, address);
        self.pause = Pause::default();
        for group in &mut self.groups {
            self.leaving.extend(group.leave(&old));
        }
        self.close_left(cx);
        for group in self.groups.iter_mut().filter(|group| !group.queue.is_empty()) {
            open(group, &self.address, &self.config, cx);
        }
    }

    /// Closes the streams that leave and have nothing in flight any more; and the connections, if nothing else uses them.
    fn close_left(&mut self, cx: &mut Cx<'_>) {
        while let Some(at) = self.leaving.iter().position(|old| old.progress.in_flight == 0) {
            let Leaving { stream, address, .. } = self.leaving.remove(at);
            cx.effect(ServiceEffect::Close { stream });
            if address != self.address && self.leaving.iter().all(|old| old.address != address) {
                cx.effect(ServiceEffect::Disconnect(address));
            }
        }
    }

    fn closed(&mut self, id: StreamId, fault: &TransportFault, cx: &mut Cx<'_>) {
        if self.flows.closed(id, fault, cx) {
            return;
        }
        let lost = TransportFault::new(TransportClass::Lost, Arc::clone(&fault.detail));
        let lose = |asker| cx.answer(asker, Completion::Fault(Fault::Transport(lost.clone())));
        if let Some(at) = self.leaving.iter().position(|old| old.stream == id) {
            self.leaving.remove(at);
            self.flight.lose(id, lose);
            return;
        }
        let Some(group) = self.groups.iter_mut().find(|group| group.has(id)) else { return };
        self.flight.lose(id, lose);
        let now = cx.now();
        if group.broke(id, fault, (now, cx.rng()), &self.config) {
            // It had worked: one more try at once for what was not sent.
            if !group.queue.is_empty() {
                open(group, &self.address, &self.config, cx);
            }
        } else if let Some(why) = group.why_not(now) {
            group.queue.drain(|call| {
                cx.answer(call.asker, Completion::Fault(Fault::Transport(why.clone())));
            });
        }
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        let (now, address) = (cx.now(), Arc::clone(&self.address));
        let (groups, leaving) = (&mut self.groups, &mut self.leaving);
        let mut earliest = self.flight.expired(now, |id, sent| {
            let on = progress(groups, leaving, sent.stream);
            let answered = on.as_ref().is_some_and(|on| id < on.newest);
            if let Some(on) = on {
                on.in_flight -= 1;
            }
            let behind = if answered {
                "later requests of its stream were answered"
            } else {
                "nothing behind it was answered"
            };
            let detail = format!("{address}: sent {:?} before; {behind}", in_ms(now.since(sent.at)));
            cx.answer(sent.asker, over(TransportClass::TimedOut, detail));
        });
        let full = self.flight.len() >= self.config.max_in_flight;
        for group in &mut self.groups {
            let why = group.held_up_by(full);
            let is_over = |call: &Call| {
                if call.deadline > now {
                    earliest = Some(earliest.map_or(call.deadline, |at| at.min(call.deadline)));
                }
                call.deadline <= now
            };
            // It was not sent: nobody needs to wonder whether it happened.
            group.queue.extract(is_over, |call| {
                cx.answer(
                    call.asker,
                    over(TransportClass::Unreachable, format!("{address}: not sent: {why}")),
                );
            });
        }
        let earliest = earliest.into_iter().chain(self.flows.expire(&address, cx)).min();
        self.armed = earliest;
        if let Some(at) = earliest {
            cx.arm(StreamTimer::Deadline, at);
        }
        self.close_left(cx);
    }

    /// Closes the connections, if nothing was asked for in a long time and nothing is on its way.
    fn rest(&mut self, cx: &mut Cx<'_>) {
        let busy = self.queued() + self.flight.len() + self.unary.len() + self.leaving.len() > 0
            || !self.flows.is_empty();
        let from = if busy { cx.now() } else { self.used };
        let until = from + self.idle_timeout();
        self.watched = busy || until > cx.now();
        if self.watched {
            cx.arm(StreamTimer::Idle, until);
            return;
        }
        let groups = std::mem::replace(&mut self.groups, vec![Group::new(None)]);
        for stream in groups.iter().flat_map(|group| &group.lanes).filter_map(Lane::stream) {
            cx.effect(ServiceEffect::Close { stream });
        }
        cx.effect(ServiceEffect::Disconnect(Arc::clone(&self.address)));
    }

    /// Forgets the requests that were withdrawn since the last pass, all in one: many that are dropped at once would each
    /// look through all that are in flight.
    fn forget(&mut self, cx: &mut Cx<'_>) {
        if self.withdrawn.is_empty() {
            return;
        }
        self.withdrawn.sort_unstable_by_key(Withdrawn::name);
        let gone = std::mem::take(&mut self.withdrawn);
        for group in &mut self.groups {
            group.queue.extract(|call| call.asker.is_among(&gone), |call| call.asker.forget());
        }
        let (groups, leaving) = (&mut self.groups, &mut self.leaving);
        self.flight.withdraw(&gone, |stream| {
            if let Some(on) = progress(groups, leaving, stream) {
                on.in_flight -= 1;
            }
        });
        self.flows.withdraw(&gone, cx);
        let calls: Vec<TicketId> =
            self.unary.iter().filter(|call| call.1.is_among(&gone)).map(|call| *call.0).collect();
        for ticket in calls {
            if let Some(asker) = self.unary.remove(&ticket) {
                asker.forget();
                cx.effect(ServiceEffect::GiveUp { ticket });
            }
        }
        self.close_left(cx);
    }
}

/// Opens a lane of a group, if one is wanted.
fn open(group: &mut Group, address: &Address, config: &StreamConfig, cx: &mut Cx<'_>) {
    if let Some(connection) = group.wanted(cx.now(), config) {
        let way = Way { connection, metadata: forwarding(group.forward.as_ref()), on_demand: false };
        let stream = cx.open_by(Arc::clone(address), BATCH_COMMANDS, way);
        group.opening(connection, stream);
    }
}

/// The header that names whom the store is to forward to. client-go: `internal/client/client.go: forwardMetadataKey`.
pub(super) fn forwarding(to: Option<&Address>) -> Metadata {
    to.map(|host| ("tikv-forwarded-host", Arc::clone(host))).into_iter().collect()
}

/// How far a stream has come.
fn progress<'a>(
    groups: &'a mut [Group],
    leaving: &'a mut [Leaving],
    stream: StreamId,
) -> Option<&'a mut Progress> {
    let lane = groups.iter_mut().find_map(|group| group.lane_mut(stream)).map(|lane| &mut lane.progress);
    lane.or_else(|| leaving.iter_mut().find(|old| old.stream == stream).map(|old| &mut old.progress))
}

/// Answers those whom a frame answers, each for the first time.
fn answer(
    frame: &Bytes,
    reader: &mut FrameReader,
    flight: &mut Flight,
    progress: &mut Progress,
    address: &Address,
    cx: &mut Cx<'_>,
) -> Result<(), FrameError> {
    let stream = progress.stream;
    for response in reader.read(frame)? {
        progress.newest = progress.newest.max(response.id);
        // An id that is not in flight: its operation has gone, or its deadline was over.
        let Some(sent) = flight.take(response.id, stream) else { continue };
        progress.in_flight -= 1;
        let completion = if response.tag == sent.tag {
            Completion::Response(response.body)
        } else {
            let detail = format!("{address}: command {} was answered as command {}", sent.tag, response.tag);
            over(TransportClass::Lost, detail)
        };
        cx.answer(sent.asker, completion);
    }
    Ok(())
}

pub(super) fn over(class: TransportClass, detail: String) -> Completion {
    Completion::Fault(Fault::Transport(TransportFault::new(class, detail)))
}

/// For people: to the millisecond.
fn in_ms(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl Service for StoreStream {
    type Command = StreamCommand;
    type Timer = StreamTimer;
    type Special = std::convert::Infallible;

    fn handle(&mut self, input: Input<StreamCommand, StreamTimer>, cx: &mut Cx<'_>) {
        match input {
            Input::Command(StreamCommand::Call { asker, attempt, request, deadline, forward }) => {
                self.call(Call { asker, attempt, request, deadline }, forward, cx);
            }
            Input::Command(StreamCommand::Next { asker, deadline }) => {
                self.flows.next(asker, deadline, cx);
                self.expect(deadline, cx);
            }
            Input::Command(StreamCommand::Withdraw(who)) => self.withdrawn.push(who),
            Input::Command(StreamCommand::Move { address }) => self.relocate(address, cx),
            Input::Writable(stream) => self.writable(stream, cx),
            Input::Item(stream, frame) => self.item(stream, &frame, cx),
            Input::Closed(stream, fault) => self.closed(stream, &fault, cx),
            Input::Timer(StreamTimer::Deadline) => self.expire(cx),
            Input::Timer(StreamTimer::Idle) => self.rest(cx),
            // The next idle sends.
            Input::Timer(StreamTimer::Batch | StreamTimer::Rate) => {}
            Input::Idle => {
                self.forget(cx);
                self.flush(cx);
            }
            Input::Done(ticket, completion) => self.called(ticket, completion, cx),
        }
    }
}
