//! Transactions on keys of one's own.

use futures_util::future::join_all;
use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::error::{Error, ErrorKind, TxnError};
use tikv_client_core::txn::{CommitInfo, Transaction};
use tikv_client_core::types::Timestamp;

use super::{Keys, anywhere};

const NAMES: [&str; 7] = ["a", "c", "e", "k", "p", "v", "z"];

async fn write(client: &Client, keys: &Keys, names: &[&str], value: &str) -> Result<CommitInfo, Error> {
    let mut txn = client.begin().await?;
    for name in names {
        txn.put(keys.txn(name), value.to_owned())?;
    }
    txn.commit().await
}

/// The names that a snapshot of now holds.
async fn now(client: &Client, keys: &Keys) -> Vec<String> {
    let snapshot = client.snapshot(client.current_timestamp().await.unwrap());
    keys.names(&snapshot.scan(keys.all_txn()).await.unwrap())
}

#[apply(anywhere)]
async fn a_commit_over_many_regions_is_seen_from_its_time_on_and_not_before(client: Client, keys: Keys) {
    let commit_ts = write(&client, &keys, &NAMES, "v").await.unwrap().commit_ts;
    for (ts, wanted) in [(Timestamp(commit_ts.0 - 1), 0), (commit_ts, 7)] {
        let snapshot = client.snapshot(ts);
        assert_eq!(snapshot.scan(keys.all_txn()).await.unwrap().len(), wanted);
        let found = snapshot.batch_get(NAMES.map(|name| keys.txn(name))).await.unwrap();
        assert_eq!(found.len(), wanted);
        assert_eq!(snapshot.get(keys.txn("k")).await.unwrap().is_some(), wanted > 0);
    }
}

#[apply(anywhere)]
async fn a_transaction_reads_its_own_writes_over_what_is_stored(client: Client, keys: Keys) {
    write(&client, &keys, &NAMES, "stored").await.unwrap();
    let mut txn = client.begin().await.unwrap();
    txn.delete(keys.txn("c")).unwrap();
    txn.put(keys.txn("d"), "own").unwrap();
    txn.put(keys.txn("z"), "own").unwrap();
    assert_eq!(txn.get(keys.txn("c")).await.unwrap(), None);
    assert_eq!(txn.get(keys.txn("z")).await.unwrap().unwrap(), "own");
    let wanted = ["a", "d", "e", "k", "p", "v", "z"];
    for pairs in [1, 3, 256] {
        let scan = || txn.scan(keys.all_txn()).batch_size(pairs);
        assert_eq!(keys.names(&scan().await.unwrap()), wanted);
        let mut reverse = keys.names(&scan().reverse().await.unwrap());
        reverse.reverse();
        assert_eq!(reverse, wanted);
    }
    assert_eq!(now(&client, &keys).await, NAMES, "nobody else sees it");
    txn.commit().await.unwrap();
    assert_eq!(now(&client, &keys).await, wanted);
}

#[apply(anywhere)]
async fn what_is_rolled_back_never_was(client: Client, keys: Keys) {
    let mut txn = client.begin().await.unwrap();
    txn.put(keys.txn("a"), "v").unwrap();
    txn.rollback().await.unwrap();
    assert!(now(&client, &keys).await.is_empty());
    let start_ts = txn.start_ts();
    assert_eq!(txn.commit().await.unwrap_err(), Error::Txn(TxnError::Over { start_ts }));
}

#[apply(anywhere)]
async fn of_two_that_write_one_key_the_first_to_commit_wins(client: Client, keys: Keys) {
    let mut late = client.begin().await.unwrap();
    late.put(keys.txn("a"), "late").unwrap();
    late.put(keys.txn("z"), "late").unwrap();
    write(&client, &keys, &["a"], "first").await.unwrap();
    let error = late.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(now(&client, &keys).await, ["a"]);
}

#[apply(anywhere)]
async fn increments_at_once_are_all_counted(client: Client, keys: Keys) {
    let key = keys.txn("counter");
    let increment = || async {
        let add = async |txn: &mut Transaction| -> Result<(), Error> {
            let before = txn.get(&key).await?.map_or(0, |value| value.len());
            txn.put(&key, vec![b'+'; before + 1])
        };
        client.transact(add).await.unwrap().attempts
    };
    let attempts = join_all((0..16).map(|_| increment())).await;
    assert!(attempts.iter().sum::<u32>() >= 16);
    let counted = client.begin().await.unwrap().get(&key).await.unwrap().unwrap();
    assert_eq!(counted.len(), 16);
}

#[apply(anywhere)]
async fn timestamps_grow(client: Client, _keys: Keys) {
    let mut last = Timestamp(0);
    for _ in 0..50 {
        let all = join_all((0..4).map(|_| client.current_timestamp())).await;
        let mut all: Vec<Timestamp> = all.into_iter().map(Result::unwrap).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4, "no two are the same");
        assert!(all[0] > last);
        last = all[3];
    }
}
