//! Seats: where the completions of one operation (or service) arrive, from any thread.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use atomic_waker::AtomicWaker;
use crossbeam_queue::SegQueue;

use super::completion::Completion;
use super::fault::{Fault, Interrupt, TransportClass, TransportFault};
use super::ticket::TicketId;

/// An inbox and the waker of the one who drains it. Pooled: a call allocates nothing for it.
#[derive(Default)]
pub struct Seat {
    inbox: SegQueue<(TicketId, Completion)>,
    waker: AtomicWaker,
}

impl Seat {
    /// Wakes `waker` at the next delivery. To be called before the inbox is drained, or a delivery in between is
    /// missed.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// The next completion that has come.
    #[must_use]
    pub fn next(&self) -> Option<(TicketId, Completion)> {
        self.inbox.pop()
    }

    /// Puts a completion into the inbox without waking anyone: a frame is distributed whole first.
    pub fn deliver(&self, ticket: TicketId, completion: Completion) {
        self.inbox.push((ticket, completion));
    }

    /// Wakes the one who drains the inbox; does nothing when that was done already.
    pub fn wake(&self) {
        self.waker.wake();
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("waiting", &self.inbox.len()).finish_non_exhaustive()
    }
}

/// Who waits for an answer: a ticket of a seat. Answered once.
///
/// An asker that is dropped without an answer (its service ended) answers that the client is closed, so that nobody
/// waits for ever.
#[derive(Debug)]
pub struct Asker {
    seat: Option<Arc<Seat>>,
    ticket: TicketId,
    /// Waits for a store's stream, which can end without the client.
    of_store: bool,
}

impl Asker {
    /// The ticket of `seat` that waits.
    #[must_use]
    pub fn new(seat: Arc<Seat>, ticket: TicketId) -> Self {
        Self { seat: Some(seat), ticket, of_store: false }
    }

    /// One that waits for a store: dropped, it answers that the request may be lost. Whether the client is closed its
    /// next pause finds out.
    #[must_use]
    pub fn of_store(seat: Arc<Seat>, ticket: TicketId) -> Self {
        Self { seat: Some(seat), ticket, of_store: true }
    }

    /// Whether this is the asker that `other` names.
    #[must_use]
    pub fn is(&self, other: &Withdrawn) -> bool {
        self.ticket == other.ticket && self.seat.as_ref().is_some_and(|seat| Arc::ptr_eq(seat, &other.seat))
    }

    /// Names whose it is: all askers of one seat have the same name. It means nothing else.
    #[must_use]
    pub fn seat_name(&self) -> usize {
        self.seat.as_ref().map_or(0, |seat| Arc::as_ptr(seat).addr())
    }

    /// Whether this is one of the askers that `others` name, which are sorted.
    #[must_use]
    pub fn is_among(&self, others: &[Withdrawn]) -> bool {
        let Some(seat) = &self.seat else { return false };
        let name = (Arc::as_ptr(seat).addr(), self.ticket);
        others.binary_search_by_key(&name, Withdrawn::name).is_ok()
    }

    /// Delivers the answer; the returned seat is to be woken when the whole frame is distributed.
    pub fn answer(mut self, completion: Completion) -> Option<Arc<Seat>> {
        let seat = self.seat.take()?;
        seat.deliver(self.ticket, completion);
        Some(seat)
    }

    /// Forgets the one who waits: it has withdrawn its question.
    pub fn forget(mut self) {
        self.seat = None;
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            let fault = match self.of_store {
                true => {
                    Fault::Transport(TransportFault::new(TransportClass::Lost, "the store's stream ended"))
                }
                false => Fault::Interrupted(Interrupt::Closed),
            };
            seat.deliver(self.ticket, Completion::Fault(fault));
            seat.wake();
        }
    }
}

/// Names an asker that does not wait any more.
#[derive(Debug)]
pub struct Withdrawn {
    seat: Arc<Seat>,
    ticket: TicketId,
}

impl Withdrawn {
    /// The ticket of `seat` that is not waited for.
    #[must_use]
    pub fn new(seat: Arc<Seat>, ticket: TicketId) -> Self {
        Self { seat, ticket }
    }

    /// What to sort by for [`Asker::is_among`]. The order means nothing, and decides nothing but how names are found.
    #[must_use]
    pub fn name(&self) -> (usize, TicketId) {
        (Arc::as_ptr(&self.seat).addr(), self.ticket)
    }
}
