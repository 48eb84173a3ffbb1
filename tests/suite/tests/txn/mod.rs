//! Transactions over eight regions on three stores.
//!
//! `basic`: one at a time; `random`: seeded histories held against a map; `conflict`: two that meet; `isolation`: many tasks at
//! one key; `dead`: locks that
//! nobody comes back for; `undecided`: commits whose answer does not come, and clusters that stop in their middle; `drops`:
//! commits that are dropped at every point; `bank`: a thousand at once.

mod bank;
mod basic;
mod conflict;
mod dead;
mod drops;
mod isolation;
mod random;
mod undecided;
