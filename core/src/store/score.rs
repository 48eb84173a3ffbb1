//! How slow a store is: what it says itself, and what this client sees.
//!
//! Both scores go from 1, all well, to 100; from [`SLOW`] on the store is slow. Both sink by themselves when nothing
//! is heard any more.
//!
//! client-go: `internal/locate/store_cache.go: StoreHealthStatus`, `slow_score.go: SlowScoreStat`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::types::Instant;

/// The score from which on a store is slow. client-go: `tikvSlowScoreSlowThreshold`, `slowScoreThreshold`.
pub const SLOW: u64 = 80;
/// The highest score.
pub(super) const WORST: u64 = 100;
/// The lowest.
const BEST: u64 = 1;

/// The score that a store tells of itself, sinking by 20 a minute from when it was told.
///
/// Score and time are one number, so that they are of one telling.
#[derive(Debug, Default)]
pub(super) struct ServerScore(AtomicU64);

/// Bits of the time, ms.
const TIME_BITS: u32 = 56;
/// A score that differs is not taken in sooner. client-go: `tikvSlowScoreUpdateInterval`.
const BETWEEN_UPDATES_MS: u64 = 100;
/// The score sinks by one in this time. client-go: `tikvSlowScoreDecayRate` (20 in 60 s).
const DECAY_MS: u64 = 3_000;

impl ServerScore {
    fn parts(&self) -> (u64, u64) {
        let packed = self.0.load(Ordering::Relaxed);
        (packed >> TIME_BITS, packed & ((1 << TIME_BITS) - 1))
    }

    /// The store told `score` at `now`.
    pub(super) fn told(&self, score: u32, now: Instant) {
        let score = u64::from(score).clamp(BEST, WORST);
        let now = now.0 / 1_000_000;
        let (known, at) = self.parts();
        let early = known != 0 && known != score && now.saturating_sub(at) < BETWEEN_UPDATES_MS;
        if !early {
            self.0.store((score << TIME_BITS) | (now & ((1 << TIME_BITS) - 1)), Ordering::Relaxed);
        }
    }

    /// The score at `now`; 0: the store never told one.
    pub(super) fn at(&self, now: Instant) -> u64 {
        let (score, at) = self.parts();
        let sunk = (now.0 / 1_000_000).saturating_sub(at) / DECAY_MS;
        if score == 0 { 0 } else { score.saturating_sub(sunk).max(BEST) }
    }

    /// Whether the store is to be asked how it is: it told of trouble, and then nothing for so long.
    pub(super) fn is_due(&self, now: Instant, silent: Duration) -> bool {
        let silent = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
        self.at(now) > BEST && (now.0 / 1_000_000).saturating_sub(self.parts().1) >= silent
    }
}

/// A request that took this long makes the store slow at once. client-go: `slowScoreMaxTimeoutInUs`.
const TOO_LONG: Duration = Duration::from_secs(30);
/// Samples of a window.
const WINDOW: usize = 10;

/// The score that this client gives a store by how long its reads take.
///
/// Fewer answers that take longer raise it: a store that gets slow shows both. Reads add to the interval's sums without a
/// lock; [`Windows::turn`] judges an interval.
#[derive(Debug, Default)]
pub(super) struct ClientScore {
    score: AtomicU64,
    time_us: AtomicU64,
    count: AtomicU64,
}

impl ClientScore {
    /// A read took `time`.
    pub(super) fn took(&self, time: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if time >= TOO_LONG {
            return self.slow();
        }
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.time_us.fetch_add(time, Ordering::Relaxed);
    }

    /// The store is slow, whatever its times are.
    pub(super) fn slow(&self) {
        self.score.store(WORST, Ordering::Relaxed);
    }

    /// The score; 0 before the first interval.
    pub(super) fn now(&self) -> u64 {
        self.score.load(Ordering::Relaxed)
    }
}

/// The mean of the last samples.
#[derive(Debug, Default)]
struct Window {
    samples: VecDeque<u64>,
    mean: u64,
}

impl Window {
    /// Adds a sample; by what part it is above the mean before it.
    fn add(&mut self, sample: u64) -> f64 {
        let before = self.mean;
        if self.samples.len() == WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.mean = self.samples.iter().sum::<u64>() / self.samples.len() as u64;
        if before == 0 || before == sample { 1e-6 } else { (sample as f64 - before as f64) / before as f64 }
    }
}

/// What is remembered between intervals to judge a [`ClientScore`].
#[derive(Debug, Default)]
pub(super) struct Windows {
    counts: Window,
    times: Window,
}

impl Windows {
    /// Judges an interval.
    ///
    /// Without a read the score sinks as evenly as with reads. client-go begins anew then, so that a store marked as slow
    /// counts as fast within two intervals.
    pub(super) fn turn(&mut self, score: &ClientScore) {
        let count = score.count.swap(0, Ordering::Relaxed);
        let time = score.time_us.swap(0, Ordering::Relaxed);
        let (count_rise, time_rise) = match time.checked_div(count) {
            Some(mean) => (self.counts.add(count), self.times.add(mean)),
            None => (1.0, 1.0),
        };
        let old = score.now();
        let new = if count_rise <= -0.1 && time_rise >= 0.1 {
            let ratio = (time_rise / count_rise).abs().min(5.43);
            (old as f64).mul_add(ratio, 1.0).ceil().min(WORST as f64) as u64
        } else {
            let sinks = (1.0 + count_rise.abs()).clamp(1.0, 2.71).ceil() as u64;
            old.saturating_sub(sinks).max(BEST)
        };
        // A mark that came meanwhile stays.
        let _kept = score.score.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Instant {
        Instant((seconds * 1e9) as u64)
    }

    // client-go: region_cache_test.go: TestTiKVSideSlowScore.
    #[test]
    fn the_score_a_store_told_sinks_by_twenty_a_minute_down_to_one() {
        let score = ServerScore::default();
        assert_eq!(score.at(at(0.0)), 0, "never told");
        score.told(100, at(10.0));
        assert_eq!(score.at(at(10.0)), 100);
        assert!(score.at(at(69.0)) >= SLOW);
        assert_eq!(score.at(at(70.0)), 80);
        assert_eq!(score.at(at(73.0)), 79);
        assert_eq!(score.at(at(600.0)), 1);
    }

    // client-go: region_cache_test.go: TestRegionCacheHandleHealthStatus.
    #[test]
    fn another_score_within_a_tenth_of_a_second_is_not_taken_in_but_the_same_one_is_fresh_again() {
        let score = ServerScore::default();
        score.told(50, at(10.0));
        score.told(90, at(10.05));
        assert_eq!(score.at(at(10.05)), 50);
        score.told(90, at(10.1));
        assert_eq!(score.at(at(10.1)), 90);
        score.told(90, at(40.0));
        assert_eq!(score.at(at(40.0)), 90);
        score.told(0, at(50.0));
        assert_eq!(score.at(at(50.0)), 1, "no score is below the best");
        score.told(7_000, at(60.0));
        assert_eq!(score.at(at(60.0)), 100);
    }

    #[test]
    fn only_a_store_that_told_of_trouble_and_fell_silent_is_asked() {
        let silent = Duration::from_secs(15);
        let score = ServerScore::default();
        assert!(!score.is_due(at(100.0), silent));
        score.told(90, at(100.0));
        assert!(!score.is_due(at(114.9), silent));
        assert!(score.is_due(at(115.0), silent));
        score.told(1, at(116.0));
        assert!(!score.is_due(at(200.0), silent));
    }

    fn interval(score: &ClientScore, windows: &mut Windows, reads: u64, each: Duration) -> u64 {
        (0..reads).for_each(|_| score.took(each));
        windows.turn(score);
        score.now()
    }

    // client-go: region_cache_test.go: TestSlowScoreStat.
    #[test]
    fn times_that_rise_and_fall_do_not_make_a_store_slow_but_a_mark_does() {
        let (score, mut windows) = (ClientScore::default(), Windows::default());
        for ms in (1..=100).chain((1..=100).rev()) {
            assert!(interval(&score, &mut windows, 100, Duration::from_millis(ms)) < SLOW, "{ms} ms");
        }
        score.slow();
        assert!(score.now() >= SLOW);
    }

    #[test]
    fn fewer_answers_that_take_longer_make_a_store_slow() {
        let (score, mut windows) = (ClientScore::default(), Windows::default());
        for _ in 0..5 {
            interval(&score, &mut windows, 1000, Duration::from_millis(10));
        }
        let scores: Vec<u64> = (1..=6)
            .map(|turn| interval(&score, &mut windows, 1000 >> turn, Duration::from_millis(10 << turn)))
            .collect();
        assert!(scores.is_sorted() && scores.last() >= Some(&SLOW), "{scores:?}");
    }

    #[test]
    fn a_read_of_half_a_minute_makes_a_store_slow_at_once() {
        let score = ClientScore::default();
        score.took(Duration::from_secs(30));
        assert_eq!(score.now(), WORST);
    }

    // routing.md 3.5 [Q]: in client-go the mark of a store without reads is gone at the first or second interval.
    #[test]
    fn fixes_a_mark_sinks_as_evenly_without_reads_as_with_them() {
        let turns = |reads| {
            let (score, mut windows) = (ClientScore::default(), Windows::default());
            score.slow();
            (1..).find(|_| interval(&score, &mut windows, reads, Duration::from_millis(5)) < SLOW)
        };
        assert_eq!(turns(0), Some(11));
        assert_eq!(turns(100), Some(11));
    }
}
