//! The calls that split and scatter regions, and that ask what PD does to one.
//!
//! A scatter spreads the leaders of its regions over their stores by region id, so that the outcome depends on the
//! regions alone.

use bytes::Bytes;
use prost::Message;
use tikv_proto::pdpb;

use super::super::regions::split_at;
use super::super::{Answer, Asked, Headed, HeaderError, Pd};
use super::Step;
use crate::model::clock::Now;
use crate::model::region::Topology;
use crate::model::status::Status;

/// `ScatterRegionRequest` with the deprecated single region, which the schema of this project leaves out.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model::pd) struct ScatterRequest {
    #[prost(message, optional, tag = "1")]
    header: Option<pdpb::RequestHeader>,
    #[prost(uint64, tag = "2")]
    region_id: u64,
    #[prost(uint64, repeated, tag = "6")]
    regions_id: Vec<u64>,
}

impl Headed for ScatterRequest {
    fn cluster_id(&self) -> u64 {
        self.header.as_ref().map_or(0, |header| header.cluster_id)
    }
}

impl Pd {
    // PD: server/grpc_service.go: ScatterRegion
    pub(in crate::model::pd) fn scatter(
        &mut self,
        asked: &mut Asked<'_>,
        request: ScatterRequest,
    ) -> Answer<pdpb::ScatterRegionResponse> {
        if request.regions_id.is_empty() {
            let id = request.region_id;
            if asked.topology.region(id).is_none() {
                // The literal `%d` is PD's.
                let message = "region %d not found".to_owned();
                return Err(HeaderError::Header(pdpb::ErrorType::RegionNotFound, message));
            }
            self.spread(asked.topology, asked.now, &[id]);
            return Ok(pdpb::ScatterRegionResponse { finished_percentage: 100, ..Default::default() });
        }
        let (finished_percentage, failed_regions_id) =
            self.scatter_all(asked.topology, asked.now, &request.regions_id)?;
        Ok(pdpb::ScatterRegionResponse { header: None, finished_percentage, failed_regions_id })
    }

    /// Scatters regions; returns how many per cent of them, and the ids that there are none of.
    pub(in crate::model::pd) fn scatter_all(
        &mut self,
        topology: &mut Topology,
        now: Now,
        ids: &[u64],
    ) -> Result<(u64, Vec<u64>), Status> {
        let (known, failed): (Vec<u64>, Vec<u64>) =
            ids.iter().partition(|&&id| topology.region(id).is_some());
        if known.is_empty() {
            return Err(Status::unknown("[PD:region:ErrRegionNotFound]region %v not found"));
        }
        self.spread(topology, now, &known);
        Ok((percent(known.len(), ids.len()), failed))
    }

    pub(in crate::model::pd) fn split_regions(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::SplitRegionsRequest,
    ) -> Answer<pdpb::SplitRegionsResponse> {
        let (finished_percentage, regions_id) = split_at(asked.topology, &request.split_keys);
        Ok(pdpb::SplitRegionsResponse { header: None, finished_percentage, regions_id })
    }

    pub(in crate::model::pd) fn split_and_scatter(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::SplitAndScatterRegionsRequest,
    ) -> Answer<pdpb::SplitAndScatterRegionsResponse> {
        let (split_finished_percentage, regions_id) = split_at(asked.topology, &request.split_keys);
        if regions_id.is_empty() {
            return Err(Status::unknown("[PD:scatter:ErrEmptyRegion]empty region").into());
        }
        self.spread(asked.topology, asked.now, &regions_id);
        Ok(pdpb::SplitAndScatterRegionsResponse {
            header: None,
            split_finished_percentage,
            scatter_finished_percentage: 100,
            regions_id,
        })
    }

    pub(in crate::model::pd) fn operator(
        &mut self,
        _: &mut Asked<'_>,
        request: pdpb::GetOperatorRequest,
    ) -> Answer<pdpb::GetOperatorResponse> {
        let Some(operator) = self.operators.get(request.region_id) else {
            return Err(HeaderError::Header(pdpb::ErrorType::RegionNotFound, "Not Found".to_owned()));
        };
        Ok(pdpb::GetOperatorResponse {
            header: None,
            region_id: request.region_id,
            desc: Bytes::from_static(operator.desc.as_bytes()),
            status: operator.status.into(),
            kind: Bytes::from_static(operator.kind.as_bytes()),
        })
    }

    /// Spreads the leaders of `regions` over their stores.
    pub(in crate::model::pd) fn spread(&mut self, topology: &mut Topology, now: Now, regions: &[u64]) {
        for &id in regions {
            let Some(region) = topology.region(id) else { continue };
            let turn = usize::try_from(id).unwrap_or(0).checked_rem(region.peers.len()).unwrap_or(0);
            let Some(peer) = region.peers.get(turn) else { continue };
            let step = Step::TransferLeader(peer.store);
            self.operate(topology, now, id, ("scatter-region", "leader"), [step]);
        }
    }
}

fn percent(part: usize, whole: usize) -> u64 {
    u64::try_from((100 * part).checked_div(whole).unwrap_or(0)).unwrap_or(0)
}
