//! The requests of one store that are sent and not answered.

use std::collections::{BTreeMap, VecDeque};

use crate::machine::{Asker, StreamId, Withdrawn};
use crate::types::Instant;

/// How many requests can be in flight to one store.
pub(super) const MOST: usize = 1 << 20;

/// So many places are kept, however few requests are in flight.
const KEPT: usize = 1024;

/// From so many places a request on, the oldest requests are kept apart: one that hangs does not make the places grow for ever.
const SPARSE: usize = 8;

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    /// The command, as the oneof's field.
    pub(super) tag: u32,
    /// On which stream: an answer that comes on another is none.
    pub(super) stream: StreamId,
    pub(super) asker: Asker,
    pub(super) deadline: Instant,
    pub(super) at: Instant,
}

/// Requests in flight, found by id in one step.
///
/// Ids are 1, 2, 3 …: each is one place behind the last, in a ring whose first place is that of the oldest request.
#[derive(Debug)]
pub(super) struct Flight {
    /// The id of the ring's first place.
    first: u64,
    ring: VecDeque<Option<Sent>>,
    /// Old requests that would hold the ring's beginning back.
    old: BTreeMap<u64, Sent>,
    len: usize,
}

impl Default for Flight {
    fn default() -> Self {
        Self { first: 1, ring: VecDeque::new(), old: BTreeMap::new(), len: 0 }
    }
}

impl Flight {
    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes a request up and names it.
    pub(super) fn add(&mut self, sent: Sent) -> u64 {
        if self.ring.len() >= KEPT.max(self.len * SPARSE) {
            self.set_apart();
        }
        let id = self.first + self.ring.len() as u64;
        self.ring.push_back(Some(sent));
        self.len += 1;
        id
    }

    /// Moves the older half of the places' requests out of the ring.
    fn set_apart(&mut self) {
        for _ in 0..self.ring.len() / 2 {
            if let Some(Some(sent)) = self.ring.pop_front() {
                self.old.insert(self.first, sent);
            }
            self.first += 1;
        }
        self.trim();
    }

    /// The request `id` that was sent on `stream`; `None` for one that is not in flight there.
    pub(super) fn take(&mut self, id: u64, stream: StreamId) -> Option<Sent> {
        let ours = |sent: &mut Sent| sent.stream == stream;
        let sent = match id.checked_sub(self.first) {
            Some(at) => self.ring.get_mut(usize::try_from(at).ok()?)?.take_if(ours)?,
            None => {
                self.old.get_mut(&id).filter(|sent| sent.stream == stream)?;
                self.old.remove(&id)?
            }
        };
        self.len -= 1;
        self.trim();
        Some(sent)
    }

    /// Gives back the places of requests that are over, and storage that a burst left.
    fn trim(&mut self) {
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.first += 1;
        }
        if self.ring.capacity() > 4 * KEPT.max(self.ring.len()) {
            self.ring.shrink_to(2 * KEPT.max(self.ring.len()));
        }
    }

    /// Takes out, oldest first, every request that is `wanted`.
    fn extract(&mut self, mut wanted: impl FnMut(&Sent) -> bool, mut each: impl FnMut(u64, Sent)) {
        let mut gone = 0;
        let old: Vec<u64> = self.old.iter().filter(|(_, sent)| wanted(sent)).map(|(&id, _)| id).collect();
        for id in old {
            if let Some(sent) = self.old.remove(&id) {
                gone += 1;
                each(id, sent);
            }
        }
        for (id, place) in (self.first..).zip(&mut self.ring) {
            if let Some(sent) = place.take_if(|sent| wanted(sent)) {
                gone += 1;
                each(id, sent);
            }
        }
        self.len -= gone;
        self.trim();
    }

    /// Forgets the requests of operations that do not wait any more, which are sorted; says on which stream each was.
    pub(super) fn withdraw(&mut self, gone: &[Withdrawn], mut each: impl FnMut(StreamId)) {
        let forget = |_, sent: Sent| {
            each(sent.stream);
            sent.asker.forget();
        };
        self.extract(|sent| sent.asker.is_among(gone), forget);
    }

    /// Takes out every request whose deadline is over; and the earliest deadline of those that stay.
    pub(super) fn expired(&mut self, now: Instant, each: impl FnMut(u64, Sent)) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        let over = |sent: &Sent| {
            if sent.deadline > now {
                earliest = Some(earliest.map_or(sent.deadline, |at| at.min(sent.deadline)));
            }
            sent.deadline <= now
        };
        self.extract(over, each);
        earliest
    }

    /// Takes out everything that was sent on a stream.
    pub(super) fn lose(&mut self, stream: StreamId, mut each: impl FnMut(Asker)) {
        self.extract(|sent| sent.stream == stream, |_, sent| each(sent.asker));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::machine::{Seat, TicketId};

    const ONE: StreamId = StreamId(1);

    fn sent(seat: &Arc<Seat>, n: u32, stream: StreamId) -> Sent {
        let asker = Asker::new(Arc::clone(seat), TicketId::new(n, 0));
        Sent { tag: 13, stream, asker, deadline: Instant(u64::from(n)), at: Instant(0) }
    }

    #[test]
    fn ids_count_from_one_and_are_never_used_again() {
        let (mut flight, seat) = (Flight::default(), Arc::default());
        for n in 1..=5000_u64 {
            assert_eq!(flight.add(sent(&seat, 0, ONE)), n);
            assert!(flight.take(n, ONE).is_some());
            assert!(flight.take(n, ONE).is_none(), "it is answered once");
        }
        assert_eq!(flight.len(), 0);
    }

    #[test]
    fn an_answer_on_another_stream_is_none() {
        let (mut flight, seat) = (Flight::default(), Arc::default());
        let id = flight.add(sent(&seat, 0, ONE));
        assert!(flight.take(id, StreamId(2)).is_none());
        assert!(flight.take(id, ONE).is_some());
        for id in [0, id, id + 1, u64::MAX] {
            assert!(flight.take(id, ONE).is_none());
        }
    }

    #[test]
    fn a_burst_gives_its_storage_back() {
        let (mut flight, seat) = (Flight::default(), Arc::default());
        let ids: Vec<_> = (0..100_000).map(|_| flight.add(sent(&seat, 0, ONE))).collect();
        for id in ids.into_iter().rev() {
            assert!(flight.take(id, ONE).is_some());
        }
        assert!(flight.ring.capacity() <= 4 * KEPT, "{} places are left", flight.ring.capacity());
    }

    #[test]
    fn a_request_that_hangs_does_not_hold_the_storage_of_those_behind_it() {
        let (mut flight, seat) = (Flight::default(), Arc::default());
        let hangs = flight.add(sent(&seat, 0, ONE));
        for _ in 0..100_000 {
            let id = flight.add(sent(&seat, 0, ONE));
            assert!(flight.take(id, ONE).is_some());
        }
        assert_eq!(flight.len(), 1);
        assert!(flight.ring.capacity() <= 4 * KEPT, "{} places are left", flight.ring.capacity());
        assert!(flight.take(hangs, ONE).is_some());
    }

    #[test]
    fn what_is_taken_out_is_exactly_what_was_asked_for_oldest_first() {
        let (mut flight, seat) = (Flight::default(), Arc::default());
        for n in 0..4000 {
            flight.add(sent(&seat, n, StreamId(1 + u64::from(n % 2))));
        }
        // The ring is sparse: old ones are set apart.
        for id in 11..=4000 {
            let stream = StreamId(1 + (id - 1) % 2);
            drop(flight.take(id, stream));
        }
        for _ in 0..2000 {
            let id = flight.add(sent(&seat, u32::MAX, ONE));
            drop(flight.take(id, ONE));
        }
        assert_eq!(flight.len(), 10);
        let mut over = Vec::new();
        assert_eq!(flight.expired(Instant(3), |id, _| over.push(id)), Some(Instant(4)));
        assert_eq!(over, [1, 2, 3, 4]);
        let mut lost = 0;
        flight.lose(StreamId(2), |_| lost += 1);
        assert_eq!((lost, flight.len()), (3, 3));
        let mut gone = vec![Withdrawn::new(Arc::clone(&seat), TicketId::new(4, 0))];
        gone.sort_unstable_by_key(Withdrawn::name);
        let mut of = Vec::new();
        flight.withdraw(&gone, |stream| of.push(stream));
        assert_eq!((of, flight.len()), (vec![ONE], 2));
    }
}
