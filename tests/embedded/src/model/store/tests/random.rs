//! Random histories against a model that knows only what was committed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tikv_proto::kvrpcpb::*;

use super::*;

/// Keys of the histories: few, so that transactions meet.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    /// Begins a transaction that prewrites these keys; `Some`: a value, `None`: a delete.
    Begin { writes: Vec<(usize, Option<u8>)>, how: How },
    /// Begins a pessimistic transaction that locks these keys.
    Lock { keys: Vec<usize> },
    /// Locks more keys for the n-th transaction that holds some.
    LockMore { which: prop::sample::Index, keys: Vec<usize> },
    /// Prewrites what the n-th of them has locked: a value for each key, or a delete.
    Prewrite { which: prop::sample::Index, values: Vec<Option<u8>>, how: How },
    /// Gives up the locks of the n-th of them.
    LetGo { which: prop::sample::Index },
    /// Decides the n-th open transaction.
    Decide { which: prop::sample::Index, commit: bool },
    /// Reads all keys, as of some time ago.
    Read { ago: u64 },
    /// Collects what is older than some time ago.
    Collect { ago: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    TwoPhase,
    Async,
    OnePhase,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![Just(How::TwoPhase), Just(How::Async), Just(How::OnePhase)];
    let writes = prop::collection::btree_map(0..KEYS.len(), prop::option::weighted(0.8, any::<u8>()), 1..3);
    let keys =
        || prop::collection::btree_set(0..KEYS.len(), 1..3).prop_map(|keys| keys.into_iter().collect());
    let which = any::<prop::sample::Index>;
    let values = prop::collection::vec(prop::option::weighted(0.8, any::<u8>()), KEYS.len());
    prop_oneof![
        2 => keys().prop_map(|keys| Step::Lock { keys }),
        1 => (which(), keys()).prop_map(|(which, keys)| Step::LockMore { which, keys }),
        2 => (which(), values, how.clone())
            .prop_map(|(which, values, how)| Step::Prewrite { which, values, how }),
        1 => which().prop_map(|which| Step::LetGo { which }),
        3 => (writes, how).prop_map(|(writes, how)| Step::Begin { writes: writes.into_iter().collect(), how }),
        3 => (any::<prop::sample::Index>(), prop::bool::weighted(0.7))
            .prop_map(|(which, commit)| Step::Decide { which, commit }),
        2 => (0..40_u64).prop_map(|ago| Step::Read { ago }),
        1 => (0..40_u64).prop_map(|ago| Step::Collect { ago }),
    ]
}

/// What is known from outside.
#[derive(Debug, Default)]
struct Known {
    /// By key: what was committed when.
    committed: BTreeMap<usize, BTreeMap<u64, Option<Bytes>>>,
    open: Vec<Open>,
    held: Vec<Held>,
    clock: u64,
    /// Nobody reads below it any more.
    safe_point: u64,
}

/// A transaction that has locked keys and prewritten none.
#[derive(Debug)]
struct Held {
    start_ts: u64,
    for_update_ts: u64,
    keys: Vec<usize>,
}

#[derive(Debug)]
struct Open {
    start_ts: u64,
    /// From async commit; 0 otherwise.
    min_commit_ts: u64,
    writes: Vec<(usize, Option<Bytes>)>,
}

impl Known {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn at(&self, key: usize, ts: u64) -> Option<Bytes> {
        self.committed.get(&key)?.range(..=ts).next_back()?.1.clone()
    }

    /// Whether a transaction that is not decided has locked the key, before or by its prewrite.
    fn is_locked(&self, key: usize) -> bool {
        let prewritten = self.open.iter().any(|open| open.writes.iter().any(|(other, _)| *other == key));
        prewritten || self.held.iter().any(|held| held.keys.contains(&key))
    }

    fn commit(&mut self, writes: Vec<(usize, Option<Bytes>)>, commit_ts: u64) {
        for (key, value) in writes {
            self.committed.entry(key).or_default().insert(commit_ts, value);
        }
        // As PD's clock: nobody begins or reads at a timestamp before it was given out.
        self.clock = self.clock.max(commit_ts);
    }
}

fn begin(bench: &mut Bench, known: &mut Known, writes: Vec<(usize, Option<u8>)>, how: How) {
    let start_ts = known.tick();
    let writes: Vec<_> = writes.into_iter().map(|(key, byte)| (key, byte.map(value))).collect();
    let mutations: Vec<_> = writes.iter().map(mutation).collect();
    let request = PrewriteRequest {
        use_async_commit: how == How::Async,
        try_one_pc: how == How::OnePhase,
        ..bench.prewrite_request(start_ts, &mutations)
    };
    let answer = ask!(bench, Prewrite, request);
    let met = |key: usize| {
        let locked = known.is_locked(key);
        let newer = known.committed.get(&key).is_some_and(|of| of.range(start_ts..).next().is_some());
        locked || newer
    };
    assert_eq!(answer.errors.is_empty(), !writes.iter().any(|(key, _)| met(*key)), "{answer:?}");
    if !answer.errors.is_empty() {
        return;
    }
    if answer.one_pc_commit_ts > 0 {
        known.commit(writes, answer.one_pc_commit_ts);
    } else {
        known.open.push(Open { start_ts, min_commit_ts: answer.min_commit_ts, writes });
    }
}

/// What a byte stands for. Long values now and then: they live elsewhere.
fn value(byte: u8) -> Bytes {
    Bytes::from(vec![byte; if byte.is_multiple_of(8) { 300 } else { 3 }])
}

fn mutation((key, value): &(usize, Option<Bytes>)) -> Mutation {
    match value {
        Some(value) => Mutation { value: value.clone(), ..put(KEYS[*key], "") },
        None => op(Op::Del, KEYS[*key]),
    }
}

/// Locks `keys`, which works if nobody else has one of them, and tells what is there now.
fn lock(bench: &mut Bench, known: &mut Known, held: Option<Held>, keys: &[usize]) {
    let for_update_ts = known.tick();
    let mut held = held.unwrap_or(Held { start_ts: for_update_ts, for_update_ts, keys: Vec::new() });
    held.for_update_ts = for_update_ts;
    let named: Vec<_> = keys.iter().map(|key| KEYS[*key]).collect();
    let request = PessimisticLockRequest {
        for_update_ts,
        return_values: true,
        ..pessimistic::request(bench, held.start_ts, &named)
    };
    let answer = ask!(bench, PessimisticLock, request);
    let free = keys.iter().all(|key| !known.is_locked(*key));
    assert_eq!(answer.errors.is_empty(), free, "{answer:?}");
    if free {
        let expected = keys.iter().map(|key| known.at(*key, for_update_ts).unwrap_or_default());
        assert_eq!(answer.values, expected.collect::<Vec<_>>());
        held.keys.extend(keys.iter().copied().filter(|key| !held.keys.contains(key)).collect::<Vec<_>>());
    }
    if !held.keys.is_empty() {
        known.held.push(held);
    }
}

/// Prewrites what is locked, which works.
fn prewrite(bench: &mut Bench, known: &mut Known, held: Held, values: &[Option<u8>], how: How) {
    let writes: Vec<_> = held.keys.iter().map(|&key| (key, values[key].map(value))).collect();
    let mutations: Vec<_> = writes.iter().map(mutation).collect();
    let request = PrewriteRequest {
        for_update_ts: held.for_update_ts,
        pessimistic_actions: vec![1; mutations.len()],
        use_async_commit: how == How::Async,
        try_one_pc: how == How::OnePhase,
        ..bench.prewrite_request(held.start_ts, &mutations)
    };
    let answer = ask!(bench, Prewrite, request);
    assert_eq!(answer.errors, []);
    if answer.one_pc_commit_ts > 0 {
        known.commit(writes, answer.one_pc_commit_ts);
    } else {
        known.open.push(Open { start_ts: held.start_ts, min_commit_ts: answer.min_commit_ts, writes });
    }
}

fn let_go(bench: &mut Bench, held: &Held) {
    let request = PessimisticRollbackRequest {
        context: bench.context(b"a"),
        start_version: held.start_ts,
        for_update_ts: held.for_update_ts,
        keys: held.keys.iter().map(|key| owned(KEYS[*key])).collect(),
    };
    assert_eq!(ask!(bench, PessimisticRollback, request), PessimisticRollbackResponse::default());
}

fn decide(bench: &mut Bench, known: &mut Known, open: Open, commit: bool) {
    let keys: Vec<_> = open.writes.iter().map(|(key, _)| KEYS[*key]).collect();
    if !commit {
        assert_eq!(bench.roll_back(&keys, open.start_ts).error, None);
        let again = bench.commit(&keys, open.start_ts, open.start_ts + 1_000_000);
        assert!(again.error.unwrap().txn_lock_not_found.is_some());
        return;
    }
    let commit_ts = if open.min_commit_ts > 0 { open.min_commit_ts } else { known.tick() };
    assert_eq!(bench.commit(&keys, open.start_ts, commit_ts).error, None);
    known.commit(open.writes, commit_ts);
}

fn read(bench: &mut Bench, known: &Known, ts: u64) {
    let context = bench.context(b"");
    let scan = ScanRequest { context, limit: 100, version: ts, ..Default::default() };
    let scanned = ask!(bench, Scan, scan.clone());
    let backwards = ask!(bench, Scan, ScanRequest { start_key: owned("z"), reverse: true, ..scan });
    let mut expected = Vec::new();
    for (key, name) in KEYS.iter().enumerate() {
        let holder = known.open.iter().find(|open| open.writes.iter().any(|(other, _)| *other == key));
        let hidden = holder.filter(|open| open.start_ts <= ts && open.min_commit_ts <= ts);
        let answer = bench.get(name, ts);
        match hidden {
            Some(open) => {
                assert_eq!(answer.error.unwrap().locked.unwrap().lock_version, open.start_ts);
                expected.push(None);
            }
            None => {
                let value = known.at(key, ts);
                assert_eq!((answer.error, answer.not_found), (None, value.is_none()), "{name} at {ts}");
                assert_eq!(answer.value, value.clone().unwrap_or_default(), "{name} at {ts}");
                expected.extend(value.map(|value| Some((owned(name), value))));
            }
        }
    }
    let pair = |pair: KvPair| pair.error.is_none().then_some((pair.key, pair.value));
    assert_eq!(scanned.pairs.into_iter().map(pair).collect::<Vec<_>>(), expected);
    expected.reverse();
    assert_eq!(backwards.pairs.into_iter().map(pair).collect::<Vec<_>>(), expected);
}

/// Collects garbage up to `ago`, but not beyond the start of a transaction that is not decided: who drives a collection has
/// resolved their locks.
fn collect(bench: &mut Bench, known: &mut Known, ago: u64) {
    let open = known.open.iter().map(|open| open.start_ts);
    let undecided = open.chain(known.held.iter().map(|held| held.start_ts)).min();
    let now = known.tick();
    let safe_point = now.saturating_sub(ago).min(undecided.map_or(u64::MAX, |start_ts| start_ts - 1));
    known.safe_point = known.safe_point.max(safe_point);
    bench.engine.collect_garbage(&Bytes::new(), &Bytes::new(), known.safe_point);
}

proptest! {
    /// Snapshot isolation: a read gives what was committed up to its timestamp and nothing else, at once and ever
    /// after, or names the lock that keeps it from knowing; a prewrite succeeds unless it meets a lock or a newer version.
    #[test]
    fn reads_give_what_was_committed(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new();
        let mut known = Known { clock: 100, ..Known::default() };
        for step in steps {
            match step {
                Step::Begin { writes, how } => begin(&mut bench, &mut known, writes, how),
                Step::Lock { keys } => lock(&mut bench, &mut known, None, &keys),
                Step::LockMore { which, keys } if !known.held.is_empty() => {
                    let held = known.held.remove(which.index(known.held.len()));
                    // Its own keys it may lock again.
                    lock(&mut bench, &mut known, Some(held), &keys);
                }
                Step::Prewrite { which, values, how } if !known.held.is_empty() => {
                    let held = known.held.remove(which.index(known.held.len()));
                    prewrite(&mut bench, &mut known, held, &values, how);
                }
                Step::LetGo { which } if !known.held.is_empty() => {
                    let held = known.held.remove(which.index(known.held.len()));
                    let_go(&mut bench, &held);
                }
                Step::LockMore { .. } | Step::Prewrite { .. } | Step::LetGo { .. } => {}
                Step::Decide { which, commit } if !known.open.is_empty() => {
                    let open = known.open.remove(which.index(known.open.len()));
                    decide(&mut bench, &mut known, open, commit);
                }
                Step::Decide { .. } => {}
                Step::Read { ago } => {
                    let ts = known.tick().saturating_sub(ago).max(known.safe_point);
                    read(&mut bench, &known, ts);
                }
                Step::Collect { ago } => collect(&mut bench, &mut known, ago),
            }
        }
        for held in std::mem::take(&mut known.held) {
            let_go(&mut bench, &held);
        }
        for open in std::mem::take(&mut known.open) {
            decide(&mut bench, &mut known, open, true);
        }
        for ts in (known.safe_point.max(90)..=known.tick()).step_by(7) {
            read(&mut bench, &known, ts);
        }
    }
}
