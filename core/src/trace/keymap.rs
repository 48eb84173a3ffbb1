//! Other keys for those of a trace, in the same order.
//!
//! A byte is replaced by a letter that depends on what stands before it: of the bytes that follow one beginning somewhere in the
//! trace, the smallest becomes `a`, the next `b`. So a key keeps its length, two keys their order and what they begin with in common,
//! and what is told of a key is only how it stands to the others. The bytes 0x00 and 0xff stay: a key with 0x00 behind it is
//! the next one after it, and a bound of 0xff lies above all.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct KeyMap(BTreeMap<Bytes, Bytes>);

/// The letters that are used while they suffice.
const LETTERS: std::ops::RangeInclusive<u8> = b'a'..=b'z';

impl KeyMap {
    /// Replacements for `keys`.
    pub(super) fn new(keys: BTreeSet<Bytes>) -> Self {
        let keys: Vec<Bytes> = keys.into_iter().collect();
        let mut replaced: Vec<Vec<u8>> = keys.iter().map(|key| Vec::with_capacity(key.len())).collect();
        // Keys that begin alike stand together: each entry is such a run, and how long the beginning is.
        let mut runs = vec![(0..keys.len(), 0)];
        while let Some((run, depth)) = runs.pop() {
            let mut at = run.start;
            let mut parts = Vec::new();
            while at < run.end {
                let Some(&byte) = keys[at].get(depth) else {
                    at += 1;
                    continue;
                };
                let len = keys[at..run.end].partition_point(|key| key.get(depth) == Some(&byte));
                parts.push((byte, at..at + len));
                at += len;
            }
            let count = parts.iter().filter(|(byte, _)| !stays(*byte)).count();
            let first = if count <= LETTERS.count() { *LETTERS.start() } else { 1 };
            let mut next = first;
            for (byte, part) in parts {
                let other = if stays(byte) {
                    byte
                } else {
                    next += 1;
                    next - 1
                };
                replaced[part.clone()].iter_mut().for_each(|key| key.push(other));
                runs.push((part, depth + 1));
            }
        }
        Self(keys.into_iter().zip(replaced.into_iter().map(Bytes::from)).collect())
    }

    /// The replacement of a key that the map was made for.
    pub(super) fn get(&self, key: &Bytes) -> Bytes {
        // Every key of a trace is in the map; of any other nothing would be told but its length.
        self.0.get(key).cloned().unwrap_or_else(|| vec![*LETTERS.start(); key.len()].into())
    }
}

/// Bytes that mean something to the client itself.
const fn stays(byte: u8) -> bool {
    matches!(byte, 0 | 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(keys: &[&[u8]]) -> Vec<Bytes> {
        let map = KeyMap::new(keys.iter().map(|key| Bytes::copy_from_slice(key)).collect());
        keys.iter().map(|key| map.get(&Bytes::copy_from_slice(key))).collect()
    }

    #[test]
    fn a_letter_says_how_a_byte_stands_to_the_others_at_its_place() {
        let keys: [&[u8]; 5] = [b"user/7", b"user/7\0", b"user/9", b"zoo", b"user/\xff"];
        assert_eq!(
            map(&keys),
            [
                "aaaaaa".into(),
                Bytes::from("aaaaaa\0"),
                "aaaaab".into(),
                "baa".into(),
                Bytes::from_static(b"aaaaa\xff")
            ]
        );
    }

    #[test]
    fn there_is_room_for_every_byte_at_one_place() {
        let all: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
        let keys: Vec<&[u8]> = all.iter().map(|key| &key[..]).collect();
        let replaced = map(&keys);
        assert!(replaced.windows(2).all(|pair| pair[0] < pair[1]));
    }

    proptest! {
        #[test]
        fn order_lengths_common_beginnings_and_next_keys_stay(
            keys in prop::collection::vec(prop::collection::vec(prop_oneof![0..4_u8, 253..=255_u8, any::<u8>()], 0..6), 1..60),
        ) {
            // With each key the next one after it.
            let next = keys.iter().map(|key| [&key[..], &[0]].concat());
            let keys: Vec<Vec<u8>> = keys.iter().cloned().chain(next).collect();
            let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let replaced = map(&slices);
            for (key, other) in keys.iter().zip(&replaced) {
                prop_assert_eq!(key.len(), other.len());
                for (byte, new) in key.iter().zip(other) {
                    prop_assert_eq!(stays(*byte), stays(*new));
                    prop_assert!(!stays(*byte) || byte == new);
                }
            }
            let common = |one: &[u8], other: &[u8]| one.iter().zip(other).take_while(|(one, other)| one == other).count();
            for (key, new) in keys.iter().zip(&replaced) {
                for (other, new_other) in keys.iter().zip(&replaced) {
                    prop_assert_eq!(key.cmp(other), new.cmp(new_other));
                    prop_assert_eq!(common(key, other), common(new, new_other));
                }
            }
            for (key, next) in replaced.iter().zip(&replaced[replaced.len() / 2..]) {
                prop_assert_eq!(&[&key[..], &[0]].concat()[..], &next[..]);
            }
        }
    }
}
