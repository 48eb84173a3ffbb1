//! Interceptors: a program's own code around each request that is sent to a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Command, Request, RequestOptions, Typed};
use crate::machine::{Attempt, Fault};

/// A program's own code around each request that is sent to a store: each attempt of each request of the operations that
/// name it.
///
/// It runs in the task that runs the operation and must not block. What it decides is an input of the operation: a trace holds
/// what the operation got, so that it replays without the interceptor.
///
/// Of a chain, [`before`](Self::before) runs in order and [`after`](Self::after) in reverse; one whose `before` was not reached,
/// because another one answered, has no `after`.
///
/// client-go: `tikvrpc/interceptor/interceptor.go: RPCInterceptor`.
pub trait Interceptor: fmt::Debug + Send + Sync {
    /// Its name: of two with the same in a chain, the one that was added last is called.
    fn name(&self) -> &str;

    /// A request is about to be sent.
    fn before(&self, _call: &mut Outgoing<'_>) -> Flow {
        Flow::Send
    }

    /// A request that was sent is answered, or nothing more is expected of it. The body may be changed.
    fn after(&self, _call: &Answered<'_>, _answer: Result<&mut Bytes, &Fault>) {}
}

/// What becomes of a request that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flow {
    /// It is sent.
    Send,
    /// It is sent after a pause, which does not count as time of the store. Of several in a chain the longest counts.
    ///
    /// Resource control waits so for request units; client-go: `internal/client/client_interceptor.go: SendRequest`.
    SendAfter(Duration),
    /// It is not sent: this is the encoded response.
    Answer(Bytes),
    /// It is not sent, and the operation fails. Nothing happened at the store.
    Refuse(Arc<str>),
}

/// A request that is about to be sent.
#[derive(Debug)]
pub struct Outgoing<'a> {
    attempt: &'a Attempt,
    request: &'a mut Arc<Request>,
    options: &'a mut RequestOptions,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(
        attempt: &'a Attempt,
        request: &'a mut Arc<Request>,
        options: &'a mut RequestOptions,
    ) -> Self {
        Self { attempt, request, options }
    }

    /// Where it goes: region, peer, store. client-go lets an interceptor send it elsewhere; here routes are the operation's own.
    #[must_use]
    pub fn attempt(&self) -> &Attempt {
        self.attempt
    }

    /// The command.
    #[must_use]
    pub fn command(&self) -> Command {
        self.request.command()
    }

    /// The request, without its context.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.request
    }

    /// Its message; `None` when it is one of another type.
    #[must_use]
    pub fn message<M: Typed>(&self) -> Option<M> {
        if self.command() == M::COMMAND { M::decode(self.request.body().clone()).ok() } else { None }
    }

    /// Puts another message of the same command in its place; says whether it is of the same command.
    pub fn replace<M: Typed>(&mut self, message: &M) -> bool {
        let same = self.command() == M::COMMAND;
        if same {
            *self.request = Arc::new(Request::new(message, self.request.profile().clone()));
        }
        same
    }

    /// What it carries beside its message, without what belongs to the attempt.
    #[must_use]
    pub fn options(&self) -> &RequestOptions {
        self.options
    }

    /// Lets this one request carry more; interceptors and observers among it come too late.
    pub fn mark(&mut self, more: &RequestOptions) {
        *self.options = self.options.and(more);
    }
}

/// A request that is answered, or of which nothing more is expected.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Answered<'a> {
    /// The request as it was sent.
    pub request: &'a Request,
    /// Where it went.
    pub attempt: &'a Attempt,
    /// What it carried.
    pub options: &'a RequestOptions,
    /// Since it was sent.
    pub took: Duration,
}

impl<'a> Answered<'a> {
    pub(crate) const fn new(
        request: &'a Request,
        attempt: &'a Attempt,
        options: &'a RequestOptions,
        took: Duration,
    ) -> Self {
        Self { request, attempt, options, took }
    }
}

/// Interceptors in the order in which they are called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain(Vec<Arc<dyn Interceptor>>);

/// How far a request came on its way out.
#[derive(Debug)]
pub(crate) struct Way {
    /// What is to be done.
    pub(crate) flow: Flow,
    /// How many interceptors have seen it.
    pub(crate) reached: usize,
}

impl Chain {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one at the end; one of the same name goes.
    ///
    /// client-go: `tikvrpc/interceptor/interceptor.go: RPCInterceptorChain.Link`.
    pub(crate) fn link(&mut self, interceptor: Arc<dyn Interceptor>) {
        self.0.retain(|known| known.name() != interceptor.name());
        self.0.push(interceptor);
    }

    pub(crate) fn append(&mut self, other: &Self) {
        for interceptor in &other.0 {
            self.link(Arc::clone(interceptor));
        }
    }

    /// Runs each interceptor's `before`, until one answers or refuses.
    pub(crate) fn before(&self, call: &mut Outgoing<'_>) -> Way {
        let mut longest = Duration::ZERO;
        for (at, interceptor) in self.0.iter().enumerate() {
            match interceptor.before(call) {
                Flow::Send => {}
                Flow::SendAfter(pause) => longest = longest.max(pause),
                // Who answers has no `after`: it knows its own answer.
                flow @ (Flow::Answer(_) | Flow::Refuse(_)) => return Way { flow, reached: at },
            }
        }
        let flow = if longest.is_zero() { Flow::Send } else { Flow::SendAfter(longest) };
        Way { flow, reached: self.0.len() }
    }

    /// Runs `after` of the first `reached` interceptors, the last first.
    pub(crate) fn after(&self, reached: usize, call: &Answered<'_>, answer: &mut Result<Bytes, Fault>) {
        for interceptor in self.0.iter().take(reached).rev() {
            interceptor.after(call, answer.as_mut().map_err(|fault| &*fault));
        }
    }
}
