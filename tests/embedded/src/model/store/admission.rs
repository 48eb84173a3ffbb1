//! Whether a request may be served here: the region that its context names, and the API version.
//!
//! Spec: `cluster.md` 4.2, 4.5. TiKV: `raftstore/src/store/{worker/read.rs, fsm/peer.rs}`, `store/util.rs`.

use bytes::Bytes;
use tikv_proto::kvrpcpb::Context;
use tikv_proto::{errorpb, metapb};

use super::error::{Hex, OutOfRegion, TxnError};
use crate::model::pd::{wire_peer, wire_region};
use crate::model::{Peer, PeerRole, Region, Topology};

/// What a request does with the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It reads; a follower serves it if the context says so.
    Read,
    /// It writes; only the leader serves it.
    Write,
}

/// The region of an admitted request, and how it is met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted<'a> {
    pub(super) region: &'a Region,
    /// The peer that serves.
    pub(super) peer: Peer,
    pub(super) leads: bool,
}

/// Finds the region that a request names, or why this store does not serve it; the first failing check answers.
pub(super) fn admit<'a>(
    topology: &'a Topology,
    store: u64,
    context: Option<&Context>,
    access: Access,
) -> Result<Admitted<'a>, Box<errorpb::Error>> {
    let absent = Context::default();
    let context = context.unwrap_or(&absent);
    let asked = context.peer.unwrap_or_default();
    if asked.store_id != store {
        return Err(store_not_match(asked.store_id, store));
    }
    let place = topology.region(context.region_id).and_then(|region| Some((region, region.peer_on(store)?)));
    let Some((region, peer)) = place else { return Err(region_not_found(context.region_id)) };
    if peer.id != asked.id {
        return Err(mismatch_peer_id(asked.id, peer.id));
    }
    let leads = region.leader == Some(peer.id);
    let follower_may = access == Access::Read && (context.replica_read || context.stale_read);
    if !leads && !follower_may {
        return Err(not_leader(region));
    }
    if peer.role == PeerRole::Witness {
        return Err(is_witness(region.id));
    }
    if context.term != 0 && region.term > context.term.saturating_add(1) {
        return Err(stale_command());
    }
    check_epoch(topology, region, context.region_epoch.as_ref())?;
    Ok(Admitted { region, peer, leads })
}

/// [`admit`] for a split, which is no business of the engine.
pub(in crate::model) fn admit_write<'a>(
    topology: &'a Topology,
    store: u64,
    context: Option<&Context>,
) -> Result<&'a Region, Box<errorpb::Error>> {
    admit(topology, store, context, Access::Write).map(|admitted| admitted.region)
}

impl Admitted<'_> {
    /// Checks a key, in region form, where being outside the region is a region error.
    pub(super) fn check_key(&self, key: &Bytes) -> Result<(), Box<errorpb::Error>> {
        if self.region.contains(key) { Ok(()) } else { Err(self.outside(key)) }
    }

    /// That `key`, in region form, lies outside the region.
    pub(super) fn outside(&self, key: &Bytes) -> Box<errorpb::Error> {
        key_not_in_region(key, self.region)
    }

    /// Checks where a cursor starts, in region form: it may stand on the region's end.
    pub(super) fn check_seek(&self, key: &Bytes) -> Result<(), Box<errorpb::Error>> {
        if self.region.contains(key) || (!key.is_empty() && *key == self.region.end) {
            Ok(())
        } else {
            Err(self.outside(key))
        }
    }

    /// Checks a key, in region form, where being outside the region is an error of the key.
    pub(super) fn check_point(&self, key: &Bytes) -> Result<(), TxnError> {
        if self.region.contains(key) {
            Ok(())
        } else {
            Err(TxnError::OutOfRegion(OutOfRegion::new(key, self.region)))
        }
    }

    /// The part of `[start, end)`, an empty end being open, that lies in the region.
    pub(super) fn clip(&self, start: &Bytes, end: &Bytes) -> (Bytes, Bytes) {
        let start = start.max(&self.region.start).clone();
        let end = match (end.is_empty(), self.region.end.is_empty()) {
            (true, _) => self.region.end.clone(),
            (false, true) => end.clone(),
            (false, false) => end.min(&self.region.end).clone(),
        };
        (start, end)
    }
}

/// Only the version counts: a changed membership alone does not refuse a request.
fn check_epoch(
    topology: &Topology,
    region: &Region,
    sent: Option<&metapb::RegionEpoch>,
) -> Result<(), Box<errorpb::Error>> {
    let version = sent.map_or(0, |epoch| epoch.version);
    if version == region.version {
        return Ok(());
    }
    let text = |conf_ver, version| format!("conf_ver: {conf_ver} version: {version}");
    let message = format!(
        "EpochNotMatch current epoch of region {} is {}, but you sent {}",
        region.id,
        text(region.conf_ver, region.version),
        sent.map(|epoch| text(epoch.conf_ver, epoch.version)).unwrap_or_default(),
    );
    let behind = region.version.saturating_sub(version);
    let current_regions = topology.epoch_siblings(region, behind).map(wire_region).collect();
    let epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
    Err(Box::new(errorpb::Error { message, epoch_not_match, ..Default::default() }))
}

/// An error without a variant: clients see only the text.
pub(in crate::model) fn bare(message: String) -> Box<errorpb::Error> {
    Box::new(errorpb::Error { message, ..Default::default() })
}

fn store_not_match(request_store_id: u64, actual_store_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("to store id {request_store_id}, mine {actual_store_id}"),
        store_not_match: Some(errorpb::StoreNotMatch { request_store_id, actual_store_id }),
        ..Default::default()
    })
}

fn region_not_found(region_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("region {region_id} is missing"),
        region_not_found: Some(errorpb::RegionNotFound { region_id }),
        ..Default::default()
    })
}

fn mismatch_peer_id(request_peer_id: u64, store_peer_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("mismatch peer id {request_peer_id} != {store_peer_id}"),
        mismatch_peer_id: Some(errorpb::MismatchPeerId { request_peer_id, store_peer_id }),
        ..Default::default()
    })
}

fn not_leader(region: &Region) -> Box<errorpb::Error> {
    let leader = region.leader_peer();
    let named = leader
        .map_or_else(|| "None".to_owned(), |peer| format!("Some(id: {} store_id: {})", peer.id, peer.store));
    let region_id = region.id;
    Box::new(errorpb::Error {
        message: format!("peer is not leader for region {region_id}, leader may {named}"),
        not_leader: Some(errorpb::NotLeader { region_id, leader: leader.as_ref().map(wire_peer) }),
        ..Default::default()
    })
}

fn is_witness(region_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("peer is a witness of region {region_id}"),
        is_witness: Some(errorpb::IsWitness { region_id }),
        ..Default::default()
    })
}

fn stale_command() -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: "stale command".to_owned(),
        stale_command: Some(errorpb::StaleCommand {}),
        ..Default::default()
    })
}

/// A follower whose safe timestamp lies below what a stale read asks for.
pub(super) fn data_is_not_ready(region_id: u64, peer_id: u64, safe_ts: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("peer {peer_id} is not ready, safe_ts {safe_ts}, region {region_id}"),
        data_is_not_ready: Some(errorpb::DataIsNotReady { region_id, peer_id, safe_ts }),
        ..Default::default()
    })
}

pub(in crate::model) fn key_not_in_region(key: &Bytes, region: &Region) -> Box<errorpb::Error> {
    let (start, end) = (Hex(&region.start), Hex(&region.end));
    Box::new(errorpb::Error {
        message: format!(
            "key {} is not in region key range [{start}, {end}) for region {}",
            Hex(key),
            region.id
        ),
        key_not_in_region: Some(errorpb::KeyNotInRegion {
            key: key.clone(),
            region_id: region.id,
            start_key: region.start.clone(),
            end_key: region.end.clone(),
        }),
        ..Default::default()
    })
}
