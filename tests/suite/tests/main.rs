//! The client over real gRPC against the embedded cluster: what its callers are promised, a module a subject.
//!
//! * `fixture`: clusters and clients of the tests, and how they wait;
//! * `raw`: raw calls, their order, limits and ranges, and random histories held against a map;
//! * `routing`: regions that split and move, stores that go, come back and move, and every region error;
//! * `faults`: bad input, and clusters that are not there or go away: typed errors, in time;
//! * `drop_safety`: calls that are dropped at every point, on any thread, also after the runtime's end;
//! * `life`: clients begin and end, side by side;
//! * `txn`: transactions, alone, against each other, against dead ones, and a thousand at once;
//! * `trace`: what is recorded replays.

#![allow(clippy::unwrap_used, reason = "a test, and what helps it, panics to fail")]

mod drop_safety;
mod faults;
mod fixture;
mod life;
mod raw;
mod routing;
mod trace;
mod txn;
