//! The machine of the kernel's fuzzer: a tree of waits, sequences and fan-outs, and who watches its steps.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tikv_client_core::backoff::{Attempts, Kind};
use tikv_client_core::machine::{
    Attempt, Cx, Fanout, Fault, Feedback, Fired, Machine, Place, StaleReason, Ticket, TicketId, Why,
};
use tikv_client_core::request::{Profile, Request};
use tikv_client_core::start::Start;
use tikv_client_core::types::{Instant, Key, KeyRange, Located, RegionId, RegionVersion, Timestamp};
use tikv_proto::kvrpcpb as pb;

use super::{Step, located, number};
use crate::choices::Choices;

/// Leaves and branches of one tree at the most.
const NODES: u32 = 60;

/// Who was stepped, and whose a ticket is. A unit is the root or a child of a fan-out, with all that is not behind another
/// fan-out.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Rc<RefCell<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    units: Vec<Unit>,
    owners: BTreeMap<TicketId, u32>,
    nodes: u32,
}

#[derive(Debug)]
struct Unit {
    parent: Option<u32>,
    /// It was stepped before the last reset.
    started: bool,
    stepped: bool,
    /// It has ended, or its fan-out has.
    over: bool,
}

impl Watch {
    fn unit(&self, parent: Option<u32>) -> u32 {
        let units = &mut self.0.borrow_mut().units;
        units.push(Unit { parent, started: false, stepped: false, over: false });
        u32::try_from(units.len() - 1).expect("few units")
    }

    /// A step begins.
    pub(super) fn reset(&self) {
        for unit in &mut self.0.borrow_mut().units {
            unit.started |= unit.stepped;
            unit.stepped = false;
        }
    }

    fn stepped(&self, unit: u32) {
        self.0.borrow_mut().units[unit as usize].stepped = true;
    }

    /// The unit and all below it are not stepped any more.
    fn over(&self, unit: u32) {
        let units = &mut self.0.borrow_mut().units;
        units[unit as usize].over = true;
        for at in 0..units.len() {
            units[at].over |= units[at].parent.is_some_and(|parent| units[parent as usize].over);
        }
    }

    fn owns(&self, unit: u32, ticket: TicketId) {
        self.0.borrow_mut().owners.insert(ticket, unit);
    }

    pub(super) fn owner(&self, ticket: TicketId) -> Option<u32> {
        self.0.borrow().owners.get(&ticket).copied()
    }

    /// After a step: of the units that had begun before, just those on the way to `owners` were stepped.
    pub(super) fn check(&self, owners: &[u32], first: bool) {
        let seen = self.0.borrow();
        let mut marked = vec![false; seen.units.len()];
        marked[0] = true;
        for &owner in owners {
            let mut at = Some(owner);
            while let Some(unit) = at {
                marked[unit as usize] = true;
                at = seen.units[unit as usize].parent;
            }
        }
        for (at, unit) in seen.units.iter().enumerate() {
            assert!(
                !unit.stepped || marked[at] || !unit.started,
                "unit {at} was stepped for {owners:?}: {:?}",
                seen.units
            );
        }
        for &owner in owners {
            let unit = &seen.units[owner as usize];
            assert!(unit.stepped || unit.over || first, "unit {owner} has a completion and was not stepped");
        }
    }
}

#[derive(Debug)]
enum Plan {
    Call,
    Timestamp,
    Region,
    Regions,
    Timer(u8),
    Pause,
    Tell,
    /// Waits for the first of so many, and gives the others back.
    Race(usize),
    /// Asks for something and forgets it.
    Forget,
    Then(Vec<Node>),
    All {
        limit: usize,
        children: Vec<Node>,
        /// Ends after so many results.
        most: usize,
        /// Gives the rest back itself, instead of leaving that to the end of its scope.
        stops: bool,
    },
}

#[derive(Debug)]
enum Wait {
    Bytes(Ticket<Bytes>),
    Fired(Ticket<Fired>, Instant),
    Timestamp(Ticket<Timestamp>),
    Region(Ticket<Located>),
    Regions(Ticket<Arc<[(Located, KeyRange)]>>),
}

#[derive(Debug)]
enum State {
    Fresh,
    Waiting(Wait),
    Racing(Vec<Wait>),
    At(usize),
    All(Fanout<Node>, usize),
}

/// A leaf or branch of the tree.
#[derive(Debug)]
pub(super) struct Node {
    plan: Plan,
    state: State,
    unit: u32,
    /// Is the beginning of its unit.
    heads: bool,
    /// A fault does not end it.
    tough: bool,
    attempts: Attempts,
    watch: Watch,
}

impl Node {
    pub(super) fn build(choices: &mut Choices<'_>, watch: &Watch) -> Self {
        let unit = watch.unit(None);
        Self::branch(choices, watch, unit, true, 0)
    }

    fn branch(choices: &mut Choices<'_>, watch: &Watch, unit: u32, heads: bool, depth: u32) -> Self {
        watch.0.borrow_mut().nodes += 1;
        let leaf = depth > 4 || watch.0.borrow().nodes > NODES;
        let kind = choices.below(if leaf { 9 } else { 16 });
        let plan = match kind {
            0 => Plan::Call,
            1 => Plan::Timestamp,
            2 => Plan::Region,
            3 => Plan::Regions,
            4 => Plan::Timer(choices.any()),
            5 => Plan::Pause,
            6 => Plan::Tell,
            7 => Plan::Race(1 + choices.below(4)),
            8 => Plan::Forget,
            9..12 => Plan::Then(
                (0..1 + choices.below(4))
                    .map(|_| Self::branch(choices, watch, unit, false, depth + 1))
                    .collect(),
            ),
            _ => {
                let limit = choices.below(4);
                let children: Vec<Self> = (0..choices.below(6))
                    .map(|_| {
                        let own = watch.unit(Some(unit));
                        Self::branch(choices, watch, own, true, depth + 1)
                    })
                    .collect();
                let most = if choices.one_in(3) { choices.below(4) } else { usize::MAX };
                Plan::All { limit, children, most, stops: choices.one_in(2) }
            }
        };
        let (attempts, watch) = (Attempts::default(), watch.clone());
        Self { plan, state: State::Fresh, unit, heads, tough: choices.one_in(2), attempts, watch }
    }

    fn own<T>(&self, ticket: &Ticket<T>) {
        self.watch.owns(self.unit, ticket.id());
    }

    fn wait(&self, which: usize, cx: &mut Cx<'_>) -> Wait {
        let wait = match which % 5 {
            0 => {
                let request = Request::new(&pb::RawGetRequest::default(), Profile::default());
                let region = RegionVersion { id: RegionId(1), version: 1, conf_ver: 1 };
                let to = Located {
                    region,
                    peer: tikv_client_core::types::PeerId(1),
                    store: tikv_client_core::types::StoreId(1),
                };
                let attempt = Attempt::first(to);
                Wait::Bytes(cx.call(attempt, Arc::new(request), cx.now() + Duration::from_secs(30)))
            }
            1 => Wait::Timestamp(cx.timestamp()),
            2 => Wait::Region(cx.load(Place::Holding(Key::from("k")))),
            3 => Wait::Regions(cx.load_range(KeyRange::ALL, 7)),
            _ => {
                let at = (cx.now() + Duration::from_millis(5)).min(cx.deadline());
                Wait::Fired(cx.timer(at, Why::LockTtl), at)
            }
        };
        match &wait {
            Wait::Bytes(ticket) => self.own(ticket),
            Wait::Fired(ticket, _) => self.own(ticket),
            Wait::Timestamp(ticket) => self.own(ticket),
            Wait::Region(ticket) => self.own(ticket),
            Wait::Regions(ticket) => self.own(ticket),
        }
        wait
    }

    /// The first state, or the end of what needs none.
    fn start(&mut self, cx: &mut Cx<'_>) -> Result<State, Step> {
        Ok(match &mut self.plan {
            Plan::Call => State::Waiting(self.wait(0, cx)),
            Plan::Timestamp => State::Waiting(self.wait(1, cx)),
            Plan::Region => State::Waiting(self.wait(2, cx)),
            Plan::Regions => State::Waiting(self.wait(3, cx)),
            Plan::Timer(ms) => {
                let at = (cx.now() + Duration::from_millis(u64::from(*ms))).min(cx.deadline());
                let ticket = cx.timer(at, Why::Heartbeat);
                self.own(&ticket);
                State::Waiting(Wait::Fired(ticket, at))
            }
            Plan::Pause => match cx.back_off(Kind::RegionMiss, &mut self.attempts, "fuzz") {
                Ok(ticket) => {
                    self.own(&ticket);
                    State::Waiting(Wait::Fired(ticket, Instant::FAR))
                }
                Err(_) => return Err(Poll::Ready(Err(Fault::Overloaded))),
            },
            Plan::Tell => {
                let region = RegionVersion { id: RegionId(1), version: 1, conf_ver: 1 };
                cx.report(Feedback::Stale { region, why: StaleReason::Other });
                cx.spawn(Start::RollBack { start_ts: Timestamp(1), keys: vec![Key::from("k")] });
                return Err(Poll::Ready(Ok(cx.rng().u32(..))));
            }
            Plan::Race(count) => {
                let count = *count;
                State::Racing((0..count).map(|which| self.wait(which, cx)).collect())
            }
            Plan::Forget => {
                let Wait::Bytes(_) = self.wait(0, cx) else { panic!("a call brings bytes") };
                return Err(Poll::Ready(Ok(0)));
            }
            Plan::Then(_) => State::At(0),
            Plan::All { limit, children, .. } => {
                let mut fanout = Fanout::new(*limit);
                for child in children.drain(..) {
                    fanout.push(child);
                }
                State::All(fanout, 0)
            }
        })
    }
}

/// Takes what was waited for, and that it is this ticket's own.
fn take(wait: &Wait, cx: &mut Cx<'_>) -> Poll<Result<(), Fault>> {
    Poll::Ready(match wait {
        Wait::Bytes(ticket) => ready!(cx.take(ticket)).map(|body| assert_eq!(body, ticket.id().to_string())),
        Wait::Fired(ticket, at) => ready!(cx.take(ticket))
            .map(|fired| assert!(fired.at == *at || *at == Instant::FAR, "another timer fired")),
        Wait::Timestamp(ticket) => ready!(cx.take(ticket)).map(|ts| assert_eq!(ts.0, number(ticket.id()))),
        Wait::Region(ticket) => ready!(cx.take(ticket)).map(|to| assert_eq!(to, located(ticket.id()))),
        Wait::Regions(ticket) => {
            ready!(cx.take(ticket)).map(|all| assert_eq!(all[0].0, located(ticket.id())))
        }
    })
}

fn cancel(wait: Wait, cx: &mut Cx<'_>) {
    match wait {
        Wait::Bytes(ticket) => cx.cancel(ticket),
        Wait::Fired(ticket, _) => cx.cancel(ticket),
        Wait::Timestamp(ticket) => cx.cancel(ticket),
        Wait::Region(ticket) => cx.cancel(ticket),
        Wait::Regions(ticket) => cx.cancel(ticket),
    }
}

impl Machine for Node {
    type Output = Result<u32, Fault>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Step {
        if self.heads {
            self.watch.stepped(self.unit);
        }
        let end = ready!(self.go(cx));
        if self.heads {
            self.watch.over(self.unit);
        }
        Poll::Ready(if self.tough { Ok(end.unwrap_or(0)) } else { end })
    }

    fn abandon(&mut self, cx: &mut Cx<'_>) {
        cx.spawn(Start::RollBack { start_ts: Timestamp(2), keys: Vec::new() });
    }
}

impl Node {
    fn go(&mut self, cx: &mut Cx<'_>) -> Step {
        if matches!(self.state, State::Fresh) {
            self.state = match self.start(cx) {
                Ok(state) => state,
                Err(end) => return end,
            };
        }
        match (&mut self.state, &mut self.plan) {
            (State::Waiting(wait), _) => Poll::Ready(ready!(take(wait, cx)).map(|()| 1)),
            (State::Racing(waits), _) => {
                let first = waits.iter().enumerate().find_map(|(at, wait)| match take(wait, cx) {
                    Poll::Ready(end) => Some((at, end)),
                    Poll::Pending => None,
                });
                let Some((at, end)) = first else { return Poll::Pending };
                waits.remove(at);
                waits.drain(..).for_each(|wait| cancel(wait, cx));
                Poll::Ready(end.map(|()| 1))
            }
            (State::At(at), Plan::Then(steps)) => {
                let mut sum = 0_u32;
                while let Some(step) = steps.get_mut(*at) {
                    sum = sum.wrapping_add(ready!(step.step(cx))?);
                    *at += 1;
                }
                Poll::Ready(Ok(sum))
            }
            (State::All(fanout, ended), Plan::All { most, stops, .. }) => {
                while *ended < *most
                    && let Some(end) = ready!(fanout.next(cx))
                {
                    *ended += 1;
                    if end.is_err() {
                        self.watch.over_children(self.unit);
                        return Poll::Ready(end);
                    }
                }
                self.watch.over_children(self.unit);
                if *stops {
                    fanout.stop(cx);
                    assert!(fanout.is_empty(), "a stopped fan-out has children");
                }
                Poll::Ready(Ok(u32::try_from(*ended).unwrap_or(u32::MAX)))
            }
            (state, plan) => panic!("{state:?} of {plan:?}"),
        }
    }
}

impl Watch {
    /// The fan-out that is at work in `unit` has ended, with all its children that have begun.
    fn over_children(&self, unit: u32) {
        let children: Vec<u32> = {
            let units = &self.0.borrow().units;
            let begun = units
                .iter()
                .enumerate()
                .filter(|(_, child)| child.parent == Some(unit) && (child.started || child.stepped));
            begun.filter_map(|(at, _)| u32::try_from(at).ok()).collect()
        };
        children.into_iter().for_each(|child| self.over(child));
    }
}
