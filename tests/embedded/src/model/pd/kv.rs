//! The keys that PD keeps in etcd: versions of each key, one revision a change, leases, compaction.
//!
//! Leases are in `lease`. Everything of PD that clients can watch or read as a key lies here: meta storage, global configuration, keyspaces,
//! resource groups, transaction safe points. A watch is a cursor over the log of changes ([`super::watch`]), so that
//! nothing has to be told to anybody when a key changes.
//!
//! etcd: `server/storage/mvcc/kvstore.go`, `kvstore_compaction.go`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use super::lease::Lease;

/// A store that has seen so many changes forgets the older half of them.
const MOST_CHANGES: usize = 100_000;

/// Bounds of keys, for a map.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Which keys are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// One key.
    One(Bytes),
    /// This key and all behind it.
    From(Bytes),
    /// From the first key to below the second.
    Between(Bytes, Bytes),
}

impl Span {
    /// As etcd's requests have it: no end is one key, an end of one zero byte is the end of all keys.
    pub(super) fn new(key: Bytes, end: Bytes) -> Self {
        match end.as_ref() {
            b"" => Self::One(key),
            b"\0" => Self::From(key),
            _ => Self::Between(key, end),
        }
    }

    /// All keys that begin with `prefix`.
    pub(super) fn prefix(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        while let Some(last) = end.last_mut() {
            if *last < u8::MAX {
                *last += 1;
                return Self::Between(Bytes::copy_from_slice(prefix.as_bytes()), end.into());
            }
            end.pop();
        }
        Self::From(Bytes::copy_from_slice(prefix.as_bytes()))
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => key == one.as_ref(),
            Self::From(start) => key >= start.as_ref(),
            Self::Between(start, end) => key >= start.as_ref() && key < end.as_ref(),
        }
    }

    /// The bounds for a map; `None` for an empty range, which a map would panic on.
    fn bounds(&self) -> Option<Bounds<'_>> {
        match self {
            Self::One(one) => Some((Bound::Included(one), Bound::Included(one))),
            Self::From(start) => Some((Bound::Included(start), Bound::Unbounded)),
            Self::Between(start, end) if start >= end => None,
            Self::Between(start, end) => Some((Bound::Included(start), Bound::Excluded(end))),
        }
    }
}

/// A key as it was at a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyValue {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    /// The revision that created the key.
    pub(super) created: i64,
    /// The revision that wrote this value.
    pub(super) modified: i64,
    /// How often the key has been written since it was created.
    pub(super) version: i64,
    /// What the key lives as long as; 0: for ever.
    pub(super) lease: i64,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// What was written; without value, creation and version when the key was deleted.
    pub(super) now: KeyValue,
    pub(super) deleted: bool,
    /// What was there before, unless that has been compacted away.
    pub(super) before: Option<KeyValue>,
}

/// What a read finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kvs: Vec<KeyValue>,
    /// Whether the limit cut more off.
    pub(super) more: bool,
    /// How many there are without the limit.
    pub(super) count: i64,
}

/// Why the keys cannot be read or written so. The texts are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KvError {
    #[error("etcdserver: key is not provided")]
    NoKey,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    Future,
    #[error("etcdserver: requested lease not found")]
    NoLease,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
}

#[derive(Clone, Debug)]
struct Version {
    modified: i64,
    created: i64,
    version: i64,
    lease: i64,
    /// `None`: deleted.
    value: Option<Bytes>,
}

/// The keys with their past.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    revision: i64,
    compacted: i64,
    /// Versions of each key, oldest first; never empty.
    versions: BTreeMap<Bytes, Vec<Version>>,
    /// What was changed, by revision.
    log: VecDeque<(i64, Bytes)>,
    pub(super) leases: BTreeMap<i64, Lease>,
}

impl Default for Keys {
    fn default() -> Self {
        // etcd's first revision is 1, before anything was written.
        Self {
            revision: 1,
            compacted: 0,
            versions: BTreeMap::new(),
            log: VecDeque::new(),
            leases: BTreeMap::new(),
        }
    }
}

impl Keys {
    /// The revision of the last change.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Revisions below this one are forgotten; 0: none is.
    pub(super) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The value of `key` now.
    pub(super) fn value(&self, key: &[u8]) -> Option<Bytes> {
        self.versions.get(key)?.last()?.value.clone()
    }

    /// Reads keys as they were at `revision`; 0 or less: as they are. A `limit` of 0 or less is none.
    pub(super) fn get(&self, span: &Span, revision: i64, limit: i64) -> Result<Found, KvError> {
        if matches!(span, Span::One(key) if key.is_empty()) {
            return Err(KvError::NoKey);
        }
        if revision > self.revision {
            return Err(KvError::Future);
        }
        if revision > 0 && revision < self.compacted {
            return Err(KvError::Compacted);
        }
        let at = if revision > 0 { revision } else { self.revision };
        let Some(bounds) = span.bounds() else { return Ok(Found::default()) };
        let limit = usize::try_from(limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX);
        let mut found = Found::default();
        for (key, versions) in self.versions.range::<[u8], _>(bounds) {
            let Some(kv) = live(key, versions, at) else { continue };
            found.count += 1;
            if found.kvs.len() < limit {
                found.kvs.push(kv);
            } else {
                found.more = true;
            }
        }
        Ok(found)
    }

    /// Writes one key, attached to `lease` (0: none); returns what was there.
    pub(super) fn put(&mut self, key: Bytes, value: Bytes, lease: i64) -> Result<Option<KeyValue>, KvError> {
        if key.is_empty() {
            return Err(KvError::NoKey);
        }
        if lease != 0 && !self.leases.contains_key(&lease) {
            return Err(KvError::NoLease);
        }
        self.revision += 1;
        Ok(self.set(key, Some(value), lease))
    }

    /// Writes a text; for PD's own keys, whose names are never empty.
    pub(super) fn set_text(&mut self, key: &str, value: impl Into<Bytes>) {
        self.revision += 1;
        self.set(Bytes::copy_from_slice(key.as_bytes()), Some(value.into()), 0);
    }

    /// Changes several keys in one revision; a value of `None` deletes.
    pub(super) fn write(&mut self, changes: Vec<(Bytes, Option<Bytes>)>) {
        if changes.iter().all(|(key, value)| value.is_none() && self.value(key).is_none()) {
            return;
        }
        self.revision += 1;
        for (key, value) in changes {
            if value.is_some() || self.value(&key).is_some() {
                self.set(key, value, 0);
            }
        }
    }

    /// Deletes keys, in one revision if there are any; returns what was there.
    pub(super) fn delete(&mut self, span: &Span) -> Result<Vec<KeyValue>, KvError> {
        let found = self.get(span, 0, 0)?.kvs;
        if !found.is_empty() {
            self.revision += 1;
        }
        for kv in &found {
            self.set(kv.key.clone(), None, 0);
        }
        Ok(found)
    }

    /// Adds a version of `key` in the current revision.
    fn set(&mut self, key: Bytes, value: Option<Bytes>, lease: i64) -> Option<KeyValue> {
        let before = self.versions.get(&key).and_then(|versions| live(&key, versions, self.revision));
        if let Some(before) = &before
            && let Some(old) = self.leases.get_mut(&before.lease)
        {
            old.keys.remove(&key);
        }
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.insert(key.clone());
        }
        let (created, version) = match (&value, &before) {
            (None, _) => (0, 0),
            (Some(_), None) => (self.revision, 1),
            (Some(_), Some(before)) => (before.created, before.version + 1),
        };
        let added = Version { modified: self.revision, created, version, lease, value };
        self.versions.entry(key.clone()).or_default().push(added);
        self.log.push_back((self.revision, key));
        if self.log.len() > MOST_CHANGES
            && let Some((middle, _)) = self.log.get(MOST_CHANGES / 2)
        {
            let middle = *middle;
            self.forget_below(middle);
        }
        before
    }

    /// Forgets what was before `revision`.
    pub(super) fn compact(&mut self, revision: i64) -> Result<(), KvError> {
        if revision <= self.compacted {
            return Err(KvError::Compacted);
        }
        if revision > self.revision {
            return Err(KvError::Future);
        }
        self.forget_below(revision);
        Ok(())
    }

    fn forget_below(&mut self, revision: i64) {
        self.compacted = revision;
        self.versions.retain(|_, versions| {
            let newer = versions.partition_point(|version| version.modified <= revision);
            // The last one at the revision is what the key was then; a deletion is nothing.
            let kept = newer.saturating_sub(1);
            versions.drain(..kept);
            let gone =
                versions.first().is_some_and(|first| first.modified <= revision && first.value.is_none());
            if gone {
                versions.remove(0);
            }
            !versions.is_empty()
        });
        let old = self.log.partition_point(|(at, _)| *at < revision);
        self.log.drain(..old);
    }

    /// The changes of the first revision from `from` on that touches `span`, with that revision.
    pub(super) fn changes_from(&self, from: i64, span: &Span) -> Option<(i64, Vec<Change>)> {
        let first = self.log.partition_point(|(at, _)| *at < from);
        let (revision, _) = self.log.iter().skip(first).find(|(_, key)| span.contains(key))?;
        let start = self.log.partition_point(|(at, _)| at < revision);
        let of_it = self.log.iter().skip(start).take_while(|(at, _)| at == revision);
        let changes =
            of_it.filter(|(_, key)| span.contains(key)).filter_map(|(at, key)| self.change(*at, key));
        Some((*revision, changes.collect()))
    }

    fn change(&self, at: i64, key: &Bytes) -> Option<Change> {
        let versions = self.versions.get(key)?;
        let index = versions.iter().position(|version| version.modified == at)?;
        let version = versions.get(index)?;
        let before = index.checked_sub(1).and_then(|before| versions.get(before));
        Some(Change {
            deleted: version.value.is_none(),
            now: KeyValue {
                key: key.clone(),
                value: version.value.clone().unwrap_or_default(),
                created: version.created,
                modified: version.modified,
                version: version.version,
                lease: version.lease,
            },
            before: before.and_then(|before| live(key, std::slice::from_ref(before), at)),
        })
    }
}

/// What `key` was at `revision`; `None`: not there.
fn live(key: &Bytes, versions: &[Version], revision: i64) -> Option<KeyValue> {
    let version = versions.iter().rev().find(|version| version.modified <= revision)?;
    let value = version.value.clone()?;
    Some(KeyValue {
        key: key.clone(),
        value,
        created: version.created,
        modified: version.modified,
        version: version.version,
        lease: version.lease,
    })
}

#[cfg(test)]
#[path = "kv_tests.rs"]
mod tests;
