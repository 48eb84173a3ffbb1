//! One bare timestamp stream: all who wait share a request.

use tikv_bench_load::Failure;
use tikv_proto::methods;
use tikv_proto::pdpb::{RequestHeader, TsoRequest, TsoResponse};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

/// Timestamps of one request.
const MOST: usize = 10_000;

/// Where the logical part of a timestamp ends. PD: `client/tsoutil`, 18 bits.
const LOGICAL_BITS: u32 = 18;

pub(super) struct Tso {
    wanted: mpsc::UnboundedSender<oneshot::Sender<u64>>,
}

impl Tso {
    pub(super) async fn open(pd: &mut Grpc<Channel>, header: RequestHeader) -> Result<Self, Failure> {
        let (wanted, mut incoming) = mpsc::unbounded_channel();
        let (requests, outgoing) = mpsc::channel(1);
        let request = move |count| TsoRequest { header: Some(header.clone()), count, ..Default::default() };
        // A server may send its headers only with its first message.
        requests.send(request(1)).await?;
        pd.ready().await?;
        let codec = ProstCodec::<TsoRequest, TsoResponse>::default();
        let path = PathAndQuery::from_static(methods::pd::TSO);
        let outgoing = tonic::Request::new(ReceiverStream::new(outgoing));
        let mut answers = pd.streaming(outgoing, path, codec).await?.into_inner();
        answers.message().await?.ok_or("PD ended the timestamps")?;
        tokio::spawn(async move {
            let mut waiting: Vec<oneshot::Sender<u64>> = Vec::new();
            while incoming.recv_many(&mut waiting, MOST).await > 0 {
                let count = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
                if requests.send(request(count)).await.is_err() {
                    return;
                }
                let Ok(Some(TsoResponse { timestamp: Some(last), .. })) = answers.message().await else {
                    return;
                };
                // The answer is the last of as many.
                let first = (last.physical << LOGICAL_BITS) + last.logical - i64::from(count) + 1;
                for (waiter, ts) in waiting.drain(..).zip(first..) {
                    // A caller that has gone needs no timestamp.
                    if waiter.send(u64::try_from(ts).unwrap_or(0)).is_err() {
                        continue;
                    }
                }
            }
        });
        Ok(Self { wanted })
    }

    pub(super) async fn get(&self) -> Result<u64, String> {
        let (answer, answered) = oneshot::channel();
        // When the stream has ended, the answer's channel ends.
        drop(self.wanted.send(answer));
        answered.await.map_err(|_| "the timestamps ended".into())
    }
}
