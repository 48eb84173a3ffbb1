//! The batcher at its boundary; [`random`]: in a world whose PD fails at random.

mod random;

use std::time::Duration;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::error::ServiceError;
use crate::machine::script::ServiceScript;
use crate::machine::{
    Answer, Completion, Fault, Input, Interrupt, ServiceEffect, StreamId, TicketId, TransportClass,
    TransportFault,
};
use crate::pd::{PdQuery, PdReply};
use crate::types::{ClusterId, Instant, Timestamp};
use tikv_proto::pdpb;

type Tso = ServiceScript<TsoBatcher>;

fn at(seconds: u64) -> Instant {
    Instant(seconds * 1_000_000_000)
}

fn get(tso: &mut Tso, n: u32) {
    let asker = tso.asker(n);
    tso.input(Input::Command(TsoCommand::Get { asker, deadline: at(40) }));
}

fn leader(address: &str) -> Completion {
    Completion::Answer(Answer::Pd(PdReply::Leader { address: address.into(), cluster: ClusterId(7) }))
}

#[track_caller]
fn armed(tso: &mut Tso, timer: TsoTimer) -> Instant {
    match tso.effect() {
        ServiceEffect::Arm(which, at) if which == timer => at,
        other => panic!("wanted {timer:?} armed, got {other:?}"),
    }
}

#[track_caller]
fn asked_leader(tso: &mut Tso, not: Option<&str>) -> TicketId {
    match tso.effect() {
        ServiceEffect::Query { ticket, query: PdQuery::Leader { instead_of }, .. } => {
            assert_eq!(instead_of.as_deref(), not);
            ticket
        }
        other => panic!("wanted a question for the leader, got {other:?}"),
    }
}

#[track_caller]
fn opened(tso: &mut Tso, address: &str) -> StreamId {
    match tso.effect() {
        ServiceEffect::Open { stream, to, path, .. } => {
            assert_eq!((&*to, path), (address, "/pdpb.PD/Tso"));
            stream
        }
        other => panic!("wanted a stream, got {other:?}"),
    }
}

#[track_caller]
fn sent(tso: &mut Tso) -> pdpb::TsoRequest {
    match tso.effect() {
        ServiceEffect::Send { message, .. } => pdpb::TsoRequest::decode(message).unwrap(),
        other => panic!("wanted a request, got {other:?}"),
    }
}

fn grant(count: u32, physical: i64, logical: i64) -> pdpb::TsoResponse {
    let timestamp = Some(pdpb::Timestamp { physical, logical, suffix_bits: 0 });
    pdpb::TsoResponse { header: crate::pd::tests::header(), count, timestamp }
}

fn say(tso: &mut Tso, stream: StreamId, answer: &pdpb::TsoResponse) {
    tso.input(Input::Item(stream, answer.encode_to_vec().into()));
    tso.input(Input::Idle);
}

fn close(tso: &mut Tso, stream: StreamId) {
    let fault = TransportFault::new(TransportClass::Lost, "reset");
    tso.input(Input::Closed(stream, fault));
    tso.input(Input::Idle);
}

#[track_caller]
fn got(tso: &mut Tso, n: u32, physical: u64, logical: u64) {
    let timestamp = Timestamp::compose(physical, logical);
    assert_eq!(tso.answered(), Some((n, Completion::Answer(Answer::Timestamp(timestamp)))));
}

/// A batcher whose stream to `a:1` is open, with one caller of number 0 on it.
fn open() -> (Tso, StreamId) {
    let mut tso = ServiceScript::given(TsoBatcher::default());
    get(&mut tso, 0);
    armed(&mut tso, TsoTimer::Deadline);
    let ticket = asked_leader(&mut tso, None);
    tso.input(Input::Done(ticket, leader("a:1")));
    let stream = opened(&mut tso, "a:1");
    armed(&mut tso, TsoTimer::Silence);
    tso.input(Input::Writable(stream));
    tso.input(Input::Idle);
    assert_eq!(sent(&mut tso).count, 1);
    tso.expect_nothing();
    (tso, stream)
}

#[test]
fn all_that_wait_are_served_by_one_request_in_the_order_of_asking() {
    let (mut tso, stream) = open();
    tso.input(Input::Writable(stream));
    for n in 1..4 {
        get(&mut tso, n);
    }
    tso.input(Input::Idle);
    let request = sent(&mut tso);
    assert_eq!((request.count, request.header.unwrap().cluster_id), (3, 7));
    say(&mut tso, stream, &grant(1, 5, 0));
    got(&mut tso, 0, 5, 0);
    say(&mut tso, stream, &grant(3, 5, 9));
    for (n, logical) in [(1, 7), (2, 8), (3, 9)] {
        got(&mut tso, n, 5, logical);
    }
    tso.expect_nothing();
}

#[test]
fn requests_under_way_are_bounded_and_grow_instead() {
    let (mut tso, stream) = open();
    for n in 1..10 {
        get(&mut tso, n);
        tso.input(Input::Writable(stream));
        tso.input(Input::Idle);
    }
    // One at a time until four are under way.
    assert_eq!([1, 2, 3].map(|_| sent(&mut tso).count), [1, 1, 1]);
    tso.expect_nothing();
    say(&mut tso, stream, &grant(1, 5, 0));
    got(&mut tso, 0, 5, 0);
    assert_eq!(sent(&mut tso).count, 6);
    tso.expect_nothing();
}

#[test]
fn nothing_is_sent_before_the_stream_takes_it() {
    let (mut tso, stream) = open();
    get(&mut tso, 1);
    tso.input(Input::Idle);
    tso.expect_nothing();
    tso.input(Input::Writable(stream));
    tso.input(Input::Idle);
    assert_eq!(sent(&mut tso).count, 1);
}

#[test]
fn who_was_sent_on_a_stream_that_broke_is_served_first_on_the_next() {
    let (mut tso, stream) = open();
    get(&mut tso, 1);
    close(&mut tso, stream);
    let ticket = asked_leader(&mut tso, Some("a:1"));
    tso.expect_nothing();
    tso.input(Input::Done(ticket, leader("b:1")));
    let stream = opened(&mut tso, "b:1");
    tso.input(Input::Writable(stream));
    tso.input(Input::Idle);
    assert_eq!(sent(&mut tso).count, 2);
    say(&mut tso, stream, &grant(2, 6, 1));
    got(&mut tso, 0, 6, 0);
    got(&mut tso, 1, 6, 1);
    tso.expect_nothing();
}

#[test]
fn an_answer_of_a_closed_stream_is_not_looked_at() {
    let (mut tso, stream) = open();
    close(&mut tso, stream);
    asked_leader(&mut tso, Some("a:1"));
    say(&mut tso, stream, &grant(1, 6, 1));
    close(&mut tso, stream);
    tso.expect_nothing();
}

#[test]
fn the_second_failure_in_a_row_makes_a_pause() {
    let (mut tso, stream) = open();
    close(&mut tso, stream);
    let ticket = asked_leader(&mut tso, Some("a:1"));
    tso.input(Input::Done(ticket, Completion::Fault(Fault::Overloaded)));
    let at = armed(&mut tso, TsoTimer::Retry);
    assert!(at > tso.now && at <= tso.now + Duration::from_millis(20));
    tso.expect_nothing();
    tso.now = at;
    tso.input(Input::Timer(TsoTimer::Retry));
    // Still not the member that broke the stream.
    asked_leader(&mut tso, Some("a:1"));
    tso.expect_nothing();
}

#[test]
fn a_timestamp_that_falls_back_is_an_error_and_never_handed_out() {
    let (mut tso, stream) = open();
    tso.input(Input::Writable(stream));
    get(&mut tso, 1);
    tso.input(Input::Idle);
    sent(&mut tso);
    tso.input(Input::Writable(stream));
    get(&mut tso, 2);
    tso.input(Input::Idle);
    sent(&mut tso);
    say(&mut tso, stream, &grant(1, 6, 1));
    got(&mut tso, 0, 6, 1);
    say(&mut tso, stream, &grant(1, 6, 1));
    let Some((1, Completion::Fault(Fault::Refused(error @ ServiceError::Corrupt { .. })))) = tso.answered()
    else {
        panic!("not refused")
    };
    insta::assert_snapshot!(
        error, @"PD at a:1: an answer cannot be understood: timestamp 1572865 falls back behind 1572865"
    );
    assert!(matches!(tso.effect(), ServiceEffect::Close { .. }));
    // The other one waits on.
    let ticket = asked_leader(&mut tso, Some("a:1"));
    tso.input(Input::Done(ticket, leader("b:1")));
    let stream = opened(&mut tso, "b:1");
    tso.input(Input::Writable(stream));
    tso.input(Input::Idle);
    assert_eq!(sent(&mut tso).count, 1);
    say(&mut tso, stream, &grant(1, 6, 2));
    got(&mut tso, 2, 6, 2);
    tso.expect_nothing();
}

#[test]
fn a_bad_answer_ends_the_stream_and_callers_wait_on() {
    let other = pdpb::TsoResponse {
        header: Some(pdpb::ResponseHeader { cluster_id: 8, error: None }),
        ..grant(1, 6, 0)
    };
    for answer in [grant(2, 6, 1), grant(1, 0, 0), other] {
        let (mut tso, stream) = open();
        say(&mut tso, stream, &answer);
        assert!(matches!(tso.effect(), ServiceEffect::Close { stream: closed } if closed == stream));
        asked_leader(&mut tso, Some("a:1"));
        tso.expect_nothing();
        assert_eq!(tso.service.left(), 1);
    }
}

#[test]
fn an_answer_to_no_request_ends_the_stream() {
    let (mut tso, stream) = open();
    say(&mut tso, stream, &grant(1, 6, 0));
    got(&mut tso, 0, 6, 0);
    say(&mut tso, stream, &grant(1, 6, 1));
    assert!(matches!(tso.effect(), ServiceEffect::Close { .. }));
    // Nobody waits, so nobody is asked.
    tso.expect_nothing();
}

#[test]
fn silence_ends_the_stream() {
    let (mut tso, _) = open();
    tso.now = at(3);
    tso.input(Input::Timer(TsoTimer::Silence));
    assert!(matches!(tso.effect(), ServiceEffect::Close { .. }));
    asked_leader(&mut tso, Some("a:1"));
    tso.expect_nothing();
}

#[test]
fn silence_is_counted_from_the_oldest_request() {
    let (mut tso, stream) = open();
    tso.now = at(2);
    say(&mut tso, stream, &grant(1, 6, 0));
    got(&mut tso, 0, 6, 0);
    tso.input(Input::Writable(stream));
    get(&mut tso, 1);
    tso.input(Input::Idle);
    sent(&mut tso);
    tso.now = at(3);
    tso.input(Input::Timer(TsoTimer::Silence));
    assert_eq!(armed(&mut tso, TsoTimer::Silence), at(5));
    tso.expect_nothing();
}

#[test]
fn a_stream_that_ends_while_nobody_waits_is_opened_for_the_next_caller() {
    let (mut tso, stream) = open();
    say(&mut tso, stream, &grant(1, 6, 0));
    got(&mut tso, 0, 6, 0);
    close(&mut tso, stream);
    tso.expect_nothing();
    get(&mut tso, 1);
    // Nothing was lost on it: its member is not doubted.
    asked_leader(&mut tso, None);
    tso.expect_nothing();
}

#[test]
fn the_deadline_answers_and_names_the_last_failure() {
    let mut tso = ServiceScript::given(TsoBatcher::default());
    let asker = tso.asker(1);
    tso.command(TsoCommand::Get { asker, deadline: at(2) });
    get(&mut tso, 2);
    assert_eq!(armed(&mut tso, TsoTimer::Deadline), at(2));
    let ticket = asked_leader(&mut tso, None);
    let error = ServiceError::PdUnreachable { addresses: "a:1".into(), last: "refused".into() };
    tso.input(Input::Done(ticket, Completion::Fault(Fault::Refused(error))));
    asked_leader(&mut tso, None);
    tso.now = at(2);
    tso.input(Input::Timer(TsoTimer::Deadline));
    let fault = TransportFault::new(TransportClass::TimedOut, "no PD answers at a:1: refused");
    assert_eq!(tso.answered(), Some((1, Completion::Fault(Fault::Transport(fault)))));
    assert_eq!(armed(&mut tso, TsoTimer::Deadline), at(40));
    tso.expect_nothing();
}

#[test]
fn another_cluster_or_a_closed_client_ends_the_wait() {
    let (wanted, found) = (ClusterId(7), ClusterId(8));
    let foreign = ServiceError::ClusterMismatch { address: "a:1".into(), wanted, found };
    for fault in [Fault::Refused(foreign), Fault::Interrupted(Interrupt::Closed)] {
        let mut tso = ServiceScript::given(TsoBatcher::default());
        get(&mut tso, 1);
        armed(&mut tso, TsoTimer::Deadline);
        let ticket = asked_leader(&mut tso, None);
        tso.input(Input::Done(ticket, Completion::Fault(fault.clone())));
        assert_eq!(tso.answered(), Some((1, Completion::Fault(fault))));
        tso.expect_nothing();
    }
}

#[test]
fn who_withdraws_leaves_nothing_behind_and_the_others_in_order() {
    let (mut tso, stream) = open();
    tso.input(Input::Writable(stream));
    for n in 1..5 {
        get(&mut tso, n);
    }
    let who = tso.withdrawn(4);
    tso.command(TsoCommand::Withdraw(who));
    // Who left before costs nothing.
    assert_eq!(sent(&mut tso).count, 3);
    for n in [0, 2] {
        let who = tso.withdrawn(n);
        tso.command(TsoCommand::Withdraw(who));
    }
    assert_eq!(tso.service.left(), 2);
    say(&mut tso, stream, &grant(1, 5, 0));
    say(&mut tso, stream, &grant(3, 5, 9));
    got(&mut tso, 1, 5, 7);
    got(&mut tso, 3, 5, 8);
    tso.expect_nothing();
    assert_eq!(tso.service.left(), 0);
}

#[test]
fn too_many_callers_are_refused_at_once() {
    let mut tso = ServiceScript::given(TsoBatcher::new(TsoConfig { most: 2, ..TsoConfig::default() }));
    for n in 0..3 {
        get(&mut tso, n);
    }
    assert_eq!(tso.answered(), Some((2, Completion::Fault(Fault::Overloaded))));
    assert_eq!(tso.service.left(), 2);
}

#[test]
fn a_request_has_at_most_so_many() {
    let config = TsoConfig { max_batch: 2, ..TsoConfig::default() };
    let mut tso = ServiceScript::given(TsoBatcher::new(config));
    for n in 0..3 {
        get(&mut tso, n);
    }
    armed(&mut tso, TsoTimer::Deadline);
    let ticket = asked_leader(&mut tso, None);
    tso.input(Input::Done(ticket, leader("a:1")));
    let stream = opened(&mut tso, "a:1");
    armed(&mut tso, TsoTimer::Silence);
    for count in [2, 1] {
        tso.input(Input::Writable(stream));
        tso.input(Input::Idle);
        assert_eq!(sent(&mut tso).count, count);
    }
    tso.expect_nothing();
}

proptest! {
    #[test]
    fn each_of_a_batch_gets_its_own_of_just_so_many(counts in proptest::collection::vec(1..40_u32, 1..8)) {
        let (mut tso, stream) = open();
        let mut clock = 100_i64;
        say(&mut tso, stream, &grant(1, 5, clock));
        tso.answered();
        let mut handed = Vec::new();
        for count in counts {
            (0..count).for_each(|n| get(&mut tso, n));
            tso.input(Input::Writable(stream));
            tso.input(Input::Idle);
            prop_assert_eq!(sent(&mut tso).count, count);
            clock += i64::from(count);
            say(&mut tso, stream, &grant(count, 5, clock));
            while let Some((n, completion)) = tso.answered() {
                let Completion::Answer(Answer::Timestamp(timestamp)) = completion else { panic!("{completion:?}") };
                prop_assert_eq!(timestamp.logical(), u64::try_from(clock).unwrap() - u64::from(count) + 1 + u64::from(n));
                handed.push(timestamp);
            }
        }
        prop_assert!(handed.is_sorted_by(|a, b| a < b), "{:?}", handed);
        prop_assert_eq!(handed.len(), usize::try_from(clock - 100).unwrap());
    }
}
