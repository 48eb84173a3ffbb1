//! A runtime whose connections go elsewhere: a test leads a client's connections through servers of its own.

use std::fmt;
use std::sync::Arc;

use tikv_client_core::client::{BoxFuture, Channel, Clock, ConnectOptions, Runtime};
use tikv_client_core::machine::{Address, TransportFault};
use tikv_client_core::types::{Instant, WallTime};

/// Says where a connection goes.
pub(crate) type Way = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// See the module.
pub(crate) struct Detour {
    pub(crate) inner: Arc<dyn Runtime>,
    pub(crate) way: Way,
}

impl fmt::Debug for Detour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Detour").field(&self.inner).finish()
    }
}

impl Clock for Detour {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn wall(&self) -> WallTime {
        self.inner.wall()
    }
}

impl Runtime for Detour {
    fn sleep_until(&self, at: Instant) -> BoxFuture<()> {
        self.inner.sleep_until(at)
    }

    fn spawn(&self, task: BoxFuture<()>) {
        self.inner.spawn(task);
    }

    fn connect(
        &self,
        to: Address,
        options: &ConnectOptions,
    ) -> BoxFuture<Result<Box<dyn Channel>, TransportFault>> {
        self.inner.connect((self.way)(&to).into(), options)
    }
}
