//! Region errors: which check answers first, and how.

use tikv_proto::errorpb::{self, Error};
use tikv_proto::kvrpcpb::*;

use super::*;
use crate::model::PeerRole;

/// Two stores with a peer each; the first leads.
fn two_stores() -> Bench {
    let mut bench = Bench::new();
    bench.topology = Topology::new(&["store:1".to_owned(), "store:2".to_owned()], 2);
    bench
}

fn raw_get_at(bench: &mut Bench, context: Context) -> Option<Error> {
    ask!(bench, RawGet, RawGetRequest { context: Some(context), key: owned("k"), ..Default::default() })
        .region_error
        .map(|error| *error)
}

#[test]
fn the_first_failing_check_answers() {
    let mut bench = two_stores();
    let good = bench.context_at(b"k");
    assert_eq!(raw_get_at(&mut bench, good.clone()), None);
    let peer = good.peer.unwrap();
    // Each step spoils one thing more, which is looked at before what was spoilt above.
    let mut spoilt = Context { region_epoch: None, ..good };
    let error = raw_get_at(&mut bench, spoilt.clone()).unwrap();
    assert_eq!(error.epoch_not_match.unwrap().current_regions.len(), 1);
    let region = spoilt.region_id;
    spoilt.term = bench.topology.region(region).unwrap().term;
    bench.topology.transfer_leader(region, 2).unwrap();
    bench.topology.transfer_leader(region, 1).unwrap();
    assert_eq!(raw_get_at(&mut bench, spoilt.clone()).unwrap().stale_command, Some(errorpb::StaleCommand {}));
    bench.topology.transfer_leader(region, 2).unwrap();
    let error = raw_get_at(&mut bench, spoilt.clone()).unwrap();
    let leader = error.not_leader.unwrap().leader.unwrap();
    assert_eq!(leader.store_id, 2);
    let named =
        format!("peer is not leader for region {region}, leader may Some(id: {} store_id: 2)", leader.id);
    assert_eq!(error.message, named);
    spoilt.peer = Some(metapb::Peer { id: 99, ..peer });
    let error = raw_get_at(&mut bench, spoilt.clone()).unwrap();
    assert_eq!(error.message, format!("mismatch peer id 99 != {}", peer.id));
    assert_eq!(error.mismatch_peer_id.unwrap().store_peer_id, peer.id);
    spoilt.region_id = 77;
    let error = raw_get_at(&mut bench, spoilt.clone()).unwrap();
    assert_eq!(error.message, "region 77 is missing");
    assert_eq!(error.region_not_found.unwrap().region_id, 77);
    spoilt.peer = None;
    let error = raw_get_at(&mut bench, spoilt).unwrap();
    assert_eq!(error.message, "to store id 0, mine 1");
    assert_eq!(error.store_not_match.unwrap().actual_store_id, 1);
}

#[test]
fn only_the_version_of_the_epoch_counts() {
    let mut bench = two_stores();
    let region = bench.topology.region_at(b"").unwrap().id;
    bench.topology.split(region, &[owned("m")]).unwrap();
    let good = bench.context_at(b"z");
    let epoch = good.region_epoch.unwrap();
    let with = |version, conf_ver| Context {
        region_epoch: Some(metapb::RegionEpoch { version, conf_ver }),
        ..good.clone()
    };
    assert_eq!(raw_get_at(&mut bench, with(epoch.version, epoch.conf_ver + 5)), None);
    let error = raw_get_at(&mut bench, with(epoch.version - 1, epoch.conf_ver)).unwrap();
    assert_eq!(
        error.message,
        format!(
            "EpochNotMatch current epoch of region {region} is conf_ver: 1 version: 2, but you sent conf_ver: 1 version: 1"
        )
    );
    let regions = error.epoch_not_match.unwrap().current_regions;
    let bounds: Vec<_> = regions.iter().map(|region| (&region.start_key[..], &region.end_key[..])).collect();
    assert_eq!(bounds, [(&b"m"[..], &b""[..]), (b"", b"m")]);
    let ahead = raw_get_at(&mut bench, with(epoch.version + 1, epoch.conf_ver)).unwrap();
    assert_eq!(ahead.epoch_not_match.unwrap().current_regions.len(), 1);
}

#[test]
fn followers_serve_reads_only_and_only_when_asked_so() {
    let mut bench = two_stores();
    bench.write(5, 6, &[put("k", "1")]);
    let region = bench.topology.region_at(b"").unwrap().clone();
    let mut context = bench.context_at(b"k");
    bench.topology.transfer_leader(region.id, 2).unwrap();
    let get = |bench: &mut Bench, context: &Context| {
        let context = Some(context.clone());
        ask!(bench, Get, GetRequest { context, key: owned("k"), version: 10, ..Default::default() })
    };
    assert!(get(&mut bench, &context).region_error.unwrap().not_leader.is_some());
    context.replica_read = true;
    assert_eq!(get(&mut bench, &context).value, "1");
    let request =
        PrewriteRequest { context: Some(context.clone()), ..bench.prewrite_request(20, &[put("k", "2")]) };
    assert!(ask!(bench, Prewrite, request).region_error.unwrap().not_leader.is_some());
    // A witness has no data.
    bench.topology.remove_peer(region.id, 1).unwrap();
    let id = bench.topology.add_peer(region.id, 1, PeerRole::Witness).unwrap();
    context.peer = Some(metapb::Peer { id, store_id: 1, ..Default::default() });
    assert!(get(&mut bench, &context).region_error.unwrap().is_witness.is_some());
}

#[test]
fn a_stale_read_on_a_follower_needs_a_safe_timestamp() {
    let mut bench = two_stores();
    let now = bench.now.unix_ms() * MS;
    bench.write(5, 6, &[put("k", "1")]);
    let region = bench.topology.region_at(b"").unwrap().id;
    let context = Context { stale_read: true, ..bench.context_at(b"k") };
    let get = |bench: &mut Bench, context: &Context, version| {
        let context = Some(context.clone());
        ask!(bench, Get, GetRequest { context, key: owned("k"), version, ..Default::default() })
    };
    // On the leader a version ahead of the safe timestamp is an ordinary read.
    assert_eq!(get(&mut bench, &context, now).value, "1");
    bench.topology.transfer_leader(region, 2).unwrap();
    assert_eq!(get(&mut bench, &context, now - 1500 * MS).value, "1");
    let error = get(&mut bench, &context, now - 500 * MS).region_error.unwrap();
    let peer = context.peer.unwrap().id;
    let safe_ts = now - 1000 * MS;
    assert_eq!(error.message, format!("peer {peer} is not ready, safe_ts {safe_ts}, region {region}"));
    assert_eq!(error.data_is_not_ready.unwrap().safe_ts, safe_ts);
    // A lock holds the safe timestamp back.
    bench.topology.transfer_leader(region, 1).unwrap();
    bench.lock(now, &[put("l", "1")]);
    bench.now = bench.now.after(std::time::Duration::from_secs(10));
    bench.topology.transfer_leader(region, 2).unwrap();
    assert!(get(&mut bench, &context, now + 1).region_error.unwrap().data_is_not_ready.is_some());
    assert_eq!(bench.engine.safe_ts(&bench.topology, 1, bench.now, &Bytes::new(), &Bytes::new()), now);
    assert_eq!(get(&mut bench, &context, now).value, "1");
}

#[test]
fn the_api_version_is_looked_at_by_some_commands_and_before_the_region() {
    let mut bench = Bench::new();
    let context = Some(Context { api_version: ApiVersion::V2.into(), ..Default::default() });
    let refused = |error: &KeyError| error.abort.contains("ApiVersionNotMatched");
    let get = ask!(bench, Get, GetRequest { context: context.clone(), ..Default::default() });
    assert!(refused(get.error.as_ref().unwrap()) && get.region_error.is_none());
    let scan = ask!(bench, Scan, ScanRequest { context: context.clone(), ..Default::default() });
    assert!(refused(scan.error.as_ref().unwrap()) && refused(scan.pairs[0].error.as_ref().unwrap()));
    let prewrite = ask!(bench, Prewrite, PrewriteRequest { context: context.clone(), ..Default::default() });
    assert!(refused(&prewrite.errors[0]));
    let commit = CommitRequest { context, commit_version: 1, ..Default::default() };
    assert!(ask!(bench, Commit, commit).region_error.unwrap().store_not_match.is_some());
}

#[test]
fn a_key_outside_its_region_is_an_error_of_the_key() {
    let mut bench = Bench::new();
    let region = bench.topology.region_at(b"").unwrap().id;
    bench.topology.split(region, &[key::encode(b"m")]).unwrap();
    let right = bench.context(b"z");
    let get = GetRequest { context: right.clone(), key: owned("a"), version: 5, ..Default::default() };
    let abort = ask!(bench, Get, get).error.unwrap().abort;
    assert!(abort.contains("Other(") && abort.contains("is out of [region"), "{abort}");
    let commit = CommitRequest {
        context: right.clone(),
        keys: vec![owned("a")],
        start_version: 1,
        commit_version: 2,
        ..Default::default()
    };
    assert!(ask!(bench, Commit, commit).error.unwrap().abort.contains("is out of [region"));
    for (start_key, end_key, reverse) in [("a", "z", false), ("z", "a", true), ("z", "", true)] {
        let (start_key, end_key, context) = (owned(start_key), owned(end_key), right.clone());
        let scan =
            ScanRequest { context, start_key, end_key, limit: 9, version: 5, reverse, ..Default::default() };
        let open = scan.end_key.is_empty();
        assert_eq!(ask!(bench, Scan, scan).error.is_none(), open);
    }
    let locks = ScanLockRequest { context: right, start_key: owned("a"), ..Default::default() };
    let error = ask!(bench, ScanLock, locks).region_error.unwrap();
    assert_eq!(error.key_not_in_region.unwrap().key, key::encode(b"a"));
}
