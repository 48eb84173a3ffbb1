//! The runtimes that the tests run on, and the attribute that runs a test on each of them.
//!
//! ```text
//! #[apply(test_on_each_runtime)]
//! async fn what_holds(rt: Rt) { ... }
//! ```
//!
//! makes the tests `what_holds::tokio`, `what_holds::tokio_current_thread`, `what_holds::smol` and
//! `what_holds::async_std`. `rt` is the runtime as the client knows it, and all that a test needs of an executor.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Aborted, RemoteHandle, abortable};
use tikv_client_core::client::{BoxFuture, Channel, Clock, ConnectOptions, Runtime};
use tikv_client_core::machine::{Address, TransportFault};
use tikv_client_core::types::{Instant, WallTime};
use tikv_client_smol::{AsyncStd, Smol};
use tikv_client_tokio::Tokio;

use crate::detour::{Detour, Way};

/// Makes a test of its function for each runtime.
macro_rules! test_on_each_runtime {
    ($(#[$meta:meta])* async fn $name:ident($rt:ident: Rt) $body:block) => {
        $(#[$meta])*
        async fn $name($rt: Rt) $body

        mod $name {
            #[test]
            fn tokio() {
                crate::runtimes::on_tokio(super::$name);
            }

            #[test]
            fn tokio_current_thread() {
                crate::runtimes::on_tokio_current_thread(super::$name);
            }

            #[test]
            fn smol() {
                crate::runtimes::on_smol(super::$name);
            }

            #[test]
            fn async_std() {
                crate::runtimes::on_async_std(super::$name);
            }
        }
    };
}
pub(crate) use test_on_each_runtime;

/// Makes a test of its function, on a plain thread, for each runtime that a program can end.
macro_rules! on_each_carrier {
    ($(#[$meta:meta])* fn $name:ident($carrier:ident: Carrier) $body:block) => {
        $(#[$meta])*
        fn $name($carrier: Carrier) $body

        mod $name {
            #[test]
            fn tokio() {
                super::$name(crate::runtimes::Carrier::tokio());
            }

            #[test]
            fn smol() {
                super::$name(crate::runtimes::Carrier::smol());
            }
        }
    };
}
pub(crate) use on_each_carrier;

/// A client's runtime under test.
#[derive(Clone)]
pub(crate) struct Rt {
    runtime: Arc<dyn Runtime>,
    tasks: Arc<dyn Fn() -> usize + Send + Sync>,
    /// The client's tasks run on the test's own thread, so none does between two of the test's awaits.
    pub(crate) one_thread: bool,
}

impl Rt {
    fn new(runtime: impl Runtime, tasks: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        Self { runtime: Arc::new(runtime), tasks: Arc::new(tasks), one_thread: false }
    }

    fn of_one_thread(self) -> Self {
        Self { one_thread: true, ..self }
    }

    /// The runtime, as a client is given it.
    pub(crate) fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.runtime)
    }

    /// This runtime, whose connections go where `way` says.
    pub(crate) fn by_way_of(&self, way: Way) -> Self {
        Self { runtime: Arc::new(Detour { inner: self.runtime(), way }), ..self.clone() }
    }

    /// Tasks that have not ended, of clients and of the test itself. On async-std those of connections are not counted.
    pub(crate) fn tasks(&self) -> usize {
        (self.tasks)()
    }

    /// Starts a task. It is cancelled with its handle.
    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let (task, abort) = abortable(task);
        let (task, result) = task.remote_handle();
        self.runtime.spawn(Box::pin(task));
        Task { result, abort }
    }
}

/// A task of a test; its panic goes on in who awaits it.
pub(crate) struct Task<T> {
    result: RemoteHandle<Result<T, Aborted>>,
    abort: AbortHandle,
}

impl<T> Task<T> {
    /// Cancels it, if it is not over.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, Aborted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.result.poll_unpin(cx)
    }
}

/// A runtime of tokio's, as tests know it.
fn rt_of(tokio: &tokio::runtime::Runtime) -> Rt {
    let metrics = tokio.metrics();
    Rt::new(Tokio::new(tokio.handle().clone()), move || metrics.num_alive_tasks())
}

/// Runs a test on tokio with worker threads.
pub(crate) fn on_tokio<F: Future<Output = ()>>(test: impl FnOnce(Rt) -> F) {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    tokio.block_on(test(rt_of(&tokio)));
}

/// Runs a test on tokio with nothing but the test's thread.
pub(crate) fn on_tokio_current_thread<F: Future<Output = ()>>(test: impl FnOnce(Rt) -> F) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(test(rt_of(&tokio).of_one_thread()));
}

/// Runs a test on an executor of smol's, on the test's thread.
pub(crate) fn on_smol<F: Future<Output = ()>>(test: impl FnOnce(Rt) -> F) {
    let executor = Arc::new(smol::Executor::new());
    let counted = Counted::new(Smol::new(&executor));
    let alive = Arc::clone(&counted.alive);
    let weak = Arc::downgrade(&executor);
    // The executor knows of a connection's tasks, too, but not how many there are.
    let tasks = move || {
        let idle = weak.upgrade().is_none_or(|executor| executor.is_empty());
        if idle { 0 } else { alive.load(Ordering::Relaxed).max(1) }
    };
    smol::block_on(executor.run(test(Rt::new(counted, tasks).of_one_thread())));
}

/// Runs a test on async-std's executor.
pub(crate) fn on_async_std<F: Future<Output = ()>>(test: impl FnOnce(Rt) -> F) {
    let counted = Counted::new(AsyncStd::new());
    let alive = Arc::clone(&counted.alive);
    async_std::task::block_on(test(Rt::new(counted, move || alive.load(Ordering::Relaxed))));
}

/// A runtime on a thread of its own, which ends when this is dropped.
pub(crate) struct Carrier {
    pub(crate) rt: Rt,
    end: Option<Box<dyn FnOnce()>>,
}

impl Carrier {
    /// Tokio with a worker thread.
    pub(crate) fn tokio() -> Self {
        let tokio =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let rt = rt_of(&tokio);
        Self { rt, end: Some(Box::new(move || drop(tokio))) }
    }

    /// An executor of smol's with a thread that runs it.
    pub(crate) fn smol() -> Self {
        let executor = Arc::new(smol::Executor::new());
        let weak = Arc::downgrade(&executor);
        let rt = Rt::new(Smol::new(&executor), move || {
            usize::from(weak.upgrade().is_some_and(|executor| !executor.is_empty()))
        });
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let thread = thread::spawn(move || {
            assert!(smol::block_on(executor.run(stopped.recv())).is_err(), "nothing is ever sent");
        });
        let end = move || {
            drop(stop);
            thread.join().unwrap();
        };
        Self { rt, end: Some(Box::new(end)) }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

/// A runtime that counts the tasks that it was given.
#[derive(Debug)]
struct Counted<R> {
    inner: R,
    alive: Arc<AtomicUsize>,
}

impl<R> Counted<R> {
    fn new(inner: R) -> Self {
        Self { inner, alive: Arc::default() }
    }
}

/// Counts a task until it is dropped.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<R: Clock> Clock for Counted<R> {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn wall(&self) -> WallTime {
        self.inner.wall()
    }
}

impl<R: Runtime> Runtime for Counted<R> {
    fn sleep_until(&self, at: Instant) -> BoxFuture<()> {
        self.inner.sleep_until(at)
    }

    fn spawn(&self, task: BoxFuture<()>) {
        self.alive.fetch_add(1, Ordering::Relaxed);
        let alive = Alive(Arc::clone(&self.alive));
        self.inner.spawn(Box::pin(async move {
            task.await;
            drop(alive);
        }));
    }

    fn connect(
        &self,
        to: Address,
        options: &ConnectOptions,
    ) -> BoxFuture<Result<Box<dyn Channel>, TransportFault>> {
        self.inner.connect(to, options)
    }
}

impl fmt::Debug for Rt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rt").field("runtime", &self.runtime).field("tasks", &self.tasks()).finish()
    }
}
