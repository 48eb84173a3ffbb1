//! What a test makes of stores and replicas, as a client sees it: `cluster.md` 4.2, 4.3, 8.6, 19.2.

use std::time::Duration;

use tikv_proto::errorpb::Error;

use super::*;
use crate::model::{Conditions, Disk};

fn conditions(bench: &mut Bench) -> &mut Conditions {
    &mut bench.topology.conditions
}

fn region(bench: &Bench) -> u64 {
    bench.context_at(b"k").region_id
}

fn put_error(bench: &mut Bench, change: impl FnOnce(&mut Context)) -> Option<Error> {
    let mut request = bench.prewrite_request(10, &[put("k", "v")]);
    change(request.context.as_mut().unwrap());
    ask!(bench, Prewrite, request).region_error.map(|error| *error)
}

fn get_error(bench: &mut Bench, change: impl FnOnce(&mut Context)) -> Option<Error> {
    let mut context = bench.context(b"k").unwrap();
    change(&mut context);
    let request = GetRequest { context: Some(context), key: owned("k"), version: 5, ..Default::default() };
    ask!(bench, Get, request).region_error.map(|error| *error)
}

#[test]
fn a_full_disk_takes_what_gives_room_back_and_what_insists() {
    use DiskFullOpt::{AllowedOnAlmostFull, AllowedOnAlreadyFull, NotAllowedOnFull};
    // How full, what the request says; whether new data and whether a rollback is taken.
    for (disk, option, data, rollback) in [
        (Disk::AlmostFull, NotAllowedOnFull, false, true),
        (Disk::AlmostFull, AllowedOnAlmostFull, true, true),
        (Disk::AlreadyFull, AllowedOnAlmostFull, false, false),
        (Disk::AlreadyFull, AllowedOnAlreadyFull, true, true),
    ] {
        let mut bench = Bench::new();
        conditions(&mut bench).set_disk(1, disk);
        let error = put_error(&mut bench, |context| context.set_disk_full_opt(option));
        assert_eq!(error.is_none(), data, "{disk:?} {option:?}");
        if let Some(error) = error {
            assert_eq!(error.disk_full.unwrap().store_id, [1]);
        }
        let mut context = bench.context(b"k").unwrap();
        context.set_disk_full_opt(option);
        let keys = vec![owned("k")];
        let request =
            BatchRollbackRequest { context: Some(context), keys, start_version: 10, ..Default::default() };
        let error = ask!(bench, BatchRollback, request).region_error;
        assert_eq!(error.is_none(), rollback, "{disk:?} {option:?}");
    }
}

#[test]
fn a_busy_store_refuses_reads_that_do_not_want_to_wait_as_long() {
    let mut bench = Bench::new();
    conditions(&mut bench).set_busy(1, Some(Duration::from_millis(200)));
    assert_eq!(get_error(&mut bench, |_| {}), None);
    assert_eq!(get_error(&mut bench, |context| context.busy_threshold_ms = 200), None);
    let error = get_error(&mut bench, |context| context.busy_threshold_ms = 199).unwrap();
    assert_eq!(error.server_is_busy.unwrap().estimated_wait_ms, 200);
}

#[test]
fn a_leader_without_synced_max_ts_computes_no_timestamp() {
    let mut bench = Bench::new();
    let id = region(&bench);
    conditions(&mut bench).set_max_ts_unsynced(id, true);
    for (use_async_commit, try_one_pc) in [(true, false), (false, true)] {
        let request = bench.prewrite_request(10, &[put("k", "v")]);
        let request = PrewriteRequest { use_async_commit, try_one_pc, ..request };
        let error = ask!(bench, Prewrite, request).region_error.unwrap();
        assert!(error.max_timestamp_not_synced.is_some());
    }
    assert_eq!(put_error(&mut bench, |_| {}), None);
}

#[test]
fn a_region_that_recovers_and_a_replica_without_data_serve_nothing() {
    let mut bench = Bench::new();
    let id = region(&bench);
    conditions(&mut bench).set_uninitialised(id, 1, true);
    assert!(get_error(&mut bench, |_| {}).unwrap().region_not_initialized.is_some());
    // Recovery is looked at before.
    conditions(&mut bench).set_recovering(id, true);
    assert!(get_error(&mut bench, |_| {}).unwrap().recovery_in_progress.is_some());
    conditions(&mut bench).set_recovering(id, false);
    conditions(&mut bench).set_uninitialised(id, 1, false);
    assert_eq!(get_error(&mut bench, |_| {}), None);
}

#[test]
fn a_replica_that_lags_knows_less_to_be_settled() {
    let mut bench = Bench::new();
    bench.topology = Topology::new(&["store:1".to_owned(), "store:2".to_owned()], 2);
    let id = region(&bench);
    let open = Bytes::new();
    let safe_ts =
        |bench: &Bench, store| bench.engine.safe_ts(&bench.topology, store, bench.now, &open, &open);
    let even = safe_ts(&bench, 2);
    assert_eq!(safe_ts(&bench, 1), even);
    conditions(&mut bench).set_lag(id, 2, Some(Duration::from_secs(3)));
    assert_eq!(safe_ts(&bench, 2), even - 3000 * MS);
    conditions(&mut bench).set_safe_ts(id, 2, Some(77));
    assert_eq!((safe_ts(&bench, 1), safe_ts(&bench, 2)), (even, 77));
}

#[test]
fn a_region_in_flashback_serves_what_was_before_and_the_flashback_alone() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("a", "old"), put("k", "old")]);
    bench.write(30, 40, &[put("a", "new"), op(Op::Del, "k"), put("n", "new")]);
    bench.lock(45, &[put("z", "left")]);
    let finish = FlashbackToVersionRequest {
        context: bench.context(b"k"),
        version: 25,
        start_key: owned("a"),
        end_key: owned("zz"),
        start_ts: 50,
        commit_ts: 60,
    };
    let early = ask!(bench, FlashbackToVersion, finish.clone());
    assert!(early.region_error.unwrap().flashback_not_prepared.is_some());
    let prepare = PrepareFlashbackToVersionRequest {
        context: bench.context(b"k"),
        start_key: owned("a"),
        end_key: owned("zz"),
        start_ts: 50,
        version: 25,
    };
    for _ in 0..2 {
        let answer = ask!(bench, PrepareFlashbackToVersion, prepare.clone());
        assert_eq!(answer, PrepareFlashbackToVersionResponse::default());
    }
    assert_eq!(get_error(&mut bench, |_| {}), None);
    let late = bench.get("k", 55).region_error.unwrap().flashback_in_progress.unwrap();
    assert_eq!(late.flashback_start_ts, 50);
    assert!(put_error(&mut bench, |_| {}).unwrap().flashback_in_progress.is_some());
    let answer = ask!(bench, FlashbackToVersion, finish);
    assert_eq!(answer, FlashbackToVersionResponse::default());
    for (key, value) in [("a", Some("old")), ("k", Some("old")), ("n", None), ("z", None)] {
        assert_eq!(bench.value(key, 60), value.map(owned), "{key}");
    }
    assert_eq!(bench.value("a", 59), Some(owned("new")));
}
