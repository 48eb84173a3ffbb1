//! Calls that bring many messages.

use super::*;
use tikv_proto::coprocessor;

fn begin(s: &mut Script) -> StreamId {
    let message = coprocessor::Request { data: "plan".into(), ..Default::default() };
    let request = Arc::new(Request::coprocessor_stream(&message, Profile::default()));
    let (asker, attempt, deadline) = (s.asker(1), attempt(), Instant(1000));
    s.command(StreamCommand::Call { asker, attempt, request, deadline, forward: None });
    let ServiceEffect::Open { stream, path, way, .. } = s.effect() else { panic!("opens a stream") };
    assert_eq!((path, way.on_demand), (methods::tikv::COPROCESSOR_STREAM, true));
    while s.next_effect().is_some() {}
    stream
}

/// A stream whose request is sent, and whose first message is waited for.
fn asked(s: &mut Script) -> StreamId {
    let stream = begin(s);
    writable(s, stream);
    let ServiceEffect::Send { message, .. } = s.effect() else { panic!("sends") };
    let sent = coprocessor::Request::decode(message).unwrap();
    assert_eq!((&*sent.data, sent.context.unwrap().region_id), (&b"plan"[..], 3));
    assert!(matches!(s.effect(), ServiceEffect::Finish { stream: finished } if finished == stream));
    wants(s, stream);
    stream
}

#[track_caller]
fn wants(s: &mut Script, from: StreamId) {
    assert!(matches!(s.effect(), ServiceEffect::Next { stream } if stream == from));
}

fn next(s: &mut Script, n: u32, deadline: Instant) {
    let asker = s.asker(n);
    s.command(StreamCommand::Next { asker, deadline });
}

#[track_caller]
fn message(s: &mut Script) -> (u32, Bytes) {
    match s.answered() {
        Some((n, Completion::Response(body))) => (n, body),
        other => panic!("wanted a message, got {other:?}"),
    }
}

#[test]
fn messages_come_one_at_a_time_each_when_it_is_asked_for() {
    let mut s = given();
    let stream = asked(&mut s);
    for n in 1..4 {
        s.input(Input::Item(stream, "message".into()));
        assert_eq!(message(&mut s), (n, "message".into()));
        s.expect_nothing();
        next(&mut s, n + 1, Instant(1000));
        wants(&mut s, stream);
    }
    s.input(Input::Closed(stream, broken(TransportClass::Rejected(0))));
    assert_eq!(fault(&mut s), (4, TransportClass::Rejected(0)), "all is well");
    s.expect_nothing();
}

#[test]
fn an_error_on_the_first_message_ends_the_stream() {
    let mut s = given();
    let stream = asked(&mut s);
    s.input(Input::Closed(stream, broken(TransportClass::Rejected(14))));
    assert_eq!(fault(&mut s), (1, TransportClass::Rejected(14)));
    next(&mut s, 2, Instant::FAR);
    assert_eq!(fault(&mut s), (2, TransportClass::Lost));
}

#[test]
fn a_message_that_does_not_come_in_time_ends_the_stream_and_the_server_learns_of_it() {
    let mut s = given();
    let stream = asked(&mut s);
    s.now = Instant(1000);
    s.input(Input::Timer(StreamTimer::Deadline));
    assert_eq!(fault(&mut s), (1, TransportClass::TimedOut));
    assert!(matches!(s.effect(), ServiceEffect::Close { stream: closed } if closed == stream));
    s.expect_nothing();
}

#[test]
fn a_request_that_is_not_sent_in_time_did_not_happen() {
    let mut s = given();
    begin(&mut s);
    s.now = Instant(1000);
    s.input(Input::Timer(StreamTimer::Deadline));
    assert_eq!(fault(&mut s), (1, TransportClass::Unreachable));
}

#[test]
fn time_between_messages_is_the_reader_s_own() {
    let mut s = given();
    let stream = asked(&mut s);
    s.input(Input::Item(stream, "first".into()));
    message(&mut s);
    s.now = Instant(5000);
    s.input(Input::Timer(StreamTimer::Deadline));
    s.expect_nothing();
    next(&mut s, 2, Instant(6000));
    wants(&mut s, stream);
    assert!(matches!(s.effect(), ServiceEffect::Arm(StreamTimer::Deadline, Instant(6000))));
}

#[test]
fn an_end_that_nobody_waits_for_is_told_to_the_next() {
    let mut s = given();
    let stream = asked(&mut s);
    s.input(Input::Item(stream, "first".into()));
    message(&mut s);
    s.input(Input::Closed(stream, broken(TransportClass::Lost)));
    s.expect_nothing();
    next(&mut s, 2, Instant::FAR);
    assert_eq!(fault(&mut s), (2, TransportClass::Lost));
}

#[test]
fn a_reader_that_is_gone_ends_the_stream() {
    let mut s = given();
    let stream = asked(&mut s);
    let who = s.withdrawn(1);
    s.command(StreamCommand::Withdraw(who));
    assert!(matches!(s.effect(), ServiceEffect::Close { stream: closed } if closed == stream));
    s.expect_nothing();
}
