//! Deleting a range: region by region, each request clipped to its region.
//!
//! ```text
//! Finding --region and range--> Deleting --done--> Finding (behind it) ... over
//!    ^                             | region changed
//!    +-----------------------------+
//! ```
//!
//! Not atomic: keys written behind the place that is being deleted survive.
//!
//! client-go: `rawkv/rawkv.go: DeleteRange`.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use crate::backoff::Attempts;
use crate::error::Error;
use crate::machine::{Cx, Machine, Place, behind};
use crate::region_call::{FindRegion, RegionCall, Reply, Route, Unanswered};
use crate::request::{Profile, Request};
use crate::types::{Key, KeyRange, Located};

const OPERATION: &str = "raw delete range";

#[derive(Debug)]
enum Phase {
    Finding(FindRegion),
    Deleting { call: Box<RegionCall>, next: Option<Key> },
}

/// The machine of a range delete. See the module.
#[derive(Debug)]
pub struct DeleteRangeMachine {
    left: KeyRange,
    cf: Cow<'static, str>,
    attempts: Attempts,
    phase: Phase,
}

impl DeleteRangeMachine {
    /// Deletes the keys of `range` from the column family `cf` (empty: the default one).
    #[must_use]
    pub fn new(range: KeyRange, cf: impl Into<Cow<'static, str>>) -> Self {
        let phase = Phase::Finding(FindRegion::new(Place::Holding(range.start.clone())));
        Self { left: range, cf: cf.into(), attempts: Attempts::default(), phase }
    }

    fn delete(&self, to: Located, span: &KeyRange) -> Phase {
        let next = behind(&self.left, span);
        let end = next.clone().unwrap_or_else(|| self.left.end.clone());
        let message = pb::RawDeleteRangeRequest {
            start_key: self.left.start.clone().into(),
            end_key: end.into(),
            cf: self.cf.clone().into_owned(),
            ..Default::default()
        };
        let route = Route::Region { key: self.left.start.clone(), region: to.region };
        let request = Arc::new(Request::new(&message, Profile::default()));
        let call = RegionCall::new(OPERATION, route, request).resume(self.attempts.clone());
        let call = Box::new(call);
        Phase::Deleting { call, next }
    }
}

fn check(reply: Reply) -> Result<(), Error> {
    let response: pb::RawDeleteRangeResponse = reply.decode(OPERATION)?;
    if response.error.is_empty() {
        return Ok(());
    }
    Err(Error::Server { operation: OPERATION, key: None, message: response.error.into() })
}

impl Machine for DeleteRangeMachine {
    type Output = Result<(), Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        if self.left.is_empty() {
            return Poll::Ready(Ok(()));
        }
        loop {
            self.phase = match &mut self.phase {
                Phase::Finding(finding) => match ready!(finding.step(cx)) {
                    Ok((to, span)) => self.delete(to, &span),
                    Err(fault) => return Poll::Ready(Err(Error::of_fault(OPERATION, fault))),
                },
                Phase::Deleting { call, next } => {
                    match ready!(call.step(cx)) {
                        Ok(reply) => {
                            check(reply)?;
                            match next.take() {
                                Some(key) => self.left.start = key,
                                None => return Poll::Ready(Ok(())),
                            }
                        }
                        Err(Unanswered::Regroup { .. }) => self.attempts = call.attempts().clone(),
                        Err(unanswered) => return Poll::Ready(Err(unanswered.into_error(OPERATION))),
                    }
                    Phase::Finding(FindRegion::new(Place::Holding(self.left.start.clone())))
                }
            };
        }
    }
}
