//! The stream service at its boundary, and the wire form against prost's.

mod flows;
mod limits;
mod moves;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use tikv_proto::tikvpb::{
    BatchCommandsRequest, BatchCommandsResponse, batch_commands_request, batch_commands_response,
};
use tikv_proto::{kvrpcpb as pb, methods};

use super::frame::{FrameError, FrameReader, FrameWriter};
use super::*;
use crate::machine::script::ServiceScript;
use crate::machine::{
    Attempt, Completion, Fault, Input, ServiceEffect, StreamId, TransportClass, TransportFault,
};
use crate::request::{Profile, Request};
use crate::types::{Instant, Located, PeerId, RegionId, RegionVersion, StoreId};

type Script = ServiceScript<StoreStream>;

fn attempt() -> Attempt {
    Attempt::first(Located {
        region: RegionVersion { id: RegionId(3), version: 2, conf_ver: 1 },
        peer: PeerId(5),
        store: StoreId(7),
    })
}

fn get(key: &'static str) -> Arc<Request> {
    let message = pb::RawGetRequest { key: key.into(), ..Default::default() };
    Arc::new(Request::new(&message, Profile::default()))
}

fn given() -> Script {
    ServiceScript::given(StoreStream::new("store:1".into(), StreamConfig::default()))
}

fn call(s: &Script, n: u32, key: &'static str, deadline: Instant) -> StreamCommand {
    StreamCommand::Call { asker: s.asker(n), attempt: attempt(), request: get(key), deadline, forward: None }
}

/// The first call of a service: it opens a stream, and arms its timers.
#[track_caller]
fn opens(s: &mut Script) -> StreamId {
    let ServiceEffect::Open { stream, path, .. } = s.effect() else { panic!("opens a stream") };
    assert_eq!(path, methods::tikv::BATCH_COMMANDS);
    assert!(matches!(s.effect(), ServiceEffect::Arm(StreamTimer::Deadline, _)));
    assert!(matches!(s.effect(), ServiceEffect::Arm(StreamTimer::Idle, _)));
    stream
}

/// An open stream that takes a frame.
fn open(s: &mut Script) -> StreamId {
    s.command(call(s, 0, "first", Instant::FAR));
    let stream = opens(s);
    writable(s, stream);
    let frame = sent(s);
    assert_eq!(frame.request_ids, [1], "nothing goes before the first request");
    answer(s, stream, &[(1, "v")]);
    assert_eq!(value(s), (0, "v".into()));
    s.input(Input::Writable(stream));
    stream
}

/// The stream takes a frame, and nothing else comes.
fn writable(s: &mut Script, stream: StreamId) {
    s.input(Input::Writable(stream));
    s.input(Input::Idle);
}

#[track_caller]
fn sent(s: &mut Script) -> BatchCommandsRequest {
    match s.effect() {
        ServiceEffect::Send { message, .. } => BatchCommandsRequest::decode(message).unwrap(),
        other => panic!("wanted a frame, got {other:?}"),
    }
}

fn frame(answers: &[(u64, &str)]) -> Bytes {
    let response = |value: &str| batch_commands_response::Response {
        cmd: Some(batch_commands_response::response::Cmd::RawGet(pb::RawGetResponse {
            value: value.to_owned().into(),
            ..Default::default()
        })),
    };
    BatchCommandsResponse {
        request_ids: answers.iter().map(|answer| answer.0).collect(),
        responses: answers.iter().map(|answer| response(answer.1)).collect(),
        ..Default::default()
    }
    .encode_to_vec()
    .into()
}

fn answer(s: &mut Script, stream: StreamId, answers: &[(u64, &str)]) {
    s.input(Input::Item(stream, frame(answers)));
}

#[track_caller]
fn value(s: &mut Script) -> (u32, String) {
    match s.answered() {
        Some((n, Completion::Response(body))) => {
            let response = pb::RawGetResponse::decode(body).unwrap();
            (n, String::from_utf8(response.value.to_vec()).unwrap())
        }
        other => panic!("wanted a response, got {other:?}"),
    }
}

#[track_caller]
fn fault(s: &mut Script) -> (u32, TransportClass) {
    match s.answered() {
        Some((n, Completion::Fault(Fault::Transport(fault)))) => (n, fault.class),
        other => panic!("wanted a fault, got {other:?}"),
    }
}

fn broken(class: TransportClass) -> TransportFault {
    TransportFault::new(class, "store:1: broken")
}

#[test]
fn what_waits_goes_out_in_one_frame_and_answers_come_in_any_order() {
    let mut s = given();
    let stream = open(&mut s);
    for (n, key) in [(1, "a"), (2, "b"), (3, "c")] {
        let call = call(&s, n, key, Instant::FAR);
        s.input(Input::Command(call));
    }
    s.expect_nothing();
    s.input(Input::Idle);
    let ids = sent(&mut s).request_ids;
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted());
    answer(&mut s, stream, &[(ids[2], "C"), (ids[0], "A")]);
    assert_eq!([value(&mut s), value(&mut s)], [(3, "C".into()), (1, "A".into())]);
    answer(&mut s, stream, &[(ids[1], "B")]);
    assert_eq!(value(&mut s), (2, "B".into()));
    s.expect_nothing();
}

#[test]
fn a_frame_waits_until_the_stream_takes_one() {
    let mut s = given();
    let stream = open(&mut s);
    s.command(call(&s, 1, "a", Instant::FAR));
    sent(&mut s);
    s.command(call(&s, 2, "b", Instant::FAR));
    s.expect_nothing();
    s.input(Input::Writable(stream));
    s.input(Input::Idle);
    assert_eq!(sent(&mut s).requests.len(), 1);
}

#[test]
fn a_frame_has_no_more_requests_than_its_bound() {
    let config = StreamConfig { max_batch: 2, ..StreamConfig::default() };
    let mut s = ServiceScript::given(StoreStream::new("store:1".into(), config));
    let stream = open(&mut s);
    for n in 1..=3 {
        let call = call(&s, n, "k", Instant::FAR);
        s.input(Input::Command(call));
    }
    s.input(Input::Idle);
    assert_eq!(sent(&mut s).requests.len(), 2);
    s.input(Input::Writable(stream));
    s.input(Input::Idle);
    assert_eq!(sent(&mut s).requests.len(), 1);
}

#[test]
fn duplicate_and_unknown_answers_are_dropped() {
    let mut s = given();
    let stream = open(&mut s);
    s.command(call(&s, 1, "a", Instant::FAR));
    let id = sent(&mut s).request_ids[0];
    answer(&mut s, stream, &[(id, "A"), (id, "again"), (id + 1, "not sent"), (0, "no id"), (u64::MAX, "x")]);
    assert_eq!(value(&mut s), (1, "A".into()));
    s.expect_nothing();
}

#[test]
fn an_answer_to_another_command_is_a_fault_of_its_request_only() {
    let mut s = given();
    let stream = open(&mut s);
    for n in [1, 2] {
        let call = call(&s, n, "a", Instant::FAR);
        s.input(Input::Command(call));
    }
    s.input(Input::Idle);
    let ids = sent(&mut s).request_ids;
    let put = batch_commands_response::response::Cmd::RawPut(pb::RawPutResponse::default());
    let wrong = BatchCommandsResponse {
        request_ids: vec![ids[0]],
        responses: vec![batch_commands_response::Response { cmd: Some(put) }],
        ..Default::default()
    };
    s.input(Input::Item(stream, wrong.encode_to_vec().into()));
    assert_eq!(fault(&mut s), (1, TransportClass::Lost));
    answer(&mut s, stream, &[(ids[1], "B")]);
    assert_eq!(value(&mut s), (2, "B".into()));
}

#[test]
fn a_broken_stream_loses_what_was_sent_and_keeps_what_was_not() {
    let mut s = given();
    let stream = open(&mut s);
    s.command(call(&s, 1, "sent", Instant::FAR));
    sent(&mut s);
    s.command(call(&s, 2, "not sent", Instant::FAR));
    s.input(Input::Closed(stream, broken(TransportClass::Lost)));
    assert_eq!(fault(&mut s), (1, TransportClass::Lost));
    let ServiceEffect::Open { stream, .. } = s.effect() else { panic!("opens again") };
    s.expect_nothing();
    writable(&mut s, stream);
    assert_eq!(sent(&mut s).requests.len(), 1);
}

#[test]
fn a_store_that_cannot_be_reached_fails_at_once_until_its_pause_is_over() {
    let mut s = given();
    s.command(call(&s, 1, "a", Instant::FAR));
    let stream = opens(&mut s);
    s.input(Input::Closed(stream, broken(TransportClass::Unreachable)));
    assert_eq!(fault(&mut s), (1, TransportClass::Unreachable));
    s.command(call(&s, 2, "b", Instant::FAR));
    assert_eq!(fault(&mut s), (2, TransportClass::Unreachable));
    s.expect_nothing();
    s.now = s.now + Duration::from_millis(100);
    s.command(call(&s, 3, "c", Instant::FAR));
    assert!(matches!(s.effect(), ServiceEffect::Open { .. }));
}

#[test]
fn pauses_between_openings_double_up_to_the_cap() {
    let mut s = given();
    s.command(call(&s, 0, "a", Instant::FAR));
    for n in 0..8 {
        let ServiceEffect::Open { stream, .. } = s.effect() else { panic!("opens a stream") };
        while s.next_effect().is_some() {}
        s.input(Input::Closed(stream, broken(TransportClass::Unreachable)));
        assert_eq!(fault(&mut s), (0, TransportClass::Unreachable));
        let closed = s.now;
        // A call each millisecond: refused at once until the pause is over, then it opens a stream.
        loop {
            s.now = s.now + Duration::from_millis(1);
            s.command(call(&s, 0, "a", Instant::FAR));
            if s.answered().is_none() {
                break;
            }
        }
        let (pause, whole) = (s.now.since(closed).as_millis(), (100u128 << n).min(2000));
        assert!((whole / 2..=whole + 1).contains(&pause), "pause {n} was {pause} ms");
    }
}

#[test]
fn a_deadline_answers_sent_and_waiting_requests() {
    let mut s = given();
    open(&mut s);
    s.command(call(&s, 1, "sent", Instant(50)));
    assert!(matches!(s.effect(), ServiceEffect::Arm(StreamTimer::Deadline, Instant(50))));
    sent(&mut s);
    s.command(call(&s, 2, "waiting", Instant(60)));
    s.command(call(&s, 3, "later", Instant(90)));
    s.now = Instant(60);
    s.input(Input::Timer(StreamTimer::Deadline));
    assert_eq!(fault(&mut s), (1, TransportClass::TimedOut));
    assert_eq!(fault(&mut s), (2, TransportClass::Unreachable), "it was not sent");
    assert!(matches!(s.effect(), ServiceEffect::Arm(StreamTimer::Deadline, Instant(90))));
    s.expect_nothing();
}

#[test]
fn a_withdrawn_request_is_not_sent_and_its_answer_not_delivered() {
    let mut s = given();
    let stream = open(&mut s);
    s.command(call(&s, 1, "sent", Instant::FAR));
    let id = sent(&mut s).request_ids[0];
    s.command(call(&s, 2, "waiting", Instant::FAR));
    for n in [1, 2] {
        let who = s.withdrawn(n);
        s.input(Input::Command(StreamCommand::Withdraw(who)));
    }
    // All that were dropped together are forgotten in one pass, before anything is sent.
    s.input(Input::Idle);
    s.expect_nothing();
    answer(&mut s, stream, &[(id, "late")]);
    s.input(Input::Writable(stream));
    s.input(Input::Idle);
    s.expect_nothing();
}

#[test]
fn withdrawing_takes_out_those_that_are_named_and_no_others() {
    let mut s = given();
    let stream = open(&mut s);
    for n in 1..=6 {
        s.input(Input::Command(call(&s, n, "k", Instant::FAR)));
    }
    s.input(Input::Idle);
    let ids = sent(&mut s).request_ids;
    for n in [5, 2, 9] {
        let who = s.withdrawn(n);
        s.input(Input::Command(StreamCommand::Withdraw(who)));
    }
    s.input(Input::Idle);
    let answers: Vec<_> = ids.iter().map(|&id| (id, "v")).collect();
    answer(&mut s, stream, &answers);
    let answered: Vec<_> = (0..4).map(|_| value(&mut s).0).collect();
    assert_eq!(answered, [1, 3, 4, 6]);
    s.expect_nothing();
}

#[test]
fn more_requests_than_may_wait_are_refused_at_once() {
    let config = StreamConfig { max_queued: 2, ..StreamConfig::default() };
    let mut s = ServiceScript::given(StoreStream::new("store:1".into(), config));
    for n in 1..=3 {
        s.command(call(&s, n, "k", Instant::FAR));
    }
    assert!(matches!(s.answered(), Some((3, Completion::Fault(Fault::Overloaded)))));
    assert!(s.answered().is_none());
}

#[test]
fn hostile_bytes_close_the_stream_and_fail_what_was_sent() {
    let mut s = given();
    let stream = open(&mut s);
    s.command(call(&s, 1, "a", Instant::FAR));
    sent(&mut s);
    s.input(Input::Item(stream, Bytes::from_static(b"\x0a\xff\xff\xff\xff\x0f")));
    assert!(matches!(s.effect(), ServiceEffect::Close { .. }));
    assert_eq!(fault(&mut s), (1, TransportClass::Lost));
    s.expect_nothing();
}

#[test]
fn a_frame_reads_as_prost_wrote_it_and_values_are_slices_of_it() {
    let frame = frame(&[(1 << 40, "x"), (7, "a longer value than the others")]);
    let mut reader = FrameReader::default();
    let responses: Vec<_> = reader.read(&frame).unwrap().collect();
    assert_eq!(responses.iter().map(|r| (r.id, r.tag)).collect::<Vec<_>>(), [(1 << 40, 13), (7, 13)]);
    let value = pb::RawGetResponse::decode(responses[1].body.clone()).unwrap().value;
    let inside = frame.as_ptr_range();
    assert!(inside.contains(&value.as_ptr()), "the value was copied");
}

#[test]
fn ids_before_responses_and_unpacked_ids_are_read_too() {
    // request_ids = 5 unpacked, then one response with an Empty.
    let frame = Bytes::from_static(b"\x10\x05\x0a\x03\xfa\x0f\x00");
    let mut reader = FrameReader::default();
    let responses: Vec<_> = reader.read(&frame).unwrap().collect();
    assert_eq!(responses.iter().map(|r| (r.id, r.tag)).collect::<Vec<_>>(), [(5, 255)]);
}

#[test]
fn a_frame_of_uneven_ids_and_responses_is_refused() {
    let frame = Bytes::from_static(b"\x0a\x03\xfa\x0f\x00");
    assert!(matches!(FrameReader::default().read(&frame), Err(FrameError::Uneven)));
}

proptest! {
    #[test]
    fn a_written_frame_reads_as_its_requests(keys in proptest::collection::vec("[a-z]{0,40}", 1..20)) {
        let mut writer = FrameWriter::default();
        for (n, key) in keys.iter().enumerate() {
            let message = pb::RawGetRequest { key: key.clone().into(), ..Default::default() };
            writer.push(n as u64 + 1, &Request::new(&message, Profile::default()), &attempt());
        }
        let frame = BatchCommandsRequest::decode(writer.finish()).unwrap();
        prop_assert!(writer.is_empty());
        prop_assert_eq!(frame.request_ids, (1..=keys.len() as u64).collect::<Vec<_>>());
        for (request, key) in frame.requests.into_iter().zip(&keys) {
            let Some(batch_commands_request::request::Cmd::RawGet(get)) = request.cmd else {
                return Err(TestCaseError::fail("another command"));
            };
            prop_assert_eq!(&get.key, key);
            prop_assert_eq!(get.context.unwrap().region_id, 3);
        }
    }

    #[test]
    fn a_reader_bears_any_bytes(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        let frame = Bytes::from(frame);
        let mut reader = FrameReader::default();
        let ours = reader.read(&frame).map(|responses| responses.count());
        // What prost can read we can, unless ids and responses differ in number.
        if let Ok(whole) = BatchCommandsResponse::decode(frame.clone())
            && whole.request_ids.len() == whole.responses.len()
        {
            prop_assert_eq!(ours, Ok(whole.responses.len()));
        }
    }
}
