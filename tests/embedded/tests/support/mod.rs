//! A gRPC client without any logic: bytes and messages over HTTP/2, so that a test sees what the server does.

#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::missing_panics_doc, reason = "a test's helper panics to fail the test")]

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use prost::Message;
use tikv_embedded::Cluster;
use tikv_embedded::control::Node;
use tikv_proto::tikvpb::batch_commands_request::{Request, request};
use tikv_proto::tikvpb::batch_commands_response::response;
use tikv_proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse};
use tikv_proto::{kvrpcpb, methods, pdpb};
use tokio::net::TcpStream;

/// How a call failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// With a gRPC status: code and message.
    Status(u32, String),
    /// Its stream or connection broke.
    Broken,
}

impl From<h2::Error> for Failure {
    fn from(_: h2::Error) -> Self {
        Self::Broken
    }
}

/// Runs a test that may not take long.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limited = async { tokio::time::timeout(Duration::from_secs(20), test).await };
    runtime.block_on(limited).expect("the test hangs")
}

/// A connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: SendRequest<Bytes>,
}

impl Client {
    pub(crate) async fn dial(cluster: &Cluster, node: Node) -> std::io::Result<Self> {
        Self::dial_at(&cluster.address(node).expect("such a server").to_string()).await
    }

    pub(crate) async fn dial_at(address: &str) -> std::io::Result<Self> {
        let io = TcpStream::connect(address).await?;
        io.set_nodelay(true)?;
        // A test may leave any number of small answers unread.
        let mut builder = h2::client::Builder::new();
        let handshake = builder.data_frame_budget(usize::MAX).handshake(io).await;
        let (http, connection) = handshake.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { http })
    }

    pub(crate) async fn open(&self, path: &str) -> Result<Stream, Failure> {
        self.open_with(path, &[]).await
    }

    pub(crate) async fn open_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Stream, Failure> {
        let mut request = http::Request::post(format!("http://embedded{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut http = self.http.clone().ready().await?;
        let (response, send) = http.send_request(request.body(()).expect("a request"), false)?;
        Ok(Stream { send, response: Some(response), body: None, partial: BytesMut::new() })
    }

    pub(crate) async fn bytes(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Bytes, Failure> {
        let mut stream = self.open_with(path, headers).await?;
        stream.send_bytes(body)?;
        stream.close()?;
        let answer = stream.next().await?;
        let answer = answer.expect("an answer before the end");
        assert_eq!(stream.next().await?, None, "a unary call has one answer");
        Ok(answer)
    }

    pub(crate) async fn call<A: Message + Default>(
        &self,
        path: &str,
        ask: &impl Message,
    ) -> Result<A, Failure> {
        let answer = self.bytes(path, &[], &ask.encode_to_vec()).await?;
        Ok(A::decode(answer).expect("an answer of the method's type"))
    }
}

/// A stream both ways.
#[derive(Debug)]
pub(crate) struct Stream {
    send: SendStream<Bytes>,
    response: Option<h2::client::ResponseFuture>,
    body: Option<RecvStream>,
    partial: BytesMut,
}

impl Stream {
    pub(crate) fn send_bytes(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut message = BytesMut::new();
        message.put_u8(0);
        message.put_u32(body.len().try_into().expect("a short message"));
        message.put_slice(body);
        Ok(self.send.send_data(message.freeze(), false)?)
    }

    /// Bytes as they are, without a message's prefix.
    pub(crate) fn send_unframed(&mut self, bytes: Bytes) -> Result<(), Failure> {
        Ok(self.send.send_data(bytes, false)?)
    }

    pub(crate) fn send(&mut self, message: &impl Message) -> Result<(), Failure> {
        self.send_bytes(&message.encode_to_vec())
    }

    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        Ok(self.send.send_data(Bytes::new(), true)?)
    }

    /// The next message; `None` at an end with status 0.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if let Some(response) = self.response.take() {
            let response = response.await?;
            if let Some(end) = status(response.headers()) {
                return end.map(|()| None);
            }
            self.body = Some(response.into_body());
        }
        let body = self.body.as_mut().ok_or(Failure::Broken)?;
        loop {
            if let Some((prefix, rest)) = self.partial.split_first_chunk::<5>() {
                let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
                if rest.len() >= length {
                    self.partial.advance(5);
                    return Ok(Some(self.partial.split_to(length).freeze()));
                }
            }
            match body.data().await {
                Some(data) => {
                    let data = data?;
                    body.flow_control().release_capacity(data.len())?;
                    self.partial.extend_from_slice(&data);
                }
                None => {
                    let trailers = poll_fn(|cx| body.poll_trailers(cx)).await?.ok_or(Failure::Broken)?;
                    return status(&trailers).unwrap_or(Err(Failure::Broken)).map(|()| None);
                }
            }
        }
    }

    pub(crate) async fn message<M: Message + Default>(&mut self) -> Result<Option<M>, Failure> {
        Ok(self.next().await?.map(|bytes| M::decode(bytes).expect("a message of the stream's type")))
    }
}

fn status(headers: &http::HeaderMap) -> Option<Result<(), Failure>> {
    let code: u32 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = headers.get("grpc-message").map_or("", |value| value.to_str().unwrap_or("?"));
    Some(if code == 0 { Ok(()) } else { Err(Failure::Status(code, message.to_owned())) })
}

/// The header of a request to PD.
pub(crate) async fn pd_header(pd: &Client) -> Option<pdpb::RequestHeader> {
    let members: pdpb::GetMembersResponse =
        pd.call(methods::pd::GET_MEMBERS, &pdpb::GetMembersRequest::default()).await.expect("members");
    let cluster_id = members.header.expect("a header").cluster_id;
    Some(pdpb::RequestHeader { cluster_id, ..Default::default() })
}

/// The context of a request for a raw key, as its region is now.
pub(crate) fn context(cluster: &Cluster, raw_key: &str) -> kvrpcpb::Context {
    cluster.cluster(|cluster, _| {
        let region = cluster.topology.region_at(raw_key.as_bytes()).expect("covered");
        let wire = tikv_embedded::model::pd::wire_region(region);
        kvrpcpb::Context {
            region_id: region.id,
            region_epoch: wire.region_epoch,
            peer: region.leader_peer().as_ref().map(tikv_embedded::model::pd::wire_peer),
            ..Default::default()
        }
    })
}

pub(crate) fn put(cluster: &Cluster, key: &str, value: &str) -> kvrpcpb::RawPutRequest {
    kvrpcpb::RawPutRequest {
        context: Some(context(cluster, key)),
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..Default::default()
    }
}

pub(crate) fn get(cluster: &Cluster, key: &str) -> kvrpcpb::RawGetRequest {
    let key_bytes = Bytes::copy_from_slice(key.as_bytes());
    kvrpcpb::RawGetRequest { context: Some(context(cluster, key)), key: key_bytes, ..Default::default() }
}

/// Dials the store that leads the key's region.
pub(crate) async fn leader(cluster: &Cluster, raw_key: &str) -> Client {
    let store = context(cluster, raw_key).peer.expect("a leader").store_id;
    Client::dial(cluster, Node::Store(store)).await.expect("it listens")
}

/// A raw value, read past all fault rules that are about `BatchCommands` or writes.
pub(crate) async fn read(cluster: &Cluster, key: &str) -> Option<Bytes> {
    let store = leader(cluster, key).await;
    let answer: kvrpcpb::RawGetResponse =
        store.call(methods::tikv::RAW_GET, &get(cluster, key)).await.expect("an answer");
    assert_eq!(answer.region_error, None);
    (!answer.not_found).then_some(answer.value)
}

pub(crate) fn batch(commands: impl IntoIterator<Item = (u64, request::Cmd)>) -> BatchCommandsRequest {
    let (request_ids, requests) =
        commands.into_iter().map(|(id, cmd)| (id, Request { cmd: Some(cmd) })).unzip();
    BatchCommandsRequest { requests, request_ids, ..Default::default() }
}

/// The answers of the next frame, by id.
pub(crate) async fn answers(stream: &mut Stream) -> Result<Vec<(u64, Option<response::Cmd>)>, Failure> {
    let frame: BatchCommandsResponse = stream.message().await?.unwrap_or_default();
    assert_eq!(frame.request_ids.len(), frame.responses.len());
    Ok(frame.request_ids.into_iter().zip(frame.responses.into_iter().map(|answer| answer.cmd)).collect())
}
