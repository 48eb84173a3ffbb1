//! The `BatchCommands` stream.

#![cfg(feature = "serve")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use support::*;
use tikv_embedded::Cluster;
use tikv_embedded::control::{Action, Matcher, Node, Rule};
use tikv_proto::kvrpcpb::{Mutation, Op, PessimisticLockRequest, PessimisticRollbackRequest};
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
        let cluster = Cluster::builder().start().wait().expect("it starts");
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
        let cluster = Cluster::builder().start().wait().expect("it starts");
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
        let cluster = Cluster::builder().start().wait().expect("it starts");
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
        let cluster = Cluster::builder().start().wait().expect("it starts");
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
        let cluster = Cluster::builder().start().wait().expect("it starts");
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
fn a_lock_that_is_waited_for_is_answered_when_it_is_released_and_holds_up_nobody() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        let mut stream = leader(&cluster, "k").await.open(m::BATCH_COMMANDS).await.expect("open");
        let context = get(&cluster, "k").context;
        let lock = |start_version: u64| {
            let mutation = Mutation { op: Op::PessimisticLock.into(), key: "k".into(), ..Default::default() };
            request::Cmd::PessimisticLock(PessimisticLockRequest {
                context: context.clone(),
                mutations: vec![mutation],
                primary_lock: "k".into(),
                start_version,
                for_update_ts: start_version,
                lock_ttl: 3000,
                is_first_lock: true,
                ..Default::default()
            })
        };
        stream.send(&batch([(1, lock(10)), (2, lock(20)), (3, empty(5, 0))])).expect("open");
        let first = answers(&mut stream).await.expect("open");
        assert_eq!(first.iter().map(|(id, _)| *id).collect::<Vec<u64>>(), [1, 3]);
        let rollback = request::Cmd::PessimisticRollback(PessimisticRollbackRequest {
            context: context.clone(),
            keys: vec!["k".into()],
            start_version: 10,
            for_update_ts: 10,
        });
        stream.send(&batch([(4, rollback)])).expect("open");
        let mut told = BTreeMap::new();
        while told.len() < 2 {
            told.extend(answers(&mut stream).await.expect("open"));
        }
        let Some(Some(response::Cmd::PessimisticLock(woken))) = told.remove(&2) else {
            panic!("no answer to the one that waited: {told:?}")
        };
        assert_eq!(woken.errors[0].conflict.as_ref().expect("a conflict").conflict_ts, 10);
    });
}

#[test]
fn the_first_frame_of_answers_tells_how_the_store_feels() {
    block_on(async {
        let cluster = Cluster::builder().start().wait().expect("it starts");
        cluster.cluster(|cluster, _| cluster.set_slow_score(1, 30));
        let mut stream = leader(&cluster, "k").await.open(m::BATCH_COMMANDS).await.expect("open");
        let mut health = async |id| {
            stream.send(&batch([(id, empty(id, 0))])).expect("open");
            let frame: BatchCommandsResponse = stream.message().await.expect("open").expect("a frame");
            frame.health_feedback
        };
        let first = health(1).await.expect("told");
        assert_eq!((first.store_id, first.slow_score), (1, 30));
        assert_eq!(health(2).await, None, "not more often than once a second");
        cluster.advance_clock(Duration::from_secs(1));
        let second = health(3).await.expect("told");
        assert!(second.feedback_seq_no > first.feedback_seq_no);
    });
}
