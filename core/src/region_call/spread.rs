//! Items over regions: grouped by region, one child a batch, grouped again where a region changed meanwhile.
//!
//! [`Spread`] carries items with whatever children its user makes of a group; [`Batches`] is the common case, where a
//! child is nothing but one request for some items of a region.

use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Poll, ready};

use super::group::{Group, by_region};
use super::{FindRegion, RegionCall, Reply, Route, Unanswered};
use crate::backoff::Attempts;
use crate::error::Error;
use crate::machine::{Cx, Fanout, Fault, Machine, Place, Ticket};
use crate::request::Request;
use crate::types::{Key, KeyRange, KvPair, Located};

/// Regions asked for at once when many are not known.
const LOAD_AT_ONCE: usize = 64;

/// How the items of one region are cut into requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "two bounds")]
pub struct Cut {
    /// Items in one request at the most.
    pub count: usize,
    /// A request takes no further item once it has this many bytes of them.
    pub bytes: usize,
}

impl Cut {
    /// The requests of transactions. client-go: `kv/store_vars.go: TxnCommitBatchSize`.
    pub(crate) const TXN: Self = Self { count: usize::MAX, bytes: 16 << 10 };

    /// The requests for `items`, which are of one region: each ends with the item that reaches a bound, so an item that is
    /// larger than that goes alone or last.
    ///
    /// client-go: `internal/kvrpc/batch.go: AppendBatches`.
    pub(crate) fn apply<T: Keyed>(self, items: Vec<T>) -> Vec<Vec<T>> {
        let (mut requests, mut request, mut filled) = (Vec::new(), Vec::new(), 0);
        for item in items {
            filled += item.bytes();
            request.push(item);
            if request.len() >= self.count || filled >= self.bytes {
                requests.push(std::mem::take(&mut request));
                filled = 0;
            }
        }
        if !request.is_empty() {
            requests.push(request);
        }
        requests
    }
}

/// What belongs to a key, and so to a region.
pub trait Keyed: Debug {
    /// The key.
    fn key(&self) -> &Key;
    /// How many bytes it adds to a request.
    fn bytes(&self) -> usize;
}

impl Keyed for Key {
    fn key(&self) -> &Key {
        self
    }

    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Keyed for KvPair {
    fn key(&self) -> &Key {
        &self.key
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// A region that is asked for.
#[derive(Debug)]
enum Loading {
    One(FindRegion),
    Many(Ticket<Arc<[(Located, KeyRange)]>>),
}

impl Loading {
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Fault>> {
        match self {
            Self::One(region) => region.step(cx).map(|result| result.map(drop)),
            Self::Many(regions) => cx.take(regions).map(|result| result.map(drop)),
        }
    }
}

/// Items on their way to their regions, and the children that carry them.
#[derive(Debug)]
pub(crate) struct Spread<T, M> {
    /// Items without a region, sorted by key.
    waiting: Vec<T>,
    loading: Option<Loading>,
    /// The key that the last load of many was for: if it is not known even then, its region is asked for alone.
    asked: Option<Key>,
    children: Fanout<M>,
}

impl<T: Keyed, M: Machine> Spread<T, M> {
    /// Carries `items`, with at most `limit` children at work at a time.
    pub(crate) fn new(items: Vec<T>, limit: usize) -> Self {
        let mut spread =
            Self { waiting: Vec::new(), loading: None, asked: None, children: Fanout::new(limit) };
        spread.again(items);
        spread
    }

    /// Groups `items` (again).
    pub(crate) fn again(&mut self, items: Vec<T>) {
        self.waiting.extend(items);
        self.waiting.sort_by(|one, other| one.key().cmp(other.key()));
    }

    /// What the next child that ends came to; `None` once all have. `children` makes the children of a group.
    ///
    /// # Errors
    /// Why a region cannot be found; the items that wait for it are given up.
    pub(crate) fn next(
        &mut self,
        cx: &mut Cx<'_>,
        mut children: impl FnMut(Group<T>) -> Vec<M>,
    ) -> Poll<Result<Option<M::Output>, Fault>> {
        loop {
            if let Some(loading) = &mut self.loading {
                match loading.step(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => self.loading = None,
                    Poll::Ready(Err(fault)) => {
                        self.loading = None;
                        self.waiting.clear();
                        return Poll::Ready(Err(fault));
                    }
                }
            }
            if self.loading.is_none() && !self.waiting.is_empty() {
                let (groups, rest) = by_region(std::mem::take(&mut self.waiting), T::key, cx);
                for child in groups.into_iter().flat_map(&mut children) {
                    self.children.push(child);
                }
                self.loading = self.load(&rest, cx);
                self.waiting = rest;
                continue;
            }
            return match self.children.next(cx) {
                Poll::Ready(Some(output)) => Poll::Ready(Ok(Some(output))),
                Poll::Ready(None) if self.loading.is_none() => Poll::Ready(Ok(None)),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            };
        }
    }

    fn load(&mut self, rest: &[T], cx: &mut Cx<'_>) -> Option<Loading> {
        let first = rest.first()?.key();
        let last = rest.last()?.key();
        if rest.len() == 1 || self.asked.as_ref() == Some(first) {
            return Some(Loading::One(FindRegion::new(Place::Holding(first.clone()))));
        }
        self.asked = Some(first.clone());
        let range = KeyRange { start: first.clone(), end: last.next() };
        let limit = u32::try_from(rest.len().min(LOAD_AT_ONCE)).unwrap_or(1);
        Some(Loading::Many(cx.load_range(range, limit)))
    }
}

/// One request for some items of a region.
#[derive(Debug)]
struct Batch<T> {
    items: Vec<T>,
    call: RegionCall,
}

impl<T: Keyed> Machine for Batch<T> {
    type Output = (Vec<T>, Attempts, Result<Reply, Unanswered>);

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.call.step(cx).map(|end| (std::mem::take(&mut self.items), self.call.attempts().clone(), end))
    }
}

/// The items of a request with its reply, or why there is none.
pub(crate) type BatchEnd<T> = Result<(Vec<T>, Reply), Error>;

/// Requests that are nothing but some items of a region: raw batches, commits, rollbacks, resolutions.
#[derive(Debug)]
pub(crate) struct Batches<T: Keyed> {
    operation: &'static str,
    cut: Cut,
    spread: Spread<T, Batch<T>>,
    /// What batches were set back before they were grouped again: their pauses grow on.
    attempts: Attempts,
}

impl<T: Keyed> Batches<T> {
    /// Requests for `items`, at most `limit` at work at a time; errors name `operation`.
    pub(crate) fn new(operation: &'static str, items: Vec<T>, cut: Cut, limit: usize) -> Self {
        Self { operation, cut, spread: Spread::new(items, limit), attempts: Attempts::default() }
    }

    /// What the next request that ends came to: its items with the reply, or why there is none; `None` once all have ended.
    pub(crate) fn next(
        &mut self,
        cx: &mut Cx<'_>,
        request: impl Fn(&[T]) -> Request,
    ) -> Poll<Option<BatchEnd<T>>> {
        let (operation, cut) = (self.operation, self.cut);
        loop {
            let attempts = &self.attempts;
            let end = ready!(self.spread.next(cx, |group| {
                let region = group.to.region;
                let batch = |items: Vec<T>| {
                    let key = items.first().map(|item| item.key().clone()).unwrap_or_default();
                    let route = Route::Region { key, region };
                    let call = RegionCall::new(operation, route, Arc::new(request(&items)));
                    Batch { items, call: call.resume(attempts.clone()) }
                };
                cut.apply(group.items).into_iter().map(batch).collect()
            }));
            return Poll::Ready(match end {
                Ok(None) => None,
                Ok(Some((items, _, Ok(reply)))) => Some(Ok((items, reply))),
                Ok(Some((items, attempts, Err(Unanswered::Regroup { .. })))) => {
                    self.attempts = attempts;
                    self.spread.again(items);
                    continue;
                }
                Ok(Some((_, _, Err(unanswered)))) => Some(Err(unanswered.into_error(operation))),
                Err(fault) => Some(Err(Error::of_fault(operation, fault))),
            });
        }
    }
}
