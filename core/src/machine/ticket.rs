//! Tickets: the one owner of an outstanding effect, and the slots they live in.

use std::fmt;
use std::marker::PhantomData;
use std::task::Poll;

use super::effect::Destination;
use super::scope::Scope;
use super::{Completion, Fault};
use crate::types::Instant;

/// Names an outstanding effect of one operation: a slot, and how often the slot was used before.
///
/// A completion that comes late, for a ticket that is gone, finds another generation and is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId {
    slot: u32,
    generation: u32,
}

impl TicketId {
    /// A ticket by its parts, as a trace holds them.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot, self.generation)
    }
}

/// Owns an outstanding effect; `T` is what it brings back. Taken with [`Cx::take`](super::Cx::take).
///
/// A ticket is not `Clone`: who holds it is the one who waits. Dropping it without taking the completion
/// leaves the slot to the end of its scope; [`Cx::cancel`](super::Cx::cancel) gives it back at once.
#[must_use = "a completion that nobody takes is lost"]
pub struct Ticket<T> {
    id: TicketId,
    brings: PhantomData<fn() -> T>,
}

impl<T> Ticket<T> {
    pub(super) const fn of(id: TicketId) -> Self {
        Self { id, brings: PhantomData }
    }

    /// The ticket's name, as effects and traces have it.
    #[must_use]
    pub const fn id(&self) -> TicketId {
        self.id
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.id)
    }
}

/// What a completion turns into for the one who waits.
pub trait Brings: Sized {
    /// Takes the answer out of `completion`.
    ///
    /// # Errors
    /// The fault that came instead of an answer.
    fn unpack(completion: Completion) -> Result<Self, Fault>;
}

#[derive(Debug)]
enum Slot {
    Free,
    Waiting { scope: Scope, at: Destination },
    Arrived { scope: Scope, completion: Completion },
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    slot: Slot,
}

/// The outstanding effects of one operation. Kept when the operation's storage is used again, so that
/// generations go on counting and a completion of the operation before finds nothing.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: Vec<Entry>,
    /// Slots below `fresh` that are free, the one to be used next last.
    free: Vec<u32>,
    /// No slot from here on was used by this operation.
    fresh: usize,
}

/// What became of a ticket that was given back.
#[derive(Debug)]
pub(super) enum Freed {
    /// It was still waited for: whoever works on it is to be told.
    Waiting { scope: Scope, at: Destination },
    /// Its completion had come.
    Arrived { scope: Scope, completion: Completion },
}

impl Slots {
    /// Makes ready for the next operation, whose slots come in the same order as those of any other: the order in which its
    /// tickets are given back at its end must not depend on what the storage was used for before.
    pub(super) fn reset(&mut self) {
        debug_assert!(self.open_tickets().next().is_none(), "tickets of the operation before are open");
        self.free.clear();
        self.fresh = 0;
    }

    pub(super) fn open(&mut self, scope: Scope, at: Destination) -> TicketId {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.fresh).unwrap_or(u32::MAX);
            self.fresh += 1;
            slot
        });
        let waiting = Slot::Waiting { scope, at };
        if let Some(entry) = self.all.get_mut(slot as usize) {
            entry.slot = waiting;
            return TicketId { slot, generation: entry.generation };
        }
        self.all.push(Entry { generation: 0, slot: waiting });
        TicketId { slot, generation: 0 }
    }

    fn entry(&mut self, id: TicketId) -> Option<&mut Entry> {
        self.all.get_mut(id.slot as usize).filter(|entry| entry.generation == id.generation)
    }

    pub(super) fn release(&mut self, id: TicketId) -> Option<Freed> {
        let entry = self.entry(id)?;
        let freed = match std::mem::replace(&mut entry.slot, Slot::Free) {
            Slot::Free => return None,
            Slot::Waiting { scope, at } => Freed::Waiting { scope, at },
            Slot::Arrived { scope, completion } => Freed::Arrived { scope, completion },
        };
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(freed)
    }

    pub(super) fn take(&mut self, id: TicketId) -> Poll<(Scope, Completion)> {
        match self.entry(id) {
            Some(Entry { slot: Slot::Arrived { .. }, .. }) => {}
            Some(_) => return Poll::Pending,
            // Only a machine that keeps a ticket it has taken or cancelled comes here.
            None => panic!("ticket {id} was taken or cancelled before"),
        }
        match self.release(id) {
            Some(Freed::Arrived { scope, completion }) => Poll::Ready((scope, completion)),
            _ => Poll::Pending,
        }
    }

    /// Puts a completion where its ticket waits; `None` when nobody waits for it any more.
    pub(super) fn deliver(&mut self, id: TicketId, completion: Completion) -> Option<Scope> {
        let entry = self.entry(id)?;
        let Slot::Waiting { scope, .. } = entry.slot else { return None };
        entry.slot = Slot::Arrived { scope, completion };
        Some(scope)
    }

    /// Who works on a ticket that is still waited for.
    pub(super) fn destination(&mut self, id: TicketId) -> Option<Destination> {
        match self.entry(id)?.slot {
            Slot::Waiting { at, .. } => Some(at),
            Slot::Free | Slot::Arrived { .. } => None,
        }
    }

    /// The tickets that still occupy a slot; the flag says whether the completion is still to come.
    pub(super) fn open_tickets(&self) -> impl Iterator<Item = (TicketId, Scope, bool)> + '_ {
        self.all.iter().enumerate().filter_map(|(slot, entry)| {
            let id = TicketId { slot: u32::try_from(slot).ok()?, generation: entry.generation };
            match &entry.slot {
                Slot::Free => None,
                Slot::Waiting { scope, .. } => Some((id, *scope, true)),
                Slot::Arrived { scope, .. } => Some((id, *scope, false)),
            }
        })
    }
}

/// A timer's ticket brings this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a timer brings nothing but that it fired")]
pub struct Fired {
    /// When the timer was to fire; the step's `now` says when it did.
    pub at: Instant,
}
