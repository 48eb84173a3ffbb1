//! Spans by the `tracing` crate.

use tracing::field::Empty;
use tracing::{Level, Span, debug, span};

use super::event::{Call, End};
use super::{At, Category, Event, Observer, Operation, Watch};
use crate::details::StoreDetails;
use crate::machine::TicketId;
use crate::request::response;

/// Makes spans by the `tracing` crate: one of each operation, within the span that is current where the call is made, and within it
/// one of each request to a store. Levels: operations are `INFO`, requests `DEBUG`, the rest are events at `DEBUG`. The target
/// is `tikv_client`.
///
/// Who reads the spans is the program's choice (`tracing`'s subscribers); where nobody does, nothing is made.
///
/// client-go: `internal/client/client.go: spanInfo`, there by opentracing.
#[derive(Clone, Debug)]
pub struct Spans {
    off: Vec<Category>,
}

impl Default for Spans {
    fn default() -> Self {
        Self::new()
    }
}

impl Spans {
    /// Spans of everything.
    #[must_use]
    pub const fn new() -> Self {
        Self { off: Vec::new() }
    }

    /// Without requests and events of a category.
    ///
    /// client-go: `trace/trace.go: SetIsCategoryEnabledFunc`.
    #[must_use]
    pub fn without(mut self, category: Category) -> Self {
        self.off.push(category);
        self
    }
}

impl Observer for Spans {
    fn begins(&self, operation: &Operation<'_>) -> Option<Box<dyn Watch>> {
        let context = operation.options.as_context();
        let span = span!(
            target: "tikv_client",
            Level::INFO,
            "operation",
            otel.name = operation.start.name(),
            background = operation.background,
            source = context.request_source,
            trace_id = Empty,
            error = Empty,
        );
        if span.is_disabled() {
            return None;
        }
        if !context.trace_id.is_empty() {
            let id = crate::request::TraceId::new(context.trace_id);
            span.record("trace_id", tracing::field::display(id));
        }
        Some(Box::new(Spanned { span, calls: Vec::new(), off: self.off.clone() }))
    }
}

/// The span of one operation, and those of its requests.
struct Spanned {
    span: Span,
    calls: Vec<(TicketId, Span)>,
    off: Vec<Category>,
}

impl Spanned {
    fn sent(&mut self, call: &Call<'_>) {
        let to = call.attempt.to;
        let span = span!(
            target: "tikv_client",
            parent: &self.span,
            Level::DEBUG,
            "request",
            otel.name = call.request.command().name(),
            region = to.region.id.0,
            store = to.store.0,
            retry = call.attempt.retry,
            bytes = call.bytes,
            answered = Empty,
            error = Empty,
            details = Empty,
        );
        self.calls.push((call.ticket, span));
    }

    fn over(&mut self, ticket: TicketId, then: impl FnOnce(&Span)) {
        if let Some(at) = self.calls.iter().position(|call| call.0 == ticket) {
            then(&self.calls.swap_remove(at).1);
        }
    }
}

impl Watch for Spanned {
    fn see(&mut self, event: &Event<'_>, _: At) {
        if event.category().is_some_and(|category| self.off.contains(&category)) {
            return;
        }
        match event {
            Event::Sent(call) => self.sent(call),
            Event::Answered { call, answer, .. } => {
                let command = call.request.command();
                self.over(call.ticket, |span| match answer {
                    Ok(body) => {
                        span.record("answered", true);
                        if let Ok(Some(error)) = response::region_error(command, body) {
                            span.record("error", crate::region_call::region_error_name(&error));
                        }
                        if let Ok(Some(details)) = response::exec_details(command, body) {
                            let details = StoreDetails::from(&details);
                            span.record("details", tracing::field::display(details));
                        }
                    }
                    Err(fault) => {
                        span.record("answered", false);
                        span.record("error", tracing::field::display(fault));
                    }
                });
            }
            Event::Withdrawn { call, .. } => self.over(call.ticket, |span| {
                span.record("answered", false);
            }),
            Event::Paused { why, pause } => {
                debug!(target: "tikv_client", parent: &self.span, why = %why, ?pause, "pause");
            }
            Event::Told { asked, took, fault } => {
                let fault = fault.map(|fault| fault.to_string());
                debug!(target: "tikv_client", parent: &self.span, ?asked, ?took, fault, "asked");
            }
            Event::Learned(feedback) => {
                // Of regions it says ids only; of keys nothing.
                let what = format!("{feedback:?}");
                let end = what.find(['(', '{', ' ']).unwrap_or(what.len());
                debug!(target: "tikv_client", parent: &self.span, what = &what[..end], "learned");
            }
            Event::Left(name) => {
                debug!(target: "tikv_client", parent: &self.span, operation = name, "left to the background");
            }
            Event::Ended { how, .. } => match how {
                End::Done => {}
                End::Failed(kind) => {
                    self.span.record("error", tracing::field::debug(kind));
                }
                End::Dropped => {
                    self.span.record("error", "dropped");
                }
            },
            _ => {}
        }
    }
}
