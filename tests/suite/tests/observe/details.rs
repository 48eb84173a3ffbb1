//! What calls cost, as those who ask are told.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::observe::Collector;
use tikv_client_core::request::{Command, RequestOptions};
use tikv_embedded::control::{Action, Matcher, Refusal, Rule};

use crate::fixture::{client, in_time};
use crate::runtimes::{Rt, test_on_each_runtime};

#[apply(test_on_each_runtime)]
async fn a_get_tells_what_the_store_says_of_it(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    crate::fixture::write(&client, &["a1"], "value").await.unwrap();
    let snapshot = client.snapshot(in_time(client.current_timestamp()).await.unwrap());
    let collector = Collector::default();
    let options = RequestOptions::new().record_details(true).observer(collector.clone());
    in_time(snapshot.get("a1").with(&options)).await.unwrap();
    let exec = collector.exec();
    assert_eq!((exec.calls, exec.failed, exec.requests), (1, 0, 1));
    assert_eq!(exec.stores.scan.processed_keys, 1);
    assert!(exec.stores.scan.processed_bytes > 0 && exec.traffic.received > 0 && exec.traffic.sent > 0);
    assert!(exec.store_time > Duration::ZERO && exec.time >= exec.store_time);
    let text = exec.to_string();
    assert!(text.contains("scan_detail: {total_process_keys: 1"), "{text}");
    // Calls that do not name it are not told.
    in_time(snapshot.get("a1")).await.unwrap();
    assert_eq!(collector.exec().calls, 1);
}

#[apply(test_on_each_runtime)]
async fn pauses_and_retries_are_told_with_the_requests_one_by_one(rt: Rt) {
    let cluster = rt.raw_cluster();
    let collector = Collector::default();
    let client = client(&cluster).await.with(&RequestOptions::new().observer(collector.clone()));
    let rule = Rule::new(Matcher::method("RawGet"), Action::Refuse(Refusal::busy())).times(1);
    let fault = cluster.fault(rule);
    in_time(client.raw().get("a")).await.unwrap();
    assert_eq!(fault.hits(), 1);
    let exec = collector.exec();
    assert_eq!((exec.calls, exec.requests), (1, 2));
    assert!(exec.pauses >= 1 && exec.pause_time > Duration::ZERO && exec.pd_time > Duration::ZERO);
    let requests = collector.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.command == Command::RawGet && request.answered));
}

#[apply(test_on_each_runtime)]
async fn a_commit_tells_its_phases(rt: Rt) {
    let cluster = rt.txn_cluster();
    let collector = Collector::default();
    let client = client(&cluster).await.with(&RequestOptions::new().observer(collector.clone()));
    let mut txn = in_time(client.begin()).await.unwrap();
    for key in ["a1", "c1", "e1"] {
        txn.put(key, "value").unwrap();
    }
    in_time(txn.commit()).await.unwrap();
    let commit = collector.commit();
    assert_eq!((commit.write_keys, commit.write_bytes), (3, 21));
    assert_eq!((commit.prewrite_regions, commit.prewrite_requests), (3, 3));
    assert!(commit.prewrite > Duration::ZERO && commit.commit > Duration::ZERO);
    assert!(commit.get_commit_ts > Duration::ZERO);
    assert!(commit.prewrite >= commit.slowest_prewrite.time);
}
