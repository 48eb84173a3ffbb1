//! One run: a seed's cluster, its clients under its troubles, all healed, all checked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tikv_client_core::error::{Error, TxnError};
use tikv_client_core::trace::{Recorder, replay};
use tikv_client_core::types::KeyRange;
use tikv_embedded::control::Node;
use tikv_embedded::model::{Cluster, Layout, Member, Pd};

use crate::check::columns::History;
use crate::check::linear::{self, Found};
use crate::check::lists;
use crate::digest::Digest;
use crate::exec::{Executor, Stuck, WORLD, nanos};
use crate::ledger::{Ledger, Outcome, Raw, RawOp, Read};
use crate::load::{Book, Ctx, Missed, prepare};
use crate::nemesis::{LATEST, Nemesis, any_bound};
use crate::net::{Net, cluster_time};
use crate::plan::{Limits, Plan, stream};
use crate::processes::Processes;
use crate::tally::{Tally, Totals};
use crate::violation::{Invariant, Verdict, Violation};

/// The longest that a run's world may exist.
const LONGEST: Duration = Duration::from_secs(4 * 60 * 60);

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What did not hold.
    pub violation: Option<Violation>,
    /// A digest over all that happened, and over how many events.
    pub digest: (u64, u64),
    /// What happened how often.
    pub totals: Totals,
}

/// Runs `seed`.
#[must_use]
pub fn run(seed: u64, limits: &Limits) -> Report {
    run_with(seed, limits, None)
}

/// Runs `seed` with a trace of what its clients do, which must replay.
#[must_use]
pub fn record(seed: u64, limits: &Limits) -> (Report, Vec<u8>) {
    let trace: Arc<Mutex<Vec<u8>>> = Arc::default();
    let sink = Arc::clone(&trace);
    let lock =
        |trace: &Mutex<Vec<u8>>| std::mem::take(&mut *trace.lock().unwrap_or_else(PoisonError::into_inner));
    let write = move |bytes: &[u8]| {
        sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    };
    let mut report = run_with(seed, limits, Some(Recorder::to_sink(write).redact_values(false)));
    let trace = lock(&trace);
    let replayed = match replay(&trace) {
        Ok(replayed) if replayed.is_identical() => {
            report.totals.add("replay.identical", replayed.identical);
            report.totals.add("replay.steps", replayed.steps);
            Ok(())
        }
        Ok(replayed) => Err(replayed.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(story) = replayed {
        report.violation.get_or_insert_with(|| Violation::new(Invariant::Replay, story));
    }
    (report, trace)
}

fn run_with(seed: u64, limits: &Limits, recorder: Option<Recorder>) -> Report {
    quiet_panics();
    let plan = Arc::new(Plan::draw(seed, limits));
    let (digest, tally, verdict) = (Digest::default(), Tally::default(), Verdict::default());
    let executor = Executor::new(plan.any_order.then(|| stream(seed, 2)), digest.clone());
    let mut ctx = world(&plan, &executor, (digest.clone(), tally.clone(), verdict.clone()));
    ctx.recorder = recorder;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let (root, stop) = (direct(ctx.clone()), verdict.clone());
        match executor.run(root, nanos(LONGEST), move || stop.is_broken()) {
            Ok(()) => check(&ctx),
            Err(Stuck::Stopped) => {}
            Err(stuck) => verdict.violate(Invariant::Hang, format!("{stuck:?}")),
        }
    }));
    if ran.is_err() {
        verdict.violate(Invariant::Panic, last_panic());
    }
    // What is left may panic, too, when it is dropped.
    if catch_unwind(AssertUnwindSafe(|| executor.end())).is_err() {
        verdict.violate(Invariant::Panic, last_panic());
    }
    tally.count("run.seeds");
    tally.add("run.virtual-seconds", executor.now() / 1_000_000_000);
    Report { violation: verdict.get(), digest: digest.value(), totals: tally.totals() }
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are reported as violations, with the place where they were.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANIC.with(|last| *last.borrow_mut() = info.to_string());
            if std::thread::current().name().is_none_or(|name| !name.starts_with("sim")) {
                before(info);
            }
        }));
    });
}

fn last_panic() -> String {
    PANIC.with(|last| last.borrow().clone())
}

fn world(plan: &Arc<Plan>, executor: &Executor, ends: (Digest, Tally, Verdict)) -> Ctx {
    let mut rng = stream(plan.seed, 3);
    let stores: Vec<String> = (1..=plan.stores).map(|n| format!("store-{n}:20160")).collect();
    let pds: Vec<String> = (0..plan.pd_members).map(|n| format!("pd-{n}:2379")).collect();
    let mut addresses: BTreeMap<String, Node> = BTreeMap::new();
    addresses.extend(stores.iter().cloned().zip((1..).map(Node::Store)));
    addresses.extend(pds.iter().cloned().zip((0..).map(Node::Pd)));
    let members = pds
        .iter()
        .zip(1..)
        .map(|(address, id)| Member::new(id, format!("pd-{id}"), format!("http://{address}")));
    let mut layout = Layout::new(stores, plan.replicas);
    layout.bounds = (0..plan.bounds).map(|_| any_bound(&mut rng)).collect();
    let replicas = u32::try_from(plan.replicas).unwrap_or(1);
    let mut topology = layout.build();
    topology.set_started(cluster_time(0).unix_seconds());
    let cluster = Cluster::new(topology, Pd::new(plan.seed + 1, members.collect(), replicas));
    let calm = crate::net::Weather::calm();
    let net = Net::new(executor.clone(), ends.clone(), cluster, addresses, calm, stream(plan.seed, 4));
    let (digest, tally, verdict) = ends;
    Ctx {
        plan: Arc::clone(plan),
        executor: executor.clone(),
        net,
        ledger: Ledger::default(),
        tally,
        verdict,
        digest,
        recorder: None,
        unique: Arc::default(),
    }
}

/// The course of a run.
async fn direct(ctx: Ctx) {
    let processes = Processes::new(ctx.clone());
    for slot in 0..processes.count() {
        processes.start(slot).await;
    }
    let Some(first) = processes.client(0) else { return };
    if let Err(missed) = prepare(&ctx, &first).await {
        ctx.verdict.violate(Invariant::WrongError, format!("on a calm network: {missed:?}"));
        return;
    }
    drop(first);
    ctx.net.with(|state, _| state.weather = ctx.plan.weather.clone());
    let nemesis = Nemesis::new(ctx.clone(), processes.clone(), stream(ctx.plan.seed, 6));
    ctx.executor.spawn(WORLD, Box::pin(nemesis.clone().run()));
    for slot in 0..processes.count() {
        processes.put_to_work(slot);
    }
    let storm_ends = ctx.executor.now() + nanos(ctx.plan.storm);
    while !processes.is_idle() && ctx.executor.now() < storm_ends {
        ctx.executor.sleep(Duration::from_millis(10)).await;
    }
    nemesis.heal();
    // Every call is bounded, and so is the number of calls: this ends.
    while !processes.is_idle() {
        ctx.executor.sleep(Duration::from_millis(10)).await;
    }
    ctx.executor.sleep(LATEST).await;
    // Timestamps that have jumped ahead stand still, and with them the lives of locks, until the clock is there.
    let ahead =
        ctx.net.with(|state, now| (state.cluster.pd.oracle.last() >> 18).saturating_sub(now.unix_ms()));
    ctx.executor.sleep(Duration::from_millis(ahead)).await;
    if ctx.plan.faults.is_empty() {
        // Nothing was in the way of those who clean up behind themselves.
        let locks = ctx.net.with(|state, _| state.cluster.engine().lock_rows());
        if !locks.is_empty() {
            ctx.verdict.violate(Invariant::LockLeft, format!("without any trouble: {locks:?}"));
        }
    }
    read_all(&ctx, &processes).await;
    for slot in 0..processes.count() {
        processes.close(slot).await;
    }
}

/// Times that everything is read at the end; a reader removes only the locks it stops at, and goes round others of their owners.
const LAST_SCANS: usize = 60;

/// Reads everything until no lock is left: whoever stops at one sees to it that it goes.
async fn read_all(ctx: &Ctx, processes: &Processes) {
    let Some(client) = processes.client(0) else { return };
    for _ in 0..LAST_SCANS {
        let begun = ctx.executor.now();
        let Ok(ts) = ctx.call("timestamp", ctx.plan.deadline, None, client.current_timestamp()).await else {
            return ctx.verdict.violate(Invariant::Hang, "no timestamp, though all is healed");
        };
        let book = Book::new(ctx, "last scan", ts.0, begun);
        for prefix in ["bank/", "count/", "list/", "row/"] {
            let range = KeyRange::prefix(prefix);
            let deadline = Duration::from_secs(300);
            let scan = client.snapshot(ts).scan(&range).deadline(deadline);
            match ctx.call("last-scan", deadline, None, scan).await {
                Ok(found) => {
                    let pairs = found.into_iter().map(|pair| (pair.key.0, pair.value)).collect();
                    let (start, end) = (range.start.0, range.end.0);
                    book.scanned(Read::Range { start, end, limit: usize::MAX, reverse: false, pairs });
                }
                // The lock of a dead client lives longer than a scan waits.
                Err(Missed::Error(Error::Txn(TxnError::Locked { .. }))) => {}
                Err(missed) => {
                    let story = format!("the last scan, though all is healed: {missed:?}");
                    return ctx.verdict.violate(Invariant::Hang, story);
                }
            }
        }
        book.end(Outcome::Committed(ts.0));
        // What was met is removed in the background.
        ctx.executor.sleep(Duration::from_millis(500)).await;
        if ctx.net.with(|state, _| state.cluster.engine().lock_rows().is_empty()) {
            return;
        }
    }
    let locks = ctx.net.with(|state, _| state.cluster.engine().lock_rows());
    ctx.verdict.violate(Invariant::LockLeft, format!("{locks:?}"));
}

/// What can be checked only at the end.
fn check(ctx: &Ctx) {
    let (txns, raws) = (ctx.ledger.txns(), ctx.ledger.raws());
    let history = History::of(ctx.net.with(|state, _| state.cluster.engine().write_rows()));
    ctx.verdict.check(history.check(&txns));
    ctx.verdict.check(lists::check(&txns, crate::load::LISTS.as_bytes()));
    for (key, values) in history.values(crate::load::COUNTERS.as_bytes()) {
        let count = |n: usize| Bytes::from((n + 1).to_string());
        if !values.iter().enumerate().all(|(n, value)| *value == Some(&count(n))) {
            let story = format!("{} had the values {values:?}", key.escape_ascii());
            ctx.verdict.violate(Invariant::Counter, story);
        }
    }
    let mut by_key: BTreeMap<Bytes, Vec<Raw>> = BTreeMap::new();
    for raw in with_repeats(ctx, raws) {
        by_key.entry(raw.key.clone()).or_default().push(raw);
    }
    for (key, calls) in by_key {
        match linear::check(&calls) {
            Found::Order => ctx.tally.count("linear.order"),
            Found::TooMany => ctx.tally.count("linear.too-many"),
            Found::None => {
                let story = format!("{}: no register does this: {calls:?}", key.escape_ascii());
                ctx.verdict.violate(Invariant::Linearizable, story);
            }
        }
    }
}

/// The raw calls, and once more each write that stores got more often than once: a client that hears nothing sends again, and
/// both may be executed, the first even behind the answer to the second.
fn with_repeats(ctx: &Ctx, raws: Vec<Raw>) -> Vec<Raw> {
    let mut repeats = Vec::new();
    let mut deletes: BTreeMap<Bytes, (u64, u64)> = BTreeMap::new();
    for raw in &raws {
        match &raw.op {
            RawOp::Get(_) => {}
            RawOp::Put(value) => {
                let times = ctx.net.with(|state, _| state.witness.raw_writes(&raw.key, Some(value)));
                let again = Raw { ended: None, ..raw.clone() };
                repeats.extend(std::iter::repeat_n(
                    again,
                    usize::try_from(times).unwrap_or(0).saturating_sub(1),
                ));
            }
            RawOp::Delete => {
                let entry = deletes.entry(raw.key.clone()).or_insert((raw.begun, 0));
                entry.1 += 1;
            }
        }
    }
    // Which of a key's deletes was repeated nobody sees.
    for (key, (begun, calls)) in deletes {
        let times = ctx.net.with(|state, _| state.witness.raw_writes(&key, None));
        let again = Raw { key, op: RawOp::Delete, begun, ended: None };
        repeats.extend(std::iter::repeat_n(again, usize::try_from(times.saturating_sub(calls)).unwrap_or(0)));
    }
    repeats.extend(raws);
    repeats
}
