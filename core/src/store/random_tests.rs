//! The registry in a world whose PD answers at random: every call is answered or handed on, once and in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::machine::{Answer, Attempt, Completion, Fault, Input, Interrupt, TicketId};
use crate::pd::tests::world::World;
use crate::pd::{PdQuery, PdReply, StoreInfo, StoreState};
use crate::request::{Profile, Request};
use crate::stream::StreamCommand;
use crate::types::{Instant, Liveness, Located, PeerId, Presence, RegionId, RegionVersion, StoreId};
use tikv_proto::kvrpcpb as pb;

#[derive(Clone, Debug)]
enum Step {
    Call {
        store: u64,
        deadline_ms: u64,
    },
    Withdraw(usize),
    Check {
        store: u64,
    },
    /// PD answers a question; how: 0 fault, 1 removed, 2 unknown, 3 no address, else the address of that number.
    Answer {
        which: usize,
        how: u8,
    },
    /// A store answers a probe with a status; 0: it does not.
    Probe {
        which: usize,
        how: u8,
    },
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..4_u64, 1..5000_u64).prop_map(|(store, deadline_ms)| Step::Call { store, deadline_ms }),
        1 => any::<usize>().prop_map(Step::Withdraw),
        2 => (1..4_u64).prop_map(|store| Step::Check { store }),
        4 => (any::<usize>(), 0..8_u8).prop_map(|(which, how)| Step::Answer { which, how }),
        2 => (any::<usize>(), 0..5_u8).prop_map(|(which, how)| Step::Probe { which, how }),
        2 => (0..3000_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// A registry, the streams it had started, and the calls that wait for it.
struct Play {
    world: World<Registry>,
    count: u32,
    open: BTreeMap<u32, (StoreId, Instant)>,
    /// Where each store's stream goes.
    streams: BTreeMap<StoreId, Arc<str>>,
    gone: BTreeSet<StoreId>,
    /// What the last probe of a store found, if that it is not reachable.
    dead: BTreeMap<StoreId, Liveness>,
    /// Calls that were handed on.
    forwarded: Vec<StreamCommand>,
}

impl Play {
    fn new(seed: u64) -> Self {
        Self {
            world: World::new(Registry::default(), seed),
            count: 0,
            open: BTreeMap::new(),
            streams: BTreeMap::new(),
            gone: BTreeSet::new(),
            dead: BTreeMap::new(),
            forwarded: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Call { store, deadline_ms } => {
                self.count += 1;
                let store = StoreId(store);
                let deadline = self.world.now + Duration::from_millis(deadline_ms);
                self.open.insert(self.count, (store, deadline));
                let region = RegionVersion { id: RegionId(1), version: 1, conf_ver: 1 };
                let to = Located { region, peer: PeerId(1), store };
                let attempt = Attempt::first(to);
                let request = Arc::new(Request::new(&pb::RawGetRequest::default(), Profile::default()));
                let asker = self.world.asker(self.count);
                let command = StreamCommand::Call { asker, attempt, request, deadline, forward: None };
                self.world.turn(Input::Command(RegistryCommand::Call { store, command }));
            }
            Step::Withdraw(which) => {
                let Some((&n, &(store, _))) = self.open.iter().nth(which % self.open.len().max(1)) else {
                    return;
                };
                self.open.remove(&n);
                let command = StreamCommand::Withdraw(self.world.withdrawn(n));
                self.world.turn(Input::Command(RegistryCommand::Call { store, command }));
            }
            Step::Check { store } => {
                self.world.turn(Input::Command(RegistryCommand::Check { store: StoreId(store) }));
            }
            Step::Answer { which, how } => self.answer(which, how),
            Step::Probe { which, how } => self.probe(which, how),
            Step::Pass { ms } => self.world.pass(Duration::from_millis(ms)),
        }
    }

    fn answer(&mut self, which: usize, how: u8) {
        if self.world.queries.is_empty() {
            return;
        }
        let (ticket, query, _) = self.world.queries.remove(which % self.world.queries.len());
        let id = match query {
            PdQuery::Store(id) => id,
            PdQuery::Stores => return self.list(ticket, how),
            other => panic!("{other:?}"),
        };
        let store = |address: &str, state| {
            let info =
                StoreInfo { id, address: address.into(), peer_address: "".into(), state, labels: Vec::new() };
            Completion::Answer(Answer::Pd(PdReply::Store(Some(info))))
        };
        let completion = match how {
            0 => Completion::Fault(Fault::Interrupted(Interrupt::Closed)),
            1 => store("x:1", StoreState::Tombstone),
            2 => Completion::Answer(Answer::Pd(PdReply::Store(None))),
            3 => store("", StoreState::Up),
            address => store(&format!("{id}-{address}:1"), StoreState::Offline),
        };
        self.world.done(ticket, completion);
    }

    /// PD lists stores; how: 0 not at all, else those whose bit is set.
    fn list(&mut self, ticket: TicketId, how: u8) {
        let listed = |id: &u64| how & (1 << (id - 1)) != 0 && !self.gone.contains(&StoreId(*id));
        let info = |id| StoreInfo {
            id: StoreId(id),
            address: format!("{id}-{how}:1").into(),
            peer_address: "".into(),
            state: StoreState::Up,
            labels: Vec::new(),
        };
        let completion = match how {
            0 => Completion::Fault(Fault::Interrupted(Interrupt::Closed)),
            _ => Completion::Answer(Answer::Pd(PdReply::Stores((1..4).filter(listed).map(info).collect()))),
        };
        self.world.done(ticket, completion);
    }

    /// A store answers a probe, or does not.
    fn probe(&mut self, which: usize, how: u8) {
        if self.world.calls.is_empty() {
            return;
        }
        let call = self.world.calls.remove(which % self.world.calls.len());
        let completion = match how {
            0 => Completion::Fault(Fault::Interrupted(Interrupt::Closed)),
            status => Completion::Response(vec![0x08, status].into()),
        };
        self.world.done(call.ticket, completion);
    }

    /// Takes in what the registry wanted done, and what it answered.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let mut newest = BTreeMap::new();
        for effect in std::mem::take(&mut self.world.specials) {
            match effect {
                RegistryEffect::Launch { store, address } => {
                    prop_assert!(!self.gone.contains(&store));
                    prop_assert!(self.streams.insert(store, address).is_none(), "launched twice");
                }
                RegistryEffect::Move { store, address } => {
                    let before = self.streams.insert(store, Arc::clone(&address));
                    prop_assert!(before.is_some_and(|before| before != address), "moved to where it was");
                }
                RegistryEffect::Remove { store } => {
                    self.streams.remove(&store);
                    self.gone.insert(store);
                }
                RegistryEffect::Forward { store, command } => {
                    prop_assert!(self.streams.contains_key(&store), "forwarded before the launch");
                    if let StreamCommand::Call { asker, .. } = &command {
                        let n = (1..=self.count).find(|&n| asker.is(&self.world.withdrawn(n))).unwrap();
                        let owed = self.open.remove(&n);
                        prop_assert_eq!(owed.map(|owed| owed.0), Some(store));
                        prop_assert!(newest.insert(store, n).is_none_or(|before| before < n), "out of order");
                    }
                    self.forwarded.push(command);
                }
                RegistryEffect::Know { store, meta } => {
                    prop_assert_eq!(self.gone.contains(&store), meta.presence == Presence::Removed);
                }
                RegistryEffect::Alive { store, liveness } => {
                    let before = self.dead.insert(store, liveness).unwrap_or_default();
                    prop_assert!(before != liveness, "told what was known");
                }
                RegistryEffect::SafeTs { .. } | RegistryEffect::Judge { .. } => {}
            }
        }
        for (n, completion) in self.world.answers() {
            let owed = self.open.remove(&n);
            let (_, deadline) = owed.ok_or_else(|| TestCaseError::fail("answered twice"))?;
            match completion {
                Completion::Fault(Fault::Transport(_)) => prop_assert!(deadline <= self.world.now),
                Completion::Fault(_) => {}
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }
        prop_assert!(self.open.values().all(|(_, deadline)| *deadline >= self.world.now));
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_call_is_handed_on_or_answered_once(
        steps in proptest::collection::vec(step(), 0..80), seed: u64, lists: bool,
    ) {
        let mut play = Play::new(seed);
        if lists {
            play.world.turn(Input::Command(RegistryCommand::Begin));
        }
        for step in steps {
            play.take(step);
            play.check()?;
        }
        play.take(Step::Pass { ms: 30_000 });
        play.check()?;
        prop_assert!(play.open.is_empty(), "{:?} wait: {:#?}", play.open, play.world.service);
        prop_assert_eq!(play.world.service.left(), 0);
        // What was handed on is the stream's now.
        for command in play.forwarded.drain(..) {
            if let StreamCommand::Call { asker, .. } = command {
                asker.forget();
            }
        }
    }
}
