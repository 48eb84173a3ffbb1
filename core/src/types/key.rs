//! Keys, ranges of keys, and pairs.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

/// A value as it is stored: a slice of the received frame, not a copy of it.
pub type Value = Bytes;

/// A key: any bytes. Cloning shares them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a key is its bytes")]
pub struct Key(pub Bytes);

impl Key {
    /// The key of no bytes: as a range's end it means "to the last key".
    pub const EMPTY: Self = Self(Bytes::new());

    /// The key's bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Whether the key has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes the key has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest key above this one: itself and a zero byte.
    ///
    /// client-go: `kv/key.go: NextKey`.
    #[must_use]
    pub fn next(&self) -> Self {
        let mut next = Vec::with_capacity(self.len() + 1);
        next.extend_from_slice(&self.0);
        next.push(0);
        Self(next.into())
    }

    /// The smallest key above all that start with this one; empty ("to the last key") if there is none.
    ///
    /// client-go: `kv/key.go: PrefixNextKey`.
    #[must_use]
    pub fn prefix_next(&self) -> Self {
        let kept = self.0.iter().rposition(|&byte| byte != 0xff);
        let Some(last) = kept else { return Self::EMPTY };
        let mut next = self.0[..=last].to_vec();
        next[last] += 1;
        Self(next.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k\"{}\"", self.0.escape_ascii())
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Key {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Key> for Bytes {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Key {
    fn from(bytes: &[u8; N]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<&Self> for Key {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

/// The keys from `start` on and below `end`; an empty `end` means to the last key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a range is its two bounds")]
pub struct KeyRange {
    /// The first key of the range.
    pub start: Key,
    /// The first key behind the range; empty: there is none.
    pub end: Key,
}

impl KeyRange {
    /// Every key there is.
    pub const ALL: Self = Self { start: Key::EMPTY, end: Key::EMPTY };

    /// The range from `start` to `end`, half open.
    pub fn new(start: impl Into<Key>, end: impl Into<Key>) -> Self {
        Self { start: start.into(), end: end.into() }
    }

    /// The keys that start with `prefix`.
    pub fn prefix(prefix: impl Into<Key>) -> Self {
        let start = prefix.into();
        Self { end: start.prefix_next(), start }
    }

    /// The keys within `bounds`; `a..b`, `a..=b`, `..b`, `a..` and `..` are all meant.
    pub fn from_bounds<K: Into<Key> + Clone>(bounds: impl RangeBounds<K>) -> Self {
        let own = |key: &K| -> Key { key.clone().into() };
        let start = match bounds.start_bound() {
            Bound::Included(key) => own(key),
            Bound::Excluded(key) => own(key).next(),
            Bound::Unbounded => Key::EMPTY,
        };
        let end = match bounds.end_bound() {
            Bound::Included(key) => own(key).next(),
            Bound::Excluded(key) => own(key),
            Bound::Unbounded => Key::EMPTY,
        };
        Self { start, end }
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && (self.end.is_empty() || key < self.end.as_slice())
    }

    /// Whether no key lies in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }
}

macro_rules! range_from {
    ($($bounds:ty),*) => {$(
        impl<K: Into<Key> + Clone> From<$bounds> for KeyRange {
            fn from(bounds: $bounds) -> Self {
                Self::from_bounds(bounds)
            }
        }
    )*};
}

range_from!(
    std::ops::Range<K>,
    std::ops::RangeInclusive<K>,
    std::ops::RangeFrom<K>,
    std::ops::RangeTo<K>,
    std::ops::RangeToInclusive<K>
);

impl From<std::ops::RangeFull> for KeyRange {
    fn from(_: std::ops::RangeFull) -> Self {
        Self::ALL
    }
}

impl From<&Self> for KeyRange {
    fn from(range: &Self) -> Self {
        range.clone()
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a pair is a key and a value")]
pub struct KvPair {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Value,
}

impl<K: Into<Key>, V: Into<Value>> From<(K, V)> for KvPair {
    fn from((key, value): (K, V)) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// A key within an error: shown in hexadecimal, or as `?` when the client redacts keys.
///
/// client-go: `util/redact/redact.go: Key`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShownKey {
    key: Key,
    redacted: bool,
}

impl ShownKey {
    /// `key`, shown unless `redacted`.
    pub fn new(key: impl Into<Key>, redacted: bool) -> Self {
        Self { key: key.into(), redacted }
    }

    /// The key itself, whatever its text shows.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Changes the key, not how it is shown.
    pub(crate) fn key_mut(&mut self) -> &mut Key {
        &mut self.key
    }
}

impl fmt::Display for ShownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.redacted {
            return f.write_str("?");
        }
        self.key.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for ShownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
