//! The pure parts of the core alone: one thread, no I/O, nanoseconds of CPU for an operation.
//!
//! `values` has what is plain data (directory, frames, codec, write buffer), `machines` whole operations with a world that
//! answers at once. Each bench is a row of a table: a name, and a function that gives what is to be repeated.

mod machines;
mod values;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use tikv_bench_load::{Failure, cpu};

use crate::arguments::Micro;
use crate::record::{Line, Recorder};
use crate::stats::spread;
use crate::{build, peers, say};

/// How long one round of one bench takes.
const ROUND: Duration = Duration::from_millis(100);

/// What is repeated: it does this many operations at once.
struct Bench {
    operations: u64,
    run: Box<dyn FnMut()>,
}

impl Bench {
    fn new<T>(operations: u64, mut run: impl FnMut() -> T + 'static) -> Self {
        Self { operations, run: Box::new(move || drop(black_box(run()))) }
    }
}

type Row = (&'static str, fn() -> Bench);

/// Measures all rows that were asked for, round by round, so that a slow moment hits all alike.
pub(crate) fn run(micro: &Micro) -> Result<(), Failure> {
    let rows = values::ROWS.iter().chain(machines::ROWS);
    let chosen =
        |name: &str| micro.only.is_empty() || micro.only.iter().any(|only| name.contains(only.as_str()));
    let mut benches = Vec::new();
    for &(name, bench) in rows.filter(|(name, _)| chosen(name)) {
        let mut bench = bench();
        let times = calibrated(&mut bench);
        benches.push((name, bench, times, Vec::new()));
    }
    let path = micro.record.clone().unwrap_or_else(recording);
    let mut recorder = Recorder::create(&path)?;
    recorder.add(Line::Head(peers::head("none".into(), micro.rounds, ROUND.as_secs_f64())))?;
    for round in 0..micro.rounds {
        for (name, bench, times, rounds) in &mut benches {
            let ns = timed(bench, *times);
            recorder.add(Line::Micro { bench: (*name).into(), round, ns })?;
            rounds.push(ns);
        }
    }
    say(&format!("{:<28} {:>12} {:>14}   least-most ns", "", "ns", "operations/s"));
    for (name, _, _, rounds) in benches {
        if let Some(ns) = spread(rounds) {
            let per_second = 1e9 / ns.median;
            say(&format!("{name:<28} {:>12.1} {per_second:>14.0}   {:.1}-{:.1}", ns.median, ns.low, ns.high));
        }
    }
    say(&format!("recorded in {}", path.display()));
    Ok(())
}

fn recording() -> PathBuf {
    build::output().join("micro.jsonl")
}

/// How often it is run in a round.
fn calibrated(bench: &mut Bench) -> u64 {
    let mut times = 1;
    loop {
        let began = cpu();
        (0..times).for_each(|_| (bench.run)());
        let took = cpu() - began;
        if took * 10 >= ROUND {
            return (times as f64 * ROUND.as_secs_f64() / took.as_secs_f64()).ceil() as u64;
        }
        times *= 2;
    }
}

/// Nanoseconds of CPU for an operation: a busy machine does not count.
fn timed(bench: &mut Bench, times: u64) -> f64 {
    let began = cpu();
    (0..times).for_each(|_| (bench.run)());
    (cpu() - began).as_nanos() as f64 / (times * bench.operations) as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bench_runs_and_has_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        // A million regions take seconds in a test build.
        for (name, bench) in
            values::ROWS.iter().chain(machines::ROWS).filter(|(name, _)| !name.contains("1M"))
        {
            let mut bench = bench();
            (bench.run)();
            (bench.run)();
            assert!(bench.operations > 0 && names.insert(name), "{name}");
        }
    }
}
