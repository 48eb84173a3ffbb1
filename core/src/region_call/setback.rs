//! What follows an attempt without reply: reports, marks of the walk, a pause or none, or the end.

use std::sync::Arc;
use std::time::Duration;

use prost::DecodeError;
use tikv_proto::errorpb;

use super::call::{AT_ONCE, Next, Phase, RegionCall, Target, Unanswered};
use super::classify::{Reaction, Situation, Verdict, classify, classify_transport};
use super::classify_read::{
    Leader, Mark, Next as Goes, ReadVerdict, Reading, Threshold, classify_read, classify_transport_read,
};
use crate::backoff::Kind;
use crate::error::{Error, ServiceError};
use crate::explain::{Explanation, Hop, OF_AN_ERROR, Then};
use crate::machine::{
    Asked, Cx, Fault, Feedback, Fired, StaleReason, Ticket, TransportClass, TransportFault,
};
use crate::replica::walk::Field;
use crate::request::Command;
use crate::types::{Instant, Located};

impl RegionCall {
    /// The store answered a region error.
    pub(super) fn refused(
        &mut self,
        error: &errorpb::Error,
        target: &Target,
        sent: Instant,
        cx: &mut Cx<'_>,
    ) -> Next {
        let situation = Situation { to: target.to, mode: self.mode(cx) };
        let field = self.look(target, sent, cx);
        let verdict = match self.reading(field.as_ref(), cx) {
            Some(reading) => classify_read(error, &situation, &reading),
            None => without_walk(classify(error, &situation)),
        };
        self.react(verdict, field.as_ref(), target, sent, cx)
    }

    /// There was no answer at all.
    pub(super) fn no_answer(
        &mut self,
        fault: Fault,
        target: &Target,
        sent: Instant,
        cx: &mut Cx<'_>,
    ) -> Next {
        let fault = match fault {
            Fault::Transport(fault) => fault,
            // Nothing was sent, and the store's regions are elsewhere by now.
            Fault::Refused(error @ ServiceError::StoreRemoved { .. }) => {
                TransportFault::new(TransportClass::Unreachable, error.to_string())
            }
            fault => {
                // An interrupt: the request is on its way, or was executed.
                self.lost |= matches!(fault, Fault::Interrupted(_) | Fault::Late(_));
                self.told(target, sent, Some("no answer until then".into()), cx);
                return Err(self.stopped(fault, cx));
            }
        };
        self.lost |= fault.class.may_have_happened();
        // A request that went through another store failed there.
        let to = Located { store: target.through.unwrap_or(target.to.store), ..target.to };
        let situation = Situation { to, mode: self.mode(cx) };
        let field = self.look(target, sent, cx);
        let verdict = match self.reading(field.as_ref(), cx) {
            Some(reading) => classify_transport_read(&fault, &situation, &reading),
            None => without_walk(classify_transport(&fault, &situation)),
        };
        if let Some(walk) = &mut self.walk
            && verdict.mark.is_none()
        {
            walk.mark_failed();
        }
        self.react(verdict, field.as_ref(), target, sent, cx)
    }

    /// The walk's view of the replicas, with the attempt that failed taken in; begins the walk with it if there was none.
    fn look(&mut self, target: &Target, sent: Instant, cx: &Cx<'_>) -> Option<Field> {
        let is_first = self.walk.is_none();
        let walk = self.begin_walk(target.to.region, cx)?;
        if is_first {
            walk.began_with(target.to.peer);
        }
        walk.took(cx.now().since(sent));
        walk.field(cx)
    }

    fn reading(&self, field: Option<&Field>, cx: &Cx<'_>) -> Option<Reading> {
        let (walk, field) = (self.walk.as_deref()?, field?);
        Some(Reading {
            asked: walk.asked(),
            leader: match (walk.asked_leader(field), walk.leader_was_asked(field)) {
                (true, _) => Leader::Now,
                (false, true) => Leader::Before,
                (false, false) => Leader::Never,
            },
            leader_usable: walk.stays_with_leader(field),
            leader_first: walk.goes_to_leader(),
            others: walk.has_others(field),
            own_timeout: self.own_time(cx).is_some(),
            threshold: if walk.has_threshold() { Threshold::Set } else { Threshold::None },
            waited_for_data: self.waited_for_data,
        })
    }

    fn react(
        &mut self,
        read: ReadVerdict,
        field: Option<&Field>,
        target: &Target,
        sent: Instant,
        cx: &mut Cx<'_>,
    ) -> Next {
        let ReadVerdict { verdict: Verdict { reports, reaction, reason }, next, mark, owed } = read;
        self.told(target, sent, Some(Arc::clone(&reason)), cx);
        for feedback in reports {
            cx.report(feedback);
        }
        let (passes_on, told) = (owed.is_some(), self.last_error());
        if let Some((store, kind)) = owed
            && let Some(walk) = &mut self.walk
        {
            walk.owe(store, kind, Arc::clone(&told));
        }
        self.mark(mark, next, passes_on, field, target, cx);
        match next {
            Goes::Leader => {
                if let Some(walk) = &mut self.walk {
                    walk.turn_to_leader();
                }
            }
            Goes::Hinted(peer) => {
                if let Some(walk) = &mut self.walk {
                    let now = walk.field(cx);
                    if !walk.follow(peer, now.as_ref()) {
                        // The region has other peers than we know.
                        self.walk = None;
                        return self.again(told, cx);
                    }
                }
            }
            Goes::Locate | Goes::GiveBack => self.walk = None,
            Goes::Same | Goes::Another => {}
        }
        match reaction {
            Reaction::Again if matches!(next, Goes::Locate | Goes::GiveBack) => self.again(told, cx),
            Reaction::Again => {
                self.hurries = true;
                Ok(Phase::Locating)
            }
            Reaction::BackOff(kind) => Ok(Phase::BackingOff { timer: self.pause(kind, told, cx)? }),
            Reaction::Fail => Err(self.given_up(target.to, reason, cx)),
            // What it locked is its transaction's own, and so is the answer of a second one: it can be sent again.
            // client-go: `txnkv/transaction/prewrite.go: handleRegionErr`.
            Reaction::Undetermined if self.request.command() == Command::Prewrite => {
                self.lost = true;
                Ok(Phase::BackingOff { timer: self.pause(Kind::RegionMiss, told, cx)? })
            }
            Reaction::Undetermined => {
                self.lost = true;
                Err(self.given_up(target.to, reason, cx))
            }
        }
    }

    /// What is remembered of the replica, and what everyone should know of its store.
    fn mark(
        &mut self,
        mark: Option<Mark>,
        next: Goes,
        passes_on: bool,
        field: Option<&Field>,
        target: &Target,
        cx: &mut Cx<'_>,
    ) {
        let store = target.to.store;
        match mark {
            Some(Mark::Busy(Some(ms))) => {
                let until = cx.now() + Duration::from_millis(ms.into());
                cx.report(Feedback::Busy { store, until });
            }
            Some(Mark::Busy(None)) => cx.report(Feedback::Slow { store }),
            Some(Mark::NotLeader | Mark::DataIsNotReady | Mark::TimedOut) | None => {}
        }
        let Some(walk) = &mut self.walk else { return };
        match mark {
            Some(Mark::NotLeader) => walk.mark_not_leader(),
            Some(Mark::TimedOut) => walk.mark_timed_out(),
            Some(Mark::Busy(told)) => {
                if let Some(field) = field {
                    walk.mark_busy(field, told.is_some(), passes_on);
                }
            }
            Some(Mark::DataIsNotReady) => {
                walk.mark_not_ready();
                if next == Goes::Same && !target.leads && target.asked == Asked::StaleRead {
                    self.waited_for_data = true;
                    walk.wait_for_data();
                }
            }
            None => {}
        }
    }

    /// Locates the region again, at once a bounded number of times.
    pub(super) fn again(&mut self, reason: Arc<str>, cx: &mut Cx<'_>) -> Next {
        if self.at_once < AT_ONCE {
            self.at_once += 1;
            return Ok(Phase::Locating);
        }
        Ok(Phase::BackingOff { timer: self.pause(Kind::RegionScheduling, reason, cx)? })
    }

    /// No replica is left: the region is loaded again, after the longest pause that was put off.
    ///
    /// Where the caller's own time ran out nothing speaks against the region: the replicas get the client's time then.
    ///
    /// client-go: `internal/locate/replica_selector.go: ReplicaSelectMixedStrategy.next`, `txnkv/txnsnapshot/snapshot.go: get`.
    pub(super) fn nobody_left(&mut self, cx: &mut Cx<'_>) -> Next {
        let mut owed = None;
        if let Some(mut walk) = self.walk.take() {
            owed = walk.owed_to_all();
            if walk.any_timed_out() {
                self.own_time_is_over = true;
            } else {
                cx.report(Feedback::Stale { region: walk.region(), why: StaleReason::Other });
            }
        }
        let (kind, reason) = owed.unwrap_or_else(|| (Kind::RegionMiss, self.last_error()));
        Ok(Phase::BackingOff { timer: self.pause(kind, reason, cx)? })
    }

    /// A pause within the operation's budget.
    pub(super) fn pause(
        &mut self,
        kind: Kind,
        reason: Arc<str>,
        cx: &mut Cx<'_>,
    ) -> Result<Ticket<Fired>, Box<Unanswered>> {
        (self.at_once, self.hurries) = (0, false);
        match cx.back_off_for(kind, &mut self.attempts, reason) {
            Ok((timer, pause)) => {
                if let Some(hop) = &mut self.hop {
                    hop.then = Then::Pause(kind, pause);
                }
                Ok(timer)
            }
            Err(mut account) => {
                self.give_up_hop(cx);
                account.route = self.trail.take();
                Err(self.failure(Error::Exhausted { operation: self.operation, account }))
            }
        }
    }

    /// The last thing that went wrong, and where, for people.
    pub(super) fn last_error(&self) -> Arc<str> {
        match self.hop.as_deref() {
            Some(Hop { region, store, error: Some(error), .. }) => {
                format!("region {region} at store {store}: {error}").into()
            }
            _ => "no replica can be asked".into(),
        }
    }

    /// Keeps the attempt until it is known what follows it. `error`: what came instead of an answer.
    pub(super) fn told(&mut self, target: &Target, sent: Instant, error: Option<Arc<str>>, cx: &Cx<'_>) {
        self.hop = Some(Box::new(Hop {
            at: sent,
            command: self.request.command(),
            region: target.to.region.id,
            peer: target.to.peer,
            store: target.to.store,
            through: target.through,
            leads: target.leads,
            asked: target.asked,
            why: target.why,
            took: cx.now().since(sent),
            then: if error.is_some() { Then::AtOnce } else { Then::Answered },
            error,
        }));
    }

    /// Writes the last attempt down: for the error that may come, and for who asked for it.
    pub(super) fn tell_hop(&mut self, cx: &mut Cx<'_>) {
        let Some(hop) = self.hop.take() else { return };
        if let Some(explanation) = cx.explanation() {
            explanation.push((*hop).clone());
        }
        if hop.error.is_some() {
            let empty = || Box::new(Explanation::with_room(OF_AN_ERROR));
            self.trail.get_or_insert_with(empty).push(*hop);
        }
    }

    fn give_up_hop(&mut self, cx: &mut Cx<'_>) {
        if let Some(hop) = &mut self.hop {
            hop.then = Then::GaveUp;
        }
        self.tell_hop(cx);
    }

    /// The answer is no message: the store did something; what, nobody can read.
    pub(super) fn corrupt(
        &mut self,
        error: &DecodeError,
        target: &Target,
        sent: Instant,
        cx: &mut Cx<'_>,
    ) -> Box<Unanswered> {
        self.lost |= self.request.command().writes();
        let error = Error::corrupt(self.operation, error);
        self.told(target, sent, Some(error.to_string().into()), cx);
        self.give_up_hop(cx);
        self.failure(error)
    }

    fn given_up(&mut self, to: Located, message: Arc<str>, cx: &mut Cx<'_>) -> Box<Unanswered> {
        self.give_up_hop(cx);
        self.failure(Error::Region { region: to.region.id, store: to.store, message })
    }

    /// The call ends by what is not the region's.
    pub(super) fn stopped(&mut self, fault: Fault, cx: &mut Cx<'_>) -> Box<Unanswered> {
        self.give_up_hop(cx);
        let error = match fault {
            Fault::Interrupted(why) => {
                let line = self.trail.as_ref().map(|trail| trail.in_a_line());
                let gone =
                    self.out_of_reach.map(|store| format!("store {store}, which leads, cannot be reached"));
                let told: Vec<String> = line.into_iter().chain(gone).collect();
                let last = (!told.is_empty()).then(|| told.join("; ").into());
                Error::Interrupted { operation: self.operation, why, last }
            }
            other => Error::of_fault(self.operation, other),
        };
        self.failure(error)
    }

    pub(super) fn failure(&self, error: Error) -> Box<Unanswered> {
        Box::new(Unanswered::Failed { error, may_have_happened: self.lost })
    }

    pub(super) fn regroup(&mut self, cx: &mut Cx<'_>) -> Box<Unanswered> {
        self.tell_hop(cx);
        Box::new(Unanswered::Regroup { may_have_happened: self.lost })
    }
}

/// What the table without a walk says, as a verdict: the region is located again.
fn without_walk(verdict: Verdict) -> ReadVerdict {
    ReadVerdict { verdict, next: Goes::Locate, mark: None, owed: None }
}
