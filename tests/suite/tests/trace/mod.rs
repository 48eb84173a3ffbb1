//! Traces of real runs: every operation replays as it went, though it ran among others on several threads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_client_core::trace::format::{
    Cause, Completion, EffectKind, Entry, FeedbackKind, Operation, WireKind,
};
use tikv_client_core::trace::{Record, Recorder, Records, redact, replay};
use tikv_client_core::txn::{TransactOptions, Transaction};
use tikv_embedded::control::{Action, Matcher, Node, Refusal, Rule};
use tikv_embedded::{Cluster, Fault};

use crate::fixture::{client_with, in_time, sleep, timeout};
use crate::runtimes::{Rt, test_on_each_runtime};

/// What values and keys begin with, so that they are found where they must not be.
const VALUE: &str = "the-secret-value";
const KEY: &str = "private";

const TRANSACTIONS: u64 = 64;

#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn recorder(&self) -> Recorder {
        let tape = Arc::clone(&self.0);
        Recorder::to_sink(move |bytes: &[u8]| tape.lock().unwrap().extend_from_slice(bytes))
    }

    fn trace(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

fn recording(recorder: Recorder) -> Config {
    let mut config = Config::default();
    config.trace = Some(recorder);
    config
}

fn key(n: usize) -> String {
    // Two in each region, and some of one prefix.
    format!("{}{KEY}{n:02}", char::from(b'a' + (n * 3 % 26) as u8))
}

/// One transaction of everything that there is: reads of all kinds and writes, some in the way of others.
async fn work(client: Client, task: u64) -> Result<(), Error> {
    let options = TransactOptions::default().deadline(Duration::from_secs(15));
    let done = client.transact_with(options, async move |txn: &mut Transaction| -> Result<(), Error> {
        let mut rng = Rng::with_seed(task);
        let hot = key(rng.usize(..12));
        let before = txn.get(hot.as_str()).await?.map_or(0, |value| value.len());
        let all = txn.batch_get((0..12).map(key)).await?.len();
        txn.put(hot, format!("{VALUE}{}{all}", "+".repeat(before % 50)))?;
        for _ in 0..rng.usize(1..4) {
            txn.put(key(rng.usize(12..60)), format!("{VALUE}{task}"))?;
        }
        txn.delete(key(rng.usize(60..90)))?;
        if task.is_multiple_of(4) {
            let range = if task.is_multiple_of(8) { "c".."p" } else { "a".."e" };
            let scan = txn.scan(range).limit(20).batch_size(4);
            if task.is_multiple_of(3) {
                scan.reverse().await?
            } else {
                scan.await?
            };
        }
        Ok(())
    });
    done.await.map(drop)
}

/// What goes wrong meanwhile.
fn faults(cluster: &Cluster) -> Vec<Fault> {
    [
        ("KvPrewrite", Action::Refuse(Refusal::NotLeader { leader: None })),
        ("KvPrewrite", Action::RefuseAfter(Refusal::StaleCommand)),
        ("KvPrewrite", Action::BreakAfter),
        ("KvCommit", Action::RefuseAfter(Refusal::EpochNotMatch { siblings: 0 })),
        ("KvCommit", Action::BreakAfter),
        ("KvGet", Action::Refuse(Refusal::RegionNotFound)),
        ("KvGet", Action::Break),
        ("KvBatchGet", Action::Refuse(Refusal::StaleCommand)),
        ("KvScan", Action::Break),
    ]
    .into_iter()
    .map(|(method, action)| cluster.fault(Rule::new(Matcher::method(method), action).skip(5).times(3)))
    .collect()
}

/// Splits regions, moves leaders and breaks streams.
async fn disturb(cluster: &Cluster) {
    let mut rng = Rng::with_seed(7);
    for n in 0..30 {
        let key = key(rng.usize(..32));
        match n % 5 {
            0 | 1 => drop(cluster.split(&key)),
            2 | 3 => drop(cluster.transfer_leader(cluster.region_of(&key).unwrap(), rng.u64(1..=3))),
            _ => drop(cluster.disconnect(Node::Store(rng.u64(1..=3)))),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// The trace of 64 transactions at once in a cluster that is not at rest, with calls that are dropped or have no time.
async fn recorded(rt: &Rt, change: impl Fn(Recorder) -> Recorder) -> Vec<u8> {
    let cluster = rt.txn_cluster();
    let tape = Tape::default();
    let client = client_with(&cluster, recording(change(tape.recorder()))).await;
    let faults = faults(&cluster);
    let running: Vec<_> = (0..TRANSACTIONS).map(|task| rt.spawn(work(client.clone(), task))).collect();
    let others = async {
        for n in 0..16 {
            let snapshot = client.snapshot(in_time(client.current_timestamp()).await.unwrap());
            // Dropped wherever it is by then, or over before.
            drop(timeout(Duration::from_millis(n), snapshot.batch_get((0..32).map(key))).await);
            drop(snapshot.get(key(3)).deadline(Duration::from_micros(n * 100)).await);
            let mut txn = in_time(client.begin()).await.unwrap();
            txn.put(key(n as usize), VALUE).unwrap();
            txn.put(key(31), VALUE).unwrap();
            drop(timeout(Duration::from_millis(n), txn.commit()).await);
        }
    };
    tokio::join!(disturb(&cluster), others);
    for task in running {
        // What becomes of it is of no importance here, but that it ends: on a busy machine some run out of time.
        if let Err(error) = in_time(task).await.unwrap() {
            assert!(
                matches!(error.kind(), ErrorKind::Undetermined | ErrorKind::Timeout | ErrorKind::Conflict),
                "{error:?}"
            );
        }
    }
    assert!(faults.iter().filter(|fault| fault.hits() > 0).count() > 6);
    client.close(Duration::from_secs(20)).await;
    // A service writes its last records when its task ends.
    rt.no_tasks().await;
    tape.trace()
}

fn entries(trace: &[u8]) -> Vec<Entry> {
    Records::new(trace).unwrap().map(|record: Result<Record, _>| record.unwrap().entry.unwrap()).collect()
}

fn has(trace: &[u8], text: &str) -> bool {
    trace.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Every operation of the trace replays; how many there are.
#[track_caller]
fn replays(trace: &[u8]) -> (u64, u64) {
    let report = replay(trace).unwrap();
    assert!(report.is_identical(), "{report}");
    assert_eq!((report.cut, report.unfinished, report.withheld), (0, 0, 0), "{report}");
    (report.identical, report.steps)
}

#[apply(test_on_each_runtime)]
async fn each_of_64_concurrent_transactions_under_faults_replays_identically(rt: Rt) {
    let trace = recorded(&rt, |recorder| recorder.redact_values(false)).await;
    let (operations, steps) = replays(&trace);
    // Of a transaction at least its begin, two reads, its commit and what that leaves.
    assert!(
        operations > 4 * TRANSACTIONS && steps > 3 * operations,
        "{operations} operations, {steps} steps"
    );
    assert!(has(&trace, VALUE));
    let entries = entries(&trace);
    let steps =
        || entries.iter().filter_map(|entry| if let Entry::Step(step) = entry { Some(step) } else { None });
    let effect = |wanted: &dyn Fn(&EffectKind) -> bool| {
        steps().flat_map(|step| &step.effects).filter_map(|effect| effect.effect.as_ref()).any(wanted)
    };
    let completion = |wanted: &dyn Fn(&Completion) -> bool| {
        steps().any(|step| match &step.cause {
            Some(Cause::Completed(completed)) => completed.completion.as_ref().is_some_and(wanted),
            _ => false,
        })
    };
    assert!(
        effect(&|effect| matches!(effect, EffectKind::Call(call) if call.retry)),
        "nothing was sent again"
    );
    assert!(
        effect(&|effect| matches!(effect, EffectKind::Timer(timer) if !timer.name.is_empty())),
        "nothing paused"
    );
    assert!(effect(&|effect| matches!(effect, EffectKind::Spawn(_))), "nothing went to the background");
    assert!(
        effect(
            &|effect| matches!(effect, EffectKind::Report(report) if matches!(report.feedback, Some(FeedbackKind::Replaced(_) | FeedbackKind::LeaderIs(_))))
        ),
        "nothing was learned"
    );
    assert!(completion(&|completion| matches!(completion, Completion::Fault(_))), "nothing got lost");
    assert!(
        entries.iter().any(|entry| matches!(entry, Entry::End(end) if end.dropped)),
        "nothing was dropped"
    );
    assert!(
        entries.iter().any(|entry| matches!(entry, Entry::End(end) if end.error == "Timeout")),
        "nothing was late"
    );
    for kind in [
        Operation::Commit,
        Operation::CommitSecondaries,
        Operation::BatchGet,
        Operation::Get,
        Operation::Scan,
    ] {
        let is = |entry: &Entry| matches!(entry, Entry::Begin(begin) if begin.start.as_ref().is_some_and(|start| start.operation == i32::from(kind)));
        assert!(entries.iter().any(is), "{kind:?} was not recorded");
    }
    let left = |entry: &Entry| matches!(entry, Entry::Begin(begin) if begin.parent != 0);
    assert!(entries.iter().any(left), "nobody left anything to the background");
    for kind in
        [WireKind::Opened, WireKind::Send, WireKind::Item, WireKind::Closed, WireKind::Call, WireKind::Answer]
    {
        let is = |entry: &Entry| matches!(entry, Entry::Wire(wire) if wire.kind == i32::from(kind) && !wire.address.is_empty());
        assert!(entries.iter().any(is), "{kind:?} was not recorded");
    }
}

#[apply(test_on_each_runtime)]
async fn with_values_zeroed_and_keys_hidden_they_replay_identically_too(rt: Rt) {
    let trace = recorded(&rt, |recorder| recorder).await;
    let all = replays(&trace);
    assert!(has(&trace, KEY) && !has(&trace, VALUE));
    let hidden = redact(&trace).unwrap();
    assert_eq!(replays(&hidden), all);
    assert!(!has(&hidden, KEY) && !has(&hidden, "70726976617465"));
}

#[apply(test_on_each_runtime)]
async fn a_ring_tells_of_an_error_with_the_operations_around_it(rt: Rt) {
    let cluster = rt.txn_cluster();
    let told = Tape::default();
    let tape = told.clone();
    let recorder = Recorder::ring(Duration::from_secs(10), 1 << 20).on_error(
        [ErrorKind::Timeout],
        move |recorder, _| {
            *tape.0.lock().unwrap() = recorder.dump();
        },
    );
    let client = client_with(&cluster, recording(recorder)).await;
    let snapshot = client.snapshot(client.current_timestamp().await.unwrap());
    snapshot.get("a").await.unwrap();
    assert!(told.trace().is_empty());
    let lost = cluster.fault(Rule::new(Matcher::method("KvGet"), Action::Lose));
    let under_way = rt.spawn(snapshot.get("c").into_future());
    lost.hit(1).await;
    snapshot.get("b").deadline(Duration::from_millis(100)).await.unwrap_err();
    under_way.abort();
    let trace = told.trace();
    let report = replay(&trace).unwrap();
    assert!(report.is_identical(), "{report}");
    // The one that is under way is in it, too.
    assert_eq!((report.identical, report.unfinished, report.cut), (4, 1, 0), "{report}");
}

#[apply(test_on_each_runtime)]
async fn two_clients_may_share_a_recorder_and_raw_calls_are_recorded_as_all_others(rt: Rt) {
    let cluster = rt.raw_cluster();
    let tape = Tape::default();
    let recorder = tape.recorder().redact_values(false);
    let clients = [
        client_with(&cluster, recording(recorder.clone())).await,
        client_with(&cluster, recording(recorder)).await,
    ];
    for client in &clients {
        let raw = client.raw();
        raw.put("a", "1").await.unwrap();
        raw.get("a").await.unwrap();
        raw.batch_put([("b", "2"), ("z", "3")]).await.unwrap();
        raw.batch_get(["b", "z", "b"]).await.unwrap();
        raw.scan(.., 9).reverse().await.unwrap();
        raw.batch_delete(["b"]).await.unwrap();
        raw.delete("a").await.unwrap();
        raw.delete_range("a".."y").await.unwrap();
        raw.get("").await.unwrap_err();
    }
    for client in clients {
        client.close(Duration::from_secs(5)).await;
    }
    rt.no_tasks().await;
    let trace = tape.trace();
    // A refused call does nothing, so there is nothing to record.
    assert_eq!(replays(&trace).0, 16);
    replays(&redact(&trace).unwrap());
    let mut clients: Vec<u64> = entries(&trace)
        .into_iter()
        .filter_map(|entry| if let Entry::Begin(begin) = entry { Some(begin.client) } else { None })
        .collect();
    clients.dedup();
    assert_eq!(clients, [1, 2]);
}
