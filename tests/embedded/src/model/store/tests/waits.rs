//! Who waits for a lock, and how it ends: `cluster.md` 7.3 and 7.4.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::waits::WaitId;
use super::*;

/// Requests that wait, by name, and what they were answered.
#[derive(Debug)]
struct Waits {
    bench: Bench,
    names: BTreeMap<WaitId, &'static str>,
    answers: BTreeMap<&'static str, PessimisticLockResponse>,
}

fn request(bench: &Bench, start_ts: u64, key: &str) -> PessimisticLockRequest {
    let base = pessimistic::request(bench, start_ts, &[key]);
    PessimisticLockRequest { wait_timeout: 0, is_first_lock: true, ..base }
}

fn forced(bench: &Bench, start_ts: u64, key: &str) -> PessimisticLockRequest {
    let mode = PessimisticLockWakeUpMode::WakeUpModeForceLock.into();
    PessimisticLockRequest { wake_up_mode: mode, ..request(bench, start_ts, key) }
}

impl Waits {
    /// The transaction of timestamp 10 holds `k`.
    fn for_k() -> Self {
        let mut waits = Self { bench: Bench::new(), names: BTreeMap::new(), answers: BTreeMap::new() };
        let first = request(&waits.bench, 10, "k");
        waits.lock("holder", first);
        assert!(waits.answer("holder").errors.is_empty());
        waits
    }

    fn lock(&mut self, name: &'static str, request: PessimisticLockRequest) {
        let bench = &mut self.bench;
        match bench.engine.handle(&bench.topology, 1, bench.now, request::Cmd::PessimisticLock(request)) {
            Outcome::Waits(id) => drop(self.names.insert(id, name)),
            Outcome::Ready(response::Cmd::PessimisticLock(answer)) => drop(self.answers.insert(name, answer)),
            other => panic!("no answer to a lock request: {other:?}"),
        }
        self.collect();
    }

    fn collect(&mut self) {
        for (id, answer) in self.bench.engine.take_finished() {
            let response::Cmd::PessimisticLock(answer) = answer else { panic!("{answer:?}") };
            self.answers.insert(self.names.remove(&id).unwrap(), answer);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.bench.now = self.bench.now.after(Duration::from_millis(ms));
        self.bench.engine.wake(&self.bench.topology, self.bench.now);
        self.collect();
    }

    /// The holder lets go of `k`.
    fn release(&mut self) {
        self.bench.roll_back(&["k"], 10);
        self.collect();
    }

    fn answer(&mut self, name: &str) -> PessimisticLockResponse {
        self.answers.remove(name).unwrap_or_else(|| panic!("{name} still waits"))
    }

    fn waiting(&self) -> Vec<&str> {
        self.names.values().copied().collect()
    }
}

#[test]
fn a_wait_ends_with_the_lock_after_its_time_at_most_a_second() {
    let mut waits = Waits::for_k();
    for (name, timeout, start_ts) in [("short", 100, 20), ("usual", 0, 21), ("long", 5000, 22)] {
        let request =
            PessimisticLockRequest { wait_timeout: timeout, ..request(&waits.bench, start_ts, "k") };
        waits.lock(name, request);
    }
    waits.pass(99);
    assert_eq!(waits.waiting(), ["short", "usual", "long"]);
    waits.pass(1);
    let locked = waits.answer("short").errors.remove(0).locked.unwrap();
    assert_eq!((locked.lock_version, locked.duration_to_last_update_ms), (10, 0));
    waits.pass(900);
    assert_eq!(waits.waiting(), Vec::<&str>::new());
    for name in ["usual", "long"] {
        assert!(waits.answer(name).errors[0].locked.is_some());
    }
    assert_eq!(waits.bench.engine.next_wake(), None);
}

#[test]
fn the_oldest_wakes_up_at_once_and_the_others_twenty_ms_later() {
    let mut waits = Waits::for_k();
    for (name, start_ts) in [("second", 21), ("first", 20), ("third", 22)] {
        let request = request(&waits.bench, start_ts, "k");
        waits.lock(name, request);
    }
    waits.release();
    let conflict = waits.answer("first").errors.remove(0).conflict.unwrap();
    assert_eq!(conflict.reason(), write_conflict::Reason::PessimisticRetry);
    assert_eq!((conflict.conflict_ts, conflict.conflict_commit_ts), (10, 0));
    // One that comes afterwards is not woken by that release.
    let again = request(&waits.bench, 20, "k");
    waits.lock("again", again);
    assert!(waits.answer("again").errors.is_empty());
    let late = request(&waits.bench, 23, "k");
    waits.lock("late", late);
    waits.pass(19);
    assert_eq!(waits.waiting(), ["second", "third", "late"]);
    waits.pass(1);
    assert_eq!(waits.waiting(), ["late"]);
    assert!(waits.answer("third").errors[0].conflict.is_some());
}

#[test]
fn a_forced_request_is_resumed_and_gets_the_lock_in_its_place() {
    let mut waits = Waits::for_k();
    for (name, start_ts) in [("first", 20), ("second", 21)] {
        let request = forced(&waits.bench, start_ts, "k");
        waits.lock(name, request);
    }
    let bench = &mut waits.bench;
    let prewrite = PrewriteRequest {
        for_update_ts: 10,
        pessimistic_actions: vec![1],
        ..bench.prewrite_request(10, &[put("k", "v")])
    };
    ask!(bench, Prewrite, prewrite);
    assert_eq!(bench.commit(&["k"], 10, 30).error, None);
    waits.collect();
    let told = waits.answer("first").results.remove(0);
    assert_eq!(told.r#type(), PessimisticLockKeyResultType::LockResultLockedWithConflict);
    assert_eq!((told.value, told.locked_with_conflict_ts), (owned("v"), 30));
    assert_eq!(waits.waiting(), ["second"]);
    // The one that waits on is told the lock that it meets now, and that it has changed.
    waits.pass(1000);
    let told = waits.answer("second");
    assert_eq!(told.results[0].r#type(), PessimisticLockKeyResultType::LockResultFailed);
    let locked = told.errors[0].locked.clone().unwrap();
    assert_eq!((locked.lock_version, locked.duration_to_last_update_ms), (20, 1000));
}

#[test]
fn a_resumed_request_whose_region_has_moved_is_told_so() {
    let mut waits = Waits::for_k();
    let request = forced(&waits.bench, 20, "k");
    waits.lock("mover", request);
    let context = waits.bench.context_at(b"k");
    let region = context.region_id;
    waits.bench.topology.split(region, &[key::encode(b"z")]).unwrap();
    waits.release();
    let told = waits.answer("mover");
    assert!(told.region_error.unwrap().epoch_not_match.is_some());
    assert_eq!(told.results.len(), 1);
}

#[test]
fn the_wait_that_closes_a_circle_is_a_deadlock() {
    let mut waits = Waits::for_k();
    let not_first =
        |request: PessimisticLockRequest| PessimisticLockRequest { is_first_lock: false, ..request };
    let other = request(&waits.bench, 20, "o");
    waits.lock("other", other);
    let one = not_first(request(&waits.bench, 20, "k"));
    waits.lock("one", one);
    assert_eq!(waits.waiting(), ["one"]);
    let entries = waits.bench.engine.lock_waits(1);
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].txn, entries[0].wait_for_txn, entries[0].key.as_ref()), (20, 10, &b"k"[..]));
    let two = not_first(request(&waits.bench, 10, "o"));
    waits.lock("two", two);
    let deadlock = waits.answer("two").errors.remove(0).deadlock.unwrap();
    assert_eq!((deadlock.lock_ts, deadlock.lock_key.as_ref()), (20, &b"o"[..]));
    // The hash is of the key for which the other one waits, as clients compute it.
    assert_eq!(deadlock.deadlock_key_hash, farmhash::fingerprint64(&key::encode(b"k")));
    let chain: Vec<_> = deadlock.wait_chain.iter().map(|wait| (wait.txn, wait.wait_for_txn)).collect();
    assert_eq!(chain, [(20, 10), (10, 20)]);
    assert_eq!(waits.waiting(), ["one"], "only the one that closes it fails");
    // A wait that is over closes no circle.
    waits.pass(1000);
    let three = not_first(request(&waits.bench, 10, "o"));
    waits.lock("three", three);
    assert_eq!(waits.waiting(), ["three"]);
}

#[test]
fn those_who_share_wake_up_together() {
    let mut waits = Waits::for_k();
    for (name, start_ts) in [("one", 20), ("two", 21)] {
        let mut request = request(&waits.bench, start_ts, "k");
        request.mutations[0].set_op(Op::SharedPessimisticLock);
        waits.lock(name, request);
    }
    let alone = request(&waits.bench, 22, "k");
    waits.lock("alone", alone);
    waits.release();
    assert_eq!(waits.waiting(), ["alone"]);
}

#[test]
fn who_wants_a_shared_key_alone_stops_others_from_joining() {
    let mut waits = Waits::for_k();
    let shared = |waits: &Waits, start_ts| {
        let mut request = request(&waits.bench, start_ts, "s");
        request.mutations[0].set_op(Op::SharedPessimisticLock);
        // No transaction has its primary key among shared ones.
        request.primary_lock = owned("p");
        request
    };
    for (name, start_ts) in [("one", 20), ("two", 21)] {
        let request = shared(&waits, start_ts);
        waits.lock(name, request);
        assert!(waits.answer(name).errors.is_empty());
    }
    let alone = request(&waits.bench, 22, "s");
    waits.lock("alone", alone.clone());
    let told = waits.answer("alone").errors.remove(0).locked.unwrap();
    assert_eq!((told.lock_type(), told.shared_lock_infos.len()), (Op::SharedLock, 2));
    let late = PessimisticLockRequest { wait_timeout: -1, ..shared(&waits, 23) };
    waits.lock("late", late);
    assert!(waits.answer("late").errors[0].locked.is_some());
    waits.lock("alone", alone);
    assert_eq!(waits.waiting(), ["alone"]);
    for start_ts in [20, 21] {
        waits.bench.roll_back(&["s"], start_ts);
        waits.collect();
    }
    assert!(waits.answer("alone").errors[0].conflict.is_some());
    assert_eq!(waits.bench.stored("s"), "Rollback@21-21");
}
