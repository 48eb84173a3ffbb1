//! How long things take on the network and in the stores, and what answers suffer there.

use std::time::Duration;

use fastrand::Rng;

use crate::exec::nanos;

/// The state of the network; a fault makes it worse for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weather {
    /// One way takes from so long to so long.
    pub(crate) trip: (Duration, Duration),
    /// Of a thousand messages so many are sent again by TCP, and hold up those behind them.
    pub(crate) resent_per_mille: u32,
    /// A command takes a store from so long to so long.
    pub(crate) work: (Duration, Duration),
    /// Answers of a stream go out in any order, in frames of any size.
    pub(crate) reorders: bool,
    /// Of a thousand answers so many come twice.
    pub(crate) doubled_per_mille: u32,
}

/// How long TCP waits before it sends again. RFC 6298: at least a second; Linux: from 200 ms on.
const RESEND: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(800));

impl Weather {
    /// A good network.
    pub(crate) fn calm() -> Self {
        Self {
            trip: (Duration::from_micros(50), Duration::from_micros(300)),
            resent_per_mille: 0,
            work: (Duration::ZERO, Duration::from_micros(200)),
            reorders: false,
            doubled_per_mille: 0,
        }
    }

    /// Draws how long a message takes one way.
    pub(crate) fn trip(&self, rng: &mut Rng) -> u64 {
        let resent = rng.u32(..1000) < self.resent_per_mille;
        draw(self.trip, rng) + if resent { draw(RESEND, rng) } else { 0 }
    }

    /// Draws how long a command takes.
    pub(crate) fn work(&self, rng: &mut Rng) -> u64 {
        draw(self.work, rng)
    }
}

/// Draws from a range of durations, in nanoseconds.
pub(crate) fn draw((least, most): (Duration, Duration), rng: &mut Rng) -> u64 {
    rng.u64(nanos(least)..=nanos(most).max(nanos(least)))
}
