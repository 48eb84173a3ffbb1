//! `cluster.md` 8: reads.

use crate::proof::{Proof, elsewhere, rows, tikv};

rows! {
    /// 8.1, which version.
    mod t8_1 {
        the_newest_not_above_the_version => tikv("reads", &["get: visible version"]);
        rollback_and_lock_records_are_skipped =>
            tikv("reads", &["get: behind lock and rollback records", "get: only rollback and lock records"]);
        a_delete_is_absent => tikv("reads", &["get: deleted", "get: absent key"]).shows(&["not_found"]);
        gc_fence => tikv("reads", &["get: gc_fence hides a version"]);
        long_values => tikv("reads", &["batch_get: empty and long values"]).shows(&["rep:300*x"]);
        a_missing_value_is_default_not_found =>
            elsewhere("src/model/store/tests/reads.rs", "a_lost_long_value_is_an_error");
    }
}

rows! {
    /// 8.2, locks in the way.
    mod t8_2 {
        lock_type_pessimistic_and_shared =>
            (tikv("reads", &["get: lock record type is ignored", "get: pessimistic lock is ignored"]),
                tikv("shared_lock", &["shared lock: reads ignore a prewritten sub-lock"]));
        min_commit_ts_above_the_version => tikv("reads", &["get: lock with min_commit_ts above the read"]);
        resolved_locks =>
            tikv("reads", &["get: resolved lock is bypassed", "batch_get: resolved and committed locks"]);
        committed_locks_but_with_need_commit_ts =>
            tikv("reads", &["get: committed lock *", "batch_get: resolved and committed locks"]).shows(&["locked"]);
        max_version_on_a_replica_read => tikv("reads", &["get: replica read on the leader"]).shows(&["locked"]);
        max_version_and_the_primary =>
            tikv("reads", &["get: max on the primary of a plain lock", "batch_get: max version with locks"])
                .shows(&["locked"]);
        max_version_and_an_async_primary =>
            tikv("async_commit", &["async commit: reader at max is blocked even on the primary"])
                .shows(&["locked"]);
        otherwise_locked =>
            tikv("reads", &["get: locked by put, delete", "get: lock of the reader's own transaction"])
                .shows(&["locked"]);
        read_committed_ignores_all =>
            tikv("reads", &["get: read committed ignores locks", "batch_get: read committed"]);
        checking_read_of_a_lock =>
            tikv("reads", &["get: checking read meets a lock", "get: checking read of a resolved lock",
                "get: checking read with min_commit_ts above",
                "get: checking read with a lock record type and a pessimistic lock"]).shows(&["RcCheckTs"]);
        checking_read_of_any_newer_record =>
            tikv("reads", &["get: checking read with a newer *"]).shows(&["RcCheckTs"]);
        checking_batch_get_in_its_pair_and_scan_as_a_whole =>
            (tikv("reads", &["get: checking batch_get and scan"]).shows(&["RcCheckTs"]), tikv("scan",
                &["scan: checking read with a newer version"]).shows(&["RcCheckTs"]));
    }
}

rows! {
    /// 8.3, `KvGet`.
    mod t8_3 {
        value_or_not_found =>
            tikv("reads", &["get: visible version", "get: absent key"]).shows(&["value", "not_found"]);
        commit_ts_when_asked => tikv("reads", &["get: need_commit_ts*"]).shows(&["commit_ts"]);
        raises_max_ts => tikv("async_commit", &["async commit: a read raises min_commit_ts of a later prewrite"]);
    }
}

rows! {
    /// 8.4, `KvBatchGet`.
    mod t8_4 {
        pairs_of_what_is_there_in_order =>
            tikv("reads", &["batch_get: order and repeated keys", "batch_get: found, missing and locked",
                "batch_get: no keys"]).shows(&["pairs"]);
        a_locked_key_is_its_own_pair => tikv("reads", &["batch_get: found, missing and locked"]).shows(&["locked"]);
        commit_ts_when_asked => tikv("reads", &["batch_get: need_commit_ts"]).shows(&["commit_ts"]);
        a_failure_of_all_stands_twice =>
            tikv("admission", &["admission batch_get: api version *"]).shows(&[r#""pairs":[{"error""#]);
    }
}

rows! {
    /// 8.5, `KvScan`.
    mod t8_5 {
        forward =>
            tikv("scan", &["scan: forward", "scan: versions", "scan: empty range", "scan: start equals end",
                "scan: start above end"]);
        reverse_from_start_down_to_end => tikv("scan", &["scan: reverse"]);
        limit_0_is_empty => tikv("scan", &["scan: limit 0"]);
        a_locked_key_is_a_pair_and_the_scan_goes_on =>
            tikv("scan", &["scan: locked key yields an error and goes on", "scan: lock on a new key"])
                .shows(&["locked"]);
        sample_step => tikv("scan", &["scan: sample_step"]).shows(&["@k03"]);
        outside_the_region => elsewhere("tests/rows/s4_doors.rs", "row_outside_scan_is_an_invalid_range");
        key_only => tikv("scan", &["scan: key_only*"]).shows(&[r#"{"key":"@a"}"#]);
    }
}

rows! {
    /// 8.6, by peer.
    mod t8_6 {
        stale_read_on_the_leader_ahead_of_safe_ts =>
            tikv("admission", &["admission: stale read ahead of the safe timestamp on the leader"]).shows(&["value",
                "locked"]);
        stale_read_on_a_follower =>
            elsewhere("src/model/store/tests/admission.rs", "a_stale_read_on_a_follower_needs_a_safe_timestamp");
        replica_read_waits_until_applied =>
            elsewhere("src/model/store/tests/conditions.rs",
                "a_read_of_a_replica_that_lags_waits_until_it_has_caught_up");
        safe_ts_does_not_go_back =>
            elsewhere("src/model/store/tests/conditions.rs", "what_is_settled_does_not_go_back");
    }
}
