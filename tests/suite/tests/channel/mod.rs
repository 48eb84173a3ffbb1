//! Runtimes and their channels against small servers, most of which misbehave.
//!
//! `server` has them: HTTP/2 servers that a test gives a handler, and raw ones that a test leads frame by frame. They run
//! on a tokio runtime of their own, so that a test can count the tasks of its own. `time` and `ended` are about runtimes
//! alone, the rest about channels: `connect` them, `calls` that go well, `faults` of those that do not, `keepalive`, `tls`.

mod calls;
mod connect;
mod ended;
mod faults;
mod keepalive;
pub(crate) mod server;
mod time;
mod tls;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tikv_client_core::client::{ByteStream, Channel, ConnectOptions};
use tikv_client_core::machine::{Metadata, TransportClass, TransportFault};

use crate::fixture::{PATIENCE, sleep};
use crate::runtimes::Rt;

const PATH: &str = "/test.Service/Method";

/// No headers beside gRPC's.
const NONE: Metadata = Vec::new();

/// Options with time-outs that a healthy test never meets; `change` makes the test's own.
fn options(change: impl FnOnce(&mut ConnectOptions)) -> ConnectOptions {
    let mut options = ConnectOptions::default();
    options.timeout = PATIENCE;
    options.keepalive_interval = PATIENCE;
    options.keepalive_timeout = PATIENCE;
    change(&mut options);
    options
}

impl Rt {
    /// Makes a channel.
    async fn try_channel(
        &self,
        address: &str,
        options: &ConnectOptions,
    ) -> Result<Box<dyn Channel>, TransportFault> {
        self.runtime().connect(Arc::from(address), options).await
    }

    /// Makes a channel to a server that lives.
    async fn channel(&self, address: &str) -> Box<dyn Channel> {
        self.try_channel(address, &options(|_| {})).await.unwrap()
    }
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
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}
