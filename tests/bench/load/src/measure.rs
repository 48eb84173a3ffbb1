//! Callers, clocks and counters.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use histogram::{AtomicHistogram, Histogram, Quantile};
use rustix::time::{ClockId, clock_gettime};

use crate::{Failure, Outcome, Task};

/// A future that any executor can run.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Latencies up to 2^40 ns (18 minutes) in steps of 1/128.
const POWERS: (u8, u8) = (7, 40);

/// What a client's program gives beside its operation.
#[allow(missing_debug_implementations, reason = "two functions")]
#[allow(clippy::exhaustive_structs, reason = "made by each program")]
pub struct Harness<'a> {
    /// Starts a task on the client's executor.
    pub spawn: &'a dyn Fn(BoxFuture<()>),
    /// Allocations of the process so far, where they are counted.
    pub allocations: Option<fn() -> u64>,
}

struct Run {
    stop: AtomicBool,
    latencies: AtomicHistogram,
    failed: mpsc::Sender<String>,
}

/// Runs `operation(caller, turn)` from as many tasks as `task` says, and measures.
///
/// It blocks the thread until the time is over: call it outside the executor.
///
/// # Errors
/// The first error of an operation, nothing done in the whole time, or a counter that cannot be read.
pub fn run<F, O>(task: &Task, draws: String, harness: &Harness<'_>, operation: O) -> Result<Outcome, Failure>
where
    O: Fn(u32, u64) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let (failed, failure) = mpsc::channel();
    let run =
        Run { stop: AtomicBool::new(false), latencies: AtomicHistogram::new(POWERS.0, POWERS.1)?, failed };
    let run = Arc::new(run);
    for caller in 0..task.callers {
        (harness.spawn)(Box::pin(call(Arc::clone(&run), caller, operation.clone())));
    }
    wait(&failure, task.warm_up)?;
    let allocated = harness.allocations.map(|count| count());
    let (cpu_before, began) = (cpu(), Instant::now());
    drop(run.latencies.drain());
    wait(&failure, task.seconds)?;
    let latencies = run.latencies.load();
    let (cpu_after, seconds) = (cpu(), began.elapsed().as_secs_f64());
    let allocated = harness.allocations.zip(allocated).map(|(count, before)| count() - before);
    run.stop.store(true, Ordering::Relaxed);
    let (operations, [p50_us, p99_us, p999_us]) = quantiles(&latencies)?;
    Ok(Outcome {
        operations,
        per_second: operations as f64 / seconds,
        cpu_us: (cpu_after - cpu_before).as_secs_f64() * 1e6 / operations as f64,
        p50_us,
        p99_us,
        p999_us,
        allocations: allocated.map(|allocated| allocated as f64 / operations as f64),
        peak_kib: peak_kib()?,
        draws,
    })
}

/// One caller: one operation after the other.
async fn call<F, O>(run: Arc<Run>, caller: u32, operation: O)
where
    O: Fn(u32, u64) -> F,
    F: Future<Output = Result<(), String>>,
{
    let (mut began, mut turn) = (Instant::now(), 0);
    while !run.stop.load(Ordering::Relaxed) {
        if let Err(error) = operation(caller, turn).await {
            // The first one is read; the rest may find nobody.
            drop(run.failed.send(error));
            return;
        }
        let now = Instant::now();
        let took = u64::try_from((now - began).as_nanos()).unwrap_or(u64::MAX);
        if run.latencies.increment(took).is_err() {
            drop(run.failed.send(format!("an operation took {took} ns")));
            return;
        }
        (began, turn) = (now, turn + 1);
    }
}

fn wait(failure: &mpsc::Receiver<String>, seconds: f64) -> Result<(), Failure> {
    match failure.recv_timeout(Duration::from_secs_f64(seconds)) {
        Ok(error) => Err(error.into()),
        Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("the callers were dropped".into()),
    }
}

fn quantiles(latencies: &Histogram) -> Result<(u64, [f64; 3]), Failure> {
    let wanted = [0.5, 0.99, 0.999];
    let found = latencies.quantiles(&wanted)?.ok_or("not one operation ended in the whole time")?;
    let mut us = [0.0; 3];
    for (us, wanted) in us.iter_mut().zip(wanted) {
        let bucket = found.get(&Quantile::new(wanted)?).ok_or("a quantile is missing")?;
        *us = bucket.end() as f64 / 1e3;
    }
    Ok((u64::try_from(found.total_count())?, us))
}

/// CPU time of this process, in user and kernel: what `getrusage` tells, to the nanosecond.
#[must_use]
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The most memory this process has held. `getrusage` would count what its parent held before it.
fn peak_kib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Draw};

    fn task() -> Task {
        Task {
            pd: Vec::new(),
            action: Action::RawGet,
            callers: 2,
            value_bytes: 16,
            draw: Draw::Uniform,
            keys: 100,
            seed: 1,
            run: 1,
            warm_up: 0.01,
            seconds: 0.05,
        }
    }

    fn on_threads(future: BoxFuture<()>) {
        std::thread::spawn(move || {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let mut future = future;
            while future.as_mut().poll(&mut cx).is_pending() {}
        });
    }

    #[test]
    fn an_outcome_has_what_was_done_in_the_measured_time() {
        let harness = Harness { spawn: &on_threads, allocations: None };
        let work = |_, _| async {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        };
        let outcome = run(&task(), "d".into(), &harness, work).unwrap();
        assert!(outcome.operations > 0 && outcome.p50_us >= 1000.0 && outcome.peak_kib > 0, "{outcome:?}");
        assert!(outcome.p50_us <= outcome.p99_us && outcome.p99_us <= outcome.p999_us, "{outcome:?}");
    }

    #[test]
    fn the_first_error_ends_the_run() {
        let harness = Harness { spawn: &on_threads, allocations: None };
        let work = |caller, _| async move { if caller == 1 { Err("no".to_owned()) } else { Ok(()) } };
        assert_eq!(run(&task(), "d".into(), &harness, work).unwrap_err().to_string(), "no");
    }
}
