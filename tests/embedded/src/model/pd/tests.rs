//! PD's answers through its door, as bytes.

use super::*;

const CLUSTER: u64 = 77;

/// PD of two members over three stores, asked through its doors.
#[derive(Debug)]
pub(super) struct World {
    pub(super) pd: Pd,
    pub(super) topology: Topology,
    pub(super) now: Now,
}

impl World {
    pub(super) fn new() -> Self {
        let stores: Vec<String> = (1..=3).map(|n| format!("127.0.0.1:{n}")).collect();
        let member = |id| Member::new(id, format!("pd-{id}"), format!("http://127.0.0.1:9{id}"));
        let mut topology = Topology::new(&stores, 3);
        let now = Now::from_unix(Duration::from_secs(1_700_000_000));
        topology.set_started(now.unix_seconds());
        let mut pd = Pd::new(CLUSTER, vec![member(1), member(2)], 3);
        pd.bootstrap_keyspaces(&mut topology, now, false);
        Self { pd, topology, now }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.pd.tick(&mut self.topology, self.now);
    }

    pub(super) fn call<A: Message + Default>(
        &mut self,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        self.call_to(0, false, path, request)
    }

    pub(super) fn call_to<A: Message + Default>(
        &mut self,
        member: usize,
        follower_may: bool,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        let mut asked = Asked::new(&mut self.topology, member, self.now);
        asked.follower_may = follower_may;
        let answer = self.pd.call(asked, path, encode(request))?;
        Ok(A::decode(answer).expect("an answer of the method's type"))
    }

    /// A call that must be answered.
    pub(super) fn ask<A: Message + Default>(&mut self, path: &str, request: &impl Message) -> A {
        self.call(path, request).expect("an answer")
    }

    /// The status and the body of a page.
    pub(super) fn page(&mut self, method: &str, target: &str, body: &str) -> (u16, serde_json::Value) {
        let asked = Asked::new(&mut self.topology, 0, self.now);
        let page = self.pd.http(asked, http::Request::new(method, target, body.as_bytes()));
        (page.status, serde_json::from_str(&page.body).unwrap_or_else(|_| page.body.trim_end().into()))
    }

    pub(super) fn watch(&mut self, path: &str, request: &impl Message) -> Result<Watch, Status> {
        let asked = Asked::new(&mut self.topology, 0, self.now);
        self.pd.watch(asked, path, &encode(request))
    }
}

/// The message of the error in a header; empty: none.
pub(super) fn error_of(header: Option<pdpb::ResponseHeader>) -> String {
    header.and_then(|header| header.error).map(|error| error.message).unwrap_or_default()
}

pub(super) fn header() -> Option<pdpb::RequestHeader> {
    Some(pdpb::RequestHeader { cluster_id: CLUSTER, ..Default::default() })
}

fn region_request(key: &'static str) -> pdpb::GetRegionRequest {
    pdpb::GetRegionRequest {
        header: header(),
        region_key: Bytes::from_static(key.as_bytes()),
        ..Default::default()
    }
}

fn bounds(region: &Option<metapb::Region>) -> Option<(&[u8], &[u8])> {
    region.as_ref().map(|region| (region.start_key.as_ref(), region.end_key.as_ref()))
}

#[test]
fn every_method_survives_hostile_bytes_and_a_wrong_cluster() {
    let hostile: [&'static [u8]; 4] =
        [&[0xff; 40], &[0x0a, 0xff, 0xff, 0xff, 0x0f], &[0x0a, 0x7f, 1], &[0x12; 9]];
    let mut world = World::new();
    for path in SERVICES.into_iter().flatten() {
        for body in hostile {
            let (asked, body) =
                (Asked::new(&mut world.topology, 0, Now::default()), Bytes::from_static(body));
            let status = if watch::METHODS.contains(path) {
                world.pd.watch(asked, path, &body).map(drop).expect_err(path)
            } else {
                world.pd.call(asked, path, body).map(drop).expect_err(path)
            };
            assert!(matches!(status.code, Code::Internal | Code::Unimplemented), "{path}: {status}");
        }
        // Nothing at all is a request too, of which every field is its default.
        let asked = Asked::new(&mut world.topology, 0, Now::default());
        drop(world.pd.call(asked, path, Bytes::new()));
    }
    let wrong = pdpb::GetRegionRequest {
        header: Some(pdpb::RequestHeader { cluster_id: 5, ..Default::default() }),
        ..Default::default()
    };
    for request in [wrong, pdpb::GetRegionRequest::default()] {
        let got = request.header.as_ref().map_or(0, |header| header.cluster_id);
        let status =
            world.call::<pdpb::GetRegionResponse>(methods::pd::GET_REGION, &request).expect_err("refused");
        let message = format!("mismatch cluster id, need {CLUSTER} but got {got}");
        assert_eq!(status, Status::new(Code::FailedPrecondition, message));
    }
}

#[test]
fn only_the_leader_answers_but_members_and_permitted_reads() {
    let mut world = World::new();
    let (get, tso) = (methods::pd::GET_REGION, methods::pd::TSO);
    let draw = pdpb::TsoRequest { header: header(), count: 1, ..Default::default() };
    let refused = world.call_to::<pdpb::TsoResponse>(1, true, tso, &draw).expect_err("a follower");
    assert_eq!(refused, Status::new(Code::Unavailable, "not leader"));
    let refused = world.call_to::<pdpb::GetRegionResponse>(1, false, get, &region_request("k"));
    let message = "not leader and follower handling not allowed";
    assert_eq!(refused, Err(Status::new(Code::Unavailable, message)));
    let told: pdpb::GetRegionResponse = world.call_to(1, true, get, &region_request("k")).expect("permitted");
    assert_eq!(bounds(&told.region), Some((&b""[..], &b""[..])));

    world.pd.set_leader(Some(1));
    world.call_to::<pdpb::TsoResponse>(1, false, tso, &draw).expect("leads now");
    world.call::<pdpb::TsoResponse>(tso, &draw).expect_err("leads no more");
    let members: pdpb::GetMembersResponse =
        world.call(methods::pd::GET_MEMBERS, &pdpb::GetMembersRequest::default()).expect("anyone's");
    assert_eq!(members.members.len(), 2);
    assert_eq!(members.leader.map(|leader| leader.member_id), Some(2));
}

#[test]
fn regions_are_told_by_key_and_neighbour() {
    let mut world = World::new();
    let split = pdpb::SplitRegionsRequest {
        header: header(),
        split_keys: vec!["m".into(), "t".into(), "m".into()],
        ..Default::default()
    };
    let done: pdpb::SplitRegionsResponse = world.call(methods::pd::SPLIT_REGIONS, &split).expect("splits");
    assert_eq!((done.finished_percentage, done.regions_id.len()), (66, 2));
    let told: pdpb::GetRegionResponse =
        world.call(methods::pd::GET_REGION, &region_request("p")).expect("there");
    assert_eq!(bounds(&told.region), Some((&b"m"[..], &b"t"[..])));
    assert!(told.leader.is_some());
    let prev = methods::pd::GET_PREV_REGION;
    let told: pdpb::GetRegionResponse = world.call(prev, &region_request("p")).expect("there");
    assert_eq!(bounds(&told.region), Some((&b""[..], &b"m"[..])));
    let told: pdpb::GetRegionResponse = world.call(prev, &region_request("a")).expect("an answer");
    assert_eq!((told.region, told.header.and_then(|header| header.error)), (None, None));
}

#[test]
fn frozen_regions_are_told_as_they_were() {
    let mut world = World::new();
    world.pd.freeze_regions(Some(world.topology.clone()));
    world.topology.split(4, &["m".into()]).expect("splits");
    let old: pdpb::GetRegionResponse =
        world.call(methods::pd::GET_REGION, &region_request("p")).expect("there");
    assert_eq!(bounds(&old.region), Some((&b""[..], &b""[..])));
    world.pd.freeze_regions(None);
    let new: pdpb::GetRegionResponse =
        world.call(methods::pd::GET_REGION, &region_request("p")).expect("there");
    assert_eq!(bounds(&new.region), Some((&b"m"[..], &b""[..])));
}

#[test]
fn a_batch_scan_gives_a_region_once_and_counts_over_all_ranges() {
    let mut world = World::new();
    world.topology.split(4, &["b".into(), "c".into(), "d".into()]).expect("splits");
    let range = |start: &'static str, end: &'static str| pdpb::KeyRange {
        start_key: start.into(),
        end_key: end.into(),
    };
    let mut scan = |ranges: Vec<pdpb::KeyRange>, limit| {
        let request = pdpb::BatchScanRegionsRequest { header: header(), ranges, limit, ..Default::default() };
        let answer: pdpb::BatchScanRegionsResponse =
            world.call(methods::pd::BATCH_SCAN_REGIONS, &request).expect("an answer");
        let error = answer.header.and_then(|header| header.error).map(|error| error.message);
        let starts = answer.regions.into_iter().filter_map(|region| region.region);
        (
            starts.map(|region| String::from_utf8_lossy(&region.start_key).into_owned()).collect::<String>(),
            error,
        )
    };
    assert_eq!(scan(vec![range("b1", "b2"), range("b3", "c1"), range("d", "")], 0).0, "bcd");
    assert_eq!(scan(vec![range("b1", "b2"), range("b3", "c1"), range("d", "")], 2).0, "bc");
    let overlapped = Some("invalid key range, ranges overlapped".to_owned());
    assert_eq!(scan(vec![range("b", "d"), range("c", "e")], 9).1, overlapped);
    let inverted = Some("invalid key range, start key > end key".to_owned());
    assert_eq!(scan(vec![range("d", "c")], 9).1, inverted);
}

#[test]
fn unknown_methods_are_named() {
    let mut world = World::new();
    let status = world
        .call::<pdpb::GetMembersResponse>("/pdpb.PD/NoSuchThing", &pdpb::GetMembersRequest::default())
        .expect_err("unknown");
    assert_eq!(status, Status::new(Code::Unimplemented, "unknown method NoSuchThing for service pdpb.PD"));
}

#[test]
fn a_hole_is_told_as_one_and_refused_when_all_keys_are_asked_for() {
    let mut world = World::new();
    let parts = world.topology.split(4, &["b".into(), "c".into(), "d".into()]).expect("splits");
    world.pd.hide_region(parts[1]);
    let told: pdpb::GetRegionResponse = world.ask(methods::pd::GET_REGION, &region_request("b1"));
    assert_eq!((told.region, error_of(told.header)), (None, String::new()), "nobody serves it");
    let range = |start: &'static str, end: &'static str| pdpb::KeyRange {
        start_key: start.into(),
        end_key: end.into(),
    };
    let mut scan = |ranges: Vec<pdpb::KeyRange>, contain_all_key_range, limit| {
        let request = pdpb::BatchScanRegionsRequest {
            header: header(),
            ranges,
            limit,
            contain_all_key_range,
            ..Default::default()
        };
        let answer: pdpb::BatchScanRegionsResponse = world.ask(methods::pd::BATCH_SCAN_REGIONS, &request);
        let kind = answer.header.and_then(|header| header.error).map(|error| error.r#type());
        (answer.regions.len(), kind)
    };
    let violated = Some(pdpb::ErrorType::RegionsNotContainAllKeyRange);
    assert_eq!(scan(vec![range("a", "e")], false, 0), (3, None));
    assert_eq!(scan(vec![range("a", "e")], true, 0), (0, violated));
    assert_eq!(scan(vec![range("a", "b5")], true, 0), (0, violated), "the end is missing");
    assert_eq!(scan(vec![range("a", "e")], true, 1), (1, None), "what a limit cuts off is no hole");
    assert_eq!(scan(vec![range("c", "e")], true, 0), (2, None));
    world.pd.show_region(parts[1]);
    let mut world = world;
    let told: pdpb::GetRegionResponse = world.ask(methods::pd::GET_REGION, &region_request("b1"));
    assert_eq!(bounds(&told.region), Some((&b"b"[..], &b"c"[..])));
}

#[test]
fn buckets_come_when_they_are_asked_for_and_from_the_leader_only() {
    let mut world = World::new();
    let keys = ["", "m", ""].map(Bytes::from).to_vec();
    world.pd.report_buckets(metapb::Buckets { region_id: 4, version: 3, keys, ..Default::default() });
    let ask = |need_buckets| pdpb::GetRegionRequest { need_buckets, ..region_request("k") };
    let get = methods::pd::GET_REGION;
    let told: pdpb::GetRegionResponse = world.ask(get, &ask(true));
    assert_eq!(told.buckets.map(|buckets| (buckets.version, buckets.keys.len())), Some((3, 3)));
    assert_eq!(world.ask::<pdpb::GetRegionResponse>(get, &ask(false)).buckets, None);
    let told: pdpb::GetRegionResponse = world.call_to(1, true, get, &ask(true)).expect("permitted");
    assert_eq!((told.region.is_some(), told.buckets), (true, None));
}

#[test]
fn after_a_restart_of_pd_regions_have_no_leader_until_their_heartbeat() {
    let mut world = World::new();
    world.pd.forget_leaders(&world.topology);
    let told: pdpb::GetRegionResponse = world.ask(methods::pd::GET_REGION, &region_request("k"));
    assert_eq!((told.region.is_some(), told.leader), (true, None));
    let scan = pdpb::ScanRegionsRequest { header: header(), ..Default::default() };
    let listed: pdpb::ScanRegionsResponse = world.ask(methods::pd::SCAN_REGIONS, &scan);
    assert_eq!(listed.leaders, [metapb::Peer::default()], "in a list it has a peer with id 0");
    world.pd.hear_of_leader(4);
    let told: pdpb::GetRegionResponse = world.ask(methods::pd::GET_REGION, &region_request("k"));
    assert!(told.leader.is_some());
}

#[test]
fn followers_say_that_a_region_is_not_found_where_the_leader_says_nothing() {
    let mut world = World::new();
    let by_id = pdpb::GetRegionByIdRequest { header: header(), region_id: 99, ..Default::default() };
    let path = methods::pd::GET_REGION_BY_ID;
    let told: pdpb::GetRegionResponse = world.ask(path, &by_id);
    assert_eq!(error_of(told.header), "");
    let told: pdpb::GetRegionResponse = world.call_to(1, true, path, &by_id).expect("permitted");
    assert_eq!(error_of(told.header), "region not found");
}

#[test]
fn timestamps_go_on_above_the_old_ones_when_pd_has_another_leader() {
    let mut world = World::new();
    let draw = pdpb::TsoRequest { header: header(), count: 10, ..Default::default() };
    let ts = |answer: pdpb::TsoResponse| answer.timestamp.map(|ts| (ts.physical, ts.logical));
    let before = ts(world.ask(methods::pd::TSO, &draw));
    world.pd.set_leader(Some(1));
    let after = ts(world.call_to(1, false, methods::pd::TSO, &draw).expect("leads now"));
    assert!(after > before, "{before:?} {after:?}");
    // The first member leads again: it knows what the second has stored.
    world.pd.set_leader(Some(0));
    let again = ts(world.ask(methods::pd::TSO, &draw));
    assert!(again > after, "{after:?} {again:?}");
}

#[test]
fn a_pd_leader_that_is_down_is_followed_by_the_next_member_after_its_lease() {
    let mut world = World::new();
    world.pd.set_elections(Duration::from_secs(3), Duration::from_secs(10));
    world.pd.member_down(0, world.now);
    assert_eq!(world.pd.next_due(), Some(world.now.after(Duration::from_secs(3))));
    world.pass(2);
    assert_eq!(world.pd.leader(), Some(0), "everybody names the old one until its lease is over");
    world.pass(1);
    assert_eq!(world.pd.leader(), Some(1));
    assert_eq!(world.pd.next_due(), None);
    world.pd.member_up(0);
    world.pass(60);
    assert_eq!(world.pd.leader(), Some(1), "it comes back as a follower");
    // One that comes back in time goes on leading.
    world.pd.member_down(1, world.now);
    world.pass(1);
    world.pd.member_up(1);
    world.pass(60);
    assert_eq!(world.pd.leader(), Some(1));
    // With nobody left there is no leader.
    world.pd.member_down(0, world.now);
    world.pd.member_down(1, world.now);
    world.pass(3);
    assert_eq!(world.pd.leader(), None);
}

#[test]
fn global_configuration_is_watched_below_its_path_with_what_was_deleted() {
    let mut world = World::new();
    let watch = pdpb::WatchGlobalConfigRequest { config_path: "/global/config/a".into(), revision: 0 };
    let mut watch = world.watch(methods::pd::WATCH_GLOBAL_CONFIG, &watch).expect("opens");
    let store = |world: &mut World, path: &str, deletes: bool| {
        let kind = if deletes { pdpb::EventType::Delete } else { pdpb::EventType::Put };
        let item = pdpb::GlobalConfigItem {
            name: "x".into(),
            value: "1".into(),
            kind: kind.into(),
            ..Default::default()
        };
        let request = pdpb::StoreGlobalConfigRequest { changes: vec![item], config_path: path.into() };
        world.ask::<pdpb::StoreGlobalConfigResponse>(methods::pd::STORE_GLOBAL_CONFIG, &request);
    };
    store(&mut world, "/global/config/b", false);
    assert_eq!(world.pd.watched(&mut watch), None, "another path");
    store(&mut world, "/global/config/a", false);
    store(&mut world, "/global/config/a", true);
    let mut told = Vec::new();
    while let Some(answer) = world.pd.watched(&mut watch) {
        let answer = pdpb::WatchGlobalConfigResponse::decode(answer.expect("goes on")).expect("its type");
        told.extend(answer.changes.into_iter().map(|item| (item.name.clone(), item.kind(), item.payload)));
    }
    let name = || "/global/config/a/x".to_owned();
    let one = || Bytes::from("1");
    assert_eq!(told, [(name(), pdpb::EventType::Put, one()), (name(), pdpb::EventType::Delete, one())]);
}
