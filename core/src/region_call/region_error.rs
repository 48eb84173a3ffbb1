//! A store's region error as one enum: the wire has a field for each kind, of which one is set.

use std::sync::Arc;

use tikv_proto::{errorpb, metapb};

use crate::codec::Mode;
use crate::error::words::INVALID_MAX_TS;
use crate::types::{Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, StoreId};

/// What a store has against a request, one variant a row of the table in `classify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RegionError {
    /// The store does not know whether the write happened.
    UndeterminedResult,
    /// Another peer leads; who, if the store knows.
    NotLeader(Option<(PeerId, StoreId)>),
    /// The disk of a store is full.
    DiskFull,
    /// The region is being recovered by force.
    RecoveryInProgress,
    /// The peer has no data.
    IsWitness,
    /// The region is being set back to an earlier time.
    FlashbackInProgress,
    /// A flashback was asked for that was not prepared.
    FlashbackNotPrepared,
    /// The store does not have the region.
    RegionNotFound,
    /// The key is outside of the region.
    KeyNotInRegion,
    /// The region has another version; the regions that stand there now, if the store tells.
    EpochNotMatch(Vec<RegionInfo>),
    /// The region's buckets have another version.
    BucketVersionNotMatch,
    /// The store has too much to do.
    ServerIsBusy,
    /// The request's term is over.
    StaleCommand,
    /// The address is another store's.
    StoreNotMatch,
    /// The write is larger than a raft entry may be.
    RaftEntryTooLarge,
    /// The new leader does not have a timestamp of PD yet.
    MaxTimestampNotSynced,
    /// The peer was just made.
    RegionNotInitialized,
    /// The follower cannot ask the leader.
    ReadIndexNotReady,
    /// The region is about to merge.
    ProposalInMergingMode,
    /// The follower's data is older than the read.
    DataIsNotReady,
    /// The peer has another id.
    MismatchPeerId,
    /// The read's timestamp lies too far ahead of PD.
    InvalidMaxTsUpdate,
    /// Anything else, such as a server that closes.
    Other,
}

/// The order is client-go's: a store that sets two fields is understood the same.
///
/// client-go: `internal/locate/region_request.go: onRegionError`.
pub(super) fn read(error: &errorpb::Error, mode: Mode) -> RegionError {
    let flags = [
        (error.disk_full.is_some(), RegionError::DiskFull),
        (error.recovery_in_progress.is_some(), RegionError::RecoveryInProgress),
        (error.is_witness.is_some(), RegionError::IsWitness),
        (error.flashback_in_progress.is_some(), RegionError::FlashbackInProgress),
        (error.flashback_not_prepared.is_some(), RegionError::FlashbackNotPrepared),
        (error.region_not_found.is_some(), RegionError::RegionNotFound),
        (error.key_not_in_region.is_some(), RegionError::KeyNotInRegion),
    ];
    let later = [
        (error.bucket_version_not_match.is_some(), RegionError::BucketVersionNotMatch),
        (error.server_is_busy.is_some(), RegionError::ServerIsBusy),
        (error.stale_command.is_some(), RegionError::StaleCommand),
        (error.store_not_match.is_some(), RegionError::StoreNotMatch),
        (error.raft_entry_too_large.is_some(), RegionError::RaftEntryTooLarge),
        (error.max_timestamp_not_synced.is_some(), RegionError::MaxTimestampNotSynced),
        (error.region_not_initialized.is_some(), RegionError::RegionNotInitialized),
        (error.read_index_not_ready.is_some(), RegionError::ReadIndexNotReady),
        (error.proposal_in_merging_mode.is_some(), RegionError::ProposalInMergingMode),
        (error.data_is_not_ready.is_some(), RegionError::DataIsNotReady),
        (error.mismatch_peer_id.is_some(), RegionError::MismatchPeerId),
        (error.message.contains(INVALID_MAX_TS), RegionError::InvalidMaxTsUpdate),
    ];
    let first = |rows: &[(bool, RegionError)]| rows.iter().find(|row| row.0).map(|row| row.1.clone());
    if error.undetermined_result.is_some() {
        return RegionError::UndeterminedResult;
    }
    if let Some(not_leader) = &error.not_leader {
        let hint = not_leader.leader.as_ref().filter(|peer| peer.id != 0 && peer.store_id != 0);
        return RegionError::NotLeader(hint.map(|peer| (PeerId(peer.id), StoreId(peer.store_id))));
    }
    if let Some(error) = first(&flags) {
        return error;
    }
    if let Some(epoch) = &error.epoch_not_match {
        return RegionError::EpochNotMatch(
            epoch.current_regions.iter().filter_map(|region| info(region, mode)).collect(),
        );
    }
    first(&later).unwrap_or(RegionError::Other)
}

/// A region as the client keeps it; `None` for one without version, or between whose bounds no key of this key space lies.
pub(crate) fn info(region: &metapb::Region, mode: Mode) -> Option<RegionInfo> {
    let epoch = region.region_epoch.as_ref()?;
    let range = mode.ceil_range(&region.start_key, &region.end_key)?;
    Some(RegionInfo {
        version: RegionVersion { id: RegionId(region.id), version: epoch.version, conf_ver: epoch.conf_ver },
        range,
        peers: region.peers.iter().map(peer).collect(),
        leader: None,
    })
}

fn peer(peer: &metapb::Peer) -> Peer {
    let role = match peer.role() {
        _ if peer.is_witness => PeerRole::Witness,
        metapb::PeerRole::Learner => PeerRole::Learner,
        metapb::PeerRole::Voter | metapb::PeerRole::IncomingVoter | metapb::PeerRole::DemotingVoter => {
            PeerRole::Voter
        }
    };
    Peer { id: PeerId(peer.id), store: StoreId(peer.store_id), role }
}

/// The error's kind as a label of metrics, in client-go's words and its order.
///
/// client-go: `internal/locate/region_request.go: regionErrorToLabel`.
#[must_use]
pub(crate) fn name(error: &errorpb::Error) -> &'static str {
    const LATE: &str = "eadline is exceeded";
    let busy = error.server_is_busy.as_ref();
    let rows = [
        (error.not_leader.is_some(), "not_leader"),
        (error.region_not_found.is_some(), "region_not_found"),
        (error.key_not_in_region.is_some(), "key_not_in_region"),
        (error.epoch_not_match.is_some(), "epoch_not_match"),
        (busy.is_some_and(|busy| busy.reason.contains(LATE)), "deadline_exceeded"),
        (busy.is_some(), "server_is_busy"),
        (error.stale_command.is_some(), "stale_command"),
        (error.store_not_match.is_some(), "store_not_match"),
        (error.raft_entry_too_large.is_some(), "raft_entry_too_large"),
        (error.max_timestamp_not_synced.is_some(), "max_timestamp_not_synced"),
        (error.read_index_not_ready.is_some(), "read_index_not_ready"),
        (error.proposal_in_merging_mode.is_some(), "proposal_in_merging_mode"),
        (error.data_is_not_ready.is_some(), "data_is_not_ready"),
        (error.region_not_initialized.is_some(), "region_not_initialized"),
        (error.disk_full.is_some(), "disk_full"),
        (error.recovery_in_progress.is_some(), "recovery_in_progress"),
        (error.flashback_in_progress.is_some(), "flashback_in_progress"),
        (error.flashback_not_prepared.is_some(), "flashback_not_prepared"),
        (error.is_witness.is_some(), "peer_is_witness"),
        (error.message.contains(LATE), "deadline_exceeded"),
        (error.mismatch_peer_id.is_some(), "mismatch_peer_id"),
        (error.bucket_version_not_match.is_some(), "bucket_version_not_match"),
        (error.message.contains("invalid max_ts update"), "invalid_max_ts_update"),
        (error.undetermined_result.is_some(), "undetermined_result"),
    ];
    rows.iter().find(|row| row.0).map_or("unknown", |row| row.1)
}

/// The error's text for people: the store's message, or the name of the variant when it has none.
pub(super) fn text(error: &errorpb::Error, kind: &RegionError) -> Arc<str> {
    if error.message.is_empty() {
        let name = format!("{kind:?}");
        let end = name.find(['(', '{', ' ']).unwrap_or(name.len());
        return name[..end].into();
    }
    error.message.as_str().into()
}
