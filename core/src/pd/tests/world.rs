//! A world for one service: carries its effects out in virtual time, and lets a test decide what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::{CLUSTER, error_header, header, members};
use crate::machine::{
    Address, Asker, Completion, Fault, Feedback, Input, Interrupt, Seat, Service, ServiceCore, ServiceEffect,
    StreamId, TicketId, TransportClass, TransportFault, Withdrawn,
};
use crate::pd::{PdCommand, PdConfig, PdQuery, PdService, parse_endpoints};
use crate::types::{Instant, StoreId, WallTime};
use tikv_proto::methods::pd as methods;
use tikv_proto::pdpb;

/// A unary call under way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) ticket: TicketId,
    pub(crate) to: Address,
    pub(crate) path: &'static str,
    pub(crate) deadline: Instant,
}

/// See the module.
pub(crate) struct World<S: Service> {
    pub(crate) service: S,
    core: ServiceCore<S::Timer, S::Special>,
    seat: Arc<Seat>,
    pub(crate) now: Instant,
    timers: BTreeMap<S::Timer, Instant>,
    pub(crate) calls: Vec<Call>,
    pub(crate) queries: Vec<(TicketId, PdQuery, Instant)>,
    /// Open streams and where they go.
    pub(crate) streams: BTreeMap<StreamId, Address>,
    /// What was sent on streams and not taken out by the test.
    pub(crate) sent: Vec<(StreamId, Bytes)>,
    pub(crate) reports: Vec<Feedback>,
    pub(crate) specials: Vec<S::Special>,
}

impl<S: Service> World<S> {
    pub(crate) fn new(service: S, seed: u64) -> Self {
        Self {
            service,
            core: ServiceCore::new(seed),
            seat: Arc::default(),
            now: Instant::default(),
            timers: BTreeMap::new(),
            calls: Vec::new(),
            queries: Vec::new(),
            streams: BTreeMap::new(),
            sent: Vec::new(),
            reports: Vec::new(),
            specials: Vec::new(),
        }
    }

    pub(crate) fn asker(&self, n: u32) -> Asker {
        Asker::new(Arc::clone(&self.seat), TicketId::new(n, 0))
    }

    pub(crate) fn withdrawn(&self, n: u32) -> Withdrawn {
        Withdrawn::new(Arc::clone(&self.seat), TicketId::new(n, 0))
    }

    pub(crate) fn input(&mut self, input: Input<S::Command, S::Timer>) {
        self.service.handle(input, &mut self.core.cx(self.now, WallTime(0)));
        for effect in self.core.take_effects() {
            self.carry_out(effect);
        }
        self.core.deliver();
    }

    /// One input, and that nothing more has come.
    pub(crate) fn turn(&mut self, input: Input<S::Command, S::Timer>) {
        self.input(input);
        self.input(Input::Idle);
    }

    fn carry_out(&mut self, effect: ServiceEffect<S::Timer, S::Special>) {
        match effect {
            ServiceEffect::Open { stream, to, .. } => {
                assert!(self.streams.insert(stream, to).is_none(), "a stream's name was used before");
            }
            ServiceEffect::Send { stream, message } => {
                assert!(self.streams.contains_key(&stream), "sent on a stream that is not open");
                self.sent.push((stream, message));
            }
            ServiceEffect::Close { stream } => {
                assert!(self.streams.remove(&stream).is_some(), "closed a stream that is not open");
            }
            ServiceEffect::Unary { ticket, to, path, deadline, .. } => {
                self.calls.push(Call { ticket, to, path, deadline });
            }
            ServiceEffect::Query { ticket, query, deadline } => self.queries.push((ticket, query, deadline)),
            ServiceEffect::Arm(timer, at) => {
                self.timers.insert(timer, at);
            }
            ServiceEffect::Disarm(timer) => {
                self.timers.remove(&timer);
            }
            ServiceEffect::Report(feedback) => self.reports.push(feedback),
            ServiceEffect::Disconnect(_)
            | ServiceEffect::Finish { .. }
            | ServiceEffect::Next { .. }
            | ServiceEffect::GiveUp { .. } => {}
            ServiceEffect::Special(special) => self.specials.push(special),
        }
    }

    pub(crate) fn done(&mut self, ticket: TicketId, completion: Completion) {
        self.turn(Input::Done(ticket, completion));
    }

    /// Moves the time by `by`, firing what becomes due on the way, in order.
    pub(crate) fn pass(&mut self, by: Duration) {
        let until = self.now + by;
        for _ in 0..100_000 {
            let timer = self.timers.iter().map(|(timer, at)| (*at, *timer)).min();
            let call = self.calls.iter().map(|call| call.deadline).min();
            let query = self.queries.iter().map(|(_, _, at)| *at).min();
            let next = [timer.map(|timer| timer.0), call, query].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = at.max(self.now);
            if call == Some(at) {
                let index = self.calls.iter().position(|call| call.deadline == at).unwrap();
                let call = self.calls.swap_remove(index);
                let fault = TransportFault::new(TransportClass::TimedOut, call.to);
                self.done(call.ticket, Completion::Fault(Fault::Transport(fault)));
            } else if query == Some(at) {
                let index = self.queries.iter().position(|query| query.2 == at).unwrap();
                let (ticket, ..) = self.queries.swap_remove(index);
                self.done(ticket, Completion::Fault(Fault::Interrupted(Interrupt::Deadline)));
            } else if let Some((_, timer)) = timer {
                self.timers.remove(&timer);
                self.turn(Input::Timer(timer));
            }
        }
        panic!("the service does not come to rest: {:#?}", self.service);
    }

    /// The answers that have come since the last time.
    pub(crate) fn answers(&self) -> Vec<(u32, Completion)> {
        let seat = Arc::clone(&self.seat);
        std::iter::from_fn(|| seat.next())
            .map(|(ticket, completion)| {
                let n = (0..).find(|&n| TicketId::new(n, 0) == ticket).unwrap();
                (n, completion)
            })
            .collect()
    }
}

/// What happens next to the PD service.
#[derive(Clone, Debug)]
enum Step {
    Connect,
    Query { kind: u8, deadline_ms: u64 },
    Withdraw(usize),
    Answer { call: usize, how: u8, garbage: Vec<u8> },
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Connect),
        4 => (0..4_u8, 0..4000_u64).prop_map(|(kind, deadline_ms)| Step::Query { kind, deadline_ms }),
        1 => any::<usize>().prop_map(Step::Withdraw),
        8 => (any::<usize>(), 0..10_u8, any::<Vec<u8>>())
            .prop_map(|(call, how, garbage)| Step::Answer { call, how, garbage }),
        3 => (0..1500_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// A good answer to any call: header only, or the members with `leader`.
fn good(path: &str, leader: &str) -> Vec<u8> {
    if path == methods::GET_MEMBERS {
        members(leader).encode_to_vec()
    } else {
        pdpb::GetRegionResponse { header: header(), ..Default::default() }.encode_to_vec()
    }
}

fn answer(call: &Call, how: u8, garbage: Vec<u8>) -> Completion {
    let body = |bytes: Vec<u8>| Completion::Response(bytes.into());
    let fault = |class, text: &str| Completion::Fault(Fault::Transport(TransportFault::new(class, text)));
    let header_only = |header| body(pdpb::GetRegionResponse { header, ..Default::default() }.encode_to_vec());
    match how {
        0 => body(good(call.path, "a:1")),
        1 => body(good(call.path, "b:1")),
        2 => body(good(call.path, "c:1")),
        3 => fault(TransportClass::Rejected(14), "not leader"),
        4 => fault(TransportClass::Unreachable, "refused"),
        5 => fault(TransportClass::Rejected(12), "unknown"),
        6 => header_only(Some(pdpb::ResponseHeader { cluster_id: CLUSTER + 1, error: None })),
        7 => header_only(error_header(pdpb::ErrorType::NotBootstrapped, "later")),
        8 => header_only(error_header(pdpb::ErrorType::Unknown, "no")),
        _ => body(garbage),
    }
}

fn query(kind: u8, leader: &str) -> PdQuery {
    match kind {
        0 => PdQuery::Region { key: Bytes::from_static(b"k") },
        1 => PdQuery::Regions { start: Bytes::new(), end: Bytes::new(), limit: 3 },
        2 => PdQuery::Store(StoreId(5)),
        _ => PdQuery::Leader { instead_of: Some(leader.into()) },
    }
}

proptest! {
    /// Whatever PD does: each asker that stays is answered once, by its deadline, and when PD is well again so is the
    /// service.
    #[test]
    fn everyone_is_answered_once_by_the_deadline(steps in proptest::collection::vec(step(), 0..60), seed: u64) {
        let endpoints = parse_endpoints(&["a:1", "b:1", "c:1"]).unwrap();
        let config = PdConfig { at_work: 3, ..PdConfig::new(endpoints, Duration::from_secs(2), Duration::from_secs(1)) };
        let mut world = World::new(PdService::new(config), seed);
        let mut open: BTreeMap<u32, Instant> = BTreeMap::new();
        let mut count = 0;
        for step in steps {
            match step {
                Step::Connect => {
                    count += 1;
                    open.insert(count, world.now + Duration::from_secs(2));
                    let asker = world.asker(count);
                    world.turn(Input::Command(PdCommand::Connect { asker }));
                }
                Step::Query { kind, deadline_ms } => {
                    count += 1;
                    let deadline = world.now + Duration::from_millis(deadline_ms);
                    open.insert(count, deadline);
                    let asker = world.asker(count);
                    let query = query(kind, "a:1");
                    world.turn(Input::Command(PdCommand::Query { query, asker, deadline }));
                }
                Step::Withdraw(which) => {
                    let Some(&n) = open.keys().nth(which % open.len().max(1)) else { continue };
                    open.remove(&n);
                    let who = world.withdrawn(n);
                    world.turn(Input::Command(PdCommand::Withdraw(who)));
                }
                Step::Answer { call, how, garbage } => {
                    if world.calls.is_empty() { continue }
                    let call = world.calls.swap_remove(call % world.calls.len());
                    let completion = answer(&call, how, garbage);
                    world.done(call.ticket, completion);
                }
                Step::Pass { ms } => world.pass(Duration::from_millis(ms)),
            }
            for (n, _) in world.answers() {
                prop_assert!(open.remove(&n).is_some(), "{n} was answered twice, or after it withdrew");
            }
            prop_assert!(open.values().all(|&at| at >= world.now), "{open:?} at {:?}", world.now);
        }
        world.pass(Duration::from_secs(10));
        for (n, _) in world.answers() {
            prop_assert!(open.remove(&n).is_some());
        }
        prop_assert!(open.is_empty(), "{open:?} wait for ever: {:#?}", world.service);
        prop_assert_eq!(world.service.left(), 0);

        let asker = world.asker(0);
        let deadline = world.now + Duration::from_secs(5);
        world.turn(Input::Command(PdCommand::Query { query: query(0, ""), asker, deadline }));
        for _ in 0..100 {
            match world.calls.pop() {
                Some(call) => {
                    let completion = Completion::Response(good(call.path, "b:1").into());
                    world.done(call.ticket, completion);
                }
                None => world.pass(Duration::from_millis(20)),
            }
        }
        prop_assert!(matches!(world.answers()[..], [(0, Completion::Answer(_))]));
    }
}
