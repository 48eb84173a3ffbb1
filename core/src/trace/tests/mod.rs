//! Traces at the kernel's boundary: operations of every kind in a world that does anything to them.

mod files;
mod hidden;
mod stores;
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::format::{Cause, Effect, EffectKind, Entry, FactKind, Record};
use super::{Recorder, Records, Report, replay, start, write};
use crate::error::ErrorKind;
use world::{Tape, World};

/// Operations of every kind, run in a world drawn from `seed`.
fn recorded(seed: u64, operations: usize, change: impl Fn(Recorder) -> Recorder) -> Vec<u8> {
    let tape = Tape::default();
    let mut world = World::new(seed, change(tape.recorder()));
    for _ in 0..operations {
        world.run();
    }
    tape.trace()
}

fn with_values(recorder: Recorder) -> Recorder {
    recorder.redact_values(false)
}

fn entries(trace: &[u8]) -> Vec<Entry> {
    Records::new(trace).unwrap().map(|record: Result<Record, _>| record.unwrap().entry.unwrap()).collect()
}

fn written(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    write(entries.into_iter().map(|entry| Record { entry: Some(entry) }))
}

#[track_caller]
fn identical(trace: &[u8], operations: u64) -> Report {
    let report = replay(trace).unwrap();
    assert!(report.is_identical(), "{report}");
    assert_eq!((report.identical, report.cut, report.unfinished, report.withheld), (operations, 0, 0, 0));
    report
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_to_an_operation_its_trace_replays_identically(seed: u64) {
        let report = identical(&recorded(seed, 8, with_values), 8);
        prop_assert!(report.to_string().starts_with("identical, "), "{report}");
    }

    #[test]
    fn what_an_operation_begins_with_is_the_same_as_a_message_and_back(seed: u64) {
        let mut world = World::new(seed, Tape::default().recorder());
        let (begun, _) = world.start();
        prop_assert_eq!(start::decode(&start::encode(&begun)), Ok(begun));
    }

    #[test]
    fn an_effect_that_is_another_one_is_found_and_named(seed: u64, which: prop::sample::Index) {
        let mut entries = entries(&recorded(seed, 4, with_values));
        let steps: Vec<usize> = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| matches!(entry, Entry::Step(step) if !step.effects.is_empty()))
            .map(|(at, _)| at)
            .collect();
        prop_assume!(!steps.is_empty());
        let at = steps[which.index(steps.len())];
        let Entry::Step(step) = &mut entries[at] else { unreachable!() };
        let (operation, index) = (step.number, step.index);
        let effect = which.index(step.effects.len());
        change(&mut step.effects[effect]);
        let report = replay(&written(entries)).unwrap();
        let first = report.differences.first().unwrap();
        prop_assert_eq!((first.operation, first.step), (operation, index), "{}", report);
        prop_assert_eq!(&first.what, &format!("effect {effect}"));
        prop_assert_ne!(&first.recorded, &first.replayed);
        prop_assert_eq!(report.different, 1);
    }
}

/// Makes another effect of it.
fn change(effect: &mut Effect) {
    match effect.effect.as_mut().unwrap() {
        EffectKind::Call(call) => call.deadline_ns += 1,
        EffectKind::Ask(ask) => ask.deadline_ns += 1,
        EffectKind::Timer(timer) => timer.at_ns += 1,
        EffectKind::Spawn(start) => start.ts += 1,
        EffectKind::Report(feedback) => feedback.feedback = None,
        EffectKind::Cancel(ticket) => *ticket += 1,
    }
}

/// A trace in which one entry is changed by the first of `changes` that fits it differs.
#[track_caller]
fn differs(what: &str, change: impl Fn(&mut Entry) -> bool) -> String {
    let mut entries = entries(&recorded(3, 40, with_values));
    assert!(entries.iter_mut().any(change), "nothing to change");
    let report = replay(&written(entries)).unwrap();
    assert!(report.differences.first().is_some_and(|first| first.what.contains(what)), "{report}");
    report.to_string()
}

#[test]
fn a_missing_effect_and_one_too_many_are_found() {
    let text = differs("effect 0", |entry| match entry {
        Entry::Step(step) if step.effects.len() == 1 => step.effects.pop().is_some(),
        _ => false,
    });
    assert!(text.contains("recorded: \"none\""), "{text}");
    let text = differs("effect 1", |entry| match entry {
        Entry::Step(step) if step.effects.len() == 1 => {
            step.effects.extend_from_within(..);
            true
        }
        _ => false,
    });
    assert!(text.contains("replayed: \"none\""), "{text}");
}

#[test]
fn a_question_that_was_not_asked_and_another_answer_are_found() {
    let text = differs("fact 0", |entry| match entry {
        Entry::Step(step) => match step.facts.first_mut().and_then(|fact| fact.fact.as_mut()) {
            Some(FactKind::Locate(locate)) => {
                locate.key = "elsewhere".into();
                true
            }
            _ => false,
        },
        _ => false,
    });
    assert!(text.contains("elsewhere"), "{text}");
    // The machine goes where the answer says: its last question is where to send.
    differs("effect", |entry| match entry {
        Entry::Step(step) => {
            let calls = step.effects.iter().any(|effect| matches!(effect.effect, Some(EffectKind::Call(_))));
            // Behind it only what is known of the store is asked.
            let others = |fact: &&mut FactKind| !matches!(fact, FactKind::Store(_));
            let last = step.facts.iter_mut().filter_map(|fact| fact.fact.as_mut()).rfind(others);
            match last {
                Some(FactKind::Locate(locate)) if calls => {
                    locate.answer.as_mut().map(|to| to.peer += 1).is_some()
                }
                _ => false,
            }
        }
        _ => false,
    });
}

#[test]
fn another_completion_of_a_ticket_nobody_waits_for_and_another_end_are_found() {
    differs("nobody waits for this ticket", |entry| match entry {
        Entry::Step(step) => match &mut step.cause {
            Some(Cause::Completed(completed)) => {
                completed.ticket += 99;
                true
            }
            _ => false,
        },
        _ => false,
    });
    differs("the ticket waits for", |entry| match entry {
        Entry::Step(step) => match &mut step.cause {
            Some(Cause::Completed(completed)) => {
                completed.completion = Some(super::format::Completion::Other("what".into()));
                true
            }
            _ => false,
        },
        _ => false,
    });
    differs("the end", |entry| match entry {
        Entry::End(end) if !end.dropped => {
            end.hash += 1;
            true
        }
        _ => false,
    });
}

#[test]
fn an_operation_whose_beginning_or_middle_is_missing_is_cut_and_not_identical() {
    let all = entries(&recorded(5, 30, with_values));
    let first = |wanted: &dyn Fn(&Entry) -> bool| all.iter().position(wanted).unwrap();
    let begin = first(&|entry| matches!(entry, Entry::Begin(_)));
    let step = first(&|entry| matches!(entry, Entry::Step(step) if step.number > 1 && step.index == 1));
    for (missing, what) in [(begin, "a beginning"), (step, "a step")] {
        let left = all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, entry)| entry.clone());
        let report = replay(&written(left)).unwrap();
        assert!(report.is_identical(), "{what}: {report}");
        assert_eq!((report.identical, report.cut), (29, 1), "{what}");
        assert!(report.to_string().ends_with(", 1 cut off"), "{report}");
    }
}

#[test]
fn an_operation_that_is_not_over_is_identical_so_far() {
    let mut entries = entries(&recorded(5, 3, with_values));
    let end = entries.iter().position(|entry| matches!(entry, Entry::End(_))).unwrap();
    entries.remove(end);
    let report = replay(&written(entries)).unwrap();
    assert_eq!((report.identical, report.unfinished, report.cut), (3, 1, 0), "{report}");
}

#[test]
fn a_ring_dumps_whole_traces_of_its_last_operations() {
    let recorder = Recorder::ring(Duration::from_secs(3600), 200_000);
    let mut world = World::new(9, recorder.clone());
    for _ in 0..2000 {
        world.run();
    }
    let dump = recorder.dump();
    assert!(dump.len() <= 200_000 + 12 && dump.len() > 60_000, "{} bytes", dump.len());
    let report = replay(&dump).unwrap();
    assert!(report.is_identical(), "{report}");
    assert!(report.identical > 30 && report.identical < 1000, "{report}");
    let last = entries(&dump)
        .iter()
        .filter_map(|entry| if let Entry::End(end) = entry { Some(end.number) } else { None })
        .max();
    assert_eq!(last, Some(2000));
}

#[test]
fn errors_of_the_chosen_kinds_are_told_with_a_dump_that_has_them() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&told);
    let recorder = Recorder::ring(Duration::from_secs(60), 1 << 20).on_error(
        [ErrorKind::Conflict],
        move |recorder, failure| {
            seen.lock().unwrap().push((failure.clone(), recorder.dump()));
        },
    );
    let mut world = World::new(4, recorder);
    for _ in 0..1000 {
        world.run();
    }
    let told = told.lock().unwrap();
    assert!(told.len() > 5);
    for (failure, dump) in told.iter() {
        assert_eq!(failure.kind, ErrorKind::Conflict);
        assert!(replay(dump).unwrap().is_identical());
        let has = |entry: &Entry| matches!(entry, Entry::End(end) if end.number == failure.number && end.error == "Conflict");
        assert!(entries(dump).iter().any(has), "{failure:?}");
    }
}

#[test]
fn worlds_have_everything_that_can_happen() {
    let entries = entries(&recorded(1, 1000, with_values));
    let count = |wanted: &dyn Fn(&Entry) -> bool| entries.iter().filter(|entry| wanted(entry)).count();
    let causes = |wanted: &dyn Fn(&Cause) -> bool| {
        count(&|entry| matches!(entry, Entry::Step(step) if step.cause.as_ref().is_some_and(wanted)))
    };
    let effects = |wanted: &dyn Fn(&EffectKind) -> bool| {
        count(&|entry| match entry {
            Entry::Step(step) => step.effects.iter().filter_map(|effect| effect.effect.as_ref()).any(wanted),
            _ => false,
        })
    };
    for (what, seen) in [
        ("dropped", causes(&|cause| matches!(cause, Cause::Dropped(_)))),
        ("interrupted", causes(&|cause| matches!(cause, Cause::Interrupted(_)))),
        ("failed", count(&|entry| matches!(entry, Entry::End(end) if !end.error.is_empty()))),
        (
            "succeeded",
            count(&|entry| matches!(entry, Entry::End(end) if end.error.is_empty() && !end.dropped)),
        ),
        ("spawned", effects(&|effect| matches!(effect, EffectKind::Spawn(_)))),
        ("reported", effects(&|effect| matches!(effect, EffectKind::Report(_)))),
        ("cancelled", effects(&|effect| matches!(effect, EffectKind::Cancel(_)))),
        ("paused", effects(&|effect| matches!(effect, EffectKind::Timer(_)))),
    ] {
        assert!(seen > 20, "{what}: {seen} times");
    }
}
