//! Operators: what PD does to regions, step by step.
//!
//! * here: [`Operator`] and how operators go. `rpc`: the calls that scatter, split and ask for an operator.
//!   `admin`: the operators that the HTTP API orders.
//!
//! An operator is carried out at once, unless the test wants each step to take some time
//! ([`Pd::set_operator_step`]): then the steps are due one after another, and meanwhile the operator runs. A region has
//! one operator at a time; the last one is remembered for ten minutes.
//!
//! After a peer was removed the rule checker puts one back, as PD's does: a learner on a store that has none, which
//! then becomes a voter.
//!
//! PD: `pkg/schedule/operator`, `pkg/schedule/checker/rule_checker.go`; measured: `conformance/topology.md` 1, 3, 8.

pub(super) mod admin;
mod rpc;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tikv_proto::pdpb::OperatorStatus;

use super::Pd;
use crate::model::clock::Now;
use crate::model::region::{PeerRole, StoreState, Topology, TopologyError};

/// A finished operator is remembered for so long.
// PD: pkg/schedule/operator/operator_controller.go: operatorStatusRemainTime
const REMEMBERED: Duration = Duration::from_secs(600);

/// One thing that is done to a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    TransferLeader(u64),
    AddLearner(u64),
    /// A learner becomes a voter.
    Promote(u64),
    RemovePeer(u64),
    /// Into this neighbour.
    MergeInto(u64),
    Split(Vec<Bytes>),
}

/// What is done to a region, or was done last.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    pub(super) desc: &'static str,
    pub(super) kind: &'static str,
    pub(super) status: OperatorStatus,
    /// What is left to be done, last step first.
    steps: Vec<Step>,
    /// When the next step is due; of one that has ended: when it did.
    at: Now,
    /// Whether the rule checker looks at the region afterwards.
    checked: bool,
}

impl Operator {
    pub(super) fn has_ended(&self) -> bool {
        self.status != OperatorStatus::Running
    }

    /// The operator in one line, as the HTTP API lists it.
    pub(super) fn line(&self, region: u64) -> Value {
        let status = match self.status {
            OperatorStatus::Success => "SUCCESS",
            OperatorStatus::Timeout => "TIMEOUT",
            OperatorStatus::Cancel => "CANCEL",
            OperatorStatus::Replace => "REPLACE",
            OperatorStatus::Running => "RUNNING",
        };
        format!("status: {status}, operator: {} (kind:{}, region:{region})", self.desc, self.kind).into()
    }
}

/// The operator of each region that runs, or ran last.
#[derive(Clone, Debug, Default)]
pub(super) struct Operators {
    by_region: BTreeMap<u64, Operator>,
    /// Regions by when the next step of their operator is due.
    due: BTreeSet<(Now, u64)>,
    /// Regions by when their operator ended.
    ended: BTreeSet<(Now, u64)>,
}

impl Operators {
    pub(super) fn get(&self, region: u64) -> Option<&Operator> {
        self.by_region.get(&region)
    }

    /// Those that run, by region.
    pub(super) fn running(&self) -> impl Iterator<Item = (u64, &Operator)> {
        self.by_region
            .iter()
            .map(|(id, operator)| (*id, operator))
            .filter(|(_, operator)| !operator.has_ended())
    }

    /// When the next step is due.
    pub(super) fn next_step(&self) -> Option<Now> {
        self.due.first().map(|(at, _)| *at)
    }

    fn remove(&mut self, region: u64) -> Option<Operator> {
        let operator = self.by_region.remove(&region)?;
        self.due.remove(&(operator.at, region));
        self.ended.remove(&(operator.at, region));
        Some(operator)
    }

    fn insert(&mut self, region: u64, operator: Operator) {
        self.remove(region);
        let list = if operator.has_ended() { &mut self.ended } else { &mut self.due };
        list.insert((operator.at, region));
        self.by_region.insert(region, operator);
    }

    /// Ends the operator of a region, or all, where they are.
    pub(super) fn cancel(&mut self, now: Now, region: Option<u64>) {
        let running = self.running().map(|(id, _)| id).filter(|id| region.is_none_or(|region| region == *id));
        for id in running.collect::<Vec<u64>>() {
            if let Some(operator) = self.remove(id) {
                self.insert(id, Operator { status: OperatorStatus::Cancel, at: now, ..operator });
            }
        }
    }

    fn forget_old(&mut self, now: Now) {
        while let Some(&(at, region)) = self.ended.first()
            && now.since(at) >= REMEMBERED
        {
            self.remove(region);
        }
    }
}

impl Pd {
    /// From now on each step of an operator takes `step`; nothing at first.
    pub fn set_operator_step(&mut self, step: Duration) {
        self.operator_step = step;
    }

    /// Starts an operator, in the place of one that still runs.
    pub(super) fn operate(
        &mut self,
        topology: &mut Topology,
        now: Now,
        region: u64,
        (desc, kind): (&'static str, &'static str),
        steps: impl IntoIterator<Item = Step>,
    ) {
        let mut steps: Vec<Step> = steps.into_iter().collect();
        steps.reverse();
        let checked = steps.iter().any(|step| matches!(step, Step::RemovePeer(_)));
        let at = now.after(self.operator_step);
        let status = OperatorStatus::Running;
        self.operators.insert(region, Operator { desc, kind, status, steps, at, checked });
        self.run_operators(topology, now);
    }

    /// Does what is due, and forgets what ended long ago.
    pub(super) fn run_operators(&mut self, topology: &mut Topology, now: Now) {
        while let Some(&(at, region)) = self.operators.due.first()
            && at <= now
        {
            self.step(topology, region);
        }
        self.operators.forget_old(now);
    }

    fn step(&mut self, topology: &mut Topology, region: u64) {
        let Some(mut operator) = self.operators.remove(region) else { return };
        let done = operator.steps.pop().map_or(Ok(()), |step| apply(topology, region, step));
        if done.is_ok() && !operator.steps.is_empty() {
            operator.at = operator.at.after(self.operator_step);
            self.operators.insert(region, operator);
            return;
        }
        operator.status = if done.is_ok() { OperatorStatus::Success } else { OperatorStatus::Cancel };
        let checked = (operator.checked && done.is_ok()).then_some(operator.at);
        self.operators.insert(region, operator);
        if let Some(at) = checked {
            self.bury_empty_stores(topology);
            self.check_rules(topology, at, region);
        }
    }

    /// Puts a peer on another store if the region has too few.
    fn check_rules(&mut self, topology: &mut Topology, now: Now, region: u64) {
        let Some(at) = topology.region(region) else { return };
        let wanted = usize::try_from(self.max_peer_count).unwrap_or(usize::MAX);
        if at.peers.iter().filter(|peer| peer.role != PeerRole::Learner).count() >= wanted {
            return;
        }
        let free = topology
            .stores()
            .filter(|store| store.state == StoreState::Up && store.started_unix_s > 0)
            .filter(|store| at.peer_on(store.id).is_none() && !self.lag.silent.contains_key(&store.id));
        let peers = |store: u64| topology.regions().filter(|region| region.peer_on(store).is_some()).count();
        let Some(store) = free.map(|store| store.id).min_by_key(|&store| (peers(store), store)) else {
            return;
        };
        let steps = [Step::AddLearner(store), Step::Promote(store)];
        self.operate(topology, now, region, ("add-rule-peer", "replica,region"), steps);
    }
}

fn apply(topology: &mut Topology, region: u64, step: Step) -> Result<(), TopologyError> {
    match step {
        Step::TransferLeader(store) => topology.transfer_leader(region, store),
        Step::AddLearner(store) => topology.add_peer(region, store, PeerRole::Learner).map(drop),
        Step::Promote(store) => topology.set_role(region, store, PeerRole::Voter),
        Step::RemovePeer(store) => {
            let led = topology.region(region).is_some_and(|region| region.led_by(store));
            if led {
                let others = topology.region(region).into_iter().flat_map(|region| region.peers.clone());
                let next = others
                    .into_iter()
                    .find(|peer| peer.store != store && peer.role == PeerRole::Voter)
                    .ok_or(TopologyError::NoPeer { region, store })?;
                topology.transfer_leader(region, next.store)?;
            }
            topology.remove_peer(region, store)
        }
        Step::MergeInto(target) => topology.merge(region, target),
        Step::Split(keys) => topology.split(region, &keys).map(drop),
    }
}
