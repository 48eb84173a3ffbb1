//! Completions: what the world answers to an effect.

use bytes::Bytes;

use super::effect::Answer;
use super::fault::Fault;
use super::ticket::{Brings, Fired};
use crate::pd::PdReply;
use crate::types::{Instant, Located, Timestamp};

/// What completes a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// A store's response, undecoded: a slice of the received frame.
    Response(Bytes),
    /// The timer that was set for this time fired.
    TimerFired(Instant),
    /// A service's answer.
    Answer(Answer),
    /// None of these.
    Fault(Fault),
}

/// The panic text names the invariant: the kernel's tickets are typed, so only a driver that completes
/// one ticket with another's completion comes here.
#[cold]
fn wrong_kind(wanted: &str, completion: &Completion) -> ! {
    panic!("a ticket that brings {wanted} was completed with {completion:?}")
}

macro_rules! brings {
    ($type:ty, $wanted:literal, $pattern:pat => $value:expr) => {
        impl Brings for $type {
            fn unpack(completion: Completion) -> Result<Self, Fault> {
                match completion {
                    $pattern => Ok($value),
                    Completion::Fault(fault) => Err(fault),
                    other => wrong_kind($wanted, &other),
                }
            }
        }
    };
}

brings!(Bytes, "a response", Completion::Response(body) => body);
brings!(Fired, "a timer", Completion::TimerFired(at) => Self { at });
brings!(Timestamp, "a timestamp", Completion::Answer(Answer::Timestamp(ts)) => ts);
brings!(PdReply, "PD's answer", Completion::Answer(Answer::Pd(reply)) => reply);
brings!(Located, "a region", Completion::Answer(Answer::Region(located)) => located);
brings!(
    std::sync::Arc<[(Located, crate::types::KeyRange)]>,
    "regions",
    Completion::Answer(Answer::Regions(regions)) => regions
);
