use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::codec::memcomparable::encode;
use crate::machine::{Answer, Completion, Fault, Feedback, Input};
use crate::pd::tests::world::World;
use crate::region::loader::{LoaderCommand, RegionLoader};
use crate::types::{Instant, Key};

#[derive(Clone, Debug)]
enum Step {
    Load {
        place: Place,
        deadline_ms: u64,
    },
    Range {
        range: KeyRange,
        limit: u32,
        deadline_ms: u64,
    },
    Withdraw(usize),
    /// PD answers a question; how: 0 hole, 1 fault, 2 the wrong region, else right.
    Answer {
        which: usize,
        how: u8,
    },
    Pass {
        ms: u64,
    },
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(b'b'), Just(0xff)], 0..4)
}

/// Bounds as a cluster has them that is used raw and transactionally.
fn layout() -> impl Strategy<Value = Layout> {
    let bound = prop_oneof![key(), key().prop_map(|key| encode(&key))].prop_map(Bytes::from);
    proptest::collection::vec(bound, 0..8).prop_map(Layout::new)
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        3 => key().prop_map(|key| Place::Holding(key.into())),
        2 => key().prop_map(|key| Place::Below(key.into())),
        1 => (1..10_u64).prop_map(|id| Place::Id(RegionId(id))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (place(), 0..3000_u64).prop_map(|(place, deadline_ms)| Step::Load { place, deadline_ms }),
        2 => (key(), key(), 0..4_u32, 0..3000_u64).prop_map(|(start, end, limit, deadline_ms)| {
            Step::Range { range: KeyRange::new(start, end), limit, deadline_ms }
        }),
        1 => any::<usize>().prop_map(Step::Withdraw),
        6 => (any::<usize>(), 0..12_u8).prop_map(|(which, how)| Step::Answer { which, how }),
        2 => (0..800_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Raw), Just(Mode::Txn)]
}

#[derive(Debug)]
enum Owed {
    Region(Place),
    Range(KeyRange, u32),
}

/// A loader, the cluster it looks at, and what every asker is owed.
struct Play {
    world: World<RegionLoader>,
    layout: Layout,
    mode: Mode,
    count: u32,
    open: BTreeMap<u32, (Instant, Owed)>,
    /// What the directory was told.
    told: BTreeSet<RegionId>,
}

impl Play {
    fn new(layout: Layout, mode: Mode, seed: u64) -> Self {
        let mut config = steps::unswept(mode, 600, 60);
        config.at_work = 3;
        let world = World::new(RegionLoader::new(config), seed);
        Self { world, layout, mode, count: 0, open: BTreeMap::new(), told: BTreeSet::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Load { place, deadline_ms } => {
                let deadline = self.owe(deadline_ms, Owed::Region(place.clone()));
                let asker = self.world.asker(self.count);
                self.world.turn(Input::Command(LoaderCommand::Load { place, asker, deadline }));
            }
            Step::Range { range, limit, deadline_ms } => {
                let deadline = self.owe(deadline_ms, Owed::Range(range.clone(), limit));
                let asker = self.world.asker(self.count);
                self.world.turn(Input::Command(LoaderCommand::LoadRange { range, limit, asker, deadline }));
            }
            Step::Withdraw(which) => {
                let Some(&n) = self.open.keys().nth(which % self.open.len().max(1)) else { return };
                self.open.remove(&n);
                let who = self.world.withdrawn(n);
                self.world.turn(Input::Command(LoaderCommand::Withdraw(who)));
            }
            Step::Answer { which, how } => self.answer(which, how),
            Step::Pass { ms } => self.world.pass(Duration::from_millis(ms)),
        }
    }

    fn owe(&mut self, deadline_ms: u64, owed: Owed) -> Instant {
        self.count += 1;
        let deadline = self.world.now + Duration::from_millis(deadline_ms);
        self.open.insert(self.count, (deadline, owed));
        deadline
    }

    fn answer(&mut self, which: usize, how: u8) {
        if self.world.queries.is_empty() {
            return;
        }
        let (ticket, query, _) = self.world.queries.remove(which % self.world.queries.len());
        let completion = match (how, self.layout.answer(&query)) {
            (0, PdReply::Regions(all)) => PdReply::Regions(all.into_iter().skip(1).collect()),
            (0, _) => PdReply::Region(None),
            (2, PdReply::Region(_)) => PdReply::Region(self.layout.0.first().cloned()),
            (_, reply) => reply,
        };
        let completion = match how {
            1 => Completion::Fault(Fault::Overloaded),
            _ => Completion::Answer(Answer::Pd(completion)),
        };
        self.world.done(ticket, completion);
    }

    /// Looks at what was answered: once, by the deadline, right, and told to the directory before.
    fn check(&mut self) -> Result<(), TestCaseError> {
        for feedback in std::mem::take(&mut self.world.reports) {
            let Feedback::Loaded { regions, .. } = feedback else { panic!("{feedback:?}") };
            for info in regions.iter() {
                let id = info.version.id;
                let truth = self.layout.0.iter().find(|info| info.version.id == id).unwrap();
                let range = self.mode.ceil_range(truth.range.start.as_slice(), truth.range.end.as_slice());
                prop_assert_eq!(Some(&info.range), range.as_ref());
                self.told.insert(id);
            }
        }
        for (n, completion) in self.world.answers() {
            let Some((deadline, owed)) = self.open.remove(&n) else {
                return Err(TestCaseError::fail("answered twice"));
            };
            match (completion, owed) {
                (Completion::Answer(Answer::Region(got)), Owed::Region(place)) => {
                    let truth = self.layout.truth(&place, self.mode);
                    prop_assert_eq!(Some(got), truth.map(located), "{:?}", place);
                    prop_assert!(self.told.contains(&got.region.id) || matches!(place, Place::Id(_)));
                }
                (Completion::Answer(Answer::Regions(got)), Owed::Range(range, limit)) => {
                    self.check_range(&got, &range, limit)?;
                }
                (Completion::Fault(Fault::Interrupted(_)), _) => prop_assert!(self.world.now >= deadline),
                (Completion::Fault(Fault::Refused(_) | Fault::Overloaded), _) => {}
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }
        prop_assert!(self.open.values().all(|(deadline, _)| *deadline >= self.world.now));
        Ok(())
    }

    fn check_range(
        &self,
        got: &[(Located, KeyRange)],
        range: &KeyRange,
        limit: u32,
    ) -> Result<(), TestCaseError> {
        if range.is_empty() || limit == 0 {
            prop_assert!(got.is_empty());
            return Ok(());
        }
        prop_assert!(!got.is_empty() && got.len() <= usize::try_from(limit).unwrap());
        prop_assert!(got[0].1.contains(range.start.as_slice()));
        for pair in got.windows(2) {
            prop_assert_eq!(&pair[0].1.end, &pair[1].1.start);
        }
        for (located, keys) in got {
            prop_assert!(self.told.contains(&located.region.id));
            prop_assert!(!keys.is_empty());
            let place = Place::Holding(keys.start.clone());
            prop_assert_eq!(Some(*located), self.layout.truth(&place, self.mode).map(super::located));
        }
        Ok(())
    }
}

proptest! {
    /// Whatever PD does: each asker that stays is answered once, by its deadline, with the right region.
    #[test]
    fn everyone_is_answered_once_and_right(
        layout in layout(), mode in mode(), steps in proptest::collection::vec(step(), 0..80), seed: u64,
    ) {
        let mut play = Play::new(layout, mode, seed);
        for step in steps {
            play.take(step);
            play.check()?;
        }
        play.take(Step::Pass { ms: 10_000 });
        play.check()?;
        prop_assert!(play.open.is_empty(), "{:?} wait: {:#?}", play.open, play.world.service);
        prop_assert_eq!(play.world.service.left(), 0);
    }

    /// When PD is well, every place that there is is found, and no region is asked for more often than needed.
    #[test]
    fn every_place_is_found(layout in layout(), mode in mode(), places in proptest::collection::vec(place(), 1..20)) {
        let mut play = Play::new(layout, mode, 1);
        let mut owed = BTreeMap::new();
        for place in places {
            play.take(Step::Load { place: place.clone(), deadline_ms: 60_000 });
            owed.insert(play.count, place);
        }
        let mut questions = 0;
        while !play.world.queries.is_empty() {
            play.answer(0, 9);
            questions += 1;
        }
        let answers: BTreeMap<u32, Completion> = play.world.answers().into_iter().collect();
        for (n, place) in &owed {
            match (play.layout.truth(place, mode), &answers.get(n)) {
                (Some(info), Some(Completion::Answer(Answer::Region(got)))) => prop_assert_eq!(*got, located(info)),
                (None, Some(Completion::Fault(Fault::Refused(_)))) => {
                    prop_assert!(matches!(place, Place::Id(_)), "{place:?}");
                }
                (truth, answer) => prop_assert!(false, "{place:?}: {answer:?}, wanted {truth:?}"),
            }
        }
        let distinct: BTreeSet<&Place> = owed.values().collect();
        // A place below may lead over every region.
        prop_assert!(questions <= distinct.len() * (play.layout.0.len() + 1), "{questions}");
        prop_assert_eq!(play.world.service.left(), 0);
    }

    /// Misses of one region cost one question, however many keys they are of and whoever asks.
    #[test]
    fn misses_of_one_region_join(keys in proptest::collection::vec(key(), 4..40), mode in mode()) {
        let mut play = Play::new(Layout::new(Vec::new()), mode, 1);
        for key in &keys {
            let place = Place::Holding(Key::from(key.clone()));
            play.take(Step::Load { place, deadline_ms: 60_000 });
        }
        let distinct: BTreeSet<_> = keys.iter().collect();
        prop_assert_eq!(play.world.queries.len(), distinct.len().min(3));
        play.answer(0, 9);
        play.check()?;
        prop_assert!(play.open.is_empty());
        prop_assert_eq!(play.world.service.left(), 0);
    }
}
