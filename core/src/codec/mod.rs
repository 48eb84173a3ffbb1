//! How keys look on the wire.
//!
//! [`memcomparable`] writes bytes so that their order survives what is appended to them; [`mode`] says
//! where a client's keys are written so (around PD and in region errors) and where they go as they are.
//! Pure values: no state, no protocol.

pub mod memcomparable;
pub mod mode;

pub use memcomparable::CodecError;
pub use mode::Mode;
