//! Regions as such: found, listed, split and scattered; and what the client knows of stores.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::{Client, Space};
use tikv_client_core::config::Config;
use tikv_client_core::range_task::{RegionOverview, Scattering};
use tikv_client_core::types::{Key, KeyRange, Liveness, RegionId, StoreId};
use tikv_embedded::Cluster as Embedded;
use tikv_embedded::control::{Action, Matcher, Node, Rule};

use crate::fixture::{BOUNDS, Cluster, PATIENCE, client, client_with, in_time, sleep};
use crate::runtimes::{Rt, test_on_each_runtime};

fn starts(regions: &[RegionOverview]) -> Vec<String> {
    let text = |key: &Key| String::from_utf8_lossy(key.as_slice()).into_owned();
    regions.iter().map(|region| text(&region.range.start)).collect()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

// client-go: region_cache_test.go: TestSimple, TestScanRegions, TestBatchLoadRegions, TestListRegionIDsInCache.
#[apply(test_on_each_runtime)]
async fn all_regions_of_a_range_are_listed_in_order(rt: Rt) {
    let cluster = rt.txn_cluster();
    let regions = client(&cluster).await.regions(Space::Txn);
    let all = in_time(regions.list(..)).await.unwrap();
    assert_eq!(starts(&all), [&[""][..], &BOUNDS[..]].concat());
    assert!(all.iter().all(|region| region.peers.len() == 3 && region.store.0 > 0));
    assert_eq!(regions.count(), all.len(), "they are remembered");
    assert_eq!(starts(&in_time(regions.list("c".."h")).await.unwrap()), ["b", "d", "f"]);
    assert_eq!(starts(&in_time(regions.list("b"..)).await.unwrap()), BOUNDS);
    assert_eq!(starts(&in_time(regions.list("a"..).limit(2)).await.unwrap()), ["", "b"]);
}

// client-go: region_cache_test.go: TestSplit (the part on end keys), TestLocateRegionByIDFromPD.
#[apply(test_on_each_runtime)]
async fn one_region_is_found_by_key_by_end_and_by_id(rt: Rt) {
    let cluster = rt.txn_cluster();
    let regions = client(&cluster).await.regions(Space::Txn);
    let found = in_time(regions.locate("e")).await.unwrap();
    assert_eq!(found.range, KeyRange::new("d", "f"));
    assert_eq!(in_time(regions.locate_id(found.region.id)).await.unwrap(), found);
    assert_eq!(in_time(regions.locate_below("f")).await.unwrap(), found);
    assert_eq!(in_time(regions.locate("d")).await.unwrap(), found);
    assert_eq!(starts(&[in_time(regions.locate_below("")).await.unwrap()]), ["t"], "the last");
    assert_eq!(regions.known(b"e").map(|entry| entry.version()), Some(found.region));
    regions.forget(found.region);
    assert!(regions.known(b"e").is_none());
    assert_eq!(in_time(regions.locate("e")).await.unwrap(), found);
    let none = in_time(regions.locate_id(RegionId(99_999))).await.unwrap_err();
    assert!(none.to_string().contains("99999"), "{none}");
}

async fn split_in(client: &Client, space: Space) {
    let regions = client.regions(space);
    let split = in_time(regions.split(["x", "c", "cc", "", "x"])).await.unwrap();
    assert_eq!(split.regions.len(), 3);
    let all = in_time(regions.list(..)).await.unwrap();
    let all_starts = starts(&all);
    assert!(["c", "cc", "x"].iter().all(|key| all_starts.contains(&(*key).to_owned())), "{all_starts:?}");
    let again = in_time(regions.split(["x", "c", "cc"])).await.unwrap();
    assert_eq!(again.regions, [], "they are split already");
    assert_eq!(starts(&in_time(regions.list(..)).await.unwrap()), all_starts);
}

// client-go: tikv/split_region.go: SplitRegions; region_cache_test.go: TestSplit.
#[apply(test_on_each_runtime)]
async fn regions_split_at_the_keys_that_are_given_once(rt: Rt) {
    let cluster = rt.start(Embedded::builder().stores(3));
    let client = client(&cluster).await;
    split_in(&client, Space::Txn).await;
    let cluster = rt.start(Embedded::builder().stores(3));
    let client = crate::fixture::client(&cluster).await;
    split_in(&client, Space::Raw).await;
}

#[apply(test_on_each_runtime)]
async fn a_split_of_regions_that_the_client_knows_no_more_finds_them_again(rt: Rt) {
    let cluster = rt.txn_cluster();
    let regions = client(&cluster).await.regions(Space::Txn);
    in_time(regions.list(..)).await.unwrap();
    for key in ["c", "e", "m"] {
        cluster.split(key).unwrap();
    }
    let region = cluster.region_of("m").unwrap();
    cluster.transfer_leader(region, cluster.leader_of(region).unwrap() % 3 + 1).unwrap();
    let keys = ["c", "cc", "dd", "ee", "mm", "zz"];
    assert_eq!(in_time(regions.split(keys)).await.unwrap().regions.len(), keys.len() - 1);
    let all = starts(&in_time(regions.list(..)).await.unwrap());
    assert!(keys.iter().all(|key| all.contains(&(*key).to_owned())), "{all:?}");
}

// client-go: tikv/split_region.go: WaitScatterRegionFinish, CheckRegionInScattering.
#[apply(test_on_each_runtime)]
async fn new_regions_are_scattered_and_their_end_is_waited_for(rt: Rt) {
    let cluster = rt.start(Embedded::builder().stores(3));
    cluster.set_operator_step(Duration::from_millis(20));
    let regions = client(&cluster).await.regions(Space::Txn);
    let split = in_time(regions.split(["d", "h", "m", "t"]).scatter("group")).await.unwrap();
    assert_eq!((split.regions.len(), split.unscattered), (4, Vec::new()));
    for region in split.regions {
        assert_eq!(in_time(regions.scattered(region)).await, Ok(Scattering::Over));
        assert_eq!(in_time(regions.scattering(region)).await, Ok(Scattering::Over));
    }
    let first = in_time(regions.locate("a")).await.unwrap();
    assert_eq!(in_time(regions.scatter([first.region.id])).await, Ok(Vec::new()));
    assert_eq!(in_time(regions.scattering(RegionId(99_999))).await, Ok(Scattering::Over));
}

// client-go: region_cache_test.go: TestBuckets, TestLocateBucket.
#[apply(test_on_each_runtime)]
async fn the_buckets_of_a_region_are_those_that_its_leader_reported(rt: Rt) {
    let cluster = rt.raw_cluster();
    let regions = client(&cluster).await.regions(Space::Raw);
    let whole = in_time(regions.buckets("e")).await.unwrap();
    assert_eq!(whole, [KeyRange::new("d", "f")], "none were reported");
    let region = cluster.region_of_raw("e").unwrap();
    cluster.report_buckets(region, 3, ["d", "da", "e", "f"]);
    let buckets = in_time(regions.buckets("e")).await.unwrap();
    assert_eq!(buckets, [("d", "da"), ("da", "e"), ("e", "f")].map(|(from, to)| KeyRange::new(from, to)));
    let known = regions.known(b"e").unwrap().buckets().unwrap();
    assert_eq!(known.version(), 3);
}

fn zones(rt: &Rt) -> Cluster {
    let label = |zone: &'static str| [("zone", zone)];
    rt.start(Embedded::builder().stores(3).labels(["z1", "z2", "z3"].map(label)))
}

// client-go: region_cache_test.go: TestStoreLabels, TestResolveStateTransition.
#[apply(test_on_each_runtime)]
async fn stores_are_known_with_their_labels_before_they_are_called(rt: Rt) {
    let cluster = zones(&rt);
    let client = client(&cluster).await;
    eventually("three stores are known", || client.stores().len() == 3).await;
    let zone = |(store, meta): &(StoreId, _)| {
        let meta: &std::sync::Arc<tikv_client_core::store::StoreMeta> = meta;
        (store.0, meta.labels.get("zone").map(str::to_owned))
    };
    let zones: Vec<_> = client.stores().iter().map(zone).collect();
    assert_eq!(zones, [1, 2, 3].map(|id| (id, Some(format!("z{id}")))));
}

// client-go: region_cache_test.go: TestHealthCheckWithAddressChange; store_cache.go: startHealthCheckLoop.
#[apply(test_on_each_runtime)]
async fn a_store_that_stops_is_found_out_and_found_again_while_calls_go_on_elsewhere(rt: Rt) {
    let cluster = rt.start(Embedded::builder().stores(3));
    let mut config = Config::default();
    config.stores.probe_every = Duration::from_millis(50);
    let client = client_with(&cluster, config).await;
    client.raw().put("k", "v").await.unwrap();
    let leader = cluster.leader_of(cluster.region_of_raw("k").unwrap()).unwrap();
    let liveness = || client.store(StoreId(leader)).liveness;
    assert_eq!(liveness(), Liveness::Reachable);
    cluster.stop_store(leader).unwrap();
    cluster.fail_over(leader);
    assert_eq!(in_time(client.raw().get("k")).await.unwrap().unwrap(), "v");
    eventually("the store is not reachable", || liveness() == Liveness::Unreachable).await;
    cluster.restart_store(leader).unwrap();
    eventually("the store is reachable again", || liveness() == Liveness::Reachable).await;
}

// routing.md 3.3 [Q]: in client-go the request itself waits for the probe.
#[apply(test_on_each_runtime)]
async fn fixes_no_request_waits_for_a_probe(rt: Rt) {
    let cluster = rt.start(Embedded::builder().stores(3));
    let mut config = Config::default();
    config.stores.liveness_timeout = Duration::from_secs(60);
    let client = client_with(&cluster, config).await;
    client.raw().put("k", "v").await.unwrap();
    let region = cluster.region_of_raw("k").unwrap();
    let leader = cluster.leader_of(region).unwrap();
    let held = cluster.fault(Rule::new(Matcher::method("Check"), Action::Hold));
    cluster.disconnect(Node::Store(leader)).unwrap();
    cluster.transfer_leader(region, leader % 3 + 1).unwrap();
    assert_eq!(in_time(client.raw().get("k")).await.unwrap().unwrap(), "v");
    drop(held);
}

// client-go: tikv/kv_test.go: TestMinSafeTsFromStores.
#[apply(test_on_each_runtime)]
async fn the_smallest_safe_timestamp_of_a_zone_comes_once_it_is_asked_for(rt: Rt) {
    let cluster = zones(&rt);
    let mut config = Config::default();
    config.stores.safe_ts_every = Duration::from_millis(20);
    let client = client_with(&cluster, config).await;
    eventually("three stores are known", || client.stores().len() == 3).await;
    assert_eq!(client.min_safe_ts(None), None, "nobody has told one");
    eventually("a safe timestamp", || client.min_safe_ts(None).is_some()).await;
    let before = client.min_safe_ts(Some("z1"));
    eventually("it rises", || client.min_safe_ts(Some("z1")) > before).await;
    assert_eq!(client.min_safe_ts(Some("nowhere")), None);
}

// client-go: config/client.go: EnablePreload; region_cache.go: refreshRegionIndex.
#[apply(test_on_each_runtime)]
async fn regions_are_preloaded_and_refreshed_if_that_is_wanted_and_no_more_kept_than_may(rt: Rt) {
    let cluster = rt.raw_cluster();
    let mut config = Config::default();
    config.preload_regions = true;
    config.refresh_regions = Duration::from_millis(20);
    let client = client_with(&cluster, config).await;
    let regions = client.regions(Space::Raw);
    eventually("all are known", || regions.count() == 8).await;
    cluster.split_raw("c").unwrap();
    eventually("so is a new one", || regions.count() == 9).await;

    let mut config = Config::default();
    config.max_regions = 4;
    let client = client_with(&cluster, config).await;
    let regions = client.regions(Space::Raw);
    assert_eq!(in_time(regions.list(..)).await.unwrap().len(), 9);
    assert_eq!(regions.count(), 4);
}
