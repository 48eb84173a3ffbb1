//! Splitting a region by a request to its store.
//!
//! Measured, see `conformance/topology.md` section 2; the texts name TiKV's source files, as the real ones do. TiKV: `src/server/service/kv.rs: split_region`,
//! `raftstore/src/store/fsm/peer.rs: validate_split_region`.

use bytes::Bytes;
use tikv_proto::errorpb;

use super::command::{SplitAnswer, SplitRequest};
use super::key;
use super::pd::wire_region;
use super::region::{Topology, TopologyError};
use super::region_error::{bare, key_not_in_region};
use super::store::admit_write;

/// Splits the region that `ask` names, if `store` leads it.
pub(super) fn split(topology: &mut Topology, store: u64, ask: &SplitRequest) -> SplitAnswer {
    match try_split(topology, store, ask) {
        Err(error) => SplitAnswer { region_error: Some(*error), ..Default::default() },
        Ok(parts) => {
            let regions: Vec<_> =
                parts.iter().filter_map(|&part| topology.region(part)).map(wire_region).collect();
            match regions.as_slice() {
                [left, right] => {
                    let (left, right) = (Some(left.clone()), Some(right.clone()));
                    SplitAnswer { left, right, regions, ..Default::default() }
                }
                _ => SplitAnswer { regions, ..Default::default() },
            }
        }
    }
}

fn try_split(
    topology: &mut Topology,
    store: u64,
    ask: &SplitRequest,
) -> Result<Vec<u64>, Box<errorpb::Error>> {
    let region = admit_write(topology, store, ask.context.as_ref())?.id;
    let single = (!ask.split_key.is_empty()).then_some(&ask.split_key);
    let in_region_form = |key: &Bytes| if ask.is_raw_kv { key.clone() } else { key::encode(key) };
    let keys: Vec<Bytes> = ask.split_keys.iter().chain(single).map(in_region_form).collect();
    if keys.is_empty() {
        let peer = topology.region(region).and_then(|region| region.peer_on(store)).map_or(0, |peer| peer.id);
        return Err(bare(format!(
            "\"[components/raftstore/src/store/util.rs:0]: [region {region}] {peer} no split key is specified.\""
        )));
    }
    topology.split(region, &keys).map_err(|error| match (error, topology.region(region)) {
        (TopologyError::KeyOutside { key, .. }, Some(region)) => key_not_in_region(&key, region),
        (TopologyError::NoSplitKey { .. }, _) => {
            let at = "components/raftstore/src/coprocessor/split_observer.rs:0";
            bare(format!("Coprocessor [{at}]: no valid key found for split."))
        }
        (other, _) => bare(other.to_string()),
    })
}
