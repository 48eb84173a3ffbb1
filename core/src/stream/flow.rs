//! Calls that bring many messages: a coprocessor's stream of a region, and those of TiFlash.
//!
//! ```text
//! Opening --writable: sends the request--> Asked --message--> Told --next--> Asked …
//!    |                                       |  \ deadline       |
//!    +--------------- closed ----------------+---+---------------+--> over
//! ```
//!
//! A message is read only when somebody waits for it, so a slow reader holds the server back and fills nothing here. Each wait has a
//! deadline of its own; one that is over ends the stream, and the server learns of it.
//!
//! client-go: `internal/client/client.go: getCopStreamResponse`, `tikvrpc/tikvrpc.go: Lease, CheckStreamTimeoutLoop`: one loop for all
//! streams looks each 200 ms; here it is the deadline itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::service::{Cx, forwarding, over};
use crate::machine::{
    Address, Asker, Completion, Fault, ServiceEffect, StreamId, TransportClass, TransportFault, Way,
    Withdrawn,
};
use crate::types::Instant;

/// A call that brings many messages.
#[derive(Debug)]
struct Flow {
    /// Whose it is.
    seat: usize,
    /// Who waits for the next message, and until when.
    waits: Option<(Asker, Instant)>,
    /// The request, until it is sent.
    unsent: Option<Bytes>,
    /// How it ended, until that is told.
    ended: Option<TransportFault>,
}

/// All of one store, by their streams.
#[derive(Debug, Default)]
pub(super) struct Flows(BTreeMap<StreamId, Flow>);

impl Flows {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Opens a stream for a request; the first message is waited for.
    pub(super) fn begin(
        &mut self,
        (to, path, forward): (&Address, &'static str, Option<&Address>),
        body: Bytes,
        (asker, deadline): (Asker, Instant),
        cx: &mut Cx<'_>,
    ) {
        let way = Way { metadata: forwarding(forward), on_demand: true, ..Way::default() };
        let stream = cx.open_by(Arc::clone(to), path, way);
        let seat = asker.seat_name();
        self.0.insert(stream, Flow { seat, waits: Some((asker, deadline)), unsent: Some(body), ended: None });
    }

    /// Who has got a message wants the next.
    pub(super) fn next(&mut self, asker: Asker, deadline: Instant, cx: &mut Cx<'_>) {
        let seat = asker.seat_name();
        let Some((&stream, flow)) = self.0.iter_mut().find(|(_, flow)| flow.seat == seat) else {
            cx.answer(asker, over(TransportClass::Lost, "the stream has ended".to_owned()));
            return;
        };
        if let Some(fault) = flow.ended.take() {
            self.0.remove(&stream);
            cx.answer(asker, Completion::Fault(Fault::Transport(fault)));
            return;
        }
        flow.waits = Some((asker, deadline));
        cx.effect(ServiceEffect::Next { stream });
    }

    /// The stream takes the request; false when it is none of these.
    pub(super) fn writable(&mut self, stream: StreamId, cx: &mut Cx<'_>) -> bool {
        let Some(flow) = self.0.get_mut(&stream) else { return false };
        if let Some(message) = flow.unsent.take() {
            cx.effect(ServiceEffect::Send { stream, message });
            cx.effect(ServiceEffect::Finish { stream });
            cx.effect(ServiceEffect::Next { stream });
        }
        true
    }

    /// A message came; false when it is of none of these.
    pub(super) fn item(&mut self, stream: StreamId, message: &Bytes, cx: &mut Cx<'_>) -> bool {
        let Some(flow) = self.0.get_mut(&stream) else { return false };
        if let Some((asker, _)) = flow.waits.take() {
            cx.answer(asker, Completion::Response(message.clone()));
        }
        true
    }

    /// A stream ended, well or not; false when it was none of these.
    pub(super) fn closed(&mut self, stream: StreamId, fault: &TransportFault, cx: &mut Cx<'_>) -> bool {
        let Some(flow) = self.0.get_mut(&stream) else { return false };
        match flow.waits.take() {
            Some((asker, _)) => {
                self.0.remove(&stream);
                cx.answer(asker, Completion::Fault(Fault::Transport(fault.clone())));
            }
            None => flow.ended = Some(fault.clone()),
        }
        true
    }

    /// Ends the streams whose next message did not come in time; the earliest deadline of the others.
    pub(super) fn expire(&mut self, address: &Address, cx: &mut Cx<'_>) -> Option<Instant> {
        let now = cx.now();
        let due = |flow: &Flow| flow.waits.as_ref().is_some_and(|(_, deadline)| *deadline <= now);
        let late: Vec<StreamId> = self.0.iter().filter(|(_, flow)| due(flow)).map(|(&id, _)| id).collect();
        for stream in late {
            let Some(flow) = self.0.remove(&stream) else { continue };
            let class =
                if flow.unsent.is_some() { TransportClass::Unreachable } else { TransportClass::TimedOut };
            if let Some((asker, _)) = flow.waits {
                cx.answer(asker, over(class, format!("{address}: the stream's next message did not come")));
            }
            cx.effect(ServiceEffect::Close { stream });
        }
        self.0.values().filter_map(|flow| flow.waits.as_ref().map(|waits| waits.1)).min()
    }

    /// Ends the streams of those who want nothing more.
    pub(super) fn withdraw(&mut self, gone: &[Withdrawn], cx: &mut Cx<'_>) {
        let is_gone = |flow: &Flow| gone.iter().any(|one| one.name().0 == flow.seat);
        let over: Vec<StreamId> =
            self.0.iter().filter(|(_, flow)| is_gone(flow)).map(|(&id, _)| id).collect();
        for stream in over {
            if let Some(flow) = self.0.remove(&stream)
                && flow.ended.is_none()
            {
                cx.effect(ServiceEffect::Close { stream });
                if let Some((asker, _)) = flow.waits {
                    asker.forget();
                }
            }
        }
    }
}
