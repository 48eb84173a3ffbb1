//! One run of one client: operations, CPU time and allocations.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use stats_alloc::Region;

/// Keys that are read, drawn at random.
pub(crate) const KEYS: u64 = 10_000;

/// How hard a client works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Calls under way at a time.
    pub(crate) callers: usize,
    /// How long is measured, after a warm-up of half a second.
    pub(crate) seconds: f64,
}

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) ops_per_second: f64,
    pub(crate) cpu_us: f64,
    pub(crate) allocations: f64,
}

impl Cost {
    /// As a line for the parent process.
    pub(crate) fn line(&self) -> String {
        format!("{} {} {}", self.ops_per_second, self.cpu_us, self.allocations)
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some(Self {
            ops_per_second: numbers.next()??,
            cpu_us: numbers.next()??,
            allocations: numbers.next()??,
        })
    }
}

/// The key of a number, as it is stored.
pub(crate) fn key(n: u64) -> String {
    format!("bench{n:08}")
}

/// CPU time of this process, in user and kernel.
fn cpu() -> Result<Duration, nix::errno::Errno> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// Runs `get` from as many tasks as the load says and measures what each costs.
pub(crate) async fn run<F, G>(load: Load, get: G) -> Result<Cost, Box<dyn std::error::Error>>
where
    G: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    calls(load.callers, Duration::from_millis(500), get.clone()).await?;
    let allocator = Region::new(crate::ALLOCATOR);
    let (cpu_before, time) = (cpu()?, Instant::now());
    let done = calls(load.callers, Duration::from_secs_f64(load.seconds), get).await?;
    let (cpu_after, elapsed) = (cpu()?, time.elapsed());
    let allocated = allocator.change();
    let ops = done as f64;
    Ok(Cost {
        ops_per_second: ops / elapsed.as_secs_f64(),
        cpu_us: (cpu_after - cpu_before).as_secs_f64() * 1e6 / ops,
        allocations: (allocated.allocations + allocated.reallocations) as f64 / ops,
    })
}

async fn calls<F, G>(callers: usize, time: Duration, get: G) -> Result<u64, Box<dyn std::error::Error>>
where
    G: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let done = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + time;
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (done, get) = (Arc::clone(&done), get.clone());
            tokio::spawn(async move {
                let mut random = caller as u64 + 1;
                let mut count = 0;
                while Instant::now() < until {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    get(key((random >> 33) % KEYS)).await?;
                    count += 1;
                }
                done.fetch_add(count, Ordering::Relaxed);
                Ok::<_, String>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(done.load(Ordering::Relaxed))
}

/// Prints a line; a closed pipe is no failure of a benchmark.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Prints a line for people to the error stream.
pub(crate) fn say_error(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
