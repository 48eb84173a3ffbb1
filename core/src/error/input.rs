//! What a caller gave that cannot be sent.

use crate::types::{ShownKey, Timestamp};

/// The arguments cannot be sent; nothing was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A key of no bytes where TiKV refuses one.
    #[error("{operation} needs a key of at least one byte")]
    EmptyKey {
        /// What was asked for.
        operation: &'static str,
    },
    /// A value of no bytes where TiKV refuses one.
    #[error("{operation} needs a value of at least one byte, for key {key}")]
    EmptyValue {
        /// What was asked for.
        operation: &'static str,
        /// The key of the value.
        key: ShownKey,
    },
    /// A key is longer than the client's limit.
    #[error("a key of {size} bytes is over the limit of {limit}: {key}")]
    KeyTooLarge {
        /// The key.
        key: ShownKey,
        /// Its bytes.
        size: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// An entry (key and value) is larger than the client's limit.
    #[error("an entry of {size} bytes is over the limit of {limit}, key {key}")]
    EntryTooLarge {
        /// The key of the entry.
        key: ShownKey,
        /// Bytes of key and value.
        size: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A transaction holds more than the client's limit.
    #[error("a transaction of {size} bytes is over the limit of {limit}")]
    TxnTooLarge {
        /// Bytes of all keys and values.
        size: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A timestamp that no snapshot can have.
    #[error("{ts} is no timestamp to read at")]
    BadTimestamp {
        /// What was given.
        ts: Timestamp,
    },
    /// More was asked for in one call than the client's limit.
    #[error("a limit of {asked} is over the most of {most} in one scan")]
    LimitTooLarge {
        /// What was asked for.
        asked: usize,
        /// How many are allowed.
        most: usize,
    },
}

impl InputError {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> Option<&ShownKey> {
        match self {
            Self::EmptyValue { key, .. }
            | Self::KeyTooLarge { key, .. }
            | Self::EntryTooLarge { key, .. } => Some(key),
            Self::EmptyKey { .. }
            | Self::TxnTooLarge { .. }
            | Self::BadTimestamp { .. }
            | Self::LimitTooLarge { .. } => None,
        }
    }
}
