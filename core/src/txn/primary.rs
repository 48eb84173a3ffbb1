//! One request about a transaction's primary, and about those keys behind it that its region holds.
//!
//! ```text
//! Finding ──> Calling ──> reply
//!    ^           |  \──> failure
//!    +-----------+ (region changed)
//! ```
//!
//! client-go: `txnkv/transaction/2pc.go: doActionOnGroupMutations` (the primary's batch goes first and alone).

use std::sync::Arc;
use std::task::{Poll, ready};

use crate::backoff::Attempts;
use crate::error::Error;
use crate::machine::{Cx, Place};
use crate::region_call::{Cut, FindRegion, RegionCall, Reply, Route, Unanswered};
use crate::request::Request;
use crate::types::{Key, KeyRange};

/// There is no reply.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// A request was sent that may be, or come to be, executed.
    pub(super) may_have_happened: bool,
}

#[derive(Debug)]
enum Phase {
    Finding(FindRegion),
    Calling { call: Box<RegionCall>, count: usize },
}

/// See the module.
#[derive(Debug)]
pub(super) struct PrimaryCall {
    operation: &'static str,
    /// In order; the first is the primary.
    keys: Arc<[Key]>,
    attempts: Attempts,
    /// A request was handed over to be sent.
    sent: bool,
    /// One that was sent to an earlier version of the region got no answer.
    lost: bool,
    phase: Phase,
}

impl PrimaryCall {
    pub(super) fn new(operation: &'static str, keys: Arc<[Key]>) -> Self {
        let primary = keys.first().cloned().unwrap_or_default();
        let phase = Phase::Finding(FindRegion::new(Place::Holding(primary)));
        Self { operation, keys, attempts: Attempts::default(), sent: false, lost: false, phase }
    }

    /// Whether a request may have reached a store.
    pub(super) fn was_sent(&self) -> bool {
        self.sent
    }

    /// Goes one step. The reply comes with how many keys it is about, and whether an attempt before it got no answer: a copy
    /// of the request may then still be under way. `request` makes it for some keys, the primary first.
    pub(super) fn step(
        &mut self,
        cx: &mut Cx<'_>,
        request: impl Fn(&[Key]) -> Request,
    ) -> Poll<Result<(Reply, usize, bool), Failure>> {
        loop {
            match &mut self.phase {
                Phase::Finding(finding) => match ready!(finding.step(cx)) {
                    Ok((to, span)) => {
                        let count = neighbours(&self.keys, &span);
                        let keys = self.keys.get(..count).unwrap_or_default();
                        let key = keys.first().cloned().unwrap_or_default();
                        let route = Route::Region { key, region: to.region };
                        let call = RegionCall::new(self.operation, route, Arc::new(request(keys)));
                        let call = Box::new(call.resume(self.attempts.clone()));
                        self.sent = true;
                        self.phase = Phase::Calling { call, count };
                    }
                    Err(fault) => {
                        let error = Error::of_fault(self.operation, fault);
                        return Poll::Ready(Err(Failure { error, may_have_happened: self.lost }));
                    }
                },
                Phase::Calling { call, count } => {
                    let end = ready!(call.step(cx));
                    self.attempts = call.attempts().clone();
                    match end {
                        Ok(reply) => {
                            // A reply does not tell of the attempts before it.
                            let lost = self.lost || call.lost_an_answer();
                            return Poll::Ready(Ok((reply, *count, lost)));
                        }
                        Err(Unanswered::Failed { error, may_have_happened }) => {
                            let may_have_happened = self.lost || may_have_happened;
                            return Poll::Ready(Err(Failure { error, may_have_happened }));
                        }
                        Err(Unanswered::Regroup { may_have_happened }) => {
                            self.lost |= may_have_happened;
                            let primary = self.keys.first().cloned().unwrap_or_default();
                            self.phase = Phase::Finding(FindRegion::new(Place::Holding(primary)));
                        }
                    }
                }
            }
        }
    }
}

/// How many of `keys` go in one request to the region of `span`, which holds the first.
fn neighbours(keys: &[Key], span: &KeyRange) -> usize {
    let mut bytes = 0;
    let fits = |key: &&Key| {
        let room = bytes < Cut::TXN.bytes;
        bytes += key.len();
        room && span.contains(key.as_slice())
    };
    keys.iter().take_while(fits).count().max(1).min(keys.len())
}
