//! What requests and answers of PD have in common: a header with the cluster's id, and an error in that of an answer.

use prost::Message;
use tikv_proto::{keyspacepb, pdpb};

use crate::model::status::Status;

/// An answer, or the error that stands in the answer's header.
pub(super) type Answer<T> = Result<T, HeaderError>;

/// An error in the header of an answer: the call itself has succeeded.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// In the header.
    Header(pdpb::ErrorType, String),
    /// As the status of the call.
    Status(Status),
}

impl From<Status> for HeaderError {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// A message with PD's header.
pub(super) trait Headed: Message + Default {
    /// The id of the cluster it is for or from; 0: none.
    fn cluster_id(&self) -> u64;
}

/// An answer that can carry PD's header.
pub(super) trait HeadedAnswer: Message + Default {
    fn set_header(&mut self, header: pdpb::ResponseHeader);
}

macro_rules! headed {
    (requests $($request:ty,)*; answers $($answer:ty,)*;) => {
        $(impl Headed for $request {
            fn cluster_id(&self) -> u64 {
                self.header.as_ref().map_or(0, |header| header.cluster_id)
            }
        })*
        $(impl HeadedAnswer for $answer {
            fn set_header(&mut self, header: pdpb::ResponseHeader) {
                self.header = Some(header);
            }
        })*
    };
}

headed! {
    requests
        pdpb::GetMembersRequest,
        pdpb::GetClusterInfoRequest,
        pdpb::TsoRequest,
        pdpb::GetMinTsRequest,
        pdpb::BootstrapRequest,
        pdpb::IsBootstrappedRequest,
        pdpb::AllocIdRequest,
        pdpb::IsSnapshotRecoveringRequest,
        pdpb::GetDcLocationInfoRequest,
        pdpb::SyncMaxTsRequest,
        pdpb::GetStoreRequest,
        pdpb::GetAllStoresRequest,
        pdpb::PutStoreRequest,
        pdpb::ReportMinResolvedTsRequest,
        pdpb::GetRegionRequest,
        pdpb::GetRegionByIdRequest,
        pdpb::ScanRegionsRequest,
        pdpb::BatchScanRegionsRequest,
        pdpb::QueryRegionRequest,
        pdpb::SplitRegionsRequest,
        pdpb::SplitAndScatterRegionsRequest,
        pdpb::GetOperatorRequest,
        pdpb::GetClusterConfigRequest,
        pdpb::PutClusterConfigRequest,
        pdpb::SetExternalTimestampRequest,
        pdpb::GetExternalTimestampRequest,
        pdpb::GetGcSafePointRequest,
        pdpb::UpdateGcSafePointRequest,
        pdpb::UpdateServiceGcSafePointRequest,
        pdpb::GetGcSafePointV2Request,
        pdpb::UpdateGcSafePointV2Request,
        pdpb::UpdateServiceSafePointV2Request,
        pdpb::GetAllGcSafePointV2Request,
        pdpb::AdvanceGcSafePointRequest,
        pdpb::AdvanceTxnSafePointRequest,
        pdpb::SetGcBarrierRequest,
        pdpb::DeleteGcBarrierRequest,
        pdpb::SetGlobalGcBarrierRequest,
        pdpb::DeleteGlobalGcBarrierRequest,
        pdpb::GetGcStateRequest,
        pdpb::GetAllKeyspacesGcStatesRequest,
        keyspacepb::LoadKeyspaceRequest,
        keyspacepb::LoadKeyspaceByIdRequest,
        keyspacepb::WatchKeyspacesRequest,
        keyspacepb::UpdateKeyspaceStateRequest,
        keyspacepb::GetAllKeyspacesRequest,
    ;
    answers
        pdpb::GetMembersResponse,
        pdpb::GetClusterInfoResponse,
        pdpb::TsoResponse,
        pdpb::GetMinTsResponse,
        pdpb::BootstrapResponse,
        pdpb::IsBootstrappedResponse,
        pdpb::AllocIdResponse,
        pdpb::IsSnapshotRecoveringResponse,
        pdpb::GetDcLocationInfoResponse,
        pdpb::SyncMaxTsResponse,
        pdpb::GetStoreResponse,
        pdpb::GetAllStoresResponse,
        pdpb::PutStoreResponse,
        pdpb::ReportMinResolvedTsResponse,
        pdpb::GetRegionResponse,
        pdpb::ScanRegionsResponse,
        pdpb::BatchScanRegionsResponse,
        pdpb::QueryRegionResponse,
        pdpb::SplitRegionsResponse,
        pdpb::SplitAndScatterRegionsResponse,
        pdpb::ScatterRegionResponse,
        pdpb::GetOperatorResponse,
        pdpb::GetClusterConfigResponse,
        pdpb::PutClusterConfigResponse,
        pdpb::SetExternalTimestampResponse,
        pdpb::GetExternalTimestampResponse,
        pdpb::GetGcSafePointResponse,
        pdpb::UpdateGcSafePointResponse,
        pdpb::UpdateServiceGcSafePointResponse,
        pdpb::GetGcSafePointV2Response,
        pdpb::UpdateGcSafePointV2Response,
        pdpb::UpdateServiceSafePointV2Response,
        pdpb::GetAllGcSafePointV2Response,
        pdpb::AdvanceGcSafePointResponse,
        pdpb::AdvanceTxnSafePointResponse,
        pdpb::SetGcBarrierResponse,
        pdpb::DeleteGcBarrierResponse,
        pdpb::SetGlobalGcBarrierResponse,
        pdpb::DeleteGlobalGcBarrierResponse,
        pdpb::GetGcStateResponse,
        pdpb::GetAllKeyspacesGcStatesResponse,
        keyspacepb::LoadKeyspaceResponse,
        keyspacepb::UpdateKeyspaceStateResponse,
        keyspacepb::GetAllKeyspacesResponse,
    ;
}

/// An answer with an error of no other kind.
pub(super) fn unknown<T>(message: impl Into<String>) -> Answer<T> {
    Err(HeaderError::Header(pdpb::ErrorType::Unknown, message.into()))
}
