//! What is left when a commit is stopped or dropped, phase by phase.

use super::*;
use crate::error::TxnError;
use crate::lock::tests::world::{lock, locked};
use crate::machine::{Answer, Interrupt, Place, Question, TransportClass};
use crate::start::Start;

/// Where a commit of "a" and "z" stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Grouping,
    Prewriting,
    MeetingLocks,
    AskingTs,
    LookingForThePrimary,
    Deciding,
    DecidingAgain,
    AskingNewerTs,
}

const ALL: [At; 8] = [
    At::Grouping,
    At::Prewriting,
    At::MeetingLocks,
    At::AskingTs,
    At::LookingForThePrimary,
    At::Deciding,
    At::DecidingAgain,
    At::AskingNewerTs,
];

/// A commit that stands there, and the tickets it waits for.
fn standing(at: At) -> (Script<CommitMachine>, Vec<TicketId>) {
    let regions = two_regions();
    if at == At::Grouping {
        regions.forget();
        let mut s = commit(&["a"], &regions);
        let ask = s.expect_ask(&Question::Region(Place::Holding("a".into())));
        return (s, vec![ask]);
    }
    let mut s = commit(&["a", "z"], &regions);
    let (low, ..) = prewrite(&mut s, &["a"]);
    let (high, ..) = prewrite(&mut s, &["z"]);
    match at {
        At::Prewriting => return (s, vec![low, high]),
        At::MeetingLocks => {
            let errors = vec![locked(lock("a", "p", ts(50), 50))];
            s.reply(low, &pb::PrewriteResponse { errors, ..Default::default() });
            let ask = s.expect_ask(&Question::Timestamp);
            return (s, vec![high, ask]);
        }
        _ => {}
    }
    s.reply(low, &pb::PrewriteResponse::default());
    s.reply(high, &pb::PrewriteResponse::default());
    let ask = s.expect_ask(&Question::Timestamp);
    if at == At::AskingTs {
        return (s, vec![ask]);
    }
    if at == At::LookingForThePrimary {
        regions.forget();
        s.answer(ask, Answer::Timestamp(COMMIT));
        let ask = s.expect_ask(&Question::Region(Place::Holding("a".into())));
        return (s, vec![ask]);
    }
    s.answer(ask, Answer::Timestamp(COMMIT));
    let call = decision(&mut s, COMMIT, &["a"]);
    match at {
        At::Deciding => (s, vec![call]),
        At::DecidingAgain => {
            s.fail(call, TransportClass::Unreachable);
            s.expect_report();
            let timer = s.expect_timer().0;
            (s, vec![timer])
        }
        _ => {
            s.reply(call, &expired("a", ts(250)));
            let ask = s.expect_ask(&Question::Timestamp);
            (s, vec![ask])
        }
    }
}

fn roll_back() -> Option<Start> {
    Some(Start::RollBack { start_ts: START, keys: keys(&["a", "z"]) })
}

#[test]
fn what_is_spawned_when_the_commit_is_dropped() {
    let finish = Start::FinishCommit { start_ts: START, commit_ts: COMMIT, keys: keys(&["a", "z"]) };
    for at in ALL {
        let spawned = match at {
            At::Grouping => None,
            At::Prewriting | At::MeetingLocks | At::AskingTs => roll_back(),
            At::LookingForThePrimary | At::AskingNewerTs => roll_back(),
            At::Deciding | At::DecidingAgain => Some(finish.clone()),
        };
        let (mut s, open) = standing(at);
        s.abandon();
        if let Some(spawned) = spawned {
            assert_eq!(s.expect_spawn(), spawned, "{at:?}");
        }
        let mut open = open;
        open.sort_unstable();
        for ticket in open {
            s.expect_cancel(ticket);
        }
        s.expect_nothing();
    }
}

#[test]
fn what_an_interrupt_leaves() {
    for at in ALL {
        let (mut s, mut open) = standing(at);
        s.interrupt(Interrupt::Killed);
        open.sort_unstable();
        for ticket in open {
            s.expect_cancel(ticket);
        }
        match at {
            At::Grouping | At::Deciding => {}
            _ => assert_eq!(Some(s.expect_spawn()), roll_back(), "{at:?}"),
        }
        let error = s.done().0.unwrap_err();
        match at {
            At::Deciding => {
                let Error::Txn(TxnError::Undetermined { cause, .. }) = &error else {
                    panic!("{at:?} {error}")
                };
                assert!(matches!(**cause, Error::Interrupted { why: Interrupt::Killed, .. }));
            }
            // The only copy was never sent: that is known.
            _ => assert!(matches!(error, Error::Interrupted { .. }), "{at:?} {error}"),
        }
    }
}

#[test]
fn nothing_is_decided_behind_the_deadline() {
    let machine = CommitMachine::new(plan(vec![put("a")]));
    let mut s = Script::until(Instant(0), machine, two_regions());
    prewritten(&mut s, &["a"]);
    give_ts(&mut s, COMMIT);
    assert_eq!(s.expect_spawn(), Start::RollBack { start_ts: START, keys: keys(&["a"]) });
    assert!(matches!(s.done().0, Err(Error::Interrupted { why: Interrupt::Deadline, .. })));
}

#[test]
fn a_timestamp_that_cannot_be_right_commits_nothing() {
    let day = 24 * 60 * 60 * 1000;
    for (given, too_old) in [(START, false), (ts(99), false), (ts(101 + day), true)] {
        let (mut s, open) = standing(At::AskingTs);
        s.answer(open[0], Answer::Timestamp(given));
        assert_eq!(Some(s.expect_spawn()), roll_back());
        match s.done().0.unwrap_err() {
            Error::Txn(TxnError::TooOld { commit_ts, .. }) if too_old => assert_eq!(commit_ts, given),
            Error::Corrupt { .. } if !too_old => {}
            other => panic!("{other}"),
        }
    }
}

/// A commit whose caller is gone.
fn finishing() -> (Script<CommitMachine>, TicketId) {
    let machine = CommitMachine::finishing(START, COMMIT, keys(&["a", "z"]), false);
    let mut s = Script::given(machine, two_regions());
    let call = decision(&mut s, COMMIT, &["a"]);
    (s, call)
}

#[test]
fn a_dropped_commit_is_finished_with_its_secondaries() {
    let (mut s, call) = finishing();
    s.reply(call, &pb::CommitResponse::default());
    assert!(matches!(s.expect_spawn(), Start::CommitSecondaries { commit_ts: COMMIT, .. }));
    s.done().0.unwrap();
}

#[test]
fn a_dropped_commit_that_a_reader_pushed_is_not_committed_behind_the_readers_back() {
    let (mut s, call) = finishing();
    s.reply(call, &expired("a", ts(250)));
    assert_eq!(Some(s.expect_spawn()), roll_back());
    assert!(s.done().0.is_err());
}
