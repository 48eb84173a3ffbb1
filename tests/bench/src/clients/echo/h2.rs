//! The floor's stream over our own HTTP/2 channel: no copy of messages, one task.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tikv_bench_load::Failure;
use tikv_client_core::client::{ByteStream, ConnectOptions, Runtime};
use tikv_client_tokio::Tokio;
use tikv_proto::methods;
use tikv_proto::tikvpb::BatchCommandsResponse;
use tokio::sync::mpsc;
use tonic_prost::prost::Message;

use super::stream::{FRAME, Stream, Waiters, Wanted, fill, receive};

pub(super) async fn open(address: &str) -> Result<Stream, Failure> {
    let channel = Tokio::current()?.connect(address.into(), &ConnectOptions::default()).await?;
    let stream = channel.stream(methods::tikv::BATCH_COMMANDS, &Vec::new());
    let (wanted, incoming) = mpsc::unbounded_channel();
    let mut link = Link { incoming, stream, waiters: Waiters::default(), buffer: Vec::new(), id: 1 };
    tokio::spawn(async move {
        poll_fn(|cx| link.poll(cx)).await;
        // Who still waits is told by the end of its channel.
        if let Ok(mut waiters) = link.waiters.lock() {
            waiters.clear();
        }
    });
    Ok(Stream { wanted })
}

struct Link {
    incoming: mpsc::UnboundedReceiver<Wanted>,
    stream: Box<dyn ByteStream>,
    waiters: Waiters,
    buffer: Vec<Wanted>,
    id: u64,
}

impl Link {
    /// Ready when the stream has ended, or nobody wants anything more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(came) = self.stream.poll_next(cx) {
            let Some(Ok(frame)) = came else { return Poll::Ready(()) };
            let Ok(frame) = BatchCommandsResponse::decode(frame) else { return Poll::Ready(()) };
            receive(frame, &self.waiters);
        }
        loop {
            if self.buffer.is_empty()
                && self.incoming.poll_recv_many(cx, &mut self.buffer, FRAME) == Poll::Ready(0)
            {
                return Poll::Ready(());
            }
            if self.buffer.is_empty() {
                return Poll::Pending;
            }
            match self.stream.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    let frame = fill(&mut self.buffer, &self.waiters, &mut self.id);
                    self.stream.send(frame.encode_to_vec().into());
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
