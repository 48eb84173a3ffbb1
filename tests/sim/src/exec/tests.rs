//! The executor alone.

use std::sync::atomic::AtomicU32;

use super::*;

const NEVER: u64 = u64::MAX;

fn executor(seed: Option<u64>) -> Executor {
    Executor::new(seed.map(Rng::with_seed), Digest::default())
}

/// The order in which eight tasks, which wait different times and some the same, come to their end.
fn order(seed: Option<u64>) -> (Vec<u64>, u64) {
    let executor = executor(seed);
    let ended: Arc<Mutex<Vec<u64>>> = Arc::default();
    for n in 0..8 {
        let (inside, ended) = (executor.clone(), Arc::clone(&ended));
        let wait = Duration::from_millis(10 * (n % 3));
        executor.spawn(
            WORLD,
            Box::pin(async move {
                inside.sleep(wait).await;
                lock(&ended).push(n);
            }),
        );
    }
    let inside = executor.clone();
    let end = executor.run(async move { inside.sleep(Duration::from_secs(1)).await }, NEVER, || false);
    assert_eq!((end, executor.now()), (Ok(()), 1_000_000_000));
    let order = lock(&ended).clone();
    (order, executor.0.digest.value().0)
}

#[test]
fn time_moves_only_when_nothing_is_ready_and_equal_times_keep_their_order() {
    assert_eq!(order(None).0, [0, 3, 6, 1, 4, 7, 2, 5]);
}

#[test]
fn a_seed_draws_an_order_and_draws_it_again() {
    let (one, two) = (order(Some(1)), order(Some(2)));
    assert_eq!(one, order(Some(1)));
    assert_ne!(one, two);
    for (order, _) in [one, two] {
        let times: Vec<u64> = order.iter().map(|n| n % 3).collect();
        assert!(times.is_sorted(), "{order:?}");
    }
}

#[test]
fn what_can_never_go_on_is_told_from_what_spins_and_what_takes_too_long() {
    let dead = executor(None).run(std::future::pending::<()>(), NEVER, || false);
    assert_eq!(dead, Err(Stuck::Deadlock));
    let spins = std::future::poll_fn::<(), _>(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    assert_eq!(executor(None).run(spins, NEVER, || false), Err(Stuck::Livelock));
    let slow = executor(None);
    let inside = slow.clone();
    let late = slow.run(async move { inside.sleep(Duration::from_secs(9)).await }, 1_000, || false);
    assert_eq!(late, Err(Stuck::Late));
    assert_eq!(executor(None).run(std::future::pending::<()>(), NEVER, || true), Err(Stuck::Stopped));
}

#[test]
fn a_killed_group_is_dropped_and_others_go_on() {
    struct Bell(Arc<AtomicU32>);
    impl Drop for Bell {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let executor = executor(None);
    let rung = Arc::new(AtomicU32::new(0));
    for group in [1, 1, 2] {
        let (bell, inside) = (Bell(Arc::clone(&rung)), executor.clone());
        executor.spawn(
            group,
            Box::pin(async move {
                inside.sleep(Duration::from_secs(1)).await;
                drop(bell);
            }),
        );
    }
    let (inside, rings) = (executor.clone(), Arc::clone(&rung));
    let killed = executor.run(
        async move {
            inside.sleep(Duration::from_millis(1)).await;
            inside.kill(1);
            let at_once = rings.load(Ordering::Relaxed);
            inside.sleep(Duration::from_secs(2)).await;
            (at_once, rings.load(Ordering::Relaxed), inside.tasks(1), inside.tasks(2))
        },
        NEVER,
        || false,
    );
    assert_eq!(killed, Ok((2, 3, 0, 0)));
}

#[test]
fn a_bounded_wait_ends_on_time_and_gives_what_came_before() {
    let executor = executor(None);
    let inside = executor.clone();
    let end = executor.run(
        async move {
            let soon = within(&inside, 500, inside.sleep_until(100)).await;
            let late = within(&inside, 500, inside.sleep_until(900)).await;
            (soon, late, inside.now())
        },
        NEVER,
        || false,
    );
    assert_eq!(end, Ok((Some(()), None, 500)));
}
