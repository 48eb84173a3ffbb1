//! The directory against a naive one: a plain list, searched from end to end.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::machine::report::Feedback;
use crate::types::Key;

/// What can happen to a directory.
#[derive(Clone, Debug)]
enum Step {
    Insert(RegionInfo),
    Successors(RegionVersion, Vec<RegionInfo>),
    Stale(u64, StaleReason),
    Sweep(Key, usize),
}

#[derive(Debug, Default)]
struct Model(Vec<(RegionInfo, bool)>);

fn overlap(a: &KeyRange, b: &KeyRange) -> bool {
    (a.end.is_empty() || b.start < a.end) && (b.end.is_empty() || a.start < b.end)
}

impl Model {
    fn insert(&mut self, new: RegionInfo) -> bool {
        let RegionVersion { id, version, conf_ver } = new.version;
        let newer = self.0.iter().any(|(old, _)| {
            let v = old.version;
            (v.id == id && (v.version > version || v.conf_ver > conf_ver))
                || (overlap(&old.range, &new.range) && v.version > version)
        });
        if new.range.is_empty() || newer {
            return false;
        }
        self.0.retain(|(old, _)| old.version.id != id && !overlap(&old.range, &new.range));
        self.0.push((new, true));
        self.0.sort_by(|(a, _), (b, _)| a.range.start.cmp(&b.range.start));
        true
    }

    fn stale(&mut self, is: impl Fn(RegionVersion) -> bool) {
        self.0.iter_mut().filter(|(info, _)| is(info.version)).for_each(|(_, usable)| *usable = false);
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Insert(info) => {
                self.insert(info.clone());
            }
            Step::Successors(old, new) if lags(*old, new) => {}
            Step::Successors(old, new) => {
                for info in new {
                    self.insert(info.clone());
                }
                if new.iter().all(|info| info.version != *old) {
                    self.stale(|version| version == *old);
                }
            }
            Step::Stale(id, _) => self.stale(|version| version.id.0 == *id),
            Step::Sweep(from, limit) => {
                let mut left = *limit;
                self.0.retain(|(info, usable)| {
                    let looked_at = info.range.start >= *from && left > 0;
                    left -= usize::from(looked_at);
                    !looked_at || *usable
                });
            }
        }
    }
}

fn apply(directory: &Directory, step: &Step) {
    match step {
        Step::Insert(info) => drop(put(directory, info.clone())),
        Step::Successors(old, new) => {
            directory.apply(&Feedback::Regions { old: *old, new: new.clone().into() }, T0);
        }
        Step::Stale(id, why) => {
            let found = directory.entries().into_iter().find(|entry| entry.version().id.0 == *id);
            if let Some(entry) = found {
                directory.apply(&Feedback::Stale { region: entry.version(), why: *why }, T0);
            }
        }
        Step::Sweep(from, limit) => drop(directory.sweep(from, *limit, T0, |_| false)),
    }
}

/// Few keys, some with a long common beginning, so that regions meet and prefixes tie.
fn any_key() -> impl Strategy<Value = Key> {
    let letters = proptest::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(b'b'), Just(0xff)], 0..4);
    let long =
        letters.clone().prop_map(|tail| Key::from([b"t\x80\0\0\0\0\0\0\x2a_r\x80\0\0", &tail[..]].concat()));
    prop_oneof![2 => letters.prop_map(Key::from), 1 => long]
}

fn any_region() -> impl Strategy<Value = RegionInfo> {
    (1..25_u64, 1..6_u64, 1..4_u64, any_key(), any_key()).prop_map(|(id, epoch, conf_ver, a, b)| {
        let (start, end) = if b.is_empty() || a < b { (a, b) } else { (b, a) };
        let info = region(id, epoch, "", "");
        RegionInfo { version: version(id, epoch, conf_ver), range: KeyRange { start, end }, ..info }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let successors = (1..25_u64, 1..6_u64, 1..4_u64, proptest::collection::vec(any_region(), 0..4));
    prop_oneof![
        8 => any_region().prop_map(Step::Insert),
        2 => successors.prop_map(|(id, v, conf_ver, new)| Step::Successors(version(id, v, conf_ver), new)),
        1 => (1..25_u64).prop_map(|id| Step::Stale(id, StaleReason::Other)),
        1 => (any_key(), 0..9_usize).prop_map(|(from, limit)| Step::Sweep(from, limit)),
    ]
}

fn assert_same(directory: &Directory, model: &Model, keys: &[Key]) {
    let entries = directory.entries();
    let states: Vec<_> = entries
        .iter()
        .map(|entry| (entry.version(), entry.range().clone(), entry.stale().is_none()))
        .collect();
    let expected: Vec<_> =
        model.0.iter().map(|(info, usable)| (info.version, info.range.clone(), *usable)).collect();
    assert_eq!(states, expected);
    assert_eq!(directory.len(), entries.len(), "both orders have the same regions");
    for pair in entries.windows(2) {
        let [a, b] = pair else { continue };
        assert!(!a.range().end.is_empty() && a.range().end <= b.range().start, "{a:?} overlaps {b:?}");
    }
    for (info, usable) in &model.0 {
        assert_eq!(directory.span(info.version).as_ref(), Some(&info.range));
        assert_eq!(directory.by_id(info.version.id, T0).is_some(), *usable);
    }
    let bounds = model.0.iter().flat_map(|(info, _)| [&info.range.start, &info.range.end]);
    for key in keys.iter().chain(bounds.step_by(model.0.len() / 50 + 1)) {
        let holds = |info: &RegionInfo| info.range.contains(key.as_slice());
        let expected =
            model.0.iter().find(|(info, usable)| *usable && holds(info)).map(|(info, _)| info.version);
        assert_eq!(directory.locate(key.as_slice(), T0).map(|located| located.region), expected, "{key:?}");
        let ends = |KeyRange { start, end }: &KeyRange| match (key.is_empty(), end.is_empty()) {
            (_, true) => key.is_empty() || start < key,
            (true, false) => false,
            (false, false) => start < key && key <= end,
        };
        let below =
            model.0.iter().find(|(info, usable)| *usable && ends(&info.range)).map(|(info, _)| info.version);
        let located = directory.locate_below(key.as_slice(), T0).map(|located| located.region);
        assert_eq!(located, below, "below {key:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_directory_is_a_list_of_disjoint_regions(
        steps in proptest::collection::vec(any_step(), 1..60),
        keys in proptest::collection::vec(any_key(), 1..20),
    ) {
        let (directory, mut model) = (directory([]), Model::default());
        for step in &steps {
            apply(&directory, step);
            model.apply(step);
            assert_same(&directory, &model, &keys);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Enough regions that chunks split and join.
    #[test]
    fn many_regions_come_and_go(seed: u64, shared in any_key(), batch in 1..400_usize) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let bound = |n: u64| Key::from([shared.as_slice(), format!("{n:05}").as_bytes()].concat());
        let info = |n: u64, epoch| RegionInfo { range: KeyRange::new(bound(n), bound(n + 1)), ..region(n, epoch, "", "") };
        let mut ids: Vec<u64> = (1..=1500).collect();
        let (directory, mut model) = (directory([]), Model::default());
        rng.shuffle(&mut ids);
        for some in ids.chunks(batch) {
            let found = some.iter().map(|&n| Found::from(info(n, 1)));
            directory.insert_all(found, T0, |version| expiry(version, T0));
            some.iter().for_each(|&n| assert!(model.insert(info(n, 1))));
        }
        assert_same(&directory, &model, &[]);
        // Merges of neighbours thin the list out, from one side or everywhere.
        for _ in 0..40 {
            let from = rng.u64(1..1500);
            let to = (from + rng.u64(1..200)).min(1501);
            let merged = RegionInfo { range: KeyRange::new(bound(from), bound(to)), ..region(from, 2, "", "") };
            prop_assert_eq!(put(&directory, merged.clone()).is_ok(), model.insert(merged));
        }
        let keys: Vec<Key> = (0..1503).step_by(7).map(bound).collect();
        assert_same(&directory, &model, &keys);
    }
}

/// Readers see the region before or after a split and merge, never a gap, and never a wrong region.
#[test]
fn readers_are_never_without_an_answer_while_a_writer_changes_the_table() {
    let bounds: Vec<String> = (0..=600).map(|n| format!("{n:04}")).collect();
    let directory = directory(bounds.windows(2).zip(1..).map(|(pair, id)| region(id, 1, &pair[0], &pair[1])));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..2_u64 {
            let (directory, bounds, done) = (&directory, &bounds, &done);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(reader);
                while !done.load(Ordering::Relaxed) {
                    let key = rng.choice(&bounds[..600]).unwrap().as_bytes();
                    let entry = directory.region(key, T0).unwrap();
                    assert!(entry.range().contains(key));
                }
            });
        }
        for epoch in 2..40_u64 {
            for n in (0..600).step_by(37) {
                let wide = RegionInfo {
                    range: KeyRange::new(&*bounds[n], &*bounds[n + 1]),
                    ..region(n as u64 + 1, epoch, "", "")
                };
                directory.apply(
                    &Feedback::Regions { old: version(n as u64 + 1, epoch - 1, 1), new: [wide].into() },
                    T0,
                );
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
