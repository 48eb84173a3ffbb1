//! Traces.

mod decode;
mod encode;
mod fields;
mod file;
pub mod format;
mod keymap;
mod outlet;
mod recorder;
mod recording;
mod redact;
mod replay;
mod ring;
pub mod show;
mod start;
#[cfg(test)]
mod tests;
mod tickets;
mod wire;

pub use file::{MAGIC, Records, TraceError, VERSION};
pub use format::Record;
pub use recorder::{Failure, Recorder, Sink};
pub(crate) use recording::{Birth, Event, Moment, Recording};
pub use redact::redact;
pub use replay::{Difference, Report, replay, replay_records};
pub(crate) use wire::Tap;

/// A record that is a message and makes no sense: what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unreadable(&'static str);
