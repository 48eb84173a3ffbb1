//! The machine of one key's read.
//!
//! ```text
//! Calling ──> value
//!  |   ^
//!  v   | the way is free
//! Meeting
//! ```
//!
//! | phase | completion | next | effects |
//! |---|---|---|---|
//! | Calling | value, not found | ends | – |
//! | Calling | locked | Meeting | those of `MeetLocks` |
//! | Calling | other key error | ends: error | – |
//! | Meeting | free | Calling, with the locks to go round | call |
//!
//! client-go: `txnkv/txnsnapshot/snapshot.go: get`.

use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::view::View;
use crate::error::Error;
use crate::lock::{LockSets, Refusal, classify};
use crate::machine::{Cx, Machine};
use crate::region_call::{RegionCall, Reply, Route};
use crate::types::{Key, Timestamp, Value};

const OPERATION: &str = "get";

#[derive(Debug)]
enum Phase {
    /// Before the first step, and when the way is free again.
    Ready,
    Calling(Box<RegionCall>),
    Meeting,
    /// The answer was known without a read.
    Known(Option<Value>),
}

/// Reads one key at a timestamp. See the module for its phases.
#[derive(Debug)]
pub struct GetMachine {
    key: Key,
    view: View,
    phase: Phase,
}

impl GetMachine {
    /// Reads `key` at `ts`.
    #[must_use]
    pub fn new(key: Key, ts: Timestamp, redacted: bool) -> Self {
        let view = View::new(OPERATION, ts, true, LockSets::default(), redacted);
        Self { key, view, phase: Phase::Ready }
    }

    /// Answers what is known: the transaction's own write.
    pub(crate) fn known(mut self, value: Option<Value>) -> Self {
        self.phase = Phase::Known(value);
        self
    }

    fn call(&self) -> Phase {
        let message =
            pb::GetRequest { key: self.key.0.clone(), version: self.view.ts().0, ..Default::default() };
        let route = Route::Key(self.key.clone());
        let call = RegionCall::new(OPERATION, route, self.view.request(&message));
        Phase::Calling(Box::new(call.at_leader(self.view.met)))
    }

    /// The value, unless the key is locked.
    fn answered(&mut self, reply: Reply, cx: &mut Cx<'_>) -> Result<Option<Option<Value>>, Error> {
        let response: pb::GetResponse = reply.decode(OPERATION)?;
        match response.error.map(|error| classify(*error)) {
            // A value of no bytes is none: TiKV answers so for deleted keys under some locks.
            None => Ok(Some((!response.not_found && !response.value.is_empty()).then_some(response.value))),
            Some(Refusal::Locked(locks)) => {
                self.view.meet(locks, cx);
                Ok(None)
            }
            Some(other) => Err(self.view.asked.error(other)),
        }
    }
}

impl Machine for GetMachine {
    type Output = Result<Option<Value>, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            self.phase = match &mut self.phase {
                Phase::Known(value) => return Poll::Ready(Ok(value.take())),
                Phase::Ready => self.call(),
                Phase::Calling(call) => match ready!(call.step(cx)) {
                    Ok(reply) => match self.answered(reply, cx)? {
                        Some(value) => return Poll::Ready(Ok(value)),
                        None => Phase::Meeting,
                    },
                    Err(unanswered) => return Poll::Ready(Err(unanswered.into_error(OPERATION))),
                },
                Phase::Meeting => {
                    ready!(self.view.step(cx))?;
                    Phase::Ready
                }
            };
        }
    }
}
