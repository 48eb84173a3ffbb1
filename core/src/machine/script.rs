//! The scripted harness: one machine at its boundary, events in, effects out, with a transcript.
//!
//! [`Script`] plays the world to an operation: each expected effect is named in order, each completion given; at the end
//! no effect may be unread and no ticket open. [`ServiceScript`] does the same for a service.

use std::fmt::{Debug, Write};
use std::sync::Arc;
use std::task::Poll;

use super::{
    Answer, Asker, Attempt, Completion, Cx, Effect, Facts, Fault, Feedback, Input, Machine, Op, Question,
    Seat, Service, ServiceCore, ServiceEffect, TicketId, TransportClass, TransportFault, Why,
};
use crate::backoff::Budget;
use crate::request::{Command, Request};
use crate::start::Start;
use crate::types::{Instant, StoreId, WallTime};

/// One operation under test.
pub(crate) struct Script<M: Machine> {
    machine: M,
    op: Op,
    facts: Box<dyn Facts>,
    now: Instant,
    output: Option<M::Output>,
    log: String,
}

impl<M: Machine> Script<M> {
    /// The machine after its first step, with an endless deadline and a budget of 20 s.
    pub(crate) fn given(machine: M, facts: impl Facts + 'static) -> Self {
        Self::until(Instant::FAR, machine, facts)
    }

    /// As [`Script::given`], with a deadline.
    pub(crate) fn until(deadline: Instant, machine: M, facts: impl Facts + 'static) -> Self {
        let mut op = Op::default();
        op.begin(7, deadline, Budget::new(crate::backoff::Allowance::GET, crate::backoff::Tuning::default()));
        Self::begin(op, machine, facts)
    }

    /// The machine after its first step, with this seed and manner, an endless deadline and a budget of 20 s.
    pub(crate) fn with(seed: u64, manner: super::Manner, machine: M, facts: impl Facts + 'static) -> Self {
        let mut op = Op::default();
        let budget = Budget::new(crate::backoff::Allowance::GET, crate::backoff::Tuning::default());
        op.begin(seed, Instant::FAR, budget);
        op.set_manner(manner);
        op.explain();
        Self::begin(op, machine, facts)
    }

    fn begin(op: Op, machine: M, facts: impl Facts + 'static) -> Self {
        let mut script = Self {
            machine,
            op,
            facts: Box::new(facts),
            now: Instant::default(),
            output: None,
            log: String::new(),
        };
        script.step();
        script
    }

    /// The next effect, whatever it is.
    #[track_caller]
    pub(crate) fn effect(&mut self) -> Effect {
        self.next("anything")
    }

    /// Passes over reports; nothing else may be left.
    pub(crate) fn read_reports(&mut self) {
        while let Some(effect) = self.op.next_effect() {
            assert!(matches!(effect, Effect::Report(_)), "unread effect {effect:?}\n{}", self.log);
        }
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, time: std::time::Duration) {
        self.now = self.now + time;
    }

    /// What its requests met, of a script that began with [`with`](Self::with).
    pub(crate) fn explanation(&mut self) -> crate::explain::Explanation {
        self.op.take_explanation().map(|told| *told).unwrap_or_default()
    }

    fn step(&mut self) {
        assert!(self.output.is_none(), "the machine is done");
        let mut cx = Cx::root(self.now, WallTime(0), &*self.facts, &mut self.op);
        if let Poll::Ready(output) = self.machine.step(&mut cx) {
            self.output = Some(output);
            self.op.end();
        }
    }

    fn note(&mut self, line: &dyn std::fmt::Display) {
        writeln!(self.log, "{:>6} {line}", self.now.0 / 1_000_000).unwrap();
    }

    #[track_caller]
    fn next(&mut self, wanted: &str) -> Effect {
        let Some(effect) = self.op.next_effect() else {
            panic!("wanted {wanted}, the machine gave nothing more; it is {:#?}\n{}", self.machine, self.log)
        };
        effect
    }

    #[track_caller]
    pub(crate) fn expect_call(&mut self, to: StoreId) -> (TicketId, Arc<Request>, Attempt) {
        match self.next("a call") {
            Effect::Call { ticket, attempt, request, .. } if attempt.to.store == to => {
                self.note(&format_args!(
                    "-> {request:?} to region {} at store {}{}",
                    attempt.to.region.id,
                    to,
                    if attempt.retry { ", again" } else { "" }
                ));
                (ticket, request, attempt)
            }
            other => panic!("wanted a call to store {to}, got {other:?}\n{}", self.log),
        }
    }

    /// A call to whatever other store.
    #[track_caller]
    pub(crate) fn expect_other_than(&mut self, store: StoreId) -> (TicketId, Attempt) {
        match self.next("a call") {
            Effect::Call { ticket, attempt, .. } if attempt.to.store != store => (ticket, attempt),
            other => panic!("wanted a call to another store than {store}, got {other:?}\n{}", self.log),
        }
    }

    /// A call of `command`, to whatever store.
    #[track_caller]
    pub(crate) fn expect_command(&mut self, command: Command) -> (TicketId, Arc<Request>, Attempt) {
        match self.next("a call") {
            Effect::Call { ticket, attempt, request, .. } if request.command() == command => {
                self.note(&format_args!("-> {request:?} to region {}", attempt.to.region.id));
                (ticket, request, attempt)
            }
            other => panic!("wanted {command:?}, got {other:?}\n{}", self.log),
        }
    }

    #[track_caller]
    pub(crate) fn expect_ask(&mut self, wanted: &Question) -> TicketId {
        match self.next("a question") {
            Effect::Ask { ticket, question, .. } if question == *wanted => {
                self.note(&format_args!("-> ask {question:?}"));
                ticket
            }
            other => panic!("wanted {wanted:?}, got {other:?}\n{}", self.log),
        }
    }

    /// A timer; its ticket and when it fires.
    #[track_caller]
    pub(crate) fn expect_timer(&mut self) -> (TicketId, Instant, Why) {
        match self.next("a timer") {
            Effect::Timer { ticket, at, why } => {
                self.note(&format_args!("-> timer in {} ms: {why}", at.since(self.now).as_millis()));
                (ticket, at, why)
            }
            other => panic!("wanted a timer, got {other:?}\n{}", self.log),
        }
    }

    #[track_caller]
    pub(crate) fn expect_report(&mut self) -> Feedback {
        match self.next("a report") {
            Effect::Report(feedback) => {
                self.note(&format_args!("-> report {feedback:?}"));
                feedback
            }
            other => panic!("wanted a report, got {other:?}\n{}", self.log),
        }
    }

    #[track_caller]
    pub(crate) fn expect_spawn(&mut self) -> Start {
        match self.next("a spawn") {
            Effect::Spawn { start } => {
                self.note(&format_args!("-> spawn {start:?}"));
                *start
            }
            other => panic!("wanted a spawn, got {other:?}\n{}", self.log),
        }
    }

    #[track_caller]
    pub(crate) fn expect_cancel(&mut self, wanted: TicketId) {
        match self.next("a cancel") {
            Effect::Cancel { ticket, .. } if ticket == wanted => self.note(&"-> cancel"),
            other => panic!("wanted a cancel of {wanted}, got {other:?}\n{}", self.log),
        }
    }

    /// Asserts that the machine waits and has asked for nothing more.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        assert!(self.output.is_none(), "the machine is done\n{}", self.log);
        if let Some(effect) = self.op.next_effect() {
            panic!("wanted nothing, got {effect:?}\n{}", self.log);
        }
    }

    /// Completes a ticket and steps the machine.
    #[track_caller]
    pub(crate) fn complete(&mut self, ticket: TicketId, completion: Completion) {
        self.note(&format_args!("<- {completion:?}"));
        assert!(self.op.deliver(ticket, completion), "nobody waits for {ticket}\n{}", self.log);
        self.step();
    }

    /// Answers a call with an encoded message.
    #[track_caller]
    pub(crate) fn reply(&mut self, ticket: TicketId, response: &impl prost::Message) {
        self.complete(ticket, Completion::Response(response.encode_to_vec().into()));
    }

    /// Answers a question.
    #[track_caller]
    pub(crate) fn answer(&mut self, ticket: TicketId, answer: Answer) {
        self.complete(ticket, Completion::Answer(answer));
    }

    /// Fails a call below the protocol.
    #[track_caller]
    pub(crate) fn fail(&mut self, ticket: TicketId, class: TransportClass) {
        let fault = TransportFault::new(class, "test");
        self.complete(ticket, Completion::Fault(Fault::Transport(fault)));
    }

    /// Moves the time to when the timer fires, and fires it.
    #[track_caller]
    pub(crate) fn fire(&mut self, (ticket, at, _): (TicketId, Instant, Why)) {
        self.now = at.max(self.now);
        self.complete(ticket, Completion::TimerFired(at));
    }

    /// Drops the machine where it stands; its last effects can be expected.
    pub(crate) fn abandon(&mut self) {
        let mut cx = Cx::root(self.now, WallTime(0), &*self.facts, &mut self.op);
        self.machine.abandon(&mut cx);
        self.op.end();
    }

    /// Stops the operation as its deadline or a kill does.
    pub(crate) fn interrupt(&mut self, why: super::Interrupt) {
        self.op.interrupt(why);
        self.step();
    }

    /// Whether the machine is done.
    pub(crate) fn is_done(&self) -> bool {
        self.output.is_some()
    }

    /// The machine where it stands.
    pub(crate) fn machine(&self) -> &M {
        &self.machine
    }

    /// Changes the shared state as someone else's report does.
    pub(crate) fn facts_report(&self, feedback: &Feedback) {
        self.facts.report(feedback, self.now);
    }

    /// The next effect by what it waits for: for loops that answer whatever comes.
    #[track_caller]
    pub(crate) fn next_wanted(&mut self) -> Wanted {
        match self.next("anything") {
            Effect::Call { ticket, .. } => Wanted::Call(ticket),
            Effect::Timer { ticket, at, why } => Wanted::Timer((ticket, at, why)),
            Effect::Ask { ticket, question: Question::Region(_), .. } => Wanted::Region(ticket),
            _ => Wanted::Other,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The output and the transcript. Fails on an unread effect, an open ticket or an unfinished machine.
    #[track_caller]
    pub(crate) fn done(mut self) -> (M::Output, String) {
        let Some(output) = self.output.take() else { panic!("not done: {:#?}\n{}", self.machine, self.log) };
        if let Some(effect) = self.op.next_effect() {
            panic!("unread effect {effect:?}\n{}", self.log);
        }
        assert_eq!(self.op.open_tickets(), 0, "tickets were not given back\n{}", self.log);
        (output, self.log)
    }
}

/// What an effect waits for.
pub(crate) enum Wanted {
    Call(TicketId),
    Timer((TicketId, Instant, Why)),
    Region(TicketId),
    Other,
}

/// One service under test. Answers are read from the seat that [`ServiceScript::asker`] uses.
pub(crate) struct ServiceScript<S: Service> {
    pub(crate) service: S,
    core: ServiceCore<S::Timer, S::Special>,
    seat: Arc<Seat>,
    effects: std::collections::VecDeque<ServiceEffect<S::Timer, S::Special>>,
    pub(crate) now: Instant,
}

impl<S: Service> ServiceScript<S> {
    pub(crate) fn given(service: S) -> Self {
        Self {
            service,
            core: ServiceCore::new(7),
            seat: Arc::default(),
            effects: std::collections::VecDeque::new(),
            now: Instant::default(),
        }
    }

    /// Someone who waits under the number `n`.
    pub(crate) fn asker(&self, n: u32) -> Asker {
        Asker::new(Arc::clone(&self.seat), TicketId::new(n, 0))
    }

    /// The one who waited under the number `n` withdraws.
    pub(crate) fn withdrawn(&self, n: u32) -> super::Withdrawn {
        super::Withdrawn::new(Arc::clone(&self.seat), TicketId::new(n, 0))
    }

    /// Gives one input.
    pub(crate) fn input(&mut self, input: Input<S::Command, S::Timer>) {
        self.service.handle(input, &mut self.core.cx(self.now, WallTime(0)));
        self.effects.extend(self.core.take_effects());
        self.core.deliver();
    }

    /// Gives a command, then says that the mailbox is drained.
    pub(crate) fn command(&mut self, command: S::Command) {
        self.input(Input::Command(command));
        self.input(Input::Idle);
    }

    /// The next effect, in order.
    #[track_caller]
    pub(crate) fn effect(&mut self) -> ServiceEffect<S::Timer, S::Special> {
        match self.effects.pop_front() {
            Some(effect) => effect,
            None => panic!("the service gave no effect: {:#?}", self.service),
        }
    }

    /// The next effect, if there is one.
    pub(crate) fn next_effect(&mut self) -> Option<ServiceEffect<S::Timer, S::Special>> {
        self.effects.pop_front()
    }

    /// The next answer: the number it is for, and what it is.
    #[allow(clippy::needless_pass_by_ref_mut, reason = "the answer is gone from the seat afterwards")]
    pub(crate) fn answered(&mut self) -> Option<(u32, Completion)> {
        let (ticket, completion) = self.seat.next()?;
        (0..u32::MAX).find(|&n| TicketId::new(n, 0) == ticket).map(|n| (n, completion))
    }

    /// Asserts that nothing is to be done and nobody was answered.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self)
    where
        ServiceEffect<S::Timer, S::Special>: Debug,
    {
        assert!(self.effects.is_empty(), "unread effects {:?}", self.effects);
        let answer = self.answered();
        assert!(answer.is_none(), "unread answer {answer:?}");
    }
}
