//! The keys of a benchmark: what is stored, and in which order it is read.

use crate::task::{Draw, Task};

/// Draws that are made before anything is measured; callers go round in them.
pub const DRAWS: usize = 1 << 16;

/// How many keys commits write to; more than are written while a lock lives, so that no caller meets its own.
const FRESH: u64 = 1_000_000;

/// Between the keys of one batch; coprime to the numbers of keys that are used.
const STRIDE: u32 = 97;

/// Spreads the ranks of a Zipf draw over the keys; coprime to the numbers of keys that are used.
const SCATTER: u64 = 7919;

/// Parts of each key space that are regions of their own.
pub const REGIONS: u32 = 3;

/// Which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "all that a benchmark stores")]
pub enum Space {
    /// Raw keys, read and written.
    Raw,
    /// Transactional keys that are read.
    Txn,
    /// Transactional keys that are written.
    Fresh,
}

impl Space {
    /// The key of a number.
    #[must_use]
    pub fn key(self, value_bytes: u32, number: u64) -> Vec<u8> {
        let space = match self {
            Self::Raw => "raw",
            Self::Txn => "txn",
            Self::Fresh => "new",
        };
        format!("bench/{space}/{value_bytes:06}/{number:08}").into_bytes()
    }

    /// Where the regions of this space begin.
    #[must_use]
    pub fn splits(self, value_bytes: u32, keys: u32) -> Vec<Vec<u8>> {
        let keys = if self == Self::Fresh { FRESH } else { u64::from(keys) };
        let third = keys / u64::from(REGIONS);
        (1..u64::from(REGIONS)).map(|part| self.key(value_bytes, part * third)).collect()
    }
}

/// What a task's callers read and write.
#[derive(Debug)]
pub struct Keys {
    value_bytes: u32,
    run: u64,
    keys: Vec<Vec<u8>>,
    draws: Vec<u32>,
    value: Vec<u8>,
}

impl Keys {
    /// The keys of a task in one space.
    #[must_use]
    pub fn new(task: &Task, space: Space) -> Self {
        Self {
            value_bytes: task.value_bytes,
            run: task.run,
            keys: (0..u64::from(task.keys)).map(|number| space.key(task.value_bytes, number)).collect(),
            draws: draws(task.draw, task.keys, task.seed),
            value: vec![b'v'; task.value_bytes as usize],
        }
    }

    /// Which key the `turn`-th operation of `caller` begins with.
    #[must_use]
    pub fn draw(&self, caller: u32, callers: u32, turn: u64) -> u32 {
        let from = u64::from(caller) * (DRAWS as u64 / u64::from(callers.max(1)));
        self.draws[((from + turn) % DRAWS as u64) as usize]
    }

    /// One key.
    #[must_use]
    pub fn key(&self, number: u32) -> &[u8] {
        &self.keys[number as usize % self.keys.len()]
    }

    /// What every key holds.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// `many` keys, all different, over all regions.
    pub fn batch(&self, number: u32, many: u32) -> impl Iterator<Item = &[u8]> {
        (0..many).map(move |nth| self.key(number + STRIDE * nth))
    }

    /// A range of `many` keys that lies in one region.
    #[must_use]
    pub fn range(&self, number: u32, many: u32) -> (&[u8], &[u8]) {
        let keys = self.keys.len() as u32;
        let third = keys / REGIONS;
        // What is behind the last full region belongs to it.
        let region = (number / third).min(REGIONS - 1);
        let end = if region == REGIONS - 1 { keys } else { (region + 1) * third };
        // The range's end is a key, too.
        let from = number.min(end.saturating_sub(many + 1));
        (self.key(from), self.key(from + many))
    }

    /// `many` keys that no other operation writes, over all regions.
    #[must_use]
    pub fn fresh(&self, caller: u32, callers: u32, turn: u64, many: u32) -> Vec<Vec<u8>> {
        let slots = FRESH / u64::from(many);
        let slot = (u64::from(caller) + u64::from(callers) * turn) % slots;
        (0..u64::from(many))
            .map(|nth| {
                // Single keys go round the regions, too.
                let number = if many == 1 { slot * SCATTER % FRESH } else { slot + slots * nth };
                let mut key = Space::Fresh.key(self.value_bytes, number);
                key.extend_from_slice(format!("/{:x}", self.run).as_bytes());
                key
            })
            .collect()
    }

    /// A checksum of all draws (FNV-1a over their little-endian bytes).
    #[must_use]
    pub fn checksum(&self) -> String {
        let bytes = self.draws.iter().flat_map(|draw| draw.to_le_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

/// The order in which keys are read. Only sums, products of integers and divisions: the same in every language.
#[must_use]
pub fn draws(draw: Draw, keys: u32, seed: u64) -> Vec<u32> {
    let mut random = SplitMix(seed);
    match draw {
        Draw::Uniform => {
            (0..DRAWS).map(|_| ((u128::from(random.next()) * u128::from(keys)) >> 64) as u32).collect()
        }
        Draw::Zipf => {
            let mut sum = 0.0;
            let up_to: Vec<f64> = (1..=keys)
                .map(|rank| {
                    sum += 1.0 / f64::from(rank);
                    sum
                })
                .collect();
            (0..DRAWS)
                .map(|_| {
                    let at = (random.next() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
                    let rank = up_to.partition_point(|&up_to| up_to <= at).min(keys as usize - 1);
                    (rank as u64 * SCATTER % u64::from(keys)) as u32
                })
                .collect()
        }
    }
}

/// Sebastiano Vigna's SplitMix64.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::task::Action;

    fn keys(draw: Draw, keys: u32) -> Keys {
        let task = Task {
            pd: Vec::new(),
            action: Action::RawGet,
            callers: 1,
            value_bytes: 16,
            draw,
            keys,
            seed: 7,
            run: 1,
            warm_up: 0.0,
            seconds: 1.0,
        };
        Keys::new(&task, Space::Txn)
    }

    fn region(space: Space, count: u32, key: &[u8]) -> usize {
        space.splits(16, count).iter().filter(|split| split.as_slice() <= key).count()
    }

    /// The Go program has the same numbers in its test.
    #[test]
    fn draws_are_the_same_in_every_language() {
        assert_eq!(keys(Draw::Uniform, 10_000).checksum(), "bd40b8a5f72dff4a");
        assert_eq!(keys(Draw::Zipf, 10_000).checksum(), "e3bd408dc9f8dc21");
    }

    #[test]
    fn a_zipf_draw_prefers_few_keys_and_reaches_many() {
        let keys = keys(Draw::Zipf, 10_000);
        let first = keys.draws.iter().filter(|&&draw| draw == 0).count();
        let expected = DRAWS as f64 / (1..=10_000).map(|rank| 1.0 / f64::from(rank)).sum::<f64>();
        assert!((first as f64 / expected - 1.0).abs() < 0.1, "{first} of about {expected}");
        assert!(keys.draws.iter().collect::<BTreeSet<_>>().len() > 5_000);
    }

    #[test]
    fn a_batch_has_different_keys_of_all_regions() {
        for count in [300, 10_000] {
            let keys = keys(Draw::Uniform, count);
            for number in [0, 1, count - 1] {
                let batch: BTreeSet<&[u8]> = keys.batch(number, 100).collect();
                assert_eq!(batch.len(), 100);
                let regions: BTreeSet<_> = batch.iter().map(|key| region(Space::Txn, count, key)).collect();
                assert_eq!(regions.len(), REGIONS as usize);
            }
        }
    }

    #[test]
    fn a_range_has_its_keys_in_one_region() {
        let keys = keys(Draw::Uniform, 10_000);
        let (third, two_thirds) = (3_333, 6_666);
        let near = |bound: u32| bound.saturating_sub(102)..(bound + 3).min(10_000);
        for number in near(0).chain(near(third)).chain(near(two_thirds)).chain(near(10_000)) {
            let (from, to) = keys.range(number, 100);
            let within = keys.keys.iter().filter(|key| (from..to).contains(&key.as_slice()));
            let within: Vec<_> = within.collect();
            assert_eq!(within.len(), 100, "from {number}");
            assert_eq!(region(Space::Txn, 10_000, from), region(Space::Txn, 10_000, within[99]));
        }
    }

    #[test]
    fn no_two_commits_of_a_run_write_one_key() {
        let keys = keys(Draw::Uniform, 10_000);
        for many in [1, 10] {
            let mut seen = BTreeSet::new();
            for caller in 0..64 {
                for turn in 0..50 {
                    let fresh = keys.fresh(caller, 64, turn, many);
                    if many == 10 {
                        let regions: BTreeSet<_> =
                            fresh.iter().map(|key| region(Space::Fresh, 10_000, key)).collect();
                        assert_eq!(regions.len(), REGIONS as usize);
                    }
                    assert!(fresh.into_iter().all(|key| seen.insert(key)));
                }
            }
        }
    }
}
