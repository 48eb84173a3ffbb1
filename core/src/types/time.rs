//! Time: the client's own monotonic clock, wall time, and timestamps of PD.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the client's monotonic clock: nanoseconds since the client started.
///
/// The core reads no clock: a runtime gives the instant with each completion, so a trace can hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "nanoseconds and nothing else")]
pub struct Instant(pub u64);

impl Instant {
    /// Later than any instant a client lives to see: no deadline.
    pub const FAR: Self = Self(u64::MAX);

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Wall time: milliseconds since the Unix epoch, as the runtime's host has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "milliseconds and nothing else")]
pub struct WallTime(pub u64);

/// A timestamp of PD's oracle: physical milliseconds and an 18-bit logical counter.
///
/// client-go: `oracle/oracle.go: ComposeTS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "the wire's 64 bits")]
pub struct Timestamp(pub u64);

/// Bits of a timestamp below its physical part.
const LOGICAL_BITS: u32 = 18;

impl Timestamp {
    /// Reads at this timestamp see the newest committed value of a key.
    pub const MAX: Self = Self(u64::MAX);

    /// A timestamp of `physical_ms` milliseconds and the counter `logical`.
    #[must_use]
    pub const fn compose(physical_ms: u64, logical: u64) -> Self {
        Self((physical_ms << LOGICAL_BITS).wrapping_add(logical))
    }

    /// Milliseconds since the Unix epoch on PD's clock.
    #[must_use]
    pub const fn physical_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// The counter within the millisecond.
    #[must_use]
    pub const fn logical(self) -> u64 {
        self.0 & ((1 << LOGICAL_BITS) - 1)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
