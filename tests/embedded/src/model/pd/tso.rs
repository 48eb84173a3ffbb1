//! The timestamp oracle.
//!
//! A timestamp is physical milliseconds and an 18-bit counter. One request owns the `count` timestamps that end
//! with the one answered. The physical part follows the clock in steps but never goes back, and moves ahead of the
//! clock when the counter is used up.
//!
//! PD: `pkg/tso/allocator.go: generateTSO`, `pkg/tso/tso.go: getTS, updateTimestamp`.

use tikv_proto::pdpb;

use super::{Answer, Asked, Pd};
use crate::model::clock::Now;
use crate::model::status::Status;

/// Bits of the counter.
const LOGICAL_BITS: u32 = 18;
/// Counters below this one exist.
const LOGICAL_END: u32 = 1 << LOGICAL_BITS;

/// The physical part follows the clock in steps of so many milliseconds.
// PD: server/config/config.go: DefaultTSOUpdatePhysicalInterval
const STEP_MS: u64 = 50;

/// The leader stores how far it may go ahead, so many milliseconds at a time.
// PD: server/config/config.go: DefaultTSOSaveInterval
const WINDOW_MS: u64 = 3_000;
/// A new leader begins so much above what the old one has stored.
// PD: pkg/tso/tso.go: updateTimestampGuard
const GUARD_MS: u64 = 1;

/// The oracle's state: the last timestamp that it gave out, and below which ones it may go on without storing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oracle {
    physical_ms: u64,
    logical: u32,
    /// Physical parts below this one may have been given out.
    window_ms: u64,
    /// A new leader has still to begin.
    new_leader: bool,
    /// The physical part does not follow the clock.
    frozen: bool,
}

impl Oracle {
    /// Draws `count` timestamps; returns the last of them as physical part and counter.
    ///
    /// # Errors
    /// `count` is none, or more than a millisecond has counters for.
    pub fn draw(&mut self, now: Now, count: u32) -> Result<(u64, u32), Status> {
        let failed =
            |why| Status::unknown(format!("[PD:tso:ErrGenerateTimestamp]generate timestamp failed, {why}"));
        if count == 0 {
            return Err(failed("tso count should be positive"));
        }
        if count >= LOGICAL_END {
            return Err(failed("generate tso maximum number of retries exceeded"));
        }
        let clock_ms = if self.new_leader {
            now.unix_ms().max(self.window_ms.saturating_add(GUARD_MS))
        } else {
            now.unix_ms() / STEP_MS * STEP_MS
        };
        let follows = !self.frozen || self.new_leader || self.physical_ms == 0;
        self.new_leader = false;
        if follows && clock_ms > self.physical_ms {
            (self.physical_ms, self.logical) = (clock_ms, 0);
        }
        // Both are below 2^18, their sum fits.
        if self.logical + count >= LOGICAL_END {
            (self.physical_ms, self.logical) = (self.physical_ms.saturating_add(1), 0);
        }
        self.logical += count;
        if self.physical_ms.saturating_add(GUARD_MS) >= self.window_ms {
            self.window_ms = self.physical_ms.saturating_add(WINDOW_MS);
        }
        Ok((self.physical_ms, self.logical))
    }

    /// The last timestamp that was given out, as one number.
    #[must_use]
    pub fn last(&self) -> u64 {
        (self.physical_ms << LOGICAL_BITS) | u64::from(self.logical)
    }

    /// Moves ahead by `ms` milliseconds; the clock catches up in time.
    pub fn jump(&mut self, now: Now, ms: u64) {
        let physical_ms = self.physical_ms.max(now.unix_ms()).saturating_add(ms);
        (self.physical_ms, self.logical) = (physical_ms, 0);
    }

    /// Whether the physical part stands still, and moves only when a millisecond has no timestamp left.
    pub fn set_frozen(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// Another member leads: it knows only what the old one has stored, and begins above that.
    pub(super) fn reload(&mut self) {
        self.new_leader = true;
    }
}

fn timestamp((physical, logical): (u64, u32)) -> pdpb::Timestamp {
    let physical = i64::try_from(physical).unwrap_or(i64::MAX);
    pdpb::Timestamp { physical, logical: logical.into(), suffix_bits: 0 }
}

impl Pd {
    pub(super) fn tso(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::TsoRequest,
    ) -> Answer<pdpb::TsoResponse> {
        let last = timestamp(self.oracle.draw(asked.now, request.count)?);
        Ok(pdpb::TsoResponse { header: None, count: request.count, timestamp: Some(last) })
    }

    pub(super) fn min_ts(
        &mut self,
        asked: &mut Asked<'_>,
        _: pdpb::GetMinTsRequest,
    ) -> Answer<pdpb::GetMinTsResponse> {
        let last = timestamp(self.oracle.draw(asked.now, 1)?);
        Ok(pdpb::GetMinTsResponse { header: None, timestamp: Some(last) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Now {
        Now::from_unix(Duration::from_millis(ms))
    }

    #[test]
    fn batches_own_disjoint_growing_ranges() {
        let mut oracle = Oracle::default();
        let mut last = 0;
        // The clock goes back once, and one batch does not fit into the rest of its millisecond.
        for (ms, count) in
            [(50, 1), (50, 3), (4, 1), (60, 200_000), (60, 200_000), (60, 1), (70, 262_143), (70, 1)]
        {
            let (physical, logical) = oracle.draw(at(ms), count).expect("a fair count");
            let first = (physical << LOGICAL_BITS) + u64::from(logical) - u64::from(count) + 1;
            assert!(first > last, "{count} at {ms} ms begins at {first}, not above {last}");
            last = oracle.last();
        }
        assert_eq!(oracle.draw(at(109), 1), Ok((100, 1)), "the clock has caught up");
        assert_eq!(oracle.draw(at(149), 1), Ok((100, 2)), "within the step");
    }

    #[test]
    fn a_frozen_oracle_goes_on_without_the_clock() {
        let mut oracle = Oracle::default();
        oracle.set_frozen(true);
        assert_eq!(oracle.draw(at(100), 1), Ok((100, 1)), "it begins somewhere");
        assert_eq!(oracle.draw(at(90_000), 262_142), Ok((100, 262_143)));
        assert_eq!(oracle.draw(at(90_000), 1), Ok((101, 1)));
        oracle.set_frozen(false);
        assert_eq!(oracle.draw(at(90_000), 1), Ok((90_000, 1)));
    }

    #[test]
    fn a_new_leader_begins_above_all_that_the_old_one_may_have_given_out() {
        let mut oracle = Oracle::default();
        assert_eq!(oracle.draw(at(10_000), 1), Ok((10_000, 1)));
        oracle.reload();
        assert_eq!(oracle.draw(at(10_010), 1), Ok((13_001, 1)), "the window of 3 s, and the guard");
        assert_eq!(oracle.draw(at(12_000), 5), Ok((13_001, 6)), "until the clock has caught up");
        oracle.reload();
        assert_eq!(oracle.draw(at(20_000), 1), Ok((20_000, 1)), "the clock is beyond the window");
        oracle.reload();
        oracle.reload();
        assert_eq!(oracle.draw(at(20_000), 1), Ok((23_001, 1)), "once, however often leaders changed");
    }

    #[test]
    fn impossible_counts_are_refused() {
        let mut oracle = Oracle::default();
        oracle.draw(at(5), 7).expect("a fair count");
        let before = oracle;
        assert!(oracle.draw(at(9), 0).is_err());
        assert!(oracle.draw(at(9), 262_144).is_err());
        assert_eq!(oracle, before);
    }
}
