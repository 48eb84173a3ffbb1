//! One request to one region, with its retries: what every operation is made of.
//!
//! [`RegionCall`] locates, sends, classifies what comes back, backs off and sends again. [`classify`](mod@classify) holds
//! the whole table of region errors as one pure function, [`classify_read`](mod@classify_read) what a read that may go to any
//! replica changes of it. [`group`] puts keys together by region; [`FindRegion`] finds one
//! region with its range; `spread` carries many items to all their regions, one child a batch.
//!
//! client-go: `internal/locate/region_request.go`.

mod call;
pub mod classify;
pub mod classify_read;
#[cfg(test)]
mod classify_tests;
mod find;
pub mod group;
mod region_error;
mod setback;
pub(crate) mod spread;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk_tests;

pub use call::{RegionCall, Reply, Route, Unanswered};
pub use find::FindRegion;
pub(crate) use region_error::info as region_info;
pub(crate) use region_error::name as region_error_name;
pub use spread::{Cut, Keyed};
