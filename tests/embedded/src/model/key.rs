//! The memory-comparable form of keys.
//!
//! Groups of eight bytes, zero-padded, each followed by a marker of `0xff` less the number of padding bytes;
//! encoded keys compare as the keys do, and no encoded key is a prefix of another.
//!
//! TiKV: `components/codec/src/byte.rs: MemComparableByteCodec`.

use bytes::Bytes;

/// Bytes of a key in one group.
const GROUP: usize = 8;
/// Marker of a group without padding.
const FULL: u8 = 0xff;

/// The memory-comparable form of `key`.
#[must_use]
pub fn encode(key: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity((key.len() / GROUP + 1) * (GROUP + 1));
    let mut rest = key;
    loop {
        let (group, behind) = rest.split_at(rest.len().min(GROUP));
        let padding = GROUP - group.len();
        out.extend_from_slice(group);
        out.resize(out.len() + padding, 0);
        out.push(FULL - u8::try_from(padding).unwrap_or(FULL));
        // A full group is followed by another one, if need be an empty one: that ends the key.
        if padding > 0 {
            return out.into();
        }
        rest = behind;
    }
}

/// The key of the memory-comparable form at the front of `encoded`, and what follows it; `None` if it is none.
#[must_use]
pub fn decode_prefix(encoded: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut key = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    loop {
        let (group, behind) = rest.split_at_checked(GROUP)?;
        let (&marker, behind) = behind.split_first()?;
        let padding = usize::from(FULL - marker);
        let (data, zeros) = group.split_at_checked(GROUP.checked_sub(padding)?)?;
        if zeros.iter().any(|&byte| byte != 0) {
            return None;
        }
        key.extend_from_slice(data);
        rest = behind;
        if padding > 0 {
            return Some((key, rest));
        }
    }
}

/// The key of the memory-comparable form `encoded`; `None` if it is none or if bytes follow it.
#[must_use]
pub fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    decode_prefix(encoded).and_then(|(key, rest)| rest.is_empty().then_some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_forms() {
        let table: [(&[u8], &[u8]); 4] = [
            (b"", &[0, 0, 0, 0, 0, 0, 0, 0, 0xf7]),
            (b"abc", &[b'a', b'b', b'c', 0, 0, 0, 0, 0, 0xfa]),
            (&[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0xf7]),
            (&[0, 0], &[0, 0, 0, 0, 0, 0, 0, 0, 0xf9]),
        ];
        for (key, form) in table {
            assert_eq!(encode(key), form);
            assert_eq!(decode(form).as_deref(), Some(key));
        }
    }

    #[test]
    fn broken_forms_are_refused() {
        for form in [&b""[..], &[0; 8], &[1, 0, 0, 0, 0, 0, 0, 0, 0xf7], &[0, 0, 0, 0, 0, 0, 0, 0, 3]] {
            assert_eq!(decode(form), None, "{form:?}");
        }
        let mut followed = encode(b"k").to_vec();
        followed.push(7);
        assert_eq!(decode(&followed), None);
        assert_eq!(decode_prefix(&followed), Some((b"k".to_vec(), &[7][..])));
    }

    #[test]
    fn order_is_kept() {
        let keys: [&[u8]; 7] = [b"", b"\0", b"a", b"a\0", b"aaaaaaaa", b"aaaaaaaa\0", b"b"];
        for pair in keys.windows(2) {
            assert!(encode(pair[0]) < encode(pair[1]), "{pair:?}");
        }
    }
}
