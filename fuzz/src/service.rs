//! A world for one service: carries its effects out in virtual time; the target decides what comes back.
//!
//! Laws of every service are checked here: it sends and closes only on streams that are open and names them anew; who asks is
//! answered once, by its deadline, and not after it withdrew and the service was idle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tikv_client_core::machine::{
    Asker, Completion, Fault, Feedback, Input, Interrupt, Seat, Service, ServiceCore, ServiceEffect,
    StreamId, TicketId, TransportClass, TransportFault, Withdrawn,
};
use tikv_client_core::pd::PdQuery;
use tikv_client_core::types::{Instant, WallTime};

/// A unary call under way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) ticket: TicketId,
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
    pub(crate) deadline: Instant,
}

/// See the module.
pub(crate) struct Stage<S: Service> {
    pub(crate) service: S,
    core: ServiceCore<S::Timer, S::Special>,
    seat: Arc<Seat>,
    pub(crate) now: Instant,
    timers: BTreeMap<S::Timer, Instant>,
    pub(crate) calls: Vec<Call>,
    pub(crate) queries: Vec<(TicketId, PdQuery, Instant)>,
    /// Open streams, and whether they take a message.
    pub(crate) streams: BTreeMap<StreamId, Flow>,
    last_stream: Option<StreamId>,
    /// What was sent and not taken out by the target.
    pub(crate) sent: Vec<(StreamId, Bytes)>,
    /// What was reported and not taken out by the target.
    pub(crate) reports: Vec<Feedback>,
    /// Who waits, by number, and until when.
    pub(crate) waiting: BTreeMap<u32, Instant>,
    /// Who withdrew since the service was last idle: until then it may still be answered, for nothing.
    leaving: BTreeSet<u32>,
    /// Answers that the target has not seen.
    arrived: Vec<(u32, Completion)>,
    asked: u32,
}

/// Whether a stream takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Opening,
    Writable,
    Full,
}

impl<S: Service> Stage<S> {
    pub(crate) fn new(service: S, seed: u64) -> Self {
        Self {
            service,
            core: ServiceCore::new(seed),
            seat: Arc::default(),
            now: Instant::default(),
            timers: BTreeMap::new(),
            calls: Vec::new(),
            queries: Vec::new(),
            streams: BTreeMap::new(),
            last_stream: None,
            sent: Vec::new(),
            reports: Vec::new(),
            waiting: BTreeMap::new(),
            leaving: BTreeSet::new(),
            arrived: Vec::new(),
            asked: 0,
        }
    }

    /// Someone who waits until `deadline`; its number, too.
    pub(crate) fn asker(&mut self, deadline: Instant) -> (u32, Asker) {
        self.asked += 1;
        self.waiting.insert(self.asked, deadline);
        (self.asked, Asker::new(Arc::clone(&self.seat), TicketId::new(self.asked, 0)))
    }

    /// The one of this number does not wait any more.
    pub(crate) fn withdraw(&mut self, n: u32) -> Withdrawn {
        self.waiting.remove(&n);
        self.leaving.insert(n);
        Withdrawn::new(Arc::clone(&self.seat), TicketId::new(n, 0))
    }

    /// Some of those who wait, by a choice.
    pub(crate) fn some_waiting(&self, choice: usize) -> Option<u32> {
        self.waiting.keys().nth(choice % self.waiting.len().max(1)).copied()
    }

    pub(crate) fn input(&mut self, input: Input<S::Command, S::Timer>) {
        if let Input::Writable(stream) = &input
            && let Some(flow) = self.streams.get_mut(stream)
        {
            *flow = Flow::Writable;
        }
        let idle = matches!(input, Input::Idle);
        self.service.handle(input, &mut self.core.cx(self.now, WallTime(0)));
        for effect in self.core.take_effects() {
            self.carry_out(effect);
        }
        self.core.deliver();
        while let Some((ticket, completion)) = self.seat.next() {
            let name = ticket.to_string();
            let n = name.trim_start_matches('#').split('.').next().and_then(|n| n.parse().ok());
            let n = n.expect("our own name");
            if !self.leaving.contains(&n) {
                self.arrived.push((n, completion));
            }
        }
        if idle {
            self.leaving.clear();
        }
    }

    /// One input, and that nothing more has come.
    pub(crate) fn turn(&mut self, input: Input<S::Command, S::Timer>) {
        self.input(input);
        self.input(Input::Idle);
    }

    fn carry_out(&mut self, effect: ServiceEffect<S::Timer, S::Special>)
    where
        ServiceEffect<S::Timer, S::Special>: Debug,
    {
        match effect {
            ServiceEffect::Open { stream, .. } => {
                assert!(self.last_stream < Some(stream), "{stream:?} was named before");
                self.last_stream = Some(stream);
                self.streams.insert(stream, Flow::Opening);
            }
            ServiceEffect::Send { stream, message } => {
                let flow = self.streams.get_mut(&stream).expect("sends only on a stream that is open");
                assert_eq!(*flow, Flow::Writable, "sends only when the stream takes a message");
                *flow = Flow::Full;
                self.sent.push((stream, message));
            }
            ServiceEffect::Close { stream } => {
                self.streams.remove(&stream).expect("closes only a stream that is open");
            }
            ServiceEffect::Unary { ticket, path, body, deadline, .. } => {
                self.calls.push(Call { ticket, path, body, deadline });
            }
            ServiceEffect::Query { ticket, query, deadline } => self.queries.push((ticket, query, deadline)),
            ServiceEffect::Arm(timer, at) => {
                self.timers.insert(timer, at);
            }
            ServiceEffect::Disarm(timer) => {
                self.timers.remove(&timer);
            }
            ServiceEffect::Report(feedback) => self.reports.push(feedback),
            _ => {}
        }
    }

    /// Ends a stream from the other side.
    pub(crate) fn close(&mut self, stream: StreamId, class: TransportClass) {
        if self.streams.remove(&stream).is_some() {
            self.turn(Input::Closed(stream, TransportFault::new(class, "the other side")));
        }
    }

    /// Moves the time by `by`, firing what becomes due on the way, in order.
    pub(crate) fn pass(&mut self, by: Duration) {
        let until = self.now + by;
        for _ in 0..100_000 {
            let timer = self.timers.iter().map(|(timer, at)| (*at, *timer)).min();
            let call = self.calls.iter().map(|call| call.deadline).min();
            let query = self.queries.iter().map(|query| query.2).min();
            let next = [timer.map(|timer| timer.0), call, query].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = at.max(self.now);
            if call == Some(at) {
                let index = self.calls.iter().position(|call| call.deadline == at).expect("it is there");
                let call = self.calls.swap_remove(index);
                let fault = TransportFault::new(TransportClass::TimedOut, "the other side");
                self.turn(Input::Done(call.ticket, Completion::Fault(Fault::Transport(fault))));
            } else if query == Some(at) {
                let index = self.queries.iter().position(|query| query.2 == at).expect("it is there");
                let (ticket, ..) = self.queries.swap_remove(index);
                self.turn(Input::Done(ticket, Completion::Fault(Fault::Interrupted(Interrupt::Deadline))));
            } else if let Some((_, timer)) = timer {
                self.timers.remove(&timer);
                self.turn(Input::Timer(timer));
            }
        }
        panic!("the service does not come to rest: {:#?}", self.service);
    }

    /// What was answered since the last time: to whom, and until when it would have waited.
    pub(crate) fn answers(&mut self) -> Vec<(u32, Instant, Completion)> {
        let answers = std::mem::take(&mut self.arrived);
        let answers: Vec<_> = answers
            .into_iter()
            .map(|(n, completion)| match self.waiting.remove(&n) {
                Some(deadline) => (n, deadline, completion),
                None => panic!("{n} was answered twice, or after it withdrew: {completion:?}"),
            })
            .collect();
        let late = self.waiting.iter().find(|(_, deadline)| **deadline < self.now);
        assert!(late.is_none(), "{late:?} still waits at {:?}: {:#?}", self.now, self.service);
        answers
    }
}
