//! Many tasks at one key: what each saw and wrote fits one order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_client_core::types::Timestamp;

use crate::fixture::{client, in_time};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Writes `value` under "k" until nobody was faster: from when to when.
async fn set(client: &Client, value: u32) -> (Timestamp, Timestamp) {
    loop {
        let mut txn = client.begin().await.unwrap();
        txn.put("k", value.to_string()).unwrap();
        match in_time(txn.commit()).await {
            Ok(done) => return (txn.start_ts(), done.commit_ts),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
}

#[apply(test_on_each_runtime)]
async fn transactions_that_wrote_one_key_did_not_overlap(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            rt.spawn(async move {
                let mut own = Vec::new();
                for n in 0..20 {
                    own.push(set(&client, n).await);
                }
                own
            })
        })
        .collect();
    let mut writes = Vec::new();
    for task in tasks {
        writes.extend(in_time(task).await.unwrap());
    }
    writes.sort_unstable();
    assert_eq!(writes.len(), 200);
    assert!(writes.windows(2).all(|pair| pair[0].1 < pair[1].0), "two overlap");
}

#[apply(test_on_each_runtime)]
async fn a_read_sees_the_last_commit_before_its_time_while_others_write(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let mut writes = vec![set(&client, 0).await.1];
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let (client, over) = (client.clone(), Arc::clone(&over));
            rt.spawn(async move {
                let mut seen = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let txn = client.begin().await.unwrap();
                    let value = in_time(txn.get("k")).await.unwrap().unwrap();
                    seen.push((txn.start_ts(), String::from_utf8_lossy(&value).parse::<usize>().unwrap()));
                }
                seen
            })
        })
        .collect();
    for n in 1..=30 {
        writes.push(set(&client, n).await.1);
    }
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        for (ts, value) in in_time(reader).await.unwrap() {
            let wanted = writes.partition_point(|commit_ts| *commit_ts <= ts) - 1;
            assert_eq!(value, wanted, "at {ts}");
        }
    }
}

#[apply(test_on_each_runtime)]
async fn of_two_that_lock_two_keys_in_opposite_orders_at_least_one_commits(rt: Rt) {
    let cluster = rt.txn_cluster();
    let (one, two) = (client(&cluster).await, client(&cluster).await);
    for _ in 0..20 {
        let (mut first, mut second) = (one.begin().await.unwrap(), two.begin().await.unwrap());
        for key in ["a", "z"] {
            first.put(key, "first").unwrap();
            second.put(key, "second").unwrap();
        }
        let (first, second) = tokio::join!(in_time(first.commit()), in_time(second.commit()));
        let failed: Vec<Error> = [first, second].into_iter().filter_map(Result::err).collect();
        assert!(failed.len() <= 1, "{failed:?}");
        assert!(failed.iter().all(|error| error.kind() == ErrorKind::Conflict), "{failed:?}");
        let snapshot = one.snapshot(one.current_timestamp().await.unwrap());
        let values = in_time(snapshot.batch_get(["a", "z"])).await.unwrap();
        assert_eq!(values[0].value, values[1].value);
    }
}
