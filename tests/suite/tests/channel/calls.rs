//! Calls that go well: what is sent arrives, in order, whole, and without limits but those that were asked for.

use macro_rules_attribute::apply;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tikv_client_core::client::Compression;
use tikv_client_core::machine::{Metadata, TransportClass};
use tokio::sync::Notify;

use crate::fixture::{sleep, timeout};
use crate::runtimes::{Rt, test_on_each_runtime};

use super::server::{Incoming, Server, echo, framed, grpc_head, status};
use super::{NONE, PATH, assert_fault, next, options, ready, send};

const MIB: usize = 1 << 20;

/// Bytes that differ from place to place.
fn large(length: usize) -> Bytes {
    (0..=250).collect::<Vec<u8>>().repeat(length / 250).into_iter().take(length).collect()
}

#[apply(test_on_each_runtime)]
async fn a_unary_call_brings_its_answer(rt: Rt) {
    let server = Server::grpc(echo);
    let channel = rt.channel(&server.address).await;
    for body in ["", "x", "a body"] {
        assert_eq!(channel.unary(PATH, &NONE, Bytes::from(body)).await.unwrap(), body);
    }
}

#[apply(test_on_each_runtime)]
async fn a_call_has_the_headers_of_grpc(rt: Rt) {
    let server = Server::grpc(|mut call: Incoming| async move {
        let head = &call.request;
        let header = |name: &str| head.headers().get(name).map_or("none", |value| value.to_str().unwrap());
        let seen = format!(
            "{} {} te={} type={} agent={}",
            head.method(),
            head.uri(),
            header("te"),
            header("content-type"),
            header("user-agent"),
        );
        call.all().await;
        let mut answer = call.begin();
        answer.send_data(framed(seen.as_bytes()), false).unwrap();
        answer.send_trailers(status("0", None)).unwrap();
    });
    let seen = rt.channel(&server.address).await.unary(PATH, &NONE, Bytes::new()).await.unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "POST http://{}{PATH} te=trailers type=application/grpc agent=tikv-client/{version}",
        server.address
    );
    assert_eq!(seen, expected);
}

#[apply(test_on_each_runtime)]
async fn a_stream_carries_messages_both_ways(rt: Rt) {
    let server = Server::grpc(echo);
    let channel = rt.channel(&server.address).await;
    let mut stream = channel.stream(PATH, &NONE);
    for round in 0..100_u32 {
        let message = Bytes::from(format!("message {round}"));
        send(&mut *stream, message.clone()).await;
        assert_eq!(next(&mut *stream).await, Some(Ok(message)));
    }
}

#[apply(test_on_each_runtime)]
async fn messages_go_before_the_server_has_said_anything(rt: Rt) {
    // The server answers, headers included, only when the second message is there.
    let server = Server::grpc(|mut call: Incoming| async move {
        let mut data = Vec::new();
        while data.len() < 12 {
            data.extend_from_slice(&call.data().await);
        }
        let mut answer = call.begin();
        answer.send_data(Bytes::from(data), false).unwrap();
        answer.send_trailers(status("0", None)).unwrap();
    });
    let channel = rt.channel(&server.address).await;
    let mut stream = channel.stream(PATH, &NONE);
    send(&mut *stream, "a").await;
    assert!(poll_fn(|cx| Poll::Ready(stream.poll_next(cx))).await.is_pending());
    send(&mut *stream, "b").await;
    assert_eq!(next(&mut *stream).await, Some(Ok("a".into())));
    assert_eq!(next(&mut *stream).await, Some(Ok("b".into())));
    assert_eq!(next(&mut *stream).await, None);
    assert_eq!(next(&mut *stream).await, None, "the end stays the end");
}

#[apply(test_on_each_runtime)]
async fn the_server_learns_of_a_stream_without_a_message(rt: Rt) {
    let server = Server::grpc(|mut call: Incoming| async move {
        let mut answer = call.begin();
        answer.send_data(framed(b"hello"), false).unwrap();
        call.data().await;
    });
    let mut stream = rt.channel(&server.address).await.stream(PATH, &NONE);
    assert_eq!(next(&mut *stream).await, Some(Ok("hello".into())));
}

#[apply(test_on_each_runtime)]
async fn twenty_mebibytes_go_both_ways(rt: Rt) {
    let server = Server::grpc(echo);
    let channel = rt.channel(&server.address).await;
    let body = large(20 * MIB);
    assert!(channel.unary(PATH, &NONE, body.clone()).await.unwrap() == body, "unary");
    let mut stream = channel.stream(PATH, &NONE);
    send(&mut *stream, body.clone()).await;
    assert!(next(&mut *stream).await.unwrap().unwrap() == body, "stream");
}

#[apply(test_on_each_runtime)]
async fn a_message_may_be_larger_than_the_window(rt: Rt) {
    let server = Server::grpc(echo);
    let channel =
        rt.try_channel(&server.address, &options(|options| options.window = 1 << 16)).await.unwrap();
    let body = large(MIB);
    assert!(channel.unary(PATH, &NONE, body.clone()).await.unwrap() == body);
}

#[apply(test_on_each_runtime)]
async fn the_largest_window_there_is_may_be_asked_for(rt: Rt) {
    let server = Server::grpc(echo);
    let channel =
        rt.try_channel(&server.address, &options(|options| options.window = u32::MAX)).await.unwrap();
    assert_eq!(channel.unary(PATH, &NONE, "x".into()).await.unwrap(), "x");
}

#[apply(test_on_each_runtime)]
async fn a_stream_is_not_ready_when_the_server_does_not_read(rt: Rt) {
    let read = Arc::new(Notify::new());
    let server = Server::grpc({
        let read = Arc::clone(&read);
        move |call| {
            let read = Arc::clone(&read);
            async move {
                read.notified().await;
                echo(call).await;
            }
        }
    });
    let channel = rt.channel(&server.address).await;
    let mut stream = channel.stream(PATH, &NONE);
    let message = large(16 << 10);
    let mut sent = 0;
    while timeout(Duration::from_millis(50), ready(&mut *stream)).await.is_some() {
        stream.send(message.clone());
        sent += 1;
        assert!(sent < 1000, "a bound on what waits");
    }
    assert!(sent > 0);
    read.notify_one();
    ready(&mut *stream).await.unwrap();
    for _ in 0..sent {
        assert_eq!(next(&mut *stream).await.unwrap().unwrap(), message);
    }
}

#[apply(test_on_each_runtime)]
async fn a_burst_of_small_messages_may_wait_to_be_read(rt: Rt) {
    const BURST: u32 = 5000;
    let server = Server::grpc(|mut call: Incoming| async move {
        let mut answer = call.begin();
        for number in 0..BURST {
            answer.send_data(framed(&number.to_be_bytes()), false).unwrap();
        }
        call.data().await;
    });
    let channel =
        rt.try_channel(&server.address, &options(|options| options.window = 1 << 16)).await.unwrap();
    let mut stream = channel.stream(PATH, &NONE);
    // The connection's task reads ahead meanwhile.
    sleep(Duration::from_millis(50)).await;
    for number in 0..BURST {
        assert_eq!(next(&mut *stream).await.unwrap().unwrap(), number.to_be_bytes()[..]);
    }
}

#[apply(test_on_each_runtime)]
async fn many_calls_share_a_connection(rt: Rt) {
    let server = Server::grpc(echo);
    let channel = rt.channel(&server.address).await;
    // More than the server lets be open at a time: the rest wait.
    let calls: Vec<_> =
        (0..300).map(|call| channel.unary(PATH, &NONE, Bytes::from(format!("{call}")))).collect();
    let calls: Vec<_> = calls.into_iter().map(|call| rt.spawn(call)).collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), format!("{number}"));
    }
}

#[apply(test_on_each_runtime)]
async fn a_channel_can_go_before_its_calls(rt: Rt) {
    let server = Server::grpc(echo);
    let channel = rt.channel(&server.address).await;
    let mut stream = channel.stream(PATH, &NONE);
    let unary = channel.unary(PATH, &NONE, "late".into());
    drop(channel);
    assert_eq!(unary.await.unwrap(), "late");
    send(&mut *stream, "x").await;
    assert_eq!(next(&mut *stream).await, Some(Ok("x".into())));
}

#[apply(test_on_each_runtime)]
async fn headers_of_the_caller_go_along(rt: Rt) {
    let server = Server::grpc(|mut call: Incoming| async move {
        let host = call.request.headers().get("tikv-forwarded-host").cloned();
        call.data().await;
        let mut answer = call.begin();
        answer
            .send_data(framed(host.map_or(Vec::new(), |host| host.as_bytes().to_vec()).as_slice()), false)
            .unwrap();
        answer.send_trailers(status("0", None)).unwrap();
    });
    let channel = rt.channel(&server.address).await;
    let forwarded: Metadata = vec![("tikv-forwarded-host", "store-7:20160".into())];
    assert_eq!(channel.unary(PATH, &forwarded, "x".into()).await.unwrap(), "store-7:20160");
    assert_eq!(channel.unary(PATH, &NONE, "x".into()).await.unwrap(), "", "only where they are asked for");
    let mut stream = channel.stream(PATH, &forwarded);
    send(&mut *stream, "x").await;
    assert_eq!(next(&mut *stream).await, Some(Ok("store-7:20160".into())));
    let torn: Metadata = vec![("tikv-forwarded-host", "two\nlines".into())];
    let fault = channel.unary(PATH, &torn, "x".into()).await.unwrap_err();
    let text = "\"tikv-forwarded-host\" cannot be sent: failed to parse header value";
    assert_fault(&fault, TransportClass::Unreachable, &server.address, text);
}

#[apply(test_on_each_runtime)]
async fn a_stream_that_sends_no_more_still_brings_what_the_server_says(rt: Rt) {
    // The server answers once the client has said its last.
    let server = Server::grpc(|mut call: Incoming| async move {
        let all = call.all().await;
        let mut answer = call.begin();
        for part in [&b"first"[..], b"second"] {
            answer.send_data(framed(part), false).unwrap();
        }
        answer.send_data(all, false).unwrap();
        answer.send_trailers(status("0", None)).unwrap();
    });
    let mut stream = rt.channel(&server.address).await.stream(PATH, &NONE);
    send(&mut *stream, "asked").await;
    stream.finish();
    for said in ["first", "second", "asked"] {
        assert_eq!(next(&mut *stream).await, Some(Ok(said.into())));
    }
    assert_eq!(next(&mut *stream).await, None);
    stream.finish();
}

/// Answers compressed messages as they came, and says so.
async fn gzip_echo(mut call: Incoming) {
    let headers = call.request.headers();
    let of = |name: &str| headers.get(name).map(|value| value.as_bytes().to_vec());
    assert_eq!(of("grpc-encoding"), of("grpc-accept-encoding"));
    let mut head = grpc_head();
    if let Some(encoding) = headers.get("grpc-encoding") {
        head.headers_mut().insert("grpc-encoding", encoding.clone());
    }
    let data = call.all().await;
    let mut answer = call.respond.send_response(head, false).unwrap();
    // How long it was on the wire, as a first message.
    answer.send_data(framed(&data.len().to_be_bytes()), false).unwrap();
    answer.send_data(data, false).unwrap();
    answer.send_trailers(status("0", None)).unwrap();
}

#[apply(test_on_each_runtime)]
async fn messages_are_compressed_both_ways_where_that_is_asked_for(rt: Rt) {
    let server = Server::grpc(gzip_echo);
    let (plain, gzip) = (options(|_| {}), options(|options| options.compression = Compression::Gzip));
    let body = large(100_000);
    for (options, small) in [(plain, false), (gzip, true)] {
        let mut stream = rt.try_channel(&server.address, &options).await.unwrap().stream(PATH, &NONE);
        send(&mut *stream, body.clone()).await;
        stream.finish();
        let length = next(&mut *stream).await.unwrap().unwrap();
        let length = usize::from_be_bytes(length[..].try_into().unwrap());
        assert_eq!(length < 10_000, small, "{length} bytes on the wire");
        assert_eq!(next(&mut *stream).await, Some(Ok(body.clone())));
    }
}

#[apply(test_on_each_runtime)]
async fn a_message_that_swells_beyond_the_limit_is_refused(rt: Rt) {
    let server = Server::grpc(gzip_echo);
    let options = options(|options| {
        options.compression = Compression::Gzip;
        options.max_message = 50_000;
    });
    let mut stream = rt.try_channel(&server.address, &options).await.unwrap().stream(PATH, &NONE);
    send(&mut *stream, large(100_000)).await;
    stream.finish();
    next(&mut *stream).await.unwrap().unwrap();
    let fault = next(&mut *stream).await.unwrap().unwrap_err();
    let text = "message of more than the 50000 bytes that are accepted once it is decompressed";
    assert_fault(&fault, TransportClass::Rejected(8), &server.address, text);
}

#[apply(test_on_each_runtime)]
async fn a_message_above_what_may_be_sent_does_not_go_out(rt: Rt) {
    let server = Server::grpc(echo);
    let channel =
        rt.try_channel(&server.address, &options(|options| options.max_sent_message = 4)).await.unwrap();
    assert_eq!(channel.unary(PATH, &NONE, "four".into()).await.unwrap(), "four");
    let fault = channel.unary(PATH, &NONE, "fives".into()).await.unwrap_err();
    let text = "a message of 5 bytes, more than the 4 that are sent";
    assert_fault(&fault, TransportClass::Unreachable, &server.address, text);
}
