//! The kernel: two kinds of machines, their effects and completions, and what carries answers between them.
//!
//! * An **operation** ([`Machine`]) is finite work with a result. Its driver owns it together with its [`Op`]
//!   (tickets, scopes, effects, random numbers, budget) and steps it once for each completion. All it sees is [`Cx`];
//!   what it wants done are [`Effect`]s, what comes back are [`Completion`]s, matched by [`Ticket`].
//! * A **service** ([`Service`]) is long-lived and shared. It handles one [`Input`] at a time and gives
//!   [`ServiceEffect`]s; it answers an [`Asker`].
//!
//! [`Fanout`] runs children side by side: each ticket belongs to a scope, a scope to its parent, and a completion marks
//! the way down, so only the child it belongs to is stepped. Operations push commands into a service's
//! [`Mailbox`]; the service delivers into the operation's [`Seat`]. Neither locks, blocks, or calls a runtime, so both
//! work from any thread, in `drop`, and after the runtime has ended.
//!
//! Same seed, completions and facts: same effects. The kernel knows nothing of regions or transactions beyond the
//! words in its effects.

mod completion;
mod cx;
mod effect;
mod fanout;
mod fault;
mod mailbox;
mod op;
pub mod report;
mod scope;
#[cfg(test)]
pub(crate) mod script;
mod seat;
mod service;
#[cfg(test)]
mod tests;
mod ticket;

pub use completion::Completion;
pub use cx::{Cx, Facts, Machine, behind};
pub use effect::{Answer, Asked, Attempt, Destination, Effect, Place, Question, Reader, Why};
pub use fanout::Fanout;
pub use fault::{Fault, Interrupt, TransportClass, TransportFault};
pub use mailbox::Mailbox;
pub use op::{Manner, Op};
pub use report::{Feedback, StaleReason};
pub use seat::{Asker, Seat, Withdrawn};
pub use service::{Address, Input, Metadata, Service, ServiceCore, ServiceCx, ServiceEffect, StreamId, Way};
pub use ticket::{Brings, Fired, Ticket, TicketId};
