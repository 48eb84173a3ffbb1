//! A scan as a value, and the cursor that goes through a range batch by batch.

use std::time::Duration;

use super::calls::{Common, deadline, explain};
use super::overlay::Overlay;
use super::page::{Page, ScanOptions};
use super::scan::ScanMachine;
use crate::client::{Checked, Pending};
use crate::error::Error;
use crate::lock::LockSets;
use crate::machine::Machine;
use crate::start;
use crate::types::{KeyRange, KvPair};

/// A scan of a range: awaited it gives all its pairs, as a [`cursor`](Self::cursor) batch after batch.
#[derive(Clone, Debug)]
#[must_use = "a scan does nothing until it is awaited"]
pub struct Scan {
    common: Common,
    range: KeyRange,
    options: ScanOptions,
    limit: usize,
    overlay: Overlay,
}

impl Scan {
    pub(crate) fn new(common: Common, range: KeyRange, overlay: Overlay) -> Self {
        Self { common, range, options: ScanOptions::default(), limit: usize::MAX, overlay }
    }

    deadline!();
    explain!();

    /// From the end of the range to its start.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: IterReverse`.
    pub fn reverse(mut self) -> Self {
        self.options.reverse = !self.options.reverse;
        self.overlay.reverse();
        self
    }

    /// At most so many pairs; without this there is no limit, and an awaited scan holds the whole range in memory.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Pairs without values: a key that has a value comes with an empty one.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetKeyOnly`.
    pub fn keys_only(mut self) -> Self {
        self.options.keys_only = true;
        self.overlay.keys_only();
        self
    }

    /// Pairs that one request asks for (256 by default; at least 1).
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetScanBatchSize`.
    pub fn batch_size(mut self, pairs: u32) -> Self {
        self.options.page = pairs.max(1);
        self
    }

    /// Goes through the range batch by batch: memory holds one batch at a time.
    #[must_use]
    pub fn cursor(self) -> ScanCursor {
        let Self { common, range, options, limit, overlay } = self;
        ScanCursor { common, left: Some(range), options, limit, overlay, sets: LockSets::default() }
    }
}

impl IntoFuture for Scan {
    type Output = <ScanMachine as Machine>::Output;
    type IntoFuture = Pending<Checked<ScanMachine>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, range, options, limit, overlay } = self;
        common.pending(|| Ok(start::Scan { range, ts: common.ts, limit, options, overlay }))
    }
}

/// A place in a range that is read batch by batch.
#[derive(Clone, Debug)]
pub struct ScanCursor {
    common: Common,
    /// What no batch has covered yet; `None`: the end.
    left: Option<KeyRange>,
    options: ScanOptions,
    /// Pairs that are still wanted.
    limit: usize,
    overlay: Overlay,
    sets: LockSets,
}

impl ScanCursor {
    /// The next pairs in order, at least one; `None` when the range or the limit is at its end. Each batch has the whole
    /// deadline of the scan for itself.
    ///
    /// # Errors
    /// What any read can fail with. The cursor stays where it was: the batch can be asked for again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the cursor where it was.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<KvPair>>, Error> {
        while self.limit > 0
            && let Some(range) = self.left.clone()
        {
            let Self { common, options, sets, .. } = self;
            let page = || Ok(start::Page { range, ts: common.ts, options: *options, sets: sets.clone() });
            let Page { pairs, left, sets } = common.pending(page).await?;
            let mut pairs = self.overlay.lay_over(pairs, left.as_ref());
            pairs.truncate(self.limit);
            self.limit -= pairs.len();
            self.left = left;
            self.sets = sets;
            if !pairs.is_empty() {
                return Ok(Some(pairs));
            }
        }
        Ok(None)
    }
}
