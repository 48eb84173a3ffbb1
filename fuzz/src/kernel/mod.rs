//! The kernel: a machine built from the input against random completions.
//!
//! The machine is a tree of waits (calls, questions, timers, pauses, races), sequences and fan-outs. Its driver completes
//! tickets in any order, twice, late or never, steps for nothing, interrupts and drops. Laws:
//!
//! * every ticket is completed or cancelled exactly once, and none is open at the end;
//! * a completion comes to the leaf that waits for it, and steps only its own child of each fan-out;
//! * a step for nothing does nothing; after an interrupt nothing leaves; nothing outlives the deadline;
//! * late completions find nobody, also when the storage is used again;
//! * the same input gives the same effects.

mod tree;

use std::fmt::Write;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tikv_client_core::backoff::{Allowance, Budget, Tuning};
use tikv_client_core::machine::{
    Answer, Completion, Cx, Destination, Effect, Facts, Fault, Feedback, Interrupt, Machine, Op, Question,
    TicketId, TransportClass, TransportFault,
};
use tikv_client_core::types::{
    Instant, KeyRange, Located, PeerId, RegionId, RegionVersion, StoreId, Timestamp, WallTime,
};

use crate::choices::Choices;
use tree::{Node, Watch};

/// A machine does not need more steps than this to come to its end.
const STEPS: usize = 4000;

/// Nothing is known, and reports change nothing.
#[derive(Debug)]
struct Nothing;

impl Facts for Nothing {
    fn locate(&self, _: &[u8], _: Instant) -> Option<Located> {
        None
    }
    fn locate_below(&self, _: &[u8], _: Instant) -> Option<Located> {
        None
    }
    fn span(&self, _: RegionVersion) -> Option<KeyRange> {
        None
    }
    fn report(&self, _: &Feedback, _: Instant) {}
}

/// A number that only this ticket has: what completes it carries it.
fn number(ticket: TicketId) -> u64 {
    let text = ticket.to_string();
    let (slot, generation) =
        text.trim_start_matches('#').split_once('.').expect("a ticket is shown as #slot.generation");
    let part = |text: &str| text.parse::<u64>().expect("a number");
    (part(slot) << 32) | part(generation)
}

fn located(ticket: TicketId) -> Located {
    let region = RegionVersion { id: RegionId(number(ticket)), version: 1, conf_ver: 1 };
    Located { region, peer: PeerId(1), store: StoreId(1) }
}

/// What a ticket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Call,
    Timer(Instant),
    Timestamp,
    Region,
    Regions,
}

impl Kind {
    /// The right completion of `ticket`.
    fn completion(self, ticket: TicketId) -> Completion {
        match self {
            Self::Call => Completion::Response(Bytes::from(ticket.to_string())),
            Self::Timer(at) => Completion::TimerFired(at),
            Self::Timestamp => Completion::Answer(Answer::Timestamp(Timestamp(number(ticket)))),
            Self::Region => Completion::Answer(Answer::Region(located(ticket))),
            Self::Regions => {
                Completion::Answer(Answer::Regions(Arc::from([(located(ticket), KeyRange::ALL)])))
            }
        }
    }

    fn destination(self) -> Destination {
        match self {
            Self::Call => Destination::Store(StoreId(1)),
            Self::Timer(at) => Destination::Timers(at),
            Self::Timestamp => Destination::Tso,
            Self::Region | Self::Regions => Destination::Loader,
        }
    }
}

struct Driver {
    op: Op,
    now: Instant,
    deadline: Instant,
    interrupted: bool,
    open: Vec<(TicketId, Kind)>,
    /// Tickets that were completed or cancelled, of all operations of this storage.
    gone: Vec<(TicketId, Kind)>,
    log: String,
}

impl Driver {
    fn begin(&mut self, seed: u64, deadline: Instant) {
        self.op.begin(seed, deadline, Budget::new(Allowance::GET, Tuning::default()));
        (self.deadline, self.interrupted) = (deadline, false);
    }

    fn close(&mut self, ticket: TicketId) -> Kind {
        let at = self.open.iter().position(|open| open.0 == ticket);
        let (ticket, kind) = self.open.remove(at.expect("a ticket that is open is closed, and once"));
        self.gone.push((ticket, kind));
        kind
    }

    fn opened(&mut self, ticket: TicketId, kind: Kind, until: Instant) {
        assert!(!self.interrupted, "{ticket} left a stopped operation");
        assert!(until <= self.deadline, "{ticket} outlives its operation");
        assert!(self.open.iter().all(|open| open.0 != ticket), "{ticket} is open twice");
        self.open.push((ticket, kind));
    }

    /// Notes every effect; how many there were.
    fn effects(&mut self) -> usize {
        let mut count = 0;
        while let Some(effect) = self.op.next_effect() {
            writeln!(self.log, "{effect:?}").expect("a string takes all");
            count += 1;
            match effect {
                Effect::Call { ticket, deadline, .. } => self.opened(ticket, Kind::Call, deadline),
                Effect::Timer { ticket, at, .. } => self.opened(ticket, Kind::Timer(at), at),
                Effect::Ask { ticket, question, deadline } => {
                    let kind = match question {
                        Question::Timestamp => Kind::Timestamp,
                        Question::Region(_) => Kind::Region,
                        _ => Kind::Regions,
                    };
                    self.opened(ticket, kind, deadline);
                }
                Effect::Cancel { ticket, at } => {
                    assert_eq!(self.close(ticket).destination(), at, "{ticket} is cancelled elsewhere");
                }
                _ => {}
            }
        }
        count
    }

    fn deliver(&mut self, ticket: TicketId, completion: Completion) {
        assert!(self.op.deliver(ticket, completion.clone()), "{ticket} is open and nobody waits for it");
        self.close(ticket);
        assert!(!self.op.deliver(ticket, completion), "{ticket} was completed twice");
    }

    fn end(&mut self) {
        self.op.end();
        self.effects();
        assert_eq!(self.op.open_tickets(), 0, "tickets were not given back");
        assert!(self.open.is_empty(), "{:?} were neither completed nor cancelled", self.open);
    }
}

/// One operation; whether it came to an end by itself.
fn operation(driver: &mut Driver, choices: &mut Choices<'_>) -> bool {
    let watch = Watch::default();
    let mut node = Node::build(choices, &watch);
    let deadline =
        if choices.one_in(3) { driver.now + std::time::Duration::from_millis(60) } else { Instant::FAR };
    driver.begin(choices.any(), deadline);
    // Whose completions were delivered since the last step; `None`: an interrupt's, everyone's.
    let mut owners: Option<Vec<u32>> = Some(Vec::new());
    let mut idle = false;
    for turn in 0..STEPS {
        watch.reset();
        let before = driver.log.len();
        let polled = node.step(&mut Cx::root(driver.now, WallTime(0), &Nothing, &mut driver.op));
        if let Some(owners) = &owners {
            watch.check(owners, turn == 0);
        }
        if polled.is_ready() {
            driver.effects();
            writeln!(driver.log, "{polled:?}").expect("a string takes all");
            driver.end();
            return true;
        }
        let effects = driver.effects();
        assert!(!idle || effects == 0, "a step for nothing did something: {}", &driver.log[before..]);
        // Everything after an interrupt is everyone's: new tickets complete at once.
        (owners, idle) = ((!driver.interrupted).then(Vec::new), false);
        match choices.below(16) {
            0..8 if choices.is_over() => {
                let Some(&(ticket, kind)) = driver.open.first() else {
                    // Tickets of a stopped operation complete as they are made: the next step finds them.
                    assert!(driver.interrupted, "waits for nothing: {node:#?}");
                    continue;
                };
                deliver(driver, &watch, &mut owners, ticket, kind.completion(ticket));
            }
            0..6 => complete(driver, choices, &watch, &mut owners),
            6 | 7 => {
                // Several at once, then one step.
                for _ in 0..=choices.below(3) {
                    complete(driver, choices, &watch, &mut owners);
                }
            }
            8 | 9 => idle = true,
            10 | 11 => late(driver, choices),
            12 if choices.one_in(3) => {
                let why = *choices.of(&[Interrupt::Deadline, Interrupt::Killed, Interrupt::Closed]);
                driver.op.interrupt(why);
                driver.interrupted = true;
                driver.effects();
                assert!(driver.open.is_empty(), "an interrupt left {:?} open", driver.open);
                owners = None;
            }
            13 if choices.one_in(3) => {
                node.abandon(&mut Cx::root(driver.now, WallTime(0), &Nothing, &mut driver.op));
                driver.end();
                return false;
            }
            _ => {
                driver.now = driver.now + std::time::Duration::from_millis(choices.any::<u8>().into());
                idle = true;
            }
        }
        idle &= !driver.interrupted;
    }
    panic!("the machine does not come to its end: {node:#?}");
}

fn deliver(
    driver: &mut Driver,
    watch: &Watch,
    owners: &mut Option<Vec<u32>>,
    ticket: TicketId,
    with: Completion,
) {
    if let Completion::TimerFired(at) = with {
        driver.now = driver.now.max(at);
    }
    writeln!(driver.log, "<- {ticket} {with:?}").expect("a string takes all");
    driver.deliver(ticket, with);
    if let Some(owners) = owners {
        owners.extend(watch.owner(ticket));
    }
}

/// Completes some open ticket, rightly or with a fault.
fn complete(driver: &mut Driver, choices: &mut Choices<'_>, watch: &Watch, owners: &mut Option<Vec<u32>>) {
    if driver.open.is_empty() {
        return;
    }
    let (ticket, kind) = *choices.of(&driver.open);
    let class = *choices.of(&[TransportClass::Lost, TransportClass::TimedOut, TransportClass::Unreachable]);
    let completion = match choices.below(5) {
        0 => Completion::Fault(Fault::Transport(TransportFault::new(class, "x"))),
        1 => Completion::Fault(Fault::Overloaded),
        _ => kind.completion(ticket),
    };
    deliver(driver, watch, owners, ticket, completion);
}

/// A completion that comes too late, or for nobody, finds nobody.
fn late(driver: &mut Driver, choices: &mut Choices<'_>) {
    let (ticket, kind) = match choices.below(2) {
        0 if !driver.gone.is_empty() => *choices.of(&driver.gone),
        _ => (TicketId::new(choices.any::<u8>().into(), choices.any::<u8>().into()), Kind::Call),
    };
    // A slot used again is another ticket; what is open here may have that name by chance.
    if driver.open.iter().all(|open| open.0 != ticket) {
        assert!(!driver.op.deliver(ticket, kind.completion(ticket)), "{ticket} is gone and was delivered");
    }
}

/// Two operations one after the other on one storage; the text of all that they did.
fn play(data: &[u8]) -> String {
    let mut choices = Choices::new(data);
    let mut driver = Driver {
        op: Op::default(),
        now: Instant(0),
        deadline: Instant::FAR,
        interrupted: false,
        open: Vec::new(),
        gone: Vec::new(),
        log: String::new(),
    };
    for _ in 0..2 {
        let ended = operation(&mut driver, &mut choices);
        writeln!(driver.log, "ended: {ended}").expect("a string takes all");
    }
    driver.log
}

/// See the module.
pub fn run(data: &[u8]) {
    assert_eq!(play(data), play(data), "the same input gave other effects");
}

/// What a step comes to, for the tree.
type Step = Poll<Result<u32, Fault>>;
