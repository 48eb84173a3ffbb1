//! A sorted list of entries, cheap to copy with one change, quick to search.
//!
//! Two levels: chunks of at most [`CHUNK`] entries behind [`Arc`], and a spine of chunks. A copy shares all
//! chunks; a change of the copy rebuilds the one chunk it touches.
//!
//! Memory latency is what a search costs. So both levels are searched by a number beside each entry, its
//! head: the first bytes of the key behind the prefix that all share (sixteen in the spine, eight in a chunk).
//! Whole keys, which lie elsewhere, are compared only where heads are equal. The first of each level has no part in that: all below the second
//! goes to it, so a list that begins with the empty key still has a prefix. A lookup reads the spine, two
//! places of a chunk, and the entry it answers.
//!
//! What the list is sorted by is an [`Order`]: the start key, or the region's id.

use std::cmp;
use std::marker::PhantomData;
use std::sync::Arc;

use super::entry::Entry;
use crate::types::RegionId;

/// Entries of a chunk at most.
const CHUNK: usize = 256;
/// A chunk with fewer is joined with a neighbour if that leaves room.
const SPARSE: usize = CHUNK / 4;

/// What a list is sorted by.
pub(super) trait Order: Clone + std::fmt::Debug {
    /// What is searched for.
    type Query: ?Sized;

    /// What all entries between these two have in common.
    fn prefix(first: &Entry, last: &Entry) -> Prefix;
    /// The number of an entry behind the prefix; entries of different numbers are sorted as those are.
    fn head(entry: &Entry, prefix: &Prefix) -> u128;
    /// A number that only queries within the entry are below, of those that have the prefix.
    fn end(entry: &Entry, prefix: &Prefix) -> u128;
    /// Where a query stands to entries with the prefix.
    fn probe(query: &Self::Query, prefix: &Prefix) -> Probe;
    /// Compares an entry with a query.
    fn compare(entry: &Entry, query: &Self::Query) -> cmp::Ordering;
    /// What finds this entry.
    fn query(entry: &Entry) -> &Self::Query;
}

/// Where a query stands to entries with a common prefix.
pub(super) enum Probe {
    /// Below all of them.
    Below,
    /// Above all of them.
    Above,
    /// Among those with the same number, or between them.
    At(u128),
}

/// Bytes that keys share, as many as have room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    len: u8,
    bytes: [u8; 31],
}

impl Prefix {
    fn common(a: &[u8], b: &[u8]) -> Self {
        let mut prefix = Self::default();
        for (to, (x, y)) in prefix.bytes.iter_mut().zip(a.iter().zip(b)) {
            if x != y {
                break;
            }
            *to = *x;
            prefix.len += 1;
        }
        prefix
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Sorted by start key.
#[derive(Clone, Debug)]
pub(super) struct ByStart;

/// The first sixteen bytes as a number that sorts as they do.
fn head_of(bytes: &[u8]) -> u128 {
    if let Some(head) = bytes.first_chunk() {
        return u128::from_be_bytes(*head);
    }
    let mut head = [0; 16];
    for (to, from) in head.iter_mut().zip(bytes) {
        *to = *from;
    }
    u128::from_be_bytes(head)
}

/// The first eight of the sixteen: enough within a chunk, whose keys have a longer prefix.
fn short(head: u128) -> u64 {
    u64::try_from(head >> 64).unwrap_or(u64::MAX)
}

impl Order for ByStart {
    type Query = [u8];

    fn prefix(first: &Entry, last: &Entry) -> Prefix {
        Prefix::common(Self::query(first), Self::query(last))
    }

    fn head(entry: &Entry, prefix: &Prefix) -> u128 {
        head_of(Self::query(entry).get(usize::from(prefix.len)..).unwrap_or_default())
    }

    fn end(entry: &Entry, prefix: &Prefix) -> u128 {
        let end = entry.range().end.as_slice();
        match end.strip_prefix(prefix.as_slice()) {
            // The open end has no prefix, or the empty one.
            _ if end.is_empty() => u128::MAX,
            Some(rest) => head_of(rest),
            None if end < prefix.as_slice() => 0,
            None => u128::MAX,
        }
    }

    fn probe(query: &[u8], prefix: &Prefix) -> Probe {
        let prefix = prefix.as_slice();
        match query.strip_prefix(prefix) {
            Some(rest) => Probe::At(head_of(rest)),
            None if query < prefix => Probe::Below,
            None => Probe::Above,
        }
    }

    fn compare(entry: &Entry, query: &[u8]) -> cmp::Ordering {
        Self::query(entry).cmp(query)
    }

    fn query(entry: &Entry) -> &[u8] {
        entry.range().start.as_slice()
    }
}

/// Sorted by region id.
#[derive(Clone, Debug)]
pub(super) struct ById;

impl Order for ById {
    type Query = RegionId;

    fn prefix(_first: &Entry, _last: &Entry) -> Prefix {
        Prefix::default()
    }

    fn head(entry: &Entry, _prefix: &Prefix) -> u128 {
        u128::from(entry.version().id.0) << 64
    }

    fn end(_entry: &Entry, _prefix: &Prefix) -> u128 {
        u128::MAX
    }

    fn probe(query: &RegionId, _prefix: &Prefix) -> Probe {
        Probe::At(u128::from(query.0) << 64)
    }

    fn compare(entry: &Entry, query: &RegionId) -> cmp::Ordering {
        entry.version().id.cmp(query)
    }

    fn query(entry: &Entry) -> &RegionId {
        entry.id()
    }
}

/// How many of these rows, sorted by head, are not above `head`.
///
/// Looks at every 4096th, 256th, 16th, and then each, within what the look before has left. The reads of one
/// look do not wait for each other, as those of a binary search do.
fn count_up_to<T, H: Ord>(rows: &[T], head: &H, head_of: impl Fn(&T) -> H) -> usize {
    let (mut from, mut left) = (0, rows);
    for stride in [4096, 256, 16, 1] {
        if stride > 1 && left.len() <= stride {
            continue;
        }
        let passed = left.iter().step_by(stride).filter(|row| head_of(row) <= *head).count();
        let Some(at) = passed.checked_sub(1).map(|last| last * stride) else { return from };
        from += at;
        let end = left.len().min(at + stride);
        left = left.get(at..end).unwrap_or_default();
    }
    from + left.len().min(1)
}

/// The index of the last of these rows that is not above what `head` belongs to; the first counts as never
/// above. Where heads are equal, `is_above` tells by index.
fn last_up_to<T, H: Ord>(
    rows: &[T],
    head: &H,
    head_of: impl Fn(&T) -> H,
    is_above: impl Fn(usize) -> bool,
) -> usize {
    let last = count_up_to(rows, head, &head_of).saturating_sub(1);
    if rows.get(last).is_none_or(|row| head_of(row) != *head) {
        return last;
    }
    let ties = rows.get(..=last).unwrap_or_default();
    let mut low = ties.partition_point(|row| head_of(row) < *head).max(1);
    let mut high = last + 1;
    while low < high {
        let middle = low.midpoint(high);
        if is_above(middle) { high = middle } else { low = middle + 1 }
    }
    low - 1
}

/// An entry with the numbers it is searched by.
#[derive(Clone, Debug)]
struct Slot {
    /// [`Order::head`]; 0 in the first slot of a chunk.
    head: u64,
    /// [`Order::end`].
    end: u64,
    entry: Arc<Entry>,
}

/// A run of entries: one of the pieces that copies of a list share.
#[derive(Clone, Debug)]
struct Chunk<O> {
    /// What all but the first have in common.
    prefix: Prefix,
    slots: Arc<Vec<Slot>>,
    order: PhantomData<O>,
}

impl<O: Order> Chunk<O> {
    fn of(entries: impl Iterator<Item = Arc<Entry>>) -> Self {
        let slots = entries.map(|entry| Slot { head: 0, end: 0, entry }).collect();
        let mut chunk = Self { prefix: Prefix::default(), slots: Arc::new(slots), order: PhantomData };
        chunk.number(false);
        chunk
    }

    /// Numbers the slots for the prefix they have now. `numbered`: all but the first two were for the last.
    fn number(&mut self, numbered: bool) {
        let ends = self.slots.get(1).zip(self.slots.last());
        let prefix = ends.map_or_else(Prefix::default, |(first, last)| O::prefix(&first.entry, &last.entry));
        let slots = Arc::make_mut(&mut self.slots);
        let count = if numbered && prefix == self.prefix { 2 } else { slots.len() };
        for slot in slots.iter_mut().take(count) {
            slot.head = short(O::head(&slot.entry, &prefix));
            slot.end = short(O::end(&slot.entry, &prefix));
        }
        if let Some(first) = slots.first_mut() {
            first.head = 0;
        }
        self.prefix = prefix;
    }

    /// The index of the last slot that is not above `query`, the first if all others are; and the query's
    /// number here, if it has one.
    fn last_up_to(&self, query: &O::Query) -> (usize, Option<u64>) {
        let head = match O::probe(query, &self.prefix) {
            Probe::Below => return (0, None),
            Probe::Above => return (self.slots.len().saturating_sub(1), None),
            Probe::At(head) => short(head),
        };
        let is_above =
            |at: usize| self.slots.get(at).is_some_and(|slot| O::compare(&slot.entry, query).is_gt());
        (last_up_to(&self.slots, &head, |slot| slot.head, is_above), Some(head))
    }

    fn insert(&mut self, at: usize, entry: Arc<Entry>) {
        let (head, end) = (short(O::head(&entry, &self.prefix)), short(O::end(&entry, &self.prefix)));
        Arc::make_mut(&mut self.slots).insert(at, Slot { head, end, entry });
        self.number(true);
    }

    fn remove(&mut self, at: usize) {
        Arc::make_mut(&mut self.slots).remove(at);
        self.number(true);
    }

    fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.slots.iter().map(|slot| &slot.entry)
    }

    fn first(&self) -> Option<&Entry> {
        self.slots.first().map(|slot| &*slot.entry)
    }
}

/// A sorted list; see the module's text.
#[derive(Clone, Debug)]
pub(super) struct Sorted<O> {
    /// What the first entries of all chunks but the first have in common.
    prefix: Prefix,
    /// Their heads; 0 for the first chunk.
    heads: Vec<u128>,
    /// None of them is empty.
    chunks: Vec<Chunk<O>>,
    len: usize,
}

impl<O> Default for Sorted<O> {
    fn default() -> Self {
        Self { prefix: Prefix::default(), heads: Vec::new(), chunks: Vec::new(), len: 0 }
    }
}

/// Where a query stands in a list.
struct Place<'a> {
    chunk: usize,
    /// How many of the chunk's slots are not above the query.
    count: usize,
    /// The last of them.
    floor: Option<&'a Slot>,
    /// The query's number in that chunk.
    head: Option<u64>,
}

impl<O: Order> Sorted<O> {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The index of the last chunk that does not begin above `query`, the first if all others do.
    fn chunk_of(&self, query: &O::Query) -> usize {
        let head = match O::probe(query, &self.prefix) {
            Probe::Below => return 0,
            Probe::Above => return self.heads.len().saturating_sub(1),
            Probe::At(head) => head,
        };
        let is_above = |at: usize| {
            let first = self.chunks.get(at).and_then(Chunk::first);
            first.is_some_and(|first| O::compare(first, query).is_gt())
        };
        last_up_to(&self.heads, &head, |&head| head, is_above)
    }

    fn place(&self, query: &O::Query) -> Place<'_> {
        let chunk = self.chunk_of(query);
        let Some(found) = self.chunks.get(chunk) else {
            return Place { chunk, count: 0, floor: None, head: None };
        };
        let (at, head) = found.last_up_to(query);
        let floor = found.slots.get(at);
        // That a chunk begins at or below the query, the spine has seen of all but the first.
        if chunk == 0 && at == 0 && floor.is_none_or(|slot| O::compare(&slot.entry, query).is_gt()) {
            return Place { chunk, count: 0, floor: None, head };
        }
        Place { chunk, count: at + 1, floor, head }
    }

    /// The last entry that is not above `query`.
    pub(super) fn floor(&self, query: &O::Query) -> Option<&Arc<Entry>> {
        self.place(query).floor.map(|slot| &slot.entry)
    }

    /// The entry at `query`.
    pub(super) fn get(&self, query: &O::Query) -> Option<&Arc<Entry>> {
        self.floor(query).filter(|entry| O::compare(entry, query).is_eq())
    }

    /// The last entry below `query`.
    pub(super) fn below(&self, query: &O::Query) -> Option<&Arc<Entry>> {
        let Place { chunk, count, floor, .. } = self.place(query);
        let floor = &floor?.entry;
        if O::compare(floor, query).is_lt() {
            return Some(floor);
        }
        let before = match count.checked_sub(2) {
            Some(at) => self.chunks.get(chunk)?.slots.get(at),
            None => self.chunks.get(chunk.checked_sub(1)?)?.slots.last(),
        };
        before.map(|slot| &slot.entry)
    }

    /// The last entry.
    pub(super) fn last(&self) -> Option<&Arc<Entry>> {
        self.chunks.last()?.slots.last().map(|slot| &slot.entry)
    }

    /// The entries from the last that is not above `query` on; all if there is none.
    pub(super) fn onward(&self, query: &O::Query) -> impl Iterator<Item = &Arc<Entry>> {
        let Place { chunk, count, .. } = self.place(query);
        let mut chunks = self.chunks.iter().skip(chunk);
        let first = chunks.next().map_or(&[][..], |chunk| chunk.slots.as_slice());
        let first = first.get(count.saturating_sub(1)..).unwrap_or_default();
        first.iter().chain(chunks.flat_map(|chunk| chunk.slots.iter())).map(|slot| &slot.entry)
    }

    /// Puts `entry` in, in place of the one it is equal to.
    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        let query = O::query(&entry);
        let Place { chunk: at, count, floor, .. } = self.place(query);
        let same = floor.is_some_and(|slot| O::compare(&slot.entry, query).is_eq());
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Chunk::of(std::iter::once(entry)));
            self.len = 1;
            self.fence();
            return;
        };
        if same {
            chunk.remove(count - 1);
            chunk.insert(count - 1, entry);
            return;
        }
        chunk.insert(count, entry);
        self.len += 1;
        if chunk.slots.len() > CHUNK {
            let upper = Chunk::of(chunk.entries().skip(CHUNK / 2).map(Arc::clone));
            *chunk = Chunk::of(chunk.entries().take(CHUNK / 2).map(Arc::clone));
            self.chunks.insert(at + 1, upper);
            self.fence();
        }
    }

    /// Takes the entry at `query` out.
    pub(super) fn remove(&mut self, query: &O::Query) -> Option<Arc<Entry>> {
        let Place { chunk: at, count, floor, .. } = self.place(query);
        let entry = floor.map(|slot| &slot.entry).filter(|entry| O::compare(entry, query).is_eq())?;
        let entry = Arc::clone(entry);
        let chunk = self.chunks.get_mut(at)?;
        self.len -= 1;
        chunk.remove(count - 1);
        if chunk.slots.len() < SPARSE {
            self.join(at);
            self.fence();
        } else if count == 1 {
            self.fence();
        }
        Some(entry)
    }

    /// Joins a sparse chunk with a neighbour if both fit well into one; drops it when it is empty.
    fn join(&mut self, at: usize) {
        let len_of = |at: usize| self.chunks.get(at).map(|chunk| chunk.slots.len());
        if len_of(at) == Some(0) {
            self.chunks.remove(at);
            return;
        }
        let fits = |left: &usize| match (len_of(*left), len_of(*left + 1)) {
            (Some(left), Some(right)) => left + right <= CHUNK * 3 / 4,
            _ => false,
        };
        let Some(left) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(fits) else { return };
        let right = self.chunks.remove(left + 1);
        if let Some(left) = self.chunks.get_mut(left) {
            *left = Chunk::of(left.entries().chain(right.entries()).map(Arc::clone));
        }
    }

    /// Numbers the chunks anew.
    fn fence(&mut self) {
        let mut firsts = self.chunks.iter().skip(1).filter_map(Chunk::first);
        let ends = firsts.next().map(|first| (first, firsts.next_back().unwrap_or(first)));
        self.prefix = ends.map_or_else(Prefix::default, |(first, last)| O::prefix(first, last));
        let head = |chunk: &Chunk<O>| chunk.first().map_or(0, |first| O::head(first, &self.prefix));
        self.heads = self.chunks.iter().map(head).collect();
        if let Some(first) = self.heads.first_mut() {
            *first = 0;
        }
    }
}

impl Sorted<ByStart> {
    /// The entry whose range has `key`.
    pub(super) fn holding(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        let Place { floor, head, .. } = self.place(key);
        let slot = floor?;
        // Mostly the numbers tell, and the end need not be fetched.
        let surely = head.is_some_and(|head| head < slot.end);
        let within = |end: &[u8]| end.is_empty() || key < end;
        (surely || within(slot.entry.range().end.as_slice())).then_some(&slot.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::count_up_to;

    #[test]
    fn looks_at_ever_smaller_strides_count_as_a_search_from_end_to_end_does() {
        for len in [0_u64, 1, 2, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097, 70_000] {
            let rows: Vec<u64> = (0..len).map(|at| at / 3 * 2 + 1).collect();
            for head in (0..len + 2).step_by(usize::try_from(len / 97 + 1).unwrap()).chain([len]) {
                let count = rows.partition_point(|row| *row <= head);
                assert_eq!(count_up_to(&rows, &head, |row| *row), count, "{head} of {len}");
            }
        }
    }
}
