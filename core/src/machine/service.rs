//! Services: long-lived shared work (a store's stream, the timestamp batcher, PD queries) as sans-IO machines.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::completion::Completion;
use super::fault::TransportFault;
use super::report::Feedback;
use super::seat::{Asker, Seat};
use super::ticket::TicketId;
use crate::pd::PdQuery;
use crate::types::{Instant, WallTime};

/// Long-lived and shared: has a mailbox and named timers, and one task that feeds it.
///
/// One input, one `handle`, effects drained: never pending, never polled idle.
pub trait Service: fmt::Debug {
    /// What operations and other services hand it.
    type Command;
    /// The names of its timers.
    type Timer: Copy + Ord + fmt::Debug;
    /// Effects that only this service has.
    type Special: fmt::Debug;

    /// Takes one input and adds what is to be done.
    fn handle(
        &mut self,
        input: Input<Self::Command, Self::Timer>,
        cx: &mut ServiceCx<'_, Self::Timer, Self::Special>,
    );
}

/// What happens to a service.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "a service handles every input")]
pub enum Input<C, T> {
    /// A command from its mailbox.
    Command(C),
    /// An answer to a unary call or query of its own.
    Done(TicketId, Completion),
    /// The stream is open: it takes a frame now.
    Writable(StreamId),
    /// The stream brought a message.
    Item(StreamId, Bytes),
    /// The stream ended or could not be opened.
    Closed(StreamId, TransportFault),
    /// A timer fired.
    Timer(T),
    /// The mailbox and all streams are drained: a batcher sends now.
    Idle,
}

/// Names a stream of a service; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "an id is a number and stays one")]
pub struct StreamId(pub u64);

/// Where a channel goes: `host:port`, as the cluster names it.
pub type Address = Arc<str>;

/// Headers of a call beside gRPC's own: names in lower case, values of printable ASCII.
pub type Metadata = Vec<(&'static str, Arc<str>)>;

/// How a stream or a call goes, beside where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the driver carries out all of it")]
pub struct Way {
    /// Over which of the connections to the address.
    pub connection: u32,
    /// Its headers.
    pub metadata: Metadata,
    /// Of a stream: messages are read one at a time, each when [`ServiceEffect::Next`] asks for it.
    pub on_demand: bool,
}

/// What a service wants done, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServiceEffect<T, S> {
    /// Opens a bidirectional stream; `Writable` or `Closed` follows.
    Open {
        /// Its name.
        stream: StreamId,
        /// Where to.
        to: Address,
        /// The gRPC method.
        path: &'static str,
        /// How.
        way: Way,
    },
    /// Sends one message; `Writable` follows when the next may be sent.
    Send {
        /// The stream.
        stream: StreamId,
        /// The encoded message.
        message: Bytes,
    },
    /// Says that no message follows; the server's may still come.
    Finish {
        /// The stream.
        stream: StreamId,
    },
    /// Reads the next message of a stream that was opened to be read on demand.
    Next {
        /// The stream.
        stream: StreamId,
    },
    /// Ends a stream; nothing follows.
    Close {
        /// The stream.
        stream: StreamId,
    },
    /// Calls a unary method; `Done` follows, at `deadline` at the latest.
    Unary {
        /// Who waits: a ticket of this service.
        ticket: TicketId,
        /// Where to.
        to: Address,
        /// The gRPC method.
        path: &'static str,
        /// The encoded request.
        body: Bytes,
        /// When to give up.
        deadline: Instant,
        /// How.
        way: Way,
    },
    /// Gives a unary call up: the server learns of it, and nothing follows.
    GiveUp {
        /// Its ticket.
        ticket: TicketId,
    },
    /// Asks the PD service; `Done` follows.
    Query {
        /// Who waits: a ticket of this service.
        ticket: TicketId,
        /// What is asked.
        query: PdQuery,
        /// When to give up.
        deadline: Instant,
    },
    /// Fires `Timer` at a time; replaces the time this timer had.
    Arm(T, Instant),
    /// The timer does not fire.
    Disarm(T),
    /// The shared state was told this.
    Report(Feedback),
    /// Drops the channels to an address: the next use connects anew.
    Disconnect(Address),
    /// What only this service can ask for.
    Special(S),
}

/// All that a service sees of the world.
#[derive(Debug)]
pub struct ServiceCx<'a, T, S> {
    now: Instant,
    wall: WallTime,
    core: &'a mut ServiceCore<T, S>,
}

/// The storage of a service's driver: effects to carry out, seats to wake, and counters for names.
#[derive(Debug)]
pub struct ServiceCore<T, S> {
    effects: Vec<ServiceEffect<T, S>>,
    answers: Vec<(Asker, Completion)>,
    answered: Vec<Arc<Seat>>,
    tickets: u64,
    streams: u64,
    rng: fastrand::Rng,
}

impl<T, S> ServiceCore<T, S> {
    /// Storage whose random numbers come from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            effects: Vec::new(),
            answers: Vec::new(),
            answered: Vec::new(),
            tickets: 0,
            streams: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// The effects to carry out, in order.
    pub fn take_effects(&mut self) -> Vec<ServiceEffect<T, S>> {
        std::mem::take(&mut self.effects)
    }

    /// Gives the storage of carried out effects back, so that it is used again.
    pub fn give_back(&mut self, mut effects: Vec<ServiceEffect<T, S>>) {
        effects.clear();
        if self.effects.is_empty() {
            self.effects = effects;
        }
    }

    /// Delivers the answers given since the last time, then wakes each operation that got one, once.
    ///
    /// To be called when the effects are carried out: an operation that sees an answer finds what was reported with it.
    pub fn deliver(&mut self) {
        for (asker, completion) in self.answers.drain(..) {
            let Some(seat) = asker.answer(completion) else { continue };
            // Neighbours in a frame are often of one operation: one wake-up is enough.
            if !self.answered.last().is_some_and(|last| Arc::ptr_eq(last, &seat)) {
                self.answered.push(seat);
            }
        }
        for seat in self.answered.drain(..) {
            seat.wake();
        }
    }

    /// The view of a service at `now`.
    pub fn cx(&mut self, now: Instant, wall: WallTime) -> ServiceCx<'_, T, S> {
        ServiceCx { now, wall, core: self }
    }
}

impl<T, S> ServiceCx<'_, T, S> {
    /// The time of this input.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Wall time of this input.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.wall
    }

    /// The service's own random numbers.
    pub fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.core.rng
    }

    /// Answers one who waits. Delivered when this input is handled and its effects are carried out.
    pub fn answer(&mut self, asker: Asker, completion: Completion) {
        self.core.answers.push((asker, completion));
    }

    /// Opens a stream.
    pub fn open(&mut self, to: Address, path: &'static str) -> StreamId {
        self.open_by(to, path, Way::default())
    }

    /// Opens a stream in a way of its own.
    pub fn open_by(&mut self, to: Address, path: &'static str, way: Way) -> StreamId {
        self.core.streams += 1;
        let stream = StreamId(self.core.streams);
        self.effect(ServiceEffect::Open { stream, to, path, way });
        stream
    }

    /// Calls a unary method.
    pub fn unary(&mut self, to: Address, path: &'static str, body: Bytes, deadline: Instant) -> TicketId {
        self.unary_by(to, path, body, deadline, Way::default())
    }

    /// Calls a unary method in a way of its own.
    pub fn unary_by(
        &mut self,
        to: Address,
        path: &'static str,
        body: Bytes,
        deadline: Instant,
        way: Way,
    ) -> TicketId {
        let ticket = self.ticket();
        self.effect(ServiceEffect::Unary { ticket, to, path, body, deadline, way });
        ticket
    }

    /// Asks the PD service.
    pub fn query(&mut self, query: PdQuery, deadline: Instant) -> TicketId {
        let ticket = self.ticket();
        self.effect(ServiceEffect::Query { ticket, query, deadline });
        ticket
    }

    /// Fires `timer` at `at`.
    pub fn arm(&mut self, timer: T, at: Instant) {
        self.effect(ServiceEffect::Arm(timer, at));
    }

    /// Adds an effect.
    pub fn effect(&mut self, effect: ServiceEffect<T, S>) {
        self.core.effects.push(effect);
    }

    fn ticket(&mut self) -> TicketId {
        self.core.tickets += 1;
        let [slot, generation] = [self.core.tickets as u32, (self.core.tickets >> 32) as u32];
        TicketId::new(slot, generation)
    }
}
