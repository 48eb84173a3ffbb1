//! Traces at the kernel's boundary.

mod world;

use proptest::prelude::*;

use super::format::{Cause, Entry, Record};
use super::{Recorder, Records, replay};
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

fn entries(trace: &[u8]) -> Vec<Entry> {
    Records::new(trace).unwrap().map(|record: Result<Record, _>| record.unwrap().entry.unwrap()).collect()
}

proptest! {
    #[test]
    fn whatever_happens_to_an_operation_its_trace_replays_identically(seed: u64) {
        let trace = recorded(seed, 8, |recorder| recorder.redact_values(false));
        let report = replay(&trace).unwrap();
        prop_assert!(report.is_identical(), "{report}");
        prop_assert_eq!((report.identical, report.cut, report.unfinished, report.withheld), (8, 0, 0, 0));
    }
}

#[test]
fn worlds_have_everything_that_can_happen() {
    let trace = recorded(1, 2000, |recorder| recorder.redact_values(false));
    let entries = entries(&trace);
    let count = |wanted: &dyn Fn(&Entry) -> bool| entries.iter().filter(|entry| wanted(entry)).count();
    let cause = |entry: &Entry, wanted: &dyn Fn(&Cause) -> bool| matches!(entry, Entry::Step(step) if step.cause.as_ref().is_some_and(wanted));
    let dropped = count(&|entry| cause(entry, &|cause| matches!(cause, Cause::Dropped(_))));
    let interrupted = count(&|entry| cause(entry, &|cause| matches!(cause, Cause::Interrupted(_))));
    let failed = count(&|entry| matches!(entry, Entry::End(end) if !end.error.is_empty()));
    let succeeded = count(&|entry| matches!(entry, Entry::End(end) if end.error.is_empty() && !end.dropped));
    let spawned = count(
        &|entry| matches!(entry, Entry::Step(step) if step.effects.iter().any(|effect| matches!(effect.effect, Some(super::format::EffectKind::Spawn(_))))),
    );
    for (what, seen) in [
        ("dropped", dropped),
        ("interrupted", interrupted),
        ("failed", failed),
        ("succeeded", succeeded),
        ("spawned", spawned),
    ] {
        assert!(seen > 20, "{what}: {seen} times");
    }
}
