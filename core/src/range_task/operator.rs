//! What PD is doing to a region: whether it is still being scattered, or until it is not.
//!
//! ```text
//! Asking --over, or only asked--> done
//!   ^  | running
//!   |  v
//! Pausing      (until the budget is used up)
//! ```
//!
//! client-go: `tikv/split_region.go: WaitScatterRegionFinish, CheckRegionInScattering`. There an error in PD's answer counts as
//! the end of the scattering; here it is told.

use std::task::{Poll, ready};

use super::Scattering;
use crate::backoff::{Attempts, Kind};
use crate::error::{Error, ServiceError};
use crate::machine::{Cx, Fault, Fired, Machine, Question, Ticket};
use crate::pd::PdReply;
use crate::types::RegionId;

const OPERATION: &str = "wait for a scattered region";

/// PD's name for the order. PD: `pkg/schedule/scatter/region_scatterer.go`.
const SCATTER: &[u8] = b"scatter-region";

#[derive(Debug)]
enum Phase {
    Beginning,
    Asking(Ticket<PdReply>),
    Pausing(Ticket<Fired>),
}

/// Waits for a scattering. See the module.
#[derive(Debug)]
pub struct OperatorMachine {
    region: RegionId,
    waits: bool,
    phase: Phase,
    attempts: Attempts,
}

impl OperatorMachine {
    /// Looks at `region`; `waits`: until it is scattered.
    #[must_use]
    pub fn new(region: RegionId, waits: bool) -> Self {
        Self { region, waits, phase: Phase::Beginning, attempts: Attempts::default() }
    }
}

impl Machine for OperatorMachine {
    type Output = Result<Scattering, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            self.phase = match &self.phase {
                Phase::Beginning => Phase::Asking(cx.ask_pd(Question::Order(self.region))),
                Phase::Asking(ticket) => {
                    let reason = match ready!(cx.take(ticket)) {
                        Ok(PdReply::Order(order)) => {
                            let scatters =
                                order.is_some_and(|order| order.running && order.description == SCATTER);
                            if !scatters {
                                return Poll::Ready(Ok(Scattering::Over));
                            }
                            if !self.waits {
                                return Poll::Ready(Ok(Scattering::Running));
                            }
                            format!("region {} is still being scattered", self.region)
                        }
                        Ok(other) => {
                            let detail = format!("asked for an order, got {other:?}").into();
                            return Poll::Ready(Err(Error::Corrupt { operation: OPERATION, detail }));
                        }
                        Err(Fault::Refused(error @ ServiceError::Pd { .. })) if self.waits => {
                            error.to_string()
                        }
                        Err(fault) => return Poll::Ready(Err(Error::of_fault(OPERATION, fault))),
                    };
                    let pause = cx.back_off(Kind::RegionMiss, &mut self.attempts, reason);
                    Phase::Pausing(
                        pause.map_err(|account| Error::Exhausted { operation: OPERATION, account })?,
                    )
                }
                Phase::Pausing(timer) => {
                    ready!(cx.take(timer)).map_err(|fault| Error::of_fault(OPERATION, fault))?;
                    Phase::Beginning
                }
            };
        }
    }
}
