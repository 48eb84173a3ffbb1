//! Which form a client's keys have around PD and in region errors.

use bytes::Bytes;

use super::memcomparable::{self, CodecError};
use crate::types::{Key, KeyRange};

/// How a client's keys look to PD, and to a store that speaks of regions.
///
/// A region's bounds are in this form at PD and in region errors; keys within requests to stores and in
/// their answers are not (TiKV encodes those itself). All that the client keeps is decoded.
///
/// client-go: `internal/apicodec/codec_v1.go`; `internal/locate/pd_codec.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// As they are: raw keys of API v1.
    Raw,
    /// Memcomparable: transactional keys, and all of API v2 (with their prefix, see [`keyspace`](super::keyspace)).
    Txn,
}

impl Mode {
    /// `key` as PD knows it.
    ///
    /// The empty key is a key like others: as the end of a range use [`encode_range`](Self::encode_range).
    #[must_use]
    pub fn encode_key(self, key: &Key) -> Bytes {
        match self {
            Self::Raw => key.0.clone(),
            Self::Txn => memcomparable::encode(key.as_slice()).into(),
        }
    }

    /// The bounds of `range` as PD knows them; an open end stays open.
    ///
    /// client-go: `internal/apicodec/codec_v1.go: EncodeRegionRange`.
    #[must_use]
    pub fn encode_range(self, range: &KeyRange) -> (Bytes, Bytes) {
        let end = if range.end.is_empty() { Bytes::new() } else { self.encode_key(&range.end) };
        (self.encode_key(&range.start), end)
    }

    /// A region's bound as this client's user knows it; the empty bound is open and stays so.
    ///
    /// Bytes behind a memcomparable key are left out: a bound may carry the timestamp at which TiKV split
    /// between two versions of a key. The key is a copy, so that it does not hold a received frame.
    ///
    /// # Errors
    /// [`CodecError`] when the bound is not of this mode.
    ///
    /// client-go: `internal/apicodec/codec_v1.go: DecodeRegionKey`.
    pub fn decode_key(self, bound: &[u8]) -> Result<Key, CodecError> {
        match self {
            Self::Txn if !bound.is_empty() => memcomparable::decode(bound).map(|(key, _)| key.into()),
            Self::Raw | Self::Txn => Ok(bound.into()),
        }
    }

    /// A region's bounds as this client's user knows them.
    ///
    /// # Errors
    /// [`CodecError`] when a bound is not of this mode.
    ///
    /// client-go: `internal/apicodec/codec_v1.go: DecodeRegionRange`.
    pub fn decode_range(self, start: &[u8], end: &[u8]) -> Result<KeyRange, CodecError> {
        Ok(KeyRange { start: self.decode_key(start)?, end: self.decode_key(end)? })
    }

    /// The first key of this client's user that is not below a region's bound, whatever the bound is.
    ///
    /// Where [`decode_key`](Self::decode_key) fails, raw and transactional keys share the cluster: a bound may be a raw
    /// key. Where it leaves bytes out, this is the key behind: PD says of the key itself that it lies below the bound.
    #[must_use]
    pub fn ceil_bound(self, bound: &[u8]) -> Key {
        match self {
            Self::Raw => bound.into(),
            Self::Txn => memcomparable::decode_ceiling(bound).into(),
        }
    }

    /// The keys of this client's user between a region's bounds, whatever the bounds are; `None` when there are none.
    #[must_use]
    pub fn ceil_range(self, start: &[u8], end: &[u8]) -> Option<KeyRange> {
        let start = self.ceil_bound(start);
        if end.is_empty() {
            return Some(KeyRange { start, end: Key::EMPTY });
        }
        let end = self.ceil_bound(end);
        (start < end).then_some(KeyRange { start, end })
    }

    /// A region's bucket bounds as this client's user knows them.
    ///
    /// # Errors
    /// [`CodecError`] when a bound is not of this mode.
    ///
    /// client-go: `internal/apicodec/codec_v1.go: DecodeBucketKeys`.
    pub fn decode_buckets(self, keys: &[Bytes]) -> Result<Vec<Key>, CodecError> {
        keys.iter().map(|key| self.decode_key(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENCODED_A: &[u8] = b"a\0\0\0\0\0\0\0\xf8";
    const ENCODED_EMPTY: &[u8] = b"\0\0\0\0\0\0\0\0\xf7";

    #[test]
    fn raw_keys_stay_as_they_are() {
        assert_eq!(Mode::Raw.encode_key(&"a".into()), "a");
        assert_eq!(Mode::Raw.encode_range(&KeyRange::new("", "b")), (Bytes::new(), "b".into()));
        assert_eq!(Mode::Raw.decode_range(b"a", ENCODED_A), Ok(KeyRange::new("a", ENCODED_A)));
    }

    // client-go: internal/apicodec/codec_v1.go: an empty start is encoded, an empty end is not.
    #[test]
    fn transactional_bounds_are_memcomparable_and_open_ends_stay_open() {
        assert_eq!(Mode::Txn.encode_key(&"a".into()), ENCODED_A);
        assert_eq!(Mode::Txn.encode_range(&KeyRange::ALL), (ENCODED_EMPTY.into(), Bytes::new()));
        assert_eq!(Mode::Txn.decode_range(b"", b""), Ok(KeyRange::ALL));
        assert_eq!(Mode::Txn.decode_range(ENCODED_A, b""), Ok(KeyRange::new("a", "")));
    }

    #[test]
    fn a_timestamp_behind_a_bound_is_left_out() {
        let bound = [ENCODED_A, &7_u64.to_be_bytes()].concat();
        assert_eq!(Mode::Txn.decode_key(&bound), Ok("a".into()));
    }

    #[test]
    fn a_raw_bound_is_an_error_in_transactional_mode_on_either_side() {
        let error = CodecError::Truncated { offset: 0, left: 1 };
        assert_eq!(Mode::Txn.decode_range(b"a", ENCODED_A), Err(error));
        assert_eq!(Mode::Txn.decode_range(ENCODED_A, b"a"), Err(error));
        assert_eq!(Mode::Txn.decode_buckets(&[ENCODED_A.into(), "a".into()]), Err(error));
    }

    #[test]
    fn regions_between_raw_bounds_hold_the_keys_that_encode_to_between_them() {
        let table: [(&[u8], &[u8], Option<KeyRange>); 6] = [
            (b"", b"", Some(KeyRange::ALL)),
            (b"a", ENCODED_A, None),
            (b"a", b"b", Some(KeyRange::new("a", "b"))),
            (ENCODED_A, b"aa", Some(KeyRange::new("a", "aa"))),
            (b"", b"\0", None),
            (b"\xff", b"", Some(KeyRange::new(b"\xff", ""))),
        ];
        for (start, end, range) in table {
            assert_eq!(Mode::Txn.ceil_range(start, end), range, "{start:?} {end:?}");
        }
        assert_eq!(Mode::Raw.ceil_range(b"a", b"b"), Some(KeyRange::new("a", "b")));
        assert_eq!(Mode::Raw.ceil_range(b"b", b"a"), None);
    }

    proptest! {
        #[test]
        fn a_key_is_in_a_region_exactly_when_its_wire_form_is(start: Vec<u8>, end: Vec<u8>, key: Vec<u8>) {
            for mode in [Mode::Raw, Mode::Txn] {
                let wire = KeyRange::new(start.clone(), end.clone());
                let within = wire.contains(&mode.encode_key(&key.as_slice().into()));
                let range = mode.ceil_range(&start, &end);
                prop_assert_eq!(range.is_some_and(|range| range.contains(&key)), within);
            }
        }

        #[test]
        fn decoding_a_range_gives_back_what_was_encoded(start: Vec<u8>, end: Vec<u8>) {
            let range = KeyRange::new(start, end);
            for mode in [Mode::Raw, Mode::Txn] {
                let (start, end) = mode.encode_range(&range);
                prop_assert_eq!(mode.decode_range(&start, &end), Ok(range.clone()));
                prop_assert_eq!(mode.decode_buckets(&[start, end]), Ok(vec![range.start.clone(), range.end.clone()]));
            }
        }

        #[test]
        fn the_order_of_keys_is_kept(a: Vec<u8>, b: Vec<u8>) {
            for mode in [Mode::Raw, Mode::Txn] {
                prop_assert_eq!(mode.encode_key(&Key::from(a.clone())).cmp(&mode.encode_key(&Key::from(b.clone()))), a.cmp(&b));
            }
        }
    }
}
