//! What a runtime gives: time, tasks, and channels that move bytes. No protocol is decided behind these traits.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::config::Security;
use crate::machine::{Address, TransportFault};
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
    /// Bytes the peer may send before we read them, for a stream and for the connection.
    pub window: u32,
    /// The largest message that is accepted, bytes.
    pub max_message: usize,
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
            max_message: usize::MAX,
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
    /// Calls a unary method.
    fn unary(&self, path: &'static str, body: Bytes) -> BoxFuture<Result<Bytes, TransportFault>>;
    /// Starts a bidirectional stream. Messages can be sent before the server has said anything.
    fn stream(&self, path: &'static str) -> Box<dyn ByteStream>;
}

/// A bidirectional stream of encoded messages.
pub trait ByteStream: fmt::Debug + Send {
    /// Whether a message can be sent now.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>>;
    /// Sends a message; only after [`poll_ready`](Self::poll_ready) was ready.
    fn send(&mut self, message: Bytes);
    /// The next message; `None` when the server ended the stream without an error.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportFault>>>;
}
