//! The machine of one request to one region.
//!
//! ```text
//!              known           chosen              answer
//! Locating --------> (choose) --------> InFlight -----------> reply
//!   |  ^  \ unknown   |  ^    \ owes      |  region error or no answer
//!   |  |   v          |  |     v          v
//!   |  | Loading      |  +-- Owing     (classify)
//!   |  |   |          |                |      \  pause
//!   |  +---+          | nobody left    |       v
//!   |  ^--------------+----------------+    BackingOff
//!   |  ^---------------------------------------+
//!   v
//! regroup: the region is not the one the request was made for
//! ```
//!
//! | phase | completion | next | effects |
//! |---|---|---|---|
//! | Locating | (fact) known, the leader is meant and nothing speaks against it | InFlight | call |
//! | Locating | (fact) known, a replica is chosen | InFlight | call |
//! | Locating | (fact) known, one is chosen whose store is owed a pause | Owing | timer |
//! | Locating | (fact) known, no replica is left | BackingOff | report, timer |
//! | Locating | (fact) known, of another version than the request was made for | ends: regroup | – |
//! | Locating | (fact) unknown | Loading | ask for the region |
//! | Loading | region | Locating | – |
//! | Owing | fired | InFlight | call |
//! | InFlight | answer without region error | ends: reply | – |
//! | InFlight | region error, no answer | as [`classify_read`](super::classify_read) says | report, timer |
//! | BackingOff | fired | Locating | – |
//! | any | interrupted | ends: failure | – |
//!
//! The choice is [`Walk`]'s, which begins with the first setback, or at once for a read that may go elsewhere; `setback` has what
//! follows an attempt without reply.
//!
//! client-go: `internal/locate/region_request.go: SendReqCtx`.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::backoff::{Attempts, Kind};
use crate::codec::Mode;
use crate::error::Error;
use crate::explain::{Explanation, Hop};
use crate::machine::{Asked, Attempt, Cx, Fault, Feedback, Fired, Interrupt, Place, Reader, Ticket};
use crate::replica::walk::Terms;
use crate::replica::{Chosen, ReadProfile, Replica, Walk};
use crate::request::{Command, Request, response};
use crate::types::{Instant, Key, Liveness, Located, RegionVersion, StoreId};

/// What an attempt may take. client-go: `internal/client/client.go: ReadTimeoutShort`.
const ATTEMPT: Duration = Duration::from_secs(30);

/// What an attempt of a command may take that reads much. client-go: `internal/client/client.go: ReadTimeoutMedium`.
const LONG_ATTEMPT: Duration = Duration::from_secs(60);

/// How often a request is sent again at once before a pause to a replica that was asked before, or to a region found anew: two stores
/// that name each other as the leader, or one that gives the same answer for ever, must not be asked as fast as they answer.
/// Replicas not asked before do not count; they are few.
pub(super) const AT_ONCE: u32 = 3;

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

/// Who an attempt goes to, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) to: Located,
    pub(super) leads: bool,
    pub(super) asked: Asked,
    pub(super) through: Option<StoreId>,
    pub(super) busy_threshold_ms: u32,
    pub(super) why: Chosen,
}

impl Target {
    fn leader(to: Located) -> Self {
        let (asked, why) = (Asked::Plainly, Chosen::Leader);
        Self { to, leads: true, asked, through: None, busy_threshold_ms: 0, why }
    }
}

#[derive(Debug)]
pub(super) enum Phase {
    Locating,
    Loading {
        region: Ticket<Located>,
    },
    /// A pause before an attempt whose target is chosen.
    Owing {
        timer: Ticket<Fired>,
        target: Target,
    },
    InFlight {
        call: Ticket<Bytes>,
        target: Target,
        sent: Instant,
    },
    BackingOff {
        timer: Ticket<Fired>,
    },
}

/// What a step leads to.
pub(super) type Next = Result<Phase, Box<Unanswered>>;

/// One request to one region. See the module for its phases.
#[derive(Debug)]
pub struct RegionCall {
    pub(super) operation: &'static str,
    route: Route,
    pub(super) request: Arc<Request>,
    /// The form of keys at PD, where the command alone does not say it.
    mode: Option<Mode>,
    phase: Phase,
    pub(super) attempts: Attempts,
    /// Attempts that were sent.
    sent: u32,
    /// Who was asked first.
    first: Option<Reader>,
    /// How often it was sent at once since the last pause, in the meaning of [`AT_ONCE`].
    pub(super) at_once: u32,
    /// The next attempt comes at once behind one that failed.
    pub(super) hurries: bool,
    /// A request was sent and its fate is not known.
    pub(super) lost: bool,
    /// It goes to the leader, whatever the operation's reads do.
    at_leader: bool,
    /// The walk over the region's replicas, once there is one. As long as there is, the region is not located again.
    pub(super) walk: Option<Box<Walk>>,
    /// A replica was given time to get the data of a stale read.
    pub(super) waited_for_data: bool,
    /// The caller's own time for an attempt has not helped: from now on they have the client's.
    pub(super) own_time_is_over: bool,
    /// The last attempt, until it is known what follows it.
    pub(super) hop: Option<Box<Hop>>,
    /// The leader's store, where it is known not to answer.
    pub(super) out_of_reach: Option<StoreId>,
    /// The attempts that failed.
    pub(super) trail: Option<Box<Explanation>>,
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
            first: None,
            at_once: 0,
            hurries: false,
            lost: false,
            at_leader: false,
            walk: None,
            waited_for_data: false,
            own_time_is_over: false,
            hop: None,
            out_of_reach: None,
            trail: None,
        }
    }

    /// Says in which form the region errors have their keys, of a command that is of no key space.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// The form of the keys in its region errors.
    pub(super) fn mode(&self, cx: &Cx<'_>) -> Mode {
        self.mode.unwrap_or_else(|| cx.mode(self.request.command()))
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

    /// Asks the leader, whatever else the operation's reads do: what was settled there is not everywhere yet.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: DisableStaleReadMeetLock`.
    #[must_use]
    pub fn at_leader(mut self, at_leader: bool) -> Self {
        self.at_leader = at_leader;
        self
    }

    /// How often the call was set back so far.
    #[must_use]
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// Whether an attempt may have been executed although no answer came.
    #[must_use]
    pub fn lost_an_answer(&self) -> bool {
        self.lost
    }

    /// Goes one step; see [`Machine::step`](crate::machine::Machine::step).
    pub fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<Reply, Unanswered>> {
        loop {
            let next = match &self.phase {
                Phase::Locating => self.locate(cx),
                Phase::Loading { region } => match ready!(cx.take(region)) {
                    // PD's answer itself: should it be older than the truth, the store says so.
                    Ok(located) => self.found(located, cx),
                    Err(fault) => Err(self.stopped(fault, cx)),
                },
                Phase::Owing { timer, target } => {
                    let target = *target;
                    match ready!(cx.take(timer)) {
                        Ok(_) => Ok(self.send(target, cx)),
                        Err(fault) => Err(self.stopped(fault, cx)),
                    }
                }
                Phase::InFlight { call, target, sent } => {
                    let (target, sent) = (*target, *sent);
                    match ready!(cx.take(call)) {
                        Ok(body) => match response::region_error(self.request.command(), &body) {
                            Ok(None) => {
                                self.answered(&target, sent, cx);
                                return Poll::Ready(Ok(Reply { body, from: target.to }));
                            }
                            Ok(Some(error)) => self.refused(&error, &target, sent, cx),
                            Err(error) => Err(self.corrupt(&error, &target, sent, cx)),
                        },
                        Err(fault) => self.no_answer(fault, &target, sent, cx),
                    }
                }
                Phase::BackingOff { timer } => match ready!(cx.take(timer)) {
                    Ok(_) => Ok(Phase::Locating),
                    Err(fault) => Err(self.stopped(fault, cx)),
                },
            };
            match next {
                Ok(phase) => self.phase = phase,
                Err(failure) => return Poll::Ready(Err(*failure)),
            }
        }
    }

    fn locate(&mut self, cx: &mut Cx<'_>) -> Next {
        if self.hop.is_some() && cx.now() >= cx.deadline() {
            // Nothing is sent for an answer that would come too late.
            return Err(self.stopped(Fault::Interrupted(Interrupt::Deadline), cx));
        }
        if self.walk.is_some() {
            // What is known of the region's replicas is enough: should the region have changed, a store says so.
            return self.choose(cx);
        }
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
    fn found(&mut self, to: Located, cx: &mut Cx<'_>) -> Next {
        if let Route::Region { region, .. } = &self.route
            && to.region != *region
        {
            return Err(self.regroup(cx));
        }
        // The way of nearly all requests: nothing is looked up but whether the leader's store answers.
        let goes_to_leader = self.profile(cx).is_none() && cx.store(to.store).liveness == Liveness::Reachable;
        if goes_to_leader || self.begin_walk(to.region, cx).is_none() {
            return Ok(self.send(Target::leader(to), cx));
        }
        self.choose(cx)
    }

    /// What the caller wants of its reads, if this is one that may go elsewhere.
    fn profile<'a>(&self, cx: &'a Cx<'_>) -> Option<&'a Arc<ReadProfile>> {
        let reading = cx.manner().reading.as_ref()?;
        (!self.at_leader && may_go_elsewhere(self.request.command())).then_some(reading)
    }

    /// Begins the walk over the replicas of a region, unless there is one or the directory does not know them.
    pub(super) fn begin_walk(&mut self, region: RegionVersion, cx: &Cx<'_>) -> Option<&mut Box<Walk>> {
        if self.walk.is_none() {
            let terms = Terms {
                profile: self.profile(cx).map(Arc::clone),
                reads: may_go_elsewhere(self.request.command()),
                forwarding: cx.manner().forwarding,
            };
            self.walk = Walk::begin(region, terms, cx).map(Box::new);
        }
        self.walk.as_mut()
    }

    /// Chooses the next replica of the walk and sends to it.
    fn choose(&mut self, cx: &mut Cx<'_>) -> Next {
        let hurries = std::mem::take(&mut self.hurries);
        let field = self.walk.as_ref().and_then(|walk| walk.field(cx));
        let (Some(walk), Some(field)) = (&mut self.walk, field) else {
            // It changed between the two looks.
            self.walk = None;
            return self.again("the region changed".into(), cx);
        };
        let region = walk.region();
        self.out_of_reach = walk.leader_out_of_reach(&field);
        let Some(choice) = walk.choose(&field, cx.rng()) else { return self.nobody_left(cx) };
        let target = Target {
            to: Located { region, peer: choice.peer.id, store: choice.peer.store },
            leads: choice.leads,
            asked: choice.asked,
            through: choice.through,
            busy_threshold_ms: choice.busy_threshold_ms,
            why: choice.why,
        };
        let owed = walk.owed_to(choice.peer.store);
        if let Some((kind, reason)) = owed {
            return Ok(Phase::Owing { timer: self.pause(kind, reason, cx)?, target });
        }
        if hurries && choice.again {
            self.at_once += 1;
            if self.at_once > AT_ONCE {
                let reason = self.last_error();
                return Ok(Phase::Owing { timer: self.pause(Kind::RegionScheduling, reason, cx)?, target });
            }
        }
        Ok(self.send(target, cx))
    }

    fn send(&mut self, target: Target, cx: &mut Cx<'_>) -> Phase {
        if self.hop.is_some() {
            self.tell_hop(cx);
        }
        let time = self.own_time(cx).unwrap_or_else(|| attempt_time(self.request.command()));
        let deadline = (cx.now() + time).min(cx.deadline());
        let left = deadline.since(cx.now()).as_millis();
        let attempt = Attempt {
            to: target.to,
            retry: self.sent > 0,
            max_execution_ms: u32::try_from(left).unwrap_or(u32::MAX).max(1),
            asked: target.asked,
            busy_threshold_ms: target.busy_threshold_ms,
            leads: target.leads,
            first: self.first,
            through: target.through,
        };
        self.sent += 1;
        if self.first.is_none() {
            self.first = Some(Reader { leads: target.leads, stale: target.asked == Asked::StaleRead });
        }
        let call = cx.call(attempt, Arc::clone(&self.request), deadline);
        Phase::InFlight { call, target, sent: cx.now() }
    }

    /// What the caller gives an attempt, where it is less than the client does.
    pub(super) fn own_time(&self, cx: &Cx<'_>) -> Option<Duration> {
        if self.own_time_is_over {
            return None;
        }
        self.profile(cx)?.attempt.filter(|time| *time < ATTEMPT)
    }

    fn answered(&mut self, target: &Target, sent: Instant, cx: &mut Cx<'_>) {
        if self.walk.is_some() {
            let Located { region, peer, store } = target.to;
            // Asked as a leader it answered as one.
            if target.asked == Asked::Plainly && !target.leads {
                cx.report(Feedback::LeaderIs { region, peer, store });
            }
            if self.profile(cx).is_some_and(|profile| profile.replica == Replica::PreferLeader) {
                cx.report(Feedback::Took { store, time: cx.now().since(sent) });
            }
        }
        if cx.explanation().is_some() {
            self.told(target, sent, None, cx);
            self.tell_hop(cx);
        }
    }
}

/// Reads of users' data that any replica can answer.
///
/// client-go: `internal/locate/replica_selector.go: isReadReq`, which leaves `BufferBatchGet` out (it is then sent to followers as if they
/// led), and raw reads.
const fn may_go_elsewhere(command: Command) -> bool {
    command.is_read()
        || matches!(
            command,
            Command::BufferBatchGet | Command::RawGet | Command::RawBatchGet | Command::RawScan
        )
}

/// What an attempt may take that nobody gave another time.
const fn attempt_time(command: Command) -> Duration {
    match command {
        Command::BatchGet | Command::Scan => LONG_ATTEMPT,
        _ => ATTEMPT,
    }
}
