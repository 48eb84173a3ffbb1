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
    /// As they are: API v1, raw.
    Raw,
    /// Memcomparable: API v1, transactional.
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

    proptest! {
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
