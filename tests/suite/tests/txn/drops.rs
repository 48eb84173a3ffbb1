//! Commits and reads that are dropped at every point: all of a transaction is there or nothing, and no lock stays.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_embedded::control::{Action, Matcher, Rule};

use crate::fixture::{ONE_EACH, all_now, client, each, in_time, sleep, write};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Polls `call` at most `polls` times, then drops it. Whether it was over.
async fn dropped_after(polls: usize, call: impl IntoFuture) -> bool {
    let mut call = pin!(call.into_future());
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if polled {
            return true;
        }
        // The client's tasks, and the cluster's thread, may bring the next completion.
        sleep(Duration::from_micros(100)).await;
    }
    false
}

const MOST: usize = 2_000;

#[apply(test_on_each_runtime)]
async fn a_commit_can_be_dropped_at_every_point(rt: Rt) {
    let cluster = rt.txn_cluster();
    let observer = client(&cluster).await;
    let (mut seen_all, mut seen_none) = (0, 0);
    for polls in 0..MOST {
        let value = polls.to_string();
        let before = all_now(&observer).await;
        let fresh = client(&cluster).await;
        let mut txn = fresh.begin().await.unwrap();
        for key in ONE_EACH {
            txn.put(key, value.clone()).unwrap();
        }
        let over = in_time(dropped_after(polls, txn.commit())).await;
        // What is left to do is done in the background, or by nobody.
        assert_eq!(in_time(fresh.close(Duration::from_secs(10))).await, 0);
        let checks = cluster.count(Matcher::method("KvCheckTxnStatus"));
        let found = all_now(&observer).await;
        assert_eq!(checks.hits(), 0, "dropped after {polls} polls, it left locks");
        assert!(found == before || found == each(ONE_EACH, &value), "{polls}: {found:?} after {before:?}");
        if found == before {
            seen_none += 1;
        } else {
            seen_all += 1;
        }
        if over {
            assert_eq!(found, each(ONE_EACH, &value));
            assert!(seen_all > 0 && seen_none > 1, "{seen_all} of all, {seen_none} of nothing");
            return;
        }
    }
    panic!("not over after {MOST} polls");
}

#[apply(test_on_each_runtime)]
async fn a_commit_dropped_after_its_decision_was_sent_is_finished(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let held = cluster.fault(Rule::new(Matcher::method("KvCommit"), Action::Hold));
    let mut txn = client.begin().await.unwrap();
    for key in ONE_EACH {
        txn.put(key, "v").unwrap();
    }
    let committing = rt.spawn(txn.commit().into_future());
    held.hit(1).await;
    committing.abort();
    assert!(in_time(committing).await.is_err(), "it was cancelled");
    drop(held);
    assert_eq!(all_now(&client).await, each(ONE_EACH, "v"));
    assert_eq!(in_time(client.close(Duration::from_secs(10))).await, 0);
}

#[apply(test_on_each_runtime)]
async fn a_commit_dropped_before_its_decision_is_rolled_back_without_waiting_for_its_time(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let silent = cluster.fault(Rule::new(Matcher::method("KvPrewrite"), Action::DropAnswer).skip(7));
    let mut txn = client.begin().await.unwrap();
    for key in ONE_EACH {
        txn.put(key, "v").unwrap();
    }
    let committing = rt.spawn(txn.commit().into_future());
    silent.hit(1).await;
    committing.abort();
    assert!(in_time(committing).await.is_err(), "it was cancelled");
    drop(silent);
    write(&client, &ONE_EACH, "w").await.unwrap();
    assert_eq!(all_now(&client).await, each(ONE_EACH, "w"));
}

async fn reads_at_every_point<F: IntoFuture>(
    rt: &Rt,
    make: impl Fn(&Client, tikv_client_core::snapshot::Snapshot) -> F,
) {
    let cluster = rt.txn_cluster();
    let writer = client(&cluster).await;
    write(&writer, &ONE_EACH, "v").await.unwrap();
    for polls in 0..MOST {
        let fresh = client(&cluster).await;
        let snapshot = fresh.snapshot(fresh.current_timestamp().await.unwrap());
        let over = in_time(dropped_after(polls, make(&fresh, snapshot))).await;
        assert_eq!(all_now(&fresh).await, each(ONE_EACH, "v"));
        if over {
            return;
        }
    }
    panic!("not over after {MOST} polls");
}

#[apply(test_on_each_runtime)]
async fn a_get_can_be_dropped_at_every_point(rt: Rt) {
    reads_at_every_point(&rt, |_, snapshot| snapshot.get("m1")).await;
}

#[apply(test_on_each_runtime)]
async fn a_batch_get_can_be_dropped_at_every_point(rt: Rt) {
    reads_at_every_point(&rt, |_, snapshot| snapshot.batch_get(ONE_EACH)).await;
}

#[apply(test_on_each_runtime)]
async fn a_scan_can_be_dropped_at_every_point(rt: Rt) {
    reads_at_every_point(&rt, |_, snapshot| snapshot.scan(..).reverse()).await;
}

#[apply(test_on_each_runtime)]
async fn a_begin_can_be_dropped_at_every_point(rt: Rt) {
    reads_at_every_point(&rt, |client, _| client.begin()).await;
}
