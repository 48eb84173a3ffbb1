//! The connections of one service: channels by address, the streams and unary calls on them.
//!
//! A channel is connected by its first use and shared; one that fails is dropped, so that the next use connects anew.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::runtime::{BoxFuture, ByteStream, Channel, ConnectOptions, Runtime};
use crate::machine::{Address, StreamId, TicketId, TransportClass, TransportFault, Way};
use crate::types::Instant;

/// What happens to a stream.
#[derive(Debug)]
pub(super) enum StreamEvent {
    Writable,
    Item(Bytes),
    Closed(TransportFault),
}

/// A connection: its address, and which of those to it.
type LineId = (Address, u32);

struct Unary {
    ticket: TicketId,
    future: BoxFuture<Result<Bytes, TransportFault>>,
    deadline: BoxFuture<()>,
    line: LineId,
}

/// What waits for a channel.
enum Waiting {
    Stream { stream: StreamId, path: &'static str, way: Way },
    Unary { ticket: TicketId, path: &'static str, body: Bytes, deadline: BoxFuture<()>, way: Way },
}

enum Line {
    Connecting(BoxFuture<Result<Box<dyn Channel>, TransportFault>>, Vec<Waiting>),
    Connected(Box<dyn Channel>),
}

struct Stream {
    line: LineId,
    /// `None` while its channel connects.
    bytes: Option<Box<dyn ByteStream>>,
    /// The service was told that it can send, or sends no more.
    told: bool,
    /// Whether messages are read, and if not as they come, whether one is wanted.
    reading: Reading,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    AsTheyCome,
    One,
    Paused,
}

/// See the module.
pub(super) struct Wire {
    runtime: Arc<dyn Runtime>,
    options: ConnectOptions,
    lines: BTreeMap<LineId, Line>,
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

    pub(super) fn open(&mut self, stream: StreamId, to: Address, path: &'static str, way: Way) {
        let line = (to, way.connection);
        let reading = if way.on_demand { Reading::Paused } else { Reading::AsTheyCome };
        self.streams.insert(stream, Stream { line: line.clone(), bytes: None, told: false, reading });
        self.when_connected(line, Waiting::Stream { stream, path, way });
    }

    pub(super) fn unary(
        &mut self,
        ticket: TicketId,
        to: Address,
        path: &'static str,
        body: Bytes,
        deadline: Instant,
        way: Way,
    ) {
        let deadline = self.runtime.sleep_until(deadline);
        let line = (to, way.connection);
        self.when_connected(line, Waiting::Unary { ticket, path, body, deadline, way });
    }

    /// Gives a unary call up, wherever it is.
    pub(super) fn give_up(&mut self, ticket: TicketId) {
        self.unary.retain(|call| call.ticket != ticket);
        self.failed.retain(|failed| failed.0 != ticket);
        for line in self.lines.values_mut() {
            if let Line::Connecting(_, queue) = line {
                queue.retain(
                    |waiting| !matches!(waiting, Waiting::Unary { ticket: one, .. } if *one == ticket),
                );
            }
        }
    }

    fn when_connected(&mut self, line: LineId, waiting: Waiting) {
        match self.lines.get_mut(&line) {
            Some(Line::Connecting(_, queue)) => queue.push(waiting),
            Some(Line::Connected(channel)) => {
                start(waiting, &line, &**channel, &mut self.streams, &mut self.unary);
            }
            None => {
                let connecting = self.runtime.connect(Arc::clone(&line.0), &self.options);
                self.lines.insert(line, Line::Connecting(connecting, vec![waiting]));
            }
        }
    }

    pub(super) fn send(&mut self, stream: StreamId, message: Bytes) {
        if let Some(Stream { bytes: Some(bytes), told, .. }) = self.streams.get_mut(&stream) {
            bytes.send(message);
            *told = false;
        }
    }

    pub(super) fn finish(&mut self, stream: StreamId) {
        if let Some(Stream { bytes: Some(bytes), told, .. }) = self.streams.get_mut(&stream) {
            bytes.finish();
            *told = true;
        }
    }

    /// Reads the next message of a stream that is read on demand.
    pub(super) fn next(&mut self, stream: StreamId) {
        if let Some(stream) = self.streams.get_mut(&stream)
            && stream.reading == Reading::Paused
        {
            stream.reading = Reading::One;
        }
    }

    pub(super) fn close(&mut self, stream: StreamId) {
        let Some(Stream { line, .. }) = self.streams.remove(&stream) else { return };
        if let Some(Line::Connecting(_, queue)) = self.lines.get_mut(&line) {
            queue.retain(
                |waiting| !matches!(waiting, Waiting::Stream { stream: waits, .. } if *waits == stream),
            );
        }
    }

    /// Drops the connections to an address; those that are being made for somebody stay. What is under way on them goes on.
    pub(super) fn disconnect(&mut self, address: &Address) {
        self.lines.retain(|line, state| {
            line.0 != *address || matches!(state, Line::Connecting(_, queue) if !queue.is_empty())
        });
    }

    /// Drops a connection that failed.
    fn drop_line(&mut self, line: &LineId) {
        if matches!(self.lines.get(line), Some(Line::Connected(_))) {
            self.lines.remove(line);
        }
    }

    /// Brings connections forward. What waits for one starts, or fails with it.
    fn poll_lines(&mut self, cx: &mut Context<'_>) {
        let mut ended = Vec::new();
        for (id, line) in &mut self.lines {
            if let Line::Connecting(connecting, queue) = line
                && let Poll::Ready(result) = connecting.as_mut().poll(cx)
            {
                ended.push((id.clone(), std::mem::take(queue), result));
            }
        }
        for (line, queue, result) in ended {
            match result {
                Ok(channel) => {
                    for waiting in queue {
                        start(waiting, &line, &*channel, &mut self.streams, &mut self.unary);
                    }
                    self.lines.insert(line, Line::Connected(channel));
                }
                Err(fault) => {
                    self.lines.remove(&line);
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
                self.drop_line(&done.line);
            }
            return Poll::Ready((done.ticket, result));
        }
        Poll::Pending
    }

    /// Unary calls whose time is over while their channel still connects.
    fn expire_waiting(&mut self, cx: &mut Context<'_>) {
        for ((address, _), line) in &mut self.lines {
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
                let line = stream.line.clone();
                self.streams.remove(&id);
                self.drop_line(&line);
            }
            return Poll::Ready((id, event));
        }
        Poll::Pending
    }
}

impl Stream {
    /// The fault of a stream that the server ended without an error: one that is read on demand has come to its end, others
    /// have none.
    fn ended(&self) -> TransportFault {
        let class = match self.reading {
            Reading::AsTheyCome => TransportClass::Lost,
            Reading::One | Reading::Paused => TransportClass::Rejected(0),
        };
        TransportFault::new(class, format!("{}: the server ended the stream", self.line.0))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamEvent> {
        let Some(bytes) = &mut self.bytes else { return Poll::Pending };
        // Answers first: they make room.
        if self.reading != Reading::Paused {
            match bytes.poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    if self.reading == Reading::One {
                        self.reading = Reading::Paused;
                    }
                    return Poll::Ready(StreamEvent::Item(message));
                }
                Poll::Ready(Some(Err(fault))) => return Poll::Ready(StreamEvent::Closed(fault)),
                Poll::Ready(None) => return Poll::Ready(StreamEvent::Closed(self.ended())),
                Poll::Pending => {}
            }
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
    line: &LineId,
    channel: &dyn Channel,
    streams: &mut BTreeMap<StreamId, Stream>,
    unary: &mut Vec<Unary>,
) {
    match waiting {
        Waiting::Stream { stream, path, way } => {
            if let Some(entry) = streams.get_mut(&stream) {
                entry.bytes = Some(channel.stream(path, &way.metadata));
            }
        }
        Waiting::Unary { ticket, path, body, deadline, way } => {
            let future = channel.unary(path, &way.metadata, body);
            unary.push(Unary { ticket, future, deadline, line: line.clone() });
        }
    }
}

fn poll_one(call: &mut Unary, cx: &mut Context<'_>) -> Option<Result<Bytes, TransportFault>> {
    if let Poll::Ready(result) = call.future.as_mut().poll(cx) {
        return Some(result);
    }
    let over = Pin::new(&mut call.deadline).poll(cx).is_ready();
    over.then(|| Err(TransportFault::new(TransportClass::TimedOut, Arc::clone(&call.line.0))))
}
