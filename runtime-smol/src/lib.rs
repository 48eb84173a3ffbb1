//! A TiKV client on smol.
//!
//! ```no_run
//! # async fn example() -> Result<(), tikv_client_smol::error::Error> {
//! use tikv_client_smol::config::Config;
//!
//! let client = tikv_client_smol::connect(["127.0.0.1:2379"], Config::default()).await?;
//! # drop(client);
//! # Ok(())
//! # }
//! ```
//!
//! [`connect`] gives the client of `tikv-client-core`, all of which this crate re-exports, with [`Smol`] as its runtime.
//! The client's tasks run on smol's global executor, or on the one that was given to [`Smol::new`]; its calls can be awaited
//! on any executor, or block the thread by [`wait`](Wait::wait). No tokio runtime is needed, and none is built: of tokio
//! there are the two traits that the crate `h2` wants sockets to have.
//!
//! # Cargo features
//!
//! * `ring` (default): TLS by rustls on ring.
//! * `aws-lc`: TLS by rustls on aws-lc-rs; goes before `ring` where both are on. Needs a C compiler, at times cmake.
//! * `gzip`: messages compressed by gzip, where [`Compression`](client::Compression) asks for it. In pure Rust.
//! * `serde`: [`config::Config`] in files, such as TOML.
//! * `async-std`: the runtime `AsyncStd`. async-std is no longer maintained (RUSTSEC-2025-0052), and smol is what its authors
//!   recommend instead, as do we: this is for programs that still use it.
//!
//! Without TLS features plain connections work and asking for TLS is refused with a text that says so. Which cryptography is
//! used is never taken from the process's default.

#[cfg(feature = "async-std")]
mod async_std;
mod host;
mod runtime;
mod socket;

use std::sync::Arc;

#[cfg(feature = "async-std")]
pub use async_std::AsyncStd;
pub use runtime::Smol;
pub use tikv_client_core::*;
pub use tikv_client_runtime::Wait;

use client::Client;
use config::Config;
use error::Error;
use machine::{TransportClass, TransportFault};

/// Connects to the cluster whose PD members have `endpoints` (`host:port`), with the client's tasks on smol's global
/// executor.
///
/// # Errors
/// Those of [`Client::connect`].
///
/// # Cancel safety
/// Dropping the future ends what it had started.
pub async fn connect(
    endpoints: impl IntoIterator<Item = impl AsRef<str>>,
    config: Config,
) -> Result<Client, Error> {
    let endpoints: Vec<_> = endpoints.into_iter().collect();
    Client::connect(Arc::new(Smol::global()), &endpoints, config).await
}

/// Connects to the cluster whose PD members have `endpoints` (`host:port`) from a program without an executor, and blocks
/// until that is done. The client brings a thread of its own, which ends with it and its calls; those block by
/// [`wait`](Wait::wait).
///
/// ```no_run
/// use tikv_client_smol::{Wait, config::Config, error::Error};
///
/// fn main() -> Result<(), Error> {
///     let client = tikv_client_smol::connect_blocking(["127.0.0.1:2379"], Config::default())?;
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
    let runtime = Smol::on_own_thread().map_err(|error| Error::Transport {
        operation: "connect",
        fault: TransportFault::new(TransportClass::Unreachable, format!("no thread for the client: {error}")),
    })?;
    let endpoints: Vec<_> = endpoints.into_iter().collect();
    Client::connect(Arc::new(runtime), &endpoints, config).wait()
}
