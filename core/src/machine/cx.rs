//! `Cx`: all that a machine sees of the world.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::completion::Completion;
use super::effect::{Attempt, Destination, Effect, Question, Why};
use super::fault::{Fault, Interrupt, TransportClass};
use super::op::{Manner, Op};
use super::report::Feedback;
use super::scope::Scope;
use super::ticket::{Brings, Fired, Ticket, TicketId};
use crate::backoff::{Budget, Decision, Exhausted, Kind};
use crate::codec::Mode;
use crate::explain::Explanation;
use crate::pd::PdReply;
use crate::request::{Command, Request};
use crate::start::Start;
use crate::types::{
    Instant, Key, KeyRange, Labels, Located, RegionVersion, Replicas, StoreId, StoreView, WallTime,
};

/// Finite work with a result: a get, a commit, one region request with its retries.
///
/// A machine is owned by one driver, which steps it once for each completion. It must bear spurious steps: a step
/// that finds nothing new changes nothing and gives no effect.
pub trait Machine: fmt::Debug {
    /// What the work results in.
    type Output;

    /// Goes one step: takes what one completion made possible, adds effects, says whether it is done.
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output>;

    /// Called once when the driver is dropped before the machine is done. May only report and spawn: it
    /// cleans up what a half-done operation would leave.
    fn abandon(&mut self, _cx: &mut Cx<'_>) {}
}

/// Reads of shared state, as inputs of a machine: live, recorded, or replayed.
///
/// Every answer is a plain copy, so that it can be recorded and fed back.
pub trait Facts: fmt::Debug {
    /// Where a request for `key` goes.
    fn locate(&self, key: &[u8], now: Instant) -> Option<Located>;
    /// Where a request for the keys just below `key` goes; an empty key means the last region.
    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located>;
    /// The keys of a region, in just this version.
    fn span(&self, region: RegionVersion) -> Option<KeyRange>;
    /// The replicas of a region, in just this version.
    fn replicas(&self, _region: RegionVersion) -> Option<Replicas> {
        None
    }
    /// What is known of a store; the default of [`StoreView`] when nothing is.
    fn store(&self, _store: StoreId, _now: Instant) -> StoreView {
        StoreView::default()
    }
    /// The labels of a store; none when they are not known.
    fn labels(&self, _store: StoreId) -> Labels {
        Labels::default()
    }
    /// In which form PD, and stores in region errors, have the keys of `command`: with API v1 unless it is said otherwise.
    fn mode(&self, command: Command) -> Mode {
        command.mode(false)
    }
    /// Changes the shared state, at once.
    fn report(&self, feedback: &Feedback, now: Instant);
}

/// All that a machine sees of the world: the time, its own random numbers, its completions by ticket, shared state
/// as facts, and the effects to add to.
#[derive(Debug)]
pub struct Cx<'a> {
    now: Instant,
    wall: WallTime,
    facts: &'a dyn Facts,
    pub(super) op: &'a mut Op,
    pub(super) scope: Scope,
}

impl<'a> Cx<'a> {
    /// The view of the operation's own machine at `now`.
    pub fn root(now: Instant, wall: WallTime, facts: &'a dyn Facts, op: &'a mut Op) -> Self {
        Self { now, wall, facts, op, scope: Scope::ROOT }
    }

    /// The time of this step.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Wall time of this step.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.wall
    }

    /// When the operation is to be over.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.op.deadline
    }

    /// How the operation's requests are sent.
    #[must_use]
    pub fn manner(&self) -> &Manner {
        &self.op.manner
    }

    /// Where what requests meet is written down, if that was asked for. It changes nothing of what the operation does.
    pub fn explanation(&mut self) -> Option<&mut Explanation> {
        self.op.explanation.as_deref_mut()
    }

    /// The operation's own random numbers.
    pub fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.op.rng
    }

    /// What the operation may sleep, and has slept.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.op.budget
    }

    /// Where a request for `key` goes, if the directory knows.
    #[must_use]
    pub fn locate(&self, key: &[u8]) -> Option<Located> {
        self.facts.locate(key, self.now)
    }

    /// Where a request for the keys just below `key` goes, if the directory knows.
    #[must_use]
    pub fn locate_below(&self, key: &[u8]) -> Option<Located> {
        self.facts.locate_below(key, self.now)
    }

    /// In which form PD, and stores in region errors, have the keys of `command`.
    #[must_use]
    pub fn mode(&self, command: Command) -> Mode {
        self.facts.mode(command)
    }

    /// The keys of a region, if the directory has just this version.
    #[must_use]
    pub fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        self.facts.span(region)
    }

    /// The replicas of a region, if the directory has just this version.
    #[must_use]
    pub fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        self.facts.replicas(region)
    }

    /// What is known of a store.
    #[must_use]
    pub fn store(&self, store: StoreId) -> StoreView {
        self.facts.store(store, self.now)
    }

    /// The labels of a store.
    #[must_use]
    pub fn labels(&self, store: StoreId) -> Labels {
        self.facts.labels(store)
    }

    /// Sends `request` as one attempt that may take until `deadline`, or until the operation's own if that is before.
    pub fn call(&mut self, attempt: Attempt, request: Arc<Request>, deadline: Instant) -> Ticket<Bytes> {
        let deadline = deadline.min(self.op.deadline);
        let at = Destination::Store(attempt.through.unwrap_or(attempt.to.store));
        self.issue(at, |ticket| Effect::Call { ticket, attempt, request, deadline })
    }

    /// Asks for a timestamp.
    pub fn timestamp(&mut self) -> Ticket<crate::types::Timestamp> {
        self.ask(Question::Timestamp)
    }

    /// Asks for a region that the directory does not have.
    pub fn load(&mut self, place: super::Place) -> Ticket<Located> {
        self.ask(Question::Region(place))
    }

    /// Asks for the regions of `range` in order, at most `limit`.
    pub fn load_range(&mut self, range: KeyRange, limit: u32) -> Ticket<Arc<[(Located, KeyRange)]>> {
        self.ask(Question::Regions { range, limit })
    }

    /// Asks PD: one of the questions that are answered with a [`PdReply`].
    pub fn ask_pd(&mut self, question: Question) -> Ticket<PdReply> {
        self.ask(question)
    }

    /// Waits until `at`, or until the operation's deadline if that is before.
    pub fn timer(&mut self, at: Instant, why: Why) -> Ticket<Fired> {
        // A wait that the deadline cuts short ends as interrupted: see `take`.
        let at = at.min(self.op.deadline);
        self.issue(Destination::Timers(at), |ticket| Effect::Timer { ticket, at, why })
    }

    /// Pauses between two attempts: the operation's budget says how long, or that it is used up.
    ///
    /// # Errors
    /// The budget's account when nothing is left of it.
    pub fn back_off(
        &mut self,
        kind: Kind,
        attempts: &mut crate::backoff::Attempts,
        reason: impl Into<Arc<str>>,
    ) -> Result<Ticket<Fired>, Box<Exhausted>> {
        self.back_off_for(kind, attempts, reason).map(|(timer, _)| timer)
    }

    /// As [`back_off`](Self::back_off), and says how long the pause is.
    ///
    /// # Errors
    /// The budget's account when nothing is left of it.
    pub fn back_off_for(
        &mut self,
        kind: Kind,
        attempts: &mut crate::backoff::Attempts,
        reason: impl Into<Arc<str>>,
    ) -> Result<(Ticket<Fired>, Duration), Box<Exhausted>> {
        let now = self.now;
        let op = &mut *self.op;
        match op.budget.next(kind, attempts, reason.into(), now, &mut op.rng) {
            Decision::Sleep(pause) => Ok((self.pause(pause, kind), pause)),
            Decision::GiveUp(exhausted) => Err(exhausted),
        }
    }

    fn pause(&mut self, pause: Duration, kind: Kind) -> Ticket<Fired> {
        self.timer(self.now + pause, Why::BackOff(kind.name()))
    }

    /// The completion of `ticket`, once it has come.
    ///
    /// # Panics
    /// When the ticket was taken or cancelled before: a bug of the machine.
    pub fn take<T: Brings>(&mut self, ticket: &Ticket<T>) -> Poll<Result<T, Fault>> {
        let Poll::Ready((scope, completion)) = self.op.slots.take(ticket.id()) else { return Poll::Pending };
        self.op.scopes.count(scope, -1);
        let over = self.now >= self.op.deadline;
        Poll::Ready(match completion {
            Completion::TimerFired(at) if at >= self.op.deadline => {
                Err(Fault::Interrupted(Interrupt::Deadline))
            }
            Completion::Fault(Fault::Transport(fault)) if over && fault.class == TransportClass::TimedOut => {
                Err(Fault::Late(fault))
            }
            completion => T::unpack(completion),
        })
    }

    /// Gives a ticket back without waiting for its completion.
    pub fn cancel<T>(&mut self, ticket: Ticket<T>) {
        self.op.release(ticket.id());
    }

    /// Tells the shared state what was learned. Applied at once.
    pub fn report(&mut self, feedback: Feedback) {
        self.facts.report(&feedback, self.now);
        self.op.effects.push_back(Effect::Report(feedback));
    }

    /// Runs an operation in the client's background set.
    pub fn spawn(&mut self, start: Start) {
        self.op.effects.push_back(Effect::Spawn { start: Box::new(start) });
    }

    /// The view of a child.
    pub(super) fn within(&mut self, scope: Scope) -> Cx<'_> {
        Cx { now: self.now, wall: self.wall, facts: self.facts, op: self.op, scope }
    }

    fn ask<T>(&mut self, question: Question) -> Ticket<T> {
        let deadline = self.op.deadline;
        let at = question.destination();
        self.issue(at, |ticket| Effect::Ask { ticket, question, deadline })
    }

    fn issue<T>(&mut self, at: Destination, effect: impl FnOnce(TicketId) -> Effect) -> Ticket<T> {
        let ticket = self.op.open(self.scope, at);
        match self.op.interrupted {
            // Nothing leaves a stopped operation: the ticket completes at once, in its own next step.
            Some(why) => {
                self.op.deliver(ticket, Completion::Fault(Fault::Interrupted(why)));
            }
            None => self.op.effects.push_back(effect(ticket)),
        }
        Ticket::of(ticket)
    }
}

/// The first key of `range` that a region of keys `span` does not hold; `None` when the range ends within it.
#[must_use]
pub fn behind(range: &KeyRange, span: &KeyRange) -> Option<Key> {
    let ends_within = span.end.is_empty() || (!range.end.is_empty() && range.end <= span.end);
    (!ends_within).then(|| span.end.clone())
}
