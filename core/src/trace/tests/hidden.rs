//! What is hidden: values while recording, keys afterwards.

use proptest::prelude::*;

use super::super::format::{Cause, Completion, Effect, EffectKind, Entry, Feedback, Step};
use super::super::{Recorder, redact};
use super::world::{Tape, World};
use super::{entries, identical};

/// The mark of every key and value, and what texts make of it.
const MARK: &str = "hidden";
const IN_HEX: &str = "68696464656E";

fn marked(seed: u64, change: impl Fn(Recorder) -> Recorder) -> Vec<u8> {
    let tape = Tape::default();
    let mut world = World::new(seed, change(tape.recorder()));
    world.mark = MARK;
    for _ in 0..12 {
        world.run();
    }
    tape.trace()
}

fn has(trace: &[u8], text: &str) -> bool {
    trace.windows(text.len()).any(|part| part == text.as_bytes())
}

/// All of a trace but its keys, values and texts.
fn shape(trace: &[u8]) -> Vec<String> {
    let effect = |effect: &Effect| match effect.effect.as_ref().unwrap() {
        EffectKind::Call(call) => {
            format!(
                "call {} {:?} {} {} of {} bytes",
                call.ticket,
                call.to,
                call.retry,
                call.command,
                call.body.len()
            )
        }
        EffectKind::Ask(ask) => format!("ask {} {}", ask.ticket, ask.limit),
        EffectKind::Timer(timer) => format!("{timer:?}"),
        EffectKind::Spawn(start) => format!("spawn {} {}", start.operation, start.keys.len()),
        EffectKind::Report(Feedback { feedback }) => format!("report {}", feedback.is_some()),
        EffectKind::Cancel(ticket) => format!("cancel {ticket}"),
    };
    let step = |step: &Step| {
        let effects: Vec<_> = step.effects.iter().map(effect).collect();
        let cause = match step.cause.as_ref().unwrap() {
            Cause::Completed(completed) => format!(
                "{} {}",
                completed.ticket,
                matches!(completed.completion, Some(Completion::Response(_)))
            ),
            other => format!("{other:?}"),
        };
        format!(
            "{} {} {} {cause} {} facts {effects:?}",
            step.number,
            step.index,
            step.at_ns,
            step.facts.len()
        )
    };
    let entry = |entry: &Entry| match entry {
        Entry::Begin(begin) => format!("{} {} {}", begin.number, begin.seed, begin.deadline_ns),
        Entry::Step(of) => step(of),
        Entry::End(end) => format!("{} {} {}", end.number, end.dropped, end.error),
        Entry::Wire(wire) => format!("{wire:?}"),
    };
    entries(trace).iter().map(entry).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_key_is_in_a_redacted_trace_which_has_the_same_shape_and_replays_identically(seed: u64) {
        let trace = marked(seed, |recorder| recorder);
        let hidden = redact(&trace).unwrap();
        identical(&trace, 12);
        identical(&hidden, 12);
        prop_assert!(has(&trace, MARK));
        prop_assert!(!has(&hidden, MARK) && !has(&hidden, IN_HEX), "{}", hidden.escape_ascii());
        prop_assert_eq!(shape(&trace), shape(&hidden));
    }

    #[test]
    fn no_value_is_recorded_unless_it_is_asked_for(seed: u64) {
        // Keys are marked, too, and hidden after that.
        let zeroed = marked(seed, |recorder| recorder);
        identical(&zeroed, 12);
        prop_assert!(!has(&redact(&zeroed).unwrap(), MARK));
        let whole = marked(seed, |recorder| recorder.redact_values(false));
        identical(&whole, 12);
        let hidden = redact(&whole).unwrap();
        identical(&hidden, 12);
        prop_assert!(!has(&hidden, MARK), "values are hidden with the keys");
        prop_assert_eq!(shape(&zeroed), shape(&whole), "lengths and everything else stay");
    }
}

#[test]
fn a_redacted_trace_redacts_to_itself() {
    let once = redact(&marked(7, |recorder| recorder)).unwrap();
    assert_eq!(redact(&once).unwrap(), once);
}
