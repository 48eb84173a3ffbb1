//! The codecs: keys, regions' bounds, contexts, key errors and addresses, from any bytes.
//!
//! Memcomparable bytes are judged by their laws (round trip, order, prefix, ceiling) and against the embedded cluster's own
//! codec, which was written apart; what is appended to requests or looked up in responses by hand is judged against prost.

use prost::Message;
use tikv_client_core::codec::{Mode, memcomparable};
use tikv_client_core::lock::{Refusal, classify};
use tikv_client_core::machine::Attempt;
use tikv_client_core::pd::parse_endpoints;
use tikv_client_core::request::{Command, Profile, append_context, response};
use tikv_client_core::types::{Key, KeyRange, Located, PeerId, RegionId, RegionVersion, StoreId};
use tikv_embedded::model::key as theirs;
use tikv_proto::{kvrpcpb as pb, metapb};

use super::replies::key_error;
use crate::choices::Choices;

/// Keys of any length, with the bytes that padding and markers have.
fn key(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(3) {
        0 => choices.key().0.to_vec(),
        1 => choices.bytes(40).to_vec(),
        _ => (0..choices.below(20)).map(|_| *choices.of(&[0, 1, 0xf7, 0xfe, 0xff])).collect(),
    }
}

/// Bytes that are an encoding, nearly one, or anything.
fn bound(choices: &mut Choices<'_>) -> Vec<u8> {
    let encoded = memcomparable::encode(&key(choices));
    match choices.below(3) {
        0 => key(choices),
        1 => choices.spoil(encoded.into()).to_vec(),
        _ => [encoded, key(choices)].concat(),
    }
}

fn keys(choices: &mut Choices<'_>) {
    let (a, b, rest) = (key(choices), key(choices), key(choices));
    let (of_a, of_b) = (memcomparable::encode(&a), memcomparable::encode(&b));
    assert_eq!(of_a.len(), memcomparable::encoded_len(a.len()));
    assert_eq!(of_a, theirs::encode(&a));
    assert_eq!(of_a.cmp(&of_b), a.cmp(&b), "{a:?} {b:?}");
    let followed = [&of_a[..], &rest].concat();
    assert_eq!(memcomparable::decode(&followed), Ok((a.clone(), &rest[..])));
    if a != b {
        assert!(!of_b.starts_with(&of_a), "an encoding begins another");
        assert_eq!(followed.cmp(&of_b), a.cmp(&b), "{a:?} {b:?} {rest:?}");
    }
    assert!(memcomparable::decode(&of_a[..of_a.len() - 1]).is_err(), "a cut encoding is read");
    for mode in [Mode::Raw, Mode::Txn] {
        let range = KeyRange::new(a.clone(), b.clone());
        let (start, end) = mode.encode_range(&range);
        assert_eq!(mode.decode_range(&start, &end), Ok(range));
    }
    let (low, next) = (Key::from(a.clone()), Key::from(a.clone()).next());
    assert!(
        low < next && (Key::from(b.clone()) <= low || next <= Key::from(b.clone())),
        "a key lies between two neighbours"
    );
    let prefixed = KeyRange::prefix(a.clone());
    assert_eq!(prefixed.contains(&b), b.starts_with(&a), "{b:?} in {prefixed:?}");
}

fn bounds(choices: &mut Choices<'_>) {
    let (start, end, key) = (bound(choices), bound(choices), key(choices));
    match (memcomparable::decode(&start), theirs::decode_prefix(&start)) {
        (Ok((ours, rest)), Some((key, behind))) => {
            assert_eq!((&ours, rest), (&key, behind));
            assert_eq!([&memcomparable::encode(&ours)[..], rest].concat(), start);
        }
        (Err(error), None) => assert!(!error.to_string().is_empty()),
        (ours, other) => panic!("{start:?} is {ours:?} and {other:?}"),
    }
    let ceiling = memcomparable::decode_ceiling(&start);
    assert!(memcomparable::encode(&ceiling) >= start);
    assert_eq!(memcomparable::encode(&key) < start, key < ceiling, "{key:?} {start:?}");
    for mode in [Mode::Raw, Mode::Txn] {
        let within =
            KeyRange::new(start.clone(), end.clone()).contains(&mode.encode_key(&Key::from(key.clone())));
        let range = mode.ceil_range(&start, &end);
        assert_eq!(
            range.is_some_and(|range| range.contains(&key)),
            within,
            "{mode:?} {start:?} {end:?} {key:?}"
        );
    }
}

fn contexts(choices: &mut Choices<'_>) {
    let [id, version, conf_ver, peer, store] =
        [0; 5].map(|_: u64| choices.any::<u64>() >> (choices.any::<u8>() % 64));
    let region = RegionVersion { id: RegionId(id), version, conf_ver };
    let to = Located { region, peer: PeerId(peer), store: StoreId(store) };
    let attempt = Attempt { retry: choices.one_in(2), max_execution_ms: choices.any(), ..Attempt::first(to) };
    let shared = pb::Context {
        priority: choices.below(3) as i32,
        resolved_locks: (0..choices.below(4)).map(|_| choices.any()).collect(),
        request_source: "fuzz".into(),
        ..Default::default()
    };
    let message = pb::GetRequest { key: choices.key().0, version: choices.any(), ..Default::default() };
    let mut wire = message.encode_to_vec();
    append_context(&Profile::new(&shared), &attempt, &mut wire);
    // No region has the id 0: the request is for a store as a whole.
    let to_region = id != 0;
    let expected = pb::GetRequest {
        context: Some(pb::Context {
            region_id: id,
            region_epoch: to_region.then_some(metapb::RegionEpoch { conf_ver, version }),
            peer: to_region.then(|| metapb::Peer { id: peer, store_id: store, ..Default::default() }),
            max_execution_duration_ms: attempt.max_execution_ms.into(),
            is_retry_request: attempt.retry,
            request_source: if id == 0 { "fuzz".into() } else { "leader_fuzz".into() },
            ..shared
        }),
        ..message
    };
    assert_eq!(pb::GetRequest::decode(wire.as_slice()).expect("a whole message"), expected);
}

/// A region error is found in a response just where prost finds it.
fn responses(choices: &mut Choices<'_>) {
    let error = crate::errors::any(choices);
    let refused = pb::RawGetResponse { region_error: Some(Box::new(error)), ..Default::default() };
    let value =
        pb::RawGetResponse { value: choices.bytes(30), not_found: choices.one_in(2), ..Default::default() };
    let mut wire = Vec::new();
    for _ in 0..choices.below(4) {
        wire.extend(if choices.one_in(2) { &refused } else { &value }.encode_to_vec());
    }
    let wire = choices.spoil(wire.into());
    if let Ok(whole) = pb::RawGetResponse::decode(wire.clone()) {
        assert_eq!(
            response::region_error(Command::RawGet, &wire),
            Ok(whole.region_error.map(|error| *error))
        );
    } else if let Err(error) = response::region_error(Command::RawGet, &wire) {
        assert!(!error.to_string().is_empty());
    }
}

/// Every key error says something, and a lock of it keeps its fields.
fn key_errors(choices: &mut Choices<'_>) {
    let error = match choices.below(3) {
        0 => pb::KeyError::decode(choices.bytes(60)).unwrap_or_default(),
        1 => {
            let wire = key_error(choices).encode_to_vec().into();
            pb::KeyError::decode(choices.spoil(wire)).unwrap_or_default()
        }
        _ => key_error(choices),
    };
    let locked = error.locked.clone();
    let read = classify(error.clone());
    assert_eq!(read, classify(error));
    match (locked, read) {
        (Some(info), Refusal::Locked(locks)) if info.shared_lock_infos.is_empty() => {
            let [lock] = &locks[..] else { panic!("one lock is told as {locks:?}") };
            assert_eq!((&lock.key.0, &lock.primary.0), (&info.key, &info.primary_lock));
            assert_eq!((lock.start_ts.0, lock.ttl_ms), (info.lock_version, info.lock_ttl));
        }
        (Some(info), Refusal::Locked(locks)) => assert_eq!(locks.len(), info.shared_lock_infos.len()),
        (Some(_), other) => panic!("a lock is {other:?}"),
        (None, Refusal::Refused(text)) => assert!(!text.is_empty(), "a refusal says nothing"),
        (None, _) => {}
    }
}

fn addresses(choices: &mut Choices<'_>) {
    const PARTS: [&str; 12] =
        ["http://", "https://", "[", "]", "::1", ":", "2379", "pd-1.pd", "/", " ", "é", "0"];
    let mut text: String = (0..choices.below(8)).map(|_| *choices.of(&PARTS)).collect();
    text.push_str(&String::from_utf8_lossy(&choices.bytes(10)));
    match parse_endpoints(&[&text]) {
        Ok(all) => {
            assert_eq!(parse_endpoints(&[&all[0]]), Ok(all.clone()), "{text:?}");
            assert!(text.contains(&*all[0]), "{text:?} was read as {all:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// See the module.
pub(crate) fn check(choices: &mut Choices<'_>) {
    for _ in 0..20 {
        if choices.is_over() {
            break;
        }
        match choices.below(8) {
            0 | 1 => keys(choices),
            2 | 3 => bounds(choices),
            4 => contexts(choices),
            5 => responses(choices),
            6 => key_errors(choices),
            _ => addresses(choices),
        }
    }
}
