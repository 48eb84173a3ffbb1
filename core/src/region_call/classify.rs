//! What an answer that is none leads to: the whole table of region errors and transport faults, as pure functions.
//!
//! client-go: `internal/locate/region_request.go: onRegionError, onSendFail`.

use std::sync::Arc;

use tikv_proto::errorpb;

use super::region_error::{RegionError, read, text};
use crate::backoff::Kind;
use crate::codec::Mode;
use crate::error::words::WRONG_CLUSTER;
use crate::machine::{Feedback, StaleReason, TransportClass, TransportFault};
use crate::region::lags;
use crate::types::{Located, Peer, PeerId, PeerRole, RegionInfo, RegionVersion, StoreId};

/// What is known of the attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the inputs of a pure function")]
pub struct Situation {
    /// Where it went.
    pub to: Located,
    /// The form of keys in region errors.
    pub mode: Mode,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the call carries out every reaction")]
pub enum Reaction {
    /// Look for the region again and send, at once. Bounded by the call: see `AT_ONCE` there.
    Again,
    /// Pause first.
    BackOff(Kind),
    /// No retry can help.
    Fail,
    /// The store says that nobody knows whether the write happened.
    Undetermined,
}

/// What an answer that is none leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the output of a pure function")]
pub struct Verdict {
    /// What everyone should know.
    pub reports: Vec<Feedback>,
    /// What to do next.
    pub reaction: Reaction,
    /// What was wrong, for people.
    pub reason: Arc<str>,
}

/// What a region error leads to. One row a variant:
///
/// | error | told to all | then |
/// |---|---|---|
/// | UndeterminedResult | – | undetermined |
/// | NotLeader with hint | who leads | at once |
/// | NotLeader without | stale (no leader) | pause `regionScheduling` |
/// | DiskFull | – | pause `tikvDiskFull` |
/// | RecoveryInProgress | stale | pause `regionRecoveryInProgress` |
/// | IsWitness | stale | pause `isWitness` |
/// | FlashbackInProgress, FlashbackNotPrepared | – | fail |
/// | RegionNotFound | stale | pause `regionMiss` |
/// | KeyNotInRegion | stale | pause `regionMiss` |
/// | EpochNotMatch with newer regions | the regions | at once |
/// | EpochNotMatch, the store knows less than we | – | pause `regionMiss` |
/// | EpochNotMatch without regions | stale | pause `regionMiss` |
/// | BucketVersionNotMatch | stale | pause `regionMiss` |
/// | ServerIsBusy | – | pause `tikvServerBusy` |
/// | StaleCommand | – | at once |
/// | StoreNotMatch | stale, unreachable (its address is looked up) | pause `regionMiss` |
/// | RaftEntryTooLarge | – | fail |
/// | MaxTimestampNotSynced | – | pause `maxTsNotSynced` |
/// | RegionNotInitialized | – | pause `regionNotInitialized` |
/// | ReadIndexNotReady, ProposalInMergingMode, DataIsNotReady | – | pause `regionScheduling` |
/// | MismatchPeerId | stale | pause `regionMiss` |
/// | invalid max_ts update | – | fail |
/// | anything else | unreachable (another peer is tried) | pause `regionMiss` |
///
/// client-go returns some of these to its callers, which pause `regionMiss` and locate again; here that is one step. It retries
/// "anything else" without a pause; a store that closes answers thousands of those a second.
///
/// What a read that may go to any replica changes of it is in [`classify_read`](super::classify_read::classify_read).
///
/// client-go: `internal/locate/region_request.go: onRegionError`, `config/retry/backoff.go: MayBackoffForRegionError`.
#[must_use]
pub fn classify(error: &errorpb::Error, situation: &Situation) -> Verdict {
    let kind = read(error, situation.mode);
    let reason = text(error, &kind);
    let (reports, reaction) = decide(kind, error, situation, true);
    Verdict { reports, reaction, reason }
}

/// One row of the table. `by_leader`: the attempt went to the peer that is believed to lead.
pub(super) fn decide(
    kind: RegionError,
    error: &errorpb::Error,
    situation: &Situation,
    by_leader: bool,
) -> (Vec<Feedback>, Reaction) {
    let region = situation.to.region;
    match kind {
        RegionError::UndeterminedResult => (vec![], Reaction::Undetermined),
        RegionError::NotLeader(hint) => not_leader(region, hint),
        RegionError::DiskFull => (vec![], Reaction::BackOff(Kind::TikvDiskFull)),
        RegionError::RecoveryInProgress => {
            (stale(region, StaleReason::Other), Reaction::BackOff(Kind::RegionRecoveryInProgress))
        }
        RegionError::IsWitness => (stale(region, StaleReason::Other), Reaction::BackOff(Kind::IsWitness)),
        RegionError::FlashbackInProgress | RegionError::FlashbackNotPrepared => (vec![], Reaction::Fail),
        RegionError::RegionNotFound => {
            (stale(region, StaleReason::RegionNotFound), Reaction::BackOff(Kind::RegionMiss))
        }
        RegionError::KeyNotInRegion | RegionError::BucketVersionNotMatch | RegionError::MismatchPeerId => {
            (stale(region, StaleReason::Other), Reaction::BackOff(Kind::RegionMiss))
        }
        RegionError::EpochNotMatch(regions) => epoch_not_match(&situation.to, regions, by_leader),
        RegionError::ServerIsBusy => (vec![], Reaction::BackOff(Kind::TikvServerBusy)),
        RegionError::StaleCommand => (vec![], Reaction::Again),
        RegionError::StoreNotMatch => {
            let mut reports = stale(region, StaleReason::StoreNotMatch);
            reports.push(Feedback::Unreachable { store: situation.to.store, region });
            (reports, Reaction::BackOff(Kind::RegionMiss))
        }
        RegionError::RaftEntryTooLarge | RegionError::InvalidMaxTsUpdate => (vec![], Reaction::Fail),
        RegionError::MaxTimestampNotSynced => (vec![], Reaction::BackOff(Kind::MaxTsNotSynced)),
        RegionError::RegionNotInitialized => (vec![], Reaction::BackOff(Kind::RegionNotInitialized)),
        RegionError::ReadIndexNotReady | RegionError::ProposalInMergingMode | RegionError::DataIsNotReady => {
            (vec![], Reaction::BackOff(Kind::RegionScheduling))
        }
        RegionError::Other if error.message.contains(WRONG_CLUSTER) => (vec![], Reaction::Fail),
        RegionError::Other => {
            let passed = Feedback::Unreachable { store: situation.to.store, region };
            (vec![passed], Reaction::BackOff(Kind::RegionMiss))
        }
    }
}

fn stale(region: RegionVersion, why: StaleReason) -> Vec<Feedback> {
    vec![Feedback::Stale { region, why }]
}

fn not_leader(region: RegionVersion, hint: Option<(PeerId, StoreId)>) -> (Vec<Feedback>, Reaction) {
    match hint {
        Some((peer, store)) => (vec![Feedback::LeaderIs { region, peer, store }], Reaction::Again),
        None => (stale(region, StaleReason::NoLeader), Reaction::BackOff(Kind::RegionScheduling)),
    }
}

/// What the leader's store says of the regions it leads as a rule: its peers are taken for their leaders, unless they
/// cannot vote (TiFlash). client-go: `internal/locate/region_cache.go: OnRegionEpochNotMatch`.
fn epoch_not_match(to: &Located, mut regions: Vec<RegionInfo>, by_leader: bool) -> (Vec<Feedback>, Reaction) {
    let old = to.region;
    if regions.is_empty() {
        return (stale(old, StaleReason::EpochNotMatch), Reaction::BackOff(Kind::RegionMiss));
    }
    if lags(old, &regions) {
        return (vec![], Reaction::BackOff(Kind::RegionMiss));
    }
    for info in regions.iter_mut().filter(|_| by_leader) {
        let there = |peer: &&Peer| peer.store == to.store && peer.role == PeerRole::Voter;
        info.leader = info.peers.iter().find(there).map(|peer| peer.id);
    }
    (vec![Feedback::Regions { old, new: regions.into() }], Reaction::Again)
}

/// gRPC status codes that no retry can change: the request itself is refused.
mod code {
    pub(super) const INVALID_ARGUMENT: u8 = 3;
    pub(super) const PERMISSION_DENIED: u8 = 7;
    pub(super) const UNIMPLEMENTED: u8 = 12;
    pub(super) const UNAUTHENTICATED: u8 = 16;
}

/// What a request without answer leads to: another peer is tried after a pause `tikvRPC`, the store's address is looked up; a
/// status that refuses the request itself ends it.
///
/// client-go: `internal/locate/region_request.go: onSendFail`.
#[must_use]
pub fn classify_transport(fault: &TransportFault, situation: &Situation) -> Verdict {
    let reason: Arc<str> = fault.to_string().into();
    if is_refused(fault) {
        return Verdict { reports: vec![], reaction: Reaction::Fail, reason };
    }
    let Located { store, region, .. } = situation.to;
    let reports = vec![Feedback::Unreachable { store, region }];
    Verdict { reports, reaction: Reaction::BackOff(Kind::TikvRpc), reason }
}

pub(super) fn is_refused(fault: &TransportFault) -> bool {
    let refused = matches!(
        fault.class,
        TransportClass::Rejected(
            code::INVALID_ARGUMENT | code::PERMISSION_DENIED | code::UNIMPLEMENTED | code::UNAUTHENTICATED
        )
    );
    refused || fault.detail.contains(WRONG_CLUSTER)
}
