//! Metrics: numbers about what the client does, under the names that client-go gives them, so that dashboards go on working.
//!
//! [`Metric`] is the catalogue: name, kind, labels, buckets. A [`Sink`] takes samples; a program that has one gives it to its
//! client ([`Config::metrics`](crate::config::Config::metrics)), and nothing is global. Nothing is counted without it. `watch`
//! makes the samples of operations of what an observer sees of them.
#![cfg_attr(
    feature = "metrics",
    doc = "[`Facade`] is a sink for any recorder of the `metrics` crate: Prometheus, OpenTelemetry."
)]
//!
//! client-go: `metrics/metrics.go`.

mod catalog;
#[cfg(feature = "metrics")]
mod facade;
mod labels;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::time::Duration;

pub use catalog::{Buckets, Metric, MetricKind};
#[cfg(feature = "metrics")]
pub use facade::Facade;
pub use labels::Label;
pub(crate) use watch::OperationMetrics;

/// Takes samples.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Takes one. Called by the task that runs an operation, or a service of the client: it must not block.
    fn record(&self, sample: &Sample<'_>);
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample<'a> {
    /// What it is of.
    pub metric: Metric,
    /// Its labels, in the order of [`Metric::labels`].
    pub labels: &'a [Label],
    /// The number: what to add to a counter, what a gauge is set to, what a histogram or a summary observes. Times are seconds.
    pub value: f64,
}

impl<'a> Sample<'a> {
    /// A sample.
    #[must_use]
    pub fn new(metric: Metric, labels: &'a [Label], value: f64) -> Self {
        debug_assert_eq!(labels.len(), metric.labels().len(), "{metric:?}");
        Self { metric, labels, value }
    }
}

/// Reads of at most so many keys, and of less than [`SMALL_BYTES`], count as small.
const SMALL_KEYS: u64 = 20;

/// See [`SMALL_KEYS`].
const SMALL_BYTES: u64 = 1 << 20;

/// Counts a program's read among the indicators of the service level: a small one by its time, another one by its throughput.
/// For programs that know which of their calls make up one read.
///
/// client-go: `metrics/metrics.go: ObserveReadSLI`.
pub fn observe_read(sink: &dyn Sink, keys: u64, time: Duration, bytes: u64) {
    if keys == 0 || time.is_zero() {
        return;
    }
    let seconds = time.as_secs_f64();
    let (metric, value) = if keys <= SMALL_KEYS && bytes < SMALL_BYTES {
        (Metric::SmallReadDuration, seconds)
    } else {
        (Metric::ReadThroughput, bytes as f64 / seconds)
    };
    sink.record(&Sample::new(metric, &[], value));
}
