//! Readers and writers that meet locks.

use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::world::{Regions, expect, give_ts, keys, lock, pause, ts};
use crate::backoff::Kind;
use crate::error::{Error, TxnError};
use crate::lock::classify::Asked;
use crate::lock::{Cleaning, Lock, LockSets, MeetLocks, Purpose, Verdict};
use crate::machine::script::Script;
use crate::machine::{Cx, Interrupt, Machine, Question, Why};
use crate::start::Start;

/// An operation that meets the same locks `rounds` times.
#[derive(Debug)]
struct Meets {
    meeting: MeetLocks,
    locks: Vec<Lock>,
    sets: LockSets,
    rounds: u32,
    met: bool,
}

impl Machine for Meets {
    type Output = Result<LockSets, Error>;
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            if self.met {
                ready!(self.meeting.step(&mut self.sets, cx))?;
                self.met = false;
                self.rounds -= 1;
            }
            if self.rounds == 0 {
                return Poll::Ready(Ok(std::mem::take(&mut self.sets)));
            }
            self.meeting.meet(self.locks.clone(), cx);
            self.met = true;
        }
    }
}

fn given(locks: Vec<pb::LockInfo>, purpose: Purpose, rounds: u32) -> Script<Meets> {
    let asked = Asked { operation: "test", start_ts: ts(200), redacted: false };
    let mut met = Vec::new();
    for info in locks {
        Lock::read(info, &mut met);
    }
    let meeting = MeetLocks::new(asked, purpose);
    let machine = Meets { meeting, locks: met, sets: LockSets::default(), rounds, met: false };
    Script::given(machine, Regions::cut(["m"]))
}

const READ: Purpose = Purpose::Read { lite: false };

fn status(lock_ttl: u64, commit_version: u64, action: pb::Action) -> pb::CheckTxnStatusResponse {
    pb::CheckTxnStatusResponse { lock_ttl, commit_version, action: action.into(), ..Default::default() }
}

#[test]
fn a_reader_does_not_wait_for_the_removal_of_a_lock() {
    let mut s = given(vec![lock("s", "p", ts(100), 50)], READ, 1);
    give_ts(&mut s, ts(210));
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    s.reply(call, &status(0, ts(150).0, pb::Action::NoAction));
    let cleaning = Cleaning {
        start_ts: ts(100),
        verdict: Verdict::Commit(ts(150)),
        keys: keys(&["s"]),
        whole_regions: false,
        is_txn_file: false,
    };
    assert_eq!(s.expect_spawn(), Start::CleanLocks { cleanings: vec![cleaning] });
    let sets = s.done().0.unwrap();
    assert!(sets.access.contains(&ts(100).0));
}

#[test]
fn a_writer_waits_until_the_lock_is_gone() {
    let mut s = given(vec![lock("s", "p", ts(100), 50)], Purpose::Write, 1);
    give_ts(&mut s, ts(210));
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    s.reply(call, &status(0, 0, pb::Action::TtlExpireRollback));
    let (call, request, _) = expect::<pb::ResolveLockRequest>(&mut s);
    let wanted =
        pb::ResolveLockRequest { start_version: ts(100).0, keys: vec!["s".into()], ..Default::default() };
    assert_eq!(request, wanted);
    s.expect_nothing();
    s.reply(call, &pb::ResolveLockResponse::default());
    s.done().0.unwrap();
}

// txn-read.md R19: client-go asks about one after the other.
#[test]
fn owners_are_asked_side_by_side_and_each_once() {
    let locks = vec![lock("s", "p", ts(100), 50), lock("t", "p", ts(100), 50), lock("u", "q", ts(101), 50)];
    let mut s = given(locks, READ, 1);
    give_ts(&mut s, ts(210));
    let calls = ["p", "q"].map(|primary| {
        let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
        assert_eq!(request.primary_key, primary);
        call
    });
    s.expect_nothing();
    s.reply(calls[1], &status(50, 0, pb::Action::MinCommitTsPushed));
    s.reply(calls[0], &status(50, 0, pb::Action::MinCommitTsPushed));
    assert_eq!(s.done().0.unwrap().ignore.len(), 2);
}

#[test]
fn a_live_owner_is_waited_for_but_never_beyond_its_time() {
    // 4 ms are left of a pause of 5 and more.
    let mut s = given(vec![lock("s", "p", ts(200), 14)], Purpose::Write, 1);
    give_ts(&mut s, ts(210));
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    s.reply(call, &status(14, 0, pb::Action::NoAction));
    let timer = s.expect_timer();
    assert_eq!((timer.1, timer.2), (s.now() + std::time::Duration::from_millis(4), Why::LockTtl));
    s.fire(timer);
    s.done().0.unwrap();
    // 10 s are left: the pause is that of its kind.
    for purpose in [READ, Purpose::Write] {
        let mut s = given(vec![lock("s", "p", ts(200), 10_010)], purpose, 1);
        give_ts(&mut s, ts(210));
        let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
        s.reply(call, &status(10_010, 0, pb::Action::NoAction));
        let timer = s.expect_timer();
        assert_eq!(timer.2, Why::BackOff(Kind::TxnLockFast.name()));
        s.fire(timer);
        s.done().0.unwrap();
    }
}

#[test]
fn a_lock_that_outlives_the_retries_is_named_in_the_error() {
    let mut s = given(vec![lock("s", "p", ts(200), u64::from(u32::MAX))], READ, u32::MAX);
    let error = loop {
        give_ts(&mut s, ts(210));
        let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
        s.reply(call, &status(u64::from(u32::MAX), 0, pb::Action::NoAction));
        if s.is_done() {
            break s.done().0.unwrap_err();
        }
        pause(&mut s);
    };
    let Error::Txn(TxnError::Locked { key, holder, .. }) = &error else { panic!("{error:?}") };
    assert_eq!((key.key().as_slice(), *holder), (&b"s"[..], ts(200)));
    assert_eq!(error.to_string(), format!("key 73 is locked by transaction {}", ts(200)));
}

#[test]
fn the_same_locks_for_ever_are_not_resolved_without_pause() {
    let mut s = given(vec![lock("p", "p", ts(100), 50)], Purpose::Write, u32::MAX);
    for _ in 0..9 {
        give_ts(&mut s, ts(210));
        let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
        s.reply(call, &status(0, 0, pb::Action::TtlExpireRollback));
    }
    assert_eq!(s.expect_timer().2, Why::BackOff(Kind::TxnLockFast.name()));
    s.abandon();
}

fn not_there() -> pb::CheckTxnStatusResponse {
    let error = pb::KeyError { txn_not_found: Some(pb::TxnNotFound::default()), ..Default::default() };
    pb::CheckTxnStatusResponse { error: Some(Box::new(error)), ..Default::default() }
}

// client-go asks the primary again until the lock's time is over, also when the lock is gone (found with the embedded cluster:
// the primary's rollback record is collapsed into that of a newer transaction).
#[test]
fn a_lock_whose_primary_is_not_found_is_looked_at_again_after_a_short_pause() {
    for purpose in [READ, Purpose::Write] {
        let mut s = given(vec![lock("s", "p", ts(200), 5000)], purpose, 1);
        give_ts(&mut s, ts(210));
        let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
        s.reply(call, &not_there());
        let timer = s.expect_timer();
        assert_eq!(timer.2, Why::BackOff(Kind::TxnNotFound.name()));
        s.fire(timer);
        s.done().0.unwrap();
    }
}

#[test]
fn a_primary_that_is_never_found_is_not_asked_without_pause() {
    let mut s = given(vec![lock("s", "p", ts(100), 50)], READ, u32::MAX);
    for _ in 0..5 {
        give_ts(&mut s, ts(210));
        for roll_back in [false, true] {
            let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
            assert_eq!(request.rollback_if_not_exist, roll_back);
            s.reply(call, &not_there());
        }
        pause(&mut s);
    }
    s.abandon();
}

#[test]
fn a_stale_pessimistic_lock_is_released_though_its_primary_is_another() {
    let info = pb::LockInfo {
        lock_type: pb::Op::PessimisticLock.into(),
        lock_for_update_ts: ts(120).0,
        ..lock("s", "p", ts(100), 50)
    };
    let mut s = given(vec![info], Purpose::Write, 1);
    give_ts(&mut s, ts(210));
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    let error = pb::KeyError { primary_mismatch: Some(pb::PrimaryMismatch::default()), ..Default::default() };
    s.reply(call, &pb::CheckTxnStatusResponse { error: Some(Box::new(error)), ..Default::default() });
    let (call, request, _) = expect::<pb::PessimisticRollbackRequest>(&mut s);
    let wanted = pb::PessimisticRollbackRequest {
        start_version: ts(100).0,
        for_update_ts: ts(120).0,
        keys: vec!["s".into()],
        ..Default::default()
    };
    assert_eq!(request, wanted);
    s.reply(call, &pb::PessimisticRollbackResponse::default());
    s.done().0.unwrap();
}

#[test]
fn of_a_large_transaction_each_region_is_gone_through_once() {
    let big = |key: &str| pb::LockInfo { txn_size: 1000, ..lock(key, "p", ts(100), 50) };
    let mut s = given(vec![big("a"), big("b"), big("z")], Purpose::Write, 1);
    give_ts(&mut s, ts(210));
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    s.reply(call, &status(0, ts(150).0, pb::Action::NoAction));
    let calls = [1, 2].map(|region| {
        let (call, request, attempt) = expect::<pb::ResolveLockRequest>(&mut s);
        assert!(request.keys.is_empty());
        assert_eq!((request.commit_version, attempt.to.region.id.0), (ts(150).0, region));
        call
    });
    for call in calls {
        s.reply(call, &pb::ResolveLockResponse::default());
    }
    s.done().0.unwrap();
}

#[test]
fn an_interrupt_ends_the_meeting_in_each_phase() {
    let why = Interrupt::Killed;
    let mut s = given(vec![lock("s", "p", ts(100), 50)], READ, 1);
    let ask = s.expect_ask(&Question::Timestamp);
    s.interrupt(why);
    s.expect_cancel(ask);
    assert!(matches!(s.done().0, Err(Error::Interrupted { why: Interrupt::Killed, .. })));

    let mut s = given(vec![lock("s", "p", ts(100), 50)], READ, 1);
    give_ts(&mut s, ts(210));
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    s.interrupt(why);
    s.expect_cancel(call);
    assert!(matches!(s.done().0, Err(Error::Interrupted { why: Interrupt::Killed, .. })));

    let mut s = given(vec![lock("s", "p", ts(205), 5000)], READ, 1);
    give_ts(&mut s, ts(210));
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    s.reply(call, &status(5000, 0, pb::Action::NoAction));
    let timer = s.expect_timer();
    s.interrupt(why);
    s.expect_cancel(timer.0);
    assert!(matches!(s.done().0, Err(Error::Interrupted { why: Interrupt::Killed, .. })));
}
