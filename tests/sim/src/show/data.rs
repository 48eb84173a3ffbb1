//! What the picture shows, as data: made from the records in one pass.

use std::collections::BTreeMap;

use serde::Serialize;
use tikv_client_core::request::Command;
use tikv_client_core::trace::format::{
    Ask, Begin, Call, Cause, Completed, Completion, EffectKind, End, Entry, Record, Step, Timer, Wire,
    WireKind,
};
use tikv_client_core::trace::show;

use super::text;

/// Bytes of a decoded message at the most: a page of megabytes helps nobody.
const LONGEST: usize = 4000;

/// All that is drawn. Times are nanoseconds on the client's clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Picture {
    /// The heading.
    pub title: String,
    /// One line below it.
    pub summary: String,
    /// The columns: the client, PD, each store.
    pub lanes: Vec<Lane>,
    /// The operations, in the order in which they began.
    pub ops: Vec<Op>,
    /// Requests with their answers.
    pub arrows: Vec<Arrow>,
    /// Pauses.
    pub waits: Vec<Wait>,
    /// What operations learned, and what they left to the background.
    pub notes: Vec<Note>,
    /// Streams that opened and broke, calls to PD that failed.
    pub wire: Vec<Mark>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lane {
    /// `client`, `pd`, `store:7`.
    pub id: String,
    /// Its heading.
    pub label: String,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Op {
    /// Its number in the trace.
    pub n: u64,
    /// What it does.
    pub name: &'static str,
    /// On what.
    pub detail: String,
    /// When it began.
    pub from: u64,
    /// When it ended, or was seen last.
    pub to: u64,
    /// `ok`, `error`, `undetermined`, `dropped`; `open` when its end is not in the trace, `cut` when its beginning is not.
    pub outcome: &'static str,
    /// Its output or error.
    pub text: String,
    /// How many steps it went.
    pub steps: u32,
}

/// A request, with its answer if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Arrow {
    /// The operation.
    pub op: u64,
    /// Where it goes.
    pub lane: String,
    /// The command or question.
    pub name: String,
    /// To which region, the how manieth attempt.
    pub detail: String,
    /// When it was sent.
    pub sent: u64,
    /// When the answer was taken in.
    pub back: Option<u64>,
    /// `ok`; `retry`: the store said no, and another attempt may help; `error`; `lost`: it may have happened; `cancelled`; `open`.
    pub result: &'static str,
    /// What was wrong.
    pub text: String,
    /// The request, decoded.
    pub message: String,
    /// The answer, decoded.
    pub reply: String,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Wait {
    /// The operation.
    pub op: u64,
    /// When it began.
    pub from: u64,
    /// When it was over.
    pub to: u64,
    /// What for.
    pub why: String,
}

/// Something that an operation told others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Note {
    /// The operation.
    pub op: u64,
    /// When.
    pub at: u64,
    /// What kind.
    pub title: &'static str,
    /// What.
    pub text: String,
}

/// Something that happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mark {
    /// When.
    pub at: u64,
    /// Whose.
    pub lane: String,
    /// Whether it is a failure.
    pub bad: bool,
    /// What happened.
    pub title: String,
    /// Why.
    pub text: String,
}

/// What a ticket waits for.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    /// An arrow, and the command of a call.
    Arrow(usize, Option<Command>),
    Wait(usize),
}

#[derive(Debug, Default)]
struct Builder {
    picture: Picture,
    /// Where an operation is among those of the picture, and its open tickets.
    running: BTreeMap<u64, (usize, BTreeMap<u64, Awaited>)>,
    stores: BTreeMap<u64, ()>,
    asks_pd: bool,
}

impl Picture {
    /// The picture of `records`.
    #[must_use]
    pub fn new(title: &str, records: &[Record]) -> Self {
        let mut builder = Builder::default();
        builder.picture.title = title.to_owned();
        for record in records {
            match &record.entry {
                Some(Entry::Begin(begin)) => builder.begin(begin),
                Some(Entry::Step(step)) => builder.step(step),
                Some(Entry::End(end)) => builder.end(end),
                Some(Entry::Wire(wire)) => builder.wire(wire),
                Some(_) | None => {}
            }
        }
        builder.finish()
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> String {
        // Texts and numbers only: there is nothing in it that JSON does not have.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Builder {
    fn begin(&mut self, begin: &Begin) {
        let (name, detail) = text::start(begin);
        let detail = if begin.client > 1 { format!("{detail}, client {}", begin.client) } else { detail };
        self.add(
            begin.number,
            Op {
                n: begin.number,
                name,
                detail,
                from: begin.at_ns,
                to: begin.at_ns,
                outcome: "open",
                text: String::new(),
                steps: 0,
            },
        );
    }

    fn add(&mut self, number: u64, op: Op) {
        self.running.insert(number, (self.picture.ops.len(), BTreeMap::new()));
        self.picture.ops.push(op);
    }

    /// An operation whose beginning the trace does not have is shown from here on.
    fn known(&mut self, number: u64, at: u64) {
        if !self.running.contains_key(&number) {
            let (name, detail, text) = ("operation", "its beginning is cut off".to_owned(), String::new());
            self.add(
                number,
                Op { n: number, name, detail, from: at, to: at, outcome: "cut", text, steps: 0 },
            );
        }
    }

    fn step(&mut self, step: &Step) {
        let (number, at) = (step.number, step.at_ns);
        self.known(number, at);
        let picture = &mut self.picture;
        let Some((index, tickets)) = self.running.get_mut(&number) else { return };
        let op = &mut picture.ops[*index];
        (op.to, op.steps) = (at.max(op.to), op.steps + 1);
        match &step.cause {
            Some(Cause::Completed(completed)) => {
                if let Some(awaited) = tickets.remove(&completed.ticket) {
                    picture.complete(awaited, completed, at);
                }
            }
            Some(Cause::Interrupted(_)) => {
                for (_, awaited) in std::mem::take(tickets) {
                    picture.cancel(awaited, at, "the operation was stopped");
                }
            }
            Some(_) | None => {}
        }
        for effect in &step.effects {
            match &effect.effect {
                Some(EffectKind::Call(call)) => {
                    let store = call.to.map_or(0, |to| to.store);
                    self.stores.insert(store, ());
                    tickets.insert(
                        call.ticket,
                        Awaited::Arrow(picture.arrows.len(), Command::of_number(call.command)),
                    );
                    picture.arrows.push(arrow_of_call(number, at, store, call));
                }
                Some(EffectKind::Ask(ask)) => {
                    self.asks_pd = true;
                    tickets.insert(ask.ticket, Awaited::Arrow(picture.arrows.len(), None));
                    picture.arrows.push(arrow_of_ask(number, at, ask));
                }
                Some(EffectKind::Timer(timer)) => {
                    tickets.insert(timer.ticket, Awaited::Wait(picture.waits.len()));
                    picture.waits.push(wait(number, at, timer));
                }
                Some(EffectKind::Cancel(ticket)) => {
                    if let Some(awaited) = tickets.remove(ticket) {
                        picture.cancel(awaited, at, "not waited for any more");
                    }
                }
                Some(EffectKind::Report(feedback)) => {
                    picture.notes.push(Note {
                        op: number,
                        at,
                        title: "learned",
                        text: text::feedback(feedback),
                    });
                }
                Some(EffectKind::Spawn(start)) => {
                    let text = text::operation(start);
                    picture.notes.push(Note { op: number, at, title: "leaves to the background", text });
                }
                Some(_) | None => {}
            }
        }
    }

    fn end(&mut self, end: &End) {
        self.known(end.number, end.at_ns);
        let Some((index, tickets)) = self.running.remove(&end.number) else { return };
        for (_, awaited) in tickets {
            self.picture.cancel(awaited, end.at_ns, "not waited for any more");
        }
        let op = &mut self.picture.ops[index];
        op.to = end.at_ns.max(op.to);
        op.text = text::cut(&end.text, LONGEST);
        op.outcome = match end.error.as_str() {
            _ if end.dropped => "dropped",
            "" => "ok",
            "Undetermined" => "undetermined",
            _ => "error",
        };
    }

    fn wire(&mut self, wire: &Wire) {
        let store = wire.service.strip_prefix("store ").and_then(|id| id.parse().ok());
        let lane = match store {
            Some(store) => {
                self.stores.insert(store, ());
                lane_of_store(store)
            }
            None => "pd".to_owned(),
        };
        let what = match (WireKind::try_from(wire.kind), &wire.fault) {
            (Ok(WireKind::Opened), _) => "stream opened",
            (Ok(WireKind::Closed), _) => "stream ended",
            (Ok(WireKind::Answer), Some(_)) => "call failed",
            // Each frame and each answered call would hide what matters.
            _ => return,
        };
        self.asks_pd |= store.is_none();
        let method = wire.path.rsplit('/').next().unwrap_or_default();
        let title = [what, method, &wire.address]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        let text = wire.fault.as_ref().map(|fault| text::fault(fault).1).unwrap_or_default();
        self.picture.wire.push(Mark { at: wire.at_ns, lane, bad: wire.fault.is_some(), title, text });
    }

    fn finish(mut self) -> Picture {
        let client = Lane { id: "client".to_owned(), label: "client".to_owned() };
        let pd = self.asks_pd.then(|| Lane { id: "pd".to_owned(), label: "PD".to_owned() });
        let stores =
            self.stores.keys().map(|&id| Lane { id: lane_of_store(id), label: format!("store {id}") });
        self.picture.lanes = std::iter::once(client).chain(pd).chain(stores).collect();
        for wait in &mut self.picture.waits {
            // Nobody saw it end: it is drawn to the end of its operation at the most.
            let end = self.running.get(&wait.op).map(|(index, _)| self.picture.ops[*index].to);
            wait.to = end.map_or(wait.to, |end| wait.to.min(end.max(wait.from)));
        }
        self.picture.summary = self.picture.summarise();
        self.picture
    }
}

impl Picture {
    fn complete(&mut self, awaited: Awaited, completed: &Completed, at: u64) {
        match awaited {
            Awaited::Wait(index) => self.waits[index].to = at,
            Awaited::Arrow(index, command) => {
                let arrow = &mut self.arrows[index];
                arrow.back = Some(at);
                (arrow.result, arrow.text) = text::completion(command, completed.completion.as_ref());
                arrow.reply = text::cut(&reply(command, completed.completion.as_ref()), LONGEST);
            }
        }
    }

    fn cancel(&mut self, awaited: Awaited, at: u64, why: &str) {
        match awaited {
            Awaited::Wait(index) => self.waits[index].to = at,
            Awaited::Arrow(index, _) => {
                let arrow = &mut self.arrows[index];
                (arrow.back, arrow.result, arrow.text) = (Some(at), "cancelled", why.to_owned());
            }
        }
    }

    fn summarise(&self) -> String {
        let count = |outcome| self.ops.iter().filter(|op| op.outcome == outcome).count();
        let from = self.ops.iter().map(|op| op.from).min().unwrap_or_default();
        let to = self.ops.iter().map(|op| op.to).max().unwrap_or_default();
        let mut summary = format!("{} operations over {:.1} ms", self.ops.len(), (to - from) as f64 / 1e6);
        let faults =
            ["error", "undetermined", "dropped", "open", "cut"].map(|outcome| (count(outcome), outcome));
        for (count, outcome) in faults.into_iter().filter(|fault| fault.0 > 0) {
            summary.push_str(&format!(", {count} {outcome}"));
        }
        let again = self.arrows.iter().filter(|arrow| arrow.result != "ok").count();
        summary.push_str(&format!("; {} requests, {again} of them without a good answer", self.arrows.len()));
        summary
    }
}

fn lane_of_store(store: u64) -> String {
    format!("store:{store}")
}

fn arrow_of_call(op: u64, sent: u64, store: u64, call: &Call) -> Arrow {
    let name = Command::of_number(call.command)
        .map_or_else(|| format!("command {}", call.command), |c| format!("{c:?}"));
    let region = call.to.and_then(|to| to.region).map(text::region).unwrap_or_default();
    Arrow {
        op,
        lane: lane_of_store(store),
        name,
        detail: if call.retry { format!("{region}, again") } else { region },
        sent,
        back: None,
        result: "open",
        text: String::new(),
        message: text::cut(&show::request(call), LONGEST),
        reply: String::new(),
    }
}

fn arrow_of_ask(op: u64, sent: u64, ask: &Ask) -> Arrow {
    let (name, detail) = text::question(ask);
    Arrow {
        op,
        lane: "pd".to_owned(),
        name: name.to_owned(),
        detail,
        sent,
        back: None,
        result: "open",
        text: String::new(),
        message: String::new(),
        reply: String::new(),
    }
}

fn wait(op: u64, from: u64, timer: &Timer) -> Wait {
    Wait { op, from, to: timer.at_ns.max(from), why: text::why(timer) }
}

fn reply(command: Option<Command>, completion: Option<&Completion>) -> String {
    match (completion, command) {
        (Some(Completion::Response(body)), Some(command)) => show::response(command, body),
        (Some(other), _) => format!("{other:?}"),
        (None, _) => String::new(),
    }
}
