//! The machine of one store's stream.
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
//! | state | input | does |
//! |---|---|---|
//! | Down | call, pause over | opens a stream, keeps the call |
//! | Down | call, pause not over | answers unreachable at once |
//! | Opening | writable | sends the priming frame, is open |
//! | Opening | closed | answers all that wait as unreachable, pauses longer each time |
//! | Open | idle, writable | sends one frame of what waits |
//! | Open | item | answers the operations of that frame, each woken once |
//! | Open | closed | answers what was sent as lost; what was not sent stays and a new stream opens |
//! | any | moved | is Down at the new address, without a pause; what was not sent opens a stream there |
//! | any | deadline | answers requests whose deadline is over |
//! | any | withdrawn | is forgotten at the next idle, before anything is sent |
//!
//! A move does not end an open stream that something was sent on: it *leaves*. Nothing more is sent on it, and it is closed
//! once all that was sent is answered, over or withdrawn, or it breaks: an answer on its way is not lost, which would leave a
//! commit undetermined for no reason.
//!
//! Sources: client-go: `internal/client/client_batch.go`, `conn_batch.go`; TiKV: `src/server/service/kv.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::flight::{Flight, MOST};
use super::frame::{FrameError, FrameReader, FrameWriter, priming};
use crate::machine::{
    Address, Asker, Attempt, Completion, Fault, Input, Service, ServiceCx, ServiceEffect, StreamId, TicketId,
    TransportClass, TransportFault, Withdrawn,
};
use crate::request::{Request, append_context};
use crate::types::Instant;
use tikv_proto::methods::tikv::BATCH_COMMANDS;

/// What the stream of a store is asked.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every command")]
pub enum StreamCommand {
    /// Send a request and answer its response.
    Call {
        /// Who waits.
        asker: Asker,
        /// Its context.
        attempt: Attempt,
        /// The request.
        request: Arc<Request>,
        /// When the attempt is over.
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
}

/// Bounds of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamConfig {
    /// Requests in one frame at the most. client-go: `MaxBatchSize`.
    pub max_batch: usize,
    /// A frame of this many bytes takes no further request.
    pub max_frame_bytes: usize,
    /// Requests that wait for the stream to take them at the most; more are refused at once.
    pub max_queued: usize,
    /// The first pause after a stream could not be opened; doubles each time.
    pub reconnect_base: Duration,
    /// The longest pause.
    pub reconnect_cap: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            max_batch: 128,
            max_frame_bytes: 4 << 20,
            max_queued: 1 << 16,
            reconnect_base: Duration::from_millis(100),
            reconnect_cap: Duration::from_secs(2),
        }
    }
}

#[derive(Debug)]
struct Call {
    asker: Asker,
    attempt: Attempt,
    request: Arc<Request>,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    /// No stream. Until the pause is over, calls fail at once with the last fault.
    Down {
        until: Instant,
        last: Option<TransportFault>,
    },
    Opening {
        stream: StreamId,
    },
    Open {
        stream: StreamId,
        writable: bool,
    },
}

/// A stream to where the store was: see the module.
#[derive(Debug)]
struct Leaving {
    stream: StreamId,
    address: Address,
    flight: Flight,
}

/// The BatchCommands stream of one store connection. See the module for its states.
#[derive(Debug)]
pub struct StoreStream {
    address: Address,
    config: StreamConfig,
    state: State,
    queue: VecDeque<Call>,
    flight: Flight,
    /// Streams to where the store was before, oldest first.
    leaving: Vec<Leaving>,
    writer: FrameWriter,
    reader: FrameReader,
    /// Requests that are calls of their own.
    unary: BTreeMap<TicketId, Asker>,
    /// Operations that do not wait any more.
    withdrawn: Vec<Withdrawn>,
    /// What the deadline timer is armed for.
    armed: Option<Instant>,
    /// Openings that failed one after the other.
    failures: u32,
}

type Cx<'a> = ServiceCx<'a, StreamTimer, std::convert::Infallible>;

impl StoreStream {
    /// A stream to the store at `address`; opened by the first call.
    #[must_use]
    pub fn new(address: Address, config: StreamConfig) -> Self {
        Self {
            address,
            config,
            state: State::Down { until: Instant::default(), last: None },
            queue: VecDeque::new(),
            flight: Flight::default(),
            leaving: Vec::new(),
            writer: FrameWriter::default(),
            reader: FrameReader::default(),
            unary: BTreeMap::new(),
            withdrawn: Vec::new(),
            armed: None,
            failures: 0,
        }
    }

    /// A request that no frame can carry is a call of its own.
    fn call_alone(&mut self, call: Call, cx: &mut Cx<'_>) {
        if self.unary.len() >= self.config.max_queued {
            cx.answer(call.asker, Completion::Fault(Fault::Overloaded));
            return;
        }
        let mut body = BytesMut::from(&call.request.body()[..]);
        append_context(call.request.profile(), &call.attempt, &mut body);
        let path = call.request.command().path();
        let ticket = cx.unary(Arc::clone(&self.address), path, body.freeze(), call.deadline);
        self.unary.insert(ticket, call.asker);
    }

    fn call(&mut self, call: Call, cx: &mut Cx<'_>) {
        if call.request.command().batch_tag().is_none() {
            return self.call_alone(call, cx);
        }
        if self.queue.len() >= self.config.max_queued {
            cx.answer(call.asker, Completion::Fault(Fault::Overloaded));
            return;
        }
        if let State::Down { until, last } = &self.state {
            if let Some(fault) = last
                && cx.now() < *until
            {
                cx.answer(call.asker, Completion::Fault(Fault::Transport(fault.clone())));
                return;
            }
            self.open(cx);
        }
        if self.armed.is_none_or(|armed| call.deadline < armed) {
            self.armed = Some(call.deadline);
            cx.arm(StreamTimer::Deadline, call.deadline);
        }
        self.queue.push_back(call);
    }

    fn open(&mut self, cx: &mut Cx<'_>) {
        let stream = cx.open(Arc::clone(&self.address), BATCH_COMMANDS);
        self.state = State::Opening { stream };
    }

    fn writable(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Opening { stream } if *stream == id => {
                self.state = State::Open { stream: id, writable: false };
                cx.effect(ServiceEffect::Send { stream: id, message: priming() });
            }
            State::Open { stream, writable } if *stream == id => *writable = true,
            State::Down { .. } | State::Opening { .. } | State::Open { .. } => {}
        }
    }

    /// Sends one frame of what waits, if the stream takes one.
    fn flush(&mut self, cx: &mut Cx<'_>) {
        let State::Open { stream, writable: writable @ true } = &mut self.state else { return };
        while self.writer.len() < self.config.max_batch
            && self.writer.bytes() < self.config.max_frame_bytes
            && self.flight.len() < MOST
            && let Some(call) = self.queue.pop_front()
        {
            let id = self.flight.add(call.request.command().number(), call.asker, call.deadline);
            self.writer.push(id, &call.request, &call.attempt);
        }
        if !self.writer.is_empty() {
            *writable = false;
            let message = self.writer.finish();
            cx.effect(ServiceEffect::Send { stream: *stream, message });
        }
    }

    fn item(&mut self, id: StreamId, frame: &Bytes, cx: &mut Cx<'_>) {
        if matches!(self.state, State::Open { stream, .. } if stream == id) {
            self.failures = 0;
            if let Err(error) = answer(frame, &mut self.reader, &mut self.flight, &self.address, cx) {
                cx.effect(ServiceEffect::Close { stream: id });
                self.closed(id, &misunderstood(&self.address, &error), cx);
            }
        } else if let Some(old) = self.leaving.iter_mut().find(|old| old.stream == id) {
            if let Err(error) = answer(frame, &mut self.reader, &mut old.flight, &old.address, cx) {
                lose(&mut old.flight, &misunderstood(&old.address, &error), cx);
            }
            self.close_left(cx);
        }
    }

    /// Turns to another address; see the module for what becomes of the stream.
    fn relocate(&mut self, address: Address, cx: &mut Cx<'_>) {
        if address == self.address {
            return;
        }
        let address = std::mem::replace(&mut self.address, address);
        let state = std::mem::replace(&mut self.state, State::Down { until: cx.now(), last: None });
        self.failures = 0;
        if let State::Opening { stream } | State::Open { stream, .. } = state {
            self.leaving.push(Leaving { stream, address, flight: self.flight.part() });
            self.close_left(cx);
        }
        if !self.queue.is_empty() {
            self.open(cx);
        }
    }

    /// Closes the streams that leave and have nothing in flight any more; and the connections, if nothing else uses them.
    fn close_left(&mut self, cx: &mut Cx<'_>) {
        while let Some(at) = self.leaving.iter().position(|old| old.flight.is_empty()) {
            let Leaving { stream, address, .. } = self.leaving.remove(at);
            cx.effect(ServiceEffect::Close { stream });
            if address != self.address && self.leaving.iter().all(|old| old.address != address) {
                cx.effect(ServiceEffect::Disconnect(address));
            }
        }
    }

    fn closed(&mut self, id: StreamId, fault: &TransportFault, cx: &mut Cx<'_>) {
        let was_open = match self.state {
            State::Opening { stream } if stream == id => false,
            State::Open { stream, .. } if stream == id => true,
            State::Down { .. } | State::Opening { .. } | State::Open { .. } => {
                if let Some(at) = self.leaving.iter().position(|old| old.stream == id) {
                    lose(&mut self.leaving.remove(at).flight, fault, cx);
                }
                return;
            }
        };
        lose(&mut self.flight, fault, cx);
        if was_open && self.failures == 0 {
            // The stream had worked: one more try at once for what was not sent.
            self.failures = 1;
            self.state = State::Down { until: cx.now(), last: Some(unsent(fault)) };
            if !self.queue.is_empty() {
                self.open(cx);
            }
            return;
        }
        let pause = self.pause(cx);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Down { until: cx.now() + pause, last: Some(unsent(fault)) };
        for call in self.queue.drain(..) {
            cx.answer(call.asker, Completion::Fault(Fault::Transport(unsent(fault))));
        }
    }

    /// Half of the doubled base to all of it, at most the cap: stores that come back are not stormed.
    fn pause(&self, cx: &mut Cx<'_>) -> Duration {
        let doubled = self.config.reconnect_base.saturating_mul(1 << self.failures.min(10));
        let whole = u64::try_from(doubled.min(self.config.reconnect_cap).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(whole / 2 + cx.rng().u64(0..=whole / 2))
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let over = |class| {
            let fault = TransportFault::new(class, Arc::clone(&self.address));
            Completion::Fault(Fault::Transport(fault))
        };
        let mut earliest = None;
        for flight in self.leaving.iter_mut().map(|old| &mut old.flight).chain([&mut self.flight]) {
            let next = flight.expired(now, |asker| cx.answer(asker, over(TransportClass::TimedOut)));
            earliest = earliest.into_iter().chain(next).min();
        }
        let mut kept = VecDeque::with_capacity(self.queue.len());
        for call in self.queue.drain(..) {
            if call.deadline <= now {
                // It was not sent: nobody needs to wonder whether it happened.
                cx.answer(call.asker, over(TransportClass::Unreachable));
            } else {
                earliest = Some(earliest.map_or(call.deadline, |at| at.min(call.deadline)));
                kept.push_back(call);
            }
        }
        self.queue = kept;
        self.armed = earliest;
        if let Some(at) = earliest {
            cx.arm(StreamTimer::Deadline, at);
        }
        self.close_left(cx);
    }

    /// Forgets the requests that were withdrawn since the last pass, all in one: many that are dropped at once would each
    /// look through all that are in flight.
    fn forget(&mut self, cx: &mut Cx<'_>) {
        if self.withdrawn.is_empty() {
            return;
        }
        self.withdrawn.sort_unstable_by_key(Withdrawn::name);
        let gone = &self.withdrawn;
        let mut kept = VecDeque::with_capacity(self.queue.len());
        for call in self.queue.drain(..) {
            if call.asker.is_among(gone) {
                call.asker.forget();
            } else {
                kept.push_back(call);
            }
        }
        self.queue = kept;
        self.flight.withdraw(gone);
        self.leaving.iter_mut().for_each(|old| old.flight.withdraw(gone));
        let alone: Vec<TicketId> =
            self.unary.iter().filter(|call| call.1.is_among(gone)).map(|call| *call.0).collect();
        for ticket in alone {
            if let Some(asker) = self.unary.remove(&ticket) {
                asker.forget();
            }
        }
        self.withdrawn.clear();
        self.close_left(cx);
    }
}

/// Answers those whom a frame answers.
fn answer(
    frame: &Bytes,
    reader: &mut FrameReader,
    flight: &mut Flight,
    address: &Address,
    cx: &mut Cx<'_>,
) -> Result<(), FrameError> {
    for response in reader.read(frame)? {
        // An id that is not in flight: its operation has gone, or its deadline was over.
        let Some((tag, asker)) = flight.take(response.id) else { continue };
        let completion = if response.tag == tag {
            Completion::Response(response.body)
        } else {
            let detail = format!("{address}: command {tag} was answered as command {}", response.tag);
            Completion::Fault(Fault::Transport(TransportFault::new(TransportClass::Lost, detail)))
        };
        cx.answer(asker, completion);
    }
    Ok(())
}

/// Answers all in flight on a stream that ended: each may have been carried out.
fn lose(flight: &mut Flight, fault: &TransportFault, cx: &mut Cx<'_>) {
    let lost = TransportFault::new(TransportClass::Lost, Arc::clone(&fault.detail));
    flight.drain(|asker| cx.answer(asker, Completion::Fault(Fault::Transport(lost.clone()))));
}

fn misunderstood(address: &Address, error: &FrameError) -> TransportFault {
    TransportFault::new(TransportClass::Lost, format!("{address}: a frame cannot be understood: {error}"))
}

/// The fault of a request that waited for a stream which failed: it was not sent.
fn unsent(fault: &TransportFault) -> TransportFault {
    TransportFault::new(TransportClass::Unreachable, Arc::clone(&fault.detail))
}

impl Service for StoreStream {
    type Command = StreamCommand;
    type Timer = StreamTimer;
    type Special = std::convert::Infallible;

    fn handle(&mut self, input: Input<StreamCommand, StreamTimer>, cx: &mut Cx<'_>) {
        match input {
            Input::Command(StreamCommand::Call { asker, attempt, request, deadline }) => {
                self.call(Call { asker, attempt, request, deadline }, cx);
            }
            Input::Command(StreamCommand::Withdraw(who)) => self.withdrawn.push(who),
            Input::Command(StreamCommand::Move { address }) => self.relocate(address, cx),
            Input::Writable(stream) => self.writable(stream, cx),
            Input::Item(stream, frame) => self.item(stream, &frame, cx),
            Input::Closed(stream, fault) => self.closed(stream, &fault, cx),
            Input::Timer(StreamTimer::Deadline) => self.expire(cx),
            Input::Idle => {
                self.forget(cx);
                self.flush(cx);
            }
            Input::Done(ticket, completion) => {
                if let Some(asker) = self.unary.remove(&ticket) {
                    cx.answer(asker, completion);
                }
            }
        }
    }
}
