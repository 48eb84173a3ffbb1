//! The PD service at its boundary: [`queries`] step by step, [`members`] likewise, and [`world`], which plays a cluster that
//! fails at random and checks that everyone is answered.

mod members;
mod queries;
pub(crate) mod world;

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::{PdCommand, PdConfig, PdQuery, PdReply, PdService, PdTimer, parse_endpoints};
use crate::error::ServiceError;
use crate::machine::script::ServiceScript;
use crate::machine::{
    Answer, Completion, Fault, Input, ServiceEffect, TicketId, TransportClass, TransportFault,
};
use crate::types::{ClusterId, Instant};
use tikv_proto::methods::pd as methods;
use tikv_proto::{metapb, pdpb};

pub(crate) const CLUSTER: u64 = 7;

pub(super) type Pd = ServiceScript<PdService>;

/// A service that knows three addresses and has asked none.
pub(super) fn three() -> Pd {
    let endpoints = parse_endpoints(&["a:1", "b:1", "c:1"]).unwrap();
    ServiceScript::given(PdService::new(PdConfig::new(
        endpoints,
        Duration::from_secs(10),
        Duration::from_secs(3),
    )))
}

/// A service that knows that `a:1` leads three members.
pub(super) fn led() -> Pd {
    let mut pd = three();
    let asker = pd.asker(0);
    pd.command(PdCommand::Connect { asker });
    armed(&mut pd, PdTimer::Connect);
    let tickets =
        [asked_members(&mut pd, "a:1"), asked_members(&mut pd, "b:1"), asked_members(&mut pd, "c:1")];
    for ticket in tickets {
        say(&mut pd, ticket, &members("a:1"));
    }
    armed(&mut pd, PdTimer::Members);
    disarmed(&mut pd, PdTimer::Connect);
    assert_eq!(pd.answered(), Some((0, leader_reply("a:1"))));
    pd.expect_nothing();
    pd
}

pub(super) fn ask(pd: &mut Pd, n: u32, query: PdQuery, deadline_s: u64) {
    let asker = pd.asker(n);
    let deadline = pd.now + Duration::from_secs(deadline_s);
    pd.command(PdCommand::Query { query, asker, deadline });
}

pub(super) fn say(pd: &mut Pd, ticket: TicketId, message: &impl Message) {
    pd.input(Input::Done(ticket, Completion::Response(message.encode_to_vec().into())));
}

pub(super) fn fail(pd: &mut Pd, ticket: TicketId, class: TransportClass, text: &str) {
    pd.input(Input::Done(ticket, Completion::Fault(Fault::Transport(TransportFault::new(class, text)))));
}

/// The call that must come next: its ticket, address, path and body.
#[track_caller]
pub(super) fn call(pd: &mut Pd) -> (TicketId, String, &'static str, Bytes) {
    match pd.effect() {
        ServiceEffect::Unary { ticket, to, path, body, deadline, .. } => {
            assert!(deadline > pd.now);
            (ticket, to.to_string(), path, body)
        }
        other => panic!("wanted a call, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn asked_members(pd: &mut Pd, of: &str) -> TicketId {
    let (ticket, to, path, _) = call(pd);
    assert_eq!((to.as_str(), path), (of, methods::GET_MEMBERS));
    ticket
}

#[track_caller]
pub(super) fn asked_region(pd: &mut Pd, of: &str) -> TicketId {
    let (ticket, to, path, _) = call(pd);
    assert_eq!((to.as_str(), path), (of, methods::GET_REGION));
    ticket
}

#[track_caller]
pub(super) fn armed(pd: &mut Pd, timer: PdTimer) -> Instant {
    match pd.effect() {
        ServiceEffect::Arm(which, at) if which == timer => at,
        other => panic!("wanted {timer:?} armed, got {other:?}"),
    }
}

/// The timer of some query.
#[track_caller]
pub(super) fn query_armed(pd: &mut Pd) -> (PdTimer, Instant) {
    match pd.effect() {
        ServiceEffect::Arm(timer @ PdTimer::Query(_), at) => (timer, at),
        other => panic!("wanted a query's timer, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn disarmed(pd: &mut Pd, timer: PdTimer) {
    match pd.effect() {
        ServiceEffect::Disarm(which) if which == timer => {}
        other => panic!("wanted {timer:?} disarmed, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn query_disarmed(pd: &mut Pd) {
    assert!(matches!(pd.effect(), ServiceEffect::Disarm(PdTimer::Query(_))));
}

pub(crate) fn header() -> Option<pdpb::ResponseHeader> {
    Some(pdpb::ResponseHeader { cluster_id: CLUSTER, error: None })
}

pub(crate) fn error_header(code: pdpb::ErrorType, message: &str) -> Option<pdpb::ResponseHeader> {
    let error = pdpb::Error { r#type: code as i32, message: message.into() };
    Some(pdpb::ResponseHeader { cluster_id: CLUSTER, error: Some(error) })
}

fn member(address: &str) -> pdpb::Member {
    pdpb::Member { client_urls: vec![format!("http://{address}")], ..Default::default() }
}

/// Three members, of whom one leads.
pub(crate) fn members(leader: &str) -> pdpb::GetMembersResponse {
    pdpb::GetMembersResponse {
        header: header(),
        members: ["a:1", "b:1", "c:1"].map(member).to_vec(),
        leader: Some(member(leader)),
        ..Default::default()
    }
}

pub(super) fn leader_reply(address: &str) -> Completion {
    let reply = PdReply::Leader { address: address.into(), cluster: ClusterId(CLUSTER) };
    Completion::Answer(Answer::Pd(reply))
}

pub(super) fn key() -> PdQuery {
    PdQuery::Region { key: Bytes::from_static(b"k") }
}

pub(super) fn no_region() -> pdpb::GetRegionResponse {
    pdpb::GetRegionResponse { header: header(), ..Default::default() }
}

pub(super) fn region_none() -> Completion {
    Completion::Answer(Answer::Pd(PdReply::Region(None)))
}

/// The error that the next answer refuses with.
#[track_caller]
pub(super) fn refused(pd: &mut Pd) -> (u32, ServiceError) {
    match pd.answered() {
        Some((n, Completion::Fault(Fault::Refused(error)))) => (n, error),
        other => panic!("wanted a refusal, got {other:?}"),
    }
}

pub(crate) fn wire_peer(id: u64, store_id: u64) -> metapb::Peer {
    metapb::Peer { id, store_id, ..Default::default() }
}
