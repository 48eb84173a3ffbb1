//! Connecting to what is no cluster.

use std::time::Duration;

use macro_rules_attribute::apply;
use smol::io::AsyncWriteExt;
use tikv_client_core::client::Client;
use tikv_client_core::config::ConfigError;
use tikv_client_core::error::{Error, ErrorKind, ServiceError};
use tikv_client_core::types::ClusterId;
use tikv_embedded::Cluster as Embedded;
use tikv_embedded::control::{Action, Matcher, Node, Rule};

use crate::fixture::{Cluster, hasty, in_time, within};
use crate::runtimes::{Rt, test_on_each_runtime};

const DEADLINE: Duration = Duration::from_millis(300);

async fn refused(rt: &Rt, addresses: &[&str]) -> Error {
    let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
    within(DEADLINE, rt.connect(addresses, hasty(DEADLINE))).await.unwrap_err()
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[apply(test_on_each_runtime)]
async fn a_configuration_that_cannot_be_used_is_refused_with_all_its_faults_and_nothing_is_started(rt: Rt) {
    let cluster = rt.start(Embedded::builder());
    let calls = cluster.count(Matcher::any());
    let mut config = hasty(DEADLINE);
    config.concurrency = 0;
    config.stream.max_queued = 0;
    let error = within(DEADLINE, rt.connect(cluster.pd_addresses(), config)).await.unwrap_err();
    let Error::Config(ConfigError { faults, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(faults.len(), 2, "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!((calls.hits(), rt.tasks()), (0, 0));
}

#[apply(test_on_each_runtime)]
async fn without_addresses_there_is_no_client(rt: Rt) {
    let error = refused(&rt, &[]).await;
    assert!(matches!(error, Error::Service(ServiceError::NoAddress)), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[apply(test_on_each_runtime)]
async fn what_is_no_address_is_named_and_refused_without_a_try(rt: Rt) {
    let cluster = rt.start(Embedded::builder());
    let calls = cluster.count(Matcher::any());
    let good = cluster.pd_addresses().remove(0);
    for bad in
        ["", "pd", "pd:", ":2379", "pd:0", "pd:65536", "pd:-1", "::1:2379", "ftp://pd:2379", "p d:1", "[::1]"]
    {
        let error = refused(&rt, &[&good, bad]).await;
        let Error::Service(ServiceError::BadAddress { address, reason }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(&**address, bad);
        assert!(!reason.is_empty());
        assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(calls.hits(), 0);
}

#[apply(test_on_each_runtime)]
async fn where_nobody_listens_every_address_is_named_within_the_timeout(rt: Rt) {
    let (one, two) = (nowhere(), nowhere());
    let error = refused(&rt, &[&one, &two]).await;
    assert!(matches!(error, Error::Service(ServiceError::PdUnreachable { .. })), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains(&one) && text.contains(&two), "{text}");
}

#[apply(test_on_each_runtime)]
async fn a_listener_that_says_nothing_is_given_up_within_the_timeout(rt: Rt) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = refused(&rt, &[&address]).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[apply(test_on_each_runtime)]
async fn a_listener_that_speaks_another_protocol_is_given_up_within_the_timeout(rt: Rt) {
    let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = rt.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // It may have gone already.
            drop(socket.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await);
        }
    });
    let error = refused(&rt, &[&address]).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
    serving.abort();
}

#[apply(test_on_each_runtime)]
async fn a_pd_that_never_answers_is_given_up_within_the_timeout(rt: Rt) {
    let cluster = rt.start(Embedded::builder());
    let _silent = cluster.fault(Rule::new(Matcher::any().at(Node::AnyPd), Action::Lose));
    let address = cluster.pd_addresses().remove(0);
    let error = refused(&rt, &[&address]).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[apply(test_on_each_runtime)]
async fn a_store_is_no_pd(rt: Rt) {
    let cluster = rt.start(Embedded::builder());
    let address = cluster.address(Node::Store(1)).unwrap().to_string();
    let error = refused(&rt, &[&address]).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[apply(test_on_each_runtime)]
async fn one_good_address_among_dead_ones_is_enough(rt: Rt) {
    let cluster = rt.start(Embedded::builder());
    let addresses = vec![nowhere(), cluster.pd_addresses().remove(0), nowhere()];
    let client = in_time(rt.connect(addresses, hasty(Duration::from_secs(5)))).await.unwrap();
    client.raw().put("key", "value").await.unwrap();
}

#[apply(test_on_each_runtime)]
async fn pds_of_two_clusters_are_refused_with_both_ids(rt: Rt) {
    let one = rt.start(Embedded::builder().cluster_id(11));
    let two = rt.start(Embedded::builder().cluster_id(22));
    let (at_one, at_two) = (one.pd_addresses().remove(0), two.pd_addresses().remove(0));
    let error = refused(&rt, &[&at_one, &at_two]).await;
    let Error::Service(ServiceError::ClusterMismatch { address, wanted, found }) = &error else {
        panic!("{error:?}");
    };
    let mut ids = [*wanted, *found];
    ids.sort_unstable();
    assert_eq!(ids, [ClusterId(11), ClusterId(22)]);
    assert!(**address == *at_one || **address == *at_two);
    assert!(error.to_string().contains(&**address), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// A client of a cluster in whose place another one serves now.
async fn replaced(rt: &Rt) -> (Client, Cluster, String) {
    let old = rt.start(Embedded::builder().cluster_id(11));
    let address = old.pd_addresses().remove(0);
    let client = rt.connect(vec![address.clone()], hasty(DEADLINE)).await.unwrap();
    drop(old);
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let new = rt.start(Embedded::builder().cluster_id(22).port(port));
    (client, new, address)
}

#[apply(test_on_each_runtime)]
async fn another_cluster_in_the_place_of_ours_is_never_taken_for_it(rt: Rt) {
    let (client, new, address) = replaced(&rt).await;
    let touched = new.count(Matcher::any().at(Node::AnyStore));
    let error = within(DEADLINE, client.raw().put("key", "value")).await.unwrap_err();
    let wanted = ServiceError::ClusterMismatch {
        address: address.as_str().into(),
        wanted: ClusterId(11),
        found: ClusterId(22),
    };
    assert_eq!(error, Error::Service(wanted));
    let error = within(DEADLINE, client.current_timestamp()).await.unwrap_err();
    assert!(error.to_string().contains("22"), "{error}");
    assert_eq!(touched.hits(), 0);
}
