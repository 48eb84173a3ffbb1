//! Raw calls against eight regions on three stores.
//!
//! `single`: one key; `batch`: many; `scan` and `delete_range`: ranges; `random`: seeded histories held against a map while
//! regions split and leaders move.

mod batch;
mod delete_range;
mod random;
mod scan;
mod single;
