//! Connecting: every failure is told with the address and its cause, in time, and leaves nothing behind.

use macro_rules_attribute::apply;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tikv_client_core::machine::TransportClass::Unreachable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::sleep;
use crate::runtimes::{Rt, test_on_each_runtime};

use super::server::{Server, echo};
use super::{NONE, PATH, assert_fault, eventually, options};

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[apply(test_on_each_runtime)]
async fn a_refused_connection_is_told(rt: Rt) {
    let address = nobody();
    let fault = rt.try_channel(&address, &options(|_| {})).await.unwrap_err();
    assert_fault(&fault, Unreachable, &address, "connection refused (os error 111)");
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn a_host_that_says_nothing_is_unreachable_in_time(rt: Rt) {
    // It accepts, and never speaks.
    let server = Server::new(|mut socket| async move {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap_or_default();
    });
    let began = Instant::now();
    let options = options(|options| options.timeout = Duration::from_millis(30));
    let fault = rt.try_channel(&server.address, &options).await.unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, "not connected within 30ms");
    assert!(began.elapsed() >= Duration::from_millis(30));
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn a_host_that_hangs_up_is_unreachable(rt: Rt) {
    let server = Server::new(|socket| async move { drop(socket) });
    let fault = rt.try_channel(&server.address, &options(|_| {})).await.unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.starts_with(&server.address), "{fault}");
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn a_host_that_does_not_speak_http2_is_unreachable(rt: Rt) {
    let server = Server::new(|mut socket| async move {
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap_or_default();
    });
    let fault = rt.try_channel(&server.address, &options(|_| {})).await.unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.starts_with(&format!("{}: ", server.address)), "{fault}");
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn what_is_no_address_is_told(rt: Rt) {
    for address in ["", "localhost", "127.0.0.1", "127.0.0.1:x", "a b:1", "127.0.0.1:99999"] {
        let fault = rt.try_channel(address, &options(|_| {})).await.unwrap_err();
        assert_eq!(fault.class, Unreachable);
        assert!(fault.detail.starts_with(&format!("{address}: ")), "{fault}");
    }
}

#[apply(test_on_each_runtime)]
async fn a_name_is_looked_up(rt: Rt) {
    let server = Server::grpc(echo);
    let port = server.address.rsplit_once(':').unwrap().1;
    let channel = rt.channel(&format!("localhost:{port}")).await;
    assert_eq!(channel.unary(PATH, &NONE, "x".into()).await.unwrap(), "x");
}

#[apply(test_on_each_runtime)]
async fn connecting_can_be_given_up(rt: Rt) {
    let server = Server::new(|mut socket| async move {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap_or_default();
    });
    let connecting = rt.spawn(rt.runtime().connect(Arc::from(&*server.address), &options(|_| {})));
    eventually("connecting runs", || server.connections() == 1).await;
    connecting.abort();
    eventually("the socket is closed", || server.connections() == 0).await;
    rt.no_tasks().await;
    drop(rt.runtime().connect(Arc::from(&*server.address), &options(|_| {})));
    assert_eq!(rt.tasks(), 0, "nothing begins before it is polled");
}

#[apply(test_on_each_runtime)]
async fn a_connection_ends_with_its_channel_and_calls(rt: Rt) {
    let server = Server::grpc(echo);
    let channel = rt.channel(&server.address).await;
    let streams: Vec<_> = (0..9).map(|_| channel.stream(PATH, &NONE)).collect();
    let unary = channel.unary(PATH, &NONE, "never polled".into());
    sleep(Duration::from_millis(10)).await;
    // On tokio a sleep is a task, too.
    assert!(rt.tasks() <= 2, "one task a connection, however many calls");
    drop(channel);
    drop(unary);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(server.connections(), 1, "a call keeps its connection");
    drop(streams);
    eventually("the connection is closed", || server.connections() == 0).await;
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn a_connection_ends_though_the_server_takes_no_goodbye(rt: Rt) {
    // It says its settings and then never reads, so that the client's last bytes find no room.
    let server = Server::raw(|raw| async move {
        std::future::pending::<()>().await;
        drop(raw);
    });
    let options = options(|options| options.keepalive_timeout = Duration::from_millis(30));
    let channel = rt.try_channel(&server.address, &options).await.unwrap();
    let calls: Vec<_> = (0..200).map(|_| channel.unary(PATH, &NONE, vec![0; 1 << 20].into())).collect();
    let calls: Vec<_> = calls.into_iter().map(|call| rt.spawn(call)).collect();
    sleep(Duration::from_millis(50)).await;
    for call in calls {
        call.abort();
    }
    drop(channel);
    rt.no_tasks().await;
}
