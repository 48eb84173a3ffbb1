//! The runtime and its channels against small servers, most of which misbehave.
//!
//! `server` has them: HTTP/2 servers that a test gives a handler, and raw ones that a test leads frame by frame. They run
//! on a runtime of their own, so that a test can count the tasks of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod calls;
mod connect;
mod faults;
mod keepalive;
mod runtime;
mod server;
#[cfg(feature = "__tls")]
mod tls;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tikv_client_tokio::Tokio;
use tikv_client_tokio::client::{ByteStream, Channel, ConnectOptions, Runtime};
use tikv_client_tokio::machine::{TransportClass, TransportFault};

const PATH: &str = "/test.Service/Method";

/// Time-outs that a healthy test never meets.
const PATIENCE: Duration = Duration::from_secs(20);

/// Options with time-outs that a healthy test never meets; `change` makes the test's own.
fn options(change: impl FnOnce(&mut ConnectOptions)) -> ConnectOptions {
    let mut options = ConnectOptions::default();
    options.timeout = PATIENCE;
    options.keepalive_interval = PATIENCE;
    options.keepalive_timeout = PATIENCE;
    change(&mut options);
    options
}

async fn try_connect(address: &str, options: &ConnectOptions) -> Result<Box<dyn Channel>, TransportFault> {
    Tokio::current().unwrap().connect(Arc::from(address), options).await
}

async fn connect(address: &str) -> Box<dyn Channel> {
    try_connect(address, &options(|_| {})).await.unwrap()
}

async fn ready(stream: &mut dyn ByteStream) -> Result<(), TransportFault> {
    poll_fn(|cx| stream.poll_ready(cx)).await
}

async fn next(stream: &mut dyn ByteStream) -> Option<Result<Bytes, TransportFault>> {
    poll_fn(|cx| stream.poll_next(cx)).await
}

async fn send(stream: &mut dyn ByteStream, message: impl Into<Bytes>) {
    ready(stream).await.unwrap();
    stream.send(message.into());
}

#[track_caller]
fn assert_fault(fault: &TransportFault, class: TransportClass, address: &str, text: &str) {
    assert_eq!((fault.class, &*fault.detail), (class, &*format!("{address}: {text}")));
}

/// Waits until `holds`.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until no task of this runtime is left (a test's own body is not counted as one).
async fn no_tasks() {
    let metrics = tokio::runtime::Handle::current().metrics();
    eventually("no task is left", || metrics.num_alive_tasks() == 0).await;
}
