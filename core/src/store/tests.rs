//! The registry at its boundary.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::error::ServiceError;
use crate::machine::script::ServiceScript;
use crate::machine::{
    Answer, Attempt, Completion, Fault, Input, Interrupt, ServiceEffect, TicketId, TransportClass,
};
use crate::pd::{PdQuery, PdReply, StoreInfo, StoreState};
use crate::request::{Profile, Request};
use crate::stream::StreamCommand;
use crate::types::{Instant, Located, PeerId, RegionId, RegionVersion, StoreId};
use tikv_proto::kvrpcpb as pb;

type Script = ServiceScript<Registry>;

const STORE: StoreId = StoreId(4);

fn call(s: &Script, n: u32, deadline: Instant) -> RegistryCommand {
    let attempt = Attempt {
        to: Located {
            region: RegionVersion { id: RegionId(3), version: 2, conf_ver: 1 },
            peer: PeerId(5),
            store: STORE,
        },
        retry: false,
        max_execution_ms: 0,
    };
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
            ServiceEffect::Special(special) => return special,
            ServiceEffect::Arm(..) => {}
            other => panic!("wanted an effect of the registry, got {other:?}"),
        }
    }
}

fn store(address: &str, state: StoreState) -> Completion {
    let info = StoreInfo { id: STORE, address: address.into(), state, labels: Vec::new() };
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
    s.command(RegistryCommand::Check { store: STORE });
    s.expect_nothing();
    s.now = s.now + Duration::from_secs(1);
    s.command(RegistryCommand::Check { store: STORE });
    let query = asked(&mut s);
    s.command(RegistryCommand::Check { store: STORE });
    s.expect_nothing();
    s.input(Input::Done(query, store("b:2", StoreState::Up)));
    assert!(matches!(special(&mut s), RegistryEffect::Move { address, .. } if &*address == "b:2"));
    s.expect_nothing();
}

#[test]
fn a_check_that_finds_the_same_address_or_no_pd_changes_nothing() {
    for answer in [store("a:1", StoreState::Up), Completion::Fault(Fault::Overloaded)] {
        let mut s = ServiceScript::given(Registry::default());
        up(&mut s);
        s.now = s.now + Duration::from_secs(1);
        s.command(RegistryCommand::Check { store: STORE });
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
    s.command(RegistryCommand::Check { store: STORE });
    let query = asked(&mut s);
    s.input(Input::Done(query, store("a:1", StoreState::Tombstone)));
    assert!(matches!(special(&mut s), RegistryEffect::Remove { .. }));
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
