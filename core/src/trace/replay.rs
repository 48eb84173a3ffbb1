//! Replaying a trace: every operation's machine is driven by what was recorded, and must want the same again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use super::file::{Records, TraceError};
use super::format::{self as f, Cause, Entry, Record};
use super::report::{Difference, Report};
use super::tickets::Tickets;
use super::{decode, encode, start};
use crate::codec::Mode;
use crate::machine::{Cx, Facts, Feedback, Machine, Manner, Op};
use crate::request::Command;
use crate::start::{AnyMachine, Ended, Operation, Outcome, Settings};
use crate::types::{
    Instant, KeyRange, Labels, Located, RegionVersion, Replicas, StoreId, StoreView, WallTime,
};

/// The longest side of a difference in its text.
const SHOWN: usize = 600;

/// Replays a trace. Each operation is built from what it began with, gets its seed, its completions and the answers to its
/// questions, and must read the same facts, want the same effects and end the same.
///
/// Wire records are passed over. A last record that is not there to its end is passed over, too, and told: a program may be killed
/// while it writes.
///
/// # Errors
/// [`TraceError`]: what cannot be read at all. An operation that makes no sense is a [`Difference`].
pub fn replay(trace: &[u8]) -> Result<Report, TraceError> {
    let mut replay = Replay::default();
    let mut truncated = false;
    for record in Records::new(trace)? {
        match record {
            Ok(record) => replay.record(record),
            Err(TraceError::Truncated { .. }) => truncated = true,
            Err(error) => return Err(error),
        }
    }
    let mut report = replay.finish();
    report.truncated = truncated;
    Ok(report)
}

/// As [`replay`], of records that are read already.
pub fn replay_records(records: impl IntoIterator<Item = Record>) -> Report {
    let mut replay = Replay::default();
    for record in records {
        replay.record(record);
    }
    replay.finish()
}

/// A replay under way: takes the records one after the other.
#[derive(Debug, Default)]
pub(super) struct Replay {
    operations: BTreeMap<u64, State>,
    report: Report,
}

#[derive(Debug)]
enum State {
    Running(Box<Running>),
    /// Its beginning or a step is missing.
    Cut,
    /// Nothing of it is of interest any more.
    Over,
}

/// Why an operation is not replayed any further.
enum Halt {
    Differs { what: String, recorded: String, replayed: String },
    Cut,
    Withheld,
}

fn differs<T>(what: &str, recorded: impl fmt::Debug, replayed: impl fmt::Debug) -> Result<T, Halt> {
    let (recorded, replayed) = (format!("{recorded:?}"), format!("{replayed:?}"));
    let alike = recorded.bytes().zip(replayed.bytes()).take_while(|(one, other)| one == other).count();
    // Of long texts the part is shown that differs, and a little before it.
    let from = if recorded.len().max(replayed.len()) > SHOWN { alike.saturating_sub(SHOWN / 4) } else { 0 };
    let (recorded, replayed) = (part(&recorded, from), part(&replayed, from));
    Err(Halt::Differs { what: what.to_owned(), recorded, replayed })
}

fn nonsense<T>(what: &str, recorded: impl fmt::Debug) -> Result<T, Halt> {
    let (what, recorded) = (what.to_owned(), shown(&recorded));
    Err(Halt::Differs { what, recorded, replayed: "nothing that fits".to_owned() })
}

/// The `Debug` text, cut where nobody reads on.
fn shown(value: &dyn fmt::Debug) -> String {
    part(&format!("{value:?}"), 0)
}

fn part(text: &str, from: usize) -> String {
    let boundary =
        |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let (from, to) = (boundary(from), boundary(from.saturating_add(SHOWN)));
    let (before, behind) = (if from > 0 { "… " } else { "" }, if to < text.len() { " …" } else { "" });
    format!("{before}{}{behind}", &text[from..to])
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    machine: AnyMachine,
    op: Op,
    api_v2: bool,
    tickets: Tickets,
    steps: u32,
    ended: Option<Ended>,
    dropped: bool,
}

impl Replay {
    pub(super) fn record(&mut self, record: Record) {
        match record.entry {
            Some(Entry::Begin(begin)) => self.begin(&begin),
            Some(Entry::Step(step)) => self.step(&step),
            Some(Entry::End(end)) => self.end(&end),
            Some(Entry::Wire(_)) | None => {}
        }
    }

    fn begin(&mut self, begin: &f::Begin) {
        let state = match Running::new(begin) {
            Ok(running) => State::Running(Box::new(running)),
            Err(halt) => {
                self.halt(begin.number, "operation", 0, halt);
                State::Over
            }
        };
        if let Some(State::Running(running)) = self.operations.insert(begin.number, state) {
            let again = Halt::Differs {
                what: "the number is used again".to_owned(),
                recorded: "two operations".to_owned(),
                replayed: "one".to_owned(),
            };
            self.halt(begin.number, running.name, running.steps, again);
        }
    }

    fn step(&mut self, step: &f::Step) {
        let state = self.operations.entry(step.number).or_insert(State::Cut);
        let State::Running(running) = state else { return };
        match running.step(step) {
            Ok(()) => self.report.steps += 1,
            Err(halt) => {
                let (name, at) = (running.name, running.steps);
                *state = State::Over;
                self.halt(step.number, name, at, halt);
            }
        }
    }

    fn end(&mut self, end: &f::End) {
        let state = self.operations.entry(end.number).or_insert(State::Cut);
        let State::Running(running) = state else { return };
        let ended = running.end(end);
        let (name, at) = (running.name, running.steps);
        *state = State::Over;
        match ended {
            Ok(()) => self.report.identical += 1,
            Err(halt) => self.halt(end.number, name, at, halt),
        }
    }

    fn halt(&mut self, operation: u64, name: &'static str, step: u32, halt: Halt) {
        match halt {
            Halt::Cut => self.report.cut += 1,
            Halt::Withheld => self.report.withheld += 1,
            Halt::Differs { what, recorded, replayed } => {
                self.report.differs(Difference { operation, name, step, what, recorded, replayed });
            }
        }
    }

    /// What the operation is at whose end stands last, as its replay has it.
    pub(super) fn ended(&self, operation: u64) -> Option<&Ended> {
        match self.operations.get(&operation) {
            Some(State::Running(running)) => running.ended.as_ref(),
            Some(State::Cut | State::Over) | None => None,
        }
    }

    pub(super) fn finish(mut self) -> Report {
        for state in self.operations.values() {
            match state {
                State::Running(_) => {
                    self.report.identical += 1;
                    self.report.unfinished += 1;
                }
                State::Cut => self.report.cut += 1,
                State::Over => {}
            }
        }
        self.report
    }
}

impl Running {
    fn new(begin: &f::Begin) -> Result<Self, Halt> {
        let read = || {
            let start = start::decode(&begin.start.clone().unwrap_or_default())?;
            Ok((start, decode::budget(begin.budget.as_ref())?))
        };
        let (start, budget) = match read() {
            Ok(read) => read,
            Err(super::Unreadable(why)) => return nonsense(why, &begin.start),
        };
        let settings = Settings {
            redact_keys: begin.redact_keys,
            concurrency: decode::count(begin.concurrency),
            api_v2: begin.api_v2,
        };
        let mut op = Op::default();
        op.begin(begin.seed, Instant(begin.deadline_ns), budget);
        let reading = begin.reading.as_ref().map(|reading| Arc::new(decode::reading(reading)));
        op.set_manner(Manner { reading, forwarding: begin.forwarding });
        let name = start.name();
        let machine = start.machine(&settings);
        Ok(Self {
            name,
            machine,
            op,
            api_v2: begin.api_v2,
            tickets: Tickets::default(),
            steps: 0,
            ended: None,
            dropped: false,
        })
    }

    fn step(&mut self, step: &f::Step) -> Result<(), Halt> {
        if step.index != self.steps {
            return Err(Halt::Cut);
        }
        if let Some(ended) = &self.ended {
            return differs("the operation is over", &step.cause, ended);
        }
        if self.dropped {
            return nonsense("a dropped operation goes no step", &step.cause);
        }
        self.cause(step.cause.as_ref())?;
        let facts = Recorded { facts: &step.facts, api_v2: self.api_v2, state: RefCell::default() };
        let mut cx = Cx::root(Instant(step.at_ns), WallTime(step.wall_ms), &facts, &mut self.op);
        if matches!(step.cause, Some(Cause::Dropped(_))) {
            self.machine.abandon(&mut cx);
            self.dropped = true;
        } else if let Poll::Ready(output) = self.machine.step(&mut cx) {
            // Values that were zeroed are zeroes here, too.
            self.ended = Some(output.ended(false));
        }
        if self.ended.is_some() || self.dropped {
            self.op.end();
        }
        facts.finish()?;
        self.effects(&step.effects)?;
        self.steps += 1;
        Ok(())
    }

    fn cause(&mut self, cause: Option<&Cause>) -> Result<(), Halt> {
        let completed = match cause {
            Some(Cause::First(_)) if self.steps == 0 => return Ok(()),
            Some(Cause::Dropped(_)) => return Ok(()),
            Some(Cause::Interrupted(why)) => match decode::interrupt(*why) {
                Ok(why) => {
                    self.op.interrupt(why);
                    return Ok(());
                }
                Err(super::Unreadable(text)) => return nonsense(text, cause),
            },
            Some(Cause::Completed(completed)) => completed,
            Some(Cause::First(_)) | None => return nonsense("a step without cause", cause),
        };
        let Some((ticket, kind)) = self.tickets.find(completed.ticket) else {
            return nonsense("nobody waits for this ticket", completed);
        };
        let Some(completion) = completed.completion.as_ref().filter(|completion| kind.brings(completion))
        else {
            return nonsense(&format!("the ticket waits for {kind:?}"), completed);
        };
        if matches!(completion, f::Completion::Withheld(_)) {
            return Err(Halt::Withheld);
        }
        let completion = match decode::completion(completion) {
            Ok(completion) => completion,
            Err(super::Unreadable(text)) => return nonsense(text, completed),
        };
        self.tickets.close(ticket);
        if self.op.deliver(ticket, completion) {
            Ok(())
        } else {
            nonsense("nobody waits for this ticket", completed)
        }
    }

    fn effects(&mut self, recorded: &[f::Effect]) -> Result<(), Halt> {
        let mut wanted = recorded.iter();
        let mut at = 0;
        while let Some(effect) = self.op.next_effect() {
            let replayed = encode::effect(&effect, &mut self.tickets);
            match wanted.next() {
                Some(recorded) if *recorded == replayed => at += 1,
                Some(recorded) => return differs(&format!("effect {at}"), Told(recorded), Told(&replayed)),
                None => return differs(&format!("effect {at}"), "none", Told(&replayed)),
            }
        }
        match wanted.next() {
            Some(recorded) => differs(&format!("effect {at}"), Told(recorded), "none"),
            None => Ok(()),
        }
    }

    fn end(&self, end: &f::End) -> Result<(), Halt> {
        if end.steps != self.steps {
            return Err(Halt::Cut);
        }
        if self.dropped && end.dropped {
            return Ok(());
        }
        let Some(ended) = &self.ended else { return differs("the end", end, "the operation goes on") };
        let Ended { text, error } = ended;
        let error = error.map(|kind| format!("{kind:?}")).unwrap_or_default();
        if end.dropped || (&end.error, end.bytes, end.hash) != (&error, text.bytes, text.hash) {
            return differs("the end", &end.text, &text.kept);
        }
        Ok(())
    }
}

/// An effect, without the wrapping of its message.
struct Told<'a>(&'a f::Effect);

impl fmt::Debug for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.effect {
            Some(f::EffectKind::Call(call)) => {
                write!(f, "{} in {call:?}", super::show::request(call))
            }
            Some(effect) => effect.fmt(f),
            None => f.write_str("an effect of a kind that is not known"),
        }
    }
}

/// Facts as they were recorded: each question must be the next one.
#[derive(Debug)]
struct Recorded<'a> {
    facts: &'a [f::Fact],
    api_v2: bool,
    state: RefCell<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    count: usize,
    /// The first question that was not the recorded one.
    wrong: Option<(usize, String)>,
}

impl Recorded<'_> {
    /// The answer that `read` finds in the next fact, if that is the answer to `question`.
    fn next<T>(
        &self,
        question: impl fmt::Debug,
        read: impl FnOnce(&f::FactKind) -> Option<Option<T>>,
    ) -> Option<T> {
        let mut state = self.state.borrow_mut();
        if state.wrong.is_some() {
            return None;
        }
        let at = state.count;
        match self.facts.get(at).and_then(|fact| fact.fact.as_ref()).and_then(read) {
            Some(answer) => {
                state.count += 1;
                answer
            }
            None => {
                state.wrong = Some((at, shown(&question)));
                None
            }
        }
    }

    fn locate(&self, key: &[u8], below: bool) -> Option<Located> {
        let question = f::Locate { key: bytes::Bytes::copy_from_slice(key), below, answer: None };
        self.next(&question, |fact| match fact {
            f::FactKind::Locate(locate) if locate.key == question.key && locate.below == below => {
                Some(locate.answer.map(decode::located))
            }
            _ => None,
        })
    }

    fn finish(self) -> Result<(), Halt> {
        let Asked { count, wrong } = self.state.into_inner();
        match (wrong, self.facts.get(count)) {
            (Some((at, question)), Some(fact)) => differs(&format!("fact {at}"), fact, Plain(&question)),
            (Some((at, question)), None) => differs(&format!("fact {at}"), Plain("none"), Plain(&question)),
            (None, Some(fact)) => differs(&format!("fact {count}"), fact, Plain("none")),
            (None, None) => Ok(()),
        }
    }
}

/// A text that is shown as it is.
struct Plain<'a>(&'a str);

impl fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Facts for Recorded<'_> {
    fn locate(&self, key: &[u8], _: Instant) -> Option<Located> {
        self.locate(key, false)
    }

    fn locate_below(&self, key: &[u8], _: Instant) -> Option<Located> {
        self.locate(key, true)
    }

    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        let question = f::Span { region: Some(encode::region(region)), answer: None };
        self.next(&question, |fact| match fact {
            f::FactKind::Span(span) if span.region == question.region => {
                Some(span.answer.as_ref().map(|range| decode::key_range(Some(range))))
            }
            _ => None,
        })
    }

    fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        let question = f::Replicas { region: Some(encode::region(region)), answer: None };
        self.next(&question, |fact| match fact {
            f::FactKind::Replicas(known) if known.region == question.region => {
                Some(known.answer.as_ref().map(|answer| decode::replicas(region, answer)))
            }
            _ => None,
        })
    }

    fn store(&self, store: StoreId, _: Instant) -> StoreView {
        let question = f::Store { store: store.0, answer: None };
        let answer = self.next(question, |fact| match fact {
            f::FactKind::Store(known) if known.store == store.0 => {
                Some(Some(decode::store_view(known.answer.unwrap_or_default())))
            }
            _ => None,
        });
        answer.unwrap_or_default()
    }

    fn labels(&self, store: StoreId) -> Labels {
        let question = f::Labels { store: store.0, labels: Vec::new() };
        let answer = self.next(&question, |fact| match fact {
            f::FactKind::Labels(known) if known.store == store.0 => Some(Some(decode::labels(&known.labels))),
            _ => None,
        });
        answer.unwrap_or_default()
    }

    fn mode(&self, command: Command) -> Mode {
        command.mode(self.api_v2)
    }

    fn report(&self, _: &Feedback, _: Instant) {
        // It stands among the effects.
    }
}
