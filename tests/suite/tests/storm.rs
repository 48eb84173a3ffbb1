//! Ten thousand callers while a store is killed and revived every second: nothing hangs, everyone gets their own answer, and memory
//! returns to where it began. In a process of its own, whose allocations it counts.
//!
//! A few seconds by default; `TIKV_STORM_SECONDS=60 cargo test --release -p tikv-client-suite --test storm` is the long one. The
//! same without sockets, in virtual time: `tikv-sim storm`.

#![allow(clippy::unwrap_used, reason = "a test, and what helps it, panics to fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_client_tokio::Wait;
use tikv_embedded::Cluster as Embedded;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const CALLERS: usize = 10_000;

/// What a call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a machine that starves the test adds to it; `tikv-sim storm` holds calls to their time exactly.
const SLACK: Duration = Duration::from_secs(30);

/// Bytes that may be left of a storm: pools of operations are kept for later ones.
const LEFT: usize = 8 << 20;

type Connect = fn(Vec<String>, Config) -> Result<Client, Error>;

type Spawn = fn(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);

fn seconds() -> u64 {
    std::env::var("TIKV_STORM_SECONDS").map_or(4, |seconds| seconds.parse().unwrap())
}

/// Bytes that are allocated now.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

/// What all callers have come to.
#[derive(Debug, Default)]
struct Tally {
    over: AtomicBool,
    left: AtomicUsize,
    answered: AtomicUsize,
    failed: AtomicUsize,
}

/// One caller: reads its own key again and again.
async fn caller(client: Client, tally: Arc<Tally>, number: usize) {
    let (key, value) = pair(number);
    while !tally.over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match client.raw().get(key.clone()).await {
            Ok(found) => {
                assert_eq!(found.as_deref(), Some(value.as_bytes()), "the answer of another caller");
                tally.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let kind = error.kind();
                let expected = [ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::Retry];
                assert!(expected.contains(&kind), "{error:?}");
                tally.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        assert!(begun.elapsed() < DEADLINE + SLACK, "a call hung for {:?}", begun.elapsed());
    }
    tally.left.fetch_sub(1, Ordering::Relaxed);
}

fn pair(number: usize) -> (String, String) {
    (format!("key {number:05}"), format!("value of {number}"))
}

/// Lets all callers run; a store goes and comes back each second if it is to.
fn round(cluster: &Embedded, client: &Client, spawn: Spawn, time: Duration, kills: bool) -> Arc<Tally> {
    let tally: Arc<Tally> = Arc::default();
    tally.left.store(CALLERS, Ordering::Relaxed);
    for number in 0..CALLERS {
        spawn(Box::pin(caller(client.clone(), Arc::clone(&tally), number)));
    }
    let begun = Instant::now();
    let mut store = 0;
    while begun.elapsed() < time {
        std::thread::sleep(Duration::from_millis(500));
        if kills {
            store = store % 3 + 1;
            cluster.stop_store(store).unwrap();
            std::thread::sleep(Duration::from_millis(500));
            cluster.restart_store(store).unwrap();
        }
    }
    tally.over.store(true, Ordering::Relaxed);
    let end = Instant::now() + DEADLINE + SLACK;
    while tally.left.load(Ordering::Relaxed) > 0 {
        assert!(Instant::now() < end, "{} callers hang", tally.left.load(Ordering::Relaxed));
        std::thread::sleep(Duration::from_millis(10));
    }
    tally
}

fn storm(connect: Connect, spawn: Spawn) {
    let cluster =
        Embedded::builder().stores(3).raw_split_keys(["key 03000", "key 06000"]).start().wait().unwrap();
    let mut config = Config::default();
    config.deadline = DEADLINE;
    let client = connect(cluster.pd_addresses(), config).unwrap();
    for numbers in (0..CALLERS).collect::<Vec<_>>().chunks(500) {
        client.raw().batch_put(numbers.iter().map(|&number| pair(number))).wait().unwrap();
    }
    // What a calm round leaves behind is where memory begins: pools are filled, connections are made.
    let calm = round(&cluster, &client, spawn, Duration::from_millis(500), false);
    assert_eq!(calm.failed.load(Ordering::Relaxed), 0);
    let before = allocated();
    let wild = round(&cluster, &client, spawn, Duration::from_secs(seconds()), true);
    let answered = wild.answered.load(Ordering::Relaxed);
    assert!(answered > CALLERS, "{wild:?}");
    // Connections that ended give back what they held when their tasks run.
    let end = Instant::now() + Duration::from_secs(20);
    while allocated() > before + LEFT {
        assert!(Instant::now() < end, "{} bytes are left of {before}: {wild:?}", allocated() - before);
        std::thread::sleep(Duration::from_millis(50));
    }
    client.raw().get("key 00000").wait().unwrap().unwrap();
    client.close(Duration::from_secs(1)).wait();
}

/// One test, for all that it does would show in the others' counts.
#[test]
fn ten_thousand_callers_outlast_stores_that_are_killed_every_second() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // For the tasks of the callers; the client brings a thread of its own.
    let _within = tokio.enter();
    storm(tikv_client_tokio::connect_blocking, |task| drop(tokio::spawn(task)));
    storm(tikv_client_smol::connect_blocking, |task| smol::spawn(task).detach());
}
