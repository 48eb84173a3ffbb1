//! Who looks on at an operation, or has a say in its requests: observers, interceptors, taggers.
//!
//! The driver carries effects out and takes completions in; with options that name somebody it goes through [`Watched`] for both.
//! What an interceptor answers or changes is a completion like any other: a trace has it, and a replay needs no interceptor.

use std::sync::Arc;
use std::time::Duration;

use super::drive::Terms;
use super::shared::Inner;
use crate::error::{ErrorKind, ServiceError};
use crate::machine::{
    Asker, Attempt, Completion, Destination, Effect, Fault, Place, Question, Seat, TicketId, TransportClass,
    TransportFault,
};
use crate::observe::event::{Asked, Call, End};
use crate::observe::{At, Event, Operation, Watch};
use crate::request::{Answered, Flow, Outgoing, Request, RequestOptions};
use crate::start::Start;
use crate::stream::StreamCommand;
use crate::types::Instant;

/// A request on its way to a store.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) asker: Asker,
    pub(super) attempt: Attempt,
    pub(super) request: Arc<Request>,
    pub(super) deadline: Instant,
}

impl Departure {
    /// Hands it to its store's stream.
    pub(super) fn leave(self, client: &Inner, options: &RequestOptions) {
        let Self { asker, attempt, request, deadline } = self;
        let request = match options.profile() {
            None => request,
            Some(profile) => Arc::new(request.under(profile)),
        };
        // A store whose address is not known is asked by itself: nobody could forward to it.
        let target = attempt.to.store;
        let through = attempt.through.and_then(|proxy| Some((proxy, client.address_of(target)?)));
        let (store, forward) = through.map_or((target, None), |(proxy, address)| (proxy, Some(address)));
        client.send(store, StreamCommand::Call { asker, attempt, request, deadline, forward });
    }
}

/// What is under way.
#[derive(Debug)]
enum What {
    /// A request; the first `reached` interceptors wait for its answer. One that an interceptor answers was not sent.
    Call { attempt: Attempt, request: Arc<Request>, options: RequestOptions, reached: usize, sent: bool },
    /// A request that is held back until a time.
    Held { departure: Box<Departure>, options: RequestOptions, reached: usize, until: Instant },
    /// A question to a service of this client.
    Ask(Asked),
}

#[derive(Debug)]
struct Flying {
    ticket: TicketId,
    since: Instant,
    what: What,
}

/// Who looks on at one operation. See the module.
pub(super) struct Watched {
    options: RequestOptions,
    watches: Vec<Box<dyn Watch>>,
    flying: Vec<Flying>,
    began: Instant,
    deadline: Instant,
}

impl Watched {
    /// Those who look on at an operation, if there are any.
    pub(super) fn of(client: &Inner, terms: &Terms, start: impl FnOnce() -> Start) -> Option<Self> {
        let Terms { options, deadline, background, .. } = terms;
        if !options.is_watching() {
            return None;
        }
        let start = start();
        let operation = Operation::new(&start, *background, *deadline, options);
        let watches = options.observers().iter().filter_map(|observer| observer.begins(&operation)).collect();
        let (options, flying, began) = (options.clone(), Vec::new(), client.clock.now());
        Some(Self { options, watches, flying, began, deadline: *deadline })
    }

    fn see(&mut self, client: &Inner, event: &Event<'_>) {
        if self.watches.is_empty() {
            return;
        }
        let at = At { now: client.clock.now(), wall: client.clock.wall() };
        self.watches.iter_mut().for_each(|watch| watch.see(event, at));
    }

    /// A request is to be sent: asks the interceptors.
    pub(super) fn depart(
        &mut self,
        client: &Inner,
        seat: &Arc<Seat>,
        mut departure: Departure,
        ticket: TicketId,
    ) {
        let mut options = self.options.clone();
        if let Some(tag) = options.tag(&departure.request) {
            options = options.resource_group_tag(tag);
        }
        let Some(chain) = self.options.chain() else {
            return self.send(client, departure, options, 0, ticket);
        };
        let way = chain.before(&mut Outgoing::new(&departure.attempt, &mut departure.request, &mut options));
        let now = client.clock.now();
        let completion = match way.flow {
            Flow::Send => return self.send(client, departure, options, way.reached, ticket),
            Flow::SendAfter(pause) => {
                let until = (now + pause).min(self.deadline);
                // The pause is no time of the store.
                departure.deadline = departure.deadline + pause;
                let asker = Asker::new(Arc::clone(seat), ticket);
                client.wake_at(until, asker);
                let what =
                    What::Held { departure: Box::new(departure), options, reached: way.reached, until };
                self.flying.push(Flying { ticket, since: now, what });
                return;
            }
            Flow::Answer(body) => Completion::Response(body),
            Flow::Refuse(reason) => Completion::Fault(Fault::Refused(ServiceError::Intercepted { reason })),
        };
        let Departure { asker, attempt, request, .. } = departure;
        let what = What::Call { attempt, request, options, reached: way.reached, sent: false };
        self.flying.push(Flying { ticket, since: now, what });
        if let Some(seat) = asker.answer(completion) {
            seat.wake();
        }
    }

    fn send(
        &mut self,
        client: &Inner,
        departure: Departure,
        options: RequestOptions,
        reached: usize,
        ticket: TicketId,
    ) {
        let (attempt, request) = (departure.attempt, Arc::clone(&departure.request));
        self.see(client, &Event::Sent(Call::new(ticket, &request, &attempt)));
        departure.leave(client, &options);
        let what = What::Call { attempt, request, options, reached, sent: true };
        self.flying.push(Flying { ticket, since: client.clock.now(), what });
    }

    /// An effect is carried out that is no request.
    pub(super) fn effect(&mut self, client: &Inner, effect: &Effect) {
        match effect {
            Effect::Ask { ticket, question, .. } => {
                let asked = match question {
                    Question::Timestamp => Asked::Timestamp,
                    Question::Region(Place::Id(_)) => Asked::RegionById,
                    Question::Region(_) => Asked::Region,
                    Question::Regions { .. } => Asked::Regions,
                    Question::Scatter { .. } | Question::Order(_) | Question::Buckets(_) => Asked::Pd,
                };
                self.see(client, &Event::Asked(asked));
                let (ticket, what) = (*ticket, What::Ask(asked));
                self.flying.push(Flying { ticket, since: client.clock.now(), what });
            }
            Effect::Timer { at, why, .. } => {
                let pause = at.since(client.clock.now());
                self.see(client, &Event::Paused { why: *why, pause });
            }
            Effect::Report(feedback) => self.see(client, &Event::Learned(feedback)),
            Effect::Spawn { start } => self.see(client, &Event::Left(start.name())),
            Effect::Call { .. } | Effect::Cancel { .. } => {}
        }
    }

    /// A ticket is not waited for any more; says who works on it.
    pub(super) fn cancelled(&mut self, client: &Inner, ticket: TicketId, at: Destination) -> Destination {
        let Some(place) = self.flying.iter().position(|flying| flying.ticket == ticket) else { return at };
        let Flying { since, what, .. } = self.flying.swap_remove(place);
        match what {
            What::Held { until, .. } => Destination::Timers(until),
            What::Call { attempt, request, sent: true, .. } => {
                let took = client.clock.now().since(since);
                let call = Call::new(ticket, &request, &attempt);
                self.see(client, &Event::Withdrawn { call, took });
                at
            }
            What::Call { .. } | What::Ask(_) => at,
        }
    }

    /// A completion has come; gives it back as the operation is to see it. `None`: it was the end of a pause, and the request is
    /// on its way now.
    pub(super) fn arrived(
        &mut self,
        client: &Inner,
        ticket: TicketId,
        completion: Completion,
    ) -> Option<Completion> {
        let Some(place) = self.flying.iter().position(|flying| flying.ticket == ticket) else {
            return Some(completion);
        };
        let Flying { since, what, .. } = self.flying.swap_remove(place);
        let now = client.clock.now();
        let took = now.since(since);
        match what {
            What::Ask(asked) => {
                let fault = if let Completion::Fault(fault) = &completion { Some(fault) } else { None };
                self.see(client, &Event::Told { asked, took, fault });
                Some(completion)
            }
            What::Held { departure, options, reached, .. } => match completion {
                Completion::TimerFired(_) if now < self.deadline => {
                    self.send(client, *departure, options, reached, ticket);
                    None
                }
                Completion::TimerFired(_) => Some(Completion::Fault(Fault::Transport(too_late(took)))),
                other => Some(other),
            },
            What::Call { attempt, request, options, reached, sent } => {
                let mut answer = match completion {
                    Completion::Response(body) => Ok(body),
                    Completion::Fault(fault) => Err(fault),
                    other => return Some(other),
                };
                if let Some(chain) = self.options.chain() {
                    chain.after(reached, &Answered::new(&request, &attempt, &options, took), &mut answer);
                }
                if sent {
                    let call = Call::new(ticket, &request, &attempt);
                    self.see(client, &Event::Answered { call, took, answer: answer.as_ref() });
                }
                Some(answer.map_or_else(Completion::Fault, Completion::Response))
            }
        }
    }

    /// The operation is over, with this failure or none; `None`: it was dropped.
    pub(super) fn ended(&mut self, client: &Inner, failure: Option<Option<ErrorKind>>) {
        let how = match failure {
            None => End::Dropped,
            Some(None) => End::Done,
            Some(Some(kind)) => End::Failed(kind),
        };
        let took = client.clock.now().since(self.began);
        self.see(client, &Event::Ended { took, how });
    }
}

/// The fault of a request that was held back until the operation's time was over: it was not sent.
fn too_late(held: Duration) -> TransportFault {
    let detail = format!("held back by an interceptor for {} ms", held.as_millis());
    TransportFault::new(TransportClass::Unreachable, detail)
}
