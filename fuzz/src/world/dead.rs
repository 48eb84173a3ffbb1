//! Clients that leave locks behind: each does a few steps of a transaction's way by itself, and may come back or not.

use prost::Message;
use tikv_client_core::types::{Key, Timestamp};
use tikv_embedded::model::Command;
use tikv_proto::kvrpcpb as pb;
use tikv_proto::tikvpb::batch_commands_request::request::Cmd;

use super::cluster::World;
use crate::choices::Choices;

/// A transaction of somebody else.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) start_ts: Timestamp,
    /// The first is the primary.
    pub(crate) keys: Vec<Key>,
    pub(crate) is_async: bool,
    ttl_ms: u64,
    /// Keys that are not prewritten yet: they are in any order, as requests to several regions are.
    left: Vec<Key>,
    /// The least that it may be committed at.
    least: u64,
    /// A prewrite was refused, or it gave up: it goes no further.
    failed: bool,
    /// It committed its primary, or all its keys are prewritten and it commits by that.
    pub(crate) committed: Option<Timestamp>,
}

impl Dead {
    pub(crate) fn begin(keys: Vec<Key>, world: &mut World, choices: &mut Choices<'_>) -> Self {
        Self {
            start_ts: world.timestamp(),
            left: keys.clone(),
            keys,
            is_async: choices.one_in(2),
            ttl_ms: u64::from(choices.any::<u8>()) * 40,
            least: 0,
            failed: false,
            committed: None,
        }
    }

    pub(crate) fn primary(&self) -> &Key {
        &self.keys[0]
    }

    /// One more step, if there is one.
    pub(crate) fn step(&mut self, world: &mut World, choices: &mut Choices<'_>) {
        match choices.below(8) {
            0 => self.roll_back(world),
            _ if self.failed => {}
            _ if !self.left.is_empty() => self.prewrite(world, choices),
            _ => self.commit(world, choices),
        }
    }

    fn prewrite(&mut self, world: &mut World, choices: &mut Choices<'_>) {
        let at = choices.below(self.left.len());
        let key = self.left[at].clone();
        let is_primary = key == *self.primary();
        let secondaries = self.keys.iter().skip(1).map(|key| key.0.clone());
        let (store, context) = world.context(&key);
        let ask = pb::PrewriteRequest {
            context: Some(context),
            mutations: vec![pb::Mutation {
                op: pb::Op::Put.into(),
                key: key.0,
                value: "dead".into(),
                ..Default::default()
            }],
            primary_lock: self.primary().0.clone(),
            start_version: self.start_ts.0,
            lock_ttl: self.ttl_ms,
            txn_size: self.keys.len() as u64,
            min_commit_ts: self.start_ts.0 + 1,
            use_async_commit: self.is_async,
            secondaries: if is_primary && self.is_async { secondaries.collect() } else { Vec::new() },
            ..Default::default()
        };
        let Ok(body) = world.run(store, Command::Batched(Cmd::Prewrite(ask))) else { return };
        let answer = pb::PrewriteResponse::decode(body).expect("our own answer");
        if answer.region_error.is_some() {
            return;
        }
        if !answer.errors.is_empty() {
            self.failed = true;
            return;
        }
        self.left.remove(at);
        // One that fell back to two phases.
        self.is_async &= answer.min_commit_ts > 0;
        self.least = self.least.max(answer.min_commit_ts);
        if self.is_async && self.left.is_empty() {
            self.committed = Some(Timestamp(self.least));
        }
    }

    /// Commits the primary, or when that is done some other key.
    fn commit(&mut self, world: &mut World, choices: &mut Choices<'_>) {
        let (key, commit_ts) = match self.committed {
            Some(ts) => (choices.of(&self.keys).clone(), ts),
            None => (self.primary().clone(), world.timestamp()),
        };
        let (store, context) = world.context(&key);
        let ask = pb::CommitRequest {
            context: Some(context),
            start_version: self.start_ts.0,
            keys: vec![key.0],
            commit_version: commit_ts.0,
            ..Default::default()
        };
        let Ok(body) = world.run(store, Command::Batched(Cmd::Commit(ask))) else { return };
        let answer = pb::CommitResponse::decode(body).expect("our own answer");
        if answer.region_error.is_none() && answer.error.is_none() && self.committed.is_none() {
            self.committed = Some(commit_ts);
        }
    }

    /// Gives up, unless it is committed: the primary first, if that.
    fn roll_back(&mut self, world: &mut World) {
        if self.committed.is_some() {
            return;
        }
        self.failed = true;
        let key = self.primary().clone();
        let (store, context) = world.context(&key);
        let ask = pb::BatchRollbackRequest {
            context: Some(context),
            start_version: self.start_ts.0,
            keys: vec![key.0],
            ..Default::default()
        };
        drop(world.run(store, Command::Batched(Cmd::BatchRollback(ask))));
    }
}
