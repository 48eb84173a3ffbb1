//! The kernel.

pub mod report;
