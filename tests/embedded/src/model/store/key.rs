//! Keys of transactional data in the form in which the engine orders them.
//!
//! A user key is cut into groups of eight bytes, each followed by a marker that says how many of the eight are real; so
//! no encoded key is a prefix of another and a timestamp can follow it. Region bounds of transactional data have this
//! form, too. Raw keys are not encoded.

use std::borrow::Borrow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of the user key in one group.
const GROUP: usize = 8;
/// Marker behind a group without padding; one less for each byte of padding.
const FULL: u8 = 0xff;

/// A user key in memory-comparable form.
///
/// TiKV: `codec/src/byte.rs: MemComparableByteCodec`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncodedKey(Bytes);

impl EncodedKey {
    /// The encoded form of a user key.
    #[must_use]
    pub fn of(user: &[u8]) -> Self {
        let mut out = BytesMut::with_capacity((user.len() / GROUP + 1) * (GROUP + 1));
        let mut groups = user.chunks_exact(GROUP);
        for group in &mut groups {
            out.put_slice(group);
            out.put_u8(FULL);
        }
        let rest = groups.remainder();
        let padding = GROUP - rest.len();
        out.put_slice(rest);
        out.put_bytes(0, padding);
        out.put_u8(FULL - u8::try_from(padding).unwrap_or(FULL));
        Self(out.freeze())
    }

    /// The user key; `None` if these bytes, which may be any when they come from a region bound, are no encoded key.
    #[must_use]
    pub fn user(&self) -> Option<Bytes> {
        let mut out = BytesMut::with_capacity(self.0.len());
        let mut groups = self.0.chunks_exact(GROUP + 1).peekable();
        while let Some((&marker, group)) = groups.next().and_then(<[u8]>::split_last) {
            let padding = usize::from(FULL - marker);
            let (real, zeros) = group.split_at_checked(GROUP.checked_sub(padding)?)?;
            out.put_slice(real);
            if padding > 0 {
                let last = groups.peek().is_none() && self.0.len() % (GROUP + 1) == 0;
                return (last && zeros.iter().all(|&zero| zero == 0)).then(|| out.freeze());
            }
        }
        None
    }

    /// Bytes that are in encoded form already, such as a region bound.
    #[must_use]
    pub fn from_encoded(encoded: Bytes) -> Self {
        Self(encoded)
    }

    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The key of a row of one version: newer versions sort first.
    pub(super) fn at(&self, ts: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(self.0.len() + size_of::<u64>());
        out.put_slice(&self.0);
        out.put_u64(!ts);
        out.freeze()
    }
}

impl Borrow<[u8]> for EncodedKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EncodedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_of_eight_with_a_marker() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"", b"\0\0\0\0\0\0\0\0\xf7"),
            (b"abc", b"abc\0\0\0\0\0\xfa"),
            (b"12345678", b"12345678\xff\0\0\0\0\0\0\0\0\xf7"),
            (b"123456789", b"12345678\xff9\0\0\0\0\0\0\0\xf8"),
        ];
        for (user, encoded) in cases {
            assert_eq!(EncodedKey::of(user).as_bytes(), encoded);
        }
    }

    #[test]
    fn what_is_no_encoded_key_has_no_user_key() {
        let hostile: [&[u8]; 6] = [
            b"",
            b"abc",
            b"12345678\xff",
            b"abc\0\0\0\0\x01\xfa",
            b"abc\0\0\0\0\0\xfaabc\0\0\0\0\0\xfa",
            b"abc\0\0\0\0\0\x10",
        ];
        for bytes in hostile {
            assert_eq!(EncodedKey::from_encoded(Bytes::copy_from_slice(bytes)).user(), None, "{bytes:?}");
        }
    }

    #[test]
    fn newer_versions_sort_first_and_stay_behind_their_key() {
        let (a, b) = (EncodedKey::of(b"a"), EncodedKey::of(b"b"));
        assert!(a.at(9) < a.at(8));
        assert!(a.at(0) < b.at(u64::MAX));
        assert!(*a.as_bytes() < a.at(u64::MAX));
    }

    proptest! {
        #[test]
        fn encoding_keeps_the_order_and_the_key(a: Vec<u8>, b: Vec<u8>) {
            let (x, y) = (EncodedKey::of(&a), EncodedKey::of(&b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.user().as_deref(), Some(a.as_slice()));
        }

        #[test]
        fn any_bytes_decode_without_a_panic(any: Vec<u8>) {
            let key = EncodedKey::from_encoded(any.clone().into());
            if let Some(user) = key.user() {
                prop_assert_eq!(EncodedKey::of(&user), key);
            }
        }
    }
}
