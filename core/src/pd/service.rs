//! The machine that asks PD.
//!
//! ```text
//!                 leader known                  answer
//!  Waiting ------------------------> Asked ------------------> gone
//!     ^  ^                            |  |
//!     |  +---- who was asked does ----+  | PD says no, or not yet
//!     |        not lead, or is lost      v
//!     +--------- pause over --------- Pausing
//! ```
//!
//! | query is | input | does |
//! |---|---|---|
//! | new | command | is asked, or waits for the leader or for one of [`PdConfig::at_work`] places |
//! | Waiting | a round found the leader (`Tracker`) | is asked |
//! | Waiting | a round met only another cluster | is refused |
//! | Asked | answer | is answered; the next that waits is asked |
//! | Asked | failure | see `classify`: waits for the leader, pauses, or is refused |
//! | Waiting, Pausing | deadline | is refused with the last failure, or interrupted if there was none |
//! | any | withdrawn | is forgotten |
//!
//! A query for the leader is answered without a call. The members are asked again every
//! [`PdConfig::refresh_interval`] and whenever the leader is doubted.
//!
//! pd: `client/inner_client.go`, `client/client.go`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use super::classify::{Failure, of_fault};
use super::config::PdConfig;
use super::members::{Cx, Outcome, Tracker};
use super::pause::Pauses;
use super::query::{PdQuery, PdReply};
use super::wire::{corrupt, decode, encode};
use crate::error::ServiceError;
use crate::machine::{
    Address, Answer, Asker, Completion, Fault, Input, Interrupt, Service, ServiceEffect, TicketId,
    TransportClass, Withdrawn,
};
use crate::types::Instant;

/// What the PD service is asked.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every command")]
pub enum PdCommand {
    /// Find the cluster; answered with [`PdReply::Leader`], or refused at the connect time-out.
    Connect {
        /// Who waits.
        asker: Asker,
    },
    /// Answer a query.
    Query {
        /// What is asked.
        query: PdQuery,
        /// Who waits.
        asker: Asker,
        /// When the asker gives up.
        deadline: Instant,
    },
    /// Somebody does not wait any more.
    Withdraw(Withdrawn),
}

/// The timers of the PD service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every timer")]
pub enum PdTimer {
    /// The earliest end of a connect time-out.
    Connect,
    /// The next round of the members.
    Members,
    /// The end of a query's pause, or its deadline.
    Query(u64),
}

#[derive(Debug)]
enum Phase {
    /// For the leader, or for one of the places; the number is its own in the queue.
    Waiting {
        number: u64,
    },
    Asked {
        ticket: TicketId,
        to: Address,
        since: Instant,
        old: bool,
    },
    Pausing {
        until: Instant,
    },
}

#[derive(Debug)]
struct Query {
    query: PdQuery,
    asker: Asker,
    deadline: Instant,
    phase: Phase,
    /// Its timer is set.
    armed: bool,
    /// How often PD said no.
    refusals: u32,
    /// How often it paused.
    pauses: u32,
    last: Option<ServiceError>,
}

impl Query {
    fn arm(&mut self, id: u64, at: Instant, cx: &mut Cx<'_>) {
        self.armed = true;
        cx.arm(PdTimer::Query(id), at);
    }

    fn disarm(&mut self, id: u64, cx: &mut Cx<'_>) {
        if std::mem::take(&mut self.armed) {
            cx.effect(ServiceEffect::Disarm(PdTimer::Query(id)));
        }
    }
}

/// Asks PD for the client's other services. See the module for its states.
#[derive(Debug)]
pub struct PdService {
    config: Arc<PdConfig>,
    tracker: Tracker,
    pauses: Pauses,
    connecting: Vec<(Instant, Asker)>,
    queries: BTreeMap<u64, Query>,
    /// Those that wait, in order.
    waiting: BTreeMap<u64, u64>,
    asked: BTreeMap<TicketId, u64>,
    count: u64,
    /// PD does not know BatchScanRegions.
    old: bool,
}

impl PdService {
    /// A service that finds PD at `config.endpoints` when it is first asked.
    #[must_use]
    pub fn new(config: PdConfig) -> Self {
        let config = Arc::new(config);
        Self {
            tracker: Tracker::new(Arc::clone(&config)),
            pauses: Pauses { base: config.pause_base, cap: config.pause_cap },
            config,
            connecting: Vec::new(),
            queries: BTreeMap::new(),
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
            count: 0,
            old: false,
        }
    }

    fn connect(&mut self, asker: Asker, cx: &mut Cx<'_>) {
        if let Some(completion) = self.leader() {
            cx.answer(asker, completion);
            return;
        }
        self.connecting.push((cx.now() + self.config.connect_timeout, asker));
        self.arm_connect(cx);
        self.look(cx);
    }

    fn arm_connect(&self, cx: &mut Cx<'_>) {
        if let Some(at) = self.connecting.iter().map(|(at, _)| *at).min() {
            cx.arm(PdTimer::Connect, at);
        }
    }

    fn query(&mut self, query: PdQuery, asker: Asker, deadline: Instant, cx: &mut Cx<'_>) {
        if self.queries.len() >= self.config.most {
            cx.answer(asker, Completion::Fault(Fault::Overloaded));
            return;
        }
        if let PdQuery::Leader { instead_of } = &query {
            if let Some(address) = instead_of {
                self.tracker.doubt(address);
            }
            if let Some(completion) = self.leader() {
                cx.answer(asker, completion);
                return;
            }
        }
        let id = self.number();
        let number = self.number();
        let phase = Phase::Waiting { number };
        let query = Query { query, asker, deadline, phase, armed: false, refusals: 0, pauses: 0, last: None };
        self.queries.insert(id, query);
        self.waiting.insert(number, id);
        self.advance(cx);
        // Asked at once, it needs no timer: the call itself ends by the deadline.
        if let Some(query) = self.queries.get_mut(&id)
            && matches!(query.phase, Phase::Waiting { .. })
        {
            query.arm(id, deadline, cx);
        }
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Asks what waits, as far as there is a leader and a place; looks for the leader if there is none.
    fn advance(&mut self, cx: &mut Cx<'_>) {
        while self.asked.len() < self.config.at_work && self.tracker.leader().is_some() {
            let Some((_, id)) = self.waiting.pop_first() else { return };
            self.ask(id, cx);
        }
        if self.tracker.leader().is_none() && (!self.waiting.is_empty() || !self.connecting.is_empty()) {
            self.look(cx);
        }
    }

    /// Begins a round as soon as one may begin.
    fn look(&mut self, cx: &mut Cx<'_>) {
        if self.tracker.is_looking() {
            return;
        }
        let at = self.tracker.next_look();
        if cx.now() < at {
            cx.arm(PdTimer::Members, at);
        } else {
            self.tracker.look(cx);
        }
    }

    fn ask(&mut self, id: u64, cx: &mut Cx<'_>) {
        let Some((to, cluster)) = self.tracker.leader() else { return };
        let Some(query) = self.queries.get_mut(&id) else { return };
        let Some((path, body)) = encode(&query.query, cluster, self.old) else {
            let reply = PdReply::Leader { address: Arc::clone(to), cluster };
            self.finish(id, Completion::Answer(Answer::Pd(reply)), cx);
            return;
        };
        query.disarm(id, cx);
        let deadline = query.deadline.min(cx.now() + self.config.request_timeout);
        let ticket = cx.unary(Arc::clone(to), path, body, deadline);
        query.phase = Phase::Asked { ticket, to: Arc::clone(to), since: cx.now(), old: self.old };
        self.asked.insert(ticket, id);
    }

    fn done(&mut self, ticket: TicketId, completion: Completion, cx: &mut Cx<'_>) {
        let Some(id) = self.asked.remove(&ticket) else {
            if let Some(outcome) = self.tracker.done(ticket, completion, cx) {
                self.concluded(outcome, cx);
            }
            return;
        };
        let Some(query) = self.queries.get(&id) else { return };
        let Phase::Asked { to, since, old, .. } = &query.phase else { return };
        let (to, since, old) = (Arc::clone(to), *since, *old);
        let cluster = self.tracker.cluster();
        let late = is_time_out(&completion) && cx.now() >= query.deadline;
        let result = match completion {
            Completion::Response(body) => decode(&query.query, old, &to, cluster, body),
            Completion::Fault(fault) => Err(of_fault(&to, &fault, Some(cluster))),
            Completion::TimerFired(_) | Completion::Answer(_) => Err(corrupt(&to, &"no response")),
        };
        match result {
            Ok(reply) => {
                self.tracker.worked();
                self.finish(id, Completion::Answer(Answer::Pd(reply)), cx);
            }
            // The asker's time was over, which says little of PD unless that was long.
            Err(_) if late => {
                if cx.now().since(since) >= self.config.member_timeout {
                    self.tracker.doubt(&to);
                    self.look(cx);
                }
                self.expire(id, cx);
            }
            Err(Failure::Unimplemented(_)) if !old && matches!(query.query, PdQuery::Regions { .. }) => {
                self.old = true;
                self.wait(id, cx);
            }
            Err(failure) => self.failed(id, &to, failure, cx),
        }
        self.advance(cx);
    }

    fn failed(&mut self, id: u64, asked: &Address, failure: Failure, cx: &mut Cx<'_>) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        let elsewhere = matches!(failure, Failure::Elsewhere(_));
        let refused = matches!(failure, Failure::Refused(_) | Failure::Unimplemented(_));
        let error = failure.into_error();
        query.last = Some(error.clone());
        if elsewhere {
            self.tracker.doubt(asked);
            self.wait(id, cx);
            return;
        }
        query.refusals += u32::from(refused);
        if query.refusals >= self.config.tries {
            self.finish(id, Completion::Fault(Fault::Refused(error)), cx);
            return;
        }
        query.pauses = query.pauses.saturating_add(1);
        let until = cx.now() + self.pauses.after(query.pauses, cx.rng());
        query.phase = Phase::Pausing { until };
        query.arm(id, until.min(query.deadline), cx);
    }

    /// The query waits again, at the end of the queue.
    fn wait(&mut self, id: u64, cx: &mut Cx<'_>) {
        let number = self.number();
        if let Some(query) = self.queries.get_mut(&id) {
            query.phase = Phase::Waiting { number };
            query.arm(id, query.deadline, cx);
            self.waiting.insert(number, id);
        }
    }

    fn concluded(&mut self, outcome: Outcome, cx: &mut Cx<'_>) {
        // Sooner, if somebody waits: see `advance`.
        cx.arm(PdTimer::Members, cx.now() + self.config.refresh_interval);
        match outcome {
            Outcome::Found => {
                if let Some(completion) = self.leader() {
                    self.connected(&completion, cx);
                }
            }
            Outcome::Failed => {}
            Outcome::Foreign(error) => {
                let refused = Completion::Fault(Fault::Refused(error));
                self.connected(&refused, cx);
                for id in std::mem::take(&mut self.waiting).into_values() {
                    self.finish(id, refused.clone(), cx);
                }
            }
        }
        self.advance(cx);
    }

    fn connected(&mut self, completion: &Completion, cx: &mut Cx<'_>) {
        if self.connecting.is_empty() {
            return;
        }
        for (_, asker) in self.connecting.drain(..) {
            cx.answer(asker, completion.clone());
        }
        cx.effect(ServiceEffect::Disarm(PdTimer::Connect));
    }

    fn timer(&mut self, timer: PdTimer, cx: &mut Cx<'_>) {
        match timer {
            PdTimer::Members => self.tracker.look(cx),
            PdTimer::Connect => {
                let last = "no answer in time".into();
                let silent = ServiceError::PdUnreachable { addresses: Arc::default(), last };
                let error = self.with_addresses(self.tracker.last().unwrap_or(&silent));
                let (over, left) = std::mem::take(&mut self.connecting)
                    .into_iter()
                    .partition::<Vec<_>, _>(|(at, _)| *at <= cx.now());
                self.connecting = left;
                for (_, asker) in over {
                    cx.answer(asker, Completion::Fault(Fault::Refused(error.clone())));
                }
                self.arm_connect(cx);
            }
            PdTimer::Query(id) => self.woken(id, cx),
        }
    }

    fn woken(&mut self, id: u64, cx: &mut Cx<'_>) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        query.armed = false;
        if query.deadline <= cx.now() {
            self.expire(id, cx);
        } else if matches!(query.phase, Phase::Pausing { until } if until <= cx.now()) {
            self.wait(id, cx);
            self.advance(cx);
        }
    }

    /// The asker's deadline passed: why there is no answer is worth more than that there is none.
    fn expire(&mut self, id: u64, cx: &mut Cx<'_>) {
        let Some(query) = self.queries.get(&id) else { return };
        let waits = matches!(query.phase, Phase::Waiting { .. });
        let seeking = self.tracker.last().filter(|_| waits);
        let fault = match query.last.as_ref().or(seeking) {
            Some(error) => Fault::Refused(self.with_addresses(error)),
            None => Fault::Interrupted(Interrupt::Deadline),
        };
        self.finish(id, Completion::Fault(fault), cx);
    }

    /// The failure with all addresses in it, if it is that PD cannot be reached.
    fn with_addresses(&self, error: &ServiceError) -> ServiceError {
        match error {
            ServiceError::PdUnreachable { last, .. } => {
                let addresses = self.tracker.addresses();
                ServiceError::PdUnreachable { addresses, last: Arc::clone(last) }
            }
            error => error.clone(),
        }
    }

    fn finish(&mut self, id: u64, completion: Completion, cx: &mut Cx<'_>) {
        if let Some(query) = self.remove(id, cx) {
            cx.answer(query.asker, completion);
        }
    }

    /// Takes a query out of every table.
    fn remove(&mut self, id: u64, cx: &mut Cx<'_>) -> Option<Query> {
        let mut query = self.queries.remove(&id)?;
        query.disarm(id, cx);
        match &query.phase {
            Phase::Asked { ticket, .. } => {
                self.asked.remove(ticket);
            }
            Phase::Waiting { number } => {
                self.waiting.remove(number);
            }
            Phase::Pausing { .. } => {}
        }
        Some(query)
    }

    fn withdraw(&mut self, who: &Withdrawn, cx: &mut Cx<'_>) {
        if let Some(at) = self.connecting.iter().position(|(_, asker)| asker.is(who)) {
            self.connecting.swap_remove(at).1.forget();
            return;
        }
        let found = self.queries.iter().find(|(_, query)| query.asker.is(who)).map(|(id, _)| *id);
        if let Some(query) = found.and_then(|id| self.remove(id, cx)) {
            query.asker.forget();
            self.advance(cx);
        }
    }

    fn leader(&self) -> Option<Completion> {
        let (address, cluster) = self.tracker.leader()?;
        let reply = PdReply::Leader { address: Arc::clone(address), cluster };
        Some(Completion::Answer(Answer::Pd(reply)))
    }
}

#[cfg(test)]
impl PdService {
    /// How much it has kept of those who wait.
    pub(super) fn left(&self) -> usize {
        self.connecting.len() + self.queries.len() + self.waiting.len() + self.asked.len()
    }
}

fn is_time_out(completion: &Completion) -> bool {
    matches!(
        completion,
        Completion::Fault(Fault::Transport(fault)) if fault.class == TransportClass::TimedOut
    )
}

impl Service for PdService {
    type Command = PdCommand;
    type Timer = PdTimer;
    type Special = Infallible;

    fn handle(&mut self, input: Input<PdCommand, PdTimer>, cx: &mut Cx<'_>) {
        match input {
            Input::Command(PdCommand::Connect { asker }) => self.connect(asker, cx),
            Input::Command(PdCommand::Query { query, asker, deadline }) => {
                self.query(query, asker, deadline, cx);
            }
            Input::Command(PdCommand::Withdraw(who)) => self.withdraw(&who, cx),
            Input::Done(ticket, completion) => self.done(ticket, completion, cx),
            Input::Timer(timer) => self.timer(timer, cx),
            // It has no streams, and waits for nobody else.
            Input::Idle | Input::Writable(_) | Input::Item(..) | Input::Closed(..) => {}
        }
    }
}
