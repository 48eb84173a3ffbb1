//! From the records of a trace to what the kernel takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Unreadable;
use super::format as f;
use crate::backoff::{Allowance, Budget, Tuning};
use crate::error::ServiceError;
use crate::machine::{Answer, Completion, Fault, Interrupt, TransportClass, TransportFault};
use crate::pd::{BucketsInfo, OrderInfo, PdReply};
use crate::replica::{ReadProfile, Replica};
use crate::types::{
    ClusterId, Engine, Instant, Key, KeyRange, Labels, Liveness, Located, Peer, PeerId, PeerRole, Presence,
    RegionId, RegionVersion, Replicas, StoreId, StoreView, Timestamp,
};

pub(super) fn keys(all: &[Bytes]) -> Vec<Key> {
    all.iter().cloned().map(Key).collect()
}

/// An unset range is that of all keys, as an unset message is in every protobuf.
pub(super) fn key_range(range: Option<&f::Range>) -> KeyRange {
    range.map_or(KeyRange::ALL, |range| KeyRange {
        start: range.start.clone().into(),
        end: range.end.clone().into(),
    })
}

pub(super) fn count(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

pub(super) fn region(region: Option<f::Region>) -> RegionVersion {
    let f::Region { id, version, conf_ver } = region.unwrap_or_default();
    RegionVersion { id: RegionId(id), version, conf_ver }
}

pub(super) fn located(to: f::Located) -> Located {
    Located { region: region(to.region), peer: PeerId(to.peer), store: StoreId(to.store) }
}

pub(super) fn replicas(region: RegionVersion, known: &f::KnownReplicas) -> Replicas {
    let peer = |peer: &f::Peer| Peer {
        id: PeerId(peer.id),
        store: StoreId(peer.store),
        role: match peer.role {
            0 => PeerRole::Voter,
            2 => PeerRole::Witness,
            _ => PeerRole::Learner,
        },
    };
    Replicas { region, leader: PeerId(known.leader), peers: known.peers.iter().map(peer).collect() }
}

/// A number that is not known is read as the first: the machine then wants something else, and the difference is told.
pub(super) fn store_view(view: f::StoreView) -> StoreView {
    StoreView {
        presence: match view.presence {
            1 => Presence::Serving,
            2 => Presence::Removed,
            _ => Presence::Unknown,
        },
        engine: match view.engine {
            1 => Engine::TiFlash,
            2 => Engine::TiFlashCompute,
            _ => Engine::TiKv,
        },
        liveness: match view.liveness {
            1 => Liveness::Unreachable,
            2 => Liveness::Unknown,
            _ => Liveness::Reachable,
        },
        slow: view.slow,
        busy: Duration::from_nanos(view.busy_ns),
        safe_ts: Timestamp(view.safe_ts),
    }
}

pub(super) fn labels(labels: &[f::Label]) -> Labels {
    Labels::new(labels.iter().map(|label| (label.key.as_str(), label.value.as_str())))
}

/// A replica that is not known is read as the leader: the machine then wants something else, and the difference is told.
pub(super) fn reading(reading: &f::Reading) -> ReadProfile {
    let mut profile = ReadProfile::new().replica(match reading.replica {
        1 => Replica::Follower,
        2 => Replica::Mixed,
        3 => Replica::Learner,
        4 => Replica::PreferLeader,
        5 => Replica::Closest,
        _ => Replica::Leader,
    });
    profile.labels = labels(&reading.labels);
    profile.stores = reading.stores.iter().copied().map(StoreId).collect();
    (profile.stale, profile.leader_only) = (reading.stale, reading.leader_only);
    profile.busy_threshold = Duration::from_nanos(reading.busy_threshold_ns);
    profile.attempt = reading.attempt_ns.map(Duration::from_nanos);
    profile
}

pub(super) fn budget(budget: Option<&f::Budget>) -> Result<Budget, Unreadable> {
    let Some(budget) = budget else { return Err(Unreadable("an operation without a budget")) };
    let allowance = match f::AllowanceKind::try_from(budget.kind) {
        Ok(f::AllowanceKind::Nothing) => Allowance::Nothing,
        Ok(f::AllowanceKind::Weighted) => Allowance::Weighted(budget.ms),
        Ok(f::AllowanceKind::Plain) => Allowance::Plain(budget.ms),
        Ok(f::AllowanceKind::Unlimited) => Allowance::Unlimited,
        Err(_) => return Err(Unreadable("a budget of a kind that is not known")),
    };
    Ok(Budget::new(allowance, Tuning { weight: budget.weight, lock_fast_ms: budget.lock_fast_ms }))
}

/// The completion that a message tells of.
///
/// # Errors
/// It is of a kind that no operation of this version waits for.
pub(super) fn completion(completion: &f::Completion) -> Result<Completion, Unreadable> {
    Ok(match completion {
        f::Completion::Response(body) => Completion::Response(body.clone()),
        f::Completion::Fired(at) => Completion::TimerFired(Instant(*at)),
        f::Completion::Timestamp(ts) => Completion::Answer(Answer::Timestamp(Timestamp(*ts))),
        f::Completion::Region(to) => Completion::Answer(Answer::Region(located(*to))),
        f::Completion::Regions(regions) => {
            let spanned = |region: &f::Spanned| {
                (located(region.to.unwrap_or_default()), key_range(region.range.as_ref()))
            };
            Completion::Answer(Answer::Regions(regions.regions.iter().map(spanned).collect()))
        }
        f::Completion::Pd(told) => Completion::Answer(Answer::Pd(pd_reply(told)?)),
        f::Completion::Fault(what) => Completion::Fault(fault(what)?),
        f::Completion::Withheld(_) => return Err(Unreadable("a response that was not recorded")),
        f::Completion::Other(_) => return Err(Unreadable("an answer of a kind that is not known")),
    })
}

fn pd_reply(told: &f::PdTold) -> Result<PdReply, Unreadable> {
    let regions = || told.regions.iter().copied().map(RegionId).collect();
    Ok(match f::PdKind::try_from(told.kind) {
        Ok(f::PdKind::Scatter) => PdReply::Scattered { percent: told.percent, failed: regions() },
        Ok(f::PdKind::Order) => PdReply::Order(
            told.found.then(|| OrderInfo { description: told.description.clone(), running: told.running }),
        ),
        Ok(f::PdKind::Buckets) => PdReply::Buckets(told.found.then(|| BucketsInfo {
            region: region(told.region),
            version: told.version,
            keys: told.keys.clone(),
        })),
        Ok(f::PdKind::Unknown) | Err(_) => return Err(Unreadable("an answer of PD that is not known")),
    })
}

pub(super) fn interrupt(why: i32) -> Result<Interrupt, Unreadable> {
    match f::Interrupt::try_from(why) {
        Ok(f::Interrupt::Deadline) => Ok(Interrupt::Deadline),
        Ok(f::Interrupt::Killed) => Ok(Interrupt::Killed),
        Ok(f::Interrupt::Closed) => Ok(Interrupt::Closed),
        Ok(f::Interrupt::Unknown) | Err(_) => Err(Unreadable("an interrupt of a kind that is not known")),
    }
}

fn transport(fault: &f::Transport) -> Result<TransportFault, Unreadable> {
    let class = match f::TransportClass::try_from(fault.class) {
        Ok(f::TransportClass::Unreachable) => TransportClass::Unreachable,
        Ok(f::TransportClass::Lost) => TransportClass::Lost,
        Ok(f::TransportClass::TimedOut) => TransportClass::TimedOut,
        Ok(f::TransportClass::Rejected) => match u8::try_from(fault.code) {
            Ok(code) => TransportClass::Rejected(code),
            Err(_) => return Err(Unreadable("a status code that is none")),
        },
        Ok(f::TransportClass::Unknown) | Err(_) => {
            return Err(Unreadable("a transport fault of a kind that is not known"));
        }
    };
    Ok(TransportFault::new(class, fault.detail.as_str()))
}

fn fault(fault: &f::Fault) -> Result<Fault, Unreadable> {
    Ok(match &fault.fault {
        Some(f::FaultKind::Transport(fault)) => Fault::Transport(transport(fault)?),
        Some(f::FaultKind::Late(fault)) => Fault::Late(transport(fault)?),
        Some(f::FaultKind::Interrupted(why)) => Fault::Interrupted(interrupt(*why)?),
        Some(f::FaultKind::Overloaded(_)) => Fault::Overloaded,
        Some(f::FaultKind::Refused(error)) => Fault::Refused(service_error(error)?),
        None => return Err(Unreadable("a fault of a kind that is not known")),
    })
}

fn service_error(error: &f::ServiceError) -> Result<ServiceError, Unreadable> {
    let address: Arc<str> = error.address.as_str().into();
    let text: Arc<str> = error.text.as_str().into();
    Ok(match f::Service::try_from(error.kind) {
        Ok(f::Service::BadAddress) => ServiceError::BadAddress { address, reason: text },
        Ok(f::Service::NoAddress) => ServiceError::NoAddress,
        Ok(f::Service::PdUnreachable) => ServiceError::PdUnreachable { addresses: address, last: text },
        Ok(f::Service::ClusterMismatch) => {
            let (wanted, found) = (ClusterId(error.id), ClusterId(error.found));
            ServiceError::ClusterMismatch { address, wanted, found }
        }
        Ok(f::Service::Pd) => ServiceError::Pd { address, message: text },
        Ok(f::Service::NoRegion) => ServiceError::NoRegion { place: text },
        Ok(f::Service::NoPeer) => ServiceError::NoPeer { region: RegionId(error.id) },
        Ok(f::Service::StoreRemoved) => ServiceError::StoreRemoved { store: StoreId(error.id) },
        Ok(f::Service::Corrupt) => ServiceError::Corrupt { address, detail: text },
        Ok(f::Service::BadKeyspace) => ServiceError::BadKeyspace { name: address, reason: text },
        Ok(f::Service::Tls) => ServiceError::Tls { reason: text },
        Ok(f::Service::Intercepted) => ServiceError::Intercepted { reason: text },
        Ok(f::Service::Unknown) | Err(_) => {
            return Err(Unreadable("a service's error of a kind that is not known"));
        }
    })
}
