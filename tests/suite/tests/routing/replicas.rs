//! Reads that go to other replicas than the leader: they see the same, and find the leader when a replica cannot answer.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_client_core::error::Error;
use tikv_client_core::machine::Asked;
use tikv_client_core::replica::{ReadProfile, Replica};
use tikv_client_core::types::{StoreId, Timestamp};
use tikv_embedded::control::{Action, Matcher, Node, Refusal, Rule, Trait};
use tikv_embedded::model::PeerRole;
use tikv_embedded::{Cluster as Embedded, Fault};

use crate::fixture::{Cluster, client, client_with, in_time};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Three stores in zones of their own, one region led by the first, and a value in it.
async fn zoned(rt: &Rt, zone: Option<&str>) -> (Cluster, Client, u64) {
    let labels = ["z1", "z2", "z3"].map(|zone| [("zone", zone)]);
    let cluster = rt.start(Embedded::builder().stores(3).labels(labels));
    let mut config = Config::default();
    config.zone = zone.map(str::to_owned);
    let client = client_with(&cluster, config).await;
    let region = cluster.region_of("k").unwrap();
    cluster.transfer_leader(region, 1).unwrap();
    let mut txn = client.begin().await.unwrap();
    txn.put("k", "v").unwrap();
    txn.commit().await.unwrap();
    (cluster, client, region)
}

/// Counts gets at a store.
fn gets(cluster: &Cluster, store: u64) -> Fault {
    cluster.count(Matcher::method("KvGet").at(Node::Store(store)))
}

async fn now(client: &Client) -> Timestamp {
    client.current_timestamp().await.unwrap()
}

#[apply(test_on_each_runtime)]
async fn a_follower_read_sees_what_was_committed_and_leaves_the_leader_alone(rt: Rt) {
    let (cluster, client, _) = zoned(&rt, None).await;
    let at_leader = gets(&cluster, 1);
    let replica_reads = cluster.count(Matcher::method("KvGet").saying(Trait::ReplicaRead));
    for n in 0..5 {
        let mut txn = client.begin().await.unwrap();
        txn.put("k", format!("v{n}")).unwrap();
        txn.commit().await.unwrap();
        let snapshot = client.snapshot(now(&client).await).replica(Replica::Follower);
        assert_eq!(snapshot.get("k").await.unwrap().unwrap(), format!("v{n}"));
    }
    assert_eq!((at_leader.hits(), replica_reads.hits()), (0, 5));
}

#[apply(test_on_each_runtime)]
async fn every_kind_of_read_can_go_to_a_follower(rt: Rt) {
    let (cluster, client, _) = zoned(&rt, None).await;
    let at_leader = cluster.count(Matcher::any().at(Node::Store(1)).saying(Trait::ReplicaRead));
    let snapshot = client.snapshot(now(&client).await).replica(Replica::Follower);
    let counted = cluster.count(Matcher::any().saying(Trait::ReplicaRead));
    assert_eq!(snapshot.get("k").await.unwrap().unwrap(), "v");
    assert_eq!(snapshot.batch_get(["k", "none"]).await.unwrap().len(), 1);
    assert_eq!(snapshot.scan(..).await.unwrap().len(), 1);
    let mut cursor = snapshot.scan(..).cursor();
    assert_eq!(cursor.next_batch().await.unwrap().unwrap().len(), 1);
    let mut txn = client.begin().await.unwrap();
    txn.read_as(ReadProfile::new().replica(Replica::Follower));
    assert_eq!(txn.get("k").await.unwrap().unwrap(), "v");
    assert_eq!(counted.hits(), 5);
    assert_eq!(at_leader.hits(), 0);
}

#[apply(test_on_each_runtime)]
async fn raw_reads_can_go_to_a_follower(rt: Rt) {
    let cluster = rt.start(Embedded::builder().stores(3));
    let raw = client(&cluster).await.raw();
    raw.put("k", "v").await.unwrap();
    let counted = cluster.count(Matcher::any().saying(Trait::ReplicaRead));
    assert_eq!(raw.get("k").replica(Replica::Follower).await.unwrap().unwrap(), "v");
    let near = raw.clone().profile(ReadProfile::new().replica(Replica::Follower));
    assert_eq!(near.batch_get(["k"]).await.unwrap(), [Some("v".into())]);
    assert_eq!(near.scan(.., 10).await.unwrap().len(), 1);
    near.put("k2", "v").await.unwrap();
    assert_eq!(counted.hits(), 3, "writes go to the leader");
}

#[apply(test_on_each_runtime)]
async fn the_closest_replica_is_the_one_of_the_clients_zone(rt: Rt) {
    let (cluster, client, _) = zoned(&rt, Some("z3")).await;
    // Each store is heard of once.
    for store in 1..=3 {
        let there = ReadProfile::new().replica(Replica::Mixed).stores([StoreId(store)]);
        let (value, told) = client.snapshot(now(&client).await).get("k").profile(there).explain().await;
        assert_eq!(value.unwrap().unwrap(), "v");
        assert_eq!(told.hops[0].store, StoreId(store), "{told}");
    }
    let near = gets(&cluster, 3);
    for _ in 0..5 {
        let snapshot = client.snapshot(now(&client).await);
        assert_eq!(snapshot.get("k").replica(Replica::Closest).await.unwrap().unwrap(), "v");
    }
    assert_eq!(near.hits(), 5);
}

#[apply(test_on_each_runtime)]
async fn a_client_can_read_from_followers_as_a_rule(rt: Rt) {
    let cluster = rt.start(Embedded::builder().stores(3));
    let mut config = Config::default();
    config.reading = Some(ReadProfile::new().replica(Replica::Follower).into());
    let client = client_with(&cluster, config).await;
    let counted = cluster.count(Matcher::any().saying(Trait::ReplicaRead));
    let snapshot = client.snapshot(now(&client).await);
    assert!(snapshot.get("k").await.unwrap().is_none());
    assert_eq!(counted.hits(), 1);
    assert!(snapshot.get("k").replica(Replica::Leader).await.unwrap().is_none());
    assert_eq!(counted.hits(), 1, "a call says otherwise");
}

#[apply(test_on_each_runtime)]
async fn a_learner_is_read_and_the_others_when_it_is_gone(rt: Rt) {
    let cluster = rt.start(Embedded::builder().stores(3));
    let region = cluster.region_of("k").unwrap();
    let fourth = cluster.add_store([("zone", "z4")]).unwrap();
    cluster.add_peer(region, fourth, PeerRole::Learner).unwrap();
    let client = client(&cluster).await;
    let at_learner = gets(&cluster, fourth);
    for _ in 0..3 {
        let snapshot = client.snapshot(now(&client).await);
        assert!(snapshot.get("k").replica(Replica::Learner).await.unwrap().is_none());
    }
    assert_eq!(at_learner.hits(), 3);
    cluster.stop_store(fourth).unwrap();
    let snapshot = client.snapshot(now(&client).await);
    assert!(in_time(snapshot.get("k").replica(Replica::Learner)).await.unwrap().is_none());
}

#[apply(test_on_each_runtime)]
async fn a_stale_read_asks_nobody_else_while_the_replica_has_the_data(rt: Rt) {
    let (cluster, client, region) = zoned(&rt, None).await;
    let ts = now(&client).await;
    // Both followers know all up to then, and the leader has moved on.
    for store in [2, 3] {
        cluster.conditions(|conditions| conditions.set_safe_ts(region, store, Some(ts.0)));
    }
    let near = ReadProfile::new().stale(true).stores([StoreId(2)]);
    let stale = cluster.count(Matcher::method("KvGet").saying(Trait::StaleRead));
    let at_leader = gets(&cluster, 1);
    let snapshot = client.snapshot(ts).profile(near);
    assert_eq!(snapshot.get("k").await.unwrap().unwrap(), "v");
    assert_eq!((stale.hits(), at_leader.hits()), (1, 0));
}

#[apply(test_on_each_runtime)]
async fn a_stale_read_that_finds_no_data_waits_once_then_the_leader_answers_still_stale(rt: Rt) {
    let (cluster, client, region) = zoned(&rt, None).await;
    for store in [2, 3] {
        cluster.conditions(|conditions| conditions.set_safe_ts(region, store, Some(1)));
    }
    let near = ReadProfile::new().stale(true).stores([StoreId(2)]);
    let pds = cluster.count(Matcher::method("GetRegion"));
    let (at_leader, at_second) = (gets(&cluster, 1), gets(&cluster, 2));
    let snapshot = client.snapshot(now(&client).await).profile(near);
    let (value, told) = in_time(snapshot.get("k").explain()).await;
    assert_eq!(value.unwrap().unwrap(), "v");
    assert_eq!((at_second.hits(), at_leader.hits()), (2, 1), "{told}");
    assert!(told.hops.iter().all(|hop| hop.asked == Asked::StaleRead), "{told}");
    assert_eq!(pds.hits(), 0, "the region is as good as before");
}

#[apply(test_on_each_runtime)]
async fn a_replica_that_lags_is_waited_for_never_read_early(rt: Rt) {
    let (cluster, client, region) = zoned(&rt, None).await;
    for store in [2, 3] {
        cluster.conditions(|conditions| conditions.set_lag(region, store, Some(Duration::from_millis(50))));
    }
    for n in 0..5 {
        let mut txn = client.begin().await.unwrap();
        txn.put("k", format!("v{n}")).unwrap();
        txn.commit().await.unwrap();
        let snapshot = client.snapshot(now(&client).await).replica(Replica::Follower);
        assert_eq!(in_time(snapshot.get("k")).await.unwrap().unwrap(), format!("v{n}"));
    }
}

#[apply(test_on_each_runtime)]
async fn a_busy_leader_passes_reads_on_to_idle_followers(rt: Rt) {
    let (cluster, client, _) = zoned(&rt, None).await;
    cluster.conditions(|conditions| conditions.set_busy(1, Some(Duration::from_secs(5))));
    let followers = cluster.count(Matcher::method("KvGet").saying(Trait::ReplicaRead));
    let idle = ReadProfile::new().busy_threshold(Duration::from_millis(100));
    let snapshot = client.snapshot(now(&client).await).profile(idle);
    assert_eq!(in_time(snapshot.get("k")).await.unwrap().unwrap(), "v");
    assert_eq!(followers.hits(), 1);
}

#[apply(test_on_each_runtime)]
async fn an_attempt_time_of_ones_own_passes_a_hanging_leader(rt: Rt) {
    let (cluster, client, _) = zoned(&rt, None).await;
    let held = cluster.fault(Rule::new(Matcher::method("KvGet").at(Node::Store(1)), Action::Hold));
    let quick = ReadProfile::new().attempt(Duration::from_millis(100));
    let snapshot = client.snapshot(now(&client).await).profile(quick);
    assert_eq!(in_time(snapshot.get("k")).await.unwrap().unwrap(), "v");
    assert_eq!(held.hits(), 1);
}

#[apply(test_on_each_runtime)]
async fn a_call_explains_its_way(rt: Rt) {
    let (cluster, client, region) = zoned(&rt, None).await;
    cluster.transfer_leader(region, 2).unwrap();
    let busy = Action::Refuse(Refusal::StaleCommand);
    let _refused = cluster.fault(Rule::new(Matcher::method("KvGet").at(Node::Store(2)), busy).times(1));
    let (value, told) = client.snapshot(now(&client).await).get("k").explain().await;
    assert_eq!(value.unwrap().unwrap(), "v");
    let stores: Vec<u64> = told.hops.iter().map(|hop| hop.store.0).collect();
    assert_eq!(stores, [1, 2, 2], "{told}");
    let errors: Vec<bool> = told.hops.iter().map(|hop| hop.error.is_some()).collect();
    assert_eq!(errors, [true, true, false], "{told}");
    let text = told.to_string();
    assert!(
        text.starts_with("3 attempts in ") && text.contains("leader") && text.ends_with("answered"),
        "{text}"
    );
    // Writes, too, and what a failure tells.
    let (done, told) = client.raw().put("", "v").explain().await;
    assert!(matches!(done, Err(Error::Input(_))) && told.hops.is_empty());
}

#[apply(test_on_each_runtime)]
async fn what_a_read_that_fails_has_tried_stands_in_its_error(rt: Rt) {
    let (cluster, client, _) = zoned(&rt, None).await;
    let _refused = cluster
        .fault(Rule::new(Matcher::method("KvGet"), Action::Refuse(Refusal::NotLeader { leader: None })));
    let call = client.snapshot(now(&client).await).get("k").deadline(Duration::from_millis(300));
    let error = in_time(call).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("deadline") && text.contains("at store 1") && text.contains("at store 2"),
        "{text}"
    );
}

#[apply(test_on_each_runtime)]
async fn replica_reads_survive_leaders_that_move_and_stores_that_go(rt: Rt) {
    let (cluster, client, region) = zoned(&rt, None).await;
    let kinds = [Replica::Follower, Replica::Mixed, Replica::PreferLeader, Replica::Learner];
    for (round, replica) in kinds.into_iter().enumerate() {
        let store = round as u64 % 3 + 1;
        cluster.transfer_leader(region, store).unwrap();
        cluster.stop_store(store % 3 + 1).unwrap();
        for _ in 0..3 {
            let snapshot = client.snapshot(now(&client).await).replica(replica);
            assert_eq!(in_time(snapshot.get("k")).await.unwrap().unwrap(), "v");
        }
        cluster.restart_store(store % 3 + 1).unwrap();
    }
}
