//! The table of client-go's codec of API v2, and the laws of prefixes.

use bytes::Bytes;
use proptest::prelude::*;

use super::keyspace::{KeyspaceError, KeyspaceId, PREFIX_LEN, Prefix, split_key};
use super::memcomparable::{self, CodecError};
use super::{Mode, Placed};
use crate::types::{Key, KeyRange, KvPair};

fn id(id: u32) -> KeyspaceId {
    KeyspaceId::new(id).unwrap()
}

/// As client-go's tests: keyspace 4242, whose raw keys begin with `r 0 16 146`.
fn prefix() -> Prefix {
    Prefix::raw(id(4242))
}

fn encoded(prefix: [u8; 4], key: &[u8]) -> Bytes {
    memcomparable::encode(&[&prefix[..], key].concat()).into()
}

const OWN: [u8; 4] = [b'r', 0, 16, 146];
const BEFORE: [u8; 4] = [b'r', 0, 0, 1];
const JUST_BEFORE: [u8; 4] = [b'r', 0, 16, 145];
const END: [u8; 4] = [b'r', 0, 16, 147];
const BEHIND: [u8; 4] = [b'r', 1, 0, 0];

// client-go: internal/apicodec/codec_v2_test.go: TestNewCodecV2.
#[test]
fn a_prefix_is_the_mode_and_the_id_and_ends_before_the_next() {
    let table = [
        (Prefix::raw(id(4242)), OWN, END),
        (Prefix::raw(id((1 << 24) - 2)), [b'r', 255, 255, 254], [b'r', 255, 255, 255]),
        (Prefix::txn(id(0)), [b'x', 0, 0, 0], [b'x', 0, 0, 1]),
        (Prefix::txn(id(255)), [b'x', 0, 0, 255], [b'x', 0, 1, 0]),
        (Prefix::txn(id((1 << 16) - 1)), [b'x', 0, 255, 255], [b'x', 1, 0, 0]),
        // The last keyspace ends where the next mode begins.
        (Prefix::raw(id((1 << 24) - 1)), [b'r', 255, 255, 255], [b's', 0, 0, 0]),
        (Prefix::txn(KeyspaceId::MAX), [b'x', 255, 255, 255], [b'y', 0, 0, 0]),
    ];
    for (prefix, bytes, end) in table {
        assert_eq!((prefix.as_bytes(), prefix.end()), (&bytes, end), "{prefix:?}");
    }
    for out in [1 << 24, u32::MAX] {
        assert_eq!(KeyspaceId::new(out), Err(KeyspaceError::IdOutOfRange { id: out }));
    }
}

// client-go: internal/apicodec/codec_test.go: TestParseKeyspaceID, TestDecodeKey.
#[test]
fn a_key_says_its_keyspace_and_what_its_owner_calls_it() {
    let raw = [b'r', 1, 2, 3, 1, 2, 3, 4];
    let txn = [b'x', 1, 2, 3, 1, 2, 3];
    assert_eq!(KeyspaceId::of_key(&raw), Ok(id(0x01_02_03)));
    assert_eq!(KeyspaceId::of_key(&txn), Ok(id(0x01_02_03)));
    assert_eq!(split_key(&raw), Ok((Prefix::raw(id(0x01_02_03)), &[1, 2, 3, 4][..])));
    assert_eq!(split_key(&txn), Ok((Prefix::txn(id(0x01_02_03)), &[1, 2, 3][..])));
    assert_eq!(split_key(b"x\0\0\0"), Ok((Prefix::txn(id(0)), &[][..])));
    for none in [&b"t\0\0"[..], b"t\0\0\x01\x01\x02\x03", b"", b"r\0\0"] {
        assert_eq!(split_key(none), Err(KeyspaceError::NoPrefix { len: none.len() }), "{none:?}");
    }
}

// client-go: internal/apicodec/codec_test.go: TestCodecListUtilityFunctions.
#[test]
fn raw_keyspaces_lie_below_transactional_ones_and_tables_between() {
    let (last_raw, first_txn) = (Prefix::raw(KeyspaceId::MAX), Prefix::txn(id(0)));
    assert!(last_raw < first_txn && last_raw.end()[..] < b"t"[..] && b"t"[..] < first_txn.as_bytes()[..]);
}

// client-go: internal/apicodec/codec_v2_test.go: TestEncodeV2KeyRanges.
#[test]
fn an_open_end_is_the_end_of_the_keyspace() {
    let own = |key: &str| Key::from([&OWN[..], key.as_bytes()].concat());
    let table = [
        (KeyRange::ALL, KeyRange::new(&OWN, &END)),
        (KeyRange::new("", "z"), KeyRange::new(&OWN, own("z"))),
        (KeyRange::new("a", ""), KeyRange::new(own("a"), &END)),
        (KeyRange::new("a", "z"), KeyRange::new(own("a"), own("z"))),
    ];
    for (range, expected) in table {
        assert_eq!(prefix().encode_range(&range), expected);
    }
}

// client-go: internal/apicodec/codec_v2_test.go: TestDecodeEpochNotMatch.
#[test]
fn regions_are_cut_to_the_keyspace_and_those_outside_are_none() {
    let table = [
        (encoded(OWN, b""), encoded(END, b""), Ok(KeyRange::ALL)),
        (encoded(BEFORE, b""), encoded(BEHIND, b""), Ok(KeyRange::ALL)),
        (encoded(BEFORE, b""), encoded(OWN, b"d"), Ok(KeyRange::new("", "d"))),
        (encoded(OWN, b"d"), encoded(OWN, b"e"), Ok(KeyRange::new("d", "e"))),
        (encoded(OWN, b"d"), Bytes::new(), Ok(KeyRange::new("d", ""))),
        (Bytes::new(), Bytes::new(), Ok(KeyRange::ALL)),
        (encoded(BEFORE, b""), encoded(OWN, b""), Err(KeyspaceError::Elsewhere)),
        (encoded(END, b""), encoded(BEHIND, b""), Err(KeyspaceError::Elsewhere)),
        (encoded(END, b""), Bytes::new(), Err(KeyspaceError::Elsewhere)),
    ];
    for (start, end, expected) in table {
        assert_eq!(prefix().decode_region(&start, &end), expected, "{start:?} {end:?}");
    }
    // A cluster that was used with API v1 before: bounds that no key encodes to.
    assert_eq!(prefix().decode_region(b"a", b"z"), Ok(KeyRange::ALL));
}

// client-go: internal/apicodec/codec_v2_test.go: TestDecodeBucketKeys.
#[test]
fn buckets_are_those_within_the_keyspace() {
    let before = [encoded(JUST_BEFORE, b"a"), encoded(JUST_BEFORE, b"b"), encoded(JUST_BEFORE, b"c")];
    let own = [encoded(OWN, b"a"), encoded(OWN, b"b"), encoded(OWN, b"c")];
    let behind = [encoded(END, b""), encoded(END, b"a"), encoded(END, b"b")];
    let first = [encoded(OWN, b"")];
    let open = [Bytes::new()];
    let table: [&[&[Bytes]]; 4] = [
        &[&before, &own, &behind],
        &[&before, &first, &own, &open],
        &[&open, &before, &first, &own, &open],
        &[&open, &own, &open],
    ];
    for parts in table {
        let keys = prefix().decode_buckets(&parts.concat()).unwrap();
        assert_eq!(keys, ["", "a", "b", "c", ""].map(Key::from), "{parts:?}");
    }
    let error = CodecError::Truncated { offset: 0, left: 1 };
    assert_eq!(prefix().decode_buckets(&["a".into()]), Err(error));
}

#[test]
fn a_key_of_another_keyspace_does_not_leave() {
    let mut key = Key::from(&[b'r', 0, 16, 147, 1]);
    assert_eq!(key.leave(prefix()), Err(KeyspaceError::Elsewhere));
    assert_eq!({ Key::EMPTY }.leave(prefix()), Err(KeyspaceError::Elsewhere));
    let mut pairs = vec![KvPair::from((Key::from(&[b'r', 0, 16, 146, 1]), "v")), KvPair::from(("k", "v"))];
    assert_eq!(pairs.leave(prefix()), Err(KeyspaceError::Elsewhere));
}

fn ids() -> impl Strategy<Value = KeyspaceId> {
    prop_oneof![Just(0), Just(1), Just(0x00ff_ffff), 0..1_u32 << 24].prop_map(id)
}

fn prefixes() -> impl Strategy<Value = Prefix> {
    (ids(), any::<bool>()).prop_map(|(id, raw)| if raw { Prefix::raw(id) } else { Prefix::txn(id) })
}

proptest! {
    #[test]
    fn what_enters_a_keyspace_leaves_it_the_same(prefix in prefixes(), start: Vec<u8>, end: Vec<u8>, value: Vec<u8>) {
        let pair = KvPair { key: start.clone().into(), value: value.into() };
        let mut moved = vec![pair, KvPair::from((end.clone(), "v"))];
        let before = moved.clone();
        moved.enter(prefix);
        prop_assert!(moved.iter().all(|pair| split_key(pair.key.as_slice()).map(|(own, _)| own) == Ok(prefix)));
        moved.leave(prefix).unwrap();
        prop_assert_eq!(moved, before);
        let range = KeyRange::new(start, end);
        let mut moved = range.clone();
        moved.enter(prefix);
        // A range that is no range is none afterwards either, and of the empty end there is only one.
        prop_assert_eq!(moved.is_empty(), range.is_empty());
        moved.leave(prefix).unwrap();
        prop_assert_eq!(moved, range);
    }

    #[test]
    fn the_order_of_keys_stays_and_keyspaces_do_not_mix(
        one in prefixes(), other in prefixes(), a: Vec<u8>, b: Vec<u8>,
    ) {
        let (key_a, key_b) = (one.encode_key(&a), one.encode_key(&b));
        prop_assert_eq!(key_a.cmp(&key_b), a.cmp(&b));
        if one != other {
            prop_assert_eq!(other.encode_key(&b).cmp(&key_a), other.cmp(&one));
            prop_assert_eq!(other.decode_key(&key_a), Err(KeyspaceError::Elsewhere));
        }
    }

    #[test]
    fn a_key_is_in_its_part_of_a_region_exactly_when_its_wire_form_is_in_the_region(
        own in prefixes(), start: Vec<u8>, end: Vec<u8>, key: Vec<u8>, inside: [bool; 2],
    ) {
        // Bounds of any form, or of keys of the keyspace.
        let bound = |bytes: Vec<u8>, inside: bool| {
            if inside { memcomparable::encode(own.encode_key(&bytes).as_slice()) } else { bytes }
        };
        let (start, end) = (bound(start, inside[0]), bound(end, inside[1]));
        let wire = Mode::Txn.encode_key(&own.encode_key(&key));
        let within = KeyRange::new(start.clone(), end.clone()).contains(&wire);
        let part = own.decode_region(&start, &end);
        prop_assert_eq!(part.is_ok_and(|part| part.contains(&key)), within);
    }

    #[test]
    fn hostile_bytes_are_split_or_refused_and_never_panic(bytes: Vec<u8>, own in prefixes()) {
        if let Ok((prefix, rest)) = split_key(&bytes) {
            prop_assert_eq!(prefix.encode_key(rest), Key::from(&bytes[..]));
            prop_assert_eq!(rest.len() + PREFIX_LEN, bytes.len());
        }
        drop(own.decode_buckets(&[bytes.clone().into(), bytes.into()]));
    }
}
