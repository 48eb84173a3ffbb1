//! What a test makes of stores and replicas, as a client sees it: `cluster.md` 4.2, 4.3, 8.6, 19.2.

use std::time::Duration;

use tikv_proto::errorpb::Error;

use super::*;
use crate::control::{Action, Matcher, Rule};
use crate::model::{Answer, Call, Cluster, Command, Conditions, Disk, Met, Pd, Reply, Token};

fn conditions(bench: &mut Bench) -> &mut Conditions {
    &mut bench.topology.conditions
}

fn region(bench: &Bench) -> u64 {
    bench.context_at(b"k").region_id
}

fn put_error(bench: &mut Bench, change: impl FnOnce(&mut Context)) -> Option<Error> {
    let mut request = bench.prewrite_request(10, &[put("k", "v")]);
    change(request.context.as_mut().unwrap());
    ask!(bench, Prewrite, request).region_error.map(|error| *error)
}

fn get_error(bench: &mut Bench, change: impl FnOnce(&mut Context)) -> Option<Error> {
    let mut context = bench.context(b"k").unwrap();
    change(&mut context);
    let request = GetRequest { context: Some(context), key: owned("k"), version: 5, ..Default::default() };
    ask!(bench, Get, request).region_error.map(|error| *error)
}

#[test]
fn a_full_disk_takes_what_gives_room_back_and_what_insists() {
    use DiskFullOpt::{AllowedOnAlmostFull, AllowedOnAlreadyFull, NotAllowedOnFull};
    // How full, what the request says; whether new data and whether a rollback is taken.
    for (disk, option, data, rollback) in [
        (Disk::AlmostFull, NotAllowedOnFull, false, true),
        (Disk::AlmostFull, AllowedOnAlmostFull, true, true),
        (Disk::AlreadyFull, AllowedOnAlmostFull, false, false),
        (Disk::AlreadyFull, AllowedOnAlreadyFull, true, true),
    ] {
        let mut bench = Bench::new();
        conditions(&mut bench).set_disk(1, disk);
        let error = put_error(&mut bench, |context| context.set_disk_full_opt(option));
        assert_eq!(error.is_none(), data, "{disk:?} {option:?}");
        if let Some(error) = error {
            assert_eq!(error.disk_full.unwrap().store_id, [1]);
        }
        let mut context = bench.context(b"k").unwrap();
        context.set_disk_full_opt(option);
        let keys = vec![owned("k")];
        let request =
            BatchRollbackRequest { context: Some(context), keys, start_version: 10, ..Default::default() };
        let error = ask!(bench, BatchRollback, request).region_error;
        assert_eq!(error.is_none(), rollback, "{disk:?} {option:?}");
    }
}

#[test]
fn a_busy_store_refuses_reads_that_do_not_want_to_wait_as_long() {
    let mut bench = Bench::new();
    conditions(&mut bench).set_busy(1, Some(Duration::from_millis(200)));
    assert_eq!(get_error(&mut bench, |_| {}), None);
    assert_eq!(get_error(&mut bench, |context| context.busy_threshold_ms = 200), None);
    let error = get_error(&mut bench, |context| context.busy_threshold_ms = 199).unwrap();
    assert_eq!(error.server_is_busy.unwrap().estimated_wait_ms, 200);
}

#[test]
fn a_leader_without_synced_max_ts_computes_no_timestamp() {
    let mut bench = Bench::new();
    let id = region(&bench);
    conditions(&mut bench).set_max_ts_unsynced(id, true);
    for (use_async_commit, try_one_pc) in [(true, false), (false, true)] {
        let request = bench.prewrite_request(10, &[put("k", "v")]);
        let request = PrewriteRequest { use_async_commit, try_one_pc, ..request };
        let error = ask!(bench, Prewrite, request).region_error.unwrap();
        assert!(error.max_timestamp_not_synced.is_some());
    }
    assert_eq!(put_error(&mut bench, |_| {}), None);
}

#[test]
fn a_region_that_recovers_and_a_replica_without_data_serve_nothing() {
    let mut bench = Bench::new();
    let id = region(&bench);
    conditions(&mut bench).set_uninitialised(id, 1, true);
    assert!(get_error(&mut bench, |_| {}).unwrap().region_not_initialized.is_some());
    // Recovery is looked at before.
    conditions(&mut bench).set_recovering(id, true);
    assert!(get_error(&mut bench, |_| {}).unwrap().recovery_in_progress.is_some());
    conditions(&mut bench).set_recovering(id, false);
    conditions(&mut bench).set_uninitialised(id, 1, false);
    assert_eq!(get_error(&mut bench, |_| {}), None);
}

#[test]
fn a_replica_that_lags_knows_less_to_be_settled() {
    let mut bench = Bench::new();
    bench.topology = Topology::new(&["store:1".to_owned(), "store:2".to_owned()], 2);
    let id = region(&bench);
    let open = Bytes::new();
    let safe_ts =
        |bench: &mut Bench, store| bench.engine.safe_ts(&bench.topology, store, bench.now, &open, &open);
    let even = safe_ts(&mut bench, 2);
    assert_eq!(safe_ts(&mut bench, 1), even);
    conditions(&mut bench).set_lag(id, 2, Some(Duration::from_secs(3)));
    assert_eq!(safe_ts(&mut bench, 2), even - 3000 * MS);
    conditions(&mut bench).set_safe_ts(id, 2, Some(77));
    assert_eq!((safe_ts(&mut bench, 1), safe_ts(&mut bench, 2)), (even, 77));
}

#[test]
fn a_region_in_flashback_serves_what_was_before_and_the_flashback_alone() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("a", "old"), put("k", "old")]);
    bench.write(30, 40, &[put("a", "new"), op(Op::Del, "k"), put("n", "new")]);
    bench.lock(45, &[put("z", "left")]);
    let finish = FlashbackToVersionRequest {
        context: bench.context(b"k"),
        version: 25,
        start_key: owned("a"),
        end_key: owned("zz"),
        start_ts: 50,
        commit_ts: 60,
    };
    let early = ask!(bench, FlashbackToVersion, finish.clone());
    assert!(early.region_error.unwrap().flashback_not_prepared.is_some());
    let prepare = PrepareFlashbackToVersionRequest {
        context: bench.context(b"k"),
        start_key: owned("a"),
        end_key: owned("zz"),
        start_ts: 50,
        version: 25,
    };
    for _ in 0..2 {
        let answer = ask!(bench, PrepareFlashbackToVersion, prepare.clone());
        assert_eq!(answer, PrepareFlashbackToVersionResponse::default());
    }
    assert_eq!(get_error(&mut bench, |_| {}), None);
    let late = bench.get("k", 55).region_error.unwrap().flashback_in_progress.unwrap();
    assert_eq!(late.flashback_start_ts, 50);
    assert!(put_error(&mut bench, |_| {}).unwrap().flashback_in_progress.is_some());
    let answer = ask!(bench, FlashbackToVersion, finish);
    assert_eq!(answer, FlashbackToVersionResponse::default());
    for (key, value) in [("a", Some("old")), ("k", Some("old")), ("n", None), ("z", None)] {
        assert_eq!(bench.value(key, 60), value.map(owned), "{key}");
    }
    assert_eq!(bench.value("a", 59), Some(owned("new")));
}

#[test]
fn what_is_settled_does_not_go_back() {
    let mut bench = Bench::new();
    let open = Bytes::new();
    let safe_ts = |bench: &mut Bench| bench.engine.safe_ts(&bench.topology, 1, bench.now, &open, &open);
    let before = safe_ts(&mut bench);
    bench.lock(10, &[put("k", "v")]);
    assert_eq!(safe_ts(&mut bench), before);
    bench.now = bench.now.after(Duration::from_secs(5));
    assert_eq!(safe_ts(&mut bench), before, "the lock holds it");
    bench.roll_back(&["k"], 10);
    assert_eq!(safe_ts(&mut bench), before + 5000 * MS);
}

/// A cluster of two stores, and the context for a region led by the first.
fn cluster() -> (Cluster, Context) {
    let mut bench = Bench::new();
    bench.topology = Topology::new(&["store:1".to_owned(), "store:2".to_owned()], 2);
    let context = bench.context_at(b"k");
    (Cluster::new(bench.topology, Pd::new(7, Vec::new(), 2)), context)
}

fn call(cluster: &mut Cluster, now: Now, store: u64, command: request::Cmd) -> Met {
    cluster.call(now, Call::Store { store, command: Box::new(Command::Batched(command)) })
}

fn get(context: &Context) -> request::Cmd {
    let context = Some(context.clone());
    request::Cmd::Get(GetRequest { context, key: owned("k"), version: 5, ..Default::default() })
}

fn answer(reply: Reply) -> response::Cmd {
    match reply {
        Reply::Store(answer) => match *answer {
            Answer::Batched(answer) => answer,
            other => panic!("no answer of a batch: {other:?}"),
        },
        other => panic!("no answer: {other:?}"),
    }
}

/// The reply to a call that waits, and when it came.
fn later(cluster: &mut Cluster, met: Met) -> (Now, response::Cmd) {
    let Met::Later(token) = met else { panic!("it does not wait: {met:?}") };
    loop {
        let at = cluster.next_wake().expect("its wait ends");
        cluster.wake(at);
        let found = cluster.take_replies().into_iter().find(|(of, _): &(Token, Reply)| *of == token);
        if let Some((_, reply)) = found {
            return (at, answer(reply));
        }
    }
}

#[test]
fn a_read_of_a_replica_that_lags_waits_until_it_has_caught_up() {
    let (mut cluster, mut context) = cluster();
    let region = cluster.topology.region(context.region_id).unwrap();
    let (id, follower) = (region.id, region.peer_on(2).unwrap());
    context.peer = Some(metapb::Peer { id: follower.id, store_id: 2, ..Default::default() });
    context.replica_read = true;
    let now = Now::from_unix(Duration::from_secs(1_000_000));
    let lag = Duration::from_millis(300);
    cluster.topology.conditions.set_lag(id, 2, Some(lag));
    let met = call(&mut cluster, now, 2, get(&context));
    let (at, told) = later(&mut cluster, met);
    assert_eq!(at, now.after(lag));
    assert!(matches!(told, response::Cmd::Get(told) if told.not_found));
    // One that may not take so long fails.
    context.max_execution_duration_ms = 299;
    let met = call(&mut cluster, now, 2, get(&context));
    let response::Cmd::Get(told) = later(&mut cluster, met).1 else { panic!("another answer") };
    let error = told.region_error.unwrap();
    assert_eq!(error.message, "Deadline is exceeded");
    assert_eq!(error.server_is_busy.unwrap().reason, "deadline is exceeded");
    cluster.topology.conditions.set_lag(id, 2, None);
    assert!(matches!(call(&mut cluster, now, 2, get(&context)), Met::Now(_)));
}

#[test]
fn a_call_that_is_delayed_beyond_its_deadline_fails() {
    let (mut cluster, mut context) = cluster();
    let now = Now::from_unix(Duration::from_secs(1_000_000));
    cluster.add_fault(Rule::new(Matcher::default(), Action::Delay(Duration::from_secs(2))));
    for (limit_ms, fails) in [(0, false), (2000, false), (1999, true)] {
        context.max_execution_duration_ms = limit_ms;
        let met = call(&mut cluster, now, 1, get(&context));
        let response::Cmd::Get(told) = later(&mut cluster, met).1 else { panic!("another answer") };
        assert_eq!(told.region_error.is_some(), fails, "{limit_ms}");
    }
}

#[test]
fn a_crashed_leader_loses_its_pessimistic_locks_and_one_that_hands_over_does_not() {
    for crashes in [false, true] {
        let (mut cluster, context) = cluster();
        let now = Now::from_unix(Duration::from_secs(1_000_000));
        let lock = PessimisticLockRequest {
            context: Some(context.clone()),
            mutations: vec![op(Op::PessimisticLock, "k")],
            primary_lock: owned("k"),
            start_version: 10,
            for_update_ts: 10,
            wait_timeout: -1,
            ..Default::default()
        };
        let Met::Now(reply) = call(&mut cluster, now, 1, request::Cmd::PessimisticLock(lock.clone())) else {
            panic!("it waits for nobody")
        };
        assert_eq!(answer(reply), response::Cmd::PessimisticLock(PessimisticLockResponse::default()));
        let waiting = PessimisticLockRequest { start_version: 20, wait_timeout: 0, ..lock };
        let met = call(&mut cluster, now, 1, request::Cmd::PessimisticLock(waiting));
        let Met::Later(token) = met else { panic!("it does not wait: {met:?}") };
        if crashes {
            cluster.topology.fail_over(1);
        } else {
            cluster.topology.transfer_leader(context.region_id, 2).unwrap();
        }
        drop(call(&mut cluster, now, 1, get(&context)));
        assert_eq!(cluster.engine().lock_row(b"k").is_none(), crashes);
        let broken: Vec<_> = cluster.take_replies().into_iter().collect();
        assert_eq!(broken, if crashes { vec![(token, Reply::Broken)] } else { vec![] });
    }
}

#[test]
fn a_store_agrees_about_the_leaders_that_it_knows() {
    let (mut cluster, context) = cluster();
    let region = cluster.topology.region(context.region_id).unwrap();
    let epoch = context.region_epoch;
    let (region_id, term, peer_id) = (region.id, region.term, region.leader.unwrap());
    let told = LeaderInfo { region_id, peer_id, term, region_epoch: epoch, ..Default::default() };
    let regions = vec![
        told,
        LeaderInfo { peer_id: peer_id + 1, ..told },
        LeaderInfo { term: term + 1, ..told },
        LeaderInfo { region_epoch: None, ..told },
        LeaderInfo { region_id: 99, ..told },
    ];
    let command = Box::new(Command::CheckLeader(CheckLeaderRequest { regions, ts: 7 }));
    let met = cluster.call(Now::default(), Call::Store { store: 2, command });
    let agreed = CheckLeaderResponse { regions: vec![region_id], ts: 7 };
    assert_eq!(met, Met::Now(Reply::Store(Box::new(Answer::CheckLeader(agreed)))));
}
