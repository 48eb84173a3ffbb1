//! How the tasks of a store's read pool ran.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use tikv_proto::kvrpcpb as pb;

use super::format::duration_text;

/// Samples of one measure: their sum, the most and the least.
///
/// What was not measured is not zero: the least of no samples is no sample's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spread<T> {
    /// All together.
    pub total: T,
    /// The most of one sample.
    pub max: T,
    /// The least of one sample; zero when there are none.
    pub min: T,
}

impl<T: Copy + Ord + std::ops::Add<Output = T>> Spread<T> {
    /// A spread.
    pub const fn new(total: T, max: T, min: T) -> Self {
        Self { total, max, min }
    }

    /// Adds `other`. `had` and `has` say whether there are samples on this side and on the other.
    fn merge(&mut self, had: bool, other: Self, has: bool) {
        self.total = self.total + other.total;
        self.max = self.max.max(other.max);
        if has {
            self.min = if had { self.min.min(other.min) } else { other.min };
        }
    }
}

/// How the tasks of a store's read pool ran, over any number of requests.
///
/// client-go: `util/execdetails.go: PoolTaskDetails`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolTaskDetails {
    /// Tasks that were told of.
    pub tasks: u64,
    /// How often a task was polled.
    pub polls: Spread<u64>,
    /// How often a worker took a task up.
    pub dispatches: Spread<u64>,
    /// From submission to the end.
    pub wall: Spread<Duration>,
    /// Tasks whose wall time was told.
    pub wall_samples: u64,
    /// Ready, waiting for a worker.
    pub queue_wait: Spread<Duration>,
    /// Not ready, waiting for what it depends on.
    pub wake_wait: Spread<Duration>,
    /// Waits in the fair queue that were measured.
    pub fair_queue_samples: u64,
    /// Slices of other tasks that went before in the fair queue.
    pub fair_queue_slices: Spread<u64>,
    /// CPU time in one poll.
    pub poll_cpu: Spread<Duration>,
    /// Wall time in one poll.
    pub poll_wall: Spread<Duration>,
}

impl PoolTaskDetails {
    /// Whether no task was told of.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tasks == 0
    }

    /// Adds `other`.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let had = !self.is_empty();
        let polled = (self.polls.total > 0, other.polls.total > 0);
        self.polls.merge(had, other.polls, true);
        self.dispatches.merge(had, other.dispatches, true);
        self.wall.merge(self.wall_samples > 0, other.wall, !other.wall.total.is_zero());
        let queued = (!self.queue_wait.total.is_zero(), !other.queue_wait.total.is_zero());
        self.queue_wait.merge(queued.0, other.queue_wait, queued.1);
        let woken = (!self.wake_wait.total.is_zero(), !other.wake_wait.total.is_zero());
        self.wake_wait.merge(woken.0, other.wake_wait, woken.1);
        let fair = (self.fair_queue_samples > 0, other.fair_queue_samples > 0);
        self.fair_queue_slices.merge(fair.0, other.fair_queue_slices, fair.1);
        self.poll_cpu.merge(polled.0, other.poll_cpu, polled.1);
        self.poll_wall.merge(polled.0, other.poll_wall, polled.1);
        self.tasks += other.tasks;
        self.wall_samples += other.wall_samples;
        self.fair_queue_samples += other.fair_queue_samples;
    }

    /// Adds what a store said of one task.
    pub fn merge_message(&mut self, message: &pb::PoolTaskDetails) {
        let one = |count| Spread::new(count, count, count);
        let times = |total, max, min| {
            let min = if total > 0 { min } else { 0 };
            Spread::new(Duration::from_nanos(total), Duration::from_nanos(max), Duration::from_nanos(min))
        };
        let wall = Duration::from_nanos(message.total_wall_nanos);
        let fair = message.fair_queue_enabled && message.dispatch_count > 0;
        let polled = message.poll_count > 0;
        let poll = |total, max, min: u64| {
            let (total, max) = (Duration::from_nanos(total), Duration::from_nanos(max));
            Spread::new(total, max, Duration::from_nanos(if polled { min } else { 0 }))
        };
        let m = message;
        self.merge(&Self {
            tasks: 1,
            polls: one(m.poll_count),
            dispatches: one(m.dispatch_count),
            wall: Spread::new(wall, wall, wall),
            wall_samples: u64::from(!wall.is_zero()),
            queue_wait: times(m.total_queue_wait_nanos, m.max_queue_wait_nanos, m.min_queue_wait_nanos),
            wake_wait: times(m.total_wake_wait_nanos, m.max_wake_wait_nanos, m.min_wake_wait_nanos),
            fair_queue_samples: if fair { m.dispatch_count } else { 0 },
            fair_queue_slices: if fair {
                Spread::new(
                    m.total_fair_queue_waited_task_slices,
                    m.max_fair_queue_waited_task_slices,
                    m.min_fair_queue_waited_task_slices,
                )
            } else {
                Spread::default()
            },
            poll_cpu: poll(m.poll_cpu_nanos, m.max_poll_cpu_nanos, m.min_poll_cpu_nanos),
            poll_wall: poll(m.poll_wall_nanos, m.max_poll_wall_nanos, m.min_poll_wall_nanos),
        });
    }
}

/// `total` shared among `count`, to two decimals.
fn average(total: u64, count: u64) -> String {
    let text = format!("{:.2}", total as f64 / count as f64);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn counts(f: &mut fmt::Formatter<'_>, name: &str, spread: &Spread<u64>, samples: u64) -> fmt::Result {
    write!(f, "{name}:{{total:{}", spread.total)?;
    if samples > 0 {
        write!(f, ", avg:{}", average(spread.total, samples))?;
    }
    write!(f, ", max:{}, min:{}}}", spread.max, spread.min)
}

fn times(f: &mut fmt::Formatter<'_>, name: &str, spread: &Spread<Duration>, samples: u64) -> fmt::Result {
    if spread.total.is_zero() {
        return Ok(());
    }
    write!(f, ", {name}:{{total:{}", duration_text(spread.total))?;
    if samples > 0 {
        let nanos = spread.total.as_nanos() / u128::from(samples);
        let average = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        write!(f, ", avg:{}", duration_text(average))?;
    }
    write!(f, ", max:{}, min:{}}}", duration_text(spread.max), duration_text(spread.min))
}

impl Display for PoolTaskDetails {
    /// Times that are zero are left out; nothing at all without a task.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        write!(f, "{{tasks:{}, ", self.tasks)?;
        counts(f, "poll_count", &self.polls, self.tasks)?;
        f.write_str(", ")?;
        counts(f, "dispatch_count", &self.dispatches, 0)?;
        times(f, "task_wall_time", &self.wall, self.wall_samples)?;
        times(f, "queue_wait", &self.queue_wait, self.dispatches.total)?;
        // The first time that a task is taken up, nothing has woken it.
        times(f, "wake_wait", &self.wake_wait, self.dispatches.total.saturating_sub(self.tasks))?;
        write!(f, ", fair_queue:{{enabled:{}, ", self.fair_queue_samples > 0)?;
        counts(f, "waited_task_slices", &self.fair_queue_slices, self.fair_queue_samples)?;
        f.write_char('}')?;
        times(f, "poll_cpu", &self.poll_cpu, self.polls.total)?;
        times(f, "poll_wall", &self.poll_wall, self.polls.total)?;
        f.write_char('}')
    }
}
