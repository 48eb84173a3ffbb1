//! Versions of the storage API: which requests a store takes, and in which form raw keys lie in the data.
//!
//! Version 1 keeps raw keys as they are, without lifetimes; with lifetimes switched on it serves raw requests only.
//! Version 2 tells raw, transactional and TiDB's keys apart by their first byte, and raw keys have the
//! memory-comparable form of transactional ones.
//!
//! The checks come before all checks of the region, but only some commands make them.
//!
//! Spec: `cluster.md` 4.5. TiKV: `storage/mod.rs: check_api_version, check_api_version_ranges`,
//! `components/api_version/src/api_v2.rs`.

use bytes::Bytes;
use tikv_proto::kvrpcpb::{ApiVersion, Context};

use super::columns::Column;
use super::error::TxnError;
use crate::model::key;

/// A version of the storage API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Api {
    /// Version 1: raw and transactional data, which clients keep apart.
    #[default]
    V1,
    /// Version 1 for raw data only, whose values may have lifetimes.
    V1Ttl,
    /// Version 2: keys say what they are; raw values may have lifetimes.
    V2,
}

/// What a key of version 2 belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Raw,
    Txn,
    Tidb,
    Unknown,
}

impl Mode {
    fn of_key(key: &[u8]) -> Self {
        match key.first() {
            Some(b'r') => Self::Raw,
            Some(b'x') => Self::Txn,
            Some(b'm' | b't') => Self::Tidb,
            _ => Self::Unknown,
        }
    }

    /// A range within one mode; its end may be the first bytes behind the mode.
    fn of_range(start: &[u8], end: &[u8]) -> Self {
        match (start.first(), end.first()) {
            (Some(first), Some(last)) if first == last || end == [first.wrapping_add(1)] => {
                Self::of_key(start)
            }
            _ => Self::Unknown,
        }
    }
}

impl Api {
    /// As TiKV writes it.
    fn name(self) -> &'static str {
        match self {
            Self::V1 => "V1",
            Self::V1Ttl => "V1ttl",
            Self::V2 => "V2",
        }
    }

    /// Whether raw values may have lifetimes.
    pub(super) fn keeps_ttl(self) -> bool {
        self != Self::V1
    }

    /// The form in which a raw key lies in the data and in region bounds.
    pub(crate) fn raw_key(self, user: &Bytes) -> Bytes {
        match self {
            Self::V1 | Self::V1Ttl => user.clone(),
            Self::V2 => key::encode(user),
        }
    }

    /// [`Api::raw_key`] of a bound: an empty one is open and stays so.
    pub(super) fn raw_bound(self, user: &Bytes) -> Bytes {
        if user.is_empty() { Bytes::new() } else { self.raw_key(user) }
    }

    /// The raw key of a row.
    pub(super) fn user_key(self, row: &Bytes) -> Bytes {
        match self {
            Self::V1 | Self::V1Ttl => row.clone(),
            Self::V2 => key::decode(row).unwrap_or_default().into(),
        }
    }

    /// The column that a raw request names.
    pub(super) fn column(self, name: &str) -> Result<Column, TxnError> {
        match (self, name) {
            (_, "" | "default") => Ok(Column::Default),
            (Self::V2, other) => Err(TxnError::CfDeprecated(other.to_owned())),
            (_, "lock") => Ok(Column::Lock),
            (_, "write") => Ok(Column::Write),
            (_, other) => Err(TxnError::InvalidCf(other.to_owned())),
        }
    }

    /// Refuses a request for `keys` that is of another version or belongs to another mode. `command` is its name in
    /// TiKV; those of raw commands begin so.
    pub(super) fn check_keys<'k>(
        self,
        context: Option<&Context>,
        command: &'static str,
        keys: impl IntoIterator<Item = &'k Bytes>,
    ) -> Result<(), TxnError> {
        let Some(wanted) = self.wanted(context, command)? else { return Ok(()) };
        match keys.into_iter().find(|key| Mode::of_key(key) != wanted) {
            None => Ok(()),
            Some(key) => Err(TxnError::InvalidKeyMode { command, storage: self.name(), key: key.clone() }),
        }
    }

    /// [`Api::check_keys`] for ranges.
    pub(super) fn check_ranges<'k>(
        self,
        context: Option<&Context>,
        command: &'static str,
        ranges: impl IntoIterator<Item = (&'k Bytes, &'k Bytes)>,
    ) -> Result<(), TxnError> {
        let Some(wanted) = self.wanted(context, command)? else { return Ok(()) };
        match ranges.into_iter().find(|(start, end)| Mode::of_range(start, end) != wanted) {
            None => Ok(()),
            Some((start, end)) => {
                let (start, end) = (start.clone(), end.clone());
                Err(TxnError::InvalidKeyRangeMode { command, storage: self.name(), start, end })
            }
        }
    }

    /// The mode that the keys of a request must have, if any will not do.
    fn wanted(self, context: Option<&Context>, command: &'static str) -> Result<Option<Mode>, TxnError> {
        let asked = context.map_or(0, |context| context.api_version);
        let asked = ApiVersion::try_from(asked);
        let raw = command.starts_with("raw_");
        match (self, asked, raw) {
            (Self::V1, Ok(ApiVersion::V1), _) | (Self::V1Ttl, Ok(ApiVersion::V1), true) => Ok(None),
            (Self::V2, Ok(ApiVersion::V1), false) => Ok(Some(Mode::Tidb)),
            (Self::V2, Ok(ApiVersion::V2), true) => Ok(Some(Mode::Raw)),
            (Self::V2, Ok(ApiVersion::V2), false) => Ok(Some(Mode::Txn)),
            (_, asked, _) => {
                let request = match asked {
                    Ok(ApiVersion::V1) => "V1",
                    Ok(ApiVersion::V1ttl) => "V1ttl",
                    Ok(ApiVersion::V2) => "V2",
                    Ok(ApiVersion::V3) => "V3",
                    Err(_) => "unknown",
                };
                Err(TxnError::ApiVersion { command, storage: self.name(), request })
            }
        }
    }
}
