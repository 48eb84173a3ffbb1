//! The `BatchCommands` stream.

#![cfg(feature = "serve")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use support::*;
use tikv_embedded::Embedded;
use tikv_embedded::control::{Action, Matcher, Node, Rule};
use tikv_proto::kvrpcpb;
use tikv_proto::methods::tikv as m;
use tikv_proto::tikvpb::batch_commands_request::{Request, request};
use tikv_proto::tikvpb::batch_commands_response::response;
use tikv_proto::tikvpb::{BatchCommandsEmptyRequest, BatchCommandsRequest, BatchCommandsResponse};

fn empty(test_id: u64, delay_time: u64) -> request::Cmd {
    request::Cmd::Empty(BatchCommandsEmptyRequest { test_id, delay_time })
}

fn value(answer: Option<response::Cmd>) -> String {
    match answer {
        Some(response::Cmd::RawGet(answer)) => String::from_utf8_lossy(&answer.value).into_owned(),
        other => panic!("no RawGet answer: {other:?}"),
    }
}

#[test]
fn a_frame_is_answered_by_one_frame_with_its_ids() {
    block_on(async {
        let cluster = Embedded::builder().start().expect("it starts");
        let mut stream = leader(&cluster, "k").await.open(m::BATCH_COMMANDS).await.expect("open");
        let puts = (0..100).map(|n| {
            let put = put(&cluster, &format!("k{n}"), &format!("v{n}"));
            (1_000 + n, request::Cmd::RawPut(put))
        });
        stream.send(&batch(puts)).expect("open");
        let answered: Vec<u64> =
            answers(&mut stream).await.expect("open").into_iter().map(|(id, _)| id).collect();
        assert_eq!(answered, (1_000..1_100).collect::<Vec<u64>>());

        let gets = (0..100).map(|n| (n * 7, request::Cmd::RawGet(get(&cluster, &format!("k{n}")))));
        stream.send(&batch(gets)).expect("open");
        let answered = answers(&mut stream).await.expect("open");
        let read: BTreeMap<u64, String> =
            answered.into_iter().map(|(id, answer)| (id, value(answer))).collect();
        let written: BTreeMap<u64, String> = (0..100).map(|n| (n * 7, format!("v{n}"))).collect();
        assert_eq!(read, written);
    });
}

#[test]
fn a_command_that_waits_holds_up_no_other() {
    block_on(async {
        let cluster = Embedded::builder().start().expect("it starts");
        let mut stream = leader(&cluster, "k").await.open(m::BATCH_COMMANDS).await.expect("open");
        let begin = Instant::now();
        stream.send(&batch([(1, empty(11, 150)), (2, empty(12, 0))])).expect("open");
        let first = answers(&mut stream).await.expect("open");
        assert_eq!(first.iter().map(|(id, _)| *id).collect::<Vec<u64>>(), [2]);
        assert!(begin.elapsed() < Duration::from_millis(100));
        // All is sent; what waits is answered before the stream ends.
        stream.close().expect("open");
        let late = answers(&mut stream).await.expect("open");
        assert_eq!(late.iter().map(|(id, _)| *id).collect::<Vec<u64>>(), [1]);
        assert!(begin.elapsed() >= Duration::from_millis(150), "{:?}", begin.elapsed());
        assert_eq!(stream.next().await, Ok(None));
    });
}

#[test]
fn an_unknown_command_has_an_empty_answer() {
    block_on(async {
        let cluster = Embedded::builder().start().expect("it starts");
        let mut stream = leader(&cluster, "k").await.open(m::BATCH_COMMANDS).await.expect("open");
        let frame = BatchCommandsRequest {
            requests: vec![Request { cmd: None }, Request { cmd: Some(empty(5, 0)) }],
            request_ids: vec![8, 9],
            ..Default::default()
        };
        stream.send(&frame).expect("open");
        let answered = answers(&mut stream).await.expect("open");
        assert_eq!(answered.first(), Some(&(8, None)));
        assert!(matches!(answered.get(1), Some((9, Some(response::Cmd::Empty(_))))));
    });
}

#[test]
fn values_of_megabytes_come_through() {
    block_on(async {
        let cluster = Embedded::builder().start().expect("it starts");
        let big = "x".repeat(3 << 20);
        let mut stream = leader(&cluster, "k").await.open(m::BATCH_COMMANDS).await.expect("open");
        stream.send(&batch([(1, request::Cmd::RawPut(put(&cluster, "k", &big)))])).expect("open");
        assert_eq!(answers(&mut stream).await.expect("open").len(), 1);
        let gets = (0..4).map(|id| (id, request::Cmd::RawGet(get(&cluster, "k"))));
        stream.send(&batch(gets)).expect("open");
        let mut read = 0;
        while read < 4 {
            for (_, answer) in answers(&mut stream).await.expect("open") {
                assert!(value(answer) == big);
                read += 1;
            }
        }
    });
}

#[test]
fn faults_work_command_by_command() {
    block_on(async {
        let cluster = Embedded::builder().start().expect("it starts");
        let mut stream = leader(&cluster, "k").await.open(m::BATCH_COMMANDS).await.expect("open");
        let lost = cluster.fault(Rule::new(Matcher::method("RawPut"), Action::DropAnswer).skip(1).times(1));
        let puts = (1..=3).map(|id| (id, request::Cmd::RawPut(put(&cluster, &format!("k{id}"), "v"))));
        stream.send(&batch(puts)).expect("open");
        let answered = answers(&mut stream).await.expect("open");
        assert_eq!(answered.iter().map(|(id, _)| *id).collect::<Vec<u64>>(), [1, 3], "the second is lost");
        assert_eq!(lost.hits(), 1);
        assert_eq!(read(&cluster, "k2").await.as_deref(), Some(&b"v"[..]), "but was executed");

        let _broken = cluster.fault(Rule::new(Matcher::method("RawPut").at(Node::AnyStore), Action::Break));
        stream.send(&batch([(4, request::Cmd::RawPut(put(&cluster, "k4", "v")))])).expect("open");
        assert_eq!(answers(&mut stream).await, Err(Failure::Broken));
        assert_eq!(read(&cluster, "k4").await, None, "a break before leaves nothing");
    });
}

#[test]
fn a_frame_tells_how_the_store_feels_when_asked_and_once_a_second() {
    block_on(async {
        let cluster = Embedded::builder().start().expect("it starts");
        cluster.set_slow_score(1, 42);
        let store = leader(&cluster, "k").await;
        let mut stream = store.open(m::BATCH_COMMANDS).await.expect("open");
        let mut told = Vec::new();
        for (id, command) in [
            (1, request::Cmd::RawGet(get(&cluster, "k"))),
            (2, request::Cmd::RawGet(get(&cluster, "k"))),
            (3, request::Cmd::GetHealthFeedback(kvrpcpb::GetHealthFeedbackRequest::default())),
        ] {
            stream.send(&batch([(id, command)])).expect("open");
            let frame: BatchCommandsResponse = stream.message().await.expect("open").expect("a frame");
            told.push(frame.health_feedback.map(|feedback| (feedback.store_id, feedback.slow_score)));
        }
        // The second frame comes within a second of the first.
        assert_eq!((told[0], told[2]), (Some((1, 42)), Some((1, 42))));
    });
}
