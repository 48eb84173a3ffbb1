//! Time and sockets, by `async-io`: any executor can poll them.

use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use smol::{Async, Timer};
use tikv_client_core::client::{BoxFuture, Channel, ConnectOptions, Runtime};
#[cfg(feature = "__tls")]
use tikv_client_core::config;
use tikv_client_core::config::Security;
use tikv_client_core::machine::{Address, TransportFault};
use tikv_client_core::types::Instant;
use tikv_client_runtime::{Carrier, DialError, TlsError};
#[cfg(feature = "__tls")]
use tikv_client_runtime::{Prepared, Tls};

use crate::socket::Socket;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    start: std::time::Instant,
    #[cfg(feature = "__tls")]
    tls: Arc<Tls>,
}

impl Host {
    /// The clock starts now.
    pub(crate) fn new() -> Self {
        Self {
            start: std::time::Instant::now(),
            #[cfg(feature = "__tls")]
            tls: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant(0) + self.start.elapsed()
    }

    pub(crate) fn sleep_until(&self, at: Instant) -> BoxFuture<()> {
        // An instant that the host's clock cannot hold never comes, and neither does the end of time.
        let due = (at != Instant::FAR).then(|| self.start.checked_add(Duration::from_nanos(at.0))).flatten();
        let Some(due) = due else { return Box::pin(std::future::pending()) };
        Box::pin(async move {
            if due > std::time::Instant::now() {
                Timer::at(due).await;
            }
        })
    }

    /// Connects to `to`; `runtime` carries the connection's task.
    pub(crate) fn connect(
        &self,
        runtime: Arc<dyn Runtime>,
        to: Address,
        options: ConnectOptions,
    ) -> BoxFuture<Result<Box<dyn Channel>, TransportFault>> {
        let dial = self.clone().dial(Arc::clone(&runtime), Arc::clone(&to), options.security.clone());
        Box::pin(async move {
            let channel = tikv_client_runtime::connect(runtime, to, options, dial).await?;
            Ok(Box::new(channel) as Box<dyn Channel>)
        })
    }

    async fn dial(
        self,
        runtime: Arc<dyn Runtime>,
        to: Address,
        security: Security,
    ) -> Result<Pin<Box<dyn Carrier>>, DialError> {
        let addresses = smol::net::resolve(&*to).await?;
        let socket = tikv_client_runtime::first_of(&*runtime, addresses, Async::<TcpStream>::connect).await?;
        // Frames are written whole, and an answer is waited for: there is nothing to gather.
        socket.get_ref().set_nodelay(true)?;
        match security {
            Security::Plain => Ok(Box::pin(Socket(socket))),
            #[cfg(feature = "__tls")]
            Security::Tls(wanted) => {
                let (config, name) = self.prepare(to, wanted).await?;
                let secured = futures_rustls::TlsConnector::from(config).connect(name, socket).await;
                Ok(Box::pin(Socket(secured.map_err(TlsError::Handshake)?)))
            }
            #[cfg(not(feature = "__tls"))]
            Security::Tls(_) => Err(TlsError::NotBuilt.into()),
            other => Err(format!("this runtime does not know {other:?}").into()),
        }
    }
}

#[cfg(feature = "__tls")]
impl Host {
    /// Reads certificates that are in files where that may block.
    async fn prepare(&self, to: Address, wanted: config::Tls) -> Result<Prepared, DialError> {
        if !Tls::blocks(&wanted) {
            return Ok(self.tls.prepare(&to, &wanted)?);
        }
        let tls = Arc::clone(&self.tls);
        Ok(smol::unblock(move || tls.prepare(&to, &wanted)).await?)
    }
}
