//! A cluster without sockets, asked through its doors by method, as a client with fresh knowledge asks.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_embedded::model::{
    Answer, Api, Call, Cluster, Command, Layout, Member, Met, Now, Pd, Reply, Status, key, pd,
};
use tikv_proto::kvrpcpb::{Context, Mutation, Op};
use tikv_proto::{errorpb, kvrpcpb, metapb, methods::tikv as m, pdpb};

/// The id of the cluster.
pub(crate) const CLUSTER: u64 = 77;
/// Logical ticks of one millisecond in a timestamp.
pub(crate) const MS: u64 = 1 << 18;

/// A cluster and its clock.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) now: Now,
}

impl World {
    /// One region with a peer on each of so many stores; the first leads. Two PD members, the first leads.
    pub(crate) fn of(stores: usize) -> Self {
        let addresses: Vec<String> = (1..=stores).map(|n| format!("127.0.0.1:{n}")).collect();
        let mut topology = Layout::new(addresses, stores).build();
        let now = Now::from_unix(Duration::from_secs(1_700_000_000));
        topology.set_started(now.unix_seconds());
        let member = |id| Member::new(id, format!("pd-{id}"), format!("http://127.0.0.1:9{id}"));
        let mut pd = Pd::new(CLUSTER, vec![member(1), member(2)], 3);
        pd.bootstrap_keyspaces(&mut topology, now, false);
        Self { cluster: Cluster::new(topology, pd), now }
    }

    /// The same, of this version of the storage API.
    pub(crate) fn speaking(api: Api) -> Self {
        let Self { cluster, now } = Self::of(1);
        Self { cluster: cluster.with_api(api), now }
    }

    /// The region of a transactional key.
    pub(crate) fn region(&self, user: &str) -> u64 {
        self.cluster.topology.region_at(&key::encode(user.as_bytes())).unwrap().id
    }

    /// The context for a key in region form, sent to the region's leader.
    pub(crate) fn context_at(&self, at: &[u8]) -> Context {
        let region = self.cluster.topology.region_at(at).unwrap();
        let leader = region.leader_peer().unwrap();
        Context {
            region_id: region.id,
            region_epoch: Some(metapb::RegionEpoch { conf_ver: region.conf_ver, version: region.version }),
            peer: Some(metapb::Peer { id: leader.id, store_id: leader.store, ..Default::default() }),
            ..Default::default()
        }
    }

    /// The context for a transactional key.
    pub(crate) fn context(&self, user: &str) -> Context {
        self.context_at(&key::encode(user.as_bytes()))
    }

    /// [`Self::context`], but to the peer on another store.
    pub(crate) fn context_on(&self, user: &str, store: u64) -> Context {
        let context = self.context(user);
        let peer = self.cluster.topology.region(context.region_id).unwrap().peer_on(store).unwrap();
        let peer = metapb::Peer { id: peer.id, store_id: store, ..Default::default() };
        Context { peer: Some(peer), ..context }
    }

    /// Calls a store and lets time pass until it answers.
    pub(crate) fn send(&mut self, store: u64, path: &str, request: &impl Message) -> Reply {
        let command = match Command::decode(path, request.encode_to_vec().into()) {
            Ok(command) => Box::new(command),
            Err(status) => return Reply::Fail(status),
        };
        match self.cluster.call(self.now, Call::Store { store, command }) {
            Met::Now(reply) => reply,
            Met::Later(token) => loop {
                let at = self.cluster.next_wake().expect("its wait ends");
                self.now = self.now.max(at);
                self.cluster.wake(self.now);
                if let Some((_, reply)) = self.cluster.take_replies().into_iter().find(|(of, _)| *of == token)
                {
                    return reply;
                }
            },
            other => panic!("{other:?}"),
        }
    }

    /// The answer of a store that must be.
    pub(crate) fn ask_on<A: Message + Default>(
        &mut self,
        store: u64,
        path: &str,
        request: &impl Message,
    ) -> A {
        match self.send(store, path, request) {
            Reply::Store(answer) => A::decode(Answer::encode(&answer)).unwrap(),
            other => panic!("{path}: no answer: {other:?}"),
        }
    }

    /// The answer of the first store.
    pub(crate) fn ask<A: Message + Default>(&mut self, path: &str, request: &impl Message) -> A {
        self.ask_on(1, path, request)
    }

    /// Asks PD's leader.
    pub(crate) fn try_pd<A: Message + Default>(
        &mut self,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        self.try_member(0, false, path, request)
    }

    /// Asks a member of PD.
    pub(crate) fn try_member<A: Message + Default>(
        &mut self,
        member: usize,
        follower_may: bool,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        let path = pd::method(path).expect("a method of PD");
        let call = Call::Pd { member, follower_may, path, body: request.encode_to_vec().into() };
        match self.cluster.call(self.now, call) {
            Met::Now(Reply::Bytes(answer)) => Ok(A::decode(answer).unwrap()),
            Met::Now(Reply::Fail(status)) => Err(status),
            other => panic!("{path}: {other:?}"),
        }
    }

    /// The answer of PD that must be.
    pub(crate) fn pd<A: Message + Default>(&mut self, path: &str, request: &impl Message) -> A {
        self.try_pd(path, request).expect("an answer")
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.cluster.wake(self.now);
    }

    /// A timestamp so long before now.
    pub(crate) fn ts_ago(&self, ago: Duration) -> u64 {
        (self.now.unix_ms() - u64::try_from(ago.as_millis()).unwrap()) * MS
    }

    /// A prewrite of puts, the first key being the primary.
    pub(crate) fn prewrite(&self, start_version: u64, pairs: &[(&str, &str)]) -> kvrpcpb::PrewriteRequest {
        let primary = pairs[0].0;
        kvrpcpb::PrewriteRequest {
            context: Some(self.context(primary)),
            mutations: pairs.iter().map(|(key, value)| put(key, value)).collect(),
            primary_lock: bytes(primary),
            start_version,
            lock_ttl: 3000,
            ..Default::default()
        }
    }

    /// Prewrites what must succeed.
    pub(crate) fn lock(&mut self, start_version: u64, pairs: &[(&str, &str)]) {
        let request = self.prewrite(start_version, pairs);
        let answer: kvrpcpb::PrewriteResponse = self.ask(m::KV_PREWRITE, &request);
        assert_eq!(answer, kvrpcpb::PrewriteResponse::default());
    }

    /// Writes and commits what must succeed, all of it in one region.
    pub(crate) fn write(&mut self, start_version: u64, commit_version: u64, pairs: &[(&str, &str)]) {
        self.lock(start_version, pairs);
        let request = kvrpcpb::CommitRequest {
            context: Some(self.context(pairs[0].0)),
            keys: pairs.iter().map(|(key, _)| bytes(key)).collect(),
            start_version,
            commit_version,
            ..Default::default()
        };
        let answer: kvrpcpb::CommitResponse = self.ask(m::KV_COMMIT, &request);
        assert_eq!(answer.commit_version, commit_version, "{answer:?}");
    }

    /// A get with this context, at its store.
    pub(crate) fn get(&mut self, context: Context, user: &str, version: u64) -> kvrpcpb::GetResponse {
        let store = context.peer.unwrap_or_default().store_id;
        let request =
            kvrpcpb::GetRequest { context: Some(context), key: bytes(user), version, ..Default::default() };
        self.ask_on(store, m::KV_GET, &request)
    }

    /// The region error of a get with this context.
    pub(crate) fn refused(&mut self, store: u64, context: Context) -> Option<errorpb::Error> {
        let request =
            kvrpcpb::GetRequest { context: Some(context), key: bytes("k"), version: 5, ..Default::default() };
        self.ask_on::<kvrpcpb::GetResponse>(store, m::KV_GET, &request).region_error.map(|error| *error)
    }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn put(key: &str, value: &str) -> Mutation {
    Mutation { op: Op::Put.into(), key: bytes(key), value: bytes(value), ..Default::default() }
}

/// The header of a request to PD.
pub(crate) fn header() -> Option<pdpb::RequestHeader> {
    Some(pdpb::RequestHeader { cluster_id: CLUSTER, ..Default::default() })
}

/// The message of the error in a header of PD; empty: none.
pub(crate) fn said(header: Option<pdpb::ResponseHeader>) -> String {
    header.and_then(|header| header.error).map(|error| error.message).unwrap_or_default()
}
