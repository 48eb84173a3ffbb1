//! Begin and commit as values: refine one, then await it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Transaction;
use super::commit::CommitMachine;
use super::timestamp::TimestampMachine;
use crate::backoff::Allowance;
use crate::client::{Checked, Client, Pending, Space, Terms};
use crate::error::Error;
use crate::machine::Machine;
use crate::request::RequestOptions;
use crate::snapshot::calls::Common;
use crate::start::{self, Purpose};
use crate::types::Instant;

/// The future of a timestamp.
pub(super) fn timestamp(
    client: &Client,
    purpose: Purpose,
    patience: Option<Duration>,
    until: Instant,
) -> Pending<TimestampMachine> {
    let inner = client.inner();
    let patience = patience.unwrap_or(inner.config.deadline);
    let terms = Terms {
        deadline: (inner.clock.now() + patience).min(until),
        allowance: Allowance::TSO,
        space: Space::Txn,
        options: client.options().clone(),
        background: false,
        manner: inner.manner(None),
    };
    Pending::new(inner, terms, start::Timestamp { purpose })
}

/// A [`Client::begin`] to be awaited.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct Begin {
    client: Client,
    patience: Option<Duration>,
    until: Instant,
}

impl Begin {
    /// A transaction whose calls are all to be over by `until`.
    pub(super) fn new(client: Client, until: Instant) -> Self {
        Self { client, patience: None, until }
    }

    /// Gives the call this much time instead of the client's default; the transaction's own calls have theirs.
    pub fn deadline(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }
}

impl IntoFuture for Begin {
    type Output = Result<Transaction, Error>;
    type IntoFuture = Beginning;

    fn into_future(self) -> Beginning {
        let Self { client, patience, until } = self;
        let begun = client.inner().clock.now();
        let timestamp = timestamp(&client, Purpose::Begin, patience, until);
        Beginning { client, begun, until, timestamp }
    }
}

/// A begin under way.
#[must_use = "a call does nothing until it is awaited"]
pub struct Beginning {
    client: Client,
    begun: Instant,
    until: Instant,
    timestamp: Pending<TimestampMachine>,
}

impl Future for Beginning {
    type Output = Result<Transaction, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let start_ts = ready!(Pin::new(&mut self.timestamp).poll(cx))?;
        Poll::Ready(Ok(Transaction::new(self.client.clone(), start_ts, self.begun, self.until)))
    }
}

impl fmt::Debug for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beginning").field("timestamp", &self.timestamp).finish_non_exhaustive()
    }
}

/// A [`Transaction::commit`] to be awaited. Dropping it without awaiting sends nothing.
#[derive(Debug)]
#[must_use = "a commit does nothing until it is awaited"]
pub struct Commit {
    common: Common,
    patience: Option<Duration>,
    commit: start::Commit,
}

impl Commit {
    pub(super) fn new(common: Common, commit: start::Commit) -> Self {
        Self { common, patience: None, commit }
    }

    /// Lets the commit's requests carry `options`, too: they go before what the transaction names.
    pub fn with(mut self, options: &RequestOptions) -> Self {
        self.common.client = self.common.client.with(options);
        self
    }

    /// Gives the commit this much time instead of the client's default.
    pub fn deadline(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }
}

impl IntoFuture for Commit {
    type Output = <CommitMachine as Machine>::Output;
    type IntoFuture = Pending<Checked<CommitMachine>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, patience, commit } = self;
        let inner = common.client.inner();
        let patience = patience.unwrap_or(inner.config.deadline);
        let terms = Terms {
            deadline: (inner.clock.now() + patience).min(common.until),
            allowance: Allowance::COMMIT,
            space: Space::Txn,
            options: common.client.options().clone(),
            background: false,
            manner: inner.manner(None),
        };
        Pending::checked(inner, terms, common.refused.map_or(Ok(commit), Err))
    }
}
