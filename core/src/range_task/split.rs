//! Splitting regions at keys, and having what came out scattered.
//!
//! ```text
//! Splitting --every region has split--> Scattering (if asked for) --> done
//! ```
//!
//! Keys are grouped by region; each region's leader gets them in requests of at most [`MOST`] keys, side by side. Keys whose
//! region changed meanwhile are grouped again. A key that a region begins with already needs no split: it goes nowhere, so
//! splitting again at the same keys changes nothing. The directory learns what came out.
//!
//! client-go: `tikv/split_region.go: SplitRegions`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;

use super::{ScatterMachine, Split};
use crate::backoff::Attempts;
use crate::codec::Mode;
use crate::error::Error;
use crate::machine::{Cx, Feedback, Machine};
use crate::region_call::spread::Spread;
use crate::region_call::{Cut, RegionCall, Reply, Route, Unanswered, region_info};
use crate::request::{Profile, Request};
use crate::types::{Key, RegionId, RegionInfo, RegionVersion};
use tikv_proto::kvrpcpb as pb;

const OPERATION: &str = "split regions";

/// Keys in one request. client-go: `tikv/split_region.go: splitBatchRegionLimit`, where one more goes through.
const MOST: usize = 2048;

/// Splits one region at some keys.
#[derive(Debug)]
struct SplitOne {
    region: RegionVersion,
    keys: Vec<Key>,
    mode: Mode,
    attempts: Attempts,
    call: Option<RegionCall>,
}

/// The keys, how often they were set back, and what the region's leader said; no reply: there was nothing to do.
type OneEnd = (Vec<Key>, Attempts, Result<Option<Reply>, Unanswered>);

impl Machine for SplitOne {
    type Output = OneEnd;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<OneEnd> {
        if self.call.is_none() {
            if let Some(span) = cx.span(self.region) {
                self.keys.retain(|key| *key != span.start);
            }
            let Some(first) = self.keys.first().cloned() else {
                return Poll::Ready((Vec::new(), self.attempts.clone(), Ok(None)));
            };
            let split_keys = self.keys.iter().map(|key| Bytes::from(key.clone())).collect();
            let is_raw_kv = self.mode == Mode::Raw;
            let message = pb::SplitRegionRequest { context: None, split_keys, is_raw_kv };
            let request = Arc::new(Request::new(&message, Profile::default()));
            let route = Route::Region { key: first, region: self.region };
            let call = RegionCall::new(OPERATION, route, request).with_mode(self.mode);
            self.call = Some(call.resume(self.attempts.clone()));
        }
        let Some(call) = &mut self.call else { return Poll::Pending };
        let end = ready!(call.step(cx)).map(Some);
        Poll::Ready((std::mem::take(&mut self.keys), call.attempts().clone(), end))
    }
}

#[derive(Debug)]
enum Phase {
    Splitting(Spread<Key, SplitOne>),
    Scattering(ScatterMachine),
}

/// Splits regions. See the module.
#[derive(Debug)]
pub struct SplitMachine {
    mode: Mode,
    scatter: Option<String>,
    regions: BTreeSet<RegionId>,
    attempts: Attempts,
    phase: Phase,
}

impl SplitMachine {
    /// Splits at `keys`, at most `limit` requests at work at a time; `scatter`: and scatters the new regions, of that group.
    #[must_use]
    pub fn new(mut keys: Vec<Key>, scatter: Option<String>, mode: Mode, limit: usize) -> Self {
        // The first region begins with the empty key in any case.
        keys.retain(|key| !key.is_empty());
        keys.sort_unstable();
        keys.dedup();
        let phase = Phase::Splitting(Spread::new(keys, limit));
        Self { mode, scatter, regions: BTreeSet::new(), attempts: Attempts::default(), phase }
    }

    /// The regions that stand where one was.
    fn split(&mut self, reply: Reply, cx: &mut Cx<'_>) -> Result<(), Error> {
        let (old, store) = (reply.from.region, reply.from.store);
        let response: pb::SplitRegionResponse = reply.decode(OPERATION)?;
        let lead = |info: RegionInfo| {
            // Its leader has split it, and leads all parts at first.
            let leader = info.peers.iter().find(|peer| peer.store == store).map(|peer| peer.id);
            RegionInfo { leader, ..info }
        };
        let infos = response.regions.iter().filter_map(|region| region_info(region, self.mode)).map(lead);
        let new: Arc<[RegionInfo]> = infos.collect();
        self.regions.extend(new.iter().map(|info| info.version.id).filter(|id| *id != old.id));
        if !new.is_empty() {
            cx.report(Feedback::Regions { old, new });
        }
        Ok(())
    }

    fn done(&mut self, unscattered: Vec<RegionId>) -> Poll<Result<Split, Error>> {
        let regions = std::mem::take(&mut self.regions).into_iter().collect();
        Poll::Ready(Ok(Split { regions, unscattered }))
    }
}

impl Machine for SplitMachine {
    type Output = Result<Split, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.phase {
                Phase::Splitting(spread) => {
                    let (mode, attempts) = (self.mode, &self.attempts);
                    let cut = Cut { count: MOST, bytes: usize::MAX };
                    let end = ready!(spread.next(cx, |group| {
                        let region = group.to.region;
                        let one =
                            |keys| SplitOne { region, keys, mode, attempts: attempts.clone(), call: None };
                        cut.apply(group.items).into_iter().map(one).collect()
                    }));
                    match end.map_err(|fault| Error::of_fault(OPERATION, fault))? {
                        Some((_, _, Ok(Some(reply)))) => self.split(reply, cx)?,
                        Some((_, _, Ok(None))) => {}
                        Some((keys, attempts, Err(Unanswered::Regroup { .. }))) => {
                            self.attempts = attempts;
                            spread.again(keys);
                        }
                        Some((_, _, Err(unanswered))) => {
                            return Poll::Ready(Err(unanswered.into_error(OPERATION)));
                        }
                        None => {
                            let Some(group) = self.scatter.take() else { return self.done(Vec::new()) };
                            let regions = self.regions.iter().copied().collect();
                            self.phase = Phase::Scattering(ScatterMachine::new(regions, group));
                        }
                    }
                }
                Phase::Scattering(scatter) => {
                    let unscattered = ready!(scatter.step(cx))?;
                    return self.done(unscattered);
                }
            }
        }
    }
}
