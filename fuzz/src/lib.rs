//! Fuzzers: one plain function a machine, from bytes to a verdict.
//!
//! Each module has a function `run(&[u8])` that plays its machine as the bytes say and panics when a law is broken. The
//! programs in `fuzz_targets/` hand them to libFuzzer; `cargo test` runs them over the committed inputs. [`TARGETS`] lists them.
//!
//! * [`choices`]: the bytes as a row of choices;
//! * [`service`]: one service in virtual time, for the targets that play one;
//! * [`world`]: a whole cluster (the embedded model) around operations, for the targets that play those.

pub mod choices;
pub mod codecs;
pub mod commit;
pub mod doors;
pub mod errors;
pub mod frames;
pub mod kernel;
pub mod locks;
pub mod pd;
pub mod region;
pub mod service;
pub mod world;

/// A fuzzer: panics when the machine breaks a law.
pub type Target = fn(&[u8]);

/// Every fuzzer by the name of its program and of its folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("codecs", codecs::run),
    ("commit", commit::run),
    ("doors", doors::run),
    ("errors", errors::run),
    ("frames", frames::run),
    ("kernel", kernel::run),
    ("locks", locks::run),
    ("pd", pd::run),
    ("region", region::run),
];
