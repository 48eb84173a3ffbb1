//! All regions of a range, in order and without a hole, as PD has them now. The directory learns them.
//!
//! ```text
//! Asking --regions--> the last reaches the end: done
//!   ^                   |
//!   +-------------------+
//! ```
//!
//! client-go: `internal/locate/region_cache.go: LoadRegionsInKeyRange`.

use std::sync::Arc;
use std::task::{Poll, ready};

use super::RegionOverview;
use crate::error::Error;
use crate::machine::{Cx, Machine, Ticket, behind};
use crate::types::{KeyRange, Located};

const OPERATION: &str = "list regions";

/// Regions asked for at a time; the loader may give fewer.
const AT_A_TIME: u32 = 1024;

/// Regions that follow one another, with their keys.
type Page = Arc<[(Located, KeyRange)]>;

/// Lists regions. See the module.
#[derive(Debug)]
pub struct ListMachine {
    left: KeyRange,
    limit: usize,
    listed: Vec<RegionOverview>,
    asked: Option<Ticket<Page>>,
}

impl ListMachine {
    /// The first `limit` regions of `range`.
    #[must_use]
    pub fn new(range: KeyRange, limit: usize) -> Self {
        Self { left: range, limit, listed: Vec::new(), asked: None }
    }

    fn done(&mut self) -> Poll<Result<Vec<RegionOverview>, Error>> {
        Poll::Ready(Ok(std::mem::take(&mut self.listed)))
    }
}

impl Machine for ListMachine {
    type Output = Result<Vec<RegionOverview>, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            let Some(ticket) = &self.asked else {
                let wanted = self.limit.saturating_sub(self.listed.len());
                if wanted == 0 || self.left.is_empty() {
                    return self.done();
                }
                let limit = u32::try_from(wanted).unwrap_or(u32::MAX).min(AT_A_TIME);
                self.asked = Some(cx.load_range(self.left.clone(), limit));
                continue;
            };
            let regions = ready!(cx.take(ticket)).map_err(|fault| Error::of_fault(OPERATION, fault))?;
            self.asked = None;
            let next = regions.last().and_then(|(_, range)| behind(&self.left, range));
            let all = regions.iter().map(|(to, range)| RegionOverview::new(*to, range.clone(), cx));
            self.listed.extend(all);
            match next {
                Some(key) => self.left.start = key,
                None => return self.done(),
            }
        }
    }
}
