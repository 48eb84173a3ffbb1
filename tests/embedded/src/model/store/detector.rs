//! Who waits for whom, and whether a new wait would close a circle.
//!
//! Spec: `cluster.md` 7.4. TiKV: `server/lock_manager/deadlock.rs: DetectTable`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tikv_proto::deadlock::WaitForEntry;

use crate::model::Now;

/// How long a wait is remembered whose end nobody told.
const KEPT: Duration = super::waits::LONGEST_WAIT;

/// A wait of one transaction for another one on one key.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub(super) waiter: u64,
    pub(super) holder: u64,
    pub(super) key_hash: u64,
    pub(super) key: Bytes,
    /// From the waiting request's context.
    pub(super) tag: Bytes,
}

impl Wait {
    pub(super) fn entry(&self) -> WaitForEntry {
        WaitForEntry {
            txn: self.waiter,
            wait_for_txn: self.holder,
            key_hash: self.key_hash,
            key: self.key.clone(),
            resource_group_tag: self.tag.clone(),
            ..Default::default()
        }
    }
}

/// A circle of transactions that wait for each other.
#[derive(Clone, Debug)]
pub(super) struct Circle {
    /// Of the key for which somebody waits for the transaction that closes the circle.
    pub(super) key_hash: u64,
    /// From the holder on; the wait that closes the circle is the last.
    pub(super) chain: Vec<WaitForEntry>,
}

/// All that one transaction waits for another one.
#[derive(Clone, Debug)]
struct Edge {
    /// The keys, with their hashes, in the order in which the waits began; never empty.
    keys: Vec<(u64, Bytes)>,
    tag: Bytes,
    seen: Now,
}

/// The waits of a cluster.
#[derive(Debug, Default)]
pub(super) struct Detector {
    /// By waiter, then by holder.
    edges: BTreeMap<u64, BTreeMap<u64, Edge>>,
}

impl Detector {
    /// Notes a wait, or tells the circle that it would close; then it is not noted.
    pub(super) fn detect(&mut self, now: Now, wait: &Wait) -> Option<Circle> {
        if let Some(edge) = self.edges.get_mut(&wait.waiter).and_then(|of| of.get_mut(&wait.holder)) {
            if !edge.keys.iter().any(|(hash, _)| *hash == wait.key_hash) {
                edge.keys.push((wait.key_hash, wait.key.clone()));
            }
            edge.seen = now;
            edge.tag = wait.tag.clone();
            return None;
        }
        if let Some((key_hash, mut chain)) = self.path(now, wait.holder, wait.waiter) {
            chain.push(wait.entry());
            return Some(Circle { key_hash, chain });
        }
        let edge = Edge { keys: vec![(wait.key_hash, wait.key.clone())], tag: wait.tag.clone(), seen: now };
        self.edges.entry(wait.waiter).or_default().insert(wait.holder, edge);
        None
    }

    /// Forgets the wait of `waiter` for `holder` on the key with this hash.
    pub(super) fn forget(&mut self, waiter: u64, holder: u64, key_hash: u64) {
        let Some(of) = self.edges.get_mut(&waiter) else { return };
        if let Some(edge) = of.get_mut(&holder) {
            edge.keys.retain(|(hash, _)| *hash != key_hash);
            if edge.keys.is_empty() {
                of.remove(&holder);
            }
        }
        if of.is_empty() {
            self.edges.remove(&waiter);
        }
    }

    /// The waits that lead from `from` to `to`, and the hash of the last one's key.
    fn path(&mut self, now: Now, from: u64, to: u64) -> Option<(u64, Vec<WaitForEntry>)> {
        let mut open = vec![from];
        // By transaction: who waits for it on the way.
        let mut reached = BTreeMap::from([(from, None)]);
        while let Some(at) = open.pop() {
            let Some(of) = self.edges.get_mut(&at) else { continue };
            of.retain(|_, edge| now.since(edge.seen) < KEPT);
            for (&holder, edge) in of.iter() {
                if holder == to {
                    let hash = edge.keys.first().map_or(0, |(hash, _)| *hash);
                    let mut chain = vec![entry(at, holder, edge)];
                    let mut end = at;
                    while let Some(Some(before)) = reached.get(&end).copied() {
                        let edge = self.edges.get(&before).and_then(|of| of.get(&end));
                        chain.extend(edge.map(|edge| entry(before, end, edge)));
                        end = before;
                    }
                    chain.reverse();
                    return Some((hash, chain));
                }
                if let std::collections::btree_map::Entry::Vacant(new) = reached.entry(holder) {
                    new.insert(Some(at));
                    open.push(holder);
                }
            }
        }
        None
    }
}

fn entry(waiter: u64, holder: u64, edge: &Edge) -> WaitForEntry {
    let (key_hash, key) = edge.keys.first().cloned().unwrap_or_default();
    Wait { waiter, holder, key_hash, key, tag: edge.tag.clone() }.entry()
}
