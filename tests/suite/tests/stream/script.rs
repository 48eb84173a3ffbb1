//! A cluster whose one store's connections a test leads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_embedded::Cluster as Embedded;
use tikv_embedded::control::Node;
use tikv_proto::kvrpcpb::RawGetResponse;
use tikv_proto::methods::tikv::BATCH_COMMANDS;
use tikv_proto::tikvpb::batch_commands_request::request::Cmd as Asked;
use tikv_proto::tikvpb::batch_commands_response::response::Cmd as Said;
use tikv_proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse, batch_commands_response};
use tokio::net::TcpStream;

use crate::channel::server::{Incoming, Server, framed, grpc, status};
use crate::fixture::in_time;
use crate::runtimes::Rt;

/// See the module.
pub(super) struct Store {
    cluster: Embedded,
    server: Server,
    /// Connections and streams so far.
    made: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    rt: Rt,
}

/// What leads a connection, or a stream.
type Led = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Store {
    /// The first connections are led by `bad`, the others are those of a good store.
    pub(super) fn connections<F>(rt: &Rt, first: usize, bad: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (made, streams): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let count = Arc::clone(&made);
        let server = Server::new(move |socket| -> Led {
            if count.fetch_add(1, Ordering::Relaxed) < first {
                Box::pin(bad(socket))
            } else {
                Box::pin(grpc(socket, Arc::new(good)))
            }
        });
        Self { cluster: cluster(), server, made, streams, rt: rt.clone() }
    }

    /// The first streams are led by `bad`, which is told which one it is; the others are those of a good store.
    pub(super) fn streams<F>(
        rt: &Rt,
        first: usize,
        bad: impl Fn(Incoming, usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (made, streams): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let (connections, opened, bad) = (Arc::clone(&made), Arc::clone(&streams), Arc::new(bad));
        let server = Server::new(move |socket| {
            connections.fetch_add(1, Ordering::Relaxed);
            let (opened, bad) = (Arc::clone(&opened), Arc::clone(&bad));
            let lead = move |call: Incoming| -> Led {
                if call.request.uri().path() != BATCH_COMMANDS {
                    return Box::pin(good(call));
                }
                let number = opened.fetch_add(1, Ordering::Relaxed);
                if number < first { Box::pin(bad(call, number)) } else { Box::pin(good(call)) }
            };
            grpc(socket, Arc::new(lead))
        });
        Self { cluster: cluster(), server, made, streams, rt: rt.clone() }
    }

    /// All calls of a method are led by `lead`.
    pub(super) fn method<F>(
        rt: &Rt,
        path: &'static str,
        lead: impl Fn(Incoming) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let lead = Arc::new(lead);
        let server = Server::new(move |socket| {
            let lead = Arc::clone(&lead);
            let choose = move |call: Incoming| -> Led {
                if call.request.uri().path() == path { Box::pin(lead(call)) } else { Box::pin(good(call)) }
            };
            grpc(socket, Arc::new(choose))
        });
        Self { cluster: cluster(), server, made: Arc::default(), streams: Arc::default(), rt: rt.clone() }
    }

    /// A client whose connections to the store are led.
    pub(super) async fn client(&self, config: Config) -> Client {
        let store = self.cluster.address(Node::Store(1)).unwrap().to_string();
        let to = self.server.address.clone();
        let rt = self.rt.by_way_of(Arc::new(
            move |address: &str| {
                if address == store { to.clone() } else { address.to_owned() }
            },
        ));
        in_time(rt.connect(self.cluster.pd_addresses(), config)).await.unwrap()
    }

    /// Connections to the store so far.
    pub(super) fn connections_seen(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// Streams so far, where streams are led.
    pub(super) fn streams_seen(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }
}

fn cluster() -> Embedded {
    Embedded::builder().stores(1).start().wait().unwrap()
}

/// A store each of whose keys has itself as its value.
async fn good(mut call: Incoming) {
    if call.request.uri().path() != BATCH_COMMANDS {
        let mut head = super::grpc_head();
        head.headers_mut().extend(status("12", None));
        call.respond.send_response(head, true).unwrap();
        return;
    }
    let mut answer = call.begin();
    frames(&mut call, |asked| {
        // The client may be gone.
        answer.send_data(framed(&answers(&asked)), false).unwrap_or_default();
    })
    .await;
}

/// Reads frames until the client sends no more: the ids of raw gets, and their keys.
pub(super) async fn frames(call: &mut Incoming, mut each: impl FnMut(Vec<(u64, Bytes)>)) {
    let mut came = BytesMut::new();
    loop {
        let data = call.data().await;
        if data.is_empty() {
            return;
        }
        came.extend_from_slice(&data);
        while let Some(length) = came.get(1..5).map(|length| u32::from_be_bytes(length.try_into().unwrap())) {
            let length = usize::try_from(length).unwrap();
            if came.len() < 5 + length {
                break;
            }
            came.advance(5);
            let frame = BatchCommandsRequest::decode(came.split_to(length).freeze()).unwrap();
            let key = |request: tikv_proto::tikvpb::batch_commands_request::Request| match request.cmd {
                Some(Asked::RawGet(get)) => get.key,
                other => panic!("no raw get: {other:?}"),
            };
            each(frame.request_ids.into_iter().zip(frame.requests.into_iter().map(key)).collect());
        }
    }
}

/// A frame of values.
pub(super) fn answers(said: &[(u64, Bytes)]) -> Vec<u8> {
    let response = |value: &Bytes| batch_commands_response::Response {
        cmd: Some(Said::RawGet(RawGetResponse { value: value.clone(), ..Default::default() })),
    };
    BatchCommandsResponse {
        request_ids: said.iter().map(|said| said.0).collect(),
        responses: said.iter().map(|said| response(&said.1)).collect(),
        ..Default::default()
    }
    .encode_to_vec()
}

/// Messages that are no frames: not protobuf, cut off, of more ids than answers, of more answers than ids.
pub(super) fn garbage() -> [Vec<u8>; 4] {
    let whole = answers(&[(1, "k".into())]);
    let uneven = |ids: &[u64], count: usize| {
        let mut frame = BatchCommandsResponse { request_ids: ids.to_vec(), ..Default::default() };
        frame.responses = vec![batch_commands_response::Response::default(); count];
        frame.encode_to_vec()
    };
    [b"\xff\xff\xff garbage".to_vec(), whole[..whole.len() - 1].to_vec(), uneven(&[1, 2], 1), uneven(&[1], 2)]
}
