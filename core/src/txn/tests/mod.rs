//! Transactions at the boundary of their machines.

mod background;
mod commit;
mod ends;
mod laws;
mod mutation;
mod prewrite;

use super::Transaction;
use super::commit::{CommitMachine, CommitPlan};
use super::mutation::{Mutation, Op};
use crate::client::Client;
use crate::error::Error;
use crate::lock::tests::world::{Regions, expect, give_ts, ts};
use crate::machine::script::Script;
use crate::machine::{Attempt, TicketId};
use crate::types::{Instant, Key, Timestamp};
use tikv_proto::kvrpcpb as pb;

/// The transaction of these tests began at 100 ms, and commits at 200.
const START: Timestamp = ts(100);
const COMMIT: Timestamp = ts(200);

fn put(key: &str) -> Mutation {
    Mutation { key: key.into(), op: Op::Put("v".into()) }
}

fn check(key: &str) -> Mutation {
    Mutation { key: key.into(), op: Op::CheckNotExists }
}

fn plan(mutations: Vec<Mutation>) -> CommitPlan {
    CommitPlan { start_ts: START, begun: Instant(0), mutations, limit: 8, redacted: false }
}

/// A commit of puts under these keys.
fn commit(of: &[&str], regions: &Regions) -> Script<CommitMachine> {
    let mutations = of.iter().map(|key| put(key)).collect();
    Script::given(CommitMachine::new(plan(mutations)), regions.clone())
}

/// The next effect is a prewrite of these keys.
#[track_caller]
fn prewrite(s: &mut Script<CommitMachine>, of: &[&str]) -> (TicketId, pb::PrewriteRequest, Attempt) {
    let (call, request, attempt) = expect::<pb::PrewriteRequest>(s);
    let seen: Vec<_> = request.mutations.iter().map(|mutation| mutation.key.clone()).collect();
    assert_eq!(seen, of);
    (call, request, attempt)
}

#[track_caller]
fn prewritten(s: &mut Script<CommitMachine>, of: &[&str]) {
    let (call, ..) = prewrite(s, of);
    s.reply(call, &pb::PrewriteResponse::default());
}

/// The next effect is the commit of the primary, with these keys.
#[track_caller]
fn decision(s: &mut Script<CommitMachine>, at: Timestamp, of: &[&str]) -> TicketId {
    let (call, request, _) = expect::<pb::CommitRequest>(s);
    let wanted = pb::CommitRequest {
        start_version: START.0,
        commit_version: at.0,
        keys: of.iter().map(|&key| key.to_owned().into()).collect(),
        primary_key: of[0].to_owned().into(),
        commit_role: pb::CommitRole::Primary.into(),
        ..Default::default()
    };
    assert_eq!(request, wanted);
    call
}

/// A commit of "a" and "z", in two regions, whose decision is out.
fn deciding(regions: &Regions) -> (Script<CommitMachine>, TicketId) {
    let mut s = commit(&["a", "z"], regions);
    let (low, ..) = prewrite(&mut s, &["a"]);
    let (high, ..) = prewrite(&mut s, &["z"]);
    s.reply(high, &pb::PrewriteResponse::default());
    s.reply(low, &pb::PrewriteResponse::default());
    give_ts(&mut s, COMMIT);
    let call = decision(&mut s, COMMIT, &["a"]);
    (s, call)
}

fn two_regions() -> Regions {
    Regions::cut(["m"])
}

fn refusal(error: pb::KeyError) -> pb::CommitResponse {
    pb::CommitResponse { error: Some(Box::new(error)), ..Default::default() }
}

fn lock_not_found() -> pb::CommitResponse {
    let gone = pb::TxnLockNotFound { key: "a".into() };
    refusal(pb::KeyError { txn_lock_not_found: Some(gone), retryable: "gone".into(), ..Default::default() })
}

fn expired(key: &str, min_commit_ts: Timestamp) -> pb::CommitResponse {
    let expired = pb::CommitTsExpired {
        start_ts: START.0,
        attempted_commit_ts: COMMIT.0,
        key: key.to_owned().into(),
        min_commit_ts: min_commit_ts.0,
    };
    refusal(pb::KeyError { commit_ts_expired: Some(expired), ..Default::default() })
}

fn keys(of: &[&str]) -> Vec<Key> {
    crate::lock::tests::world::keys(of)
}

fn is_send(_: impl Send) {}

/// Compiled, never run: what applications await can be moved between the threads of a runtime.
const _: fn(&Client, Transaction) = |client, mut txn| {
    is_send(client.begin());
    is_send(txn.get("k").into_future());
    is_send(txn.scan("a".."b").cursor().next_batch());
    is_send(txn.commit().into_future());
    let name = String::from("n");
    is_send(client.transact(async move |txn: &mut Transaction| -> Result<(), Error> {
        let value = txn.get(name.as_str()).await?;
        txn.put("k", value.unwrap_or_default())?;
        Ok(())
    }));
};
