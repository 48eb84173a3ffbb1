//! The region directory beside client-go's region cache: lookups, memory, and changes under readers.
//!
//! `keys` has the regions and the order in which they are looked up, the same for both; `ours` what is measured here, `peer` the
//! program of client-go, which does the same on command. A round measures both, one after the other. [`EXTRA`] takes
//! rows that have no peer: one line each.

mod keys;
mod ours;
mod peer;

use tikv_bench_load::{Draw, Failure};

use crate::arguments::Routing;
use crate::say;
use crate::stats::{Spread, paired, spread};

/// How much CPU one round of a row takes, ms.
const ROUND_MS: u64 = 60;

/// Prepares a row without a peer: what it gives measures one round, in nanoseconds of CPU for an operation.
type Prepare = fn() -> Result<Box<dyn FnMut() -> f64>, Failure>;

/// Rows without a peer.
const EXTRA: &[(&str, Prepare)] = &[];

/// What a lookup row measures.
#[derive(Clone, Copy, Debug)]
struct Lookup {
    name: &'static str,
    draw: Draw,
    threads: usize,
}

const LOOKUPS: [Lookup; 3] = [
    Lookup { name: "random", draw: Draw::Uniform, threads: 1 },
    Lookup { name: "zipf", draw: Draw::Zipf, threads: 1 },
    Lookup { name: "random, 2 threads", draw: Draw::Uniform, threads: 2 },
];

/// A line of the table.
#[derive(Debug, Default)]
struct Row {
    name: String,
    ours: Vec<f64>,
    peer: Vec<f64>,
    unit: &'static str,
}

/// Measures and prints the table.
pub(crate) fn run(plan: &Routing) -> Result<(), Failure> {
    let mut peer = peer::Peer::start();
    if let Err(why) = &peer {
        say(&format!("left out: client-go: {why}"));
    }
    say(&format!(
        "{:<34} {:>10} {:>22} {:>12}  {}",
        "", "ours", "(least-most)", "client-go", "client-go/ours"
    ));
    for &count in &plan.regions {
        let kib = ours::resident_kib()?;
        let directory = ours::directory(count);
        let grown = ours::resident_kib()?.saturating_sub(kib);
        let mut memory = row(format!("{count} regions, memory"), "MiB");
        memory.ours.push(grown as f64 / 1024.0);
        if let Ok(peer) = &mut peer {
            memory.peer.push(peer.fill(count)? / 1024.0);
        }
        // Below this other things of the process weigh more.
        if count >= 10_000 {
            show(&memory);
        }
        let keys = LOOKUPS.map(|lookup| keys::drawn(lookup.draw, count, keys::SEED));
        let mut rows = LOOKUPS.map(|lookup| row(format!("{count} regions, {}", lookup.name), "ns"));
        for _ in 0..plan.rounds {
            for ((lookup, keys), row) in LOOKUPS.iter().zip(&keys).zip(&mut rows) {
                row.ours.push(ours::locate(&directory, keys, lookup.threads, ROUND_MS));
                if let Ok(peer) = &mut peer {
                    row.peer.push(peer.locate(*lookup, ROUND_MS)?);
                }
            }
        }
        rows.iter().for_each(show);
        let mut rows = ours::CHANGES.map(|change| row(format!("{count} regions, {}", change.name()), "ns"));
        for round in 0..plan.rounds {
            for (change, row) in ours::CHANGES.iter().zip(&mut rows) {
                row.ours.push(ours::change(&directory, &keys[0], count, *change, round));
            }
        }
        rows.iter().for_each(show);
    }
    for (name, prepare) in EXTRA {
        let mut measure = prepare()?;
        let mut extra = row((*name).to_owned(), "ns");
        extra.ours = (0..plan.rounds).map(|_| measure()).collect();
        show(&extra);
    }
    Ok(())
}

fn row(name: String, unit: &'static str) -> Row {
    Row { name, unit, ..Row::default() }
}

fn show(row: &Row) {
    if let Some(line) = line(row) {
        say(&line);
    }
}

/// A line; `None` for a row of which nothing was measured.
fn line(row: &Row) -> Option<String> {
    let Spread { median, low, high, .. } = spread(row.ours.iter().copied())?;
    let unit = row.unit;
    let mut line = format!(
        "{:<34} {:>10} {:>22}",
        row.name,
        format!("{median:.1} {unit}"),
        format!("({low:.1}-{high:.1})")
    );
    let ratio = paired(row.peer.iter().copied(), row.ours.iter().copied());
    if let (Some(theirs), Some(ratio)) = (spread(row.peer.iter().copied()), ratio) {
        let theirs = format!("{:.1} {unit}", theirs.median);
        line += &format!(" {theirs:>12}  {}", crate::table::shown(&ratio));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_both_medians_and_the_ratio_of_rounds() {
        let both =
            Row { name: "x".into(), ours: vec![10.0, 20.0, 15.0], peer: vec![40.0, 40.0, 60.0], unit: "ns" };
        let text = line(&both).unwrap();
        assert!(
            text.contains("15.0 ns") && text.contains("40.0 ns") && text.contains("4.00 (2.00-4.00)"),
            "{text}"
        );
        let alone = Row { peer: Vec::new(), ..both };
        assert!(!line(&alone).unwrap().contains("40.0"));
        assert_eq!(line(&Row::default()), None);
    }

    #[test]
    fn every_change_and_lookup_runs_and_finds_its_regions() {
        let directory = ours::directory(100);
        let keys = keys::drawn(Draw::Zipf, 100, 1);
        assert!(ours::locate(&directory, &keys, 2, 1) > 0.0);
        for change in ours::CHANGES {
            assert!(ours::change(&directory, &keys, 100, change, 0) > 0.0);
        }
        assert_eq!(directory.len(), 100);
    }
}
