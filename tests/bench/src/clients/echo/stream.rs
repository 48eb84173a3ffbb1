//! One bare BatchCommands stream: what is in the channel goes out in one frame, answers find their waiters in a map.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tikv_bench_load::Failure;
use tikv_proto::methods;
use tikv_proto::tikvpb::{
    BatchCommandsRequest, BatchCommandsResponse, batch_commands_request, batch_commands_response,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

pub(super) use batch_commands_request::request::Cmd as Request;
pub(super) use batch_commands_response::response::Cmd as Response;

/// Requests in one frame.
pub(super) const FRAME: usize = 128;

pub(super) type Waiters = Arc<Mutex<HashMap<u64, oneshot::Sender<Response>>>>;
pub(super) type Wanted = (Request, oneshot::Sender<Response>);

/// An open stream.
pub(super) struct Stream {
    pub(super) wanted: mpsc::UnboundedSender<Wanted>,
}

impl Stream {
    pub(super) async fn open(address: &str) -> Result<Self, Failure> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .tcp_nodelay(true)
            .initial_stream_window_size(1 << 27)
            .initial_connection_window_size(1 << 27)
            .connect()
            .await?;
        let mut grpc: Grpc<Channel> = Grpc::new(channel).max_decoding_message_size(usize::MAX);
        let (wanted, incoming) = mpsc::unbounded_channel();
        let (frames, outgoing) = mpsc::channel(8);
        frames.send(priming()).await?;
        grpc.ready().await?;
        let codec = ProstCodec::<BatchCommandsRequest, BatchCommandsResponse>::default();
        let path = PathAndQuery::from_static(methods::tikv::BATCH_COMMANDS);
        let outgoing = tonic::Request::new(ReceiverStream::new(outgoing));
        let mut answers = grpc.streaming(outgoing, path, codec).await?.into_inner();
        let waiters = Waiters::default();
        tokio::spawn(send(incoming, frames, Arc::clone(&waiters)));
        tokio::spawn(async move {
            while let Ok(Some(frame)) = answers.message().await {
                receive(frame, &waiters);
            }
            // Who still waits is told by the end of its channel.
            if let Ok(mut waiters) = waiters.lock() {
                waiters.clear();
            }
        });
        Ok(Self { wanted })
    }

    /// Sends a request; the answer comes through the channel.
    pub(super) fn send(&self, request: Request) -> oneshot::Receiver<Response> {
        let (answer, answered) = oneshot::channel();
        // When the stream has ended, the answer's channel ends.
        drop(self.wanted.send((request, answer)));
        answered
    }
}

fn priming() -> BatchCommandsRequest {
    let request = batch_commands_request::Request { cmd: Some(Request::Empty(Default::default())) };
    BatchCommandsRequest { requests: vec![request], request_ids: vec![0], ..Default::default() }
}

async fn send(
    mut incoming: mpsc::UnboundedReceiver<Wanted>,
    frames: mpsc::Sender<BatchCommandsRequest>,
    waiters: Waiters,
) {
    let (mut id, mut buffer) = (1, Vec::new());
    while incoming.recv_many(&mut buffer, FRAME).await > 0 {
        if frames.send(fill(&mut buffer, &waiters, &mut id)).await.is_err() {
            return;
        }
    }
}

/// A frame of what is in the buffer.
pub(super) fn fill(buffer: &mut Vec<Wanted>, waiters: &Waiters, id: &mut u64) -> BatchCommandsRequest {
    let mut frame = BatchCommandsRequest::default();
    if let Ok(mut waiters) = waiters.lock() {
        for (request, waiter) in buffer.drain(..) {
            frame.request_ids.push(*id);
            frame.requests.push(batch_commands_request::Request { cmd: Some(request) });
            waiters.insert(*id, waiter);
            *id += 1;
        }
    }
    frame
}

pub(super) fn receive(frame: BatchCommandsResponse, waiters: &Waiters) {
    let Ok(mut waiters) = waiters.lock() else { return };
    for (id, response) in frame.request_ids.into_iter().zip(frame.responses) {
        if let Some(waiter) = waiters.remove(&id)
            && let Some(response) = response.cmd
        {
            // A caller that has gone needs no answer.
            drop(waiter.send(response));
        }
    }
}
