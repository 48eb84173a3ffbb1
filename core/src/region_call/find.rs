//! Finding the region at a place, with its range: the first step of what goes through a range region by region.

use std::task::{Poll, ready};
use std::time::Duration;

use crate::backoff::Kind;
use crate::machine::{Cx, Fault, Fired, Place, Ticket, Why};
use crate::types::{KeyRange, Located};

/// The first pause before PD is asked again; doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(2);

/// The longest pause.
const LONGEST: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum Phase {
    Looking,
    Loading(Ticket<Located>),
    Pausing(Ticket<Fired>),
}

/// Finds one region and its range, from the directory or, where it does not know, from PD.
///
/// PD may know less than the directory did (a split that it has not heard of): its answer is not taken in then, and it is
/// asked again after a pause, until the operation's deadline.
#[derive(Debug)]
pub struct FindRegion {
    place: Place,
    phase: Phase,
    /// Answers of PD that did not help.
    loads: u32,
}

impl FindRegion {
    /// Looks at `place`.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place, phase: Phase::Looking, loads: 0 }
    }

    /// Goes one step; see [`Machine::step`](crate::machine::Machine::step).
    ///
    /// # Errors
    /// What PD's answer came to.
    pub fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(Located, KeyRange), Fault>> {
        loop {
            self.phase = match &self.phase {
                Phase::Looking => {
                    if let Some(found) = self.look(cx) {
                        return Poll::Ready(Ok(found));
                    }
                    match self.loads {
                        0 => Phase::Loading(cx.load(self.place.clone())),
                        loads => {
                            let pause = PAUSE.saturating_mul(1 << (loads - 1).min(16)).min(LONGEST);
                            Phase::Pausing(cx.timer(cx.now() + pause, Why::BackOff(Kind::RegionMiss.name())))
                        }
                    }
                }
                Phase::Loading(ticket) => {
                    if let Err(fault) = ready!(cx.take(ticket)) {
                        return Poll::Ready(Err(fault));
                    }
                    self.loads = self.loads.saturating_add(1);
                    Phase::Looking
                }
                Phase::Pausing(ticket) => {
                    if let Err(fault) = ready!(cx.take(ticket)) {
                        return Poll::Ready(Err(fault));
                    }
                    Phase::Loading(cx.load(self.place.clone()))
                }
            };
        }
    }

    fn look(&self, cx: &Cx<'_>) -> Option<(Located, KeyRange)> {
        let to = match &self.place {
            Place::Holding(key) => cx.locate(key.as_slice()),
            Place::Below(key) => cx.locate_below(key.as_slice()),
            Place::Id(_) => None,
        }?;
        Some((to, cx.span(to.region)?))
    }
}
