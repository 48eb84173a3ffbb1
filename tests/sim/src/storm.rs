//! The storm: one client with many callers, and stores that are killed and revived, one each second, in virtual time.
//!
//! Each caller reads its own key again and again, so an answer that is another's, or a second one, shows. Nobody may wait longer
//! than a call's deadline, and nothing may be left of the client when it is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tikv_client_core::client::Client;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_embedded::control::Node;

use crate::digest::Digest;
use crate::exec::{Executor, nanos};
use crate::net::Absence;
use crate::scene::Stage;

/// What a call may take, and how much later it may end: one pause.
const DEADLINE: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(3);

/// How large a storm is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "settings of the command line")]
pub struct Storm {
    /// Callers of one client.
    pub callers: u64,
    /// How long stores are killed.
    pub time: Duration,
    /// Between two reads of a caller, at the most.
    pub pause: Duration,
    /// Of all that is drawn.
    pub seed: u64,
}

impl Default for Storm {
    /// Ten thousand callers, a minute.
    fn default() -> Self {
        Self { callers: 10_000, time: Duration::from_secs(60), pause: Duration::from_secs(2), seed: 1 }
    }
}

/// What a storm came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weathered {
    /// Reads that were answered.
    pub answered: u64,
    /// Reads that ended with an error, in time.
    pub failed: u64,
    /// Stores that were killed.
    pub kills: u64,
    /// The longest read.
    pub longest: Duration,
}

#[derive(Default)]
struct Tally {
    over: AtomicBool,
    done: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    longest: AtomicU64,
}

/// Runs a storm.
///
/// # Errors
/// What did not hold, for people.
pub fn storm(storm: Storm) -> Result<Weathered, String> {
    let executor = Executor::new(None, Digest::default());
    let (stage, _) = Stage::new(&executor);
    let longest = storm.time + 10 * (DEADLINE + SLACK);
    let ran = executor.run(direct(stage, executor.clone(), storm), nanos(longest), || false);
    executor.end();
    ran.map_err(|stuck| format!("it does not end: {stuck:?}"))?
}

async fn direct(stage: Stage, executor: Executor, storm: Storm) -> Result<Weathered, String> {
    let said = |error: Error| error.to_string();
    let (client, group) = stage.stranger().await.map_err(said)?;
    for from in (0..storm.callers).step_by(500) {
        let pairs = (from..storm.callers.min(from + 500)).map(pair);
        client.raw().batch_put(pairs).await.map_err(said)?;
    }
    let tally: Arc<Tally> = Arc::default();
    let wrong: Arc<std::sync::Mutex<Option<String>>> = Arc::default();
    for number in 0..storm.callers {
        let caller = call(client.clone(), executor.clone(), storm, Arc::clone(&tally), number);
        let (tally, wrong) = (Arc::clone(&tally), Arc::clone(&wrong));
        stage.beside(group, async move {
            if let Err(story) = caller.await {
                wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(story);
            }
            tally.done.fetch_add(1, Ordering::Relaxed);
        });
    }
    let end = executor.now() + nanos(storm.time);
    let mut kills = 0;
    while executor.now() < end {
        let store = Node::Store(1 + kills % 3);
        stage.sleep(Duration::from_millis(500)).await;
        stage.stop(store, if kills % 2 == 0 { Absence::Refuses } else { Absence::Silent });
        stage.sleep(Duration::from_millis(500)).await;
        stage.start(store);
        kills += 1;
    }
    tally.over.store(true, Ordering::Relaxed);
    stage.sleep(storm.pause + DEADLINE + SLACK).await;
    let hang = storm.callers - tally.done.load(Ordering::Relaxed);
    if let Some(story) = wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
        return Err(story);
    }
    if hang > 0 {
        return Err(format!("{hang} callers hang"));
    }
    client.close(Duration::from_secs(10)).await;
    stage.sleep(Duration::from_millis(1)).await;
    let left = executor.tasks(group);
    if left > 0 {
        return Err(format!("{left} tasks outlive the client"));
    }
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let longest = Duration::from_nanos(count(&tally.longest));
    Ok(Weathered { answered: count(&tally.answered), failed: count(&tally.failed), kills, longest })
}

fn pair(number: u64) -> (String, String) {
    (format!("key {number:05}"), format!("value of {number}"))
}

async fn call(
    client: Client,
    executor: Executor,
    storm: Storm,
    tally: Arc<Tally>,
    number: u64,
) -> Result<(), String> {
    let (key, value) = pair(number);
    let mut rng = Rng::with_seed(storm.seed ^ number << 20);
    while !tally.over.load(Ordering::Relaxed) {
        let begun = executor.now();
        match client.raw().get(key.clone()).deadline(DEADLINE).await {
            Ok(Some(found)) if found == value => drop(tally.answered.fetch_add(1, Ordering::Relaxed)),
            Ok(other) => return Err(format!("{key} is {other:?}")),
            Err(error) => match error.kind() {
                ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Retry => {
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                }
                _ => return Err(format!("{key}: {error:?}")),
            },
        }
        let took = executor.now() - begun;
        tally.longest.fetch_max(took, Ordering::Relaxed);
        if took > nanos(DEADLINE + SLACK) {
            return Err(format!("{key} took {:?}", Duration::from_nanos(took)));
        }
        let pause = u64::try_from(storm.pause.as_nanos()).unwrap_or(u64::MAX);
        executor.sleep(Duration::from_nanos(rng.u64(0..=pause))).await;
    }
    Ok(())
}
