//! What holds requests back, and what does not: limits, rates, priorities, waits.

use std::num::NonZeroU32;

use tikv_proto::kvrpcpb::{Context, ResourceControlContext};
use tikv_proto::tikvpb::batch_commands_request::request::Cmd;

use super::*;

fn with(change: impl FnOnce(&mut StreamConfig)) -> Script {
    let mut config = StreamConfig::default();
    change(&mut config);
    ServiceScript::given(StoreStream::new("store:1".into(), config))
}

/// A call of a priority.
fn urgent(s: &Script, n: u32, key: &'static str, override_priority: u64) -> StreamCommand {
    let control = ResourceControlContext { override_priority, ..Default::default() };
    let context = Context { resource_control_context: Some(control), ..Default::default() };
    let message = pb::RawGetRequest { key: key.into(), ..Default::default() };
    let request = Arc::new(Request::new(&message, Profile::new(&context)));
    let (asker, attempt) = (s.asker(n), attempt());
    StreamCommand::Call { asker, attempt, request, deadline: Instant::FAR, forward: None }
}

/// The keys of the frame that comes next, and its ids.
#[track_caller]
fn keys(s: &mut Script) -> (String, Vec<u64>) {
    let frame = sent(s);
    let key = |request: batch_commands_request::Request| match request.cmd {
        Some(Cmd::RawGet(get)) => String::from_utf8(get.key.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    (frame.requests.into_iter().map(key).collect(), frame.request_ids)
}

#[test]
fn ids_count_from_one() {
    let mut s = given();
    let stream = open(&mut s);
    for n in 2..6 {
        s.command(call(&s, 0, "k", Instant::FAR));
        assert_eq!(sent(&mut s).request_ids, [n]);
        writable(&mut s, stream);
    }
}

#[test]
fn fixes_equals_overtaking_each_other_the_highest_priority_goes_first_and_equals_in_order() {
    let mut s = given();
    let stream = open(&mut s);
    s.command(call(&s, 0, "x", Instant::FAR));
    sent(&mut s);
    for (n, (key, priority)) in
        [("a", 0), ("b", 3), ("c", 16), ("d", 0), ("e", 3), ("f", 16)].into_iter().enumerate()
    {
        s.command(urgent(&s, n as u32, key, priority));
    }
    writable(&mut s, stream);
    assert_eq!(keys(&mut s).0, "cfbead");
}

#[test]
fn fixes_the_soft_limit_no_more_are_in_flight_than_may_be() {
    let mut s = with(|config| config.max_in_flight = 3);
    let stream = open(&mut s);
    for n in 1..=7 {
        s.input(Input::Command(call(&s, n, "k", Instant::FAR)));
    }
    s.input(Input::Idle);
    let (_, ids) = keys(&mut s);
    assert_eq!(ids.len(), 3);
    writable(&mut s, stream);
    s.expect_nothing();
    answer(&mut s, stream, &[(ids[1], "v")]);
    assert_eq!(value(&mut s).0, 2);
}

#[test]
fn fixes_leftovers_that_wait_for_a_new_request_an_answer_makes_room_for_them() {
    let mut s = with(|config| config.max_in_flight = 2);
    let stream = open(&mut s);
    for n in 1..=4 {
        s.input(Input::Command(call(&s, n, "k", Instant::FAR)));
    }
    s.input(Input::Idle);
    let (_, ids) = keys(&mut s);
    writable(&mut s, stream);
    s.expect_nothing();
    answer(&mut s, stream, &[(ids[0], "v"), (ids[1], "v")]);
    assert_eq!([value(&mut s).0, value(&mut s).0], [1, 2]);
    s.input(Input::Idle);
    assert_eq!(keys(&mut s).1.len(), 2);
}

#[test]
fn high_priority_is_not_held_back_by_the_limit() {
    let mut s = with(|config| config.max_in_flight = 1);
    let stream = open(&mut s);
    s.command(call(&s, 1, "a", Instant::FAR));
    sent(&mut s);
    s.command(call(&s, 2, "b", Instant::FAR));
    s.command(urgent(&s, 3, "c", 9));
    s.command(urgent(&s, 4, "d", 10));
    s.command(urgent(&s, 5, "e", 16));
    writable(&mut s, stream);
    assert_eq!(keys(&mut s).0, "ed");
    writable(&mut s, stream);
    s.expect_nothing();
}

#[test]
fn a_withdrawn_request_makes_room_for_the_next() {
    let mut s = with(|config| config.max_in_flight = 1);
    let stream = open(&mut s);
    s.command(call(&s, 1, "a", Instant::FAR));
    sent(&mut s);
    s.command(call(&s, 2, "b", Instant::FAR));
    writable(&mut s, stream);
    s.expect_nothing();
    let who = s.withdrawn(1);
    s.command(StreamCommand::Withdraw(who));
    assert_eq!(keys(&mut s).0, "b");
}

#[test]
fn a_rate_lets_a_burst_through_and_then_one_at_a_time() {
    let rate = Rate::new(NonZeroU32::new(1000).unwrap(), NonZeroU32::new(2).unwrap());
    let mut s = with(|config| config.rate = Some(rate));
    let stream = open(&mut s);
    s.now = s.now + Duration::from_secs(1);
    for n in 1..=4 {
        s.input(Input::Command(call(&s, n, "k", Instant::FAR)));
    }
    s.input(Input::Idle);
    assert_eq!(sent(&mut s).requests.len(), 2);
    writable(&mut s, stream);
    let ServiceEffect::Arm(StreamTimer::Rate, at) = s.effect() else { panic!("arms the rate") };
    assert_eq!(at.since(s.now), Duration::from_millis(1));
    s.now = at;
    s.input(Input::Timer(StreamTimer::Rate));
    s.input(Input::Idle);
    assert_eq!(sent(&mut s).requests.len(), 1);
}

#[test]
fn a_frame_waits_for_more_where_the_policy_expects_them() {
    let mut s = with(|config| config.policy = BatchPolicy::Positive);
    let stream = open(&mut s);
    // The pause since the last frame's first request decides.
    s.now = s.now + Duration::from_micros(10);
    s.command(call(&s, 1, "a", Instant::FAR));
    let ServiceEffect::Arm(StreamTimer::Batch, until) = s.effect() else { panic!("waits") };
    assert_eq!(until.since(s.now), Duration::from_micros(100));
    s.command(call(&s, 2, "b", Instant::FAR));
    assert!(matches!(s.effect(), ServiceEffect::Arm(StreamTimer::Batch, at) if at == until));
    s.now = until;
    s.input(Input::Timer(StreamTimer::Batch));
    s.input(Input::Idle);
    assert_eq!(keys(&mut s).0, "ab");
    writable(&mut s, stream);
    s.expect_nothing();
}

#[test]
fn a_frame_does_not_wait_longer_than_for_as_many_as_are_worth_it() {
    let mut s = with(|config| {
        config.policy = BatchPolicy::Positive;
        config.batch_wait_size = 2;
    });
    open(&mut s);
    s.now = s.now + Duration::from_micros(10);
    s.command(call(&s, 1, "a", Instant::FAR));
    s.effect();
    s.command(call(&s, 2, "b", Instant::FAR));
    assert_eq!(keys(&mut s).0, "ab");
}

#[test]
fn an_overloaded_store_gets_larger_frames_until_it_is_not() {
    let mut s = with(|config| config.batch_wait = Duration::from_millis(1));
    let stream = open(&mut s);
    let loaded = |load| BatchCommandsResponse { transport_layer_load: load, ..Default::default() };
    s.input(Input::Item(stream, loaded(201).encode_to_vec().into()));
    s.command(call(&s, 1, "a", Instant::FAR));
    assert!(matches!(s.effect(), ServiceEffect::Arm(StreamTimer::Batch, _)));
    s.now = s.now + Duration::from_millis(1);
    s.input(Input::Idle);
    assert_eq!(keys(&mut s).0, "a");
    // A frame that tells of no load says that there is none (client-go keeps the old one).
    s.input(Input::Item(stream, loaded(0).encode_to_vec().into()));
    writable(&mut s, stream);
    s.command(call(&s, 2, "b", Instant::FAR));
    assert_eq!(keys(&mut s).0, "b");
}

#[test]
fn what_takes_too_long_is_told_how_far_it_came() {
    let mut s = with(|config| config.max_in_flight = 2);
    let stream = open(&mut s);
    s.command(call(&s, 1, "a", Instant(50)));
    s.effect();
    sent(&mut s);
    writable(&mut s, stream);
    s.command(call(&s, 2, "b", Instant(60)));
    let id = sent(&mut s).request_ids[0];
    s.command(call(&s, 3, "c", Instant(60)));
    answer(&mut s, stream, &[(id, "B")]);
    assert_eq!(value(&mut s).0, 2);
    s.now = Instant(5_000_000_060);
    s.input(Input::Timer(StreamTimer::Deadline));
    let mut text = || match s.answered() {
        Some((n, Completion::Fault(fault))) => format!("{n}: {fault}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text(),
        "1: no answer in time: store:1: sent 5s before; later requests of its stream were answered"
    );
    assert_eq!(text(), "3: unreachable: store:1: not sent: the connection takes no more");
}
