//! One request to one region, with its retries: what every operation is made of.
//!
//! [`RegionCall`] locates, sends, classifies what comes back, backs off and sends again. [`classify`](mod@classify) holds
//! the whole table of region errors as one pure function. [`group`] puts keys together by region.
//!
//! client-go: `internal/locate/region_request.go`.

mod call;
pub mod classify;
#[cfg(test)]
mod classify_tests;
pub mod group;
#[cfg(test)]
mod tests;

pub use call::{RegionCall, Reply, Route, Unanswered};
