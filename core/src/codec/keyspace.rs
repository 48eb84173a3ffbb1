//! Keyspaces of API v2: what stands before each key of one, and which keys and ranges are its own.
//!
//! Every key begins with a byte for its mode and three of the keyspace's id, high byte first. So the keys of one keyspace stand
//! together, in the order of what users call them: a [`Prefix`] turns one into the other, and only copies.
//!
//! client-go: `internal/apicodec/codec_v2.go`; TiKV: `components/api_version/src/api_v2.rs`.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::memcomparable;
use super::mode::Mode;
use crate::types::{Key, KeyRange};

/// Bytes of a [`Prefix`].
pub const PREFIX_LEN: usize = 4;

/// What raw keys begin with. client-go: `internal/apicodec/codec_v2.go: ModeRaw`.
pub const RAW_MODE: u8 = b'r';

/// What transactional keys begin with. client-go: `internal/apicodec/codec_v2.go: ModeTxn`.
pub const TXN_MODE: u8 = b'x';

/// The name of the keyspace that every cluster of API v2 has; its id is 0.
///
/// client-go: `internal/apicodec/codec_v2.go: DefaultKeyspaceName`.
pub const DEFAULT_KEYSPACE: &str = "DEFAULT";

/// What is wrong with a key or an id of API v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyspaceError {
    /// The id does not fit in three bytes.
    #[error("keyspace id {id} is out of range, the most is {}", KeyspaceId::MAX.0)]
    IdOutOfRange {
        /// What was given.
        id: u32,
    },
    /// The key is too short to say its keyspace, or of no mode.
    #[error("a key of {len} bytes that is none of API v2")]
    NoPrefix {
        /// Bytes of the key.
        len: usize,
    },
    /// The key, or the whole range, belongs to another keyspace.
    #[error("a key that does not belong to the keyspace")]
    Elsewhere,
}

/// The number of a keyspace; three bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyspaceId(u32);

impl KeyspaceId {
    /// The largest.
    pub const MAX: Self = Self(0x00ff_ffff);

    /// The keyspace of this number.
    ///
    /// # Errors
    /// [`KeyspaceError::IdOutOfRange`].
    ///
    /// client-go: `internal/apicodec/codec_v2.go: NewCodecV2`.
    pub const fn new(id: u32) -> Result<Self, KeyspaceError> {
        if id > Self::MAX.0 { Err(KeyspaceError::IdOutOfRange { id }) } else { Ok(Self(id)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The keyspace that a key of API v2 belongs to.
    ///
    /// # Errors
    /// [`KeyspaceError::NoPrefix`].
    ///
    /// client-go: `internal/apicodec/codec.go: ParseKeyspaceID`.
    pub fn of_key(key: &[u8]) -> Result<Self, KeyspaceError> {
        split_key(key).map(|(prefix, _)| prefix.keyspace())
    }
}

/// A key of API v2 as its prefix and what its owner calls it.
///
/// # Errors
/// [`KeyspaceError::NoPrefix`].
///
/// client-go: `internal/apicodec/codec.go: DecodeKey`.
pub fn split_key(key: &[u8]) -> Result<(Prefix, &[u8]), KeyspaceError> {
    match key.split_first_chunk::<PREFIX_LEN>() {
        Some((prefix @ [RAW_MODE | TXN_MODE, ..], rest)) => Ok((Prefix(*prefix), rest)),
        Some(_) | None => Err(KeyspaceError::NoPrefix { len: key.len() }),
    }
}

/// What stands before each key of one keyspace and mode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix([u8; PREFIX_LEN]);

impl std::fmt::Debug for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prefix({}{})", char::from(self.0[0]), self.keyspace().0)
    }
}

impl Prefix {
    /// Of the raw keys of `keyspace`.
    #[must_use]
    pub const fn raw(keyspace: KeyspaceId) -> Self {
        Self::new(RAW_MODE, keyspace)
    }

    /// Of the transactional keys of `keyspace`.
    #[must_use]
    pub const fn txn(keyspace: KeyspaceId) -> Self {
        Self::new(TXN_MODE, keyspace)
    }

    const fn new(mode: u8, keyspace: KeyspaceId) -> Self {
        let [_, high, middle, low] = keyspace.0.to_be_bytes();
        Self([mode, high, middle, low])
    }

    /// The keyspace.
    #[must_use]
    pub const fn keyspace(self) -> KeyspaceId {
        let [_, high, middle, low] = self.0;
        KeyspaceId(u32::from_be_bytes([0, high, middle, low]))
    }

    /// Its bytes: the first key of the keyspace.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PREFIX_LEN] {
        &self.0
    }

    /// The first key behind the keyspace.
    #[must_use]
    pub const fn end(self) -> [u8; PREFIX_LEN] {
        // The mode byte is no 0xff, so nothing is lost.
        (u32::from_be_bytes(self.0) + 1).to_be_bytes()
    }

    /// `key` as the stores know it.
    ///
    /// client-go: `internal/apicodec/codec_v2.go: EncodeKey`.
    #[must_use]
    pub fn encode_key(self, key: &[u8]) -> Key {
        let mut encoded = BytesMut::with_capacity(PREFIX_LEN + key.len());
        encoded.put_slice(&self.0);
        encoded.put_slice(key);
        encoded.freeze().into()
    }

    /// The range as the stores know it: an open end is the end of the keyspace.
    ///
    /// client-go: `internal/apicodec/codec_v2.go: encodeRange`. A range has its lower bound first there as well as here, so a
    /// scan in reverse needs nothing else.
    #[must_use]
    pub fn encode_range(self, range: &KeyRange) -> KeyRange {
        let end =
            if range.end.is_empty() { Key::from(&self.end()) } else { self.encode_key(range.end.as_slice()) };
        KeyRange { start: self.encode_key(range.start.as_slice()), end }
    }

    /// A key of the stores as its owner calls it: a slice, no copy.
    ///
    /// # Errors
    /// [`KeyspaceError::Elsewhere`].
    ///
    /// client-go: `internal/apicodec/codec_v2.go: DecodeKey`.
    pub fn decode_key(self, key: &Key) -> Result<Key, KeyspaceError> {
        if key.as_slice().starts_with(&self.0) {
            Ok(Key(key.0.slice(PREFIX_LEN..)))
        } else {
            Err(KeyspaceError::Elsewhere)
        }
    }

    /// The part of a range of the stores that is the keyspace's own, as its owner calls it.
    ///
    /// # Errors
    /// [`KeyspaceError::Elsewhere`] when it has none.
    ///
    /// client-go: `internal/apicodec/codec_v2.go: DecodeRange`.
    pub fn decode_range(self, range: &KeyRange) -> Result<KeyRange, KeyspaceError> {
        let (start, end) = (range.start.as_slice(), range.end.as_slice());
        if start >= &self.end()[..] || (!end.is_empty() && end <= &self.0[..]) {
            return Err(KeyspaceError::Elsewhere);
        }
        let own = |bound: &Key| self.decode_key(bound).unwrap_or(Key::EMPTY);
        Ok(KeyRange { start: own(&range.start), end: own(&range.end) })
    }

    /// The part of a region that is the keyspace's own; `start` and `end` are the region's bounds as PD has them, whatever they
    /// are.
    ///
    /// # Errors
    /// [`KeyspaceError::Elsewhere`] when it has none.
    ///
    /// client-go: `internal/apicodec/codec_v2.go: DecodeRegionRange`.
    pub fn decode_region(self, start: &[u8], end: &[u8]) -> Result<KeyRange, KeyspaceError> {
        Mode::Txn
            .ceil_range(start, end)
            .ok_or(KeyspaceError::Elsewhere)
            .and_then(|range| self.decode_range(&range))
    }

    /// The bounds of a region's buckets, of which the first and last are the region's, as PD has them: those within the
    /// keyspace, from its start or the region's to its end or the region's, as its owner calls them.
    ///
    /// # Errors
    /// [`memcomparable::CodecError`] when a bound is no encoded key.
    ///
    /// client-go: `internal/apicodec/codec_v2.go: DecodeBucketKeys`.
    pub fn decode_buckets(self, bounds: &[Bytes]) -> Result<Vec<Key>, memcomparable::CodecError> {
        let last = bounds.len().saturating_sub(1);
        let mut own: Vec<Key> = Vec::with_capacity(bounds.len());
        for (index, bound) in bounds.iter().enumerate() {
            let key = Mode::Txn.decode_key(bound)?;
            let (below, above) = (key.as_slice() < &self.0[..], key.as_slice() >= &self.end()[..]);
            let decoded = self.decode_key(&key).unwrap_or(Key::EMPTY);
            let first_again = index > 0 && decoded.is_empty() && own.first().is_some_and(Key::is_empty);
            match index {
                0 if below => own.push(Key::EMPTY),
                _ if index == last && (above || key.is_empty()) => own.push(Key::EMPTY),
                _ if below || above || first_again => {}
                _ => own.push(decoded),
            }
        }
        Ok(own)
    }
}
