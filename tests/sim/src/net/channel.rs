//! The clients' end: the core's runtime on virtual time, its channels and streams.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tikv_client_core::client::{BoxFuture, ByteStream, Channel, Clock, ConnectOptions, Runtime};
use tikv_client_core::machine::{Address, Metadata, TransportClass, TransportFault};
use tikv_client_core::types::{Instant, WallTime};

use super::{Absence, BEGIN_S, Net, Pipe, lock};
use crate::exec::{Executor, Group};

/// The runtime of one client: its tasks are a group of the executor, its clocks begin with it.
pub(crate) struct SimRuntime {
    executor: Executor,
    net: Net,
    group: Group,
    /// When its monotonic clock began.
    born: u64,
    /// How far its wall clock is off, in ms.
    skew_ms: Arc<AtomicI64>,
}

impl SimRuntime {
    pub(crate) fn new(executor: Executor, net: Net, group: Group, skew_ms: Arc<AtomicI64>) -> Self {
        let born = executor.now();
        Self { executor, net, group, born, skew_ms }
    }
}

impl fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRuntime").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Clock for SimRuntime {
    fn now(&self) -> Instant {
        Instant(self.executor.now() - self.born)
    }

    fn wall(&self) -> WallTime {
        let true_ms = BEGIN_S * 1000 + self.executor.now() / 1_000_000;
        WallTime(true_ms.saturating_add_signed(self.skew_ms.load(Ordering::Relaxed)))
    }
}

impl Runtime for SimRuntime {
    fn sleep_until(&self, at: Instant) -> BoxFuture<()> {
        Box::pin(self.executor.sleep_until(at.0.saturating_add(self.born)))
    }

    fn spawn(&self, task: BoxFuture<()>) {
        self.executor.spawn(self.group, task);
    }

    fn connect(
        &self,
        to: Address,
        options: &ConnectOptions,
    ) -> BoxFuture<Result<Box<dyn Channel>, TransportFault>> {
        let (executor, net, group) = (self.executor.clone(), self.net.clone(), self.group);
        let timeout = options.timeout;
        let begun = executor.now();
        Box::pin(async move {
            // There and back, and once more.
            let handshake = net.with(|state, _| (0..3).map(|_| state.weather.trip(&mut state.rng)).sum());
            executor.sleep(std::time::Duration::from_nanos(handshake).min(timeout)).await;
            match net.dial(group, &to) {
                Ok(line) => Ok(Box::new(SimChannel { net, line, to }) as Box<dyn Channel>),
                Err(absence) => {
                    if absence == Absence::Silent {
                        executor.sleep_until(begun.saturating_add(crate::exec::nanos(timeout))).await;
                    }
                    Err(TransportFault::new(TransportClass::Unreachable, format!("{to}: {absence:?}")))
                }
            }
        })
    }
}

struct SimChannel {
    net: Net,
    line: u64,
    to: Address,
}

impl fmt::Debug for SimChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimChannel").field("to", &self.to).finish_non_exhaustive()
    }
}

impl SimChannel {
    fn broken(&self) -> TransportFault {
        TransportFault::new(TransportClass::Unreachable, format!("{}: the connection is broken", self.to))
    }
}

impl Channel for SimChannel {
    fn unary(
        &self,
        path: &'static str,
        _: &Metadata,
        body: Bytes,
    ) -> BoxFuture<Result<Bytes, TransportFault>> {
        let Some((id, pipe)) = self.net.open(self.line) else {
            let fault = self.broken();
            return Box::pin(async move { Err(fault) });
        };
        self.net.send(self.line, id, path, body);
        let end = End { net: self.net.clone(), line: self.line, id, pipe };
        Box::pin(async move { std::future::poll_fn(|cx| end.poll(cx)).await })
    }

    fn stream(&self, path: &'static str, _: &Metadata) -> Box<dyn ByteStream> {
        let end = self.net.open(self.line);
        let end = end.map(|(id, pipe)| End { net: self.net.clone(), line: self.line, id, pipe });
        Box::new(SimStream { end: end.ok_or_else(|| self.broken()), path })
    }
}

/// The client's end of a stream or of one call; dropping it gives it up.
struct End {
    net: Net,
    line: u64,
    id: u64,
    pipe: Arc<Pipe>,
}

impl End {
    fn poll(&self, cx: &Context<'_>) -> Poll<Result<Bytes, TransportFault>> {
        let mut pipe = lock(&self.pipe.0);
        match pipe.inbox.pop_front() {
            Some(item) => Poll::Ready(item),
            None => {
                pipe.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.net.close(self.line, self.id);
    }
}

struct SimStream {
    end: Result<End, TransportFault>,
    path: &'static str,
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStream").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ByteStream for SimStream {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        Poll::Ready(self.end.as_ref().map(|_| ()).map_err(Clone::clone))
    }

    fn send(&mut self, message: Bytes) {
        if let Ok(end) = &self.end {
            end.net.send(end.line, end.id, self.path, message);
        }
    }

    /// The model's servers do not wait for a stream's end.
    fn finish(&mut self) {}

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportFault>>> {
        match &self.end {
            Ok(end) => Pin::new(end).poll(cx).map(Some),
            Err(fault) => Poll::Ready(Some(Err(fault.clone()))),
        }
    }
}
