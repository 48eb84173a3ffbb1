//! Reads at the boundary of their machines.

mod batch_get;
mod get;
mod overlay;
mod page;
