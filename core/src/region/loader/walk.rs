//! Asking PD for all regions: before they are needed, and from time to time.
//!
//! A walk that fails ends; what it has learned stays, and what is needed is loaded as it is without it.
//!
//! client-go: `internal/locate/region_cache.go: refreshRegionIndex`, which leaves a cache that panics when the first walk
//! fails.

use std::time::Duration;

use bytes::Bytes;

use super::cover::{Come, covering};
use super::service::{Cx, LoaderTimer, RegionLoader};
use crate::machine::{Answer, Completion, TicketId};
use crate::pd::{PdQuery, PdReply};

/// How long PD may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    /// Where the next regions begin, in PD's form.
    from: Bytes,
    asked: TicketId,
}

impl Walk {
    /// Whether it waits for this.
    pub(super) fn is(&self, ticket: TicketId) -> bool {
        self.asked == ticket
    }
}

impl RegionLoader {
    pub(super) fn begin(&mut self, cx: &mut Cx<'_>) {
        if self.config.preload {
            self.refresh(cx);
        } else {
            self.arm_refresh(cx);
        }
    }

    /// Begins a walk.
    pub(super) fn refresh(&mut self, cx: &mut Cx<'_>) {
        self.walk_on(Bytes::new(), cx);
    }

    fn arm_refresh(&self, cx: &mut Cx<'_>) {
        if !self.config.refresh_every.is_zero() {
            cx.arm(LoaderTimer::Refresh, cx.now() + self.config.refresh_every);
        }
    }

    fn walk_on(&mut self, from: Bytes, cx: &mut Cx<'_>) {
        let query = PdQuery::Regions { start: from.clone(), end: Bytes::new(), limit: self.config.regions };
        let asked = cx.query(query, cx.now() + PATIENCE);
        self.walk = Some(Walk { from, asked });
    }

    /// The next regions have come, or not.
    pub(super) fn walked(&mut self, completion: Completion, cx: &mut Cx<'_>) {
        let Some(Walk { from, .. }) = self.walk.take() else { return };
        let regions = match completion {
            Completion::Answer(Answer::Pd(PdReply::Regions(regions))) => {
                covering((&from, &Bytes::new()), self.config.regions, regions)
            }
            _ => None,
        };
        let Some(regions) = regions else { return self.arm_refresh(cx) };
        let come: Vec<Come> = regions.into_iter().map(|info| Come::new(info, self.config.mode)).collect();
        self.learned(&come, cx);
        match come.last().map(|last| last.wire_range().end.0.clone()) {
            Some(next) if !next.is_empty() => self.walk_on(next, cx),
            _ => self.arm_refresh(cx),
        }
    }
}
