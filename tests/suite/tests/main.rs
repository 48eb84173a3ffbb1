//! The client over real gRPC against the embedded cluster: what its callers are promised, a module a subject.
//!
//! * `fixture`: clusters and clients of the tests, and how they wait;
//! * `raw`: raw calls, their order, limits and ranges, and random histories held against a map.

mod fixture;
mod raw;
