use super::*;
use crate::codec::KeyspaceId;
use crate::machine::Interrupt;
use crate::pd::{KeyspaceInfo, StoreInfo, StoreState};
use crate::types::{KeyRange, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, StoreId};
use proptest::prelude::*;
use tikv_proto::keyspacepb;
use tikv_proto::keyspacepb::keyspace_meta::Keyspace;

fn wire_region() -> metapb::Region {
    metapb::Region {
        id: 4,
        start_key: Bytes::from_static(b"a"),
        end_key: Bytes::from_static(b"z"),
        region_epoch: Some(metapb::RegionEpoch { conf_ver: 2, version: 3 }),
        peers: vec![
            wire_peer(41, 1),
            metapb::Peer { role: 1, ..wire_peer(42, 2) },
            metapb::Peer { is_witness: true, ..wire_peer(43, 3) },
            metapb::Peer { role: 2, ..wire_peer(44, 4) },
            metapb::Peer { role: 3, ..wire_peer(45, 5) },
            metapb::Peer { role: 9, ..wire_peer(46, 6) },
            wire_peer(47, 7),
        ],
        ..Default::default()
    }
}

fn region() -> RegionInfo {
    let peer = |id, store, role| Peer { id: PeerId(id), store: StoreId(store), role };
    RegionInfo {
        version: RegionVersion { id: RegionId(4), version: 3, conf_ver: 2 },
        range: KeyRange::new("a", "z"),
        peers: vec![
            peer(41, 1, PeerRole::Voter),
            peer(42, 2, PeerRole::Learner),
            peer(43, 3, PeerRole::Witness),
            peer(44, 4, PeerRole::Voter),
            peer(45, 5, PeerRole::Voter),
            peer(46, 6, PeerRole::Learner),
        ],
        leader: Some(PeerId(41)),
    }
}

fn down() -> Vec<pdpb::PeerStats> {
    vec![pdpb::PeerStats { peer: Some(wire_peer(47, 7)), down_seconds: 60 }]
}

#[test]
fn each_query_has_its_method_and_message_with_the_cluster_in_its_header() {
    let queries = [
        key(),
        PdQuery::PreviousRegion { key: Bytes::from_static(b"k") },
        PdQuery::RegionById(RegionId(4)),
        PdQuery::Regions { start: Bytes::from_static(b"a"), end: Bytes::new(), limit: u32::MAX },
        PdQuery::Store(StoreId(5)),
        PdQuery::Keyspace { name: "mine".into() },
    ];
    let mut pd = led();
    let sent: Vec<_> = queries
        .into_iter()
        .map(|query| {
            ask(&mut pd, 1, query, 9);
            let (_, to, path, body) = call(&mut pd);
            assert_eq!(to, "a:1");
            (path, body)
        })
        .collect();
    for (path, body) in &sent {
        // The header is the first field of each of them.
        let request = pdpb::GetMembersRequest::decode(body.clone()).unwrap();
        let header = request.header.unwrap();
        assert_eq!((header.cluster_id, header.caller_id.as_str()), (CLUSTER, "tikv-client-rust"), "{path}");
    }
    let paths: Vec<_> = sent.iter().map(|(path, _)| *path).collect();
    let all = [
        methods::GET_REGION,
        methods::GET_PREV_REGION,
        methods::GET_REGION_BY_ID,
        methods::BATCH_SCAN_REGIONS,
        methods::GET_STORE,
        tikv_proto::methods::keyspace::LOAD_KEYSPACE,
    ];
    assert_eq!(paths, all);
    assert_eq!(keyspacepb::LoadKeyspaceRequest::decode(sent[5].1.clone()).unwrap().name, "mine");
    assert_eq!(pdpb::GetRegionRequest::decode(sent[1].1.clone()).unwrap().region_key, "k");
    assert_eq!(pdpb::GetRegionByIdRequest::decode(sent[2].1.clone()).unwrap().region_id, 4);
    let scan = pdpb::BatchScanRegionsRequest::decode(sent[3].1.clone()).unwrap();
    assert_eq!((scan.limit, scan.ranges.len(), scan.ranges[0].start_key.as_ref()), (i32::MAX, 1, &b"a"[..]));
    assert_eq!(pdpb::GetStoreRequest::decode(sent[4].1.clone()).unwrap().store_id, 5);
    pd.expect_nothing();
}

#[test]
fn a_region_comes_with_roles_and_leader_and_without_down_peers() {
    let mut pd = led();
    ask(&mut pd, 1, key(), 9);
    let ticket = asked_region(&mut pd, "a:1");
    let answer = pdpb::GetRegionResponse {
        header: header(),
        region: Some(wire_region()),
        leader: Some(wire_peer(41, 1)),
        down_peers: down(),
        pending_peers: vec![wire_peer(44, 4)],
        ..Default::default()
    };
    say(&mut pd, ticket, &answer);
    let reply = Completion::Answer(Answer::Pd(PdReply::Region(Some(region()))));
    assert_eq!(pd.answered(), Some((1, reply)));
    pd.expect_nothing();
}

#[test]
fn a_leader_that_is_down_or_of_id_0_is_none() {
    let mut pd = led();
    for id in [47, 0] {
        ask(&mut pd, 1, key(), 9);
        let ticket = asked_region(&mut pd, "a:1");
        let (region, leader) = (Some(wire_region()), Some(wire_peer(id, 7)));
        let answer = pdpb::GetRegionResponse {
            header: header(),
            region,
            leader,
            down_peers: down(),
            ..Default::default()
        };
        say(&mut pd, ticket, &answer);
        let Some((1, Completion::Answer(Answer::Pd(PdReply::Region(Some(info)))))) = pd.answered() else {
            panic!("no region")
        };
        assert_eq!(info.leader, None);
    }
}

#[test]
fn a_missing_region_is_none_however_it_is_said() {
    let mut pd = led();
    let missing = error_header(pdpb::ErrorType::RegionNotFound, "region 4 not found");
    for header in [header(), missing] {
        ask(&mut pd, 1, PdQuery::RegionById(RegionId(4)), 9);
        let (ticket, ..) = call(&mut pd);
        say(&mut pd, ticket, &pdpb::GetRegionResponse { header, ..Default::default() });
        assert_eq!(pd.answered(), Some((1, region_none())));
    }
    pd.expect_nothing();
}

#[test]
fn old_pd_is_asked_by_scan_regions_from_then_on() {
    let mut pd = led();
    let query = PdQuery::Regions { start: Bytes::from_static(b"a"), end: Bytes::new(), limit: 2 };
    ask(&mut pd, 1, query.clone(), 9);
    let (ticket, ..) = call(&mut pd);
    fail(&mut pd, ticket, TransportClass::Rejected(12), "unknown method BatchScanRegions");
    query_armed(&mut pd);
    query_disarmed(&mut pd);
    let (ticket, _, path, body) = call(&mut pd);
    assert_eq!(path, methods::SCAN_REGIONS);
    let request = pdpb::ScanRegionsRequest::decode(body).unwrap();
    assert_eq!((request.start_key.as_ref(), request.limit), (&b"a"[..], 2));
    let of = pdpb::Region {
        region: Some(wire_region()),
        leader: Some(wire_peer(41, 1)),
        down_peers: down(),
        ..Default::default()
    };
    let regions = vec![of, pdpb::Region::default()];
    say(&mut pd, ticket, &pdpb::ScanRegionsResponse { header: header(), regions, ..Default::default() });
    // A region without its description is left out: a hole, which the loader sees.
    assert_eq!(pd.answered(), Some((1, Completion::Answer(Answer::Pd(PdReply::Regions(vec![region()]))))));
    ask(&mut pd, 2, query, 9);
    assert_eq!(call(&mut pd).2, methods::SCAN_REGIONS);
    pd.expect_nothing();
}

#[test]
fn a_store_is_there_offline_removed_or_unknown() {
    let mut pd = led();
    let store = |state, node_state| pdpb::GetStoreResponse {
        header: header(),
        store: Some(metapb::Store {
            id: 5,
            address: "tikv-5:20160".into(),
            peer_address: "".into(),
            state,
            node_state,
            labels: vec![metapb::StoreLabel { key: "zone".into(), value: "z1".into() }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let unknown = error_header(pdpb::ErrorType::Unknown, "invalid store ID 5, not found");
    let removed = error_header(pdpb::ErrorType::StoreTombstone, "store is tombstone");
    let table = [
        (store(0, 1), Some(StoreState::Up)),
        (store(0, 0), Some(StoreState::Up)),
        (store(1, 2), Some(StoreState::Offline)),
        (store(2, 3), Some(StoreState::Tombstone)),
        (store(0, 3), Some(StoreState::Tombstone)),
        (pdpb::GetStoreResponse { header: unknown, ..Default::default() }, None),
        (pdpb::GetStoreResponse { header: removed, ..Default::default() }, None),
    ];
    for (answer, state) in table {
        ask(&mut pd, 1, PdQuery::Store(StoreId(5)), 9);
        let (ticket, ..) = call(&mut pd);
        say(&mut pd, ticket, &answer);
        let wanted = state.map(|state| StoreInfo {
            id: StoreId(5),
            address: "tikv-5:20160".into(),
            peer_address: "".into(),
            state,
            labels: vec![("zone".into(), "z1".into())],
        });
        assert_eq!(pd.answered(), Some((1, Completion::Answer(Answer::Pd(PdReply::Store(wanted))))));
    }
    pd.expect_nothing();
}

#[test]
fn another_store_than_the_one_asked_for_is_corrupt() {
    let mut pd = led();
    ask(&mut pd, 1, PdQuery::Store(StoreId(6)), 9);
    let store = Some(metapb::Store { id: 5, ..Default::default() });
    let answer = pdpb::GetStoreResponse { header: header(), store, ..Default::default() };
    let (ticket, ..) = call(&mut pd);
    assert!(refuse_all_tries(&mut pd, ticket, &answer).to_string().contains("asked for store 6"));
}

/// Answers a query the same at each try; how it ends.
fn refuse_all_tries(pd: &mut Pd, mut ticket: TicketId, answer: &impl Message) -> ServiceError {
    for _ in 1..5 {
        say(pd, ticket, answer);
        let (timer, at) = query_armed(pd);
        pd.expect_nothing();
        assert!(at > pd.now && at < pd.now + Duration::from_millis(200));
        pd.now = at;
        pd.input(Input::Timer(timer));
        query_armed(pd);
        query_disarmed(pd);
        ticket = call(pd).0;
    }
    say(pd, ticket, answer);
    let (_, error) = refused(pd);
    pd.expect_nothing();
    error
}

#[test]
fn what_pd_refuses_five_times_is_refused_with_its_words() {
    let mut pd = led();
    ask(&mut pd, 1, key(), 9);
    let ticket = asked_region(&mut pd, "a:1");
    let header = error_header(pdpb::ErrorType::Unknown, "boom");
    let answer = pdpb::GetRegionResponse { header, ..Default::default() };
    insta::assert_snapshot!(refuse_all_tries(&mut pd, ticket, &answer), @"PD at a:1: UNKNOWN: boom");
}

#[test]
fn a_cluster_that_is_not_there_yet_is_asked_until_the_deadline() {
    let mut pd = led();
    let deadline = pd.now + Duration::from_secs(9);
    ask(&mut pd, 1, key(), 9);
    let header = error_header(pdpb::ErrorType::NotBootstrapped, "cluster is not bootstrapped");
    let answer = pdpb::GetRegionResponse { header, ..Default::default() };
    let mut tries = 0;
    while pd.now < deadline {
        let ticket = asked_region(&mut pd, "a:1");
        tries += 1;
        say(&mut pd, ticket, &answer);
        let (timer, at) = query_armed(&mut pd);
        pd.now = at;
        pd.input(Input::Timer(timer));
        if at < deadline {
            query_armed(&mut pd);
            query_disarmed(&mut pd);
        }
    }
    assert!((9..30).contains(&tries), "{tries}");
    let (_, error) = refused(&mut pd);
    insta::assert_snapshot!(error, @"PD at a:1: NOT_BOOTSTRAPPED: cluster is not bootstrapped");
    pd.expect_nothing();
}

#[test]
fn a_query_moves_to_the_new_leader_without_a_pause() {
    for (class, text) in [
        (TransportClass::Rejected(14), "not leader"),
        (TransportClass::Unreachable, "refused"),
        (TransportClass::TimedOut, ""),
    ] {
        let mut pd = led();
        pd.now = Instant(1_000_000_000);
        ask(&mut pd, 1, key(), 9);
        let ticket = asked_region(&mut pd, "a:1");
        fail(&mut pd, ticket, class, text);
        query_armed(&mut pd);
        let b = asked_members(&mut pd, "b:1");
        // Who comes now waits for the answer, too.
        ask(&mut pd, 2, key(), 9);
        query_armed(&mut pd);
        pd.expect_nothing();
        say(&mut pd, b, &members("b:1"));
        armed(&mut pd, PdTimer::Members);
        let calls = [1, 2].map(|_| {
            query_disarmed(&mut pd);
            asked_region(&mut pd, "b:1")
        });
        for (n, ticket) in (1..).zip(calls) {
            say(&mut pd, ticket, &no_region());
            assert_eq!(pd.answered(), Some((n, region_none())));
        }
        pd.expect_nothing();
    }
}

#[test]
fn an_answer_of_another_cluster_is_no_answer() {
    let mut pd = led();
    pd.now = Instant(1_000_000_000);
    ask(&mut pd, 1, key(), 9);
    let ticket = asked_region(&mut pd, "a:1");
    let header = Some(pdpb::ResponseHeader { cluster_id: 8, error: None });
    say(
        &mut pd,
        ticket,
        &pdpb::GetRegionResponse { header, region: Some(wire_region()), ..Default::default() },
    );
    query_armed(&mut pd);
    asked_members(&mut pd, "b:1");
    pd.expect_nothing();
}

#[test]
fn the_deadline_interrupts_what_had_no_failure_and_names_the_failure_of_what_had() {
    let mut pd = led();
    let start = pd.now;
    ask(&mut pd, 1, key(), 2);
    let ticket = asked_region(&mut pd, "a:1");
    pd.now = start + Duration::from_secs(2);
    fail(&mut pd, ticket, TransportClass::TimedOut, "a:1");
    // Two seconds of silence are enough to look whether it still leads.
    let b = asked_members(&mut pd, "b:1");
    assert_eq!(pd.answered(), Some((1, Completion::Fault(Fault::Interrupted(Interrupt::Deadline)))));
    say(&mut pd, b, &members("b:1"));
    armed(&mut pd, PdTimer::Members);

    pd.now = pd.now + Duration::from_secs(1);
    ask(&mut pd, 2, key(), 2);
    let ticket = asked_region(&mut pd, "b:1");
    fail(&mut pd, ticket, TransportClass::Lost, "reset");
    let (timer, at) = query_armed(&mut pd);
    assert_eq!(at, pd.now + Duration::from_secs(2));
    asked_members(&mut pd, "a:1");
    pd.now = at;
    pd.input(Input::Timer(timer));
    let (n, error) = refused(&mut pd);
    assert_eq!(n, 2);
    insta::assert_snapshot!(error, @"no PD answers at a:1, b:1, c:1: connection lost behind the request: reset");
    pd.expect_nothing();
}

#[test]
fn a_short_deadline_makes_nobody_doubt_the_leader() {
    let mut pd = led();
    let deadline = pd.now + Duration::from_millis(5);
    let asker = pd.asker(2);
    pd.command(PdCommand::Query { query: key(), asker, deadline });
    let ticket = asked_region(&mut pd, "a:1");
    pd.now = deadline;
    fail(&mut pd, ticket, TransportClass::TimedOut, "a:1");
    assert_eq!(pd.answered(), Some((2, Completion::Fault(Fault::Interrupted(Interrupt::Deadline)))));
    pd.expect_nothing();
}

#[test]
fn withdrawing_leaves_nothing_behind() {
    let mut pd = three();
    let asker = pd.asker(0);
    pd.command(PdCommand::Connect { asker });
    ask(&mut pd, 1, key(), 9);
    for n in [0, 1] {
        let who = pd.withdrawn(n);
        pd.command(PdCommand::Withdraw(who));
    }
    assert_eq!(pd.service.left(), 0);
    assert!(pd.answered().is_none());

    let mut pd = led();
    ask(&mut pd, 1, key(), 9);
    let ticket = asked_region(&mut pd, "a:1");
    let who = pd.withdrawn(1);
    pd.command(PdCommand::Withdraw(who));
    say(&mut pd, ticket, &no_region());
    pd.expect_nothing();
    assert_eq!(pd.service.left(), 0);
}

#[test]
fn calls_under_way_are_bounded_and_too_many_queries_are_refused() {
    let mut config =
        PdConfig::new(parse_endpoints(&["a:1"]).unwrap(), Duration::from_secs(1), Duration::from_secs(1));
    config.at_work = 1;
    config.most = 2;
    let mut pd = ServiceScript::given(PdService::new(config));
    ask(&mut pd, 1, key(), 9);
    let ticket = asked_members(&mut pd, "a:1");
    query_armed(&mut pd);
    ask(&mut pd, 2, key(), 9);
    query_armed(&mut pd);
    ask(&mut pd, 3, key(), 9);
    assert_eq!(pd.answered(), Some((3, Completion::Fault(Fault::Overloaded))));
    say(&mut pd, ticket, &members("a:1"));
    armed(&mut pd, PdTimer::Members);
    query_disarmed(&mut pd);
    let first = asked_region(&mut pd, "a:1");
    pd.expect_nothing();
    say(&mut pd, first, &no_region());
    assert_eq!(pd.answered(), Some((1, region_none())));
    query_disarmed(&mut pd);
    asked_region(&mut pd, "a:1");
    pd.expect_nothing();
}

proptest! {
    /// A cut or changed answer is understood or refused, and understood only as an answer of this cluster.
    #[test]
    fn hostile_bytes_are_an_error_or_an_answer_of_this_cluster(
        at in 0..200_usize, byte: u8, cut in 0..200_usize, kind in 0..3_usize,
    ) {
        let region = pdpb::Region {
            region: Some(wire_region()), leader: Some(wire_peer(41, 1)), down_peers: down(), ..Default::default()
        };
        let (query, mut bytes) = match kind {
            0 => {
                let answer = pdpb::GetRegionResponse {
                    header: header(), region: region.region, leader: region.leader, ..Default::default()
                };
                (key(), answer.encode_to_vec())
            }
            1 => {
                let query = PdQuery::Regions { start: Bytes::new(), end: Bytes::new(), limit: 0 };
                let regions = vec![region.clone(), region];
                (query, pdpb::BatchScanRegionsResponse { header: header(), regions }.encode_to_vec())
            }
            _ => {
                let store = Some(metapb::Store { id: 5, address: "a".into(), ..Default::default() });
                let answer = pdpb::GetStoreResponse { header: header(), store, ..Default::default() };
                (PdQuery::Store(StoreId(5)), answer.encode_to_vec())
            }
        };
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut % bytes.len());
        let body = Bytes::from(bytes);
        let read = crate::pd::wire::decode(&query, false, &"a:1".into(), ClusterId(CLUSTER), body.clone());
        if read.is_ok() {
            let header = pdpb::GetMembersRequest::decode(body).ok().and_then(|request| request.header);
            prop_assert!(header.is_none_or(|header| [CLUSTER, 0].contains(&header.cluster_id)));
        }
    }
}

/// What PD's answer to the question for a keyspace leads to.
fn keyspace(answer: &keyspacepb::LoadKeyspaceResponse) -> Option<KeyspaceInfo> {
    let mut pd = led();
    ask(&mut pd, 1, PdQuery::Keyspace { name: "mine".into() }, 9);
    let (ticket, ..) = call(&mut pd);
    say(&mut pd, ticket, answer);
    match pd.answered() {
        Some((1, Completion::Answer(Answer::Pd(PdReply::Keyspace(info))))) => info,
        other => panic!("{other:?}"),
    }
}

fn loaded(keyspace: Option<Keyspace>, state: keyspacepb::KeyspaceState) -> keyspacepb::LoadKeyspaceResponse {
    let meta =
        keyspacepb::KeyspaceMeta { name: "mine".into(), state: state.into(), keyspace, ..Default::default() };
    keyspacepb::LoadKeyspaceResponse { header: header(), keyspace: Some(meta) }
}

#[test]
fn a_keyspace_is_told_with_its_id_and_one_that_pd_does_not_know_is_none() {
    let info = keyspace(&loaded(Some(Keyspace::Id(7)), keyspacepb::KeyspaceState::Enabled)).unwrap();
    assert_eq!(info.usable(), Ok(KeyspaceId::new(7).unwrap()));
    let error = pdpb::Error { r#type: pdpb::ErrorType::EntryNotFound.into(), message: "gone".into() };
    let header = header().map(|header| pdpb::ResponseHeader { error: Some(error), ..header });
    assert_eq!(keyspace(&keyspacepb::LoadKeyspaceResponse { header, keyspace: None }), None);
}

// client-go: internal/apicodec/codec_v2_test.go: TestNewCodecV2RejectsKeyspaceIdentity, TestNewCodecV2RejectsNilMeta.
#[test]
fn a_keyspace_without_an_id_of_api_v2_is_not_taken_for_the_default_one() {
    let identity = tikv_proto::apipb::KeyspaceIdentity { namespace_id: 1, keyspace_id: 2 };
    for none in [Some(Keyspace::KeyspaceIdentity(identity)), None] {
        let info = keyspace(&loaded(none, keyspacepb::KeyspaceState::Enabled)).unwrap();
        assert_eq!(info.usable().unwrap_err().to_string(), "keyspace \"mine\": it has no id of API v2");
    }
    let info = keyspace(&loaded(Some(Keyspace::Id(1 << 24)), keyspacepb::KeyspaceState::Enabled)).unwrap();
    let text = "keyspace \"mine\": keyspace id 16777216 is out of range, the most is 16777215";
    assert_eq!(info.usable().unwrap_err().to_string(), text);
}

/// client-go looks at the state in one of two ways to load a keyspace, and not in the one that its codec takes.
#[test]
fn fixes_a_keyspace_that_is_not_in_use_is_refused() {
    use keyspacepb::KeyspaceState::{Archived, Disabled, Tombstone};
    let mut lines = Vec::new();
    for state in [Disabled, Archived, Tombstone] {
        let info = keyspace(&loaded(Some(Keyspace::Id(7)), state)).unwrap();
        lines.push(info.usable().unwrap_err().to_string());
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    keyspace "mine": it is DISABLED, not ENABLED
    keyspace "mine": it is ARCHIVED, not ENABLED
    keyspace "mine": it is TOMBSTONE, not ENABLED
    "#);
}
