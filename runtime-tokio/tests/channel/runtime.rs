//! Time and tasks, from within the runtime, from another executor, and after the runtime's end.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use tikv_client_tokio::client::{BoxFuture, Clock, Runtime};
use tikv_client_tokio::machine::TransportClass::{Lost, Unreachable};
use tikv_client_tokio::types::Instant;
use tikv_client_tokio::{NoRuntime, Tokio};

use super::server::{Server, echo};
use super::{PATH, assert_fault, next, no_tasks, options, ready, send};

/// Another executor: this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn poll(future: &mut BoxFuture<()>) -> Poll<()> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_sleep_ends_at_its_time_and_not_before() {
    let runtime = Tokio::current().unwrap();
    let at = runtime.now() + Duration::from_millis(20);
    runtime.sleep_until(at).await;
    assert!(runtime.now() >= at);
    runtime.sleep_until(Instant(0)).await;
    runtime.sleep_until(runtime.now()).await;
    no_tasks().await;
}

#[tokio::test]
async fn far_instants_do_not_overflow() {
    let runtime = Tokio::current().unwrap();
    for at in [Instant::FAR, Instant(u64::MAX - 1), Instant(u64::MAX / 2), Instant(1 << 60)] {
        let mut sleep = runtime.sleep_until(at);
        assert!(poll(&mut sleep).is_pending(), "{at:?}");
        tokio::task::yield_now().await;
        assert!(poll(&mut sleep).is_pending(), "{at:?}");
    }
    no_tasks().await;
}

#[tokio::test]
async fn a_sleep_given_up_leaves_nothing() {
    let runtime = Tokio::current().unwrap();
    let mut sleep = runtime.sleep_until(runtime.now() + Duration::from_secs(1000));
    assert!(poll(&mut sleep).is_pending());
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 1);
    drop(sleep);
    no_tasks().await;
}

#[tokio::test]
async fn the_clocks_run() {
    let runtime = Tokio::current().unwrap();
    let first = runtime.now();
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(runtime.now().since(first) >= Duration::from_millis(2));
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    assert!(u128::from(runtime.wall().0).abs_diff(wall) < 10_000);
}

#[test]
fn outside_of_a_runtime_there_is_none() {
    let none: NoRuntime = Tokio::current().unwrap_err();
    assert!(none.to_string().starts_with("no tokio runtime"), "{none}");
}

#[test]
fn any_executor_can_wait_for_what_the_runtime_does() {
    let server = Server::grpc(echo);
    let tokio = tokio_runtime();
    let runtime = Tokio::new(tokio.handle().clone());
    block_on(async {
        runtime.sleep_until(runtime.now() + Duration::from_millis(5)).await;
        let channel = runtime.connect(Arc::from(&*server.address), &options(|_| {})).await.unwrap();
        assert_eq!(channel.unary(PATH, "unary".into()).await.unwrap(), "unary");
        let mut stream = channel.stream(PATH);
        send(&mut *stream, "stream").await;
        assert_eq!(next(&mut *stream).await, Some(Ok("stream".into())));
    });
    let ran = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&ran);
    runtime.spawn(Box::pin(async move { mark.store(true, Ordering::Relaxed) }));
    tokio.block_on(super::eventually("the task runs", || ran.load(Ordering::Relaxed)));
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn after_the_runtime_has_ended_nothing_panics() {
    let server = Server::grpc(echo);
    let tokio = tokio_runtime();
    let runtime = Tokio::new(tokio.handle().clone());
    let address: Arc<str> = Arc::from(&*server.address);
    let channel = tokio.block_on(runtime.connect(Arc::clone(&address), &options(|_| {}))).unwrap();
    let mut used = channel.stream(PATH);
    tokio.block_on(async {
        send(&mut *used, "x").await;
        assert_eq!(next(&mut *used).await, Some(Ok("x".into())));
    });
    let mut begun = runtime.sleep_until(runtime.now() + Duration::from_secs(1000));
    assert!(poll(&mut begun).is_pending());
    let unary = channel.unary(PATH, "x".into());
    let connecting = runtime.connect(Arc::clone(&address), &options(|_| {}));
    drop(tokio);

    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Dropped(Arc::clone(&dropped));
    runtime.spawn(Box::pin(async move {
        std::future::pending::<()>().await;
        drop(guard);
    }));
    assert!(dropped.load(Ordering::Relaxed), "a task of a runtime that has ended is dropped");

    assert!(poll(&mut begun).is_pending(), "a time that will not come has not come");
    let mut late = runtime.sleep_until(runtime.now() + Duration::from_millis(1));
    assert!(poll(&mut late).is_pending());
    block_on(runtime.sleep_until(Instant(0)));

    let ended = "the runtime has ended";
    assert_fault(&block_on(connecting).unwrap_err(), Unreachable, &address, ended);
    assert_fault(&block_on(unary).unwrap_err(), Unreachable, &address, ended);
    assert_fault(&block_on(next(&mut *used)).unwrap().unwrap_err(), Lost, &address, ended);
    let mut stream = channel.stream(PATH);
    assert_fault(&block_on(ready(&mut *stream)).unwrap_err(), Unreachable, &address, ended);
    drop((stream, used, channel, begun, late, runtime));
}

#[test]
fn a_runtime_without_io_is_told() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let runtime = Tokio::new(tokio.handle().clone());
    let connecting: Pin<Box<_>> = runtime.connect(Arc::from("127.0.0.1:1"), &options(|_| {}));
    let fault = block_on(connecting).unwrap_err();
    assert_eq!(fault.class, Unreachable);
    assert!(fault.detail.starts_with("127.0.0.1:1: A Tokio 1.x context was found, but"), "{fault}");
}
