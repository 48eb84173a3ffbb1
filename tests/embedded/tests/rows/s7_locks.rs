//! `cluster.md` 7.2 to 7.4 and 7.15: pessimistic and shared locks, who waits for them, deadlocks.

use crate::proof::{Proof, elsewhere, rows, tikv};

rows! {
    /// 7.2, before the keys.
    mod t7_2_checks {
        force_lock_of_two_keys => tikv("fair_locking", &["force lock: two keys are refused"]).shows(&["Other"]);
        lock_only_if_exists_without_return_values =>
            tikv("pessimistic", &["pessimistic lock: lock_only_if_exists without return_values"])
                .shows(&["LockIfExistsFailed"]);
        reading_raises_max_ts =>
            tikv("async_commit", &["async commit: pessimistic lock *",
                "async commit: plain pessimistic lock does not raise max_ts"]);
    }
}

rows! {
    /// 7.2, one key.
    mod t7_2_key {
        own_prewritten_lock =>
            tikv("pessimistic", &["pessimistic lock: own prewritten lock"]).shows(&["LockTypeNotMatch"]);
        own_lock_and_a_larger_for_update_ts =>
            tikv("pessimistic",
                &["pessimistic lock: repeated with larger for_update_ts takes ttl and for_update_ts of the request",
                "pessimistic lock: values of a repeated request with larger for_update_ts"]);
        own_lock_and_no_larger_for_update_ts =>
            tikv("pessimistic", &["pessimistic lock: repeated",
                "pessimistic lock: repeated with smaller for_update_ts",
                "pessimistic lock: values of a repeated request"]);
        own_lock_with_conflict_repeated =>
            tikv("fair_locking", &["force lock: repeated *"]).shows(&["locked_with_conflict_ts"]);
        own_lock_must_not_exist =>
            tikv("pessimistic", &["pessimistic lock: must not exist on own lock"]).shows(&["already_exist"]);
        others_lock =>
            tikv("pessimistic", &["pessimistic lock: *lock of another without waiting"]).shows(&["locked"]);
        newer_record_of_any_type =>
            tikv("pessimistic", &["pessimistic lock: newer *"]).shows(&["PessimisticRetry"]);
        newer_record_and_force_lock =>
            tikv("fair_locking", &["force lock: newer version is locked with conflict",
                "force lock: locked with conflict over *"]).shows(&["LockResultLockedWithConflict"]);
        own_rollback =>
            tikv("pessimistic", &["pessimistic lock: own rollback", "pessimistic lock: own protected rollback",
                "pessimistic lock: own rollback behind a newer commit"]).shows(&["PessimisticLockRolledBack"]);
        must_not_exist_and_does =>
            tikv("pessimistic", &["pessimistic lock: must not exist but does",
                "pessimistic lock: must not exist and does not", "pessimistic lock: must not exist over a delete"])
                .shows(&["already_exist"]);
        must_not_exist_with_conflict =>
            tikv("fair_locking", &["force lock: must not exist *"]).shows(&["conflict"]);
        lock_only_if_exists_and_does_not =>
            tikv("pessimistic", &["pessimistic lock: lock_only_if_exists without a value",
                "pessimistic lock: lock_only_if_exists, one of two",
                "pessimistic lock: lock_only_if_exists with a value"]).shows(&["not_founds"]);
        lock_only_if_exists_force_and_a_newer_delete =>
            tikv("fair_locking", &["force lock: lock_only_if_exists *"]).shows(&["PessimisticRetry"]);
        otherwise_a_lock_is_written =>
            tikv("pessimistic", &["pessimistic lock: written and invisible to readers", "pessimistic lock: two keys",
                "pessimistic lock: min_commit_ts is stored"]).shows(&["PessimisticLock"]);
    }
}

rows! {
    /// 7.2, answers, and where locks are kept.
    mod t7_2_answer {
        normal_values_and_not_founds =>
            tikv("pessimistic", &["pessimistic lock: return_values*", "pessimistic lock: check_existence",
                "pessimistic lock: both flags"]).shows(&["values", "not_founds"]);
        normal_error_stands_alone =>
            tikv("pessimistic", &["pessimistic lock: one locked key of two, nothing locked",
                "pessimistic lock: two locked keys, which is reported"]).shows(&["errors"]);
        force_lock_result_normal => tikv("fair_locking", &["force lock: without conflict*"]).shows(&["results"]);
        force_lock_result_failed_only_after_meeting_a_lock =>
            tikv("fair_locking", &["force lock: locked without waiting", "force lock wait: timeout",
                "force lock wait: deadlock"]).shows(&["LockResultFailed"]);
        force_lock_errors_found_at_once_have_no_results =>
            tikv("fair_locking", &["force lock: own rollback", "force lock: must not exist with a value"])
                .shows(&["errors"]);
        memory_locks_follow_a_transfer_and_die_in_a_crash =>
            elsewhere("src/model/store/tests/conditions.rs",
                "a_crashed_leader_loses_its_pessimistic_locks_and_one_that_hands_over_does_not");
        memory_locks_are_seen_by_scan_lock =>
            tikv("scan_lock", &["scan_lock: pessimistic locks in memory and storage in order"])
                .shows(&["PessimisticLock"]);
        memory_locks_are_seen_by_a_rollback_without_keys =>
            tikv("pessimistic", &["pessimistic rollback: without keys *"]);
        memory_locks_are_not_resolved =>
            tikv("resolve", &["resolve: by region, memory pessimistic locks stay*"]).shows(&["PessimisticLock"]);
    }
}

rows! {
    /// 7.3, waiting and waking.
    mod t7_3 {
        wait_0_is_a_second_and_more_is_cut =>
            tikv("pessimistic", &["lock wait: wait 0 means the default, at most a second",
                "lock wait: waits above a second are cut"]).shows(&["locked"]);
        no_wait_is_locked_at_once =>
            tikv("pessimistic", &["pessimistic lock: lock of another without waiting"]).shows(&["locked"]);
        the_queue_is_ordered_by_start_ts =>
            tikv("pessimistic", &["lock wait: two waiters, the smaller start is woken first"]);
        a_timeout_tells_whether_the_lock_changed =>
            (tikv("pessimistic", &["lock wait: times out with the lock",
                "lock wait: lock changed hands while waiting"]).shows(&["locked"]),
                elsewhere("src/model/store/tests/waits.rs",
                "a_forced_request_is_resumed_and_gets_the_lock_in_its_place"));
        one_key_of_a_request_is_waited_for =>
            tikv("pessimistic", &["lock wait: a waiting request with two keys locks none",
                "lock wait: lock info of the first locked key"]);
        released_for_a_normal_head =>
            tikv("pessimistic", &["lock wait: released by *"]).shows(&["PessimisticRetry"]);
        released_for_a_force_head =>
            tikv("fair_locking", &["force lock wait: * resumes *",
                "force lock wait: two waiters, one after the other",
                "force lock wait: must not exist after a commit"]).shows(&["LockResultLockedWithConflict",
                "results"]);
        the_others_wake_20_ms_later =>
            elsewhere("src/model/store/tests/waits.rs",
                "the_oldest_wakes_up_at_once_and_the_others_twenty_ms_later");
        normal_and_force_waiters_mixed =>
            tikv("fair_locking", &["force lock wait: a normal waiter behind a force one",
                "force lock wait: a force waiter behind a normal one"]);
        a_resumed_request_that_meets_a_shared_lock_is_told =>
            tikv("shared_lock", &["shared lock wait: first exclusive request is not queued"])
                .shows(&["SharedLock"]);
        sharers_at_the_head_wake_together =>
            tikv("shared_lock", &["shared lock wait: sharers waiting for an exclusive lock wake together"]);
        leadership_lost_ends_no_wait =>
            elsewhere("tests/rows/s7_settle.rs", "a_wait_goes_on_when_leadership_is_lost");
        a_resumed_request_checks_its_region_again =>
            elsewhere("src/model/store/tests/waits.rs", "a_resumed_request_whose_region_has_moved_is_told_so");
    }
}

rows! {
    /// 7.4, deadlocks.
    mod t7_4 {
        a_first_lock_closes_no_circle => tikv("pessimistic", &["deadlock: a first lock is not checked"]);
        an_edge_ends_with_the_wait =>
            elsewhere("src/model/store/tests/waits.rs", "the_wait_that_closes_a_circle_is_a_deadlock");
        the_closing_edge_fails =>
            tikv("pessimistic", &["deadlock: the closing edge fails"]).shows(&["deadlock", "wait_chain"]);
        the_chain_is_in_order =>
            tikv("pessimistic", &["deadlock: a cycle of three",
                "deadlock: resource_group_tag comes back in the chain"]).shows(&["resource_group_tag"]);
        no_wait_no_detection => tikv("pessimistic", &["deadlock: no waiting, no detection"]);
        force_locks_are_detected_too => tikv("fair_locking", &["force lock wait: deadlock"]).shows(&["deadlock"]);
        get_lock_wait_info_tells_the_edges =>
            (tikv("pessimistic", &["lock wait: GetLockWaitInfo shows the waiter"]), tikv("admission",
                &["store rpcs: GetLockWaitInfo without waiters"]));
        get_lock_wait_history_is_not_served =>
            tikv("admission", &["store rpcs: GetLockWaitHistory"]).shows(&["UNIMPLEMENTED"]);
    }
}

rows! {
    /// 7.15, shared locks.
    mod t7_15 {
        a_container_of_holders =>
            tikv("shared_lock", &["shared lock: one holder", "shared lock: two holders", "shared lock: repeated"])
                .shows(&["shared_lock_infos"]);
        an_exclusive_request_shrinks_it_and_is_told_at_once =>
            tikv("shared_lock", &["shared lock: exclusive request *",
                "shared lock wait: first exclusive request is not queued",
                "shared lock: holder repeats in a shrink-only container"]).shows(&["SharedLock"]);
        a_sharer_waits_for_an_exclusive_lock =>
            tikv("shared_lock", &["shared lock: shared request over *",
                "shared lock wait: sharers waiting for an exclusive lock wake together"]).shows(&["locked"]);
        a_commit_writes_a_lock_record_and_the_last_removes_it =>
            tikv("shared_lock", &["shared lock: prewrite and commit of a sub-lock",
                "shared lock: last commit removes the container"]).shows(&[r#""type":"Lock""#]);
        a_rollback_writes_a_record => tikv("shared_lock", &["shared lock: rollback of *"]).shows(&["Rollback"]);
        the_last_to_leave_wakes_waiters =>
            tikv("shared_lock", &["shared lock wait: exclusive waiter after the last holder leaves"]);
        no_primary_is_shared =>
            tikv("shared_lock", &["shared lock: check_txn_status on it", "shared lock: heartbeat on it"])
                .shows(&["primary_mismatch"]);
        readers_ignore_it =>
            tikv("shared_lock", &["shared lock: reads ignore a prewritten sub-lock"]).shows(&["not_found"]);
        check_secondary_locks_does_not_look_into_it =>
            tikv("shared_lock", &["shared lock: check_secondary_locks*"]).shows(&["Rollback"]);
        mvcc_shows_one_holder =>
            tikv("shared_lock", &["shared lock: one holder"]).shows(&[r#""type":"PessimisticLock""#]);
    }
}
