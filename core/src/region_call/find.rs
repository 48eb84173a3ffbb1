//! Finding the region at a place, with its range: the first step of what goes through a range region by region.

use std::task::{Poll, ready};

use crate::machine::{Cx, Fault, Place, Ticket};
use crate::types::{KeyRange, Located};

/// Finds one region and its range, from the directory or, where it does not know, from PD.
#[derive(Debug)]
pub struct FindRegion {
    place: Place,
    loading: Option<Ticket<Located>>,
}

impl FindRegion {
    /// Looks at `place`.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place, loading: None }
    }

    /// Goes one step; see [`Machine::step`](crate::machine::Machine::step).
    ///
    /// # Errors
    /// What PD's answer came to.
    pub fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(Located, KeyRange), Fault>> {
        loop {
            if let Some(loading) = &self.loading {
                if let Err(fault) = ready!(cx.take(loading)) {
                    return Poll::Ready(Err(fault));
                }
                self.loading = None;
            }
            let located = match &self.place {
                Place::Holding(key) => cx.locate(key.as_slice()),
                Place::Below(key) => cx.locate_below(key.as_slice()),
                Place::Id(_) => None,
            };
            if let Some(to) = located
                && let Some(span) = cx.span(to.region)
            {
                return Poll::Ready(Ok((to, span)));
            }
            self.loading = Some(cx.load(self.place.clone()));
        }
    }
}
