//! A region's buckets: finer ranges that a coprocessor request is cut at.

use crate::types::{Key, KeyRange};

/// The bounds of a region's buckets: `n` keys make `n - 1` buckets.
///
/// They can be older than the region's range, and so reach beyond it or leave holes at its ends.
///
/// client-go: `internal/locate/region_cache.go: KeyLocation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    version: u64,
    keys: Box<[Key]>,
}

impl Buckets {
    /// The buckets of `version` between neighbouring `keys`, which must be sorted; an empty last key is open.
    #[must_use]
    pub fn new(version: u64, keys: impl Into<Box<[Key]>>) -> Self {
        Self { version, keys: keys.into() }
    }

    /// Their version; TiKV counts it up.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The bounds.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The bucket that holds `key`, cut to the region's `range`; `None` when `key` is not of the region.
    ///
    /// Before the first and behind the last bound the rest of the region counts as a bucket, and the whole
    /// region if there are no bounds.
    ///
    /// client-go: `internal/locate/region_cache.go: LocateBucket`, which leaves the holes uncut.
    #[must_use]
    pub fn locate(&self, key: &[u8], range: &KeyRange) -> Option<KeyRange> {
        if !range.contains(key) {
            return None;
        }
        // An empty bound is the open end if it is the last; else it is the open start, not above any key.
        let last = self.keys.len().saturating_sub(1);
        let bounds = self.keys.iter().enumerate();
        let is_above = |at: usize, bound: &Key| bound.as_slice() > key || (at == last && at > 0 && bound.is_empty());
        let above = bounds.clone().find(|&(at, bound)| is_above(at, bound)).map(|(at, _)| at);
        let start = match above {
            Some(at) => at.checked_sub(1).and_then(|below| self.keys.get(below)),
            None => self.keys.last(),
        };
        let end = above.and_then(|at| self.keys.get(at));
        let bucket = KeyRange { start: start.cloned().unwrap_or_default(), end: end.cloned().unwrap_or_default() };
        Some(cut(&bucket, range))
    }
}

/// The part of `bucket` within `range`; the whole range if that is nothing.
///
/// client-go: `internal/locate/region_cache.go: clampBucketToRegion`.
fn cut(bucket: &KeyRange, range: &KeyRange) -> KeyRange {
    let start = (&bucket.start).max(&range.start);
    let end = match (bucket.end.is_empty(), range.end.is_empty()) {
        (true, _) => &range.end,
        (false, true) => &bucket.end,
        (false, false) => (&bucket.end).min(&range.end),
    };
    let cut = KeyRange { start: start.clone(), end: end.clone() };
    if cut.is_empty() { range.clone() } else { cut }
}
