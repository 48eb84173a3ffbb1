//! Tasks of smol: on its global executor, on one of the program's, or on one with a thread of its own.

use std::io;
use std::sync::{Arc, Weak};

use smol::Executor;
use tikv_client_core::client::{BoxFuture, Channel, Clock, ConnectOptions, Runtime};
use tikv_client_core::machine::{Address, TransportFault};
use tikv_client_core::types::{Instant, WallTime};
use tikv_client_runtime::{OwnThread, on_own_thread, unreachable};

use crate::host::Host;

/// Smol as a client's runtime.
///
/// When the executor is dropped, tasks are dropped, connections break and calls end as
/// [`Interrupt::Closed`](tikv_client_core::machine::Interrupt::Closed); nothing panics.
#[derive(Clone, Debug)]
pub struct Smol {
    executor: Tasks,
    host: Host,
    /// The thread of an executor that is this client's own; it ends with the last of these.
    _thread: Option<Arc<OwnThread>>,
}

#[derive(Clone, Debug)]
enum Tasks {
    Global,
    /// Weak, for the tasks on it hold this.
    Of(Weak<Executor<'static>>),
}

impl Tasks {
    fn is_gone(&self) -> bool {
        matches!(self, Self::Of(executor) if executor.strong_count() == 0)
    }
}

impl Smol {
    /// Smol's global executor (`smol::spawn`), with its `SMOL_THREADS` threads. The clock starts now.
    #[must_use]
    pub fn global() -> Self {
        Self { executor: Tasks::Global, host: Host::new(), _thread: None }
    }

    /// An executor of the program. The clock starts now.
    ///
    /// The program keeps it alive and runs it: while nobody does, the client stands still, deadlines included; once it is
    /// dropped, the client has ended.
    #[must_use]
    pub fn new(executor: &Arc<Executor<'static>>) -> Self {
        Self { executor: Tasks::Of(Arc::downgrade(executor)), host: Host::new(), _thread: None }
    }

    /// An executor on a thread of its own, which ends when the last clone of this is gone: so with the client, its calls
    /// and its connections.
    ///
    /// # Errors
    /// The thread could not be had.
    pub fn on_own_thread() -> io::Result<Self> {
        let (executor, thread) = on_own_thread(|hand, released| {
            let executor = Arc::new(Executor::new());
            hand(Arc::downgrade(&executor));
            smol::block_on(executor.run(released));
            Ok(())
        })?;
        Ok(Self { executor: Tasks::Of(executor), host: Host::new(), _thread: Some(Arc::new(thread)) })
    }
}

impl Default for Smol {
    fn default() -> Self {
        Self::global()
    }
}

impl Clock for Smol {
    fn now(&self) -> Instant {
        self.host.now()
    }

    fn wall(&self) -> WallTime {
        tikv_client_runtime::wall()
    }
}

impl Runtime for Smol {
    fn sleep_until(&self, at: Instant) -> BoxFuture<()> {
        self.host.sleep_until(at)
    }

    fn spawn(&self, task: BoxFuture<()>) {
        match &self.executor {
            Tasks::Global => smol::spawn(task).detach(),
            // An executor that is gone runs nothing: the task is dropped.
            Tasks::Of(executor) => drop(executor.upgrade().map(|executor| executor.spawn(task).detach())),
        }
    }

    fn connect(
        &self,
        to: Address,
        options: &ConnectOptions,
    ) -> BoxFuture<Result<Box<dyn Channel>, TransportFault>> {
        let executor = self.executor.clone();
        let connecting = self.host.connect(Arc::new(self.clone()), Arc::clone(&to), options.clone());
        Box::pin(async move {
            // The socket would come, and then nobody would read it.
            if executor.is_gone() { Err(unreachable(&to, "the runtime has ended")) } else { connecting.await }
        })
    }
}
