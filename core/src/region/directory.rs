//! The shared directory: lookups without a lock, and what changes it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::entry::{Entry, Found, expiry};
pub use super::table::Inserted;
use super::table::Table;
use crate::codec::Mode;
use crate::machine::report::{Feedback, StaleReason};
use crate::types::{Instant, Key, KeyRange, Located, RegionId, RegionInfo, RegionVersion, Replicas, StoreId};

/// What feedback did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Applied {
    /// The directory is different now.
    Changed,
    /// It knew that, or does not have the region in this version any more.
    Ignored,
    /// The store that described the regions lags behind what the directory knows: the request can go to the
    /// same region again, after a pause.
    Lags,
}

/// What a round of sweeping did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// How many entries it took out.
    pub removed: usize,
    /// Where the next round begins; `None`: at the start again, all has been looked at.
    pub next: Option<Key>,
}

/// Whether who described `new` in place of `old` knows less than the directory: one of them is `old` itself
/// in an earlier version.
///
/// client-go: `internal/locate/region_cache.go: OnRegionEpochNotMatch`.
#[must_use]
pub fn lags(old: RegionVersion, new: &[RegionInfo]) -> bool {
    let earlier = |v: RegionVersion| v.version < old.version || v.conf_ver < old.conf_ver;
    new.iter().any(|info| info.version.id == old.id && earlier(info.version))
}

/// The regions of the cluster, as far as this client has met them.
///
/// A directory is of one key space: all its keys have one [`Mode`], and are kept decoded.
pub struct Directory {
    mode: Mode,
    table: ArcSwap<Table>,
    /// Held from reading the table to swapping the changed copy in.
    writer: Mutex<()>,
    /// Regions at the most.
    most: usize,
}

impl Directory {
    /// A directory of no regions, for keys that have the form `mode` outside this client.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self::bounded(mode, usize::MAX)
    }

    /// A directory that keeps at most `most` regions: of more, those leave that have not been used for longest.
    ///
    /// When a region was used is known to a 64th of its life. As many leave at a time that the next ones find room: one in
    /// sixteen. client-go has no bound.
    #[must_use]
    pub fn bounded(mode: Mode, most: usize) -> Self {
        Self { mode, table: ArcSwap::default(), writer: Mutex::new(()), most: most.max(1) }
    }

    /// The form of its keys at PD and in region errors.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Where a request for `key` goes; `None`: its region is to be loaded.
    ///
    /// client-go: `internal/locate/region_cache.go: TryLocateKey`.
    #[must_use]
    pub fn locate(&self, key: &[u8], now: Instant) -> Option<Located> {
        let table = self.table.load();
        let entry = table.holding(key).filter(|entry| entry.is_usable(now))?;
        entry.located()
    }

    /// Where a request for the keys just below `key` goes; an empty key means the last region.
    ///
    /// client-go: `internal/locate/region_cache.go: LocateEndKey`, where an empty key means the first region.
    #[must_use]
    pub fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        let table = self.table.load();
        let entry = table.below(key).filter(|entry| entry.is_usable(now))?;
        entry.located()
    }

    /// The region that holds `key`, if it may be used.
    #[must_use]
    pub fn region(&self, key: &[u8], now: Instant) -> Option<Arc<Entry>> {
        self.table.load().holding(key).filter(|entry| entry.is_usable(now)).map(Arc::clone)
    }

    /// The region that holds the keys just below `key`, if it may be used; an empty key means the last.
    #[must_use]
    pub fn region_below(&self, key: &[u8], now: Instant) -> Option<Arc<Entry>> {
        self.table.load().below(key).filter(|entry| entry.is_usable(now)).map(Arc::clone)
    }

    /// The region of this id in the version the directory has, if it may be used.
    #[must_use]
    pub fn by_id(&self, id: RegionId, now: Instant) -> Option<Arc<Entry>> {
        self.table.load().by_id(id).filter(|entry| entry.is_usable(now)).map(Arc::clone)
    }

    /// The region in just this version, whether or not it may still be used.
    ///
    /// client-go: `internal/locate/region_cache.go: GetCachedRegionWithRLock`.
    #[must_use]
    pub fn exactly(&self, region: RegionVersion) -> Option<Arc<Entry>> {
        let table = self.table.load();
        table.by_id(region.id).filter(|entry| entry.version() == region).map(Arc::clone)
    }

    /// The keys of the region in just this version.
    #[must_use]
    pub fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        let table = self.table.load();
        table.by_id(region.id).filter(|entry| entry.version() == region).map(|entry| entry.range().clone())
    }

    /// The replicas of the region in just this version.
    #[must_use]
    pub fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        let table = self.table.load();
        table.by_id(region.id).filter(|entry| entry.version() == region)?.replicas()
    }

    /// The regions that cover `range` from its start on, without a hole, at most `limit`.
    ///
    /// They end at the first key whose region is not known or not to be used.
    ///
    /// client-go: `internal/locate/region_cache.go: scanRegionsFromCache`.
    #[must_use]
    pub fn cover(&self, range: &KeyRange, now: Instant, limit: usize) -> Vec<Arc<Entry>> {
        let mut covered = Vec::new();
        if range.is_empty() {
            return covered;
        }
        let table = self.table.load();
        let mut from = &range.start;
        for entry in table.onward(range.start.as_slice()).take(limit) {
            if !entry.range().contains(from.as_slice()) || !entry.is_usable(now) {
                break;
            }
            covered.push(Arc::clone(entry));
            from = &entry.range().end;
            if from.is_empty() || (!range.end.is_empty() && *from >= range.end) {
                break;
            }
        }
        covered
    }

    /// How many regions there are, in whatever state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.load().len()
    }

    /// Whether there is no region.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a region in that was found at `now` and is to be loaded again at `expires` unless it is used
    /// (see [`expiry`]). Whatever it overlaps is taken out.
    ///
    /// client-go: `internal/locate/region_cache.go: insertRegionToCache`.
    pub fn insert(&self, found: impl Into<Found>, now: Instant, expires: Instant) -> Inserted {
        let mut change = self.change();
        let inserted = change.insert(found.into(), now, expires);
        change.make_room();
        inserted
    }

    /// Puts many regions in with one change of the table; `expires` is asked for each.
    pub fn insert_all(
        &self,
        found: impl IntoIterator<Item = Found>,
        now: Instant,
        expires: impl Fn(RegionVersion) -> Instant,
    ) -> Vec<Inserted> {
        let mut change = self.change();
        let insert = |found: Found| {
            let expires = expires(found.info.version);
            change.insert(found, now, expires)
        };
        let inserted = found.into_iter().map(insert).collect();
        change.make_room();
        inserted
    }

    /// Takes in what an operation learned.
    pub fn apply(&self, feedback: &Feedback, now: Instant) -> Applied {
        let changed = |changed: bool| if changed { Applied::Changed } else { Applied::Ignored };
        match feedback {
            Feedback::LeaderIs { region, peer, store } => {
                changed(self.exactly(*region).is_some_and(|entry| {
                    // A leader we do not know means that the peers have changed.
                    entry.follow(*peer, *store).unwrap_or_else(|| entry.invalidate(StaleReason::Other))
                }))
            }
            Feedback::Stale { region, why } => {
                changed(self.exactly(*region).is_some_and(|entry| entry.invalidate(*why)))
            }
            Feedback::Regions { old, new } => self.replace(*old, new, now),
            Feedback::Loaded { regions, expires } => {
                let found = regions.iter().map(|info| Found::from(info.clone()));
                let inserted = self.insert_all(found, now, |_| *expires);
                changed(inserted.iter().any(|inserted| inserted.kept().is_some()))
            }
            Feedback::Buckets { region, buckets } => {
                changed(self.exactly(*region).is_some_and(|entry| entry.set_buckets(buckets)))
            }
            // Of stores: not the directory's. Who leads while a store cannot be reached each request finds out by itself.
            Feedback::Unreachable { .. }
            | Feedback::Busy { .. }
            | Feedback::Slow { .. }
            | Feedback::Took { .. }
            | Feedback::Health { .. } => Applied::Ignored,
        }
    }

    /// Puts the regions in that a store says stand where `old` was.
    ///
    /// client-go: `internal/locate/region_cache.go: OnRegionEpochNotMatch`.
    fn replace(&self, old: RegionVersion, new: &[RegionInfo], now: Instant) -> Applied {
        if lags(old, new) {
            return Applied::Lags;
        }
        let buckets = self.exactly(old).and_then(|entry| entry.buckets());
        let found = new.iter().map(|info| Found { buckets: buckets.clone(), ..Found::from(info.clone()) });
        let inserted = self.insert_all(found, now, |version| expiry(version, now));
        // An entry that was taken out is not marked: who reads the table of before still gets an answer.
        let left = self.exactly(old).filter(|_| new.iter().all(|info| info.version != old));
        let marked = left.is_some_and(|entry| entry.invalidate(StaleReason::EpochNotMatch));
        let kept = inserted.iter().any(|inserted| inserted.kept().is_some());
        if marked || kept { Applied::Changed } else { Applied::Ignored }
    }

    /// One round of cleaning up: looks at `limit` entries from `from` on, takes out those that are expired or
    /// stale, and lets those with a peer on a suspect store live no longer than they already may.
    ///
    /// client-go: `internal/locate/region_cache.go: gcRoundFunc` (each second 50 entries).
    pub fn sweep(&self, from: &Key, limit: usize, now: Instant, suspect: impl Fn(StoreId) -> bool) -> Swept {
        let mut change = self.change();
        let mut entries = change.table.onward(from.as_slice()).filter(|entry| entry.range().start >= *from);
        let looked_at: Vec<_> = entries.by_ref().take(limit).map(Arc::clone).collect();
        let next = entries.next().map(|entry| entry.range().start.clone());
        drop(entries);
        let mut removed = 0;
        for entry in looked_at {
            if !entry.is_alive(now) {
                change.remove(&entry);
                removed += 1;
            } else if entry.peers().iter().any(|peer| suspect(peer.store)) {
                entry.freeze();
            }
        }
        Swept { removed, next }
    }

    /// All entries in order.
    #[cfg(test)]
    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.table.load().onward(b"").map(Arc::clone).collect()
    }

    /// Begins a change of which regions there are; it is swapped in when dropped.
    fn change(&self) -> Change<'_> {
        let guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Change { directory: self, table: self.table.load_full(), changed: false, _guard: guard }
    }
}

/// A change of the table, under the writer's mutex.
struct Change<'a> {
    directory: &'a Directory,
    table: Arc<Table>,
    changed: bool,
    _guard: std::sync::MutexGuard<'a, ()>,
}

impl Change<'_> {
    fn insert(&mut self, found: Found, now: Instant, expires: Instant) -> Inserted {
        let inserted = self.table.admit(found, now, expires);
        if let Inserted::Kept(entry) = &inserted {
            Arc::make_mut(&mut self.table).put(Arc::clone(entry));
            self.changed = true;
        }
        inserted
    }

    /// Takes the regions out that have not been used for longest, if there are too many.
    fn make_room(&mut self) {
        let (most, len) = (self.directory.most, self.table.len());
        if len <= most {
            return;
        }
        let leave = len - (most - most / 16).max(1);
        let mut entries: Vec<_> = self.table.onward(b"").map(Arc::clone).collect();
        entries.select_nth_unstable_by_key(leave - 1, |entry| (entry.used(), *entry.id()));
        for entry in entries.iter().take(leave) {
            self.remove(entry);
        }
    }

    fn remove(&mut self, entry: &Entry) {
        Arc::make_mut(&mut self.table).remove(entry);
        self.changed = true;
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if self.changed {
            self.directory.table.store(Arc::clone(&self.table));
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("mode", &self.mode)
            .field("regions", &self.len())
            .finish_non_exhaustive()
    }
}
