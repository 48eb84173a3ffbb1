//! The way to one region: what PD is asked, and what its answer leads to.
//!
//! PD finds the region that holds a key, or the one before. So the region below a key is that of the key, unless it begins
//! there; and the last region is that of a key above all, or lies behind it.

use bytes::Bytes;

use super::cover::Come;
use crate::codec::Mode;
use crate::machine::Place;
use crate::pd::PdQuery;

/// A key above those that clients use. It need not be above all: from there on the regions are walked to the last.
const HIGH: &[u8] = &[0xff; 128];

/// Questions for one region at the most: the regions between raw and encoded keys that hold no key of ours, or those that
/// lie above [`HIGH`].
const STEPS: u32 = 64;

/// The way to the region at a place.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) place: Place,
    /// What is to be asked next.
    pub(super) query: PdQuery,
    steps: u32,
}

impl Search {
    pub(super) fn new(place: Place, mode: Mode) -> Self {
        let query = match &place {
            Place::Holding(key) => PdQuery::Region { key: mode.encode_key(key) },
            Place::Below(key) if key.is_empty() => PdQuery::Region { key: Bytes::from_static(HIGH) },
            Place::Below(key) => PdQuery::Region { key: mode.encode_key(key) },
            Place::Id(id) => PdQuery::RegionById(*id),
        };
        Self { place, query, steps: 0 }
    }

    /// Goes on from a region that is not the one; false when it should have been.
    pub(super) fn goes_on(&mut self, from: &Come) -> bool {
        let Place::Below(key) = &self.place else { return false };
        let bounds = from.wire_range();
        let next = if key.is_empty() {
            PdQuery::Region { key: bounds.end.0.clone() }
        } else {
            // A region of no keys of ours is passed over, too: it lies between raw bounds.
            let begins_there = from.range.as_ref().is_none_or(|range| range.start >= *key);
            if !begins_there || bounds.start.is_empty() {
                return false;
            }
            PdQuery::PreviousRegion { key: bounds.start.0.clone() }
        };
        self.steps += 1;
        self.query = next;
        self.steps < STEPS
    }
}
