//! `cluster.md` 4 with stores in trouble, through the doors.

use tikv_embedded::control::{Action, Matcher, Refusal, Rule};
use tikv_embedded::model::{Api, PeerRole, Reply, key};
use tikv_proto::kvrpcpb::*;
use tikv_proto::methods::tikv as m;
use tikv_proto::{errorpb, metapb};

use crate::world::{World, bytes};

/// The name of the variant of a region error.
fn variant(error: &errorpb::Error) -> &'static str {
    let named = [
        (error.not_leader.is_some(), "NotLeader"),
        (error.region_not_found.is_some(), "RegionNotFound"),
        (error.key_not_in_region.is_some(), "KeyNotInRegion"),
        (error.epoch_not_match.is_some(), "EpochNotMatch"),
        (error.server_is_busy.is_some(), "ServerIsBusy"),
        (error.stale_command.is_some(), "StaleCommand"),
        (error.store_not_match.is_some(), "StoreNotMatch"),
        (error.raft_entry_too_large.is_some(), "RaftEntryTooLarge"),
        (error.max_timestamp_not_synced.is_some(), "MaxTimestampNotSynced"),
        (error.read_index_not_ready.is_some(), "ReadIndexNotReady"),
        (error.proposal_in_merging_mode.is_some(), "ProposalInMergingMode"),
        (error.data_is_not_ready.is_some(), "DataIsNotReady"),
        (error.region_not_initialized.is_some(), "RegionNotInitialized"),
        (error.disk_full.is_some(), "DiskFull"),
        (error.recovery_in_progress.is_some(), "RecoveryInProgress"),
        (error.flashback_in_progress.is_some(), "FlashbackInProgress"),
        (error.flashback_not_prepared.is_some(), "FlashbackNotPrepared"),
        (error.is_witness.is_some(), "IsWitness"),
        (error.mismatch_peer_id.is_some(), "MismatchPeerId"),
        (error.bucket_version_not_match.is_some(), "BucketVersionNotMatch"),
        (error.undetermined_result.is_some(), "UndeterminedResult"),
    ];
    let mut set = named.into_iter().filter(|(set, _)| *set).map(|(_, name)| name);
    let first = set.next().unwrap_or("");
    assert_eq!(set.next(), None, "one variant at a time");
    first
}

/// 4.2 as a whole: everything is wrong at first, and each step puts right what answered.
#[test]
fn each_check_comes_before_those_below_it() {
    let mut world = World::of(2);
    let region = world.region("k");
    world.cluster.topology.transfer_leader(region, 2).unwrap();
    world.cluster.topology.transfer_leader(region, 1).unwrap();
    world.cluster.topology.transfer_leader(region, 2).unwrap();
    let good = world.context_on("k", 1);
    // A region that is prepared for a flashback.
    let prepare = PrepareFlashbackToVersionRequest {
        context: Some(world.context("k")),
        start_key: bytes("a"),
        end_key: bytes("z"),
        start_ts: 4,
        version: 3,
    };
    let prepared: PrepareFlashbackToVersionResponse =
        world.ask_on(2, m::KV_PREPARE_FLASHBACK_TO_VERSION, &prepare);
    assert_eq!(prepared, PrepareFlashbackToVersionResponse::default());
    let conditions = &mut world.cluster.topology.conditions;
    conditions.set_recovering(region, true);
    conditions.set_uninitialised(region, 1, true);
    world.cluster.topology.set_role(region, 1, PeerRole::Witness).unwrap();
    let mut context = Context { peer: None, region_id: 99, region_epoch: None, term: 1, ..good.clone() };
    let peer = good.peer.unwrap();
    type Step = fn(&mut World, &mut Context, u64);
    let steps: [(&str, Step); 9] = [
        ("StoreNotMatch", |_, context, _| {
            context.peer = Some(metapb::Peer { id: 98, store_id: 1, ..Default::default() });
        }),
        ("RegionNotFound", |_, context, region| context.region_id = region),
        ("MismatchPeerId", |_, _, _| {}),
        ("RecoveryInProgress", |world, _, region| {
            world.cluster.topology.conditions.set_recovering(region, false);
        }),
        ("NotLeader", |_, context, _| context.replica_read = true),
        ("IsWitness", |world, _, region| {
            world.cluster.topology.set_role(region, 1, PeerRole::Voter).unwrap();
        }),
        ("RegionNotInitialized", |world, _, region| {
            world.cluster.topology.conditions.set_uninitialised(region, 1, false);
        }),
        ("StaleCommand", |_, context, _| context.term = 0),
        ("EpochNotMatch", |_, _, _| {}),
    ];
    for (expected, put_right) in steps {
        let error = world.refused(1, context.clone()).unwrap();
        assert_eq!(variant(&error), expected, "{error:?}");
        put_right(&mut world, &mut context, region);
        match expected {
            "MismatchPeerId" => context.peer = Some(peer),
            "EpochNotMatch" => context.region_epoch = world.context("k").region_epoch,
            _ => {}
        }
    }
    let error = world.refused(1, context.clone()).unwrap();
    assert_eq!(variant(&error), "FlashbackInProgress", "{error:?}");
    assert!(world.get(context, "k", 3).not_found, "what was before is served");
}

/// 4.2: a key outside, with a right epoch, by command.
#[test]
fn row_outside_is_an_error_of_the_key_or_of_the_region() {
    let mut world = World::of(1);
    let region = world.region("a");
    world.cluster.topology.split(region, &[key::encode(b"m")]).unwrap();
    let context = Some(world.context("z"));
    let other = |error: Option<Box<KeyError>>| error.unwrap().abort.contains("is out of [region");
    let get = GetRequest { context: context.clone(), key: bytes("a"), version: 5, ..Default::default() };
    assert!(other(world.ask::<GetResponse>(m::KV_GET, &get).error));
    let keys = vec![bytes("a"), bytes("z")];
    let batch = BatchGetRequest { context: context.clone(), keys, version: 5, ..Default::default() };
    let pairs = world.ask::<BatchGetResponse>(m::KV_BATCH_GET, &batch).pairs;
    assert_eq!(pairs.len(), 1, "in its pair");
    assert!(other(pairs[0].error.clone()));
    let commit = CommitRequest {
        context: context.clone(),
        keys: vec![bytes("a")],
        start_version: 1,
        commit_version: 2,
        ..Default::default()
    };
    assert!(other(world.ask::<CommitResponse>(m::KV_COMMIT, &commit).error));
    let request = PrewriteRequest { context: context.clone(), ..world.prewrite(10, &[("a", "v")]) };
    let answer: PrewriteResponse = world.ask(m::KV_PREWRITE, &request);
    assert!(answer.errors[0].abort.contains("is out of [region"));
    let mvcc = MvccGetByKeyRequest { context, key: bytes("a") };
    assert!(world.ask::<MvccGetByKeyResponse>(m::MVCC_GET_BY_KEY, &mvcc).error.contains("is out of [region"));
}

/// 4.2, 6, 8.5: a scan outside its region.
#[test]
fn row_outside_scan_is_an_invalid_range() {
    let mut world = World::of(1);
    let region = world.region("a");
    world.cluster.topology.split(region, &[key::encode(b"m")]).unwrap();
    let context = Some(world.context("z"));
    let scan = ScanRequest {
        context,
        start_key: bytes("a"),
        end_key: bytes("zz"),
        limit: 9,
        version: 5,
        ..Default::default()
    };
    let answer: ScanResponse = world.ask(m::KV_SCAN, &scan);
    let abort = answer.error.unwrap().abort;
    assert!(abort.contains("InvalidReqRange"), "{abort}");
    assert!(answer.pairs[0].error.as_ref().unwrap().abort.contains("InvalidReqRange"));
    assert_eq!(answer.region_error, None);
}

/// 4.2 row 11 for raw writes and raw scans.
#[test]
fn row_11_raw_outside_is_key_not_in_region() {
    let mut world = World::of(1);
    let region = world.region("a");
    world.cluster.topology.split(region, &[bytes("m")]).unwrap();
    let context = Some(world.context_at(b"z"));
    let put =
        RawPutRequest { context: context.clone(), key: bytes("a"), value: bytes("v"), ..Default::default() };
    let error = world.ask::<RawPutResponse>(m::RAW_PUT, &put).region_error.unwrap();
    let told = error.key_not_in_region.unwrap();
    assert_eq!((told.key, told.start_key, told.end_key), (bytes("a"), bytes("m"), bytes("")));
    let scan =
        RawScanRequest { context: context.clone(), start_key: bytes("a"), limit: 1, ..Default::default() };
    let error = world.ask::<RawScanResponse>(m::RAW_SCAN, &scan).region_error.unwrap();
    assert!(error.key_not_in_region.is_some());
    let delete = RawDeleteRangeRequest {
        context: context.clone(),
        start_key: bytes("a"),
        end_key: bytes("z"),
        ..Default::default()
    };
    let error = world.ask::<RawDeleteRangeResponse>(m::RAW_DELETE_RANGE, &delete).region_error.unwrap();
    assert!(error.key_not_in_region.is_some());
    let get = RawGetRequest { context, key: bytes("a"), ..Default::default() };
    let answer: RawGetResponse = world.ask(m::RAW_GET, &get);
    assert!(answer.error.contains("is out of [region") && answer.region_error.is_none());
}

/// 4.2: during an election no leader is named.
#[test]
fn row_5_not_leader_names_nobody_during_an_election() {
    let mut world = World::of(2);
    let context = world.context("k");
    world.cluster.topology.drop_leader(context.region_id).unwrap();
    let told = world.refused(1, context.clone()).unwrap().not_leader.unwrap();
    assert_eq!((told.region_id, told.leader), (context.region_id, None));
}

/// 4.4: each variant comes back if a rule orders it.
#[test]
fn t4_4_every_variant_can_be_ordered() {
    let table = [
        ("NotLeader", Refusal::NotLeader { leader: Some(2) }),
        ("RegionNotFound", Refusal::RegionNotFound),
        ("KeyNotInRegion", Refusal::KeyNotInRegion),
        ("EpochNotMatch", Refusal::EpochNotMatch { siblings: 1 }),
        ("EpochNotMatch", Refusal::EpochNotMatchUnknown),
        ("ServerIsBusy", Refusal::busy()),
        ("StaleCommand", Refusal::StaleCommand),
        ("StoreNotMatch", Refusal::StoreNotMatch),
        ("RaftEntryTooLarge", Refusal::RaftEntryTooLarge { entry_size: 9 << 20 }),
        ("MaxTimestampNotSynced", Refusal::MaxTimestampNotSynced),
        ("ReadIndexNotReady", Refusal::ReadIndexNotReady),
        ("ProposalInMergingMode", Refusal::ProposalInMergingMode),
        ("DataIsNotReady", Refusal::DataIsNotReady { safe_ts: 7 }),
        ("RegionNotInitialized", Refusal::RegionNotInitialized),
        ("DiskFull", Refusal::DiskFull),
        ("RecoveryInProgress", Refusal::RecoveryInProgress),
        ("FlashbackInProgress", Refusal::FlashbackInProgress { start_ts: 9 }),
        ("FlashbackNotPrepared", Refusal::FlashbackNotPrepared),
        ("IsWitness", Refusal::IsWitness),
        ("MismatchPeerId", Refusal::MismatchPeerId),
        ("BucketVersionNotMatch", Refusal::BucketVersionNotMatch { version: 3 }),
        ("UndeterminedResult", Refusal::UndeterminedResult),
        ("", Refusal::Message("TiKV is Closing".to_owned())),
    ];
    for (name, refusal) in table {
        let mut world = World::of(2);
        let context = world.context("k");
        let told = format!("{refusal:?}");
        world.cluster.add_fault(Rule::new(Matcher::method("KvGet"), Action::Refuse(refusal)).times(1));
        let error = world.refused(1, context.clone()).unwrap();
        assert_eq!(variant(&error), name, "{told}");
        assert!(!error.message.is_empty(), "{told}");
        assert_eq!(world.refused(1, context), None, "once");
    }
}

/// 4.5 by storage, version of the request, and key: whether a prewrite and a raw put are taken.
#[test]
fn t4_5_pairs_of_versions() {
    use ApiVersion::{V1, V1ttl, V2};
    let table = [
        (Api::V1, V1, "k", true, true),
        (Api::V1, V1ttl, "k", false, false),
        (Api::V1, V2, "xk", false, false),
        (Api::V1Ttl, V1, "k", false, true),
        (Api::V1Ttl, V1ttl, "k", false, false),
        (Api::V1Ttl, V2, "rk", false, false),
        (Api::V2, V2, "x000k", true, false),
        (Api::V2, V2, "r000k", false, true),
        (Api::V2, V1, "mk", true, false),
        (Api::V2, V1, "tk", true, false),
        (Api::V2, V1, "k", false, false),
        (Api::V2, V1ttl, "r000k", false, false),
    ];
    for (api, version, name, txn, raw) in table {
        let mut world = World::speaking(api);
        let context = Context { api_version: version.into(), ..world.context(name) };
        let request =
            PrewriteRequest { context: Some(context.clone()), ..world.prewrite(10, &[(name, "v")]) };
        let answer: PrewriteResponse = world.ask(m::KV_PREWRITE, &request);
        assert_eq!(answer.errors.is_empty(), txn, "{api:?} {version:?} {name}: {answer:?}");
        let put = RawPutRequest {
            context: Some(context),
            key: bytes(name),
            value: bytes("v"),
            ..Default::default()
        };
        let answer: RawPutResponse = world.ask(m::RAW_PUT, &put);
        assert_eq!(answer.error.is_empty(), raw, "{api:?} {version:?} {name}: {answer:?}");
        assert_eq!(answer.region_error, None);
    }
}

/// 4.1: what only people look at changes nothing.
#[test]
fn t4_1_trace_id_and_tags_are_accepted() {
    let mut world = World::of(1);
    let context = Context {
        trace_id: bytes("t"),
        trace_control_flags: 3,
        resource_group_tag: bytes("tag"),
        request_source: "external_x".to_owned(),
        source_stmt: None,
        txn_source: 1,
        ..world.context("k")
    };
    assert!(world.get(context, "k", 5).not_found);
}

/// 4.1: both kinds of calls refuse another cluster's requests.
#[test]
fn t4_1_cluster_id_of_another_cluster() {
    let mut world = World::of(1);
    for (cluster_id, taken) in [(0, true), (crate::world::CLUSTER, true), (5, false)] {
        let context = Some(Context { cluster_id, ..world.context("k") });
        let get = GetRequest { context, key: bytes("k"), version: 5, ..Default::default() };
        match world.send(1, m::KV_GET, &get) {
            Reply::Store(_) => assert!(taken, "{cluster_id}"),
            Reply::Fail(status) => {
                assert!(!taken, "{cluster_id}");
                let message = "the cluster id of the request does not match the TiKV cluster";
                assert_eq!(status.message, message);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Bad input: a region id of 0 is that of no region.
#[test]
fn row_2_region_0_is_missing() {
    let mut world = World::of(1);
    let context = Context { region_id: 0, ..world.context("k") };
    let error = world.refused(1, context).unwrap();
    assert_eq!((variant(&error), error.message.as_str()), ("RegionNotFound", "region 0 is missing"));
}
