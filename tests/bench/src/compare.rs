//! What changed between two recordings beyond noise.
//!
//! CPU is compared as a ratio to the floor of the same round where both recordings have it: that cancels the machine.
//! All else is compared as it is, so both recordings are to be of one machine.

use std::path::Path;

use tikv_bench_load::Failure;

use crate::record::{Number, Recording, Runs};
use crate::say;
use crate::stats::{ENOUGH_ROUNDS, Spread, Verdict, paired, spread, verdict};

const FLOOR: &str = "echo";

/// What is compared, and whether less is better.
const NUMBERS: [(&str, Number, bool); 4] = [
    ("CPU us", |outcome| outcome.cpu_us, true),
    ("ops/s", |outcome| outcome.per_second, false),
    ("p99 us", |outcome| outcome.p99_us, true),
    ("peak MiB", |outcome| outcome.peak_kib as f64 / 1024.0, true),
];

pub(crate) fn run(before: &Path, after: &Path) -> Result<(), Failure> {
    say(compared(&Recording::read(before)?, &Recording::read(after)?).trim_end());
    Ok(())
}

fn compared(before: &Recording, after: &Recording) -> String {
    let mut text = format!("before: {}, after: {}\n", before.head.commit, after.head.commit);
    if before.head.machine != after.head.machine {
        text.push_str("of different machines: only ratios to the floor tell anything\n");
    }
    let mut tally = Tally { text, same: 0, unknown: 0 };
    for (workload, clients) in &after.workloads {
        for (client, runs) in clients {
            let Some(old) = before.runs(workload, client) else { continue };
            for (name, was, is, less_is_better) in numbers(before, after, workload, client, old, runs) {
                tally.add(&format!("{workload:<26} {client:<12} {name:<10}"), &was, &is, less_is_better);
            }
        }
    }
    for (bench, rounds) in &after.micro {
        let old = before.micro.iter().find(|(name, _)| name == bench);
        let old = old.and_then(|(_, rounds)| spread(rounds.iter().copied()));
        if let Some((was, is)) = old.zip(spread(rounds.iter().copied())) {
            tally.add(&format!("{bench:<39} {:<10}", "ns"), &was, &is, true);
        }
    }
    tally.end()
}

struct Tally {
    text: String,
    same: usize,
    unknown: usize,
}

impl Tally {
    fn add(&mut self, what: &str, was: &Spread, is: &Spread, less_is_better: bool) {
        match verdict(was, is) {
            Verdict::Same => self.same += 1,
            Verdict::TooFewRounds => self.unknown += 1,
            Verdict::Changed => {
                let change = (is.median / was.median - 1.0) * 100.0;
                let word = if (change < 0.0) == less_is_better { "better" } else { "worse" };
                let (was, is) = (was.median, is.median);
                self.text.push_str(&format!("{word:<6} {what} {was:.2} -> {is:.2} ({change:+.1} %)\n"));
            }
        }
    }

    fn end(self) -> String {
        let Self { mut text, same, unknown } = self;
        text.push_str(&format!("{same} numbers are the same within noise\n"));
        if unknown > 0 {
            text.push_str(&format!(
                "{unknown} lie apart but have fewer than {ENOUGH_ROUNDS} rounds: run more\n"
            ));
        }
        text
    }
}

fn numbers(
    before: &Recording,
    after: &Recording,
    workload: &str,
    client: &str,
    old: &Runs,
    new: &Runs,
) -> Vec<(&'static str, Spread, Spread, bool)> {
    let mut numbers = Vec::new();
    let floor = |recording: &Recording, runs: &Runs| {
        let floor = recording.runs(workload, FLOOR).filter(|_| client != FLOOR)?;
        paired(runs.of(|outcome| outcome.cpu_us), floor.of(|outcome| outcome.cpu_us))
    };
    let ratios = floor(before, old).zip(floor(after, new));
    if let Some((was, is)) = ratios {
        numbers.push(("CPU/floor", was, is, true));
    }
    for (name, number, less_is_better) in NUMBERS {
        if ratios.is_some() && name == "CPU us" {
            continue;
        }
        if let Some((was, is)) = spread(old.of(number)).zip(spread(new.of(number))) {
            numbers.push((name, was, is, less_is_better));
        }
    }
    let counted = |runs: &Runs| runs.allocations.map(|count| Spread { rounds: usize::MAX, ..exact(count) });
    if let Some((was, is)) = counted(old).zip(counted(new)) {
        numbers.push(("allocs", was, is, true));
    }
    numbers
}

/// Allocations are counted, not timed: one run tells.
fn exact(count: f64) -> Spread {
    Spread { low: count, median: count, high: count, rounds: 1 }
}

#[cfg(test)]
mod tests {
    use super::compared;
    use crate::record::tests::recording;

    #[test]
    fn a_change_beyond_noise_is_named_and_noise_is_not() {
        let before = recording([10.0, 10.1, 10.4, 9.8]);
        let mut after = recording([12.0, 12.2, 12.5, 11.9]);
        after.head.commit = "def".into();
        insta::assert_snapshot!(compared(&before, &after));
    }

    #[test]
    fn a_recording_does_not_differ_from_itself() {
        let recording = recording([10.0, 10.1, 10.4, 9.8]);
        assert!(compared(&recording, &recording).ends_with("numbers are the same within noise\n"));
    }
}
