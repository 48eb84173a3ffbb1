//! Checks of what a run left behind: pure functions over the ledger and the model's columns.
//!
//! * `columns`: commits, atomicity, snapshot reads, conflicts, real time: against what the columns hold at the end.
//! * `lists`: the appends alone, without the columns: is there a serial run that gives them?
//! * `linear`: raw calls of one key: is there an order that one register has?

pub(crate) mod columns;
pub(crate) mod linear;
pub(crate) mod lists;
