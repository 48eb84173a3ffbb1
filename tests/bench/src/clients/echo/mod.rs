//! The floor: the same requests over the same kind of streams with nothing of a client around them.
//!
//! It finds the regions once and never again, encodes with prost, keeps a map from id to waiter (`stream`), asks PD for
//! timestamps in batches (`tso`), and any error ends the run. What a client costs above this is its own: retries, deadlines,
//! routing, cancellation. `operations` has what it does; `h2` is the stream over our own channel.

mod h2;
mod operations;
mod regions;
mod stream;
mod tso;

use bytes::Bytes;
use tikv_bench_load::{Failure, Keys, Task};
use tikv_proto::{methods, pdpb};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use regions::Regions;
use stream::Stream;
use tso::Tso;

use super::space;

/// A floor that is connected. It lives as long as its process.
pub(crate) struct Echo {
    regions: Regions,
    streams: Vec<Stream>,
    tso: Tso,
    ts: u64,
    task: Task,
    keys: Keys,
    value: Bytes,
}

impl Echo {
    pub(crate) async fn connect(task: &Task, on_h2: bool) -> Result<&'static Self, Failure> {
        let pd = task.pd.first().ok_or("no PD address")?;
        let mut pd =
            Grpc::new(Endpoint::from_shared(format!("http://{pd}"))?.tcp_nodelay(true).connect().await?);
        let members: pdpb::GetMembersResponse =
            unary(&mut pd, methods::pd::GET_MEMBERS, pdpb::GetMembersRequest::default()).await?;
        let cluster_id = members.header.ok_or("PD gave no header")?.cluster_id;
        let header = pdpb::RequestHeader { cluster_id, ..Default::default() };
        let space = space(task.action);
        let (regions, addresses) = Regions::find(&mut pd, &header, space).await?;
        let mut streams = Vec::new();
        for address in addresses {
            streams.push(if on_h2 { h2::open(&address).await? } else { Stream::open(&address).await? });
        }
        let tso = Tso::open(&mut pd, header).await?;
        let ts = tso.get().await?;
        let keys = Keys::new(task, space);
        let value = Bytes::copy_from_slice(keys.value());
        // Shared by all callers without a count that they would all write.
        Ok(Box::leak(Box::new(Self { regions, streams, tso, ts, task: task.clone(), keys, value })))
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }
}

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
