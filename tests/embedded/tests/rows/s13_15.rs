//! `cluster.md` 13 to 15: keyspaces, garbage collection, resource groups and meta storage.

use crate::proof::{Proof, elsewhere, pd, rows};

rows! {
    /// 13, keyspaces.
    mod t13 {
        ids_of_the_default_and_the_null_keyspace =>
            (pd("keyspaces", &["keyspace-load-default", "keyspace-load-default-by-id", "keyspace-load-null-id"])
                .shows(&["DEFAULT"]), pd("gc", &["gc-no-scope-is-the-null-keyspace",
                "gc-empty-scope-is-keyspace-zero-so-null"]));
        fields_of_a_keyspace =>
            pd("keyspaces", &["keyspace-create-http-reply", "keyspace-create-with-config"]).shows(&["created_at",
                "state_changed_at", "config"]);
        load_keyspace =>
            pd("keyspaces", &["keyspace-load-by-name", "keyspace-load-unknown-name", "keyspace-load-empty-name",
                "keyspace-load-disabled-by-name"])
                .shows(&["[PD:keyspace:ErrKeyspaceNotFound]keyspace does not exist"]);
        load_keyspace_without_its_bounds =>
            elsewhere("src/model/pd/keyspaces/tests.rs",
                "a_keyspace_without_region_bounds_is_not_found_by_name_until_they_are_there");
        load_keyspace_by_id => pd("keyspaces", &["keyspace-load-by-id", "keyspace-load-tombstone-by-id"]);
        watch_keyspaces => pd("keyspaces", &["keyspace-watch-*"]);
        update_keyspace_state =>
            (pd("keyspaces", &["keyspace-state-*"]).shows(&["cannot change keyspace state from",
                "cannot modify default keyspace's state"]), elsewhere("src/model/pd/keyspaces/tests.rs",
                "states_change_in_one_order_only"));
        get_all_keyspaces => pd("keyspaces", &["keyspace-list-*"]);
        lookup_and_namespaces_are_not_served =>
            pd("headers", &["lookup-keyspace-unimplemented", "namespace-create-unimplemented"])
                .shows(&["UNIMPLEMENTED"]);
        names =>
            pd("keyspaces", &["keyspace-create-bad-name-*", "keyspace-name-of-*",
                "keyspace-create-twice-is-refused"]).shows(&["keyspace already exists"]);
        the_type_of_gc_is_given_once =>
            pd("keyspaces", &["keyspace-config-patch-gc-type-refused", "keyspace-create-gc-type-unknown"]);
        preconditions => pd("keyspaces", &["keyspace-config-precondition-*"]).shows(&["409"]);
        region_bounds =>
            (pd("keyspaces", &["keyspace-region-bounds-appear-in-pd"]), elsewhere("src/model/pd/keyspaces/tests.rs",
                "region_bounds_are_the_encoded_prefixes_and_the_last_one_ends_with_its_mode"));
    }
}

rows! {
    /// 14.1, whose state it is.
    mod t14_1 {
        unified_keyspaces_read_the_null_one =>
            pd("gc", &["gc-unified-keyspace-reads-the-null-keyspace",
                "gc-default-keyspace-reads-the-null-keyspace"]);
        unified_keyspaces_drive_no_gc =>
            pd("gc", &["old-v2-unified-keyspace-refused"]).shows(&["where keyspace level GC is not enabled"]);
        keyspaces_are_apart =>
            pd("gc", &["gc-barrier-of-one-keyspace-leaves-another-alone", "gc-unknown-keyspace"]);
        safe_points_only_grow =>
            elsewhere("src/model/pd/gc/tests.rs", "safe_points_only_grow_and_never_pass_what_holds_them");
    }
}

rows! {
    /// 14.2, calls.
    mod t14_2 {
        get_gc_state => pd("gc", &["gc-fresh-keyspace-state-is-zero", "gc-state-*"]).shows(&["gc_state"]);
        get_all_keyspaces_gc_states => pd("gc", &["gc-all-states-*"]);
        advance_txn_safe_point =>
            pd("gc", &["gc-txn-*", "gc-null-*"]).shows(&["trying to update txn safe point to a smaller value"]);
        advance_txn_safe_point_is_blocked =>
            pd("gc", &["gc-barrier-blocks-advance", "gc-barriers-smallest-blocks",
                "gc-barrier-at-current-holds-still", "gc-barrier-above-target-does-not-block",
                "gc-barrier-blocked-then-deleted-then-advances"]).shows(&["GCBarrier { BarrierID"]);
        advance_txn_safe_point_removes_expired_barriers => pd("gc", &["gc-barrier-expired-*"]);
        advance_txn_safe_point_of_any_state =>
            pd("gc", &["gc-disabled-keyspace-still-advances", "gc-tombstone-keyspace"]);
        tidbs_min_start_ts_blocks =>
            elsewhere("src/model/pd/gc/tests.rs", "the_start_timestamps_of_tidb_servers_hold_it_back");
        advance_gc_safe_point =>
            pd("gc", &["gc-safe-point-*"]).shows(&["trying to update GC safe point to a smaller value",
                "trying to update GC safe point to a too large value that exceeds the txn safe point"]);
        set_gc_barrier =>
            pd("gc", &["gc-barrier-set-shape", "gc-barrier-at-txn-allowed", "gc-barrier-moved-*",
                "gc-barrier-ts-zero", "gc-barrier-refreshed-ttl-blocks-again"]).shows(&["new_barrier_info"]);
        set_gc_barrier_refused =>
            pd("gc", &["gc-barrier-empty-id-refused", "gc-barrier-ttl-negative-refused",
                "gc-barrier-reserved-id-refused", "gc-barrier-behind-txn-refused"])
                .shows(&["invalid argument for barrierID: ", "invalid argument for ttl", "that is reserved",
                "already behind the txn safe point"]);
        set_gc_barrier_for_ever => pd("gc", &["gc-barrier-ttl-*"]);
        a_barrier_does_not_block_the_gc_safe_point => pd("gc", &["gc-barrier-does-not-block-gc-safe-point"]);
        delete_gc_barrier => pd("gc", &["gc-barrier-delete-*"]);
        global_barriers => pd("gc", &["gc-global-*"]).shows(&["trying to set a global GC barrier on ts"]);
        get_gc_safe_point => pd("gc", &["old-advance-then-get"]);
        update_gc_safe_point => pd("gc", &["old-update-gc-safe-point-*"]).shows(&["exceeds the txn safe point"]);
        update_service_gc_safe_point => pd("gc", &["old-service-*"]);
        update_service_gc_safe_point_of_the_gc_worker =>
            (pd("gc", &["old-gc-worker-*"]).shows(&["TTL of gc_worker's service safe point must be infinity"]),
                elsewhere("src/model/pd/gc/tests.rs", "the_gc_worker_is_told_who_holds_it_back"));
    }
}

rows! {
    /// 14.3 and 14.4, stores and etcd.
    mod t14_3 {
        a_run_keeps_the_newest_version =>
            elsewhere("src/model/store/tests/gc.rs",
                "of_what_is_older_than_the_safe_point_only_the_newest_value_stays");
        a_run_leaves_locks => elsewhere("src/model/store/tests/gc.rs", "locks_and_other_keys_are_left");
        reads_see_no_difference =>
            elsewhere("src/model/store/tests/gc.rs", "reads_from_the_safe_point_on_see_no_difference");
        the_safe_point_is_where_older_clients_read_it =>
            elsewhere("src/model/pd/gc/tests.rs", "the_transaction_safe_point_is_where_older_clients_read_it");
        etcd_members_and_ranges => elsewhere("src/model/pd/etcd.rs", "keys_are_read_back_by_key_and_range");
        etcd_members => elsewhere("src/model/pd/etcd.rs", "members_have_names_and_urls");
    }
}

rows! {
    /// 15, resource groups.
    mod t15_groups {
        get_resource_group =>
            pd("resource", &["rm-get-*", "rm-add-and-get", "rm-consumption-shows-in-stats"])
                .shows(&["resource group does not exist"]);
        list_resource_groups =>
            pd("resource", &["rm-list-*", "rm-default-group", "rm-group-of-keyspace-not-in-null"])
                .shows(&["default"]);
        add_resource_group => pd("resource", &["rm-add-*"]).shows(&["Success!", "invalid group settings"]);
        add_resource_group_of_an_unknown_mode =>
            elsewhere("src/model/pd/resource/tests.rs", "a_group_of_a_mode_that_pd_does_not_know_is_refused");
        modify_resource_group => pd("resource", &["rm-modify*"]).shows(&["does not exist"]);
        delete_resource_group => pd("resource", &["rm-delete*"]).shows(&["cannot delete reserved group"]);
        acquire_token_buckets => pd("resource", &["rm-tokens-*"]).shows(&["granted_tokens", "trickle_time_ms"]);
        throttled_by_a_control_call =>
            elsewhere("src/model/pd/resource/tests.rs",
                "a_group_without_burst_lends_two_periods_and_then_only_the_reserve");
        the_controllers_configuration => pd("resource", &["rm-controller-config-in-meta-storage"]);
    }
}

rows! {
    /// 15, meta storage.
    mod t15_meta {
        get => pd("meta", &["meta-put-get", "meta-get-*"]);
        put =>
            pd("meta", &["meta-put-*"]).shows(&["etcdserver: requested lease not found",
                "etcdserver: key is not provided"]);
        delete_ignores_range_end => pd("meta", &["meta-delete*"]);
        revisions => pd("meta", &["meta-revision-grows-with-each-put"]);
        watch => pd("meta", &["meta-watch-*"]).shows(&["events"]);
        watch_of_what_is_compacted =>
            elsewhere("src/model/pd/resource/tests.rs", "a_watch_from_what_is_compacted_is_told_so_and_ends");
        watch_of_settings =>
            (pd("meta", &["meta-watch-sees-resource-group"]), elsewhere("src/model/pd/resource/tests.rs",
                "changes_and_the_end_of_a_group_are_seen_by_who_watches_its_settings"));
    }
}
