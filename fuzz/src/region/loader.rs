//! The region loader against a PD with holes, old regions and other answers.
//!
//! Laws, beside those of every service: what is answered was reported before; the region answered holds the place asked for;
//! regions of a range are in order, without a hole, from its start on, and no more than wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tikv_client_core::codec::Mode;
use tikv_client_core::error::ServiceError;
use tikv_client_core::machine::{
    Answer, Completion, Fault, Feedback, Input, Interrupt, Place, TransportClass, TransportFault,
};
use tikv_client_core::pd::{PdQuery, PdReply};
use tikv_client_core::region::loader::{LoaderCommand, LoaderConfig, RegionLoader};
use tikv_client_core::types::{Key, KeyRange, RegionInfo, RegionVersion};

use super::{info, range};
use crate::choices::Choices;
use crate::service::Stage;

enum Asked {
    Place(Place),
    Range(KeyRange, u32),
}

struct Play {
    stage: Stage<RegionLoader>,
    mode: Mode,
    asked: BTreeMap<u32, Asked>,
    /// Every range that a version was reported with.
    told: BTreeMap<RegionVersion, Vec<KeyRange>>,
}

impl Play {
    /// A region as PD has it: in the form of its keys.
    fn region(&self, choices: &mut Choices<'_>, around: &[u8]) -> RegionInfo {
        let mut info = info(choices);
        let wire = |key: &Key| if key.is_empty() { Bytes::new() } else { self.mode.encode_key(key) };
        info.range = KeyRange { start: wire(&info.range.start).into(), end: wire(&info.range.end).into() };
        match choices.below(8) {
            // It holds what was asked for.
            0..4 => info.range.start = Key::EMPTY,
            4 => info.range = KeyRange { start: around.into(), end: Key::EMPTY },
            5 => info.range = KeyRange { start: Key::EMPTY, end: around.into() },
            6 => info.range.start = choices.key(),
            _ => {}
        }
        info
    }

    /// Regions side by side from `start` on; now and then one is left out, or is of another time.
    fn row(&self, start: &Bytes, choices: &mut Choices<'_>) -> Vec<RegionInfo> {
        let mut bounds: Vec<Bytes> =
            (0..choices.below(5)).map(|_| self.mode.encode_key(&choices.key())).collect();
        bounds.push(start.clone());
        bounds.sort();
        bounds.dedup();
        bounds.push(Bytes::new());
        let mut regions: Vec<RegionInfo> = bounds
            .windows(2)
            .map(|pair| {
                let range = KeyRange { start: pair[0].clone().into(), end: pair[1].clone().into() };
                RegionInfo { range, ..info(choices) }
            })
            .collect();
        if choices.one_in(3) {
            drop(choices.take_of(&mut regions));
        }
        if choices.one_in(4) {
            let at = choices.below(regions.len() + 1);
            regions.insert(at, self.region(choices, start));
        }
        regions
    }

    fn reply(&self, query: &PdQuery, choices: &mut Choices<'_>) -> Completion {
        let pd = |reply| Completion::Answer(Answer::Pd(reply));
        match choices.below(10) {
            0 => Completion::Fault(Fault::Interrupted(Interrupt::Closed)),
            1 => Completion::Fault(Fault::Transport(TransportFault::new(TransportClass::Lost, "pd"))),
            2 => {
                let message = "no".into();
                Completion::Fault(Fault::Refused(ServiceError::Pd { address: "a:1".into(), message }))
            }
            3 => pd(PdReply::Store(None)),
            _ => match query {
                PdQuery::Regions { start, .. } => pd(PdReply::Regions(self.row(start, choices))),
                PdQuery::Region { key } | PdQuery::PreviousRegion { key } => {
                    let region = (!choices.one_in(5)).then(|| self.region(choices, key));
                    pd(PdReply::Region(region))
                }
                _ => {
                    let region = (!choices.one_in(5)).then(|| self.region(choices, b""));
                    pd(PdReply::Region(region))
                }
            },
        }
    }

    fn ask(&mut self, choices: &mut Choices<'_>) {
        let deadline = self.stage.now + Duration::from_millis(u64::from(choices.any::<u8>()) * 20);
        let (n, asker) = self.stage.asker(deadline);
        let command = if choices.one_in(3) {
            let (range, limit) = (range(choices), choices.below(6) as u32);
            self.asked.insert(n, Asked::Range(range.clone(), limit));
            LoaderCommand::LoadRange { range, limit, asker, deadline }
        } else {
            let place = match choices.below(5) {
                0..3 => Place::Holding(choices.key()),
                3 => Place::Below(choices.key()),
                _ => Place::Id(super::version(choices).id),
            };
            self.asked.insert(n, Asked::Place(place.clone()));
            LoaderCommand::Load { place, asker, deadline }
        };
        self.stage.turn(Input::Command(command));
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0..4 => self.ask(choices),
            4 => {
                if let Some(n) = self.stage.some_waiting(choices.below(256)) {
                    let who = self.stage.withdraw(n);
                    self.stage.turn(Input::Command(LoaderCommand::Withdraw(who)));
                }
            }
            5..10 => {
                if let Some((ticket, query, _)) = choices.take_of(&mut self.stage.queries) {
                    let completion = self.reply(&query, choices);
                    self.stage.turn(Input::Done(ticket, completion));
                }
            }
            _ => self.stage.pass(Duration::from_millis(choices.any::<u8>().into())),
        }
        self.check();
    }

    fn check(&mut self) {
        for feedback in std::mem::take(&mut self.stage.reports) {
            let Feedback::Loaded { regions, .. } = feedback else { panic!("a loader reports {feedback:?}") };
            for info in &*regions {
                self.told.entry(info.version).or_default().push(info.range.clone());
            }
        }
        for (n, deadline, completion) in self.stage.answers() {
            let asked = self.asked.remove(&n).expect("whoever waits has asked");
            match (asked, completion) {
                // A region without keys of this space is found by its id, and not reported.
                (Asked::Place(Place::Id(id)), Completion::Answer(Answer::Region(located))) => {
                    assert_eq!(located.region.id, id);
                }
                (Asked::Place(place), Completion::Answer(Answer::Region(located))) => {
                    let told = self
                        .told
                        .get(&located.region)
                        .unwrap_or_else(|| panic!("{located:?} was not reported"));
                    let fits = |range: &KeyRange| match &place {
                        Place::Holding(key) => range.contains(key.as_slice()),
                        Place::Below(key) if key.is_empty() => range.end.is_empty(),
                        Place::Below(key) => {
                            range.start < *key && (range.end.is_empty() || *key <= range.end)
                        }
                        other => panic!("nobody asks for {other:?}"),
                    };
                    assert!(told.iter().any(fits), "{place:?} is not of {told:?}");
                }
                (Asked::Range(range, limit), Completion::Answer(Answer::Regions(regions))) => {
                    assert!(regions.len() <= limit as usize, "more regions than wanted");
                    let mut from = range.start.clone();
                    for (at, (located, span)) in regions.iter().enumerate() {
                        assert!(self.told.get(&located.region).is_some_and(|told| told.contains(span)));
                        assert!(span.contains(from.as_slice()), "a hole at {from:?} in {regions:?}");
                        assert!(at + 1 == regions.len() || !span.end.is_empty(), "regions behind the last");
                        from = span.end.clone();
                    }
                }
                (_, Completion::Fault(Fault::Interrupted(Interrupt::Deadline))) => {
                    assert!(self.stage.now >= deadline)
                }
                (_, Completion::Fault(_)) => {}
                (_, other) => panic!("{n} was answered {other:?}"),
            }
        }
    }
}

/// See the module.
pub(super) fn play(choices: &mut Choices<'_>) {
    let mode = *choices.of(&[Mode::Raw, Mode::Txn]);
    let mut config = LoaderConfig::new(mode, Duration::from_secs(600), Duration::from_secs(60));
    config.at_work = 1 + choices.below(3);
    let stage = Stage::new(RegionLoader::new(config), choices.any());
    let mut play = Play { stage, mode, asked: BTreeMap::new(), told: BTreeMap::new() };
    while !choices.is_over() {
        play.step(choices);
    }
    play.stage.pass(Duration::from_secs(20));
    play.check();
    assert!(
        play.stage.waiting.is_empty(),
        "{:?} wait for ever: {:#?}",
        play.stage.waiting,
        play.stage.service
    );
}
