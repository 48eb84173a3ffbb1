//! Some seeds, each twice: what holds in them is what the simulator is for, and it must be the same both times.

use std::time::Duration;

use tikv_sim::{Limits, Report, Storm, Totals, record, run, storm};

fn sample(seeds: impl Iterator<Item = u64>, limits: &Limits) -> Totals {
    let mut totals = Totals::default();
    for seed in seeds {
        let Report { violation, digest, totals: counted, .. } = run(seed, limits);
        assert_eq!(violation, None, "seed {seed}");
        assert_eq!(run(seed, limits).digest, digest, "seed {seed} ran twice, and differently");
        totals.merge(&counted);
    }
    totals
}

#[test]
fn seeds_with_all_troubles_hold_and_run_the_same_twice() {
    let totals = sample(1..=14, &Limits::default());
    assert!(totals.of("txn.committed") > 100, "{totals}");
    assert!(totals.of("fault.split") > 0 && totals.of("fault.crash") > 0, "{totals}");
}

#[test]
fn seeds_without_trouble_fail_only_by_conflicts() {
    let limits = Limits { faults: Some([].into()), ..Limits::default() };
    let totals = sample(100..=108, &limits);
    assert!(totals.of("txn.committed") > 100, "{totals}");
    assert_eq!(totals.of("txn.undetermined"), 0);
}

#[test]
fn what_clients_record_replays_and_recording_changes_nothing() {
    let limits = Limits::default();
    for seed in 30..36 {
        let (recorded, trace) = record(seed, &limits);
        assert_eq!(recorded.violation, None, "seed {seed}");
        assert!(trace.len() > 1_000 && recorded.totals.of("replay.steps") > 10, "seed {seed}");
        assert_eq!(run(seed, &limits).digest, recorded.digest, "seed {seed}");
    }
}

#[test]
fn unlike_seeds_run_differently() {
    let limits = Limits::default();
    assert_ne!(run(1, &limits).digest, run(2, &limits).digest);
}

#[test]
fn ten_thousand_callers_outlast_stores_that_are_killed_every_second() {
    // `tikv-sim storm` is the whole minute.
    let some = Storm { time: Duration::from_secs(6), pause: Duration::from_secs(4), ..Storm::default() };
    let weathered = storm(some).unwrap();
    assert!(weathered.answered > 20_000 && weathered.kills >= 6, "{weathered:?}");
    assert_eq!(storm(some), Ok(weathered), "it is a function of its seed");
}
