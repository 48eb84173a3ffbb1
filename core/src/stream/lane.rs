//! One stream of a store: a lane. And the pauses between attempts to open one.

use std::sync::Arc;
use std::time::Duration;

use super::config::StreamConfig;
use crate::machine::{Address, StreamId, TransportClass, TransportFault};
use crate::types::Instant;

/// How often connecting failed, and when it is tried again.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// Failures one after the other.
    failures: u32,
    until: Instant,
    last: Option<TransportFault>,
}

impl Pause {
    /// Why nothing is tried at `now`; `None`: it may be.
    pub(super) fn why(&self, now: Instant) -> Option<&TransportFault> {
        self.last.as_ref().filter(|_| now < self.until)
    }

    /// It works.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
        self.last = None;
    }

    /// It broke. What had worked may be tried again at once: then this says true.
    pub(super) fn broke(
        &mut self,
        fault: &TransportFault,
        had_worked: bool,
        (now, rng): (Instant, &mut fastrand::Rng),
        config: &StreamConfig,
    ) -> bool {
        self.last = Some(unsent(fault));
        let at_once = had_worked && self.failures == 0;
        self.until = if at_once { now } else { now + self.length(rng, config) };
        self.failures = self.failures.saturating_add(1);
        at_once
    }

    /// Half of the doubled base to all of it, at most the cap: stores that come back are not stormed.
    fn length(&self, rng: &mut fastrand::Rng, config: &StreamConfig) -> Duration {
        let doubled = config.reconnect_base.saturating_mul(1 << self.failures.min(10));
        let whole = u64::try_from(doubled.min(config.reconnect_cap).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(whole / 2 + rng.u64(0..=whole / 2))
    }
}

/// The fault of a request that waited for a stream which failed: it was not sent.
pub(super) fn unsent(fault: &TransportFault) -> TransportFault {
    TransportFault::new(TransportClass::Unreachable, Arc::clone(&fault.detail))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No stream.
    Down,
    Opening,
    Open {
        writable: bool,
    },
}

/// What was sent on a stream, and what came back.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) stream: StreamId,
    /// Requests that were sent and not answered.
    pub(super) in_flight: usize,
    /// The largest id that was answered: the store has seen what was sent before.
    pub(super) newest: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    /// Which of the store's connections it is on.
    pub(super) connection: u32,
    pub(super) state: State,
    pub(super) pause: Pause,
    /// Of its stream, if there is one.
    pub(super) progress: Progress,
}

impl Lane {
    pub(super) fn new(connection: u32) -> Self {
        let progress = Progress { stream: StreamId(0), in_flight: 0, newest: 0 };
        Self { connection, state: State::Down, pause: Pause::default(), progress }
    }

    pub(super) fn is_down(&self) -> bool {
        self.state == State::Down
    }

    /// Its stream, open or opening.
    pub(super) fn stream(&self) -> Option<StreamId> {
        (!self.is_down()).then_some(self.progress.stream)
    }

    /// A stream opens.
    pub(super) fn opening(&mut self, stream: StreamId) {
        self.state = State::Opening;
        self.progress = Progress { stream, in_flight: 0, newest: 0 };
    }
}

/// A stream to where the store was before it moved: nothing more is sent on it, and it ends when what was sent is answered, its
/// time is over, or it breaks.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) stream: StreamId,
    pub(super) address: Address,
    pub(super) progress: Progress,
}
