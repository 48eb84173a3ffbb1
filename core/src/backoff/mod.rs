//! How long to wait before trying again, and when to give up.
//!
//! An operation has one [`Budget`], made from the [`Allowance`] of what it does; all its children draw on
//! it. Each child has its own [`Attempts`], so that one region's setbacks do not lengthen another's waits.
//! [`Budget::next`] decides about each setback: sleep so long, or give up with [`Exhausted`], which tells
//! what the time went into. [`Kind`] is the table of what there is to wait for.
//!
//! * [`kind`]: the kinds with their laws (base, cap, jitter), and what giving up on each means;
//! * [`allowance`]: how long each operation may sleep;
//! * [`budget`]: the state and the decision;
//! * [`exhausted`]: the error with its text.
//!
//! Pure: the instant is given, chance from the caller's generator. Cancelling, killing and the
//! deadline are the kernel's: they complete the timer of a sleep. A sleep is clipped neither to what is left
//! of the budget (which may be overdrawn by one sleep) nor to the deadline; only [`Budget::next_at_most`] clips.
//!
//! client-go: `config/retry/{config,backoff}.go`.

pub mod allowance;
pub mod budget;
pub mod exhausted;
pub mod kind;
#[cfg(test)]
mod tests;

pub use allowance::{Allowance, Tuning};
pub use budget::{Attempts, Budget, Decision};
pub use exhausted::{Exhausted, Mishap, Tally};
pub use kind::{Jitter, Kind, Law, Verdict};
