//! What is measured of the region directory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Clock};

use tikv_bench_load::{Failure, cpu};
use tikv_client_core::codec::Mode;
use tikv_client_core::machine::{Feedback, StaleReason};
use tikv_client_core::region::Directory;
use tikv_client_core::types::{Instant, RegionId, RegionVersion};

use super::keys::{Drawn, region};

/// Lookups between two looks at the clock.
const BURST: usize = 4096;
/// Readers beside a change.
const READERS: usize = 8;
/// Changes of a round.
const CHANGED: usize = 2000;

const NOW: Instant = Instant(1);

/// A directory of `count` regions.
pub(super) fn directory(count: usize) -> Directory {
    let directory = Directory::new(Mode::Raw);
    // As they come from PD: a page at a time.
    let regions: Vec<usize> = (0..count).collect();
    for page in regions.chunks(1024) {
        directory.insert_all(page.iter().map(|n| region(*n, count, 1)), NOW, |_| Instant::FAR);
    }
    directory
}

/// Nanoseconds of CPU for a lookup.
pub(super) fn locate(directory: &Directory, keys: &[Drawn], threads: usize, ms: u64) -> f64 {
    let budget = Duration::from_millis(ms) * u32::try_from(threads).unwrap_or(1);
    let began = cpu();
    let look_up = |thread: usize| {
        let (mut count, mut at) = (0_u64, thread * keys.len() / threads);
        while cpu() - began < budget {
            for _ in 0..BURST {
                let found = directory.locate(std::hint::black_box(&keys[at]), NOW);
                assert!(found.is_some(), "a region is missing");
                at = if at + 1 == keys.len() { 0 } else { at + 1 };
            }
            count += BURST as u64;
        }
        count
    };
    let count: u64 = if threads == 1 {
        look_up(0)
    } else {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || look_up(thread))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
        })
    };
    (cpu() - began).as_nanos() as f64 / count as f64
}

/// A change of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A newer version of a region is put in; nobody reads.
    Insert,
    /// A region is said to be out of date, while others are looked up.
    Invalidate,
    /// A newer version of a region is put in, while others are looked up.
    Reload,
}

pub(super) const CHANGES: [Change; 3] = [Change::Insert, Change::Invalidate, Change::Reload];

impl Change {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Invalidate => "invalidate, 8 readers",
            Self::Reload => "insert, 8 readers",
        }
    }
}

/// Nanoseconds for a change: of CPU without readers, else of the clock, least of bursts, because readers take the cores.
pub(super) fn change(
    directory: &Directory,
    keys: &[Drawn],
    count: usize,
    change: Change,
    round: usize,
) -> f64 {
    let changed = CHANGED.min(count);
    let stride = (count / changed).max(1);
    // Each version is newer than all before.
    let version = |directory: &Directory, number: usize| {
        let entry = directory.by_id(RegionId(number as u64 + 1), NOW);
        entry.map_or(1, |entry| entry.version().version)
    };
    let versions: Vec<(usize, u64)> = (0..changed)
        .map(|at| (at * stride + round) % count)
        .map(|number| (number, version(directory, number)))
        .collect();
    let newer: Vec<_> =
        versions.iter().map(|(number, version)| region(*number, count, version + 1)).collect();
    let stale = |(number, version): &(usize, u64)| Feedback::Stale {
        region: RegionVersion { id: RegionId(*number as u64 + 1), version: *version, conf_ver: 1 },
        why: StaleReason::Other,
    };
    match change {
        Change::Insert => {
            let began = cpu();
            for found in newer {
                directory.insert(found, NOW, Instant::FAR);
            }
            (cpu() - began).as_nanos() as f64 / changed as f64
        }
        Change::Invalidate => {
            let feedback: Vec<Feedback> = versions.iter().map(stale).collect();
            let ns = beside_readers(directory, keys, feedback, |feedback| {
                directory.apply(&feedback, NOW);
            });
            for found in newer {
                directory.insert(found, NOW, Instant::FAR);
            }
            ns
        }
        Change::Reload => beside_readers(directory, keys, newer, |found| {
            directory.insert(found, NOW, Instant::FAR);
        }),
    }
}

fn beside_readers<T>(
    directory: &Directory,
    keys: &[Drawn],
    changes: Vec<T>,
    mut change: impl FnMut(T),
) -> f64 {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let over = &over;
            scope.spawn(move || {
                let mut keys = keys.iter().cycle().skip(reader * keys.len() / READERS);
                while !over.load(Ordering::Relaxed) {
                    for key in keys.by_ref().take(64) {
                        // Of a region that was just invalidated there is none.
                        std::hint::black_box(directory.locate(key, NOW));
                    }
                }
            });
        }
        let mut least = f64::MAX;
        let mut changes = changes.into_iter();
        loop {
            let burst: Vec<T> = changes.by_ref().take(50).collect();
            let count = burst.len();
            if count == 0 {
                break;
            }
            let began = Clock::now();
            burst.into_iter().for_each(&mut change);
            least = least.min(began.elapsed().as_nanos() as f64 / count as f64);
        }
        over.store(true, Ordering::Relaxed);
        least
    })
}

/// The process's memory now.
pub(super) fn resident_kib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
