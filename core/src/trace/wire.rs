//! What the client's services do on the network, for pictures: which streams and calls there are, where they go, how they end.

use std::collections::BTreeMap;

use super::encode;
use super::format::{self as f, WireKind};
use super::outlet::Outlet;
use super::recorder::Recorder;
use super::recording::Moment;
use crate::machine::{Completion, Input, ServiceEffect, StreamId, TicketId};

/// The tap of one service's wire.
#[derive(Debug)]
pub(crate) struct Tap {
    outlet: Outlet,
    service: String,
    /// Streams with their address, their path, and whether they were seen open.
    streams: BTreeMap<StreamId, (String, &'static str, bool)>,
    calls: BTreeMap<TicketId, (u64, String, &'static str)>,
    /// Unary calls so far.
    called: u64,
}

impl Tap {
    pub(crate) fn new(recorder: &Recorder, service: impl Into<String>) -> Self {
        Self {
            outlet: Outlet::new(recorder.clone(), 0),
            service: service.into(),
            streams: BTreeMap::new(),
            calls: BTreeMap::new(),
            called: 0,
        }
    }

    /// The service is to be given this.
    pub(crate) fn input<C, T>(&mut self, input: &Input<C, T>, at: Moment) {
        match input {
            Input::Writable(stream) => {
                if let Some((_, _, opened @ false)) = self.streams.get_mut(stream) {
                    *opened = true;
                    self.of_stream(WireKind::Opened, *stream, 0, None, at);
                }
            }
            Input::Item(stream, message) => self.of_stream(WireKind::Item, *stream, message.len(), None, at),
            Input::Closed(stream, fault) => {
                let fault = f::Fault { fault: Some(f::FaultKind::Transport(encode::transport(fault))) };
                self.of_stream(WireKind::Closed, *stream, 0, Some(fault), at);
                self.streams.remove(stream);
            }
            Input::Done(ticket, completion) => {
                // Answers to its questions to PD's service are not on the wire.
                let Some((id, address, path)) = self.calls.remove(ticket) else { return };
                let (bytes, fault) = match completion {
                    Completion::Response(body) => (body.len(), None),
                    Completion::Fault(fault) => (0, Some(encode::fault(fault))),
                    Completion::TimerFired(_) | Completion::Answer(_) => (0, None),
                };
                self.write(WireKind::Answer, id, (address, path), bytes, fault, at);
            }
            Input::Command(_) | Input::Timer(_) | Input::Idle => {}
        }
    }

    /// The service wants this done.
    pub(crate) fn effect<T, S>(&mut self, effect: &ServiceEffect<T, S>, at: Moment) {
        match effect {
            ServiceEffect::Open { stream, to, path, .. } => {
                self.streams.insert(*stream, (to.to_string(), path, false));
                self.of_stream(WireKind::Open, *stream, 0, None, at);
            }
            ServiceEffect::Send { stream, message } => {
                self.of_stream(WireKind::Send, *stream, message.len(), None, at);
            }
            ServiceEffect::Close { stream } => {
                self.of_stream(WireKind::Close, *stream, 0, None, at);
                self.streams.remove(stream);
            }
            ServiceEffect::Unary { ticket, to, path, body, .. } => {
                self.called += 1;
                self.calls.insert(*ticket, (self.called, to.to_string(), path));
                self.write(WireKind::Call, self.called, (to.to_string(), path), body.len(), None, at);
            }
            ServiceEffect::GiveUp { ticket } => {
                self.calls.remove(ticket);
            }
            ServiceEffect::Query { .. }
            | ServiceEffect::Finish { .. }
            | ServiceEffect::Next { .. }
            | ServiceEffect::Arm(..)
            | ServiceEffect::Disarm(_)
            | ServiceEffect::Report(_)
            | ServiceEffect::Disconnect(_)
            | ServiceEffect::Special(_) => {}
        }
    }

    fn of_stream(
        &mut self,
        kind: WireKind,
        stream: StreamId,
        bytes: usize,
        fault: Option<f::Fault>,
        at: Moment,
    ) {
        let place = self.streams.get(&stream).map(|(address, path, _)| (address.clone(), *path));
        self.write(kind, stream.0, place.unwrap_or_default(), bytes, fault, at);
    }

    fn write(
        &mut self,
        kind: WireKind,
        id: u64,
        (address, path): (String, &'static str),
        bytes: usize,
        fault: Option<f::Fault>,
        at: Moment,
    ) {
        let wire = f::Wire {
            client: self.outlet.recorder().client(),
            service: self.service.clone(),
            at_ns: at.now.0,
            kind: kind.into(),
            id,
            address,
            path: path.to_owned(),
            bytes: bytes as u64,
            fault,
        };
        self.outlet.write(&f::Record { entry: Some(f::Entry::Wire(wire)) }, at.wall);
    }
}
