//! Token buckets over time.

use proptest::prelude::*;
use tikv_proto::resource_manager::{
    RequestUnitItem, TokenBucketRequest, TokenBucketsRequest, TokenBucketsResponse, token_bucket_request,
};
use tikv_proto::{meta_storagepb, methods};

use super::super::tests::World;
use super::*;

/// What a client is granted of a group: tokens, and the milliseconds to spread them over.
fn ask(world: &mut World, client: u64, tokens: f64) -> (f64, i64) {
    let item = RequestUnitItem { value: tokens, ..Default::default() };
    let items = token_bucket_request::RequestRu { request_r_u: vec![item] };
    let request = TokenBucketRequest {
        resource_group_name: "g".into(),
        request: Some(token_bucket_request::Request::RuItems(items)),
        ..Default::default()
    };
    let request = TokenBucketsRequest {
        requests: vec![request],
        target_request_period_ms: 1_000,
        client_unique_id: client,
    };
    let answer: TokenBucketsResponse = world.ask(methods::resource_manager::ACQUIRE_TOKEN_BUCKETS, &request);
    // What cannot be counted is not granted at all.
    let Some(granted) = answer.responses[0].granted_r_u_tokens.first() else { return (0.0, 0) };
    (granted.granted_tokens.expect("tokens").tokens, granted.trickle_time_ms)
}

fn world(fill_rate: u64, burst: i64) -> World {
    let mut world = World::new();
    world.pd.set_resource_group("g", fill_rate, burst).expect("fine settings");
    world
}

#[test]
fn a_group_without_burst_lends_two_periods_and_then_only_the_reserve() {
    let mut world = world(100, 0);
    assert_eq!(ask(&mut world, 1, 10.0), (10.0, 1_000));
    // What is left of a loan at twice the rate, and in the rest of the period at the rate itself.
    let (granted, spread) = ask(&mut world, 1, 1_000_000.0);
    assert!((granted - 195.0).abs() < 1e-9, "{granted}");
    assert_eq!(spread, 1_000);
    let (granted, _) = ask(&mut world, 1, 1_000_000.0);
    assert!((granted - 95.0).abs() < 1e-9, "{granted}");
    let (granted, _) = ask(&mut world, 1, 1_000_000.0);
    assert!((granted - 50.0).abs() < 1e-9, "half of what comes in a period: {granted}");
}

#[test]
fn a_group_with_burst_grants_at_once_what_it_has_and_fills_up_with_time() {
    let mut world = world(100, 1_000);
    assert_eq!(ask(&mut world, 1, 400.0), (400.0, 0), "a new group has initial tokens");
    assert_eq!(ask(&mut world, 1, 600.0), (600.0, 0));
    let (_, spread) = ask(&mut world, 1, 5_000.0);
    assert_eq!(spread, 1_000, "now it borrows");
    world.pass(3_600);
    assert_eq!(ask(&mut world, 1, 1_000.0), (1_000.0, 0), "full again, up to the burst limit");
}

#[test]
fn two_clients_share_the_rate_and_a_silent_one_gives_its_part_back() {
    let mut world = world(100, 0);
    ask(&mut world, 1, 1.0);
    ask(&mut world, 2, 1.0);
    let (granted, _) = ask(&mut world, 1, 1_000.0);
    assert!((granted - 99.5).abs() < 1e-9, "a loan on half of the rate, less what it has had: {granted}");
    // Nothing asked for is a client that leaves.
    assert_eq!(ask(&mut world, 2, 0.0), (0.0, 0));
    ask(&mut world, 3, 1.0);
    world.pass(601);
    let (granted, _) = ask(&mut world, 4, 1_000.0);
    assert!((granted - 200.0).abs() < 1e-9, "alone, with the whole rate: {granted}");
}

#[test]
fn amounts_that_cannot_be_counted_are_granted_nothing() {
    for amount in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut world = world(100, 0);
        let item = RequestUnitItem { value: amount, ..Default::default() };
        let items = token_bucket_request::RequestRu { request_r_u: vec![item] };
        let request = TokenBucketRequest {
            resource_group_name: "g".into(),
            request: Some(token_bucket_request::Request::RuItems(items)),
            ..Default::default()
        };
        let request = TokenBucketsRequest { requests: vec![request], ..Default::default() };
        let answer: TokenBucketsResponse =
            world.ask(methods::resource_manager::ACQUIRE_TOKEN_BUCKETS, &request);
        assert!(answer.responses[0].granted_r_u_tokens.is_empty(), "{amount}");
    }
}

#[test]
fn changes_and_the_end_of_a_group_are_seen_by_who_watches_its_settings() {
    let mut world = world(100, 0);
    let watch = meta_storagepb::WatchRequest {
        key: "resource_group/settings/".into(),
        range_end: "resource_group/settings0".into(),
        ..Default::default()
    };
    let mut watch = world.watch(methods::meta_storage::WATCH, &watch).expect("opens");
    world.pd.set_resource_group("g", 200, 0).expect("fine settings");
    world.pd.delete_group(NULL_KEYSPACE, "g").expect("there");
    let mut kinds = Vec::new();
    while let Some(answer) = world.pd.watched(&mut watch) {
        let answer: meta_storagepb::WatchResponse =
            super::super::decode(&answer.expect("goes on")).expect("its type");
        kinds.extend(answer.events.into_iter().map(|event| event.r#type()));
    }
    use meta_storagepb::event::EventType::{Delete, Put};
    assert_eq!(kinds, [Put, Delete]);
}

#[test]
fn a_watch_from_what_is_compacted_is_told_so_and_ends() {
    let mut world = world(100, 0);
    for rate in 1..5 {
        world.pd.set_resource_group("g", rate, 0).expect("fine settings");
    }
    let revision = world.pd.revision();
    world.pd.keys.compact(revision - 1).expect("a revision that is there");
    let watch = meta_storagepb::WatchRequest {
        key: "resource_group/settings/g".into(),
        start_revision: 2,
        ..Default::default()
    };
    let mut watch = world.watch(methods::meta_storage::WATCH, &watch).expect("opens");
    let told = world.pd.watched(&mut watch).expect("an answer").expect("a message");
    let told: meta_storagepb::WatchResponse = super::super::decode(&told).expect("its type");
    assert_eq!(told.compact_revision, revision - 1);
    let error = told.header.and_then(|header| header.error).map(|error| error.r#type());
    assert_eq!(error, Some(meta_storagepb::ErrorType::DataCompacted));
    assert!(world.pd.watched(&mut watch).expect("an end").is_err());
    assert_eq!(world.pd.watched(&mut watch), None);
}

#[test]
fn a_group_of_a_mode_that_pd_does_not_know_is_refused() {
    // A real PD ends with it.
    let group = ResourceGroup { name: "x".into(), ..Default::default() };
    let refused = World::new().pd.add_group(NULL_KEYSPACE, group);
    assert_eq!(refused, Err(GroupError::Invalid("the group mode")));
}

proptest! {
    /// Whatever clients ask for, and whatever becomes of the settings meanwhile.
    #[test]
    fn grants_are_never_more_than_asked_for_nor_odd_numbers(
        fill_rate in 0..2_000_u64,
        burst in -2..2_000_i64,
        asked in prop::collection::vec((0..3_u64, -10.0..1e6_f64, 0..30_u64, any::<bool>()), 1..40),
    ) {
        let mut world = world(fill_rate, burst);
        for (client, tokens, pause, changes) in asked {
            let (granted, spread) = ask(&mut world, client, tokens);
            prop_assert!(granted.is_finite() && granted >= tokens.min(0.0), "{granted} of {tokens}");
            prop_assert!(granted <= tokens.max(0.0) + 1e-6, "{granted} of {tokens}");
            prop_assert!((0..=1_000).contains(&spread), "{spread}");
            if changes {
                world.pd.set_resource_group("g", fill_rate / 2, burst).expect("fine settings");
            }
            world.pass(pause);
        }
    }
}
