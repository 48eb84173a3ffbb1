//! The ways that requests take: several connections, forwarding, calls of their own; and connections that nobody uses.

use super::*;
use crate::machine::Feedback;
use crate::machine::{Metadata, Way};
use tikv_proto::kvrpcpb::HealthFeedback;

fn with(change: impl FnOnce(&mut StreamConfig)) -> Script {
    let mut config = StreamConfig::default();
    change(&mut config);
    ServiceScript::given(StoreStream::new("store:1".into(), config))
}

fn forwarded(s: &Script, n: u32, to: &str) -> StreamCommand {
    let StreamCommand::Call { asker, attempt, request, deadline, .. } = call(s, n, "k", Instant::FAR) else {
        unreachable!("a call")
    };
    StreamCommand::Call { asker, attempt, request, deadline, forward: Some(to.into()) }
}

fn forwarding(to: &str) -> Metadata {
    vec![("tikv-forwarded-host", to.into())]
}

/// The stream that is opened next, and how.
#[track_caller]
fn opened(s: &mut Script) -> (StreamId, Way) {
    match s.effect() {
        ServiceEffect::Open { stream, way, .. } => (stream, way),
        other => panic!("wanted a stream, got {other:?}"),
    }
}

#[test]
fn a_further_connection_is_made_once_each_has_enough_to_do() {
    let mut s = with(|config| (config.connections, config.per_connection) = (2, 2));
    let first = open(&mut s);
    for n in 1..=2 {
        s.input(Input::Command(call(&s, n, "k", Instant::FAR)));
    }
    s.input(Input::Idle);
    assert_eq!(sent(&mut s).requests.len(), 2);
    s.command(call(&s, 3, "k", Instant::FAR));
    let (second, way) = opened(&mut s);
    assert_eq!((second != first, way), (true, Way { connection: 1, ..Way::default() }));
    // The first to take a frame gets it.
    writable(&mut s, second);
    assert!(matches!(s.effect(), ServiceEffect::Send { stream, .. } if stream == second));
    writable(&mut s, first);
    writable(&mut s, second);
    // Both have room: the first is filled before the second; there is no third.
    for n in 4..=9 {
        s.command(call(&s, n, "k", Instant::FAR));
        let ServiceEffect::Send { stream, .. } = s.effect() else { panic!("sends") };
        s.expect_nothing();
        writable(&mut s, stream);
    }
}

#[test]
fn a_connection_that_breaks_loses_its_own_requests_and_no_others() {
    let mut s = with(|config| (config.connections, config.per_connection) = (2, 1));
    let first = open(&mut s);
    s.command(call(&s, 1, "a", Instant::FAR));
    let ids = sent(&mut s).request_ids;
    s.command(call(&s, 2, "b", Instant::FAR));
    let (second, _) = opened(&mut s);
    writable(&mut s, second);
    sent(&mut s);
    s.input(Input::Closed(second, broken(TransportClass::Lost)));
    assert_eq!(fault(&mut s), (2, TransportClass::Lost));
    answer(&mut s, first, &[(ids[0], "A")]);
    assert_eq!(value(&mut s), (1, "A".into()));
    s.expect_nothing();
}

#[test]
fn what_waits_goes_over_the_connections_that_are_left() {
    let mut s = with(|config| (config.connections, config.per_connection) = (2, 1));
    let first = open(&mut s);
    s.command(call(&s, 1, "a", Instant::FAR));
    sent(&mut s);
    s.command(call(&s, 2, "b", Instant::FAR));
    let (second, _) = opened(&mut s);
    s.input(Input::Closed(second, broken(TransportClass::Unreachable)));
    s.expect_nothing();
    writable(&mut s, first);
    assert_eq!(sent(&mut s).requests.len(), 1);
}

#[test]
fn each_host_that_is_forwarded_to_has_a_stream_of_its_own() {
    let mut s = given();
    let direct = open(&mut s);
    s.command(forwarded(&s, 1, "store:7"));
    let (to_7, way) = opened(&mut s);
    assert_eq!(way, Way { metadata: forwarding("store:7"), ..Way::default() });
    s.command(forwarded(&s, 2, "store:8"));
    let (to_8, way) = opened(&mut s);
    assert_eq!(way.metadata, forwarding("store:8"));
    // One that hangs holds up neither the other nor what is for the store itself.
    writable(&mut s, to_8);
    let ids = sent(&mut s).request_ids;
    s.command(call(&s, 3, "k", Instant::FAR));
    assert!(matches!(s.effect(), ServiceEffect::Send { stream, .. } if stream == direct));
    // An answer counts only where its request was sent.
    answer(&mut s, to_7, &[(ids[0], "no")]);
    s.expect_nothing();
    answer(&mut s, to_8, &[(ids[0], "yes")]);
    assert_eq!(value(&mut s), (2, "yes".into()));
}

#[test]
fn fixes_a_bad_host_that_blocks_the_connection_a_broken_stream_fails_only_its_own() {
    let mut s = given();
    let direct = open(&mut s);
    s.command(call(&s, 1, "a", Instant::FAR));
    let ids = sent(&mut s).request_ids;
    s.command(forwarded(&s, 2, "store:7"));
    let (stream, _) = opened(&mut s);
    writable(&mut s, stream);
    sent(&mut s);
    s.input(Input::Closed(stream, broken(TransportClass::Rejected(14))));
    assert_eq!(fault(&mut s), (2, TransportClass::Lost));
    answer(&mut s, direct, &[(ids[0], "A")]);
    assert_eq!(value(&mut s), (1, "A".into()));
}

#[test]
fn fixes_streams_that_fail_together_and_keep_their_requests_each_fails_what_was_sent_on_it() {
    let mut s = given();
    let direct = open(&mut s);
    s.command(call(&s, 1, "a", Instant::FAR));
    sent(&mut s);
    s.command(forwarded(&s, 2, "store:7"));
    let (stream, _) = opened(&mut s);
    writable(&mut s, stream);
    sent(&mut s);
    for stream in [stream, direct] {
        s.input(Input::Closed(stream, broken(TransportClass::Lost)));
    }
    assert_eq!([fault(&mut s).0, fault(&mut s).0], [2, 1]);
}

#[test]
fn without_batches_each_request_is_a_call_of_its_own() {
    let mut s = with(|config| config.max_batch = 0);
    s.command(call(&s, 1, "a", Instant(70)));
    let ServiceEffect::Unary { ticket, to, path, body, deadline, way } = s.effect() else { panic!("calls") };
    assert_eq!((&*to, path, deadline, way), ("store:1", methods::tikv::RAW_GET, Instant(70), Way::default()));
    let sent = pb::RawGetRequest::decode(body).unwrap();
    assert_eq!((&*sent.key, sent.context.unwrap().region_id), (&b"a"[..], 3));
    let answer = pb::RawGetResponse { value: "A".into(), ..Default::default() };
    s.effect();
    s.input(Input::Done(ticket, Completion::Response(answer.encode_to_vec().into())));
    assert_eq!(value(&mut s), (1, "A".into()));
    s.command(forwarded(&s, 2, "store:7"));
    let ServiceEffect::Unary { ticket, way, .. } = s.effect() else { panic!("calls") };
    assert_eq!(way.metadata, forwarding("store:7"));
    // One that is not waited for is given up.
    let who = s.withdrawn(2);
    s.command(StreamCommand::Withdraw(who));
    assert!(matches!(s.effect(), ServiceEffect::GiveUp { ticket: gone } if gone == ticket));
    s.expect_nothing();
}

#[test]
fn calls_of_their_own_do_not_storm_a_store_that_cannot_be_reached() {
    let mut s = with(|config| config.max_batch = 0);
    s.command(call(&s, 1, "a", Instant::FAR));
    let ServiceEffect::Unary { ticket, .. } = s.effect() else { panic!("calls") };
    s.effect();
    let fault_of = |class| Completion::Fault(Fault::Transport(broken(class)));
    s.input(Input::Done(ticket, fault_of(TransportClass::Unreachable)));
    assert_eq!(fault(&mut s), (1, TransportClass::Unreachable));
    s.command(call(&s, 2, "b", Instant::FAR));
    assert_eq!(fault(&mut s), (2, TransportClass::Unreachable));
    s.now = s.now + Duration::from_millis(100);
    s.command(call(&s, 3, "c", Instant::FAR));
    assert!(matches!(s.effect(), ServiceEffect::Unary { .. }));
}

#[test]
fn fixes_a_first_request_that_fails_after_a_rest_connections_that_nobody_uses_are_closed_and_made_anew() {
    let mut s = given();
    let stream = open(&mut s);
    let rest = Duration::from_secs(180);
    s.now = s.now + rest / 2;
    s.command(call(&s, 1, "a", Instant::FAR));
    let id = sent(&mut s).request_ids[0];
    // Not while an answer is on its way, nor until the time is over since something was asked for.
    s.now = s.now + rest / 2;
    s.input(Input::Timer(StreamTimer::Idle));
    let ServiceEffect::Arm(StreamTimer::Idle, at) = s.effect() else { panic!("looks again") };
    answer(&mut s, stream, &[(id, "A")]);
    value(&mut s);
    s.now = at;
    s.input(Input::Timer(StreamTimer::Idle));
    assert!(matches!(s.effect(), ServiceEffect::Close { stream: closed } if closed == stream));
    assert!(matches!(s.effect(), ServiceEffect::Disconnect(from) if &*from == "store:1"));
    s.expect_nothing();
    s.command(call(&s, 2, "b", Instant::FAR));
    let (stream, _) = opened(&mut s);
    assert!(matches!(s.effect(), ServiceEffect::Arm(StreamTimer::Idle, _)));
    writable(&mut s, stream);
    assert_eq!(sent(&mut s).requests.len(), 1);
}

#[test]
fn what_a_store_says_of_itself_is_reported() {
    let mut s = given();
    let stream = open(&mut s);
    let health = HealthFeedback { store_id: 7, feedback_seq_no: 3, slow_score: 80 };
    let frame = BatchCommandsResponse { health_feedback: Some(health), ..Default::default() };
    s.input(Input::Item(stream, frame.encode_to_vec().into()));
    let ServiceEffect::Report(feedback) = s.effect() else { panic!("reports") };
    assert_eq!(feedback, Feedback::Health { store: StoreId(7), slow_score: 80 });
    s.expect_nothing();
}
