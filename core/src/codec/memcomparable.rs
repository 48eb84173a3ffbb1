//! Memcomparable bytes: groups of eight, each followed by a marker that counts its padding.
//!
//! A group holds eight bytes, padded with zeros; its marker is `0xff` less the number of padding bytes.
//! A full group is always followed by another, so no encoding is a prefix of a different one, and
//! encodings compare as their sources do, whatever follows them.
//!
//! client-go: `util/codec/bytes.go`; TiKV: `components/codec/src/byte.rs`.

use thiserror::Error;

/// Bytes of the source in a group.
const GROUP: usize = 8;
/// Bytes of a group with its marker.
const CELL: usize = GROUP + 1;
/// The marker of a group without padding.
const FULL: u8 = 0xff;

/// Why bytes are not what this client's encoding makes.
///
/// It means that the other side is broken, or speaks of keys in another mode: asking again brings the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end before the last group does.
    #[error("encoded key cut off: {left} bytes at offset {offset} where a group has 9")]
    Truncated {
        /// Where the cut group begins.
        offset: usize,
        /// How many bytes it has.
        left: usize,
    },
    /// A marker that counts more than eight padding bytes.
    #[error("encoded key with marker {marker:#04x} at offset {offset}, below 0xf7")]
    Marker {
        /// Where it stands.
        offset: usize,
        /// What stands there.
        marker: u8,
    },
    /// Padding that is not zero.
    #[error("encoded key with padding {byte:#04x} at offset {offset}, not zero")]
    Padding {
        /// Where it stands.
        offset: usize,
        /// What stands there.
        byte: u8,
    },
}

/// The length of the encoding of `len` bytes.
#[must_use]
pub const fn encoded_len(len: usize) -> usize {
    (len / GROUP + 1) * CELL
}

/// Appends the encoding of `key` to `to`.
///
/// client-go: `util/codec/bytes.go: EncodeBytes`.
pub fn encode_into(key: &[u8], to: &mut Vec<u8>) {
    to.reserve(encoded_len(key.len()));
    let (groups, tail) = key.as_chunks::<GROUP>();
    for group in groups {
        to.extend_from_slice(group);
        to.push(FULL);
    }
    to.extend_from_slice(tail);
    let padding = GROUP - tail.len();
    to.resize(to.len() + padding, 0);
    to.push(FULL - u8::try_from(padding).unwrap_or(FULL));
}

/// The encoding of `key`.
#[must_use]
pub fn encode(key: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    encode_into(key, &mut encoded);
    encoded
}

/// Decodes the first encoding in `bytes`: its source, and what follows it.
///
/// # Errors
/// [`CodecError`] when `bytes` do not begin with what [`encode`] makes.
///
/// client-go: `util/codec/bytes.go: DecodeBytes`.
pub fn decode(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), CodecError> {
    let mut key = Vec::with_capacity(bytes.len() / CELL * GROUP);
    let (cells, cut) = bytes.as_chunks::<CELL>();
    for (index, cell) in cells.iter().enumerate() {
        let offset = index * CELL;
        let [group @ .., marker] = cell;
        let padding = usize::from(FULL - marker);
        let Some(kept) = GROUP.checked_sub(padding) else {
            return Err(CodecError::Marker { offset: offset + GROUP, marker: *marker });
        };
        let (data, zeros) = group.split_at(kept);
        if let Some((at, &byte)) = zeros.iter().enumerate().find(|&(_, &byte)| byte != 0) {
            return Err(CodecError::Padding { offset: offset + kept + at, byte });
        }
        key.extend_from_slice(data);
        if padding > 0 {
            return Ok((key, bytes.get(offset + CELL..).unwrap_or_default()));
        }
    }
    Err(CodecError::Truncated { offset: bytes.len() - cut.len(), left: cut.len() })
}

/// The smallest key whose encoding is not below `bound`, for any bytes.
///
/// Where raw and encoded keys share a cluster, a region may begin or end at bytes that no key encodes to. Whatever the
/// bound is, a key lies below it in its encoded form exactly when it lies below this key.
#[must_use]
pub fn decode_ceiling(bound: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(bound.len() / CELL * GROUP + GROUP);
    let (cells, cut) = bound.as_chunks::<CELL>();
    for (index, cell) in cells.iter().enumerate() {
        let [group @ .., marker] = cell;
        if *marker == FULL {
            key.extend_from_slice(group);
            continue;
        }
        let data = without_zeros(group);
        let kept = GROUP.checked_sub(usize::from(FULL - marker)).and_then(|kept| group.get(..kept));
        match kept.filter(|kept| kept.len() >= data.len()) {
            Some(kept) => {
                key.extend_from_slice(kept);
                if bound.len() > (index + 1) * CELL {
                    // The encoding ends here and the bound goes on, so it is above this key, and below the next.
                    key.push(0);
                }
            }
            // A marker that is too small for its group: the smallest that fits makes the encoding larger.
            None => key.extend_from_slice(data),
        }
        return key;
    }
    key.extend_from_slice(without_zeros(cut));
    key
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sources with their encodings. client-go: `util/codec/bytes.go` (the table in its comment).
    const TABLE: &[(&[u8], &[u8])] = &[
        (&[], &[0, 0, 0, 0, 0, 0, 0, 0, 247]),
        (&[0], &[0, 0, 0, 0, 0, 0, 0, 0, 248]),
        (&[1, 2, 3], &[1, 2, 3, 0, 0, 0, 0, 0, 250]),
        (&[1, 2, 3, 0], &[1, 2, 3, 0, 0, 0, 0, 0, 251]),
        (&[1, 2, 3, 4, 5, 6, 7], &[1, 2, 3, 4, 5, 6, 7, 0, 254]),
        (&[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4, 5, 6, 7, 8, 255, 0, 0, 0, 0, 0, 0, 0, 0, 247]),
        (&[255; 9], &[255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 248]),
    ];

    #[test]
    fn encodings_are_those_of_tikv() {
        for (key, encoded) in TABLE {
            assert_eq!(&encode(key), encoded, "{key:?}");
            assert_eq!(decode(encoded), Ok((key.to_vec(), &[][..])), "{key:?}");
            assert_eq!(encoded_len(key.len()), encoded.len(), "{key:?}");
        }
    }

    #[test]
    fn each_defect_has_its_error_and_place() {
        let cases: &[(&[u8], CodecError)] = &[
            (&[], CodecError::Truncated { offset: 0, left: 0 }),
            (&[1, 2, 3], CodecError::Truncated { offset: 0, left: 3 }),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 255], CodecError::Truncated { offset: 9, left: 0 }),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 255, 0, 0], CodecError::Truncated { offset: 9, left: 2 }),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 246], CodecError::Marker { offset: 8, marker: 246 }),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 247], CodecError::Padding { offset: 0, byte: 1 }),
            (&[1, 2, 0, 0, 0, 0, 0, 9, 249], CodecError::Padding { offset: 7, byte: 9 }),
        ];
        for (bytes, error) in cases {
            assert_eq!(decode(bytes).unwrap_err(), *error, "{bytes:?}");
        }
        let text: Vec<String> = cases.iter().skip(1).step_by(3).map(|(_, error)| error.to_string()).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        encoded key cut off: 3 bytes at offset 0 where a group has 9
        encoded key with marker 0xf6 at offset 8, below 0xf7
        ");
    }

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        // Few distinct bytes, so that keys share prefixes and hit the padding's edges.
        proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..40)
    }

    /// Bytes that are encodings, nearly, or not at all.
    fn bounds() -> impl Strategy<Value = Vec<u8>> {
        let nearly = (keys(), any::<proptest::sample::Index>(), any::<u8>(), keys(), 0..9_usize).prop_map(
            |(key, at, byte, rest, cut)| {
                let mut bound = encode(&key);
                let at = at.index(bound.len());
                bound[at] = byte;
                bound.extend_from_slice(&rest);
                bound.truncate(bound.len() - cut);
                bound
            },
        );
        prop_oneof![keys(), nearly, (keys(), keys()).prop_map(|(key, rest)| [encode(&key), rest].concat())]
    }

    proptest! {
        #[test]
        fn decoding_gives_back_the_key_and_what_follows(key in keys(), rest in keys()) {
            let mut bytes = encode(&key);
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(decode(&bytes), Ok((key, &rest[..])));
        }

        #[test]
        fn encodings_compare_as_their_sources_whatever_follows(a in keys(), b in keys(), rest in keys()) {
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
            if a != b {
                let followed = [encode(&a), rest].concat();
                prop_assert_eq!(followed.cmp(&encode(&b)), a.cmp(&b));
            }
        }

        #[test]
        fn hostile_bytes_decode_only_to_what_encodes_to_them(bytes in keys()) {
            if let Ok((key, rest)) = decode(&bytes) {
                prop_assert_eq!([&encode(&key)[..], rest].concat(), bytes);
            }
        }

        #[test]
        fn a_key_is_below_a_bound_exactly_when_it_is_below_its_ceiling(
            bound in bounds(), other in keys(), cut in 0..9_usize, lower: bool,
        ) {
            let ceiling = decode_ceiling(&bound);
            prop_assert!(encode(&ceiling) >= bound);
            // Neighbours of the ceiling, which other keys hardly ever are.
            let mut near = ceiling.clone();
            near.truncate(ceiling.len().saturating_sub(cut));
            if lower && let Some(last) = near.last_mut() {
                *last = last.saturating_sub(1);
                near.extend_from_slice(&[0xff; 20]);
            }
            for key in [other, near] {
                prop_assert_eq!(encode(&key) < bound, key < ceiling, "{:?}", key);
            }
        }

        #[test]
        fn the_ceiling_of_an_encoding_is_its_source(key in keys()) {
            prop_assert_eq!(decode_ceiling(&encode(&key)), key);
        }

        #[test]
        fn a_cut_encoding_is_an_error(key in keys(), cut in 1..9_usize) {
            let encoded = encode(&key);
            prop_assert!(decode(&encoded[..encoded.len() - cut]).is_err());
        }
    }
}
