//! `cluster.md` 7.16: ranges, splits, flashback, what the columns hold, and what no store serves.

use tikv_embedded::model::{Code, Reply};
use tikv_proto::kvrpcpb::*;
use tikv_proto::methods::tikv as m;

use crate::proof::{Proof, elsewhere, rows, tikv};
use crate::world::{World, bytes};

rows! {
    /// 7.16.
    mod t7_16 {
        delete_range_removes_all_columns =>
            tikv("gc_delete_range", &["delete_range: removes all columns", "delete_range: whole prefix"])
                .shows(&[r#""info":{}"#]);
        delete_range_leaves_locks_in_memory =>
            tikv("gc_delete_range", &["delete_range: pessimistic memory locks"]).shows(&["PessimisticLock"]);
        delete_range_of_nothing =>
            tikv("gc_delete_range", &["delete_range: empty and inverted range"])
                .shows(&["invalid delete range command"]);
        delete_range_that_notifies_only =>
            tikv("gc_delete_range", &["delete_range: notify_only leaves data"]).shows(&["value"]);
        unsafe_destroy_range_is_of_the_store => tikv("gc_delete_range", &["unsafe_destroy_range: *"]);
        split_region_sorts_and_keeps_the_right_id =>
            tikv("admission", &["split: old epoch is answered with both regions, keys go to their side",
                "split: several keys", "split: keys out of order", "split: raw"]).shows(&["left", "right",
                "regions"]);
        split_region_without_a_key =>
            tikv("admission", &["split: no keys", "split: at the start key of the region"])
                .shows(&["no split key is specified", "no valid key"]);
        flashback =>
            elsewhere("src/model/store/tests/conditions.rs",
                "a_region_in_flashback_serves_what_was_before_and_the_flashback_alone");
        mvcc_get_by_key => tikv("mvcc", &["mvcc_get_by_key: *"]).shows(&["writes", "lock", "values"]);
        mvcc_get_by_start_ts_looks_at_records_only =>
            tikv("mvcc", &["mvcc_get_by_start_ts: *"]).shows(&[r#""key":"@a""#, r#""info":{}"#]);
        gc_and_lock_observers_are_gone =>
            tikv("gc_delete_range", &["removed rpcs: gc", "removed rpcs: *Observer",
                "removed rpcs: PhysicalScanLock"]).shows(&["UNIMPLEMENTED"]);
        read_index_is_not_served => tikv("gc_delete_range", &["removed rpcs: ReadIndex"]).shows(&["UNIMPLEMENTED"]);
        raw_coprocessor =>
            tikv("admission", &["unserved rpcs: RawCoprocessor"]).shows(&["Coprocessor plugin is disabled!"]);
        coprocessor_of_an_unknown_type =>
            tikv("admission", &["coprocessor: unknown region and unknown type"]).shows(&["unsupported tp"]);
    }
}

#[test]
fn delete_range_and_unsafe_destroy_range_stay_in_their_bounds() {
    let mut world = World::of(1);
    world.write(10, 20, &[("a", "1"), ("z", "1")]);
    let left = world.region("a");
    world.cluster.topology.split(left, &[tikv_embedded::model::key::encode(b"m")]).unwrap();
    let context = Some(world.context("a"));
    let range = DeleteRangeRequest {
        context: context.clone(),
        start_key: bytes("a"),
        end_key: bytes("zz"),
        ..Default::default()
    };
    let answer: DeleteRangeResponse = world.ask(m::KV_DELETE_RANGE, &range);
    assert!(answer.region_error.unwrap().key_not_in_region.is_some());
    // No end is refused where a real store panics.
    let all = UnsafeDestroyRangeRequest { context, start_key: bytes("a"), end_key: bytes("") };
    let answer: UnsafeDestroyRangeResponse = world.ask(m::UNSAFE_DESTROY_RANGE, &all);
    assert!(!answer.error.is_empty());
    let context = world.context("a");
    assert_eq!(world.get(context, "a", 30).value, "1");
}

/// Methods of TiFlash, of TiDB, of replication, and those that are gone.
#[test]
fn all_others_are_not_served() {
    let mut world = World::of(1);
    for name in [
        "CoprocessorStream",
        "DelegateCoprocessor",
        "VersionedCoprocessor",
        "BatchCoprocessor",
        "DispatchMPPTask",
        "CancelMPPTask",
        "EstablishMPPConnection",
        "IsAlive",
        "ReportMPPTaskStatus",
        "Compact",
        "GetTiFlashSystemTable",
        "GetEstimateTiCICount",
        "tryAddLock",
        "tryMarkDelete",
        "EstablishDisaggTask",
        "CancelDisaggTask",
        "FetchDisaggPages",
        "GetDisaggConfig",
        "Raft",
        "BatchRaft",
        "Snapshot",
        "TabletSnapshot",
        "KvImport",
        "GetLockWaitHistory",
    ] {
        let path = format!("/tikvpb.Tikv/{name}");
        let Reply::Fail(status) = world.send(1, &path, &GetRequest::default()) else { panic!("{name}") };
        assert_eq!(status.code, Code::Unimplemented, "{name}");
    }
}
