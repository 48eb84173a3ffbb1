//! Time and tasks of tokio, usable from any executor.
//!
//! The runtime's handle is taken once. What needs the runtime (a timer, a socket) lives in a task spawned on it, and its
//! future here is only that task's result: so it can be polled by another executor, and after the runtime has ended
//! nothing panics.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tikv_client_core::client::{BoxFuture, Channel, Clock, ConnectOptions, Runtime};
#[cfg(feature = "__tls")]
use tikv_client_core::config;
use tikv_client_core::config::Security;
use tikv_client_core::machine::{Address, TransportFault};
use tikv_client_core::types::{Instant, WallTime};
use tikv_client_runtime::{Carrier, DialError, OwnThread, TlsError, on_own_thread, unreachable};
#[cfg(feature = "__tls")]
use tikv_client_runtime::{Prepared, Tls};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinError, JoinHandle};

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
    #[cfg(feature = "__tls")]
    tls: Arc<Tls>,
    /// The thread of a runtime that is this client's own; it ends with the last of these.
    _thread: Option<Arc<OwnThread>>,
}

impl Tokio {
    /// The runtime behind `handle`. The clock starts now.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        Self {
            handle,
            start: tokio::time::Instant::now(),
            #[cfg(feature = "__tls")]
            tls: Arc::default(),
            _thread: None,
        }
    }

    /// A current-thread runtime on a thread of its own, which ends when the last clone of this is gone: so with the
    /// client, its calls and its connections.
    ///
    /// # Errors
    /// The thread or the runtime's drivers could not be had.
    pub fn on_own_thread() -> io::Result<Self> {
        let (handle, thread) = on_own_thread(|hand, released| {
            let tokio = Builder::new_current_thread().enable_all().build()?;
            hand(tokio.handle().clone());
            tokio.block_on(released);
            // A name that is being looked up is not waited for.
            tokio.shutdown_background();
            Ok(())
        })?;
        Ok(Self { _thread: Some(Arc::new(thread)), ..Self::new(handle) })
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
        tikv_client_runtime::wall()
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
        let (this, options) = (self.clone(), options.clone());
        Box::pin(async move {
            let handle = this.handle.clone();
            let dial = this.clone().dial(Arc::clone(&to), options.security.clone());
            let connecting = tikv_client_runtime::connect(Arc::new(this), Arc::clone(&to), options, dial);
            match Task(handle.spawn(connecting)).await {
                Ok(Ok(channel)) => Ok(Box::new(channel) as Box<dyn Channel>),
                Ok(Err(fault)) => Err(fault),
                Err(error) => Err(ended(&to, error)),
            }
        })
    }
}

impl Tokio {
    async fn dial(self, to: Address, security: Security) -> Result<Pin<Box<dyn Carrier>>, DialError> {
        let addresses = tokio::net::lookup_host(&*to).await?;
        let socket = tikv_client_runtime::first_of(&self, addresses, TcpStream::connect).await?;
        // Frames are written whole, and an answer is waited for: there is nothing to gather.
        socket.set_nodelay(true)?;
        match security {
            Security::Plain => Ok(Box::pin(socket)),
            #[cfg(feature = "__tls")]
            Security::Tls(wanted) => {
                let (config, name) = self.prepare(to, wanted).await?;
                let secured = tokio_rustls::TlsConnector::from(config).connect(name, socket).await;
                Ok(Box::pin(secured.map_err(TlsError::Handshake)?))
            }
            #[cfg(not(feature = "__tls"))]
            Security::Tls(_) => Err(TlsError::NotBuilt.into()),
            other => Err(format!("this runtime does not know {other:?}").into()),
        }
    }
}

#[cfg(feature = "__tls")]
impl Tokio {
    /// Reads certificates that are in files where that may block.
    async fn prepare(&self, to: Address, wanted: config::Tls) -> Result<Prepared, DialError> {
        if !Tls::blocks(&wanted) {
            return Ok(self.tls.prepare(&to, &wanted)?);
        }
        let tls = Arc::clone(&self.tls);
        Ok(tokio::task::spawn_blocking(move || tls.prepare(&to, &wanted)).await??)
    }
}

/// Why a connection was never made: the runtime ended, or it has no I/O driver, of which tokio tells by a panic.
fn ended(to: &Address, error: JoinError) -> TransportFault {
    let why = if error.is_panic() {
        let payload = error.into_panic();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("connecting panicked").to_owned()
    } else {
        "the runtime has ended".to_owned()
    };
    unreachable(to, &why)
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
