//! The machine that gets timestamps.
//!
//! ```text
//!         get             leader              writable
//!  Down ------> Seeking ----------> Opening ------------> Open --+
//!   ^              ^ |                 |                   | ^   | idle: one request for all that wait
//!   |    pause over| | PD failed       | closed            | +---+
//!   |              | v                 v                   |
//!   +----------- Pausing <-------------+-------------------+ closed, no answer in time, a bad answer
//!   nobody waits
//! ```
//!
//! | state | input | does |
//! |---|---|---|
//! | Down | get | asks PD who leads |
//! | Seeking | leader | opens a stream to it |
//! | Open | idle, writable, fewer than [`TsoConfig::in_flight`] requests under way | sends one request for all that wait |
//! | Open | item | hands the granted row out in the order of asking; refuses one that falls back |
//! | Opening, Open | closed, silence for [`TsoConfig::timeout`], a bad answer | whoever was sent waits again, in front; asks for another leader |
//! | Pausing | pause over | asks PD, or goes Down when nobody waits |
//! | any | deadline | answers whoever's is over |
//!
//! A request for timestamps can be repeated: those that were granted and lost are used by nobody. So a caller notices a
//! broken stream only by the time it takes. Callers who leave before the request is sent cost no timestamp.
//!
//! What is promised: no timestamp is handed out twice, and each is above all that were handed out before it was asked for.
//!
//! pd: `client/clients/tso/dispatcher.go`, `stream.go`. There, each lost request is an error of its callers, and a
//! timestamp that falls back ends the process.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::grant::{Grant, read};
use crate::error::ServiceError;
use crate::machine::{
    Address, Answer, Asker, Completion, Fault, Input, Interrupt, Service, ServiceCx, ServiceEffect, StreamId,
    TicketId, TransportClass, TransportFault, Withdrawn,
};
use crate::pd::pause::Pauses;
use crate::pd::wire::header;
use crate::pd::{PdQuery, PdReply};
use crate::types::{ClusterId, Instant, Timestamp};
use tikv_proto::methods::pd::TSO;
use tikv_proto::pdpb;

/// What the batcher is asked.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every command")]
pub enum TsoCommand {
    /// Get a timestamp above all that were handed out before.
    Get {
        /// Who waits.
        asker: Asker,
        /// When it gives up.
        deadline: Instant,
    },
    /// An operation does not wait any more.
    Withdraw(Withdrawn),
}

/// The timers of the batcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every timer")]
pub enum TsoTimer {
    /// The earliest deadline of a caller.
    Deadline,
    /// PD was silent for too long.
    Silence,
    /// The end of a pause.
    Retry,
}

/// Bounds of the batcher.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TsoConfig {
    /// Timestamps in one request at the most. pd: `client/clients/tso/client.go: defaultMaxTSOBatchSize`.
    pub max_batch: usize,
    /// Requests under way at a time: with more callers, requests grow.
    pub in_flight: usize,
    /// How long PD may be silent. pd: `client/opt/option.go: defaultPDTimeout`.
    pub timeout: Duration,
    /// How long PD's members may take to say who leads; then they are asked again.
    pub seek_timeout: Duration,
    /// The first pause between two tries; doubles each time.
    pub pause_base: Duration,
    /// The longest pause.
    pub pause_cap: Duration,
    /// Callers that can wait; more are refused at once.
    pub most: usize,
}

impl Default for TsoConfig {
    fn default() -> Self {
        Self {
            max_batch: 10_000,
            in_flight: 4,
            timeout: Duration::from_secs(3),
            seek_timeout: Duration::from_secs(10),
            pause_base: Duration::from_millis(20),
            pause_cap: Duration::from_secs(1),
            most: 1 << 17,
        }
    }
}

#[derive(Debug)]
struct Caller {
    asker: Asker,
    deadline: Instant,
}

/// A request under way. Callers may have left it since, so `count` is what PD will grant.
#[derive(Debug)]
struct Batch {
    callers: Vec<Caller>,
    count: u32,
    sent: Instant,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    to: Address,
    cluster: ClusterId,
}

#[derive(Debug)]
enum State {
    Down,
    Seeking { query: TicketId },
    Pausing,
    Opening { stream: Stream, since: Instant },
    Open { stream: Stream, writable: bool },
}

/// The timestamp stream of the client. See the module for its states.
#[derive(Debug)]
pub struct TsoBatcher {
    config: TsoConfig,
    pauses: Pauses,
    state: State,
    waiting: VecDeque<Caller>,
    /// Sent on the open stream, in order.
    flight: VecDeque<Batch>,
    /// The newest that was handed out.
    newest: Timestamp,
    /// A member that was found not to lead, or not to answer.
    doubted: Option<Address>,
    /// Failures since a timestamp was granted.
    failures: u32,
    last: Option<Arc<str>>,
    /// What the timers are armed for.
    deadline: Option<Instant>,
    silence: Option<Instant>,
}

impl Default for TsoBatcher {
    fn default() -> Self {
        Self::new(TsoConfig::default())
    }
}

type Cx<'a> = ServiceCx<'a, TsoTimer, Infallible>;

impl TsoBatcher {
    /// A batcher that opens its stream for the first caller.
    #[must_use]
    pub fn new(config: TsoConfig) -> Self {
        Self {
            pauses: Pauses { base: config.pause_base, cap: config.pause_cap },
            config,
            state: State::Down,
            waiting: VecDeque::new(),
            flight: VecDeque::new(),
            newest: Timestamp::default(),
            doubted: None,
            failures: 0,
            last: None,
            deadline: None,
            silence: None,
        }
    }

    fn get(&mut self, caller: Caller, cx: &mut Cx<'_>) {
        let under_way: usize = self.flight.iter().map(|batch| batch.callers.len()).sum();
        if self.waiting.len() + under_way >= self.config.most {
            cx.answer(caller.asker, Completion::Fault(Fault::Overloaded));
            return;
        }
        if self.deadline.is_none_or(|armed| caller.deadline < armed) {
            self.deadline = Some(caller.deadline);
            cx.arm(TsoTimer::Deadline, caller.deadline);
        }
        self.waiting.push_back(caller);
        if matches!(self.state, State::Down) {
            self.seek(cx);
        }
    }

    fn seek(&mut self, cx: &mut Cx<'_>) {
        let instead_of = self.doubted.clone();
        // PD's word comes before the first caller has to go: it says what cannot be reached, and where.
        let patience = self.deadline.map_or(Duration::MAX, |deadline| deadline.since(cx.now()) / 4 * 3);
        let query =
            cx.query(PdQuery::Leader { instead_of }, cx.now() + patience.min(self.config.seek_timeout));
        self.state = State::Seeking { query };
    }

    fn sought(&mut self, ticket: TicketId, completion: Completion, cx: &mut Cx<'_>) {
        if !matches!(self.state, State::Seeking { query } if query == ticket) {
            return;
        }
        match completion {
            Completion::Answer(Answer::Pd(PdReply::Leader { address: to, cluster })) => {
                self.doubted = None;
                let id = cx.open(Arc::clone(&to), TSO);
                let stream = Stream { id, to, cluster };
                self.state = State::Opening { stream, since: cx.now() };
                self.watch(cx);
            }
            // What no later try can change.
            Completion::Fault(
                fault @ (Fault::Interrupted(Interrupt::Closed)
                | Fault::Refused(ServiceError::ClusterMismatch { .. })),
            ) => {
                self.state = State::Down;
                for caller in self.waiting.drain(..) {
                    cx.answer(caller.asker, Completion::Fault(fault.clone()));
                }
            }
            Completion::Fault(fault) => self.pause(fault.to_string().into(), cx),
            other => self.pause(format!("PD's leader: {other:?}").into(), cx),
        }
    }

    /// Tries again later: at once after the first failure.
    fn pause(&mut self, why: Arc<str>, cx: &mut Cx<'_>) {
        self.last = Some(why);
        let pause = self.pauses.after(self.failures, cx.rng());
        self.failures = self.failures.saturating_add(1);
        if self.waiting.is_empty() {
            self.state = State::Down;
        } else if pause.is_zero() {
            self.seek(cx);
        } else {
            self.state = State::Pausing;
            cx.arm(TsoTimer::Retry, cx.now() + pause);
        }
    }

    /// Watches over the oldest thing that PD owes an answer to.
    fn watch(&mut self, cx: &mut Cx<'_>) {
        if self.silence.is_none()
            && let Some(since) = self.oldest()
        {
            let at = since + self.config.timeout;
            self.silence = Some(at);
            cx.arm(TsoTimer::Silence, at);
        }
    }

    fn oldest(&self) -> Option<Instant> {
        match &self.state {
            State::Opening { since, .. } => Some(*since),
            State::Down | State::Seeking { .. } | State::Pausing | State::Open { .. } => {
                self.flight.front().map(|batch| batch.sent)
            }
        }
    }

    fn writable(&mut self, id: StreamId) {
        self.state = match std::mem::replace(&mut self.state, State::Down) {
            State::Opening { stream, .. } | State::Open { stream, .. } if stream.id == id => {
                State::Open { stream, writable: true }
            }
            other => other,
        };
    }

    /// Sends one request for all that wait, if the stream takes one.
    fn flush(&mut self, cx: &mut Cx<'_>) {
        let State::Open { stream, writable: writable @ true } = &mut self.state else { return };
        if self.waiting.is_empty() || self.flight.len() >= self.config.in_flight {
            return;
        }
        let taken = self.waiting.len().min(self.config.max_batch);
        let Ok(count) = u32::try_from(taken) else { return };
        let callers = self.waiting.drain(..taken).collect();
        let request = pdpb::TsoRequest { header: header(stream.cluster), count, ..Default::default() };
        *writable = false;
        cx.effect(ServiceEffect::Send { stream: stream.id, message: request.encode_to_vec().into() });
        self.flight.push_back(Batch { callers, count, sent: cx.now() });
        self.watch(cx);
    }

    fn item(&mut self, id: StreamId, body: Bytes, cx: &mut Cx<'_>) {
        let State::Open { stream, .. } = &self.state else { return };
        if stream.id != id {
            return;
        }
        let (to, cluster) = (Arc::clone(&stream.to), stream.cluster);
        let Some(batch) = self.flight.front() else {
            self.give_up("an answer to no request".into(), cx);
            return;
        };
        match read(body, batch.count, &to, cluster) {
            Ok(grant) => self.hand_out(grant, to, cx),
            Err(error) => self.give_up(error.to_string().into(), cx),
        }
    }

    fn hand_out(&mut self, grant: Grant, from: Address, cx: &mut Cx<'_>) {
        let Some(batch) = self.flight.pop_front() else { return };
        if grant.first <= self.newest {
            let text = format!("timestamp {} falls back behind {}", grant.first, self.newest);
            let detail: Arc<str> = text.into();
            let error = ServiceError::Corrupt { address: from, detail: Arc::clone(&detail) };
            for caller in batch.callers {
                cx.answer(caller.asker, Completion::Fault(Fault::Refused(error.clone())));
            }
            self.give_up(detail, cx);
            return;
        }
        self.newest = grant.last;
        self.failures = 0;
        self.last = None;
        for (index, caller) in batch.callers.into_iter().enumerate() {
            // Callers are at most `count`, which is the length of the row.
            if let Some(timestamp) = grant.at(index) {
                cx.answer(caller.asker, Completion::Answer(Answer::Timestamp(timestamp)));
            }
        }
    }

    /// Ends a stream that cannot be trusted any more.
    fn give_up(&mut self, why: Arc<str>, cx: &mut Cx<'_>) {
        if let State::Opening { stream, .. } | State::Open { stream, .. } = &self.state {
            cx.effect(ServiceEffect::Close { stream: stream.id });
            self.doubted = Some(Arc::clone(&stream.to));
        }
        self.lost(why, cx);
    }

    fn closed(&mut self, id: StreamId, fault: &TransportFault, cx: &mut Cx<'_>) {
        let (State::Opening { stream, .. } | State::Open { stream, .. }) = &self.state else { return };
        if stream.id != id {
            return;
        }
        let was_idle = self.flight.is_empty() && matches!(self.state, State::Open { .. });
        if !was_idle {
            self.doubted = Some(Arc::clone(&stream.to));
        } else if self.waiting.is_empty() {
            // Nobody missed it, and nothing says that its member does not lead.
            self.state = State::Down;
            return;
        }
        self.lost(fault.to_string().into(), cx);
    }

    /// The stream is gone: whoever was sent on it waits again, before those who came later.
    fn lost(&mut self, why: Arc<str>, cx: &mut Cx<'_>) {
        self.state = State::Down;
        for batch in self.flight.drain(..).rev() {
            for caller in batch.callers.into_iter().rev() {
                self.waiting.push_front(caller);
            }
        }
        self.pause(why, cx);
    }

    fn silent(&mut self, cx: &mut Cx<'_>) {
        self.silence = None;
        match self.oldest() {
            Some(since) if since + self.config.timeout <= cx.now() => {
                self.give_up("no answer in time".into(), cx);
            }
            _ => self.watch(cx),
        }
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let detail = self.last.clone().unwrap_or_else(|| "PD's timestamps".into());
        let over = Completion::Fault(Fault::Transport(TransportFault::new(TransportClass::TimedOut, detail)));
        let mut earliest: Option<Instant> = None;
        let mut keep = |caller: Caller| {
            if caller.deadline <= now {
                cx.answer(caller.asker, over.clone());
                return None;
            }
            earliest = Some(earliest.map_or(caller.deadline, |at| at.min(caller.deadline)));
            Some(caller)
        };
        for batch in &mut self.flight {
            batch.callers = std::mem::take(&mut batch.callers).into_iter().filter_map(&mut keep).collect();
        }
        self.waiting = std::mem::take(&mut self.waiting).into_iter().filter_map(&mut keep).collect();
        self.deadline = earliest;
        if let Some(at) = earliest {
            cx.arm(TsoTimer::Deadline, at);
        }
    }

    fn withdraw(&mut self, who: &Withdrawn) {
        if let Some(at) = self.waiting.iter().position(|caller| caller.asker.is(who)) {
            if let Some(caller) = self.waiting.remove(at) {
                caller.asker.forget();
            }
            return;
        }
        for batch in &mut self.flight {
            if let Some(at) = batch.callers.iter().position(|caller| caller.asker.is(who)) {
                batch.callers.remove(at).asker.forget();
                return;
            }
        }
    }
}

impl Service for TsoBatcher {
    type Command = TsoCommand;
    type Timer = TsoTimer;
    type Special = Infallible;

    fn handle(&mut self, input: Input<TsoCommand, TsoTimer>, cx: &mut Cx<'_>) {
        match input {
            Input::Command(TsoCommand::Get { asker, deadline }) => self.get(Caller { asker, deadline }, cx),
            Input::Command(TsoCommand::Withdraw(who)) => self.withdraw(&who),
            Input::Done(ticket, completion) => self.sought(ticket, completion, cx),
            Input::Writable(stream) => self.writable(stream),
            Input::Item(stream, body) => self.item(stream, body, cx),
            Input::Closed(stream, fault) => self.closed(stream, &fault, cx),
            Input::Timer(TsoTimer::Deadline) => self.expire(cx),
            Input::Timer(TsoTimer::Silence) => self.silent(cx),
            Input::Timer(TsoTimer::Retry) => {
                if matches!(self.state, State::Pausing) {
                    if self.waiting.is_empty() {
                        self.state = State::Down;
                    } else {
                        self.seek(cx);
                    }
                }
            }
            Input::Idle => self.flush(cx),
        }
    }
}

#[cfg(test)]
impl TsoBatcher {
    /// How many callers it has kept.
    pub(super) fn left(&self) -> usize {
        self.waiting.len() + self.flight.iter().map(|batch| batch.callers.len()).sum::<usize>()
    }
}
