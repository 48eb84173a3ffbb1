//! The machine of a whole scan: page after page, with a transaction's writes laid over, until the limit or the end.
//!
//! client-go: `txnkv/txnsnapshot/scan.go: Next`.

use std::task::{Poll, ready};

use super::overlay::Overlay;
use super::page::{Page, PageMachine, ScanOptions};
use crate::error::Error;
use crate::machine::{Cx, Machine};
use crate::types::{KeyRange, KvPair, Timestamp};

/// Reads a range at a timestamp, all at once.
#[derive(Debug)]
pub struct ScanMachine {
    ts: Timestamp,
    options: ScanOptions,
    redacted: bool,
    overlay: Overlay,
    limit: usize,
    found: Vec<KvPair>,
    page: PageMachine,
}

impl ScanMachine {
    /// Reads at most `limit` pairs of `range` at `ts`.
    #[must_use]
    pub fn new(range: KeyRange, ts: Timestamp, limit: usize, options: ScanOptions, redacted: bool) -> Self {
        Self::over(range, ts, limit, options, Overlay::default(), redacted)
    }

    /// Reads with a transaction's writes laid over.
    pub(crate) fn over(
        range: KeyRange,
        ts: Timestamp,
        limit: usize,
        options: ScanOptions,
        overlay: Overlay,
        redacted: bool,
    ) -> Self {
        let options = ScanOptions { page: page_size(options.page, limit, &overlay), ..options };
        let page = PageMachine::new(range, ts, options, redacted);
        Self { ts, options, redacted, overlay, limit, found: Vec::new(), page }
    }
}

/// A page is not larger than what can be of use: the limit, and for each own write a pair that it may hide.
fn page_size(page: u32, limit: usize, overlay: &Overlay) -> u32 {
    u32::try_from(limit.saturating_add(overlay.len())).map_or(page, |useful| useful.min(page))
}

impl Machine for ScanMachine {
    type Output = Result<Vec<KvPair>, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        if self.limit == 0 {
            return Poll::Ready(Ok(Vec::new()));
        }
        loop {
            let Page { pairs, left, sets } = ready!(self.page.step(cx))?;
            self.found.extend(self.overlay.lay_over(pairs, left.as_ref()));
            self.found.truncate(self.limit);
            let Some(left) = left.filter(|_| self.found.len() < self.limit) else {
                return Poll::Ready(Ok(std::mem::take(&mut self.found)));
            };
            self.page = PageMachine::going_round(left, self.ts, self.options, sets, self.redacted);
        }
    }
}
