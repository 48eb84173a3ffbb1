//! Region errors to order: named here, filled in from the region that the refused call names.

use bytes::Bytes;
use tikv_proto::errorpb;

use crate::model::pd::wire_region;
use crate::model::region::{Peer, Region, Topology};
use crate::model::region_error as told;

/// A region error that an action answers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// Another peer leads: the one on `leader`, or one that is not known.
    NotLeader {
        /// The store of the leader that is named.
        leader: Option<u64>,
    },
    /// The region has changed; the answer tells the region as it is now, and `siblings` regions left of it.
    EpochNotMatch {
        /// How many left neighbours are told, too.
        siblings: u64,
    },
    /// The region has changed, and the answer does not tell how.
    EpochNotMatchUnknown,
    /// The store does not have the region.
    RegionNotFound,
    /// The key is none of the region; no key is named.
    KeyNotInRegion,
    /// The store has too much to do.
    ServerIsBusy {
        /// Why: clients treat some words in a way of their own.
        reason: String,
        /// How long a request would wait; 0: not told.
        estimated_wait_ms: u32,
    },
    /// The leader has just changed.
    StaleCommand,
    /// The request was meant for another store.
    StoreNotMatch,
    /// The peer has been replaced by another one.
    MismatchPeerId,
    /// The write is too long for the region's log.
    RaftEntryTooLarge {
        /// How long, in bytes.
        entry_size: u64,
    },
    /// The leader does not know yet how high timestamps have come.
    MaxTimestampNotSynced,
    /// A follower cannot read yet.
    ReadIndexNotReady,
    /// A stale read is ahead of what the follower has resolved.
    DataIsNotReady {
        /// The follower's safe timestamp.
        safe_ts: u64,
    },
    /// The region is being merged.
    ProposalInMergingMode,
    /// The replica has no data yet.
    RegionNotInitialized,
    /// The replica keeps no data.
    IsWitness,
    /// The disk is full.
    DiskFull,
    /// The region is being recovered without its majority.
    RecoveryInProgress,
    /// The region is being taken back to an older version.
    FlashbackInProgress {
        /// When that began.
        start_ts: u64,
    },
    /// A flashback was not announced.
    FlashbackNotPrepared,
    /// The buckets of the region have changed; the answer has one, the whole region.
    BucketVersionNotMatch {
        /// The version that they have now.
        version: u64,
    },
    /// The request was executed, or not: the store cannot tell.
    UndeterminedResult,
    /// An error without a variant, only these words: `TiKV is Closing`, `Deadline is exceeded`.
    Message(String),
    /// Exactly this error.
    Exactly(Box<errorpb::Error>),
}

impl Refusal {
    /// A busy store that does not say for how long.
    #[must_use]
    pub fn busy() -> Self {
        Self::ServerIsBusy { reason: "scheduler is busy".to_owned(), estimated_wait_ms: 0 }
    }

    /// The error, for a call to `store` that names region `region_id`.
    #[must_use]
    pub fn error(&self, topology: &Topology, store: u64, region_id: u64) -> errorpb::Error {
        let ordered =
            || errorpb::Error { message: "ordered by a fault rule".to_owned(), ..Default::default() };
        let region = topology.region(region_id);
        let peer_id = region.and_then(|region| region.peer_on(store)).map_or(0, |peer| peer.id);
        let error = match self {
            Self::NotLeader { leader } => {
                let named = |peer: &Peer| Some(peer.store) == *leader;
                let peer = region.and_then(|region| region.peers.iter().copied().find(named));
                told::not_leader_but(region_id, peer)
            }
            Self::EpochNotMatch { siblings } => {
                let regions =
                    region.map(|region| topology.epoch_siblings(region, *siblings).map(wire_region));
                let current_regions = regions.map(Iterator::collect).unwrap_or_default();
                let epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
                Box::new(errorpb::Error { epoch_not_match, ..ordered() })
            }
            Self::EpochNotMatchUnknown => {
                let epoch_not_match = Some(errorpb::EpochNotMatch::default());
                Box::new(errorpb::Error { epoch_not_match, ..ordered() })
            }
            Self::RegionNotFound => told::region_not_found(region_id),
            Self::KeyNotInRegion => match region {
                Some(region) => told::key_not_in_region(&Bytes::new(), region),
                None => told::region_not_found(region_id),
            },
            Self::ServerIsBusy { reason, estimated_wait_ms } => {
                let (reason, estimated_wait_ms) = (reason.clone(), *estimated_wait_ms);
                let busy = errorpb::ServerIsBusy { reason, estimated_wait_ms, ..Default::default() };
                Box::new(errorpb::Error { server_is_busy: Some(busy), ..ordered() })
            }
            Self::StaleCommand => told::stale_command(),
            Self::StoreNotMatch => told::store_not_match(store, 0),
            Self::MismatchPeerId => told::mismatch_peer_id(peer_id, peer_id + 1),
            Self::RaftEntryTooLarge { entry_size } => told::raft_entry_too_large(region_id, *entry_size),
            Self::MaxTimestampNotSynced => told::max_timestamp_not_synced(region_id),
            Self::ReadIndexNotReady => {
                let reason = "can not read index due to merge".to_owned();
                let not_ready = errorpb::ReadIndexNotReady { reason, region_id };
                Box::new(errorpb::Error { read_index_not_ready: Some(not_ready), ..ordered() })
            }
            Self::DataIsNotReady { safe_ts } => told::data_is_not_ready(region_id, peer_id, *safe_ts),
            Self::ProposalInMergingMode => {
                let merging = errorpb::ProposalInMergingMode { region_id };
                Box::new(errorpb::Error { proposal_in_merging_mode: Some(merging), ..ordered() })
            }
            Self::RegionNotInitialized => told::region_not_initialized(region_id),
            Self::IsWitness => told::is_witness(region_id),
            Self::DiskFull => told::disk_full(store, "disk full".to_owned()),
            Self::RecoveryInProgress => told::recovery_in_progress(region_id),
            Self::FlashbackInProgress { start_ts } => told::flashback_in_progress(region_id, *start_ts),
            Self::FlashbackNotPrepared => told::flashback_not_prepared(region_id),
            Self::BucketVersionNotMatch { version } => {
                let bounds = |region: &Region| vec![region.start.clone(), region.end.clone()];
                told::bucket_version_not_match(*version, region.map(bounds).unwrap_or_default())
            }
            Self::UndeterminedResult => {
                let undetermined = Some(errorpb::UndeterminedResult::default());
                Box::new(errorpb::Error { undetermined_result: undetermined, ..ordered() })
            }
            Self::Message(words) => told::bare(words.clone()),
            Self::Exactly(exact) => exact.clone(),
        };
        *error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_the_region_as_it_is() {
        let stores: Vec<String> = (1..=3).map(|n| format!("127.0.0.1:{n}")).collect();
        let mut topology = Topology::new(&stores, 3);
        topology.split(4, &["m".into()]).expect("inside");

        let hinted = Refusal::NotLeader { leader: Some(2) }.error(&topology, 1, 4).not_leader;
        let hinted = hinted.expect("the variant asked for");
        assert_eq!((hinted.region_id, hinted.leader.map(|peer| peer.store_id)), (4, Some(2)));
        let unknown = Refusal::NotLeader { leader: None }.error(&topology, 1, 4).not_leader;
        assert_eq!(unknown.expect("the variant asked for").leader, None);

        let told = Refusal::EpochNotMatch { siblings: 1 }.error(&topology, 1, 4).epoch_not_match;
        let starts: Vec<_> =
            told.expect("the variant asked for").current_regions.into_iter().map(|r| r.start_key).collect();
        assert_eq!(starts, ["m", ""]);
        let told = Refusal::EpochNotMatchUnknown.error(&topology, 1, 4).epoch_not_match;
        assert_eq!(told.expect("the variant asked for").current_regions, []);
    }
}
