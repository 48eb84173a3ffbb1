//! `Start`: every operation of the client as data, so that it can be spawned, traced and built again.

/// An operation that is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {}
