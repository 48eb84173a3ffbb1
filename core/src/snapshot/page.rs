//! The machine of one page of a scan: the next pairs of a range, from the first region that has any.
//!
//! ```text
//! Finding ──> Calling ──> page
//!    ^  ^        | |
//!    |  +--------+ | (region changed, or has nothing in the range: the next one)
//!    +--Meeting <--+ (locks)
//! ```
//!
//! | phase | completion | next | effects |
//! |---|---|---|---|
//! | Finding | region of the cursor | Calling, for the part of the range that it holds | call |
//! | Calling | pairs | ends: page | – |
//! | Calling | no pairs | Finding the next region; ends when the range does | – |
//! | Calling | a locked pair, or all of it locked | Meeting | those of `MeetLocks` |
//! | Calling | region changed | Finding | – |
//! | Meeting | free | Finding: the page is asked for again, with the locks to go round | call |
//!
//! client-go: `txnkv/txnsnapshot/scan.go: getData`.

use std::task::{Poll, ready};

use bytes::Bytes;
use tikv_proto::kvrpcpb as pb;

use super::view::View;
use crate::backoff::Attempts;
use crate::codec::keyless;
use crate::error::Error;
use crate::lock::{Lock, LockSets, Refusal, classify};
use crate::machine::{Cx, Machine, Place};
use crate::region_call::{FindRegion, RegionCall, Reply, Route, Unanswered};
use crate::types::{KeyRange, KvPair, Located, Timestamp};

const OPERATION: &str = "scan";

/// Pairs of a page when nothing else is said. client-go: `txnkv/txnsnapshot/snapshot.go: DefaultScanBatchSize`.
pub const PAGE: u32 = 256;

/// No key that TiKV can store is as long as this one of 0xff bytes, so none is above it. TiKV: `storage.max-key-size`.
const ABOVE_ALL: [u8; 8192] = [0xff; 8192];

/// What a scan asks for, but the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the settings of a scan, built field by field")]
pub struct ScanOptions {
    /// From the end of the range to its start.
    pub reverse: bool,
    /// Pairs come without values.
    pub keys_only: bool,
    /// Pairs in a page at the most.
    pub page: u32,
}

keyless!(ScanOptions);

impl Default for ScanOptions {
    fn default() -> Self {
        Self { reverse: false, keys_only: false, page: PAGE }
    }
}

/// The next pairs of a scan, and what is left of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Pairs in the scan's order; none only when the range is at its end.
    pub pairs: Vec<KvPair>,
    /// The part of the range that no page has covered yet; `None`: the scan is over.
    pub left: Option<KeyRange>,
    /// The locks that the next page goes round from the start.
    pub(crate) sets: LockSets,
}

#[derive(Debug)]
enum Phase {
    Finding(FindRegion),
    Calling {
        call: Box<RegionCall>,
        /// What the region holds.
        span: KeyRange,
    },
    Meeting,
}

/// Reads one page. See the module for its phases.
#[derive(Debug)]
pub struct PageMachine {
    /// What is left of the range.
    range: KeyRange,
    options: ScanOptions,
    view: View,
    attempts: Attempts,
    phase: Phase,
}

impl PageMachine {
    /// Reads the first page of `range` at `ts`.
    #[must_use]
    pub fn new(range: KeyRange, ts: Timestamp, options: ScanOptions, redacted: bool) -> Self {
        Self::going_round(range, ts, options, LockSets::default(), redacted)
    }

    /// Reads the first page of `range`, with what the page before learned of locks.
    pub(crate) fn going_round(
        range: KeyRange,
        ts: Timestamp,
        options: ScanOptions,
        sets: LockSets,
        redacted: bool,
    ) -> Self {
        let view = View::new(OPERATION, ts, false, sets, redacted);
        let phase = Phase::Finding(find(&range, options.reverse));
        Self { range, options, view, attempts: Attempts::default(), phase }
    }

    fn call(&self, to: Located, span: KeyRange) -> Phase {
        let part = intersection(&self.range, &span);
        let (start_key, end_key) = match self.options.reverse {
            false => (part.start.0, part.end.0),
            // A reverse scan starts at its exclusive upper bound; TiKV takes an empty one for the empty key.
            true if part.end.is_empty() => (Bytes::from_static(&ABOVE_ALL), part.start.0),
            true => (part.end.0, part.start.0),
        };
        let message = pb::ScanRequest {
            start_key,
            end_key,
            limit: self.options.page.max(1),
            version: self.view.ts().0,
            key_only: self.options.keys_only,
            reverse: self.options.reverse,
            ..Default::default()
        };
        let route = Route::Region { key: span.start.clone(), region: to.region };
        let call = RegionCall::new(OPERATION, route, self.view.request(&message));
        Phase::Calling { call: Box::new(call.resume(self.attempts.clone()).at_leader(self.view.met)), span }
    }

    /// The pairs of an answer, unless locks were met.
    fn answered(&mut self, reply: Reply, cx: &mut Cx<'_>) -> Result<Option<Vec<KvPair>>, Error> {
        let response: pb::ScanResponse = reply.decode(OPERATION)?;
        let mut met: Vec<Lock> = Vec::new();
        let mut pairs = Vec::with_capacity(response.pairs.len());
        let errors = response.error.into_iter().map(Err);
        for pair in errors.chain(response.pairs.into_iter().map(Ok)) {
            match pair {
                Ok(pb::KvPair { error: None, key, value, .. }) => {
                    pairs.push(KvPair { key: key.into(), value })
                }
                Ok(pb::KvPair { error: Some(error), .. }) | Err(error) => match classify(*error) {
                    Refusal::Locked(locks) => met.extend(locks),
                    other => return Err(self.view.asked.error(other)),
                },
            }
        }
        if met.is_empty() {
            return Ok(Some(pairs));
        }
        // The whole page is read again: what it has beside the locks would have to be put together with what comes then.
        self.view.meet(met, cx);
        Ok(None)
    }

    /// What is left of the range behind an answer of the region of `span`.
    fn rest(&self, pairs: &[KvPair], span: &KeyRange) -> Option<KeyRange> {
        let full = pairs.len() >= self.options.page.max(1) as usize;
        let last = pairs.last().filter(|_| full).map(|pair| &pair.key);
        let KeyRange { start, end } = self.range.clone();
        let rest = if self.options.reverse {
            // Nothing is below the empty key, and as an end it would mean the last.
            let end = last.unwrap_or(&span.start).clone();
            (!end.is_empty()).then_some(KeyRange { start, end })
        } else {
            match last {
                Some(last) => Some(KeyRange { start: last.next(), end }),
                None => (!span.end.is_empty()).then(|| KeyRange { start: span.end.clone(), end }),
            }
        };
        rest.filter(|rest| !rest.is_empty())
    }

    fn page(&mut self, pairs: Vec<KvPair>, left: Option<KeyRange>) -> Poll<Result<Page, Error>> {
        Poll::Ready(Ok(Page { pairs, left, sets: std::mem::take(&mut self.view.sets) }))
    }
}

fn find(range: &KeyRange, reverse: bool) -> FindRegion {
    FindRegion::new(if reverse {
        Place::Below(range.end.clone())
    } else {
        Place::Holding(range.start.clone())
    })
}

/// The keys that both ranges hold.
fn intersection(one: &KeyRange, other: &KeyRange) -> KeyRange {
    let start = (&one.start).max(&other.start).clone();
    let end = match (one.end.is_empty(), other.end.is_empty()) {
        (true, _) => &other.end,
        (_, true) => &one.end,
        _ => (&one.end).min(&other.end),
    };
    KeyRange { start, end: end.clone() }
}

impl Machine for PageMachine {
    type Output = Result<Page, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        if self.range.is_empty() {
            return self.page(Vec::new(), None);
        }
        loop {
            self.phase = match &mut self.phase {
                Phase::Finding(finding) => match ready!(finding.step(cx)) {
                    Ok((to, span)) => self.call(to, span),
                    Err(fault) => return Poll::Ready(Err(Error::of_fault(OPERATION, fault))),
                },
                Phase::Calling { call, span } => {
                    let end = ready!(call.step(cx));
                    self.attempts = call.attempts().clone();
                    let span = span.clone();
                    match end {
                        Ok(reply) => match self.answered(reply, cx)? {
                            None => Phase::Meeting,
                            Some(pairs) => match self.rest(&pairs, &span) {
                                Some(rest) if pairs.is_empty() => {
                                    self.range = rest;
                                    Phase::Finding(find(&self.range, self.options.reverse))
                                }
                                left => return self.page(pairs, left),
                            },
                        },
                        Err(Unanswered::Regroup { .. }) => {
                            Phase::Finding(find(&self.range, self.options.reverse))
                        }
                        Err(unanswered) => return Poll::Ready(Err(unanswered.into_error(OPERATION))),
                    }
                }
                Phase::Meeting => {
                    ready!(self.view.step(cx))?;
                    Phase::Finding(find(&self.range, self.options.reverse))
                }
            };
        }
    }
}
