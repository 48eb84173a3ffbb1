//! The connections of one service: channels by address, the streams and unary calls on them.
//!
//! A channel is connected by its first use and shared; one that fails is dropped, so that the next use connects anew.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::runtime::{BoxFuture, ByteStream, Channel, ConnectOptions, Runtime};
use crate::machine::{Address, StreamId, TicketId, TransportClass, TransportFault};
use crate::types::Instant;

/// What happens to a stream.
#[derive(Debug)]
pub(super) enum StreamEvent {
    Writable,
    Item(Bytes),
    Closed(TransportFault),
}

struct Unary {
    ticket: TicketId,
    future: BoxFuture<Result<Bytes, TransportFault>>,
    deadline: BoxFuture<()>,
    address: Address,
}

/// What waits for a channel.
enum Waiting {
    Stream { stream: StreamId, path: &'static str },
    Unary { ticket: TicketId, path: &'static str, body: Bytes, deadline: BoxFuture<()> },
}

enum Line {
    Connecting(BoxFuture<Result<Box<dyn Channel>, TransportFault>>, Vec<Waiting>),
    Connected(Box<dyn Channel>),
}

struct Stream {
    address: Address,
    /// `None` while its channel connects.
    bytes: Option<Box<dyn ByteStream>>,
    /// The service was told that it can send.
    told: bool,
}

/// See the module.
pub(super) struct Wire {
    runtime: Arc<dyn Runtime>,
    options: ConnectOptions,
    lines: BTreeMap<Address, Line>,
    streams: BTreeMap<StreamId, Stream>,
    unary: Vec<Unary>,
    /// Events that came outside a poll of their source.
    events: VecDeque<(StreamId, StreamEvent)>,
    failed: VecDeque<(TicketId, TransportFault)>,
}

impl Wire {
    pub(super) fn new(runtime: Arc<dyn Runtime>, options: ConnectOptions) -> Self {
        Self {
            runtime,
            options,
            lines: BTreeMap::new(),
            streams: BTreeMap::new(),
            unary: Vec::new(),
            events: VecDeque::new(),
            failed: VecDeque::new(),
        }
    }

    pub(super) fn open(&mut self, stream: StreamId, to: Address, path: &'static str) {
        self.streams.insert(stream, Stream { address: Arc::clone(&to), bytes: None, told: false });
        self.when_connected(to, Waiting::Stream { stream, path });
    }

    pub(super) fn unary(
        &mut self,
        ticket: TicketId,
        to: Address,
        path: &'static str,
        body: Bytes,
        deadline: Instant,
    ) {
        let deadline = self.runtime.sleep_until(deadline);
        self.when_connected(to, Waiting::Unary { ticket, path, body, deadline });
    }

    fn when_connected(&mut self, to: Address, waiting: Waiting) {
        match self.lines.get_mut(&to) {
            Some(Line::Connecting(_, queue)) => queue.push(waiting),
            Some(Line::Connected(channel)) => {
                start(waiting, &to, &**channel, &mut self.streams, &mut self.unary);
            }
            None => {
                let connecting = self.runtime.connect(Arc::clone(&to), &self.options);
                self.lines.insert(to, Line::Connecting(connecting, vec![waiting]));
            }
        }
    }

    pub(super) fn send(&mut self, stream: StreamId, message: Bytes) {
        if let Some(Stream { bytes: Some(bytes), told, .. }) = self.streams.get_mut(&stream) {
            bytes.send(message);
            *told = false;
        }
    }

    pub(super) fn close(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    pub(super) fn disconnect(&mut self, address: &Address) {
        if matches!(self.lines.get(address), Some(Line::Connected(_))) {
            self.lines.remove(address);
        }
    }

    /// Brings connections forward. What waits for one starts, or fails with it.
    fn poll_lines(&mut self, cx: &mut Context<'_>) {
        let mut ended = Vec::new();
        for (address, line) in &mut self.lines {
            if let Line::Connecting(connecting, queue) = line
                && let Poll::Ready(result) = connecting.as_mut().poll(cx)
            {
                ended.push((Arc::clone(address), std::mem::take(queue), result));
            }
        }
        for (address, queue, result) in ended {
            match result {
                Ok(channel) => {
                    for waiting in queue {
                        start(waiting, &address, &*channel, &mut self.streams, &mut self.unary);
                    }
                    self.lines.insert(address, Line::Connected(channel));
                }
                Err(fault) => {
                    self.lines.remove(&address);
                    for waiting in queue {
                        self.fail(waiting, &fault);
                    }
                }
            }
        }
    }

    fn fail(&mut self, waiting: Waiting, fault: &TransportFault) {
        match waiting {
            Waiting::Stream { stream, .. } => {
                if self.streams.remove(&stream).is_some() {
                    self.events.push_back((stream, StreamEvent::Closed(fault.clone())));
                }
            }
            Waiting::Unary { ticket, .. } => self.failed.push_back((ticket, fault.clone())),
        }
    }

    pub(super) fn poll_unary(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(TicketId, Result<Bytes, TransportFault>)> {
        self.poll_lines(cx);
        self.expire_waiting(cx);
        if let Some((ticket, fault)) = self.failed.pop_front() {
            return Poll::Ready((ticket, Err(fault)));
        }
        for at in 0..self.unary.len() {
            let Some(result) = poll_one(&mut self.unary[at], cx) else { continue };
            let done = self.unary.swap_remove(at);
            if let Err(fault) = &result
                && matches!(fault.class, TransportClass::Lost | TransportClass::Unreachable)
            {
                self.disconnect(&done.address);
            }
            return Poll::Ready((done.ticket, result));
        }
        Poll::Pending
    }

    /// Unary calls whose time is over while their channel still connects.
    fn expire_waiting(&mut self, cx: &mut Context<'_>) {
        for (address, line) in &mut self.lines {
            let Line::Connecting(_, queue) = line else { continue };
            let failed = &mut self.failed;
            queue.retain_mut(|waiting| {
                let Waiting::Unary { ticket, deadline, .. } = waiting else { return true };
                let over = deadline.as_mut().poll(cx).is_ready();
                if over {
                    let detail = format!("{address}: not connected in time");
                    failed.push_back((*ticket, TransportFault::new(TransportClass::Unreachable, detail)));
                }
                !over
            });
        }
    }

    pub(super) fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<(StreamId, StreamEvent)> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        for (&id, stream) in &mut self.streams {
            let Poll::Ready(event) = stream.poll(cx) else { continue };
            if let StreamEvent::Closed(_) = event {
                let address = Arc::clone(&stream.address);
                self.streams.remove(&id);
                self.disconnect(&address);
            }
            return Poll::Ready((id, event));
        }
        Poll::Pending
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamEvent> {
        let Some(bytes) = &mut self.bytes else { return Poll::Pending };
        // Answers first: they make room.
        match bytes.poll_next(cx) {
            Poll::Ready(Some(Ok(message))) => return Poll::Ready(StreamEvent::Item(message)),
            Poll::Ready(Some(Err(fault))) => return Poll::Ready(StreamEvent::Closed(fault)),
            Poll::Ready(None) => {
                let detail = format!("{}: the server ended the stream", self.address);
                return Poll::Ready(StreamEvent::Closed(TransportFault::new(TransportClass::Lost, detail)));
            }
            Poll::Pending => {}
        }
        if self.told {
            return Poll::Pending;
        }
        match ready!(bytes.poll_ready(cx)) {
            Ok(()) => {
                self.told = true;
                Poll::Ready(StreamEvent::Writable)
            }
            Err(fault) => Poll::Ready(StreamEvent::Closed(fault)),
        }
    }
}

fn start(
    waiting: Waiting,
    address: &Address,
    channel: &dyn Channel,
    streams: &mut BTreeMap<StreamId, Stream>,
    unary: &mut Vec<Unary>,
) {
    match waiting {
        Waiting::Stream { stream, path } => {
            // A stream that was closed while its channel connected is not opened.
            if let Some(entry) = streams.get_mut(&stream) {
                entry.bytes = Some(channel.stream(path));
            }
        }
        Waiting::Unary { ticket, path, body, deadline } => {
            unary.push(Unary {
                ticket,
                future: channel.unary(path, body),
                deadline,
                address: Arc::clone(address),
            });
        }
    }
}

fn poll_one(call: &mut Unary, cx: &mut Context<'_>) -> Option<Result<Bytes, TransportFault>> {
    if let Poll::Ready(result) = call.future.as_mut().poll(cx) {
        return Some(result);
    }
    let over = Pin::new(&mut call.deadline).poll(cx).is_ready();
    over.then(|| Err(TransportFault::new(TransportClass::TimedOut, Arc::clone(&call.address))))
}
