//! The machine that loads regions.
//!
//! ```text
//!            place         region              it is the one
//!  Queued ----------> Asked ------> told to the directory ----> gone
//!    ^ ^                |  \                      | not yet
//!    | |     PD has a   |   +---------------------+
//!    | |     hole       v
//!    | +--- pause --- Pausing      (a second hole: no region)
//!    +----- PD failed at a deadline that is not everyone's
//! ```
//!
//! | input | does |
//! |---|---|
//! | load of a place that is being loaded | joins |
//! | load of another place, of a range | is queued; at most [`LoaderConfig::at_work`] questions are under way |
//! | regions come | reports them, answers **all** whose place they are, then goes on |
//! | a hole where keys must have a region | asks once more after a pause, then refuses |
//! | PD fails | answers those that waited with its fault |
//! | deadline | interrupts whoever's is over |
//! | sweep | has the next part of the directory swept |
//! | withdrawn | forgets it; what nobody waits for is not asked for |
//!
//! Reports go before answers, so that who was answered finds the region in the directory.
//!
//! client-go: `internal/locate/region_cache.go: loadRegion`, `batchScanRegions`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::config::LoaderConfig;
use super::cover::{Come, answer, covering};
use super::search::Search;
use super::walk::Walk;
use crate::error::ServiceError;
use crate::machine::{
    Answer, Asker, Completion, Fault, Feedback, Input, Interrupt, Place, Service, ServiceCx, ServiceEffect,
    TicketId, Withdrawn,
};
use crate::pd::{PdQuery, PdReply};
use crate::types::{Instant, Key, KeyRange, RegionId, RegionInfo, ShownKey};

/// What the loader is asked.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every command")]
pub enum LoaderCommand {
    /// The client begins: all regions are asked for, if that is wanted.
    Begin,
    /// Find the region at a place.
    Load {
        /// Where.
        place: Place,
        /// Who waits.
        asker: Asker,
        /// When it gives up.
        deadline: Instant,
    },
    /// Find the regions of a range, in order.
    LoadRange {
        /// The keys they hold.
        range: KeyRange,
        /// How many at the most; never more than [`LoaderConfig::regions`].
        limit: u32,
        /// Who waits.
        asker: Asker,
        /// When it gives up.
        deadline: Instant,
    },
    /// An operation does not wait any more.
    Withdraw(Withdrawn),
}

/// The timers of a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every timer")]
pub enum LoaderTimer {
    /// The earliest deadline of an asker.
    Deadline,
    /// The end of a load's pause.
    Retry(u64),
    /// The next round of sweeping.
    Sweep,
    /// All regions are asked for again.
    Refresh,
}

/// What only the loader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the host carries out every effect")]
pub enum LoaderEffect {
    /// Look at so many regions of the directory, where the last round ended, and take out those that nobody uses.
    Sweep {
        /// How many.
        limit: usize,
    },
}

#[derive(Debug)]
struct Waiter {
    asker: Asker,
    deadline: Instant,
}

#[derive(Debug)]
enum Want {
    Region(Search),
    Range { range: KeyRange, query: PdQuery },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Queued,
    /// PD answers at `until` at the latest.
    Asked {
        ticket: TicketId,
        until: Instant,
    },
    Pausing,
}

#[derive(Debug)]
struct Load {
    want: Want,
    phase: Phase,
    /// There was a hole once.
    again: bool,
    waiters: Vec<Waiter>,
}

/// Loads the regions of one key space. See the module.
#[derive(Debug)]
pub struct RegionLoader {
    pub(super) config: LoaderConfig,
    loads: BTreeMap<u64, Load>,
    places: BTreeMap<Place, u64>,
    queue: BTreeSet<u64>,
    asked: BTreeMap<TicketId, u64>,
    /// How many wait, in all loads.
    waiting: usize,
    count: u64,
    armed: Option<Instant>,
    /// The directory has had regions: from then on it is swept.
    sweeps: bool,
    /// All regions are being asked for.
    pub(super) walk: Option<Walk>,
}

pub(super) type Cx<'a> = ServiceCx<'a, LoaderTimer, LoaderEffect>;

impl RegionLoader {
    /// A loader of `config.mode`'s key space.
    #[must_use]
    pub fn new(config: LoaderConfig) -> Self {
        Self {
            config,
            loads: BTreeMap::new(),
            places: BTreeMap::new(),
            queue: BTreeSet::new(),
            asked: BTreeMap::new(),
            waiting: 0,
            count: 0,
            armed: None,
            sweeps: false,
            walk: None,
        }
    }

    fn load(&mut self, place: Place, waiter: Waiter, cx: &mut Cx<'_>) {
        let Some(waiter) = self.admit(waiter, cx) else { return };
        let known = self.places.get(&place).copied();
        if let Some(load) = known.and_then(|id| self.loads.get_mut(&id)) {
            load.waiters.push(waiter);
            return;
        }
        let search = Search::new(place.clone(), self.config.mode);
        let id = self.queue(Want::Region(search), waiter);
        self.places.insert(place, id);
        self.advance(cx);
    }

    fn load_range(&mut self, range: KeyRange, limit: u32, waiter: Waiter, cx: &mut Cx<'_>) {
        if limit == 0 || range.is_empty() {
            cx.answer(waiter.asker, Completion::Answer(Answer::Regions(Arc::default())));
            return;
        }
        let Some(waiter) = self.admit(waiter, cx) else { return };
        let (start, end) = self.config.mode.encode_range(&range);
        let query = PdQuery::Regions { start, end, limit: limit.min(self.config.regions) };
        self.queue(Want::Range { range, query }, waiter);
        self.advance(cx);
    }

    fn admit(&mut self, waiter: Waiter, cx: &mut Cx<'_>) -> Option<Waiter> {
        if self.waiting >= self.config.most {
            cx.answer(waiter.asker, Completion::Fault(Fault::Overloaded));
            return None;
        }
        self.waiting += 1;
        self.arm(waiter.deadline, cx);
        Some(waiter)
    }

    fn arm(&mut self, at: Instant, cx: &mut Cx<'_>) {
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            cx.arm(LoaderTimer::Deadline, at);
        }
    }

    fn queue(&mut self, want: Want, waiter: Waiter) -> u64 {
        self.count += 1;
        let load = Load { want, phase: Phase::Queued, again: false, waiters: vec![waiter] };
        self.loads.insert(self.count, load);
        self.queue.insert(self.count);
        self.count
    }

    /// Asks PD for what is queued, oldest first.
    fn advance(&mut self, cx: &mut Cx<'_>) {
        while self.asked.len() < self.config.at_work
            && let Some(id) = self.queue.pop_first()
        {
            let Some(load) = self.loads.get_mut(&id) else { continue };
            let Some(until) = load.waiters.iter().map(|waiter| waiter.deadline).max() else { continue };
            let query = match &load.want {
                Want::Region(search) => search.query.clone(),
                Want::Range { query, .. } => query.clone(),
            };
            let ticket = cx.query(query, until);
            load.phase = Phase::Asked { ticket, until };
            self.asked.insert(ticket, id);
        }
    }

    fn done(&mut self, ticket: TicketId, completion: Completion, cx: &mut Cx<'_>) {
        if self.walk.as_ref().is_some_and(|walk| walk.is(ticket)) {
            return self.walked(completion, cx);
        }
        let Some(id) = self.asked.remove(&ticket) else { return };
        let Some(load) = self.loads.get_mut(&id) else { return };
        match (completion, &load.want) {
            (Completion::Answer(Answer::Pd(PdReply::Region(Some(info)))), Want::Region(_)) => {
                self.found(id, info, cx);
            }
            (Completion::Answer(Answer::Pd(PdReply::Region(None))), Want::Region(_)) => self.hole(id, cx),
            (Completion::Answer(Answer::Pd(PdReply::Regions(regions))), Want::Range { .. }) => {
                self.found_range(id, regions, cx);
            }
            (Completion::Fault(fault), _) => self.failed(id, &fault, cx),
            (other, _) => {
                let (address, detail) = ("PD".into(), format!("asked for regions, got {other:?}").into());
                let error = ServiceError::Corrupt { address, detail };
                self.finish(id, &Completion::Fault(Fault::Refused(error)), cx);
            }
        }
        self.advance(cx);
    }

    fn found(&mut self, id: u64, info: RegionInfo, cx: &mut Cx<'_>) {
        let come = Come::new(info, self.config.mode);
        self.learned(std::slice::from_ref(&come), cx);
        // It was not the one it was asked for, or that would be gone.
        let Some(Load { want: Want::Region(search), .. }) = self.loads.get_mut(&id) else { return };
        if search.goes_on(&come) {
            self.requeue(id, cx);
        } else {
            self.hole(id, cx);
        }
    }

    fn found_range(&mut self, id: u64, regions: Vec<RegionInfo>, cx: &mut Cx<'_>) {
        let Some(Load { want: Want::Range { query, .. }, .. }) = self.loads.get(&id) else { return };
        let PdQuery::Regions { start, end, limit } = query else { return };
        let Some(regions) = covering((start, end), *limit, regions) else { return self.hole(id, cx) };
        let come: Vec<Come> = regions.into_iter().map(|info| Come::new(info, self.config.mode)).collect();
        self.learned(&come, cx);
        let completion = match answer(&come) {
            Ok(regions) => Completion::Answer(Answer::Regions(regions)),
            Err(region) => no_peer(region),
        };
        self.finish(id, &completion, cx);
    }

    /// Tells the directory, then answers everyone whose place is in what came.
    pub(super) fn learned(&mut self, come: &[Come], cx: &mut Cx<'_>) {
        let regions: Arc<[RegionInfo]> = come.iter().filter_map(Come::reported).collect();
        if !regions.is_empty() {
            let jitter = u64::try_from(self.config.ttl_jitter.as_nanos()).unwrap_or(u64::MAX);
            let life = self.config.ttl + Duration::from_nanos(cx.rng().u64(0..=jitter));
            let expires = cx.now() + life;
            cx.effect(ServiceEffect::Report(Feedback::Loaded { regions, expires }));
            if !self.sweeps && !self.config.sweep_every.is_zero() {
                self.sweeps = true;
                cx.arm(LoaderTimer::Sweep, cx.now() + self.config.sweep_every);
            }
        }
        for come in come {
            let completion = match come.located {
                Some(located) => Completion::Answer(Answer::Region(located)),
                None => no_peer(come.id()),
            };
            for id in self.waiting_at(come) {
                self.finish(id, &completion, cx);
            }
        }
    }

    /// The loads whose place a region is.
    fn waiting_at(&self, come: &Come) -> Vec<u64> {
        let mut found: Vec<u64> = self.places.get(&Place::Id(come.id())).copied().into_iter().collect();
        if let Some(KeyRange { start, end }) = &come.range {
            // Places are in order: those that hold keys, those below keys (the empty one first), ids.
            let holding_end =
                if end.is_empty() { Place::Below(Key::EMPTY) } else { Place::Holding(end.clone()) };
            let below_end = if end.is_empty() {
                Bound::Excluded(Place::Id(RegionId(0)))
            } else {
                Bound::Included(Place::Below(end.clone()))
            };
            let holding = self.places.range(Place::Holding(start.clone())..holding_end);
            let below = self.places.range((Bound::Excluded(Place::Below(start.clone())), below_end));
            let last = self.places.get_key_value(&Place::Below(Key::EMPTY)).filter(|_| end.is_empty());
            let all = holding.chain(below).chain(last);
            found.extend(all.filter(|(place, _)| come.is_at(place)).map(|(_, id)| *id));
        }
        found
    }

    /// PD knows no region where there must be one: it has just started, or a split is under way.
    fn hole(&mut self, id: u64, cx: &mut Cx<'_>) {
        self.expire_load(id, cx);
        let Some(load) = self.loads.get_mut(&id) else { return };
        // Ids go for ever when regions merge, so there is no waiting for them.
        let by_id = matches!(&load.want, Want::Region(Search { place: Place::Id(_), .. }));
        if load.again || by_id {
            let place = shown(&load.want, self.config.redact_keys);
            let error = ServiceError::NoRegion { place: place.into() };
            self.finish(id, &Completion::Fault(Fault::Refused(error)), cx);
            return;
        }
        load.again = true;
        load.phase = Phase::Pausing;
        if let Want::Region(search) = &mut load.want {
            *search = Search::new(search.place.clone(), self.config.mode);
        }
        let pause = self.config.pause / 2 + self.config.pause.mul_f64(cx.rng().f64() / 2.0);
        cx.arm(LoaderTimer::Retry(id), cx.now() + pause);
    }

    fn failed(&mut self, id: u64, fault: &Fault, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(load) = self.loads.get_mut(&id) else { return };
        let completion = Completion::Fault(fault.clone());
        let at_deadline = matches!(load.phase, Phase::Asked { until, .. } if until <= now);
        if !at_deadline {
            self.finish(id, &completion, cx);
            return;
        }
        // Who joined later has time left: PD was not asked for them.
        self.answer_due(id, &completion, cx);
        self.requeue(id, cx);
    }

    fn requeue(&mut self, id: u64, cx: &mut Cx<'_>) {
        self.expire_load(id, cx);
        if let Some(load) = self.loads.get_mut(&id) {
            load.phase = Phase::Queued;
            self.queue.insert(id);
        }
    }

    fn expire_load(&mut self, id: u64, cx: &mut Cx<'_>) {
        self.answer_due(id, &Completion::Fault(Fault::Interrupted(Interrupt::Deadline)), cx);
    }

    /// Answers those of a load whose deadline is over.
    fn answer_due(&mut self, id: u64, completion: &Completion, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(load) = self.loads.get_mut(&id) else { return };
        for waiter in load.waiters.extract_if(.., |waiter| waiter.deadline <= now) {
            self.waiting -= 1;
            cx.answer(waiter.asker, completion.clone());
        }
        if load.waiters.is_empty() {
            self.remove(id);
        }
    }

    fn finish(&mut self, id: u64, completion: &Completion, cx: &mut Cx<'_>) {
        if let Some(load) = self.remove(id) {
            self.waiting -= load.waiters.len();
            for waiter in load.waiters {
                cx.answer(waiter.asker, completion.clone());
            }
        }
    }

    /// Takes a load out of every table. Its timer finds nothing when it fires.
    fn remove(&mut self, id: u64) -> Option<Load> {
        let load = self.loads.remove(&id)?;
        self.queue.remove(&id);
        if let Phase::Asked { ticket, .. } = load.phase {
            self.asked.remove(&ticket);
        }
        if let Want::Region(search) = &load.want {
            self.places.remove(&search.place);
        }
        Some(load)
    }

    /// Interrupts whoever's deadline is over; but the last of a load that was asked for gets PD's word, which says why.
    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.armed = None;
        let now = cx.now();
        let due = |load: &Load| !matches!(load.phase, Phase::Asked { until, .. } if until <= now);
        let ids: Vec<u64> = self.loads.iter().filter(|(_, load)| due(load)).map(|(id, _)| *id).collect();
        for id in ids {
            self.expire_load(id, cx);
        }
        let left = self.loads.values().flat_map(|load| &load.waiters).map(|waiter| waiter.deadline);
        if let Some(at) = left.filter(|at| *at > now).min() {
            self.arm(at, cx);
        }
        self.advance(cx);
    }

    fn withdraw(&mut self, who: &Withdrawn, cx: &mut Cx<'_>) {
        let found = self.loads.iter_mut().find_map(|(id, load)| {
            let at = load.waiters.iter().position(|waiter| waiter.asker.is(who))?;
            Some((*id, load.waiters.swap_remove(at), load.waiters.is_empty()))
        });
        let Some((id, waiter, was_last)) = found else { return };
        waiter.asker.forget();
        self.waiting -= 1;
        if was_last {
            self.remove(id);
            self.advance(cx);
        }
    }

    fn retry(&mut self, id: u64, cx: &mut Cx<'_>) {
        if matches!(self.loads.get(&id), Some(Load { phase: Phase::Pausing, .. })) {
            self.requeue(id, cx);
            self.advance(cx);
        }
    }
}

fn no_peer(region: RegionId) -> Completion {
    Completion::Fault(Fault::Refused(ServiceError::NoPeer { region }))
}

fn shown(want: &Want, redacted: bool) -> String {
    let shown = |key: &Key| ShownKey::new(key, redacted);
    match want {
        Want::Region(Search { place: Place::Holding(key), .. }) => format!("key {}", shown(key)),
        Want::Region(Search { place: Place::Below(key), .. }) if key.is_empty() => "the last key".to_owned(),
        Want::Region(Search { place: Place::Below(key), .. }) => format!("the keys below {}", shown(key)),
        Want::Region(Search { place: Place::Id(id), .. }) => format!("id {id}"),
        Want::Range { range, .. } => {
            format!("the keys from {} to {}", shown(&range.start), shown(&range.end))
        }
    }
}

impl Service for RegionLoader {
    type Command = LoaderCommand;
    type Timer = LoaderTimer;
    type Special = LoaderEffect;

    fn handle(&mut self, input: Input<LoaderCommand, LoaderTimer>, cx: &mut Cx<'_>) {
        match input {
            Input::Command(LoaderCommand::Begin) => self.begin(cx),
            Input::Timer(LoaderTimer::Refresh) => self.refresh(cx),
            Input::Command(LoaderCommand::Load { place, asker, deadline }) => {
                self.load(place, Waiter { asker, deadline }, cx);
            }
            Input::Command(LoaderCommand::LoadRange { range, limit, asker, deadline }) => {
                self.load_range(range, limit, Waiter { asker, deadline }, cx);
            }
            Input::Command(LoaderCommand::Withdraw(who)) => self.withdraw(&who, cx),
            Input::Done(ticket, completion) => self.done(ticket, completion, cx),
            Input::Timer(LoaderTimer::Deadline) => self.expire(cx),
            Input::Timer(LoaderTimer::Retry(id)) => self.retry(id, cx),
            Input::Timer(LoaderTimer::Sweep) => {
                cx.effect(ServiceEffect::Special(LoaderEffect::Sweep { limit: self.config.sweep }));
                cx.arm(LoaderTimer::Sweep, cx.now() + self.config.sweep_every);
            }
            // It has no streams.
            Input::Idle | Input::Writable(_) | Input::Item(..) | Input::Closed(..) => {}
        }
    }
}

#[cfg(test)]
impl RegionLoader {
    /// How much it has kept.
    pub(super) fn left(&self) -> usize {
        self.waiting + self.loads.len() + self.places.len() + self.queue.len() + self.asked.len()
    }
}
