//! Region errors to order: named here, filled in from the region that the refused call names.

use tikv_proto::errorpb;

use crate::model::pd::{wire_peer, wire_region};
use crate::model::region::{Region, Topology};

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
    /// The disk is full.
    DiskFull,
    /// The request was executed, or not: the store cannot tell.
    UndeterminedResult,
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
        let mut error =
            errorpb::Error { message: "ordered by a fault rule".to_owned(), ..Default::default() };
        let region = topology.region(region_id);
        match self {
            Self::NotLeader { leader } => error.not_leader = Some(not_leader(region, region_id, *leader)),
            Self::EpochNotMatch { siblings } => {
                let told = region.map(|region| topology.epoch_siblings(region, *siblings).map(wire_region));
                let current_regions = told.map(Iterator::collect).unwrap_or_default();
                error.epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
            }
            Self::EpochNotMatchUnknown => error.epoch_not_match = Some(errorpb::EpochNotMatch::default()),
            Self::RegionNotFound => {
                error.message = format!("region {region_id} is missing");
                error.region_not_found = Some(errorpb::RegionNotFound { region_id });
            }
            Self::ServerIsBusy { reason, estimated_wait_ms } => {
                error.server_is_busy = Some(errorpb::ServerIsBusy {
                    reason: reason.clone(),
                    estimated_wait_ms: *estimated_wait_ms,
                    ..Default::default()
                });
            }
            Self::StaleCommand => error.stale_command = Some(errorpb::StaleCommand::default()),
            Self::StoreNotMatch => {
                let other = errorpb::StoreNotMatch { request_store_id: store, actual_store_id: 0 };
                error.store_not_match = Some(other);
            }
            Self::MaxTimestampNotSynced => {
                error.max_timestamp_not_synced = Some(errorpb::MaxTimestampNotSynced::default());
            }
            Self::ReadIndexNotReady => {
                let reason = "can not read index due to merge".to_owned();
                error.read_index_not_ready = Some(errorpb::ReadIndexNotReady { reason, region_id });
            }
            Self::DataIsNotReady { safe_ts } => {
                let peer_id = region.and_then(|region| region.peer_on(store)).map_or(0, |peer| peer.id);
                let safe_ts = *safe_ts;
                error.data_is_not_ready = Some(errorpb::DataIsNotReady { region_id, peer_id, safe_ts });
            }
            Self::ProposalInMergingMode => {
                error.proposal_in_merging_mode = Some(errorpb::ProposalInMergingMode { region_id });
            }
            Self::DiskFull => {
                let reason = "disk full".to_owned();
                error.disk_full = Some(errorpb::DiskFull { store_id: vec![store], reason });
            }
            Self::UndeterminedResult => {
                error.undetermined_result = Some(errorpb::UndeterminedResult::default());
            }
            Self::Exactly(exact) => error = errorpb::Error::clone(exact),
        }
        error
    }
}

fn not_leader(region: Option<&Region>, region_id: u64, leader: Option<u64>) -> errorpb::NotLeader {
    let peer = leader.and_then(|store| region?.peer_on(store));
    errorpb::NotLeader { region_id, leader: peer.as_ref().map(wire_peer) }
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
