//! A world that is drawn from a seed: operations of every kind, regions that change, stores that answer anything.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use crate::backoff::{Allowance, Budget, Tuning};
use crate::client::Space;
use crate::codec::Mode;
use crate::error::ServiceError;
use crate::lock::{Cleaning, LockSets, Verdict};
use crate::machine::{
    Answer, Completion, Effect, Facts, Fault, Feedback, Interrupt, Manner, Op, Place, Question, TicketId,
};
use crate::pd::{BucketsInfo, OrderInfo, PdReply};
use crate::region::Directory;
use crate::replica::{ReadProfile, Replica};
use crate::request::Command;
use crate::snapshot::overlay::Overlay;
use crate::snapshot::page::ScanOptions;
use crate::start::{self, AnyMachine, Operation, Outcome, Purpose, Settings, Start};
use crate::trace::{Birth, Event, Moment, Recorder, Recording};
use crate::txn::mutation::{Mutation, Op as Write};
use crate::types::{
    Instant, Key, KeyRange, KvPair, Labels, Located, Peer, PeerId, PeerRole, RegionId, RegionInfo,
    RegionVersion, Replicas, StoreId, StoreView, Timestamp, Value, WallTime,
};

/// A directory as facts.
#[derive(Debug)]
struct Known(Directory);

impl Facts for Known {
    fn locate(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.locate(key, now)
    }
    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.locate_below(key, now)
    }
    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        self.0.span(region)
    }
    fn mode(&self, _: Command) -> Mode {
        self.0.mode()
    }
    fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        self.0.replicas(region)
    }
    fn store(&self, store: StoreId, _: Instant) -> StoreView {
        StoreView { slow: store.0 == 2, ..StoreView::default() }
    }
    fn labels(&self, store: StoreId) -> Labels {
        Labels::new([("zone", if store.0 == 1 { "near" } else { "far" })])
    }
    fn report(&self, feedback: &Feedback, now: Instant) {
        self.0.apply(feedback, now);
    }
}

/// A sink that tests read.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    pub(super) fn recorder(&self) -> Recorder {
        let tape = self.clone();
        Recorder::to_sink(move |bytes: &[u8]| tape.0.lock().unwrap().extend_from_slice(bytes))
    }

    pub(super) fn trace(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

/// See the module.
pub(super) struct World {
    pub(super) rng: fastrand::Rng,
    pub(super) recorder: Recorder,
    /// What every key and every value begins with.
    pub(super) mark: &'static str,
    now: Instant,
    /// Used by one operation after the other, as a client does.
    op: Op,
    next_region: u64,
}

impl World {
    pub(super) fn new(seed: u64, recorder: Recorder) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { rng, recorder, mark: "", now: Instant(5_000_000), op: Op::default(), next_region: 100 }
    }

    /// Reads go to any replica, in half of the operations.
    fn manner(&mut self) -> Manner {
        let replicas =
            [Replica::Leader, Replica::Follower, Replica::Mixed, Replica::Learner, Replica::PreferLeader];
        let profile = ReadProfile::new()
            .replica(replicas[self.rng.usize(..replicas.len())])
            .labels(self.rng.bool().then_some(("zone", "near")))
            .stale(self.rng.bool())
            .busy_threshold(Duration::from_millis(self.rng.u64(..3)))
            .attempt(Duration::from_millis(self.rng.u64(1..40_000)));
        Manner { reading: self.rng.bool().then(|| Arc::new(profile)), forwarding: self.rng.bool() }
    }

    pub(super) fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    pub(super) fn key(&mut self) -> Key {
        const BYTES: &[u8] = b"abckmz\x00\xff";
        let mut key = self.mark.as_bytes().to_vec();
        key.extend((0..self.rng.usize(1..4)).map(|_| BYTES[self.rng.usize(..BYTES.len())]));
        key.into()
    }

    pub(super) fn keys(&mut self) -> Vec<Key> {
        (0..self.rng.usize(0..12)).map(|_| self.key()).collect()
    }

    pub(super) fn value(&mut self) -> Value {
        let mut value = self.mark.as_bytes().to_vec();
        value.extend((0..self.rng.usize(0..20)).map(|_| self.rng.u8(..)));
        value.into()
    }

    pub(super) fn pairs(&mut self) -> Vec<KvPair> {
        self.keys().into_iter().map(|key| KvPair { key, value: self.value() }).collect()
    }

    fn range(&mut self) -> KeyRange {
        let end = if self.chance(30) { Key::EMPTY } else { self.key() };
        KeyRange { start: if self.chance(30) { Key::EMPTY } else { self.key() }, end }
    }

    pub(super) fn ts(&mut self) -> Timestamp {
        Timestamp::compose(self.rng.u64(1000..2000), self.rng.u64(..9))
    }

    fn options(&mut self) -> ScanOptions {
        ScanOptions { reverse: self.rng.bool(), keys_only: self.rng.bool(), page: self.rng.u32(0..5) }
    }

    /// An operation of any kind, with the space of its keys.
    pub(super) fn start(&mut self) -> (Start, Space) {
        let kind = self.rng.u8(0..25);
        let cf = ["", "lock"][self.rng.usize(..2)];
        let (for_cas, ttl_s) = (self.rng.bool(), self.rng.u64(..3));
        let ts = self.ts();
        let start = match kind {
            0 => start::RawGet { key: self.key(), cf: cf.into() }.into(),
            1 => {
                let (key, value) = (self.key(), self.value());
                start::RawPut { key, value, cf: cf.into(), ttl_s, for_cas }.into()
            }
            2 => start::RawDelete { key: self.key(), cf: cf.into(), for_cas }.into(),
            3 => start::RawBatchGet { keys: self.keys(), cf: cf.into() }.into(),
            4 => start::RawBatchPut { pairs: self.pairs(), cf: cf.into(), ttl_s, for_cas }.into(),
            5 => start::RawBatchDelete { keys: self.keys(), cf: cf.into(), for_cas }.into(),
            6 => {
                let (range, limit) = (self.range(), self.rng.usize(0..9));
                let (reverse, keys_only) = (self.rng.bool(), self.rng.bool());
                start::RawScan { range, limit, reverse, keys_only, cf: cf.into() }.into()
            }
            7 => start::RawDeleteRange { range: self.range(), cf: cf.into() }.into(),
            8 => {
                let value = self.value();
                let own = [None, Some(None), Some(Some(value))][self.rng.usize(..3)].clone();
                start::Get { key: self.key(), ts, own }.into()
            }
            9 => start::BatchGet { keys: self.keys(), ts, own: self.pairs() }.into(),
            10 => {
                let (range, options) = (self.range(), self.options());
                let mut own = self.pairs();
                own.sort();
                own.dedup_by(|one, other| one.key == other.key);
                let deletes = self.rng.u8(..);
                let own = own.into_iter().enumerate().filter(|(_, pair)| range.contains(pair.key.as_slice()));
                let own =
                    own.map(|(n, pair)| (pair.key, (deletes >> (n % 8) & 1 == 0).then_some(pair.value)));
                let mut overlay = Overlay::new(own);
                if options.reverse {
                    overlay.reverse();
                }
                start::Scan { range, ts, limit: self.rng.usize(0..20), options, overlay }.into()
            }
            11 => {
                let sets =
                    LockSets { ignore: [self.rng.u64(..9)].into(), access: [self.rng.u64(..9)].into() };
                start::Page { range: self.range(), ts, options: self.options(), sets }.into()
            }
            12 => start::Timestamp { purpose: Purpose::Begin }.into(),
            13 => {
                let mut mutations: Vec<_> = self.keys().into_iter().map(|key| self.mutation(key)).collect();
                mutations.sort_by(|one, other| one.key.cmp(&other.key));
                mutations.dedup_by(|one, other| one.key == other.key);
                start::Commit { start_ts: ts, begun: Instant(self.rng.u64(..5_000_000)), mutations }.into()
            }
            14 => start::Pause { attempt: self.rng.u32(..9) }.into(),
            15 => Start::CommitSecondaries {
                start_ts: ts,
                commit_ts: self.ts(),
                primary: self.key(),
                keys: self.keys(),
            },
            16 => Start::FinishCommit { start_ts: ts, commit_ts: self.ts(), keys: self.sorted_keys() },
            19 => {
                let place = match self.rng.u8(..3) {
                    0 => Place::Holding(self.key()),
                    1 => Place::Below(self.key()),
                    _ => Place::Id(RegionId(self.rng.u64(..9))),
                };
                start::FindRegion { place }.into()
            }
            20 => start::ListRegions { range: self.range(), limit: self.rng.usize(0..9) }.into(),
            21 => start::RegionBuckets { key: self.key(), mode: Mode::Txn }.into(),
            22 => {
                let scatter = self.rng.bool().then(|| "group".to_owned());
                start::SplitRegions { keys: self.keys(), scatter, mode: Mode::Txn }.into()
            }
            23 => {
                let regions = (0..self.rng.u64(..4)).map(RegionId).collect();
                start::ScatterRegions { regions, group: "group".to_owned() }.into()
            }
            24 => {
                let region = RegionId(self.rng.u64(..9));
                start::RegionOrder { region, waits: self.rng.bool() }.into()
            }
            17 => Start::RollBack { start_ts: ts, keys: self.sorted_keys() },
            _ => {
                let verdict =
                    [Verdict::RollBack, Verdict::Commit(self.ts()), Verdict::Release { for_update_ts: ts }];
                let cleaning = |verdict, keys, whole_regions| Cleaning {
                    start_ts: ts,
                    verdict,
                    keys,
                    whole_regions,
                    is_txn_file: whole_regions,
                };
                let cleanings = verdict.map(|verdict| cleaning(verdict, self.keys(), self.rng.bool()));
                Start::CleanLocks { cleanings: cleanings.into() }
            }
        };
        (start, if kind < 8 { Space::Raw } else { Space::Txn })
    }

    fn sorted_keys(&mut self) -> Vec<Key> {
        let mut keys = self.keys();
        keys.push(self.key());
        keys.sort();
        keys.dedup();
        keys
    }

    fn mutation(&mut self, key: Key) -> Mutation {
        let value = self.value();
        let op = [Write::Put(value.clone()), Write::Insert(value), Write::Delete, Write::CheckNotExists];
        Mutation { key, op: op[self.rng.usize(..4)].clone() }
    }

    fn region(&mut self, range: KeyRange) -> RegionInfo {
        self.next_region += 1;
        let id = self.next_region;
        let peer = |n| Peer { id: PeerId(id * 10 + n), store: StoreId(n), role: PeerRole::Voter };
        RegionInfo {
            version: RegionVersion { id: RegionId(id), version: id, conf_ver: 1 },
            range,
            peers: vec![peer(1), peer(2)],
            leader: Some(PeerId(id * 10 + 1)),
        }
    }

    /// Regions side by side, over all keys.
    pub(super) fn regions(&mut self) -> Vec<RegionInfo> {
        let mut bounds: Vec<_> = (0..self.rng.usize(0..4)).map(|_| self.key()).collect();
        bounds.sort();
        bounds.dedup();
        let starts = std::iter::once(Key::EMPTY).chain(bounds.clone());
        let ends = bounds.into_iter().chain([Key::EMPTY]);
        starts.zip(ends).map(|(start, end)| self.region(KeyRange { start, end })).collect::<Vec<_>>()
    }

    /// Runs one operation of any kind to its end, whatever that is.
    pub(super) fn run(&mut self) {
        let (start, space) = self.start();
        self.run_this(start, space);
    }

    pub(super) fn run_this(&mut self, start: Start, space: Space) {
        let api_v2 = self.rng.bool();
        let mode = if space == Space::Raw && !api_v2 { Mode::Raw } else { Mode::Txn };
        let facts = Known(Directory::new(mode));
        for info in self.regions() {
            if self.chance(80) {
                facts.0.insert(info, Instant(0), Instant::FAR);
            }
        }
        let settings = Settings { redact_keys: self.rng.bool(), concurrency: self.rng.usize(1..4), api_v2 };
        let birth = Birth {
            seed: self.rng.u64(..),
            space,
            deadline: self.now + Duration::from_millis(self.rng.u64(..2000)),
            allowance: Allowance::GET,
            tuning: Tuning::default(),
            settings,
            manner: self.manner(),
            parent: 0,
        };
        let mut recording = Recording::new(&self.recorder, &start);
        self.op.begin(birth.seed, birth.deadline, Budget::new(birth.allowance, birth.tuning));
        self.op.set_manner(birth.manner.clone());
        recording.begin(&birth, self.at());
        let mut machine = start.machine(&settings);
        let mut open: Vec<Effect> = Vec::new();
        let mut event = Event::First;
        for _ in 0..400 {
            if self.step(&mut machine, &mut recording, event, &facts, &mut open) {
                return;
            }
            event = match self.rng.u8(..200) {
                0..4 => break,
                4..8 => {
                    let why =
                        [Interrupt::Deadline, Interrupt::Killed, Interrupt::Closed][self.rng.usize(..3)];
                    self.op.interrupt(why);
                    Event::Interrupted(why)
                }
                _ => {
                    assert!(!open.is_empty(), "the machine waits for nothing: {machine:#?}");
                    let effect = open.swap_remove(self.rng.usize(..open.len()));
                    let Some((ticket, completion)) = self.complete(effect, mode) else { break };
                    assert!(self.op.deliver(ticket, completion.clone()));
                    Event::Completed(ticket, completion)
                }
            };
        }
        self.step(&mut machine, &mut recording, Event::Dropped, &facts, &mut open);
    }

    fn at(&self) -> Moment {
        Moment { now: self.now, wall: WallTime(1_000_000 + self.now.0 / 1_000_000) }
    }

    /// Goes a step; whether it was the last.
    fn step(
        &mut self,
        machine: &mut AnyMachine,
        recording: &mut Recording,
        event: Event,
        facts: &Known,
        open: &mut Vec<Effect>,
    ) -> bool {
        let (at, dropped) = (self.at(), matches!(event, Event::Dropped));
        let polled = recording.step(machine, event, at, facts, &mut self.op);
        while let Some(effect) = self.op.next_effect() {
            match effect {
                Effect::Cancel { ticket: gone, .. } => {
                    open.retain(|effect| !matches!(effect, Effect::Call { ticket, .. } | Effect::Ask { ticket, .. } | Effect::Timer { ticket, .. } if *ticket == gone));
                }
                Effect::Spawn { .. } | Effect::Report(_) => {}
                waits => open.push(waits),
            }
        }
        if let Poll::Ready(ended) = polled {
            // A driver of a typed machine knows the output itself.
            recording.end(Some(ended.ended(recording.zeroes())), at);
            return true;
        }
        if dropped {
            recording.end(None, at);
        }
        dropped
    }

    fn complete(&mut self, effect: Effect, mode: Mode) -> Option<(TicketId, Completion)> {
        self.now = Instant(self.now.0 + self.rng.u64(..3_000_000));
        match effect {
            Effect::Timer { ticket, at, .. } => {
                self.now = at.max(self.now);
                Some((ticket, Completion::TimerFired(at)))
            }
            Effect::Ask { ticket, question, .. } => Some((ticket, self.answer(question))),
            Effect::Call { ticket, request, .. } => Some((ticket, self.respond(&request, mode))),
            Effect::Spawn { .. } | Effect::Report(_) | Effect::Cancel { .. } => None,
        }
    }

    fn answer(&mut self, question: Question) -> Completion {
        if self.chance(5) {
            let refused = ServiceError::NoRegion { place: "key 61".into() };
            return Completion::Fault(
                [Fault::Refused(refused), Fault::Overloaded][self.rng.usize(..2)].clone(),
            );
        }
        let located = |info: &RegionInfo| Located {
            region: info.version,
            peer: info.peers[0].id,
            store: info.peers[0].store,
        };
        Completion::Answer(match question {
            Question::Timestamp => Answer::Timestamp(self.ts()),
            Question::Region(Place::Holding(_) | Place::Below(_) | Place::Id(_)) => {
                Answer::Region(located(&self.region(KeyRange::ALL)))
            }
            Question::Regions { .. } => Answer::Regions(
                self.regions().iter().map(|info| (located(info), info.range.clone())).collect(),
            ),
            Question::Scatter { regions, .. } => {
                let failed = regions.into_iter().filter(|_| self.rng.bool()).collect();
                Answer::Pd(PdReply::Scattered { percent: self.rng.u64(50..=100), failed })
            }
            Question::Order(_) => {
                let order = OrderInfo { description: "scatter-region".into(), running: self.rng.bool() };
                Answer::Pd(PdReply::Order(self.rng.bool().then_some(order)))
            }
            Question::Buckets(_) => {
                let region = self.region(KeyRange::ALL);
                let keys = self.keys().iter().map(|key| Mode::Txn.encode_key(key)).collect();
                let told = BucketsInfo { region: region.version, version: self.rng.u64(..3), keys };
                Answer::Pd(PdReply::Buckets(self.rng.bool().then_some(told)))
            }
        })
    }
}
