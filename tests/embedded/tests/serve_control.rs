//! What a test does to a cluster: faults on purpose, servers that come and go, regions that move.

#![cfg(feature = "serve")]

mod support;

use std::time::{Duration, Instant};

use support::*;
use tikv_embedded::Cluster;
use tikv_embedded::control::{Action, Matcher, Node, Refusal, Rule};
use tikv_proto::methods::{pd, tikv};
use tikv_proto::{kvrpcpb, pdpb};

async fn try_put(cluster: &Cluster, key: &str, value: &str) -> Result<kvrpcpb::RawPutResponse, Failure> {
    leader(cluster, key).await.call(tikv::RAW_PUT, &put(cluster, key, value)).await
}

fn on_put(action: Action) -> Rule {
    Rule::new(Matcher::method("RawPut"), action)
}

#[test]
fn a_lost_answer_leaves_the_write_and_a_lost_request_does_not() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let soon = Duration::from_millis(50);
        for (key, action, written) in [("a", Action::DropAnswer, true), ("b", Action::Lose, false)] {
            let fault = cluster.fault(on_put(action));
            let hung = tokio::time::timeout(soon, try_put(&cluster, key, "v")).await;
            assert!(hung.is_err(), "{key}: answered {hung:?}");
            assert_eq!(fault.hits(), 1);
            assert_eq!(read(&cluster, key).await.is_some(), written, "{key}");
        }
        // Both faults were dropped.
        assert_eq!(try_put(&cluster, "b", "v").await, Ok(kvrpcpb::RawPutResponse::default()));
    });
}

#[test]
fn refusals_and_statuses_are_answered_so_many_times() {
    block_on(async {
        let cluster = Cluster::builder().stores(3).start().wait().expect("it starts");
        let refusal = Refusal::NotLeader { leader: Some(3) };
        let _refused = cluster.fault(on_put(Action::Refuse(refusal)).times(1));
        let answer = try_put(&cluster, "k", "v").await.expect("an answer");
        let named = answer.region_error.and_then(|error| error.not_leader).and_then(|error| error.leader);
        assert_eq!(named.map(|peer| peer.store_id), Some(3));
        assert_eq!(read(&cluster, "k").await, None);

        let after = Action::RefuseAfter(Refusal::busy());
        let _executed = cluster.fault(on_put(after).times(1));
        let answer = try_put(&cluster, "k", "v").await.expect("an answer");
        assert!(answer.region_error.is_some_and(|error| error.server_is_busy.is_some()));
        assert_eq!(read(&cluster, "k").await.as_deref(), Some(&b"v"[..]));

        let status = tikv_embedded::model::Status::new(tikv_embedded::model::Code::Unavailable, "gone 100%");
        let _failed = cluster.fault(on_put(Action::Fail(status)).times(1));
        assert_eq!(try_put(&cluster, "k", "w").await, Err(Failure::Status(14, "gone 100%25".into())));
        assert_eq!(try_put(&cluster, "k", "w").await, Ok(kvrpcpb::RawPutResponse::default()));
    });
}

#[test]
fn delays_wait_before_or_after_the_command() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let by = Duration::from_millis(80);
        for action in [Action::Delay(by), Action::DelayAnswer(by)] {
            let before = matches!(action, Action::Delay(_));
            let key = if before { "late" } else { "early" };
            let fault = cluster.fault(on_put(action));
            let begin = Instant::now();
            let (answer, during) = tokio::join!(try_put(&cluster, key, "v"), async {
                fault.hit(1).await;
                read(&cluster, key).await
            });
            assert_eq!(answer, Ok(kvrpcpb::RawPutResponse::default()));
            assert!(begin.elapsed() >= by, "{:?}", begin.elapsed());
            assert_eq!(during.is_none(), before, "{key}");
        }
    });
}

#[test]
fn a_held_call_goes_on_when_its_fault_is_dropped() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let fault = cluster.fault(on_put(Action::Hold));
        let (answer, ()) = tokio::join!(try_put(&cluster, "k", "v"), async {
            fault.hit(1).await;
            assert_eq!(read(&cluster, "k").await, None);
            drop(fault);
        });
        assert_eq!(answer, Ok(kvrpcpb::RawPutResponse::default()));
        assert!(read(&cluster, "k").await.is_some());
    });
}

#[test]
fn a_thread_can_wait_for_a_fault() {
    let cluster = Cluster::builder().start().wait().expect("it starts");
    let count = cluster.count(Matcher::method("GetMembers").at(Node::Pd(0)));
    assert!(!count.wait(1, Duration::from_millis(20)), "nothing has come");
    let calls = || {
        block_on(async {
            let pd = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
            pd_header(&pd).await;
            pd_header(&pd).await;
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(calls);
        assert!(count.wait(2, Duration::from_secs(10)));
    });
}

#[test]
fn a_stopped_store_refuses_dials_and_comes_back_with_its_data() {
    block_on(async {
        let cluster = Cluster::builder().stores(2).start().wait().expect("it starts");
        try_put(&cluster, "k", "v").await.expect("an answer");
        let client = leader(&cluster, "k").await;
        let address = cluster.address(Node::Store(1));
        cluster.stop_store(1).expect("such a store");
        let refused = Client::dial(&cluster, Node::Store(1)).await;
        assert!(refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused));
        let broken: Result<kvrpcpb::RawGetResponse, _> =
            client.call(tikv::RAW_GET, &get(&cluster, "k")).await;
        assert_eq!(broken, Err(Failure::Broken));

        cluster.fail_over(1);
        assert_eq!(cluster.leader_of(cluster.region_of("k").expect("covered")), Some(2));
        assert_eq!(read(&cluster, "k").await.as_deref(), Some(&b"v"[..]), "the other store serves it");
        cluster.restart_store(1).expect("such a store");
        assert_eq!(cluster.address(Node::Store(1)), address);
        Client::dial(&cluster, Node::Store(1)).await.expect("it listens again");
    });
}

#[test]
fn a_moved_store_is_found_through_pd() {
    block_on(async {
        let cluster = Cluster::builder().stores(2).start().wait().expect("it starts");
        let old = cluster.address(Node::Store(1)).expect("a store");
        let new = cluster.move_store(1).expect("such a store");
        assert_ne!(old, new);
        assert!(Client::dial_at(&old.to_string()).await.is_err());
        let member = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let ask = pdpb::GetStoreRequest { header: pd_header(&member).await, store_id: 1 };
        let told: pdpb::GetStoreResponse = member.call(pd::GET_STORE, &ask).await.expect("an answer");
        assert_eq!(told.store.map(|store| store.address), Some(new.to_string()));

        // After a swap the store at the old address is another one, and says so.
        cluster.swap_stores(1, 2).expect("such stores");
        let other = Client::dial_at(&new.to_string()).await.expect("it listens");
        let request = put(&cluster, "k", "v");
        let answer: kvrpcpb::RawPutResponse = other.call(tikv::RAW_PUT, &request).await.expect("an answer");
        let mismatch = answer.region_error.and_then(|error| error.store_not_match).expect("another store");
        assert_eq!((mismatch.request_store_id, mismatch.actual_store_id), (1, 2));
        assert_eq!(try_put(&cluster, "k", "v").await, Ok(kvrpcpb::RawPutResponse::default()));
    });
}

#[test]
fn pd_leadership_moves_and_members_go() {
    block_on(async {
        let cluster = Cluster::builder().pd_members(3).start().wait().expect("it starts");
        assert_eq!(cluster.pd_addresses().len(), 3);
        let first = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let third = Client::dial(&cluster, Node::Pd(2)).await.expect("it listens");
        let header = pd_header(&first).await;
        let ask = pdpb::GetMinTsRequest { header: header.clone() };
        let answer: Result<pdpb::GetMinTsResponse, _> = third.call(pd::GET_MIN_TS, &ask).await;
        assert_eq!(answer, Err(Failure::Status(14, "not leader".into())));
        let forwarded = [("pd-forwarded-host", format!("http://{}", cluster.pd_addresses()[0]))];
        let forwarded = forwarded.each_ref().map(|(name, value)| (*name, value.as_str()));
        let body = prost::Message::encode_to_vec(&ask);
        third.bytes(pd::GET_MIN_TS, &forwarded, &body).await.expect("the leader's answer");

        cluster.set_pd_leader(Some(2));
        cluster.stop_server(Node::Pd(0)).expect("such a member");
        let told: pdpb::GetMembersResponse =
            third.call(pd::GET_MEMBERS, &pdpb::GetMembersRequest::default()).await.expect("an answer");
        let url = format!("http://{}", cluster.pd_addresses()[2]);
        assert_eq!(told.leader.map(|leader| leader.client_urls), Some(vec![url]));
        third.call::<pdpb::GetMinTsResponse>(pd::GET_MIN_TS, &ask).await.expect("leads now");

        let second = Client::dial(&cluster, Node::Pd(1)).await.expect("it listens");
        let ask = pdpb::GetRegionRequest { header, ..Default::default() };
        let body = prost::Message::encode_to_vec(&ask);
        let permitted = second.bytes(pd::GET_REGION, &[("pd-allow-follower-handle", "")], &body).await;
        permitted.expect("a follower's answer");
    });
}

#[test]
fn a_split_is_met_by_the_old_epoch() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let old = put(&cluster, "k", "v");
        let parts = cluster.split("g").expect("inside");
        assert_eq!(parts.len(), 2);
        let answer: kvrpcpb::RawPutResponse =
            leader(&cluster, "k").await.call(tikv::RAW_PUT, &old).await.expect("an answer");
        let told = answer.region_error.and_then(|error| error.epoch_not_match).expect("the epoch is old");
        let ids: Vec<u64> = told.current_regions.iter().map(|region| region.id).collect();
        assert_eq!(ids, [parts[1], parts[0]], "the region itself, then its new left neighbour");
    });
}

#[test]
fn forwarded_calls_reach_the_store_that_is_named() {
    block_on(async {
        let cluster = Cluster::builder().stores(2).start().wait().expect("it starts");
        let proxy = Client::dial(&cluster, Node::Store(2)).await.expect("it listens");
        let body = prost::Message::encode_to_vec(&put(&cluster, "k", "v"));
        let target = cluster.address(Node::Store(1)).expect("a store").to_string();
        let host = [("tikv-forwarded-host", target.as_str())];
        assert_eq!(proxy.bytes(tikv::RAW_PUT, &host, &body).await.as_deref(), Ok(&b""[..]));
        let nowhere = proxy.bytes(tikv::RAW_PUT, &[("tikv-forwarded-host", "127.0.0.1:1")], &body).await;
        assert!(matches!(nowhere, Err(Failure::Status(14, _))), "{nowhere:?}");
    });
}

#[test]
fn timestamps_survive_a_clock_that_goes_back() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let member = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let ask = pdpb::TsoRequest { header: pd_header(&member).await, count: 2, ..Default::default() };
        let mut tso = member.open(pd::TSO).await.expect("open");
        let mut last = (0, 0);
        for step in 0..4 {
            if step == 1 {
                cluster.advance_clock(Duration::from_secs(100));
            } else if step == 2 {
                cluster.set_clock_back(Duration::from_secs(200));
            }
            tso.send(&ask).expect("open");
            let answer: pdpb::TsoResponse = tso.message().await.expect("open").expect("an answer");
            let ts = answer.timestamp.map(|ts| (ts.physical, ts.logical)).expect("a timestamp");
            assert!(ts > last, "{ts:?} after {last:?}");
            last = ts;
        }
    });
}
