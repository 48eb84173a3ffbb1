//! The registry at its boundary.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::error::ServiceError;
use crate::machine::script::ServiceScript;
use crate::machine::{
    Answer, Attempt, Completion, Fault, Feedback, Input, Interrupt, ServiceEffect, TicketId, TransportClass,
};
use crate::pd::{PdQuery, PdReply, StoreInfo, StoreState};
use crate::request::{Profile, Request};
use crate::stream::StreamCommand;
use crate::types::{
    Instant, Liveness, Located, PeerId, Presence, RegionId, RegionVersion, StoreId, Timestamp,
};
use tikv_proto::kvrpcpb as pb;

type Script = ServiceScript<Registry>;

const STORE: StoreId = StoreId(4);

fn call(s: &Script, n: u32, deadline: Instant) -> RegistryCommand {
    let attempt = Attempt::first(Located {
        region: RegionVersion { id: RegionId(3), version: 2, conf_ver: 1 },
        peer: PeerId(5),
        store: STORE,
    });
    let request = Arc::new(Request::new(&pb::RawGetRequest::default(), Profile::default()));
    let command = StreamCommand::Call { asker: s.asker(n), attempt, request, deadline, forward: None };
    RegistryCommand::Call { store: STORE, command }
}

#[track_caller]
fn asked(s: &mut Script) -> TicketId {
    loop {
        match s.effect() {
            ServiceEffect::Query { ticket, query: PdQuery::Store(STORE), .. } => return ticket,
            ServiceEffect::Arm(..) => {}
            other => panic!("wanted a question to PD, got {other:?}"),
        }
    }
}

#[track_caller]
fn special(s: &mut Script) -> RegistryEffect {
    loop {
        match s.effect() {
            ServiceEffect::Special(RegistryEffect::Know { .. }) => {}
            ServiceEffect::Special(special) => return special,
            ServiceEffect::Arm(..) => {}
            other => panic!("wanted an effect of the registry, got {other:?}"),
        }
    }
}

fn store(address: &str, state: StoreState) -> Completion {
    let info =
        StoreInfo { id: STORE, address: address.into(), peer_address: "".into(), state, labels: Vec::new() };
    Completion::Answer(Answer::Pd(PdReply::Store(Some(info))))
}

#[track_caller]
fn fault(s: &mut Script) -> (u32, Fault) {
    match s.answered() {
        Some((n, Completion::Fault(fault))) => (n, fault),
        other => panic!("wanted a fault, got {other:?}"),
    }
}

fn up(s: &mut Script) {
    s.command(call(s, 1, Instant::FAR));
    let query = asked(s);
    s.input(Input::Done(query, store("a:1", StoreState::Up)));
    assert!(matches!(special(s), RegistryEffect::Launch { address, .. } if &*address == "a:1"));
    forwarded(s, 1);
}

/// The call `n` was handed on; here it is dropped, and its asker says so.
#[track_caller]
fn forwarded(s: &mut Script, n: u32) {
    assert!(matches!(special(s), RegistryEffect::Forward { .. }));
    assert_eq!(fault(s), (n, Fault::Interrupted(Interrupt::Closed)));
}

/// The question whether the store serves.
#[track_caller]
fn probe(s: &mut Script) -> TicketId {
    match s.effect() {
        ServiceEffect::Unary { ticket, to, path: "/grpc.health.v1.Health/Check", deadline, .. } => {
            assert_eq!((&*to, deadline), ("a:1", s.now + Duration::from_secs(1)));
            ticket
        }
        other => panic!("wanted a probe, got {other:?}"),
    }
}

fn says(s: &mut Script, ticket: TicketId, status: u8) {
    s.input(Input::Done(ticket, Completion::Response(vec![0x08, status].into())));
}

fn check(s: &mut Script) {
    s.command(RegistryCommand::Check { store: STORE });
}

/// The effects that are left.
fn left(s: &mut Script) -> Vec<ServiceEffect<RegistryTimer, RegistryEffect>> {
    std::iter::from_fn(|| s.next_effect()).collect()
}

fn gone() -> Fault {
    Fault::Refused(ServiceError::StoreRemoved { store: STORE })
}

#[test]
fn calls_to_a_new_store_ask_pd_once_and_go_on_in_order() {
    let mut s = ServiceScript::given(Registry::default());
    s.command(call(&s, 1, Instant::FAR));
    let query = asked(&mut s);
    s.command(call(&s, 2, Instant::FAR));
    s.input(Input::Done(query, store("a:1", StoreState::Offline)));
    assert!(matches!(special(&mut s), RegistryEffect::Launch { .. }));
    forwarded(&mut s, 1);
    forwarded(&mut s, 2);
    s.expect_nothing();
}

#[test]
fn a_store_that_is_removed_refuses_for_good() {
    for answer in [store("a:1", StoreState::Tombstone), Completion::Answer(Answer::Pd(PdReply::Store(None)))]
    {
        let mut s = ServiceScript::given(Registry::default());
        s.command(call(&s, 1, Instant::FAR));
        let query = asked(&mut s);
        s.input(Input::Done(query, answer));
        assert_eq!(fault(&mut s), (1, gone()));
        s.command(call(&s, 2, Instant::FAR));
        assert_eq!(fault(&mut s), (2, gone()));
    }
}

#[test]
fn when_pd_fails_the_calls_learn_it_and_the_next_asks_again() {
    let mut s = ServiceScript::given(Registry::default());
    s.command(call(&s, 1, Instant::FAR));
    let query = asked(&mut s);
    let down = Fault::Refused(ServiceError::NoAddress);
    s.input(Input::Done(query, Completion::Fault(down.clone())));
    assert_eq!(fault(&mut s), (1, down));
    s.command(call(&s, 2, Instant::FAR));
    asked(&mut s);
}

#[test]
fn a_check_asks_at_most_once_a_second_and_moves_the_stream() {
    let mut s = ServiceScript::given(Registry::default());
    up(&mut s);
    check(&mut s);
    probe(&mut s);
    s.expect_nothing();
    s.now = s.now + Duration::from_secs(1);
    check(&mut s);
    let query = asked(&mut s);
    check(&mut s);
    s.expect_nothing();
    s.input(Input::Done(query, store("b:2", StoreState::Up)));
    assert!(matches!(special(&mut s), RegistryEffect::Move { address, .. } if &*address == "b:2"));
    let known = left(&mut s);
    let [ServiceEffect::Special(RegistryEffect::Know { meta, .. })] = &known[..] else { panic!("{known:?}") };
    assert_eq!(&*meta.address, "b:2");
}

#[test]
fn a_check_that_finds_the_same_address_or_no_pd_changes_nothing() {
    for answer in [store("a:1", StoreState::Up), Completion::Fault(Fault::Overloaded)] {
        let mut s = ServiceScript::given(Registry::default());
        up(&mut s);
        s.now = s.now + Duration::from_secs(1);
        check(&mut s);
        probe(&mut s);
        let query = asked(&mut s);
        s.input(Input::Done(query, answer));
        s.expect_nothing();
    }
}

#[test]
fn a_check_that_finds_the_store_removed_ends_its_stream() {
    let mut s = ServiceScript::given(Registry::default());
    up(&mut s);
    s.now = s.now + Duration::from_secs(1);
    check(&mut s);
    probe(&mut s);
    let query = asked(&mut s);
    s.input(Input::Done(query, store("a:1", StoreState::Tombstone)));
    assert!(matches!(special(&mut s), RegistryEffect::Remove { .. }));
    let known = left(&mut s);
    let removed = |effect: &ServiceEffect<_, _>| matches!(effect, ServiceEffect::Special(RegistryEffect::Know { meta, .. }) if meta.presence == Presence::Removed);
    assert!(known.iter().any(removed), "{known:?}");
    s.command(call(&s, 2, Instant::FAR));
    assert_eq!(fault(&mut s), (2, gone()));
}

#[test]
fn held_calls_keep_their_deadlines_and_can_withdraw() {
    let mut s = ServiceScript::given(Registry::default());
    s.command(call(&s, 1, Instant(10)));
    s.command(call(&s, 2, Instant(20)));
    s.command(call(&s, 3, Instant(5)));
    let who = s.withdrawn(3);
    s.command(RegistryCommand::Call { store: STORE, command: StreamCommand::Withdraw(who) });
    s.now = Instant(10);
    s.input(Input::Timer(RegistryTimer::Deadline));
    let (n, Fault::Transport(fault)) = fault(&mut s) else { panic!("a transport fault") };
    assert_eq!((n, fault.class), (1, TransportClass::Unreachable), "it was not sent");
    let query = asked(&mut s);
    s.input(Input::Done(query, store("a:1", StoreState::Up)));
    assert!(matches!(special(&mut s), RegistryEffect::Launch { .. }));
    forwarded(&mut s, 2);
    s.expect_nothing();
}

#[test]
fn a_withdrawal_for_an_unknown_store_asks_nobody() {
    let mut s = ServiceScript::given(Registry::default());
    let who = s.withdrawn(1);
    s.command(RegistryCommand::Call { store: STORE, command: StreamCommand::Withdraw(who) });
    s.expect_nothing();
}

// routing.md 3.2: an empty address resolves nothing and is an error.
#[test]
fn a_store_without_an_address_is_an_error_and_asked_for_again() {
    let mut s = ServiceScript::given(Registry::default());
    s.command(call(&s, 1, Instant::FAR));
    let query = asked(&mut s);
    s.input(Input::Done(query, store("", StoreState::Up)));
    assert!(matches!(fault(&mut s), (1, Fault::Refused(ServiceError::Corrupt { .. }))));
    up(&mut s);
    s.expect_nothing();
}

fn listed(infos: &[(u64, &str)]) -> Completion {
    let info = |(id, address): &(u64, &str)| StoreInfo {
        id: StoreId(*id),
        address: (*address).into(),
        peer_address: "".into(),
        state: StoreState::Up,
        labels: vec![("zone".to_owned(), format!("z{id}"))],
    };
    Completion::Answer(Answer::Pd(PdReply::Stores(infos.iter().map(info).collect())))
}

/// The question for all stores, among what is left.
#[track_caller]
fn list(s: &mut Script) -> TicketId {
    let left = left(s);
    let ticket = left.iter().find_map(|effect| match effect {
        ServiceEffect::Query { ticket, query: PdQuery::Stores, .. } => Some(*ticket),
        _ => None,
    });
    ticket.unwrap_or_else(|| panic!("the stores are not asked for: {left:?}"))
}

fn known(s: &mut Script) -> Vec<(u64, String)> {
    let know = |effect| match effect {
        ServiceEffect::Special(RegistryEffect::Know { store, meta }) => {
            Some((store.0, meta.address.to_string()))
        }
        _ => None,
    };
    left(s).into_iter().filter_map(know).collect()
}

#[test]
fn a_store_that_was_listed_gets_its_stream_with_its_first_call_and_pd_is_not_asked_for_it() {
    let mut s = ServiceScript::given(Registry::default());
    s.command(RegistryCommand::Begin);
    let query = list(&mut s);
    s.input(Input::Done(query, listed(&[(4, "a:1"), (5, "b:1"), (6, "")])));
    assert_eq!(known(&mut s), [(4, "a:1".to_owned()), (5, "b:1".to_owned())]);
    for n in [1, 2] {
        s.command(call(&s, n, Instant::FAR));
        if n == 1 {
            assert!(matches!(special(&mut s), RegistryEffect::Launch { address, .. } if &*address == "a:1"));
        }
        forwarded(&mut s, n);
    }
    s.expect_nothing();
}

// routing.md 2.10 [Q]: client-go asks for each store, one after the other, each 15 s.
#[test]
fn fixes_one_list_a_round_tells_of_every_store_that_moved_or_is_new() {
    let mut s = ServiceScript::given(Registry::default());
    s.command(RegistryCommand::Begin);
    let query = list(&mut s);
    s.input(Input::Done(query, listed(&[(4, "a:1"), (5, "b:1")])));
    s.command(call(&s, 1, Instant::FAR));
    left(&mut s);
    assert_eq!(fault(&mut s).0, 1);
    s.now = s.now + Duration::from_secs(10);
    s.input(Input::Timer(RegistryTimer::List));
    let query = list(&mut s);
    s.input(Input::Done(query, listed(&[(4, "a:2"), (5, "b:1"), (7, "c:1")])));
    let left = left(&mut s);
    let moved = |effect: &ServiceEffect<_, _>| matches!(effect, ServiceEffect::Special(RegistryEffect::Move { store: STORE, address }) if &**address == "a:2");
    assert!(left.iter().any(moved), "{left:?}");
    assert!(!left.iter().any(|effect| matches!(effect, ServiceEffect::Query { .. })), "{left:?}");
}

#[test]
fn a_store_that_the_list_lacks_is_asked_for_alone_and_one_failed_list_changes_nothing() {
    let mut s = ServiceScript::given(Registry::default());
    up(&mut s);
    s.command(RegistryCommand::Begin);
    let query = list(&mut s);
    s.input(Input::Done(query, Completion::Fault(Fault::Overloaded)));
    assert!(matches!(left(&mut s)[..], [ServiceEffect::Arm(RegistryTimer::List, _)]));
    s.input(Input::Timer(RegistryTimer::List));
    let query = list(&mut s);
    s.input(Input::Done(query, listed(&[])));
    let query = asked(&mut s);
    s.input(Input::Done(query, Completion::Answer(Answer::Pd(PdReply::Store(None)))));
    assert!(matches!(special(&mut s), RegistryEffect::Remove { .. }));
}

/// What is told of the store's liveness, and when the next probe is.
#[track_caller]
fn alive(s: &mut Script) -> (Option<Liveness>, Option<Instant>) {
    let (mut alive, mut next) = (None, None);
    for effect in left(s) {
        match effect {
            ServiceEffect::Special(RegistryEffect::Alive { store: STORE, liveness }) => {
                alive = Some(liveness)
            }
            ServiceEffect::Arm(RegistryTimer::Probe(STORE), at) => next = Some(at),
            ServiceEffect::Disconnect(address) => assert_eq!(&*address, "a:1"),
            other => panic!("{other:?}"),
        }
    }
    (alive, next)
}

// client-go: region_cache_test.go: TestHealthCheckWithAddressChange; store_cache.go: startHealthCheckLoop.
#[test]
fn a_store_that_fails_its_probe_is_probed_each_second_until_it_serves() {
    let mut s = ServiceScript::given(Registry::default());
    up(&mut s);
    check(&mut s);
    let ticket = probe(&mut s);
    says(&mut s, ticket, 2);
    let (liveness, next) = alive(&mut s);
    assert_eq!((liveness, next), (Some(Liveness::Unreachable), Some(s.now + Duration::from_secs(1))));
    check(&mut s);
    s.expect_nothing();
    for (status, told) in [(2, None), (0, Some(Liveness::Unknown)), (3, None)] {
        s.now = next.unwrap().max(s.now + Duration::from_secs(1));
        s.input(Input::Timer(RegistryTimer::Probe(STORE)));
        let ticket = probe(&mut s);
        says(&mut s, ticket, status);
        assert_eq!(alive(&mut s), (told, Some(s.now + Duration::from_secs(1))), "{status}");
    }
    s.now = s.now + Duration::from_secs(30);
    s.input(Input::Timer(RegistryTimer::Probe(STORE)));
    let query = asked(&mut s);
    s.input(Input::Done(query, store("a:1", StoreState::Up)));
    let ticket = probe(&mut s);
    says(&mut s, ticket, 1);
    assert_eq!(alive(&mut s), (Some(Liveness::Reachable), None));
    check(&mut s);
    probe(&mut s);
}

#[test]
fn a_probe_of_a_store_that_serves_tells_nothing() {
    let mut s = ServiceScript::given(Registry::default());
    up(&mut s);
    check(&mut s);
    let ticket = probe(&mut s);
    says(&mut s, ticket, 1);
    assert_eq!(alive(&mut s), (None, None));
}

#[test]
fn without_a_liveness_timeout_no_store_is_probed() {
    let config = StoreConfig { liveness_timeout: Duration::ZERO, ..StoreConfig::default() };
    let mut s = ServiceScript::given(Registry::new(config));
    up(&mut s);
    check(&mut s);
    s.expect_nothing();
}

#[test]
fn safe_timestamps_are_asked_for_from_the_first_time_that_somebody_wants_them() {
    let mut s = ServiceScript::given(Registry::default());
    up(&mut s);
    s.command(RegistryCommand::WatchSafeTs);
    s.command(RegistryCommand::WatchSafeTs);
    let asked = left(&mut s);
    let [ServiceEffect::Arm(RegistryTimer::SafeTs, at), ServiceEffect::Unary { ticket, path, .. }] =
        &asked[..]
    else {
        panic!("{asked:?}")
    };
    assert_eq!((*at, *path), (s.now + Duration::from_secs(2), "/tikvpb.Tikv/GetStoreSafeTS"));
    s.input(Input::Timer(RegistryTimer::SafeTs));
    assert_eq!(left(&mut s).len(), 1, "who has not answered is not asked again");
    s.input(Input::Done(*ticket, Completion::Response(vec![0x08, 77].into())));
    let told = left(&mut s);
    let [ServiceEffect::Special(RegistryEffect::SafeTs { store: STORE, ts })] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(*ts, Timestamp(77));
}

#[test]
fn a_store_that_told_of_trouble_is_asked_how_it_is() {
    let mut s = ServiceScript::given(Registry::default());
    up(&mut s);
    s.input(Input::Timer(RegistryTimer::Judge));
    assert!(matches!(special(&mut s), RegistryEffect::Judge { silent } if silent == Duration::from_secs(15)));
    left(&mut s);
    s.command(RegistryCommand::AskHealth { store: STORE });
    let asked = left(&mut s);
    let [ServiceEffect::Unary { ticket, path: "/tikvpb.Tikv/GetHealthFeedback", .. }] = &asked[..] else {
        panic!("{asked:?}")
    };
    let feedback = pb::HealthFeedback { store_id: STORE.0, feedback_seq_no: 1, slow_score: 93 };
    let answer = pb::GetHealthFeedbackResponse { health_feedback: Some(feedback), ..Default::default() };
    let body = prost::Message::encode_to_vec(&answer);
    s.input(Input::Done(*ticket, Completion::Response(body.into())));
    let told = left(&mut s);
    assert!(
        matches!(told[..], [ServiceEffect::Report(Feedback::Health { store: STORE, slow_score: 93 })]),
        "{told:?}"
    );
}
