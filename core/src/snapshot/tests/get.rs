//! One key: the reference walks of `txn-read.md` 21.11, as a read at 100 ms.

use tikv_proto::kvrpcpb as pb;

use crate::error::{Error, TxnError};
use crate::lock::tests::world::{Regions, abort, expect, give_ts, keys, lock, locked, pause, ts};
use crate::lock::{Cleaning, Verdict};
use crate::machine::Interrupt;
use crate::machine::script::Script;
use crate::snapshot::get::GetMachine;
use crate::start::Start;

fn given() -> Script<GetMachine> {
    Script::given(GetMachine::new("k".into(), ts(100), false), Regions::cut(["m"]))
}

fn value(value: &str) -> pb::GetResponse {
    pb::GetResponse { value: value.to_owned().into(), ..Default::default() }
}

fn held(info: pb::LockInfo) -> pb::GetResponse {
    pb::GetResponse { error: Some(Box::new(locked(info))), ..Default::default() }
}

/// The read meets a lock of the transaction that began at 90 ms, which its primary says this of.
fn met(info: pb::LockInfo, now: u64, answer: pb::CheckTxnStatusResponse) -> Script<GetMachine> {
    let mut s = given();
    let (call, request, _) = expect::<pb::GetRequest>(&mut s);
    assert_eq!((request.key, request.version), ("k".into(), ts(100).0));
    s.reply(call, &held(info));
    give_ts(&mut s, ts(now));
    let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    assert_eq!((request.lock_ts, request.caller_start_ts), (ts(90).0, ts(100).0));
    s.reply(call, &answer);
    s
}

fn status(lock_ttl: u64, commit_version: u64, action: pb::Action) -> pb::CheckTxnStatusResponse {
    pb::CheckTxnStatusResponse { lock_ttl, commit_version, action: action.into(), ..Default::default() }
}

/// The read asks again, with these sets in its context, and gets its value.
fn reads_on(mut s: Script<GetMachine>, ignore: &[u64], access: &[u64]) {
    let (ticket, request, _) = s.expect_command(crate::request::Command::Get);
    let context = pb::Context {
        resolved_locks: ignore.to_vec(),
        committed_locks: access.to_vec(),
        ..Default::default()
    };
    assert_eq!(*request.profile(), crate::request::Profile::new(&context));
    s.reply(ticket, &value("v"));
    assert_eq!(s.done().0, Ok(Some("v".into())));
}

fn spawned(s: &mut Script<GetMachine>, verdict: Verdict, of: &[&str]) {
    let cleaning =
        Cleaning { start_ts: ts(90), verdict, keys: keys(of), whole_regions: false, is_txn_file: false };
    assert_eq!(s.expect_spawn(), Start::CleanLocks { cleanings: vec![cleaning] });
}

const OWNER: u64 = ts(90).0;

#[test]
fn an_unlocked_key_is_one_request() {
    let mut s = given();
    let (call, ..) = expect::<pb::GetRequest>(&mut s);
    s.reply(call, &value("v"));
    assert_eq!(s.done().0, Ok(Some("v".into())));
}

#[test]
fn a_key_without_value_is_none() {
    for response in [pb::GetResponse { not_found: true, ..Default::default() }, value("")] {
        let mut s = given();
        let (call, ..) = expect::<pb::GetRequest>(&mut s);
        s.reply(call, &response);
        assert_eq!(s.done().0, Ok(None));
    }
}

#[test]
fn a_lock_that_was_committed_before_the_read_is_read() {
    let mut s = met(lock("k", "p", ts(90), 50), 110, status(0, ts(95).0, pb::Action::NoAction));
    spawned(&mut s, Verdict::Commit(ts(95)), &["k"]);
    reads_on(s, &[], &[OWNER]);
}

#[test]
fn a_lock_that_was_committed_behind_the_read_is_passed_by() {
    let mut s = met(lock("k", "p", ts(90), 50), 130, status(0, ts(120).0, pb::Action::NoAction));
    spawned(&mut s, Verdict::Commit(ts(120)), &["k"]);
    reads_on(s, &[OWNER], &[]);
}

#[test]
fn a_live_lock_that_is_pushed_behind_the_read_is_passed_by_without_a_pause() {
    let s = met(lock("k", "p", ts(90), 50), 110, status(50, 0, pb::Action::MinCommitTsPushed));
    reads_on(s, &[OWNER], &[]);
}

#[test]
fn a_live_lock_that_cannot_be_pushed_is_waited_for() {
    let mut s = met(lock("k", "p", ts(90), 5000), 110, status(5000, 0, pb::Action::NoAction));
    pause(&mut s);
    reads_on(s, &[], &[]);
}

#[test]
fn an_expired_lock_is_rolled_back_and_passed_by() {
    let mut s = met(lock("k", "p", ts(90), 50), 150, status(0, 0, pb::Action::TtlExpireRollback));
    spawned(&mut s, Verdict::RollBack, &["k"]);
    reads_on(s, &[OWNER], &[]);
}

#[test]
fn an_expired_primary_was_removed_by_the_question() {
    let s = met(lock("k", "k", ts(90), 50), 150, status(0, 0, pb::Action::TtlExpireRollback));
    reads_on(s, &[OWNER], &[]);
}

// txn-read.md R2: client-go neither remembers nor ignores a recovery that ends in a rollback, and spins.
#[test]
fn a_recovery_that_ends_in_a_rollback_is_passed_by_and_its_primary_removed() {
    let primary = pb::LockInfo {
        use_async_commit: true,
        min_commit_ts: ts(95).0,
        secondaries: vec!["k".into()],
        ..lock("p", "p", ts(90), 50)
    };
    let answer =
        pb::CheckTxnStatusResponse { lock_info: Some(primary), ..status(50, 0, pb::Action::NoAction) };
    let mut s = met(lock("k", "p", ts(90), 50), 150, answer);
    let (call, ..) = expect::<pb::CheckSecondaryLocksRequest>(&mut s);
    s.reply(call, &pb::CheckSecondaryLocksResponse::default());
    spawned(&mut s, Verdict::RollBack, &["k", "p", "k"]);
    reads_on(s, &[OWNER], &[]);
}

#[test]
fn an_error_of_the_store_ends_the_read() {
    let mut s = given();
    let (call, ..) = expect::<pb::GetRequest>(&mut s);
    s.reply(call, &pb::GetResponse { error: Some(Box::new(abort("DefaultNotFound"))), ..Default::default() });
    let Err(Error::Txn(TxnError::Refused { message, .. })) = s.done().0 else { panic!("refused") };
    assert_eq!(&*message, "DefaultNotFound");
}

#[test]
fn an_interrupt_ends_the_read() {
    let mut s = given();
    let (call, ..) = expect::<pb::GetRequest>(&mut s);
    s.interrupt(Interrupt::Deadline);
    s.expect_cancel(call);
    assert!(matches!(s.done().0, Err(Error::Interrupted { why: Interrupt::Deadline, .. })));
}

#[test]
fn a_known_value_is_no_request() {
    let known = |value| GetMachine::new("k".into(), ts(100), false).known(value);
    let s = Script::given(known(Some("own".into())), Regions::cut([""; 0]));
    assert_eq!(s.done().0, Ok(Some("own".into())));
    assert_eq!(Script::given(known(None), Regions::cut([""; 0])).done().0, Ok(None));
}
