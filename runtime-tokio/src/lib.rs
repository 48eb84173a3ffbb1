//! A TiKV client on tokio.
//!
//! ```no_run
//! # async fn example() -> Result<(), tikv_client_tokio::error::Error> {
//! use tikv_client_tokio::config::Config;
//!
//! let client = tikv_client_tokio::connect(["127.0.0.1:2379"], Config::default()).await?;
//! # drop(client);
//! # Ok(())
//! # }
//! ```
//!
//! [`connect`] gives the client of `tikv-client-core`, all of which this crate re-exports, with [`Tokio`] as its runtime.
//! The client's tasks run on the tokio runtime that `connect` was called in, or the one whose handle was given to
//! [`Tokio::new`]; its calls can be awaited on any executor.
//!
//! # Cargo features
//!
//! * `ring` (default): TLS by rustls on ring.
//! * `aws-lc`: TLS by rustls on aws-lc-rs; goes before `ring` where both are on. Needs a C compiler, at times cmake.
//! * `gzip`: messages compressed by gzip, where [`Compression`](client::Compression) asks for it. In pure Rust.
//! * `metrics`: `metrics::Facade`, a sink of the client's metrics for any recorder of the `metrics` crate.
//! * `tracing`: `observe::Spans`, spans of operations and requests.
//! * `serde`: [`config::Config`] in files, such as TOML.
//! * `tonic`: `grpc_status`, for services that are themselves served by tonic.
//!
//! Without the first two plain connections work and asking for TLS is refused with a text that says so. Which of the two is used
//! is never taken from the process's default.

mod runtime;
#[cfg(feature = "tonic")]
mod status;

use std::sync::Arc;

pub use runtime::{NoRuntime, Tokio};
#[cfg(feature = "tonic")]
pub use status::grpc_status;
pub use tikv_client_core::*;
pub use tikv_client_runtime::Wait;

use client::Client;
use config::Config;
use error::Error;
use machine::{TransportClass, TransportFault};

/// Connects to the cluster whose PD members have `endpoints` (`host:port`), within the tokio runtime that this is called
/// in.
///
/// # Errors
/// Those of [`Client::connect`], and [`Error::Transport`] when this is not called in a tokio runtime.
///
/// # Cancel safety
/// Dropping the future ends what it had started.
pub async fn connect(
    endpoints: impl IntoIterator<Item = impl AsRef<str>>,
    config: Config,
) -> Result<Client, Error> {
    let runtime = Tokio::current().map_err(|none| Error::Transport {
        operation: "connect",
        fault: TransportFault::new(TransportClass::Unreachable, none.to_string()),
    })?;
    let endpoints: Vec<_> = endpoints.into_iter().collect();
    Client::connect(Arc::new(runtime), &endpoints, config).await
}

/// Connects to the cluster whose PD members have `endpoints` (`host:port`) from a program without a runtime, and blocks
/// until that is done. The client brings a thread of its own, which ends with it and its calls; those block by
/// [`wait`](Wait::wait).
///
/// ```no_run
/// use tikv_client_tokio::{Wait, config::Config, error::Error};
///
/// fn main() -> Result<(), Error> {
///     let client = tikv_client_tokio::connect_blocking(["127.0.0.1:2379"], Config::default())?;
///     client.raw().put("greeting", "hello").wait()?;
///     client.close(std::time::Duration::from_secs(1)).wait();
///     Ok(())
/// }
/// ```
///
/// # Errors
/// Those of [`Client::connect`], and [`Error::Transport`] when the thread cannot be had.
///
/// # Deadlock
/// Not for use in a task: see [`Wait::wait`].
pub fn connect_blocking(
    endpoints: impl IntoIterator<Item = impl AsRef<str>>,
    config: Config,
) -> Result<Client, Error> {
    let runtime = Tokio::on_own_thread().map_err(|error| Error::Transport {
        operation: "connect",
        fault: TransportFault::new(TransportClass::Unreachable, format!("no thread for the client: {error}")),
    })?;
    let endpoints: Vec<_> = endpoints.into_iter().collect();
    Client::connect(Arc::new(runtime), &endpoints, config).wait()
}

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
