//! A deterministic simulator: real clients and a cluster in memory on one thread and virtual time, with all their troubles
//! from one seed.
//!
//! [`run`] is one run. A seed draws a [`Plan`](plan): the cluster, the load, and which faults exist; clients work on it through
//! their public types while a nemesis makes trouble; then all heals, everything must end, and what was seen is checked
//! against what the cluster holds. A seed gives the same run always, down to the last frame. [`record`] is a run with a
//! trace of its clients.
//!
//! * `exec`: tasks and virtual time; `net`: connections, messages, servers' doors, and the core's `Runtime` on both;
//! * `plan`: what a seed draws; `nemesis`: who makes the trouble; `processes`: clients that live and die;
//! * `load`: what they do; `ledger`: what they saw; `witness`: what is seen at the servers' doors;
//! * `check`, `violation`: what must hold; `tally`, `digest`: what happened, how often, and a digest of all of it;
//! * [`scene`]: short stories that are recorded, and give the committed traces; [`show`]: traces as a picture and as text;
//! * `storm`: ten thousand callers, and stores that are killed each second;
//! * `run`: the course of one run; `shrink`: the least that still fails; `coverage`: what a set of runs must have reached.

mod check;
mod coverage;
mod digest;
mod exec;
mod ledger;
mod load;
mod nemesis;
mod net;
pub mod plan;
mod processes;
mod run;
pub mod scene;
pub mod show;
mod shrink;
mod storm;
mod tally;
pub mod violation;
mod witness;

pub use coverage::{missing, not_yet};
pub use plan::{Fault, Limits, Load};
pub use run::{Report, record, run};
pub use shrink::shrink;
pub use storm::{Storm, Weathered, storm};
pub use tally::Totals;
pub use violation::{Invariant, Violation};
