//! PD as clients see it: members, timestamps, ids, regions and stores, keyspaces, garbage collection, resource control.
//!
//! * here: [`Pd`], its one door [`Pd::call`] with what holds for every method: who answers (leader or follower)
//!   and for which cluster.
//! * `members`: members and who leads, bootstrapping, ids. [`tso`]: the timestamp oracle.
//! * `regions`: regions by key, by id, by range, as far as PD knows them (`view`). `stores`: stores, and what they report.
//! * `operators`: what PD does to regions: scatters, splits, moves of leaders and peers.
//! * `config`: the cluster's and the global configuration, the external timestamp.
//! * `keyspaces`; `gc`: safe points and barriers; `resource`: resource groups and token buckets.
//! * `kv`: the keys that PD keeps, with their past. `meta` is the service that reads and writes them, [`etcd`] the part of
//!   etcd's API that does. [`watch`]: streams that tell what changes.
//! * `header`: what requests and answers of PD have in common. `lease`: leases on keys.
//! * [`http`]: the part of PD's HTTP API that clients, tools and tests ask. `go`: texts as Go prints them.
//!
//! PD keeps no regions of its own: it describes the [`Topology`], or what a test lets it know of that. What only time
//! makes happen (leases, operators, elections) happens in [`Pd::tick`], which every door calls first.

mod config;
pub mod etcd;
mod gc;
mod go;
mod header;
pub mod http;
mod keyspaces;
mod kv;
mod lease;
mod members;
mod meta;
mod operators;
mod regions;
mod resource;
mod stores;
#[cfg(test)]
mod tests;
pub mod tso;
mod view;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_proto::{metapb, methods, pdpb};

use super::clock::Now;
use super::region::Topology;
use super::status::{Code, Status};
use header::{Answer, Headed, HeadedAnswer, HeaderError, unknown};
pub use keyspaces::KeyspaceError;
pub use regions::wire_region;
use tso::Oracle;
pub use watch::Watch;

/// The services of a PD server.
const SERVICES: [&[&str]; 5] = [
    methods::pd::ALL,
    methods::keyspace::ALL,
    methods::meta_storage::ALL,
    methods::resource_manager::ALL,
    etcd::METHODS,
];

/// The streams on which each item has an answer.
const STREAMS: [&str; 4] = [
    methods::pd::TSO,
    methods::pd::QUERY_REGION,
    methods::resource_manager::ACQUIRE_TOKEN_BUCKETS,
    etcd::LEASE_KEEP_ALIVE,
];

/// The method of this path, if a PD server knows it; not all that it knows is served.
#[must_use]
pub fn method(path: &str) -> Option<&'static str> {
    SERVICES.into_iter().flatten().copied().find(|known| *known == path)
}

/// Whether the method is a stream on which each item has an answer.
#[must_use]
pub fn is_stream(path: &str) -> bool {
    STREAMS.contains(&path)
}

/// The answer to a path that no PD server knows.
// grpc-go: server.go: handleStream
#[must_use]
pub fn unknown_method(path: &str) -> Status {
    let known = |service: &str| {
        let of_service = |path: &&&str| path.trim_start_matches('/').split('/').next() == Some(service);
        SERVICES.into_iter().flatten().find(of_service).is_some()
    };
    match path.trim_start_matches('/').split_once('/') {
        Some((service, _)) if known(service) => Status::unimplemented(path),
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
    /// Counts leaders.
    term: u64,
    /// Members that are down, by index.
    down: BTreeSet<usize>,
    elections: members::Elections,
    /// The timestamp oracle.
    pub oracle: Oracle,
    max_peer_count: u32,
    external_timestamp: u64,
    /// The least resolved timestamp that each store has reported.
    min_resolved: BTreeMap<u64, u64>,
    operators: operators::Operators,
    /// How long each step of an operator takes.
    operator_step: Duration,
    lag: view::Lag,
    keys: kv::Keys,
    keyspaces: keyspaces::Keyspaces,
    gc: gc::Gc,
    groups: resource::Groups,
    rules: http::Rules,
    /// The status that all HTTP requests are answered with, if they fail.
    http_failure: Option<u16>,
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

impl Pd {
    /// PD of cluster `cluster_id`; the first of `members` leads.
    #[must_use]
    pub fn new(cluster_id: u64, members: Vec<Member>, max_peer_count: u32) -> Self {
        let mut pd = Self {
            cluster_id,
            leader: (!members.is_empty()).then_some(0),
            term: 1,
            down: BTreeSet::new(),
            elections: members::Elections::default(),
            members,
            oracle: Oracle::default(),
            max_peer_count,
            external_timestamp: 0,
            min_resolved: BTreeMap::new(),
            operators: operators::Operators::default(),
            operator_step: Duration::ZERO,
            lag: view::Lag::default(),
            keys: kv::Keys::default(),
            keyspaces: keyspaces::Keyspaces::default(),
            gc: gc::Gc::default(),
            groups: resource::Groups::default(),
            rules: http::Rules::new(max_peer_count),
            http_failure: None,
        };
        pd.add_default_groups();
        pd
    }

    /// What PD does once when a cluster begins, at `now`: it makes the keyspace `DEFAULT`, and splits the regions at its
    /// bounds if clients use keyspaces (API version 2).
    pub fn bootstrap_keyspaces(&mut self, topology: &mut Topology, now: Now, split: bool) {
        self.add_default_keyspace(now);
        if split {
            keyspaces::split_for(topology, keyspaces::DEFAULT_KEYSPACE);
        }
    }

    /// The revision of PD's keys; it moves whenever a stream that watches may have something to tell.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.keys.revision()
    }

    /// Makes happen what is due by `now`.
    pub fn tick(&mut self, topology: &mut Topology, now: Now) {
        self.keys.expire(now);
        self.run_operators(topology, now);
        self.elect(topology, now);
    }

    /// When time alone will make something happen.
    #[must_use]
    pub fn next_due(&self) -> Option<Now> {
        let due = [self.keys.next_expiry(), self.operators.next_step(), self.next_election()];
        due.into_iter().flatten().min()
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

    /// Answers one request of the method `path`: a unary call, or one item of a stream, which an error ends.
    ///
    /// # Errors
    /// The status that the call or the stream ends with.
    pub fn call(&mut self, asked: Asked<'_>, path: &str, body: Bytes) -> Result<Bytes, Status> {
        use methods::{keyspace as k, pd as m};
        self.tick(asked.topology, asked.now);
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
            m::GET_GC_SAFE_POINT => self.led(asked, body, Self::get_gc_safe_point),
            m::UPDATE_GC_SAFE_POINT => self.led(asked, body, Self::update_gc_safe_point),
            m::UPDATE_SERVICE_GC_SAFE_POINT => self.led(asked, body, Self::update_service_safe_point),
            m::GET_GC_SAFE_POINT_V2 => self.led(asked, body, Self::get_gc_safe_point_v2),
            m::UPDATE_GC_SAFE_POINT_V2 => self.led(asked, body, Self::update_gc_safe_point_v2),
            m::UPDATE_SERVICE_SAFE_POINT_V2 => self.led(asked, body, Self::update_service_safe_point_v2),
            m::GET_ALL_GC_SAFE_POINT_V2 => self.led(asked, body, Self::all_gc_safe_points_v2),
            m::ADVANCE_GC_SAFE_POINT => self.led(asked, body, Self::advance_gc_safe_point),
            m::ADVANCE_TXN_SAFE_POINT => self.led(asked, body, Self::advance_txn_safe_point),
            m::SET_GC_BARRIER => self.led(asked, body, Self::set_gc_barrier),
            m::DELETE_GC_BARRIER => self.led(asked, body, Self::delete_gc_barrier),
            m::SET_GLOBAL_GC_BARRIER => self.led(asked, body, Self::set_global_gc_barrier),
            m::DELETE_GLOBAL_GC_BARRIER => self.led(asked, body, Self::delete_global_gc_barrier),
            m::GET_GC_STATE => self.led(asked, body, Self::get_gc_state),
            m::GET_ALL_KEYSPACES_GC_STATES => self.led(asked, body, Self::get_all_gc_states),
            k::LOAD_KEYSPACE => self.led(asked, body, Self::load_keyspace),
            k::LOAD_KEYSPACE_BY_ID => self.led(asked, body, Self::load_keyspace_by_id),
            k::UPDATE_KEYSPACE_STATE => self.led(asked, body, Self::update_keyspace_state),
            k::GET_ALL_KEYSPACES => self.led(asked, body, Self::all_keyspaces),
            k::LOOKUP_KEYSPACE => Err(keyspaces::not_implemented(path)),
            m::STORE_GLOBAL_CONFIG => self.store_settings(decode(&body)?).map(|answer| encode(&answer)),
            m::LOAD_GLOBAL_CONFIG => self.load_settings(&decode(&body)?).map(|answer| encode(&answer)),
            _ if methods::meta_storage::ALL.contains(&path) => self.meta(&asked, path, &body),
            _ if methods::resource_manager::ALL.contains(&path) => self.resource(&asked, path, &body),
            _ if etcd::METHODS.contains(&path) => self.etcd(&asked, path, &body),
            // What stores tell PD: those of this cluster need not.
            _ if method(path).is_some() => Err(keyspaces::not_implemented(path)),
            _ => Err(unknown_method(path)),
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
        self.check_leads(asked.member)?;
        let request: Q = decode(&body)?;
        self.check_cluster(request.cluster_id())?;
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
        self.check_cluster(request.cluster_id())?;
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

    fn check_leads(&self, member: usize) -> Result<(), Status> {
        if self.leader == Some(member) { Ok(()) } else { Err(Status::new(Code::Unavailable, "not leader")) }
    }

    fn check_cluster(&self, got: u64) -> Result<(), Status> {
        let need = self.cluster_id;
        if need == got {
            return Ok(());
        }
        let message = format!("mismatch cluster id, need {need} but got {got}");
        Err(Status::new(Code::FailedPrecondition, message))
    }

    /// An answer with nothing but this error in its header, whatever the method.
    pub(super) fn refusal(&self, kind: pdpb::ErrorType, message: String) -> Bytes {
        let header = Some(self.header(Some(pdpb::Error { r#type: kind.into(), message })));
        // The header is the first field of all answers of PD.
        encode(&pdpb::GetClusterConfigResponse { header, cluster: None })
    }

    fn header(&self, error: Option<pdpb::Error>) -> pdpb::ResponseHeader {
        pdpb::ResponseHeader { cluster_id: self.cluster_id, error }
    }

    /// Puts the header on an answer.
    fn headed<A: HeadedAnswer>(&self, answer: Answer<A>) -> Result<Bytes, Status> {
        let mut header = self.header(None);
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
}

fn decode<M: Message + Default>(body: &Bytes) -> Result<M, Status> {
    // grpc-go: server.go: processUnaryRPC
    M::decode(body.clone())
        .map_err(|error| Status::new(Code::Internal, format!("grpc: error unmarshalling request: {error}")))
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
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
