//! A TiKV client on tokio.
//!
//! This crate re-exports all of `tikv-client-core` and gives its clients [`Tokio`] as their runtime. The client's tasks run
//! on that tokio runtime; its calls can be awaited on any executor.
//!
//! # Cargo features
//!
//! * `ring` (default): TLS by rustls on ring.
//! * `aws-lc`: TLS by rustls on aws-lc-rs; goes before `ring` where both are on. Needs a C compiler, at times cmake.
//!
//! With neither, plain connections work and asking for TLS is refused with a text that says so. Which of the two is used
//! is never taken from the process's default.

mod channel;
mod runtime;
mod tls;

pub use runtime::{NoRuntime, Tokio};
pub use tikv_client_core::*;
