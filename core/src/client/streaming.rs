//! Calls that bring many messages, and what a caller holds of one.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prost::Message;
use tikv_proto::{coprocessor, mpp};

use super::Client;
use super::shared::Inner;
use crate::error::Error;
use crate::machine::{Asker, Attempt, Completion, Fault, Seat, TicketId, TransportClass, Withdrawn};
use crate::request::{Profile, Request};
use crate::stream::StreamCommand;
use crate::types::{Located, PeerId, RegionId, RegionVersion, StoreId};

/// What errors of a streaming call name.
const OPERATION: &str = "stream";

/// How long a message may take unless it is told otherwise. client-go: `config/client.go: CoprReqTimeout`.
const PATIENCE: Duration = Duration::from_secs(60);

/// The one who waits for a message: there is never more than one.
fn ticket() -> TicketId {
    TicketId::new(0, 0)
}

/// How far a streaming call has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Messages that came.
    pub messages: u64,
    /// Their bytes, encoded.
    pub bytes: u64,
}

enum State {
    /// Nothing was sent.
    New(Arc<Request>),
    /// A message came, and the next was not asked for.
    Idle,
    /// The next message was asked for.
    Waiting,
    Over,
}

/// The messages of one call, in order. Dropping it ends the call, and the server learns of it.
///
/// A message is read from the connection when it is asked for: who reads slowly holds the server back. The call is sent with the
/// first [`next`](Self::next). It is never sent twice: what a region error or a lost connection means is the caller's to judge.
///
/// client-go: `tikvrpc/tikvrpc.go: CopStreamResponse, BatchCopStreamResponse, MPPStreamResponse`.
pub struct Streaming<T> {
    client: Arc<Inner>,
    seat: Arc<Seat>,
    attempt: Attempt,
    state: State,
    patience: Duration,
    progress: Progress,
    brings: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempt, progress, .. } = self;
        f.debug_struct("Streaming")
            .field("to", &attempt.to)
            .field("progress", progress)
            .finish_non_exhaustive()
    }
}

impl<T: Message + Default> Streaming<T> {
    fn new(client: &Client, to: Located, request: Request) -> Self {
        Self {
            client: Arc::clone(client.inner()),
            seat: Arc::default(),
            attempt: Attempt::first(to),
            state: State::New(Arc::new(request)),
            patience: PATIENCE,
            progress: Progress::default(),
            brings: PhantomData,
        }
    }

    /// How long each message may take from when it is asked for; 60 s unless told.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The next message; `None` once the server has said that all is well.
    ///
    /// # Errors
    /// [`Error::Transport`]: the store could not be reached, the connection broke, the server refused, or the message did not come
    /// in time; [`Error::Corrupt`]: it is none. After an error there is no further message.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call goes on waiting for the same message.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for those who poll.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        self.seat.register(cx.waker());
        let asker = || Asker::of_store(Arc::clone(&self.seat), ticket());
        let deadline = || self.client.clock.now() + self.patience;
        match std::mem::replace(&mut self.state, State::Waiting) {
            State::Waiting => {}
            State::Over => {
                self.state = State::Over;
                return Poll::Ready(None);
            }
            State::New(request) => {
                let (asker, deadline, attempt) = (asker(), deadline(), self.attempt);
                let command = StreamCommand::Call { asker, attempt, request, deadline, forward: None };
                self.client.send(self.attempt.to.store, command);
            }
            State::Idle => {
                let command = StreamCommand::Next { asker: asker(), deadline: deadline() };
                self.client.stores.forward(self.attempt.to.store, command);
            }
        }
        let completion = ready!(self.poll_completion());
        self.state = State::Over;
        Poll::Ready(match completion {
            Completion::Response(body) => {
                self.progress.messages += 1;
                self.progress.bytes += body.len() as u64;
                Some(match T::decode(body) {
                    Ok(message) => {
                        self.state = State::Idle;
                        Ok(message)
                    }
                    Err(error) => {
                        self.end();
                        Err(Error::Corrupt { operation: OPERATION, detail: error.to_string().into() })
                    }
                })
            }
            Completion::Fault(Fault::Transport(fault)) if fault.class == TransportClass::Rejected(0) => None,
            Completion::Fault(fault) => Some(Err(Error::of_fault(OPERATION, fault))),
            other => Some(Err(Error::Corrupt { operation: OPERATION, detail: format!("{other:?}").into() })),
        })
    }

    fn poll_completion(&self) -> Poll<Completion> {
        self.seat.next().map_or(Poll::Pending, |(_, completion)| Poll::Ready(completion))
    }
}

impl<T> Streaming<T> {
    /// The server learns that nothing more is wanted.
    fn end(&self) {
        self.client.withdraw(self.attempt.to.store, Withdrawn::new(Arc::clone(&self.seat), ticket()));
    }
}

impl<T> Drop for Streaming<T> {
    fn drop(&mut self) {
        if matches!(self.state, State::Idle | State::Waiting) {
            self.end();
        }
    }
}

/// A store as a whole.
fn whole(store: StoreId) -> Located {
    let region = RegionVersion { id: RegionId(0), version: 0, conf_ver: 0 };
    Located { region, peer: PeerId(0), store }
}

impl Client {
    /// Runs a coprocessor request on a region, whose results come as they are found.
    ///
    /// `request`'s context is filled with the region, its epoch and the peer; it must be unset.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: CmdCopStream`.
    #[must_use]
    pub fn coprocessor_stream(
        &self,
        at: Located,
        request: &coprocessor::Request,
    ) -> Streaming<coprocessor::Response> {
        Streaming::new(self, at, Request::coprocessor_stream(request, Profile::default()))
    }

    /// Runs a coprocessor request on many regions of one TiFlash store.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: CmdBatchCop`.
    #[must_use]
    pub fn batch_coprocessor(
        &self,
        store: StoreId,
        request: &coprocessor::BatchRequest,
    ) -> Streaming<coprocessor::BatchResponse> {
        Streaming::new(self, whole(store), Request::new(request, Profile::default()))
    }

    /// Receives what a task of a TiFlash store sends to the one that the request names.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: CmdMPPConn`.
    #[must_use]
    pub fn mpp_connection(
        &self,
        store: StoreId,
        request: &mpp::EstablishMppConnectionRequest,
    ) -> Streaming<mpp::MppDataPacket> {
        Streaming::new(self, whole(store), Request::new(request, Profile::default()))
    }
}
