//! PD through gRPC and HTTP: streams that watch, bodies of requests, and what a test does to stores and members.

#![cfg(feature = "serve")]

mod support;

use std::time::Duration;

use support::*;
use tikv_embedded::Cluster;
use tikv_embedded::control::{Action, Matcher, Node, Rule};
use tikv_embedded::model::{Code, PeerRole, Status, StoreState};
use tikv_proto::methods::{keyspace, meta_storage, pd, resource_manager as rm};
use tikv_proto::{keyspacepb, meta_storagepb, pdpb, resource_manager};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One HTTP request; the status line and the body of its answer.
async fn http(cluster: &Cluster, request: &str, body: &str) -> (String, String) {
    let address = cluster.address(Node::Pd(0)).expect("a member");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.lines().next().unwrap_or_default().to_owned(), body.trim_end().to_owned())
}

async fn watch(client: &Client, path: &str, request: &impl prost::Message) -> Stream {
    let mut stream = client.open(path).await.expect("opens");
    stream.send(request).expect("sent");
    stream.close().expect("sent");
    stream
}

#[test]
fn a_keyspace_created_over_http_is_told_to_who_watches() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let client = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let request = keyspacepb::WatchKeyspacesRequest { header: pd_header(&client).await };
        let mut stream = watch(&client, keyspace::WATCH_KEYSPACES, &request).await;
        let mut seen = Vec::new();
        let all: keyspacepb::WatchKeyspacesResponse =
            stream.message().await.expect("goes on").expect("what is there");
        seen.extend(all.keyspaces.into_iter().map(|meta| (meta.name.clone(), meta.state())));
        let (line, _) = http(&cluster, "POST /pd/api/v2/keyspaces", r#"{"name":"ks"}"#).await;
        assert_eq!(line, "HTTP/1.1 200 OK");
        while seen.len() < 3 {
            let told: keyspacepb::WatchKeyspacesResponse =
                stream.message().await.expect("goes on").expect("a message");
            seen.extend(told.keyspaces.into_iter().map(|meta| (meta.name.clone(), meta.state())));
        }
        use keyspacepb::KeyspaceState::{Disabled, Enabled};
        let expected = [("DEFAULT", Enabled), ("ks", Disabled), ("ks", Enabled)];
        assert_eq!(seen, expected.map(|(name, state)| (name.to_owned(), state)));
        let (line, body) = http(&cluster, "POST /pd/api/v2/keyspaces", "{nope").await;
        assert_eq!(line, "HTTP/1.1 400 Bad Request");
        assert!(body.contains("looking for beginning of object key string"), "{body}");
        let (line, _) =
            http(&cluster, "PATCH /pd/api/v2/keyspaces/ks/config", r#"{"preconditions":{"a":"1"}}"#).await;
        assert_eq!(line, "HTTP/1.1 409 Conflict");
    });
}

#[test]
fn what_only_time_changes_is_told_to_who_watches_too() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let client = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let request =
            meta_storagepb::WatchRequest { key: "k".into(), start_revision: 1, ..Default::default() };
        let mut stream = watch(&client, meta_storage::WATCH, &request).await;
        // LeaseGrant of one second, then a key that lives as long as it.
        let granted = client.bytes("/etcdserverpb.Lease/LeaseGrant", &[], &[0x08, 1]).await.expect("granted");
        assert!(!granted.is_empty());
        let put = meta_storagepb::PutRequest { key: "k".into(), lease: 1, ..Default::default() };
        client.call::<meta_storagepb::PutResponse>(meta_storage::PUT, &put).await.expect("written");
        cluster.advance_clock(Duration::from_secs(2));
        let mut kinds = Vec::new();
        while kinds.len() < 2 {
            let told: meta_storagepb::WatchResponse =
                stream.message().await.expect("goes on").expect("a message");
            kinds.extend(told.events.into_iter().map(|event| event.r#type()));
        }
        use meta_storagepb::event::EventType::{Delete, Put};
        assert_eq!(kinds, [Put, Delete]);
    });
}

#[test]
fn a_watch_meets_the_faults_of_its_method_and_ends_with_its_client() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let client = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let request = meta_storagepb::WatchRequest { key: "k".into(), ..Default::default() };
        let failed = Action::Fail(Status::new(Code::Unavailable, "not now"));
        let fault = cluster.fault(Rule::new(Matcher::method("Watch"), failed).times(1));
        let refused = watch(&client, meta_storage::WATCH, &request).await.next().await;
        assert_eq!(refused, Err(Failure::Status(14, "not now".into())));
        assert_eq!(fault.hits(), 1);
        for _ in 0..100 {
            drop(watch(&client, meta_storage::WATCH, &request).await);
        }
        let mut stream = watch(&client, meta_storage::WATCH, &request).await;
        let put = meta_storagepb::PutRequest { key: "k".into(), ..Default::default() };
        // The stream may be opened behind the write, as the two go side by side.
        loop {
            client.call::<meta_storagepb::PutResponse>(meta_storage::PUT, &put).await.expect("written");
            let told = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
            if let Ok(told) = told {
                assert!(told.expect("goes on").is_some());
                break;
            }
        }
    });
}

#[test]
fn tokens_are_answered_item_by_item() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        cluster.set_resource_group("g", 1_000, 0).expect("fine settings");
        let client = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let mut stream = client.open(rm::ACQUIRE_TOKEN_BUCKETS).await.expect("opens");
        for _ in 0..3 {
            let request = resource_manager::TokenBucketRequest {
                resource_group_name: "g".into(),
                ..Default::default()
            };
            let request =
                resource_manager::TokenBucketsRequest { requests: vec![request], ..Default::default() };
            stream.send(&request).expect("sent");
            let answer: resource_manager::TokenBucketsResponse =
                stream.message().await.expect("goes on").expect("an answer");
            assert_eq!(answer.responses[0].resource_group_name, "g");
        }
        stream.close().expect("sent");
        assert_eq!(stream.next().await, Ok(None));
    });
}

#[test]
fn a_new_store_serves_the_regions_that_move_to_it_and_the_emptied_one_is_buried() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let new = cluster.add_store([("zone", "z2")]).expect("added");
        let region = cluster.region_of_raw("k").expect("covered");
        let store = Client::dial(&cluster, Node::Store(1)).await.expect("it listens");
        let written = put(&cluster, "k", "v");
        let path = tikv_proto::methods::tikv::RAW_PUT;
        store.call::<tikv_proto::kvrpcpb::RawPutResponse>(path, &written).await.expect("written");

        cluster.remove_store(1).expect("there");
        let state = |id| cluster.cluster(|cluster, _| cluster.topology.store(id).map(|store| store.state));
        assert_eq!(state(1), Some(StoreState::Offline));
        cluster.move_peer(region, 1, new).expect("moves");
        assert_eq!((cluster.leader_of(region), state(1)), (Some(new), Some(StoreState::Tombstone)));
        assert_eq!(read(&cluster, "k").await.as_deref(), Some(&b"v"[..]), "from the new store");

        let pd_client = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let all =
            pdpb::GetAllStoresRequest { header: pd_header(&pd_client).await, exclude_tombstone_stores: true };
        let told: pdpb::GetAllStoresResponse = pd_client.call(pd::GET_ALL_STORES, &all).await.expect("told");
        let told: Vec<_> =
            told.stores.iter().map(|store| (store.id, store.labels[0].value.as_str())).collect();
        assert_eq!(told, [(new, "z2")]);
    });
}

#[test]
fn peers_come_go_and_change_their_role() {
    let cluster = Cluster::builder().stores(4).start().wait().expect("it starts");
    let region = cluster.region_of_raw("k").expect("covered");
    let conf_ver = || cluster.cluster(|cluster, _| cluster.topology.region(region).map(|at| at.conf_ver));
    let before = conf_ver().unwrap_or(0);
    cluster.add_peer(region, 4, PeerRole::Learner).expect("added");
    assert!(cluster.transfer_leader(region, 4).is_err(), "a learner cannot lead");
    cluster.set_peer_role(region, 4, PeerRole::Witness).expect("changed");
    cluster.set_peer_role(region, 4, PeerRole::Voter).expect("changed");
    cluster.transfer_leader(region, 4).expect("a voter can");
    assert!(cluster.set_peer_role(region, 4, PeerRole::Learner).is_err(), "it leads");
    cluster.remove_peer(region, 1).expect("removed");
    assert_eq!(conf_ver(), Some(before + 4));
    let parts = cluster.split_raw("m").expect("splits");
    cluster.merge(parts[0], parts[1]).expect("neighbours");
    assert_eq!(cluster.region_of_raw("k"), cluster.region_of_raw("z"));
}

#[test]
fn stopped_leaders_are_followed_when_elections_are_wanted() {
    block_on(async {
        let cluster = Cluster::builder().stores(3).pd_members(3).start().wait().expect("it starts");
        let soon = Duration::from_millis(20);
        cluster.set_elections(soon, soon);
        let region = cluster.region_of_raw("k").expect("covered");
        let led_by = cluster.leader_of(region).expect("a leader");
        cluster.stop_server(Node::Store(led_by)).expect("stops");
        cluster.stop_server(Node::Pd(0)).expect("stops");
        // Real time: nobody does anything to the cluster meanwhile but look.
        while cluster.leader_of(region) == Some(led_by)
            || cluster.cluster(|cluster, _| cluster.pd.leader()) != Some(1)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let client = Client::dial(&cluster, Node::Pd(1)).await.expect("it listens");
        let request = pdpb::GetMinTsRequest { header: pd_header(&client).await };
        client.call::<pdpb::GetMinTsResponse>(pd::GET_MIN_TS, &request).await.expect("it leads");
        cluster.restart_server(Node::Store(led_by)).expect("starts");
        let silent = cluster.cluster(|cluster, _| cluster.pd.silent_since(led_by));
        assert_eq!(silent, None);
    });
}

#[test]
fn faults_of_pd_are_errors_in_the_header_failing_pages_and_odd_timestamps() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let client = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let header = pd_header(&client).await;
        let kind = pdpb::ErrorType::NotBootstrapped;
        let rule = Rule::new(Matcher::method("GetRegion"), Action::PdError(kind, "not yet".into()));
        let fault = cluster.fault(rule);
        let request = pdpb::GetRegionRequest { header: header.clone(), ..Default::default() };
        let told: pdpb::GetRegionResponse = client.call(pd::GET_REGION, &request).await.expect("an answer");
        let error = told.header.and_then(|header| header.error).expect("an error");
        assert_eq!((error.r#type(), error.message.as_str(), told.region), (kind, "not yet", None));
        drop(fault);
        let told: pdpb::GetRegionResponse = client.call(pd::GET_REGION, &request).await.expect("an answer");
        assert!(told.region.is_some());

        cluster.fail_http(Some(503));
        assert!(http(&cluster, "GET /pd/api/v1/min-resolved-ts", "").await.0.starts_with("HTTP/1.1 503"));
        cluster.fail_http(None);
        assert_eq!(http(&cluster, "GET /pd/api/v1/min-resolved-ts", "").await.0, "HTTP/1.1 200 OK");

        let physical = async || {
            let request = pdpb::GetMinTsRequest { header: header.clone() };
            let told: pdpb::GetMinTsResponse = client.call(pd::GET_MIN_TS, &request).await.expect("told");
            told.timestamp.map_or(0, |ts| ts.physical)
        };
        let first = physical().await;
        cluster.freeze_timestamps(true);
        cluster.advance_clock(Duration::from_secs(100));
        assert_eq!(physical().await, first);
        cluster.freeze_timestamps(false);
        assert!(physical().await >= first + 100_000);
        cluster.jump_timestamps(Duration::from_secs(1_000));
        assert!(physical().await >= first + 1_100_000);
    });
}
