//! PD's answers through its door, as bytes.

use std::time::Duration;

use super::*;

const CLUSTER: u64 = 77;

struct World {
    pd: Pd,
    topology: Topology,
}

impl World {
    fn new() -> Self {
        let stores: Vec<String> = (1..=3).map(|n| format!("127.0.0.1:{n}")).collect();
        let member =
            |id| Member { id, name: format!("pd-{id}"), client_url: format!("http://127.0.0.1:9{id}") };
        let topology = Topology::new(&stores, 3);
        Self { pd: Pd::new(CLUSTER, vec![member(1), member(2)], 3), topology }
    }

    fn call<A: Message + Default>(&mut self, path: &str, request: &impl Message) -> Result<A, Status> {
        self.call_to(0, false, path, request)
    }

    fn call_to<A: Message + Default>(
        &mut self,
        member: usize,
        follower_may: bool,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        let now = Now::from_unix(Duration::from_secs(1_700_000_000));
        let mut asked = Asked::new(&mut self.topology, member, now);
        asked.follower_may = follower_may;
        let answer = self.pd.call(asked, path, encode(request))?;
        Ok(A::decode(answer).expect("an answer of the method's type"))
    }
}

fn header() -> Option<pdpb::RequestHeader> {
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
    for path in methods::pd::ALL {
        for body in hostile {
            let asked = Asked::new(&mut world.topology, 0, Now::default());
            let status = world.pd.call(asked, path, Bytes::from_static(body)).expect_err(path);
            assert!(matches!(status.code, Code::Internal | Code::Unimplemented), "{path}: {status}");
        }
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
