//! `cluster.md` 4: admission.

use crate::proof::{Proof, elsewhere, rows, tikv};

rows! {
    /// 4.1, fields of the context. What needs a store in trouble is in `s4_doors`.
    mod t4_1 {
        region_id => tikv("admission", &["admission *: unknown region"]).shows(&["region_not_found"]);
        region_epoch =>
            tikv("admission", &["admission *: older region version", "admission *: newer region version"])
                .shows(&["epoch_not_match"]);
        peer => tikv("admission", &["admission *: wrong peer id"]).shows(&["mismatch_peer_id"]);
        term => tikv("admission", &["admission: term *"]).shows(&["stale_command"]);
        priority_and_statistics =>
            tikv("admission", &["admission: priority, task id and stats flags are accepted"]);
        isolation_level =>
            tikv("reads", &["get: read committed ignores locks", "get: checking read meets a lock"])
                .shows(&["RcCheckTs"]);
        stale_read => tikv("admission", &["admission: stale read ahead of the safe timestamp on the leader"]);
        replica_read => tikv("reads", &["get: replica read on the leader"]);
        resolved_and_committed_locks =>
            tikv("reads", &["get: resolved lock is bypassed", "get: committed lock is read through"])
                .shows(&["value"]);
        max_execution_duration =>
            (tikv("admission", &["admission: max_execution_duration_ms is accepted"]),
                elsewhere("src/model/store/tests/conditions.rs",
                "a_call_that_is_delayed_beyond_its_deadline_fails"));
        disk_full_opt =>
            (tikv("admission", &["admission: disk_full_opt is accepted"]),
                elsewhere("src/model/store/tests/conditions.rs",
                "a_full_disk_takes_what_gives_room_back_and_what_insists"));
        is_retry_request => tikv("prewrite", &["pessimistic prewrite: retry flag brings the checks back"]);
        api_version_and_keyspace =>
            elsewhere("src/model/store/tests/api.rs", "each_storage_takes_its_own_requests");
        txn_source_is_stored => tikv("mvcc", &["txn_source in the context"]);
        resource_group_tag_is_told_in_deadlocks =>
            tikv("pessimistic", &["deadlock: resource_group_tag comes back in the chain"]);
        request_source_and_group_can_be_matched =>
            elsewhere("src/control/mod.rs", "a_rule_can_be_about_what_the_context_says");
        busy_threshold =>
            (tikv("admission", &["admission: busy_threshold_ms is accepted"]),
                elsewhere("src/model/store/tests/conditions.rs",
                "a_busy_store_refuses_reads_that_do_not_want_to_wait_as_long"));
        buckets_version => tikv("admission", &["admission: buckets_version is ignored"]);
        cluster_id => tikv("admission", &["admission: cluster id of another cluster"]).shows(&["INVALID_ARGUMENT"]);
        forwarded_host => elsewhere("tests/serve_control.rs", "forwarded_calls_reach_the_store_that_is_named");
    }
}

rows! {
    /// 4.2, the order of checks.
    mod t4_2 {
        row_1_another_store =>
            tikv("admission", &["admission *: wrong store id", "admission *: no peer",
                "admission: store mismatch comes before unknown region"]).shows(&["store_not_match",
                r#"{"actual_store_id":"$store"}"#]);
        row_2_no_region =>
            tikv("admission", &["admission *: unknown region", "admission: unknown region comes before wrong peer"])
                .shows(&["region_not_found"]);
        row_3_another_peer =>
            tikv("admission", &["admission *: wrong peer id", "admission: wrong peer comes before the epoch"])
                .shows(&["mismatch_peer_id"]);
        row_4_recovery_in_progress => elsewhere("tests/rows/s4_doors.rs", "each_check_comes_before_those_below_it");
        row_5_not_leader =>
            elsewhere("src/model/store/tests/admission.rs", "followers_serve_reads_only_and_only_when_asked_so");
        row_6_witness =>
            elsewhere("src/model/store/tests/admission.rs", "followers_serve_reads_only_and_only_when_asked_so");
        row_7_not_initialised =>
            elsewhere("src/model/store/tests/conditions.rs",
                "a_region_that_recovers_and_a_replica_without_data_serve_nothing");
        row_8_old_term =>
            tikv("admission", &["admission: term too old", "admission: term far ahead is accepted"])
                .shows(&["stale_command"]);
        row_9_version_and_only_that =>
            tikv("admission", &["admission *: older region version", "admission *: newer region version",
                "admission *: no epoch", "admission *: other conf_ver"]).shows(&["epoch_not_match"]);
        row_10_flashback =>
            elsewhere("src/model/store/tests/conditions.rs",
                "a_region_in_flashback_serves_what_was_before_and_the_flashback_alone");
        row_11_key_not_in_region =>
            (tikv("raw", &["raw: empty key"]).shows(&["key_not_in_region"]), tikv("admission",
                &["split: key outside the region"]).shows(&["key_not_in_region"]));
        outside_with_a_right_epoch_is_no_region_error =>
            tikv("admission", &["split: raw", "split: old epoch *"]).shows(&["is out of [region N]"]);
        siblings_to_the_left_are_told =>
            elsewhere("src/model/store/tests/admission.rs", "only_the_version_of_the_epoch_counts");
        the_api_version_comes_first =>
            tikv("admission", &["admission: api version comes before the region"]).shows(&["ApiVersionNotMatched"]);
    }
}

rows! {
    /// 4.3, failures of the storage that are region errors.
    mod t4_3 {
        max_ts_not_synced =>
            elsewhere("src/model/store/tests/conditions.rs", "a_leader_without_synced_max_ts_computes_no_timestamp");
        deadline =>
            elsewhere("src/model/store/tests/conditions.rs", "a_call_that_is_delayed_beyond_its_deadline_fails");
        stale_read_ahead_of_safe_ts =>
            elsewhere("src/model/store/tests/admission.rs", "a_stale_read_on_a_follower_needs_a_safe_timestamp");
        disk_full =>
            elsewhere("src/model/store/tests/conditions.rs",
                "a_full_disk_takes_what_gives_room_back_and_what_insists");
        raft_entry_too_large =>
            elsewhere("src/model/store/tests/hostile.rs",
                "a_write_longer_than_an_entry_of_the_log_is_refused_where_it_would_be_served");
        what_needs_a_rule => elsewhere("tests/rows/s4_doors.rs", "t4_4_every_variant_can_be_ordered");
    }
}

rows! {
    /// 4.5, versions of the API. Which storage takes which request.
    mod t4_5 {
        v1_takes_v1_only =>
            tikv("admission", &["admission *: api version V2 on a V1 store", "admission *: api version V1TTL"])
                .shows(&["ApiVersionNotMatched", "Api version in request does not match"]);
        v1ttl_takes_raw_only => elsewhere("src/model/store/tests/api.rs", "each_storage_takes_its_own_requests");
        v2_takes_v2_by_mode => elsewhere("src/model/store/tests/api.rs", "each_storage_takes_its_own_requests");
        v2_takes_v1_for_tidb_keys =>
            elsewhere("src/model/store/tests/api.rs", "each_storage_takes_its_own_requests");
        some_commands_do_not_look => tikv("admission", &["api version: commands that do not look at it"]);
        ranges_have_modes_too =>
            elsewhere("src/model/store/tests/api.rs", "a_range_of_version_2_stays_in_its_mode");
        the_check_comes_before_the_region =>
            elsewhere("src/model/store/tests/admission.rs",
                "the_api_version_is_looked_at_by_some_commands_and_before_the_region");
    }
}
