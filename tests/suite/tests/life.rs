//! Clients begin and end: their tasks with them; two in one process know nothing of each other.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::config::Config;
use tikv_client_core::error::Error;
use tikv_client_core::machine::Interrupt;
use tikv_embedded::Cluster as Embedded;
use tikv_embedded::control::{Action, Matcher, Rule};

use crate::fixture::{a_key_of_each_region, client, client_with, in_time, keys, yield_now};
use crate::runtimes::{Rt, test_on_each_runtime};

#[apply(test_on_each_runtime)]
async fn the_tasks_of_a_client_end_with_its_last_handle(rt: Rt) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    let raw = client.raw();
    raw.batch_put(a_key_of_each_region().into_iter().map(|key| (key, "v"))).await.unwrap();
    client.current_timestamp().await.unwrap();
    let other = client.clone();
    drop(client);
    // The raw client and the clone still keep it.
    drop(other);
    assert_eq!(raw.get("m1").await.unwrap().unwrap(), "v");
    drop(raw);
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn the_tasks_end_although_servers_are_silent_or_gone(rt: Rt) {
    for gone in [false, true] {
        let cluster = rt.raw_cluster();
        let client = client(&cluster).await;
        client.raw().put("m", "v").await.unwrap();
        let silent = cluster.fault(Rule::new(Matcher::any(), Action::Lose));
        if gone {
            cluster.stop();
        }
        let calls: Vec<_> = ["a", "m", "z"].map(|key| client.raw().get(key)).into();
        let waiting: Vec<_> = calls.into_iter().map(|call| rt.spawn(call.into_future())).collect();
        yield_now().await;
        drop(client);
        for call in waiting {
            call.abort();
        }
        rt.no_tasks().await;
        drop(silent);
    }
}

#[apply(test_on_each_runtime)]
async fn two_clients_of_two_clusters_live_side_by_side(rt: Rt) {
    let (one, two) = (rt.raw_cluster(), rt.start(Embedded::builder()));
    let (at_one, at_two) = (client(&one).await, client(&two).await);
    assert_ne!(at_one.cluster_id(), at_two.cluster_id());
    at_one.raw().put("key", "one").await.unwrap();
    at_two.raw().put("key", "two").await.unwrap();
    assert_eq!(at_one.raw().get("key").await.unwrap().unwrap(), "one");
    assert_eq!(at_two.raw().get("key").await.unwrap().unwrap(), "two");
    drop((at_one, one));
    assert_eq!(at_two.raw().get("key").await.unwrap().unwrap(), "two");
}

#[apply(test_on_each_runtime)]
async fn two_clients_of_one_cluster_have_their_own_configuration_and_routes(rt: Rt) {
    let cluster = rt.raw_cluster();
    let mut config = Config::default();
    config.max_entry = 10;
    let small = client_with(&cluster, config).await;
    let large = client(&cluster).await;
    assert!(small.raw().put("key", vec![1; 20]).await.is_err());
    large.raw().put("key", vec![1; 20]).await.unwrap();
    assert_eq!(small.raw().get("key").await.unwrap().unwrap(), vec![1; 20]);
    // One learns of a new leader; the other finds out by itself.
    let region = cluster.region_of_raw("key").unwrap();
    cluster.transfer_leader(region, cluster.leader_of(region).unwrap() % 3 + 1).unwrap();
    let gets = cluster.count(Matcher::method("RawGet"));
    for client in [&small, &large] {
        assert!(client.raw().get("key").await.unwrap().is_some());
    }
    assert_eq!(gets.hits(), 4);
}

#[apply(test_on_each_runtime)]
async fn a_closed_client_ends_its_calls_and_its_tasks(rt: Rt) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    let raw = client.raw();
    raw.put("m", "v").await.unwrap();
    let held = cluster.fault(Rule::new(Matcher::method("RawGet"), Action::Hold));
    let waiting = rt.spawn(raw.get("m").into_future());
    held.hit(1).await;
    assert_eq!(in_time(client.close(Duration::from_secs(5))).await, 0);
    for ended in [in_time(waiting).await.unwrap(), in_time(raw.get("m")).await] {
        assert!(matches!(ended, Err(Error::Interrupted { why: Interrupt::Closed, .. })), "{ended:?}");
    }
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn closing_twice_is_closing_once(rt: Rt) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    let other = client.clone();
    assert_eq!(in_time(client.close(Duration::ZERO)).await, 0);
    assert_eq!(in_time(other.close(Duration::from_secs(5))).await, 0);
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn a_hundred_clients_come_and_go(rt: Rt) {
    let cluster = rt.start(Embedded::builder());
    for n in 0..100_u8 {
        let client = client(&cluster).await;
        client.raw().put(vec![b'k', n], vec![n + 1]).await.unwrap();
    }
    rt.no_tasks().await;
    let client = client(&cluster).await;
    assert_eq!(keys(client.raw().scan(.., 1000).await.unwrap()).len(), 100);
}
