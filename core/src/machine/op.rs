//! The storage of one operation: its tickets, scopes, effects, random numbers and budget.

use std::collections::VecDeque;
use std::sync::Arc;

use super::completion::Completion;
use super::effect::{Destination, Effect};
use super::fault::{Fault, Interrupt};
use super::scope::{Scope, Scopes};
use super::ticket::{Freed, Slots, TicketId};
use crate::backoff::Budget;
use crate::explain::Explanation;
use crate::replica::ReadProfile;
use crate::types::Instant;

/// How an operation's requests are sent: the same for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a trace holds it field by field")]
pub struct Manner {
    /// Where its reads go; `None`: to leaders.
    pub reading: Option<Arc<ReadProfile>>,
    /// A leader that cannot be reached is asked through another store.
    pub forwarding: bool,
}

/// Everything of an operation but its machine. Used again for the next operation of the same driver, so
/// that a call allocates nothing for it.
#[derive(Debug)]
pub struct Op {
    pub(super) slots: Slots,
    pub(super) scopes: Scopes,
    pub(super) effects: VecDeque<Effect>,
    pub(super) rng: fastrand::Rng,
    pub(super) budget: Budget,
    pub(super) deadline: Instant,
    pub(super) manner: Manner,
    /// What its requests met, if that was asked for.
    pub(super) explanation: Option<Box<Explanation>>,
    /// Set once: from then on every ticket completes with it.
    pub(super) interrupted: Option<Interrupt>,
}

impl Default for Op {
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            scopes: Scopes::default(),
            effects: VecDeque::new(),
            rng: fastrand::Rng::with_seed(0),
            budget: Budget::default(),
            deadline: Instant::FAR,
            manner: Manner::default(),
            explanation: None,
            interrupted: None,
        }
    }
}

impl Op {
    /// Makes the storage ready for the next operation: `seed` gives its random numbers, `budget` what it may
    /// sleep. Tickets of the operation before stay dead.
    pub fn begin(&mut self, seed: u64, deadline: Instant, budget: Budget) {
        debug_assert!(self.effects.is_empty(), "effects of the operation before were not carried out");
        self.slots.reset();
        self.scopes.reset();
        self.rng = fastrand::Rng::with_seed(seed);
        self.budget = budget;
        self.deadline = deadline;
        self.manner = Manner::default();
        self.explanation = None;
        self.interrupted = None;
    }

    /// Says how the requests of the operation that has begun are sent.
    pub fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
    }

    /// Lets the operation that has begun write down what its requests meet.
    pub fn explain(&mut self) {
        self.explanation = Some(Box::default());
    }

    /// What its requests met, if that was asked for.
    pub fn take_explanation(&mut self) -> Option<Box<Explanation>> {
        self.explanation.take()
    }

    /// Ends an operation: gives every open ticket back, in the order of their slots.
    pub fn end(&mut self) {
        self.close(Scope::ROOT);
    }

    /// The next effect to carry out.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The effects that are to be carried out, in order.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.effects.iter()
    }

    /// Puts a completion in its place and marks the machines it belongs to; false when nobody waits for it.
    pub fn deliver(&mut self, ticket: TicketId, completion: Completion) -> bool {
        let Some(scope) = self.slots.deliver(ticket, completion) else { return false };
        self.scopes.wake(scope);
        true
    }

    /// Completes every open ticket as interrupted; tickets that are made from now on complete at once.
    pub fn interrupt(&mut self, why: Interrupt) {
        if self.interrupted.is_some() {
            return;
        }
        self.interrupted = Some(why);
        let open: Vec<_> = self.slots.open_tickets().filter(|open| open.2).map(|open| open.0).collect();
        for ticket in open {
            if let Some(at) = self.slots.destination(ticket) {
                self.effects.push_back(Effect::Cancel { ticket, at });
            }
            self.deliver(ticket, Completion::Fault(Fault::Interrupted(why)));
        }
    }

    /// How many tickets are not given back.
    #[must_use]
    pub fn open_tickets(&self) -> usize {
        self.slots.open_tickets().count()
    }

    pub(super) fn open(&mut self, scope: Scope, at: Destination) -> TicketId {
        self.scopes.count(scope, 1);
        self.slots.open(scope, at)
    }

    pub(super) fn release(&mut self, ticket: TicketId) {
        match self.slots.release(ticket) {
            Some(Freed::Waiting { scope, at }) => {
                self.scopes.count(scope, -1);
                self.effects.push_back(Effect::Cancel { ticket, at });
            }
            Some(Freed::Arrived { scope, .. }) => self.scopes.count(scope, -1),
            None => {}
        }
    }

    /// Ends a scope: every ticket in it and below is given back.
    pub(super) fn close(&mut self, scope: Scope) {
        if self.scopes.tickets(scope) > 0 {
            let inside: Vec<_> = self
                .slots
                .open_tickets()
                .filter(|open| self.scopes.is_within(open.1, scope))
                .map(|open| open.0)
                .collect();
            for ticket in inside {
                self.release(ticket);
            }
        }
        self.scopes.close(scope);
    }
}
