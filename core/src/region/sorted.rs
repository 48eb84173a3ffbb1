//! A sorted list of entries, cheap to copy with one change, quick to search.
//!
//! Two levels: chunks of at most [`CHUNK`] entries behind [`Arc`], and a spine of chunks. A copy shares all
//! chunks; a change of the copy copies the one chunk it touches. Both levels are searched through
//! [`Fences`]: the first eight bytes of each key behind the prefix that all share, next to each other in
//! memory. Whole keys are compared only when those are equal.
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
    fn head(entry: &Entry, prefix: &Prefix) -> u64;
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
    At(u64),
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

/// The first eight bytes as a number that sorts as they do.
fn head_of(bytes: &[u8]) -> u64 {
    if let Some(head) = bytes.first_chunk() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_be_bytes(head)
}

impl Order for ByStart {
    type Query = [u8];

    fn prefix(first: &Entry, last: &Entry) -> Prefix {
        Prefix::common(Self::query(first), Self::query(last))
    }

    fn head(entry: &Entry, prefix: &Prefix) -> u64 {
        head_of(Self::query(entry).get(usize::from(prefix.len)..).unwrap_or_default())
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

    fn head(entry: &Entry, _prefix: &Prefix) -> u64 {
        entry.version().id.0
    }

    fn probe(query: &RegionId, _prefix: &Prefix) -> Probe {
        Probe::At(query.0)
    }

    fn compare(entry: &Entry, query: &RegionId) -> cmp::Ordering {
        entry.version().id.cmp(query)
    }

    fn query(entry: &Entry) -> &RegionId {
        entry.id()
    }
}

/// The numbers of sorted entries, in one piece of memory.
#[derive(Clone, Debug, Default)]
struct Fences {
    prefix: Prefix,
    heads: Vec<u64>,
}

impl Fences {
    fn of<'a, O: Order>(entries: impl Iterator<Item = &'a Entry> + Clone) -> Self {
        let mut ends = entries.clone();
        let Some(first) = ends.next() else { return Self::default() };
        let prefix = O::prefix(first, ends.last().unwrap_or(first));
        Self { heads: entries.map(|entry| O::head(entry, &prefix)).collect(), prefix }
    }

    /// How many entries are not above `query`; `entry` gives them by index.
    fn count_up_to<'a, O: Order>(
        &self,
        query: &O::Query,
        entry: impl Fn(usize) -> Option<&'a Entry>,
    ) -> usize {
        let head = match O::probe(query, &self.prefix) {
            Probe::Below => return 0,
            Probe::Above => return self.heads.len(),
            Probe::At(head) => head,
        };
        let mut upper = self.heads.partition_point(|&other| other <= head);
        let ties = self.heads.get(..upper).unwrap_or_default();
        if ties.last() != Some(&head) {
            return upper;
        }
        let mut lower = ties.partition_point(|&other| other < head);
        while lower < upper {
            let middle = lower.midpoint(upper);
            let above = entry(middle).is_some_and(|entry| O::compare(entry, query).is_gt());
            if above { upper = middle } else { lower = middle + 1 }
        }
        lower
    }
}

/// Sorted entries: one of the pieces that copies of a list share.
#[derive(Clone, Debug)]
struct Chunk<O> {
    fences: Fences,
    entries: Vec<Arc<Entry>>,
    order: PhantomData<O>,
}

impl<O: Order> Chunk<O> {
    fn new(entries: Vec<Arc<Entry>>) -> Self {
        let fences = Fences::of::<O>(entries.iter().map(|entry| &**entry));
        Self { fences, entries, order: PhantomData }
    }

    fn first(&self) -> Option<&Entry> {
        self.entries.first().map(|entry| &**entry)
    }

    fn count_up_to(&self, query: &O::Query) -> usize {
        self.fences.count_up_to::<O>(query, |at| self.entries.get(at).map(|entry| &**entry))
    }

    fn insert(&mut self, at: usize, entry: Arc<Entry>) {
        self.entries.insert(at, entry);
        let (Some(first), Some(last), Some(new)) =
            (self.entries.first(), self.entries.last(), self.entries.get(at))
        else {
            return;
        };
        if O::prefix(first, last) == self.fences.prefix {
            self.fences.heads.insert(at, O::head(new, &self.fences.prefix));
        } else {
            self.fences = Fences::of::<O>(self.entries.iter().map(|entry| &**entry));
        }
    }

    /// Leaves the prefix as it is: what is left has it too, if perhaps more in common.
    fn remove(&mut self, at: usize) {
        self.entries.remove(at);
        self.fences.heads.remove(at);
    }
}

/// A sorted list; see the module's text.
#[derive(Clone, Debug)]
pub(super) struct Sorted<O> {
    /// The first entries of all chunks but the first: that one has all below too.
    spine: Fences,
    chunks: Vec<Arc<Chunk<O>>>,
    len: usize,
}

impl<O> Default for Sorted<O> {
    fn default() -> Self {
        Self { spine: Fences::default(), chunks: Vec::new(), len: 0 }
    }
}

impl<O: Order> Sorted<O> {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The chunk for `query`, and how many of its entries are not above it.
    fn place(&self, query: &O::Query) -> (usize, usize) {
        let first_of = |at: usize| self.chunks.get(at + 1).and_then(|chunk| chunk.first());
        let chunk = self.spine.count_up_to::<O>(query, first_of);
        (chunk, self.chunks.get(chunk).map_or(0, |chunk| chunk.count_up_to(query)))
    }

    /// The last entry that is not above `query`.
    pub(super) fn floor(&self, query: &O::Query) -> Option<&Arc<Entry>> {
        let (chunk, count) = self.place(query);
        self.chunks.get(chunk)?.entries.get(count.checked_sub(1)?)
    }

    /// The entry at `query`.
    pub(super) fn get(&self, query: &O::Query) -> Option<&Arc<Entry>> {
        self.floor(query).filter(|entry| O::compare(entry, query).is_eq())
    }

    /// The last entry below `query`.
    pub(super) fn below(&self, query: &O::Query) -> Option<&Arc<Entry>> {
        let (chunk, count) = self.place(query);
        let floor = self.chunks.get(chunk)?.entries.get(count.checked_sub(1)?)?;
        if O::compare(floor, query).is_lt() {
            return Some(floor);
        }
        match count.checked_sub(2) {
            Some(at) => self.chunks.get(chunk)?.entries.get(at),
            None => self.chunks.get(chunk.checked_sub(1)?)?.entries.last(),
        }
    }

    /// The last entry.
    pub(super) fn last(&self) -> Option<&Arc<Entry>> {
        self.chunks.last()?.entries.last()
    }

    /// The entries from the last that is not above `query` on; all if there is none.
    pub(super) fn onward(&self, query: &O::Query) -> impl Iterator<Item = &Arc<Entry>> {
        let (chunk, count) = self.place(query);
        let skipped = count.saturating_sub(1);
        self.chunks.iter().skip(chunk).flat_map(|chunk| &chunk.entries).skip(skipped)
    }

    /// Puts `entry` in, in place of the one it is equal to.
    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        let query = O::query(&entry);
        let (chunk_at, count) = self.place(query);
        let Some(chunk) = self.chunks.get_mut(chunk_at) else {
            self.chunks.push(Arc::new(Chunk::new(vec![entry])));
            self.len = 1;
            return;
        };
        let chunk = Arc::make_mut(chunk);
        let same = count.checked_sub(1).and_then(|at| chunk.entries.get_mut(at));
        if let Some(same) = same.filter(|same| O::compare(same, query).is_eq()) {
            *same = entry;
            return;
        }
        chunk.insert(count, entry);
        self.len += 1;
        if chunk.entries.len() > CHUNK {
            let upper = Chunk::new(chunk.entries.split_off(CHUNK / 2));
            *chunk = Chunk::new(std::mem::take(&mut chunk.entries));
            self.chunks.insert(chunk_at + 1, Arc::new(upper));
            self.fence();
        }
    }

    /// Takes the entry at `query` out.
    pub(super) fn remove(&mut self, query: &O::Query) -> Option<Arc<Entry>> {
        let (chunk_at, count) = self.place(query);
        let at = count.checked_sub(1)?;
        let chunk = self.chunks.get_mut(chunk_at)?;
        let entry = chunk.entries.get(at).filter(|entry| O::compare(entry, query).is_eq()).map(Arc::clone)?;
        self.len -= 1;
        let chunk = Arc::make_mut(chunk);
        chunk.remove(at);
        if chunk.entries.len() < SPARSE {
            self.join(chunk_at);
            self.fence();
        } else if at == 0 {
            self.fence();
        }
        Some(entry)
    }

    /// Joins a sparse chunk with a neighbour if both fit well into one; drops it when it is empty.
    fn join(&mut self, at: usize) {
        let len_of = |at: usize| self.chunks.get(at).map(|chunk| chunk.entries.len());
        let Some(len) = len_of(at) else { return };
        if len == 0 {
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
            let entries = left.entries.iter().chain(&right.entries).map(Arc::clone).collect();
            *left = Arc::new(Chunk::new(entries));
        }
    }

    fn fence(&mut self) {
        self.spine = Fences::of::<O>(self.chunks.iter().skip(1).filter_map(|chunk| chunk.first()));
    }
}
