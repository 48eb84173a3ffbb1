//! The one task that feeds a service: its mailbox, its answers, its streams, its unary calls and its timers.
//!
//! A host is a future that a runtime polls. It carries out the service's effects in order and gives each event back as
//! one input; what it decides is when to look, never what anything means. When it is dropped (the runtime ended) its
//! mailbox closes, and everyone who waits learns that the client is closed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::runtime::{BoxFuture, Runtime};
use super::wire::{StreamEvent, Wire};
use crate::machine::{
    Asker, Completion, Fault, Feedback, Input, Mailbox, Seat, Service, ServiceCore, ServiceEffect, TicketId,
};
use crate::pd::PdCommand;
use crate::trace::{Moment, Tap};
use crate::types::Instant;

/// Inputs handled in one poll before other tasks get their turn.
const TURNS: usize = 64;

/// Commands taken from the mailbox before streams are looked at again.
const COMMANDS: usize = 1024;

/// Stream events taken before the mailbox is looked at again.
const EVENTS: usize = 64;

/// Applies feedback to the shared state.
type Report = Box<dyn FnMut(&Feedback, Instant) + Send>;

/// What a host needs beside its service.
pub(super) struct Surroundings<S: Service> {
    /// The service's mailbox.
    pub(super) mailbox: Arc<Mailbox<S::Command>>,
    /// Time, tasks, connections.
    pub(super) runtime: Arc<dyn Runtime>,
    /// Where queries to PD go.
    pub(super) pd: Arc<Mailbox<PdCommand>>,
    /// The connections of this service.
    pub(super) wire: Wire,
    /// The seed of the service's random numbers.
    pub(super) seed: u64,
    /// Applies feedback to the shared state.
    pub(super) report: Report,
    /// Carries out the effects that only this service has.
    pub(super) special: Box<dyn FnMut(S::Special) + Send>,
    /// Records what happens on the wire.
    pub(super) tap: Option<Tap>,
}

/// Drives one service. See the module.
pub(super) struct Host<S: Service> {
    service: S,
    around: Surroundings<S>,
    core: ServiceCore<S::Timer, S::Special>,
    seat: Arc<Seat>,
    timers: BTreeMap<S::Timer, Instant>,
    sleep: Option<(Instant, BoxFuture<()>)>,
    idle: Idle,
    /// The time of this turn's inputs: reading the clock for each would cost as much as handling it.
    moment: Option<Moment>,
}

/// Whether the service is to be told that all is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// It knows.
    Told,
    /// Something came since: tell it once nothing more does.
    Due,
    /// A command came: the tasks that are ready run first, because an executor runs whom the first caller woke (this task)
    /// before the other callers, and each would get a frame of its own.
    AfterOthers,
}

impl<S> Host<S>
where
    S: Service + Send + Unpin + 'static,
    S::Command: Send + 'static,
    S::Timer: Send + Unpin + 'static,
    S::Special: Send + Unpin + 'static,
{
    /// Starts the task of `service`.
    pub(super) fn spawn(service: S, around: Surroundings<S>) {
        let runtime = Arc::clone(&around.runtime);
        let host = Self {
            service,
            core: ServiceCore::new(around.seed),
            around,
            seat: Arc::default(),
            timers: BTreeMap::new(),
            sleep: None,
            idle: Idle::Told,
            moment: None,
        };
        runtime.spawn(Box::pin(host));
    }

    fn input(&mut self, input: Input<S::Command, S::Timer>) {
        let runtime = &self.around.runtime;
        let read = || Moment { now: runtime.now(), wall: runtime.wall() };
        let Moment { now, wall } = *self.moment.get_or_insert_with(read);
        if let Some(tap) = &mut self.around.tap {
            tap.input(&input, Moment { now, wall });
        }
        self.service.handle(input, &mut self.core.cx(now, wall));
        let mut effects = self.core.take_effects();
        if let Some(tap) = &mut self.around.tap {
            effects.iter().for_each(|effect| tap.effect(effect, Moment { now, wall }));
        }
        for effect in effects.drain(..) {
            self.carry_out(effect, now);
        }
        self.core.give_back(effects);
        self.core.deliver();
    }

    fn carry_out(&mut self, effect: ServiceEffect<S::Timer, S::Special>, now: Instant) {
        let around = &mut self.around;
        match effect {
            ServiceEffect::Open { stream, to, path, way } => around.wire.open(stream, to, path, way),
            ServiceEffect::Finish { stream } => around.wire.finish(stream),
            ServiceEffect::Next { stream } => around.wire.next(stream),
            ServiceEffect::Send { stream, message } => around.wire.send(stream, message),
            ServiceEffect::Close { stream } => around.wire.close(stream),
            ServiceEffect::Disconnect(address) => around.wire.disconnect(&address),
            ServiceEffect::Unary { ticket, to, path, body, deadline, way } => {
                around.wire.unary(ticket, to, path, body, deadline, way);
            }
            ServiceEffect::GiveUp { ticket } => around.wire.give_up(ticket),
            ServiceEffect::Query { ticket, query, deadline } => {
                let asker = Asker::new(Arc::clone(&self.seat), ticket);
                if let Err(PdCommand::Query { asker, .. }) =
                    around.pd.ask(PdCommand::Query { query, asker, deadline })
                    && let Some(seat) = asker.answer(Completion::Fault(Fault::Overloaded))
                {
                    seat.wake();
                }
            }
            ServiceEffect::Arm(timer, at) => {
                self.timers.insert(timer, at);
            }
            ServiceEffect::Disarm(timer) => {
                self.timers.remove(&timer);
            }
            ServiceEffect::Report(feedback) => (around.report)(&feedback, now),
            ServiceEffect::Special(special) => (around.special)(special),
        }
    }

    /// Takes in what has come, once round; false when nothing had.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut busy, mut commands) = (false, false);
        self.moment = None;
        for _ in 0..COMMANDS {
            let Some(command) = self.around.mailbox.take() else { break };
            self.input(Input::Command(command));
            busy = true;
            commands = true;
        }
        while let Some((ticket, completion)) = self.seat.next() {
            self.input(Input::Done(ticket, completion));
            busy = true;
        }
        while let Poll::Ready((ticket, result)) = self.around.wire.poll_unary(cx) {
            self.input(done(ticket, result));
            busy = true;
        }
        for _ in 0..EVENTS {
            let Poll::Ready((stream, event)) = self.around.wire.poll_streams(cx) else { break };
            self.input(match event {
                StreamEvent::Writable => Input::Writable(stream),
                StreamEvent::Item(message) => Input::Item(stream, message),
                StreamEvent::Closed(fault) => Input::Closed(stream, fault),
            });
            busy = true;
        }
        busy |= self.fire();
        if commands && self.idle == Idle::Told {
            self.idle = Idle::AfterOthers;
        } else if busy && self.idle == Idle::Told {
            self.idle = Idle::Due;
        }
        busy
    }

    /// Fires every timer whose time has come, in order of time.
    fn fire(&mut self) -> bool {
        if self.timers.is_empty() {
            return false;
        }
        let now = self.around.runtime.now();
        let mut due: Vec<_> =
            self.timers.iter().filter(|timer| *timer.1 <= now).map(|(&timer, &at)| (at, timer)).collect();
        due.sort_unstable();
        for (_, timer) in &due {
            self.timers.remove(timer);
        }
        // No timer is handled before its time.
        self.moment = None;
        for &(_, timer) in &due {
            self.input(Input::Timer(timer));
        }
        !due.is_empty()
    }

    /// Sleeps until the earliest timer; ready when it has come.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(&at) = self.timers.values().min() else {
            self.sleep = None;
            return Poll::Pending;
        };
        let sleep = match &mut self.sleep {
            // A sleep that ends too soon is kept: timers mostly move later, and it costs one wake-up.
            Some((until, sleep)) if *until <= at => sleep,
            _ => &mut self.sleep.insert((at, self.around.runtime.sleep_until(at))).1,
        };
        let ready = sleep.as_mut().poll(cx);
        if ready.is_ready() {
            self.sleep = None;
        }
        ready
    }
}

fn done<C, T>(ticket: TicketId, result: Result<bytes::Bytes, crate::machine::TransportFault>) -> Input<C, T> {
    Input::Done(
        ticket,
        match result {
            Ok(body) => Completion::Response(body),
            Err(fault) => Completion::Fault(Fault::Transport(fault)),
        },
    )
}

impl<S> Future for Host<S>
where
    S: Service + Send + Unpin + 'static,
    S::Command: Send + 'static,
    S::Timer: Send + Unpin + 'static,
    S::Special: Send + Unpin + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let host = &mut *self;
        host.around.mailbox.register(cx.waker());
        host.seat.register(cx.waker());
        for _ in 0..TURNS {
            if host.around.mailbox.is_closed() {
                return Poll::Ready(());
            }
            if host.turn(cx) {
                continue;
            }
            match host.idle {
                Idle::AfterOthers => {
                    host.idle = Idle::Due;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Idle::Due => {
                    host.idle = Idle::Told;
                    host.input(Input::Idle);
                    continue;
                }
                Idle::Told => {}
            }
            if host.poll_sleep(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Service> Drop for Host<S> {
    fn drop(&mut self) {
        self.around.mailbox.close();
    }
}
