//! One transaction at a time.

use macro_rules_attribute::apply;
use tikv_client_core::config::Config;
use tikv_client_core::error::{Error, ErrorKind, InputError, TxnError};
use tikv_client_core::types::{KeyRange, Timestamp};
use tikv_embedded::control::{Matcher, Node};

use crate::fixture::{ONE_EACH, all_now, client, client_with, each, keys, texts, write};
use crate::runtimes::{Rt, test_on_each_runtime};

#[apply(test_on_each_runtime)]
async fn a_commit_is_seen_from_its_timestamp_on_and_not_before(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let mut txn = client.begin().await.unwrap();
    for key in ONE_EACH {
        txn.put(key, "v").unwrap();
    }
    assert!(all_now(&client).await.is_empty(), "nobody sees what is not committed");
    let before = client.current_timestamp().await.unwrap();
    let commit_ts = txn.commit().await.unwrap().commit_ts;
    assert!(txn.start_ts() < before && before < commit_ts);
    for (ts, wanted) in
        [(before, 0), (Timestamp(commit_ts.0 - 1), 0), (commit_ts, 8), (Timestamp(commit_ts.0 + 1), 8)]
    {
        let snapshot = client.snapshot(ts);
        assert_eq!(snapshot.scan(..).await.unwrap().len(), wanted, "at {ts}, committed at {commit_ts}");
        assert_eq!(snapshot.batch_get(ONE_EACH).await.unwrap().len(), wanted);
        assert_eq!(snapshot.get("m1").await.unwrap().is_some(), wanted > 0);
    }
}

#[apply(test_on_each_runtime)]
async fn a_transaction_reads_its_own_writes_and_nobody_else_s_later_ones(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    write(&client, &["a", "k", "z"], "old").await.unwrap();
    let mut txn = client.begin().await.unwrap();
    txn.put("a", "own").unwrap();
    txn.delete("k").unwrap();
    txn.put("new", "own").unwrap();
    write(&client, &["z", "zz"], "later").await.unwrap();

    assert_eq!(txn.get("a").await.unwrap().unwrap(), "own");
    assert_eq!(txn.get("k").await.unwrap(), None);
    assert_eq!(txn.get("z").await.unwrap().unwrap(), "old");
    assert_eq!(txn.get("zz").await.unwrap(), None);
    let found = texts(txn.batch_get(["zz", "z", "new", "k", "a", "a"]).await.unwrap());
    let wanted = [("a", "own"), ("new", "own"), ("z", "old")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(found, wanted);
    assert_eq!(texts(txn.scan(..).await.unwrap()), wanted);
    txn.put("k", "again").unwrap();
    assert_eq!(txn.get("k").await.unwrap().unwrap(), "again");
    assert_eq!((txn.len(), txn.is_empty()), (3, false));
}

#[apply(test_on_each_runtime)]
async fn a_scan_is_the_union_of_the_store_and_the_own_writes_in_both_directions(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let stored: Vec<String> = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).collect();
    write(&client, &stored.iter().map(String::as_str).collect::<Vec<_>>(), "stored").await.unwrap();
    let mut txn = client.begin().await.unwrap();
    let mut wanted = stored.clone();
    for key in ["c", "h", "q", "z"] {
        txn.delete(key).unwrap();
        wanted.retain(|there| there != key);
    }
    for key in ["0", "aa", "d", "hh", "k\0", "zz"] {
        txn.put(key, "own").unwrap();
        wanted.push(key.to_owned());
    }
    wanted.sort();
    wanted.dedup();
    let within = |range: &KeyRange| -> Vec<String> {
        wanted.iter().filter(|key| range.contains(key.as_bytes())).cloned().collect()
    };
    for (start, end) in [("", ""), ("a", "d"), ("c", "i"), ("h", "h\0"), ("zz", ""), ("", "0\0"), ("b5", "y")]
    {
        let range = KeyRange::new(start, end);
        for batch in [1, 3, 256] {
            let scan = || txn.scan(&range).batch_size(batch);
            assert_eq!(keys(scan().await.unwrap()), within(&range), "{range:?} by {batch}");
            let mut reverse = keys(scan().reverse().await.unwrap());
            reverse.reverse();
            assert_eq!(reverse, within(&range), "{range:?} by {batch} in reverse");
            for limit in [0, 1, 4, 5] {
                let first: Vec<_> = within(&range).into_iter().take(limit).collect();
                assert_eq!(keys(scan().limit(limit).await.unwrap()), first, "{range:?} by {batch}, {limit}");
                let last: Vec<_> = within(&range).into_iter().rev().take(limit).collect();
                assert_eq!(keys(scan().reverse().limit(limit).await.unwrap()), last);
            }
        }
        let mut cursor = txn.scan(&range).batch_size(4).cursor();
        let mut found = Vec::new();
        while let Some(pairs) = cursor.next_batch().await.unwrap() {
            assert!(!pairs.is_empty());
            found.extend(keys(pairs));
        }
        assert_eq!(found, within(&range), "{range:?} by cursor");
    }
    let pairs = txn.scan("c".."i").keys_only().await.unwrap();
    assert!(pairs.iter().all(|pair| pair.value.is_empty()));
    assert_eq!(keys(pairs), within(&KeyRange::new("c", "i")));
}

#[apply(test_on_each_runtime)]
async fn puts_inserts_and_deletes_over_all_regions_are_one(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    write(&client, &ONE_EACH, "v").await.unwrap();
    let mut txn = client.begin().await.unwrap();
    for (n, key) in ONE_EACH.into_iter().enumerate() {
        match n % 3 {
            0 => txn.put(key, "w").unwrap(),
            1 => txn.delete(key).unwrap(),
            _ => {}
        }
    }
    txn.insert("new", "w").unwrap();
    txn.delete("not there").unwrap();
    txn.commit().await.unwrap();
    let wanted = [("a1", "w"), ("e1", "v"), ("g1", "w"), ("m1", "v"), ("new", "w"), ("r1", "w")];
    assert_eq!(all_now(&client).await, wanted.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[apply(test_on_each_runtime)]
async fn what_is_rolled_back_or_dropped_never_was(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    write(&client, &["a"], "old").await.unwrap();
    let writes = cluster.count(Matcher::method("KvPrewrite"));
    let mut txn = client.begin().await.unwrap();
    txn.put("a", "new").unwrap();
    txn.rollback().await.unwrap();
    let mut dropped = client.begin().await.unwrap();
    dropped.put("a", "new").unwrap();
    drop(dropped);
    assert_eq!(writes.hits(), 0);
    assert_eq!(all_now(&client).await, each(["a"], "old"));
}

#[apply(test_on_each_runtime)]
async fn a_transaction_that_is_over_takes_nothing_more(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    for commit in [true, false] {
        let mut txn = client.begin().await.unwrap();
        txn.put("a", "v").unwrap();
        if commit {
            txn.commit().await.unwrap();
        } else {
            txn.rollback().await.unwrap();
        }
        let start_ts = txn.start_ts();
        let errors = [
            txn.put("a", "v").unwrap_err(),
            txn.delete("a").unwrap_err(),
            txn.insert("a", "v").unwrap_err(),
            txn.get("a").await.unwrap_err(),
            txn.batch_get(["a"]).await.unwrap_err(),
            txn.scan(..).await.unwrap_err(),
            txn.commit().await.unwrap_err(),
            txn.rollback().await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error, Error::Txn(TxnError::Over { start_ts }));
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}

#[apply(test_on_each_runtime)]
async fn a_transaction_that_wrote_nothing_commits_without_a_word(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let mut txn = client.begin().await.unwrap();
    assert_eq!(txn.get("a").await.unwrap(), None);
    let sent = cluster.count(Matcher::any().at(Node::AnyStore));
    assert_eq!(txn.commit().await.unwrap().commit_ts, txn.start_ts());
    assert_eq!(sent.hits(), 0);
}

#[apply(test_on_each_runtime)]
async fn an_insert_of_what_exists_fails_with_the_key(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    write(&client, &["m"], "v").await.unwrap();
    let mut txn = client.begin().await.unwrap();
    txn.put("a", "w").unwrap();
    txn.insert("m", "w").unwrap();
    let error = txn.commit().await.unwrap_err();
    assert!(matches!(&error, Error::Txn(TxnError::AlreadyExists { .. })), "{error:?}");
    assert!(error.to_string().contains("6D"), "{error}");
    assert_eq!(all_now(&client).await, each(["m"], "v"));
    // What was deleted, in the store or by the transaction itself, can be inserted.
    let mut txn = client.begin().await.unwrap();
    txn.delete("m").unwrap();
    txn.insert("m", "again").unwrap();
    txn.commit().await.unwrap();
    assert_eq!(all_now(&client).await, each(["m"], "again"));
    let mut txn = client.begin().await.unwrap();
    txn.put("n", "v").unwrap();
    assert!(matches!(txn.insert("n", "w"), Err(Error::Txn(TxnError::AlreadyExists { .. }))));
}

#[apply(test_on_each_runtime)]
async fn input_that_cannot_be_committed_is_refused_where_it_is_given(rt: Rt) {
    let cluster = rt.txn_cluster();
    let mut config = Config::default();
    config.max_entry = 100;
    config.max_txn = 150;
    let client = client_with(&cluster, config).await;
    let mut txn = client.begin().await.unwrap();
    let refused = |error: Result<(), Error>| match error {
        Err(Error::Input(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(txn.put("", "v")), InputError::EmptyKey { .. }));
    assert!(matches!(refused(txn.delete("")), InputError::EmptyKey { .. }));
    assert!(matches!(refused(txn.put("k", "")), InputError::EmptyValue { .. }));
    let large = refused(txn.put("bulk", vec![0; 97]));
    assert!(matches!(large, InputError::EntryTooLarge { size: 101, limit: 100, .. }), "{large:?}");
    assert!(large.to_string().contains("62756C6B"), "{large}");
    assert!(matches!(refused(txn.put(vec![1; 9 << 10], "v")), InputError::KeyTooLarge { .. }));
    txn.put("a", vec![0; 90]).unwrap();
    assert!(matches!(refused(txn.put("b", vec![0; 90])), InputError::TxnTooLarge { limit: 150, .. }));
    assert!(matches!(txn.get("").await, Err(Error::Input(InputError::EmptyKey { .. }))));
    assert!(matches!(txn.batch_get(["a", ""]).await, Err(Error::Input(InputError::EmptyKey { .. }))));
    // Nothing of that is in the transaction.
    assert_eq!(txn.len(), 1);
    txn.commit().await.unwrap();
    for ts in [0, u64::MAX] {
        let read = client.snapshot(Timestamp(ts)).get("a").await;
        assert!(matches!(read, Err(Error::Input(InputError::BadTimestamp { .. }))), "{read:?}");
    }
}

#[apply(test_on_each_runtime)]
async fn thousands_of_keys_over_all_regions_are_committed_as_one(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let key = |n: u32| format!("{}{n:05}", char::from(b'a' + (n % 26) as u8));
    let mut txn = client.begin().await.unwrap();
    for n in 0..5_000 {
        txn.put(key(n), n.to_string()).unwrap();
    }
    // A region splits while the commit is under way.
    cluster.split("m02000").unwrap();
    let commit_ts = txn.commit().await.unwrap().commit_ts;
    let snapshot = client.snapshot(commit_ts);
    let pairs = snapshot.scan(..).await.unwrap();
    assert_eq!(pairs.len(), 5_000);
    assert!(pairs.windows(2).all(|pair| pair[0].key < pair[1].key));
    let found = snapshot.batch_get((0..6_000).map(key)).await.unwrap();
    assert_eq!(found, pairs);
}

#[apply(test_on_each_runtime)]
async fn timestamps_of_many_callers_are_all_different_and_grow(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            rt.spawn(async move {
                let mut own = Vec::new();
                for _ in 0..20 {
                    own.push(client.current_timestamp().await.unwrap());
                }
                own
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        let own = task.await.unwrap();
        assert!(own.windows(2).all(|pair| pair[0] < pair[1]));
        all.extend(own);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1_000);
}

#[apply(test_on_each_runtime)]
async fn without_pd_a_split_is_learned_from_the_store(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    write(&client, &["i1", "j1"], "v").await.unwrap();
    let snapshot = client.snapshot(client.current_timestamp().await.unwrap());
    assert_eq!(snapshot.scan("h".."k").await.unwrap().len(), 2);
    cluster.split("j").unwrap();
    cluster.stop_server(Node::Pd(0)).unwrap();
    assert_eq!(snapshot.get("i1").await.unwrap().unwrap(), "v");
    assert_eq!(snapshot.get("j1").await.unwrap().unwrap(), "v");
    assert_eq!(snapshot.batch_get(["i1", "j1", "j2"]).await.unwrap().len(), 2);
}

#[apply(test_on_each_runtime)]
async fn scans_of_many_pages_and_regions_come_whole_and_in_order(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let key = |n: usize| format!("m{n:06}");
    for rows in [1, 256, 257, 768] {
        let mut txn = client.begin().await.unwrap();
        for n in 0..rows {
            txn.put(key(n), n.to_string()).unwrap();
        }
        txn.commit().await.unwrap();
        // Cut once: at the second round they are there already.
        for at in [123, 456] {
            drop(cluster.split(key(at)));
        }
        let txn = client.begin().await.unwrap();
        let wanted: Vec<(String, String)> = (0..rows).map(|n| (key(n), n.to_string())).collect();
        assert_eq!(texts(txn.scan("m"..).await.unwrap()), wanted);
        assert_eq!(texts(txn.scan("m".to_owned()..key(rows / 2)).await.unwrap()), wanted[..rows / 2]);
        let names: Vec<String> = wanted.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys(txn.scan("m"..).keys_only().await.unwrap()), names);
        let down: Vec<String> = names.into_iter().rev().collect();
        assert_eq!(keys(txn.scan("m"..).reverse().await.unwrap()), down);
    }
}
