//! What a call that gets no answer says of it: whether it may have happened, and why.

use macro_rules_attribute::apply;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tikv_client_core::client::Channel;
use tikv_client_core::machine::TransportClass::{Lost, Rejected, Unreachable};
use tikv_client_core::machine::{TransportClass, TransportFault};

use crate::fixture::{sleep, yield_now};
use crate::runtimes::{Rt, test_on_each_runtime};

use super::server::{DATA, HEADERS, Incoming, Raw, Server, echo, framed, grpc_head, status};
use super::{NONE, PATH, assert_fault, eventually, next, options, ready, send};

/// The fault of a unary call and of a stream with one message, which must be the same.
async fn faults(rt: &Rt, server: &Server, class: TransportClass, text: &str) {
    let channel = rt.channel(&server.address).await;
    let fault = channel.unary(PATH, &NONE, "x".into()).await.unwrap_err();
    assert_fault(&fault, class, &server.address, text);
    let channel = rt.channel(&server.address).await;
    let mut stream = channel.stream(PATH, &NONE);
    send(&mut *stream, "x").await;
    let fault = next(&mut *stream).await.unwrap().unwrap_err();
    assert_fault(&fault, class, &server.address, text);
    assert_eq!(next(&mut *stream).await, None, "a fault is the end");
}

/// Answers each call with `head`, `data` and `trailers`.
fn answering(head: fn() -> Response<()>, data: Option<Bytes>, trailers: Option<http::HeaderMap>) -> Server {
    Server::grpc(move |mut call: Incoming| {
        let (data, trailers) = (data.clone(), trailers.clone());
        async move {
            call.data().await;
            let over = data.is_none() && trailers.is_none();
            let mut answer = call.respond.send_response(head(), over).unwrap();
            if let Some(data) = data {
                answer.send_data(data, trailers.is_none()).unwrap();
            }
            if let Some(trailers) = trailers {
                answer.send_trailers(trailers).unwrap();
            }
        }
    })
}

#[apply(test_on_each_runtime)]
async fn a_connection_reset_behind_the_request_is_lost(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        raw.expect(DATA).await;
        raw.socket.set_zero_linger().unwrap();
    });
    faults(&rt, &server, Lost, "connection reset").await;
}

#[apply(test_on_each_runtime)]
async fn a_connection_closed_behind_the_request_is_lost(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        raw.expect(DATA).await;
    });
    faults(&rt, &server, Lost, "the server closed the connection").await;
}

#[apply(test_on_each_runtime)]
async fn a_connection_that_breaks_in_the_midst_of_the_answer_is_lost(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        let request = raw.expect(DATA).await;
        raw.write(HEADERS, 4, request.stream, b"\x88\x0f\x10\x10application/grpc").await;
        raw.write(DATA, 0, request.stream, &[0, 0, 0, 0, 9, b'h']).await;
    });
    faults(&rt, &server, Lost, "the server closed the connection").await;
}

#[apply(test_on_each_runtime)]
async fn what_breaks_http2_is_lost(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        let request = raw.expect(DATA).await;
        // Data without headers before them.
        raw.write(DATA, 0, request.stream, b"?").await;
        raw.drain().await;
    });
    faults(&rt, &server, Lost, "connection error detected: unspecific protocol error detected").await;
}

#[apply(test_on_each_runtime)]
async fn a_refused_stream_did_not_happen(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        let request = raw.expect(DATA).await;
        raw.reset(request.stream, 7).await;
        raw.drain().await;
    });
    faults(
        &rt,
        &server,
        Unreachable,
        "the server reset the stream: refused stream before processing any application logic",
    )
    .await;
}

#[apply(test_on_each_runtime)]
async fn a_stream_reset_for_another_reason_may_have_happened(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        let request = raw.expect(DATA).await;
        raw.reset(request.stream, 8).await;
        raw.drain().await;
    });
    faults(&rt, &server, Lost, "the server reset the stream: stream no longer needed").await;
}

#[apply(test_on_each_runtime)]
async fn a_stream_above_the_last_of_a_goaway_did_not_happen(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        raw.expect(DATA).await;
        raw.go_away(0, 11).await;
        raw.drain().await;
    });
    let text = "the server gave the connection up: detected excessive load generating behavior (b\"too_many_pings\")";
    faults(&rt, &server, Unreachable, text).await;
}

#[apply(test_on_each_runtime)]
async fn a_goaway_lets_the_calls_it_names_end_and_no_other_begin(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        let first = raw.expect(DATA).await;
        raw.go_away(first.stream, 0).await;
        raw.answer(first.stream, b"still").await;
        raw.drain().await;
    });
    let channel = rt.channel(&server.address).await;
    assert_eq!(channel.unary(PATH, &NONE, "x".into()).await.unwrap(), "still");
    let fault = channel.unary(PATH, &NONE, "x".into()).await.unwrap_err();
    assert_eq!(fault.class, Unreachable, "{fault}");
}

#[apply(test_on_each_runtime)]
async fn a_call_that_a_goaway_names_and_nobody_answers_is_lost(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        let request = raw.expect(DATA).await;
        raw.go_away(request.stream, 0).await;
    });
    faults(&rt, &server, Lost, "the server closed the connection").await;
}

#[apply(test_on_each_runtime)]
async fn a_stream_that_sent_nothing_did_not_happen(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        raw.expect(HEADERS).await;
    });
    let channel = rt.channel(&server.address).await;
    let mut stream = channel.stream(PATH, &NONE);
    let fault = next(&mut *stream).await.unwrap().unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, "the server closed the connection");
    assert_eq!(ready(&mut *stream).await.unwrap_err().class, Unreachable);
}

#[apply(test_on_each_runtime)]
async fn a_broken_stream_says_so_where_it_is_written_too(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move {
        raw.expect(DATA).await;
    });
    let channel = rt.channel(&server.address).await;
    let mut stream = channel.stream(PATH, &NONE);
    send(&mut *stream, "x").await;
    // Only the writing side is looked at.
    let fault: TransportFault = loop {
        match ready(&mut *stream).await {
            Ok(()) => yield_now().await,
            Err(fault) => break fault,
        }
    };
    assert_fault(&fault, Lost, &server.address, "the server closed the connection");
    stream.send("not in order".into());
}

#[apply(test_on_each_runtime)]
async fn a_call_on_a_dead_connection_did_not_happen(rt: Rt) {
    let server = Server::grpc(echo);
    let channel = rt.channel(&server.address).await;
    let address = server.address.clone();
    drop(server);
    let mut last: Option<TransportFault> = None;
    // The first calls may go out, or even be answered, before the end is noticed.
    for _ in 0..1000 {
        match channel.unary(PATH, &NONE, "x".into()).await {
            Err(fault) if fault.class == Unreachable => {
                last = Some(fault);
                break;
            }
            Ok(_) | Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
    let fault = last.expect("the connection is known to be dead");
    assert!(fault.detail.starts_with(&*address), "{fault}");
    // It stays dead, though another server may listen there by now.
    assert_eq!(channel.unary(PATH, &NONE, "x".into()).await.unwrap_err().class, Unreachable);
    let mut stream = channel.stream(PATH, &NONE);
    assert_eq!(ready(&mut *stream).await.unwrap_err().class, Unreachable);
    stream.send("x".into());
    assert_eq!(next(&mut *stream).await.unwrap().unwrap_err().class, Unreachable);
}

#[apply(test_on_each_runtime)]
async fn a_status_is_a_rejection_with_its_message(rt: Rt) {
    let only = answering(
        || {
            let mut head = grpc_head();
            head.headers_mut().extend(status("5", Some("no such %C3%A9tag%C3%A8re")));
            head
        },
        None,
        None,
    );
    faults(&rt, &only, Rejected(5), "no such étagère").await;
    let trailers = answering(grpc_head, None, Some(status("14", Some("down for now"))));
    faults(&rt, &trailers, Rejected(14), "down for now").await;
}

#[apply(test_on_each_runtime)]
async fn an_answer_counts_only_with_its_status(rt: Rt) {
    let server = answering(grpc_head, Some(framed(b"answer")), Some(status("4", Some("too late"))));
    let channel = rt.channel(&server.address).await;
    let fault = channel.unary(PATH, &NONE, "x".into()).await.unwrap_err();
    assert_fault(&fault, Rejected(4), &server.address, "too late");
    let mut stream = channel.stream(PATH, &NONE);
    send(&mut *stream, "x").await;
    assert_eq!(next(&mut *stream).await, Some(Ok("answer".into())), "a stream's messages count at once");
    assert_eq!(next(&mut *stream).await.unwrap().unwrap_err().class, Rejected(4));
}

#[apply(test_on_each_runtime)]
async fn answers_of_others_than_grpc_servers_are_told(rt: Rt) {
    let proxy = answering(|| Response::builder().status(503).body(()).unwrap(), None, None);
    faults(&rt, &proxy, Rejected(14), "HTTP status 503 (service unavailable)").await;
    let web = answering(
        || Response::builder().header("content-type", "text/html").body(()).unwrap(),
        Some(Bytes::from_static(b"<html>")),
        None,
    );
    faults(&rt, &web, Rejected(2), "answer of type \"text/html\", not gRPC").await;
}

#[apply(test_on_each_runtime)]
async fn answers_that_break_grpc_are_lost(rt: Rt) {
    let cut = answering(grpc_head, Some(Bytes::from_static(&[0, 0, 0, 0, 9, 1])), Some(status("0", None)));
    faults(&rt, &cut, Lost, "the server ended the call in the midst of a message").await;
    let silent = answering(grpc_head, Some(Bytes::new()), None);
    faults(&rt, &silent, Lost, "the server ended the call without a status").await;
    let none = answering(grpc_head, None, Some(status("0", None)));
    let fault = rt.channel(&none.address).await.unary(PATH, &NONE, "x".into()).await.unwrap_err();
    assert_fault(&fault, Lost, &none.address, "the server ended the call without an answer");
    let two =
        answering(grpc_head, Some([framed(b"1"), framed(b"2")].concat().into()), Some(status("0", None)));
    let fault = rt.channel(&two.address).await.unary(PATH, &NONE, "x".into()).await.unwrap_err();
    assert_fault(&fault, Lost, &two.address, "the server sent two answers to one request");
}

#[apply(test_on_each_runtime)]
async fn a_message_above_the_limit_is_refused(rt: Rt) {
    let server = Server::grpc(echo);
    let channel = rt.try_channel(&server.address, &options(|options| options.max_message = 4)).await.unwrap();
    assert_eq!(channel.unary(PATH, &NONE, "four".into()).await.unwrap(), "four");
    let fault = channel.unary(PATH, &NONE, "fives".into()).await.unwrap_err();
    assert_fault(
        &fault,
        Rejected(8),
        &server.address,
        "message of 5 bytes, more than the 4 that are accepted",
    );
    assert_eq!(channel.unary(PATH, &NONE, "next".into()).await.unwrap(), "next", "the connection lives on");
}

#[apply(test_on_each_runtime)]
async fn a_call_given_up_is_reset_and_the_connection_lives_on(rt: Rt) {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::grpc(move |mut call: Incoming| {
        let tell = tell.clone();
        async move {
            if call.data().await.ends_with(b"echo") {
                let mut answer = call.begin();
                answer.send_data(framed(b"here"), false).unwrap();
                answer.send_trailers(status("0", None)).unwrap();
                return;
            }
            let reset = std::future::poll_fn(|cx| call.respond.poll_reset(cx)).await.unwrap();
            tell.send(reset).unwrap();
        }
    });
    let channel = rt.channel(&server.address).await;
    let unary = rt.spawn(channel.unary(PATH, &NONE, "hang".into()));
    let mut stream = channel.stream(PATH, &NONE);
    send(&mut *stream, "hang").await;
    yield_now().await;
    drop(stream);
    assert_eq!(told.recv().await.unwrap(), h2::Reason::CANCEL);
    unary.abort();
    assert_eq!(told.recv().await.unwrap(), h2::Reason::CANCEL);
    assert_eq!(channel.unary(PATH, &NONE, "echo".into()).await.unwrap(), "here");
    let channel: &dyn Channel = &*channel;
    eventually("the channel is printed", || format!("{channel:?}").contains(&server.address)).await;
}

#[apply(test_on_each_runtime)]
async fn a_bad_path_is_told(rt: Rt) {
    let server = Server::grpc(echo);
    let channel = rt.channel(&server.address).await;
    let fault = channel.unary("/a b", &NONE, Bytes::new()).await.unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, "\"/a b\" is not a path: invalid uri character");
}
