//! What an operation begins with, as a message and back.

use std::borrow::Cow;

use bytes::Bytes;

use super::Unreadable;
use super::decode::{count, key_range, keys};
use super::encode::{place, range};
use super::format::{self as f, Operation as Kind};
use crate::codec::Mode;
use crate::lock::{Cleaning, LockSets, Verdict};
use crate::machine::Place;
use crate::snapshot::overlay::Overlay;
use crate::snapshot::page::ScanOptions;
use crate::start::{
    BatchGet, Commit, FindRegion, Get, ListRegions, Page, Pause, Purpose, RawBatchDelete, RawBatchGet,
    RawBatchPut, RawDelete, RawDeleteRange, RawGet, RawPut, RawScan, RegionBuckets, RegionOrder, Scan,
    ScatterRegions, SplitRegions, Start, Timestamp as AskTimestamp,
};
use crate::txn::mutation::{Mutation, Op};
use crate::types::{Instant, Key, KvPair, RegionId, Timestamp};

fn bytes(keys: &[Key]) -> Vec<Bytes> {
    keys.iter().map(|key| key.0.clone()).collect()
}

fn put(key: &Key, value: &Bytes) -> f::Write {
    f::Write { key: key.0.clone(), kind: f::WriteKind::Put.into(), value: value.clone() }
}

fn pairs(pairs: &[KvPair]) -> Vec<f::Write> {
    pairs.iter().map(|pair| put(&pair.key, &pair.value)).collect()
}

fn mutation(mutation: &Mutation) -> f::Write {
    let (kind, value) = match &mutation.op {
        Op::Put(value) => (f::WriteKind::Put, value.clone()),
        Op::Insert(value) => (f::WriteKind::Insert, value.clone()),
        Op::Delete => (f::WriteKind::Delete, Bytes::new()),
        Op::CheckNotExists => (f::WriteKind::CheckNotExists, Bytes::new()),
    };
    f::Write { key: mutation.key.0.clone(), kind: kind.into(), value }
}

fn cleaning(cleaning: &Cleaning) -> f::Cleaning {
    let (verdict, ts) = match cleaning.verdict {
        Verdict::RollBack => (f::Verdict::RollBack, 0),
        Verdict::Commit(ts) => (f::Verdict::Commit, ts.0),
        Verdict::Release { for_update_ts } => (f::Verdict::Release, for_update_ts.0),
    };
    f::Cleaning {
        start_ts: cleaning.start_ts.0,
        verdict: verdict.into(),
        ts,
        keys: bytes(&cleaning.keys),
        whole_regions: cleaning.whole_regions,
        is_txn_file: cleaning.is_txn_file,
    }
}

fn cf(cf: &str) -> String {
    cf.to_owned()
}

fn limit(limit: usize) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

fn scanned(options: &ScanOptions, rest: f::Start) -> f::Start {
    f::Start { reverse: options.reverse, keys_only: options.keys_only, page: options.page, ..rest }
}

/// The message of `start`.
pub(super) fn encode(start: &Start) -> f::Start {
    let none = f::Start::default();
    let (kind, message) = match start {
        Start::RawGet(RawGet { key, cf: of }) => {
            (Kind::RawGet, f::Start { keys: vec![key.0.clone()], cf: cf(of), ..none })
        }
        Start::RawPut(RawPut { key, value, cf: of, ttl_s, for_cas }) => {
            let (writes, ttl_s, for_cas) = (vec![put(key, value)], *ttl_s, *for_cas);
            (Kind::RawPut, f::Start { writes, cf: cf(of), ttl_s, for_cas, ..none })
        }
        Start::RawDelete(RawDelete { key, cf: of, for_cas }) => {
            let keys = vec![key.0.clone()];
            (Kind::RawDelete, f::Start { keys, cf: cf(of), for_cas: *for_cas, ..none })
        }
        Start::RawBatchGet(RawBatchGet { keys, cf: of }) => {
            (Kind::RawBatchGet, f::Start { keys: bytes(keys), cf: cf(of), ..none })
        }
        Start::RawBatchPut(RawBatchPut { pairs: all, cf: of, ttl_s, for_cas }) => {
            let (writes, ttl_s, for_cas) = (pairs(all), *ttl_s, *for_cas);
            (Kind::RawBatchPut, f::Start { writes, cf: cf(of), ttl_s, for_cas, ..none })
        }
        Start::RawBatchDelete(RawBatchDelete { keys, cf: of, for_cas }) => {
            (Kind::RawBatchDelete, f::Start { keys: bytes(keys), cf: cf(of), for_cas: *for_cas, ..none })
        }
        Start::RawScan(RawScan { range: of, limit: most, reverse, keys_only, cf: family }) => {
            let (range, limit, cf) = (Some(range(of)), limit(*most), cf(family));
            let (reverse, keys_only) = (*reverse, *keys_only);
            (Kind::RawScan, f::Start { range, limit, reverse, keys_only, cf, ..none })
        }
        Start::RawDeleteRange(RawDeleteRange { range: of, cf: family }) => {
            (Kind::RawDeleteRange, f::Start { range: Some(range(of)), cf: cf(family), ..none })
        }
        Start::Get(Get { key, ts, own }) => {
            let own = own.as_ref().map(|value| f::Own { value: value.clone() });
            (Kind::Get, f::Start { keys: vec![key.0.clone()], ts: ts.0, own, ..none })
        }
        Start::BatchGet(BatchGet { keys, ts, own }) => {
            (Kind::BatchGet, f::Start { keys: bytes(keys), ts: ts.0, writes: pairs(own), ..none })
        }
        Start::Scan(Scan { range: of, ts, limit: most, options, overlay }) => {
            let write = |(key, value): (&Key, Option<&Bytes>)| match value {
                Some(value) => put(key, value),
                None => {
                    f::Write { key: key.0.clone(), kind: f::WriteKind::Delete.into(), value: Bytes::new() }
                }
            };
            let (range, writes) = (Some(range(of)), overlay.writes().map(write).collect());
            let overlay_reverse = overlay.is_reverse();
            let message = f::Start { range, writes, ts: ts.0, limit: limit(*most), overlay_reverse, ..none };
            (Kind::Scan, scanned(options, message))
        }
        Start::Page(Page { range: of, ts, options, sets }) => {
            let (ignore, access) =
                (sets.ignore.iter().copied().collect(), sets.access.iter().copied().collect());
            let message = f::Start { range: Some(range(of)), ts: ts.0, ignore, access, ..none };
            (Kind::Page, scanned(options, message))
        }
        Start::Timestamp(AskTimestamp { purpose: Purpose::Begin }) => (Kind::BeginTimestamp, none),
        Start::Timestamp(AskTimestamp { purpose: Purpose::Current }) => (Kind::CurrentTimestamp, none),
        Start::Commit(Commit { start_ts, begun, mutations }) => {
            let writes = mutations.iter().map(mutation).collect();
            (Kind::Commit, f::Start { ts: start_ts.0, begun_ns: begun.0, writes, ..none })
        }
        Start::FindRegion(FindRegion { place: at }) => {
            (Kind::FindRegion, f::Start { place: Some(place(at)), ..none })
        }
        Start::ListRegions(ListRegions { range: of, limit: most }) => {
            (Kind::ListRegions, f::Start { range: Some(range(of)), limit: limit(*most), ..none })
        }
        Start::RegionBuckets(RegionBuckets { key, mode }) => {
            let raw = *mode == Mode::Raw;
            (Kind::RegionBuckets, f::Start { keys: vec![key.0.clone()], raw, ..none })
        }
        Start::SplitRegions(SplitRegions { keys, scatter, mode }) => {
            let raw = *mode == Mode::Raw;
            (Kind::SplitRegions, f::Start { keys: bytes(keys), group: scatter.clone(), raw, ..none })
        }
        Start::ScatterRegions(ScatterRegions { regions, group }) => {
            let regions = regions.iter().map(|region| region.0).collect();
            (Kind::ScatterRegions, f::Start { regions, group: Some(group.clone()), ..none })
        }
        Start::RegionOrder(RegionOrder { region, waits }) => {
            (Kind::RegionOrder, f::Start { regions: vec![region.0], waits: *waits, ..none })
        }
        Start::Pause(Pause { attempt }) => (Kind::Pause, f::Start { attempt: *attempt, ..none }),
        Start::CommitSecondaries { start_ts, commit_ts, primary, keys } => {
            let (keys, primary) = (bytes(keys), primary.0.clone());
            let message = f::Start { ts: start_ts.0, commit_ts: commit_ts.0, primary, keys, ..none };
            (Kind::CommitSecondaries, message)
        }
        Start::FinishCommit { start_ts, commit_ts, keys } => {
            let message = f::Start { ts: start_ts.0, commit_ts: commit_ts.0, keys: bytes(keys), ..none };
            (Kind::FinishCommit, message)
        }
        Start::RollBack { start_ts, keys } => {
            (Kind::RollBack, f::Start { ts: start_ts.0, keys: bytes(keys), ..none })
        }
        Start::CleanLocks { cleanings } => {
            (Kind::CleanLocks, f::Start { cleanings: cleanings.iter().map(cleaning).collect(), ..none })
        }
    };
    f::Start { operation: kind.into(), ..message }
}

/// The one key of a message.
fn key(message: &f::Start) -> Result<Key, Unreadable> {
    match message.keys.as_slice() {
        [key] => Ok(key.clone().into()),
        _ => Err(Unreadable("an operation of one key has none, or several")),
    }
}

fn place_of(message: &f::Start) -> Result<Place, Unreadable> {
    match message.place.as_ref().and_then(|place| place.place.as_ref()) {
        Some(f::PlaceKind::Holding(key)) => Ok(Place::Holding(key.clone().into())),
        Some(f::PlaceKind::Below(key)) => Ok(Place::Below(key.clone().into())),
        Some(f::PlaceKind::Id(id)) => Ok(Place::Id(RegionId(*id))),
        None => Err(Unreadable("a region is looked for nowhere")),
    }
}

fn all_pairs(message: &f::Start) -> Vec<KvPair> {
    let pair = |write: &f::Write| KvPair { key: write.key.clone().into(), value: write.value.clone() };
    message.writes.iter().map(pair).collect()
}

fn mutations(message: &f::Start) -> Result<Vec<Mutation>, Unreadable> {
    let read = |write: &f::Write| {
        let value = write.value.clone();
        let op = match f::WriteKind::try_from(write.kind) {
            Ok(f::WriteKind::Put) => Op::Put(value),
            Ok(f::WriteKind::Insert) => Op::Insert(value),
            Ok(f::WriteKind::Delete) => Op::Delete,
            Ok(f::WriteKind::CheckNotExists) => Op::CheckNotExists,
            Err(_) => return Err(Unreadable("a write of a kind that is not known")),
        };
        Ok(Mutation { key: write.key.clone().into(), op })
    };
    message.writes.iter().map(read).collect()
}

fn cleanings(message: &f::Start) -> Result<Vec<Cleaning>, Unreadable> {
    let read = |cleaning: &f::Cleaning| {
        let verdict = match f::Verdict::try_from(cleaning.verdict) {
            Ok(f::Verdict::RollBack) => Verdict::RollBack,
            Ok(f::Verdict::Commit) => Verdict::Commit(Timestamp(cleaning.ts)),
            Ok(f::Verdict::Release) => Verdict::Release { for_update_ts: Timestamp(cleaning.ts) },
            Err(_) => return Err(Unreadable("a verdict that is not known")),
        };
        Ok(Cleaning {
            start_ts: Timestamp(cleaning.start_ts),
            verdict,
            keys: keys(&cleaning.keys),
            whole_regions: cleaning.whole_regions,
            is_txn_file: cleaning.is_txn_file,
        })
    };
    message.cleanings.iter().map(read).collect()
}

/// The operation that `message` tells of.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(message: &f::Start) -> Result<Start, Unreadable> {
    let kind = Kind::try_from(message.operation).unwrap_or(Kind::Unknown);
    let cf = || Cow::Owned(message.cf.clone());
    let ts = Timestamp(message.ts);
    let commit_ts = Timestamp(message.commit_ts);
    let options = ScanOptions { reverse: message.reverse, keys_only: message.keys_only, page: message.page };
    let (ttl_s, for_cas) = (message.ttl_s, message.for_cas);
    let mode = || if message.raw { Mode::Raw } else { Mode::Txn };
    Ok(match kind {
        Kind::Unknown => return Err(Unreadable("an operation of a kind that is not known")),
        Kind::RawGet => RawGet { key: key(message)?, cf: cf() }.into(),
        Kind::RawPut => match message.writes.as_slice() {
            [f::Write { key, value, .. }] => {
                let (key, value) = (key.clone().into(), value.clone());
                RawPut { key, value, cf: cf(), ttl_s, for_cas }.into()
            }
            _ => return Err(Unreadable("a put of one key has none, or several")),
        },
        Kind::RawDelete => RawDelete { key: key(message)?, cf: cf(), for_cas }.into(),
        Kind::RawBatchGet => RawBatchGet { keys: keys(&message.keys), cf: cf() }.into(),
        Kind::RawBatchPut => RawBatchPut { pairs: all_pairs(message), cf: cf(), ttl_s, for_cas }.into(),
        Kind::RawBatchDelete => RawBatchDelete { keys: keys(&message.keys), cf: cf(), for_cas }.into(),
        Kind::RawScan => RawScan {
            range: key_range(message.range.as_ref()),
            limit: count(message.limit),
            reverse: message.reverse,
            keys_only: message.keys_only,
            cf: cf(),
        }
        .into(),
        Kind::RawDeleteRange => RawDeleteRange { range: key_range(message.range.as_ref()), cf: cf() }.into(),
        Kind::Get => Get { key: key(message)?, ts, own: message.own.clone().map(|own| own.value) }.into(),
        Kind::BatchGet => BatchGet { keys: keys(&message.keys), ts, own: all_pairs(message) }.into(),
        Kind::Scan => {
            let write = |write: &f::Write| {
                let value = (write.kind == i32::from(f::WriteKind::Put)).then(|| write.value.clone());
                (write.key.clone().into(), value)
            };
            let overlay = Overlay::of(message.writes.iter().map(write), message.overlay_reverse);
            let (range, limit) = (key_range(message.range.as_ref()), count(message.limit));
            Scan { range, ts, limit, options, overlay }.into()
        }
        Kind::Page => {
            let sets = LockSets {
                ignore: message.ignore.iter().copied().collect(),
                access: message.access.iter().copied().collect(),
            };
            Page { range: key_range(message.range.as_ref()), ts, options, sets }.into()
        }
        Kind::BeginTimestamp => AskTimestamp { purpose: Purpose::Begin }.into(),
        Kind::CurrentTimestamp => AskTimestamp { purpose: Purpose::Current }.into(),
        Kind::Commit => {
            Commit { start_ts: ts, begun: Instant(message.begun_ns), mutations: mutations(message)? }.into()
        }
        Kind::FindRegion => FindRegion { place: place_of(message)? }.into(),
        Kind::ListRegions => {
            ListRegions { range: key_range(message.range.as_ref()), limit: count(message.limit) }.into()
        }
        Kind::RegionBuckets => RegionBuckets { key: key(message)?, mode: mode() }.into(),
        Kind::SplitRegions => {
            let scatter = message.group.clone();
            SplitRegions { keys: keys(&message.keys), scatter, mode: mode() }.into()
        }
        Kind::ScatterRegions => {
            let regions = message.regions.iter().copied().map(RegionId).collect();
            ScatterRegions { regions, group: message.group.clone().unwrap_or_default() }.into()
        }
        Kind::RegionOrder => match message.regions.as_slice() {
            [region] => RegionOrder { region: RegionId(*region), waits: message.waits }.into(),
            _ => return Err(Unreadable("an operation of one region has none, or several")),
        },
        Kind::Pause => Pause { attempt: message.attempt }.into(),
        Kind::CommitSecondaries => Start::CommitSecondaries {
            start_ts: ts,
            commit_ts,
            primary: message.primary.clone().into(),
            keys: keys(&message.keys),
        },
        Kind::FinishCommit => Start::FinishCommit { start_ts: ts, commit_ts, keys: keys(&message.keys) },
        Kind::RollBack => Start::RollBack { start_ts: ts, keys: keys(&message.keys) },
        Kind::CleanLocks => Start::CleanLocks { cleanings: cleanings(message)? },
    })
}
