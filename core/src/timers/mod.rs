//! The timers service: back-off pauses and lock waits of operations, one heap for the client.

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::machine::{Asker, Completion, Input, Service, ServiceCx, Withdrawn};
use crate::types::Instant;

/// What the timers are asked.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every command")]
pub enum TimerCommand {
    /// Answer the asker at a time.
    Set {
        /// When.
        at: Instant,
        /// Who waits.
        asker: Asker,
    },
    /// An operation does not wait for its timer any more.
    Withdraw {
        /// When it would have fired.
        at: Instant,
        /// Who waited.
        who: Withdrawn,
    },
}

/// Sleeping operations, by the time they wake.
#[derive(Debug, Default)]
pub struct Timers {
    sleeping: BTreeMap<Instant, Vec<Asker>>,
    armed: Option<Instant>,
}

impl Timers {
    fn arm(&mut self, cx: &mut ServiceCx<'_, (), Infallible>) {
        let first = self.sleeping.keys().next().copied();
        if first != self.armed {
            self.armed = first;
            if let Some(at) = first {
                cx.arm((), at);
            }
        }
    }
}

impl Service for Timers {
    type Command = TimerCommand;
    type Timer = ();
    type Special = Infallible;

    fn handle(&mut self, input: Input<TimerCommand, ()>, cx: &mut ServiceCx<'_, (), Infallible>) {
        match input {
            Input::Command(TimerCommand::Set { at, asker }) => {
                self.sleeping.entry(at).or_default().push(asker);
            }
            Input::Command(TimerCommand::Withdraw { at, who }) => {
                let Some(askers) = self.sleeping.get_mut(&at) else { return };
                if let Some(index) = askers.iter().position(|asker| asker.is(&who)) {
                    askers.swap_remove(index).forget();
                }
                if askers.is_empty() {
                    self.sleeping.remove(&at);
                }
            }
            Input::Timer(()) => {
                self.armed = None;
                while let Some(first) = self.sleeping.first_entry()
                    && *first.key() <= cx.now()
                {
                    let (at, askers) = first.remove_entry();
                    for asker in askers {
                        cx.answer(asker, Completion::TimerFired(at));
                    }
                }
                self.arm(cx);
            }
            // All that came in one go arms the clock once.
            Input::Idle => self.arm(cx),
            Input::Done(..) | Input::Writable(_) | Input::Item(..) | Input::Closed(..) => {}
        }
    }
}
