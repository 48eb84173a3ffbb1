//! `cluster.md` 7.1 and 7.14: prewrites, and flushes of pipelined transactions.

use crate::proof::{Proof, elsewhere, rows, tikv};

rows! {
    /// 7.1, modes, and what comes before the keys.
    mod t7_1_modes {
        optimistic_ignores_pessimistic_actions =>
            tikv("prewrite", &["prewrite: pessimistic_actions ignored when for_update_ts is 0"]);
        pessimistic_pairs_actions_with_mutations =>
            tikv("prewrite", &["prewrite: fewer pessimistic_actions than mutations"]);
        secondaries_are_read_with_async_commit_only =>
            tikv("async_commit", &["async commit: secondaries *"]).shows(&[r#""secondaries":["@b","@c"]"#]);
        max_ts_unsynced_refuses_computed_commits =>
            elsewhere("src/model/store/tests/conditions.rs", "a_leader_without_synced_max_ts_computes_no_timestamp");
        insert_and_check_not_exists_raise_max_ts =>
            tikv("async_commit", &["async commit: insert raises max_ts to start_ts",
                "async commit: check_not_exists raises max_ts", "async commit: put does not raise max_ts"]);
        check_not_exists_in_a_pessimistic_transaction_is_refused =>
            tikv("prewrite", &["prewrite: check_not_exists in a pessimistic transaction is refused"])
                .shows(&["abort"]);
        more_than_12_sorted_keys_over_an_empty_range =>
            tikv("prewrite", &["prewrite: 20 keys *"]).shows(&["locked"]);
    }
}

rows! {
    /// 7.1, what lies on the key.
    mod t7_1_locks {
        own_lock_is_a_duplicate => tikv("prewrite", &["prewrite: repeated prewrite *"]);
        own_async_lock_contributes_its_min_commit_ts =>
            tikv("async_commit", &["async commit: repeated prewrite answers the same min_commit_ts"]);
        own_plain_lock_ends_async_commit_of_the_request =>
            tikv("async_commit", &["async commit: repeated over a plain lock falls back"]);
        own_plain_lock_ends_one_phase_of_the_request => tikv("one_pc", &["one_pc: over own plain lock falls back"]);
        own_pessimistic_lock_of_an_optimistic_transaction =>
            tikv("prewrite", &["prewrite: optimistic over own pessimistic lock is refused"])
                .shows(&["LockTypeNotMatch"]);
        own_pessimistic_lock_of_another_for_update_ts =>
            tikv("prewrite", &["pessimistic prewrite: expected for_update_ts differs",
                "pessimistic prewrite: expected for_update_ts on the second key"])
                .shows(&["LockForUpdateTsMismatch"]);
        own_pessimistic_lock_is_replaced_and_keeps_the_larger_numbers =>
            tikv("prewrite", &["pessimistic prewrite: own pessimistic lock is replaced",
                "pessimistic prewrite: ttl is the larger of both",
                "pessimistic prewrite: min_commit_ts is the larger of both",
                "pessimistic prewrite: *for_update_ts * of the lock*",
                "pessimistic prewrite: newer committed version under an own lock is not a conflict"])
                .shows(&[r#""lock_ttl":7000"#, r#""min_commit_ts":"ts+60""#]);
        others_lock_where_one_is_expected =>
            tikv("prewrite", &["pessimistic prewrite: * of another where a lock is expected"])
                .shows(&["LockTsMismatch"]);
        others_lock_otherwise_is_told =>
            tikv("prewrite", &["prewrite: lock of another transaction*"]).shows(&["locked"]);
        others_lock_in_a_pessimistic_transaction_has_ttl_0 =>
            tikv("prewrite", &["pessimistic prewrite: *lock of another without check*",
                "pessimistic prewrite: constraint check meets a lock"])
                .shows(&[r#""locked":{"key":"@a","lock_version":"ts+20","primary_lock":"@a"}"#]);
        no_lock_is_amended_below_start_ts =>
            tikv("prewrite", &["pessimistic prewrite: missing lock is amended",
                "pessimistic prewrite: missing lock with an older version is amended",
                "pessimistic prewrite: expected for_update_ts of a missing lock"]);
        no_lock_and_a_newer_record_fails =>
            tikv("prewrite", &["pessimistic prewrite: missing lock with a newer *",
                "pessimistic prewrite: missing lock with own rollback",
                "pessimistic prewrite: missing lock and commit_ts equal to start_ts"])
                .shows(&["LockMissingAmendFail"]);
        no_lock_otherwise_is_checked_for_newer_versions =>
            tikv("prewrite", &["prewrite: conflict with a newer *"]).shows(&["conflict"]);
        a_shared_container_of_others_is_told =>
            tikv("shared_lock", &["shared lock: prewrite of another transaction",
                "shared lock: pessimistic prewrite of another transaction"]).shows(&[r#""lock_type":"SharedLock""#,
                "shared_lock_infos"]);
    }
}

rows! {
    /// 7.1, newer versions.
    mod t7_1_versions {
        optimistic_above_start_ts =>
            tikv("prewrite", &["prewrite: write conflict reports conflict_commit_ts and reason Optimistic"])
                .shows(&[r#""reason":"Optimistic""#]);
        constraint_check_above_start_ts =>
            tikv("prewrite", &["pessimistic prewrite: constraint check finds a newer version",
                "pessimistic prewrite: constraint check passes an older version"])
                .shows(&[r#""reason":"LazyUniquenessCheck""#]);
        own_rollback =>
            tikv("prewrite", &["prewrite: own rollback gives reason SelfRolledBack",
                "prewrite: own rollback behind a newer commit",
                "pessimistic prewrite: constraint check over the own rollback"])
                .shows(&[r#""reason":"SelfRolledBack""#]);
        skip_check_of_a_retry_above_for_update_ts =>
            tikv("prewrite", &["pessimistic prewrite: retry flag brings the checks back"])
                .shows(&["NonLockKeyConflict"]);
        a_record_at_start_ts_is_no_conflict =>
            tikv("prewrite", &["prewrite: no conflict when commit_ts equals start_ts"]);
        insert_over_a_value =>
            tikv("prewrite", &["prewrite: insert over *", "prewrite: check_not_exists on an existing value",
                "pessimistic prewrite: insert with constraint check over a value"]).shows(&["already_exist"]);
        skip_check_without_retry_flag_checks_nothing =>
            tikv("prewrite", &["pessimistic prewrite: no check and a version *",
                "pessimistic prewrite: no check over the own rollback",
                "pessimistic prewrite: no check and a rollback above for_update_ts",
                "pessimistic prewrite: skip_constraint_check without retry flag"]);
        a_constraint_of_no_mutation =>
            tikv("prewrite", &["pessimistic prewrite: expected for_update_ts with index out of range"])
                .shows(&["Other"]);
        surplus_mutations_are_not_written =>
            tikv("prewrite", &["prewrite: fewer pessimistic_actions than mutations"]);
        skip_constraint_check => tikv("prewrite", &["prewrite: skip_constraint_check *"]).shows(&["locked"]);
    }
}

rows! {
    /// 7.1, assertions.
    mod t7_1_assertions {
        off_is_ignored => tikv("prewrite", &["assertion Off: *"]);
        fast_looks_at_what_was_loaded => tikv("prewrite", &["assertion Fast: *"]).shows(&["assertion_failed"]);
        strict_looks_when_it_must => tikv("prewrite", &["assertion Strict: *"]).shows(&["assertion_failed"]);
        an_amend_looks_at_what_it_loaded =>
            tikv("prewrite", &["assertion *: amended pessimistic lock"]).shows(&["assertion_failed"]);
        pipelined_over_an_own_lock_is_not_looked_at =>
            tikv("pipelined", &["flush: assertion *"]).shows(&["assertion_failed"]);
        a_conflict_wins_over_an_assertion =>
            tikv("prewrite", &["assertion *: write conflict wins over a violated assertion",
                "assertion Strict: a conflict of a later key wins"]).shows(&["conflict"]);
        a_lock_does_not_win =>
            tikv("prewrite", &["assertion Strict: a locked key in the same request wins"])
                .shows(&["assertion_failed"]);
    }
}

rows! {
    /// 7.1, `min_commit_ts`.
    mod t7_1_min_commit_ts {
        above_max_ts =>
            tikv("async_commit", &["async commit: min_commit_ts follows max_ts",
                "async commit: a read raises min_commit_ts of a later prewrite"])
                .shows(&[r#""min_commit_ts":"ts+20000ms+1""#]);
        above_start_ts => tikv("async_commit", &["async commit: start_ts above max_ts"]);
        above_for_update_ts => tikv("async_commit", &["async commit: for_update_ts above max_ts"]);
        the_requested_one_if_larger =>
            tikv("async_commit", &["async commit: requested min_commit_ts wins when larger"]);
        above_max_commit_ts_falls_back => tikv("async_commit", &["async commit: max_commit_ts *"]);
        one_phase_above_max_commit_ts_falls_back => tikv("one_pc", &["one_pc: max_commit_ts *"]);
        plain_locks_store_the_requested_one =>
            tikv("prewrite", &["prewrite: min_commit_ts of the request is stored in the lock",
                "prewrite: min_commit_ts is 0 when not asked"]).shows(&[r#""min_commit_ts""#]);
    }
}

rows! {
    /// 7.1, outcomes.
    mod t7_1_outcome {
        all_async_answers_the_largest =>
            tikv("async_commit", &["async commit: two keys, the answer is the larger"]);
        one_phase_writes_records_at_once =>
            tikv("one_pc", &["one_pc: commits at once", "one_pc: pessimistic lock is consumed",
                "one_pc: wakes a waiter"]).shows(&["one_pc_commit_ts"]);
        locked_keys_are_collected_and_nothing_is_written =>
            tikv("prewrite", &["prewrite: all locked keys are collected and nothing is written",
                "prewrite: locked keys reported in the order of the mutations"]).shows(&["locked"]);
        keys_that_passed_may_have_a_min_commit_ts_beside_errors =>
            tikv("async_commit", &["async commit: locked by another, nothing published"])
                .shows(&[r#""min_commit_ts":"ts+20000ms+1""#, "locked"]);
        any_other_error_stands_alone =>
            tikv("prewrite", &["prewrite: first mutation conflicts after a locked one: which error wins"])
                .shows(&["conflict"]);
        a_retry_of_what_is_committed_succeeds =>
            tikv("prewrite", &["prewrite: own committed record and newer conflict answers success",
                "prewrite: retry after commit *", "prewrite: insert retried after its own commit"]);
        an_async_retry_answers_the_commit =>
            tikv("async_commit", &["async commit: retry after commit answers the commit timestamp"]);
        a_one_phase_retry_answers_the_commit =>
            tikv("one_pc", &["one_pc: retry answers the same commit timestamp",
                "one_pc: retry behind another commit"]).shows(&["one_pc_commit_ts"]);
        check_not_exists_writes_no_lock => tikv("prewrite", &["prewrite: check_not_exists writes no lock"]);
        each_operation_has_its_type_of_lock =>
            tikv("async_commit", &["async commit: delete and lock mutations"]).shows(&[r#""lock_type":"Del""#,
                r#""lock_type":"Lock""#]);
        txn_size_is_that_of_the_request =>
            tikv("prewrite", &["prewrite: txn_size and ttl are stored"]).shows(&["txn_size"]);
        recent_commits_count_as_retries =>
            tikv("prewrite", &["pessimistic prewrite: retry without flag after commit",
                "pessimistic prewrite: retry after commit succeeds"]);
        shared_lock_needs_its_own_entry =>
            tikv("shared_lock", &["shared lock: prewrite without *"]).shows(&["LockMissingAmendFail"]);
        shared_lock_over_an_exclusive_one =>
            tikv("shared_lock", &["shared lock: prewrite over an exclusive lock"]).shows(&["locked"]);
        shared_lock_is_neither_async_nor_one_phase =>
            tikv("shared_lock", &["shared lock: async commit is refused",
                "shared lock: one phase commit is refused"]).shows(&["abort"]);
        another_operation_over_the_own_shared_entry =>
            tikv("shared_lock", &["shared lock: prewrite with another op"])
                .shows(&["use Op::SharedLock to prewrite on a shared lock"]);
        shared_lock_of_an_optimistic_transaction_is_a_lock =>
            tikv("shared_lock", &["shared lock: optimistic write with a pure SharedLock op"])
                .shows(&[r#""type":"Lock""#]);
        check_not_exists_contributes_without_max_ts =>
            tikv("async_commit", &["async commit: check_not_exists contributes start_ts plus one",
                "async commit: check_not_exists alone"]).shows(&[r#""min_commit_ts":"ts+20000ms+11""#]);
    }
}

rows! {
    /// 7.14, `KvFlush`.
    mod t7_14_flush {
        generation_0_is_refused => tikv("pipelined", &["flush: generation 0 is refused"]).shows(&["abort"]);
        a_lock_has_the_largest_size_and_a_generation =>
            tikv("pipelined", &["flush: writes locks with generation", "flush: lock mutation"])
                .shows(&[r#""txn_size":"max""#]);
        the_requested_min_commit_ts_is_ignored =>
            tikv("pipelined", &["flush: min_commit_ts"]).shows(&[r#""min_commit_ts":"ts+11""#]);
        an_own_lock_of_the_same_or_a_newer_generation_stays =>
            tikv("pipelined", &["flush: older generation is left out", "flush: same generation again"]);
        a_newer_generation_overwrites =>
            tikv("pipelined", &["flush: newer generation overwrites", "flush: long value overwritten by a short one",
                "flush: over own plain prewrite lock"]);
        insert_over_an_own_put =>
            tikv("pipelined", &["flush: insert over own flushed put", "flush: insert over a value"])
                .shows(&["already_exist"]);
        insert_over_an_own_delete =>
            tikv("pipelined", &["flush: insert over own flushed delete"]).shows(&["already_exist"]);
        assertions_without_own_lock_only => tikv("pipelined", &["flush: assertion *"]).shows(&["assertion_failed"]);
        others_locks_are_told_and_the_rest_is_written =>
            tikv("pipelined", &["flush: lock of another"]).shows(&["locked"]);
        a_late_retry_succeeds => tikv("pipelined", &["flush: after own commit succeeds"]);
        a_newer_version_is_a_conflict =>
            tikv("pipelined", &["flush: write conflict", "flush: own rollback"]).shows(&["Optimistic",
                "SelfRolledBack"]);
    }
}

rows! {
    /// 7.14, `KvBufferBatchGet` and the end.
    mod t7_14_buffer {
        values_of_own_locks_only =>
            tikv("pipelined", &["flush: buffer read of another transaction", "flush: buffer read ignores *"]);
        a_delete_is_a_pair_without_value =>
            tikv("pipelined", &["flush: delete then buffer read"]).shows(&[r#"{"key":"@b"}"#]);
        keys_are_sorted_and_come_once =>
            tikv("pipelined", &["flush: buffer read order and repeated keys"])
                .shows(&[r#"[{"key":"@a"},{"key":"@b","value":"2"},{"key":"@c","value":"1"}]"#]);
        what_is_not_there_is_left_out => tikv("pipelined", &["buffer_batch_get: no keys and absent keys"]);
        the_end_commits_and_resolves =>
            tikv("pipelined", &["flush: commit and resolve"]).shows(&["commit_version"]);
    }
}
