//! Garbage collection: versions that nobody may read any more go.
//!
//! Of each key, what is older than the newest data at the safe point goes; if that is a delete, it goes, too, as do
//! records that are no data. Reads at the safe point or above it give what they gave before.
//!
//! A real store does this bit by bit after it has heard of PD's new safe point; here it is done at once.
//!
//! TiKV: `txn/actions/gc.rs`.

use bytes::Bytes;

use super::Engine;
use super::columns::{Change, Columns};
use super::key::EncodedKey;
use super::records::{Write, WriteKind};

impl Engine {
    /// Collects the garbage of `[start, end)` below `safe_point`. Bounds are in region form, an empty end is open.
    pub fn collect_garbage(&mut self, start: &Bytes, end: &Bytes, safe_point: u64) {
        let garbage = self.columns.garbage(start, end, safe_point);
        self.columns.apply(garbage);
    }
}

impl Columns {
    fn garbage(&self, start: &Bytes, end: &Bytes, safe_point: u64) -> Vec<Change> {
        let mut garbage = Vec::new();
        // The key whose newest data at the safe point has been met.
        let mut settled: Option<&EncodedKey> = None;
        for (key, commit_ts, write) in self.versions(start, end) {
            if commit_ts > safe_point {
                continue;
            }
            let is_data = matches!(write.kind, WriteKind::Put | WriteKind::Delete);
            let newest = is_data && settled != Some(key);
            if newest {
                settled = Some(key);
            }
            if newest && write.kind == WriteKind::Put {
                continue;
            }
            remove(&mut garbage, key, commit_ts, write);
        }
        garbage
    }
}

fn remove(garbage: &mut Vec<Change>, key: &EncodedKey, commit_ts: u64, write: &Write) {
    if write.kind == WriteKind::Put && write.short_value.is_none() {
        garbage.push(Change::DeleteValue(key.clone(), write.start_ts));
    }
    garbage.push(Change::DeleteWrite(key.clone(), commit_ts));
}
