//! Connections whose peer is gone without a word are found out; those whose peer lives are left alone.

use macro_rules_attribute::apply;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tikv_client_core::client::ConnectOptions;
use tikv_client_core::machine::TransportClass::{Lost, Unreachable};

use crate::fixture::sleep;
use crate::runtimes::{Rt, test_on_each_runtime};

use super::server::{ACK, DATA, HEADERS, PING, Raw, Server};
use super::{NONE, PATH, assert_fault, eventually, next, options, send};

fn quick() -> ConnectOptions {
    options(|options| {
        options.keepalive_interval = Duration::from_millis(20);
        options.keepalive_timeout = Duration::from_millis(30);
    })
}

const SILENCE: &str = "no answer to a ping within 30ms";

#[apply(test_on_each_runtime)]
async fn a_peer_that_does_not_answer_a_ping_is_dead(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move { raw.drain().await });
    let channel = rt.try_channel(&server.address, &quick()).await.unwrap();
    let fault = channel.unary(PATH, &NONE, "x".into()).await.unwrap_err();
    assert_fault(&fault, Lost, &server.address, SILENCE);
    let fault = channel.unary(PATH, &NONE, "x".into()).await.unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, SILENCE);
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn a_stream_without_traffic_is_watched(rt: Rt) {
    let server = Server::raw(|mut raw: Raw| async move { raw.drain().await });
    let channel = rt.try_channel(&server.address, &quick()).await.unwrap();
    let mut stream = channel.stream(PATH, &NONE);
    send(&mut *stream, "x").await;
    let fault = next(&mut *stream).await.unwrap().unwrap_err();
    assert_fault(&fault, Lost, &server.address, SILENCE);
}

/// Answers pings, and the call after `pings` of them.
async fn answer_after(mut raw: Raw, pings: usize) {
    let mut came = 0;
    let mut call = 0;
    while let Some(frame) = raw.read().await {
        match frame.kind {
            HEADERS => call = frame.stream,
            PING if frame.flags & ACK == 0 => {
                raw.write(PING, ACK, 0, &frame.payload).await;
                came += 1;
                if came == pings {
                    raw.answer(call, b"alive").await;
                }
            }
            _ => {}
        }
    }
}

#[apply(test_on_each_runtime)]
async fn a_peer_that_answers_pings_may_take_its_time(rt: Rt) {
    let server = Server::raw(|raw| answer_after(raw, 4));
    let options = options(|options| options.keepalive_interval = Duration::from_millis(10));
    let channel = rt.try_channel(&server.address, &options).await.unwrap();
    assert_eq!(channel.unary(PATH, &NONE, "x".into()).await.unwrap(), "alive");
}

#[apply(test_on_each_runtime)]
async fn whatever_comes_is_a_sign_of_life(rt: Rt) {
    // It never answers a ping, but sends pings of its own.
    let server = Server::raw(|mut raw: Raw| async move {
        let call = raw.expect(DATA).await.stream;
        for _ in 0..30 {
            raw.write(PING, 0, 0, b"12345678").await;
            sleep(Duration::from_millis(5)).await;
        }
        raw.answer(call, b"alive").await;
        raw.drain().await;
    });
    let options = options(|options| {
        options.keepalive_interval = Duration::from_millis(1);
        options.keepalive_timeout = Duration::from_millis(80);
    });
    let channel = rt.try_channel(&server.address, &options).await.unwrap();
    assert_eq!(channel.unary(PATH, &NONE, "x".into()).await.unwrap(), "alive");
}

#[apply(test_on_each_runtime)]
async fn no_ping_goes_out_while_no_call_is_open(rt: Rt) {
    let pings = Arc::new(AtomicUsize::new(0));
    let server = Server::raw({
        let pings = Arc::clone(&pings);
        move |mut raw: Raw| {
            let pings = Arc::clone(&pings);
            async move {
                while let Some(frame) = raw.read().await {
                    if frame.kind == PING && frame.flags & ACK == 0 {
                        pings.fetch_add(1, Ordering::Relaxed);
                        raw.write(PING, ACK, 0, &frame.payload).await;
                    }
                }
            }
        }
    });
    let interval = Duration::from_millis(5);
    let options = options(|options| options.keepalive_interval = interval);
    let channel = rt.try_channel(&server.address, &options).await.unwrap();
    sleep(10 * interval).await;
    assert_eq!(pings.load(Ordering::Relaxed), 0, "before the first call");
    let stream = channel.stream(PATH, &NONE);
    eventually("pings while a call is open", || pings.load(Ordering::Relaxed) > 1).await;
    drop(stream);
    // One that was on its way may still come.
    sleep(4 * interval).await;
    let before = pings.load(Ordering::Relaxed);
    sleep(10 * interval).await;
    assert_eq!(pings.load(Ordering::Relaxed), before, "after the last call");
}
