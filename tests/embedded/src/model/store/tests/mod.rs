//! Tests of the commands through the door, as a client would send them.
//!
//! [`Bench`] is a cluster of one store with a client that knows its regions; each file holds the laws of one subject.

mod admission;
mod api;
mod commit;
mod conditions;
mod gc;
mod hostile;
mod pessimistic;
mod pipelined;
mod prewrite;
mod random;
mod raw;
mod reads;
mod resolve;
mod status;
mod waits;

use bytes::Bytes;
use tikv_proto::kvrpcpb::*;
use tikv_proto::metapb;
use tikv_proto::tikvpb::{batch_commands_request::request, batch_commands_response::response};

use super::{Engine, Outcome, Unary, UnaryAnswer};
use crate::model::{Now, Topology, key};

/// The time to live of locks here, in milliseconds.
pub(super) const TTL_MS: u64 = 3000;
/// Logical ticks of one millisecond in a timestamp.
pub(super) const MS: u64 = 1 << 18;

/// An engine, and who it is to serve.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) topology: Topology,
    pub(super) now: Now,
}

/// Sends a command of a batch and takes its answer out.
macro_rules! ask {
    ($bench:expr, $command:ident, $request:expr) => {{
        let request = $request;
        match $bench.send(request::Cmd::$command(request)) {
            response::Cmd::$command(answer) => answer,
            other => panic!("answer to another command: {other:?}"),
        }
    }};
}

impl Bench {
    pub(super) fn new() -> Self {
        let topology = Topology::new(&["store:1".to_owned()], 1);
        let now = Now::from_unix(std::time::Duration::from_secs(1_000_000));
        Self { engine: Engine::new(), topology, now }
    }

    /// The context that a client with fresh knowledge would send for the region that holds `key`, in region form.
    pub(super) fn context_at(&self, key: &[u8]) -> Context {
        let region = self.topology.region_at(key).unwrap();
        let leader = region.leader_peer().unwrap();
        Context {
            region_id: region.id,
            region_epoch: Some(metapb::RegionEpoch { conf_ver: region.conf_ver, version: region.version }),
            peer: Some(metapb::Peer { id: leader.id, store_id: leader.store, ..Default::default() }),
            ..Default::default()
        }
    }

    /// The context for a transactional key.
    pub(super) fn context(&self, user: &[u8]) -> Option<Context> {
        Some(self.context_at(&key::encode(user)))
    }

    pub(super) fn send(&mut self, command: request::Cmd) -> response::Cmd {
        let store = self.topology.stores().next().unwrap().id;
        match self.engine.handle(&self.topology, store, self.now, command) {
            Outcome::Ready(answer) => answer,
            Outcome::Unimplemented => panic!("not served"),
            Outcome::Waits(id) => panic!("waits as {id:?}"),
        }
    }

    pub(super) fn send_unary(&mut self, command: Unary) -> UnaryAnswer {
        let store = self.topology.stores().next().unwrap().id;
        self.engine.handle_unary(&self.topology, store, self.now, command)
    }

    /// A prewrite of `mutations`, the first being the primary.
    pub(super) fn prewrite_request(&self, start_ts: u64, mutations: &[Mutation]) -> PrewriteRequest {
        let primary = mutations[0].key.clone();
        PrewriteRequest {
            context: self.context(&primary),
            mutations: mutations.to_vec(),
            primary_lock: primary,
            start_version: start_ts,
            lock_ttl: TTL_MS,
            ..Default::default()
        }
    }

    pub(super) fn prewrite(&mut self, start_ts: u64, mutations: &[Mutation]) -> PrewriteResponse {
        let request = self.prewrite_request(start_ts, mutations);
        ask!(self, Prewrite, request)
    }

    /// Prewrites what must succeed.
    pub(super) fn lock(&mut self, start_ts: u64, mutations: &[Mutation]) {
        assert_eq!(self.prewrite(start_ts, mutations), PrewriteResponse::default());
    }

    pub(super) fn commit(&mut self, keys: &[&str], start_ts: u64, commit_ts: u64) -> CommitResponse {
        let request = CommitRequest {
            context: self.context(keys[0].as_bytes()),
            keys: keys.iter().map(|key| owned(key)).collect(),
            start_version: start_ts,
            commit_version: commit_ts,
            ..Default::default()
        };
        ask!(self, Commit, request)
    }

    /// Writes and commits what must succeed.
    pub(super) fn write(&mut self, start_ts: u64, commit_ts: u64, mutations: &[Mutation]) {
        self.lock(start_ts, mutations);
        let keys: Vec<_> =
            mutations.iter().map(|mutation| String::from_utf8(mutation.key.to_vec()).unwrap()).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        assert_eq!(self.commit(&keys, start_ts, commit_ts).commit_version, commit_ts);
    }

    pub(super) fn roll_back(&mut self, keys: &[&str], start_ts: u64) -> BatchRollbackResponse {
        let request = BatchRollbackRequest {
            context: self.context(keys[0].as_bytes()),
            keys: keys.iter().map(|key| owned(key)).collect(),
            start_version: start_ts,
            ..Default::default()
        };
        ask!(self, BatchRollback, request)
    }

    pub(super) fn get(&mut self, key: &str, version: u64) -> GetResponse {
        let context = self.context(key.as_bytes());
        let request = GetRequest { context, key: owned(key), version, ..Default::default() };
        ask!(self, Get, request)
    }

    /// The value of `key` for a reader who meets no lock.
    pub(super) fn value(&mut self, key: &str, version: u64) -> Option<Bytes> {
        let answer = self.get(key, version);
        assert_eq!((&answer.error, &answer.region_error), (&None, &None));
        (!answer.not_found).then_some(answer.value)
    }

    /// All that is stored of `key`, in short: the lock, then the versions from the newest on.
    pub(super) fn stored(&mut self, key: &str) -> String {
        let context = self.context(key.as_bytes());
        let request = MvccGetByKeyRequest { context, key: owned(key) };
        let UnaryAnswer::MvccGetByKey(answer) = self.send_unary(Unary::MvccGetByKey(request)) else {
            panic!("answer to another command");
        };
        let info = answer.info.unwrap();
        let lock = info.lock.iter().map(|lock| format!("lock {:?}@{}", lock.r#type(), lock.start_ts));
        let writes = info.writes.iter().map(|write| {
            let mark = if write.has_overlapped_rollback { "+rollback" } else { "" };
            let fence = if write.has_gc_fence { format!("|{}", write.gc_fence) } else { String::new() };
            let protected = if write.short_value == "p" { "(p)" } else { "" };
            format!("{:?}{protected}@{}-{}{mark}{fence}", write.r#type(), write.start_ts, write.commit_ts)
        });
        lock.chain(writes).collect::<Vec<_>>().join(", ")
    }
}

pub(super) fn owned(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(super) fn put(key: &str, value: &str) -> Mutation {
    Mutation { op: Op::Put.into(), key: owned(key), value: owned(value), ..Default::default() }
}

/// A mutation without value.
pub(super) fn op(op: Op, key: &str) -> Mutation {
    Mutation { op: op.into(), key: owned(key), ..Default::default() }
}

/// Which field of a `KeyError` is set, for tables.
pub(super) fn kind(error: &KeyError) -> String {
    let named = [
        (error.locked.is_some(), "locked"),
        (error.conflict.is_some(), "conflict"),
        (error.already_exist.is_some(), "already_exist"),
        (error.commit_ts_expired.is_some(), "commit_ts_expired"),
        (error.txn_not_found.is_some(), "txn_not_found"),
        (error.txn_lock_not_found.is_some(), "txn_lock_not_found"),
        (error.assertion_failed.is_some(), "assertion_failed"),
        (error.primary_mismatch.is_some(), "primary_mismatch"),
    ];
    let mut kinds: Vec<_> =
        named.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned()).collect();
    if !error.abort.is_empty() {
        kinds.push(error.abort.clone());
    }
    kinds.join("+")
}

pub(super) use ask;
