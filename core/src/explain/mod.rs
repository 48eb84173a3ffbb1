//! What the requests of an operation met on their way, as data and as a text for people.
//!
//! Nothing is written down unless a call asks for it, but what went wrong: a request that fails tells its attempts with its error.
//!
//! client-go: `internal/locate/region_request.go: ReplicaAccessStats, RegionRequestRuntimeStats`.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Kind;
use crate::machine::Asked;
use crate::replica::Chosen;
use crate::request::Command;
use crate::types::{Instant, PeerId, RegionId, StoreId};

/// Attempts that an error tells. client-go: `internal/locate/region_request.go: ReplicaAccessStats` (5).
pub(crate) const OF_AN_ERROR: usize = 5;

/// Attempts that an operation tells.
const OF_AN_OPERATION: usize = 64;

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Then {
    /// Nothing: it was answered.
    Answered,
    /// The next one, at once.
    AtOnce,
    /// The next one after a pause of this kind and length.
    Pause(Kind, Duration),
    /// Nothing: the request was given up.
    GaveUp,
}

/// One attempt of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hop {
    /// When it was sent, on the client's clock.
    pub at: Instant,
    /// The command.
    pub command: Command,
    /// The region.
    pub region: RegionId,
    /// The replica.
    pub peer: PeerId,
    /// Its store.
    pub store: StoreId,
    /// The store through which it went, if not its own.
    pub through: Option<StoreId>,
    /// Whether the replica was believed to lead.
    pub leads: bool,
    /// How it was asked.
    pub asked: Asked,
    /// Why it was chosen.
    pub why: Chosen,
    /// From sending to the answer, or to when none was expected any more.
    pub took: Duration,
    /// What came instead of an answer.
    pub error: Option<Arc<str>>,
    /// What followed.
    pub then: Then,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, region, store, peer, .. } = self;
        write!(f, "{command:?} to region {region} at store {store} (peer {peer}), ")?;
        f.write_str(match self.asked {
            Asked::Plainly if self.leads => "leader",
            Asked::Plainly => "follower as if it led",
            Asked::ReplicaRead if self.leads => "replica read of the leader",
            Asked::ReplicaRead => "replica read",
            Asked::StaleRead if self.leads => "stale read of the leader",
            Asked::StaleRead => "stale read",
        })?;
        match self.why {
            Chosen::Leader => {}
            Chosen::Through(proxy) => write!(f, ", through store {proxy}")?,
            Chosen::Again => f.write_str(", once more")?,
            Chosen::Idle => f.write_str(", the leader being busy")?,
            Chosen::InsteadOfLeader(score) => write!(f, ", the leader being of no use ({score})")?,
            Chosen::Best(score) => write!(f, ", the best ({score})")?,
            Chosen::LeaderHasIt => f.write_str(", which has the data")?,
            Chosen::NobodyElse => f.write_str(", nobody else being left")?,
        }
        write!(f, ": {}", millis(self.took))?;
        match &self.error {
            Some(error) => write!(f, ", {error}")?,
            None => f.write_str(", answered")?,
        }
        match self.then {
            Then::Answered => Ok(()),
            Then::AtOnce => f.write_str("; again at once"),
            Then::Pause(kind, pause) => write!(f, "; pause {} ({kind})", millis(pause)),
            Then::GaveUp => f.write_str("; given up"),
        }
    }
}

/// Milliseconds, with the tenths where they count.
fn millis(time: Duration) -> String {
    let tenths = time.as_micros() / 100;
    if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{} ms", tenths / 10, tenths % 10)
    } else {
        format!("{} ms", tenths / 10)
    }
}

/// The attempts of a request, or of all requests of an operation, in the order in which they ended. Bounded: of more than it has room
/// for it counts the rest by store.
///
/// ```text
/// 3 attempts in 12 ms
///    +0 ms  Get to region 7 at store 1 (peer 11), leader: 2 ms, not leader; again at once
///    +2 ms  Get to region 7 at store 2 (peer 12), leader: 3 ms, server is busy; pause 2 ms (regionScheduling)
///    +7 ms  Get to region 7 at store 2 (peer 12), leader: 5 ms, answered
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The first attempts.
    pub hops: Vec<Hop>,
    /// Further ones that were answered, and that were not, by store.
    pub more: BTreeMap<StoreId, (u32, u32)>,
    room: usize,
}

impl Default for Explanation {
    fn default() -> Self {
        Self::with_room(OF_AN_OPERATION)
    }
}

impl Explanation {
    /// An explanation that tells at most `room` attempts.
    pub(crate) const fn with_room(room: usize) -> Self {
        Self { hops: Vec::new(), more: BTreeMap::new(), room }
    }

    pub(crate) fn push(&mut self, hop: Hop) {
        if self.hops.len() < self.room {
            self.hops.push(hop);
            return;
        }
        let (answered, failed) = self.more.entry(hop.store).or_default();
        let count = if hop.error.is_none() { answered } else { failed };
        *count = count.saturating_add(1);
    }

    /// How many attempts there were.
    #[must_use]
    pub fn attempts(&self) -> usize {
        let more = self.more.values().map(|&(answered, failed)| answered as usize + failed as usize);
        self.hops.len() + more.sum::<usize>()
    }

    /// From the first attempt to the last answer, of those that are told.
    fn time(&self) -> Duration {
        let began = self.hops.iter().map(|hop| hop.at).min();
        let ended = self.hops.iter().map(|hop| hop.at + hop.took).max();
        began.zip(ended).map_or(Duration::ZERO, |(began, ended)| ended.since(began))
    }

    /// The failures in a line, for the text of an error.
    pub(crate) fn in_a_line(&self) -> String {
        let mut line = String::new();
        for hop in self.hops.iter().filter(|hop| hop.error.is_some()) {
            let separator = if line.is_empty() { "" } else { ", then " };
            let error = hop.error.as_deref().unwrap_or_default();
            line += &format!("{separator}region {} at store {}: {error}", hop.region, hop.store);
        }
        let more: u32 = self.more.values().map(|&(_, failed)| failed).sum();
        if more > 0 {
            line += &format!(", then {more} more");
        }
        line
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = self.attempts();
        let plural = if attempts == 1 { "" } else { "s" };
        write!(f, "{attempts} attempt{plural} in {}", millis(self.time()))?;
        let began = self.hops.iter().map(|hop| hop.at).min().unwrap_or_default();
        for hop in &self.hops {
            write!(f, "\n{:>10}  {hop}", format!("+{}", millis(hop.at.since(began))))?;
        }
        for (store, (answered, failed)) in &self.more {
            write!(f, "\n{:>10}  store {store}: {answered} more answered, {failed} more not", "")?;
        }
        Ok(())
    }
}
