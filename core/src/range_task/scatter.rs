//! Having PD scatter regions: their leaders and replicas are spread over the stores.
//!
//! ```text
//! Asking --all have their orders--> done
//!   ^  | some have not
//!   |  v
//! Pausing      (until the budget is used up: those are told)
//! ```
//!
//! client-go: `tikv/split_region.go: scatterRegion`.

use std::task::{Poll, ready};

use crate::backoff::{Attempts, Kind};
use crate::error::{Error, ServiceError};
use crate::machine::{Cx, Fault, Fired, Machine, Question, Ticket};
use crate::pd::PdReply;
use crate::types::RegionId;

const OPERATION: &str = "scatter regions";

#[derive(Debug)]
enum Phase {
    Beginning,
    Asking(Ticket<PdReply>),
    Pausing(Ticket<Fired>),
}

/// Has regions scattered. See the module.
#[derive(Debug)]
pub struct ScatterMachine {
    left: Vec<RegionId>,
    group: String,
    phase: Phase,
    attempts: Attempts,
}

impl ScatterMachine {
    /// Scatters `regions`, those of one `group` among themselves; empty: among all.
    #[must_use]
    pub fn new(regions: Vec<RegionId>, group: String) -> Self {
        Self { left: regions, group, phase: Phase::Beginning, attempts: Attempts::default() }
    }

    fn told(&mut self, reply: Result<PdReply, Fault>) -> Result<String, Error> {
        match reply {
            Ok(PdReply::Scattered { percent: 100.., .. }) => {
                self.left.clear();
                Ok(String::new())
            }
            Ok(PdReply::Scattered { percent, failed }) => {
                // A PD that names none of them is asked for all again.
                if !failed.is_empty() {
                    self.left.retain(|region| failed.contains(region));
                }
                Ok(format!("PD has ordered {percent} % of it"))
            }
            Ok(other) => {
                let detail = format!("asked to scatter, got {other:?}").into();
                Err(Error::Corrupt { operation: OPERATION, detail })
            }
            // Regions that PD does not know yet, because they have just come out of a split.
            Err(Fault::Refused(error @ ServiceError::Pd { .. })) => Ok(error.to_string()),
            Err(fault) => Err(Error::of_fault(OPERATION, fault)),
        }
    }
}

impl Machine for ScatterMachine {
    /// Those that PD refused to the end.
    type Output = Result<Vec<RegionId>, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            self.phase = match &self.phase {
                Phase::Beginning if self.left.is_empty() => return Poll::Ready(Ok(Vec::new())),
                Phase::Beginning => {
                    let (regions, group) = (self.left.clone(), self.group.clone());
                    Phase::Asking(cx.ask_pd(Question::Scatter { regions, group }))
                }
                Phase::Asking(ticket) => {
                    let reply = ready!(cx.take(ticket));
                    let reason = self.told(reply)?;
                    if self.left.is_empty() {
                        return Poll::Ready(Ok(Vec::new()));
                    }
                    match cx.back_off(Kind::PdRpc, &mut self.attempts, reason) {
                        Ok(timer) => Phase::Pausing(timer),
                        Err(_) => return Poll::Ready(Ok(std::mem::take(&mut self.left))),
                    }
                }
                Phase::Pausing(timer) => {
                    ready!(cx.take(timer)).map_err(|fault| Error::of_fault(OPERATION, fault))?;
                    Phase::Beginning
                }
            };
        }
    }
}
