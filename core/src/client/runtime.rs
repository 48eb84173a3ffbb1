//! What a runtime gives: time, tasks, and channels that move bytes. No protocol is decided behind these traits.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::config::Security;
use crate::machine::{Address, Metadata, TransportFault};
use crate::types::{Instant, WallTime};

/// A future on the heap that any thread can poll.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Time, as operations need it: reading it calls no executor.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The client's monotonic clock.
    fn now(&self) -> Instant;
    /// The host's wall clock.
    fn wall(&self) -> WallTime;
}

/// Whether messages are compressed on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// By gzip, both ways, where it makes them smaller. Needs the runtime's feature `gzip`; without it connecting is refused.
    Gzip,
}

/// How a channel is to be connected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// How long connecting may take.
    pub timeout: Duration,
    /// A ping goes out when nothing came for this long.
    pub keepalive_interval: Duration,
    /// The connection is dead when a ping is not answered in this time.
    pub keepalive_timeout: Duration,
    /// Bytes the peer may send on one stream before we read them; at most 2³¹ − 1. client-go: `grpc-initial-window-size`.
    pub window: u32,
    /// Bytes the peer may send on all streams of a connection before we read them; at most 2³¹ − 1. client-go:
    /// `grpc-initial-conn-window-size`.
    pub connection_window: u32,
    /// The largest message that is accepted, bytes, after it was decompressed. client-go: `MaxRecvMsgSize`.
    pub max_message: usize,
    /// The largest message that is sent, bytes; a call with a larger one fails as unreachable before anything is sent.
    /// HTTP/2 bounds it at 2³¹ − 6.
    pub max_sent_message: usize,
    /// Whether messages are compressed. client-go: `grpc-compression-type`.
    pub compression: Compression,
    /// Plain or TLS.
    pub security: Security,
}

impl Default for ConnectOptions {
    /// client-go: `config/client.go: DefaultTiKVClient`, `internal/client/conn_pool.go`.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(3),
            window: 128 << 20,
            connection_window: 128 << 20,
            max_message: usize::MAX,
            max_sent_message: usize::MAX,
            compression: Compression::default(),
            security: Security::default(),
        }
    }
}

/// An executor with its I/O: spawns tasks, sleeps, connects. Given to the client's service tasks only; operations
/// and `drop` never call it.
pub trait Runtime: Clock {
    /// Completes at `at`.
    fn sleep_until(&self, at: Instant) -> BoxFuture<()>;
    /// Runs `task` to its end, or until the runtime ends.
    fn spawn(&self, task: BoxFuture<()>);
    /// Connects to `host:port`.
    ///
    /// Fails with [`TransportClass::Unreachable`](crate::machine::TransportClass::Unreachable) and a text that names the
    /// address.
    fn connect(
        &self,
        to: Address,
        options: &ConnectOptions,
    ) -> BoxFuture<Result<Box<dyn Channel>, TransportFault>>;
}

/// A connection that carries gRPC calls of encoded messages.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Calls a unary method with these headers beside gRPC's own. Dropping the future gives the call up, and the server
    /// learns of it.
    fn unary(
        &self,
        path: &'static str,
        metadata: &Metadata,
        body: Bytes,
    ) -> BoxFuture<Result<Bytes, TransportFault>>;
    /// Starts a bidirectional stream with these headers beside gRPC's own. Messages can be sent before the server has said
    /// anything.
    fn stream(&self, path: &'static str, metadata: &Metadata) -> Box<dyn ByteStream>;
}

/// A bidirectional stream of encoded messages.
pub trait ByteStream: fmt::Debug + Send {
    /// Whether a message can be sent now.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>>;
    /// Sends a message; only after [`poll_ready`](Self::poll_ready) was ready.
    fn send(&mut self, message: Bytes);
    /// Says that no message follows. The server's may still come.
    fn finish(&mut self);
    /// The next message; `None` when the server ended the stream without an error.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportFault>>>;
}
