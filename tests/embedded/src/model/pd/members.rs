//! Members and who leads, service mode, bootstrapping, ids.
//!
//! Leaders change when a test says so. If it wants elections ([`Pd::set_elections`]), they also change by themselves: a
//! PD leader that is down is followed by the next member after its lease, and the regions of a silent store by peers on
//! other stores after the election timeout, if those have the majority. Until then everybody goes on naming the old one.
//!
//! Measured: `conformance/topology.md` 4 to 6.

use std::collections::BTreeSet;
use std::time::Duration;

use tikv_proto::pdpb;

use super::{Answer, Asked, HeaderError, Member, Pd};
use crate::model::clock::Now;
use crate::model::region::{PeerRole, Region, Topology};

/// What leads without a test's doing.
#[derive(Clone, Debug, Default)]
pub(super) struct Elections {
    /// How long a leader is missed before another one is elected: of PD, and of a region. `None`: no elections.
    timeouts: Option<(Duration, Duration)>,
    /// When PD's leader went down, while nobody has followed.
    leader_lost: Option<Now>,
    /// Silent stores whose regions have been looked after.
    done: BTreeSet<u64>,
}

impl Pd {
    /// Makes the `member`th PD the leader; `None`, or one that is not there, leaves PD without a leader. A new leader's
    /// timestamps begin above all that the old one may have given out.
    pub fn set_leader(&mut self, member: Option<usize>) {
        let member = member.filter(|&index| index < self.members.len());
        if member != self.leader {
            self.term += 1;
            self.oracle.reload();
        }
        self.leader = member;
        self.elections.leader_lost = None;
    }

    /// Makes a member lead that is not down; else the leader stays.
    pub(super) fn transfer_leader(&mut self, member: usize, now: Now) {
        if member < self.members.len() && !self.down.contains(&member) {
            self.set_leader(Some(member));
        } else if self.leader.is_some_and(|leader| self.down.contains(&leader)) {
            self.elections.leader_lost.get_or_insert(now);
        }
    }

    /// The leader gives up: the next member that is not down leads, if there is one.
    pub(super) fn resign(&mut self, now: Now) {
        if let Some(next) = self.next_member() {
            self.transfer_leader(next, now);
        }
    }

    /// The member after the leader that is not down.
    fn next_member(&self) -> Option<usize> {
        let count = self.members.len();
        let leader = self.leader.unwrap_or(0);
        (1..=count).map(|step| (leader + step) % count).find(|index| !self.down.contains(index))
    }

    /// Whether the member of this index is down.
    #[must_use]
    pub fn is_down(&self, member: usize) -> bool {
        self.down.contains(&member)
    }

    /// The member of this index goes down.
    pub fn member_down(&mut self, member: usize, now: Now) {
        self.down.insert(member);
        if self.leader == Some(member) {
            self.elections.leader_lost = Some(now);
        }
    }

    /// The member of this index comes back, as a follower if it does not lead still.
    pub fn member_up(&mut self, member: usize) {
        self.down.remove(&member);
        if self.leader == Some(member) {
            self.elections.leader_lost = None;
        }
    }

    /// From now on leaders that are gone are followed by others: PD's after `pd` (a real one's lease is some 3 s),
    /// those of regions after `region` (about 10 s). At first there are no elections.
    pub fn set_elections(&mut self, pd: Duration, region: Duration) {
        self.elections.timeouts = Some((pd, region));
    }

    /// When the next election is due.
    pub(super) fn next_election(&self) -> Option<Now> {
        let (pd, region) = self.elections.timeouts?;
        let of_pd = self.elections.leader_lost.map(|lost| lost.after(pd));
        let silent = self.lag.silent.iter().filter(|(store, _)| !self.elections.done.contains(store));
        of_pd.into_iter().chain(silent.map(|(_, since)| since.after(region))).min()
    }

    /// Holds the elections that are due.
    pub(super) fn elect(&mut self, topology: &mut Topology, now: Now) {
        let Some((pd, region)) = self.elections.timeouts else { return };
        if self.elections.leader_lost.is_some_and(|lost| lost.after(pd) <= now) {
            let next = self.next_member();
            self.set_leader(next);
        }
        self.elections.done.retain(|store| self.lag.silent.contains_key(store));
        let due = self.lag.silent.iter().filter(|(_, since)| since.after(region) <= now);
        let due: BTreeSet<u64> = due.map(|(store, _)| *store).collect();
        if due.is_subset(&self.elections.done) {
            return;
        }
        let orphans: Vec<(u64, u64)> = topology
            .regions()
            .filter(|region| region.leader_peer().is_some_and(|leader| due.contains(&leader.store)))
            .filter_map(|region| Some((region.id, self.successor(region)?)))
            .collect();
        for (region, store) in orphans {
            // It is there, and has just been seen to be a voter.
            drop(topology.transfer_leader(region, store));
        }
        self.elections.done.extend(due);
    }

    /// The regions of all silent stores are looked after again.
    pub(super) fn look_after_all(&mut self) {
        self.elections.done.clear();
    }

    /// The store whose peer follows a leader that is gone; `None` without a majority.
    fn successor(&self, region: &Region) -> Option<u64> {
        let voters = || region.peers.iter().filter(|peer| peer.role != PeerRole::Learner);
        let living = voters().filter(|peer| !self.lag.silent.contains_key(&peer.store));
        if living.clone().count() * 2 <= voters().count() {
            return None;
        }
        // A witness has no data to lead with.
        living.filter(|peer| peer.role == PeerRole::Voter).map(|peer| peer.store).next()
    }

    pub(super) fn members_answer(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::GetMembersRequest,
    ) -> Answer<pdpb::GetMembersResponse> {
        let leader = self.leader.and_then(|index| self.members.get(index)).map(wire_member);
        Ok(pdpb::GetMembersResponse {
            members: self.members.iter().map(wire_member).collect(),
            etcd_leader: leader.clone(),
            leader,
            ..Default::default()
        })
    }

    pub(super) fn cluster_info(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::GetClusterInfoRequest,
    ) -> Answer<pdpb::GetClusterInfoResponse> {
        let service_modes = vec![pdpb::ServiceMode::PdSvcMode.into()];
        Ok(pdpb::GetClusterInfoResponse { service_modes, ..Default::default() })
    }

    pub(super) fn bootstrap(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::BootstrapRequest,
    ) -> Answer<pdpb::BootstrapResponse> {
        let message = "cluster is already bootstrapped".to_owned();
        Err(HeaderError::Header(pdpb::ErrorType::AlreadyBootstrapped, message))
    }

    pub(super) fn bootstrapped(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::IsBootstrappedRequest,
    ) -> Answer<pdpb::IsBootstrappedResponse> {
        Ok(pdpb::IsBootstrappedResponse { bootstrapped: true, ..Default::default() })
    }

    pub(super) fn alloc_id(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::AllocIdRequest,
    ) -> Answer<pdpb::AllocIdResponse> {
        let id = asked.topology.next_ids(request.count.max(1));
        // PD tells the count only when it was asked for several.
        let count = if request.count > 1 { request.count } else { 0 };
        Ok(pdpb::AllocIdResponse { id, count, ..Default::default() })
    }

    pub(super) fn snapshot_recovering(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::IsSnapshotRecoveringRequest,
    ) -> Answer<pdpb::IsSnapshotRecoveringResponse> {
        Ok(pdpb::IsSnapshotRecoveringResponse::default())
    }

    pub(super) fn dc_location(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::GetDcLocationInfoRequest,
    ) -> Answer<pdpb::GetDcLocationInfoResponse> {
        Ok(pdpb::GetDcLocationInfoResponse::default())
    }

    pub(super) fn sync_max_ts(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::SyncMaxTsRequest,
    ) -> Answer<pdpb::SyncMaxTsResponse> {
        Ok(pdpb::SyncMaxTsResponse::default())
    }
}

fn wire_member(member: &Member) -> pdpb::Member {
    pdpb::Member {
        name: member.name.clone(),
        member_id: member.id,
        client_urls: vec![member.client_url.clone()],
        // Members talk to each other in memory; clients only want to see that there is such an address.
        peer_urls: vec![member.client_url.clone()],
        binary_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}
