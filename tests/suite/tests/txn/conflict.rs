//! Two transactions that meet.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_client_core::error::{Error, ErrorKind, TxnError};
use tikv_client_core::txn::{TransactOptions, Transaction};
use tikv_embedded::control::{Action, Matcher, Rule};

use crate::fixture::{Cluster, all_now, client, client_with, each, in_time, poll_once, texts, within, write};
use crate::runtimes::{Rt, Task, test_on_each_runtime};

#[apply(test_on_each_runtime)]
async fn of_two_that_write_one_key_the_first_to_commit_wins_and_the_other_names_the_key(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let (mut first, mut second) = (client.begin().await.unwrap(), client.begin().await.unwrap());
    first.put("m", "first").unwrap();
    for key in ["a", "m", "z"] {
        second.put(key, "second").unwrap();
    }
    let commit_ts = first.commit().await.unwrap().commit_ts;
    let error = in_time(second.commit()).await.unwrap_err();
    let Error::Txn(TxnError::WriteConflict { key, start_ts, conflict_ts, conflict_commit_ts, .. }) = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(key.key().as_slice(), b"m");
    assert_eq!(
        (*start_ts, *conflict_ts, *conflict_commit_ts),
        (second.start_ts(), first.start_ts(), commit_ts)
    );
    assert!(error.to_string().contains("key 6D"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.is_retryable() && !error.is_undetermined());
    assert_eq!(all_now(&client).await, each(["m"], "first"), "nothing of the second is there");
}

#[apply(test_on_each_runtime)]
async fn with_redaction_on_a_conflict_shows_no_key(rt: Rt) {
    let cluster = rt.txn_cluster();
    let mut config = Config::default();
    config.redact_keys = true;
    let client = client_with(&cluster, config).await;
    let (mut first, mut second) = (client.begin().await.unwrap(), client.begin().await.unwrap());
    first.put("secret", "1").unwrap();
    second.put("secret", "2").unwrap();
    first.commit().await.unwrap();
    let error = in_time(second.commit()).await.unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.contains('?') && !text.contains("736563726574") && !text.contains("secret"), "{text}");
    }
}

#[apply(test_on_each_runtime)]
async fn a_delete_conflicts_like_a_put_and_reads_do_not(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    write(&client, &["a", "b"], "v").await.unwrap();
    let (mut one, mut two, mut reader) =
        (client.begin().await.unwrap(), client.begin().await.unwrap(), client.begin().await.unwrap());
    reader.get("a").await.unwrap();
    reader.put("c", "v").unwrap();
    one.delete("a").unwrap();
    two.delete("a").unwrap();
    one.commit().await.unwrap();
    let error = in_time(two.commit()).await.unwrap_err();
    assert!(matches!(error, Error::Txn(TxnError::WriteConflict { .. })), "{error:?}");
    reader.commit().await.unwrap();
    assert_eq!(all_now(&client).await, each(["b", "c"], "v"));
}

/// A commit of `keys` that is held before its decision; all its locks stand.
async fn held_commit(cluster: &Cluster, client: &Client, keys: &[&str]) -> (Held, tikv_embedded::Fault) {
    let fault = cluster.fault(Rule::new(Matcher::method("KvCommit"), Action::Hold));
    let mut txn = client.begin().await.unwrap();
    for &key in keys {
        txn.put(key, "new").unwrap();
    }
    let held = cluster.rt.spawn(async move { txn.commit().await });
    fault.hit(1).await;
    (held, fault)
}

type Held = Task<Result<tikv_client_core::txn::CommitInfo, Error>>;

#[apply(test_on_each_runtime)]
async fn a_reader_does_not_wait_for_a_living_lock_and_its_owner_commits_behind_the_reader(rt: Rt) {
    let cluster = rt.txn_cluster();
    let (writer, reader) = (client(&cluster).await, client(&cluster).await);
    write(&writer, &["a", "m", "z"], "old").await.unwrap();
    let (mut committing, fault) = held_commit(&cluster, &writer, &["a", "m", "z"]).await;
    let asked = cluster.count(Matcher::method("KvCheckTxnStatus"));
    let read_ts = reader.current_timestamp().await.unwrap();
    let snapshot = reader.snapshot(read_ts);
    let wanted = each(["a", "m", "z"], "old");
    assert_eq!(texts(in_time(snapshot.scan(..)).await.unwrap()), wanted);
    assert_eq!(texts(in_time(snapshot.batch_get(["m", "a", "z"])).await.unwrap()), wanted);
    assert_eq!(in_time(snapshot.get("m")).await.unwrap().unwrap(), "old");
    assert!(asked.hits() > 0);
    assert!(poll_once(&mut committing).await.is_none());
    drop(fault);
    // The decision was on its way with an older timestamp; the reader's question made that one too old.
    let commit_ts = in_time(committing).await.unwrap().unwrap().commit_ts;
    assert!(commit_ts > read_ts, "{commit_ts} is seen at {read_ts}");
    assert_eq!(texts(in_time(snapshot.scan(..)).await.unwrap()), wanted, "what was read once stays so");
    assert_eq!(all_now(&reader).await, each(["a", "m", "z"], "new"));
}

#[apply(test_on_each_runtime)]
async fn a_reader_of_an_older_time_does_not_wait(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    write(&client, &["m"], "old").await.unwrap();
    let before = client.snapshot(client.current_timestamp().await.unwrap());
    let (committing, fault) = held_commit(&cluster, &client, &["m"]).await;
    let asked = cluster.count(Matcher::method("KvCheckTxnStatus"));
    assert_eq!(in_time(before.get("m")).await.unwrap().unwrap(), "old");
    assert_eq!(asked.hits(), 0);
    drop(fault);
    in_time(committing).await.unwrap().unwrap();
}

#[apply(test_on_each_runtime)]
async fn a_writer_behind_a_living_lock_ends_in_time_with_the_key(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let (committing, fault) = held_commit(&cluster, &client, &["m"]).await;
    let deadline = Duration::from_millis(500);
    let mut txn = client.begin().await.unwrap();
    txn.put("m", "other").unwrap();
    let error = within(deadline, txn.commit().deadline(deadline)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Timeout), "{error:?}");
    assert!(!error.is_undetermined());
    assert!(error.to_string().contains("6D"), "{error}");
    drop(fault);
    in_time(committing).await.unwrap().unwrap();
    assert_eq!(all_now(&client).await, each(["m"], "new"));
}

#[apply(test_on_each_runtime)]
async fn transact_runs_again_until_nobody_was_faster(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    write(&client, &["m"], "0").await.unwrap();
    let other = client.clone();
    let done = client
        .transact(async move |txn: &mut Transaction| -> Result<u32, Error> {
            let count: u32 =
                String::from_utf8_lossy(&txn.get("m").await?.unwrap_or_default()).parse().unwrap();
            if count < 3 {
                // Somebody else is faster, three times.
                write(&other, &["m"], &(count + 1).to_string()).await?;
            }
            txn.put("m", format!("{}", count + 100))?;
            Ok(count)
        })
        .await
        .unwrap();
    assert_eq!((done.value, done.attempts), (3, 4));
    assert_eq!(all_now(&client).await, each(["m"], "103"));
}

#[apply(test_on_each_runtime)]
async fn transact_ends_with_the_last_conflict_when_its_attempts_are_used_up(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let other = client.clone();
    let mut runs = 0;
    let ended = client
        .transact_with(
            TransactOptions::default().attempts(3),
            async |txn: &mut Transaction| -> Result<(), Error> {
                runs += 1;
                write(&other, &["m"], "other").await?;
                txn.put("m", "own")
            },
        )
        .await;
    assert!(matches!(ended, Err(Error::Txn(TxnError::WriteConflict { .. }))), "{ended:?}");
    assert_eq!(runs, 3);
    assert_eq!(all_now(&client).await, each(["m"], "other"));
}

#[apply(test_on_each_runtime)]
async fn an_error_of_the_body_ends_transact_and_leaves_nothing(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let ended = client
        .transact(async |txn: &mut Transaction| -> Result<(), Error> {
            txn.put("m", "v")?;
            txn.put("", "v")
        })
        .await;
    assert!(matches!(ended, Err(Error::Input(_))), "{ended:?}");
    assert!(all_now(&client).await.is_empty());
}

#[apply(test_on_each_runtime)]
async fn a_loser_takes_back_what_it_locked_before_its_time_is_over(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    write(&client, &["a", "m", "z"], "old").await.unwrap();
    let mut loser = client.begin().await.unwrap();
    for key in ["a", "m", "z"] {
        loser.put(key, "lost").unwrap();
    }
    write(&client, &["z"], "new").await.unwrap();
    let error = in_time(loser.commit()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    // Its locks would live for seconds; the rollback in the background is quicker than that.
    let deadline = Duration::from_secs(2);
    let mut next = client.begin().await.unwrap();
    for key in ["a", "m"] {
        next.put(key, "next").unwrap();
    }
    within(deadline, next.commit().deadline(deadline)).await.unwrap();
    let wanted = [("a", "next"), ("m", "next"), ("z", "new")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(all_now(&client).await, wanted);
}
