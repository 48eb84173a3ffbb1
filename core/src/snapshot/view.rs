//! What a read knows: its timestamp, and the locks that it goes round.

use std::sync::Arc;
use std::task::Poll;

use crate::error::Error;
use crate::lock::classify::Asked;
use crate::lock::{Lock, LockSets, MeetLocks, Purpose};
use crate::machine::Cx;
use crate::request::{Request, Typed};
use crate::types::{Key, Timestamp};

/// See the module.
#[derive(Debug)]
pub(super) struct View {
    pub(super) asked: Asked,
    pub(super) sets: LockSets,
    meeting: MeetLocks,
    /// Locks were met: what was settled of them is at the leader first.
    pub(super) met: bool,
}

impl View {
    /// A read of `operation` at `ts` that goes round the locks of `sets`.
    pub(super) fn new(
        operation: &'static str,
        ts: Timestamp,
        lite: bool,
        sets: LockSets,
        redacted: bool,
    ) -> Self {
        let asked = Asked { operation, start_ts: ts, redacted };
        Self { asked, sets, meeting: MeetLocks::new(asked, Purpose::Read { lite }), met: false }
    }

    pub(super) fn ts(&self) -> Timestamp {
        self.asked.start_ts
    }

    /// `message` with what stores are told of locks.
    pub(super) fn request(&self, message: &impl Typed) -> Arc<Request> {
        Arc::new(Request::new(message, self.sets.profile()))
    }

    /// Met `locks`: [`step`](Self::step) until it is ready, then ask again.
    pub(super) fn meet(&mut self, locks: Vec<Lock>, cx: &mut Cx<'_>) {
        self.met = true;
        self.meeting.meet(locks, cx);
    }

    pub(super) fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Error>> {
        self.meeting.step(&mut self.sets, cx)
    }
}

/// The keys of `locks`.
pub(super) fn keys(locks: &[Lock]) -> impl Iterator<Item = Key> + '_ {
    locks.iter().map(|lock| lock.key.clone())
}
