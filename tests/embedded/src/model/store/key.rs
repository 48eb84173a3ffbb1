//! Keys of transactional data, in the form in which the engine orders them.
//!
//! Region bounds of transactional data have this form, too; raw keys stand as they are.

use std::borrow::Borrow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::key;

/// A user key in memory-comparable form (see [`crate::model::key`]).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EncodedKey(Bytes);

impl EncodedKey {
    /// The encoded form of a user key.
    pub(super) fn of(user: &[u8]) -> Self {
        Self(key::encode(user))
    }

    /// Bytes that have the form already, such as a region bound.
    pub(super) fn from_encoded(encoded: Bytes) -> Self {
        Self(encoded)
    }

    /// The user key; empty if these bytes, which may be any when they come from a region bound, have none.
    pub(super) fn user(&self) -> Bytes {
        key::decode(&self.0).unwrap_or_default().into()
    }

    pub(super) fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The hash by which clients know a key that is part of a deadlock.
    // TiKV: txn_types/src/types.rs: Key::gen_hash
    pub(super) fn hash(&self) -> u64 {
        farmhash::fingerprint64(&self.0)
    }

    /// The first bytes behind this key.
    pub(super) fn successor(&self) -> Bytes {
        let mut next = BytesMut::with_capacity(self.0.len() + 1);
        next.put_slice(&self.0);
        next.put_u8(0);
        next.freeze()
    }

    /// The key of a version's row: the key, then the timestamp so that newer versions sort first.
    pub(super) fn at(&self, ts: u64) -> Bytes {
        let mut row = BytesMut::with_capacity(self.0.len() + size_of::<u64>());
        row.put_slice(&self.0);
        row.put_u64(!ts);
        row.freeze()
    }
}

/// The bound of a range of user keys in encoded form; an empty bound is open and stays so.
pub(super) fn encoded_bound(user: &[u8]) -> Bytes {
    if user.is_empty() { Bytes::new() } else { key::encode(user) }
}

impl Borrow<[u8]> for EncodedKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EncodedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_sort_first_and_stay_behind_their_key() {
        let (a, b) = (EncodedKey::of(b"a"), EncodedKey::of(b"b"));
        assert!(a.at(9) < a.at(8));
        assert!(a.at(0) < b.at(u64::MAX));
        assert!(*a.as_bytes() < a.at(u64::MAX));
    }

    #[test]
    fn an_open_bound_stays_open() {
        assert_eq!(encoded_bound(b""), "");
        assert_eq!(encoded_bound(b"k"), EncodedKey::of(b"k").0);
    }
}
