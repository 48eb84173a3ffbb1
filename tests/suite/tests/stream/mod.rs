//! A client whose store misbehaves: whatever the first connections do, a read is answered, or ends in time with what is wrong.
//!
//! `flows` are calls that bring many messages. `script` is the store: a cluster's store whose connections a test leads, the first ones as it likes, the others well.

mod flows;
mod script;

use macro_rules_attribute::apply;
use std::time::Duration;

use bytes::Bytes;
use tikv_client_core::error::ErrorKind;

use crate::channel::server::{DATA, Raw, framed, grpc_head, status};
use crate::fixture::{hasty, in_time, within};
use crate::runtimes::{Rt, test_on_each_runtime};

use script::{Store, answers, frames, garbage};

/// A read that must be answered, though the first connection does `bad`.
macro_rules! outlasts {
    ($rt:ident, $bad:expr) => {{
        let store = Store::connections(&$rt, 1, $bad);
        let client = store.client(hasty(Duration::from_secs(20))).await;
        assert_eq!(in_time(client.raw().get("k")).await.unwrap().as_deref(), Some(&b"k"[..]));
        assert!(store.connections_seen() >= 2, "the first connection was bad");
    }};
}

#[apply(test_on_each_runtime)]
async fn a_store_that_hangs_is_told_in_time_and_how_far_the_request_came(rt: Rt) {
    let store = Store::streams(&rt, usize::MAX, |mut call, _| async move {
        let _answer = call.begin();
        while !call.data().await.is_empty() {}
    });
    let deadline = Duration::from_millis(400);
    let client = store.client(hasty(deadline)).await;
    let error = within(deadline, client.raw().get("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let text = error.to_string();
    assert!(text.contains("no answer in time") && text.contains("nothing behind it was answered"), "{text}");
}

#[apply(test_on_each_runtime)]
async fn a_connection_that_is_reset_is_made_again(rt: Rt) {
    outlasts!(rt, |socket| async move {
        let mut raw = Raw::begin(socket).await;
        raw.expect(DATA).await;
        raw.socket.set_zero_linger().unwrap();
    });
}

#[apply(test_on_each_runtime)]
async fn a_connection_that_is_closed_is_made_again(rt: Rt) {
    outlasts!(rt, |socket| async move {
        Raw::begin(socket).await.expect(DATA).await;
    });
}

#[apply(test_on_each_runtime)]
async fn a_goaway_is_followed(rt: Rt) {
    outlasts!(rt, |socket| async move {
        let mut raw = Raw::begin(socket).await;
        raw.expect(DATA).await;
        raw.go_away(0, 0).await;
    });
}

#[apply(test_on_each_runtime)]
async fn a_goaway_that_names_the_stream_and_then_nothing_is_outlasted(rt: Rt) {
    outlasts!(rt, |socket| async move {
        let mut raw = Raw::begin(socket).await;
        let request = raw.expect(DATA).await;
        raw.go_away(request.stream, 0).await;
    });
}

#[apply(test_on_each_runtime)]
async fn a_stream_that_is_reset_is_opened_again(rt: Rt) {
    let store = Store::streams(&rt, 1, |mut call, _| async move {
        call.data().await;
        call.respond.send_reset(h2::Reason::INTERNAL_ERROR);
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    assert_eq!(in_time(client.raw().get("k")).await.unwrap().as_deref(), Some(&b"k"[..]));
}

#[apply(test_on_each_runtime)]
async fn a_stream_that_the_server_ends_is_opened_again(rt: Rt) {
    let store = Store::streams(&rt, 1, |mut call, _| async move {
        call.data().await;
        call.begin().send_trailers(status("0", None)).unwrap();
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    assert_eq!(in_time(client.raw().get("k")).await.unwrap().as_deref(), Some(&b"k"[..]));
}

#[apply(test_on_each_runtime)]
async fn frames_of_garbage_end_the_stream_and_not_the_read(rt: Rt) {
    let store = Store::streams(&rt, garbage().len(), |mut call, number| async move {
        call.data().await;
        let mut answer = call.begin();
        answer.send_data(framed(&garbage()[number]), false).unwrap();
        while !call.data().await.is_empty() {}
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    assert_eq!(in_time(client.raw().get("k")).await.unwrap().as_deref(), Some(&b"k"[..]));
    assert!(store.streams_seen() > garbage().len());
}

#[apply(test_on_each_runtime)]
async fn answers_to_nobody_and_answers_given_twice_reach_nobody(rt: Rt) {
    let store = Store::streams(&rt, usize::MAX, |mut call, _| async move {
        let mut answer = call.begin();
        frames(&mut call, |requests| {
            let mut said = vec![(0, "no".into()), (u64::MAX, "no".into()), (1 << 40, "no".into())];
            for (id, key) in requests {
                said.push((id + 1_000_000, "no".into()));
                said.push((id, key.clone()));
                said.push((id, "again".into()));
            }
            answer.send_data(framed(&answers(&said)), false).unwrap();
        })
        .await;
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    let raw = client.raw();
    let reads: Vec<_> = (0..50)
        .map(|n| {
            let read = raw.get(format!("key {n}"));
            rt.spawn(async move { (n, read.await) })
        })
        .collect();
    for read in reads {
        let (n, found) = in_time(read).await.unwrap();
        assert_eq!(found.unwrap().unwrap(), format!("key {n}"));
    }
}

#[apply(test_on_each_runtime)]
async fn a_huge_frame_is_one_answer(rt: Rt) {
    let huge = Bytes::from(vec![7; 40 << 20]);
    let said = huge.clone();
    let store = Store::streams(&rt, usize::MAX, move |mut call, _| {
        let said = said.clone();
        async move {
            let mut answer = call.begin();
            frames(&mut call, |requests| {
                let said: Vec<_> = requests.into_iter().map(|(id, _)| (id, said.clone())).collect();
                answer.send_data(framed(&answers(&said)), false).unwrap();
            })
            .await;
        }
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    assert!(in_time(client.raw().get("k")).await.unwrap().unwrap() == huge);
}

#[apply(test_on_each_runtime)]
async fn a_store_that_reads_slowly_holds_requests_back_and_loses_none(rt: Rt) {
    let store = Store::streams(&rt, usize::MAX, |mut call, _| async move {
        let mut answer = call.begin();
        // Nothing is read for a while, and then little by little.
        tokio::time::sleep(Duration::from_millis(100)).await;
        frames(&mut call, |requests| answer.send_data(framed(&answers(&requests)), false).unwrap()).await;
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    let key = |n: usize| format!("{n:04}").repeat(1000);
    let reads: Vec<_> = (0..300)
        .map(|n| {
            let read = client.raw().get(key(n));
            rt.spawn(async move { (n, read.await) })
        })
        .collect();
    for read in reads {
        let (n, found) = in_time(read).await.unwrap();
        assert!(found.unwrap().unwrap() == key(n), "{n}");
    }
}

#[apply(test_on_each_runtime)]
async fn without_batches_every_request_is_a_call_of_its_own(rt: Rt) {
    let cluster = rt.raw_cluster();
    let mut config = hasty(Duration::from_secs(20));
    config.stream.max_batch = 0;
    let batches = cluster.count(tikv_embedded::control::Matcher::method("BatchCommands"));
    let client = crate::fixture::client_with(&cluster, config).await;
    for key in crate::fixture::ONE_EACH {
        in_time(client.raw().put(key, key)).await.unwrap();
        assert_eq!(in_time(client.raw().get(key)).await.unwrap().unwrap(), key);
    }
    assert_eq!(batches.hits(), 0);
}
