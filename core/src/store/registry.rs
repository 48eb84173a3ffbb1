//! The store registry: one stream a store, at the address PD names.
//!
//! ```text
//!            call                 address
//! (unknown) ------> Asking ----------------> Up ---+ check: moved
//!     ^                |  \                  | ^---+
//!     |  PD failed     |   \ removed         | check: removed
//!     +----------------+    +-----> Gone <---+
//! ```
//!
//! | state | input | does |
//! |---|---|---|
//! | unknown | call | asks PD, holds the call |
//! | Asking | call | holds it, within bounds |
//! | Asking | PD names an address | launches the stream, forwards what was held, in order |
//! | Asking | PD does not know the store, or removed it | refuses what was held: the store is gone for good |
//! | Asking | PD failed, or names no address | answers what was held with that; the next call asks again |
//! | Up | call | forwards it (it was sent before the stream was seen) |
//! | Up | check, a second since the last | asks PD; the stream turns to a new address |
//! | Gone | call | refuses it |
//!
//! Store ids are never used again, so `Gone` stays.
//!
//! client-go: `internal/locate/store_cache.go: initResolve, reResolve`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ServiceError;
use crate::machine::{
    Address, Answer, Asker, Completion, Fault, Input, Interrupt, Service, ServiceCx, ServiceEffect, TicketId,
    TransportClass, TransportFault,
};
use crate::pd::{PdQuery, PdReply, StoreInfo, StoreState};
use crate::stream::StreamCommand;
use crate::types::{Instant, StoreId};

/// How long PD may take to name a store's address.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store that cannot be reached is looked for at PD at most this often, however many requests fail.
const BETWEEN_CHECKS: Duration = Duration::from_secs(1);

/// Calls held for one store while PD is asked.
const HELD: usize = 1 << 16;

/// What the registry is told.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every command")]
pub enum RegistryCommand {
    /// A command for the stream of a store that had none when it was sent.
    Call {
        /// The store.
        store: StoreId,
        /// The command.
        command: StreamCommand,
    },
    /// A store could not be reached: it may have moved.
    Check {
        /// The store.
        store: StoreId,
    },
}

/// What the registry wants done about streams.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the launcher carries out every effect")]
pub enum RegistryEffect {
    /// Start the stream of a store.
    Launch {
        /// The store.
        store: StoreId,
        /// Where it serves.
        address: Address,
    },
    /// Hand a held command to the store's stream.
    Forward {
        /// The store.
        store: StoreId,
        /// The command.
        command: StreamCommand,
    },
    /// The store serves elsewhere: its stream is to turn there.
    Move {
        /// The store.
        store: StoreId,
        /// Where it serves now.
        address: Address,
    },
    /// The store is gone: end its stream.
    Remove {
        /// The store.
        store: StoreId,
    },
}

/// The timers of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every timer")]
pub enum RegistryTimer {
    /// The earliest deadline of a held call.
    Deadline,
}

#[derive(Debug)]
enum State {
    Asking { held: Vec<StreamCommand> },
    Up { address: Address, checked: Instant, checking: bool },
    Gone,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Registry {
    stores: BTreeMap<StoreId, State>,
    /// Questions to PD that are open, and for which store.
    asked: BTreeMap<TicketId, StoreId>,
    armed: Option<Instant>,
}

type Cx<'a> = ServiceCx<'a, RegistryTimer, RegistryEffect>;

impl Registry {
    fn call(&mut self, store: StoreId, command: StreamCommand, cx: &mut Cx<'_>) {
        match self.stores.get_mut(&store) {
            Some(State::Up { .. }) => {
                cx.effect(ServiceEffect::Special(RegistryEffect::Forward { store, command }));
            }
            Some(State::Gone) => refuse(command, &removed(store), cx),
            Some(State::Asking { held }) if held.len() >= HELD => refuse(command, &Fault::Overloaded, cx),
            Some(State::Asking { .. }) => self.hold(store, command, cx),
            None => {
                // A withdrawal of a call that was answered before: nothing is known, nothing to find out.
                if let StreamCommand::Call { .. } = command {
                    let query = cx.query(PdQuery::Store(store), cx.now() + PATIENCE);
                    self.asked.insert(query, store);
                    self.stores.insert(store, State::Asking { held: Vec::new() });
                    self.hold(store, command, cx);
                }
            }
        }
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
            StreamCommand::Move { .. } => {}
        }
    }

    fn check(&mut self, store: StoreId, cx: &mut Cx<'_>) {
        let Some(State::Up { checked, checking, .. }) = self.stores.get_mut(&store) else { return };
        if *checking || cx.now().since(*checked) < BETWEEN_CHECKS {
            return;
        }
        (*checked, *checking) = (cx.now(), true);
        let query = cx.query(PdQuery::Store(store), cx.now() + PATIENCE);
        self.asked.insert(query, store);
    }

    fn learned(&mut self, store: StoreId, completion: Completion, cx: &mut Cx<'_>) {
        let found = match completion {
            Completion::Answer(Answer::Pd(PdReply::Store(Some(info)))) if has_no_address(&info) => {
                Err(Fault::Refused(unnamed(store)))
            }
            Completion::Answer(Answer::Pd(PdReply::Store(info))) => Ok(info.filter(is_there)),
            Completion::Fault(fault) => Err(unsent(store, fault)),
            other => Err(Fault::Refused(unexpected(&other))),
        };
        let Some(state) = self.stores.remove(&store) else { return };
        let state = match (state, found) {
            (State::Asking { held }, Ok(Some(info))) => {
                let address = Arc::clone(&info.address);
                cx.effect(ServiceEffect::Special(RegistryEffect::Launch { store, address }));
                for command in held {
                    cx.effect(ServiceEffect::Special(RegistryEffect::Forward { store, command }));
                }
                State::Up { address: info.address, checked: cx.now(), checking: false }
            }
            (State::Asking { held }, Ok(None)) => {
                held.into_iter().for_each(|command| refuse(command, &removed(store), cx));
                State::Gone
            }
            (State::Asking { held }, Err(fault)) => {
                held.into_iter().for_each(|command| refuse(command, &fault, cx));
                return;
            }
            (State::Up { address, checked, .. }, Ok(Some(info))) => {
                if info.address != address {
                    let address = Arc::clone(&info.address);
                    cx.effect(ServiceEffect::Special(RegistryEffect::Move { store, address }));
                }
                State::Up { address: info.address, checked, checking: false }
            }
            (State::Up { .. }, Ok(None)) => {
                cx.effect(ServiceEffect::Special(RegistryEffect::Remove { store }));
                State::Gone
            }
            // Nothing was learned: the address stays until PD says otherwise.
            (State::Up { address, checked, .. }, Err(_)) => State::Up { address, checked, checking: false },
            (State::Gone, _) => State::Gone,
        };
        self.stores.insert(store, state);
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
                    StreamCommand::Withdraw(_) | StreamCommand::Move { .. } => {}
                }
            }
        }
        if let Some(at) = self.armed {
            cx.arm(RegistryTimer::Deadline, at);
        }
    }
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
        StreamCommand::Withdraw(_) | StreamCommand::Move { .. } => return,
    };
    cx.answer(asker, Completion::Fault(fault.clone()));
}

#[cfg(test)]
impl Registry {
    /// How much it has kept of those who wait.
    pub(super) fn left(&self) -> usize {
        let held = self.stores.values().map(|state| match state {
            State::Asking { held } => held.len(),
            State::Up { .. } | State::Gone => 0,
        });
        held.sum::<usize>() + self.asked.len()
    }
}

impl Service for Registry {
    type Command = RegistryCommand;
    type Timer = RegistryTimer;
    type Special = RegistryEffect;

    fn handle(&mut self, input: Input<RegistryCommand, RegistryTimer>, cx: &mut Cx<'_>) {
        match input {
            Input::Command(RegistryCommand::Call { store, command }) => self.call(store, command, cx),
            Input::Command(RegistryCommand::Check { store }) => self.check(store, cx),
            Input::Done(ticket, completion) => {
                if let Some(store) = self.asked.remove(&ticket) {
                    self.learned(store, completion, cx);
                }
            }
            Input::Timer(RegistryTimer::Deadline) => self.expire(cx),
            Input::Idle | Input::Writable(_) | Input::Item(..) | Input::Closed(..) => {}
        }
    }
}
