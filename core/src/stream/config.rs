//! Bounds of the streams to one store.

use std::time::Duration;

use super::batch::BatchPolicy;
use super::flight::MOST;
use super::rate::Rate;

/// Bounds of the streams to one store.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StreamConfig {
    /// Requests in one frame at the most; 0: each request is a call of its own. client-go: `max-batch-size`.
    pub max_batch: usize,
    /// A frame of this many bytes takes no further request.
    pub max_frame_bytes: usize,
    /// Requests that wait for a stream to take them at the most; more are refused at once.
    pub max_queued: usize,
    /// Requests that are sent and not answered at the most; those of high priority are not held back by it. client-go:
    /// `max-concurrency-request-limit`, for each connection, and soft: up to twice as many were let through.
    pub max_in_flight: usize,
    /// The most requests in a time; `None`: as many as come.
    pub rate: Option<Rate>,
    /// Connections to one store at the most. client-go: `grpc-connection-count`.
    pub connections: u32,
    /// A further connection is made once each has so many requests in flight: few requests share their frames, many share
    /// the store's threads. client-go makes all at once and takes turns.
    pub per_connection: usize,
    /// Whether a frame waits for more requests. client-go: `batch-policy`.
    pub policy: BatchPolicy,
    /// How long a frame waits for more requests while the store says that it is overloaded; zero: not at all. client-go:
    /// `max-batch-wait-time`.
    pub batch_wait: Duration,
    /// For so many requests. client-go: `batch-wait-size`.
    pub batch_wait_size: usize,
    /// The load, in percent of a core of the store's connections, above which it is overloaded. client-go:
    /// `overload-threshold`.
    pub overload_threshold: u64,
    /// Connections that nothing was sent on for so long are closed; the next request makes them anew. client-go:
    /// `internal/client/conn_batch.go: idleTimeout`.
    pub idle_timeout: Duration,
    /// The first pause after a stream could not be opened; doubles each time.
    pub reconnect_base: Duration,
    /// The longest pause.
    pub reconnect_cap: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            max_batch: 128,
            max_frame_bytes: 4 << 20,
            max_queued: 1 << 16,
            max_in_flight: MOST,
            rate: None,
            connections: 4,
            per_connection: 256,
            policy: BatchPolicy::default(),
            batch_wait: Duration::ZERO,
            batch_wait_size: 8,
            overload_threshold: 200,
            idle_timeout: Duration::from_secs(180),
            reconnect_base: Duration::from_millis(100),
            reconnect_cap: Duration::from_secs(2),
        }
    }
}
