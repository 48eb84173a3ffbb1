//! One region with all that is known of it.
//!
//! ```text
//! Asking (by id) --region--> known? --yes--> done
//!    ^                         | PD knew less than the directory
//!    +------- Pausing <--------+
//! Finding (by key) --------------------------> done
//! ```
//!
//! client-go: `internal/locate/region_cache.go: LocateKey, LocateEndKey, LocateRegionByID`.

use std::task::{Poll, ready};

use super::RegionOverview;
use crate::backoff::{Attempts, Kind};
use crate::error::Error;
use crate::machine::{Cx, Fired, Machine, Place, Ticket};
use crate::region_call::FindRegion;
use crate::types::{Located, RegionId};

const OPERATION: &str = "locate region";

#[derive(Debug)]
enum Phase {
    Finding(FindRegion),
    Beginning(RegionId),
    Asking(RegionId, Ticket<Located>),
    Pausing(RegionId, Ticket<Fired>),
}

/// Finds one region. See the module.
#[derive(Debug)]
pub struct FindMachine {
    phase: Phase,
    attempts: Attempts,
}

impl FindMachine {
    /// The region at `place`.
    #[must_use]
    pub fn new(place: Place) -> Self {
        let phase = match place {
            Place::Id(id) => Phase::Beginning(id),
            place => Phase::Finding(FindRegion::new(place)),
        };
        Self { phase, attempts: Attempts::default() }
    }
}

impl Machine for FindMachine {
    type Output = Result<RegionOverview, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            self.phase = match &mut self.phase {
                Phase::Finding(finding) => {
                    let found = ready!(finding.step(cx)).map_err(|fault| Error::of_fault(OPERATION, fault));
                    return Poll::Ready(found.map(|(to, range)| RegionOverview::new(to, range, cx)));
                }
                Phase::Beginning(id) => Phase::Asking(*id, cx.load(Place::Id(*id))),
                Phase::Asking(id, ticket) => {
                    let id = *id;
                    let to = ready!(cx.take(ticket)).map_err(|fault| Error::of_fault(OPERATION, fault))?;
                    if let Some(range) = cx.span(to.region) {
                        return Poll::Ready(Ok(RegionOverview::new(to, range, cx)));
                    }
                    // PD has not heard of a split that the directory knows.
                    let reason = format!("PD knows only an older version of region {id}");
                    let pause = cx.back_off(Kind::RegionMiss, &mut self.attempts, reason);
                    Phase::Pausing(
                        id,
                        pause.map_err(|account| Error::Exhausted { operation: OPERATION, account })?,
                    )
                }
                Phase::Pausing(id, ticket) => {
                    ready!(cx.take(ticket)).map_err(|fault| Error::of_fault(OPERATION, fault))?;
                    Phase::Beginning(*id)
                }
            };
        }
    }
}
