//! Queries to PD as messages, and its answers as replies.
//!
//! Sources: kvproto: `pdpb.proto`; pd: `client/client.go`, `server/grpc_service.go`.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::classify::{Failure, of_header};
use super::endpoint::pick;
use super::query::{BucketsInfo, KeyspaceInfo, OrderInfo, PdQuery, PdReply, StoreInfo, StoreState};
use crate::error::ServiceError;
use crate::machine::Address;
use crate::types::{
    ClusterId, Key, KeyRange, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, StoreId,
};
use tikv_proto::methods::pd as methods;
use tikv_proto::{keyspacepb, metapb, pdpb};

/// How this client calls itself in the header of its requests.
const CALLER: &str = "tikv-client-rust";

/// What the members of a cluster say of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) cluster: ClusterId,
    pub(super) leader: Address,
    /// Every member that can be talked to, in order, the leader among them.
    pub(super) all: Vec<Address>,
}

pub(crate) fn header(cluster: ClusterId) -> Option<pdpb::RequestHeader> {
    Some(pdpb::RequestHeader { cluster_id: cluster.0, caller_id: CALLER.to_owned(), ..Default::default() })
}

/// The question for the members. PD does not look at its cluster id.
pub(super) fn get_members(cluster: ClusterId) -> Bytes {
    pdpb::GetMembersRequest { header: header(cluster) }.encode_to_vec().into()
}

/// The method and message of a query; `None` for the leader, which no member need be asked for.
///
/// `old`: PD does not know BatchScanRegions, which came in its version 8.3.
pub(super) fn encode(query: &PdQuery, cluster: ClusterId, old: bool) -> Option<(&'static str, Bytes)> {
    let header = header(cluster);
    let region = |region_key: &Bytes| {
        let region_key = region_key.clone();
        pdpb::GetRegionRequest { header: header.clone(), region_key, need_buckets: false }.encode_to_vec()
    };
    let (path, body) = match query {
        PdQuery::Region { key } => (methods::GET_REGION, region(key)),
        PdQuery::PreviousRegion { key } => (methods::GET_PREV_REGION, region(key)),
        PdQuery::RegionById(id) => {
            let request = pdpb::GetRegionByIdRequest { header, region_id: id.0, need_buckets: false };
            (methods::GET_REGION_BY_ID, request.encode_to_vec())
        }
        PdQuery::Regions { start, end, limit } => {
            let (start_key, end_key) = (start.clone(), end.clone());
            let limit = i32::try_from(*limit).unwrap_or(i32::MAX);
            if old {
                let request = pdpb::ScanRegionsRequest { header, start_key, limit, end_key };
                (methods::SCAN_REGIONS, request.encode_to_vec())
            } else {
                let ranges = vec![pdpb::KeyRange { start_key, end_key }];
                let request = pdpb::BatchScanRegionsRequest { header, ranges, limit, ..Default::default() };
                (methods::BATCH_SCAN_REGIONS, request.encode_to_vec())
            }
        }
        PdQuery::Store(id) => {
            let request = pdpb::GetStoreRequest { header, store_id: id.0 };
            (methods::GET_STORE, request.encode_to_vec())
        }
        PdQuery::Stores => {
            let request = pdpb::GetAllStoresRequest { header, exclude_tombstone_stores: true };
            (methods::GET_ALL_STORES, request.encode_to_vec())
        }
        PdQuery::Scatter { regions, group } => {
            let regions_id = regions.iter().map(|region| region.0).collect();
            let group = group.clone();
            let request = pdpb::ScatterRegionRequest { header, regions_id, group, ..Default::default() };
            (methods::SCATTER_REGION, request.encode_to_vec())
        }
        PdQuery::Order(region) => {
            let request = pdpb::GetOperatorRequest { header, region_id: region.0 };
            (methods::GET_OPERATOR, request.encode_to_vec())
        }
        PdQuery::Buckets(region) => {
            let request = pdpb::GetRegionByIdRequest { header, region_id: region.0, need_buckets: true };
            (methods::GET_REGION_BY_ID, request.encode_to_vec())
        }
        PdQuery::Keyspace { name } => {
            let request = keyspacepb::LoadKeyspaceRequest {
                header,
                name: name.as_ref().to_owned(),
                ..Default::default()
            };
            (tikv_proto::methods::keyspace::LOAD_KEYSPACE, request.encode_to_vec())
        }
        PdQuery::Leader { .. } => return None,
    };
    Some((path, body.into()))
}

/// What PD at `from` said to `query`.
pub(super) fn decode(
    query: &PdQuery,
    old: bool,
    from: &Address,
    cluster: ClusterId,
    body: Bytes,
) -> Result<PdReply, Failure> {
    let check = |header: Option<&pdpb::ResponseHeader>| check_header(header, from, Some(cluster)).map(|_| ());
    match query {
        PdQuery::Region { .. } | PdQuery::PreviousRegion { .. } | PdQuery::RegionById(_) => {
            let answer: pdpb::GetRegionResponse = message(from, body)?;
            if is_missing_region(answer.header.as_ref()) {
                return Ok(PdReply::Region(None));
            }
            check(answer.header.as_ref())?;
            let leader = answer.leader.as_ref();
            Ok(PdReply::Region(
                answer.region.and_then(|region| describe(&region, leader, &answer.down_peers)),
            ))
        }
        PdQuery::Regions { .. } => {
            let (header, regions) = if old {
                let answer: pdpb::ScanRegionsResponse = message(from, body)?;
                (answer.header, answer.regions)
            } else {
                let answer: pdpb::BatchScanRegionsResponse = message(from, body)?;
                (answer.header, answer.regions)
            };
            check(header.as_ref())?;
            Ok(PdReply::Regions(regions.iter().filter_map(described).collect()))
        }
        PdQuery::Store(wanted) => {
            let answer: pdpb::GetStoreResponse = message(from, body)?;
            if is_missing_store(answer.header.as_ref()) {
                return Ok(PdReply::Store(None));
            }
            check(answer.header.as_ref())?;
            let store = answer.store.ok_or_else(|| corrupt(from, &"an answer without the store"))?;
            if store.id != wanted.0 {
                return Err(corrupt(
                    from,
                    &format_args!("asked for store {wanted}, answered store {}", store.id),
                ));
            }
            Ok(PdReply::Store(Some(store_info(store))))
        }
        PdQuery::Stores => {
            let answer: pdpb::GetAllStoresResponse = message(from, body)?;
            check(answer.header.as_ref())?;
            Ok(PdReply::Stores(answer.stores.into_iter().map(store_info).collect()))
        }
        PdQuery::Scatter { .. } => {
            let answer: pdpb::ScatterRegionResponse = message(from, body)?;
            check(answer.header.as_ref())?;
            let failed = answer.failed_regions_id.into_iter().map(RegionId).collect();
            Ok(PdReply::Scattered { percent: answer.finished_percentage, failed })
        }
        PdQuery::Order(_) => {
            let answer: pdpb::GetOperatorResponse = message(from, body)?;
            // It has nothing to do with the region, or has forgotten.
            if is_missing_region(answer.header.as_ref()) {
                return Ok(PdReply::Order(None));
            }
            check(answer.header.as_ref())?;
            let running = answer.status() == pdpb::OperatorStatus::Running;
            Ok(PdReply::Order(Some(OrderInfo { description: answer.desc, running })))
        }
        PdQuery::Buckets(_) => {
            let answer: pdpb::GetRegionResponse = message(from, body)?;
            if is_missing_region(answer.header.as_ref()) {
                return Ok(PdReply::Buckets(None));
            }
            check(answer.header.as_ref())?;
            let described = answer.region.and_then(|region| describe(&region, None, &[]));
            let (version, keys) = answer.buckets.map(|told| (told.version, told.keys)).unwrap_or_default();
            Ok(PdReply::Buckets(described.map(|info| BucketsInfo { region: info.version, version, keys })))
        }
        PdQuery::Keyspace { .. } => {
            let answer: keyspacepb::LoadKeyspaceResponse = message(from, body)?;
            let error = error_of(answer.header.as_ref());
            if error.is_some_and(|error| error.r#type() == pdpb::ErrorType::EntryNotFound) {
                return Ok(PdReply::Keyspace(None));
            }
            check(answer.header.as_ref())?;
            let keyspace = answer.keyspace.ok_or_else(|| corrupt(from, &"an answer without the keyspace"))?;
            Ok(PdReply::Keyspace(Some(keyspace_info(&keyspace))))
        }
        // No member is asked this.
        PdQuery::Leader { .. } => Err(corrupt(from, &"an answer to no question")),
    }
}

/// The members that PD at `from` names; `wanted` is the cluster they must be of, once it is known.
pub(super) fn decode_members(
    from: &Address,
    wanted: Option<ClusterId>,
    encrypted: bool,
    body: Bytes,
) -> Result<Members, Failure> {
    let answer: pdpb::GetMembersResponse = message(from, body)?;
    let cluster = check_header(answer.header.as_ref(), from, wanted)?;
    let leader = answer.leader.and_then(|leader| pick(&leader.client_urls, encrypted)).ok_or_else(|| {
        // It may be electing one.
        Failure::Elsewhere(ServiceError::Pd { address: Arc::clone(from), message: "no leader".into() })
    })?;
    let mut all: Vec<Address> =
        answer.members.iter().filter_map(|member| pick(&member.client_urls, encrypted)).collect();
    all.push(Arc::clone(&leader));
    all.sort_unstable();
    all.dedup();
    Ok(Members { cluster, leader, all })
}

/// Looks at the header of an answer, which each has: the cluster's id and PD's own error.
pub(crate) fn check_header(
    header: Option<&pdpb::ResponseHeader>,
    from: &Address,
    wanted: Option<ClusterId>,
) -> Result<ClusterId, Failure> {
    let header = header.ok_or_else(|| corrupt(from, &"an answer without a header"))?;
    let found = ClusterId(header.cluster_id);
    if let Some(wanted) = wanted
        && found != wanted
        && found != ClusterId(0)
    {
        let address = Arc::clone(from);
        return Err(Failure::Elsewhere(ServiceError::ClusterMismatch { address, wanted, found }));
    }
    if let Some(error) = &header.error
        && error.r#type != pdpb::ErrorType::Ok as i32
    {
        return Err(of_header(from, error));
    }
    if found == ClusterId(0) { Err(corrupt(from, &"an answer without a cluster id")) } else { Ok(found) }
}

/// PD's leader says that a region is not there by leaving it out; others say it in the header.
fn is_missing_region(header: Option<&pdpb::ResponseHeader>) -> bool {
    error_of(header).is_some_and(|error| error.r#type() == pdpb::ErrorType::RegionNotFound)
}

/// client-go: `internal/locate/store_cache.go: isStoreNotFoundError`.
fn is_missing_store(header: Option<&pdpb::ResponseHeader>) -> bool {
    error_of(header).is_some_and(|error| {
        let unknown = error.message.contains("invalid store ID") && error.message.contains("not found");
        unknown || error.r#type() == pdpb::ErrorType::StoreTombstone
    })
}

fn error_of(header: Option<&pdpb::ResponseHeader>) -> Option<&pdpb::Error> {
    header.and_then(|header| header.error.as_ref())
}

fn message<M: Message + Default>(from: &Address, body: Bytes) -> Result<M, Failure> {
    M::decode(body).map_err(|error| corrupt(from, &error))
}

pub(super) fn corrupt(from: &Address, detail: &dyn Display) -> Failure {
    let detail = detail.to_string().into();
    Failure::Refused(ServiceError::Corrupt { address: Arc::clone(from), detail })
}

fn described(region: &pdpb::Region) -> Option<RegionInfo> {
    describe(region.region.as_ref()?, region.leader.as_ref(), &region.down_peers)
}

/// A region of PD's answer without the peers that PD holds to be down; `None` for the region 0, which is none.
///
/// client-go: `internal/locate/region_cache.go: newRegion`.
fn describe(
    region: &metapb::Region,
    leader: Option<&metapb::Peer>,
    down: &[pdpb::PeerStats],
) -> Option<RegionInfo> {
    if region.id == 0 {
        return None;
    }
    let is_down = |peer: &metapb::Peer| {
        down.iter().any(|stats| stats.peer.as_ref().is_some_and(|other| other.id == peer.id))
    };
    let peers: Vec<Peer> = region.peers.iter().filter(|peer| !is_down(peer)).map(peer).collect();
    let epoch = region.region_epoch.unwrap_or_default();
    let leader = leader.map(|leader| PeerId(leader.id));
    Some(RegionInfo {
        version: RegionVersion { id: RegionId(region.id), version: epoch.version, conf_ver: epoch.conf_ver },
        range: KeyRange { start: Key(region.start_key.clone()), end: Key(region.end_key.clone()) },
        leader: leader.filter(|leader| peers.iter().any(|peer| peer.id == *leader)),
        peers,
    })
}

fn peer(peer: &metapb::Peer) -> Peer {
    let role = match metapb::PeerRole::try_from(peer.role) {
        Ok(metapb::PeerRole::Voter | metapb::PeerRole::IncomingVoter | metapb::PeerRole::DemotingVoter) => {
            if peer.is_witness {
                PeerRole::Witness
            } else {
                PeerRole::Voter
            }
        }
        // A role we do not know: not one to send writes to.
        Ok(metapb::PeerRole::Learner) | Err(_) => PeerRole::Learner,
    };
    Peer { id: PeerId(peer.id), store: StoreId(peer.store_id), role }
}

fn keyspace_info(meta: &keyspacepb::KeyspaceMeta) -> KeyspaceInfo {
    use keyspacepb::keyspace_meta::Keyspace;
    let id = match meta.keyspace {
        Some(Keyspace::Id(id)) => Some(id),
        // An identity of API v3 is not to be taken for the keyspace 0.
        Some(Keyspace::KeyspaceIdentity(_)) | None => None,
    };
    let state = keyspacepb::KeyspaceState::try_from(meta.state);
    let state = state.map_or("in a state of a newer PD", |state| state.as_str_name());
    KeyspaceInfo { id, name: meta.name.as_str().into(), state: state.into() }
}

fn store_info(store: metapb::Store) -> StoreInfo {
    let state = match (store.state(), store.node_state()) {
        (metapb::StoreState::Tombstone, _) | (_, metapb::NodeState::Removed) => StoreState::Tombstone,
        (metapb::StoreState::Offline, _) | (_, metapb::NodeState::Removing) => StoreState::Offline,
        (metapb::StoreState::Up, _) => StoreState::Up,
    };
    StoreInfo {
        id: StoreId(store.id),
        address: store.address.into(),
        peer_address: store.peer_address.into(),
        state,
        labels: store.labels.into_iter().map(|label| (label.key, label.value)).collect(),
    }
}
