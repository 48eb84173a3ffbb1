//! `cluster.md` 7.5 to 7.13: commits, rollbacks, and what resolves locks.

use std::time::Duration;

use tikv_embedded::model::{Answer, Call, Command, Met, Reply};
use tikv_proto::kvrpcpb::{Mutation, Op, PessimisticLockRequest, PessimisticLockResponse};
use tikv_proto::methods::tikv as m;
use tikv_proto::tikvpb::batch_commands_request::request;
use tikv_proto::tikvpb::batch_commands_response::response;

use crate::proof::{Proof, rows, tikv};
use crate::world::{World, bytes};

rows! {
    /// 7.5, `KvCommit`.
    mod t7_5 {
        commit_ts_not_above_start_ts =>
            tikv("commit", &["commit: commit_ts equal to start_ts", "commit: commit_ts below start_ts",
                "commit: commit_ts 0"]).shows(&["InvalidTxnTso"]);
        below_min_commit_ts => tikv("commit", &["commit: below min_commit_ts *"]).shows(&["commit_ts_expired"]);
        own_lock =>
            tikv("commit", &["commit: put, delete and lock records", "commit: long value"])
                .shows(&["commit_version"]);
        at_a_rollback_that_the_lock_knows =>
            tikv("async_commit", &["async commit: rollback of another at the min_commit_ts is kept in the lock"])
                .shows(&["has_overlapped_rollback"]);
        own_pessimistic_lock =>
            tikv("commit", &["commit: own pessimistic lock is removed without a record"]).shows(&[r#""info":{}"#]);
        committed_already =>
            tikv("commit", &["commit: repeated commit *", "commit: lock of another transaction after own commit"])
                .shows(&["commit_version"]);
        no_lock =>
            tikv("commit", &["commit: unknown transaction", "commit: rolled back transaction",
                "commit: lock of another transaction", "commit: pessimistic lock of another"])
                .shows(&["txn_lock_not_found", "retryable"]);
        one_error_stops_all =>
            tikv("commit", &["commit: one missing key stops all", "commit: keys in any order and repeated"])
                .shows(&["txn_lock_not_found"]);
        of_a_shared_container_the_own_part =>
            tikv("shared_lock", &["shared lock: prewrite and commit of a sub-lock", "shared lock: commit of *"])
                .shows(&["txn_lock_not_found"]);
    }
}

rows! {
    /// 7.6, `KvCleanup`.
    mod t7_6 {
        alive_is_told =>
            tikv("commit", &["cleanup: alive lock is reported", "cleanup: ttl just reached is alive"])
                .shows(&["locked"]);
        expired_or_forced_is_rolled_back =>
            tikv("commit", &["cleanup: expired lock is rolled back", "cleanup: current_ts 0 rolls back at once",
                "cleanup: pessimistic lock"]).shows(&["Rollback"]);
        committed => tikv("commit", &["cleanup: committed"]).shows(&["commit_version"]);
        rolled_back => tikv("commit", &["cleanup: rolled back"]);
        nothing_there =>
            tikv("commit", &["cleanup: unknown transaction leaves a protected record", "cleanup: lock of another"])
                .shows(&[r#""short_value":"p""#]);
        shared_container => tikv("shared_lock", &["shared lock: cleanup"]).shows(&["SharedLock"]);
    }
}

rows! {
    /// 7.7, `KvBatchRollback`.
    mod t7_7 {
        own_lock =>
            tikv("commit", &["batch_rollback: own lock is removed and a record left",
                "batch_rollback: pessimistic lock", "batch_rollback: long value is deleted with the lock"])
                .shows(&["Rollback"]);
        protected_on_the_primary =>
            tikv("commit", &["batch_rollback: protected rollback of a primary is not collapsed",
                "batch_rollback: rollback of a secondary is collapsed"]).shows(&[r#""short_value":"p""#]);
        protected_for_a_flushed_key =>
            tikv("pipelined", &["flush: rollback of flushed keys is protected"]).shows(&[r#""short_value":"p""#]);
        committed =>
            tikv("commit", &["batch_rollback: committed transaction", "batch_rollback: one committed key stops all"])
                .shows(&["Committed"]);
        nothing_there =>
            tikv("commit", &["batch_rollback: unknown transaction leaves a record"]).shows(&["Rollback"]);
        rolled_back_already => tikv("commit", &["batch_rollback: repeated"]);
        others_locks_stay => tikv("commit", &["batch_rollback: lock of another stays"]);
        an_async_lock_remembers_it =>
            tikv("async_commit", &["async commit: rollback of another *"]).shows(&["Rollback"]);
    }
}

rows! {
    /// 7.8, `KVPessimisticRollback`.
    mod t7_8 {
        own_locks_up_to_for_update_ts =>
            tikv("pessimistic", &["pessimistic rollback: removes the lock without a record",
                "pessimistic rollback: for_update_ts below that of the lock"]);
        nothing_else_is_touched =>
            tikv("pessimistic", &["pessimistic rollback: lock of another",
                "pessimistic rollback: prewritten lock stays", "pessimistic rollback: no lock",
                "pessimistic rollback: repeated"]);
        without_keys_the_region => tikv("pessimistic", &["pessimistic rollback: without keys *"]);
        shared => tikv("shared_lock", &["shared lock: pessimistic rollback*"]);
    }
}

rows! {
    /// 7.9, `KvTxnHeartBeat`.
    mod t7_9 {
        the_larger_ttl =>
            tikv("commit", &["heartbeat: raises the ttl", "heartbeat: pessimistic lock",
                "heartbeat: on a secondary key", "heartbeat: advise 0"]).shows(&["lock_ttl"]);
        min_commit_ts_of_flushed_locks_only =>
            (tikv("pipelined", &["flush: heartbeat raises min_commit_ts"]).shows(&[r#""min_commit_ts":"ts+60""#]),
                tikv("commit", &["heartbeat: min_commit_ts is ignored for a plain lock"]));
        no_own_lock =>
            tikv("commit", &["heartbeat: unknown transaction", "heartbeat: lock of another",
                "heartbeat: after commit"]).shows(&["txn_not_found"]);
        shared_container =>
            tikv("shared_lock", &["shared lock: heartbeat on it"]).shows(&["primary_mismatch", "txn_not_found"]);
    }
}

rows! {
    /// 7.10, `KvCheckTxnStatus` where there is an own lock.
    mod t7_10_lock {
        row_1_a_pessimistic_lock_of_another_primary_is_missing =>
            tikv("check_txn_status", &["check_txn_status: not the primary, pessimistic lock",
                "check_txn_status: not the primary, pessimistic lock, rollback_if_not_exist"])
                .shows(&["txn_not_found", "LockNotExistRollback"]);
        row_2_another_primary_or_a_shared_container =>
            (tikv("check_txn_status", &["check_txn_status: not the primary with verification",
                "check_txn_status: not the primary and expired",
                "check_txn_status: not the primary, pessimistic lock while resolving one"])
                .shows(&["primary_mismatch"]), tikv("shared_lock", &["shared lock: check_txn_status on it"])
                .shows(&["primary_mismatch"]));
        row_3_async_commit =>
            tikv("async_commit", &["async commit: check_txn_status leaves the lock alone even when expired"]);
        row_4_expired_while_resolving_a_pessimistic_lock =>
            tikv("check_txn_status", &["check_txn_status: pessimistic lock expired, resolving a pessimistic lock"])
                .shows(&["TTLExpirePessimisticRollback"]);
        row_5_expired =>
            tikv("check_txn_status", &["check_txn_status: expired lock is rolled back",
                "check_txn_status: ttl border", "check_txn_status: current max expires every lock",
                "check_txn_status: prewritten lock expired, resolving a pessimistic lock",
                "check_txn_status: pessimistic lock expired"]).shows(&["TTLExpireRollback"]);
        row_6_alive_and_pushed =>
            tikv("check_txn_status", &["check_txn_status: alive lock is pushed",
                "check_txn_status: push to caller plus one when current is lower",
                "check_txn_status: caller equal to min_commit_ts", "check_txn_status: repeated push only raises",
                "check_txn_status: pessimistic lock with min_commit_ts is pushed"])
                .shows(&[r#""min_commit_ts":"ts+60""#, r#""min_commit_ts":"ts+51""#]);
        row_7_alive_and_above_the_caller =>
            tikv("check_txn_status", &["check_txn_status: caller max reports pushed",
                "check_txn_status: caller max with min_commit_ts 0",
                "check_txn_status: caller below min_commit_ts reports pushed without a change"])
                .shows(&["MinCommitTSPushed"]);
        row_8_alive_otherwise =>
            tikv("check_txn_status", &["check_txn_status: alive lock, no push when min_commit_ts is 0",
                "check_txn_status: caller 0"]).shows(&["lock_ttl", "lock_info"]);
        a_lock_with_conflict_asks_the_records_first =>
            tikv("fair_locking",
                &["force lock: stale primary lock with conflict is checked against the write records"]);
    }
}

rows! {
    /// 7.10, `KvCheckTxnStatus` where there is none.
    mod t7_10_no_lock {
        committed => tikv("check_txn_status", &["check_txn_status: committed*"]).shows(&["commit_version"]);
        rolled_back => tikv("check_txn_status", &["check_txn_status: rolled back"]);
        nothing_and_not_to_roll_back =>
            tikv("check_txn_status", &["check_txn_status: unknown transaction without rollback_if_not_exist"])
                .shows(&["txn_not_found"]);
        nothing_while_resolving_a_pessimistic_lock =>
            tikv("check_txn_status", &["check_txn_status: unknown, resolving a pessimistic lock"])
                .shows(&["LockNotExistDoNothing", "txn_not_found"]);
        nothing =>
            tikv("check_txn_status", &["check_txn_status: unknown transaction with rollback_if_not_exist",
                "check_txn_status: unknown with the lock of another"]).shows(&["LockNotExistRollback",
                r#""short_value":"p""#]);
        the_primarys_rollback_is_protected =>
            tikv("check_txn_status", &["check_txn_status: rollback on expiry is protected"])
                .shows(&[r#""short_value":"p""#]);
    }
}

rows! {
    /// 7.11, `KvCheckSecondaryLocks`.
    mod t7_11 {
        own_lock_is_listed =>
            tikv("secondaries", &["check_secondary_locks: all locked",
                "check_secondary_locks: plain lock is reported as it is"]).shows(&["locks"]);
        own_pessimistic_lock_is_removed =>
            tikv("secondaries", &["check_secondary_locks: pessimistic lock is removed"])
                .shows(&[r#""short_value":"p""#]);
        committed =>
            tikv("secondaries", &["check_secondary_locks: one committed", "check_secondary_locks: committed first"])
                .shows(&["commit_ts"]);
        rolled_back => tikv("secondaries", &["check_secondary_locks: rolled back"]);
        nothing =>
            tikv("secondaries", &["check_secondary_locks: one missing is rolled back",
                "check_secondary_locks: rollback is protected", "check_secondary_locks: lock of another"])
                .shows(&[r#""short_value":"p""#]);
        the_first_that_decides_ends_it =>
            tikv("secondaries", &["check_secondary_locks: missing first stops before the others"]);
        a_key_twice_is_listed_twice =>
            tikv("secondaries", &["check_secondary_locks: repeated key"]).shows(&["locks"]);
    }
}

rows! {
    /// 7.12, `KvResolveLock`.
    mod t7_12 {
        by_keys => tikv("resolve", &["resolve: by keys*"]).shows(&["txn_lock_not_found", "Committed"]);
        a_start_version_wins_over_the_list => tikv("resolve", &["resolve: a start_version wins over the list"]);
        a_list_of_transactions => tikv("resolve", &["resolve: several transactions", "resolve: 300 locks*"]);
        one_transaction_of_the_region =>
            tikv("resolve", &["resolve: by region with *", "resolve: nothing to do",
                "resolve: start_version 0 without lists"]);
        pessimistic_locks_of_the_region_are_no_error =>
            tikv("resolve", &["resolve: by region, memory pessimistic locks stay on commit"]);
        async_locks_are_committed_at_what_is_given => tikv("resolve", &["resolve: async commit lock*"]);
        by_keys_not_above_start_version =>
            tikv("resolve", &["resolve: by keys, commit_version not above start_version"])
                .shows(&[r#""commit_ts":"ts+10""#]);
        below_min_commit_ts =>
            tikv("resolve", &["resolve: *, commit below min_commit_ts"]).shows(&["commit_ts_expired"]);
        shared_containers_lose_their_part => tikv("shared_lock", &["shared lock: resolve_lock by *"]);
        waiters_are_woken =>
            tikv("resolve", &["resolve: wakes a force lock waiter"]).shows(&["LockResultLockedWithConflict"]);
    }
}

rows! {
    /// 7.13, `KvScanLock`.
    mod t7_13 {
        ascending_up_to_the_limit =>
            tikv("scan_lock", &["scan_lock: order and limit", "scan_lock: bounds", "scan_lock: empty range"])
                .shows(&["locks"]);
        up_to_max_version =>
            tikv("scan_lock", &["scan_lock: max_version", "scan_lock: max_version 0"]).shows(&["locks"]);
        raises_max_ts => tikv("async_commit", &["async commit: scan_lock raises max_ts"]);
        all_types =>
            tikv("scan_lock", &["scan_lock: all lock types",
                "scan_lock: pessimistic locks in memory and storage in order"]).shows(&["PessimisticLock"]);
        of_a_shared_container_the_older_holders =>
            tikv("shared_lock", &["shared lock: scan_lock keeps only the older holders"])
                .shows(&["shared_lock_infos"]);
        a_replica_read_flag_changes_nothing => tikv("scan_lock", &["scan_lock: replica read flag on the leader"]);
        the_mode_of_keys_is_not_looked_at => tikv("admission", &["api version: commands that do not look at it"]);
        one_phase_leaves_nothing =>
            tikv("scan_lock", &["scan_lock: memory lock of a committed one phase transaction leaves nothing"]);
    }
}

#[test]
fn a_wait_goes_on_when_leadership_is_lost() {
    let mut world = World::of(2);
    let context = world.context("k");
    let lock = PessimisticLockRequest {
        context: Some(context.clone()),
        mutations: vec![Mutation { op: Op::PessimisticLock.into(), key: bytes("k"), ..Default::default() }],
        primary_lock: bytes("k"),
        start_version: 10,
        for_update_ts: 10,
        wait_timeout: 300,
        is_first_lock: true,
        ..Default::default()
    };
    let answer: PessimisticLockResponse = world.ask(m::KV_PESSIMISTIC_LOCK, &lock);
    assert_eq!(answer, PessimisticLockResponse::default());
    let other = PessimisticLockRequest { start_version: 20, for_update_ts: 20, ..lock };
    let command = Box::new(Command::Batched(request::Cmd::PessimisticLock(other.clone())));
    let Met::Later(token) = world.cluster.call(world.now, Call::Store { store: 1, command }) else {
        panic!("it does not wait")
    };
    world.cluster.topology.transfer_leader(context.region_id, 2).unwrap();
    world.pass(Duration::from_millis(299));
    assert!(world.cluster.take_replies().is_empty(), "nothing watches the leadership");
    world.pass(Duration::from_millis(1));
    let (of, reply) = world.cluster.take_replies().pop_front().unwrap();
    let Reply::Store(answer) = reply else { panic!("{reply:?}") };
    let Answer::Batched(response::Cmd::PessimisticLock(told)) = *answer else { panic!("{answer:?}") };
    assert_eq!((of, told.errors[0].locked.as_ref().unwrap().lock_version), (token, 10));
    // The retry meets the new leader.
    let again: PessimisticLockResponse = world.ask(m::KV_PESSIMISTIC_LOCK, &other);
    assert_eq!(again.region_error.unwrap().not_leader.unwrap().leader.unwrap().store_id, 2);
}
