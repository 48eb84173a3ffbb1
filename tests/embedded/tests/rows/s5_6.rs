//! `cluster.md` 5 and 6: what lies in the columns, `max_ts`, and the errors of keys.

use tikv_proto::kvrpcpb::*;
use tikv_proto::methods::tikv as m;

use crate::proof::{Proof, elsewhere, rows, tikv};
use crate::world::{World, bytes};

rows! {
    /// 5.1, columns.
    mod t5_1 {
        default_holds_values_longer_than_255 => tikv("prewrite", &["prewrite: value of 25*"]);
        write_holds_records =>
            tikv("commit", &["commit: two transactions one after the other, history"]).shows(&["commit_ts"]);
        lock_holds_one_lock_or_a_container =>
            (tikv("prewrite", &["prewrite: txn_size and ttl are stored"]), tikv("shared_lock",
                &["shared lock: two holders"]));
        keys_are_memory_comparable_and_timestamps_descend =>
            elsewhere("src/model/store/key.rs", "newer_versions_sort_first_and_stay_behind_their_key");
        a_key_has_8192_bytes_encoded =>
            (tikv("prewrite", &["prewrite: key of 8300 bytes is too large", "prewrite: largest key"])
                .shows(&["KeyTooLarge"]), tikv("raw", &["raw: key too large*"]).shows(&["max key size exceeded"]));
        region_bounds_are_encoded_for_transactions_and_plain_for_raw =>
            tikv("admission", &["split: old epoch *", "split: raw"]).shows(&[r#""enc(@b)""#, r#""end_key":"@b""#]);
    }
}

rows! {
    /// 5.2, the fields of a lock.
    mod t5_2 {
        type_put => tikv("scan_lock", &["scan_lock: all lock types"]).shows(&["lock_type"]);
        type_shared => tikv("shared_lock", &["shared lock: one holder"]).shows(&["SharedLock"]);
        primary_start_ts_ttl_txn_size =>
            tikv("prewrite", &["prewrite: txn_size and ttl are stored", "prewrite: lock_ttl 0"]).shows(&["txn_size",
                "primary_lock", "lock_ttl"]);
        txn_source => tikv("mvcc", &["txn_source in the context"]);
        short_value => tikv("mvcc", &["mvcc_get_by_key: async commit lock"]).shows(&["short_value"]);
        for_update_ts =>
            tikv("prewrite", &["pessimistic prewrite: for_update_ts of the lock after prewrite"])
                .shows(&["lock_for_update_ts"]);
        min_commit_ts =>
            tikv("prewrite", &["prewrite: min_commit_ts of the request is stored in the lock"])
                .shows(&["min_commit_ts"]);
        use_async_commit_and_secondaries_on_the_primary =>
            tikv("async_commit", &["async commit: secondaries are stored on the primary"])
                .shows(&["use_async_commit", "secondaries"]);
        rollback_ts =>
            elsewhere("src/model/store/tests/commit.rs",
                "a_protected_rollback_is_remembered_by_an_async_lock_it_could_collide_with");
        is_locked_with_conflict =>
            tikv("fair_locking",
                &["force lock: stale primary lock with conflict is checked against the write records",
                "force lock: prewrite of a lock with conflict, expected for_update_ts"]);
        generation =>
            tikv("pipelined", &["flush: older generation is left out", "flush: heartbeat raises min_commit_ts"]);
        use_one_pc_in_memory_only =>
            tikv("scan_lock", &["scan_lock: memory lock of a committed one phase transaction leaves nothing"]);
        duration_to_last_update =>
            elsewhere("src/model/store/tests/waits.rs",
                "a_forced_request_is_resumed_and_gets_the_lock_in_its_place");
    }
}

rows! {
    /// 5.3, records.
    mod t5_3 {
        types_put_delete_lock_rollback =>
            tikv("commit", &["commit: put, delete and lock records",
                "batch_rollback: own lock is removed and a record left"]).shows(&[r#""type":"Del""#,
                r#""type":"Lock""#, r#""type":"Rollback""#]);
        a_rollback_sits_at_start_ts =>
            tikv("commit", &["batch_rollback: unknown transaction leaves a record"])
                .shows(&[r#""commit_ts":"ts+10","start_ts":"ts+10""#]);
        protected_has_a_short_value =>
            tikv("commit", &["cleanup: unknown transaction leaves a protected record"])
                .shows(&[r#""short_value":"p""#]);
        unprotected_ones_collapse =>
            tikv("commit", &["batch_rollback: newer rollback collapses an older unprotected one",
                "batch_rollback: older rollback after a newer one"]);
        overlap_is_marked_if_protected =>
            (tikv("check_txn_status",
                &["check_txn_status: unknown, a commit at the same timestamp is marked overlapped"])
                .shows(&["has_overlapped_rollback"]), tikv("commit",
                &["batch_rollback: overlapped by a commit at the same timestamp"]));
        gc_fence_is_the_next_version =>
            tikv("check_txn_status", &["check_txn_status: overlapped rollback with a newer version sets gc_fence"])
                .shows(&["gc_fence"]);
        what_is_fenced_off_is_absent => tikv("reads", &["get: gc_fence hides a version"]);
        own_commit_is_looked_up_from_the_newest =>
            tikv("check_txn_status", &["check_txn_status: committed behind newer versions"])
                .shows(&["commit_version"]);
    }
}

rows! {
    /// 5.4, what raises `max_ts`.
    mod t5_4 {
        reads =>
            tikv("async_commit", &["async commit: a read *", "async commit: batch_get and scan raise max_ts",
                "async commit: a checking read raises"]);
        stale_reads_do_not => tikv("async_commit", &["async commit: stale read and replica read"]);
        insert_and_check_not_exists =>
            tikv("async_commit", &["async commit: insert raises max_ts to start_ts",
                "async commit: check_not_exists raises max_ts"]);
        pessimistic_locks_that_read =>
            tikv("async_commit", &["async commit: pessimistic lock with *",
                "async commit: pessimistic lock that must not exist raises max_ts",
                "async commit: plain pessimistic lock does not raise max_ts",
                "async commit: force lock with conflict does not raise max_ts"]);
        cleanup_and_check_secondary_locks =>
            tikv("async_commit", &["async commit: cleanup *",
                "async commit: check_secondary_locks raises max_ts to start_ts"]);
        check_txn_status =>
            tikv("async_commit", &["async commit: check_txn_status raises max_ts to the largest argument",
                "async commit: check_txn_status ignores max"]);
        scan_lock => tikv("async_commit", &["async commit: scan_lock raises max_ts"]);
        nothing_else =>
            tikv("async_commit", &["async commit: commit, rollback and resolve do not raise max_ts",
                "async commit: heartbeat does not raise max_ts", "async commit: mvcc reads do not raise max_ts",
                "async commit: put does not raise max_ts"]);
        a_reader_meets_the_published_lock =>
            tikv("async_commit", &["async commit: reader below min_commit_ts passes"]).shows(&["locked"]);
        a_new_leader_has_to_learn_it =>
            elsewhere("src/model/store/tests/conditions.rs", "a_leader_without_synced_max_ts_computes_no_timestamp");
    }
}

#[test]
fn a_replica_read_on_a_follower_raises_max_ts() {
    let mut world = World::of(2);
    let mut context = world.context_on("k", 2);
    context.replica_read = true;
    assert!(world.get(context, "k", 5000).not_found);
    let request = PrewriteRequest { use_async_commit: true, ..world.prewrite(10, &[("k", "v")]) };
    assert_eq!(world.ask::<PrewriteResponse>(m::KV_PREWRITE, &request).min_commit_ts, 5001);
}

rows! {
    /// 6, variants of `KeyError`.
    mod t6 {
        locked => tikv("prewrite", &["prewrite: lock of another transaction is reported"]).shows(&["locked"]);
        conflict_names_all_and_is_retryable =>
            tikv("prewrite", &["prewrite: write conflict reports conflict_commit_ts and reason Optimistic"])
                .shows(&["conflict_ts", "conflict_commit_ts", "primary", "retryable", "reason"]);
        already_exist => tikv("prewrite", &["prewrite: insert over an existing value"]).shows(&["already_exist"]);
        deadlock =>
            (tikv("pessimistic", &["deadlock: the closing edge fails"]).shows(&["lock_ts", "lock_key",
                "wait_chain"]), elsewhere("src/model/store/tests/waits.rs",
                "the_wait_that_closes_a_circle_is_a_deadlock"));
        commit_ts_expired =>
            tikv("commit", &["commit: below min_commit_ts gives commit_ts_expired"]).shows(&["start_ts",
                "attempted_commit_ts", "min_commit_ts"]);
        commit_ts_expired_of_a_secondary_has_debug_info =>
            tikv("commit", &["commit: below min_commit_ts on a secondary"]).shows(&["debug_info"]);
        txn_not_found =>
            tikv("check_txn_status", &["check_txn_status: unknown transaction without rollback_if_not_exist"])
                .shows(&["txn_not_found", "primary_key"]);
        commit_ts_too_large_falls_back =>
            tikv("async_commit", &["async commit: max_commit_ts exceeded falls back for all keys"]);
        assertion_failed =>
            tikv("prewrite", &["assertion Strict: NotExist on an existing key"]).shows(&["existing_start_ts",
                "existing_commit_ts", "assertion"]);
        primary_mismatch =>
            tikv("check_txn_status", &["check_txn_status: not the primary with verification"])
                .shows(&["primary_mismatch", "lock_info"]);
        txn_lock_not_found =>
            tikv("commit", &["commit: unknown transaction"]).shows(&["txn_lock_not_found", "retryable"]);
        txn_lock_not_found_of_a_secondary_has_debug_info =>
            tikv("commit", &["commit: role Secondary with a missing lock carries debug info",
                "commit: role Primary with a missing lock"]).shows(&["debug_info"]);
        abort => tikv("commit", &["commit: commit_ts equal to start_ts"]).shows(&["abort"]);
        rc_check_ts_of_a_record_has_the_encoded_key =>
            tikv("reads", &["get: checking read with a newer version"]).shows(&["enc(@a)ts+", "RcCheckTs"]);
        rc_check_ts_of_a_lock_has_the_key_and_the_primary =>
            tikv("reads", &["get: checking read meets a lock"]).shows(&[r#""key":"@a","primary":"@a""#]);
    }
}

rows! {
    /// 6, reasons of a conflict, and texts of an abort.
    mod t6_words {
        reason_optimistic =>
            tikv("prewrite", &["prewrite: write conflict reports conflict_commit_ts and reason Optimistic"])
                .shows(&["Optimistic"]);
        reason_pessimistic_retry =>
            tikv("pessimistic", &["pessimistic lock: newer version gives PessimisticRetry"])
                .shows(&["PessimisticRetry"]);
        reason_self_rolled_back =>
            tikv("prewrite", &["prewrite: own rollback gives reason SelfRolledBack"]).shows(&["SelfRolledBack"]);
        reason_rc_check_ts => tikv("reads", &["get: checking read meets a lock"]).shows(&["RcCheckTs"]);
        reason_lazy_uniqueness_check =>
            tikv("prewrite", &["pessimistic prewrite: constraint check finds a newer version"])
                .shows(&["LazyUniquenessCheck"]);
        pessimistic_lock_not_found =>
            tikv("prewrite", &["pessimistic prewrite: missing lock with a newer version fails",
                "pessimistic prewrite: lock of another where a lock is expected",
                "pessimistic prewrite: expected for_update_ts differs",
                "pessimistic prewrite: retry flag brings the checks back"]).shows(&["LockTsMismatch",
                "LockMissingAmendFail", "LockForUpdateTsMismatch", "NonLockKeyConflict"]);
        pessimistic_lock_rolled_back =>
            tikv("pessimistic", &["pessimistic lock: own rollback"]).shows(&["PessimisticLockRolledBack"]);
        lock_type_not_match =>
            tikv("pessimistic", &["pessimistic lock: own prewritten lock"]).shows(&["LockTypeNotMatch"]);
        key_too_large => tikv("prewrite", &["prewrite: key of 8300 bytes is too large"]).shows(&["KeyTooLarge"]);
        invalid_txn_tso => tikv("commit", &["commit: commit_ts equal to start_ts"]).shows(&["InvalidTxnTso"]);
        committed => tikv("commit", &["batch_rollback: committed transaction"]).shows(&["Committed"]);
        lock_if_exists_failed =>
            tikv("pessimistic", &["pessimistic lock: lock_only_if_exists without return_values"])
                .shows(&["LockIfExistsFailed"]);
        api_version_not_matched =>
            tikv("admission", &["admission get: api version V2 on a V1 store"]).shows(&["ApiVersionNotMatched"]);
        invalid_key_mode => elsewhere("src/model/store/tests/api.rs", "each_storage_takes_its_own_requests");
        invalid_req_range => elsewhere("tests/rows/s4_doors.rs", "row_outside_scan_is_an_invalid_range");
        default_not_found => elsewhere("src/model/store/tests/reads.rs", "a_lost_long_value_is_an_error");
        other => tikv("pipelined", &["flush: generation 0 is refused"]).shows(&["Other"]);
    }
}

/// A key named by a request comes back as it was sent.
#[test]
fn keys_of_errors_are_those_of_the_client() {
    let mut world = World::of(1);
    world.lock(10, &[("k", "v")]);
    let context = world.context("k");
    let locked = world.get(context, "k", 20).error.unwrap().locked.unwrap();
    assert_eq!((locked.key, locked.primary_lock), (bytes("k"), bytes("k")));
}

/// Every variant of 6 can be ordered by a rule, before or after the command, and stands where the command's own would.
#[test]
fn t6_every_variant_can_be_ordered() {
    use tikv_embedded::control::{Action, Matcher, Rule};
    let base = KeyError::default;
    let variants = [
        KeyError { locked: Some(Box::default()), ..base() },
        KeyError { conflict: Some(WriteConflict::default()), ..base() },
        KeyError { already_exist: Some(AlreadyExist::default()), ..base() },
        KeyError { deadlock: Some(Default::default()), ..base() },
        KeyError { commit_ts_expired: Some(Default::default()), ..base() },
        KeyError { txn_not_found: Some(TxnNotFound::default()), ..base() },
        KeyError { commit_ts_too_large: Some(CommitTsTooLarge { commit_ts: 7 }), ..base() },
        KeyError { assertion_failed: Some(Default::default()), ..base() },
        KeyError { primary_mismatch: Some(Default::default()), ..base() },
        KeyError { txn_lock_not_found: Some(Default::default()), ..base() },
        KeyError { retryable: "again".to_owned(), ..base() },
        KeyError { abort: "never".to_owned(), ..base() },
    ];
    for error in variants {
        let mut world = World::of(1);
        let once = |action| Rule::new(Matcher::any().key("k"), action).times(1);
        world.cluster.add_fault(once(Action::KeyError(Box::new(error.clone()))));
        let request = world.prewrite(10, &[("k", "v")]);
        assert_eq!(
            world.ask::<PrewriteResponse>(m::KV_PREWRITE, &request).errors,
            std::slice::from_ref(&error)
        );
        assert!(world.cluster.engine().lock_row(b"k").is_none(), "it was not executed");
        world.cluster.add_fault(once(Action::KeyErrorAfter(Box::new(error.clone()))));
        assert_eq!(
            world.ask::<PrewriteResponse>(m::KV_PREWRITE, &request).errors,
            std::slice::from_ref(&error)
        );
        assert!(world.cluster.engine().lock_row(b"k").is_some(), "it was executed");
        world.cluster.add_fault(once(Action::KeyError(Box::new(error.clone()))));
        let context = world.context("k");
        assert_eq!(world.get(context, "k", 20).error.as_deref(), Some(&error));
    }
}
