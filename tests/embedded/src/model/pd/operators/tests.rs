//! Operators step by step, as `conformance/topology.md` has them.

use serde_json::json;
use tikv_proto::{methods::pd as m, pdpb};

use super::super::tests::{World, error_of, header};
use super::*;
use crate::model::region::Region;

fn operator(world: &mut World, region: u64) -> Option<(String, String, OperatorStatus)> {
    let request = pdpb::GetOperatorRequest { header: header(), region_id: region };
    let answer: pdpb::GetOperatorResponse = world.ask(m::GET_OPERATOR, &request);
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let (desc, kind, status) = (text(&answer.desc), text(&answer.kind), answer.status());
    (error_of(answer.header) != "Not Found").then_some((desc, kind, status))
}

fn order(world: &mut World, order: Value) -> (u16, Value) {
    world.page("POST", "/pd/api/v1/operators", &order.to_string())
}

fn region(world: &World, id: u64) -> Region {
    world.topology.region(id).expect("the region is there").clone()
}

#[test]
fn a_leader_transfer_leaves_the_epoch_and_is_remembered_for_ten_minutes() {
    let mut world = World::new();
    let before = region(&world, 4);
    let done = order(&mut world, json!({ "name": "transfer-leader", "region_id": 4, "to_store_id": 2 }));
    assert_eq!(done, (200, "The operator is created.".into()));
    let after = region(&world, 4);
    assert!(after.led_by(2) && after.term == before.term + 1);
    assert_eq!((after.version, after.conf_ver), (before.version, before.conf_ver));
    let success = OperatorStatus::Success;
    assert_eq!(
        operator(&mut world, 4),
        Some(("admin-transfer-leader".into(), "admin,leader".into(), success))
    );
    world.pass(599);
    assert!(operator(&mut world, 4).is_some());
    world.pass(1);
    assert_eq!(operator(&mut world, 4), None);
}

#[test]
fn a_removed_peer_is_put_back_as_a_learner_and_then_a_voter() {
    let mut world = World::new();
    let old_peer = region(&world, 4).peer_on(3).expect("a peer").id;
    let conf_ver = region(&world, 4).conf_ver;
    world.pd.set_operator_step(Duration::from_secs(1));
    order(&mut world, json!({ "name": "remove-peer", "region_id": 4, "store_id": 3 }));
    assert_eq!(region(&world, 4).conf_ver, conf_ver, "it takes a step's time");
    let running = OperatorStatus::Running;
    assert_eq!(operator(&mut world, 4), Some(("admin-remove-peer".into(), "admin,region".into(), running)));
    let mut seen = Vec::new();
    for _ in 0..4 {
        world.pass(1);
        let at = region(&world, 4);
        seen.push((at.conf_ver - conf_ver, at.peer_on(3).map(|peer| peer.role)));
    }
    let learner = Some(PeerRole::Learner);
    let voter = Some(PeerRole::Voter);
    assert_eq!(seen, [(1, None), (2, learner), (3, voter), (3, voter)]);
    assert_ne!(region(&world, 4).peer_on(3).map(|peer| peer.id), Some(old_peer), "with a new id");
    let success = OperatorStatus::Success;
    assert_eq!(operator(&mut world, 4), Some(("add-rule-peer".into(), "replica,region".into(), success)));
}

#[test]
fn merged_regions_end_with_the_targets_id_and_a_higher_version() {
    let mut world = World::new();
    let parts = world.topology.split(4, &["m".into()]).expect("splits");
    let (source, target) = (parts[0], parts[1]);
    let version = region(&world, target).version;
    let refused =
        order(&mut world, json!({ "name": "merge-region", "source_region_id": 4, "target_region_id": 4 }));
    assert_eq!(refused, (500, "[PD:region:ErrRegionNotAdjacent]two regions are not adjacent".into()));
    order(
        &mut world,
        json!({ "name": "merge-region", "source_region_id": source, "target_region_id": target }),
    );
    let merged = region(&world, target);
    assert_eq!((merged.start.as_ref(), merged.end.as_ref()), (&b""[..], &b""[..]));
    assert_eq!(merged.version, version + 2);
    let by_id = pdpb::GetRegionByIdRequest { header: header(), region_id: source, ..Default::default() };
    let gone: pdpb::GetRegionResponse = world.ask(m::GET_REGION_BY_ID, &by_id);
    assert_eq!((gone.region, error_of(gone.header)), (None, String::new()));
}

#[test]
fn a_peer_moves_with_its_leadership_and_an_emptied_store_is_buried() {
    let mut world = World::new();
    let new = world.topology.add_store("127.0.0.1:44".into(), Vec::new());
    assert!(region(&world, 4).led_by(1));
    world.pd.remove_store(&mut world.topology, 1).expect("there");
    assert_eq!(world.topology.store(1).map(|store| store.state), Some(StoreState::Offline));
    let moved = json!({ "name": "transfer-peer", "region_id": 4, "from_store_id": 1, "to_store_id": new });
    assert_eq!(order(&mut world, moved).0, 200);
    let at = region(&world, 4);
    assert!(at.led_by(new) && at.peer_on(1).is_none() && at.peers.len() == 3);
    assert_eq!(world.topology.store(1).map(|store| store.state), Some(StoreState::Tombstone));
}

#[test]
fn orders_that_make_no_sense_are_refused_in_pds_words() {
    let mut world = World::new();
    let table = [
        (json!({}), 400, "missing operator name"),
        (json!({ "name": "no-such" }), 400, "unknown operator"),
        (json!({ "name": "transfer-leader" }), 400, "missing region id"),
        (json!({ "name": "transfer-leader", "region_id": 4 }), 400, "missing store id to transfer leader to"),
        (
            json!({ "name": "transfer-leader", "region_id": 4, "to_store_id": 9 }),
            500,
            "region has no voter in store 9",
        ),
        (
            json!({ "name": "add-peer", "region_id": 4, "store_id": 1 }),
            500,
            "region already has peer in store 1",
        ),
        (
            json!({ "name": "add-peer", "region_id": 4, "store_id": 9 }),
            500,
            "[PD:core:ErrStoreNotFound]store 9 not found",
        ),
        (
            json!({ "name": "remove-peer", "region_id": 4, "store_id": 9 }),
            500,
            "region has no peer in store 9",
        ),
        (json!({ "name": "split-region", "region_id": 4 }), 400, "missing split policy"),
        (
            json!({ "name": "split-region", "region_id": 4, "policy": "x" }),
            500,
            "check policy x is not supported",
        ),
        (
            json!({ "name": "split-region", "region_id": 4, "policy": "usekey", "keys": ["zz"] }),
            500,
            "split key zz is not in hex format",
        ),
        (
            json!({ "name": "transfer-region", "region_id": 4, "to_store_ids": [] }),
            400,
            "missing store ids to transfer region to",
        ),
        (
            json!({ "name": "transfer-leader", "region_id": -1.5e300, "to_store_id": 1 }),
            500,
            "[PD:region:ErrRegionNotFound]region 0 not found",
        ),
    ];
    for (asked, status, message) in table {
        assert_eq!(order(&mut world, asked.clone()), (status, message.into()), "{asked}");
    }
}

#[test]
fn a_running_operator_can_be_cancelled_and_a_scatter_takes_its_time() {
    let mut world = World::new();
    world.pd.set_operator_step(Duration::from_secs(5));
    let request = pdpb::ScatterRegionRequest { header: header(), regions_id: vec![4], ..Default::default() };
    let told: pdpb::ScatterRegionResponse = world.ask(m::SCATTER_REGION, &request);
    assert_eq!(told.finished_percentage, 100);
    let of = |status| Some(("scatter-region".to_owned(), "leader".to_owned(), status));
    assert_eq!(operator(&mut world, 4), of(OperatorStatus::Running));
    assert_eq!(world.pd.next_due(), Some(world.now.after(Duration::from_secs(5))));
    assert_eq!(world.page("DELETE", "/pd/api/v1/operators/4", "").0, 200);
    assert_eq!(operator(&mut world, 4), of(OperatorStatus::Cancel));
    assert_eq!(world.pd.next_due(), None);
}
