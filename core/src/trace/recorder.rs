//! The recorder that a program puts into a client's configuration.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::file;
use super::ring::Ring;
use crate::error::ErrorKind;

/// Takes the bytes of a trace as they come: the first are its head. Called from any thread that runs an operation or a service
/// of the client, from several at once; and when one is dropped: it must not panic, and should not block for long.
pub trait Sink: Send + Sync {
    /// Appends `bytes` to the trace. They are whole records: calls may be reordered, but for the first, and not torn.
    fn write(&self, bytes: &[u8]);
}

impl<F: Fn(&[u8]) + Send + Sync> Sink for F {
    fn write(&self, bytes: &[u8]) {
        self(bytes);
    }
}

/// An operation that ended in an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The operation's number in the trace.
    pub number: u64,
    /// Its name.
    pub operation: &'static str,
    /// What a caller can do about the error.
    pub kind: ErrorKind,
    /// The error, as `Debug` shows it; of a long text the beginning.
    pub text: String,
}

/// Where records go.
pub(super) enum Out {
    Sink(Box<dyn Sink>),
    Ring(Box<Ring>),
}

struct Shared {
    out: Out,
    operations: AtomicU64,
    clients: AtomicU64,
}

type OnError = dyn Fn(&Recorder, &Failure) + Send + Sync;

/// Records what the operations of a client do, so that each can be replayed. Set in [`Config::trace`](crate::config::Config);
/// several clients may share one. Cloning shares what is recorded.
///
/// Values are zeroed before they are recorded, at equal length, unless [`redact_values`](Self::redact_values) says otherwise;
/// keys are recorded as they are: see [`redact`](super::redact()).
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    /// The client that records, from 1 on; 0: none has this recorder yet.
    client: u64,
    redact_values: bool,
    on_error: Option<(Arc<[ErrorKind]>, Arc<OnError>)>,
}

impl Recorder {
    fn new(out: Out) -> Self {
        let shared = Shared { out, operations: AtomicU64::new(0), clients: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), client: 0, redact_values: true, on_error: None }
    }

    /// Records everything into `sink`, whose first bytes are written at once: the trace's head.
    ///
    /// An operation's records are handed over when it ends, when they are 16 KiB, and with the first step that comes a second
    /// after they began.
    pub fn to_sink(sink: impl Sink + 'static) -> Self {
        sink.write(&file::head());
        Self::new(Out::Sink(Box::new(sink)))
    }

    /// Keeps the records of the last `keep`, in about `bytes` of memory at the most, for [`dump`](Self::dump).
    ///
    /// An operation that wrote within that time is kept from its beginning on, unless the bytes do not suffice.
    #[must_use]
    pub fn ring(keep: Duration, bytes: usize) -> Self {
        Self::new(Out::Ring(Box::new(Ring::new(keep, bytes))))
    }

    /// Whether values are zeroed before they are recorded (they are if this is not called). Their lengths stay.
    #[must_use]
    pub fn redact_values(mut self, redact: bool) -> Self {
        self.redact_values = redact;
        self
    }

    /// Calls `then` when an operation ends in an error of one of `kinds`, with this recorder: to take its [`dump`](Self::dump).
    ///
    /// It is called within the operation's poll, on the executor's thread: let another thread write files, and do not wait for a
    /// call of the client there. If it held the client, neither would ever be freed.
    #[must_use]
    pub fn on_error(
        mut self,
        kinds: impl IntoIterator<Item = ErrorKind>,
        then: impl Fn(&Self, &Failure) + Send + Sync + 'static,
    ) -> Self {
        self.on_error = Some((kinds.into_iter().collect(), Arc::new(then)));
        self
    }

    /// A whole trace of what a [`ring`](Self::ring) holds, also of operations that are under way. Of a recorder that writes to a
    /// sink it is empty but for its head.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        match &self.shared.out {
            Out::Ring(ring) => ring.dump(),
            Out::Sink(_) => file::head(),
        }
    }

    /// The same recorder, for one more client.
    pub(crate) fn join(&self) -> Self {
        let client = self.shared.clients.fetch_add(1, Ordering::Relaxed) + 1;
        Self { client, ..self.clone() }
    }

    pub(super) fn out(&self) -> &Out {
        &self.shared.out
    }

    pub(super) fn client(&self) -> u64 {
        self.client
    }

    pub(super) fn zeroes_values(&self) -> bool {
        self.redact_values
    }

    pub(super) fn next_number(&self) -> u64 {
        self.shared.operations.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn failed(&self, failure: &Failure) {
        if let Some((kinds, then)) = &self.on_error
            && kinds.contains(&failure.kind)
        {
            then(self, failure);
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Recorder");
        match &self.shared.out {
            Out::Sink(_) => shown.field("to", &"sink"),
            Out::Ring(ring) => shown.field("to", ring),
        };
        shown
            .field("client", &self.client)
            .field("operations", &self.shared.operations.load(Ordering::Relaxed))
            .field("redact_values", &self.redact_values)
            .finish_non_exhaustive()
    }
}
