//! A store that moves while its stream is in use.

use bytes::Bytes;

use super::{
    Script, StreamCommand, StreamTimer, answer, broken, call, fault, given, open, sent, value, writable,
};
use crate::machine::{Address, Input, ServiceEffect, StreamId, TransportClass};
use crate::types::Instant;

fn moved(s: &mut Script, to: &str) {
    s.input(Input::Command(StreamCommand::Move { address: to.into() }));
}

#[track_caller]
fn opens(s: &mut Script) -> (StreamId, Address) {
    match s.effect() {
        ServiceEffect::Open { stream, to, .. } => (stream, to),
        other => panic!("wanted a stream, got {other:?}"),
    }
}

#[track_caller]
fn closes(s: &mut Script) -> StreamId {
    match s.effect() {
        ServiceEffect::Close { stream } => stream,
        other => panic!("wanted a closing, got {other:?}"),
    }
}

#[track_caller]
fn disconnects(s: &mut Script, from: &str) {
    let effect = s.effect();
    assert!(matches!(&effect, ServiceEffect::Disconnect(address) if **address == *from), "{effect:?}");
}

/// The first call arms the timers.
fn armed(s: &mut Script) {
    for timer in [StreamTimer::Deadline, StreamTimer::Idle] {
        assert!(matches!(s.effect(), ServiceEffect::Arm(armed, _) if armed == timer));
    }
}

/// A stream to `store:2` that has requests 1 and 2 in flight at `store:1`; their ids.
fn moved_with_two_in_flight(s: &mut Script) -> (StreamId, Vec<u64>) {
    let old = open(s);
    for n in [1, 2] {
        s.input(Input::Command(call(s, n, "k", Instant(50 + u64::from(n)))));
    }
    s.input(Input::Idle);
    assert!(matches!(s.effect(), ServiceEffect::Arm(StreamTimer::Deadline, Instant(51))));
    let ids = sent(s).request_ids;
    moved(s, "store:2");
    s.expect_nothing();
    (old, ids)
}

#[test]
fn what_was_sent_before_a_move_is_answered_where_it_was_sent() {
    let mut s = given();
    let (old, ids) = moved_with_two_in_flight(&mut s);
    // What comes after the move goes to the new address, under an id of its own.
    s.command(call(&s, 3, "k", Instant::FAR));
    let (new, to) = opens(&mut s);
    assert_eq!(&*to, "store:2");
    s.input(Input::Writable(old));
    writable(&mut s, new);
    let third = sent(&mut s).request_ids[0];
    assert!(!ids.contains(&third));
    // Neither stream answers for the other.
    answer(&mut s, old, &[(ids[1], "B"), (third, "no")]);
    assert_eq!(value(&mut s), (2, "B".into()));
    answer(&mut s, new, &[(third, "C"), (ids[0], "no")]);
    assert_eq!(value(&mut s), (3, "C".into()));
    s.expect_nothing();
    answer(&mut s, old, &[(ids[0], "A")]);
    assert_eq!(value(&mut s), (1, "A".into()));
    assert_eq!(closes(&mut s), old);
    disconnects(&mut s, "store:1");
    s.expect_nothing();
}

#[test]
fn what_waits_at_a_move_is_sent_to_the_new_address_only() {
    let mut s = given();
    let old = open(&mut s);
    s.command(call(&s, 1, "sent", Instant::FAR));
    sent(&mut s);
    s.command(call(&s, 2, "waits", Instant::FAR));
    moved(&mut s, "store:2");
    let (new, to) = opens(&mut s);
    assert_eq!(&*to, "store:2");
    s.input(Input::Writable(old));
    s.input(Input::Idle);
    s.expect_nothing();
    writable(&mut s, new);
    assert_eq!(sent(&mut s).requests.len(), 1);
    s.expect_nothing();
}

#[test]
fn a_stream_that_leaves_ends_with_the_last_deadline_withdrawal_or_break() {
    for end in 0..4 {
        let mut s = given();
        let (old, ids) = moved_with_two_in_flight(&mut s);
        answer(&mut s, old, &[(ids[0], "A")]);
        assert_eq!(value(&mut s), (1, "A".into()));
        s.expect_nothing();
        match end {
            0 => {
                s.now = Instant(52);
                s.input(Input::Timer(StreamTimer::Deadline));
                assert_eq!(fault(&mut s), (2, TransportClass::TimedOut));
            }
            1 => {
                let who = s.withdrawn(2);
                s.command(StreamCommand::Withdraw(who));
            }
            2 => {
                s.input(Input::Closed(old, broken(TransportClass::Rejected(14))));
                assert_eq!(fault(&mut s), (2, TransportClass::Lost), "it may have been carried out");
                s.expect_nothing();
                continue;
            }
            _ => {
                s.input(Input::Item(old, Bytes::from_static(b"\x0a\xff\xff\xff\xff\x0f")));
                assert_eq!(fault(&mut s), (2, TransportClass::Lost));
            }
        }
        assert_eq!(closes(&mut s), old);
        disconnects(&mut s, "store:1");
        s.expect_nothing();
    }
}

#[test]
fn a_stream_with_nothing_in_flight_ends_at_a_move() {
    let mut s = given();
    let old = open(&mut s);
    moved(&mut s, "store:1");
    s.expect_nothing();
    moved(&mut s, "store:2");
    assert_eq!(closes(&mut s), old);
    disconnects(&mut s, "store:1");
    s.expect_nothing();
}

#[test]
fn a_store_that_moves_back_keeps_the_connection_on_which_answers_come() {
    let mut s = given();
    let (old, ids) = moved_with_two_in_flight(&mut s);
    moved(&mut s, "store:1");
    s.command(call(&s, 3, "k", Instant::FAR));
    let (new, to) = opens(&mut s);
    assert_eq!(&*to, "store:1");
    answer(&mut s, old, &[(ids[0], "A"), (ids[1], "B")]);
    assert_eq!([value(&mut s), value(&mut s)], [(1, "A".into()), (2, "B".into())]);
    assert_eq!(closes(&mut s), old);
    // The new stream is on the same connection: it stays.
    s.expect_nothing();
    writable(&mut s, new);
    sent(&mut s);
}

#[test]
fn a_move_ends_the_pause_of_the_old_address() {
    let mut s = given();
    s.command(call(&s, 1, "a", Instant::FAR));
    let (stream, _) = opens(&mut s);
    armed(&mut s);
    s.input(Input::Closed(stream, broken(TransportClass::Unreachable)));
    assert_eq!(fault(&mut s), (1, TransportClass::Unreachable));
    moved(&mut s, "store:2");
    s.command(call(&s, 2, "b", Instant::FAR));
    assert_eq!(&*opens(&mut s).1, "store:2");
    s.expect_nothing();
}

#[test]
fn a_move_while_opening_opens_at_the_new_address_what_waits() {
    let mut s = given();
    s.command(call(&s, 1, "a", Instant::FAR));
    let (first, _) = opens(&mut s);
    armed(&mut s);
    moved(&mut s, "store:2");
    assert_eq!(closes(&mut s), first);
    disconnects(&mut s, "store:1");
    let (second, to) = opens(&mut s);
    assert_eq!(&*to, "store:2");
    // The first one's end is nothing to the second.
    s.input(Input::Closed(first, broken(TransportClass::Unreachable)));
    s.expect_nothing();
    writable(&mut s, second);
    sent(&mut s);
}
