//! One operation and what it waits for.

use std::sync::Arc;
use std::task::Poll;

use tikv_client_core::backoff::{Allowance, Budget, Tuning};
use tikv_client_core::machine::{
    Attempt, Completion, Cx, Effect, Facts, Fault, Interrupt, Machine, Op, Question, TicketId,
    TransportClass, TransportFault,
};
use tikv_client_core::request::{Command, Request};
use tikv_client_core::start::Start;
use tikv_client_core::types::{Instant, WallTime};

/// What a ticket waits for.
#[derive(Clone, Debug)]
pub(crate) enum Wait {
    Call { attempt: Attempt, request: Arc<Request>, deadline: Instant },
    Ask { question: Question, deadline: Instant },
    Timer { at: Instant },
}

impl Wait {
    /// When it is over, whatever comes.
    pub(crate) fn until(&self) -> Instant {
        match self {
            Self::Call { deadline, .. } | Self::Ask { deadline, .. } => *deadline,
            Self::Timer { at } => *at,
        }
    }

    /// How it completes when that time comes.
    pub(crate) fn expired(&self) -> Completion {
        let late =
            |text| Completion::Fault(Fault::Transport(TransportFault::new(TransportClass::TimedOut, text)));
        match self {
            Self::Call { .. } => late("store"),
            Self::Ask { question: Question::Timestamp, .. } => late("pd"),
            Self::Ask { .. } => Completion::Fault(Fault::Interrupted(Interrupt::Deadline)),
            Self::Timer { at } => Completion::TimerFired(*at),
        }
    }
}

/// An operation, driven by hand: one completion, one step.
#[derive(Debug)]
pub(crate) struct Operation<M: Machine> {
    pub(crate) machine: M,
    op: Op,
    deadline: Instant,
    pub(crate) open: Vec<(TicketId, Wait)>,
    pub(crate) output: Option<M::Output>,
    /// It is done, or was dropped.
    pub(crate) over: bool,
    pub(crate) spawned: Vec<Start>,
    /// The commands of all calls so far.
    pub(crate) sent: Vec<Command>,
    /// Calls that were given back before an answer came: they may be under way.
    pub(crate) cancelled: Vec<Wait>,
}

impl<M: Machine> Operation<M> {
    /// The operation after its first step.
    pub(crate) fn begin(
        machine: M,
        (seed, allowance, deadline): (u64, Allowance, Instant),
        now: Instant,
        facts: &dyn Facts,
    ) -> Self {
        let mut op = Op::default();
        op.begin(seed, deadline, Budget::new(allowance, Tuning::default()));
        let mut operation = Self {
            machine,
            op,
            deadline,
            open: Vec::new(),
            output: None,
            over: false,
            spawned: Vec::new(),
            sent: Vec::new(),
            cancelled: Vec::new(),
        };
        operation.step(now, facts);
        operation
    }

    fn step(&mut self, now: Instant, facts: &dyn Facts) {
        let polled = self.machine.step(&mut Cx::root(now, WallTime(0), facts, &mut self.op));
        if let Poll::Ready(output) = polled {
            self.output = Some(output);
            self.end();
        } else {
            self.carry_out();
            assert!(!self.open.is_empty(), "the machine waits for nothing: {:#?}", self.machine);
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.op.next_effect() {
            let (ticket, wait) = match effect {
                Effect::Call { ticket, attempt, request, deadline } => {
                    self.sent.push(request.command());
                    (ticket, Wait::Call { attempt, request, deadline })
                }
                Effect::Ask { ticket, question, deadline } => (ticket, Wait::Ask { question, deadline }),
                Effect::Timer { ticket, at, .. } => (ticket, Wait::Timer { at }),
                Effect::Spawn { start } => {
                    self.spawned.push(*start);
                    continue;
                }
                Effect::Cancel { ticket, .. } => {
                    let at = self.open.iter().position(|open| open.0 == ticket);
                    let (_, wait) = self.open.remove(at.expect("only what is open is cancelled"));
                    if matches!(wait, Wait::Call { .. }) {
                        self.cancelled.push(wait);
                    }
                    continue;
                }
                _ => continue,
            };
            assert!(wait.until() <= self.deadline, "{wait:?} outlives its operation");
            assert!(self.open.iter().all(|open| open.0 != ticket), "{ticket} is open twice");
            self.open.push((ticket, wait));
        }
    }

    fn end(&mut self) {
        self.op.end();
        self.carry_out();
        self.over = true;
        assert_eq!(self.op.open_tickets(), 0, "tickets were not given back");
        assert!(self.open.is_empty(), "{:?} were not given back", self.open);
    }

    /// Completes the open ticket at `at`, and steps.
    pub(crate) fn complete(&mut self, at: usize, completion: Completion, now: Instant, facts: &dyn Facts) {
        let (ticket, _) = self.open.remove(at);
        assert!(self.op.deliver(ticket, completion), "nobody waits for {ticket}");
        self.step(now, facts);
    }

    /// Stops it, as a kill does.
    pub(crate) fn interrupt(&mut self, why: Interrupt, now: Instant, facts: &dyn Facts) {
        self.op.interrupt(why);
        // Tickets that are made from now on complete at once, each for a step of its own.
        for _ in 0..100 {
            let polled = self.machine.step(&mut Cx::root(now, WallTime(0), facts, &mut self.op));
            self.carry_out();
            if let Poll::Ready(output) = polled {
                self.output = Some(output);
                self.end();
                return;
            }
            assert!(self.open.is_empty(), "{:?} left a stopped operation", self.open);
        }
        panic!("an interrupt does not end {:#?}", self.machine);
    }

    /// Drops it where it stands.
    pub(crate) fn abandon(&mut self, now: Instant, facts: &dyn Facts) {
        self.machine.abandon(&mut Cx::root(now, WallTime(0), facts, &mut self.op));
        self.end();
    }
}
