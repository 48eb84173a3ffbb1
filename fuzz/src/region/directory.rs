//! One directory and its model, step by step.

use std::time::Duration;

use bytes::Bytes;
use tikv_client_core::codec::Mode;
use tikv_client_core::machine::{Feedback, StaleReason};
use tikv_client_core::region::{Directory, Found, expiry};
use tikv_client_core::region_call::classify::{Situation, classify};
use tikv_client_core::types::{Instant, Key, KeyRange, Located, PeerId, RegionVersion, StoreId};
use tikv_proto::{errorpb, metapb};

use super::model::{Known, Model};
use super::{info, range, version};
use crate::choices::Choices;

struct Play {
    directory: Directory,
    model: Model,
    now: Instant,
}

impl Play {
    fn report(&mut self, feedback: &Feedback) {
        self.directory.apply(feedback, self.now);
        self.model.apply(feedback, self.now);
    }

    /// A region that is known, or any version.
    fn some_version(&self, choices: &mut Choices<'_>) -> RegionVersion {
        if self.model.0.is_empty() || choices.one_in(5) {
            version(choices)
        } else {
            choices.of(&self.model.0).version
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0..5 => {
                let mut found = Found::from(info(choices));
                if choices.one_in(4) {
                    found.down = found.info.peers.iter().take(choices.below(3)).map(|peer| peer.id).collect();
                }
                let expires = match choices.below(3) {
                    0 => self.now + Duration::from_secs(choices.any::<u8>().into()),
                    _ => expiry(found.info.version, self.now),
                };
                let kept = self.model.insert(&found, self.now, expires);
                assert_eq!(self.directory.insert(found, self.now, expires).kept().is_some(), kept);
            }
            5 => {
                let regions = (0..choices.below(4)).map(|_| info(choices)).collect();
                let expires = self.now + Duration::from_secs(u64::from(choices.any::<u8>()) * 4);
                self.report(&Feedback::Loaded { regions, expires });
            }
            6 => {
                let new = (0..choices.below(4)).map(|_| info(choices)).collect();
                self.report(&Feedback::Regions { old: self.some_version(choices), new });
            }
            7 => self.region_error(choices),
            8 => {
                let why =
                    *choices.of(&[StaleReason::NoLeader, StaleReason::RegionNotFound, StaleReason::Other]);
                self.report(&Feedback::Stale { region: self.some_version(choices), why });
            }
            9 => {
                let region = self.some_version(choices);
                let store = StoreId(choices.below(6) as u64);
                self.report(&Feedback::LeaderIs { region, peer: PeerId(region.id.0 * 10 + store.0), store });
            }
            10 | 11 => {
                let region = self.some_version(choices);
                let leader = self.model.exactly(region).map(|known| known.leader().store);
                let store =
                    leader.filter(|_| !choices.one_in(4)).unwrap_or_else(|| StoreId(choices.below(6) as u64));
                self.report(&Feedback::Unreachable { store, region });
            }
            12 => {
                let (from, limit) = (choices.key(), choices.below(9));
                let suspect = StoreId(choices.below(8) as u64);
                let swept = self.directory.sweep(&from, limit, self.now, |store| store == suspect);
                assert_eq!(swept.removed, self.model.sweep(&from, limit, self.now, |store| store == suspect));
            }
            13 => self.now = self.now + Duration::from_secs(u64::from(choices.any::<u8>()) * 8),
            14 => {
                let (range, limit) = (range(choices), choices.below(6));
                let covered = self.directory.cover(&range, self.now, limit);
                let versions: Vec<_> = covered.iter().map(|entry| entry.version()).collect();
                assert_eq!(versions, self.model.cover(&range, self.now, limit), "{range:?}");
            }
            _ => {
                let id = self.some_version(choices).id;
                let of_model = self
                    .model
                    .0
                    .iter()
                    .find(|known| known.version.id == id)
                    .map(|known| known.range.start.clone());
                let of_model = of_model
                    .and_then(|start| self.model.holding(start.as_slice(), self.now))
                    .map(|known| known.version);
                assert_eq!(self.directory.by_id(id, self.now).map(|entry| entry.version()), of_model);
            }
        }
    }

    /// A store tells of regions in the form of its own keys.
    fn region_error(&mut self, choices: &mut Choices<'_>) {
        let mode = self.directory.mode();
        let bound = |choices: &mut Choices<'_>| -> Bytes {
            let key = choices.key();
            match choices.below(4) {
                0 => key.0,
                1 => {
                    let encoded = mode.encode_key(&key);
                    choices.spoil(encoded)
                }
                _ if key.is_empty() => Bytes::new(),
                _ => mode.encode_key(&key),
            }
        };
        let mut regions = Vec::new();
        for _ in 0..choices.below(4) {
            let version = version(choices);
            regions.push(metapb::Region {
                id: version.id.0,
                start_key: bound(choices),
                end_key: bound(choices),
                region_epoch: Some(metapb::RegionEpoch {
                    version: version.version,
                    conf_ver: version.conf_ver,
                }),
                peers: vec![metapb::Peer { id: version.id.0 * 10 + 1, store_id: 1, ..Default::default() }],
                ..Default::default()
            });
        }
        let old = self.some_version(choices);
        let to = Located { region: old, peer: PeerId(1), store: StoreId(1) };
        let epoch_not_match = Some(errorpb::EpochNotMatch { current_regions: regions.clone() });
        let error = errorpb::Error { epoch_not_match, ..Default::default() };
        for feedback in classify(&error, &Situation { to, mode }).reports {
            if let Feedback::Regions { new, .. } = &feedback {
                let key = choices.key();
                for info in &**new {
                    let of_wire = |region: &&metapb::Region| {
                        region.id == info.version.id.0 && holds(region, mode, &key)
                    };
                    let told = regions.iter().any(|region| of_wire(&region));
                    assert!(!info.range.contains(key.as_slice()) || told, "{key:?} is not of {regions:?}");
                }
            }
            self.report(&feedback);
        }
    }

    fn check(&mut self, keys: &[Key]) {
        assert_eq!(self.directory.len(), self.model.0.len());
        for known in &self.model.0 {
            let entry =
                self.directory.exactly(known.version).unwrap_or_else(|| panic!("{known:?} is missing"));
            assert_eq!(*entry.range(), known.range);
            assert_eq!(entry.peers(), known.peers);
            assert_eq!(entry.leader(), Some(known.leader()));
            assert_eq!(entry.stale(), known.stale);
            assert_eq!(self.directory.span(known.version).as_ref(), Some(&known.range));
        }
        for pair in self.model.0.windows(2) {
            let KeyRange { end, .. } = &pair[0].range;
            assert!(!end.is_empty() && *end <= pair[1].range.start, "{pair:?} overlap");
        }
        let located = |known: &Known| {
            let Known { version, .. } = known;
            Located { region: *version, peer: known.leader().id, store: known.leader().store }
        };
        for key in keys {
            let found = self.directory.locate(key.as_slice(), self.now);
            assert_eq!(found, self.model.holding(key.as_slice(), self.now).map(located), "{key:?}");
            let found = self.directory.locate_below(key.as_slice(), self.now);
            assert_eq!(found, self.model.below(key, self.now).map(located), "below {key:?}");
        }
    }
}

/// Whether a region of the wire holds a key, by the key's own wire form.
fn holds(region: &metapb::Region, mode: Mode, key: &Key) -> bool {
    KeyRange::new(region.start_key.clone(), region.end_key.clone()).contains(&mode.encode_key(key))
}

/// Steps of one input at the most.
const STEPS: usize = 80;

/// See the module above.
pub(super) fn play(choices: &mut Choices<'_>) {
    let mode = *choices.of(&[Mode::Raw, Mode::Txn]);
    let mut play = Play { directory: Directory::new(mode), model: Model::default(), now: Instant(0) };
    let keys: Vec<Key> = (0..3).map(|_| choices.key()).chain([Key::EMPTY]).collect();
    for _ in 0..STEPS {
        if choices.is_over() {
            break;
        }
        play.step(choices);
        play.check(&keys);
    }
}
