//! What a client sees when leaders move, regions split and merge, stores stop and PD comes back: the sections of
//! `conformance/topology.md`, against the model, in virtual time.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};
use tikv_embedded::model::pd::http::Request;
use tikv_embedded::model::pd::{Asked, method};
use tikv_embedded::model::{
    Answer, Call, Cluster, Command, Layout, Member, Met, Now, Pd, PeerRole, Region, Reply,
};
use tikv_proto::methods::{pd as pd_methods, tikv};
use tikv_proto::tikvpb::batch_commands_response::response;
use tikv_proto::{errorpb, kvrpcpb, metapb, pdpb};

const CLUSTER: u64 = 7;

struct World {
    cluster: Cluster,
    now: Now,
}

impl World {
    /// Three stores, one region.
    fn new() -> Self {
        let addresses = (1..=3).map(|n| format!("127.0.0.1:{n}")).collect();
        let mut topology = Layout::new(addresses, 3).build();
        let now = Now::from_unix(Duration::from_secs(1_800_000_000));
        topology.set_started(now.unix_seconds());
        let members =
            (1..=2).map(|id| Member::new(id, format!("pd-{id}"), format!("http://127.0.0.1:9{id}")));
        let mut pd = Pd::new(CLUSTER, members.collect(), 3);
        pd.bootstrap_keyspaces(&mut topology, now, false);
        Self { cluster: Cluster::new(topology, pd), now }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.cluster.wake(self.now);
    }

    fn only_region(&self) -> Region {
        self.cluster.topology.regions().next().expect("a region").clone()
    }

    fn region(&self, id: u64) -> Region {
        self.cluster.topology.region(id).expect("the region is there").clone()
    }

    /// A context with the region as the client knows it.
    fn context(store: u64, known: &Region) -> Option<kvrpcpb::Context> {
        let peer = known.peer_on(store).expect("the client knows a peer there");
        Some(kvrpcpb::Context {
            region_id: known.id,
            region_epoch: Some(metapb::RegionEpoch { conf_ver: known.conf_ver, version: known.version }),
            peer: Some(metapb::Peer { id: peer.id, store_id: store, ..Default::default() }),
            ..Default::default()
        })
    }

    fn store(&mut self, store: u64, path: &str, request: &impl Message) -> response::Cmd {
        let command = Command::decode(path, request.encode_to_vec().into()).expect("a command");
        match self.cluster.call(self.now, Call::Store { store, command: Box::new(command) }) {
            Met::Now(Reply::Store(answer)) => match *answer {
                Answer::Batched(answer) => answer,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, store: u64, known: &Region, key: &'static str) -> Result<(), Box<errorpb::Error>> {
        let context = Self::context(store, known);
        let request = kvrpcpb::RawGetRequest { context, key: key.into(), ..Default::default() };
        match self.store(store, tikv::RAW_GET, &request) {
            response::Cmd::RawGet(answer) => answer.region_error.map_or(Ok(()), Err),
            other => panic!("{other:?}"),
        }
    }

    fn put(&mut self, store: u64, known: &Region, key: &'static str) -> Result<(), Box<errorpb::Error>> {
        let context = Self::context(store, known);
        let request =
            kvrpcpb::RawPutRequest { context, key: key.into(), value: "v".into(), ..Default::default() };
        match self.store(store, tikv::RAW_PUT, &request) {
            response::Cmd::RawPut(answer) => answer.region_error.map_or(Ok(()), Err),
            other => panic!("{other:?}"),
        }
    }

    /// The store that `NotLeader` names.
    fn named(&mut self, store: u64, known: &Region) -> Option<u64> {
        let error = self.get(store, known, "k").expect_err("it does not lead");
        error.not_leader.expect("NotLeader").leader.map(|leader| leader.store_id)
    }

    fn pd<A: Message + Default>(&mut self, path: &str, request: &impl Message) -> A {
        let path = method(path).expect("a method of PD");
        let body = request.encode_to_vec().into();
        match self.cluster.call(self.now, Call::Pd { member: 0, follower_may: false, path, body }) {
            Met::Now(Reply::Bytes(answer)) => A::decode(answer).expect("the method's answer"),
            other => panic!("{other:?}"),
        }
    }

    fn pd_region(&mut self, key: &'static str) -> pdpb::GetRegionResponse {
        let request =
            pdpb::GetRegionRequest { header: header(), region_key: key.into(), ..Default::default() };
        self.pd(pd_methods::GET_REGION, &request)
    }

    fn http(&mut self, method: &str, target: &str, body: &Value) -> Value {
        let body = body.to_string();
        let asked = Asked::new(&mut self.cluster.topology, 0, self.now);
        let page = self.cluster.pd.http(asked, Request::new(method, target, body.as_bytes()));
        serde_json::from_str(&page.body).expect("JSON")
    }

    fn order(&mut self, order: Value) {
        assert_eq!(self.http("POST", "/pd/api/v1/operators", &order), "The operator is created.");
    }

    fn store_state(&mut self, store: u64) -> Value {
        self.http("GET", &format!("/pd/api/v1/store/{store}"), &Value::Null)["store"]["state_name"].clone()
    }
}

fn header() -> Option<pdpb::RequestHeader> {
    Some(pdpb::RequestHeader { cluster_id: CLUSTER, ..Default::default() })
}

#[test]
fn section_1_after_a_leader_transfer_the_old_leader_names_the_new_one_and_the_epoch_stays() {
    let mut world = World::new();
    let known = world.only_region();
    assert_eq!(world.named(2, &known), Some(1));
    world.order(json!({ "name": "transfer-leader", "region_id": known.id, "to_store_id": 2 }));
    assert_eq!(world.named(1, &known), Some(2));
    assert_eq!(world.get(2, &known, "k"), Ok(()), "with the old epoch");
    let told = world.pd_region("k");
    assert_eq!(told.leader.map(|leader| leader.store_id), Some(2));
    let epoch = told.region.and_then(|region| region.region_epoch).expect("an epoch");
    assert_eq!((epoch.version, epoch.conf_ver), (known.version, known.conf_ver));
}

#[test]
fn section_2_after_a_split_the_right_part_keeps_the_id_and_old_epochs_are_told_the_new_ones() {
    let mut world = World::new();
    let known = world.only_region();
    let keys: Vec<Bytes> = ["b", "c", "d"].map(Bytes::from).to_vec();
    let parts = world.cluster.topology.split(known.id, &keys).expect("splits");
    assert_eq!(parts.last(), Some(&known.id));
    for &part in &parts {
        let at = world.region(part);
        assert_eq!((at.version, at.conf_ver), (known.version + 3, known.conf_ver));
        assert!(at.led_by(1), "leaders stay on their store");
    }
    assert_eq!(world.region(known.id).peers, known.peers);
    let error = world.get(1, &known, "k").expect_err("the epoch is old");
    let told = error.epoch_not_match.expect("EpochNotMatch").current_regions;
    let walking_left: Vec<u64> = parts.iter().rev().copied().collect();
    assert_eq!(told.iter().map(|region| region.id).collect::<Vec<_>>(), walking_left);
    let right = world.region(known.id);
    let error = world.put(1, &right, "a").expect_err("the key lies in the left part");
    assert_eq!(error.key_not_in_region.map(|error| error.region_id), Some(known.id));
    // A store asks for leadership before it looks at the epoch.
    assert_eq!(world.named(2, &known), Some(1));
}

#[test]
fn section_3_after_a_merge_the_source_is_missing_and_the_target_has_its_range() {
    let mut world = World::new();
    let whole = world.only_region();
    let parts = world.cluster.topology.split(whole.id, &["m".into()]).expect("splits");
    let (source, target) = (world.region(parts[0]), world.region(parts[1]));
    let order =
        json!({ "name": "merge-region", "source_region_id": source.id, "target_region_id": target.id });
    world.order(order);
    let error = world.get(1, &source, "k").expect_err("it is gone");
    assert_eq!(error.region_not_found.map(|error| error.region_id), Some(source.id));
    let error = world.get(1, &target, "z").expect_err("its epoch is old");
    let told = error.epoch_not_match.expect("EpochNotMatch").current_regions;
    assert_eq!((told[0].id, told[0].start_key.len()), (target.id, 0), "the wide range first");
    let after = world.region(target.id);
    assert_eq!((after.version, after.conf_ver), (target.version + 2, target.conf_ver));
    assert_eq!(world.get(1, &after, "k"), Ok(()));
}

#[test]
fn sections_4_and_5_followers_name_a_dead_leader_until_the_election_and_pd_tells_it_up_for_20_s() {
    let mut world = World::new();
    let known = world.only_region();
    world.cluster.pd.set_elections(Duration::from_secs(3), Duration::from_secs(10));
    let now = world.now;
    world.cluster.pd.silence_store(1, now);
    assert_eq!(world.cluster.next_wake(), Some(now.after(Duration::from_secs(10))));
    world.pass(Duration::from_millis(9_900));
    assert_eq!((world.named(2, &known), world.named(3, &known)), (Some(1), Some(1)));
    assert_eq!(world.pd_region("k").leader.map(|leader| leader.store_id), Some(1));
    world.pass(Duration::from_millis(100));
    assert_eq!(world.get(2, &known, "k"), Ok(()), "elected, with the epoch as it was");
    let told = world.pd_region("k");
    assert_eq!(told.leader.map(|leader| leader.store_id), Some(2), "PD shows it the same second");
    let pending: Vec<u64> = told.pending_peers.iter().map(|peer| peer.store_id).collect();
    assert_eq!((pending, told.down_peers.len()), (vec![1], 0), "pending, and not down yet");
    assert_eq!(world.store_state(1), "Up");
    world.pass(Duration::from_millis(10_001));
    assert_eq!(world.store_state(1), "Disconnected");
    // It comes back, knows its regions, and names the new leader.
    world.cluster.pd.hear_of_store(1);
    assert_eq!(world.store_state(1), "Up");
    assert_eq!(world.named(1, &known), Some(2));
    assert!(world.pd_region("k").pending_peers.is_empty());
    assert_eq!(world.cluster.next_wake(), None);
}

#[test]
fn without_a_majority_nobody_is_elected_until_a_store_is_back() {
    let mut world = World::new();
    let known = world.only_region();
    world.cluster.pd.set_elections(Duration::from_secs(3), Duration::from_secs(10));
    let now = world.now;
    world.cluster.pd.silence_store(1, now);
    world.cluster.pd.silence_store(2, now);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.named(3, &known), Some(1));
    assert_eq!(world.cluster.next_wake(), None, "nothing to wait for");
    world.cluster.pd.hear_of_store(2);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.get(2, &known, "k"), Ok(()));
}

#[test]
fn section_6_a_pd_that_restarts_knows_no_leader_until_the_next_heartbeat_and_its_timestamps_grow() {
    let mut world = World::new();
    let draw = |world: &mut World| {
        let answer: pdpb::GetMinTsResponse =
            world.pd(pd_methods::GET_MIN_TS, &pdpb::GetMinTsRequest { header: header() });
        answer.timestamp.map(|ts| (ts.physical, ts.logical))
    };
    let before = draw(&mut world);
    world.cluster.pd.set_leader(None);
    world.cluster.pd.set_leader(Some(0));
    let topology = &world.cluster.topology;
    world.cluster.pd.forget_leaders(topology);
    let told = world.pd_region("k");
    assert!(told.region.is_some() && told.leader.is_none());
    assert!(draw(&mut world) > before);
    world.cluster.pd.hear_of_leaders();
    assert!(world.pd_region("k").leader.is_some());
}

#[test]
fn section_8_members_change_one_by_one_and_the_leader_serves_the_old_epoch_all_along() {
    let mut world = World::new();
    let known = world.only_region();
    let step = Duration::from_millis(10);
    world.cluster.pd.set_operator_step(step);
    world.order(json!({ "name": "remove-peer", "region_id": known.id, "store_id": 3 }));
    let mut seen = Vec::new();
    for _ in 0..3 {
        world.pass(step);
        let at = world.region(known.id);
        seen.push((at.conf_ver - known.conf_ver, at.peer_on(3).map(|peer| peer.role)));
        assert_eq!(world.get(1, &known, "k"), Ok(()), "only the version counts");
        if at.peer_on(3).is_none() {
            let error = world.get(3, &known, "k").expect_err("no peer there");
            assert!(error.region_not_found.is_some(), "{error:?}");
        }
    }
    assert_eq!(seen, [(1, None), (2, Some(PeerRole::Learner)), (3, Some(PeerRole::Voter))]);
    let error = world.get(3, &known, "k").expect_err("the peer is another one");
    let (old, new) = (known.peer_on(3), world.region(known.id).peer_on(3));
    let told = error.mismatch_peer_id.expect("MismatchPeerId");
    assert_eq!(
        (told.request_peer_id, told.store_peer_id),
        (old.map_or(0, |peer| peer.id), new.map_or(0, |peer| peer.id))
    );
}
