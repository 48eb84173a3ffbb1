//! Time, as runtimes give it.

use std::task::Poll;
use std::time::{Duration, SystemTime};

use macro_rules_attribute::apply;
use tikv_client_core::client::BoxFuture;
use tikv_client_core::types::Instant;

use crate::fixture::{poll_once, sleep, yield_now};
use crate::runtimes::{Rt, test_on_each_runtime};

async fn poll(future: &mut BoxFuture<()>) -> Poll<()> {
    poll_once(future).await.map_or(Poll::Pending, Poll::Ready)
}

#[apply(test_on_each_runtime)]
async fn a_sleep_ends_at_its_time_and_not_before(rt: Rt) {
    let runtime = rt.runtime();
    let at = runtime.now() + Duration::from_millis(20);
    runtime.sleep_until(at).await;
    assert!(runtime.now() >= at);
    runtime.sleep_until(Instant(0)).await;
    runtime.sleep_until(runtime.now()).await;
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn far_instants_do_not_overflow(rt: Rt) {
    let runtime = rt.runtime();
    for at in [Instant::FAR, Instant(u64::MAX - 1), Instant(u64::MAX / 2), Instant(1 << 60)] {
        let mut sleeping = runtime.sleep_until(at);
        assert!(poll(&mut sleeping).await.is_pending(), "{at:?}");
        yield_now().await;
        assert!(poll(&mut sleeping).await.is_pending(), "{at:?}");
    }
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn a_sleep_given_up_leaves_nothing(rt: Rt) {
    let runtime = rt.runtime();
    let mut sleeping = runtime.sleep_until(runtime.now() + Duration::from_secs(1000));
    assert!(poll(&mut sleeping).await.is_pending());
    drop(sleeping);
    rt.no_tasks().await;
}

#[apply(test_on_each_runtime)]
async fn the_clocks_run(rt: Rt) {
    let runtime = rt.runtime();
    let first = runtime.now();
    sleep(Duration::from_millis(2)).await;
    assert!(runtime.now().since(first) >= Duration::from_millis(2));
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    assert!(u128::from(runtime.wall().0).abs_diff(wall) < 10_000);
}
