//! The stream service: one BatchCommands stream per store connection, as a sans-IO service.
//!
//! [`frame`] is the wire form: requests are copied once into a frame, responses are slices of the received one.
//! `flight` holds the requests that were sent and not answered. `service` is the machine: it batches what is in its
//! mailbox, sends when the stream takes a frame, answers in any order, completes requests at their deadlines, and opens the
//! stream again with back-off when it breaks. When the store moves, what was sent on the old stream is still answered there. It never sends a request twice: that is the operation's decision.

mod flight;
pub mod frame;
mod service;
#[cfg(test)]
mod tests;

pub use service::{StoreStream, StreamCommand, StreamConfig, StreamTimer};
