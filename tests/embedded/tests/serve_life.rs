//! How a cluster starts, lives beside others, and ends.

#![cfg(feature = "serve")]

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::*;
use tikv_embedded::control::Node;
use tikv_embedded::{Cluster, StartError};
use tikv_proto::{kvrpcpb, methods, pdpb};

fn refused(address: &str) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[test]
fn a_cluster_starts_in_less_than_50_ms() {
    // The quickest of a few, as other tests run at the same time.
    let quickest = (0..5)
        .map(|_| {
            let begin = Instant::now();
            let cluster = Cluster::builder().stores(3).regions(8).start().wait().expect("it starts");
            let took = begin.elapsed();
            assert_eq!(cluster.pd_addresses().len(), 1);
            took
        })
        .min();
    assert!(quickest < Some(Duration::from_millis(50)), "{quickest:?}");
}

#[test]
fn dropping_a_cluster_ends_it_soon_and_wholly() {
    let cluster = Cluster::builder().stores(2).pd_members(2).start().wait().expect("it starts");
    let mut addresses = cluster.pd_addresses();
    addresses.extend([1, 2].map(|id| cluster.address(Node::Store(id)).expect("a store").to_string()));
    let open = TcpStream::connect(&addresses[0]).expect("it listens");
    let begin = Instant::now();
    drop(cluster);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(addresses.iter().all(|address| refused(address)));
    open.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let read = std::io::Read::read(&mut &open, &mut [0; 64]);
    assert!(
        matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    );
}

#[test]
fn stopping_twice_is_stopping_once_and_control_says_so() {
    let cluster = Cluster::builder().start().wait().expect("it starts");
    cluster.stop();
    cluster.stop();
    assert!(cluster.stop_store(1).is_err());
    assert!(refused(&cluster.pd_addresses()[0]));
}

#[test]
fn a_cluster_can_be_dropped_inside_an_executor_with_calls_open() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let pd = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        let mut tso = pd.open(methods::pd::TSO).await.expect("a stream");
        let ask = pdpb::TsoRequest { header: pd_header(&pd).await, count: 1, ..Default::default() };
        tso.send(&ask).expect("open");
        tso.message::<pdpb::TsoResponse>().await.expect("open").expect("a timestamp");
        drop(cluster);
        assert_eq!(tso.next().await, Err(Failure::Broken));
    });
}

#[test]
fn two_clusters_share_nothing() {
    block_on(async {
        let [a, b] = [(); 2].map(|()| Cluster::builder().regions(4).start().wait().expect("it starts"));
        let write = put(&a, "k", "only in a");
        let answer: kvrpcpb::RawPutResponse =
            leader(&a, "k").await.call(methods::tikv::RAW_PUT, &write).await.expect("an answer");
        assert_eq!(answer, kvrpcpb::RawPutResponse::default());
        assert_eq!(read(&a, "k").await.as_deref(), Some(&b"only in a"[..]));
        assert_eq!(read(&b, "k").await, None);
        let mut ids = Vec::new();
        for cluster in [&a, &b] {
            ids.push(pd_header(&Client::dial(cluster, Node::Pd(0)).await.expect("it listens")).await);
        }
        assert_ne!(ids[0], ids[1]);
        drop(a);
        assert_eq!(read(&b, "k").await, None, "b goes on without a");
    });
}

#[test]
fn a_port_can_be_asked_for_and_a_taken_one_is_an_error() {
    let first = Cluster::builder().start().wait().expect("it starts");
    let port = first.address(Node::Pd(0)).expect("a member").port();
    let taken = Cluster::builder().port(port).start().wait();
    assert!(matches!(taken, Err(StartError::Io(_))), "{taken:?}");
    first.stop();
    let again = Cluster::builder().port(port).start().wait().expect("the port is free again");
    assert_eq!(again.pd_addresses(), [format!("127.0.0.1:{port}")]);
}

#[test]
fn a_cluster_is_started_by_any_executor_and_by_none() {
    let begins = |cluster: &Cluster| {
        let bounds = cluster.state().regions.into_iter().map(|region| region.start);
        bounds.collect::<Vec<_>>()
    };
    let keys = |keys: &[&[u8]]| -> Vec<_> {
        keys.iter().map(|key| tikv_embedded::model::key::encode(key)).collect()
    };
    let wanted = keys(&[b"k", b"t"]);
    let in_tokio = block_on(async {
        let started = Cluster::builder().stores(3).regions(&[b"k", b"t"]).start().await;
        started.expect("it starts")
    });
    assert_eq!(begins(&in_tokio)[1..], wanted[..]);
    let in_smol = smol::block_on(async { Cluster::builder().regions(&["k", "t"]).start().await });
    assert_eq!(begins(&in_smol.expect("it starts"))[1..], wanted[..]);
    // Blocking inside an executor, too: it parks for no longer than a thread takes to start.
    let blocking = block_on(async { Cluster::builder().regions(3).start().wait() });
    assert_eq!(begins(&blocking.expect("it starts")).len(), 3);
    // What nobody waits for does not start.
    drop(Cluster::builder().start());
}

#[test]
fn regions_begin_at_raw_keys_in_the_form_of_the_api() {
    use tikv_embedded::model::{Api, key};
    for (api, begins) in [(Api::V1, bytes::Bytes::from("r000m")), (Api::V2, key::encode(b"r000m"))] {
        let cluster =
            Cluster::builder().api_version(api).raw_split_keys(["r000m"]).start().wait().expect("it starts");
        let starts = cluster.state().regions.into_iter().map(|region| region.start);
        assert!(starts.into_iter().any(|start| start == begins), "{api:?}");
    }
}

#[test]
fn impossible_numbers_are_named() {
    for builder in
        [Cluster::builder().stores(0), Cluster::builder().regions(0), Cluster::builder().pd_members(999)]
    {
        let error = builder.start().wait().expect_err("refused");
        assert!(matches!(error, StartError::Number { .. }), "{error}");
    }
}

#[test]
fn hostile_bytes_give_an_error_on_every_path_and_break_nothing() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let clients = [Node::Pd(0), Node::Store(1)].map(|node| Client::dial(&cluster, node));
        let [pd, store] = clients;
        let (pd, store) = (pd.await.expect("it listens"), store.await.expect("it listens"));
        for (client, paths) in
            [(&pd, methods::pd::ALL), (&store, methods::tikv::ALL), (&store, &["/a/b", "/"])]
        {
            for path in paths {
                for body in [&[0xff; 33][..], &[0x0a, 0x7f], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
                    match client.bytes(path, &[], body).await {
                        Err(Failure::Status(code, _)) => assert!([12, 13].contains(&code), "{path}: {code}"),
                        other => panic!("{path}: {other:?}"),
                    }
                }
                let mut cut = client.open(path).await.expect("open");
                cut.close().expect("open");
                match cut.next().await {
                    Err(Failure::Status(12 | 13, _)) => {}
                    // A stream without requests just ends.
                    Ok(None) => {
                        assert!(["Tso", "QueryRegion", "BatchCommands"].iter().any(|s| path.ends_with(s)))
                    }
                    other => panic!("{path}: {other:?}"),
                }
            }
        }
        assert_eq!(read(&cluster, "k").await, None, "it still serves");
    });
}

#[test]
fn a_health_check_is_served_by_both_kinds() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        for node in [Node::Pd(0), Node::Store(1)] {
            let client = Client::dial(&cluster, node).await.expect("it listens");
            let path = "/grpc.health.v1.Health/Check";
            assert_eq!(client.bytes(path, &[], b"").await.as_deref(), Ok(&[8, 1][..]));
            let unknown = client.bytes(path, &[], b"\x0a\x03nop").await;
            assert_eq!(unknown, Err(Failure::Status(5, "unknown service".into())));
        }
    });
}
