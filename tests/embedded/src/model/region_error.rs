//! Region errors as a TiKV words them.
//!
//! Admission answers them when they are true, and a fault rule ([`crate::control::Refusal`]) when a test wants them.
//!
//! TiKV: `components/error_code`, `components/raftstore/src/errors.rs: Error::into`.

use bytes::Bytes;
use tikv_proto::errorpb;

use super::pd::wire_peer;
use super::region::{Peer, Region};
use super::store::Hex;

/// An error without a variant: clients see only the text.
pub(crate) fn bare(message: String) -> Box<errorpb::Error> {
    Box::new(errorpb::Error { message, ..Default::default() })
}

pub(crate) fn store_not_match(request_store_id: u64, actual_store_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("to store id {request_store_id}, mine {actual_store_id}"),
        store_not_match: Some(errorpb::StoreNotMatch { request_store_id, actual_store_id }),
        ..Default::default()
    })
}

pub(crate) fn region_not_found(region_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("region {region_id} is missing"),
        region_not_found: Some(errorpb::RegionNotFound { region_id }),
        ..Default::default()
    })
}

pub(crate) fn mismatch_peer_id(request_peer_id: u64, store_peer_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("mismatch peer id {request_peer_id} != {store_peer_id}"),
        mismatch_peer_id: Some(errorpb::MismatchPeerId { request_peer_id, store_peer_id }),
        ..Default::default()
    })
}

pub(crate) fn not_leader(region: &Region) -> Box<errorpb::Error> {
    not_leader_but(region.id, region.leader_peer())
}

/// The same, whoever is named.
pub(crate) fn not_leader_but(region_id: u64, leader: Option<Peer>) -> Box<errorpb::Error> {
    let named = leader
        .map_or_else(|| "None".to_owned(), |peer| format!("Some(id: {} store_id: {})", peer.id, peer.store));
    Box::new(errorpb::Error {
        message: format!("peer is not leader for region {region_id}, leader may {named}"),
        not_leader: Some(errorpb::NotLeader { region_id, leader: leader.as_ref().map(wire_peer) }),
        ..Default::default()
    })
}

pub(crate) fn is_witness(region_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("peer is a witness of region {region_id}"),
        is_witness: Some(errorpb::IsWitness { region_id }),
        ..Default::default()
    })
}

pub(crate) fn recovery_in_progress(region_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("region {region_id} is in the recovery progress"),
        recovery_in_progress: Some(errorpb::RecoveryInProgress { region_id }),
        ..Default::default()
    })
}

pub(crate) fn region_not_initialized(region_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("region {region_id} not initialized yet"),
        region_not_initialized: Some(errorpb::RegionNotInitialized { region_id }),
        ..Default::default()
    })
}

pub(crate) fn flashback_not_prepared(region_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("region {region_id} not prepared the flashback"),
        flashback_not_prepared: Some(errorpb::FlashbackNotPrepared { region_id }),
        ..Default::default()
    })
}

pub(crate) fn flashback_in_progress(region_id: u64, flashback_start_ts: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!(
            "region {region_id} is in the flashback progress with start_ts {flashback_start_ts}"
        ),
        flashback_in_progress: Some(errorpb::FlashbackInProgress { region_id, flashback_start_ts }),
        ..Default::default()
    })
}

/// The leader does not know yet how high timestamps have come.
pub(crate) fn max_timestamp_not_synced(region_id: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("max timestamp of region {region_id} is not synced"),
        max_timestamp_not_synced: Some(errorpb::MaxTimestampNotSynced {}),
        ..Default::default()
    })
}

/// A write that is longer than an entry of the log may be.
pub(crate) fn raft_entry_too_large(region_id: u64, entry_size: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("raft entry is too large, region {region_id}, entry size {entry_size}"),
        raft_entry_too_large: Some(errorpb::RaftEntryTooLarge { region_id, entry_size }),
        ..Default::default()
    })
}

/// A write for which there is no room on the disk of `store`.
pub(crate) fn disk_full(store: u64, reason: String) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("store ids [{store}], errmsg {reason}"),
        disk_full: Some(errorpb::DiskFull { store_id: vec![store], reason }),
        ..Default::default()
    })
}

/// A request that was cut by buckets which have changed.
// TiKV: src/storage/errors.rs, of raftstore::Error::BucketVersionNotMatch
pub(crate) fn bucket_version_not_match(version: u64, keys: Vec<Bytes>) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("bucket version is {version} now"),
        bucket_version_not_match: Some(errorpb::BucketVersionNotMatch { version, keys }),
        ..Default::default()
    })
}

pub(crate) fn stale_command() -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: "stale command".to_owned(),
        stale_command: Some(errorpb::StaleCommand {}),
        ..Default::default()
    })
}

/// A follower whose safe timestamp lies below what a stale read asks for.
pub(crate) fn data_is_not_ready(region_id: u64, peer_id: u64, safe_ts: u64) -> Box<errorpb::Error> {
    Box::new(errorpb::Error {
        message: format!("peer {peer_id} is not ready, safe_ts {safe_ts}, region {region_id}"),
        data_is_not_ready: Some(errorpb::DataIsNotReady { region_id, peer_id, safe_ts }),
        ..Default::default()
    })
}

pub(crate) fn key_not_in_region(key: &Bytes, region: &Region) -> Box<errorpb::Error> {
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
