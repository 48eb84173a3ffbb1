//! PD as clients see it: members, timestamps, ids, and descriptions of stores and regions.
//!
//! * here: [`Pd`], its one door [`Pd::call`] with what holds for every method: who answers (leader or follower)
//!   and for which cluster.
//! * [`tso`]: the timestamp oracle.
//! * `members`: members, service mode, bootstrapping, ids.
//! * `regions`: regions by key, by id, by range; splitting through PD.
//! * `stores`: stores, and what they report.
//! * `scatter`: scattering, and the operators that would do it.
//! * [`etcd`]: the part of etcd's API that client-go asks of PD.
//! * [`http`]: the part of PD's HTTP API that clients and operators of tests ask.
//! * `config`: the cluster's and the global configuration, the external timestamp.
//!
//! PD keeps no regions of its own: it describes the [`Topology`], or a frozen copy of it while a test wants PD to lag.

mod config;
pub mod etcd;
pub mod http;
mod members;
mod regions;
mod scatter;
mod stores;
#[cfg(test)]
mod tests;
pub mod tso;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use tikv_proto::{metapb, methods, pdpb};

use super::clock::Now;
use super::region::Topology;
use super::status::{Code, Status};
pub use regions::wire_region;
use tso::Oracle;

/// The method of this path, if a PD server knows it; not all that it knows is served.
#[must_use]
pub fn method(path: &str) -> Option<&'static str> {
    methods::pd::ALL.iter().chain(etcd::METHODS).copied().find(|known| *known == path)
}

/// The answer to a path that no PD server knows.
// grpc-go: server.go: handleStream
#[must_use]
pub fn unknown_method(path: &str) -> Status {
    match path.trim_start_matches('/').split_once('/') {
        Some(("pdpb.PD", _)) => Status::unimplemented(path),
        Some((service, _)) => Status::new(Code::Unimplemented, format!("unknown service {service}")),
        None => Status::new(Code::Unimplemented, format!("malformed method name: {path:?}")),
    }
}

/// One PD server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where clients reach it, as a URL.
    pub client_url: String,
}

impl Member {
    /// A server that clients reach at `client_url`.
    pub fn new(id: u64, name: impl Into<String>, client_url: impl Into<String>) -> Self {
        Self { id, name: name.into(), client_url: client_url.into() }
    }
}

/// The state of PD, shared by its members.
#[derive(Clone, Debug)]
pub struct Pd {
    cluster_id: u64,
    members: Vec<Member>,
    /// The index of the member that leads; `None` during an election.
    leader: Option<usize>,
    /// The timestamp oracle.
    pub oracle: Oracle,
    max_peer_count: u32,
    external_timestamp: u64,
    /// Global configuration by full path, each with the revision that wrote it.
    settings: BTreeMap<String, (Bytes, i64)>,
    revision: i64,
    /// The least resolved timestamp that each store has reported.
    min_resolved: BTreeMap<u64, u64>,
    /// The last operator of a region, as `GetOperator` tells it.
    operators: BTreeMap<u64, scatter::Operator>,
    /// The regions as they were when PD stopped learning, if it has.
    frozen: Option<Topology>,
    keys: etcd::Keys,
}

/// What a call comes with besides its body.
#[derive(Debug)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// The cluster that is described and changed.
    pub topology: &'a mut Topology,
    /// The index of the member that was asked.
    pub member: usize,
    /// The time.
    pub now: Now,
    /// Whether the caller lets a follower answer (`pd-allow-follower-handle`).
    pub follower_may: bool,
}

impl<'a> Asked<'a> {
    /// A call to the `member`th PD at `now`.
    pub fn new(topology: &'a mut Topology, member: usize, now: Now) -> Self {
        Self { topology, member, now, follower_may: false }
    }
}

/// An answer, or the error that stands in the answer's header.
type Answer<T> = Result<T, HeaderError>;

/// An error in the header of an answer: the call itself has succeeded.
#[derive(Debug)]
enum HeaderError {
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
trait Headed: Message + Default {
    /// The id of the cluster it is for or from; 0: none.
    fn cluster_id(&self) -> u64;
}

/// An answer that can carry PD's header.
trait HeadedAnswer: Message + Default {
    fn set_header(&mut self, header: pdpb::ResponseHeader);
}

macro_rules! headed {
    (requests $($request:ident)*; answers $($answer:ident)*;) => {
        $(impl Headed for pdpb::$request {
            fn cluster_id(&self) -> u64 {
                self.header.as_ref().map_or(0, |header| header.cluster_id)
            }
        })*
        $(impl HeadedAnswer for pdpb::$answer {
            fn set_header(&mut self, header: pdpb::ResponseHeader) {
                self.header = Some(header);
            }
        })*
    };
}

headed! {
    requests
        GetMembersRequest GetClusterInfoRequest TsoRequest GetMinTsRequest BootstrapRequest IsBootstrappedRequest
        AllocIdRequest IsSnapshotRecoveringRequest GetDcLocationInfoRequest SyncMaxTsRequest
        GetStoreRequest GetAllStoresRequest PutStoreRequest ReportMinResolvedTsRequest
        GetRegionRequest GetRegionByIdRequest ScanRegionsRequest BatchScanRegionsRequest QueryRegionRequest
        SplitRegionsRequest SplitAndScatterRegionsRequest GetOperatorRequest
        GetClusterConfigRequest PutClusterConfigRequest SetExternalTimestampRequest GetExternalTimestampRequest;
    answers
        GetMembersResponse GetClusterInfoResponse TsoResponse GetMinTsResponse BootstrapResponse
        IsBootstrappedResponse AllocIdResponse IsSnapshotRecoveringResponse GetDcLocationInfoResponse
        SyncMaxTsResponse GetStoreResponse GetAllStoresResponse PutStoreResponse ReportMinResolvedTsResponse
        GetRegionResponse ScanRegionsResponse BatchScanRegionsResponse QueryRegionResponse
        SplitRegionsResponse SplitAndScatterRegionsResponse ScatterRegionResponse GetOperatorResponse
        GetClusterConfigResponse PutClusterConfigResponse SetExternalTimestampResponse
        GetExternalTimestampResponse;
}

impl Pd {
    /// PD of cluster `cluster_id`; the first of `members` leads.
    #[must_use]
    pub fn new(cluster_id: u64, members: Vec<Member>, max_peer_count: u32) -> Self {
        Self {
            cluster_id,
            leader: (!members.is_empty()).then_some(0),
            members,
            oracle: Oracle::default(),
            max_peer_count,
            external_timestamp: 0,
            settings: BTreeMap::new(),
            revision: 1,
            min_resolved: BTreeMap::new(),
            operators: BTreeMap::new(),
            frozen: None,
            keys: etcd::Keys::default(),
        }
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// The PD servers.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The index of the member that leads.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.leader
    }

    /// Makes the `member`th PD the leader; `None`, or one that is not there, leaves PD without a leader.
    pub fn set_leader(&mut self, member: Option<usize>) {
        self.leader = member.filter(|&index| index < self.members.len());
    }

    /// From now on PD describes `regions` as they are here, whatever becomes of them; `None`: it knows all again.
    pub fn freeze_regions(&mut self, regions: Option<Topology>) {
        self.frozen = regions;
    }

    /// Answers one request of the method `path`: a unary call, or one item of a stream, which an error ends.
    ///
    /// # Errors
    /// The status that the call or the stream ends with.
    pub fn call(&mut self, asked: Asked<'_>, path: &str, body: Bytes) -> Result<Bytes, Status> {
        use methods::pd as m;
        match path {
            m::TSO => self.led(asked, body, Self::tso),
            m::GET_REGION => self.read(asked, body, Self::region_of_key),
            m::GET_PREV_REGION => self.read(asked, body, Self::region_before_key),
            m::GET_REGION_BY_ID => self.read(asked, body, Self::region_of_id),
            m::QUERY_REGION => self.read(asked, body, Self::query_regions),
            m::SCAN_REGIONS => self.read(asked, body, Self::scan_regions),
            m::BATCH_SCAN_REGIONS => self.read(asked, body, Self::batch_scan_regions),
            m::GET_STORE => self.read(asked, body, Self::store),
            m::GET_ALL_STORES => self.read(asked, body, Self::stores),
            m::PUT_STORE => self.led(asked, body, Self::put_store),
            m::REPORT_MIN_RESOLVED_TS => self.led(asked, body, Self::report_min_resolved),
            m::GET_MEMBERS => self.open(asked, body, Self::members_answer),
            m::GET_CLUSTER_INFO => self.open(asked, body, Self::cluster_info),
            m::IS_SNAPSHOT_RECOVERING => self.open(asked, body, Self::snapshot_recovering),
            m::BOOTSTRAP => self.led(asked, body, Self::bootstrap),
            m::IS_BOOTSTRAPPED => self.led(asked, body, Self::bootstrapped),
            m::ALLOC_ID => self.led(asked, body, Self::alloc_id),
            m::GET_DC_LOCATION_INFO => self.led(asked, body, Self::dc_location),
            m::SYNC_MAX_TS => self.led(asked, body, Self::sync_max_ts),
            m::GET_MIN_TS => self.led(asked, body, Self::min_ts),
            m::SPLIT_REGIONS => self.led(asked, body, Self::split_regions),
            m::SPLIT_AND_SCATTER_REGIONS => self.led(asked, body, Self::split_and_scatter),
            m::SCATTER_REGION => self.led(asked, body, Self::scatter),
            m::GET_OPERATOR => self.led(asked, body, Self::operator),
            m::GET_CLUSTER_CONFIG => self.led(asked, body, Self::cluster_config),
            m::PUT_CLUSTER_CONFIG => self.led(asked, body, Self::put_cluster_config),
            m::SET_EXTERNAL_TIMESTAMP => self.led(asked, body, Self::set_external_timestamp),
            m::GET_EXTERNAL_TIMESTAMP => self.led(asked, body, Self::get_external_timestamp),
            m::STORE_GLOBAL_CONFIG => self.store_settings(decode(&body)?).map(|answer| encode(&answer)),
            m::LOAD_GLOBAL_CONFIG => self.load_settings(&decode(&body)?).map(|answer| encode(&answer)),
            _ => self.etcd(asked.member, path, &body),
        }
    }

    /// A method that only the leader answers.
    // PD: server/grpc_service.go: validateRequest
    fn led<Q: Headed, A: HeadedAnswer>(
        &mut self,
        mut asked: Asked<'_>,
        body: Bytes,
        method: fn(&mut Self, &mut Asked<'_>, Q) -> Answer<A>,
    ) -> Result<Bytes, Status> {
        if self.leader != Some(asked.member) {
            return Err(Status::new(Code::Unavailable, "not leader"));
        }
        let request: Q = decode(&body)?;
        self.check_cluster(&request)?;
        let answer = method(self, &mut asked, request);
        self.headed(answer)
    }

    /// A method that a follower answers too, if the caller lets it.
    // PD: server/grpc_service.go: validateRoleInRequest
    fn read<Q: Headed, A: HeadedAnswer>(
        &mut self,
        asked: Asked<'_>,
        body: Bytes,
        method: fn(&mut Self, &mut Asked<'_>, Q) -> Answer<A>,
    ) -> Result<Bytes, Status> {
        if self.leader == Some(asked.member) {
            return self.led(asked, body, method);
        }
        if !asked.follower_may {
            return Err(Status::new(Code::Unavailable, "not leader and follower handling not allowed"));
        }
        let request: Q = decode(&body)?;
        self.check_cluster(&request)?;
        let mut asked = asked;
        let answer = method(self, &mut asked, request);
        self.headed(answer)
    }

    /// A method that every member answers, for any cluster: it is how clients find the leader and the cluster.
    fn open<Q: Headed, A: HeadedAnswer>(
        &mut self,
        mut asked: Asked<'_>,
        body: Bytes,
        method: fn(&mut Self, &mut Asked<'_>, Q) -> Answer<A>,
    ) -> Result<Bytes, Status> {
        let answer = method(self, &mut asked, decode(&body)?);
        self.headed(answer)
    }

    fn check_cluster(&self, request: &impl Headed) -> Result<(), Status> {
        let (need, got) = (self.cluster_id, request.cluster_id());
        if need == got {
            return Ok(());
        }
        let message = format!("mismatch cluster id, need {need} but got {got}");
        Err(Status::new(Code::FailedPrecondition, message))
    }

    /// Puts the header on an answer.
    fn headed<A: HeadedAnswer>(&self, answer: Answer<A>) -> Result<Bytes, Status> {
        let mut header = pdpb::ResponseHeader { cluster_id: self.cluster_id, error: None };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(HeaderError::Status(status)) => return Err(status),
            Err(HeaderError::Header(kind, message)) => {
                header.error = Some(pdpb::Error { r#type: kind.into(), message });
                A::default()
            }
        };
        answer.set_header(header);
        Ok(encode(&answer))
    }

    /// The regions as PD knows them.
    fn known<'a>(&'a self, asked: &'a Asked<'_>) -> &'a Topology {
        self.frozen.as_ref().unwrap_or(asked.topology)
    }
}

fn decode<M: Message + Default>(body: &Bytes) -> Result<M, Status> {
    // grpc-go: server.go: processUnaryRPC
    M::decode(body.clone())
        .map_err(|error| Status::new(Code::Internal, format!("grpc: error unmarshalling request: {error}")))
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn unknown<T>(message: impl Into<String>) -> Answer<T> {
    Err(HeaderError::Header(pdpb::ErrorType::Unknown, message.into()))
}

/// A peer as the wire has it.
#[must_use]
pub fn wire_peer(peer: &super::region::Peer) -> metapb::Peer {
    use super::region::PeerRole;
    let role =
        if peer.role == PeerRole::Learner { metapb::PeerRole::Learner } else { metapb::PeerRole::Voter };
    metapb::Peer {
        id: peer.id,
        store_id: peer.store,
        role: role.into(),
        is_witness: peer.role == PeerRole::Witness,
    }
}
