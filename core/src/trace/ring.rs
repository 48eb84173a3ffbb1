//! The ring: the last records, bounded in time and in bytes.
//!
//! Records gather in chunks, one after the other for each writer. A chunk is written under a lock of its own, which only
//! [`Ring::dump`] and the eviction of that very chunk ever contend for. The ring has a few shards; each holds its chunks in the
//! order in which they were begun and lets the oldest go when it has too many bytes. So an operation loses its
//! beginning first, and a reader sees that.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::file;
use super::outlet::{CHUNK_BYTES, CHUNK_MS};
use crate::types::WallTime;

/// Writers are spread over so many shards.
const SHARDS: usize = 8;

/// What a chunk costs beside its bytes, about.
const OVERHEAD: usize = 128;

/// See the module.
pub(super) struct Ring {
    keep_ms: u64,
    /// Bytes of one shard at the most.
    limit: usize,
    shards: [Shard; SHARDS],
    chunks: AtomicU64,
    /// The wall time of the last write.
    newest: AtomicU64,
}

#[derive(Default)]
struct Shard {
    /// Oldest first.
    chunks: Mutex<VecDeque<Arc<Chunk>>>,
    bytes: AtomicUsize,
}

struct Chunk {
    writer: u64,
    /// Counts the chunks of the ring: wall clocks can be set back.
    number: u64,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    bytes: Vec<u8>,
    first: WallTime,
    last: WallTime,
    /// The ring has let it go.
    gone: bool,
}

impl Inside {
    fn cost(&self) -> usize {
        self.bytes.capacity() + OVERHEAD
    }
}

/// A writer's chunk.
pub(super) struct Slot(Arc<Chunk>);

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("writer", &self.0.writer).finish_non_exhaustive()
    }
}

/// Nothing that is done under these locks can leave their contents half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ring {
    pub(super) fn new(keep: Duration, bytes: usize) -> Self {
        let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let (chunks, newest) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { keep_ms, limit: bytes / SHARDS, shards: Default::default(), chunks, newest }
    }

    /// Services, of whose frames there are many, have a shard of their own; operations share the others.
    fn shard(&self, writer: u64) -> &Shard {
        // The remainder of a small number fits.
        let at = if writer == 0 { 0 } else { 1 + writer % (SHARDS as u64 - 1) };
        &self.shards[at as usize]
    }

    /// Appends encoded records to the writer's chunk; begins a new one when that is full, old or gone.
    pub(super) fn write(&self, slot: &mut Option<Slot>, writer: u64, records: Vec<u8>, wall: WallTime) {
        let shard = self.shard(writer);
        self.newest.store(wall.0, Ordering::Relaxed);
        if let Some(Slot(chunk)) = slot {
            let mut inside = lock(&chunk.inside);
            let full = inside.bytes.len() + records.len() > CHUNK_BYTES;
            let old = wall.0.saturating_sub(inside.first.0) >= CHUNK_MS;
            if !inside.gone && !full && !old {
                let before = inside.cost();
                inside.bytes.extend_from_slice(&records);
                inside.last = wall;
                // Counted before the chunk can be let go, so that the count never falls below zero.
                shard.bytes.fetch_add(inside.cost() - before, Ordering::Relaxed);
                drop(inside);
                shard.trim(self.limit);
                return;
            }
        }
        let inside = Inside { bytes: records, first: wall, last: wall, gone: false };
        let cost = inside.cost();
        let number = self.chunks.fetch_add(1, Ordering::Relaxed);
        let chunk = Arc::new(Chunk { writer, number, inside: Mutex::new(inside) });
        *slot = Some(Slot(Arc::clone(&chunk)));
        shard.bytes.fetch_add(cost, Ordering::Relaxed);
        lock(&shard.chunks).push_back(chunk);
        shard.trim(self.limit);
    }

    /// A whole trace of what is there: every chunk of each writer that wrote within the time that is kept, seen from the
    /// newest record; of services only the chunks of that time.
    pub(super) fn dump(&self) -> Vec<u8> {
        let mut chunks = Vec::new();
        for shard in &self.shards {
            let held: Vec<_> = lock(&shard.chunks).iter().map(Arc::clone).collect();
            for chunk in held {
                let inside = lock(&chunk.inside);
                if !inside.gone {
                    chunks.push((chunk.number, inside.last, chunk.writer, inside.bytes.clone()));
                }
            }
        }
        let since = self.newest.load(Ordering::Relaxed).saturating_sub(self.keep_ms);
        let writers: BTreeSet<u64> =
            chunks.iter().filter(|chunk| chunk.1.0 >= since).map(|chunk| chunk.2).collect();
        chunks.retain(|chunk| if chunk.2 == 0 { chunk.1.0 >= since } else { writers.contains(&chunk.2) });
        chunks.sort_unstable_by_key(|chunk| chunk.0);
        let mut trace = file::head();
        trace.extend(chunks.into_iter().flat_map(|chunk| chunk.3));
        trace
    }
}

impl Shard {
    /// Lets the oldest chunks go until no more than `limit` bytes are held.
    fn trim(&self, limit: usize) {
        if self.bytes.load(Ordering::Relaxed) <= limit {
            return;
        }
        let mut chunks = lock(&self.chunks);
        while self.bytes.load(Ordering::Relaxed) > limit
            && let Some(chunk) = chunks.pop_front()
        {
            let mut inside = lock(&chunk.inside);
            self.bytes.fetch_sub(inside.cost(), Ordering::Relaxed);
            *inside = Inside { gone: true, ..Inside::default() };
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.shards.iter().map(|shard| shard.bytes.load(Ordering::Relaxed)).sum();
        f.debug_struct("Ring").field("keep_ms", &self.keep_ms).field("bytes", &bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::Records;
    use super::super::format::{Entry, Record, Wire};
    use super::*;
    use proptest::prelude::*;

    fn record(n: u64, padding: usize) -> Vec<u8> {
        let wire = Wire { id: n, address: "x".repeat(padding), ..Wire::default() };
        let mut bytes = Vec::new();
        file::append(&Record { entry: Some(Entry::Wire(wire)) }, &mut bytes);
        bytes
    }

    fn ids(trace: &[u8]) -> Vec<u64> {
        let id = |record: Result<Record, _>| match record.unwrap().entry {
            Some(Entry::Wire(wire)) => wire.id,
            other => panic!("{other:?}"),
        };
        Records::new(trace).unwrap().map(id).collect()
    }

    #[test]
    fn what_is_older_than_the_time_that_is_kept_is_not_in_the_dump() {
        let ring = Ring::new(Duration::from_secs(10), 1 << 20);
        for at in 0..30 {
            ring.write(&mut None, at + 1, record(at, 9), WallTime(at * 1000));
        }
        assert_eq!(ids(&ring.dump()), (19..30).collect::<Vec<_>>());
    }

    #[test]
    fn a_writer_that_still_writes_keeps_its_beginning_however_old() {
        let ring = Ring::new(Duration::from_secs(10), 1 << 20);
        let (mut long, mut service) = (None, None);
        for at in 0..30 {
            ring.write(&mut long, 7, record(at, 9), WallTime(at * 1000));
            ring.write(&mut service, 0, record(100 + at, 9), WallTime(at * 1000));
        }
        let dumped = ids(&ring.dump());
        assert_eq!(
            dumped.iter().copied().filter(|&id| id < 100).collect::<Vec<_>>(),
            (0..30).collect::<Vec<_>>()
        );
        assert_eq!(dumped.iter().filter(|&&id| id >= 100).count(), 11);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_neither_turns_the_order_nor_empties_the_dump() {
        let ring = Ring::new(Duration::from_secs(10), 1 << 20);
        let (mut long, mut ahead) = (None, None);
        ring.write(&mut ahead, 8, record(7, 9), WallTime(900_000));
        for (n, at) in [(0, 10_000), (1, 11_500), (2, 8_000), (3, 9_500)] {
            ring.write(&mut long, 7, record(n, CHUNK_BYTES / 2), WallTime(at));
        }
        let dumped = ids(&ring.dump());
        assert_eq!(dumped.into_iter().filter(|&id| id < 7).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn what_services_write_takes_no_room_from_operations() {
        let ring = Ring::new(Duration::from_secs(3600), 8 * 6000);
        let mut service = None;
        for writer in 1..=7 {
            ring.write(&mut None, writer, record(writer, 9), WallTime(writer));
        }
        for n in 0..100 {
            ring.write(&mut service, 0, record(100 + n, 3000), WallTime(10));
        }
        assert_eq!(ids(&ring.dump()).into_iter().filter(|&id| id < 100).count(), 7);
    }

    proptest! {
        #[test]
        fn a_ring_never_holds_more_than_its_bytes_and_loses_the_oldest_first(
            writes in prop::collection::vec((1_u64..4, 0_usize..3000), 1..200),
        ) {
            let limit = 8 * 6000;
            let ring = Ring::new(Duration::from_secs(3600), limit);
            let mut slots = [None, None, None, None];
            let mut written = vec![Vec::new(); 4];
            for (n, (writer, padding)) in writes.into_iter().enumerate() {
                let at = writer as usize;
                ring.write(&mut slots[at], writer, record(n as u64, padding), WallTime(n as u64));
                written[at].push(n as u64);
                let held: usize = ring.shards.iter().map(|shard| shard.bytes.load(Ordering::Relaxed)).sum();
                prop_assert!(held <= limit);
                prop_assert!(ring.dump().len() <= limit + 12);
            }
            let dumped = ids(&ring.dump());
            for all in written {
                let kept: Vec<_> = dumped.iter().copied().filter(|id| all.contains(id)).collect();
                prop_assert_eq!(&all[all.len() - kept.len()..], &kept[..]);
            }
        }
    }
}
