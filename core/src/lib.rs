//! The sans-IO core of a TiKV client: all protocol logic as machines, and the client types that applications use.
//!
//! A program takes this crate through a runtime's crate (`tikv-client-tokio`), whose `connect` gives a
//! [`client::Client`]. The layers, from the top down:
//!
//! * [`client`]: what applications call, and the drivers that connect machines with a runtime;
//! * operations: `raw`, `snapshot`, `txn`, [`range_task`] (regions as such);
//! * building blocks: `region_call` (one request to one region, with its retries), `lock`; [`replica`] (which replica is asked);
//! * services and shared state: [`region`], [`store`], [`stream`], [`pd`], [`tso`], [`timers`];
//! * for who looks on: [`observe`], [`metrics`], [`details`], [`trace`];
//! * values: [`explain`], [`request`], [`backoff`], [`codec`], [`config`], [`error`], [`types`];
//! * [`machine`]: the kernel.

pub mod backoff;
pub mod client;
pub mod codec;
pub mod config;
pub mod details;
pub mod error;
pub mod explain;
pub mod lock;
pub mod machine;
pub mod membuf;
pub mod metrics;
pub mod observe;
pub mod pd;
pub mod range_task;
pub mod raw;
pub mod region;
pub mod region_call;
pub mod replica;
pub mod request;
pub mod snapshot;
pub mod start;
pub mod store;
pub mod stream;
pub mod timers;
pub mod trace;
pub mod tso;
pub mod txn;
pub mod types;
