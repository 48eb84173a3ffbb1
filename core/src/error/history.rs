//! What a store has of a key, as some errors tell it.

use std::fmt;

use tikv_proto::kvrpcpb as pb;

use super::leave;
use crate::codec::Prefix;
use crate::types::{Key, ShownKey, Timestamp};

/// The lock and the versions of keys, for a person who finds out why an error was. Values are never in it, only their lengths.
///
/// client-go: `error/error.go: ExtractDebugInfoStrFromKeyErr`, which shows values unless it redacts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyHistory {
    /// Mostly one.
    pub keys: Vec<KeyVersions>,
}

/// The lock and the versions of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyVersions {
    /// The key.
    pub key: ShownKey,
    /// Its lock: when its transaction began, and that one's primary.
    pub lock: Option<(Timestamp, ShownKey)>,
    /// What was done to it, the newest first: TiKV's name of it, when its transaction began, when it was committed.
    pub writes: Vec<(&'static str, Timestamp, Timestamp)>,
    /// Values that are kept apart: when their transaction began, how many bytes they have.
    pub values: Vec<(Timestamp, usize)>,
}

impl KeyHistory {
    /// What a key error has of it.
    #[must_use]
    pub fn read(info: &pb::DebugInfo, redacted: bool) -> Self {
        let shown = |key: &bytes::Bytes| ShownKey::new(Key(key.clone()), redacted);
        let of_key = |info: &pb::MvccDebugInfo| {
            let mvcc = info.mvcc.clone().unwrap_or_default();
            let write = |write: &pb::MvccWrite| {
                (write.r#type().as_str_name(), Timestamp(write.start_ts), Timestamp(write.commit_ts))
            };
            KeyVersions {
                key: shown(&info.key),
                lock: mvcc.lock.map(|lock| (Timestamp(lock.start_ts), shown(&lock.primary))),
                writes: mvcc.writes.iter().map(write).collect(),
                values: mvcc
                    .values
                    .iter()
                    .map(|value| (Timestamp(value.start_ts), value.value.len()))
                    .collect(),
            }
        };
        Self { keys: info.mvcc_info.iter().map(of_key).collect() }
    }

    pub(super) fn leave(&mut self, keyspace: Prefix) {
        for versions in &mut self.keys {
            leave(&mut versions.key, keyspace);
            if let Some((_, primary)) = &mut versions.lock {
                leave(primary, keyspace);
            }
        }
    }
}

impl fmt::Display for KeyHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, KeyVersions { key, lock, writes, values }) in self.keys.iter().enumerate() {
            write!(f, "{}key {key}:", if index > 0 { "; " } else { "" })?;
            match lock {
                Some((start_ts, primary)) => write!(f, " locked by {start_ts}, primary {primary}")?,
                None => f.write_str(" not locked")?,
            }
            for (what, start_ts, commit_ts) in writes {
                write!(f, ", {what} of {start_ts} at {commit_ts}")?;
            }
            for (start_ts, len) in values {
                write!(f, ", value of {start_ts} with {len} bytes")?;
            }
        }
        Ok(())
    }
}
