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
//! | any | deadline | answers requests whose deadline is over |
//! | any | withdrawn | is forgotten at the next idle, before anything is sent |
//!
//! Sources: client-go: `internal/client/client_batch.go`, `conn_batch.go`; TiKV: `src/server/service/kv.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::flight::{Flight, MOST};
use super::frame::{FrameError, FrameReader, FrameWriter, priming};
use crate::machine::{
    Address, Asker, Attempt, Completion, Fault, Input, Service, ServiceCx, ServiceEffect, StreamId,
    TransportClass, TransportFault, Withdrawn,
};
use crate::request::Request;
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

/// The BatchCommands stream of one store connection. See the module for its states.
#[derive(Debug)]
pub struct StoreStream {
    address: Address,
    config: StreamConfig,
    state: State,
    queue: VecDeque<Call>,
    flight: Flight,
    writer: FrameWriter,
    reader: FrameReader,
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
            writer: FrameWriter::default(),
            reader: FrameReader::default(),
            withdrawn: Vec::new(),
            armed: None,
            failures: 0,
        }
    }

    fn call(&mut self, call: Call, cx: &mut Cx<'_>) {
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
        if !matches!(self.state, State::Open { stream, .. } if stream == id) {
            return;
        }
        self.failures = 0;
        if let Err(error) = self.answer(frame, cx) {
            cx.effect(ServiceEffect::Close { stream: id });
            let detail = format!("{}: a frame cannot be understood: {error}", self.address);
            self.closed(id, &TransportFault::new(TransportClass::Lost, detail), cx);
        }
    }

    fn answer(&mut self, frame: &Bytes, cx: &mut Cx<'_>) -> Result<(), FrameError> {
        for response in self.reader.read(frame)? {
            // An id that is not in flight: its operation has gone, or its deadline was over.
            let Some((tag, asker)) = self.flight.take(response.id) else { continue };
            let completion = if response.tag == tag {
                Completion::Response(response.body)
            } else {
                let detail =
                    format!("{}: command {tag} was answered as command {}", self.address, response.tag);
                Completion::Fault(Fault::Transport(TransportFault::new(TransportClass::Lost, detail)))
            };
            cx.answer(asker, completion);
        }
        Ok(())
    }

    fn closed(&mut self, id: StreamId, fault: &TransportFault, cx: &mut Cx<'_>) {
        let was_open = match self.state {
            State::Opening { stream } if stream == id => false,
            State::Open { stream, .. } if stream == id => true,
            State::Down { .. } | State::Opening { .. } | State::Open { .. } => return,
        };
        let lost = TransportFault::new(
            if was_open { TransportClass::Lost } else { fault.class },
            Arc::clone(&fault.detail),
        );
        self.flight.drain(|asker| cx.answer(asker, Completion::Fault(Fault::Transport(lost.clone()))));
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
        let mut earliest = self.flight.expired(now, |asker| cx.answer(asker, over(TransportClass::TimedOut)));
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
    }

    /// Forgets the requests that were withdrawn since the last pass, all in one: many that are dropped at once would each
    /// look through all that are in flight.
    fn forget(&mut self) {
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
        self.withdrawn.clear();
    }
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
            Input::Writable(stream) => self.writable(stream, cx),
            Input::Item(stream, frame) => self.item(stream, &frame, cx),
            Input::Closed(stream, fault) => self.closed(stream, &fault, cx),
            Input::Timer(StreamTimer::Deadline) => self.expire(cx),
            Input::Idle => {
                self.forget();
                self.flush(cx);
            }
            // A stream asks nobody.
            Input::Done(..) => {}
        }
    }
}
