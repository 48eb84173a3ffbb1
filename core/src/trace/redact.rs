//! Hides the keys of a trace, and the values that were recorded.
//!
//! Every key is replaced by another one of the same length, the same all over the trace: in what operations begin with, in facts,
//! requests, responses, bounds of regions and effects (see `keymap` for how). What the client itself says of keys in errors is
//! said anew: each operation is replayed with what it gets now, and its end is written down as that comes out. Words of stores
//! and of PD may hold keys in any form, so they are left out, but for the few phrases that machines look for.
//!
//! Every byte of a value becomes zero. Addresses, timestamps, ids and column families stay as they are.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::fields::{self, Rewrite, zeroes};
use super::file::{self, TraceError, whole};
use super::format as f;
use super::keymap::KeyMap;
use super::replay::Replay;
use crate::codec::Mode;
use crate::error::words;
use crate::request::Command;
use crate::start::{Ended, Text};

/// What is said in the place of words that may hold keys.
const HIDDEN: &str = "(redacted)";

/// The same trace with other keys: they are in the same order, one is the beginning of another as before, and each has its length.
/// Values, if they were recorded, are zeroes; words of servers are left out. What replays identically does so afterwards. A record
/// that is not there to its end is left out.
///
/// The bytes 0x00 and 0xff of a key stay: what comes just behind a key, or behind all that begin with it, must do so afterwards.
///
/// # Errors
/// What is no trace.
pub fn redact(trace: &[u8]) -> Result<Vec<u8>, TraceError> {
    let mut seen = Seen::default();
    let mut walk = Walk::default();
    for record in whole(trace)? {
        walk.record(&mut record?, &mut seen);
    }
    let mut map = Mapped(KeyMap::new(seen.0));
    let (mut walk, mut replay, mut out) = (Walk::default(), Replay::default(), file::head());
    for record in whole(trace)? {
        let mut record = record?;
        walk.record(&mut record, &mut map);
        if let Some(f::Entry::End(end)) = &mut record.entry {
            tell(end, replay.ended(end.number));
        }
        file::append(&record, &mut out);
        replay.record(record);
    }
    Ok(out)
}

/// Tells the end of an operation as its replay has it; of one that cannot be replayed nothing is told but the error's kind.
fn tell(end: &mut f::End, ended: Option<&Ended>) {
    if end.dropped {
        return;
    }
    let hidden = Text::of(&format_args!("{HIDDEN}"));
    let text = ended.map_or(&hidden, |ended| &ended.text).clone();
    (end.text, end.bytes, end.hash) = (text.kept, text.bytes, text.hash);
}

/// All keys that there are.
#[derive(Debug, Default)]
struct Seen(BTreeSet<Bytes>);

impl Rewrite for Seen {
    fn key(&mut self, key: &Bytes) -> Bytes {
        if !self.0.contains(key) {
            // A copy: a slice would hold its whole record.
            self.0.insert(Bytes::copy_from_slice(key));
        }
        key.clone()
    }

    fn bound(&mut self, bound: &Bytes, mode: Mode) -> Bytes {
        self.key(&mode.ceil_bound(bound).0);
        bound.clone()
    }
}

/// Keys by their replacement.
#[derive(Debug)]
struct Mapped(KeyMap);

impl Rewrite for Mapped {
    fn key(&mut self, key: &Bytes) -> Bytes {
        self.0.get(key)
    }

    /// A client reads it as the replacement of what it read before.
    fn bound(&mut self, bound: &Bytes, mode: Mode) -> Bytes {
        if bound.is_empty() {
            return Bytes::new();
        }
        mode.encode_key(&self.0.get(&mode.ceil_bound(bound).0).into())
    }

    fn value(&mut self, value: &Bytes) -> Bytes {
        zeroes(value)
    }

    fn text(&mut self, text: &Bytes) -> Bytes {
        if text.is_empty() {
            // Whether a store says anything is of importance.
            return Bytes::new();
        }
        // What machines look for in the words of stores stays.
        let kept = words::ALL
            .iter()
            .filter(|phrase| text.windows(phrase.len()).any(|part| part == phrase.as_bytes()));
        kept.fold(HIDDEN.to_owned(), |text, phrase| format!("{text} {phrase}")).into()
    }
}

/// Goes through records and rewrites what they hold.
#[derive(Debug, Default)]
struct Walk {
    /// The commands of the calls that are under way, by operation and ticket.
    calls: BTreeMap<(u64, u64), Command>,
    /// The form of keys at PD, by operation.
    modes: BTreeMap<u64, Mode>,
}

impl Walk {
    fn record(&mut self, record: &mut f::Record, with: &mut dyn Rewrite) {
        match &mut record.entry {
            Some(f::Entry::Begin(begin)) => {
                begin.start.iter_mut().for_each(|start| rewrite_start(start, with));
                let plain = begin.space() == f::KeySpace::Raw && !begin.api_v2;
                let mode = if plain { Mode::Raw } else { Mode::Txn };
                self.modes.insert(begin.number, mode);
                begin.zeroed_values = true;
            }
            Some(f::Entry::Step(step)) => self.step(step, with),
            Some(f::Entry::End(end)) => {
                self.modes.remove(&end.number);
                self.calls.retain(|(operation, _), _| *operation != end.number);
            }
            Some(f::Entry::Wire(wire)) => wire.fault.iter_mut().for_each(|fault| rewrite_fault(fault, with)),
            None => {}
        }
    }

    fn step(&mut self, step: &mut f::Step, with: &mut dyn Rewrite) {
        if let Some(f::Cause::Completed(completed)) = &mut step.cause {
            let command = self.calls.remove(&(step.number, completed.ticket));
            let mode = self.modes.get(&step.number).copied().unwrap_or(Mode::Txn);
            if let Some(completion) = &mut completed.completion {
                rewrite_completion(completion, command, mode, with);
            }
        }
        for fact in step.facts.iter_mut().filter_map(|fact| fact.fact.as_mut()) {
            match fact {
                f::FactKind::Locate(locate) => rewrite_key(&mut locate.key, with),
                f::FactKind::Span(span) => {
                    span.answer.iter_mut().for_each(|range| rewrite_range(range, with))
                }
                // No key in it.
                f::FactKind::Replicas(_) | f::FactKind::Store(_) | f::FactKind::Labels(_) => {}
            }
        }
        for effect in step.effects.iter_mut().filter_map(|effect| effect.effect.as_mut()) {
            self.effect(step.number, effect, with);
        }
    }

    fn effect(&mut self, operation: u64, effect: &mut f::EffectKind, with: &mut dyn Rewrite) {
        match effect {
            f::EffectKind::Call(call) => {
                let command = Command::of_number(call.command);
                if let Some(command) = command {
                    self.calls.insert((operation, call.ticket), command);
                }
                // A message that is none is not shown.
                call.body = command
                    .and_then(|command| fields::request(command, &call.body, with))
                    .unwrap_or_default();
            }
            f::EffectKind::Ask(ask) => match &mut ask.question {
                Some(f::Question::Region(place)) => rewrite_place(place, with),
                Some(f::Question::Regions(range)) => rewrite_range(range, with),
                Some(f::Question::Timestamp(_) | f::Question::Pd(_)) | None => {}
            },
            f::EffectKind::Spawn(start) => rewrite_start(start, with),
            f::EffectKind::Report(feedback) => rewrite_feedback(feedback, with),
            f::EffectKind::Timer(_) | f::EffectKind::Cancel(_) => {}
        }
    }
}

fn rewrite_key(key: &mut Bytes, with: &mut dyn Rewrite) {
    *key = with.key(key);
}

fn rewrite_range(range: &mut f::Range, with: &mut dyn Rewrite) {
    rewrite_key(&mut range.start, with);
    rewrite_key(&mut range.end, with);
}

fn rewrite_start(start: &mut f::Start, with: &mut dyn Rewrite) {
    let writes = start.writes.iter_mut().map(|write| &mut write.key);
    let cleanings = start.cleanings.iter_mut().flat_map(|cleaning| &mut cleaning.keys);
    for key in start.keys.iter_mut().chain(writes).chain(cleanings).chain([&mut start.primary]) {
        rewrite_key(key, with);
    }
    start.range.iter_mut().for_each(|range| rewrite_range(range, with));
    start.place.iter_mut().for_each(|place| rewrite_place(place, with));
    let own = start.own.iter_mut().filter_map(|own| own.value.as_mut());
    for value in start.writes.iter_mut().map(|write| &mut write.value).chain(own) {
        *value = with.value(value);
    }
}

fn rewrite_place(place: &mut f::Place, with: &mut dyn Rewrite) {
    match &mut place.place {
        Some(f::PlaceKind::Holding(key) | f::PlaceKind::Below(key)) => rewrite_key(key, with),
        Some(f::PlaceKind::Id(_)) | None => {}
    }
}

fn rewrite_feedback(feedback: &mut f::Feedback, with: &mut dyn Rewrite) {
    let regions = match &mut feedback.feedback {
        Some(f::FeedbackKind::Replaced(replaced)) => &mut replaced.new,
        Some(f::FeedbackKind::Loaded(loaded)) => &mut loaded.regions,
        Some(f::FeedbackKind::Buckets(buckets)) => {
            return buckets.keys.iter_mut().for_each(|key| rewrite_key(key, with));
        }
        Some(
            f::FeedbackKind::LeaderIs(_)
            | f::FeedbackKind::Stale(_)
            | f::FeedbackKind::Unreachable(_)
            | f::FeedbackKind::Busy(_)
            | f::FeedbackKind::Slow(_)
            | f::FeedbackKind::Took(_)
            | f::FeedbackKind::Health(_),
        )
        | None => {
            return;
        }
    };
    for range in regions.iter_mut().filter_map(|region| region.range.as_mut()) {
        rewrite_range(range, with);
    }
}

fn rewrite_completion(
    completion: &mut f::Completion,
    command: Option<Command>,
    mode: Mode,
    with: &mut dyn Rewrite,
) {
    match completion {
        f::Completion::Response(body) => {
            match command.and_then(|command| fields::response(command, mode, body, with)) {
                Some(body) => *completion = f::Completion::Response(body),
                // What it says nobody can tell.
                None => *completion = f::Completion::Withheld(body.len() as u64),
            }
        }
        f::Completion::Regions(regions) => {
            for range in regions.regions.iter_mut().filter_map(|region| region.range.as_mut()) {
                rewrite_range(range, with);
            }
        }
        f::Completion::Pd(told) => told.keys.iter_mut().for_each(|key| *key = with.bound(key, mode)),
        f::Completion::Fault(fault) => rewrite_fault(fault, with),
        f::Completion::Other(text) => rewrite_text(text, with),
        f::Completion::Fired(_)
        | f::Completion::Timestamp(_)
        | f::Completion::Region(_)
        | f::Completion::Withheld(_) => {}
    }
}

fn rewrite_text(text: &mut String, with: &mut dyn Rewrite) {
    let words = with.text(&std::mem::take(text).into());
    *text = String::from_utf8_lossy(&words).into_owned();
}

fn rewrite_fault(fault: &mut f::Fault, with: &mut dyn Rewrite) {
    match &mut fault.fault {
        Some(f::FaultKind::Transport(fault) | f::FaultKind::Late(fault)) => {
            // A server's words, whatever the class: a stream that was refused tells them to those who were lost with it, too.
            rewrite_text(&mut fault.detail, with);
        }
        Some(f::FaultKind::Refused(error)) => rewrite_text(&mut error.text, with),
        Some(f::FaultKind::Interrupted(_) | f::FaultKind::Overloaded(_)) | None => {}
    }
}
