//! From what the kernel has to the records of a trace.

use std::time::Duration;

use super::format as f;
use super::tickets::{Kind, Tickets};
use crate::backoff::{Allowance, Tuning};
use crate::error::ServiceError;
use crate::machine::{
    Answer, Asked, Completion, Effect, Fault, Feedback, Interrupt, Place, Question, TransportClass,
    TransportFault, Why,
};
use crate::pd::PdReply;
use crate::replica::{ReadProfile, Replica};
use crate::types::{
    Engine, Instant, KeyRange, Labels, Liveness, Located, Peer, PeerRole, Presence, RegionId, RegionInfo,
    RegionVersion, Replicas, StoreId, StoreView,
};

pub(super) fn range(range: &KeyRange) -> f::Range {
    f::Range { start: range.start.0.clone(), end: range.end.0.clone() }
}

pub(super) fn region(region: RegionVersion) -> f::Region {
    f::Region { id: region.id.0, version: region.version, conf_ver: region.conf_ver }
}

pub(super) fn located(to: Located) -> f::Located {
    f::Located { region: Some(region(to.region)), peer: to.peer.0, store: to.store.0 }
}

fn peer(peer: &Peer) -> f::Peer {
    f::Peer {
        id: peer.id.0,
        store: peer.store.0,
        role: match peer.role {
            PeerRole::Voter => 0,
            PeerRole::Learner => 1,
            PeerRole::Witness => 2,
        },
    }
}

pub(super) fn replicas(replicas: &Replicas) -> f::KnownReplicas {
    let peers = replicas.peers.as_slice().iter().map(peer).collect();
    f::KnownReplicas { leader: replicas.leader.0, peers }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn store_view(view: StoreView) -> f::StoreView {
    let StoreView { presence, engine, liveness, slow, busy, safe_ts } = view;
    f::StoreView {
        presence: match presence {
            Presence::Unknown => 0,
            Presence::Serving => 1,
            Presence::Removed => 2,
        },
        engine: match engine {
            Engine::TiKv => 0,
            Engine::TiFlash => 1,
            Engine::TiFlashCompute => 2,
        },
        liveness: match liveness {
            Liveness::Reachable => 0,
            Liveness::Unreachable => 1,
            Liveness::Unknown => 2,
        },
        slow,
        busy_ns: ns(busy),
        safe_ts: safe_ts.0,
    }
}

pub(super) fn labels(labels: &Labels) -> Vec<f::Label> {
    let label = |(key, value): &(String, String)| f::Label { key: key.clone(), value: value.clone() };
    labels.pairs().iter().map(label).collect()
}

fn told(store: StoreId, number: u64) -> f::StoreTold {
    f::StoreTold { store: store.0, number }
}

fn region_info(info: &RegionInfo) -> f::RegionInfo {
    f::RegionInfo {
        region: Some(region(info.version)),
        range: Some(range(&info.range)),
        peers: info.peers.iter().map(peer).collect(),
        leader: info.leader.map_or(0, |peer| peer.0),
    }
}

pub(super) fn feedback(feedback: &Feedback) -> f::Feedback {
    let kind = match feedback {
        Feedback::LeaderIs { region: of, peer, store } => {
            f::FeedbackKind::LeaderIs(f::LeaderIs { region: Some(region(*of)), peer: peer.0, store: store.0 })
        }
        Feedback::Stale { region: of, why } => {
            f::FeedbackKind::Stale(f::Stale { region: Some(region(*of)), why: format!("{why:?}") })
        }
        Feedback::Regions { old, new } => f::FeedbackKind::Replaced(f::Replaced {
            old: Some(region(*old)),
            new: new.iter().map(region_info).collect(),
        }),
        Feedback::Loaded { regions, expires } => f::FeedbackKind::Loaded(f::Loaded {
            regions: regions.iter().map(region_info).collect(),
            expires_ns: expires.0,
        }),
        Feedback::Unreachable { store, region: of } => {
            f::FeedbackKind::Unreachable(f::Unreachable { store: store.0, region: Some(region(*of)) })
        }
        Feedback::Buckets { region: of, buckets } => f::FeedbackKind::Buckets(f::Buckets {
            region: Some(region(*of)),
            version: buckets.version(),
            keys: buckets.keys().iter().map(|key| key.0.clone()).collect(),
        }),
        Feedback::Busy { store, until } => f::FeedbackKind::Busy(told(*store, until.0)),
        Feedback::Slow { store } => f::FeedbackKind::Slow(store.0),
        Feedback::Took { store, time } => f::FeedbackKind::Took(told(*store, ns(*time))),
        Feedback::Health { store, slow_score } => {
            f::FeedbackKind::Health(told(*store, u64::from(*slow_score)))
        }
    };
    f::Feedback { feedback: Some(kind) }
}

/// How an operation's reads are done. What its call may take stands elsewhere, as its deadline.
pub(super) fn reading(profile: &ReadProfile) -> f::Reading {
    f::Reading {
        replica: match profile.replica {
            Replica::Leader => 0,
            Replica::Follower => 1,
            Replica::Mixed => 2,
            Replica::Learner => 3,
            Replica::PreferLeader => 4,
            Replica::Closest => 5,
        },
        labels: labels(&profile.labels),
        stores: profile.stores.iter().map(|store| store.0).collect(),
        stale: profile.stale,
        leader_only: profile.leader_only,
        busy_threshold_ns: ns(profile.busy_threshold),
        attempt_ns: profile.attempt.map(ns),
    }
}

pub(super) fn place(place: &Place) -> f::Place {
    let kind = match place {
        Place::Holding(key) => f::PlaceKind::Holding(key.0.clone()),
        Place::Below(key) => f::PlaceKind::Below(key.0.clone()),
        Place::Id(id) => f::PlaceKind::Id(id.0),
    };
    f::Place { place: Some(kind) }
}

/// An effect; its ticket gets the operation's next number.
pub(super) fn effect(effect: &Effect, tickets: &mut Tickets) -> f::Effect {
    let kind = match effect {
        Effect::Call { ticket, attempt, request, deadline } => f::EffectKind::Call(f::Call {
            ticket: tickets.issue(*ticket, Kind::Call(request.command())),
            to: Some(located(attempt.to)),
            retry: attempt.retry,
            max_execution_ms: attempt.max_execution_ms,
            deadline_ns: deadline.0,
            command: request.command().number(),
            body: request.body().clone(),
            profile: request.profile().encoded().clone(),
            asked: match attempt.asked {
                Asked::Plainly => 0,
                Asked::ReplicaRead => 1,
                Asked::StaleRead => 2,
            },
            busy_threshold_ms: attempt.busy_threshold_ms,
            follower: !attempt.leads,
            first: attempt.first.map_or(0, |first| 1 + u32::from(!first.leads) + 2 * u32::from(first.stale)),
            through: attempt.through.map_or(0, |store| store.0),
        }),
        Effect::Ask { ticket, question, deadline } => ask(*ticket, question, *deadline, tickets),
        Effect::Timer { ticket, at, why } => {
            let (kind, name) = match why {
                Why::BackOff(name) => (f::Why::BackOff, *name),
                Why::LockTtl => (f::Why::LockTtl, ""),
                Why::Heartbeat => (f::Why::Heartbeat, ""),
            };
            f::EffectKind::Timer(f::Timer {
                ticket: tickets.issue(*ticket, Kind::Timer),
                at_ns: at.0,
                why: kind.into(),
                name: name.to_owned(),
            })
        }
        Effect::Spawn { start } => f::EffectKind::Spawn(super::start::encode(start)),
        Effect::Report(learned) => f::EffectKind::Report(feedback(learned)),
        Effect::Cancel { ticket, .. } => {
            f::EffectKind::Cancel(tickets.close(*ticket).map_or(0, |open| open.0))
        }
    };
    f::Effect { effect: Some(kind) }
}

fn ask(
    ticket: crate::machine::TicketId,
    question: &Question,
    deadline: Instant,
    tickets: &mut Tickets,
) -> f::EffectKind {
    let (question, kind, limit) = match question {
        Question::Timestamp => (f::Question::Timestamp(true), Kind::Timestamp, 0),
        Question::Region(at) => (f::Question::Region(place(at)), Kind::Region, 0),
        Question::Regions { range: of, limit } => (f::Question::Regions(range(of)), Kind::Regions, *limit),
        Question::Scatter { .. } | Question::Order(_) | Question::Buckets(_) => {
            (f::Question::Pd(pd_ask(question)), Kind::Pd, 0)
        }
    };
    let ticket = tickets.issue(ticket, kind);
    f::EffectKind::Ask(f::Ask { ticket, deadline_ns: deadline.0, question: Some(question), limit })
}

fn pd_ask(question: &Question) -> f::PdAsk {
    let of = |kind: f::PdKind| f::PdAsk { kind: kind.into(), ..f::PdAsk::default() };
    match question {
        Question::Scatter { regions, group } => {
            let regions = regions.iter().map(|region| region.0).collect();
            f::PdAsk { regions, group: group.clone(), ..of(f::PdKind::Scatter) }
        }
        Question::Order(region) => f::PdAsk { regions: vec![region.0], ..of(f::PdKind::Order) },
        Question::Buckets(region) => f::PdAsk { regions: vec![region.0], ..of(f::PdKind::Buckets) },
        // Of other services.
        Question::Timestamp | Question::Region(_) | Question::Regions { .. } => of(f::PdKind::Unknown),
    }
}

fn pd_told(reply: &PdReply) -> f::Completion {
    let of = |kind: f::PdKind| f::PdTold { kind: kind.into(), ..f::PdTold::default() };
    let ids = |regions: &[RegionId]| regions.iter().map(|region| region.0).collect();
    f::Completion::Pd(match reply {
        PdReply::Scattered { percent, failed } => {
            f::PdTold { percent: *percent, regions: ids(failed), ..of(f::PdKind::Scatter) }
        }
        PdReply::Order(None) => of(f::PdKind::Order),
        PdReply::Order(Some(order)) => f::PdTold {
            found: true,
            description: order.description.clone(),
            running: order.running,
            ..of(f::PdKind::Order)
        },
        PdReply::Buckets(None) => of(f::PdKind::Buckets),
        PdReply::Buckets(Some(told)) => f::PdTold {
            found: true,
            region: Some(region(told.region)),
            version: told.version,
            keys: told.keys.clone(),
            ..of(f::PdKind::Buckets)
        },
        other => return f::Completion::Other(format!("{other:?}")),
    })
}

pub(super) fn completion(completion: &Completion) -> f::Completion {
    match completion {
        Completion::Response(body) => f::Completion::Response(body.clone()),
        Completion::TimerFired(at) => f::Completion::Fired(at.0),
        Completion::Answer(Answer::Timestamp(ts)) => f::Completion::Timestamp(ts.0),
        Completion::Answer(Answer::Region(to)) => f::Completion::Region(located(*to)),
        Completion::Answer(Answer::Regions(regions)) => {
            let spanned = |(to, keys): &(Located, KeyRange)| f::Spanned {
                to: Some(located(*to)),
                range: Some(range(keys)),
            };
            f::Completion::Regions(f::Regions { regions: regions.iter().map(spanned).collect() })
        }
        Completion::Answer(Answer::Pd(reply)) => pd_told(reply),
        Completion::Fault(what) => f::Completion::Fault(fault(what)),
    }
}

pub(super) fn interrupt(why: Interrupt) -> f::Interrupt {
    match why {
        Interrupt::Deadline => f::Interrupt::Deadline,
        Interrupt::Killed => f::Interrupt::Killed,
        Interrupt::Closed => f::Interrupt::Closed,
    }
}

pub(super) fn transport(fault: &TransportFault) -> f::Transport {
    let (class, code) = match fault.class {
        TransportClass::Unreachable => (f::TransportClass::Unreachable, 0),
        TransportClass::Lost => (f::TransportClass::Lost, 0),
        TransportClass::TimedOut => (f::TransportClass::TimedOut, 0),
        TransportClass::Rejected(code) => (f::TransportClass::Rejected, code.into()),
    };
    f::Transport { class: class.into(), code, detail: fault.detail.to_string() }
}

pub(super) fn fault(fault: &Fault) -> f::Fault {
    let kind = match fault {
        Fault::Transport(fault) => f::FaultKind::Transport(transport(fault)),
        Fault::Late(fault) => f::FaultKind::Late(transport(fault)),
        Fault::Interrupted(why) => f::FaultKind::Interrupted(interrupt(*why).into()),
        Fault::Overloaded => f::FaultKind::Overloaded(true),
        Fault::Refused(error) => f::FaultKind::Refused(service_error(error)),
    };
    f::Fault { fault: Some(kind) }
}

fn service_error(error: &ServiceError) -> f::ServiceError {
    let of = |kind: f::Service, address: &str, text: &str, id: u64, found: u64| f::ServiceError {
        kind: kind.into(),
        address: address.to_owned(),
        text: text.to_owned(),
        id,
        found,
    };
    match error {
        ServiceError::BadAddress { address, reason } => of(f::Service::BadAddress, address, reason, 0, 0),
        ServiceError::NoAddress => of(f::Service::NoAddress, "", "", 0, 0),
        ServiceError::PdUnreachable { addresses, last } => {
            of(f::Service::PdUnreachable, addresses, last, 0, 0)
        }
        ServiceError::ClusterMismatch { address, wanted, found } => {
            of(f::Service::ClusterMismatch, address, "", wanted.0, found.0)
        }
        ServiceError::Pd { address, message } => of(f::Service::Pd, address, message, 0, 0),
        ServiceError::NoRegion { place } => of(f::Service::NoRegion, "", place, 0, 0),
        ServiceError::NoPeer { region } => of(f::Service::NoPeer, "", "", region.0, 0),
        ServiceError::StoreRemoved { store } => of(f::Service::StoreRemoved, "", "", store.0, 0),
        ServiceError::Corrupt { address, detail } => of(f::Service::Corrupt, address, detail, 0, 0),
        ServiceError::BadKeyspace { name, reason } => of(f::Service::BadKeyspace, name, reason, 0, 0),
        ServiceError::Tls { reason } => of(f::Service::Tls, "", reason, 0, 0),
        ServiceError::Intercepted { reason } => of(f::Service::Intercepted, "", reason, 0, 0),
    }
}

pub(super) fn budget(allowance: Allowance, tuning: Tuning) -> f::Budget {
    let (kind, ms) = match allowance {
        Allowance::Nothing => (f::AllowanceKind::Nothing, 0),
        Allowance::Weighted(ms) => (f::AllowanceKind::Weighted, ms),
        Allowance::Plain(ms) => (f::AllowanceKind::Plain, ms),
        Allowance::Unlimited => (f::AllowanceKind::Unlimited, 0),
    };
    f::Budget { kind: kind.into(), ms, weight: tuning.weight, lock_fast_ms: tuning.lock_fast_ms }
}
