//! Every region error, on every kind of raw call: overcome, or told with its region and store.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_client_core::types::{RegionId, StoreId};
use tikv_embedded::control::{Action, Matcher, Refusal, Rule};
use tikv_proto::errorpb;

use crate::fixture::{Cluster, a_key_of_each_region, client, in_time, keys, within};
use crate::runtimes::{Rt, test_on_each_runtime};

const METHODS: [&str; 8] = [
    "RawGet",
    "RawPut",
    "RawDelete",
    "RawBatchGet",
    "RawBatchPut",
    "RawBatchDelete",
    "RawScan",
    "RawDeleteRange",
];

fn exactly(fill: impl FnOnce(&mut errorpb::Error)) -> Refusal {
    let mut error = errorpb::Error { message: "exactly".to_owned(), ..Default::default() };
    fill(&mut error);
    Refusal::Exactly(Box::new(error))
}

/// One of each call at once, each on keys of its own; every kind has met `refusal` when this returns.
async fn calls_meet(rt: Rt, refusal: Refusal, times: u64) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let all = a_key_of_each_region();
    raw.batch_put(all.iter().map(|key| (key.clone(), "v"))).await.unwrap();
    raw.batch_put([("b!", "v"), ("d!", "v"), ("k!1", "v"), ("k!2", "v")]).await.unwrap();
    let fault = |method: &&str| {
        let rule = Rule::new(Matcher::method(*method), Action::Refuse(refusal.clone()));
        cluster.fault(rule.times(times))
    };
    let faults: Vec<_> = METHODS.iter().map(fault).collect();
    let calls = async {
        let (got, put, deleted, got_all, put_all, deleted_all, scanned, range_deleted) = tokio::join!(
            raw.get("a1"),
            raw.put("b!new", "v"),
            raw.delete("b!"),
            raw.batch_get(&all),
            raw.batch_put([("f!new", "v"), ("t!new", "v")]),
            raw.batch_delete(["d!", "z!"]),
            raw.scan("i".."k", 10),
            raw.delete_range("k!".."k~"),
        );
        assert_eq!(got.unwrap().unwrap(), "v");
        put.unwrap();
        deleted.unwrap();
        assert_eq!(got_all.unwrap().iter().flatten().count(), 8);
        put_all.unwrap();
        deleted_all.unwrap();
        assert_eq!(keys(scanned.unwrap()), ["i1"]);
        range_deleted.unwrap();
    };
    in_time(calls).await;
    for (fault, method) in faults.iter().zip(METHODS) {
        assert_eq!(fault.hits(), times, "{method} met {refusal:?}");
    }
    let there = ["a1", "b!new", "c1", "e1", "f!new", "g1", "i1", "m1", "r1", "t!new", "z1"];
    assert_eq!(keys(raw.scan(.., 100).await.unwrap()), there, "after {refusal:?}");
}

/// All of them side by side: most of the time they pause.
async fn all_meet(rt: &Rt, refusals: Vec<(Refusal, u64)>) {
    let meet = |(refusal, times)| rt.spawn(calls_meet(rt.clone(), refusal, times));
    let tasks: Vec<_> = refusals.into_iter().map(meet).collect();
    for task in tasks {
        in_time(task).await.unwrap();
    }
}

#[apply(test_on_each_runtime)]
async fn refusals_for_the_region_are_overcome_by_finding_it_again(rt: Rt) {
    all_meet(
        &rt,
        vec![
            (Refusal::NotLeader { leader: None }, 3),
            (Refusal::NotLeader { leader: Some(2) }, 1),
            (Refusal::EpochNotMatch { siblings: 0 }, 3),
            (Refusal::EpochNotMatch { siblings: 2 }, 2),
            (Refusal::EpochNotMatchUnknown, 3),
            (Refusal::RegionNotFound, 3),
            (Refusal::StoreNotMatch, 2),
            (exactly(|error| error.key_not_in_region = Some(errorpb::KeyNotInRegion::default())), 2),
            (exactly(|error| error.mismatch_peer_id = Some(errorpb::MismatchPeerId::default())), 2),
            (
                exactly(|error| {
                    error.bucket_version_not_match = Some(errorpb::BucketVersionNotMatch::default())
                }),
                2,
            ),
            (exactly(|_| {}), 2),
        ],
    )
    .await;
}

#[apply(test_on_each_runtime)]
async fn refusals_for_the_moment_are_overcome_by_waiting(rt: Rt) {
    all_meet(
        &rt,
        vec![
            (Refusal::busy(), 1),
            (Refusal::ServerIsBusy { reason: "deadline is exceeded".to_owned(), estimated_wait_ms: 5 }, 1),
            (Refusal::StaleCommand, 3),
            (Refusal::MaxTimestampNotSynced, 3),
            (Refusal::ReadIndexNotReady, 3),
            (Refusal::DataIsNotReady { safe_ts: 1 }, 2),
            (Refusal::ProposalInMergingMode, 3),
            (Refusal::DiskFull, 1),
            (
                exactly(|error| {
                    error.region_not_initialized = Some(errorpb::RegionNotInitialized::default())
                }),
                2,
            ),
            (exactly(|error| error.recovery_in_progress = Some(errorpb::RecoveryInProgress::default())), 2),
            (exactly(|error| error.is_witness = Some(errorpb::IsWitness::default())), 1),
        ],
    )
    .await;
}

fn always(cluster: &Cluster, method: &str, refusal: Refusal) -> tikv_embedded::Fault {
    cluster.fault(Rule::new(Matcher::method(method), Action::Refuse(refusal)))
}

async fn one(rt: &Rt) -> (Cluster, Client) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    (cluster, client)
}

#[apply(test_on_each_runtime)]
async fn what_no_retry_can_change_is_told_at_once(rt: Rt) {
    let (cluster, client) = one(&rt).await;
    let refusals = [
        exactly(|error| error.raft_entry_too_large = Some(errorpb::RaftEntryTooLarge::default())),
        exactly(|error| error.flashback_in_progress = Some(errorpb::FlashbackInProgress::default())),
        exactly(|error| error.flashback_not_prepared = Some(errorpb::FlashbackNotPrepared::default())),
        Refusal::UndeterminedResult,
    ];
    for refusal in refusals {
        let fault = always(&cluster, "RawPut", refusal.clone());
        let error = in_time(client.raw().put("m", "v")).await.unwrap_err();
        assert_eq!(fault.hits(), 1, "{refusal:?} is not tried again");
        let id = cluster.region_of_raw("m").unwrap();
        let leader = cluster.leader_of(id).unwrap();
        let Error::Region { region, store, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*region, *store), (RegionId(id), StoreId(leader)));
        assert!(error.to_string().starts_with(&format!("region {id} on store {leader}: ")), "{error}");
    }
}

#[apply(test_on_each_runtime)]
async fn a_storm_of_not_leader_is_bounded_by_pauses_and_the_deadline(rt: Rt) {
    let (cluster, client) = one(&rt).await;
    let deadline = Duration::from_millis(400);
    for refusal in [
        Refusal::NotLeader { leader: Some(1) },
        Refusal::NotLeader { leader: Some(2) },
        Refusal::NotLeader { leader: None },
        Refusal::EpochNotMatch { siblings: 0 },
        Refusal::StaleCommand,
    ] {
        let fault = always(&cluster, "RawGet", refusal.clone());
        let error = within(deadline, client.raw().get("m").deadline(deadline)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!((3..150).contains(&fault.hits()), "{} calls for {refusal:?}", fault.hits());
    }
    client.raw().get("m").await.unwrap();
}
