//! The store registry: which stores there are, where they serve, and whether they answer. One stream a store, at the address
//! PD names.
//!
//! ```text
//!            call                 address
//! (unknown) ------> Asking ----------------> Serving ---+ check, list: moved, other labels
//!     |  ^            |  \                    ^ | ^-----+
//!     |  | PD failed  |   \ removed           | | check: removed
//!     |  +------------+    +-----> Gone <-----|-+
//!     +---------------- list -----------------+
//! ```
//!
//! | state | input | does |
//! |---|---|---|
//! | unknown | call | asks PD, holds the call |
//! | unknown | PD lists it | knows it; the first call launches its stream |
//! | Asking | call | holds it, within bounds |
//! | Asking | PD names an address | launches the stream, forwards what was held, in order |
//! | Asking | PD does not know the store, or removed it | refuses what was held: the store is gone for good |
//! | Asking | PD failed, or names no address | answers what was held with that; the next call asks again |
//! | Serving | call | launches its stream if it has none, forwards it |
//! | Serving | check | probes it unless it is being probed; a second since the last, asks PD, too |
//! | Serving | a probe that it does not pass | is not reachable; probed again each second until it is, PD asked each 30 s |
//! | Serving | PD says it is elsewhere | its stream turns there; it stays the same store |
//! | Serving | PD's list lacks it | asks PD for it alone: it may be removed |
//! | Gone | call | refuses it |
//!
//! Store ids are never used again, so `Gone` stays. No request waits for a probe. All stores are asked for at once, where
//! client-go asks for each of them, one after the other.
//!
//! client-go: `internal/locate/store_cache.go: initResolve, reResolve, requestLivenessAndStartHealthCheckLoopIfNeeded`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::command::{RegistryCommand, RegistryEffect, RegistryTimer};
use super::config::StoreConfig;
use super::probe::{Probe, health, liveness, safe_ts};
use super::table::StoreMeta;
use crate::error::ServiceError;
use crate::machine::{
    Answer, Asker, Completion, Fault, Input, Interrupt, Service, ServiceCx, ServiceEffect, TicketId,
    TransportClass, TransportFault,
};
use crate::pd::{PdQuery, PdReply, StoreInfo, StoreState};
use crate::stream::StreamCommand;
use crate::types::{Engine, Instant, Labels, Liveness, Presence, StoreId};

/// How long PD may take to name a store's address.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store that cannot be reached is looked for at PD at most this often, however many requests fail.
const BETWEEN_CHECKS: Duration = Duration::from_secs(1);

/// Calls held for one store while PD is asked.
const HELD: usize = 1 << 16;

/// How long a store may take to say how it is. client-go: `tikv/kv.go: getHealthFeedbackTimeout`.
const TO_TELL: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum State {
    Asking { held: Vec<StreamCommand> },
    Serving(Serving),
    Gone,
}

#[derive(Debug)]
struct Serving {
    meta: StoreMeta,
    /// Its stream was launched.
    streams: bool,
    /// When PD was last asked for it.
    checked: Instant,
    checking: bool,
    liveness: Liveness,
    /// A probe is under way, or the timer of the next is armed.
    probing: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Registry {
    config: StoreConfig,
    stores: BTreeMap<StoreId, State>,
    /// Questions to PD that are open, and for which store; `None`: for all.
    asked: BTreeMap<TicketId, Option<StoreId>>,
    /// Questions to stores that are open.
    probes: BTreeMap<TicketId, (StoreId, Probe)>,
    armed: Option<Instant>,
    watches_safe_ts: bool,
}

type Cx<'a> = ServiceCx<'a, RegistryTimer, RegistryEffect>;

impl Registry {
    /// A registry with these rhythms.
    #[must_use]
    pub fn new(config: StoreConfig) -> Self {
        Self { config, ..Self::default() }
    }

    fn begin(&mut self, cx: &mut Cx<'_>) {
        self.list(cx);
        if !self.config.judge_every.is_zero() {
            cx.arm(RegistryTimer::Judge, cx.now() + self.config.judge_every);
        }
    }

    fn list(&mut self, cx: &mut Cx<'_>) {
        if !self.config.refresh.is_zero() {
            let query = cx.query(PdQuery::Stores, cx.now() + PATIENCE);
            self.asked.insert(query, None);
        }
    }

    fn call(&mut self, store: StoreId, command: StreamCommand, cx: &mut Cx<'_>) {
        match self.stores.get_mut(&store) {
            Some(State::Serving(serving)) => {
                if !std::mem::replace(&mut serving.streams, true) {
                    let address = Arc::clone(&serving.meta.address);
                    special(RegistryEffect::Launch { store, address }, cx);
                }
                special(RegistryEffect::Forward { store, command }, cx);
            }
            Some(State::Gone) => refuse(command, &removed(store), cx),
            Some(State::Asking { held }) if held.len() >= HELD => refuse(command, &Fault::Overloaded, cx),
            Some(State::Asking { .. }) => self.hold(store, command, cx),
            None => {
                // A withdrawal of a call that was answered before: nothing is known, nothing to find out.
                if let StreamCommand::Call { .. } = command {
                    self.ask(store, cx);
                    self.stores.insert(store, State::Asking { held: Vec::new() });
                    self.hold(store, command, cx);
                }
            }
        }
    }

    fn ask(&mut self, store: StoreId, cx: &mut Cx<'_>) {
        let query = cx.query(PdQuery::Store(store), cx.now() + PATIENCE);
        self.asked.insert(query, Some(store));
    }

    fn hold(&mut self, store: StoreId, command: StreamCommand, cx: &mut Cx<'_>) {
        let Some(State::Asking { held }) = self.stores.get_mut(&store) else { return };
        match command {
            StreamCommand::Withdraw(who) => {
                let at = held
                    .iter()
                    .position(|held| matches!(held, StreamCommand::Call { asker, .. } if asker.is(&who)));
                if let Some(at) = at
                    && let StreamCommand::Call { asker, .. } = held.remove(at)
                {
                    asker.forget();
                }
            }
            StreamCommand::Call { deadline, .. } => {
                held.push(command);
                if self.armed.is_none_or(|armed| deadline < armed) {
                    self.armed = Some(deadline);
                    cx.arm(RegistryTimer::Deadline, deadline);
                }
            }
            // Only what the registry itself decides.
            StreamCommand::Move { .. } | StreamCommand::Next { .. } => {}
        }
    }

    /// A request to the store failed: looks whether it is alive, and where it is.
    fn check(&mut self, store: StoreId, cx: &mut Cx<'_>) {
        let Some(State::Serving(serving)) = self.stores.get_mut(&store) else { return };
        // Other engines do not leave `Reachable`. client-go: `requestLivenessAndStartHealthCheckLoopIfNeeded`.
        if !serving.probing && serving.meta.engine == Engine::TiKv {
            self.probe(store, cx);
        }
        self.resolve(store, BETWEEN_CHECKS, cx);
    }

    /// Asks PD for a store unless that was done less than `pause` ago.
    fn resolve(&mut self, store: StoreId, pause: Duration, cx: &mut Cx<'_>) {
        let Some(State::Serving(serving)) = self.stores.get_mut(&store) else { return };
        if serving.checking || cx.now().since(serving.checked) < pause {
            return;
        }
        (serving.checked, serving.checking) = (cx.now(), true);
        self.ask(store, cx);
    }

    fn probe(&mut self, store: StoreId, cx: &mut Cx<'_>) {
        let timeout = self.config.liveness_timeout;
        let Some(State::Serving(serving)) = self.stores.get_mut(&store) else { return };
        if timeout.is_zero() {
            return;
        }
        serving.probing = true;
        self.tell_me(store, Probe::Liveness, timeout, cx);
    }

    /// Asks a store that serves.
    fn tell_me(&mut self, store: StoreId, probe: Probe, patience: Duration, cx: &mut Cx<'_>) {
        let Some(State::Serving(serving)) = self.stores.get(&store) else { return };
        let address = match (probe, serving.meta.engine) {
            // Of TiFlash its proxy knows it. client-go: `tikv/kv.go: updateSafeTS`.
            (Probe::SafeTs, Engine::TiFlash) => &serving.meta.peer_address,
            _ => &serving.meta.address,
        };
        let ticket = cx.unary(Arc::clone(address), probe.path(), probe.body(), cx.now() + patience);
        self.probes.insert(ticket, (store, probe));
    }

    fn probed(&mut self, store: StoreId, probe: Probe, completion: &Completion, cx: &mut Cx<'_>) {
        match probe {
            Probe::Liveness => self.found(store, liveness(completion), cx),
            Probe::Health => {
                if let Some(feedback) = health(store, completion) {
                    cx.effect(ServiceEffect::Report(feedback));
                }
            }
            Probe::SafeTs => {
                if let Some(ts) = safe_ts(completion) {
                    special(RegistryEffect::SafeTs { store, ts }, cx);
                }
            }
        }
    }

    /// A probe found a store like this.
    fn found(&mut self, store: StoreId, liveness: Liveness, cx: &mut Cx<'_>) {
        let every = self.config.probe_every;
        let Some(State::Serving(serving)) = self.stores.get_mut(&store) else { return };
        if std::mem::replace(&mut serving.liveness, liveness) != liveness {
            special(RegistryEffect::Alive { store, liveness }, cx);
        }
        serving.probing = liveness != Liveness::Reachable;
        if serving.probing {
            cx.arm(RegistryTimer::Probe(store), cx.now() + every);
        } else {
            // Requests have a connection of their own.
            cx.effect(ServiceEffect::Disconnect(Arc::clone(&serving.meta.address)));
        }
    }

    fn listed(&mut self, completion: Completion, cx: &mut Cx<'_>) {
        cx.arm(RegistryTimer::List, cx.now() + self.config.refresh);
        // Whatever went wrong: the next list may come.
        let Completion::Answer(Answer::Pd(PdReply::Stores(infos))) = completion else { return };
        let mut left: BTreeSet<StoreId> = self.serving().collect();
        for info in infos {
            left.remove(&info.id);
            match self.stores.get(&info.id) {
                Some(State::Serving(_)) if !info.address.is_empty() => {
                    self.learned(info.id, Ok(Some(info)), cx);
                }
                None if is_there(&info) && !info.address.is_empty() => self.know(info, false, cx),
                // What was asked for it alone says more.
                _ => {}
            }
        }
        for store in left {
            self.resolve(store, Duration::ZERO, cx);
        }
    }

    fn serving(&self) -> impl Iterator<Item = StoreId> {
        let serves =
            |(store, state): (&StoreId, &State)| matches!(state, State::Serving(_)).then_some(*store);
        self.stores.iter().filter_map(serves)
    }

    fn know(&mut self, info: StoreInfo, streams: bool, cx: &mut Cx<'_>) {
        let (store, meta) = (info.id, meta(info));
        special(RegistryEffect::Know { store, meta: meta.clone() }, cx);
        let (checked, liveness) = (cx.now(), Liveness::Reachable);
        let serving = Serving { meta, streams, checked, checking: false, liveness, probing: false };
        self.stores.insert(store, State::Serving(serving));
    }

    /// PD's word on a store, or that there is none.
    fn learned(&mut self, store: StoreId, found: Result<Option<StoreInfo>, Fault>, cx: &mut Cx<'_>) {
        let found = found.map(|info| info.filter(is_there));
        match (self.stores.remove(&store), found) {
            (None, _) => {}
            (Some(State::Asking { held }), Ok(Some(info))) => {
                let address = Arc::clone(&info.address);
                self.know(info, true, cx);
                special(RegistryEffect::Launch { store, address }, cx);
                for command in held {
                    special(RegistryEffect::Forward { store, command }, cx);
                }
            }
            (Some(State::Asking { held }), Ok(None)) => {
                held.into_iter().for_each(|command| refuse(command, &removed(store), cx));
                self.stores.insert(store, State::Gone);
            }
            (Some(State::Asking { held }), Err(fault)) => {
                held.into_iter().for_each(|command| refuse(command, &fault, cx));
            }
            (Some(State::Serving(mut serving)), Ok(Some(info))) => {
                serving.checking = false;
                let meta = meta(info);
                if meta.address != serving.meta.address && serving.streams {
                    let address = Arc::clone(&meta.address);
                    special(RegistryEffect::Move { store, address }, cx);
                }
                if meta != serving.meta {
                    special(RegistryEffect::Know { store, meta: meta.clone() }, cx);
                    serving.meta = meta;
                }
                self.stores.insert(store, State::Serving(serving));
            }
            (Some(State::Serving(serving)), Ok(None)) => {
                special(RegistryEffect::Remove { store }, cx);
                let meta = StoreMeta { presence: Presence::Removed, ..serving.meta };
                special(RegistryEffect::Know { store, meta }, cx);
                cx.effect(ServiceEffect::Disarm(RegistryTimer::Probe(store)));
                self.stores.insert(store, State::Gone);
            }
            // Nothing was learned: the address stays until PD says otherwise.
            (Some(State::Serving(serving)), Err(_)) => {
                self.stores.insert(store, State::Serving(Serving { checking: false, ..serving }));
            }
            (Some(State::Gone), _) => {
                self.stores.insert(store, State::Gone);
            }
        }
    }

    fn ask_safe_ts(&mut self, cx: &mut Cx<'_>) {
        cx.arm(RegistryTimer::SafeTs, cx.now() + self.config.safe_ts_every);
        // A store that has not answered the last round is not asked again.
        let silent: BTreeSet<StoreId> =
            self.probes.values().filter(|open| open.1 == Probe::SafeTs).map(|open| open.0).collect();
        let stores: Vec<StoreId> = self.serving().filter(|store| !silent.contains(store)).collect();
        for store in stores {
            self.tell_me(store, Probe::SafeTs, TO_TELL, cx);
        }
    }

    fn timer(&mut self, timer: RegistryTimer, cx: &mut Cx<'_>) {
        match timer {
            RegistryTimer::Deadline => self.expire(cx),
            RegistryTimer::List => self.list(cx),
            RegistryTimer::Judge => {
                let silent = self.config.judge_every;
                special(RegistryEffect::Judge { silent }, cx);
                cx.arm(RegistryTimer::Judge, cx.now() + silent);
            }
            RegistryTimer::SafeTs => self.ask_safe_ts(cx),
            RegistryTimer::Probe(store) => {
                self.resolve(store, self.config.resolve_every, cx);
                self.probe(store, cx);
            }
        }
    }

    /// Answers held calls whose deadline is over.
    fn expire(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        self.armed = None;
        for (store, state) in &mut self.stores {
            let State::Asking { held } = state else { continue };
            for command in std::mem::take(held) {
                match command {
                    StreamCommand::Call { asker, deadline, .. } if deadline <= now => {
                        let detail = format!("PD did not name the address of store {store}");
                        let fault = TransportFault::new(TransportClass::Unreachable, detail);
                        cx.answer(asker, Completion::Fault(Fault::Transport(fault)));
                    }
                    StreamCommand::Call { deadline, .. } => {
                        self.armed = Some(self.armed.map_or(deadline, |at| at.min(deadline)));
                        held.push(command);
                    }
                    StreamCommand::Withdraw(_) | StreamCommand::Move { .. } | StreamCommand::Next { .. } => {}
                }
            }
        }
        if let Some(at) = self.armed {
            cx.arm(RegistryTimer::Deadline, at);
        }
    }

    fn done(&mut self, ticket: TicketId, completion: Completion, cx: &mut Cx<'_>) {
        if let Some((store, probe)) = self.probes.remove(&ticket) {
            return self.probed(store, probe, &completion, cx);
        }
        match self.asked.remove(&ticket) {
            Some(Some(store)) => self.learned(store, answer(store, completion), cx),
            Some(None) => self.listed(completion, cx),
            None => {}
        }
    }
}

fn special(effect: RegistryEffect, cx: &mut Cx<'_>) {
    cx.effect(ServiceEffect::Special(effect));
}

/// PD's answer to the question for one store.
fn answer(store: StoreId, completion: Completion) -> Result<Option<StoreInfo>, Fault> {
    match completion {
        Completion::Answer(Answer::Pd(PdReply::Store(Some(info)))) if has_no_address(&info) => {
            Err(Fault::Refused(unnamed(store)))
        }
        Completion::Answer(Answer::Pd(PdReply::Store(info))) => Ok(info),
        Completion::Fault(fault) => Err(unsent(store, fault)),
        other => Err(Fault::Refused(unexpected(&other))),
    }
}

fn meta(info: StoreInfo) -> StoreMeta {
    let labels = Labels::new(info.labels);
    let StoreInfo { address, peer_address, .. } = info;
    let presence = Presence::Serving;
    StoreMeta { presence, address, peer_address, engine: labels.engine(), labels }
}

fn is_there(info: &StoreInfo) -> bool {
    info.state != StoreState::Tombstone
}

/// It may get one yet: not gone for good.
fn has_no_address(info: &StoreInfo) -> bool {
    is_there(info) && info.address.is_empty()
}

fn unnamed(store: StoreId) -> ServiceError {
    ServiceError::Corrupt { address: "PD".into(), detail: format!("store {store} without an address").into() }
}

/// What held calls learn of PD's failure: whatever it was, they were not sent, and their own time is not over.
fn unsent(store: StoreId, fault: Fault) -> Fault {
    match fault {
        Fault::Overloaded | Fault::Refused(_) | Fault::Interrupted(Interrupt::Closed) => fault,
        other => {
            let detail = format!("address of store {store}: {other}");
            Fault::Transport(TransportFault::new(TransportClass::Unreachable, detail))
        }
    }
}

fn removed(store: StoreId) -> Fault {
    Fault::Refused(ServiceError::StoreRemoved { store })
}

fn unexpected(completion: &Completion) -> ServiceError {
    ServiceError::Corrupt {
        address: "PD".into(),
        detail: format!("asked for a store, got {completion:?}").into(),
    }
}

fn refuse(command: StreamCommand, fault: &Fault, cx: &mut Cx<'_>) {
    let asker: Asker = match command {
        StreamCommand::Call { asker, .. } => asker,
        StreamCommand::Withdraw(_) | StreamCommand::Move { .. } | StreamCommand::Next { .. } => return,
    };
    cx.answer(asker, Completion::Fault(fault.clone()));
}

#[cfg(test)]
impl Registry {
    /// How much it has kept of those who wait.
    pub(super) fn left(&self) -> usize {
        let held = self.stores.values().map(|state| match state {
            State::Asking { held } => held.len(),
            State::Serving(_) | State::Gone => 0,
        });
        held.sum()
    }
}

impl Service for Registry {
    type Command = RegistryCommand;
    type Timer = RegistryTimer;
    type Special = RegistryEffect;

    fn handle(&mut self, input: Input<RegistryCommand, RegistryTimer>, cx: &mut Cx<'_>) {
        match input {
            Input::Command(RegistryCommand::Begin) => self.begin(cx),
            Input::Command(RegistryCommand::Call { store, command }) => self.call(store, command, cx),
            Input::Command(RegistryCommand::Check { store }) => self.check(store, cx),
            Input::Command(RegistryCommand::AskHealth { store }) => {
                self.tell_me(store, Probe::Health, TO_TELL, cx);
            }
            Input::Command(RegistryCommand::WatchSafeTs) => {
                if !std::mem::replace(&mut self.watches_safe_ts, true) {
                    self.ask_safe_ts(cx);
                }
            }
            Input::Done(ticket, completion) => self.done(ticket, completion, cx),
            Input::Timer(timer) => self.timer(timer, cx),
            Input::Idle | Input::Writable(_) | Input::Item(..) | Input::Closed(..) => {}
        }
    }
}
