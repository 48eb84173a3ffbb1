//! The floor: the same requests over the same kind of stream with nothing of a client around them.
//!
//! It knows one region for all keys (the benchmark's cluster has one), keeps a map from id to waiter, and batches what is in
//! its channel. What our client adds to this is its cost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tikv_proto::kvrpcpb::{Context, RawGetRequest, RawGetResponse};
use tikv_proto::tikvpb::{
    BatchCommandsRequest, BatchCommandsResponse, batch_commands_request, batch_commands_response,
};
use tikv_proto::{methods, pdpb};
use tokio::sync::{mpsc, oneshot};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::measure::{self, Cost, Load};

type Waiters = Arc<Mutex<HashMap<u64, oneshot::Sender<RawGetResponse>>>>;
type Wanted = (RawGetRequest, oneshot::Sender<RawGetResponse>);
type Failure = Box<dyn std::error::Error>;

async fn unary<Q, R>(grpc: &mut Grpc<Channel>, path: &'static str, request: Q) -> Result<R, Failure>
where
    Q: tonic_prost::prost::Message + Send + Sync + 'static,
    R: tonic_prost::prost::Message + Default + Send + Sync + 'static,
{
    grpc.ready().await?;
    let codec = ProstCodec::<Q, R>::default();
    let response = grpc.unary(tonic::Request::new(request), PathAndQuery::from_static(path), codec).await?;
    Ok(response.into_inner())
}

/// Where the region of the benchmark's keys is, and the context of every request.
async fn locate(pd: &str) -> Result<(String, Context), Failure> {
    let mut grpc = Grpc::new(Endpoint::from_shared(format!("http://{pd}"))?.connect().await?);
    let members: pdpb::GetMembersResponse =
        unary(&mut grpc, methods::pd::GET_MEMBERS, pdpb::GetMembersRequest::default()).await?;
    let cluster_id = members.header.ok_or("PD gave no header")?.cluster_id;
    let header = Some(pdpb::RequestHeader { cluster_id, ..Default::default() });
    let request = pdpb::GetRegionRequest {
        header: header.clone(),
        region_key: Bytes::from_static(b"bench"),
        ..Default::default()
    };
    let found: pdpb::GetRegionResponse = unary(&mut grpc, methods::pd::GET_REGION, request).await?;
    let (region, leader) = (found.region.ok_or("no region")?, found.leader.ok_or("no leader")?);
    let request = pdpb::GetStoreRequest { header, store_id: leader.store_id };
    let found: pdpb::GetStoreResponse = unary(&mut grpc, methods::pd::GET_STORE, request).await?;
    let address = found.store.ok_or("no store")?.address;
    let context = Context {
        region_id: region.id,
        region_epoch: region.region_epoch,
        peer: Some(leader),
        ..Default::default()
    };
    Ok((address, context))
}

/// Raw gets of 64 bytes through a bare stream.
pub(crate) async fn run(pd: &str, load: Load) -> Result<Cost, Failure> {
    let (address, context) = locate(pd).await?;
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(1 << 27)
        .initial_connection_window_size(1 << 27)
        .connect()
        .await?;
    let mut grpc: Grpc<Channel> = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    let (wanted, incoming) = mpsc::unbounded_channel::<Wanted>();
    let (frames, outgoing) = mpsc::channel(8);
    frames.send(priming()).await?;
    grpc.ready().await?;
    let codec = ProstCodec::<BatchCommandsRequest, BatchCommandsResponse>::default();
    let path = PathAndQuery::from_static(methods::tikv::BATCH_COMMANDS);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut stream = grpc.streaming(tonic::Request::new(outgoing), path, codec).await?.into_inner();
    let waiters = Waiters::default();
    let sender = tokio::spawn(send(incoming, frames, Arc::clone(&waiters)));
    let receiver = tokio::spawn(async move {
        while let Ok(Some(frame)) = stream.message().await {
            receive(frame, &waiters);
        }
    });
    let cost = measure::run(load, move |key| {
        let (wanted, context) = (wanted.clone(), context.clone());
        async move {
            let (answer, answered) = oneshot::channel();
            let request =
                RawGetRequest { context: Some(context), key: Bytes::from(key), ..Default::default() };
            wanted.send((request, answer)).map_err(|error| error.to_string())?;
            let response = answered.await.map_err(|error| error.to_string())?;
            if response.region_error.is_some() || response.value.is_empty() {
                return Err(format!("the floor's get failed: {:?}", response.region_error));
            }
            Ok(())
        }
    })
    .await;
    sender.abort();
    receiver.abort();
    cost
}

fn priming() -> BatchCommandsRequest {
    let cmd = batch_commands_request::request::Cmd::Empty(Default::default());
    BatchCommandsRequest {
        requests: vec![batch_commands_request::Request { cmd: Some(cmd) }],
        request_ids: vec![0],
        ..Default::default()
    }
}

async fn send(
    mut incoming: mpsc::UnboundedReceiver<Wanted>,
    frames: mpsc::Sender<BatchCommandsRequest>,
    waiters: Waiters,
) {
    let (mut id, mut buffer) = (1, Vec::new());
    while incoming.recv_many(&mut buffer, 128).await > 0 {
        let mut frame = BatchCommandsRequest::default();
        if let Ok(mut waiters) = waiters.lock() {
            for (request, waiter) in buffer.drain(..) {
                frame.request_ids.push(id);
                let cmd = batch_commands_request::request::Cmd::RawGet(request);
                frame.requests.push(batch_commands_request::Request { cmd: Some(cmd) });
                waiters.insert(id, waiter);
                id += 1;
            }
        }
        if frames.send(frame).await.is_err() {
            return;
        }
    }
}

fn receive(frame: BatchCommandsResponse, waiters: &Waiters) {
    let Ok(mut waiters) = waiters.lock() else { return };
    for (id, response) in frame.request_ids.into_iter().zip(frame.responses) {
        if let Some(waiter) = waiters.remove(&id)
            && let Some(batch_commands_response::response::Cmd::RawGet(response)) = response.cmd
        {
            // A caller that has gone needs no answer.
            drop(waiter.send(response));
        }
    }
}
