//! The numbers of an operation's tickets: counted from 1 in the order of their effects, whatever slots the operation's storage
//! gave them.

use std::collections::BTreeMap;

use super::format::Completion;
use crate::machine::TicketId;
use crate::request::Command;

/// What a ticket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call(Command),
    Timer,
    Timestamp,
    Region,
    Regions,
    Pd,
}

impl Kind {
    /// Whether `completion` can complete such a ticket.
    pub(super) fn brings(self, completion: &Completion) -> bool {
        match completion {
            Completion::Response(_) | Completion::Withheld(_) => matches!(self, Self::Call(_)),
            Completion::Fired(_) => self == Self::Timer,
            Completion::Timestamp(_) => self == Self::Timestamp,
            Completion::Region(_) => self == Self::Region,
            Completion::Regions(_) => self == Self::Regions,
            Completion::Pd(_) => self == Self::Pd,
            Completion::Fault(_) => true,
            Completion::Other(_) => false,
        }
    }
}

/// The tickets that are waited for.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    issued: u64,
    open: BTreeMap<TicketId, (u64, Kind)>,
    by_number: BTreeMap<u64, TicketId>,
}

impl Tickets {
    /// A ticket's number: the next.
    pub(super) fn issue(&mut self, ticket: TicketId, kind: Kind) -> u64 {
        self.issued += 1;
        self.open.insert(ticket, (self.issued, kind));
        self.by_number.insert(self.issued, ticket);
        self.issued
    }

    /// A ticket is not waited for any more; its number and what it waited for.
    pub(super) fn close(&mut self, ticket: TicketId) -> Option<(u64, Kind)> {
        let open = self.open.remove(&ticket)?;
        self.by_number.remove(&open.0);
        Some(open)
    }

    /// The ticket of a number, if it is waited for.
    pub(super) fn find(&self, number: u64) -> Option<(TicketId, Kind)> {
        let ticket = self.by_number.get(&number)?;
        Some((*ticket, self.open.get(ticket)?.1))
    }
}
