//! The PD service against hostile members.
//!
//! Connects, queries, withdrawals and deadlines, members that change, lie, refuse or answer garbage. Laws, beside those of
//! every service: who connects or asks is answered by its time; a region's or store's answer is what a member said; a foreign
//! cluster is never adopted; nothing but PD's own methods is called; when PD is well again, so is the service.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_client_core::machine::{Answer, Completion, Fault, Input, TransportClass, TransportFault};
use tikv_client_core::pd::{PdCommand, PdConfig, PdQuery, PdReply, PdService, parse_endpoints};
use tikv_client_core::types::{Instant, RegionId, StoreId};
use tikv_proto::methods::pd as methods;
use tikv_proto::{metapb, pdpb};

use crate::choices::Choices;
use crate::service::{Call, Stage};

const CLUSTER: u64 = 7;
const CONNECT: Duration = Duration::from_secs(2);

fn header(cluster: u64, error: Option<pdpb::Error>) -> Option<pdpb::ResponseHeader> {
    Some(pdpb::ResponseHeader { cluster_id: cluster, error })
}

fn member(address: &str) -> pdpb::Member {
    pdpb::Member { client_urls: vec![format!("http://{address}")], ..Default::default() }
}

fn region(choices: &mut Choices<'_>) -> metapb::Region {
    let peer = |id| metapb::Peer { id, store_id: id, ..Default::default() };
    metapb::Region {
        id: choices.below(4) as u64,
        start_key: choices.key().0,
        end_key: choices.key().0,
        region_epoch: choices.one_in(2).then_some(metapb::RegionEpoch { version: 3, conf_ver: 1 }),
        peers: (0..choices.below(4) as u64).map(peer).collect(),
        ..Default::default()
    }
}

/// A well-formed answer to `path` with this header, and things in it by choice.
fn answer(
    path: &str,
    header: Option<pdpb::ResponseHeader>,
    leader: &str,
    choices: &mut Choices<'_>,
) -> Bytes {
    match path {
        methods::GET_MEMBERS => {
            let mut members: Vec<pdpb::Member> = ["a:1", "b:1", "c:1"].map(member).to_vec();
            members.truncate(1 + choices.below(3));
            let leader = (!choices.one_in(8)).then(|| member(leader));
            pdpb::GetMembersResponse { header, members, leader, ..Default::default() }.encode_to_vec()
        }
        methods::GET_STORE => {
            let store = metapb::Store {
                id: 4 + choices.below(3) as u64,
                address: "s:1".into(),
                state: choices.below(4) as i32,
                ..Default::default()
            };
            let store = (!choices.one_in(4)).then_some(store);
            pdpb::GetStoreResponse { header, store, stats: None }.encode_to_vec()
        }
        methods::BATCH_SCAN_REGIONS | methods::SCAN_REGIONS => {
            let regions = (0..choices.below(3))
                .map(|_| pdpb::Region { region: Some(region(choices)), ..Default::default() })
                .collect();
            pdpb::BatchScanRegionsResponse { header, regions }.encode_to_vec()
        }
        _ => {
            let region = (!choices.one_in(4)).then(|| region(choices));
            pdpb::GetRegionResponse { header, region, ..Default::default() }.encode_to_vec()
        }
    }
    .into()
}

fn completion(call: &Call, choices: &mut Choices<'_>) -> Completion {
    const TEXTS: [&str; 6] = [
        "not leader",
        "refused",
        "no leader",
        "mismatch cluster id, need 7 but got 8",
        "mismatch cluster id, need 9 but got 7",
        "x",
    ];
    let leader = *choices.of(&["a:1", "b:1", "c:1", "", "d"]);
    match choices.below(12) {
        0..6 => Completion::Response(answer(call.path, header(CLUSTER, None), leader, choices)),
        6 => {
            let error =
                pdpb::Error { r#type: choices.below(16) as i32 - 1, message: (*choices.of(&TEXTS)).into() };
            Completion::Response(answer(call.path, header(CLUSTER, Some(error)), leader, choices))
        }
        7 => Completion::Response(answer(call.path, header(CLUSTER + 1, None), leader, choices)),
        8 => {
            let body = answer(call.path, header(CLUSTER, None), leader, choices);
            Completion::Response(choices.spoil(body))
        }
        9 => Completion::Response(choices.bytes(40)),
        _ => {
            let code = *choices.of(&[14, 4, 2, 9, 12, 7]);
            let class = *choices.of(&[
                TransportClass::Unreachable,
                TransportClass::Lost,
                TransportClass::TimedOut,
                TransportClass::Rejected(code),
            ]);
            let fault = TransportFault::new(class, *choices.of(&TEXTS));
            Completion::Fault(Fault::Transport(fault))
        }
    }
}

fn query(choices: &mut Choices<'_>) -> PdQuery {
    match choices.below(6) {
        0 => PdQuery::Region { key: choices.key().0 },
        1 => PdQuery::PreviousRegion { key: choices.key().0 },
        2 => PdQuery::RegionById(RegionId(choices.any::<u8>().into())),
        3 => PdQuery::Regions { start: choices.key().0, end: choices.key().0, limit: choices.any() },
        4 => PdQuery::Store(StoreId(5)),
        _ => {
            let instead_of = choices.one_in(2).then(|| (*choices.of(&["a:1", "b:1", "z:1"])).into());
            PdQuery::Leader { instead_of }
        }
    }
}

struct Play {
    stage: Stage<PdService>,
    /// What each asked; nothing for who connects.
    asked: Vec<(u32, Option<PdQuery>)>,
    /// The cluster that requests name, once they name one.
    cluster: Option<u64>,
}

impl Play {
    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0 => {
                let (n, asker) = self.stage.asker(self.stage.now + CONNECT);
                self.asked.push((n, None));
                self.stage.turn(Input::Command(PdCommand::Connect { asker }));
            }
            1..5 => {
                let deadline = self.stage.now + Duration::from_millis(u64::from(choices.any::<u8>()) * 16);
                self.query(query(choices), deadline);
            }
            5 => {
                if let Some(n) = self.stage.some_waiting(choices.below(256)) {
                    let who = self.stage.withdraw(n);
                    self.stage.turn(Input::Command(PdCommand::Withdraw(who)));
                }
            }
            6..13 => {
                if let Some(call) = choices.take_of(&mut self.stage.calls) {
                    let completion = completion(&call, choices);
                    self.stage.turn(Input::Done(call.ticket, completion));
                }
            }
            _ => self.stage.pass(Duration::from_millis(u64::from(choices.any::<u8>()) * 8)),
        }
        self.check();
    }

    fn query(&mut self, query: PdQuery, deadline: Instant) {
        let (n, asker) = self.stage.asker(deadline);
        self.asked.push((n, Some(query.clone())));
        self.stage.turn(Input::Command(PdCommand::Query { query, asker, deadline }));
    }

    fn check(&mut self) -> Vec<Completion> {
        for call in &self.stage.calls {
            assert!(methods::ALL.contains(&call.path), "{} is no method of PD", call.path);
            assert!(call.deadline >= self.stage.now, "a call outlives its deadline");
            let named = named(call);
            if named != 0 {
                assert_eq!(*self.cluster.get_or_insert(named), named, "another cluster was adopted");
            }
        }
        let answers = self.stage.answers();
        answers
            .into_iter()
            .map(|(n, deadline, completion)| {
                let at = self.asked.iter().position(|asked| asked.0 == n).expect("whoever waits has asked");
                let (_, query) = self.asked.remove(at);
                match (&query, &completion) {
                    (_, Completion::Fault(Fault::Refused(_))) => {}
                    (_, Completion::Fault(fault)) => {
                        assert!(self.stage.now >= deadline, "{n} hears {fault} before its deadline");
                    }
                    (
                        None | Some(PdQuery::Leader { .. }),
                        Completion::Answer(Answer::Pd(PdReply::Leader { cluster, .. })),
                    ) => {
                        assert_ne!(cluster.0, 0);
                        assert_eq!(
                            self.cluster.get_or_insert(cluster.0),
                            &cluster.0,
                            "another cluster was adopted"
                        );
                    }
                    (Some(PdQuery::Store(id)), Completion::Answer(Answer::Pd(PdReply::Store(store)))) => {
                        assert!(
                            store.as_ref().is_none_or(|store| store.id == *id),
                            "another store was answered"
                        );
                    }
                    (
                        Some(PdQuery::Regions { .. }),
                        Completion::Answer(Answer::Pd(PdReply::Regions(regions))),
                    ) => {
                        assert!(regions.iter().all(|region| region.version.id.0 != 0));
                    }
                    (
                        Some(
                            PdQuery::Region { .. } | PdQuery::PreviousRegion { .. } | PdQuery::RegionById(_),
                        ),
                        Completion::Answer(Answer::Pd(PdReply::Region(region))),
                    ) => {
                        if let Some(region) = region {
                            let known = |id| region.peers.iter().any(|peer| peer.id == id);
                            assert!(region.leader.is_none_or(known), "a leader that is no peer: {region:?}");
                        }
                    }
                    (query, completion) => panic!("{query:?} was answered {completion:?}"),
                }
                completion
            })
            .collect()
    }
}

/// See the module.
pub(super) fn play(choices: &mut Choices<'_>) {
    let endpoints = parse_endpoints(&["a:1", "b:1", "c:1"]).expect("three addresses");
    let mut config = PdConfig::new(endpoints, CONNECT, Duration::from_secs(1));
    config.at_work = 1 + choices.below(3);
    let mut play =
        Play { stage: Stage::new(PdService::new(config), choices.any()), asked: Vec::new(), cluster: None };
    while !choices.is_over() {
        play.step(choices);
    }
    play.stage.pass(Duration::from_secs(10));
    play.check();
    assert!(
        play.stage.waiting.is_empty(),
        "{:?} wait for ever: {:#?}",
        play.stage.waiting,
        play.stage.service
    );
    recovers(&mut play);
}

/// The cluster that a request names; every request of PD has its header in the same field.
fn named(call: &Call) -> u64 {
    let request = pdpb::GetMembersRequest::decode(call.body.clone()).expect("a request is a message");
    request.header.expect("a request has a header").cluster_id
}

/// PD is well again, all members of the cluster that the service knows.
fn recovers(play: &mut Play) {
    let deadline = play.stage.now + Duration::from_secs(20);
    play.query(PdQuery::Region { key: Bytes::from_static(b"k") }, deadline);
    let mut first = Choices::new(&[]);
    for _ in 0..600 {
        match play.stage.calls.pop() {
            Some(call) => {
                let cluster = Some(named(&call)).filter(|&cluster| cluster != 0).unwrap_or(CLUSTER);
                let body = answer(call.path, header(cluster, None), "b:1", &mut first);
                play.stage.turn(Input::Done(call.ticket, Completion::Response(body)));
            }
            None => play.stage.pass(Duration::from_millis(20)),
        }
        if let Some(answer) = play.check().first() {
            assert!(matches!(answer, Completion::Answer(_)), "a well PD gives {answer:?}");
            return;
        }
    }
    panic!("a well PD gives no answer: {:#?}", play.stage.service);
}
