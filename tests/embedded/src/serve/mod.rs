//! The cluster behind gRPC, on the loopback interface.
//!
//! * [`builder`]: what a cluster is to be like, and its start. `wait`: a start in blocking code.
//! * [`cluster`]: [`Cluster`], the handle: where it listens, its servers come and go. `topology`, `regions`: what a
//!   test does to stores, regions, PD and the clock. [`fault`]: [`Fault`], rules at work.
//! * [`carry_out`]: instructions as text, carried out. [`admin`]: the port on which another process gives them.
//! * [`state`]: what there is to see of a running cluster, as data, as JSON and as a table.
//! * `shared`: the model behind its lock, the clock, and the replies that come later.
//! * `place`: the thread with its runtime, the listeners, their connections.
//! * `dispatch`: one HTTP/2 connection, and which of the following answers a call.
//! * `pd`, `store`, `batch`: PD's calls, a store's calls one by one, a store's `BatchCommands` stream.
//! * `http1`: plain HTTP on the same ports.
//! * `grpc`: messages and statuses on HTTP/2 streams.
//!
//! One thread serves a cluster, with a runtime of its own, so that any executor and plain blocking code can use it. A
//! call is a lock, a step of the model, and an answer; nothing waits while the lock is held.

pub mod admin;
mod batch;
pub mod builder;
pub mod carry_out;
pub mod cluster;
mod dispatch;
pub mod fault;
mod grpc;
mod http1;
mod pd;
mod place;
mod regions;
mod shared;
pub mod state;
mod store;
mod topology;
mod wait;

pub use admin::Admin;
pub use builder::{Builder, Regions, StartError, Starting};
pub use carry_out::Outcome;
pub use cluster::{Cluster, ControlError};
pub use fault::Fault;
pub use state::State;
