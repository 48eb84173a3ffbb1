//! The requests that go the same way: to the store itself, or by it to one other store that cannot be reached. They have a queue
//! and lanes of their own.

use std::sync::Arc;

use super::config::StreamConfig;
use super::lane::{Lane, Leaving, State, unsent};
use super::queue::Queue;
use crate::machine::{Address, StreamId, TransportFault};
use crate::types::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Group {
    /// Whom the store forwards to; `None`: it is for itself.
    pub(super) forward: Option<Address>,
    pub(super) queue: Queue,
    pub(super) lanes: Vec<Lane>,
}

impl Group {
    pub(super) fn new(forward: Option<Address>) -> Self {
        Self { forward, queue: Queue::default(), lanes: vec![Lane::new(0)] }
    }

    pub(super) fn has(&self, id: StreamId) -> bool {
        self.lanes.iter().any(|lane| lane.stream() == Some(id))
    }

    pub(super) fn lane_mut(&mut self, id: StreamId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.stream() == Some(id))
    }

    /// Why nothing can be sent, now or soon.
    pub(super) fn why_not(&self, now: Instant) -> Option<TransportFault> {
        let mut why = None;
        for lane in &self.lanes {
            why = Some(lane.pause.why(now).filter(|_| lane.is_down())?);
        }
        why.map(unsent)
    }

    /// The connection whose lane is to be opened now, if one is: the first where none is open, a further one where all have
    /// enough to do.
    pub(super) fn wanted(&mut self, now: Instant, config: &StreamConfig) -> Option<u32> {
        let mut up = 0;
        for lane in &self.lanes {
            match lane.state {
                State::Down => {}
                // It has yet to show what it takes.
                State::Opening => return None,
                State::Open { .. } if lane.progress.in_flight < config.per_connection => return None,
                State::Open { .. } => up += 1,
            }
        }
        let down = self.lanes.iter().find(|lane| lane.is_down() && lane.pause.why(now).is_none());
        if let Some(lane) = down {
            return Some(lane.connection);
        }
        // Streams that are forwarded are few: one for each host.
        let next = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let more = up == self.lanes.len() && self.forward.is_none() && next < config.connections;
        more.then(|| {
            self.lanes.push(Lane::new(next));
            next
        })
    }

    /// The stream of a connection's lane opens.
    pub(super) fn opening(&mut self, connection: u32, stream: StreamId) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.connection == connection) {
            lane.opening(stream);
        }
    }

    /// The stream that takes the next frame: the first that has room for more, else the one with the least to do.
    pub(super) fn writable(&self, config: &StreamConfig) -> Option<StreamId> {
        let writable = || self.lanes.iter().filter(|lane| lane.state == State::Open { writable: true });
        let lane = writable().find(|lane| lane.progress.in_flight < config.per_connection);
        lane.or_else(|| writable().min_by_key(|lane| lane.progress.in_flight)).and_then(Lane::stream)
    }

    /// A frame of so many requests was given to a stream.
    pub(super) fn sent(&mut self, stream: StreamId, requests: usize) {
        if let Some(lane) = self.lane_mut(stream) {
            lane.state = State::Open { writable: false };
            lane.progress.in_flight += requests;
        }
    }

    /// A stream broke; true when another try may come at once.
    pub(super) fn broke(
        &mut self,
        stream: StreamId,
        fault: &TransportFault,
        by: (Instant, &mut fastrand::Rng),
        config: &StreamConfig,
    ) -> bool {
        let Some(lane) = self.lane_mut(stream) else { return false };
        let had_worked = matches!(lane.state, State::Open { .. });
        lane.state = State::Down;
        lane.pause.broke(fault, had_worked, by, config)
    }

    /// What the requests that wait have waited for.
    pub(super) fn held_up_by(&self, full: bool) -> &'static str {
        let opening = |lane: &Lane| matches!(lane.state, State::Opening | State::Down);
        if self.lanes.iter().all(opening) {
            "not connected in time"
        } else if full {
            "as many requests as may be are in flight"
        } else {
            "the connection takes no more"
        }
    }

    /// Takes the streams out, because the store has moved from `address`.
    pub(super) fn leave(&mut self, address: &Address) -> Vec<Leaving> {
        let lanes = std::mem::replace(&mut self.lanes, vec![Lane::new(0)]);
        let leaving = lanes.into_iter().filter(|lane| !lane.is_down()).map(|lane| Leaving {
            stream: lane.progress.stream,
            address: Arc::clone(address),
            progress: lane.progress,
        });
        leaving.collect()
    }
}
