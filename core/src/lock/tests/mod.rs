//! Locks at the boundary of their machines; [`world`] is what the tests of `snapshot` and `txn` play, too.

mod classify;
mod judge;
mod recover;
mod resolve;
mod status;
pub(crate) mod world;
