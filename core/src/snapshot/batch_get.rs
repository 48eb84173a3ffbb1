//! The machine of many keys' read: grouped by region, all regions side by side.
//!
//! Each region's child reads until none of its keys is locked; only locked keys are read again. A child whose region changed
//! hands its open keys back, to be grouped again. The first error ends the read.
//!
//! ```text
//! child: Ready ──> Calling ──> done | regroup
//!          ^          |
//!          +--Meeting<+ (locks)
//! ```
//!
//! client-go: `txnkv/txnsnapshot/snapshot.go: batchGetKeysByRegions, batchGetSingleRegion`.

use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::view::{View, keys};
use crate::backoff::Attempts;
use crate::error::Error;
use crate::lock::{Lock, LockSets, Refusal, classify};
use crate::machine::{Cx, Machine};
use crate::region_call::spread::{Cut, Spread};
use crate::region_call::{RegionCall, Reply, Route, Unanswered};
use crate::types::{Key, KvPair, RegionVersion, Timestamp};

const OPERATION: &str = "batch get";

/// Keys of one request. client-go: `txnkv/txnsnapshot/snapshot.go: batchGetSize`.
const CUT: Cut = Cut { count: 5120, bytes: usize::MAX };

#[derive(Debug)]
enum Phase {
    Ready,
    Calling(Box<RegionCall>),
    Meeting,
}

/// What a child came to.
#[derive(Debug)]
struct PartEnd {
    found: Vec<KvPair>,
    /// Keys to be grouped again.
    left: Vec<Key>,
    sets: LockSets,
    attempts: Attempts,
}

/// Some keys of one region.
#[derive(Debug)]
struct Part {
    region: RegionVersion,
    /// Keys without an answer yet.
    open: Vec<Key>,
    found: Vec<KvPair>,
    view: View,
    attempts: Attempts,
    phase: Phase,
}

impl Part {
    fn call(&self) -> Phase {
        let message = pb::BatchGetRequest {
            keys: self.open.iter().map(|key| key.0.clone()).collect(),
            version: self.view.ts().0,
            ..Default::default()
        };
        let key = self.open.first().cloned().unwrap_or_default();
        let route = Route::Region { key, region: self.region };
        let call = RegionCall::new(OPERATION, route, self.view.request(&message));
        Phase::Calling(Box::new(call.resume(self.attempts.clone()).at_leader(self.view.met)))
    }

    /// Takes an answer in; says whether locks were met.
    fn answered(&mut self, reply: Reply, cx: &mut Cx<'_>) -> Result<bool, Error> {
        let response: pb::BatchGetResponse = reply.decode(OPERATION)?;
        if let Some(error) = response.error {
            // The answer as a whole failed: what else is in it does not count.
            let locks = self.locks(*error)?;
            self.view.meet(locks, cx);
            return Ok(true);
        }
        let mut met = Vec::new();
        for pair in response.pairs {
            match pair.error {
                Some(error) => met.extend(self.locks(*error)?),
                None if pair.value.is_empty() => {}
                None => self.found.push(KvPair { key: pair.key.into(), value: pair.value }),
            }
        }
        self.open = keys(&met).collect();
        self.open.sort_unstable();
        self.open.dedup();
        if met.is_empty() {
            return Ok(false);
        }
        self.view.meet(met, cx);
        Ok(true)
    }

    fn locks(&self, error: pb::KeyError) -> Result<Vec<Lock>, Error> {
        match classify(error) {
            Refusal::Locked(locks) => Ok(locks),
            other => Err(self.view.asked.error(other)),
        }
    }

    fn end(&mut self) -> Poll<Result<PartEnd, Error>> {
        Poll::Ready(Ok(PartEnd {
            found: std::mem::take(&mut self.found),
            left: std::mem::take(&mut self.open),
            sets: std::mem::take(&mut self.view.sets),
            attempts: self.attempts.clone(),
        }))
    }
}

impl Machine for Part {
    type Output = Result<PartEnd, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            self.phase = match &mut self.phase {
                Phase::Ready => self.call(),
                Phase::Calling(call) => {
                    let end = ready!(call.step(cx));
                    self.attempts = call.attempts().clone();
                    let met = match end {
                        Ok(reply) => self.answered(reply, cx)?,
                        Err(Unanswered::Regroup { .. }) => false,
                        Err(unanswered) => return Poll::Ready(Err(unanswered.into_error(OPERATION))),
                    };
                    if !met {
                        return self.end();
                    }
                    Phase::Meeting
                }
                Phase::Meeting => {
                    ready!(self.view.step(cx))?;
                    Phase::Ready
                }
            };
        }
    }
}

/// Reads many keys at a timestamp. See the module.
#[derive(Debug)]
pub struct BatchGetMachine {
    ts: Timestamp,
    redacted: bool,
    spread: Spread<Key, Part>,
    /// In the order of answers: each region's are sorted.
    found: Vec<KvPair>,
    sets: LockSets,
    attempts: Attempts,
}

impl BatchGetMachine {
    /// Reads `keys` at `ts`, with at most `limit` requests at work at a time. A key that is given twice is read once.
    #[must_use]
    pub fn new(mut keys: Vec<Key>, ts: Timestamp, limit: usize, redacted: bool) -> Self {
        keys.sort_unstable();
        keys.dedup();
        Self {
            ts,
            redacted,
            spread: Spread::new(keys, limit),
            found: Vec::new(),
            sets: LockSets::default(),
            attempts: Attempts::default(),
        }
    }

    /// Adds pairs that are known without a read: the transaction's own writes.
    pub(crate) fn known(mut self, pairs: impl IntoIterator<Item = KvPair>) -> Self {
        self.found.extend(pairs);
        self
    }
}

impl Machine for BatchGetMachine {
    type Output = Result<Vec<KvPair>, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            let Self { ts, redacted, sets, attempts, .. } = self;
            let end = ready!(self.spread.next(cx, |group| {
                let part = |open: Vec<Key>| Part {
                    region: group.to.region,
                    open,
                    found: Vec::new(),
                    view: View::new(OPERATION, *ts, false, sets.clone(), *redacted),
                    attempts: attempts.clone(),
                    phase: Phase::Ready,
                };
                CUT.apply(group.items).into_iter().map(part).collect()
            }));
            match end.map_err(|fault| Error::of_fault(OPERATION, fault))? {
                Some(part) => {
                    let PartEnd { found, left, sets, attempts } = part?;
                    self.found.extend(found);
                    self.sets.merge(sets);
                    if !left.is_empty() {
                        self.attempts = attempts;
                        self.spread.again(left);
                    }
                }
                None => {
                    let mut found = std::mem::take(&mut self.found);
                    // Stable, because that sort takes runs in order as they are.
                    found.sort_by(|one, other| one.key.cmp(&other.key));
                    found.dedup_by(|later, first| later.key == first.key);
                    return Poll::Ready(Ok(found));
                }
            }
        }
    }
}
