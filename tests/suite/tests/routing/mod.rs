//! Calls while the cluster changes: they find their regions again.
//!
//! `change`: leaders, splits and stores that move; `refusals`: each region error on each kind of call, by fault rules.

mod change;
mod refusals;
