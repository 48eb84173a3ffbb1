//! What applications call, and what drives the machines.

mod runtime;

pub use runtime::{BoxFuture, ByteStream, Channel, Clock, ConnectOptions, Runtime};
