//! Runtimes seen from another executor, and after their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::BoxFuture;
use tikv_client_core::machine::TransportClass::{Lost, Unreachable};
use tikv_client_core::types::Instant;
use tikv_client_tokio::Wait;

use super::server::{Server, echo};
use super::{NONE, PATH, assert_fault, eventually, next, options, ready, send};
use crate::runtimes::{Carrier, on_each_carrier};

fn poll(future: &mut BoxFuture<()>) -> Poll<()> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[apply(on_each_carrier)]
fn any_executor_can_wait_for_what_the_runtime_does(carrier: Carrier) {
    let server = Server::grpc(echo);
    let runtime = carrier.rt.runtime();
    async {
        runtime.sleep_until(runtime.now() + Duration::from_millis(5)).await;
        let channel = runtime.connect(Arc::from(&*server.address), &options(|_| {})).await.unwrap();
        assert_eq!(channel.unary(PATH, &NONE, "unary".into()).await.unwrap(), "unary");
        let mut stream = channel.stream(PATH, &NONE);
        send(&mut *stream, "stream").await;
        assert_eq!(next(&mut *stream).await, Some(Ok("stream".into())));
    }
    .wait();
    let ran = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&ran);
    runtime.spawn(Box::pin(async move { mark.store(true, Ordering::Relaxed) }));
    eventually("the task runs", || ran.load(Ordering::Relaxed)).wait();
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[apply(on_each_carrier)]
fn after_the_runtime_has_ended_nothing_panics(carrier: Carrier) {
    let server = Server::grpc(echo);
    let runtime = carrier.rt.runtime();
    let address: Arc<str> = Arc::from(&*server.address);
    let channel = runtime.connect(Arc::clone(&address), &options(|_| {})).wait().unwrap();
    let mut used = channel.stream(PATH, &NONE);
    async {
        send(&mut *used, "x").await;
        assert_eq!(next(&mut *used).await, Some(Ok("x".into())));
    }
    .wait();
    let mut begun = runtime.sleep_until(runtime.now() + Duration::from_secs(1000));
    assert!(poll(&mut begun).is_pending());
    let unary = channel.unary(PATH, &NONE, "x".into());
    let connecting = runtime.connect(Arc::clone(&address), &options(|_| {}));
    drop(carrier);

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
    runtime.sleep_until(Instant(0)).wait();

    let ended = "the runtime has ended";
    assert_fault(&connecting.wait().unwrap_err(), Unreachable, &address, ended);
    assert_fault(&unary.wait().unwrap_err(), Unreachable, &address, ended);
    assert_fault(&next(&mut *used).wait().unwrap().unwrap_err(), Lost, &address, ended);
    let mut stream = channel.stream(PATH, &NONE);
    assert_fault(&ready(&mut *stream).wait().unwrap_err(), Unreachable, &address, ended);
    drop((stream, used, channel, begun, late, runtime));
}
