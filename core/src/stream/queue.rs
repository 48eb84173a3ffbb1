//! Requests that wait to be sent: the highest priority first, and among equals who came first.
//!
//! client-go keeps them in a heap that is not stable (`internal/client/priority_queue.go`), so that equals overtake each other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::machine::{Asker, Attempt};
use crate::request::Request;
use crate::types::Instant;

/// From this priority on a request waits for nothing but a stream that takes it.
///
/// client-go: `internal/client/client_batch.go: highTaskPriority`.
pub(super) const HIGH: u64 = 10;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) asker: Asker,
    pub(super) attempt: Attempt,
    pub(super) request: Arc<Request>,
    pub(super) deadline: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those without a priority, which are nearly all.
    plain: VecDeque<Call>,
    urgent: BTreeMap<Reverse<u64>, VecDeque<Call>>,
    len: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, call: Call) {
        self.len += 1;
        match call.request.profile().priority() {
            0 => self.plain.push_back(call),
            priority => self.urgent.entry(Reverse(priority)).or_default().push_back(call),
        }
    }

    /// The next one; with `only_high`, if it does not have to wait for others.
    pub(super) fn pop(&mut self, only_high: bool) -> Option<Call> {
        let Some(mut first) = self.urgent.first_entry() else {
            let call = if only_high { None } else { self.plain.pop_front() }?;
            self.len -= 1;
            return Some(call);
        };
        if only_high && first.key().0 < HIGH {
            return None;
        }
        let call = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        self.len -= usize::from(call.is_some());
        call
    }

    /// Whether the next one does not have to wait for others.
    pub(super) fn is_high(&self) -> bool {
        self.urgent.first_key_value().is_some_and(|(priority, _)| priority.0 >= HIGH)
    }

    /// Takes out those that are `wanted`, in the order in which they would be sent.
    pub(super) fn extract(&mut self, mut wanted: impl FnMut(&Call) -> bool, mut each: impl FnMut(Call)) {
        let lists = self.urgent.values_mut().chain([&mut self.plain]);
        for list in lists {
            let mut kept = VecDeque::new();
            if !list.iter().any(&mut wanted) {
                continue;
            }
            for call in list.drain(..) {
                if wanted(&call) {
                    self.len -= 1;
                    each(call);
                } else {
                    kept.push_back(call);
                }
            }
            *list = kept;
        }
        self.urgent.retain(|_, list| !list.is_empty());
    }

    /// Takes out all, in the order in which they would be sent.
    pub(super) fn drain(&mut self, mut each: impl FnMut(Call)) {
        self.len = 0;
        for list in std::mem::take(&mut self.urgent).into_values() {
            list.into_iter().for_each(&mut each);
        }
        // A burst's storage goes with it.
        std::mem::take(&mut self.plain).into_iter().for_each(&mut each);
    }
}
