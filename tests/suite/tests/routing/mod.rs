//! Calls while the cluster changes: they find their regions again.
//!
//! `change`: leaders, splits and stores that move; `refusals`: each region error on each kind of call, by fault rules;
//! `regions`: regions as such, and what is known of stores; `replicas`: reads of other replicas than the leader.

mod change;
mod refusals;
mod regions;
mod replicas;
