//! Calls that bring many messages, over sockets: the coprocessor's stream and those of TiFlash.

use macro_rules_attribute::apply;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_client_core::error::{Error, ErrorKind};
use tikv_client_core::types::{Located, PeerId, RegionId, RegionVersion, StoreId};
use tikv_proto::methods::tikv;
use tikv_proto::{coprocessor, mpp};

use crate::channel::eventually;
use crate::channel::server::{Incoming, framed, status};
use crate::fixture::{hasty, in_time, poll_once, told};
use crate::runtimes::{Rt, test_on_each_runtime};

use super::script::Store;

const STORE: StoreId = StoreId(1);

fn region() -> Located {
    let region = RegionVersion { id: RegionId(7), version: 3, conf_ver: 2 };
    Located { region, peer: PeerId(5), store: STORE }
}

fn data(text: &str) -> Bytes {
    let response = coprocessor::Response { data: text.to_owned().into(), ..Default::default() };
    framed(&response.encode_to_vec())
}

/// Counts the calls that the client gave up.
async fn until_given_up(mut call: Incoming, count: Arc<AtomicUsize>) {
    let given_up = poll_fn(|cx| call.respond.poll_reset(cx)).await;
    assert!(given_up.is_ok(), "{given_up:?}");
    count.fetch_add(1, Ordering::Relaxed);
}

#[apply(test_on_each_runtime)]
async fn messages_come_in_order_and_end_when_the_server_says_that_all_is_well(rt: Rt) {
    let store = Store::method(&rt, tikv::COPROCESSOR_STREAM, |mut call| async move {
        let asked = coprocessor::Request::decode(call.all().await.slice(5..)).unwrap();
        let context = asked.context.unwrap();
        assert_eq!((&*asked.data, context.region_id, context.peer.unwrap().id), (&b"plan"[..], 7, 5));
        let mut answer = call.begin();
        for n in 0..100 {
            answer.send_data(data(&format!("row {n}")), false).unwrap();
        }
        answer.send_trailers(status("0", None)).unwrap();
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    let request = coprocessor::Request { data: "plan".into(), ..Default::default() };
    let mut stream = client.coprocessor_stream(region(), &request);
    for n in 0..100 {
        assert_eq!(in_time(stream.next()).await.unwrap().unwrap().data, format!("row {n}"));
    }
    assert!(in_time(stream.next()).await.is_none());
    assert!(in_time(stream.next()).await.is_none(), "the end stays the end");
    assert_eq!(stream.progress().messages, 100);
}

#[apply(test_on_each_runtime)]
async fn an_error_on_the_first_message_is_the_call_s(rt: Rt) {
    let store = Store::method(&rt, tikv::BATCH_COPROCESSOR, |mut call| async move {
        call.all().await;
        call.begin().send_trailers(status("14", Some("not now"))).unwrap();
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    let mut stream = client.batch_coprocessor(STORE, &coprocessor::BatchRequest::default());
    let error = in_time(stream.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Transport { .. }) && told(&error).contains("not now"), "{error}");
    assert!(in_time(stream.next()).await.is_none());
}

#[apply(test_on_each_runtime)]
async fn a_message_that_does_not_come_ends_the_call_in_time_and_the_server_learns_of_it(rt: Rt) {
    let gone: Arc<AtomicUsize> = Arc::default();
    let count = Arc::clone(&gone);
    let store = Store::method(&rt, tikv::ESTABLISH_MPP_CONNECTION, move |mut call| {
        let count = Arc::clone(&count);
        async move {
            call.all().await;
            let mut answer = call.begin();
            let packet = mpp::MppDataPacket { data: "first".into(), ..Default::default() };
            answer.send_data(framed(&packet.encode_to_vec()), false).unwrap();
            let given_up = poll_fn(|cx| answer.poll_reset(cx)).await;
            assert!(given_up.is_ok(), "{given_up:?}");
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    let request = mpp::EstablishMppConnectionRequest::default();
    let mut stream = client.mpp_connection(STORE, &request).patience(Duration::from_millis(200));
    assert_eq!(in_time(stream.next()).await.unwrap().unwrap().data, "first");
    let error = in_time(stream.next()).await.unwrap().unwrap_err();
    assert!(told(&error).contains("next message did not come"), "{}", told(&error));
    eventually("the server learns of it", || gone.load(Ordering::Relaxed) == 1).await;
    assert!(in_time(stream.next()).await.is_none());
}

#[apply(test_on_each_runtime)]
async fn a_call_that_is_dropped_is_given_up_at_the_server(rt: Rt) {
    let gone: Arc<AtomicUsize> = Arc::default();
    let count = Arc::clone(&gone);
    let store = Store::method(&rt, tikv::COPROCESSOR_STREAM, move |mut call| {
        let count = Arc::clone(&count);
        async move {
            call.all().await;
            until_given_up(call, count).await;
        }
    });
    let client = store.client(hasty(Duration::from_secs(20))).await;
    let mut stream = client.coprocessor_stream(region(), &coprocessor::Request::default());
    // A wait that is dropped is taken up again by the next.
    assert!(poll_once(stream.next()).await.is_none());
    assert!(poll_once(stream.next()).await.is_none());
    crate::fixture::sleep(Duration::from_millis(50)).await;
    drop(stream);
    eventually("the server learns of it", || gone.load(Ordering::Relaxed) == 1).await;
}

#[apply(test_on_each_runtime)]
async fn a_store_that_is_not_there_is_told(rt: Rt) {
    let store = Store::method(&rt, tikv::COPROCESSOR_STREAM, |_| async {});
    let client = store.client(hasty(Duration::from_secs(20))).await;
    let none = Located { store: StoreId(99), ..region() };
    let mut stream = client.coprocessor_stream(none, &coprocessor::Request::default());
    let error = in_time(stream.next()).await.unwrap().unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(in_time(stream.next()).await.is_none());
}
