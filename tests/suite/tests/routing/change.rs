//! Leaders, splits and stores that move under a client that knew better.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::raw::RawClient;
use tikv_embedded::Cluster as Embedded;
use tikv_embedded::control::{Action, Matcher, Node, Rule};

use crate::fixture::{Cluster, a_key_of_each_region, client, in_time, keys, poll_once};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Three stores and eight regions that the client knows, each with a key.
async fn filled(rt: &Rt) -> (Cluster, RawClient) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    raw.batch_put(a_key_of_each_region().into_iter().map(|key| (key, "v"))).await.unwrap();
    (cluster, raw)
}

async fn all_are_there(raw: &RawClient) {
    let all = a_key_of_each_region();
    let values = in_time(raw.batch_get(&all)).await.unwrap();
    assert!(values.iter().all(|value| value.as_deref() == Some(b"v")), "{values:?}");
    for key in &all {
        assert_eq!(in_time(raw.get(key)).await.unwrap().unwrap(), "v");
    }
    assert_eq!(in_time(raw.scan(.., 100)).await.unwrap().len(), all.len());
}

fn region_of(cluster: &Cluster, key: &str) -> u64 {
    cluster.region_of_raw(key).unwrap()
}

#[apply(test_on_each_runtime)]
async fn a_leader_that_moved_is_found_without_asking_pd(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    let region = region_of(&cluster, "i1");
    let asked = cluster.count(Matcher::any().at(Node::AnyPd));
    for store in [1, 2, 3, 1, 3, 2] {
        cluster.transfer_leader(region, store).unwrap();
        assert_eq!(raw.get("i1").await.unwrap().unwrap(), "v");
        raw.put("i1", "v").await.unwrap();
    }
    assert_eq!(asked.hits(), 0, "a store that does not lead names the leader");
}

#[apply(test_on_each_runtime)]
async fn once_found_a_leader_is_asked_at_once(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    let region = region_of(&cluster, "i1");
    let leader = cluster.leader_of(region).unwrap();
    cluster.transfer_leader(region, leader % 3 + 1).unwrap();
    let gets = cluster.count(Matcher::method("RawGet"));
    for _ in 0..5 {
        raw.get("i1").await.unwrap();
    }
    assert_eq!(gets.hits(), 6, "one was refused by the old leader");
}

#[apply(test_on_each_runtime)]
async fn a_region_without_a_leader_is_waited_for(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    let region = region_of(&cluster, "c1");
    cluster.cluster(|cluster, _| cluster.topology.drop_leader(region)).unwrap();
    let refused = cluster.count(Matcher::method("RawGet"));
    let (value, ()) = tokio::join!(in_time(raw.get("c1")), async {
        refused.hit(2).await;
        cluster.transfer_leader(region, 2).unwrap();
    });
    assert_eq!(value.unwrap().unwrap(), "v");
}

#[apply(test_on_each_runtime)]
async fn regions_that_split_and_merge_are_found_again(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    for key in ["a1", "c1", "e", "g1\0", "i", "j", "m1", "x", "zz"] {
        cluster.split_raw(key).unwrap();
    }
    all_are_there(&raw).await;
    raw.batch_put(["a0", "a2", "j0", "z0", "zzz"].map(|key| (key, "new"))).await.unwrap();
    let found = keys(raw.scan(.., 100).await.unwrap());
    assert_eq!(
        found,
        ["a0", "a1", "a2", "c1", "e1", "g1", "i1", "j0", "m1", "r1", "z0", "z1", "zz", "zzz"]
            .into_iter()
            .filter(|key| *key != "zz")
            .collect::<Vec<_>>()
    );
    for (source, target) in [("c1", "e1"), ("m1", "j0"), ("zzz", "z0")] {
        let (source, target) = (region_of(&cluster, source), region_of(&cluster, target));
        if source != target {
            // Neighbours only: the others stay as they are.
            drop(cluster.cluster(|cluster, _| cluster.topology.merge(source, target)));
        }
    }
    assert_eq!(keys(raw.scan(.., 100).await.unwrap()), found);
}

#[apply(test_on_each_runtime)]
async fn a_region_that_splits_between_grouping_and_sending_loses_no_key(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    raw.put("m", "known").await.unwrap();
    let all: Vec<String> = (0..100).map(|n| format!("m{n:02}")).collect();
    for method in ["RawBatchPut", "RawBatchGet", "RawBatchDelete"] {
        // The request is at the store, for the region as it was; then the region splits, then the store looks at it.
        let held = cluster.fault(Rule::new(Matcher::method(method), Action::Hold));
        let split = async {
            held.hit(1).await;
            let at = |n: usize| format!("m{:02}{method}", n * 20);
            for n in 1..4 {
                cluster.split_raw(at(n)).unwrap();
            }
            drop(held);
        };
        match method {
            "RawBatchPut" => {
                let (done, ()) =
                    tokio::join!(in_time(raw.batch_put(all.iter().map(|key| (key.as_str(), "v")))), split);
                done.unwrap();
                assert_eq!(raw.scan("m0".."n", 1000).await.unwrap().len(), 100);
            }
            "RawBatchGet" => {
                let (values, ()) = tokio::join!(in_time(raw.batch_get(all.clone())), split);
                assert_eq!(values.unwrap().iter().flatten().count(), 100);
            }
            _ => {
                let (done, ()) = tokio::join!(in_time(raw.batch_delete(all.clone())), split);
                done.unwrap();
                assert_eq!(keys(raw.scan("m".."n", 1000).await.unwrap()), ["m"]);
            }
        }
    }
}

#[apply(test_on_each_runtime)]
async fn a_range_whose_region_splits_meanwhile_is_covered_once(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let all: Vec<String> = (0..100).map(|n| format!("m{n:02}")).collect();
    raw.batch_put(all.iter().map(|key| (key.as_str(), "v"))).await.unwrap();
    for (reverse, at) in [(false, "m33"), (true, "m66")] {
        let held = cluster.fault(Rule::new(Matcher::method("RawScan"), Action::Hold));
        let scan = raw.scan("a".., 1000);
        let scan = if reverse { scan.reverse() } else { scan };
        let (found, ()) = tokio::join!(in_time(scan), async {
            held.hit(1).await;
            cluster.split_raw(at).unwrap();
            drop(held);
        });
        let mut found = keys(found.unwrap());
        if reverse {
            found.reverse();
        }
        assert_eq!(found, all);
    }
    let held = cluster.fault(Rule::new(Matcher::method("RawDeleteRange"), Action::Hold));
    let (done, ()) = tokio::join!(in_time(raw.delete_range("m10".."m90")), async {
        held.hit(1).await;
        cluster.split_raw("m50").unwrap();
        drop(held);
    });
    done.unwrap();
    assert_eq!(raw.scan(.., 1000).await.unwrap().len(), 20);
}

#[apply(test_on_each_runtime)]
async fn a_dead_store_s_regions_are_served_by_those_that_took_over(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    for store in 1..=3 {
        cluster.stop_store(store).unwrap();
        cluster.fail_over(store);
        all_are_there(&raw).await;
        cluster.restart_store(store).unwrap();
    }
}

#[apply(test_on_each_runtime)]
async fn a_store_that_comes_back_is_used_again(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    let region = region_of(&cluster, "r1");
    let leader = cluster.leader_of(region).unwrap();
    let others = cluster.count(Matcher::method("RawGet"));
    cluster.stop_store(leader).unwrap();
    let (value, ()) = tokio::join!(in_time(raw.get("r1")), async {
        // The call has failed there, and asks the others who leads.
        others.hit(1).await;
        cluster.restart_store(leader).unwrap();
    });
    assert_eq!(value.unwrap().unwrap(), "v");
    all_are_there(&raw).await;
}

#[apply(test_on_each_runtime)]
async fn broken_connections_are_made_again(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    for _ in 0..3 {
        for store in 1..=3 {
            cluster.disconnect(Node::Store(store)).unwrap();
        }
        cluster.disconnect(Node::Pd(0)).unwrap();
        all_are_there(&raw).await;
    }
}

#[apply(test_on_each_runtime)]
async fn a_store_that_moved_is_followed(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    for store in 1..=3 {
        let before = cluster.address(Node::Store(store));
        let now = cluster.move_store(store).unwrap();
        assert_ne!(before, Some(now));
    }
    all_are_there(&raw).await;
}

#[apply(test_on_each_runtime)]
async fn stores_that_changed_places_are_told_apart(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    cluster.swap_stores(1, 2).unwrap();
    all_are_there(&raw).await;
}

#[apply(test_on_each_runtime)]
async fn another_pd_leader_is_found(rt: Rt) {
    let cluster = rt.start(Embedded::builder().stores(1).pd_members(3).raw_split_keys(["m"]));
    let client = client(&cluster).await;
    let raw = client.raw();
    raw.put("a", "v").await.unwrap();
    cluster.set_pd_leader(Some(1));
    // The region of this key was not asked for yet.
    raw.put("z", "v").await.unwrap();
    cluster.stop_server(Node::Pd(1)).unwrap();
    cluster.set_pd_leader(Some(2));
    let ts = in_time(client.current_timestamp()).await.unwrap();
    assert!(ts.physical_ms() > 0);
    cluster.split_raw("q").unwrap();
    assert_eq!(in_time(raw.get("z")).await.unwrap().unwrap(), "v");
}

#[apply(test_on_each_runtime)]
async fn what_pd_tells_too_late_is_not_believed_over_what_stores_tell(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    cluster.freeze_regions();
    for key in ["c1", "i", "m1"] {
        cluster.split_raw(key).unwrap();
    }
    all_are_there(&raw).await;
    cluster.thaw_regions();
    all_are_there(&raw).await;
}

#[apply(test_on_each_runtime)]
async fn a_slow_store_does_not_slow_the_others(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    let slow = cluster.leader_of(region_of(&cluster, "a1")).unwrap();
    let held = cluster.fault(Rule::new(Matcher::any().at(Node::Store(slow)), Action::Hold));
    let mut waits = rt.spawn({
        let raw = raw.clone();
        async move { raw.get("a1").await }
    });
    held.hit(1).await;
    for key in a_key_of_each_region() {
        if cluster.leader_of(cluster.region_of_raw(&key).unwrap()) != Some(slow) {
            let call = raw.get(&key).deadline(Duration::from_secs(5));
            assert_eq!(call.await.unwrap().unwrap(), "v");
        }
    }
    assert!(poll_once(&mut waits).await.is_none());
    drop(held);
    assert_eq!(in_time(waits).await.unwrap().unwrap().unwrap(), "v");
}

/// Two stores whose region is led by the first; the client knows it, and has a stream to it.
async fn led_by_the_first(rt: &Rt) -> (Cluster, RawClient, u64) {
    let cluster = rt.start(Embedded::builder().stores(2));
    let raw = client(&cluster).await.raw();
    let cf = raw.clone().column_family("write");
    for raw in [&raw, &cf] {
        raw.batch_put(["db", "key1", "key2", "key3", "key4", "kv"].map(|key| (key, "v"))).await.unwrap();
    }
    let region = region_of(&cluster, "key1");
    assert_eq!(cluster.leader_of(region), Some(1));
    (cluster, raw, region)
}

#[apply(test_on_each_runtime)]
async fn every_call_follows_a_store_that_took_the_address_of_one_that_left(rt: Rt) {
    let (cluster, raw, region) = led_by_the_first(&rt).await;
    // The other store serves where this one did, and this one is gone for good.
    cluster.swap_stores(1, 2).unwrap();
    cluster.stop_store(1).unwrap();
    cluster.transfer_leader(region, 2).unwrap();
    cluster
        .cluster(|cluster, _| {
            cluster.topology.remove_peer(region, 1)?;
            cluster.topology.forget_store(1);
            Ok::<(), tikv_embedded::model::TopologyError>(())
        })
        .unwrap();
    for raw in [raw.clone(), raw.column_family("write")] {
        assert_eq!(in_time(raw.get("db")).await.unwrap().unwrap(), "v");
        let values = in_time(raw.batch_get(["kv", "key1", "none"])).await.unwrap();
        assert_eq!(values.iter().flatten().count(), 2);
        assert_eq!(keys(in_time(raw.scan("key1".."keyz", 3)).await.unwrap()), ["key1", "key2", "key3"]);
        let down = in_time(raw.scan(.."key3", 10).reverse().keys_only()).await.unwrap();
        assert_eq!(keys(down), ["key2", "key1", "db"]);
        in_time(raw.put("new", "v")).await.unwrap();
        in_time(raw.delete("new")).await.unwrap();
        in_time(raw.batch_delete(["db", "kv"])).await.unwrap();
        in_time(raw.delete_range("key3"..)).await.unwrap();
        assert_eq!(keys(in_time(raw.scan(.., 10)).await.unwrap()), ["key1", "key2"]);
        in_time(raw.delete_range(..)).await.unwrap();
        assert!(in_time(raw.scan(.., 10)).await.unwrap().is_empty());
    }
}
