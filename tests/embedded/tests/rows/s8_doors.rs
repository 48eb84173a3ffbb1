//! `cluster.md` 8.6 and 8.7 with several stores, through the doors.

use std::time::Duration;

use tikv_proto::kvrpcpb::*;
use tikv_proto::methods::tikv as m;

use crate::world::{MS, World, bytes};

#[test]
fn t8_6_leader_read_on_a_follower_is_not_leader() {
    let mut world = World::of(2);
    let context = world.context_on("k", 2);
    let error = world.refused(2, context).unwrap();
    assert_eq!(error.not_leader.unwrap().leader.unwrap().store_id, 1);
}

#[test]
fn t8_6_replica_read_without_leader_fails() {
    let mut world = World::of(2);
    let context = Context { replica_read: true, ..world.context_on("k", 2) };
    world.cluster.topology.drop_leader(context.region_id).unwrap();
    let error = world.refused(2, context.clone()).unwrap();
    assert_eq!(error.not_leader.unwrap().leader, None);
    // A stale read needs none.
    let version = world.ts_ago(Duration::from_secs(10));
    let context = Context { stale_read: true, replica_read: false, ..context };
    assert!(world.get(context, "k", version).not_found);
}

#[test]
fn t8_6_replica_read_meets_the_memory_locks_of_the_leader() {
    let mut world = World::of(2);
    let request = PrewriteRequest { use_async_commit: true, ..world.prewrite(10, &[("k", "v")]) };
    let least = world.ask::<PrewriteResponse>(m::KV_PREWRITE, &request).min_commit_ts;
    let context = Context { replica_read: true, ..world.context_on("k", 2) };
    assert!(world.get(context, "k", least).error.unwrap().locked.is_some());
}

#[test]
fn t8_6_commits_come_after_what_was_settled() {
    let mut world = World::of(2);
    let version = world.ts_ago(Duration::from_secs(10));
    let context = Context { stale_read: true, ..world.context_on("k", 2) };
    assert!(world.get(context, "k", version).not_found);
    let request = PrewriteRequest { use_async_commit: true, ..world.prewrite(10, &[("k", "v")]) };
    assert_eq!(world.ask::<PrewriteResponse>(m::KV_PREWRITE, &request).min_commit_ts, version + 1);
}

#[test]
fn t8_6_learner_serves_replica_and_stale_reads() {
    use tikv_embedded::model::PeerRole;
    let mut world = World::of(2);
    world.write(10, 20, &[("k", "v")]);
    let region = world.region("k");
    world.cluster.topology.set_role(region, 2, PeerRole::Learner).unwrap();
    let version = world.ts_ago(Duration::from_secs(10));
    for (replica_read, stale_read) in [(true, false), (false, true)] {
        let context = Context { replica_read, stale_read, ..world.context_on("k", 2) };
        assert_eq!(world.get(context, "k", version).value, "v");
    }
}

#[test]
fn t8_6_get_store_safe_ts_is_the_least_of_the_regions_that_meet_the_range() {
    let mut world = World::of(1);
    let region = world.region("a");
    world.cluster.topology.split(region, &[tikv_embedded::model::key::encode(b"m")]).unwrap();
    let safe_ts = |world: &mut World, start: &str, end: &str| {
        let bound = |key: &str| if key.is_empty() { bytes("") } else { encoded(key) };
        let range = KeyRange { start_key: bound(start), end_key: bound(end) };
        let ask = StoreSafeTsRequest { key_range: Some(range) };
        world.ask::<StoreSafeTsResponse>(m::GET_STORE_SAFE_TS, &ask).safe_ts
    };
    world.pass(Duration::from_secs(60));
    let start_ts = world.ts_ago(Duration::from_secs(10));
    world.lock(start_ts, &[("z", "v")]);
    let even = world.ts_ago(Duration::from_secs(1));
    assert_eq!(safe_ts(&mut world, "a", "b"), even);
    assert_eq!(safe_ts(&mut world, "n", ""), start_ts);
    assert_eq!(safe_ts(&mut world, "", ""), start_ts, "the least");
    // One of nothing is left out.
    let right = world.region("z");
    world.cluster.topology.conditions.set_safe_ts(right, 1, Some(0));
    assert_eq!(safe_ts(&mut world, "", ""), even);
    assert_eq!(safe_ts(&mut world, "n", ""), 0);
    assert!(even.is_multiple_of(MS));
}

fn encoded(key: &str) -> bytes::Bytes {
    tikv_embedded::model::key::encode(key.as_bytes())
}

/// Details come when they are asked for, and are no zeroes.
#[test]
fn t8_7_reads_tell_what_they_cost() {
    let mut world = World::of(1);
    world.write(10, 20, &[("a", "1"), ("b", "2")]);
    let check = |details: Option<Box<ExecDetailsV2>>, pairs: u64| {
        let details = details.expect("details");
        let scan = details.scan_detail_v2.unwrap();
        assert!(details.time_detail_v2.unwrap().process_wall_time_ns > 0 && details.time_detail.is_some());
        assert_eq!(scan.processed_versions, pairs);
        assert!(scan.total_versions >= pairs && scan.processed_versions_size > 0);
    };
    for (record_time_stat, record_scan_stat) in [(true, false), (false, true), (false, false)] {
        let context = Context { record_time_stat, record_scan_stat, ..world.context("a") };
        let got = world.get(context.clone(), "a", 30).exec_details_v2;
        let keys = vec![bytes("a"), bytes("b")];
        let batch =
            BatchGetRequest { context: Some(context.clone()), keys, version: 30, ..Default::default() };
        let batch = world.ask::<BatchGetResponse>(m::KV_BATCH_GET, &batch).exec_details_v2;
        let asked = record_time_stat || record_scan_stat;
        assert_eq!((got.is_some(), batch.is_some()), (asked, asked));
        if asked {
            check(got, 1);
            check(batch, 2);
        }
    }
}
