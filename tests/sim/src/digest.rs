//! A digest over everything that happens in a run, in order: two runs of one seed must agree in it.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::{Arc, Mutex, PoisonError};

/// What is added to a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A task was polled.
    Poll = 1,
    /// A connection began, broke, or was refused.
    Line = 2,
    /// Bytes went to a server.
    Up = 3,
    /// Bytes came to a client.
    Down = 4,
    /// A fault was done or undone.
    Fault = 5,
    /// An operation of a workload ended.
    Operation = 6,
}

/// A running digest; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Digest(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    // `new` has fixed keys: the same on every run.
    hasher: DefaultHasher,
    events: u64,
}

impl Digest {
    /// Adds an event at time `at`: who, and what.
    pub(crate) fn add(&self, mark: Mark, at: u64, who: u64, what: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.events += 1;
        state.hasher.write_u8(mark as u8);
        state.hasher.write_u64(at);
        state.hasher.write_u64(who);
        state.hasher.write_usize(what.len());
        state.hasher.write(what);
    }

    /// The digest so far, and over how many events.
    pub(crate) fn value(&self) -> (u64, u64) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.hasher.finish(), state.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_time_and_content_all_count() {
        let digest = |events: &[(u64, u64, &[u8])]| {
            let digest = Digest::default();
            for &(at, who, what) in events {
                digest.add(Mark::Up, at, who, what);
            }
            digest.value().0
        };
        let base = digest(&[(1, 1, b"a"), (2, 1, b"b")]);
        assert_eq!(base, digest(&[(1, 1, b"a"), (2, 1, b"b")]));
        for other in [
            &[(2, 1, &b"b"[..]), (1, 1, b"a")],
            &[(1, 1, &b"a"[..]), (3, 1, b"b")],
            &[(1, 2, &b"a"[..]), (2, 1, b"b")],
            &[(1, 1, &b"ab"[..]), (2, 1, b"")],
        ] {
            assert_ne!(base, digest(other), "{other:?}");
        }
    }
}
