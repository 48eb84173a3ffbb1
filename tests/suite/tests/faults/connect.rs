//! Connecting to what is no cluster.

use std::time::Duration;

use tikv_client_tokio::client::Client;
use tikv_client_tokio::error::{Error, ErrorKind, ServiceError};
use tikv_client_tokio::types::ClusterId;
use tikv_embedded::Embedded;
use tikv_embedded::control::{Action, Matcher, Node, Rule};

use crate::fixture::{connect, hasty, in_time, within};

const DEADLINE: Duration = Duration::from_millis(300);

async fn refused(addresses: &[&str]) -> Error {
    let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
    within(DEADLINE, connect(addresses, hasty(DEADLINE))).await.unwrap_err()
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn without_addresses_there_is_no_client() {
    let error = refused(&[]).await;
    assert!(matches!(error, Error::Service(ServiceError::NoAddress)), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn what_is_no_address_is_named_and_refused_without_a_try() {
    let cluster = Embedded::builder().start().unwrap();
    let calls = cluster.count(Matcher::any());
    let good = cluster.pd_addresses().remove(0);
    for bad in
        ["", "pd", "pd:", ":2379", "pd:0", "pd:65536", "pd:-1", "::1:2379", "ftp://pd:2379", "p d:1", "[::1]"]
    {
        let error = refused(&[&good, bad]).await;
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

#[tokio::test]
async fn where_nobody_listens_every_address_is_named_within_the_timeout() {
    let (one, two) = (nowhere(), nowhere());
    let error = refused(&[&one, &two]).await;
    assert!(matches!(error, Error::Service(ServiceError::PdUnreachable { .. })), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains(&one) && text.contains(&two), "{text}");
}

#[tokio::test]
async fn a_listener_that_says_nothing_is_given_up_within_the_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = refused(&[&address]).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_listener_that_speaks_another_protocol_is_given_up_within_the_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.writable().await.unwrap();
            // It may have gone already.
            drop(socket.try_write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    let error = refused(&[&address]).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
    serving.abort();
}

#[tokio::test]
async fn a_pd_that_never_answers_is_given_up_within_the_timeout() {
    let cluster = Embedded::builder().start().unwrap();
    let _silent = cluster.fault(Rule::new(Matcher::any().at(Node::AnyPd), Action::Lose));
    let address = cluster.pd_addresses().remove(0);
    let error = refused(&[&address]).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_store_is_no_pd() {
    let cluster = Embedded::builder().start().unwrap();
    let address = cluster.address(Node::Store(1)).unwrap().to_string();
    let error = refused(&[&address]).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn one_good_address_among_dead_ones_is_enough() {
    let cluster = Embedded::builder().start().unwrap();
    let addresses = vec![nowhere(), cluster.pd_addresses().remove(0), nowhere()];
    let client = in_time(connect(addresses, hasty(Duration::from_secs(5)))).await.unwrap();
    client.raw().put("key", "value").await.unwrap();
}

#[tokio::test]
async fn pds_of_two_clusters_are_refused_with_both_ids() {
    let one = Embedded::builder().cluster_id(11).start().unwrap();
    let two = Embedded::builder().cluster_id(22).start().unwrap();
    let (at_one, at_two) = (one.pd_addresses().remove(0), two.pd_addresses().remove(0));
    let error = refused(&[&at_one, &at_two]).await;
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
async fn replaced() -> (Client, Embedded, String) {
    let old = Embedded::builder().cluster_id(11).start().unwrap();
    let address = old.pd_addresses().remove(0);
    let client = connect(vec![address.clone()], hasty(DEADLINE)).await.unwrap();
    drop(old);
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let new = Embedded::builder().cluster_id(22).port(port).start().unwrap();
    (client, new, address)
}

#[tokio::test]
async fn another_cluster_in_the_place_of_ours_is_never_taken_for_it() {
    let (client, new, address) = replaced().await;
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
