//! Texts of what a trace holds, for people: messages are decoded.

use std::fmt::Debug;

use prost::Message;

use super::format::{Call, Start};
use crate::request::{Command, Visitor};

/// The name of an operation; `unknown` of one that this version does not have.
#[must_use]
pub fn operation(start: &Start) -> &'static str {
    super::start::decode(start).map_or("unknown", |start| start.name())
}

/// The command of a call; `None` for one that this version does not have.
#[must_use]
pub fn command(call: &Call) -> Option<Command> {
    Command::of_number(call.command)
}

/// The request of a call as `Debug` shows its message.
#[must_use]
pub fn request(call: &Call) -> String {
    match command(call) {
        Some(command) => command.visit(RequestText(&call.body)),
        None => format!("a command of number {}", call.command),
    }
}

/// The response to a command as `Debug` shows its message.
#[must_use]
pub fn response(command: Command, body: &[u8]) -> String {
    command.visit(ResponseText(body))
}

struct RequestText<'a>(&'a [u8]);

impl Visitor for RequestText<'_> {
    type Output = String;

    fn visit<Q: Message + Default + Debug, R: Message + Default + Debug>(self) -> String {
        text::<Q>(self.0)
    }
}

struct ResponseText<'a>(&'a [u8]);

impl Visitor for ResponseText<'_> {
    type Output = String;

    fn visit<Q: Message + Default + Debug, R: Message + Default + Debug>(self) -> String {
        text::<R>(self.0)
    }
}

fn text<M: Message + Default + Debug>(body: &[u8]) -> String {
    match M::decode(body) {
        Ok(message) => format!("{message:?}"),
        Err(error) => format!("{} bytes that are no message: {error}", body.len()),
    }
}
