//! Regions that split at will, messages to reply with, and a world that plays along by itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tikv_proto::{errorpb, kvrpcpb as pb};

use crate::backoff::{Allowance, Budget, Tuning};
use crate::machine::script::Script;
use crate::machine::{
    Answer, Attempt, Completion, Cx, Effect, Facts, Feedback, Machine, Op, Place, Question, TicketId,
};
use crate::request::{Request, Typed};
use crate::start::Start;
use crate::types::{
    Instant, Key, KeyRange, Located, PeerId, RegionId, RegionVersion, StoreId, Timestamp, WallTime,
};

/// A timestamp of so many ms.
pub(crate) const fn ts(ms: u64) -> Timestamp {
    Timestamp::compose(ms, 0)
}

#[derive(Clone, Debug)]
struct Table {
    /// Id and version of each region, by its start.
    regions: BTreeMap<Key, (u64, u64)>,
    next: u64,
    /// Regions that the directory does not know.
    unknown: BTreeSet<u64>,
}

/// A region directory under the test's hand: the region of id `n` lives on store `n`.
#[derive(Clone, Debug)]
pub(crate) struct Regions(Rc<RefCell<Table>>);

impl Regions {
    /// Regions that begin at the empty key and at each of `bounds`: 1, 2, 3 …
    pub(crate) fn cut<K: Into<Key>>(bounds: impl IntoIterator<Item = K>) -> Self {
        let starts = std::iter::once(Key::EMPTY).chain(bounds.into_iter().map(Into::into));
        let regions: BTreeMap<Key, (u64, u64)> =
            starts.zip(1..).map(|(start, id)| (start, (id, 1))).collect();
        let next = regions.len() as u64 + 1;
        Self(Rc::new(RefCell::new(Table { regions, next, unknown: BTreeSet::new() })))
    }

    /// Splits the region that holds `at`; it keeps its id below, and both have a newer version.
    pub(crate) fn split(&self, at: impl Into<Key>) {
        let at = at.into();
        let mut table = self.0.borrow_mut();
        let id = table.next;
        let Some((start, (_, version))) = table.regions.range_mut(..=&at).next_back() else { return };
        if *start == at {
            return;
        }
        *version += 1;
        let version = *version;
        table.regions.insert(at, (id, version));
        table.next += 1;
    }

    /// The directory knows no region any more.
    pub(crate) fn forget(&self) {
        let mut table = self.0.borrow_mut();
        table.unknown = table.regions.values().map(|&(id, _)| id).collect();
    }

    /// The directory knows the region that holds `key` (again).
    pub(crate) fn learn(&self, key: &Key) -> Located {
        let located = self.find(key);
        self.0.borrow_mut().unknown.remove(&located.region.id.0);
        located
    }

    pub(crate) fn find(&self, key: &Key) -> Located {
        let table = self.0.borrow();
        let (_, &(id, version)) = table.regions.range(..=key).next_back().unwrap();
        at(id, version)
    }

    fn known(&self, located: Located) -> Option<Located> {
        (!self.0.borrow().unknown.contains(&located.region.id.0)).then_some(located)
    }

    fn find_below(&self, key: &[u8]) -> Located {
        let table = self.0.borrow();
        let end = Key::from(key);
        let mut below = table.regions.iter().filter(|(start, _)| key.is_empty() || **start < end);
        let (_, &(id, version)) = below.next_back().unwrap();
        at(id, version)
    }

    /// The regions of a range, which the directory knows now.
    fn learn_range(&self, range: &KeyRange, limit: usize) -> Vec<(Located, KeyRange)> {
        let mut found = Vec::new();
        let mut key = range.start.clone();
        while found.len() < limit {
            let located = self.learn(&key);
            let span = self.span(located.region).unwrap();
            found.push((located, span.clone()));
            if span.end.is_empty() || (!range.end.is_empty() && span.end >= range.end) {
                break;
            }
            key = span.end;
        }
        found
    }
}

fn at(id: u64, version: u64) -> Located {
    let region = RegionVersion { id: RegionId(id), version, conf_ver: 1 };
    Located { region, peer: PeerId(id * 10), store: StoreId(id) }
}

impl Facts for Regions {
    fn locate(&self, key: &[u8], _: Instant) -> Option<Located> {
        self.known(self.find(&key.into()))
    }

    fn locate_below(&self, key: &[u8], _: Instant) -> Option<Located> {
        self.known(self.find_below(key))
    }

    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        let table = self.0.borrow();
        let found = table.regions.iter().find(|(_, entry)| **entry == (region.id.0, region.version));
        let start = found?.0.clone();
        let end = table.regions.keys().find(|other| **other > start).cloned().unwrap_or_default();
        Some(KeyRange { start, end })
    }

    fn report(&self, _: &Feedback, _: Instant) {}
}

/// The next effect is a call of this message: its ticket, the message, where it goes.
#[track_caller]
pub(crate) fn expect<R: Typed>(s: &mut Script<impl Machine>) -> (TicketId, R, Attempt) {
    let (ticket, request, attempt) = s.expect_command(R::COMMAND);
    (ticket, R::decode(request.body().clone()).unwrap(), attempt)
}

/// The machine asks for a timestamp, and gets this one.
#[track_caller]
pub(crate) fn give_ts(s: &mut Script<impl Machine>, now: Timestamp) {
    let ask = s.expect_ask(&Question::Timestamp);
    s.answer(ask, Answer::Timestamp(now));
}

/// The machine pauses, and the pause is over.
#[track_caller]
pub(crate) fn pause(s: &mut Script<impl Machine>) {
    let timer = s.expect_timer();
    s.fire(timer);
}

/// The region is not there any more: the machine reports that and pauses.
#[track_caller]
pub(crate) fn not_found(s: &mut Script<impl Machine>, ticket: TicketId) {
    let error =
        errorpb::Error { region_not_found: Some(errorpb::RegionNotFound::default()), ..Default::default() };
    let mut wire = Vec::new();
    // Field 1 of every response is its region error.
    prost::encoding::message::encode(1, &error, &mut wire);
    s.complete(ticket, Completion::Response(wire.into()));
    s.expect_report();
    pause(s);
}

/// A lock as a store tells of it.
pub(crate) fn lock(key: &str, primary: &str, start: Timestamp, ttl_ms: u64) -> pb::LockInfo {
    pb::LockInfo {
        key: key.to_owned().into(),
        primary_lock: primary.to_owned().into(),
        lock_version: start.0,
        lock_ttl: ttl_ms,
        txn_size: 1,
        ..Default::default()
    }
}

pub(crate) fn locked(info: pb::LockInfo) -> pb::KeyError {
    pb::KeyError { locked: Some(Box::new(info)), ..Default::default() }
}

pub(crate) fn abort(text: &str) -> pb::KeyError {
    pb::KeyError { abort: text.to_owned(), ..Default::default() }
}

pub(crate) fn keys(keys: &[&str]) -> Vec<Key> {
    keys.iter().map(|&key| key.into()).collect()
}

/// Plays the world to a machine by itself: stores answer, regions split, timers fire, all in an order drawn from a seed.
pub(crate) struct World<A> {
    pub(crate) regions: Regions,
    /// What the store answers to a request that goes to the region of this range: an encoded response.
    pub(crate) answer: A,
    /// Where regions split meanwhile.
    pub(crate) splits: VecDeque<Key>,
    pub(crate) seed: u64,
}

/// A machine that does not end has lost its way.
const STEPS: usize = 20_000;

impl<A: FnMut(&Request, &KeyRange) -> Vec<u8>> World<A> {
    /// What the machine results in, and what it spawned.
    pub(crate) fn run<M: Machine>(mut self, mut machine: M) -> (M::Output, Vec<Start>) {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut op = Op::default();
        op.begin(self.seed, Instant::FAR, Budget::new(Allowance::Unlimited, Tuning::default()));
        let (mut open, mut spawned, mut now) = (Vec::new(), Vec::new(), Instant(0));
        for _ in 0..STEPS {
            let polled = machine.step(&mut Cx::root(now, WallTime(0), &self.regions, &mut op));
            while let Some(effect) = op.next_effect() {
                match effect {
                    Effect::Spawn { start } => spawned.push(*start),
                    Effect::Report(_) | Effect::Cancel { .. } => {}
                    other => open.push(other),
                }
            }
            if let Poll::Ready(output) = polled {
                return (output, spawned);
            }
            if rng.u8(..) < 60
                && let Some(at) = self.splits.pop_front()
            {
                self.regions.split(at);
            }
            assert!(!open.is_empty(), "the machine waits for nothing: {machine:#?}");
            let (ticket, completion) = self.complete(open.swap_remove(rng.usize(..open.len())), &mut now);
            op.deliver(ticket, completion);
        }
        panic!("the machine does not end: {machine:#?}");
    }

    fn complete(&mut self, effect: Effect, now: &mut Instant) -> (TicketId, Completion) {
        match effect {
            Effect::Timer { ticket, at, .. } => {
                *now = at.max(*now);
                (ticket, Completion::TimerFired(at))
            }
            Effect::Ask { ticket, question, .. } => {
                let answer = match question {
                    Question::Timestamp => Answer::Timestamp(ts(1_000_000 + now.0 / 1_000_000)),
                    Question::Region(Place::Below(key)) => {
                        let below = self.regions.find_below(key.as_slice());
                        let start = self.regions.span(below.region).unwrap().start;
                        Answer::Region(self.regions.learn(&start))
                    }
                    Question::Region(Place::Holding(key)) => Answer::Region(self.regions.learn(&key)),
                    Question::Region(Place::Id(id)) => panic!("nobody asks for region {id}"),
                    Question::Regions { range, limit } => {
                        Answer::Regions(self.regions.learn_range(&range, limit as usize).into())
                    }
                    other => panic!("a resolver asks {other:?}"),
                };
                (ticket, Completion::Answer(answer))
            }
            Effect::Call { ticket, attempt, request, .. } => {
                (ticket, Completion::Response(self.respond(attempt, &request).into()))
            }
            other => panic!("nothing completes {other:?}"),
        }
    }

    fn respond(&mut self, attempt: Attempt, request: &Arc<Request>) -> Vec<u8> {
        if let Some(span) = self.regions.span(attempt.to.region) {
            return (self.answer)(request, &span);
        }
        let error = errorpb::Error {
            region_not_found: Some(errorpb::RegionNotFound::default()),
            ..Default::default()
        };
        let mut wire = Vec::new();
        prost::encoding::message::encode(1, &error, &mut wire);
        wire
    }
}
