//! Which region has a key, found once.

use bytes::Bytes;
use tikv_bench_load::{Failure, Space};
use tikv_client_core::codec::Mode;
use tikv_client_core::types::Key;
use tikv_proto::kvrpcpb::Context;
use tikv_proto::{methods, pdpb};
use tonic::client::Grpc;
use tonic::transport::Channel;

use super::unary;

/// All keys of the benchmarks lie in here.
const ALL: (&str, &str) = ("bench/", "bench0");

/// The regions of the benchmarks' keys, in order.
pub(super) struct Regions {
    regions: Vec<Region>,
}

/// A region: where it begins, what its requests say of it, and the stream of its leader.
pub(super) struct Region {
    start: Vec<u8>,
    pub(super) context: Context,
    pub(super) stream: usize,
}

impl Regions {
    /// Asks PD; also gives the addresses of the leaders' stores, one a stream.
    pub(super) async fn find(
        pd: &mut Grpc<Channel>,
        header: &pdpb::RequestHeader,
        space: Space,
    ) -> Result<(Self, Vec<String>), Failure> {
        let mode = if space == Space::Raw { Mode::Raw } else { Mode::Txn };
        let (mut regions, mut stores) = (Vec::new(), Vec::new());
        let mut from = mode.encode_key(&Key::from(ALL.0));
        let to = mode.encode_key(&Key::from(ALL.1));
        loop {
            let request = pdpb::GetRegionRequest {
                header: Some(header.clone()),
                region_key: from.clone(),
                ..Default::default()
            };
            let found: pdpb::GetRegionResponse = unary(pd, methods::pd::GET_REGION, request).await?;
            let (region, leader) = (found.region.ok_or("no region")?, found.leader.ok_or("no leader")?);
            let stream = stores.iter().position(|&store| store == leader.store_id).unwrap_or(stores.len());
            if stream == stores.len() {
                stores.push(leader.store_id);
            }
            let context = Context {
                region_id: region.id,
                region_epoch: region.region_epoch,
                peer: Some(leader),
                ..Default::default()
            };
            regions.push(Region {
                start: mode.ceil_bound(&region.start_key).as_slice().to_vec(),
                context,
                stream,
            });
            from = region.end_key;
            if from.is_empty() || from >= to {
                break;
            }
        }
        let mut addresses = Vec::new();
        for store_id in stores {
            let request = pdpb::GetStoreRequest { header: Some(header.clone()), store_id };
            let found: pdpb::GetStoreResponse = unary(pd, methods::pd::GET_STORE, request).await?;
            addresses.push(found.store.ok_or("no store")?.address);
        }
        Ok((Self { regions }, addresses))
    }

    /// The region of a key.
    pub(super) fn of(&self, key: &[u8]) -> &Region {
        let behind = self.regions.partition_point(|region| region.start.as_slice() <= key);
        &self.regions[behind.saturating_sub(1)]
    }

    /// Keys by their region.
    pub(super) fn group(&self, keys: impl Iterator<Item = Bytes>) -> Vec<(&Region, Vec<Bytes>)> {
        let mut groups: Vec<(&Region, Vec<Bytes>)> =
            self.regions.iter().map(|region| (region, Vec::new())).collect();
        for key in keys {
            let behind = self.regions.partition_point(|region| region.start.as_slice() <= &*key);
            groups[behind.saturating_sub(1)].1.push(key);
        }
        groups.retain(|(_, keys)| !keys.is_empty());
        groups
    }
}
