//! The machine of a timestamp.

use std::task::{Poll, ready};

use crate::error::Error;
use crate::machine::{Cx, Machine, Ticket};
use crate::types::Timestamp;

/// Asks PD for a timestamp.
#[derive(Debug)]
pub struct TimestampMachine {
    operation: &'static str,
    asked: Option<Ticket<Timestamp>>,
}

impl TimestampMachine {
    /// Errors name `operation`.
    #[must_use]
    pub fn new(operation: &'static str) -> Self {
        Self { operation, asked: None }
    }
}

impl Machine for TimestampMachine {
    type Output = Result<Timestamp, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let asked = self.asked.get_or_insert_with(|| cx.timestamp());
        Poll::Ready(ready!(cx.take(asked)).map_err(|fault| Error::of_fault(self.operation, fault)))
    }
}
