//! Faults that are the daily life of regions: they split, merge, move, and change their leaders.

use bytes::Bytes;
use fastrand::Rng;
use tikv_embedded::model::{PeerRole, key};

use super::Nemesis;
use crate::plan::Fault;

/// Keys that split regions: among those of the loads and at their ends.
pub(crate) fn any_bound(rng: &mut Rng) -> Bytes {
    let prefix = ["bank/", "count/", "list/", "row/", "rr/", "rs/"][rng.usize(..6)];
    let bound = match rng.u32(..6) {
        0 => prefix.to_owned(),
        // Directly behind a key.
        1 => format!("{prefix}{:02}\0", rng.usize(..40)),
        _ => format!("{prefix}{:02}", rng.usize(..40)),
    };
    // Raw keys stand as they are.
    if bound.starts_with("rr") || bound.starts_with("rs") {
        bound.into()
    } else {
        key::encode(bound.as_bytes())
    }
}

impl Nemesis {
    /// Draws a region: by key, so that large ones are not drawn less than small ones with keys.
    fn any_region(&mut self) -> u64 {
        let at = any_bound(&mut self.rng);
        self.ctx.net.with(|state, _| state.cluster.topology.region_at(&at).map_or(0, |region| region.id))
    }

    /// Draws one of the stores that have a voter of the region.
    fn any_voter(&mut self, region: u64) -> Option<u64> {
        let stores: Vec<u64> = self.ctx.net.with(|state, _| {
            let peers = state.cluster.topology.region(region).map(|region| region.peers.clone());
            let voters = peers.unwrap_or_default().into_iter().filter(|peer| peer.role == PeerRole::Voter);
            voters.map(|peer| peer.store).collect()
        });
        self.rng.choice(&stores).copied()
    }

    pub(super) fn move_leader(&mut self) {
        let region = self.any_region();
        let Some(store) = self.any_voter(region) else { return };
        if self.ctx.net.with(|state, _| state.cluster.topology.transfer_leader(region, store)).is_ok() {
            self.did(Fault::MoveLeader);
        }
    }

    pub(super) fn no_leader(&mut self) {
        let (region, after) = (self.any_region(), self.ms(20, 3_000));
        if self.ctx.net.with(|state, _| state.cluster.topology.drop_leader(region)).is_ok() {
            self.did(Fault::NoLeader);
            self.later(after, move |nemesis| nemesis.elect(region));
        }
    }

    /// Gives a region without leader one.
    fn elect(mut self, region: u64) {
        let leaderless = self.ctx.net.with(|state, _| {
            state.cluster.topology.region(region).is_some_and(|region| region.leader.is_none())
        });
        if leaderless && let Some(store) = self.any_voter(region) {
            // It may have gone meanwhile.
            drop(self.ctx.net.with(|state, _| state.cluster.topology.transfer_leader(region, store)));
        }
    }

    pub(super) fn split(&mut self) {
        let bound = any_bound(&mut self.rng);
        let done = self.ctx.net.with(|state, _| {
            let region = state.cluster.topology.region_at(&bound).map_or(0, |region| region.id);
            state.cluster.topology.split(region, &[bound]).is_ok()
        });
        if done {
            self.did(Fault::Split);
        }
    }

    pub(super) fn merge(&mut self) {
        let (region, swapped) = (self.any_region(), self.rng.bool());
        let done = self.ctx.net.with(|state, _| {
            let topology = &mut state.cluster.topology;
            let left = topology.region(region).and_then(|at| topology.left_of(at)).map(|left| left.id);
            left.is_some_and(|left| {
                let (source, target) = if swapped { (left, region) } else { (region, left) };
                topology.merge(source, target).is_ok()
            })
        });
        if done {
            self.did(Fault::Merge);
        }
    }

    pub(super) fn move_peer(&mut self) {
        let region = self.any_region();
        let (to, off) = (self.any_store(), self.any_voter(region));
        let done = self.ctx.net.with(|state, _| {
            let topology = &mut state.cluster.topology;
            let added = topology.add_peer(region, to, PeerRole::Voter).is_ok();
            added && off.is_some_and(|off| topology.remove_peer(region, off).is_ok())
        });
        if done {
            self.did(Fault::MovePeer);
            // If the leader went, another is elected.
            let after = self.ms(1, 500);
            self.later(after, move |nemesis| nemesis.elect(region));
        }
    }
}
