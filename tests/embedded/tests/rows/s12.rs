//! `cluster.md` 12: PD's members, stores, timestamps, regions and configuration.

use std::time::Duration;

use tikv_embedded::model::{Call, Code, Met, Now, Reply, Status, pd as model_pd};
use tikv_proto::methods::pd as m;
use tikv_proto::pdpb::*;

use crate::proof::{Proof, elsewhere, pd, rows};
use crate::world::{CLUSTER, World, bytes, header, said};

rows! {
    /// 12, what holds for all calls.
    mod t12 {
        another_cluster_is_a_failed_precondition =>
            pd("headers", &["header-wrong-cluster-id-*"]).shows(&["FAILED_PRECONDITION", "mismatch cluster id"]);
        so_is_no_cluster => pd("headers", &["header-empty-*", "header-absent-*"]).shows(&["FAILED_PRECONDITION"]);
        streams_end_with_it =>
            (pd("headers", &["header-wrong-cluster-id-tso-ends-stream", "header-empty-tso-ends-stream"]), pd("tso",
                &["tso-header-error-after-good-request"]).shows(&["FAILED_PRECONDITION"]));
        some_do_not_look =>
            (pd("headers", &["header-wrong-cluster-id-getmembers", "header-empty-getmembers",
                "cluster-info-ignores-header", "header-wrong-cluster-id-issnapshotrecovering"]), pd("meta",
                &["meta-wrong-cluster-id-is-not-checked", "meta-no-header"]));
        errors_of_pd_carry_their_code =>
            pd("gc", &["gc-txn-smaller-refused"]).shows(&["[PD:gc:ErrDecreasingTxnSafePoint]"]);
        a_follower_refuses =>
            elsewhere("src/model/pd/tests.rs", "only_the_leader_answers_but_members_and_permitted_reads");
        unknown_methods => pd("headers", &["unknown-*"]).shows(&["UNIMPLEMENTED"]);
    }
}

rows! {
    /// 12.1, metadata.
    mod t12_1 {
        get_members =>
            pd("headers", &["members-name-id-urls-leader-etcd-leader"]).shows(&["client_urls", "member_id",
                "etcd_leader"]);
        get_cluster_info => pd("headers", &["cluster-info-is-pd-service-mode"]).shows(&["PD_SVC_MODE"]);
        is_bootstrapped => pd("headers", &["is-bootstrapped-true"]).shows(&["bootstrapped"]);
        bootstrap_again => pd("headers", &["bootstrap-again-is-refused"]).shows(&["ALREADY_BOOTSTRAPPED"]);
        alloc_id => pd("headers", &["alloc-id-*"]);
        get_store => pd("stores", &["get-store-*"]).shows(&["invalid store ID"]);
        get_all_stores => pd("stores", &["get-all-stores-up-and-serving"]);
        put_store => pd("stores", &["put-store-*"]).shows(&["invalid put store"]);
        a_store_is_removed_and_buried =>
            (pd("stores", &["store-life-up-offline-tombstone-gone"]), elsewhere("src/model/pd/http/tests.rs",
                "a_store_without_regions_is_buried_and_forgotten"));
        get_and_put_cluster_config => pd("config", &["cluster-config-*"]).shows(&["max_peer_count"]);
        is_snapshot_recovering => pd("headers", &["snapshot-recovering-is-false"]);
        get_dc_location_info => pd("headers", &["dc-location-info-is-an-empty-ok"]);
        old_safe_points_are_alive =>
            pd("gc", &["old-v2-*", "old-update-*", "old-service-*", "old-gc-worker-*", "old-advance-then-get"]);
        watch_gc_safe_point_v2_is_obsolete =>
            pd("gc", &["old-v2-watch-is-unimplemented"]).shows(&["WatchGCSafePointV2 is obsolete"]);
    }
}

rows! {
    /// 12.2, timestamps.
    mod t12_2 {
        one_answer_each_in_order => pd("tso", &["tso-one", "tso-ten-requests-in-order"]);
        a_count_of_0_ends_the_stream =>
            pd("tso", &["tso-count-zero-ends-stream", "tso-good-then-zero"])
                .shows(&["tso count should be positive"]);
        too_large_a_count =>
            pd("tso", &["tso-whole-logical-range*", "tso-more-than-logical-range"])
                .shows(&["maximum number of retries exceeded"]);
        the_answer_is_the_last_of_the_batch =>
            pd("tso", &["tso-count-echoes-and-gives-the-last", "tso-mixed-counts-never-overlap"]).shows(&["count"]);
        the_logical_part_flows_over =>
            (pd("tso", &["tso-two-big-requests-move-physical"]), elsewhere("src/model/pd/tso.rs",
                "batches_own_disjoint_growing_ranges"));
        physical_never_goes_back =>
            elsewhere("tests/serve_control.rs", "timestamps_survive_a_clock_that_goes_back");
        dc_location_is_ignored => pd("tso", &["tso-dc-location-global", "tso-unknown-dc-location"]);
        get_min_ts => pd("tso", &["get-min-ts-*", "tso-not-below-min-ts"]);
        freeze => elsewhere("src/model/pd/tso.rs", "a_frozen_oracle_goes_on_without_the_clock");
        another_leader_begins_above =>
            elsewhere("src/model/pd/tso.rs", "a_new_leader_begins_above_all_that_the_old_one_may_have_given_out");
    }
}

rows! {
    /// 12.3, regions.
    mod t12_3 {
        get_region => pd("regions", &["get-region-*"]);
        get_region_of_a_hole =>
            elsewhere("src/model/pd/tests.rs", "a_hole_is_told_as_one_and_refused_when_all_keys_are_asked_for");
        get_region_at_a_follower =>
            elsewhere("src/model/pd/tests.rs",
                "followers_say_that_a_region_is_not_found_where_the_leader_says_nothing");
        get_region_with_buckets =>
            elsewhere("src/model/pd/tests.rs", "buckets_come_when_they_are_asked_for_and_from_the_leader_only");
        get_prev_region => pd("regions", &["get-prev-region-*"]);
        get_region_by_id => pd("regions", &["get-region-by-id*"]);
        scan_regions => pd("regions", &["scan-regions-*"]);
        batch_scan_regions =>
            pd("regions", &["batch-scan-*"]).shows(&["invalid key range, ranges overlapped",
                "invalid key range, start key > end key"]);
        batch_scan_contains_all =>
            (pd("regions", &["batch-scan-contain-all-*"]), elsewhere("src/model/pd/tests.rs",
                "a_hole_is_told_as_one_and_refused_when_all_keys_are_asked_for"));
        batch_scan_without_leader =>
            elsewhere("src/model/pd/tests.rs", "after_a_restart_of_pd_regions_have_no_leader_until_their_heartbeat");
        query_region =>
            pd("regions", &["query-region-*"]).shows(&["key_id_map", "prev_key_id_map", "regions_by_id"]);
        scatter_region =>
            pd("operators", &["scatter-*"]).shows(&["region %v not found", "region %d not found",
                "finished_percentage"]);
        scatter_takes_its_time =>
            elsewhere("src/model/pd/operators/tests.rs",
                "a_running_operator_can_be_cancelled_and_a_scatter_takes_its_time");
        split_regions => pd("operators", &["split-regions-*"]).shows(&["finished_percentage", "regions_id"]);
        split_and_scatter_regions => pd("operators", &["split-and-scatter-*"]).shows(&["empty region"]);
        get_operator => pd("operators", &["operator-*"]).shows(&["Not Found"]);
        reads_may_be_stale => elsewhere("src/model/pd/tests.rs", "frozen_regions_are_told_as_they_were");
    }
}

rows! {
    /// 12.4, configuration and the external timestamp.
    mod t12_4 {
        store_and_load_global_config =>
            pd("config", &["global-config-payload", "global-config-value-wins-over-payload",
                "global-config-own-path", "global-config-present-and-missing-in-order"]).shows(&["payload"]);
        a_missing_name_is_an_error_of_the_item =>
            pd("config", &["global-config-missing-name-is-item-error"]).shows(&["GLOBAL_CONFIG_NOT_FOUND"]);
        another_path_is_refused =>
            pd("config", &["global-config-path-outside-refused"]).shows(&["INVALID_ARGUMENT"]);
        watch_global_config =>
            (pd("config", &["global-config-watch-own-path"]), elsewhere("src/model/pd/tests.rs",
                "global_configuration_is_watched_below_its_path_with_what_was_deleted"));
        set_external_timestamp =>
            pd("config", &["external-ts-*"]).shows(&["should be larger than current external timestamp",
                "should not be larger than global ts"]);
        report_min_resolved_ts => pd("config", &["min-resolved-ts-report-of-unknown-store"]).shows(&["not found"]);
    }
}

#[test]
fn t12_1_put_store_of_a_taken_address_and_onto_a_tombstone() {
    let mut world = World::of(3);
    let put = |world: &mut World, id, address: &str| {
        let store = tikv_proto::metapb::Store { id, address: address.to_owned(), ..Default::default() };
        let ask = PutStoreRequest { header: header(), store: Some(store) };
        world.pd::<PutStoreResponse>(m::PUT_STORE, &ask).header.and_then(|header| header.error)
    };
    let taken = put(&mut world, 9, "127.0.0.1:1").unwrap();
    assert_eq!(taken.r#type(), ErrorType::Unknown);
    assert!(
        taken.message.contains("duplicated store address") && taken.message.contains("already registered by")
    );
    assert_eq!(put(&mut world, 9, "127.0.0.1:99"), None);
    let topology = &mut world.cluster.topology;
    topology.update_store(9, |store| store.state = tikv_embedded::model::StoreState::Tombstone).unwrap();
    let buried = put(&mut world, 9, "127.0.0.1:99").unwrap();
    assert_eq!((buried.r#type(), buried.message.as_str()), (ErrorType::StoreTombstone, "store is tombstone"));
}

#[test]
fn t12_1_exclude_tombstone_stores() {
    let mut world = World::of(3);
    let topology = &mut world.cluster.topology;
    topology.update_store(3, |store| store.state = tikv_embedded::model::StoreState::Tombstone).unwrap();
    for (exclude_tombstone_stores, count) in [(false, 3), (true, 2)] {
        let ask = GetAllStoresRequest { header: header(), exclude_tombstone_stores };
        assert_eq!(world.pd::<GetAllStoresResponse>(m::GET_ALL_STORES, &ask).stores.len(), count);
    }
    let ask = GetStoreRequest { header: header(), store_id: 3 };
    let told: GetStoreResponse = world.pd(m::GET_STORE, &ask);
    assert_eq!(said(told.header), "");
    assert_eq!(told.store.unwrap().node_state(), tikv_proto::metapb::NodeState::Removed);
}

/// What stores tell PD no client sends: the stores of this cluster talk to it in the process.
#[test]
fn t12_1_calls_between_servers_are_not_served() {
    let mut world = World::of(1);
    for path in [
        m::STORE_HEARTBEAT,
        m::REGION_HEARTBEAT,
        m::ASK_BATCH_SPLIT,
        m::REPORT_BATCH_SPLIT,
        m::SYNC_REGIONS,
        m::REPORT_BUCKETS,
    ] {
        let ask = GetMembersRequest { header: header() };
        let status = world.try_pd::<GetMembersResponse>(path, &ask).unwrap_err();
        assert_eq!(status.code, Code::Unimplemented, "{path}");
    }
}

#[test]
fn t12_2_a_stopped_oracle_is_a_follower() {
    let mut world = World::of(1);
    let ask = TsoRequest { header: header(), count: 1, ..Default::default() };
    let status = world.try_member::<TsoResponse>(1, true, m::TSO, &ask).unwrap_err();
    assert_eq!(status, Status::new(Code::Unavailable, "not leader"));
}

#[test]
fn t12_3_get_region_tells_leader_and_epoch() {
    let mut world = World::of(3);
    let ask = GetRegionRequest { header: header(), region_key: bytes("k"), ..Default::default() };
    let told: GetRegionResponse = world.pd(m::GET_REGION, &ask);
    let region = told.region.unwrap();
    assert_eq!((region.peers.len(), told.leader.unwrap().store_id), (3, 1));
    assert!(region.region_epoch.unwrap().version > 0 && told.pending_peers.is_empty());
}

#[test]
fn t12_4_an_external_timestamp_is_0_until_one_is_set() {
    let mut world = World::of(1);
    let get = GetExternalTimestampRequest { header: header() };
    let told: GetExternalTimestampResponse = world.pd(m::GET_EXTERNAL_TIMESTAMP, &get);
    assert_eq!(told.timestamp, 0);
    let ask = TsoRequest { header: header(), count: 1, ..Default::default() };
    let drawn = world.pd::<TsoResponse>(m::TSO, &ask).timestamp.unwrap();
    let ts = u64::try_from((drawn.physical << 18) | drawn.logical).unwrap();
    let set = |world: &mut World, timestamp| {
        let ask = SetExternalTimestampRequest { header: header(), timestamp };
        said(world.pd::<SetExternalTimestampResponse>(m::SET_EXTERNAL_TIMESTAMP, &ask).header)
    };
    assert_eq!(set(&mut world, ts - 1), "");
    assert!(set(&mut world, ts - 1).contains("larger than current external timestamp"));
    assert_eq!(world.pd::<GetExternalTimestampResponse>(m::GET_EXTERNAL_TIMESTAMP, &get).timestamp, ts - 1);
}

#[test]
fn t12_4_report_min_resolved_ts_feeds_http() {
    let mut world = World::of(2);
    for (store_id, min_resolved_ts) in [(1, 70), (2, 50)] {
        let ask = ReportMinResolvedTsRequest { header: header(), store_id, min_resolved_ts };
        let told: ReportMinResolvedTsResponse = world.pd(m::REPORT_MIN_RESOLVED_TS, &ask);
        assert_eq!(said(told.header), "");
    }
    assert_eq!(world.cluster.pd.min_resolved_ts(1), Some(70));
    assert_eq!(world.cluster.pd.min_resolved_ts(2), Some(50));
}

#[test]
fn t12_health_of_a_member() {
    let mut world = World::of(1);
    let call = Call::Health { node: tikv_embedded::control::Node::Pd(0), body: bytes("") };
    let Met::Now(Reply::Bytes(_)) = world.cluster.call(Now::default(), call) else { panic!("not serving") };
    assert_eq!(model_pd::method("/pdpb.PD/NoSuchThing"), None);
    assert_eq!(world.cluster.pd.cluster_id(), CLUSTER);
    world.pass(Duration::ZERO);
}

/// The calls that PD's own Go client makes (PD: `client/*.go`), and with it client-go: none is left unserved.
#[test]
fn every_call_of_pds_client_is_served() {
    use tikv_proto::methods::{keyspace as k, meta_storage as meta, resource_manager as rm};
    for path in [
        m::GET_MEMBERS,
        m::GET_CLUSTER_INFO,
        m::TSO,
        m::GET_MIN_TS,
        m::GET_REGION,
        m::GET_PREV_REGION,
        m::GET_REGION_BY_ID,
        m::SCAN_REGIONS,
        m::BATCH_SCAN_REGIONS,
        m::QUERY_REGION,
        m::GET_STORE,
        m::GET_ALL_STORES,
        m::SCATTER_REGION,
        m::SPLIT_REGIONS,
        m::SPLIT_AND_SCATTER_REGIONS,
        m::GET_OPERATOR,
        m::UPDATE_GC_SAFE_POINT,
        m::UPDATE_SERVICE_GC_SAFE_POINT,
        m::GET_GC_STATE,
        m::GET_ALL_KEYSPACES_GC_STATES,
        m::ADVANCE_TXN_SAFE_POINT,
        m::ADVANCE_GC_SAFE_POINT,
        m::SET_GC_BARRIER,
        m::DELETE_GC_BARRIER,
        m::SET_GLOBAL_GC_BARRIER,
        m::DELETE_GLOBAL_GC_BARRIER,
        m::LOAD_GLOBAL_CONFIG,
        m::STORE_GLOBAL_CONFIG,
        m::WATCH_GLOBAL_CONFIG,
        m::GET_EXTERNAL_TIMESTAMP,
        m::SET_EXTERNAL_TIMESTAMP,
        k::LOAD_KEYSPACE,
        k::LOAD_KEYSPACE_BY_ID,
        k::WATCH_KEYSPACES,
        k::UPDATE_KEYSPACE_STATE,
        k::GET_ALL_KEYSPACES,
        meta::GET,
        meta::PUT,
        meta::WATCH,
        rm::LIST_RESOURCE_GROUPS,
        rm::GET_RESOURCE_GROUP,
        rm::ADD_RESOURCE_GROUP,
        rm::MODIFY_RESOURCE_GROUP,
        rm::DELETE_RESOURCE_GROUP,
        rm::ACQUIRE_TOKEN_BUCKETS,
    ] {
        let mut world = World::of(1);
        let body = prost::Message::encode_to_vec(&GetMembersRequest { header: header() });
        let call = Call::Pd { member: 0, follower_may: false, path, body: body.into() };
        let reply = world.cluster.call(world.now, call);
        let unserved = matches!(&reply, Met::Now(Reply::Fail(status)) if status.code == Code::Unimplemented);
        assert!(!unserved, "{path}");
    }
}
