//! How good a replica is for one request.

use std::fmt;
use std::time::Duration;

use crate::types::{Engine, Liveness, Presence, StoreView};

/// What a request remembers of a replica that it asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "the inputs of a pure function")]
pub struct Marks {
    /// It did not answer within the time that the caller gave an attempt.
    pub timed_out: bool,
    /// It did not have the data of a stale read.
    pub not_ready: bool,
    /// It answered that another one leads, and nobody has said otherwise since.
    pub not_leader: bool,
    /// It was busy.
    pub busy: bool,
    /// It leads as far as is known, but was too busy twice: perhaps it does not any more.
    pub suspect: bool,
    /// A request to it failed below the protocol.
    pub failed: bool,
}

/// A replica as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the inputs of a pure function")]
pub struct Candidate {
    /// Whether it is believed to lead.
    pub leads: bool,
    /// Whether it is a learner.
    pub learner: bool,
    /// What is known of its store.
    pub store: StoreView,
    /// Whether its store is among those that are wanted and has the labels that are wanted.
    pub matches: bool,
    /// How often this request has asked it.
    pub attempts: u32,
    /// How long these attempts took together.
    pub time: Duration,
    /// What came of them.
    pub marks: Marks,
}

/// What a request wants of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the inputs of a pure function")]
pub struct Wanted {
    /// The leader is as good as the others.
    pub leader_too: bool,
    /// The leader first, unless its store is slow.
    pub prefer_leader: bool,
    /// The leader or nobody.
    pub leader_only: bool,
    /// Learners first.
    pub learners: bool,
    /// Labels are wanted.
    pub labelled: bool,
    /// Only followers that would serve a read within this time; zero: no matter.
    pub idle_within: Duration,
}

/// Attempts at a leader. client-go: `internal/locate/region_request.go: maxReplicaAttempt`.
pub const LEADER_ATTEMPTS: u32 = 10;

/// What attempts at a leader may take together. client-go: `internal/locate/region_request.go: maxReplicaAttemptTime`.
pub const LEADER_TIME: Duration = Duration::from_secs(50);

/// How good a replica is: the more, the better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "five bits")]
pub struct Score(pub u8);

impl Score {
    /// The request has not asked it yet.
    pub const NOT_ASKED: Self = Self(1);
    /// It is one of those that are meant: a follower, a learner, a leader that counts like one.
    pub const MEANT: Self = Self(1 << 1);
    /// It leads, and the leader is preferred.
    pub const LEADER: Self = Self(1 << 2);
    /// Its store is one that is wanted, with the labels that are wanted.
    pub const MATCHES: Self = Self(1 << 3);
    /// Its store is not slow.
    pub const NOT_SLOW: Self = Self(1 << 4);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::NOT_SLOW, "not slow"),
        (Self::MATCHES, "matches"),
        (Self::LEADER, "leader"),
        (Self::MEANT, "meant"),
        (Self::NOT_ASKED, "not asked"),
    ];

    const fn when(self, condition: bool) -> u8 {
        if condition { self.0 } else { 0 }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in Self::NAMES {
            if self.0 & bit.0 != 0 {
                write!(f, "{separator}{name}")?;
                separator = ", ";
            }
        }
        if separator.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

/// Whether a replica can answer at all: a TiKV that is there, and that is not known to be gone.
fn is_there(replica: &Candidate) -> bool {
    replica.store.engine == Engine::TiKv
        && replica.store.presence != Presence::Removed
        && replica.store.liveness != Liveness::Unreachable
        && !replica.marks.failed
}

/// Whether the leader can be asked (again), as a leader.
///
/// Its store must be known to answer: a region whose leader does not is woken, and elects another one, only when a follower is
/// asked.
///
/// client-go: `internal/locate/replica_selector.go: isLeaderCandidate`.
#[must_use]
pub fn leader_is_usable(leader: &Candidate) -> bool {
    is_there(leader)
        && leader.store.liveness == Liveness::Reachable
        && leader.attempts < LEADER_ATTEMPTS
        && leader.time < LEADER_TIME
        && !leader.marks.timed_out
        && !leader.marks.not_leader
}

/// How good `replica` is for a request that wants `wanted`; `None`: it is not to be asked.
///
/// It is not to be asked when
///
/// * it is no TiKV, was removed, cannot be reached, or a request to it has just failed;
/// * it was asked before (a follower that did not have the data of a stale read: twice);
/// * only the leader is wanted, and it does not lead;
/// * an idle one is wanted, and it leads, was busy, or would let the read wait longer;
/// * the leader is preferred, and it is a slow follower.
///
/// Otherwise these are added:
///
/// | points | when |
/// |---|---|
/// | 16 not slow | its store is not slow |
/// | 8 matches | its store is among those wanted and has the labels |
/// | 4 leader | it leads, and: with `prefer_leader` it is not slow; else `leader_too` with labels |
/// | 2 meant | it leads, and: with `prefer_leader` it is slow; else `leader_too` without labels |
/// | 2 meant | it does not lead; with `learners` it is one |
/// | 1 not asked | this request has not asked it |
///
/// So a fast replica elsewhere is better than a slow one near by, labels count more than leading, and a read of followers asks the
/// leader last among equals.
///
/// client-go: `internal/locate/replica_selector.go: isCandidate, calculateScore`.
#[must_use]
pub fn score(replica: &Candidate, wanted: &Wanted) -> Option<Score> {
    let Candidate { leads, learner, store, matches, attempts, marks, .. } = *replica;
    let most = if marks.not_ready && !leads { 2 } else { 1 };
    let idle = wanted.idle_within.is_zero() || (!leads && !marks.busy && store.busy <= wanted.idle_within);
    let out = !is_there(replica)
        || attempts >= most
        || (wanted.leader_only && !leads)
        || !idle
        || (wanted.prefer_leader && store.slow && !leads);
    if out {
        return None;
    }
    let counts = if leads { wanted.leader_too && !wanted.prefer_leader } else { !wanted.learners || learner };
    let (leader, meant) = match (leads, wanted.prefer_leader) {
        (true, true) => (!store.slow, store.slow),
        (true, false) => (counts && wanted.labelled, counts && !wanted.labelled),
        (false, _) => (false, counts),
    };
    Some(Score(
        Score::NOT_SLOW.when(!store.slow)
            | Score::MATCHES.when(matches)
            | Score::LEADER.when(leader)
            | Score::MEANT.when(meant)
            | Score::NOT_ASKED.when(attempts == 0),
    ))
}
