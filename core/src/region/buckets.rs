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
        let bounds = match self.keys.split_last() {
            Some((last, rest)) if last.is_empty() && !rest.is_empty() => rest,
            _ => &self.keys,
        };
        let above = bounds.partition_point(|bound| bound.as_slice() <= key);
        let start =
            above.checked_sub(1).and_then(|below| bounds.get(below)).map_or(&range.start, |bound| bound);
        // Whatever order the bounds have, the search has seen that `key` is between these two.
        Some(cut(start, bounds.get(above), range))
    }
}

/// The part of `range` between two bounds.
///
/// client-go: `internal/locate/region_cache.go: clampBucketToRegion`.
fn cut(start: &Key, end: Option<&Key>, range: &KeyRange) -> KeyRange {
    let within = |end: &&Key| range.end.is_empty() || **end < range.end;
    let end = end.filter(within).unwrap_or(&range.end);
    KeyRange { start: start.max(&range.start).clone(), end: end.clone() }
}
