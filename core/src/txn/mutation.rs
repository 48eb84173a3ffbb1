//! What the entries of a buffer become in a prewrite.
//!
//! | entry | mutation | leaves a lock |
//! |---|---|---|
//! | put | `Put` | yes |
//! | put, must be new | `Insert` | yes |
//! | delete | `Del` | yes |
//! | delete of a key that must be new | `CheckNotExists`: there is nothing to delete, but the promise is kept | no |
//!
//! client-go: `txnkv/transaction/2pc.go: initKeysAndMutations`.

use bytes::Bytes;
use tikv_proto::kvrpcpb as pb;

use crate::codec::{KeyspaceError, Placed, Prefix};
use crate::membuf::{Change, Entry};
use crate::region_call::Keyed;
use crate::types::{Key, Value};

/// What is done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// Gives it a value.
    Put(Value),
    /// Gives it a value; it must have none.
    Insert(Value),
    /// Takes its value away.
    Delete,
    /// Nothing; it must have no value.
    CheckNotExists,
}

/// One key of a prewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a mutation is a key and what is done to it")]
pub struct Mutation {
    /// The key.
    pub key: Key,
    /// What is done to it.
    pub op: Op,
}

impl Placed for Mutation {
    fn enter(&mut self, keyspace: Prefix) {
        self.key.enter(keyspace);
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        self.key.leave(keyspace)
    }
}

impl Mutation {
    /// What an entry of the buffer becomes.
    #[must_use]
    pub fn new(key: Key, entry: Entry) -> Self {
        let op = match (entry.change, entry.must_be_new) {
            (Change::Put(value), false) => Op::Put(value),
            (Change::Put(value), true) => Op::Insert(value),
            (Change::Delete, false) => Op::Delete,
            (Change::Delete, true) => Op::CheckNotExists,
        };
        Self { key, op }
    }

    /// Bytes of its key and value.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.len()
            + match &self.op {
                Op::Put(value) | Op::Insert(value) => value.len(),
                Op::Delete | Op::CheckNotExists => 0,
            }
    }

    /// Whether its prewrite leaves a lock, which the commit then replaces.
    #[must_use]
    pub fn locks(&self) -> bool {
        !matches!(self.op, Op::CheckNotExists)
    }

    fn value(&self) -> Bytes {
        match &self.op {
            Op::Put(value) | Op::Insert(value) => value.clone(),
            Op::Delete | Op::CheckNotExists => Bytes::new(),
        }
    }

    /// As it travels.
    pub(crate) fn message(&self) -> pb::Mutation {
        let op = match self.op {
            Op::Put(_) => pb::Op::Put,
            Op::Insert(_) => pb::Op::Insert,
            Op::Delete => pb::Op::Del,
            Op::CheckNotExists => pb::Op::CheckNotExists,
        };
        pb::Mutation { op: op.into(), key: self.key.0.clone(), value: self.value(), ..Default::default() }
    }
}

impl Keyed for Mutation {
    fn key(&self) -> &Key {
        &self.key
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.value().len()
    }
}

/// Shortest life of a lock, in ms. client-go: `txnkv/transaction/2pc.go: defaultLockTTL`.
const TTL_LEAST_MS: u64 = 3000;

/// Longest life that a size gives, in ms. client-go: `txnkv/transaction/2pc.go: ManagedLockTTL`.
const TTL_MOST_MS: u64 = 20_000;

/// Life of the locks of a transaction of 1 MiB, in ms; it grows with the square root. client-go: `2pc.go: ttlFactor`.
const TTL_OF_MIB_MS: f64 = 6000.0;

/// How long the locks of a transaction of `size` bytes live that began `elapsed_ms` ago, in ms from its begin.
///
/// client-go: `txnkv/transaction/2pc.go: txnLockTTL`.
#[must_use]
pub fn lock_ttl_ms(size: usize, elapsed_ms: u64) -> u64 {
    const MIB: f64 = (1 << 20) as f64;
    // A size of 2^53 bytes or more is not held in memory, and the result is clamped.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "see above"
    )]
    let by_size = (TTL_OF_MIB_MS * (size as f64 / MIB).sqrt()) as u64;
    by_size.clamp(TTL_LEAST_MS, TTL_MOST_MS).saturating_add(elapsed_ms)
}
