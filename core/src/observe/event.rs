//! What observers are told.

use std::time::Duration;

use bytes::Bytes;

use super::Category;
use crate::error::ErrorKind;
use crate::machine::{Attempt, Fault, Feedback, TicketId, Why};
use crate::request::{Request, RequestOptions};
use crate::start::Start;
use crate::types::Instant;

/// An operation that begins.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Operation<'a> {
    /// What it is to do, with its arguments: `Start::name` is its name.
    pub start: &'a Start,
    /// Whether another operation has left it to the background.
    pub background: bool,
    /// When it is to be over.
    pub deadline: Instant,
    /// What its requests carry.
    pub options: &'a RequestOptions,
}

impl<'a> Operation<'a> {
    /// An operation.
    pub(crate) const fn new(
        start: &'a Start,
        background: bool,
        deadline: Instant,
        options: &'a RequestOptions,
    ) -> Self {
        Self { start, background, deadline, options }
    }
}

/// A request that was sent to a store.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// Its number among the requests of the operation that are under way.
    pub ticket: TicketId,
    /// The request.
    pub request: &'a Request,
    /// Where it went and how.
    pub attempt: &'a Attempt,
    /// Bytes of its message without the context.
    pub bytes: usize,
}

impl<'a> Call<'a> {
    pub(crate) fn new(ticket: TicketId, request: &'a Request, attempt: &'a Attempt) -> Self {
        Self { ticket, request, attempt, bytes: request.body().len() }
    }
}

/// What a question to a service of this client is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Asked {
    /// A timestamp.
    Timestamp,
    /// A region that the directory does not have, by a key.
    Region,
    /// A region, by its id.
    RegionById,
    /// The regions of a range.
    Regions,
    /// PD itself: a scatter, what it is doing to a region, a region's buckets.
    Pd,
}

/// What happened to an operation.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request goes to a store.
    Sent(Call<'a>),
    /// It is answered, or nothing more is expected of it.
    Answered {
        /// The request.
        call: Call<'a>,
        /// Since it was sent.
        took: Duration,
        /// The encoded response, or what came instead.
        answer: Result<&'a Bytes, &'a Fault>,
    },
    /// A request that was sent is not waited for any more.
    Withdrawn {
        /// The request.
        call: Call<'a>,
        /// Since it was sent.
        took: Duration,
    },
    /// A service of this client is asked.
    Asked(Asked),
    /// It has answered.
    Told {
        /// What was asked.
        asked: Asked,
        /// Since it was asked.
        took: Duration,
        /// What came instead of an answer.
        fault: Option<&'a Fault>,
    },
    /// The operation pauses.
    Paused {
        /// What for.
        why: Why,
        /// How long.
        pause: Duration,
    },
    /// It tells the client something that it has learned of the cluster.
    Learned(&'a Feedback),
    /// It leaves an operation to the background.
    Left(&'static str),
    /// It is over.
    Ended {
        /// Since it began.
        took: Duration,
        /// How.
        how: End,
    },
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// It did what it was for.
    Done,
    /// With an error.
    Failed(ErrorKind),
    /// Nobody waited any more.
    Dropped,
}

impl Event<'_> {
    /// What it is about; `None`: the operation as a whole.
    #[must_use]
    pub fn category(&self) -> Option<Category> {
        match self {
            Self::Sent(call) | Self::Answered { call, .. } | Self::Withdrawn { call, .. } => {
                Some(Category::of(call.request.command()))
            }
            Self::Asked(Asked::Timestamp) | Self::Told { asked: Asked::Timestamp, .. } => None,
            Self::Asked(_) | Self::Told { .. } | Self::Learned(_) => Some(Category::Regions),
            Self::Paused { .. } | Self::Left(_) | Self::Ended { .. } => None,
        }
    }

    /// Its name.
    ///
    /// client-go: `internal/locate/region_request.go: traceKVRequest…`: `kv.request.send`, `kv.request.result`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sent(_) => "kv.request.send",
            Self::Answered { .. } => "kv.request.result",
            Self::Withdrawn { .. } => "kv.request.withdrawn",
            Self::Asked(_) => "client.ask",
            Self::Told { .. } => "client.told",
            Self::Paused { .. } => "client.pause",
            Self::Learned(_) => "client.learned",
            Self::Left(_) => "client.left",
            Self::Ended { .. } => "client.ended",
        }
    }
}
