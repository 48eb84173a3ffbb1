//! The stream service: the BatchCommands streams of one store, as a sans-IO service.
//!
//! [`frame`] is the wire form: requests are copied once into a frame, responses are slices of the received one.
//! `service` is the machine. Its requests wait in a `queue`, by priority; `group` is those that go the same way, `lane` one stream with
//! its pauses, `flight` what was sent and not answered. `flow` is calls that bring many messages. `batch` says when a frame waits for more, `rate` how many may go.
//!
//! It sends a frame when a stream takes one, answers in any order, completes requests at their deadlines, and opens streams
//! again with back-off when they break. When the store moves, what was sent on the old streams is still answered there. It never
//! sends a request twice: that is the operation's decision.

mod batch;
mod config;
mod flight;
mod flow;
pub mod frame;
mod group;
mod lane;
mod queue;
mod rate;
mod service;
#[cfg(test)]
mod tests;

pub use batch::{BadPolicy, BatchPolicy, Strategy, Turbo};
pub use config::StreamConfig;
pub use rate::Rate;
pub use service::{StoreStream, StreamCommand, StreamTimer};
