//! Members, service mode, bootstrapping, ids.

use tikv_proto::pdpb;

use super::{Answer, Asked, HeaderError, Member, Pd};

impl Pd {
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
