//! How many requests may be sent in a time: a token bucket.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::types::Instant;

/// The most requests that go to one store in a time; those of high priority are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// In a second.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// So many in a second, and at once.
    #[must_use]
    pub const fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { per_second, burst }
    }

    /// How long one request takes.
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.get()
    }
}

/// Counts by time: the bucket is empty at `full - burst × interval`, and full at `full`.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    full: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, full: Instant::default() }
    }

    /// How many may go at `now`.
    pub(super) fn allows(&self, now: Instant) -> usize {
        let (burst, interval) = (self.rate.burst.get(), self.rate.interval().as_nanos());
        let missing = self.full.since(now).as_nanos().div_ceil(interval.max(1));
        burst.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX)) as usize
    }

    /// So many went at `now`.
    pub(super) fn take(&mut self, count: usize, now: Instant) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.full = self.full.max(now) + self.rate.interval().saturating_mul(count);
    }

    /// When the next one may go, which may be over.
    pub(super) fn next(&self) -> Instant {
        let most = self.rate.interval().saturating_mul(self.rate.burst.get() - 1);
        Instant(self.full.0.saturating_sub(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn bucket() -> Bucket {
        Bucket::new(Rate::new(NonZeroU32::new(1000).unwrap(), NonZeroU32::new(3).unwrap()))
    }

    #[test]
    fn a_burst_goes_at_once_and_then_one_in_each_interval() {
        let (mut bucket, mut went) = (bucket(), Vec::new());
        for at in 0..=50 {
            let now = Instant(at * MS / 10);
            while bucket.allows(now) > 0 {
                bucket.take(1, now);
                went.push(at);
            }
        }
        assert_eq!(went, [0, 0, 0, 10, 20, 30, 40, 50], "in tenths of an interval");
    }

    #[test]
    fn the_next_one_may_go_when_it_is_said_to_and_not_before() {
        let mut bucket = bucket();
        bucket.take(3, Instant(0));
        let next = bucket.next();
        assert_eq!((bucket.allows(Instant(next.0 - 1)), bucket.allows(next)), (0, 1));
        assert_eq!(bucket.allows(Instant(1 << 40)), 3, "a long pause saves no more than a burst");
    }
}
