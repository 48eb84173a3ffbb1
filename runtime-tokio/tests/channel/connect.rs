//! Connecting: every failure is told with the address and its cause, in time, and leaves nothing behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tikv_client_tokio::Tokio;
use tikv_client_tokio::client::Runtime;
use tikv_client_tokio::machine::TransportClass::Unreachable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{Server, echo};
use super::{PATH, assert_fault, connect, eventually, no_tasks, options, try_connect};

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_refused_connection_is_told() {
    let address = nobody();
    let fault = try_connect(&address, &options(|_| {})).await.unwrap_err();
    assert_fault(&fault, Unreachable, &address, "connection refused (os error 111)");
    no_tasks().await;
}

#[tokio::test]
async fn a_host_that_says_nothing_is_unreachable_in_time() {
    // It accepts, and never speaks.
    let server = Server::new(|mut socket| async move {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap_or_default();
    });
    let began = Instant::now();
    let options = options(|options| options.timeout = Duration::from_millis(30));
    let fault = try_connect(&server.address, &options).await.unwrap_err();
    assert_fault(&fault, Unreachable, &server.address, "not connected within 30ms");
    assert!(began.elapsed() >= Duration::from_millis(30));
    no_tasks().await;
}

#[tokio::test]
async fn a_host_that_hangs_up_is_unreachable() {
    let server = Server::new(|socket| async move { drop(socket) });
    let fault = try_connect(&server.address, &options(|_| {})).await.unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.starts_with(&server.address), "{fault}");
    no_tasks().await;
}

#[tokio::test]
async fn a_host_that_does_not_speak_http2_is_unreachable() {
    let server = Server::new(|mut socket| async move {
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap_or_default();
    });
    let fault = try_connect(&server.address, &options(|_| {})).await.unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.starts_with(&format!("{}: ", server.address)), "{fault}");
    no_tasks().await;
}

#[tokio::test]
async fn what_is_no_address_is_told() {
    for address in ["", "localhost", "127.0.0.1", "127.0.0.1:x", "a b:1", "127.0.0.1:99999"] {
        let fault = try_connect(address, &options(|_| {})).await.unwrap_err();
        assert_eq!(fault.class, Unreachable);
        assert!(fault.detail.starts_with(&format!("{address}: ")), "{fault}");
    }
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let server = Server::grpc(echo);
    let port = server.address.rsplit_once(':').unwrap().1;
    let channel = connect(&format!("localhost:{port}")).await;
    assert_eq!(channel.unary(PATH, "x".into()).await.unwrap(), "x");
}

#[tokio::test]
async fn connecting_can_be_given_up() {
    let server = Server::new(|mut socket| async move {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap_or_default();
    });
    let runtime = Tokio::current().unwrap();
    let metrics = tokio::runtime::Handle::current().metrics();
    let connecting = tokio::spawn(runtime.connect(Arc::from(&*server.address), &options(|_| {})));
    eventually("connecting runs", || metrics.num_alive_tasks() == 2).await;
    connecting.abort();
    no_tasks().await;
    drop(runtime.connect(Arc::from(&*server.address), &options(|_| {})));
    assert_eq!(metrics.num_alive_tasks(), 0, "nothing begins before it is polled");
}

#[tokio::test]
async fn a_connection_ends_with_its_channel_and_calls() {
    let server = Server::grpc(echo);
    let channel = connect(&server.address).await;
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 1, "one task a connection, however many calls");
    let stream = channel.stream(PATH);
    let unary = channel.unary(PATH, "never polled".into());
    drop(channel);
    drop(unary);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(metrics.num_alive_tasks(), 1, "a call keeps its connection");
    drop(stream);
    no_tasks().await;
}

#[tokio::test]
async fn a_connection_ends_though_the_server_takes_no_goodbye() {
    // It says its settings and then never reads, so that the client's last bytes find no room.
    let server = Server::raw(|raw| async move {
        std::future::pending::<()>().await;
        drop(raw);
    });
    let options = options(|options| options.keepalive_timeout = Duration::from_millis(30));
    let channel = try_connect(&server.address, &options).await.unwrap();
    let calls: Vec<_> = (0..200).map(|_| channel.unary(PATH, vec![0; 1 << 20].into())).collect();
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for call in calls {
        call.abort();
    }
    drop(channel);
    no_tasks().await;
}

#[cfg(not(feature = "__tls"))]
#[tokio::test]
async fn without_tls_asking_for_it_is_refused() {
    use tikv_client_tokio::config::{Security, Tls};

    let server = Server::grpc(echo);
    let options = options(|options| options.security = Security::Tls(Tls::new("")));
    let fault = try_connect(&server.address, &options).await.unwrap_err();
    let text =
        "TLS was asked for, but this program was built without it: turn on the feature `ring` or `aws-lc`";
    assert_fault(&fault, Unreachable, &server.address, text);
}
