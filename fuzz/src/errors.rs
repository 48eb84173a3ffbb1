//! Region errors: the tables as pure functions, and the call that carries them out.
//!
//! A region call is answered by errors from the input, the last of them for ever. Laws:
//!
//! * the tables take any error, and speak of the region that was asked only;
//! * between two pauses a request goes out a bounded number of times, and the budget ends every series;
//! * bytes that are no message are an error of the call;
//! * what a failed call says of "may have happened" is what happened to its attempts.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_client_core::backoff::{Allowance, Budget, Tuning};
use tikv_client_core::codec::Mode;
use tikv_client_core::error::{Error, ServiceError};
use tikv_client_core::machine::{
    Answer, Completion, Cx, Effect, Facts, Fault, Feedback, Interrupt, Op, TransportClass, TransportFault,
};
use tikv_client_core::region::Directory;
use tikv_client_core::region_call::classify::{Reaction, Situation, Verdict, classify, classify_transport};
use tikv_client_core::region_call::classify_read::{
    Asked, Leader, Next, Reading, Threshold, classify_read, classify_transport_read,
};
use tikv_client_core::region_call::{RegionCall, Route, Unanswered};
use tikv_client_core::request::{Profile, Request, response};
use tikv_client_core::types::{
    Instant, Key, KeyRange, Located, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, StoreId,
    WallTime,
};
use tikv_proto::{errorpb, kvrpcpb as pb, metapb};

use crate::choices::Choices;
use crate::world::cluster::{Tables, refused};

/// How often a request may go out between two pauses: to each of three replicas once, and once more each of the three times that its
/// region is located anew at once.
const AT_ONCE: u32 = 12;

/// More attempts than any budget has room for.
const CALLS: u32 = 5000;

/// Texts that the tables look for, and others.
const TEXTS: [&str; 7] = [
    "",
    "mismatch cluster id, need 1 but got 2",
    "invalid max_ts update",
    "Deadline is exceeded",
    "deadline is exceeded",
    "server is closing",
    "x",
];

fn region() -> RegionVersion {
    RegionVersion { id: RegionId(4), version: 3, conf_ver: 2 }
}

fn peer(choices: &mut Choices<'_>) -> metapb::Peer {
    metapb::Peer {
        id: choices.below(4) as u64 * 10,
        store_id: choices.below(4) as u64,
        role: choices.below(6) as i32,
        is_witness: choices.one_in(5),
    }
}

fn current(choices: &mut Choices<'_>) -> metapb::Region {
    let epoch =
        metapb::RegionEpoch { version: 1 + choices.below(5) as u64, conf_ver: 1 + choices.below(3) as u64 };
    metapb::Region {
        id: 3 + choices.below(3) as u64,
        start_key: choices.key().0,
        end_key: choices.key().0,
        region_epoch: (!choices.one_in(6)).then_some(epoch),
        peers: (0..choices.below(4)).map(|_| peer(choices)).collect(),
        ..Default::default()
    }
}

/// Any error: one to three of its fields.
pub(crate) fn any(choices: &mut Choices<'_>) -> errorpb::Error {
    let mut error = errorpb::Error { message: (*choices.of(&TEXTS)).to_owned(), ..Default::default() };
    for _ in 0..1 + choices.below(8) / 6 {
        match choices.below(24) {
            0 | 1 => {
                let leader = (!choices.one_in(3)).then(|| peer(choices));
                error.not_leader = Some(errorpb::NotLeader { region_id: choices.any::<u8>().into(), leader });
            }
            2 | 3 => {
                let current_regions = (0..choices.below(4)).map(|_| current(choices)).collect();
                error.epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
            }
            4 => {
                let reason = (*choices.of(&TEXTS)).to_owned();
                error.server_is_busy = Some(errorpb::ServerIsBusy {
                    reason,
                    backoff_ms: choices.any::<u16>().into(),
                    estimated_wait_ms: choices.any::<u8>().into(),
                    ..Default::default()
                });
            }
            field => {
                // The others hold nothing that is looked at: any bytes that they take.
                let mut wire = error.encode_to_vec();
                let inner = choices.bytes(6);
                prost::encoding::bytes::encode(field as u32 - 1, &inner, &mut wire);
                error = errorpb::Error::decode(wire.as_slice()).unwrap_or(error);
            }
        }
    }
    error
}

fn about(feedback: &Feedback) -> RegionVersion {
    match feedback {
        Feedback::LeaderIs { region, .. }
        | Feedback::Stale { region, .. }
        | Feedback::Regions { old: region, .. }
        | Feedback::Unreachable { region, .. } => *region,
        other => panic!("no answer of a store is told as {other:?}"),
    }
}

fn check(verdict: &Verdict) {
    assert!(
        verdict.reports.iter().all(|feedback| about(feedback) == region()),
        "{verdict:?} speaks of another region"
    );
    assert!(!verdict.reason.is_empty(), "{verdict:?} says nothing");
}

fn reading(choices: &mut Choices<'_>) -> Reading {
    Reading {
        asked: *choices.of(&[Asked::Plainly, Asked::ReplicaRead, Asked::StaleRead]),
        leader: *choices.of(&[Leader::Now, Leader::Before, Leader::Never]),
        leader_usable: choices.one_in(2),
        leader_first: choices.one_in(2),
        others: choices.one_in(2),
        own_timeout: choices.one_in(2),
        threshold: *choices.of(&[Threshold::None, Threshold::Set, Threshold::Batch]),
        waited_for_data: choices.one_in(2),
    }
}

/// The tables for one error and one fault.
fn tables(error: &errorpb::Error, fault: &TransportFault, choices: &mut Choices<'_>) {
    let to = Located { region: region(), peer: PeerId(10), store: StoreId(1) };
    let situation = Situation { to, mode: *choices.of(&[Mode::Raw, Mode::Txn]) };
    let (verdict, again) = (classify(error, &situation), classify(error, &situation));
    assert_eq!(verdict, again);
    check(&verdict);
    check(&classify_transport(fault, &situation));
    let reading = reading(choices);
    for read in
        [classify_read(error, &situation, &reading), classify_transport_read(fault, &situation, &reading)]
    {
        check(&read.verdict);
        assert!(
            read.owed.is_none() || read.verdict.reaction == Reaction::Again,
            "a pause is made and owed: {read:?}"
        );
        assert!(read.owed.is_none_or(|(store, _)| store == to.store));
        // What goes to the same replica at once would go there for ever.
        let same = read.next == Next::Same && read.verdict.reaction == Reaction::Again;
        assert!(!same || error.stale_command.is_some(), "{error:?} is asked again at once: {read:?}");
    }
}

fn fault(choices: &mut Choices<'_>) -> TransportFault {
    let code = choices.below(20) as u8;
    let class = *choices.of(&[
        TransportClass::Unreachable,
        TransportClass::Lost,
        TransportClass::TimedOut,
        TransportClass::Rejected(code),
    ]);
    TransportFault::new(class, *choices.of(&TEXTS))
}

/// What completes an attempt.
#[derive(Clone, Debug)]
enum Said {
    Body(Bytes),
    Fault(Fault),
}

fn said(choices: &mut Choices<'_>) -> Said {
    match choices.below(12) {
        0..7 => Said::Body(refused(&any(choices))),
        7 => {
            let body = refused(&any(choices));
            Said::Body(choices.spoil(body))
        }
        8 => Said::Body(choices.bytes(20)),
        9 => Said::Fault(Fault::Refused(ServiceError::StoreRemoved { store: StoreId(1) })),
        10 if choices.one_in(4) => Said::Fault(Fault::Overloaded),
        10 if choices.one_in(4) => Said::Fault(Fault::Interrupted(Interrupt::Closed)),
        _ => Said::Fault(Fault::Transport(fault(choices))),
    }
}

/// Whether an attempt that was completed so may have been executed although no answer says so.
fn may_have_happened(said: &Said, request: &Request) -> bool {
    match said {
        Said::Fault(Fault::Transport(fault)) => fault.class.may_have_happened(),
        Said::Fault(Fault::Interrupted(_)) => true,
        Said::Fault(_) => false,
        Said::Body(body) => match response::region_error(request.command(), body) {
            Err(_) => request.command().writes(),
            Ok(error) => error.is_some_and(|error| error.undetermined_result.is_some()),
        },
    }
}

fn request(choices: &mut Choices<'_>) -> Request {
    match choices.below(4) {
        0 => Request::new(&pb::RawGetRequest::default(), Profile::default()),
        1 => Request::new(&pb::GetRequest::default(), Profile::default()),
        2 => Request::new(&pb::PrewriteRequest::default(), Profile::default()),
        _ => Request::new(&pb::CommitRequest::default(), Profile::default()),
    }
}

fn found() -> RegionInfo {
    let peer = |store| Peer { id: PeerId(store * 10), store: StoreId(store), role: PeerRole::Voter };
    RegionInfo {
        version: region(),
        range: KeyRange::ALL,
        peers: (1..4).map(peer).collect(),
        leader: Some(PeerId(10)),
    }
}

/// One region call to its end.
fn series(choices: &mut Choices<'_>) {
    let request = Arc::new(request(choices));
    let mode = if request.command().is_raw() { Mode::Raw } else { Mode::Txn };
    let key = Key::from("k");
    let route = match choices.below(3) {
        0 => Route::Key(key),
        1 => Route::Below(key),
        _ => Route::Region { key, region: region() },
    };
    let regroups = matches!(route, Route::Region { .. });
    let mut call = RegionCall::new("fuzz", route, Arc::clone(&request));
    let tables = Tables(Directory::new(mode));
    let (mut op, mut now) = (Op::default(), Instant(0));
    op.begin(choices.any(), Instant::FAR, Budget::new(Allowance::GET, Tuning::default()));
    let (mut calls, mut at_once, mut lost, mut last) = (0, 0, false, Said::Body(Bytes::new()));
    loop {
        let end = call.step(&mut Cx::root(now, WallTime(0), &tables, &mut op));
        if let Poll::Ready(end) = end {
            op.end();
            assert_eq!(op.open_tickets(), 0, "tickets were not given back");
            return judge(end, &last, lost, regroups, &request);
        }
        while let Some(effect) = op.next_effect() {
            let (ticket, completion) = match effect {
                Effect::Call { ticket, .. } => {
                    (calls, at_once) = (calls + 1, at_once + 1);
                    assert!(
                        at_once <= AT_ONCE,
                        "{at_once} attempts without a pause, the last after {last:?}"
                    );
                    assert!(calls < CALLS, "the budget does not end {last:?}");
                    if !choices.is_over() {
                        last = said(choices);
                    } else if matches!(&last, Said::Body(body) if body.is_empty()) {
                        last = Said::Body(refused(&any(choices)));
                    }
                    lost |= may_have_happened(&last, &request);
                    (
                        ticket,
                        match last.clone() {
                            Said::Body(body) => Completion::Response(body),
                            Said::Fault(fault) => Completion::Fault(fault),
                        },
                    )
                }
                Effect::Ask { ticket, .. } => {
                    // PD knows the region as it was, or that it has split since.
                    let mut info = found();
                    info.version.version += choices.below(8) as u64 / 6;
                    let leader = info.peers[0];
                    let to = Located { region: info.version, peer: leader.id, store: leader.store };
                    let expires = now + Duration::from_secs(600);
                    tables.report(&Feedback::Loaded { regions: [info].into(), expires }, now);
                    (ticket, Completion::Answer(Answer::Region(to)))
                }
                Effect::Timer { ticket, at, .. } => {
                    assert!(at > now, "a pause of nothing");
                    (now, at_once) = (at, 0);
                    (ticket, Completion::TimerFired(at))
                }
                _ => continue,
            };
            assert!(op.deliver(ticket, completion));
        }
    }
}

fn judge(
    end: Result<tikv_client_core::region_call::Reply, Unanswered>,
    last: &Said,
    lost: bool,
    regroups: bool,
    request: &Request,
) {
    match end {
        Ok(reply) => {
            assert!(matches!(last, Said::Body(body) if *body == reply.body), "another answer: {reply:?}");
            assert_eq!(
                response::region_error(request.command(), &reply.body),
                Ok(None),
                "a region error is no reply"
            );
        }
        Err(Unanswered::Regroup { may_have_happened }) => {
            assert!(regroups, "a request by key regroups");
            assert_eq!(may_have_happened, lost, "after {last:?}");
        }
        Err(Unanswered::Failed { error, may_have_happened }) => {
            assert_eq!(may_have_happened, lost, "{:?} failed with {error} after {last:?}", request.command());
            let corrupt =
                matches!(last, Said::Body(body) if response::region_error(request.command(), body).is_err());
            assert_eq!(matches!(error, Error::Corrupt { .. }), corrupt, "{error}");
            assert!(!error.to_string().is_empty());
        }
        Err(other) => panic!("an unknown end: {other:?}"),
    }
}

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    if choices.one_in(3) {
        let error = any(&mut choices);
        let fault = fault(&mut choices);
        tables(&error, &fault, &mut choices);
    } else {
        series(&mut choices);
    }
}
