//! What an answer that is none leads to when the request is a read that may go to any replica: the table of
//! [`classify`](super::classify) with what such a read changes of it.
//!
//! client-go: `internal/locate/replica_selector.go`, `region_request.go: onRegionError, onSendFail`.

use std::sync::Arc;

use tikv_proto::errorpb;

use super::classify::{Reaction, Situation, Verdict, classify_transport, decide, is_refused};
use super::region_error::{RegionError, read, text};
use crate::backoff::Kind;
use crate::error::words::{BUSY_DEADLINE, DEADLINE};
pub use crate::machine::Asked;
use crate::machine::{Feedback, StaleReason, TransportClass, TransportFault};
use crate::types::{PeerId, StoreId};

/// What the request has to do with its region's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Leader {
    /// It was asked this time.
    Now,
    /// It was asked before.
    Before,
    /// It was not asked yet.
    Never,
}

/// What the caller does with the wait that a busy store names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Threshold {
    /// Nothing: it set no `busy_threshold_ms`.
    None,
    /// It goes to another replica.
    Set,
    /// It is a batch, whose parts the caller sends elsewhere.
    Batch,
}

/// What is known of a read and its replicas, at the attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the inputs of a pure function")]
pub struct Reading {
    /// How the attempt asked.
    pub asked: Asked,
    /// Whether it asked the leader.
    pub leader: Leader,
    /// Whether the leader can be asked (again): reachable, attempts left, not marked.
    pub leader_usable: bool,
    /// Whether the request goes to the leader as long as it can be asked.
    pub leader_first: bool,
    /// Whether there are replicas that were not asked yet.
    pub others: bool,
    /// Whether the caller chose a time for one attempt, below that of the client.
    pub own_timeout: bool,
    /// What the caller does with the wait that a busy store names.
    pub threshold: Threshold,
    /// Whether the request waited once already for a replica to have the data.
    pub waited_for_data: bool,
}

/// Where the request goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Next {
    /// To the replica of this attempt, unless a better one is found.
    Same,
    /// To another replica.
    Another,
    /// To the leader; a stale read stays one.
    Leader,
    /// To the replica that was named as the leader.
    Hinted(PeerId),
    /// The region is to be located again first.
    Locate,
    /// Nowhere: the caller sends the parts of its batch elsewhere.
    GiveBack,
}

/// What to remember of the replica of this attempt for the rest of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mark {
    /// It does not lead.
    NotLeader,
    /// It does not have the data yet.
    DataIsNotReady,
    /// It is busy, for so many ms as it says; without a number its store counts as slow.
    Busy(Option<u32>),
    /// It did not answer within the caller's own time.
    TimedOut,
}

/// What an answer that is none leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the output of a pure function")]
pub struct ReadVerdict {
    /// What everyone should know, and when to go on.
    pub verdict: Verdict,
    /// Where the request goes next.
    pub next: Next,
    /// What to remember of this attempt's replica.
    pub mark: Option<Mark>,
    /// The pause that is skipped now, and owed before this store is asked again or when no replica is left.
    pub owed: Option<(StoreId, Kind)>,
}

/// What a region error leads to. Rows that are not here are as in [`classify`](super::classify::classify()), and locate
/// again where they changed the directory.
///
/// | error | told to all | then | goes to |
/// |---|---|---|---|
/// | NotLeader with hint | who leads | at once | the hinted |
/// | NotLeader without | – | pause `regionScheduling` | another |
/// | FlashbackInProgress, a replica read of a follower | – | at once | the leader |
/// | RegionNotFound, the leader was not asked | stale | at once | the leader |
/// | ServerIsBusy "deadline is exceeded", own time | – | at once | another |
/// | ServerIsBusy with a wait, a batch with threshold | – | at once | back to the caller |
/// | ServerIsBusy, another can be asked for it | – | at once, the pause is owed | another |
/// | ServerIsBusy, else | – | pause `tikvServerBusy` | the same |
/// | DataIsNotReady, the first time, of a follower | – | pause `regionScheduling` | the same |
/// | DataIsNotReady again | – | at once | the leader |
/// | "Deadline is exceeded", own time, of no other kind | – | at once | another |
/// | anything else | unreachable | at once while there are others, the pause is owed | another |
///
/// client-go: `internal/locate/region_request.go: onRegionError`; it answers a stale read that finds no data from the
/// leader at once, as a plain read, and follows hints in circles.
#[must_use]
pub fn classify_read(error: &errorpb::Error, situation: &Situation, reading: &Reading) -> ReadVerdict {
    let kind = read(error, situation.mode);
    let reason = text(error, &kind);
    let store = situation.to.store;
    let at_once = |next, mark| Row { reports: vec![], reaction: Reaction::Again, next, mark, owed: None };
    let row = if reading.own_timeout && tells_of_deadline(&kind, error) {
        at_once(Next::Another, Some(Mark::TimedOut))
    } else {
        match &kind {
            RegionError::NotLeader(Some((peer, _))) => Row {
                mark: Some(Mark::NotLeader),
                ..as_ever(kind.clone(), error, situation, reading, Next::Hinted(*peer))
            },
            RegionError::NotLeader(None) => Row {
                reaction: Reaction::BackOff(Kind::RegionScheduling),
                ..at_once(Next::Another, Some(Mark::NotLeader))
            },
            RegionError::FlashbackInProgress
                if reading.asked == Asked::ReplicaRead && reading.leader != Leader::Now =>
            {
                at_once(Next::Leader, None)
            }
            RegionError::RegionNotFound if reading.leader == Leader::Never => {
                let stale = Feedback::Stale { region: situation.to.region, why: StaleReason::RegionNotFound };
                Row { reports: vec![stale], ..at_once(Next::Leader, None) }
            }
            RegionError::ServerIsBusy => busy(error, store, reading),
            RegionError::DataIsNotReady if reading.waited_for_data && reading.leader != Leader::Now => {
                at_once(Next::Leader, Some(Mark::DataIsNotReady))
            }
            RegionError::DataIsNotReady => Row {
                mark: Some(Mark::DataIsNotReady),
                ..as_ever(kind.clone(), error, situation, reading, Next::Same)
            },
            RegionError::Other => {
                pass_on(as_ever(kind.clone(), error, situation, reading, Next::Another), store, reading)
            }
            RegionError::UndeterminedResult
            | RegionError::DiskFull
            | RegionError::FlashbackInProgress
            | RegionError::FlashbackNotPrepared
            | RegionError::StaleCommand
            | RegionError::RaftEntryTooLarge
            | RegionError::MaxTimestampNotSynced
            | RegionError::RegionNotInitialized
            | RegionError::ReadIndexNotReady
            | RegionError::ProposalInMergingMode
            | RegionError::InvalidMaxTsUpdate => as_ever(kind, error, situation, reading, Next::Same),
            RegionError::RecoveryInProgress
            | RegionError::IsWitness
            | RegionError::RegionNotFound
            | RegionError::KeyNotInRegion
            | RegionError::EpochNotMatch(_)
            | RegionError::BucketVersionNotMatch
            | RegionError::StoreNotMatch
            | RegionError::MismatchPeerId => as_ever(kind, error, situation, reading, Next::Locate),
        }
    };
    row.because(reason)
}

/// What a read without answer leads to: the next replica at once while there are others, the pause is owed.
///
/// client-go: `internal/locate/region_request.go: onSendFail`, which pauses always.
#[must_use]
pub fn classify_transport_read(
    fault: &TransportFault,
    situation: &Situation,
    reading: &Reading,
) -> ReadVerdict {
    let timed_out = fault.class == TransportClass::TimedOut;
    let Verdict { reports, reaction, reason } = classify_transport(fault, situation);
    let row = if timed_out && reading.own_timeout {
        let (reaction, mark) = (Reaction::Again, Some(Mark::TimedOut));
        Row { reports: vec![], reaction, next: Next::Another, mark, owed: None }
    } else if is_refused(fault) {
        Row { reports, reaction, next: Next::Same, mark: None, owed: None }
    } else {
        let row = Row { reports, reaction, next: Next::Another, mark: None, owed: None };
        pass_on(row, situation.to.store, reading)
    };
    row.because(reason)
}

/// A [`ReadVerdict`] that does not say why yet.
struct Row {
    reports: Vec<Feedback>,
    reaction: Reaction,
    next: Next,
    mark: Option<Mark>,
    owed: Option<(StoreId, Kind)>,
}

impl Row {
    fn because(self, reason: Arc<str>) -> ReadVerdict {
        let Self { reports, reaction, next, mark, owed } = self;
        ReadVerdict { verdict: Verdict { reports, reaction, reason }, next, mark, owed }
    }
}

/// The row of the leader's table.
fn as_ever(
    kind: RegionError,
    error: &errorpb::Error,
    situation: &Situation,
    reading: &Reading,
    next: Next,
) -> Row {
    let (reports, reaction) = decide(kind, error, situation, reading.leader == Leader::Now);
    Row { reports, reaction, next, mark: None, owed: None }
}

/// Takes the next replica now, if there is one, and owes the pause to this store.
fn pass_on(row: Row, store: StoreId, reading: &Reading) -> Row {
    match row.reaction {
        Reaction::BackOff(kind) if reading.others => {
            Row { reaction: Reaction::Again, owed: Some((store, kind)), ..row }
        }
        Reaction::BackOff(_) | Reaction::Again | Reaction::Fail | Reaction::Undetermined => row,
    }
}

/// client-go: `internal/locate/replica_selector.go: onServerIsBusy, canFastRetry`.
fn busy(error: &errorpb::Error, store: StoreId, reading: &Reading) -> Row {
    let wait = error.server_is_busy.as_ref().map(|busy| busy.estimated_wait_ms).filter(|&ms| ms > 0);
    let mark = Some(Mark::Busy(wait));
    let row = |reaction, next| Row { reports: vec![], reaction, next, mark, owed: None };
    if wait.is_some() && reading.threshold == Threshold::Batch {
        return row(Reaction::Again, Next::GiveBack);
    }
    let diverted = wait.is_some() && reading.threshold == Threshold::Set;
    let stays = reading.leader_first && reading.leader_usable && !diverted;
    let pause = Kind::TikvServerBusy;
    if stays {
        return row(Reaction::BackOff(pause), Next::Same);
    }
    Row { owed: Some((store, pause)), ..row(Reaction::Again, Next::Another) }
}

/// Whether the store gave up because the time of the attempt was over. It says so in two ways, and only in words.
///
/// client-go: `internal/locate/region_request.go: onRegionError, isDeadlineExceeded`.
fn tells_of_deadline(kind: &RegionError, error: &errorpb::Error) -> bool {
    match kind {
        RegionError::ServerIsBusy => {
            error.server_is_busy.as_ref().is_some_and(|busy| busy.reason.contains(BUSY_DEADLINE))
        }
        RegionError::MismatchPeerId | RegionError::InvalidMaxTsUpdate | RegionError::Other => {
            error.message.contains(DEADLINE)
        }
        RegionError::UndeterminedResult
        | RegionError::NotLeader(_)
        | RegionError::DiskFull
        | RegionError::RecoveryInProgress
        | RegionError::IsWitness
        | RegionError::FlashbackInProgress
        | RegionError::FlashbackNotPrepared
        | RegionError::RegionNotFound
        | RegionError::KeyNotInRegion
        | RegionError::EpochNotMatch(_)
        | RegionError::BucketVersionNotMatch
        | RegionError::StaleCommand
        | RegionError::StoreNotMatch
        | RegionError::RaftEntryTooLarge
        | RegionError::MaxTimestampNotSynced
        | RegionError::RegionNotInitialized
        | RegionError::ReadIndexNotReady
        | RegionError::ProposalInMergingMode
        | RegionError::DataIsNotReady => false,
    }
}
