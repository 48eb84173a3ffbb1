//! Time and tasks of tokio, usable from any executor.
//!
//! The runtime's handle is taken once. What needs the runtime (a timer, a socket) lives in a task spawned on it, and its
//! future here is only that task's result: so it can be polled by another executor, and after the runtime has ended
//! nothing panics.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tikv_client_core::client::{BoxFuture, Channel, Clock, ConnectOptions, Runtime};
use tikv_client_core::machine::{Address, TransportClass, TransportFault};
use tikv_client_core::types::{Instant, WallTime};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

use crate::channel;
use crate::tls::Tls;

/// There is no tokio runtime where one was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("no tokio runtime in this thread: call this within one, or give its handle")]
pub struct NoRuntime;

/// Tokio as a client's runtime.
///
/// The runtime needs its time and I/O drivers (`enable_all`). When it ends, connections break, tasks are dropped and
/// sleeps never complete; nothing panics.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    /// Tokio's instant and not the standard library's: a paused clock (`tokio::time::pause`) then stops both `now` and
    /// sleeps.
    start: tokio::time::Instant,
    tls: Arc<Tls>,
}

impl Tokio {
    /// The runtime behind `handle`. The clock starts now.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        Self { handle, start: tokio::time::Instant::now(), tls: Arc::default() }
    }

    /// The runtime that this is called in.
    ///
    /// # Errors
    /// [`NoRuntime`] outside of a tokio runtime.
    pub fn current() -> Result<Self, NoRuntime> {
        Handle::try_current().map(Self::new).map_err(|_| NoRuntime)
    }

    /// The runtime's handle.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Clock for Tokio {
    fn now(&self) -> Instant {
        Instant(0) + self.start.elapsed()
    }

    fn wall(&self) -> WallTime {
        // A host whose clock is before 1970 is as good as one at 1970.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Runtime for Tokio {
    fn sleep_until(&self, at: Instant) -> BoxFuture<()> {
        // An instant that the host's clock cannot hold never comes, and neither does the end of time.
        let due = (at != Instant::FAR).then(|| self.start.checked_add(Duration::from_nanos(at.0))).flatten();
        let Some(due) = due else { return Box::pin(std::future::pending()) };
        let handle = self.handle.clone();
        Box::pin(async move {
            if due <= tokio::time::Instant::now() {
                return;
            }
            let slept = Task(handle.spawn(async move { tokio::time::sleep_until(due).await })).await;
            if slept.is_err() {
                // The runtime ended: `due` will not come, and who waits is not told that it did.
                std::future::pending::<()>().await;
            }
        })
    }

    fn spawn(&self, task: BoxFuture<()>) {
        drop(self.handle.spawn(task));
    }

    fn connect(
        &self,
        to: Address,
        options: &ConnectOptions,
    ) -> BoxFuture<Result<Box<dyn Channel>, TransportFault>> {
        let (handle, options, tls) = (self.handle.clone(), options.clone(), Arc::clone(&self.tls));
        Box::pin(async move {
            let connecting = channel::connect(Arc::clone(&to), options, tls);
            match Task(handle.spawn(connecting)).await {
                Ok(Ok(channel)) => Ok(Box::new(channel) as Box<dyn Channel>),
                Ok(Err(fault)) => Err(fault),
                Err(error) => Err(ended(&to, error)),
            }
        })
    }
}

/// Why a connection was never made: the runtime ended, or it has no I/O driver, of which tokio tells by a panic.
fn ended(to: &Address, error: JoinError) -> TransportFault {
    let why = if error.is_panic() {
        let payload = error.into_panic();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("connecting panicked").to_owned()
    } else {
        "the tokio runtime has ended".to_owned()
    };
    TransportFault::new(TransportClass::Unreachable, format!("{to}: {why}"))
}

/// A task that ends when nobody waits for it.
struct Task<T>(JoinHandle<T>);

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
