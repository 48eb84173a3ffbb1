//! A machine whose arguments were checked first.

use std::task::Poll;

use crate::error::Error;
use crate::machine::{Cx, Machine};

/// A machine, or the reason why it cannot begin: bad input fails in the future, where a caller looks for it.
#[derive(Debug)]
pub struct Checked<M>(Result<M, Option<Error>>);

impl<M> Checked<M> {
    pub(crate) fn new(machine: Result<M, Error>) -> Self {
        Self(machine.map_err(Some))
    }
}

impl<M, T> Machine for Checked<M>
where
    M: Machine<Output = Result<T, Error>>,
{
    type Output = Result<T, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(machine) => machine.step(cx),
            // The error goes out with the first step, which is the last.
            Err(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }

    fn abandon(&mut self, cx: &mut Cx<'_>) {
        if let Ok(machine) = &mut self.0 {
            machine.abandon(cx);
        }
    }
}
