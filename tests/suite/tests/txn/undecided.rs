//! Commits whose answer does not come: they are found to have happened, or the error says what is true.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::error::{Error, ErrorKind, TxnError};
use tikv_client_core::txn::{CommitInfo, TransactOptions, Transaction};
use tikv_embedded::control::{Action, Matcher, Node, Refusal, Rule};

use crate::fixture::{Cluster, ONE_EACH, all_now, client, each, in_time, within, write};
use crate::runtimes::{Rt, test_on_each_runtime};

const DEADLINE: Duration = Duration::from_millis(500);

/// Longer than any of these locks lives.
const AGES: Duration = Duration::from_secs(60);

async fn commit_within(client: &Client, deadline: Duration) -> Result<CommitInfo, Error> {
    let mut txn = client.begin().await.unwrap();
    for key in ONE_EACH {
        txn.put(key, "v").unwrap();
    }
    within(deadline, txn.commit().deadline(deadline)).await
}

fn on(method: &str, action: Action) -> Rule {
    Rule::new(Matcher::method(method), action)
}

fn undetermined(error: &Error) {
    assert!(matches!(error, Error::Txn(TxnError::Undetermined { .. })), "{error:?}");
    assert!(error.is_undetermined() && !error.is_retryable());
    assert_eq!(error.kind(), ErrorKind::Undetermined);
    assert!(std::error::Error::source(error).is_some(), "{error:?} does not say why");
}

#[apply(test_on_each_runtime)]
async fn a_commit_whose_answer_was_lost_once_is_found_to_have_happened(rt: Rt) {
    for action in [Action::BreakAfter, Action::RefuseAfter(Refusal::StaleCommand), Action::Break] {
        let cluster = rt.txn_cluster();
        let client = client(&cluster).await;
        let lost = cluster.fault(on("KvCommit", action).times(1));
        let commit_ts = commit_within(&client, Duration::from_secs(10)).await.unwrap().commit_ts;
        assert_eq!(lost.hits(), 1);
        let found = in_time(client.snapshot(commit_ts).batch_get(ONE_EACH)).await.unwrap();
        assert_eq!(found.len(), 8);
    }
}

#[apply(test_on_each_runtime)]
async fn a_commit_whose_answer_never_comes_is_undetermined_and_happened(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let lost = cluster.fault(on("KvCommit", Action::DropAnswer));
    undetermined(&commit_within(&client, DEADLINE).await.unwrap_err());
    drop(lost);
    assert_eq!(all_now(&client).await, each(ONE_EACH, "v"));
}

#[apply(test_on_each_runtime)]
async fn a_commit_that_never_arrives_is_undetermined_and_did_not_happen(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let lost = cluster.fault(on("KvCommit", Action::Lose));
    undetermined(&commit_within(&client, DEADLINE).await.unwrap_err());
    drop(lost);
    cluster.advance_clock(AGES);
    assert!(all_now(&client).await.is_empty());
}

#[apply(test_on_each_runtime)]
async fn a_store_that_cannot_tell_makes_a_commit_undetermined_without_another_try(rt: Rt) {
    for (action, happened) in [
        (Action::RefuseAfter(Refusal::UndeterminedResult), true),
        (Action::Refuse(Refusal::UndeterminedResult), false),
    ] {
        let cluster = rt.txn_cluster();
        let client = client(&cluster).await;
        let fault = cluster.fault(on("KvCommit", action));
        undetermined(&commit_within(&client, DEADLINE).await.unwrap_err());
        assert_eq!(fault.hits(), 1);
        drop(fault);
        cluster.advance_clock(AGES);
        assert_eq!(all_now(&client).await, if happened { each(ONE_EACH, "v") } else { Vec::new() });
    }
}

#[apply(test_on_each_runtime)]
async fn a_prewrite_without_an_answer_is_a_plain_failure_and_never_commits(rt: Rt) {
    for action in [Action::DropAnswer, Action::Lose] {
        let cluster = rt.txn_cluster();
        let client = client(&cluster).await;
        let lost = cluster.fault(on("KvPrewrite", action));
        let error = commit_within(&client, DEADLINE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        let stores = (1..=3).map(|store| cluster.address(Node::Store(store)).unwrap().to_string());
        assert!(stores.into_iter().any(|address| error.to_string().contains(&address)), "{error}");
        drop(lost);
        // What was locked is rolled back in the background: nobody has to wait for its time.
        assert!(all_now(&client).await.is_empty());
        write(&client, &ONE_EACH, "w").await.unwrap();
        assert_eq!(all_now(&client).await, each(ONE_EACH, "w"));
    }
}

#[apply(test_on_each_runtime)]
async fn without_a_commit_timestamp_nothing_commits(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let mut txn = client.begin().await.unwrap();
    for key in ONE_EACH {
        txn.put(key, "v").unwrap();
    }
    let silent = cluster.fault(on("Tso", Action::Lose));
    let error = within(DEADLINE, txn.commit().deadline(DEADLINE)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    drop(silent);
    cluster.disconnect(Node::Pd(0)).unwrap();
    assert!(all_now(&client).await.is_empty());
}

#[apply(test_on_each_runtime)]
async fn only_a_lost_try_makes_a_commit_that_is_refused_for_ever_undetermined(rt: Rt) {
    let refused = || Action::Refuse(Refusal::NotLeader { leader: None });
    for lost_first in [false, true] {
        let cluster = rt.txn_cluster();
        let client = client(&cluster).await;
        let _lost = lost_first.then(|| cluster.fault(on("KvCommit", Action::Break).times(1)));
        let refuses = cluster.fault(on("KvCommit", refused()));
        let error = commit_within(&client, DEADLINE).await.unwrap_err();
        assert_eq!(error.is_undetermined(), lost_first, "{error:?}");
        drop(refuses);
        cluster.advance_clock(AGES);
        assert!(all_now(&client).await.is_empty());
    }
}

#[apply(test_on_each_runtime)]
async fn a_prewrite_whose_fate_is_not_known_is_sent_again(rt: Rt) {
    for action in [
        Action::RefuseAfter(Refusal::UndeterminedResult),
        Action::RefuseAfter(Refusal::EpochNotMatch { siblings: 0 }),
        Action::BreakAfter,
    ] {
        let cluster = rt.txn_cluster();
        let client = client(&cluster).await;
        let fault = cluster.fault(on("KvPrewrite", action.clone()).times(1));
        let ended = commit_within(&client, Duration::from_secs(10)).await;
        assert_eq!(fault.hits(), 1);
        ended.unwrap_or_else(|error| panic!("{action:?}: {error:?}"));
        assert_eq!(all_now(&client).await, each(ONE_EACH, "v"));
    }
}

#[apply(test_on_each_runtime)]
async fn after_a_failed_commit_the_transaction_is_over(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let _lost = cluster.fault(on("KvCommit", Action::DropAnswer));
    let mut txn = client.begin().await.unwrap();
    txn.put("a", "v").unwrap();
    undetermined(&within(DEADLINE, txn.commit().deadline(DEADLINE)).await.unwrap_err());
    let start_ts = txn.start_ts();
    assert_eq!(txn.rollback().await.unwrap_err(), Error::Txn(TxnError::Over { start_ts }));
    assert_eq!(in_time(txn.commit()).await.unwrap_err(), Error::Txn(TxnError::Over { start_ts }));
}

#[apply(test_on_each_runtime)]
async fn transact_never_repeats_what_may_have_happened(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let lost = cluster.fault(on("KvCommit", Action::DropAnswer));
    let mut runs = 0;
    let ended = in_time(client.transact_with(
        TransactOptions::default().deadline(DEADLINE),
        async |txn: &mut Transaction| -> Result<(), Error> {
            runs += 1;
            txn.put("m", "v")
        },
    ))
    .await;
    undetermined(&ended.unwrap_err());
    assert_eq!(runs, 1);
    drop(lost);
    assert_eq!(all_now(&client).await, each(["m"], "v"));
}

/// What is there is all of the transaction or nothing, and as its end said.
async fn told_the_truth(cluster: &Cluster, ended: Result<CommitInfo, Error>) {
    cluster.advance_clock(AGES);
    let found = all_now(&client(cluster).await).await;
    let (all, nothing) = (each(ONE_EACH, "v"), Vec::new());
    match ended {
        Ok(_) => assert_eq!(found, all),
        Err(error) if error.is_undetermined() => assert!(found == all || found == nothing, "{found:?}"),
        Err(error) => {
            assert!(
                matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Conflict),
                "{error:?}"
            );
            assert_eq!(found, nothing, "{error:?}");
        }
    }
}

#[apply(test_on_each_runtime)]
async fn a_cluster_that_stops_in_the_middle_of_a_commit_leaves_a_true_word(rt: Rt) {
    for (method, executed) in
        [("KvPrewrite", false), ("KvPrewrite", true), ("KvCommit", false), ("KvCommit", true)]
    {
        let cluster = rt.txn_cluster();
        let client = client(&cluster).await;
        let action = if executed { Action::DropAnswer } else { Action::Hold };
        let fault = cluster.fault(on(method, action));
        let (ended, ()) = tokio::join!(commit_within(&client, DEADLINE), async {
            fault.hit(1).await;
            for store in 1..=3 {
                cluster.stop_store(store).unwrap();
            }
        });
        let error = ended.clone().unwrap_err();
        assert_eq!(error.is_undetermined(), method == "KvCommit", "{method}: {error:?}");
        // The calls that were held are executed after all.
        drop(fault);
        for store in 1..=3 {
            cluster.restart_store(store).unwrap();
        }
        told_the_truth(&cluster, ended).await;
    }
}

#[apply(test_on_each_runtime)]
async fn a_commit_goes_on_where_a_store_came_back_in_time(rt: Rt) {
    for method in ["KvPrewrite", "KvCommit"] {
        let cluster = rt.txn_cluster();
        let client = client(&cluster).await;
        let fault = cluster.fault(on(method, Action::Break).times(1));
        let (ended, ()) = tokio::join!(commit_within(&client, Duration::from_secs(10)), async {
            fault.hit(1).await;
            for store in 1..=3 {
                cluster.stop_store(store).unwrap();
                cluster.restart_store(store).unwrap();
            }
        });
        ended.unwrap();
        assert_eq!(all_now(&client).await, each(ONE_EACH, "v"));
    }
}
