//! Scans: region by region, forward or in reverse, until the limit or the end of the range.
//!
//! ```text
//! Finding --region and range--> Reading --pairs--> Finding (next piece) ... done
//!    ^                             | region changed
//!    +-----------------------------+
//! ```
//!
//! A request asks for no more than [`PAGE`] pairs; a region that gave a full page is read on from its last key. The range left
//! to read only ever shrinks, by what a reply has covered, so nothing is read twice or left out.
//!
//! client-go: `rawkv/rawkv.go: Scan, ReverseScan`.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::batches::checked;
use crate::backoff::Attempts;
use crate::error::Error;
use crate::machine::{Cx, Machine, Place};
use crate::region_call::{FindRegion, RegionCall, Reply, Route, Unanswered};
use crate::request::{Profile, Request};
use crate::types::{Key, KeyRange, KvPair, Located};

const OPERATION: &str = "raw scan";

/// Pairs asked for in one request at the most. client-go: `rawkv/rawkv.go: MaxRawKVScanLimit`.
pub const PAGE: usize = 10_240;

/// So many bytes of 0xff lie above every key that TiKV takes (8 KiB at the most). A reverse scan needs such a bound to begin
/// at the last key: without a start the server finds nothing.
const BEYOND: usize = (8 << 10) + 1;

/// What is scanned, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built by the call and by tests")]
pub struct Scan {
    /// The keys.
    pub range: KeyRange,
    /// Pairs at the most.
    pub limit: usize,
    /// From the last key down.
    pub reverse: bool,
    /// Values stay empty.
    pub keys_only: bool,
    /// The column family; empty: the default one.
    pub cf: Cow<'static, str>,
    /// Errors do not show keys.
    pub redacted: bool,
}

#[derive(Debug)]
enum Phase {
    Finding(FindRegion),
    Reading { call: Box<RegionCall>, span: KeyRange, asked: usize },
}

/// The machine of a scan. See the module.
#[derive(Debug)]
pub struct ScanMachine {
    scan: Scan,
    /// What is left to read.
    left: KeyRange,
    pairs: Vec<KvPair>,
    attempts: Attempts,
    phase: Phase,
}

impl ScanMachine {
    /// Scans as `scan` says.
    #[must_use]
    pub fn new(scan: Scan) -> Self {
        let left = scan.range.clone();
        let phase = Phase::Finding(find(&scan, &left));
        Self { scan, left, pairs: Vec::new(), attempts: Attempts::default(), phase }
    }

    fn read(&self, to: Located, span: KeyRange) -> Phase {
        let asked = (self.scan.limit - self.pairs.len()).min(PAGE);
        // The server reads a reverse scan from `start_key` down to `end_key`.
        let (start, end) = if self.scan.reverse {
            let last = || Key::from(vec![0xff; BEYOND]);
            (
                Some(self.left.end.clone()).filter(|end| !end.is_empty()).unwrap_or_else(last),
                self.left.start.clone(),
            )
        } else {
            (self.left.start.clone(), self.left.end.clone())
        };
        let message = pb::RawScanRequest {
            start_key: start.into(),
            end_key: end.into(),
            limit: u32::try_from(asked).unwrap_or(u32::MAX),
            key_only: self.scan.keys_only,
            reverse: self.scan.reverse,
            cf: self.scan.cf.clone().into_owned(),
            ..Default::default()
        };
        let key = if self.scan.reverse { span.start.clone() } else { self.left.start.clone() };
        let request = Arc::new(Request::new(&message, Profile::default()));
        let route = Route::Region { key, region: to.region };
        let call = Box::new(RegionCall::new(OPERATION, route, request).resume(self.attempts.clone()));
        Phase::Reading { call, span, asked }
    }

    /// Takes in a page: what is left begins behind it.
    fn absorb(&mut self, reply: Reply, span: &KeyRange, asked: usize) -> Result<(), Error> {
        let response: pb::RawScanResponse = reply.decode(OPERATION)?;
        let before = self.pairs.len();
        for pair in response.kvs {
            self.pairs.push(checked(OPERATION, pair, self.scan.redacted)?);
        }
        let full = self.pairs.len() - before >= asked;
        let last = if full { self.pairs.last().map(|pair| pair.key.clone()) } else { None };
        if self.scan.reverse {
            self.left.end = last.unwrap_or_else(|| span.start.clone());
        } else {
            self.left.start = last.map_or_else(|| span.end.clone(), |key| key.next());
        }
        Ok(())
    }

    /// Whether nothing is left, once the region of range `span` was read.
    fn is_over(&self) -> bool {
        let at_edge = if self.scan.reverse { self.left.end.is_empty() } else { self.left.start.is_empty() };
        at_edge || self.left.is_empty() || self.pairs.len() >= self.scan.limit
    }

    fn result(&mut self) -> Vec<KvPair> {
        let mut pairs = std::mem::take(&mut self.pairs);
        pairs.truncate(self.scan.limit);
        pairs
    }
}

/// The next region: for a reverse scan the one below the end of what is left.
fn find(scan: &Scan, left: &KeyRange) -> FindRegion {
    FindRegion::new(if scan.reverse {
        Place::Below(left.end.clone())
    } else {
        Place::Holding(left.start.clone())
    })
}

impl Machine for ScanMachine {
    type Output = Result<Vec<KvPair>, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        if self.scan.limit == 0 || self.scan.range.is_empty() {
            return Poll::Ready(Ok(Vec::new()));
        }
        loop {
            self.phase = match &mut self.phase {
                Phase::Finding(finding) => match ready!(finding.step(cx)) {
                    Ok((to, span)) => self.read(to, span),
                    Err(fault) => return Poll::Ready(Err(Error::of_fault(OPERATION, fault))),
                },
                Phase::Reading { call, span, asked } => {
                    let (span, asked) = (span.clone(), *asked);
                    match ready!(call.step(cx)) {
                        Ok(reply) => self.absorb(reply, &span, asked)?,
                        Err(Unanswered::Regroup { .. }) => {
                            self.attempts = call.attempts().clone();
                            self.phase = Phase::Finding(find(&self.scan, &self.left));
                            continue;
                        }
                        Err(unanswered) => return Poll::Ready(Err(unanswered.into_error(OPERATION))),
                    }
                    if self.is_over() {
                        return Poll::Ready(Ok(self.result()));
                    }
                    Phase::Finding(find(&self.scan, &self.left))
                }
            };
        }
    }
}
