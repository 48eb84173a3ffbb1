//! One operation, as it is recorded: goes its steps and writes down what crosses the kernel's boundary.

use std::cell::RefCell;
use std::task::Poll;

use super::encode;
use super::fields::{self, ZeroValues, zeroes};
use super::format as f;
use super::outlet::Outlet;
use super::recorder::{Failure, Recorder};
use super::tickets::{Kind, Tickets};
use crate::backoff::{Allowance, Tuning};
use crate::client::Space;
use crate::codec::Mode;
use crate::machine::{Completion, Cx, Facts, Feedback, Interrupt, Machine, Manner, Op, TicketId};
use crate::request::Command;
use crate::start::{Ended, Settings, Start};
use crate::types::{
    Instant, KeyRange, Labels, Located, RegionVersion, Replicas, StoreId, StoreView, WallTime,
};

/// What makes a step possible; the driver has told the operation's storage already.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It is the first.
    First,
    /// A completion was delivered.
    Completed(TicketId, Completion),
    /// The operation was interrupted.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "no driver kills an operation yet; its deadline is the services'")
    )]
    Interrupted(Interrupt),
    /// The caller dropped it.
    Dropped,
}

/// When a step is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) wall: WallTime,
}

/// What an operation begins with.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    pub(crate) seed: u64,
    pub(crate) space: Space,
    pub(crate) deadline: Instant,
    pub(crate) allowance: Allowance,
    pub(crate) tuning: Tuning,
    pub(crate) settings: Settings,
    pub(crate) manner: Manner,
    /// The operation that left it to the background; 0: none.
    pub(crate) parent: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Recording {
    outlet: Outlet,
    number: u64,
    name: &'static str,
    /// What it does, until it is written down.
    start: Option<Box<f::Start>>,
    index: u32,
    tickets: Tickets,
}

impl Recording {
    pub(crate) fn new(recorder: &Recorder, start: &Start) -> Self {
        let number = recorder.next_number();
        let name = start.name();
        let mut start = super::start::encode(start);
        if recorder.zeroes_values() {
            zero_start(&mut start);
        }
        let outlet = Outlet::new(recorder.clone(), number);
        Self { outlet, number, name, start: Some(Box::new(start)), index: 0, tickets: Tickets::default() }
    }

    /// The operation's number in the trace.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Writes down what the operation begins with. To be called once, before its first step.
    pub(crate) fn begin(&mut self, birth: &Birth, at: Moment) {
        let Settings { redact_keys, concurrency, api_v2 } = birth.settings;
        let space = match birth.space {
            Space::Raw => f::KeySpace::Raw,
            Space::Txn => f::KeySpace::Txn,
        };
        let begin = f::Begin {
            number: self.number,
            client: self.outlet.recorder().client(),
            parent: birth.parent,
            at_ns: at.now.0,
            wall_ms: at.wall.0,
            seed: birth.seed,
            space: space.into(),
            deadline_ns: birth.deadline.0,
            budget: Some(encode::budget(birth.allowance, birth.tuning)),
            concurrency: u64::try_from(concurrency).unwrap_or(u64::MAX),
            redact_keys,
            zeroed_values: self.outlet.recorder().zeroes_values(),
            start: self.start.take().map(|start| *start),
            api_v2,
            reading: birth.manner.reading.as_deref().map(encode::reading),
            forwarding: birth.manner.forwarding,
        };
        self.write(f::Entry::Begin(begin), at);
    }

    /// Goes one step and writes it down; ends the storage when the machine is done or dropped. Its effects are still to be
    /// carried out.
    pub(crate) fn step<M: Machine>(
        &mut self,
        machine: &mut M,
        event: Event,
        at: Moment,
        facts: &dyn Facts,
        op: &mut Op,
    ) -> Poll<M::Output> {
        let noted = Noted { facts, log: RefCell::default() };
        let mut cx = Cx::root(at.now, at.wall, &noted, op);
        let (polled, over) = if matches!(event, Event::Dropped) {
            machine.abandon(&mut cx);
            (Poll::Pending, true)
        } else {
            let polled = machine.step(&mut cx);
            let over = polled.is_ready();
            (polled, over)
        };
        if over {
            op.end();
        }
        let cause = self.cause(event);
        let mut effects: Vec<_> =
            op.effects().map(|effect| encode::effect(effect, &mut self.tickets)).collect();
        if self.zeroes() {
            effects.iter_mut().for_each(zero_effect);
        }
        let step = f::Step {
            number: self.number,
            index: self.index,
            at_ns: at.now.0,
            wall_ms: at.wall.0,
            cause: Some(cause),
            facts: noted.log.into_inner(),
            effects,
        };
        self.index = self.index.saturating_add(1);
        self.write(f::Entry::Step(step), at);
        polled
    }

    /// Writes down how it ended; `None`: it was dropped.
    pub(crate) fn end(&mut self, ended: Option<Ended>, at: Moment) {
        let (number, steps, dropped) = (self.number, self.index, ended.is_none());
        let mut end = f::End { number, at_ns: at.now.0, steps, dropped, ..f::End::default() };
        let mut kind = None;
        if let Some(Ended { text, error }) = ended {
            kind = error;
            end.error = error.map(|kind| format!("{kind:?}")).unwrap_or_default();
            (end.text, end.bytes, end.hash) = (text.kept, text.bytes, text.hash);
        }
        let text = end.text.clone();
        self.write(f::Entry::End(end), at);
        self.outlet.flush();
        if let Some(kind) = kind {
            let failure = Failure { number: self.number, operation: self.name, kind, text };
            self.outlet.recorder().failed(&failure);
        }
    }

    /// Whether values are zeroed.
    pub(crate) fn zeroes(&self) -> bool {
        self.outlet.recorder().zeroes_values()
    }

    fn cause(&mut self, event: Event) -> f::Cause {
        let (ticket, completion) = match event {
            Event::First => return f::Cause::First(true),
            Event::Interrupted(why) => return f::Cause::Interrupted(encode::interrupt(why).into()),
            Event::Dropped => return f::Cause::Dropped(true),
            Event::Completed(ticket, completion) => (ticket, completion),
        };
        let (number, kind) = self.tickets.close(ticket).unwrap_or((0, Kind::Timer));
        let mut completion = encode::completion(&completion);
        if self.zeroes()
            && let (f::Completion::Response(body), Kind::Call(command)) = (&completion, kind)
        {
            completion = match fields::response(command, command.mode(false), body, &mut ZeroValues) {
                Some(body) => f::Completion::Response(body),
                None => f::Completion::Withheld(body.len() as u64),
            };
        }
        f::Cause::Completed(f::Completed { ticket: number, completion: Some(completion) })
    }

    fn write(&mut self, entry: f::Entry, at: Moment) {
        self.outlet.write(&f::Record { entry: Some(entry) }, at.wall);
    }
}

fn zero_start(start: &mut f::Start) {
    for write in &mut start.writes {
        write.value = zeroes(&write.value);
    }
    if let Some(f::Own { value: Some(value) }) = &mut start.own {
        *value = zeroes(value);
    }
}

fn zero_effect(effect: &mut f::Effect) {
    match &mut effect.effect {
        Some(f::EffectKind::Call(call)) => {
            // What this client has encoded itself is a message; were it none, nothing of it would be shown.
            call.body = Command::of_number(call.command)
                .and_then(|command| fields::request(command, &call.body, &mut ZeroValues))
                .unwrap_or_default();
        }
        Some(f::EffectKind::Spawn(start)) => zero_start(start),
        _ => {}
    }
}

/// Facts that are written down as they are read.
#[derive(Debug)]
struct Noted<'a> {
    facts: &'a dyn Facts,
    log: RefCell<Vec<f::Fact>>,
}

impl Noted<'_> {
    fn note(&self, fact: f::FactKind) {
        self.log.borrow_mut().push(f::Fact { fact: Some(fact) });
    }

    fn note_locate(&self, key: &[u8], below: bool, answer: Option<Located>) {
        let (key, answer) = (bytes::Bytes::copy_from_slice(key), answer.map(encode::located));
        self.note(f::FactKind::Locate(f::Locate { key, below, answer }));
    }
}

impl Facts for Noted<'_> {
    fn locate(&self, key: &[u8], now: Instant) -> Option<Located> {
        let answer = self.facts.locate(key, now);
        self.note_locate(key, false, answer);
        answer
    }

    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        let answer = self.facts.locate_below(key, now);
        self.note_locate(key, true, answer);
        answer
    }

    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        let answer = self.facts.span(region);
        let range = answer.as_ref().map(encode::range);
        self.note(f::FactKind::Span(f::Span { region: Some(encode::region(region)), answer: range }));
        answer
    }

    fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        let answer = self.facts.replicas(region);
        let replicas = answer.as_ref().map(encode::replicas);
        self.note(f::FactKind::Replicas(f::Replicas {
            region: Some(encode::region(region)),
            answer: replicas,
        }));
        answer
    }

    fn store(&self, store: StoreId, now: Instant) -> StoreView {
        let answer = self.facts.store(store, now);
        self.note(f::FactKind::Store(f::Store { store: store.0, answer: Some(encode::store_view(answer)) }));
        answer
    }

    fn labels(&self, store: StoreId) -> Labels {
        let answer = self.facts.labels(store);
        self.note(f::FactKind::Labels(f::Labels { store: store.0, labels: encode::labels(&answer) }));
        answer
    }

    fn mode(&self, command: Command) -> Mode {
        // The same all over an operation, which says so at its beginning.
        self.facts.mode(command)
    }

    fn report(&self, feedback: &Feedback, now: Instant) {
        // It stands among the effects.
        self.facts.report(feedback, now);
    }
}
