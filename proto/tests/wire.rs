//! What the messages are on the wire: fixed bytes, round trips, and bytes from newer or broken senders.

use std::fmt::Debug;

use prost::Message;
use prost::bytes::Bytes;
use tikv_proto::kvrpcpb::{
    Context, GetRequest, KeyError, LockInfo, Mutation, Op, PrewriteRequest, PrewriteResponse, context,
};
use tikv_proto::metapb::{Peer, Region, RegionEpoch};
use tikv_proto::pdpb::{QueryRegionResponse, RegionResponse, TsoResponse};
use tikv_proto::tikvpb::BatchCommandsRequest;
use tikv_proto::tikvpb::batch_commands_request::{Request, request::Cmd};

fn context() -> Context {
    Context {
        region_id: 42,
        region_epoch: Some(RegionEpoch { conf_ver: 3, version: 17 }),
        peer: Some(Peer { id: 5, store_id: 1, ..Default::default() }),
        resolved_locks: vec![1, 300, u64::MAX],
        request_source: "external_commit".to_owned(),
        keyspace: Some(context::Keyspace::KeyspaceId(0)),
        ..Default::default()
    }
}

fn prewrite() -> PrewriteRequest {
    PrewriteRequest {
        context: Some(context()),
        mutations: vec![
            Mutation { op: Op::Put.into(), key: "k1".into(), value: "v1".into(), ..Default::default() },
            Mutation { op: Op::SharedLock.into(), key: "k2".into(), ..Default::default() },
        ],
        primary_lock: "k1".into(),
        start_version: 1 << 60,
        lock_ttl: 3000,
        secondaries: vec!["k2".into(), Bytes::new()],
        try_one_pc: true,
        ..Default::default()
    }
}

fn same_after_a_round_trip<M: Message + Debug + Default + PartialEq>(message: &M) {
    let encoded = message.encode_to_vec();
    assert_eq!(encoded.len(), message.encoded_len());
    assert!(!encoded.is_empty(), "an empty message proves nothing");
    assert_eq!(M::decode(&encoded[..]).as_ref(), Ok(message));
}

#[test]
fn a_get_has_the_bytes_that_its_field_numbers_say() {
    let get = GetRequest { key: "ab".into(), version: 300, need_commit_ts: true, ..Default::default() };
    // Tags are number << 3 | wire type: key 2 (length-delimited), version 3 and need_commit_ts 4 (varint).
    assert_eq!(get.encode_to_vec(), [0x12, 2, b'a', b'b', 0x18, 0xac, 0x02, 0x20, 1]);
}

#[test]
fn messages_are_the_same_after_a_round_trip() {
    same_after_a_round_trip(&prewrite());
    same_after_a_round_trip(&BatchCommandsRequest {
        requests: vec![
            Request { cmd: Some(Cmd::Prewrite(prewrite())) },
            Request { cmd: Some(Cmd::Get(GetRequest { key: "k".into(), ..Default::default() })) },
            Request { cmd: Some(Cmd::Empty(Default::default())) },
        ],
        request_ids: vec![1, 2, u64::MAX],
        ..Default::default()
    });
    let lock = LockInfo { primary_lock: "p".into(), lock_ttl: 1, ..Default::default() };
    let shared = LockInfo { shared_lock_infos: vec![lock.clone(), lock], ..Default::default() };
    same_after_a_round_trip(&PrewriteResponse {
        errors: vec![KeyError { locked: Some(Box::new(shared)), ..Default::default() }],
        ..Default::default()
    });
    let timestamp = tikv_proto::pdpb::Timestamp { physical: i64::MAX, logical: -1, suffix_bits: 0 };
    same_after_a_round_trip(&TsoResponse { count: 8, timestamp: Some(timestamp), ..Default::default() });
}

#[test]
fn a_chosen_default_of_a_oneof_is_sent() {
    // Keyspace 0 exists, so that "keyspace 0" and "no keyspace" must differ.
    let none = Context::default();
    let zero = Context { keyspace: Some(context::Keyspace::KeyspaceId(0)), ..Default::default() };
    assert_eq!(none.encode_to_vec(), b"");
    assert_eq!(zero.encode_to_vec(), [0x80, 0x02, 0], "field 32, varint 0");
    assert_eq!(Context::decode(&[0x80, 0x02, 0][..]).unwrap(), zero);
}

#[test]
fn maps_are_encoded_in_the_order_of_their_keys() {
    let region =
        |id| RegionResponse { region: Some(Region { id, ..Default::default() }), ..Default::default() };
    let ids = [9, 2, 400, 1];
    let response = QueryRegionResponse {
        key_id_map: ids.to_vec(),
        regions_by_id: ids.iter().map(|id| (*id, region(*id))).collect(),
        ..Default::default()
    };
    let reversed = QueryRegionResponse {
        regions_by_id: ids.iter().rev().map(|id| (*id, region(*id))).collect(),
        ..response.clone()
    };
    assert_eq!(response.encode_to_vec(), reversed.encode_to_vec());
    same_after_a_round_trip(&response);
}

#[test]
fn fields_of_a_newer_schema_are_skipped() {
    let mut encoded = prewrite().encode_to_vec();
    // Field 2000 in each wire type that proto3 has: tag 2000 << 3 | type, as a varint.
    encoded.extend([0x80, 0x7d, 0x96, 0x01]);
    encoded.extend([0x81, 0x7d, 1, 2, 3, 4, 5, 6, 7, 8]);
    encoded.extend([0x82, 0x7d, 3, b'n', b'e', b'w']);
    encoded.extend([0x85, 0x7d, 1, 2, 3, 4]);
    assert_eq!(PrewriteRequest::decode(&encoded[..]).unwrap(), prewrite());
}

#[test]
fn a_value_of_a_newer_enum_is_kept_as_its_number() {
    let mutation = Mutation::decode(&[0x08, 99][..]).unwrap();
    assert_eq!(mutation.op, 99);
    assert!(Op::try_from(mutation.op).is_err());
    assert_eq!(mutation.encode_to_vec(), [0x08, 99]);
}

#[test]
fn a_command_of_a_newer_schema_leaves_the_frame_readable() {
    // requests (field 1): one of 3 bytes whose field 150 (length 0) no variant has; request_ids (field 2): 7.
    let frame = [0x0a, 3, 0xb2, 0x09, 0, 0x12, 1, 7];
    let decoded = BatchCommandsRequest::decode(&frame[..]).unwrap();
    assert_eq!(decoded.requests, [Request { cmd: None }]);
    assert_eq!(decoded.request_ids, [7]);
}

#[test]
fn a_body_encoded_once_takes_a_context_for_each_attempt() {
    // Concatenated encodings merge: the store sees the request as if it had been encoded whole.
    let whole = prewrite();
    let mut attempt = PrewriteRequest { context: None, ..whole.clone() }.encode_to_vec();
    PrewriteRequest { context: whole.context.clone(), ..Default::default() }.encode(&mut attempt).unwrap();
    assert_eq!(PrewriteRequest::decode(&attempt[..]).unwrap(), whole);
}

#[test]
fn cut_bytes_are_refused_or_give_less() {
    let encoded = prewrite().encode_to_vec();
    let mut refused = 0;
    for end in 0..encoded.len() {
        match PrewriteRequest::decode(&encoded[..end]) {
            Ok(shorter) => assert_ne!(shorter, prewrite()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > encoded.len() / 2, "most cuts fall inside a field, {refused} were refused");
}

#[test]
fn garbled_bytes_are_refused_or_give_a_message_that_is_whole() {
    let encoded = prewrite().encode_to_vec();
    let (mut refused, mut changed) = (0, 0);
    for (at, bit) in (0..encoded.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut garbled = encoded.clone();
        garbled[at] ^= 1 << bit;
        // Not every bit counts: a `true` of 3 is a `true` of 1.
        match PrewriteRequest::decode(&garbled[..]) {
            Ok(other) => {
                changed += usize::from(other != prewrite());
                same_after_a_round_trip(&other);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0 && changed > 0, "{refused} refused, {changed} changed");
}
