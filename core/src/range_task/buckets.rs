//! The buckets of the region that holds a key, as PD has them now. The directory learns them.
//!
//! ```text
//! Finding --region--> Asking --buckets of this version--> done
//!    ^                   | the region has changed
//!    +--- Pausing <------+
//! ```
//!
//! client-go: `internal/locate/region_cache.go: UpdateBucketsIfNeeded, LocateBucket`.

use std::sync::Arc;
use std::task::{Poll, ready};

use crate::backoff::{Attempts, Kind};
use crate::codec::Mode;
use crate::error::Error;
use crate::machine::{Cx, Fault, Feedback, Fired, Machine, Place, Question, StaleReason, Ticket};
use crate::pd::PdReply;
use crate::region::Buckets;
use crate::region_call::FindRegion;
use crate::types::{Key, KeyRange, Located};

const OPERATION: &str = "buckets";

#[derive(Debug)]
enum Phase {
    Finding(FindRegion),
    Asking { to: Located, range: KeyRange, ticket: Ticket<PdReply> },
    Pausing(Ticket<Fired>),
}

/// Finds the buckets of a region. See the module.
#[derive(Debug)]
pub struct BucketsMachine {
    key: Key,
    mode: Mode,
    phase: Phase,
    attempts: Attempts,
}

impl BucketsMachine {
    /// The buckets of the region that holds `key`; PD has keys in the form `mode`.
    #[must_use]
    pub fn new(key: Key, mode: Mode) -> Self {
        let phase = Phase::Finding(FindRegion::new(Place::Holding(key.clone())));
        Self { key, mode, phase, attempts: Attempts::default() }
    }
}

/// The ranges between the bounds, cut to the region: the whole region when it has none.
fn cut(buckets: Option<&Buckets>, range: &KeyRange) -> Vec<KeyRange> {
    let Some(buckets) = buckets else { return vec![range.clone()] };
    let (mut ranges, mut from) = (Vec::new(), range.start.clone());
    while let Some(bucket) = buckets.locate(from.as_slice(), range) {
        let end = bucket.end.clone();
        ranges.push(bucket);
        if end.is_empty() || end <= from {
            break;
        }
        from = end;
    }
    ranges
}

impl Machine for BucketsMachine {
    type Output = Result<Vec<KeyRange>, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let fault = |fault: Fault| Error::of_fault(OPERATION, fault);
        loop {
            self.phase = match &mut self.phase {
                Phase::Finding(finding) => {
                    let (to, range) = ready!(finding.step(cx)).map_err(fault)?;
                    let ticket = cx.ask_pd(Question::Buckets(to.region.id));
                    Phase::Asking { to, range, ticket }
                }
                Phase::Asking { to, range, ticket } => {
                    let reply = ready!(cx.take(ticket)).map_err(fault)?;
                    let PdReply::Buckets(told) = reply else { return Poll::Ready(Err(unexpected(&reply))) };
                    match told {
                        Some(told) if told.region == to.region => {
                            let decode = |key: &bytes::Bytes| self.mode.ceil_bound(key);
                            let keys: Vec<Key> = told.keys.iter().map(decode).collect();
                            let buckets = (told.version > 0).then(|| Buckets::new(told.version, keys));
                            let ranges = cut(buckets.as_ref(), range);
                            if let Some(buckets) = buckets.map(Arc::new) {
                                cx.report(Feedback::Buckets { region: to.region, buckets });
                            }
                            return Poll::Ready(Ok(ranges));
                        }
                        Some(told) => {
                            // One of the two is of yesterday: PD is believed at the next look.
                            if told.region.version > to.region.version {
                                let (region, why) = (to.region, StaleReason::Other);
                                cx.report(Feedback::Stale { region, why });
                            }
                        }
                        None => {
                            let (region, why) = (to.region, StaleReason::RegionNotFound);
                            cx.report(Feedback::Stale { region, why });
                        }
                    }
                    let reason = format!("PD has region {} in another version", to.region.id);
                    let pause = cx.back_off(Kind::RegionMiss, &mut self.attempts, reason);
                    Phase::Pausing(
                        pause.map_err(|account| Error::Exhausted { operation: OPERATION, account })?,
                    )
                }
                Phase::Pausing(ticket) => {
                    ready!(cx.take(ticket)).map_err(fault)?;
                    Phase::Finding(FindRegion::new(Place::Holding(self.key.clone())))
                }
            };
        }
    }
}

fn unexpected(reply: &PdReply) -> Error {
    Error::Corrupt { operation: OPERATION, detail: format!("asked for buckets, got {reply:?}").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_their_region_once() {
        let texts = |keys: &[&str], range: KeyRange| {
            let keys: Vec<Key> = keys.iter().map(|&key| key.into()).collect();
            let buckets = Buckets::new(3, keys);
            let text = |range: KeyRange| {
                let bound = |key: Key| String::from_utf8(key.as_slice().to_vec()).unwrap();
                format!("{}-{}", bound(range.start), bound(range.end))
            };
            cut(Some(&buckets), &range).into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(texts(&["a", "c", "e"], KeyRange::new("a", "e")), ["a-c", "c-e"]);
        assert_eq!(texts(&["", "c", ""], KeyRange::ALL), ["-c", "c-"]);
        assert_eq!(texts(&["c", "d"], KeyRange::new("a", "z")), ["a-c", "c-d", "d-z"]);
        assert_eq!(texts(&["a", "c", "z"], KeyRange::new("b", "d")), ["b-c", "c-d"]);
        assert_eq!(texts(&[], KeyRange::new("b", "d")), ["b-d"]);
        assert_eq!(cut(None, &KeyRange::new("b", "d")), [KeyRange::new("b", "d")]);
    }
}
