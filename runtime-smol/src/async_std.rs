//! Tasks of async-std. Its timers and sockets are those of smol's crate `async-io`, as here.

use std::sync::Arc;

use tikv_client_core::client::{BoxFuture, Channel, Clock, ConnectOptions, Runtime};
use tikv_client_core::machine::{Address, TransportFault};
use tikv_client_core::types::{Instant, WallTime};

use crate::host::Host;

/// async-std as a client's runtime: its tasks run on async-std's global executor.
///
/// async-std is no longer maintained (RUSTSEC-2025-0052); new programs take [`Smol`](crate::Smol).
///
/// ```no_run
/// # async fn example() -> Result<(), tikv_client_smol::error::Error> {
/// use std::sync::Arc;
///
/// use tikv_client_smol::{AsyncStd, client::Client, config::Config};
///
/// let client = Client::connect(Arc::new(AsyncStd::new()), &["127.0.0.1:2379"], Config::default()).await?;
/// # drop(client);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncStd {
    host: Host,
}

impl AsyncStd {
    /// async-std's executor. The clock starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { host: Host::new() }
    }
}

impl Default for AsyncStd {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for AsyncStd {
    fn now(&self) -> Instant {
        self.host.now()
    }

    fn wall(&self) -> WallTime {
        tikv_client_runtime::wall()
    }
}

impl Runtime for AsyncStd {
    fn sleep_until(&self, at: Instant) -> BoxFuture<()> {
        self.host.sleep_until(at)
    }

    fn spawn(&self, task: BoxFuture<()>) {
        // Dropping the handle lets the task run on.
        drop(async_std::task::spawn(task));
    }

    fn connect(
        &self,
        to: Address,
        options: &ConnectOptions,
    ) -> BoxFuture<Result<Box<dyn Channel>, TransportFault>> {
        self.host.connect(Arc::new(self.clone()), to, options.clone())
    }
}
