//! Who leads PD's cluster: rounds of GetMembers over its members.
//!
//! ```text
//!             look                     a member names a leader
//!  Unknown ----------> a round runs --------------------------> Led
//!     ^                   |    ^                                 |
//!     |  nobody names one |    |             look                |
//!     +-------------------+    +------ Doubted <-----------------+
//!                                                    doubt
//! ```
//!
//! * The first round asks every address at once and ends with the last answer, so that addresses of different clusters
//!   are noticed before anything is adopted; later rounds ask one member after the other, and end with the first good
//!   answer. The given addresses are asked, too, after the members: all members may have moved.
//! * A member that still names the doubted leader is believed only when all others have been asked.
//! * Rounds that look for a leader come after pauses that grow until PD works again.
//!
//! pd: `client/servicediscovery/service_discovery.go: initClusterID`, `updateMember`.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;

use super::classify::{Failure, of_fault};
use super::config::PdConfig;
use super::pause::Pauses;
use super::service::PdTimer;
use super::wire::{Members, corrupt, decode_members, get_members};
use crate::error::ServiceError;
use crate::machine::{Address, Completion, ServiceCx, ServiceEffect, TicketId};
use crate::types::{ClusterId, Instant};
use tikv_proto::methods::pd::GET_MEMBERS;

pub(super) type Cx<'a> = ServiceCx<'a, PdTimer, Infallible>;

/// What a round came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A leader is known.
    Found,
    /// Nobody named one; the next round may begin at [`Tracker::next_look`].
    Failed,
    /// Whoever answered belongs to another cluster.
    Foreign(ServiceError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Leader {
    Unknown,
    Led(Address),
    /// It was found not to lead, or not to answer.
    Doubted(Address),
}

#[derive(Debug)]
struct Round {
    /// Asked and not answered.
    asked: BTreeMap<TicketId, Address>,
    /// To be asked, one at a time.
    queue: VecDeque<Address>,
    /// Good answers that did not end the round: all of the first round, or those that name the doubted leader.
    good: BTreeMap<Address, Members>,
    foreign: Option<ServiceError>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tracker {
    config: Arc<PdConfig>,
    /// Who is asked; the given addresses until members are known.
    members: Vec<Address>,
    cluster: Option<ClusterId>,
    leader: Leader,
    round: Option<Round>,
    pauses: Pauses,
    /// Rounds that looked for a leader since PD last worked.
    failures: u32,
    next_look: Instant,
    last: Option<ServiceError>,
}

impl Tracker {
    pub(super) fn new(config: Arc<PdConfig>) -> Self {
        Self {
            members: config.endpoints.clone(),
            cluster: None,
            leader: Leader::Unknown,
            round: None,
            pauses: Pauses { base: config.pause_base, cap: config.pause_cap },
            failures: 0,
            next_look: Instant::default(),
            last: None,
            config,
        }
    }

    /// The leader, unless it is doubted, and the cluster.
    pub(super) fn leader(&self) -> Option<(&Address, ClusterId)> {
        match &self.leader {
            Leader::Led(address) => self.cluster.map(|cluster| (address, cluster)),
            Leader::Unknown | Leader::Doubted(_) => None,
        }
    }

    /// The cluster; 0 while none is known.
    pub(super) fn cluster(&self) -> ClusterId {
        self.cluster.unwrap_or_default()
    }

    /// Why nobody is known to lead.
    pub(super) fn last(&self) -> Option<&ServiceError> {
        self.last.as_ref()
    }

    /// Every address that is asked, for errors.
    pub(super) fn addresses(&self) -> Arc<str> {
        let all: Vec<&str> = self.everyone().iter().map(|address| &***address).collect();
        all.join(", ").into()
    }

    /// When the next round may begin.
    pub(super) fn next_look(&self) -> Instant {
        self.next_look
    }

    pub(super) fn is_looking(&self) -> bool {
        self.round.is_some()
    }

    /// `address` was found not to lead, or not to answer.
    pub(super) fn doubt(&mut self, address: &Address) {
        if matches!(&self.leader, Leader::Led(leader) if leader == address) {
            self.leader = Leader::Doubted(Arc::clone(address));
        }
    }

    /// The leader did what it was asked.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
    }

    /// Begins a round, unless one runs.
    pub(super) fn look(&mut self, cx: &mut Cx<'_>) {
        if self.round.is_some() {
            return;
        }
        match self.leader {
            Leader::Led(_) => self.failures = 0,
            Leader::Unknown | Leader::Doubted(_) => {
                self.failures = self.failures.saturating_add(1);
                self.next_look = cx.now() + self.pauses.after(self.failures, cx.rng());
            }
        }
        let everyone = self.everyone().into_iter().cloned();
        let mut round =
            Round { asked: BTreeMap::new(), queue: VecDeque::new(), good: BTreeMap::new(), foreign: None };
        if self.cluster.is_none() {
            for address in everyone {
                round.ask(address, ClusterId(0), &self.config, cx);
            }
        } else {
            // The leader knows best who leads, unless that is what we doubt.
            let (first, last) = match &self.leader {
                Leader::Unknown => (None, None),
                Leader::Led(leader) => (Some(Arc::clone(leader)), None),
                Leader::Doubted(leader) => (None, Some(Arc::clone(leader))),
            };
            let others = everyone.filter(|address| Some(address) != first.as_ref().or(last.as_ref()));
            let others: Vec<Address> = others.collect();
            round.queue = first.iter().chain(&others).chain(&last).cloned().collect();
            round.ask_next(self.cluster(), &self.config, cx);
        }
        self.round = Some(round);
    }

    /// Takes what completed `ticket`; `None` when the round goes on, or it is no ticket of it.
    pub(super) fn done(
        &mut self,
        ticket: TicketId,
        completion: Completion,
        cx: &mut Cx<'_>,
    ) -> Option<Outcome> {
        let round = self.round.as_mut()?;
        let from = round.asked.remove(&ticket)?;
        let answer = match completion {
            Completion::Response(body) => self.config.read(&from, self.cluster, body),
            Completion::Fault(fault) => Err(of_fault(&from, &fault, None)),
            Completion::TimerFired(_) | Completion::Answer(_) => Err(corrupt(&from, &"no response")),
        };
        match answer {
            Ok(members) => {
                let believed = self.cluster.is_some()
                    && !matches!(&self.leader, Leader::Doubted(leader) if *leader == members.leader);
                if believed {
                    return Some(self.adopt(members, cx));
                }
                round.good.insert(from, members);
            }
            Err(failure) => {
                let error = failure.into_error();
                if matches!(error, ServiceError::ClusterMismatch { .. }) {
                    round.foreign = Some(error.clone());
                }
                self.last = Some(error);
            }
        }
        let cluster = self.cluster.unwrap_or_default();
        if round.asked.is_empty() && !round.ask_next(cluster, &self.config, cx) {
            return Some(self.conclude(cx));
        }
        None
    }

    /// Everyone has been asked.
    fn conclude(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let Some(round) = self.round.take() else { return Outcome::Failed };
        // In the order in which they were given: the first one's cluster is the one meant.
        let mut good = self.members.iter().filter_map(|address| round.good.get_key_value(address));
        let Some((_, members)) = good.next().or_else(|| round.good.first_key_value()) else {
            self.leader = Leader::Unknown;
            return round.foreign.map_or(Outcome::Failed, Outcome::Foreign);
        };
        let wanted = members.cluster;
        if let Some((address, other)) = round.good.iter().find(|(_, other)| other.cluster != wanted) {
            let error =
                ServiceError::ClusterMismatch { address: Arc::clone(address), wanted, found: other.cluster };
            self.last = Some(error.clone());
            return Outcome::Foreign(error);
        }
        let members = members.clone();
        self.adopt(members, cx)
    }

    fn adopt(&mut self, members: Members, cx: &mut Cx<'_>) -> Outcome {
        self.round = None;
        self.cluster = Some(members.cluster);
        for gone in self.members.iter().filter(|address| !members.all.contains(address)) {
            cx.effect(ServiceEffect::Disconnect(Arc::clone(gone)));
        }
        self.leader = Leader::Led(members.leader);
        self.members = members.all;
        self.last = None;
        Outcome::Found
    }

    /// Members, then given addresses that are none.
    fn everyone(&self) -> Vec<&Address> {
        let given = self.config.endpoints.iter().filter(|address| !self.members.contains(address));
        self.members.iter().chain(given).collect()
    }
}

impl Round {
    fn ask(&mut self, address: Address, cluster: ClusterId, config: &PdConfig, cx: &mut Cx<'_>) {
        let deadline = cx.now() + config.member_timeout;
        let ticket = cx.unary(Arc::clone(&address), GET_MEMBERS, get_members(cluster), deadline);
        self.asked.insert(ticket, address);
    }

    /// Whether there was one more to ask.
    fn ask_next(&mut self, cluster: ClusterId, config: &PdConfig, cx: &mut Cx<'_>) -> bool {
        let Some(address) = self.queue.pop_front() else { return false };
        self.ask(address, cluster, config, cx);
        true
    }
}

impl PdConfig {
    fn read(&self, from: &Address, cluster: Option<ClusterId>, body: Bytes) -> Result<Members, Failure> {
        decode_members(from, cluster, self.encrypted, body)
    }
}
