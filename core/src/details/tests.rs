//! Sums, texts and what is kept when details meet. client-go: `util/execdetails_test.go`.

use std::time::Duration;

use proptest::prelude::*;
use tikv_proto::kvrpcpb::{self as pb, ExecutorInputs, Ruv2};
use tikv_proto::resource_manager::Consumption;

use super::*;
use crate::types::{RegionId, StoreId, Timestamp};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

#[test]
fn durations_are_pruned_to_what_people_read() {
    let table = [
        (Duration::ZERO, "0s"),
        (Duration::from_nanos(12), "12ns"),
        (us(1), "1µs"),
        (Duration::from_nanos(1001), "1µs"),
        (Duration::from_nanos(9_412_345), "9.41ms"),
        (Duration::from_nanos(10_412_345), "10.4ms"),
        (ms(5999), "6s"),
        (Duration::from_nanos(100_450), "100.5µs"),
        (us(750), "750µs"),
        (ms(65_940), "1m5.9s"),
        (Duration::from_secs(3723), "1h2m3s"),
        (Duration::from_secs(7200), "2h0m0s"),
    ];
    for (duration, text) in table {
        assert_eq!(duration_text(duration), text);
    }
}

#[test]
fn sizes_are_pruned_to_what_people_read() {
    let table = [
        (0, "0 Bytes"),
        (1024, "1024 Bytes"),
        (1025, "1.00 KB"),
        (2048, "2 KB"),
        (20_500, "20.0 KB"),
        (1 << 20, "1024 KB"),
        ((1 << 20) + 1, "1.00 MB"),
        (5 << 30, "5 GB"),
    ];
    for (bytes, text) in table {
        assert_eq!(bytes_text(bytes), text);
    }
}

/// client-go: `util/misc_test.go: TestTimeDetail`.
#[test]
fn a_time_detail_shows_what_is_not_zero() {
    let mut detail = TimeDetail { kv_read: ms(2), total: ms(3), ..TimeDetail::default() };
    assert_eq!(detail.to_string(), "time_detail: {total_kv_read_wall_time: 2ms, tikv_wall_time: 3ms}");
    detail = TimeDetail {
        process: ms(2),
        suspend: ms(3),
        wait: ms(4),
        kv_read: ms(5),
        grpc_process: ms(6),
        grpc_wait: ms(7),
        total: ms(8),
    };
    assert_eq!(
        detail.to_string(),
        "time_detail: {total_process_time: 2ms, total_suspend_time: 3ms, total_wait_time: 4ms, \
         total_kv_read_wall_time: 5ms, tikv_grpc_process_time: 6ms, tikv_grpc_wait_time: 7ms, tikv_wall_time: 8ms}"
    );
    assert_eq!(TimeDetail::default().to_string(), "");
}

#[test]
fn time_details_add_up() {
    let of = |factor: u32| TimeDetail {
        process: ms(10) * factor,
        suspend: ms(2) * factor,
        wait: ms(5) * factor,
        kv_read: ms(3) * factor,
        grpc_process: ms(1) * factor,
        grpc_wait: ms(4) * factor,
        total: ms(20) * factor,
    };
    let mut sum = of(1);
    sum.merge(&of(2));
    assert_eq!(sum, of(3));
}

#[test]
fn a_store_that_says_nothing_of_time_changes_nothing_and_the_fine_form_goes_before_the_coarse() {
    let mut detail = TimeDetail { process: ms(10), ..TimeDetail::default() };
    let before = detail;
    detail.merge_messages(None, None);
    assert_eq!(detail, before);
    let fine = pb::TimeDetailV2 { process_wall_time_ns: 5, ..Default::default() };
    let coarse = pb::TimeDetail { process_wall_time_ms: 7, wait_wall_time_ms: 8, ..Default::default() };
    detail.merge_messages(Some(&fine), Some(&coarse));
    assert_eq!(detail.process, ms(10) + Duration::from_nanos(5));
    detail.merge_messages(None, Some(&coarse));
    assert_eq!((detail.process, detail.wait), (ms(17) + Duration::from_nanos(5), ms(8)));
}

#[test]
fn a_scan_detail_reads_every_field_of_the_message_and_shows_it() {
    let message = pb::ScanDetailV2 {
        processed_versions: 10,
        processed_versions_size: 20,
        total_versions: 30,
        rocksdb_delete_skipped_count: 4,
        rocksdb_key_skipped_count: 5,
        rocksdb_block_cache_hit_count: 6,
        rocksdb_block_read_count: 7,
        rocksdb_block_read_byte: 8,
        rocksdb_block_read_nanos: 9_000,
        get_snapshot_nanos: 7_000,
        ia_cache_hit_count: 2,
        ia_remote_read_segment_count: 3,
        ia_remote_read_segment_bytes: 128,
        ia_remote_read_segment_nanos: 5_000,
        ..Default::default()
    };
    let mut detail = ScanDetail::default();
    detail.merge_message(&message);
    assert_eq!((detail.total_keys, detail.processed_keys, detail.processed_bytes), (30, 10, 20));
    assert_eq!(
        detail.to_string(),
        "scan_detail: {total_process_keys: 10, total_process_keys_size: 20, total_keys: 30, get_snapshot_time: 7µs, \
         ia: {cache_hit_count: 2, remote_read_segment_count: 3, remote_read_segment_bytes: 128 Bytes, \
         remote_read_segment_wait_time: 5µs}, rocksdb: {delete_skipped_count: 4, key_skipped_count: 5, \
         block: {cache_hit_count: 6, read_count: 7, read_byte: 8 Bytes, read_time: 9µs}}}"
    );
    let once = detail;
    detail.merge(&once);
    assert_eq!((detail.ia_cache_hits, detail.ia_segments_read, detail.ia_segment_bytes), (4, 6, 256));
    assert_eq!((detail.ia_segment_time, detail.rocksdb_block_time), (us(10), us(18)));
    let few = ScanDetail { processed_keys: 1, ..ScanDetail::default() };
    assert_eq!(few.to_string(), "scan_detail: {total_process_keys: 1, rocksdb: {block: {}}}");
}

#[test]
fn write_details_add_up_and_show_waits_of_the_scheduler_only_when_there_are_some() {
    let message = pb::WriteDetail {
        store_batch_wait_nanos: 1_000_000,
        propose_send_wait_nanos: 2_000_000,
        persist_log_nanos: 3_000_000,
        raft_db_write_leader_wait_nanos: 4_000_000,
        raft_db_sync_log_nanos: 5_000_000,
        raft_db_write_memtable_nanos: 6_000_000,
        commit_log_nanos: 7_000_000,
        apply_batch_wait_nanos: 8_000_000,
        apply_log_nanos: 9_000_000,
        apply_mutex_lock_nanos: 10_000_000,
        apply_write_leader_wait_nanos: 11_000_000,
        apply_write_wal_nanos: 12_000_000,
        apply_write_memtable_nanos: 13_000_000,
        latch_wait_nanos: 14_000_000,
        process_nanos: 15_000_000,
        throttle_nanos: 16_000_000,
        pessimistic_lock_wait_nanos: 17_000_000,
    };
    let mut detail = WriteDetail::default();
    detail.merge_message(&message);
    assert_eq!(
        detail.to_string(),
        "write_detail: {store_batch_wait: 1ms, propose_send_wait: 2ms, persist_log: {total: 3ms, write_leader_wait: 4ms, \
         sync_log: 5ms, write_memtable: 6ms}, commit_log: 7ms, apply_batch_wait: 8ms, apply: {total:9ms, mutex_lock: 10ms, \
         write_leader_wait: 11ms, write_wal: 12ms, write_memtable: 13ms}, scheduler: {process: 15ms, latch_wait: 14ms, \
         pessimistic_lock_wait: 17ms, throttle: 16ms}}"
    );
    let once = detail;
    detail.merge(&once);
    assert_eq!((detail.scheduler_throttle, detail.store_batch_wait), (ms(32), ms(2)));
    let quick = WriteDetail { scheduler_process: ms(1), ..WriteDetail::default() };
    assert!(quick.to_string().ends_with("scheduler: {process: 1ms}}"));
}

fn spread(total: u64, max: u64, min: u64) -> Spread<u64> {
    Spread::new(total, max, min)
}

fn times(total: u64, max: u64, min: u64) -> Spread<Duration> {
    Spread::new(us(total), us(max), us(min))
}

#[test]
fn pool_tasks_show_averages_of_their_times() {
    let details = PoolTaskDetails {
        tasks: 2,
        polls: spread(8, 5, 3),
        dispatches: spread(6, 4, 2),
        wall: times(20_000, 12_000, 8_000),
        wall_samples: 2,
        queue_wait: times(12_000, 4_000, 1_000),
        wake_wait: times(8_000, 3_000, 1_000),
        fair_queue_samples: 6,
        fair_queue_slices: spread(18, 5, 2),
        poll_cpu: times(8_000, 2_000, 500),
        poll_wall: times(12_000, 3_000, 750),
    };
    assert_eq!(
        details.to_string(),
        "{tasks:2, poll_count:{total:8, avg:4, max:5, min:3}, dispatch_count:{total:6, max:4, min:2}, \
         task_wall_time:{total:20ms, avg:10ms, max:12ms, min:8ms}, queue_wait:{total:12ms, avg:2ms, max:4ms, min:1ms}, \
         wake_wait:{total:8ms, avg:2ms, max:3ms, min:1ms}, fair_queue:{enabled:true, \
         waited_task_slices:{total:18, avg:3, max:5, min:2}}, poll_cpu:{total:8ms, avg:1ms, max:2ms, min:500µs}, \
         poll_wall:{total:12ms, avg:1.5ms, max:3ms, min:750µs}}"
    );
}

fn pool(tasks: u64, polls: Spread<u64>, dispatches: Spread<u64>) -> PoolTaskDetails {
    PoolTaskDetails { tasks, polls, dispatches, ..PoolTaskDetails::default() }
}

#[test]
fn pool_tasks_leave_out_times_that_are_zero() {
    assert_eq!(
        pool(1, spread(2, 2, 2), spread(2, 2, 2)).to_string(),
        "{tasks:1, poll_count:{total:2, avg:2, max:2, min:2}, dispatch_count:{total:2, max:2, min:2}, \
         fair_queue:{enabled:false, waited_task_slices:{total:0, max:0, min:0}}}"
    );
}

#[test]
fn pool_tasks_without_samples_show_no_average() {
    let details = PoolTaskDetails {
        queue_wait: times(2_000, 2_000, 2_000),
        ..pool(1, Spread::default(), Spread::default())
    };
    assert_eq!(
        details.to_string(),
        "{tasks:1, poll_count:{total:0, avg:0, max:0, min:0}, dispatch_count:{total:0, max:0, min:0}, \
         queue_wait:{total:2ms, max:2ms, min:2ms}, fair_queue:{enabled:false, waited_task_slices:{total:0, max:0, min:0}}}"
    );
}

#[test]
fn pool_tasks_show_fractions_of_counts() {
    let details = PoolTaskDetails {
        fair_queue_samples: 3,
        fair_queue_slices: spread(7, 4, 0),
        ..pool(3, spread(8, 5, 1), spread(3, 1, 1))
    };
    assert_eq!(
        details.to_string(),
        "{tasks:3, poll_count:{total:8, avg:2.67, max:5, min:1}, dispatch_count:{total:3, max:1, min:1}, \
         fair_queue:{enabled:true, waited_task_slices:{total:7, avg:2.33, max:4, min:0}}}"
    );
}

#[test]
fn pool_tasks_show_a_fair_queue_that_nobody_waited_in() {
    let details = PoolTaskDetails { fair_queue_samples: 2, ..pool(1, spread(2, 2, 2), spread(2, 2, 2)) };
    assert!(
        details
            .to_string()
            .ends_with("fair_queue:{enabled:true, waited_task_slices:{total:0, avg:0, max:0, min:0}}}")
    );
}

fn first_task() -> pb::PoolTaskDetails {
    pb::PoolTaskDetails {
        poll_count: 5,
        dispatch_count: 3,
        total_wall_nanos: nanos(ms(10)),
        total_queue_wait_nanos: nanos(ms(6)),
        max_queue_wait_nanos: nanos(ms(3)),
        min_queue_wait_nanos: nanos(ms(1)),
        total_wake_wait_nanos: nanos(ms(4)),
        max_wake_wait_nanos: nanos(ms(3)),
        min_wake_wait_nanos: nanos(ms(1)),
        fair_queue_enabled: true,
        total_fair_queue_waited_task_slices: 9,
        max_fair_queue_waited_task_slices: 5,
        min_fair_queue_waited_task_slices: 1,
        poll_cpu_nanos: nanos(ms(5)),
        max_poll_cpu_nanos: nanos(ms(2)),
        min_poll_cpu_nanos: nanos(us(500)),
        poll_wall_nanos: nanos(ms(8)),
        max_poll_wall_nanos: nanos(ms(4)),
        min_poll_wall_nanos: nanos(ms(1)),
    }
}

fn second_task() -> pb::PoolTaskDetails {
    pb::PoolTaskDetails {
        poll_count: 2,
        dispatch_count: 1,
        total_queue_wait_nanos: nanos(ms(2)),
        max_queue_wait_nanos: nanos(ms(2)),
        min_queue_wait_nanos: nanos(ms(2)),
        // Not measured: these three say nothing.
        fair_queue_enabled: false,
        total_fair_queue_waited_task_slices: 100,
        max_fair_queue_waited_task_slices: 100,
        min_fair_queue_waited_task_slices: 100,
        poll_cpu_nanos: nanos(ms(2)),
        max_poll_cpu_nanos: nanos(us(1500)),
        min_poll_cpu_nanos: nanos(us(400)),
        poll_wall_nanos: nanos(ms(3)),
        max_poll_wall_nanos: nanos(ms(2)),
        min_poll_wall_nanos: nanos(us(800)),
        ..Default::default()
    }
}

#[test]
fn pool_tasks_add_up_from_messages_and_with_each_other() {
    let mut details = PoolTaskDetails::default();
    details.merge_message(&first_task());
    details.merge_message(&second_task());
    let expected = PoolTaskDetails {
        tasks: 2,
        polls: spread(7, 5, 2),
        dispatches: spread(4, 3, 1),
        wall: times(10_000, 10_000, 10_000),
        wall_samples: 1,
        queue_wait: times(8_000, 3_000, 1_000),
        wake_wait: times(4_000, 3_000, 1_000),
        fair_queue_samples: 3,
        fair_queue_slices: spread(9, 5, 1),
        poll_cpu: times(7_000, 2_000, 400),
        poll_wall: times(11_000, 4_000, 800),
    };
    assert_eq!(details, expected);
    let mut other = PoolTaskDetails::default();
    other.merge_message(&pb::PoolTaskDetails {
        poll_count: 8,
        dispatch_count: 4,
        total_wall_nanos: nanos(ms(20)),
        total_queue_wait_nanos: nanos(ms(12)),
        max_queue_wait_nanos: nanos(ms(5)),
        min_queue_wait_nanos: nanos(ms(2)),
        total_wake_wait_nanos: nanos(ms(6)),
        max_wake_wait_nanos: nanos(ms(4)),
        min_wake_wait_nanos: nanos(ms(2)),
        fair_queue_enabled: true,
        total_fair_queue_waited_task_slices: 8,
        max_fair_queue_waited_task_slices: 4,
        min_fair_queue_waited_task_slices: 0,
        poll_cpu_nanos: nanos(ms(8)),
        max_poll_cpu_nanos: nanos(ms(3)),
        min_poll_cpu_nanos: nanos(us(300)),
        poll_wall_nanos: nanos(ms(10)),
        max_poll_wall_nanos: nanos(ms(5)),
        min_poll_wall_nanos: nanos(us(700)),
    });
    details.merge(&other);
    let expected = PoolTaskDetails {
        tasks: 3,
        polls: spread(15, 8, 2),
        dispatches: spread(8, 4, 1),
        wall: times(30_000, 20_000, 10_000),
        wall_samples: 2,
        queue_wait: times(20_000, 5_000, 1_000),
        wake_wait: times(10_000, 4_000, 1_000),
        fair_queue_samples: 7,
        fair_queue_slices: spread(17, 5, 0),
        poll_cpu: times(15_000, 3_000, 300),
        poll_wall: times(21_000, 5_000, 700),
    };
    assert_eq!(details, expected);
}

/// Merges both as they come, and each first into a sum of its own: it must be the same.
fn merged(first: &pb::PoolTaskDetails, second: &pb::PoolTaskDetails) -> PoolTaskDetails {
    let (mut both, mut left, mut right) =
        (PoolTaskDetails::default(), PoolTaskDetails::default(), PoolTaskDetails::default());
    both.merge_message(first);
    both.merge_message(second);
    left.merge_message(first);
    right.merge_message(second);
    left.merge(&right);
    assert_eq!(both, left);
    both
}

#[test]
fn the_least_is_that_of_samples_which_there_are() {
    // Absent waits do not pin the least to zero; the polls of the first were measured, and their least is zero.
    let first =
        pb::PoolTaskDetails { poll_count: 2, dispatch_count: 1, poll_cpu_nanos: 9, ..Default::default() };
    let second = pb::PoolTaskDetails {
        poll_count: 3,
        dispatch_count: 2,
        total_queue_wait_nanos: 10,
        min_queue_wait_nanos: 3,
        total_wake_wait_nanos: 2,
        min_wake_wait_nanos: 2,
        fair_queue_enabled: true,
        min_fair_queue_waited_task_slices: 1,
        min_poll_cpu_nanos: 1,
        min_poll_wall_nanos: 2,
        ..Default::default()
    };
    let both = merged(&first, &second);
    assert_eq!(both.queue_wait.min, Duration::from_nanos(3));
    assert_eq!(both.wake_wait.min, Duration::from_nanos(2));
    assert_eq!(both.fair_queue_slices.min, 1);
    assert_eq!((both.poll_cpu.min, both.poll_wall.min), (Duration::ZERO, Duration::ZERO));
    // A zero that was measured stays.
    let zero = pb::PoolTaskDetails {
        total_queue_wait_nanos: 1,
        total_wake_wait_nanos: 1,
        min_queue_wait_nanos: 0,
        min_wake_wait_nanos: 0,
        min_fair_queue_waited_task_slices: 0,
        ..second
    };
    let both = merged(&zero, &second);
    assert_eq!((both.queue_wait.min, both.wake_wait.min), (Duration::ZERO, Duration::ZERO));
    assert_eq!(both.fair_queue_slices.min, 0);
}

#[test]
fn no_pool_task_is_nothing_and_a_copy_is_its_own() {
    let none = PoolTaskDetails::default();
    assert!(none.is_empty() && none.to_string().is_empty());
    let mut some = none;
    some.merge_message(&pb::PoolTaskDetails { poll_count: 1, dispatch_count: 1, ..Default::default() });
    assert!(!some.is_empty());
    let before = some;
    some.merge(&none);
    assert_eq!(some, before);
    some.polls.total += 1;
    assert_ne!(some, before);
}

fn slow(time: Duration, id: u64) -> SlowRequest {
    SlowRequest::new(time, RegionId(id), StoreId(id), StoreDetails::default())
}

fn locked(factor: u32, kind: &'static str, slowest: SlowRequest) -> LockKeysDetails {
    LockKeysDetails {
        total: ms(10) * factor,
        regions: 2 * factor,
        keys: 5 * factor,
        fair_new: factor,
        fair_derived: 2 * factor,
        locked_with_conflict: 3 * factor,
        resolve_locks: us(100) * factor,
        pauses: us(200) * factor,
        pause_kinds: vec![kind],
        slowest,
        request_time: us(300) * factor,
        requests: 4 * factor,
        retries: factor,
    }
}

#[test]
fn details_of_locked_keys_add_up_and_count_a_retry() {
    let mut sum = locked(1, "txnLock", slow(ms(5), 10));
    sum.merge(&locked(2, "regionMiss", slow(ms(8), 20)));
    let expected = LockKeysDetails {
        pause_kinds: vec!["txnLock", "regionMiss"],
        retries: 2,
        ..locked(3, "", slow(ms(8), 20))
    };
    assert_eq!(sum, expected);
}

#[test]
fn the_slowest_lock_request_is_replaced_by_a_slower_one_only() {
    let mut sum = locked(1, "", slow(ms(10), 1));
    sum.merge(&locked(1, "", slow(ms(5), 2)));
    sum.merge(&locked(1, "", slow(ms(10), 3)));
    assert_eq!(sum.slowest, slow(ms(10), 1));
}

#[test]
fn a_copy_of_locked_keys_is_its_own() {
    let of = locked(1, "txnLock", slow(ms(5), 1));
    let mut copy = of.clone();
    assert_eq!(copy, of);
    copy.pause_kinds.push("more");
    copy.total += ms(1);
    assert_eq!(of.pause_kinds, ["txnLock"]);
    assert_eq!(of.total, ms(10));
}

fn committed(
    factor: u32,
    kinds: [&'static str; 2],
    prewrite: SlowRequest,
    primary: SlowRequest,
) -> CommitDetails {
    CommitDetails {
        get_commit_ts: ms(10) * factor,
        get_latest_ts: ms(5) * factor,
        lag: CommitLag::default(),
        prewrite: ms(20) * factor,
        commit: ms(15) * factor,
        local_latch: ms(2) * factor,
        resolve_locks: us(50) * factor,
        pauses: us(100) * factor,
        prewrite_pauses: vec![kinds[0]],
        commit_pauses: vec![kinds[1]],
        slowest_prewrite: prewrite,
        commit_primary: primary,
        write_keys: 100 * u64::from(factor),
        write_bytes: 2000 * u64::from(factor),
        prewrite_regions: 4 * factor,
        prewrite_requests: 7 * factor,
        retries: factor,
    }
}

#[test]
fn commit_details_add_up() {
    let mut sum = committed(1, ["txnLock", "regionMiss"], slow(ms(5), 1), slow(ms(3), 2));
    sum.merge(&committed(2, ["tikvRPC", "txnLock"], slow(ms(8), 10), slow(ms(6), 20)));
    let expected = CommitDetails {
        prewrite_pauses: vec!["txnLock", "tikvRPC"],
        commit_pauses: vec!["regionMiss", "txnLock"],
        ..committed(3, ["", ""], slow(ms(8), 10), slow(ms(6), 20))
    };
    assert_eq!(sum, expected);
}

#[test]
fn the_slowest_prewrite_and_commit_are_replaced_by_slower_ones_only() {
    let mut sum = committed(1, ["", ""], slow(ms(10), 1), slow(ms(10), 2));
    sum.merge(&committed(1, ["", ""], slow(ms(5), 3), slow(ms(5), 4)));
    assert_eq!((sum.slowest_prewrite, sum.commit_primary), (slow(ms(10), 1), slow(ms(10), 2)));
}

#[test]
fn a_copy_of_commit_details_is_its_own() {
    let of = committed(1, ["txnLock", "tikvRPC"], slow(ms(5), 1), slow(ms(3), 2));
    let mut copy = of.clone();
    assert_eq!(copy, of);
    copy.prewrite_pauses.push("more");
    copy.commit_pauses.push("more");
    copy.get_commit_ts += ms(1);
    assert_eq!(of, committed(1, ["txnLock", "tikvRPC"], slow(ms(5), 1), slow(ms(3), 2)));
}

#[test]
fn a_lag_that_was_none_changes_no_lag() {
    let lag = |wait, first| CommitLag { wait, pauses: 2, first: Timestamp(first), wait_until: Timestamp(9) };
    let mut sum = lag(ms(3), 5);
    sum.merge(&lag(ms(100), 0));
    assert_eq!(sum, lag(ms(3), 5));
    sum.merge(&lag(ms(4), 6));
    assert_eq!(sum, CommitLag { pauses: 4, ..lag(ms(7), 6) });
}

fn selections(batch_selection: u64) -> Option<ExecutorInputs> {
    Some(ExecutorInputs {
        tikv_coprocessor_executor_work_total_batch_selection: batch_selection,
        ..ExecutorInputs::default()
    })
}

#[test]
fn counters_of_request_units_add_up_until_they_are_taken() {
    let mut details = RuDetails::default();
    details.add_counters(&Ruv2 {
        read_rpc_count: 1,
        storage_processed_keys_batch_get: 2,
        executor_inputs: selections(3),
        ..Ruv2::default()
    });
    details.add_counters(&Ruv2 {
        write_rpc_count: 4,
        storage_processed_keys_get: 5,
        raftstore_store_write_trigger_wb_bytes: 6,
        executor_inputs: selections(7),
        ..Ruv2::default()
    });
    let taken = details.take_counters();
    let expected = Ruv2 {
        read_rpc_count: 1,
        write_rpc_count: 4,
        storage_processed_keys_batch_get: 2,
        storage_processed_keys_get: 5,
        raftstore_store_write_trigger_wb_bytes: 6,
        executor_inputs: selections(10),
        ..Ruv2::default()
    };
    assert_eq!(taken, Some(expected));
    assert_eq!(details.take_counters(), None);
}

#[test]
fn a_copy_of_request_units_has_its_own_counters_and_merging_takes_none_away() {
    let reads = |count| Ruv2 { read_rpc_count: count, ..Ruv2::default() };
    let mut details = RuDetails::default();
    details.add_counters(&reads(1));
    let mut copy = details.clone();
    copy.add_counters(&reads(2));
    assert_eq!(details.take_counters(), Some(reads(1)));
    assert_eq!(copy.take_counters(), Some(reads(3)));
    let mut other = RuDetails::default();
    other.add_counters(&reads(7));
    details.add_counters(&reads(5));
    details.merge(&other);
    assert_eq!(details.take_counters(), Some(reads(12)));
    assert_eq!(other.take_counters(), Some(reads(7)));
}

#[test]
fn units_of_tiflash_count_as_units_and_by_themselves() {
    let used = |read, write| Consumption { r_r_u: read, w_r_u: write, ..Default::default() };
    let mut details = RuDetails::default();
    details.add(&used(1.5, 2.5), ms(3));
    details.add_tiflash(&used(3.0, 4.0));
    assert_eq!((details.read, details.write, details.tiflash, details.wait), (4.5, 6.5, 7.0, ms(3)));
    assert_eq!(details.to_string(), "RRU:4.500000, WRU:6.500000, WaitDuration:3ms");
}

/// client-go writes the comma of a part that is empty.
#[test]
fn fixes_commas_between_empty_parts() {
    let time = TimeDetail { total: ms(1), ..TimeDetail::default() };
    let details = StoreDetails { time, ..StoreDetails::default() };
    assert_eq!(details.to_string(), "time_detail: {tikv_wall_time: 1ms}");
}

proptest! {
    #[test]
    fn a_pruned_duration_is_near_the_exact_one(nanos in 0_u64..10_000_000_000_000) {
        let text = duration_text(Duration::from_nanos(nanos));
        let unit = [1_000_000_000, 1_000_000, 1_000].into_iter().find(|unit| nanos >= *unit).unwrap_or(1);
        let mut rest = &*text;
        let mut read = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap();
            let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
            let factor = match &rest[digits..letters] {
                "h" => 3.6e12, "m" => 6e10, "s" => 1e9, "ms" => 1e6, "µs" => 1e3, "ns" => 1.0, other => panic!("{other}"),
            };
            read += rest[..digits].parse::<f64>().unwrap() * factor;
            rest = &rest[letters..];
        }
        prop_assert!((read - nanos as f64).abs() <= unit as f64 / 20.0 + 1e-3 * unit as f64, "{text} of {nanos}");
    }
}
