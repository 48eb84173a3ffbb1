//! Clients that break the rules, or only their servers' patience: clear statuses, no panic, bounded memory, and all
//! others are served meanwhile.

#![cfg(feature = "serve")]

mod support;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use support::*;
use tikv_embedded::Cluster;
use tikv_embedded::control::{Action, Matcher, Node, Rule};
use tikv_proto::tikvpb::batch_commands_request::request;
use tikv_proto::{kvrpcpb, methods};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The process's memory, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: usize = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

async fn is_served(cluster: &Cluster) {
    let store = leader(cluster, "other").await;
    let answer = store.call(methods::tikv::RAW_PUT, &put(cluster, "other", "v")).await;
    assert_eq!(answer, Ok(kvrpcpb::RawPutResponse::default()));
}

#[test]
fn a_thousand_streams_of_one_connection_are_served_side_by_side() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let store = leader(&cluster, "k").await;
        let held = cluster.fault(Rule::new(Matcher::method("RawGet"), Action::Hold));
        let mut streams = Vec::new();
        for id in 0..1000 {
            let mut stream = store.open(methods::tikv::BATCH_COMMANDS).await.expect("open");
            stream.send(&batch([(id, request::Cmd::RawGet(get(&cluster, "k")))])).expect("open");
            streams.push(stream);
        }
        held.hit(1000).await;
        is_served(&cluster).await;
        drop(held);
        for (id, stream) in (0..).zip(&mut streams) {
            let answers = answers(stream).await.expect("an answer");
            assert_eq!(answers.first().map(|(of, _)| *of), Some(id));
        }
    });
}

#[test]
fn streams_that_are_given_up_leave_nothing_behind() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        for _ in 0..50 {
            let store = leader(&cluster, "k").await;
            let mut streams = Vec::new();
            for id in 0..20 {
                let mut stream = store.open(methods::tikv::BATCH_COMMANDS).await.expect("open");
                stream.send(&batch([(id, request::Cmd::RawGet(get(&cluster, "k")))])).expect("open");
                streams.push(stream);
            }
        }
        is_served(&cluster).await;
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_never_reads_takes_little_memory_and_holds_up_nobody() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let big = "v".repeat(1 << 20);
        let store = leader(&cluster, "k").await;
        let answer = store.call(methods::tikv::RAW_PUT, &put(&cluster, "k", &big)).await;
        assert_eq!(answer, Ok(kvrpcpb::RawPutResponse::default()));
        let before = resident();
        let counted = cluster.count(Matcher::method("RawGet"));
        let mut streams = Vec::new();
        for _ in 0..10 {
            let mut stream = store.open(methods::tikv::BATCH_COMMANDS).await.expect("open");
            // Two gigabytes of answers are asked for.
            stream
                .send(&batch((0..200).map(|id| (id, request::Cmd::RawGet(get(&cluster, "k"))))))
                .expect("open");
            streams.push(stream);
        }
        counted.hit(10).await;
        is_served(&cluster).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(counted.hits() < 500, "{} of 2000 are answered, and nobody reads", counted.hits());
        let grown = resident().saturating_sub(before);
        assert!(grown < 300 << 20, "grew by {} MB", grown >> 20);
        // Whoever begins to read after all gets every answer.
        let mut first = streams.swap_remove(0);
        drop(streams);
        let mut seen = 0;
        while seen < 200 {
            seen += answers(&mut first).await.expect("answers").len();
        }
    });
}

#[test]
fn commands_that_wait_are_bounded_and_those_behind_them_come_to_their_turn() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let held = cluster.fault(Rule::new(Matcher::method("RawGet"), Action::Hold));
        let store = leader(&cluster, "k").await;
        let mut stream = store.open(methods::tikv::BATCH_COMMANDS).await.expect("open");
        let ask = get(&cluster, "k");
        for frame in 0..15_u64 {
            let ids = frame * 1000..(frame + 1) * 1000;
            stream.send(&batch(ids.map(|id| (id, request::Cmd::RawGet(ask.clone()))))).expect("open");
        }
        held.hit(10_000).await;
        is_served(&cluster).await;
        assert_eq!(held.hits(), 10_000, "those behind are not begun");
        drop(held);
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 15_000 {
            seen.extend(answers(&mut stream).await.expect("answers").into_iter().map(|(id, _)| id));
        }
    });
}

#[test]
fn garbage_ends_a_call_with_a_status_and_nothing_else() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let store = leader(&cluster, "k").await;
        let pd = Client::dial(&cluster, Node::Pd(0)).await.expect("it listens");
        // Field 1 of a length beyond the end.
        let garbage =
            [&b"\x0a\xff\xff\xff\x7f"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x07"];
        for body in garbage {
            for (client, path) in [
                (&store, methods::tikv::KV_GET),
                (&store, methods::tikv::KV_PREWRITE),
                (&store, methods::tikv::RAW_SCAN),
                (&store, methods::tikv::SPLIT_REGION),
                (&store, methods::tikv::BATCH_COMMANDS),
                (&store, methods::tikv::GET_STORE_SAFE_TS),
                (&pd, methods::pd::GET_REGION),
                (&pd, methods::pd::TSO),
                (&pd, methods::pd::GET_MEMBERS),
                (&pd, "/grpc.health.v1.Health/Check"),
            ] {
                let mut stream = client.open(path).await.expect("open");
                stream.send_bytes(body).expect("open");
                let answer = stream.next().await;
                assert!(matches!(answer, Err(Failure::Status(13, _))), "{path}: {answer:?}");
            }
        }
        for path in ["/tikvpb.Tikv/Nothing", "/nothing", "/", "/a/b/c"] {
            for client in [&store, &pd] {
                let mut stream = client.open(path).await.expect("open");
                stream.send_bytes(b"").expect("open");
                let answer = stream.next().await;
                assert!(matches!(answer, Err(Failure::Status(12, _))), "{path}: {answer:?}");
            }
        }
        is_served(&cluster).await;
    });
}

#[test]
fn messages_that_cannot_be_are_refused_before_they_have_come() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let store = leader(&cluster, "k").await;
        for (flag, length, code) in [(0, u32::MAX, 8), (0, 300 << 20, 8), (1, 10, 12)] {
            for path in [methods::tikv::RAW_PUT, methods::tikv::BATCH_COMMANDS] {
                let mut prefix = BytesMut::new();
                prefix.put_u8(flag);
                prefix.put_u32(length);
                prefix.put_slice(b"and what follows");
                let mut stream = store.open(path).await.expect("open");
                stream.send_unframed(prefix.freeze()).expect("open");
                let answer = stream.next().await;
                assert!(matches!(answer, Err(Failure::Status(of, _)) if of == code), "{path}: {answer:?}");
            }
        }
        // One that is cut short.
        let mut stream = store.open(methods::tikv::RAW_PUT).await.expect("open");
        stream.send_unframed(Bytes::from_static(b"\0\0\0\0\x09half")).expect("open");
        stream.close().expect("open");
        assert!(matches!(stream.next().await, Err(Failure::Status(13, _))));
        is_served(&cluster).await;
    });
}

#[test]
fn a_message_longer_than_every_window_arrives() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let store = leader(&cluster, "k").await;
        let long = "v".repeat(40 << 20);
        let mut stream = store.open(methods::tikv::RAW_PUT).await.expect("open");
        stream.send(&put(&cluster, "k", &long)).expect("open");
        stream.close().expect("open");
        let answer: kvrpcpb::RawPutResponse = stream.message().await.expect("an answer").expect("one");
        // The store says what it says of an entry of this size; that it says something is what counts here.
        let refused = answer.region_error.is_some_and(|error| error.raft_entry_too_large.is_some());
        assert!(refused || answer.error.is_empty(), "{}", answer.error);
    });
}

#[test]
fn what_is_not_http_is_hung_up_on() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        for bytes in [
            &b"\x16\x03\x01\x02\x00garbage of a TLS client"[..],
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
            b"\r\n\r\n",
        ] {
            for node in [Node::Pd(0), Node::Store(1)] {
                let mut io =
                    TcpStream::connect(cluster.address(node).expect("a server")).await.expect("it listens");
                io.write_all(bytes).await.expect("sent");
                io.shutdown().await.expect("sent");
                let mut answer = Vec::new();
                // Reset or ended, with or without a word; but soon.
                drop(io.read_to_end(&mut answer).await);
            }
        }
        is_served(&cluster).await;
    });
}
