//! Servers that stop answering under a client: errors with their address, in time.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_embedded::Cluster as Embedded;
use tikv_embedded::control::{Action, Matcher, Node, Rule};
use tikv_embedded::model::{Code, Status};

use crate::fixture::{
    Cluster, a_key_of_each_region, client, client_with, hasty, in_time, told, within, yield_now,
};
use crate::runtimes::{Rt, test_on_each_runtime};

const DEADLINE: Duration = Duration::from_millis(400);

/// A client that knows the regions and has a stream to each store.
async fn warm(rt: &Rt) -> (Cluster, Client) {
    let cluster = rt.raw_cluster();
    let client = client_with(&cluster, hasty(DEADLINE)).await;
    let all = a_key_of_each_region().into_iter().map(|key| (key, "v"));
    client.raw().batch_put(all).deadline(Duration::from_secs(5)).await.unwrap();
    (cluster, client)
}

fn leader(cluster: &Cluster, key: &str) -> (u64, String) {
    let store = cluster.leader_of(cluster.region_of_raw(key).unwrap()).unwrap();
    (store, cluster.address(Node::Store(store)).unwrap().to_string())
}

fn names(error: &Error, address: &str) {
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error:?}");
    assert!(error.is_retryable());
    assert!(told(error).contains(address), "{address} is not named: {}", told(error));
}

#[apply(test_on_each_runtime)]
async fn a_store_that_vanished_is_named_by_every_call_in_time(rt: Rt) {
    let (cluster, client) = warm(&rt).await;
    let raw = client.raw();
    let (store, address) = leader(&cluster, "i1");
    cluster.stop_store(store).unwrap();
    // By its address where it was tried last; where it is known to be gone, by its id.
    let names = |error: &Error| {
        assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error:?}");
        let id = format!("store {store}, which leads, cannot be reached");
        assert!(told(error).contains(&address) || told(error).contains(&id), "{address}: {}", told(error));
    };
    for round in 0..2 {
        names(&within(DEADLINE, raw.get("i1")).await.unwrap_err());
        if round == 0 {
            names(&within(DEADLINE, raw.put("i1", "v")).await.unwrap_err());
            names(&within(DEADLINE, raw.batch_get(["i1", "a1"])).await.unwrap_err());
            names(&within(DEADLINE, raw.batch_put([("i1", "v")])).await.unwrap_err());
            names(&within(DEADLINE, raw.scan("h".., 10)).await.unwrap_err());
            names(&within(DEADLINE, raw.delete_range("h".."z")).await.unwrap_err());
        }
    }
}

#[apply(test_on_each_runtime)]
async fn a_store_whose_address_is_nowhere_is_named_in_time(rt: Rt) {
    let cluster = rt.start(Embedded::builder());
    let client = client_with(&cluster, hasty(DEADLINE)).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = listener.local_addr().unwrap().to_string();
    drop(listener);
    cluster.set_store_address(1, nowhere.clone()).unwrap();
    names(&within(DEADLINE, client.raw().get("key")).await.unwrap_err(), &nowhere);
}

#[apply(test_on_each_runtime)]
async fn a_store_that_takes_calls_and_never_answers_is_named_in_time(rt: Rt) {
    let (cluster, client) = warm(&rt).await;
    let (store, address) = leader(&cluster, "i1");
    let silent = cluster.fault(Rule::new(Matcher::any().at(Node::Store(store)), Action::Lose));
    names(&within(DEADLINE, client.raw().get("i1")).await.unwrap_err(), &address);
    names(&within(DEADLINE, client.raw().scan("h".., 10)).await.unwrap_err(), &address);
    drop(silent);
    assert_eq!(in_time(client.raw().get("i1")).await.unwrap().unwrap(), "v");
}

#[apply(test_on_each_runtime)]
async fn a_store_whose_stream_breaks_at_each_call_is_named_in_time(rt: Rt) {
    let (cluster, client) = warm(&rt).await;
    let (store, address) = leader(&cluster, "i1");
    for action in [Action::Break, Action::BreakAfter] {
        let breaks = cluster.fault(Rule::new(Matcher::method("RawGet").at(Node::Store(store)), action));
        names(&within(DEADLINE, client.raw().get("i1")).await.unwrap_err(), &address);
        assert!((1..50).contains(&breaks.hits()), "{} tries", breaks.hits());
        drop(breaks);
        assert_eq!(
            in_time(client.raw().get("i1").deadline(Duration::from_secs(5))).await.unwrap().unwrap(),
            "v"
        );
    }
}

#[apply(test_on_each_runtime)]
async fn a_status_that_ends_the_stream_is_told_with_the_store_s_address(rt: Rt) {
    for code in [Code::Unknown, Code::ResourceExhausted, Code::Unavailable, Code::Unimplemented] {
        // A new one each time: streams that failed pause for longer and longer before they are opened again.
        let (cluster, client) = warm(&rt).await;
        // Another peer is tried each time.
        let stores: Vec<String> =
            (1..=3).map(|store| cluster.address(Node::Store(store)).unwrap().to_string()).collect();
        let status = Status::new(code, "it will never do that");
        let fails = cluster.fault(Rule::new(Matcher::method("RawGet"), Action::Fail(status)));
        let error = within(DEADLINE, client.raw().get("i1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(stores.iter().any(|address| told(&error).contains(address)), "{}", told(&error));
        assert!(told(&error).contains("it will never do that"), "{}", told(&error));
        assert!((1..50).contains(&fails.hits()), "{} tries", fails.hits());
    }
}

#[apply(test_on_each_runtime)]
async fn the_cluster_that_stops_under_a_batch_is_named_in_time(rt: Rt) {
    let (cluster, client) = warm(&rt).await;
    let held = cluster.fault(Rule::new(Matcher::method("RawBatchPut"), Action::Hold));
    // Whichever the last try was for: a store, or PD, which is asked where its regions went.
    let servers = (1..=3).map(Node::Store).chain([Node::Pd(0)]);
    let servers: Vec<String> = servers.map(|node| cluster.address(node).unwrap().to_string()).collect();
    let all = a_key_of_each_region().into_iter().map(|key| (key, "w"));
    let raw = client.raw();
    let (error, ()) = tokio::join!(within(DEADLINE, raw.batch_put(all)), async {
        held.hit(1).await;
        cluster.stop();
    });
    let error = error.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error:?}");
    assert!(servers.iter().any(|address| told(&error).contains(address)), "{}", told(&error));
}

#[apply(test_on_each_runtime)]
async fn without_pd_known_regions_are_served_and_others_name_pd_in_time(rt: Rt) {
    let cluster = rt.start(Embedded::builder().raw_split_keys(["m"]));
    let client = client_with(&cluster, hasty(DEADLINE)).await;
    client.raw().put("a", "v").await.unwrap();
    let pd = cluster.pd_addresses().remove(0);
    cluster.stop_server(Node::Pd(0)).unwrap();
    assert_eq!(within(DEADLINE, client.raw().get("a")).await.unwrap().unwrap(), "v");
    names(&within(DEADLINE, client.raw().get("z")).await.unwrap_err(), &pd);
    names(&within(DEADLINE, client.raw().scan(.., 9)).await.unwrap_err(), &pd);
    names(&within(DEADLINE, client.current_timestamp()).await.unwrap_err(), &pd);
    names(&within(DEADLINE, client.begin()).await.unwrap_err(), &pd);
    cluster.restart_server(Node::Pd(0)).unwrap();
    assert_eq!(in_time(client.raw().get("z").deadline(Duration::from_secs(9))).await.unwrap(), None);
}

#[apply(test_on_each_runtime)]
async fn a_pd_that_nobody_leads_is_named_in_time(rt: Rt) {
    let cluster = rt.start(Embedded::builder().pd_members(3));
    let client = client_with(&cluster, hasty(DEADLINE)).await;
    cluster.set_pd_leader(None);
    let error = within(DEADLINE, client.raw().get("a")).await.unwrap_err();
    assert!(cluster.pd_addresses().iter().any(|pd| told(&error).contains(pd)), "{}", told(&error));
    cluster.set_pd_leader(Some(2));
    assert_eq!(in_time(client.raw().get("a").deadline(Duration::from_secs(9))).await.unwrap(), None);
}

#[apply(test_on_each_runtime)]
async fn a_call_may_have_no_time_at_all(rt: Rt) {
    let (_cluster, client) = warm(&rt).await;
    let error = within(DEADLINE, client.raw().put("i1", "v").deadline(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
}

#[apply(test_on_each_runtime)]
async fn a_cancelled_call_ends_and_is_not_sent_again(rt: Rt) {
    let (cluster, client) = warm(&rt).await;
    let held = cluster.fault(Rule::new(Matcher::method("RawPut"), Action::Hold));
    let call = rt.spawn({
        let raw = client.raw();
        async move { raw.put("i1", "cancelled").deadline(Duration::from_secs(20)).await }
    });
    held.hit(1).await;
    call.abort();
    assert!(in_time(call).await.is_err(), "it was cancelled");
    // The stream it was on breaks: a call that still waited would be sent again.
    let (store, _) = leader(&cluster, "i1");
    cluster.disconnect(Node::Store(store)).unwrap();
    assert_eq!(in_time(client.raw().get("i1").deadline(Duration::from_secs(9))).await.unwrap().unwrap(), "v");
    assert_eq!(held.hits(), 1);
}

#[apply(test_on_each_runtime)]
async fn too_many_calls_at_once_are_refused_not_queued_for_ever(rt: Rt) {
    let cluster = rt.raw_cluster();
    let mut config = hasty(Duration::from_secs(5));
    config.max_waiting = 8;
    let busy = client_with(&cluster, config).await;
    let calls: Vec<_> = (0..200).map(|_| busy.raw().get("m")).collect();
    // On one thread none of the client's tasks runs before all calls were made; on more, they take some meanwhile.
    let mut waiting: Vec<_> = calls.into_iter().map(|call| Box::pin(call.into_future())).collect();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let refused = waiting.iter_mut().filter_map(|call| match call.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(Err(error)) => Some(error),
        std::task::Poll::Ready(Ok(_)) | std::task::Poll::Pending => None,
    });
    let refused: Vec<Error> = refused.collect();
    assert!(if rt.one_thread { refused.len() == 192 } else { (1..=192).contains(&refused.len()) });
    assert!(refused.iter().all(|error| matches!(error, Error::Overloaded { .. })), "{:?}", refused[0]);
    assert_eq!(refused[0].kind(), ErrorKind::Retry);
    drop(waiting);
    let later = async {
        loop {
            match busy.raw().get("m").await {
                // The tasks have not seen yet that nobody waits any more.
                Err(Error::Overloaded { .. }) => yield_now().await,
                ended => return ended,
            }
        }
    };
    assert_eq!(in_time(later).await.unwrap(), None);
    let other = client(&cluster).await;
    assert_eq!(other.raw().get("m").await.unwrap(), None);
}
