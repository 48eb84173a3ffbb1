//! The machine of one request to one region.
//!
//! ```text
//!              known                     answer
//! Locating ------------> InFlight ------------------> reply
//!   |  ^  \  unknown        |  region error or no answer
//!   |  |   v                v
//!   |  | Loading        (classify)
//!   |  |   |             |      \  pause
//!   |  +---+             |       v
//!   |  ^-----------------+    BackingOff
//!   |  ^-------------------------+
//!   v
//! regroup: the region is not the one the request was made for
//! ```
//!
//! | phase | completion | next | effects |
//! |---|---|---|---|
//! | Locating | (fact) known, of the wanted version | InFlight | call |
//! | Locating | (fact) known, of another version than the request was made for | ends: regroup | – |
//! | Locating | (fact) unknown | Loading | ask for the region |
//! | Loading | region | Locating | – |
//! | InFlight | answer without region error | ends: reply | – |
//! | InFlight | region error, no answer | as [`classify`](super::classify) says | report, timer |
//! | BackingOff | fired | Locating | – |
//! | any | interrupted | ends: failure | – |
//!
//! client-go: `internal/locate/region_request.go: SendReqCtx`.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::classify::{Reaction, Situation, Verdict, classify, classify_transport};
use crate::backoff::{Attempts, Kind};
use crate::codec::Mode;
use crate::error::{Error, ServiceError};
use crate::machine::{Attempt, Cx, Fault, Fired, Place, Ticket, TransportClass, TransportFault};
use crate::request::{Command, Request, response};
use crate::types::{Key, Located, RegionVersion};

/// What an attempt may take. client-go: `internal/client/client.go: ReadTimeoutShort`.
const ATTEMPT: Duration = Duration::from_secs(30);

/// How often a request is sent again at once before a pause: two stores that name each other as the leader, or one that
/// gives the same answer for ever, must not be asked as fast as they answer.
const AT_ONCE: u32 = 3;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// To the region that holds the key, whichever that is.
    Key(Key),
    /// To the region that holds the keys just below the key; empty: to the last region.
    Below(Key),
    /// To this region, in this version only: the request was made for its range. The key is one within it.
    Region {
        /// A key of the region.
        key: Key,
        /// The region.
        region: RegionVersion,
    },
}

/// An answer without region error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The encoded response.
    pub body: Bytes,
    /// The region that answered.
    pub from: Located,
}

impl Reply {
    /// The response as its message.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is none.
    pub fn decode<R: Message + Default>(self, operation: &'static str) -> Result<R, Error> {
        R::decode(self.body).map_err(|error| Error::corrupt(operation, &error))
    }
}

/// Why there is no reply. `may_have_happened` says whether an attempt may have been executed although no answer came: what
/// a commit must know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Unanswered {
    /// The region is not the one that the request was made for: its keys are to be grouped again. The pause that this
    /// needs is over already. Only [`Route::Region`] ends so.
    Regroup {
        /// See the enum.
        may_have_happened: bool,
    },
    /// It cannot be done.
    Failed {
        /// The error for the caller.
        error: Error,
        /// See the enum.
        may_have_happened: bool,
    },
}

impl Unanswered {
    /// The error of a route that never regroups.
    #[must_use]
    pub fn into_error(self, operation: &'static str) -> Error {
        match self {
            Self::Failed { error, .. } => error,
            Self::Regroup { .. } => {
                Error::Corrupt { operation, detail: "a request by key was asked to regroup".into() }
            }
        }
    }
}

#[derive(Debug)]
enum Phase {
    Locating,
    Loading { region: Ticket<Located> },
    InFlight { call: Ticket<Bytes>, to: Located },
    BackingOff { timer: Ticket<Fired> },
}

/// One request to one region. See the module for its phases.
#[derive(Debug)]
pub struct RegionCall {
    operation: &'static str,
    route: Route,
    request: Arc<Request>,
    /// The form of keys at PD, where the command alone does not say it.
    mode: Option<Mode>,
    phase: Phase,
    attempts: Attempts,
    /// Attempts that were sent.
    sent: u32,
    /// How often it was sent at once since the last pause.
    at_once: u32,
    /// A request was sent and its fate is not known.
    lost: bool,
    /// What went wrong last, for the text of an interrupt.
    last: Option<Arc<str>>,
}

impl RegionCall {
    /// A request that goes where `route` says; errors name `operation`.
    #[must_use]
    pub fn new(operation: &'static str, route: Route, request: Arc<Request>) -> Self {
        Self {
            operation,
            route,
            request,
            mode: None,
            phase: Phase::Locating,
            attempts: Attempts::default(),
            sent: 0,
            at_once: 0,
            lost: false,
            last: None,
        }
    }

    /// Says in which form the region errors have their keys, of a command that is of no key space.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Goes on with the pauses of a call before it, whose region changed: they grow, they do not begin anew.
    #[must_use]
    pub fn resume(mut self, attempts: Attempts) -> Self {
        self.attempts = attempts;
        self
    }

    /// Says that the request repeats one that was sent before: the store may look for what that one left.
    #[must_use]
    pub fn repeating(mut self) -> Self {
        self.sent = self.sent.max(1);
        self
    }

    /// How often the call was set back so far.
    #[must_use]
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// Goes one step; see [`Machine::step`](crate::machine::Machine::step).
    pub fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<Reply, Unanswered>> {
        loop {
            let next = match &self.phase {
                Phase::Locating => self.locate(cx),
                Phase::Loading { region } => match ready!(cx.take(region)) {
                    // PD's answer itself: should it be older than the truth, the store says so.
                    Ok(located) => self.found(located, cx),
                    Err(fault) => Err(self.fail(fault)),
                },
                Phase::InFlight { call, to } => {
                    let to = *to;
                    match ready!(cx.take(call)) {
                        Ok(body) => match self.answer(&body, to, cx) {
                            Ok(None) => return Poll::Ready(Ok(Reply { body, from: to })),
                            Ok(Some(phase)) => Ok(phase),
                            Err(failure) => Err(failure),
                        },
                        Err(fault) => self.no_answer(fault, to, cx),
                    }
                }
                Phase::BackingOff { timer } => match ready!(cx.take(timer)) {
                    Ok(_) => Ok(Phase::Locating),
                    Err(fault) => Err(self.fail(fault)),
                },
            };
            match next {
                Ok(phase) => self.phase = phase,
                Err(failure) => return Poll::Ready(Err(*failure)),
            }
        }
    }

    fn locate(&mut self, cx: &mut Cx<'_>) -> Result<Phase, Box<Unanswered>> {
        let (located, place) = match &self.route {
            Route::Key(key) => (cx.locate(key.as_slice()), Place::Holding(key.clone())),
            Route::Below(key) => (cx.locate_below(key.as_slice()), Place::Below(key.clone())),
            Route::Region { key, .. } => (cx.locate(key.as_slice()), Place::Holding(key.clone())),
        };
        match located {
            Some(to) => self.found(to, cx),
            None => Ok(Phase::Loading { region: cx.load(place) }),
        }
    }

    /// Sends to the region that was found, if it is the one that the request was made for.
    fn found(&mut self, to: Located, cx: &mut Cx<'_>) -> Result<Phase, Box<Unanswered>> {
        if let Route::Region { region, .. } = &self.route
            && to.region != *region
        {
            return Err(self.regroup());
        }
        let deadline = (cx.now() + ATTEMPT).min(cx.deadline());
        let left = deadline.since(cx.now()).as_millis();
        let attempt = Attempt {
            to,
            retry: self.sent > 0,
            max_execution_ms: u32::try_from(left).unwrap_or(u32::MAX).max(1),
        };
        self.sent += 1;
        Ok(Phase::InFlight { call: cx.call(attempt, Arc::clone(&self.request), deadline), to })
    }

    /// What an answer leads to: `None` when it is the reply.
    fn answer(
        &mut self,
        body: &Bytes,
        to: Located,
        cx: &mut Cx<'_>,
    ) -> Result<Option<Phase>, Box<Unanswered>> {
        let error = match response::region_error(self.request.command(), body) {
            Ok(None) => return Ok(None),
            Ok(Some(error)) => error,
            Err(error) => {
                // The store did something; what, nobody can read.
                self.lost |= self.request.command().writes();
                return Err(self.failure(Error::corrupt(self.operation, &error)));
            }
        };
        let verdict = classify(&error, &self.situation(to, cx));
        self.react(verdict, to, cx).map(Some)
    }

    fn no_answer(&mut self, fault: Fault, to: Located, cx: &mut Cx<'_>) -> Result<Phase, Box<Unanswered>> {
        let fault = match fault {
            Fault::Transport(fault) => fault,
            // Nothing was sent, and the store's regions are elsewhere by now.
            Fault::Refused(error @ ServiceError::StoreRemoved { .. }) => {
                TransportFault::new(TransportClass::Unreachable, error.to_string())
            }
            fault => {
                // An interrupt: the request is on its way, or was executed.
                self.lost |= matches!(fault, Fault::Interrupted(_) | Fault::Late(_));
                return Err(self.fail(fault));
            }
        };
        self.lost |= fault.class.may_have_happened();
        let verdict = classify_transport(&fault, &self.situation(to, cx));
        self.react(verdict, to, cx)
    }

    fn situation(&self, to: Located, cx: &Cx<'_>) -> Situation {
        Situation { to, mode: self.mode.unwrap_or_else(|| cx.mode(self.request.command())) }
    }

    fn react(&mut self, verdict: Verdict, to: Located, cx: &mut Cx<'_>) -> Result<Phase, Box<Unanswered>> {
        let Verdict { reports, reaction, reason } = verdict;
        for feedback in reports {
            cx.report(feedback);
        }
        self.last = Some(Arc::clone(&reason));
        let kind = match reaction {
            Reaction::Again if self.at_once < AT_ONCE => {
                self.at_once += 1;
                return Ok(Phase::Locating);
            }
            Reaction::Again => Kind::RegionScheduling,
            Reaction::BackOff(kind) => kind,
            Reaction::Fail => return Err(self.refused(to, reason)),
            // What it locked is its transaction's own, and so is the answer of a second one: it can be sent again.
            // client-go: `txnkv/transaction/prewrite.go: handleRegionErr`.
            Reaction::Undetermined if self.request.command() == Command::Prewrite => {
                self.lost = true;
                Kind::RegionMiss
            }
            Reaction::Undetermined => {
                self.lost = true;
                return Err(self.refused(to, reason));
            }
        };
        self.at_once = 0;
        match cx.back_off(kind, &mut self.attempts, reason) {
            Ok(timer) => Ok(Phase::BackingOff { timer }),
            Err(account) => Err(self.failure(Error::Exhausted { operation: self.operation, account })),
        }
    }

    fn refused(&self, to: Located, message: Arc<str>) -> Box<Unanswered> {
        self.failure(Error::Region { region: to.region.id, store: to.store, message })
    }

    fn fail(&self, fault: Fault) -> Box<Unanswered> {
        let error = match fault {
            Fault::Interrupted(why) => {
                Error::Interrupted { operation: self.operation, why, last: self.last.clone() }
            }
            other => Error::of_fault(self.operation, other),
        };
        self.failure(error)
    }

    fn failure(&self, error: Error) -> Box<Unanswered> {
        Box::new(Unanswered::Failed { error, may_have_happened: self.lost })
    }

    fn regroup(&self) -> Box<Unanswered> {
        Box::new(Unanswered::Regroup { may_have_happened: self.lost })
    }
}
