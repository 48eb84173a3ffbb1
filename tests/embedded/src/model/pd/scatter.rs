//! Scattering, and the operators that would do it.
//!
//! A scatter is done at once: the leaders of the regions are spread over their stores by region id, so that the
//! outcome depends on the regions alone. The operator is remembered as a finished one.

use bytes::Bytes;
use prost::Message;
use tikv_proto::pdpb;

use super::regions::split_at;
use super::{Answer, Asked, Headed, HeaderError, Pd};
use crate::model::region::Topology;
use crate::model::status::Status;

/// The last operator of a region.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    desc: &'static str,
    kind: &'static str,
}

/// `ScatterRegionRequest` with the deprecated single region, which the schema of this project leaves out.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ScatterRequest {
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
    pub(super) fn scatter(
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
            self.spread(asked.topology, &[id]);
            return Ok(pdpb::ScatterRegionResponse { finished_percentage: 100, ..Default::default() });
        }
        let (known, failed): (Vec<u64>, Vec<u64>) =
            request.regions_id.iter().partition(|&&id| asked.topology.region(id).is_some());
        if known.is_empty() {
            return Err(Status::unknown("[PD:region:ErrRegionNotFound]region %v not found").into());
        }
        self.spread(asked.topology, &known);
        let finished_percentage = percent(known.len(), request.regions_id.len());
        Ok(pdpb::ScatterRegionResponse { header: None, finished_percentage, failed_regions_id: failed })
    }

    pub(super) fn split_and_scatter(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::SplitAndScatterRegionsRequest,
    ) -> Answer<pdpb::SplitAndScatterRegionsResponse> {
        let (split_finished_percentage, regions_id) = split_at(asked.topology, &request.split_keys);
        if regions_id.is_empty() {
            return Err(Status::unknown("[PD:scatter:ErrEmptyRegion]empty region").into());
        }
        self.spread(asked.topology, &regions_id);
        Ok(pdpb::SplitAndScatterRegionsResponse {
            header: None,
            split_finished_percentage,
            scatter_finished_percentage: 100,
            regions_id,
        })
    }

    pub(super) fn operator(
        &mut self,
        _: &mut Asked<'_>,
        request: pdpb::GetOperatorRequest,
    ) -> Answer<pdpb::GetOperatorResponse> {
        let Some(operator) = self.operators.get(&request.region_id) else {
            return Err(HeaderError::Header(pdpb::ErrorType::RegionNotFound, "Not Found".to_owned()));
        };
        Ok(pdpb::GetOperatorResponse {
            header: None,
            region_id: request.region_id,
            desc: Bytes::from_static(operator.desc.as_bytes()),
            status: pdpb::OperatorStatus::Success.into(),
            kind: Bytes::from_static(operator.kind.as_bytes()),
        })
    }

    /// Spreads the leaders of `regions` over their stores.
    fn spread(&mut self, topology: &mut Topology, regions: &[u64]) {
        for &id in regions {
            let Some(region) = topology.region(id) else { continue };
            let turn = usize::try_from(id).unwrap_or(0).checked_rem(region.peers.len()).unwrap_or(0);
            let target = region.peers.get(turn).map(|peer| peer.store);
            let moved = target.is_some_and(|store| topology.transfer_leader(id, store).is_ok());
            if moved {
                self.operators.insert(id, Operator { desc: "scatter-region", kind: "leader,region" });
            }
        }
    }
}

fn percent(part: usize, whole: usize) -> u64 {
    u64::try_from((100 * part).checked_div(whole).unwrap_or(0)).unwrap_or(0)
}
