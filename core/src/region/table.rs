//! Both orders of the directory's entries, and which region replaces which.

use std::sync::Arc;

use super::entry::{Entry, Found};
use super::sorted::{ById, ByStart, Sorted};
use crate::types::{Instant, KeyRange, RegionId, RegionInfo, RegionVersion};

/// What became of a region that was put into the directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Inserted {
    /// It is there now.
    Kept(Arc<Entry>),
    /// It is older than what the directory knows of its keys: nothing has changed.
    Older {
        /// What is newer.
        than: RegionVersion,
    },
    /// It has no peer that can be talked to.
    NoPeers,
    /// Its range has no keys.
    NoKeys,
}

impl Inserted {
    /// The entry, if the region was kept.
    #[must_use]
    pub fn kept(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Kept(entry) => Some(entry),
            Self::Older { .. } | Self::NoPeers | Self::NoKeys => None,
        }
    }
}

/// Whether two ranges, neither of them empty, share keys.
fn overlap(a: &KeyRange, b: &KeyRange) -> bool {
    (a.end.is_empty() || b.start < a.end) && (b.end.is_empty() || a.start < b.end)
}

/// The entries by start key and by id. A copy is cheap: it shares what does not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    by_start: Sorted<ByStart>,
    by_id: Sorted<ById>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The entry whose range has `key`, in whatever state it is.
    pub(super) fn holding(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.by_start.holding(key)
    }

    /// The entry whose range has the keys just below `key`; an empty key stands for the end of all keys.
    ///
    /// client-go: `internal/locate/region_cache.go: ContainsByEnd`; `sorted_btree.go: SearchByKey`.
    pub(super) fn below(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        if key.is_empty() {
            return self.by_start.last().filter(|entry| entry.range().end.is_empty());
        }
        self.by_start.below(key).filter(|entry| {
            let end = &entry.range().end;
            end.is_empty() || key <= end.as_slice()
        })
    }

    pub(super) fn by_id(&self, id: RegionId) -> Option<&Arc<Entry>> {
        self.by_id.get(&id)
    }

    /// The entries in order, from the one that holds `key`, or is the next below it, on.
    pub(super) fn onward(&self, key: &[u8]) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_start.onward(key)
    }

    fn overlapping<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.onward(range.start.as_slice())
            .take_while(|entry| range.end.is_empty() || entry.range().start < range.end)
            .filter(|entry| overlap(entry.range(), range))
    }

    /// What is newer than the region of `info`, if anything is.
    ///
    /// client-go: `internal/locate/region_cache.go: insertRegionToCache`.
    fn newer_than(&self, info: &RegionInfo) -> Option<RegionVersion> {
        let new = info.version;
        let same = self.by_id(new.id).map(|entry| entry.version());
        same.filter(|known| known.version > new.version || known.conf_ver > new.conf_ver).or_else(|| {
            self.overlapping(&info.range)
                .map(|entry| entry.version())
                .find(|known| known.version > new.version)
        })
    }

    /// The region's new entry, or why there is none.
    ///
    /// client-go: `internal/locate/region_cache.go: insertRegionToCache`.
    pub(super) fn admit(&self, found: Found, now: Instant, expires: Instant) -> Inserted {
        if found.info.range.is_empty() {
            return Inserted::NoKeys;
        }
        if let Some(than) = self.newer_than(&found.info) {
            return Inserted::Older { than };
        }
        let before = self.by_id(found.info.version.id).map(|entry| &**entry);
        match Entry::new(found, before, now, expires) {
            Some(entry) => Inserted::Kept(Arc::new(entry)),
            None => Inserted::NoPeers,
        }
    }

    /// Puts an admitted entry in, in place of all that it overlaps and of its region's last version.
    ///
    /// That includes an older and wider region which begins before the new one. client-go leaves that one in,
    /// where it answers again as soon as the new one is gone.
    pub(super) fn put(&mut self, entry: Arc<Entry>) {
        if let Some(same) = self.by_id.remove(entry.id()) {
            self.by_start.remove(same.range().start.as_slice());
        }
        let replaced: Vec<_> = self.overlapping(entry.range()).map(Arc::clone).collect();
        for old in &replaced {
            self.remove(old);
        }
        self.by_start.insert(Arc::clone(&entry));
        self.by_id.insert(entry);
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, entry: &Entry) {
        self.by_id.remove(entry.id());
        self.by_start.remove(entry.range().start.as_slice());
    }
}
