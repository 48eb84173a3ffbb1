//! The cluster behind gRPC, on the loopback interface.
//!
//! * [`builder`]: what a cluster is to be like, and its start.
//! * [`embedded`]: [`Embedded`], the handle: where it listens, and what a test does to it.
//! * `topology`: more of what a test does: to stores, regions and PD.
//! * `shared`: the model behind its lock, the clock, and the replies that come later.
//! * `place`: the thread with its runtime, the listeners, their connections.
//! * `dispatch`: one HTTP/2 connection, and which of the following answers a call.
//! * `pd`, `store`, `batch`: PD's calls, a store's calls one by one, a store's `BatchCommands` stream.
//! * `http1`: plain HTTP on the same ports.
//! * `grpc`: messages and statuses on HTTP/2 streams.
//!
//! One thread serves a cluster, with a runtime of its own, so that any executor and plain blocking code can use it. A
//! call is a lock, a step of the model, and an answer; nothing waits while the lock is held.

mod batch;
pub mod builder;
mod dispatch;
pub mod embedded;
mod grpc;
mod http1;
mod pd;
mod place;
mod shared;
mod store;
mod topology;

pub use builder::{Builder, StartError};
pub use embedded::{ControlError, Embedded, Fault};
