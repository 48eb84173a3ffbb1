//! Batches of keys: grouped by region, cut into parts, all regions side by side.
//!
//! ```text
//! waiting --group--> parts at work --reply--> absorbed
//!    ^  |                 |
//!    |  +--load region    | region changed: its keys wait again
//!    +--------------------+
//! ```
//!
//! A part whose region changed is grouped again by itself; the others are not touched. The first error ends the batch: parts
//! that are under way may still happen.
//!
//! client-go: `rawkv/rawkv.go: sendBatchReq, sendBatchPut`.

use std::fmt::Debug;
use std::sync::Arc;
use std::task::Poll;

use crate::backoff::Attempts;
use crate::error::Error;
use crate::machine::{Cx, Fanout, Machine, Place};
use crate::region_call::group::{by_region, parts};
use crate::region_call::{FindRegion, RegionCall, Reply, Route, Unanswered};
use crate::request::Request;
use crate::types::Key;

/// Keys in one request at the most. client-go: `rawkv/rawkv.go: rawBatchPairCount`.
const PART_KEYS: usize = 512;

/// A request takes no further item once it has this many bytes. client-go: `rawkv/rawkv.go: rawBatchPutSize`.
const PART_BYTES: usize = 16 << 10;

/// What a batch does with its items.
pub trait Batch: Debug {
    /// What goes to the regions.
    type Item: Debug;
    /// What the whole batch results in.
    type Output;
    /// Its name in errors.
    const OPERATION: &'static str;

    /// The key that decides where an item goes.
    fn key(item: &Self::Item) -> &Key;
    /// How many bytes an item adds to a request; 0 where only the count matters.
    fn bytes(item: &Self::Item) -> usize;
    /// The request for some items, which are of one region.
    fn request(&self, items: &[Self::Item]) -> Request;
    /// Takes in the reply to a request.
    ///
    /// # Errors
    /// What the store said against it.
    fn absorb(&mut self, reply: Reply) -> Result<(), Error>;
    /// What it all results in.
    fn finish(&mut self) -> Self::Output;
}

/// One request of a batch, with its items in case the region changes.
#[derive(Debug)]
struct Part<I> {
    items: Vec<I>,
    call: RegionCall,
}

impl<I: Debug> Machine for Part<I> {
    type Output = (Vec<I>, Attempts, Result<Reply, Unanswered>);

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.call
            .step(cx)
            .map(|result| (std::mem::take(&mut self.items), self.call.attempts().clone(), result))
    }
}

/// The machine of a batch. See the module.
#[derive(Debug)]
pub struct BatchMachine<B: Batch> {
    batch: B,
    /// Items without a region, sorted by key.
    waiting: Vec<B::Item>,
    /// The region of the first of them.
    loading: Option<FindRegion>,
    at_work: Fanout<Part<B::Item>>,
    /// What parts were set back before they were grouped again.
    attempts: Attempts,
}

impl<B: Batch> BatchMachine<B> {
    /// A batch of `items`, at most `limit` requests at work at a time.
    #[must_use]
    pub fn new(batch: B, mut items: Vec<B::Item>, limit: usize) -> Self {
        items.sort_by(|one, other| B::key(one).cmp(B::key(other)));
        Self {
            batch,
            waiting: items,
            loading: None,
            at_work: Fanout::new(limit),
            attempts: Attempts::default(),
        }
    }

    /// Puts what waits to work, as far as its regions are known.
    fn group(&mut self, cx: &Cx<'_>) {
        let (groups, rest) = by_region(std::mem::take(&mut self.waiting), B::key, cx);
        for group in groups {
            for items in parts(group.items, PART_KEYS, PART_BYTES, B::bytes) {
                let Some(first) = items.first() else { continue };
                let route = Route::Region { key: B::key(first).clone(), region: group.to.region };
                let request = Arc::new(self.batch.request(&items));
                let call = RegionCall::new(B::OPERATION, route, request).resume(self.attempts.clone());
                self.at_work.push(Part { items, call });
            }
        }
        self.loading = rest.first().map(|item| FindRegion::new(Place::Holding(B::key(item).clone())));
        self.waiting = rest;
    }

    /// The answer about the region of what waits; false while there is none.
    fn loaded(&mut self, cx: &mut Cx<'_>) -> Result<bool, Error> {
        let Some(loading) = &mut self.loading else { return Ok(true) };
        match loading.step(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(_)) => {
                self.loading = None;
                Ok(true)
            }
            Poll::Ready(Err(fault)) => Err(Error::of_fault(B::OPERATION, fault)),
        }
    }
}

impl<B: Batch> Machine for BatchMachine<B> {
    type Output = Result<B::Output, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            let loaded = self.loaded(cx)?;
            if loaded && !self.waiting.is_empty() {
                self.group(cx);
                continue;
            }
            match self.at_work.next(cx) {
                Poll::Ready(Some((_, _, Ok(reply)))) => self.batch.absorb(reply)?,
                Poll::Ready(Some((items, attempts, Err(Unanswered::Regroup { .. })))) => {
                    self.attempts = attempts;
                    self.waiting.extend(items);
                    self.waiting.sort_by(|one, other| B::key(one).cmp(B::key(other)));
                }
                Poll::Ready(Some((_, _, Err(unanswered)))) => {
                    return Poll::Ready(Err(unanswered.into_error(B::OPERATION)));
                }
                Poll::Ready(None) if loaded => return Poll::Ready(Ok(self.batch.finish())),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
