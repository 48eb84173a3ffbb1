//! The requests of one stream that are sent and not answered.

use crate::machine::{Asker, Withdrawn};
use crate::types::Instant;

/// Bits of a request id that name its slot; the bits above count, so that an id is never used again.
const SLOT_BITS: u32 = 20;

/// How many requests can be in flight on one stream.
pub(super) const MOST: usize = 1 << SLOT_BITS;

#[derive(Debug)]
struct Sent {
    id: u64,
    tag: u32,
    asker: Asker,
    deadline: Instant,
}

/// Requests in flight, found by id in one step.
#[derive(Debug, Default)]
pub(super) struct Flight {
    slots: Vec<Option<Sent>>,
    free: Vec<usize>,
    count: u64,
}

impl Flight {
    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none is.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that are in flight, taken out; the ids of later ones go on from theirs.
    pub(super) fn part(&mut self) -> Self {
        let count = self.count;
        std::mem::replace(self, Self { count, ..Self::default() })
    }

    /// Takes a request up and names it; ids grow and start above 0, which is the priming frame's.
    pub(super) fn add(&mut self, tag: u32, asker: Asker, deadline: Instant) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.count += 1;
        let id = (self.count << SLOT_BITS) | slot as u64;
        self.slots[slot] = Some(Sent { id, tag, asker, deadline });
        id
    }

    /// The one who waits for the response `id` of the command `tag`; `None` for an id that is not in flight.
    pub(super) fn take(&mut self, id: u64) -> Option<(u32, Asker)> {
        let slot = usize::try_from(id & (MOST as u64 - 1)).ok()?;
        let sent = self.slots.get_mut(slot)?.take_if(|sent| sent.id == id)?;
        self.free.push(slot);
        Some((sent.tag, sent.asker))
    }

    /// Forgets the requests of operations that do not wait any more, which are sorted.
    pub(super) fn withdraw(&mut self, gone: &[Withdrawn]) {
        for (slot, entry) in self.slots.iter_mut().enumerate() {
            if let Some(sent) = entry.take_if(|sent| sent.asker.is_among(gone)) {
                sent.asker.forget();
                self.free.push(slot);
            }
        }
    }

    /// Takes out every request whose deadline is over; and the earliest deadline of those that stay.
    pub(super) fn expired(&mut self, now: Instant, mut each: impl FnMut(Asker)) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for (slot, entry) in self.slots.iter_mut().enumerate() {
            if let Some(sent) = entry.take_if(|sent| sent.deadline <= now) {
                self.free.push(slot);
                each(sent.asker);
            } else if let Some(sent) = entry {
                earliest = Some(earliest.map_or(sent.deadline, |at| at.min(sent.deadline)));
            }
        }
        earliest
    }

    /// Takes out everything.
    pub(super) fn drain(&mut self, mut each: impl FnMut(Asker)) {
        for sent in self.slots.drain(..).flatten() {
            each(sent.asker);
        }
        self.free.clear();
    }
}
