//! `Drive`: the one future that runs an operation, and what users hold of it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::checked::Checked;
use super::shared::{Inner, Space};
use super::watch::{Departure, Watched};
use crate::backoff::Allowance;
use crate::codec::Placed;
use crate::error::{Error, ErrorKind};
use crate::explain::Explanation;
use crate::machine::{
    Asker, Completion, Cx, Destination, Effect, Fault, Feedback, Machine, Manner, Op, Question, Seat,
    TicketId, Withdrawn,
};
use crate::pd::{PdCommand, PdQuery};
use crate::region::loader::LoaderCommand;
use crate::request::RequestOptions;
use crate::start::{Ended, Operation, Outcome, Shown};
use crate::store::RegistryCommand;
use crate::timers::TimerCommand;
use crate::trace::{Birth, Event, Moment, Recording};
use crate::tso::TsoCommand;
use crate::types::Instant;

/// Steps of one operation in one poll before other tasks get their turn.
const STEPS: usize = 64;

/// The storage of an operation and the seat its completions arrive at. Pooled by the client.
#[derive(Debug)]
pub(super) struct Kit {
    pub(super) op: Op,
    pub(super) seat: Arc<Seat>,
    /// Its number among the client's kits, and how many operations it has served: the seed of the next.
    pub(super) number: u64,
    pub(super) uses: u64,
    /// The seed of the operation that has it.
    pub(super) seed: u64,
}

/// What an operation begins with beside its machine.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// When it is to be over.
    pub(crate) deadline: Instant,
    /// What it may sleep.
    pub(crate) allowance: Allowance,
    /// Which keys it speaks of.
    pub(crate) space: Space,
    /// What its requests carry, and who looks on.
    pub(crate) options: RequestOptions,
    /// Whether it runs in the background.
    pub(crate) background: bool,
    /// How its requests are sent.
    pub(crate) manner: Manner,
}

/// Runs one operation: steps its machine once for each completion and carries out its effects.
///
/// It touches queues, its seat and the clock, never the runtime: any executor or thread can poll it and drop it.
struct Drive<M: Machine> {
    client: Arc<Inner>,
    terms: Terms,
    /// What its requests meet is asked for.
    explains: bool,
    machine: M,
    stage: Stage,
    /// With a recorder only.
    recorded: Option<Box<Recorded<M::Output>>>,
    /// With an observer or an interceptor only.
    watching: Option<Box<Watching<M::Output>>>,
}

/// An operation that somebody looks on at.
struct Watching<T> {
    watched: Watched,
    failure: fn(&T) -> Option<ErrorKind>,
}

/// An operation that is recorded.
struct Recorded<T> {
    recording: Recording,
    /// The operation that left it to the background; 0: none.
    parent: u64,
    ended: fn(&T, bool) -> Ended,
}

enum Stage {
    Unborn,
    Running(Box<Kit>),
    Done(Option<Box<Explanation>>),
}

impl<M: Machine> Drive<M> {
    /// Goes a step; `event` says for the record what made it possible, where there is one.
    fn step(&mut self, event: Option<Event>) -> Poll<M::Output> {
        let Stage::Running(kit) = &mut self.stage else { return Poll::Pending };
        if let (Some(recorded), Some(event)) = (&mut self.recorded, event) {
            let watched = self.watching.as_mut().map(|watching| &mut watching.watched);
            return recorded.step(&self.client, &self.terms, &mut self.machine, kit, event, watched);
        }
        let clock = &self.client.clock;
        let facts = self.client.space(self.terms.space);
        let polled = self.machine.step(&mut Cx::root(clock.now(), clock.wall(), facts, &mut kit.op));
        if polled.is_ready() {
            kit.op.end();
        }
        let watched = self.watching.as_mut().map(|watching| &mut watching.watched);
        carry_out(&self.client, &self.terms, kit, 0, watched);
        polled
    }

    /// The operation is over, with this output; without one it was dropped.
    fn finish(&mut self, output: Option<&M::Output>) {
        if let Stage::Running(mut kit) = std::mem::replace(&mut self.stage, Stage::Done(None)) {
            if self.explains {
                self.stage = Stage::Done(kit.op.take_explanation());
            }
            self.client.give_back(kit);
        }
        if let Some(Watching { watched, failure }) = self.watching.as_deref_mut() {
            watched.ended(&self.client, output.map(*failure));
        }
        if let Some(recorded) = &mut self.recorded {
            recorded.end(&self.client, output);
        }
    }
}

impl<T> Recorded<T> {
    #[cold]
    fn step<M: Machine<Output = T>>(
        &mut self,
        client: &Arc<Inner>,
        terms: &Terms,
        machine: &mut M,
        kit: &mut Kit,
        event: Event,
        watched: Option<&mut Watched>,
    ) -> Poll<T> {
        let at = Moment { now: client.clock.now(), wall: client.clock.wall() };
        if matches!(event, Event::First) {
            let birth = Birth {
                seed: kit.seed,
                space: terms.space,
                manner: terms.manner.clone(),
                deadline: terms.deadline,
                allowance: terms.allowance,
                tuning: client.config.backoff,
                settings: client.settings(),
                parent: self.parent,
            };
            self.recording.begin(&birth, at);
        }
        let polled = self.recording.step(machine, event, at, client.space(terms.space), &mut kit.op);
        carry_out(client, terms, kit, self.recording.number(), watched);
        polled
    }

    /// Records the end. It may call the program that records: the operation must be over before.
    #[cold]
    fn end(&mut self, client: &Inner, output: Option<&T>) {
        let at = Moment { now: client.clock.now(), wall: client.clock.wall() };
        let zeroes = self.recording.zeroes();
        self.recording.end(output.map(|output| (self.ended)(output, zeroes)), at);
    }
}

impl<M: Machine + Unpin> Future for Drive<M> {
    type Output = M::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<M::Output> {
        let this = &mut *self;
        if let Stage::Unborn = this.stage {
            let mut kit = this.client.kit(&this.terms);
            if this.explains {
                kit.op.explain();
            }
            kit.seat.register(cx.waker());
            this.stage = Stage::Running(kit);
            if let Poll::Ready(output) = this.step(this.recorded.is_some().then_some(Event::First)) {
                this.finish(Some(&output));
                return Poll::Ready(output);
            }
        }
        let Stage::Running(kit) = &this.stage else {
            // The contract of `Future`: polled again after it was ready.
            panic!("an operation was polled after its end");
        };
        kit.seat.register(cx.waker());
        for _ in 0..STEPS {
            let Stage::Running(kit) = &mut this.stage else { return Poll::Pending };
            let Some((ticket, completion)) = kit.seat.next() else { return Poll::Pending };
            let completion = match &mut this.watching {
                None => completion,
                Some(watching) => match watching.watched.arrived(&this.client, ticket, completion) {
                    Some(completion) => completion,
                    None => continue,
                },
            };
            let noted = this.recorded.as_ref().map(|_| Event::Completed(ticket, completion.clone()));
            if !kit.op.deliver(ticket, completion) {
                continue;
            }
            if let Poll::Ready(output) = this.step(noted) {
                this.finish(Some(&output));
                return Poll::Ready(output);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<M: Machine> Drop for Drive<M> {
    /// Pushes into mailboxes and nothing else: never blocks, never panics, on any thread, also after the runtime's end. With a
    /// recorder it also hands over what is recorded, to whose sink the same applies.
    fn drop(&mut self) {
        let Stage::Running(kit) = &mut self.stage else { return };
        if let Some(recorded) = &mut self.recorded {
            let watched = self.watching.as_mut().map(|watching| &mut watching.watched);
            let dropped =
                recorded.step(&self.client, &self.terms, &mut self.machine, kit, Event::Dropped, watched);
            drop(dropped);
            return self.finish(None);
        }
        let clock = &self.client.clock;
        let facts = self.client.space(self.terms.space);
        self.machine.abandon(&mut Cx::root(clock.now(), clock.wall(), facts, &mut kit.op));
        kit.op.end();
        let watched = self.watching.as_mut().map(|watching| &mut watching.watched);
        carry_out(&self.client, &self.terms, kit, 0, watched);
        self.finish(None);
    }
}

/// Hands every effect to who works on it. `number` is the operation's in a trace; 0: it is not recorded.
fn carry_out(
    client: &Arc<Inner>,
    terms: &Terms,
    kit: &mut Kit,
    number: u64,
    mut watched: Option<&mut Watched>,
) {
    let space = terms.space;
    while let Some(effect) = kit.op.next_effect() {
        if let Some(watched) = &mut watched {
            watched.effect(client, &effect);
        }
        match effect {
            Effect::Call { ticket, attempt, request, deadline } => {
                let asker = Asker::of_store(Arc::clone(&kit.seat), ticket);
                let departure = Departure { asker, attempt, request, deadline };
                match &mut watched {
                    None => departure.leave(client, &terms.options),
                    Some(watched) => watched.depart(client, &kit.seat, departure, ticket),
                }
            }
            Effect::Ask { ticket, question, deadline } => {
                let asker = Asker::new(Arc::clone(&kit.seat), ticket);
                ask(client, space, question, asker, deadline);
            }
            Effect::Timer { ticket, at, .. } => {
                let asker = Asker::new(Arc::clone(&kit.seat), ticket);
                client.wake_at(at, asker);
            }
            Effect::Spawn { start } => client.spawn(*start, number, &terms.options),
            Effect::Report(feedback) => {
                if let Feedback::Unreachable { store, .. } = feedback {
                    client.registry.tell(RegistryCommand::Check { store });
                }
            }
            Effect::Cancel { ticket, at } => {
                let at = match &mut watched {
                    None => at,
                    Some(watched) => watched.cancelled(client, ticket, at),
                };
                withdraw(client, space, &kit.seat, ticket, at);
            }
        }
    }
}

fn ask(client: &Inner, space: Space, question: Question, asker: Asker, deadline: Instant) {
    let refused = match question {
        Question::Timestamp => match client.tso.ask(TsoCommand::Get { asker, deadline }) {
            Err(TsoCommand::Get { asker, .. }) => Some(asker),
            Ok(()) | Err(_) => None,
        },
        Question::Region(place) => {
            match client.space(space).loader.ask(LoaderCommand::Load { place, asker, deadline }) {
                Err(LoaderCommand::Load { asker, .. }) => Some(asker),
                Ok(()) | Err(_) => None,
            }
        }
        Question::Regions { range, limit } => {
            let command = LoaderCommand::LoadRange { range, limit, asker, deadline };
            match client.space(space).loader.ask(command) {
                Err(LoaderCommand::LoadRange { asker, .. }) => Some(asker),
                Ok(()) | Err(_) => None,
            }
        }
        Question::Scatter { regions, group } => {
            ask_pd(client, PdQuery::Scatter { regions, group }, asker, deadline)
        }
        Question::Order(region) => ask_pd(client, PdQuery::Order(region), asker, deadline),
        Question::Buckets(region) => ask_pd(client, PdQuery::Buckets(region), asker, deadline),
    };
    if let Some(asker) = refused {
        refuse(asker);
    }
}

/// The asker, if PD's service has too much to do.
fn ask_pd(client: &Inner, query: PdQuery, asker: Asker, deadline: Instant) -> Option<Asker> {
    match client.pd.ask(PdCommand::Query { query, asker, deadline }) {
        Err(PdCommand::Query { asker, .. }) => Some(asker),
        Ok(()) | Err(_) => None,
    }
}

/// Too much waits in the service already. The completion is in our own seat: the next turn of `poll` finds it.
pub(super) fn refuse(asker: Asker) {
    if let Some(seat) = asker.answer(Completion::Fault(Fault::Overloaded)) {
        seat.wake();
    }
}

fn withdraw(client: &Inner, space: Space, seat: &Arc<Seat>, ticket: TicketId, at: Destination) {
    let who = Withdrawn::new(Arc::clone(seat), ticket);
    match at {
        Destination::Store(store) => client.withdraw(store, who),
        Destination::Timers(at) => client.timers.tell(TimerCommand::Withdraw { at, who }),
        Destination::Tso => client.tso.tell(TsoCommand::Withdraw(who)),
        Destination::Pd => client.pd.tell(PdCommand::Withdraw(who)),
        Destination::Loader => client.space(space).loader.tell(LoaderCommand::Withdraw(who)),
    }
}

/// A call under way: a future that any executor can poll. Dropping it cancels the call: what was not sent is not
/// sent, what was sent may happen; nothing is left behind in the client.
#[must_use = "a call does nothing until it is awaited"]
pub struct Pending<M: Machine>(Drive<M>);

impl<M: Machine<Output: Outcome>> Pending<M> {
    /// The call of `operation`.
    pub(crate) fn new<O>(client: &Arc<Inner>, terms: Terms, operation: O) -> Self
    where
        O: Operation<Machine = M> + Placed,
    {
        let operation = entered(client, &terms, operation);
        Self::of_parent(client, terms, operation, 0)
    }

    /// The run of an operation that another one, recorded under the number `parent`, has left (0: it is not recorded): its keys
    /// are those of the stores.
    pub(crate) fn of_parent<O: Operation<Machine = M>>(
        client: &Arc<Inner>,
        terms: Terms,
        operation: O,
        parent: u64,
    ) -> Self {
        let recorded = Recorded::of(client, &operation, parent);
        let watching = Watching::of(client, &terms, &operation);
        Self::begin(client, terms, operation.machine(&client.settings()), recorded, watching)
    }
}

impl<T, M> Pending<Checked<M>>
where
    M: Machine<Output = Result<T, Error>>,
    T: Shown,
{
    /// The call of `operation`, unless its arguments were refused. A refused one is not recorded: it does nothing.
    pub(crate) fn checked<O>(client: &Arc<Inner>, terms: Terms, operation: Result<O, Error>) -> Self
    where
        O: Operation<Machine = M> + Placed,
    {
        let operation = operation.map(|operation| entered(client, &terms, operation));
        let recorded = operation.as_ref().ok().and_then(|operation| Recorded::of(client, operation, 0));
        let watching = operation.as_ref().ok().and_then(|operation| Watching::of(client, &terms, operation));
        let machine = operation.map(|operation| operation.machine(&client.settings()));
        Self::begin(client, terms, Checked::new(machine), recorded, watching)
    }
}

/// The way into the client's keyspace, if it has one; [`Pending::poll`] is the way out.
fn entered<O: Placed>(client: &Inner, terms: &Terms, mut operation: O) -> O {
    if let Some(keyspace) = client.prefix(terms.space) {
        operation.enter(keyspace);
    }
    operation
}

impl<M: Machine> Pending<M> {
    fn begin(
        client: &Arc<Inner>,
        terms: Terms,
        machine: M,
        recorded: Option<Box<Recorded<M::Output>>>,
        watching: Option<Box<Watching<M::Output>>>,
    ) -> Self {
        let client = Arc::clone(client);
        Self(Drive { client, terms, explains: false, machine, stage: Stage::Unborn, recorded, watching })
    }

    /// Tells what the call's requests met, too.
    pub(crate) fn explain(mut self) -> Explained<Self> {
        self.0.explains = true;
        Explained(self)
    }
}

impl<T: Outcome> Watching<T> {
    /// Without anybody who looks on this is one look at the options: nothing is cloned.
    fn of<O: Operation>(client: &Inner, terms: &Terms, operation: &O) -> Option<Box<Self>> {
        let watched = Watched::of(client, terms, || operation.clone().into())?;
        Some(Box::new(Self { watched, failure: T::failure }))
    }
}

impl<T: Outcome> Recorded<T> {
    /// Without a recorder this is one look at the configuration: nothing is cloned.
    fn of<O: Operation>(client: &Inner, operation: &O, parent: u64) -> Option<Box<Self>> {
        let recorder = client.config.trace.as_ref()?;
        let recording = Recording::new(recorder, &operation.clone().into());
        Some(Box::new(Self { recording, parent, ended: T::ended }))
    }
}

impl<M: Machine<Output: Outcome> + Unpin> Future for Pending<M> {
    type Output = M::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<M::Output> {
        let mut polled = Pin::new(&mut self.0).poll(cx);
        if let Poll::Ready(output) = &mut polled
            && let Some(keyspace) = self.0.client.prefix(self.0.terms.space)
        {
            output.leave(keyspace);
        }
        polled
    }
}

/// A call that also tells what its requests met: which stores were asked, how, why these, and what came of it.
#[must_use = "a call does nothing until it is awaited"]
pub struct Explained<P>(P);

impl<M: Machine + Unpin> Future for Explained<Pending<M>> {
    type Output = (M::Output, Explanation);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = ready!(Pin::new(&mut self.0.0).poll(cx));
        let told = match &mut self.0.0.stage {
            Stage::Done(told) => told.take(),
            Stage::Unborn | Stage::Running(_) => None,
        };
        Poll::Ready((output, told.map_or_else(Explanation::default, |told| *told)))
    }
}

impl<P: fmt::Debug> fmt::Debug for Explained<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Explained").field(&self.0).finish()
    }
}

impl<M: Machine> fmt::Debug for Pending<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pending").field(&self.0.machine).finish()
    }
}
