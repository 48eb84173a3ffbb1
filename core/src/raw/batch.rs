//! Batches of keys: grouped by region, cut into parts, all regions side by side.
//!
//! A part whose region changed is grouped again by itself; the others are not touched. The first error ends the batch: parts
//! that are under way may still happen.
//!
//! client-go: `rawkv/rawkv.go: sendBatchReq, sendBatchPut`.

use std::fmt::Debug;
use std::task::{Poll, ready};

use crate::error::Error;
use crate::machine::{Cx, Machine};
use crate::region_call::spread::Batches;
use crate::region_call::{Cut, Keyed, Reply};
use crate::request::Request;

/// What a batch does with its items.
pub trait Batch: Debug {
    /// What goes to the regions.
    type Item: Keyed;
    /// What the whole batch results in.
    type Output;
    /// Its name in errors.
    const OPERATION: &'static str;
    /// How the items of a region are cut into requests.
    const CUT: Cut;

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

/// The machine of a batch. See the module.
#[derive(Debug)]
pub struct BatchMachine<B: Batch> {
    batch: B,
    batches: Batches<B::Item>,
}

impl<B: Batch> BatchMachine<B> {
    /// A batch of `items`, at most `limit` requests at work at a time.
    #[must_use]
    pub fn new(batch: B, items: Vec<B::Item>, limit: usize) -> Self {
        Self { batch, batches: Batches::new(B::OPERATION, items, B::CUT, limit) }
    }
}

impl<B: Batch> Machine for BatchMachine<B> {
    type Output = Result<B::Output, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            let Self { batch, batches } = self;
            match ready!(batches.next(cx, |items| batch.request(items))) {
                Some(Ok((_, reply))) => batch.absorb(reply)?,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(batch.finish())),
            }
        }
    }
}
