//! `Start`: every operation of the client as data, so that it can be spawned, traced and built again.

use std::sync::Arc;

use crate::client::Inner;

/// An operation that is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {}

impl Start {
    /// Runs the operation to its end.
    pub(crate) async fn run(self, _client: Arc<Inner>) {
        match self {}
    }
}
