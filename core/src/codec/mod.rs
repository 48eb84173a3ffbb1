//! How keys look on the wire.
//!
//! [`memcomparable`] writes bytes so that their order survives what is appended to them; [`mode`] says
//! where a client's keys are written so (around PD and in region errors) and where they go as they are. [`keyspace`] has what
//! stands before every key of API v2, and [`Placed`] who crosses that border. Pure values: no state, no protocol.

pub mod keyspace;
#[cfg(test)]
mod keyspace_tests;
pub mod memcomparable;
pub mod mode;
mod placed;

pub use keyspace::{KeyspaceError, KeyspaceId, Prefix};
pub use memcomparable::CodecError;
pub use mode::Mode;
pub use placed::Placed;
pub(crate) use placed::keyless;
