//! What an operation came to, as a text: for traces, which hold nothing else of it.

use std::fmt::{self, Debug, Write};

use bytes::Bytes;

use crate::codec::{KeyspaceError, Placed, Prefix, keyless};
use crate::error::{Error, ErrorKind};
use crate::range_task::{RegionOverview, Scattering, Split};
use crate::snapshot::page::Page;
use crate::txn::CommitInfo;
use crate::types::{KeyRange, KvPair, RegionId, Timestamp};

/// Bytes of a text that are kept; the rest counts by its hash.
const KEPT: usize = 4 << 10;

/// A text, or the beginning of a long one with what tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Text {
    /// The text, or its first 4 KiB.
    pub kept: String,
    /// Bytes of the whole text.
    pub bytes: u64,
    /// FNV-1a of the whole text, 64 bits.
    pub hash: u64,
}

impl Default for Text {
    fn default() -> Self {
        Self { kept: String::new(), bytes: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Text {
    /// The `Debug` text of `value`; however long it is, no more than its beginning is held.
    pub fn of(value: &dyn Debug) -> Self {
        let mut text = Self::default();
        // Nothing here refuses a write; a `Debug` that gives up by itself ends the text.
        write!(text, "{value:?}").unwrap_or_default();
        text
    }
}

impl Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.bytes += part.len() as u64;
        for &byte in part.as_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut room = (KEPT - self.kept.len().min(KEPT)).min(part.len());
        while !part.is_char_boundary(room) {
            room -= 1;
        }
        self.kept.push_str(&part[..room]);
        Ok(())
    }
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Its output as `Debug` shows it.
    pub text: Text,
    /// What a caller can do about its error; `None`: it succeeded.
    pub error: Option<ErrorKind>,
}

/// What an operation can result in.
pub trait Outcome {
    /// How it ended; with `zeroed` every byte of a value is shown as zero.
    fn ended(&self, zeroed: bool) -> Ended;

    /// What a caller can do about its error; `None`: it succeeded.
    fn failure(&self) -> Option<ErrorKind>;

    /// Its keys become those of the keyspace's owner; a key of another keyspace makes it an error.
    fn leave(&mut self, keyspace: Prefix);
}

impl<T: Shown> Outcome for Result<T, Error> {
    fn ended(&self, zeroed: bool) -> Ended {
        match self {
            Ok(value) if zeroed => Ended { text: Text::of(&Ok::<_, Error>(value.zeroed())), error: None },
            Ok(_) => Ended { text: Text::of(self), error: None },
            Err(error) => Ended { text: Text::of(self), error: Some(error.kind()) },
        }
    }

    fn failure(&self) -> Option<ErrorKind> {
        self.as_ref().err().map(Error::kind)
    }

    fn leave(&mut self, keyspace: Prefix) {
        match self {
            Ok(value) => {
                if let Err(error) = value.leave(keyspace) {
                    *self = Err(Error::Corrupt { operation: "keyspace", detail: error.to_string().into() });
                }
            }
            Err(error) => error.leave(keyspace),
        }
    }
}

/// How many parts failed, of an operation that nobody waits for.
impl Outcome for usize {
    fn ended(&self, _: bool) -> Ended {
        Ended { text: Text::of(self), error: None }
    }

    fn failure(&self) -> Option<ErrorKind> {
        (*self > 0).then_some(ErrorKind::Unavailable)
    }

    fn leave(&mut self, _: Prefix) {}
}

impl Outcome for Box<dyn Outcome + Send> {
    fn ended(&self, zeroed: bool) -> Ended {
        (**self).ended(zeroed)
    }

    fn failure(&self) -> Option<ErrorKind> {
        (**self).failure()
    }

    fn leave(&mut self, keyspace: Prefix) {
        (**self).leave(keyspace);
    }
}

/// What an operation gives when it succeeds.
pub trait Shown: Debug + Placed {
    /// The same, with every byte of a value zero.
    #[must_use]
    fn zeroed(&self) -> Self;
}

impl Shown for Bytes {
    fn zeroed(&self) -> Self {
        vec![0; self.len()].into()
    }
}

impl Shown for KvPair {
    fn zeroed(&self) -> Self {
        Self { key: self.key.clone(), value: self.value.zeroed() }
    }
}

impl<T: Shown> Shown for Option<T> {
    fn zeroed(&self) -> Self {
        self.as_ref().map(T::zeroed)
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn zeroed(&self) -> Self {
        self.iter().map(T::zeroed).collect()
    }
}

impl Placed for Page {
    fn enter(&mut self, keyspace: Prefix) {
        self.pairs.enter(keyspace);
        self.left.enter(keyspace);
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        self.pairs.leave(keyspace)?;
        // What is left lies within the range that was asked for, which is the keyspace's own.
        self.left.leave(keyspace)
    }
}

impl Shown for Page {
    fn zeroed(&self) -> Self {
        Self { pairs: self.pairs.zeroed(), left: self.left.clone(), sets: self.sets.clone() }
    }
}

macro_rules! without_values {
    ($($type:ty),*) => {$(
        impl Shown for $type {
            fn zeroed(&self) -> Self {
                #[allow(clippy::clone_on_copy, reason = "some of them are")]
                self.clone()
            }
        }
    )*};
}

without_values!((), Timestamp, CommitInfo, RegionOverview, Split, Scattering, KeyRange, RegionId);
keyless!(CommitInfo, Split, Scattering);

impl Placed for RegionOverview {
    const LEFT_OUT: bool = true;

    fn enter(&mut self, keyspace: Prefix) {
        self.range.enter(keyspace);
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        self.range.leave(keyspace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_shown_as_zeroes_of_the_same_length() {
        let output: Result<Vec<Option<Bytes>>, Error> = Ok(vec![Some("ab".into()), None]);
        assert_eq!(output.ended(true).text.kept, r#"Ok([Some(b"\0\0"), None])"#);
        assert_eq!(output.ended(false).text.kept, r#"Ok([Some(b"ab"), None])"#);
    }

    proptest! {
        #[test]
        fn a_text_is_the_same_in_whatever_parts_it_is_written(text in ".{0,3000}", cut: prop::sample::Index) {
            let at = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect::<Vec<_>>();
            let at = *cut.get(&at);
            let (mut whole, mut parts) = (Text::default(), Text::default());
            whole.write_str(&text).unwrap();
            parts.write_str(&text[..at]).unwrap();
            parts.write_str(&text[at..]).unwrap();
            prop_assert_eq!((parts.bytes, parts.hash), (whole.bytes, whole.hash));
            prop_assert!(text.starts_with(&whole.kept) && whole.kept.len() <= KEPT);
            if text.len() <= KEPT {
                prop_assert_eq!(whole.kept, text);
            }
        }
    }
}
