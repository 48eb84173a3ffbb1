//! Calls that are dropped: at every point of their way, on any thread, before and after the end of the runtime that
//! carries the client. Nothing hangs, nothing panics, and the client answers as before.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_client_core::machine::Interrupt;
use tikv_client_core::raw::RawClient;
use tikv_client_tokio::Wait;
use tikv_embedded::control::{Action, Matcher, Rule};

use crate::fixture::{Cluster, a_key_of_each_region, client, in_time, keys, sleep, yield_now};
use crate::runtimes::{Carrier, Rt, on_each_carrier, test_on_each_runtime};

/// Polls `call` at most `polls` times, letting the client's tasks go on in between, then drops it. Whether it was over.
async fn dropped_after<T>(polls: usize, call: impl IntoFuture<Output = T>) -> bool {
    let mut call = pin!(call.into_future());
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        if polled.is_ready() {
            return true;
        }
        // The client's tasks, and the cluster's thread, may bring the next completion.
        sleep(Duration::from_micros(100)).await;
    }
    false
}

/// Drops the call that `make` makes after 0, 1, 2, ... polls, on a client that knows no region, until it is over by itself.
/// What comes after it works.
async fn at_every_point<F>(rt: &Rt, make: impl Fn(RawClient) -> F)
where
    F: IntoFuture,
{
    const MOST: usize = 2_000;
    let cluster = rt.raw_cluster();
    for polls in 0..MOST {
        // Every other client is new: it has neither regions nor streams, so the call has more points to be dropped at.
        let fresh = client(&cluster).await;
        let over = in_time(dropped_after(polls, make(fresh.raw()))).await;
        in_time(fresh.raw().put("after", "v")).await.unwrap();
        assert_eq!(in_time(fresh.raw().get("after")).await.unwrap().unwrap(), "v");
        if over {
            assert!(polls > 1, "it was over at once");
            return;
        }
    }
    panic!("not over after {MOST} polls");
}

#[apply(test_on_each_runtime)]
async fn a_get_can_be_dropped_at_every_point(rt: Rt) {
    at_every_point(&rt, |raw| raw.get("m")).await;
}

#[apply(test_on_each_runtime)]
async fn a_batch_put_can_be_dropped_at_every_point(rt: Rt) {
    at_every_point(&rt, |raw| raw.batch_put(a_key_of_each_region().into_iter().map(|key| (key, "v")))).await;
}

#[apply(test_on_each_runtime)]
async fn a_scan_can_be_dropped_at_every_point(rt: Rt) {
    at_every_point(&rt, |raw| raw.scan(.., 100)).await;
}

#[apply(test_on_each_runtime)]
async fn a_delete_range_can_be_dropped_at_every_point(rt: Rt) {
    at_every_point(&rt, |raw| raw.delete_range("c".."r")).await;
}

#[apply(test_on_each_runtime)]
async fn connecting_can_be_dropped_at_every_point(rt: Rt) {
    let cluster = rt.raw_cluster();
    for polls in 0..200 {
        let connecting = rt.connect(cluster.pd_addresses(), Config::default());
        if dropped_after(polls, connecting).await {
            return;
        }
    }
    panic!("it never connected");
}

#[apply(test_on_each_runtime)]
async fn ten_thousand_dropped_calls_leave_nothing_behind(rt: Rt) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    let raw = client.raw();
    raw.batch_put(a_key_of_each_region().into_iter().map(|key| (key, "v"))).await.unwrap();
    let held = cluster.fault(Rule::new(Matcher::method("RawGet"), Action::Hold));
    for _ in 0..100 {
        let calls: Vec<_> = (0..100).map(|_| raw.get("m1").into_future()).collect();
        for call in calls {
            assert!(!dropped_now(call));
        }
        yield_now().await;
    }
    drop(held);
    assert_eq!(in_time(raw.get("m1")).await.unwrap().unwrap(), "v");
    // What is still in a queue would show as work left over at the close.
    assert_eq!(in_time(client.close(Duration::from_secs(5))).await, 0);
}

/// Polls once and drops; whether it was over.
fn dropped_now(call: impl Future) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    pin!(call).poll(&mut cx).is_ready()
}

fn connected(carrier: &Carrier, cluster: &Cluster) -> Client {
    in_time(carrier.rt.connect(cluster.pd_addresses(), Config::default())).wait().unwrap()
}

/// Awaits a call on this plain thread, where there is no executor.
fn parked<T>(call: impl IntoFuture<Output = T>) -> T {
    in_time(call).wait()
}

#[apply(on_each_carrier)]
fn calls_can_be_made_and_dropped_on_a_plain_thread(carrier: Carrier) {
    let cluster = carrier.rt.raw_cluster();
    let client = connected(&carrier, &cluster);
    let raw = client.raw();
    parked(raw.put("m", "v")).unwrap();
    let held = cluster.fault(Rule::new(Matcher::method("RawGet").or_method("RawBatchPut"), Action::Hold));
    for _ in 0..10 {
        assert!(!dropped_now(raw.get("m").into_future()));
        assert!(!dropped_now(raw.batch_put([("a", "w"), ("z", "w")]).into_future()));
        let scan = raw.scan(.., 10).into_future();
        // It began here and is dropped there.
        let mut scan = Box::pin(scan);
        let mut cx = Context::from_waker(Waker::noop());
        drop(scan.as_mut().poll(&mut cx));
        thread::spawn(move || drop(scan)).join().unwrap();
    }
    drop(held);
    assert_eq!(parked(raw.get("m")).unwrap().unwrap(), "v");
    drop((raw, client));
}

fn closed<T: std::fmt::Debug>(ended: Result<T, Error>) {
    let error = ended.unwrap_err();
    assert!(matches!(error, Error::Interrupted { why: Interrupt::Closed, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[apply(on_each_carrier)]
fn after_the_runtime_s_end_calls_end_as_closed_and_can_be_dropped(carrier: Carrier) {
    let cluster = carrier.rt.raw_cluster();
    let client = connected(&carrier, &cluster);
    let raw = client.raw();
    parked(raw.batch_put(a_key_of_each_region().into_iter().map(|key| (key, "v")))).unwrap();

    // Under way when the runtime ends: some with an answer on its way, one with none, one not begun.
    let held = cluster.fault(Rule::new(Matcher::method("RawGet"), Action::Hold));
    let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(raw.get("m1").into_future())).collect();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.iter_mut().all(|call| call.as_mut().poll(&mut cx).is_pending()));
    assert!(held.wait(8, Duration::from_secs(10)));
    let unborn = raw.get("a1").into_future();
    drop(carrier);

    closed(parked(waiting.pop().unwrap()));
    drop(waiting);
    closed(parked(unborn));
    closed(parked(raw.put("m", "v")));
    closed(parked(raw.batch_get(a_key_of_each_region())));
    closed(parked(raw.scan(.., 10)));
    closed(parked(client.current_timestamp()));
    assert!(dropped_now(raw.get("m1").into_future()), "nothing is left to wait for");
    assert_eq!(parked(client.close(Duration::from_secs(5))), 0);
}

#[apply(on_each_carrier)]
fn a_cancelled_batch_did_all_or_some_and_its_successor_does_all(carrier: Carrier) {
    let cluster = carrier.rt.raw_cluster();
    let client = connected(&carrier, &cluster);
    let raw = client.raw();
    let all = || a_key_of_each_region().into_iter().map(|key| (key, "v"));
    for _ in 0..50 {
        assert!(!dropped_now(raw.batch_put(all()).into_future()));
    }
    parked(raw.batch_put(all())).unwrap();
    assert_eq!(keys(parked(raw.scan(.., 100)).unwrap()).len(), 8);
}
