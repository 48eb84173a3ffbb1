//! Effects: all that a machine can ask of the world, as data.

use std::fmt;
use std::sync::Arc;

use super::report::Feedback;
use super::ticket::TicketId;
use crate::pd::PdReply;
use crate::request::Request;
use crate::start::Start;
use crate::types::{Instant, Key, KeyRange, Located, RegionId, StoreId, Timestamp};

/// What an operation wants done. The kernel lists effects in the order in which the machine gave them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Send `request` to a store; completes with a response or a fault.
    Call {
        /// Who waits.
        ticket: TicketId,
        /// Where it goes and what of its context belongs to this attempt.
        attempt: Attempt,
        /// The request, encoded once for all attempts.
        request: Arc<Request>,
        /// Completes as interrupted at this time, whatever has come.
        deadline: Instant,
    },
    /// Ask a service of this client; completes with the typed answer or a fault.
    Ask {
        /// Who waits.
        ticket: TicketId,
        /// What is asked.
        question: Question,
        /// Completes as interrupted at this time.
        deadline: Instant,
    },
    /// Completes at a time.
    Timer {
        /// Who waits.
        ticket: TicketId,
        /// When.
        at: Instant,
        /// What the wait is for, for traces and pictures.
        why: Why,
    },
    /// Run an operation in the client's background set: nobody waits for it here.
    Spawn {
        /// The operation, as data.
        start: Box<Start>,
    },
    /// The shared state was told this. Already applied; listed so that tests and traces see it.
    Report(Feedback),
    /// The ticket is not waited for any more.
    Cancel {
        /// Whose completion is not wanted.
        ticket: TicketId,
        /// Who works on it.
        at: Destination,
    },
}

/// Who works on a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Destination {
    /// The stream service of a store.
    Store(StoreId),
    /// The timers, at the time the timer is to fire.
    Timers(Instant),
    /// The timestamp batcher.
    Tso,
    /// The region loader.
    Loader,
    /// PD's service.
    Pd,
}

/// How an attempt asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Asked {
    /// As a leader is asked.
    #[default]
    Plainly,
    /// With `replica_read`: a follower asks the leader how far it must be.
    ReplicaRead,
    /// With `stale_read`: for data as old as the timestamp.
    StaleRead,
}

/// Who was asked, in the words of a request's source.
///
/// client-go: `internal/locate/region_request.go: patchRequestSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "an attempt crosses the trace boundary field by field")]
pub struct Reader {
    /// Whether it leads, as far as is known.
    pub leads: bool,
    /// Whether it was a stale read.
    pub stale: bool,
}

/// One attempt of a request: the target, and the part of the context that differs between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "an attempt crosses the trace boundary field by field")]
pub struct Attempt {
    /// The region in the version we know, the peer, and its store.
    pub to: Located,
    /// Whether the request was sent before: the store may look for what an earlier attempt left.
    pub retry: bool,
    /// How long the store may work on it, milliseconds; 0: as long as it wants.
    pub max_execution_ms: u32,
    /// How it asks.
    pub asked: Asked,
    /// How long a busy store may let it wait, milliseconds; 0: as long as it wants.
    pub busy_threshold_ms: u32,
    /// Whether the peer is believed to lead.
    pub leads: bool,
    /// Who was asked first, of a retry.
    pub first: Option<Reader>,
    /// The store through which it goes, because its own cannot be reached from here.
    pub through: Option<StoreId>,
}

impl Attempt {
    /// A first attempt at a leader.
    #[must_use]
    pub const fn first(to: Located) -> Self {
        Self {
            to,
            retry: false,
            max_execution_ms: 0,
            asked: Asked::Plainly,
            busy_threshold_ms: 0,
            leads: true,
            first: None,
            through: None,
        }
    }
}

/// Where a region is looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The region that holds the key.
    Holding(Key),
    /// The region that holds the keys just below the key; an empty key means the last region.
    Below(Key),
    /// The region of this id.
    Id(RegionId),
}

/// What an operation can ask a service of its own client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// A timestamp of PD, newer than all handed out before the question.
    Timestamp,
    /// A region that the directory does not have; misses of one region join.
    Region(Place),
    /// Up to `limit` regions of a range in order, all put into the directory.
    Regions {
        /// The keys that the regions hold.
        range: KeyRange,
        /// How many at the most.
        limit: u32,
    },
    /// PD spreads regions over the stores; answered with [`PdReply::Scattered`].
    Scatter {
        /// The regions.
        regions: Vec<RegionId>,
        /// They are spread among those of this group; empty: among all.
        group: String,
    },
    /// What PD is doing to a region; answered with [`PdReply::Order`].
    Order(RegionId),
    /// A region's buckets as PD has them; answered with [`PdReply::Buckets`].
    Buckets(RegionId),
}

impl Question {
    pub(super) fn destination(&self) -> Destination {
        match self {
            Self::Timestamp => Destination::Tso,
            Self::Region(_) | Self::Regions { .. } => Destination::Loader,
            Self::Scatter { .. } | Self::Order(_) | Self::Buckets(_) => Destination::Pd,
        }
    }
}

/// What a service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The timestamp.
    Timestamp(Timestamp),
    /// The region; the directory has it now.
    Region(Located),
    /// The regions with their ranges; the directory has them now.
    Regions(Arc<[(Located, KeyRange)]>),
    /// PD's answer to a query.
    Pd(PdReply),
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Why {
    /// A pause between two attempts, by the name of its kind.
    BackOff(&'static str),
    /// Waiting for a lock's time to live.
    LockTtl,
    /// The next heartbeat of a lock.
    Heartbeat,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackOff(kind) => write!(f, "back off ({kind})"),
            Self::LockTtl => f.write_str("lock's time to live"),
            Self::Heartbeat => f.write_str("heartbeat"),
        }
    }
}
