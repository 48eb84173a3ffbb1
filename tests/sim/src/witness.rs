//! What is seen at the doors of the cluster: whose primary is which key, which commits were sent and answered, which raw writes
//! ran; and the invariants that can be checked there, command by command.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tikv_embedded::model::{Call, Cluster, Command};
use tikv_proto::kvrpcpb as pb;
use tikv_proto::tikvpb::batch_commands_request::request::Cmd;

use crate::violation::{Invariant, Violation};

/// An answer that takes longer may find nobody who waits for it, in nanoseconds.
const LATE: u64 = 1_000_000_000;

/// A commit that was sent.
#[derive(Debug)]
struct Sent {
    at: u64,
    /// An answer that decides came in time.
    answered: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    primaries: BTreeMap<u64, Bytes>,
    /// Transactions whose locks decide together.
    together: BTreeSet<u64>,
    commits: BTreeMap<u64, Vec<Sent>>,
    /// Commits by pipe and id: the transaction, and which of its commits.
    open: BTreeMap<(u64, u64), (u64, usize)>,
    /// How often a raw value was written, or a raw key deleted.
    raw: BTreeMap<(Bytes, Option<Bytes>), u64>,
}

impl Witness {
    /// A client sent `command` as number `id` of `pipe`.
    pub(crate) fn sent(&mut self, now: u64, pipe: u64, id: u64, command: &Command) {
        if let Command::Batched(Cmd::Commit(commit)) = command
            && self.is_primary(commit)
        {
            let all = self.commits.entry(commit.start_version).or_default();
            self.open.insert((pipe, id), (commit.start_version, all.len()));
            all.push(Sent { at: now, answered: false });
        }
    }

    /// Number `id` of `pipe` was answered; a region error decides nothing.
    pub(crate) fn answered(&mut self, now: u64, pipe: u64, id: u64, refused: bool) {
        if let Some((start_ts, at)) = self.open.remove(&(pipe, id))
            && let Some(sent) = self.commits.get_mut(&start_ts).and_then(|all| all.get_mut(at))
        {
            sent.answered = !refused && now - sent.at < LATE;
        }
    }

    fn is_primary(&self, commit: &pb::CommitRequest) -> bool {
        let primary = self.primaries.get(&commit.start_version);
        primary.is_some_and(|primary| commit.keys.contains(primary))
    }

    /// Whether the client can be without knowledge of a commit: one that it sent has no answer that decides.
    pub(crate) fn explains_undetermined(&self, start_ts: u64) -> bool {
        self.commits.get(&start_ts).is_some_and(|all| all.iter().any(|sent| !sent.answered))
    }

    /// A client was told that the transaction is committed: from then on its primary is.
    pub(crate) fn told(&self, cluster: &Cluster, start_ts: u64, commit_ts: u64) -> Result<(), Violation> {
        let Some(primary) = self.primaries.get(&start_ts).filter(|_| !self.together.contains(&start_ts))
        else {
            return Ok(());
        };
        let is = cluster.engine().commit_ts(primary, start_ts);
        // At its start means that it only looked: nothing was to be written.
        if is == Some(commit_ts).filter(|_| commit_ts != start_ts) {
            return Ok(());
        }
        let shown = primary.escape_ascii();
        let story = format!(
            "transaction {start_ts} is said to be committed at {commit_ts}, its primary {shown} is at {is:?}"
        );
        Err(Violation::new(Invariant::LostCommit, story))
    }

    /// How often `value` was written at a raw key, or (`None`) the key deleted.
    pub(crate) fn raw_writes(&self, key: &[u8], value: Option<&Bytes>) -> u64 {
        self.raw.get(&(Bytes::copy_from_slice(key), value.cloned())).copied().unwrap_or(0)
    }

    /// A server is about to execute `call`.
    pub(crate) fn before(&mut self, cluster: &Cluster, call: &Call) -> Result<(), Violation> {
        let Call::Store { command, .. } = call else { return Ok(()) };
        let Command::Batched(command) = &**command else { return Ok(()) };
        match command {
            Cmd::Prewrite(prewrite) => {
                self.primaries.insert(prewrite.start_version, prewrite.primary_lock.clone());
                if prewrite.use_async_commit || prewrite.try_one_pc {
                    self.together.insert(prewrite.start_version);
                }
            }
            Cmd::Commit(commit) if !self.is_primary(commit) => {
                self.decided(cluster, commit.start_version, Some(commit.commit_version))?;
            }
            Cmd::ResolveLock(resolve) => {
                let own =
                    (resolve.start_version != 0).then_some((resolve.start_version, resolve.commit_version));
                let others = resolve.txn_infos.iter().map(|txn| (txn.txn, txn.status));
                for (start_ts, commit_ts) in own.into_iter().chain(others) {
                    self.decided(cluster, start_ts, (commit_ts != 0).then_some(commit_ts))?;
                }
            }
            Cmd::RawPut(put) => self.wrote(&put.key, Some(&put.value)),
            Cmd::RawBatchPut(put) => {
                put.pairs.iter().for_each(|pair| self.wrote(&pair.key, Some(&pair.value)));
            }
            Cmd::RawDelete(delete) => self.wrote(&delete.key, None),
            Cmd::RawBatchDelete(delete) => delete.keys.iter().for_each(|key| self.wrote(key, None)),
            _ => {}
        }
        Ok(())
    }

    fn wrote(&mut self, key: &Bytes, value: Option<&Bytes>) {
        *self.raw.entry((key.clone(), value.cloned())).or_default() += 1;
    }

    /// Locks other than the primary may end only as the primary has: committed at `commit_ts`, or not and never.
    fn decided(&self, cluster: &Cluster, start_ts: u64, commit_ts: Option<u64>) -> Result<(), Violation> {
        let Some(primary) = self.primaries.get(&start_ts).filter(|_| !self.together.contains(&start_ts))
        else {
            return Ok(());
        };
        let shown = primary.escape_ascii();
        let is = cluster.engine().commit_ts(primary, start_ts);
        if let Some(commit_ts) = commit_ts {
            let story = || {
                format!(
                    "transaction {start_ts} is committed at {commit_ts} beside its primary {shown}, which is at {is:?}"
                )
            };
            return if is == Some(commit_ts) {
                Ok(())
            } else {
                Err(Violation::new(Invariant::PrimaryFirst, story()))
            };
        }
        if is.is_some() {
            let story = format!("locks of {start_ts} are rolled back, whose primary {shown} is at {is:?}");
            return Err(Violation::new(Invariant::LivingLock, story));
        }
        match cluster.engine().lock_row(primary) {
            Some(lock) if lock.start_ts == start_ts => {
                let story =
                    format!("locks of {start_ts} are rolled back, whose primary {shown} has its lock");
                Err(Violation::new(Invariant::LivingLock, story))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
