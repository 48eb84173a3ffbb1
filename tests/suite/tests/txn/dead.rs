//! Locks of clients that never come back.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_client_core::txn::Transaction;
use tikv_embedded::control::{Action, Matcher, Rule};

use crate::fixture::{Cluster, ONE_EACH, all_now, client, each, in_time, within, write};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Longer than any of these locks lives.
const AGES: Duration = Duration::from_secs(60);

/// Commits "new" over "old" under every key of [`ONE_EACH`]; `lost` calls never arrive, and its client dies meanwhile.
async fn dies(cluster: &Cluster, lost: Rule, until: u64) {
    let dying = client(cluster).await;
    write(&dying, &ONE_EACH, "old").await.unwrap();
    // The secondaries of this commit are done in the background; the next one must not meet them.
    assert_eq!(dying.close(Duration::from_secs(10)).await, 0);
    let dying = client(cluster).await;
    let fault = cluster.fault(lost);
    let mut txn = dying.begin().await.unwrap();
    for key in ONE_EACH {
        txn.put(key, "new").unwrap();
    }
    let committing = cluster.rt.spawn(async move { txn.commit().await });
    fault.hit(until).await;
    // Closed, a client has no way to clean up behind itself: as good as dead.
    dying.close(Duration::ZERO).await;
    // What became of it is what the tests find out.
    drop(in_time(committing).await.unwrap());
}

fn on(method: &str) -> Rule {
    Rule::new(Matcher::method(method), Action::Lose)
}

/// A reader meets the locks and sees `value`; who writes the keys then clears the last of them away.
async fn resolved(cluster: &Cluster, value: &str) {
    let reader = client(cluster).await;
    let checks = cluster.count(Matcher::method("KvCheckTxnStatus"));
    assert_eq!(all_now(&reader).await, each(ONE_EACH, value));
    assert!(checks.hits() > 0, "there were locks");
    // A scan asks once about an owner, and goes round its other locks; they stay until somebody needs their keys.
    assert_eq!(all_now(&client(cluster).await).await, each(ONE_EACH, value));
    write(&reader, &ONE_EACH, "mine").await.unwrap();
    assert_eq!(reader.close(Duration::from_secs(10)).await, 0);
    let checked = checks.hits();
    assert_eq!(all_now(&client(cluster).await).await, each(ONE_EACH, "mine"));
    assert_eq!(checks.hits(), checked, "no lock is left");
}

#[apply(test_on_each_runtime)]
async fn secondaries_of_a_dead_client_are_committed_by_who_meets_them(rt: Rt) {
    let cluster = rt.txn_cluster();
    // The primary goes through, the seven others do not.
    dies(&cluster, on("KvCommit").skip(1), 1).await;
    resolved(&cluster, "new").await;
}

#[apply(test_on_each_runtime)]
async fn a_dead_client_that_never_decided_is_rolled_back_once_its_time_is_over(rt: Rt) {
    let cluster = rt.txn_cluster();
    dies(&cluster, on("KvCommit"), 1).await;
    let reader = client(&cluster).await;
    // Its locks live: a reader pushes its commit behind itself and goes round them, a writer ends in time, with the key.
    assert_eq!(all_now(&reader).await, each(ONE_EACH, "old"));
    let deadline = Duration::from_millis(300);
    let mut txn = reader.begin().await.unwrap();
    txn.put("m1", "mine").unwrap();
    let error = within(deadline, txn.commit().deadline(deadline)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.to_string().contains("key 6D31 is locked by transaction"), "{error}");
    cluster.advance_clock(AGES);
    resolved(&cluster, "old").await;
}

#[apply(test_on_each_runtime)]
async fn a_dead_client_s_half_of_a_prewrite_is_rolled_back(rt: Rt) {
    let cluster = rt.txn_cluster();
    // Some regions have locks, others do not.
    dies(&cluster, on("KvPrewrite").skip(5), 3).await;
    cluster.advance_clock(AGES);
    resolved(&cluster, "old").await;
}

#[apply(test_on_each_runtime)]
async fn a_dead_client_without_a_primary_lock_is_rolled_back(rt: Rt) {
    let cluster = rt.txn_cluster();
    // The region of the first key, the primary, never sees its prewrite.
    let first = cluster.region_of(ONE_EACH[0]).unwrap();
    let lost = Rule::new(Matcher::method("KvPrewrite").region(first), Action::Lose);
    let dying = client(&cluster).await;
    write(&dying, &ONE_EACH, "old").await.unwrap();
    assert_eq!(dying.close(Duration::from_secs(10)).await, 0);
    let dying = client(&cluster).await;
    let fault = cluster.fault(lost);
    let sent = cluster.count(Matcher::method("KvPrewrite"));
    let mut txn = dying.begin().await.unwrap();
    for key in ONE_EACH {
        txn.put(key, "new").unwrap();
    }
    let committing = rt.spawn(async move { txn.commit().await });
    sent.hit(7).await;
    dying.close(Duration::ZERO).await;
    assert!(in_time(committing).await.unwrap().is_err());
    drop(fault);
    cluster.advance_clock(AGES);
    resolved(&cluster, "old").await;
}

#[apply(test_on_each_runtime)]
async fn a_writer_takes_the_place_of_a_dead_one(rt: Rt) {
    for (decided, skip) in [(true, 1), (false, 0)] {
        let cluster = rt.txn_cluster();
        dies(&cluster, on("KvCommit").skip(skip), 1).await;
        cluster.advance_clock(AGES);
        let writer = client(&cluster).await;
        let seen = in_time(writer.transact(async |txn: &mut Transaction| -> Result<_, Error> {
            let seen = txn.batch_get(ONE_EACH).await?;
            for key in ONE_EACH {
                txn.put(key, "mine")?;
            }
            Ok(seen)
        }))
        .await
        .unwrap();
        let wanted = if decided { "new" } else { "old" };
        assert!(seen.value.iter().all(|pair| pair.value == wanted), "{:?}", seen.value);
        assert_eq!(all_now(&writer).await, each(ONE_EACH, "mine"));
    }
}

#[apply(test_on_each_runtime)]
async fn who_comes_back_after_its_time_learns_that_it_was_rolled_back(rt: Rt) {
    let cluster = rt.txn_cluster();
    let (slow, other): (Client, Client) = (client(&cluster).await, client(&cluster).await);
    let mut txn = slow.begin().await.unwrap();
    for key in ONE_EACH {
        txn.put(key, "slow").unwrap();
    }
    let held = cluster.fault(Rule::new(Matcher::method("KvCommit"), Action::Hold));
    let committing = rt.spawn(async move { txn.commit().await });
    held.hit(1).await;
    cluster.advance_clock(AGES);
    assert!(all_now(&other).await.is_empty());
    drop(held);
    let error = in_time(committing).await.unwrap().unwrap_err();
    assert!(!error.is_undetermined(), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(all_now(&other).await.is_empty());
}
