use super::*;

#[test]
fn connecting_asks_every_address_and_ends_with_the_last_answer() {
    let mut pd = three();
    let asker = pd.asker(3);
    pd.command(PdCommand::Connect { asker });
    assert_eq!(armed(&mut pd, PdTimer::Connect), Instant(10_000_000_000));
    let [a, b, c] = ["a:1", "b:1", "c:1"].map(|of| asked_members(&mut pd, of));
    say(&mut pd, b, &members("b:1"));
    fail(&mut pd, a, TransportClass::Unreachable, "refused");
    pd.expect_nothing();
    say(&mut pd, c, &members("b:1"));
    armed(&mut pd, PdTimer::Members);
    disarmed(&mut pd, PdTimer::Connect);
    assert_eq!(pd.answered(), Some((3, leader_reply("b:1"))));
    pd.expect_nothing();
}

#[test]
fn addresses_of_different_clusters_are_refused_and_none_is_adopted() {
    let mut pd = three();
    let asker = pd.asker(3);
    pd.command(PdCommand::Connect { asker });
    armed(&mut pd, PdTimer::Connect);
    let [a, b, c] = ["a:1", "b:1", "c:1"].map(|of| asked_members(&mut pd, of));
    let mut other = members("c:1");
    other.header.as_mut().unwrap().cluster_id = 8;
    say(&mut pd, c, &other);
    say(&mut pd, a, &members("a:1"));
    say(&mut pd, b, &members("a:1"));
    armed(&mut pd, PdTimer::Members);
    let (wanted, found) = (ClusterId(7), ClusterId(8));
    assert_eq!(refused(&mut pd), (3, ServiceError::ClusterMismatch { address: "c:1".into(), wanted, found }));
    disarmed(&mut pd, PdTimer::Connect);
    pd.expect_nothing();
    // Who connects again finds out anew.
    pd.now = Instant(1_000_000_000);
    let asker = pd.asker(4);
    pd.command(PdCommand::Connect { asker });
    armed(&mut pd, PdTimer::Connect);
    for of in ["a:1", "b:1", "c:1"] {
        asked_members(&mut pd, of);
    }
}

#[test]
fn connecting_gives_up_with_every_address_and_the_last_failure() {
    let mut pd = three();
    let asker = pd.asker(3);
    pd.command(PdCommand::Connect { asker });
    let until = armed(&mut pd, PdTimer::Connect);
    let mut rounds = 0;
    while pd.now < until {
        for of in ["a:1", "b:1", "c:1"] {
            let ticket = asked_members(&mut pd, of);
            fail(&mut pd, ticket, TransportClass::Unreachable, of);
        }
        rounds += 1;
        armed(&mut pd, PdTimer::Members);
        let next = armed(&mut pd, PdTimer::Members);
        assert!(next > pd.now && next <= pd.now + Duration::from_secs(1));
        pd.now = next.min(until);
        if pd.now < until {
            pd.input(Input::Timer(PdTimer::Members));
        }
    }
    assert!((8..30).contains(&rounds), "{rounds} rounds in 10 s: pauses grow to a second");
    pd.input(Input::Timer(PdTimer::Connect));
    let (n, error) = refused(&mut pd);
    assert_eq!(n, 3);
    insta::assert_snapshot!(error, @"no PD answers at a:1, b:1, c:1: unreachable: c:1");
    pd.expect_nothing();
}

#[test]
fn who_connects_again_is_answered_at_once() {
    let mut pd = led();
    let asker = pd.asker(1);
    pd.command(PdCommand::Connect { asker });
    assert_eq!(pd.answered(), Some((1, leader_reply("a:1"))));
    pd.expect_nothing();
}

#[test]
fn a_member_without_a_leader_or_with_an_error_is_passed_over() {
    let mut pd = led();
    pd.input(Input::Timer(PdTimer::Members));
    let a = asked_members(&mut pd, "a:1");
    say(&mut pd, a, &pdpb::GetMembersResponse { header: header(), ..Default::default() });
    let b = asked_members(&mut pd, "b:1");
    let header = error_header(pdpb::ErrorType::Unknown, "etcd");
    say(&mut pd, b, &pdpb::GetMembersResponse { header, ..members("b:1") });
    let c = asked_members(&mut pd, "c:1");
    say(&mut pd, c, &members("c:1"));
    armed(&mut pd, PdTimer::Members);
    ask(&mut pd, 1, PdQuery::Leader { instead_of: None }, 1);
    assert_eq!(pd.answered(), Some((1, leader_reply("c:1"))));
    pd.expect_nothing();
}

#[test]
fn the_members_are_asked_again_every_minute() {
    let mut pd = three();
    let asker = pd.asker(0);
    pd.command(PdCommand::Connect { asker });
    armed(&mut pd, PdTimer::Connect);
    for of in ["a:1", "b:1", "c:1"] {
        let ticket = asked_members(&mut pd, of);
        say(&mut pd, ticket, &members("b:1"));
    }
    assert_eq!(armed(&mut pd, PdTimer::Members), Instant(60_000_000_000));
    disarmed(&mut pd, PdTimer::Connect);
    pd.answered();
    pd.now = Instant(60_000_000_000);
    pd.input(Input::Timer(PdTimer::Members));
    // The leader knows best.
    let b = asked_members(&mut pd, "b:1");
    say(&mut pd, b, &members("b:1"));
    assert_eq!(armed(&mut pd, PdTimer::Members), Instant(120_000_000_000));
    pd.expect_nothing();
}

#[test]
fn members_that_are_gone_are_disconnected_and_given_addresses_stay_a_last_resort() {
    let mut pd = led();
    pd.input(Input::Timer(PdTimer::Members));
    let a = asked_members(&mut pd, "a:1");
    let moved = pdpb::GetMembersResponse {
        header: header(),
        members: vec![member("a:1"), member("d:1")],
        leader: Some(member("d:1")),
        ..Default::default()
    };
    say(&mut pd, a, &moved);
    for gone in ["b:1", "c:1"] {
        assert!(matches!(pd.effect(), ServiceEffect::Disconnect(address) if &*address == gone));
    }
    armed(&mut pd, PdTimer::Members);
    pd.now = pd.now + Duration::from_secs(60);
    pd.input(Input::Timer(PdTimer::Members));
    for of in ["d:1", "a:1", "b:1", "c:1"] {
        let ticket = asked_members(&mut pd, of);
        fail(&mut pd, ticket, TransportClass::TimedOut, of);
    }
    armed(&mut pd, PdTimer::Members);
    pd.expect_nothing();
}

#[test]
fn instead_of_a_leader_others_are_asked_first_and_a_new_leader_is_believed() {
    let mut pd = led();
    pd.now = Instant(1_000_000_000);
    ask(&mut pd, 1, PdQuery::Leader { instead_of: Some("a:1".into()) }, 9);
    let b = asked_members(&mut pd, "b:1");
    query_armed(&mut pd);
    say(&mut pd, b, &members("c:1"));
    armed(&mut pd, PdTimer::Members);
    query_disarmed(&mut pd);
    assert_eq!(pd.answered(), Some((1, leader_reply("c:1"))));
    // Somebody who found out later about the old leader is answered at once.
    ask(&mut pd, 2, PdQuery::Leader { instead_of: Some("a:1".into()) }, 9);
    assert_eq!(pd.answered(), Some((2, leader_reply("c:1"))));
    pd.expect_nothing();
}

#[test]
fn the_doubted_leader_is_believed_only_when_all_have_named_it() {
    let mut pd = led();
    pd.now = Instant(1_000_000_000);
    ask(&mut pd, 1, PdQuery::Leader { instead_of: Some("a:1".into()) }, 9);
    for of in ["b:1", "c:1", "a:1"] {
        let ticket = asked_members(&mut pd, of);
        if of == "b:1" {
            query_armed(&mut pd);
        }
        pd.expect_nothing();
        say(&mut pd, ticket, &members("a:1"));
    }
    armed(&mut pd, PdTimer::Members);
    query_disarmed(&mut pd);
    assert_eq!(pd.answered(), Some((1, leader_reply("a:1"))));
    // Doubted again at once, it is looked for after a pause.
    ask(&mut pd, 2, PdQuery::Leader { instead_of: Some("a:1".into()) }, 9);
    let at = armed(&mut pd, PdTimer::Members);
    assert!(at > pd.now && at < pd.now + Duration::from_millis(50));
    query_armed(&mut pd);
    pd.expect_nothing();
    pd.now = at;
    pd.input(Input::Timer(PdTimer::Members));
    asked_members(&mut pd, "b:1");
}

#[test]
fn a_member_list_of_another_cluster_is_refused() {
    let mut pd = led();
    pd.now = Instant(1_000_000_000);
    ask(&mut pd, 1, PdQuery::Leader { instead_of: Some("a:1".into()) }, 9);
    for of in ["b:1", "c:1", "a:1"] {
        let ticket = asked_members(&mut pd, of);
        if of == "b:1" {
            query_armed(&mut pd);
        }
        let mut other = members("b:1");
        other.header.as_mut().unwrap().cluster_id = 8;
        say(&mut pd, ticket, &other);
    }
    armed(&mut pd, PdTimer::Members);
    query_disarmed(&mut pd);
    let (wanted, found) = (ClusterId(7), ClusterId(8));
    assert_eq!(refused(&mut pd), (1, ServiceError::ClusterMismatch { address: "a:1".into(), wanted, found }));
    pd.expect_nothing();
}

#[test]
fn one_foreign_member_does_not_hide_the_good_ones() {
    let mut pd = led();
    pd.now = Instant(1_000_000_000);
    ask(&mut pd, 1, PdQuery::Leader { instead_of: Some("a:1".into()) }, 9);
    let b = asked_members(&mut pd, "b:1");
    query_armed(&mut pd);
    let mut other = members("b:1");
    other.header.as_mut().unwrap().cluster_id = 8;
    say(&mut pd, b, &other);
    let c = asked_members(&mut pd, "c:1");
    say(&mut pd, c, &members("c:1"));
    armed(&mut pd, PdTimer::Members);
    query_disarmed(&mut pd);
    assert_eq!(pd.answered(), Some((1, leader_reply("c:1"))));
    pd.expect_nothing();
}
