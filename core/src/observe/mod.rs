//! What operations do, for those who look on: metrics, spans, flight recorders, details of calls.
//!
//! All that an operation does crosses one boundary: its effects and its completions. An [`Observer`] is told of them, in the
//! order in which they happen, by the task that runs the operation. It changes nothing of what the operation does; who wants
//! that is an [`Interceptor`](crate::request::Interceptor). Without an observer nothing is built and nothing is paid.
//!
//! [`event`] has what is told; [`Category`] sorts it. [`Collector`] adds up the details of calls.
#![cfg_attr(feature = "tracing", doc = "[`Spans`] makes spans of it by the `tracing` crate.")]
//!
//! An observer is named by a client, a transaction or a call: see [`RequestOptions`](crate::request::RequestOptions).
//!
//! client-go: `trace/trace.go`, whose hooks belong to the process; here they belong to who names them.

mod category;
mod collector;
pub mod event;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(test)]
mod tests;

use std::fmt;

pub use category::Category;
pub use collector::{Collector, RequestDetail};
pub use event::{Event, Operation};
#[cfg(feature = "tracing")]
pub use spans::Spans;

use crate::types::{Instant, WallTime};

/// Sees what operations do. See the module.
pub trait Observer: fmt::Debug + Send + Sync {
    /// An operation begins: what is given back sees what it does. `None`: it is of no interest.
    ///
    /// client-go: `trace/trace.go: IsCategoryEnabled`.
    fn begins(&self, operation: &Operation<'_>) -> Option<Box<dyn Watch>>;
}

/// Sees what one operation does. Dropped when it is over.
pub trait Watch: Send {
    /// Something happened. Called by the task that runs the operation: it must not block.
    ///
    /// client-go: `trace/trace.go: TraceEvent`.
    fn see(&mut self, event: &Event<'_>, at: At);
}

/// When something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the two clocks and nothing else")]
pub struct At {
    /// On the client's clock.
    pub now: Instant,
    /// On the wall.
    pub wall: WallTime,
}
