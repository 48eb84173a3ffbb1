//! Why a command failed, and how a client is told.
//!
//! Some failures have a field of their own in `KeyError`; all others travel as text. That text is the debug form of
//! TiKV's nested errors; clients look for the names in it, so each rendering here keeps the nesting and the name.
//!
//! Spec: `cluster.md` 3, 6. TiKV: `storage/errors.rs: extract_key_error`.

use std::fmt;

use bytes::Bytes;
use tikv_proto::deadlock::WaitForEntry;
use tikv_proto::kvrpcpb::write_conflict::Reason;
use tikv_proto::kvrpcpb::{
    AlreadyExist, Assertion, AssertionFailed, CommitTsExpired, Deadlock, DebugInfo, KeyError, LockInfo,
    MvccDebugInfo, MvccInfo, PrimaryMismatch, TxnLockNotFound, TxnNotFound, WriteConflict,
};

use crate::model::Region;

/// Why a transactional or a raw command failed on a key.
///
/// Its text is what a raw client reads in an `error` field.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum TxnError {
    #[error("key is locked by {}", .0.lock_version)]
    Locked(Box<LockInfo>),
    #[error("write conflict of {start_ts} with {conflict_start_ts}, {reason:?}")]
    WriteConflict {
        start_ts: u64,
        conflict_start_ts: u64,
        /// 0 when the conflict is with a lock.
        conflict_commit_ts: u64,
        key: Bytes,
        primary: Bytes,
        reason: Reason,
    },
    #[error("key {} exists already", Hex(.key))]
    AlreadyExists { key: Bytes },
    #[error("commit at {commit_ts} below the lock's minimum {min_commit_ts}")]
    CommitTsExpired {
        start_ts: u64,
        commit_ts: u64,
        key: Bytes,
        min_commit_ts: u64,
        /// The key's versions, when only a defect of the client can explain the error.
        mvcc: Option<Box<MvccInfo>>,
    },
    #[error("txn not found {start_ts} key: {}", Hex(.key))]
    TxnNotFound { start_ts: u64, key: Bytes },
    #[error("txn lock not found {start_ts}-{commit_ts} key: {}", Hex(.key))]
    TxnLockNotFound {
        start_ts: u64,
        commit_ts: u64,
        key: Bytes,
        /// As above.
        mvcc: Option<Box<MvccInfo>>,
    },
    #[error("assertion {assertion:?} of {start_ts} failed on key {}", Hex(.key))]
    AssertionFailed {
        start_ts: u64,
        key: Bytes,
        assertion: Assertion,
        /// 0, as the next, when there is no version.
        existing_start_ts: u64,
        existing_commit_ts: u64,
    },
    #[error("pessimistic lock not found, {reason:?}, {start_ts} key: {}", Hex(.key))]
    PessimisticLockNotFound { start_ts: u64, key: Bytes, reason: LockLost },
    #[error("pessimistic lock already rollbacked, {start_ts} key: {}", Hex(.key))]
    PessimisticLockRolledBack { start_ts: u64, key: Bytes },
    #[error("lock type not match, {start_ts} key: {}, pessimistic: {pessimistic}", Hex(.key))]
    LockTypeNotMatch { start_ts: u64, key: Bytes, pessimistic: bool },
    #[error("lock_only_if_exists is set, but return_values is not, {start_ts} key: {}", Hex(.key))]
    LockIfExistsFailed { start_ts: u64, key: Bytes },
    #[error("deadlock: {start_ts} waits for {lock_ts}")]
    Deadlock {
        start_ts: u64,
        lock_ts: u64,
        lock_key: Bytes,
        /// Hash of the key for which somebody waits for this transaction.
        deadlock_key_hash: u64,
        /// Who waits for whom; the last is the one that would close the circle.
        wait_chain: Vec<WaitForEntry>,
    },
    /// A flush comes behind a newer one; no client is told.
    #[error("flush behind a newer one on key {}", Hex(.key))]
    GenerationOutOfOrder { key: Bytes },
    #[error("primary mismatch, the lock names another primary")]
    PrimaryMismatch(Box<LockInfo>),
    #[error("txn already committed @{commit_ts}")]
    Committed { start_ts: u64, commit_ts: u64, key: Bytes },
    #[error("Invalid transaction tso with start_ts:{start_ts}, commit_ts:{commit_ts}")]
    InvalidTxnTso { start_ts: u64, commit_ts: u64 },
    #[error("max key size exceeded, size: {size}, limit: {}", MAX_KEY_SIZE)]
    KeyTooLarge { size: usize },
    #[error("invalid cf name: {0}")]
    InvalidCf(String),
    #[error("cf is deprecated in API V2, cf name: {0}")]
    CfDeprecated(String),
    #[error(
        "Api version in request does not match with TiKV storage, cmd: {command}, storage: {storage}, request: {request}"
    )]
    ApiVersion { command: &'static str, storage: &'static str, request: &'static str },
    #[error("Key mode mismatched with the request mode, cmd: {command}, storage: {storage}, key: {}", Hex(.key))]
    InvalidKeyMode { command: &'static str, storage: &'static str, key: Bytes },
    #[error(
        "Key mode mismatched with the request mode, cmd: {command}, storage: {storage}, range: ({}, {})",
        Hex(.start),
        Hex(.end)
    )]
    InvalidKeyRangeMode { command: &'static str, storage: &'static str, start: Bytes, end: Bytes },
    #[error("The length of ttls does not equal to the length of pairs")]
    TtlLenNotEqualsToPairs,
    // TiKV: `region_snapshot.rs: handle_check_key_in_region_error`, wrapped once by `raftstore_impls.rs`.
    #[error("unknown error {:?}", .0.to_string())]
    OutOfRegion(OutOfRegion),
    #[error("Request range exceeds bound")]
    InvalidReqRange,
    #[error("default not found: key:{}, maybe read truncated/dropped table data?", Hex(.key))]
    DefaultNotFound { key: Bytes },
    #[error("Invalid KeyRanges")]
    InvalidKeyRanges,
    #[error("ttl is not enabled, but get put request with ttl")]
    TtlNotEnabled,
    #[error("an empty request")]
    EmptyRequest,
    #[error("unknown checksum algorithm {0}")]
    UnknownChecksum(i32),
    #[error("{0}")]
    Other(&'static str),
}

/// Why a pessimistic lock that should be there does not count; the names are TiKV's, clients see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockLost {
    /// Another transaction holds the key.
    LockTsMismatch,
    /// There is none, and the key was written since.
    LockMissingAmendFail,
    /// It was granted at another timestamp than the client knows of.
    LockForUpdateTsMismatch,
    /// The key was never locked, and was written since.
    NonLockKeyConflict,
}

/// Longest key in the engine, in bytes: encoded for transactions, plain for raw data.
pub(super) const MAX_KEY_SIZE: usize = 8192;

/// A key outside the region that its request names, met where TiKV makes no region error of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OutOfRegion {
    /// In region form, as the bounds.
    pub(super) key: Bytes,
    pub(super) region: u64,
    pub(super) start: Bytes,
    pub(super) end: Bytes,
}

impl OutOfRegion {
    pub(super) fn new(key: &Bytes, region: &Region) -> Self {
        Self { key: key.clone(), region: region.id, start: region.start.clone(), end: region.end.clone() }
    }
}

impl fmt::Display for OutOfRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, region, start, end } = self;
        let inner = format!(
            "[components/raftstore/src/store/region_snapshot.rs:434]: Key {} is out of [region {region}] [{}, {})",
            Hex(key),
            Hex(start),
            Hex(end)
        );
        write!(f, "[components/tikv_kv/src/raftstore_impls.rs:69]: {inner:?}")
    }
}

/// Bytes as TiKV logs keys.
pub(in crate::model) struct Hex<'a>(pub(in crate::model) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl TxnError {
    /// What a client of transactions is told.
    pub(super) fn into_key_error(self) -> KeyError {
        let mut told = KeyError::default();
        match self {
            Self::Locked(info) => told.locked = Some(info),
            Self::WriteConflict {
                start_ts,
                conflict_start_ts,
                conflict_commit_ts,
                ref key,
                ref primary,
                reason,
            } => {
                told.conflict = Some(WriteConflict {
                    start_ts,
                    conflict_ts: conflict_start_ts,
                    key: key.clone(),
                    primary: primary.clone(),
                    conflict_commit_ts,
                    reason: reason.into(),
                });
                told.retryable = self.mvcc();
            }
            Self::AlreadyExists { key } => told.already_exist = Some(AlreadyExist { key }),
            Self::CommitTsExpired { start_ts, commit_ts, key, min_commit_ts, mvcc } => {
                let attempted_commit_ts = commit_ts;
                told.debug_info = mvcc.map(|mvcc| debug_info(&key, *mvcc));
                told.commit_ts_expired =
                    Some(CommitTsExpired { start_ts, attempted_commit_ts, key, min_commit_ts });
            }
            Self::TxnNotFound { start_ts, key } => {
                told.txn_not_found = Some(TxnNotFound { start_ts, primary_key: key });
            }
            Self::TxnLockNotFound { ref key, ref mvcc, .. } => {
                told.txn_lock_not_found = Some(TxnLockNotFound { key: key.clone() });
                told.debug_info = mvcc.clone().map(|mvcc| debug_info(key, *mvcc));
                told.retryable = self.mvcc();
            }
            Self::AssertionFailed { start_ts, key, assertion, existing_start_ts, existing_commit_ts } => {
                told.assertion_failed = Some(AssertionFailed {
                    start_ts,
                    key,
                    assertion: assertion.into(),
                    existing_start_ts,
                    existing_commit_ts,
                });
            }
            Self::Deadlock { lock_ts, lock_key, deadlock_key_hash, wait_chain, .. } => {
                told.deadlock =
                    Some(Deadlock { lock_ts, lock_key, deadlock_key_hash, wait_chain, ..Default::default() });
            }
            Self::PrimaryMismatch(info) => {
                told.primary_mismatch = Some(PrimaryMismatch { lock_info: Some(*info) });
            }
            other => told.abort = other.abort(),
        }
        told
    }

    /// The debug form of what has no field of its own.
    fn abort(&self) -> String {
        match self {
            Self::OutOfRegion(place) => {
                format!("Error(Txn(Error(Engine(Error(Other({:?}))))))", place.to_string())
            }
            Self::InvalidTxnTso { .. } | Self::InvalidReqRange => format!("Error(Txn(Error({self:?})))"),
            Self::ApiVersion { command, storage, request } => format!(
                "Error(ApiVersionNotMatched {{ cmd: {command}, storage_api_version: {storage}, req_api_version: {request} }})"
            ),
            Self::InvalidKeyMode { .. } | Self::InvalidKeyRangeMode { .. } => format!("Error({self:?})"),
            Self::KeyTooLarge { size } => {
                format!("Error(KeyTooLarge {{ size: {size}, limit: {MAX_KEY_SIZE} }})")
            }
            Self::InvalidCf(name) => format!("Error(InvalidCf({name:?}))"),
            Self::InvalidKeyRanges => "Error(Other(\"Invalid KeyRanges\"))".to_owned(),
            Self::Other(text) => format!("Error(Txn(Error(Mvcc(Error(Other({text:?}))))))"),
            _ => self.mvcc(),
        }
    }

    /// The debug form of an error of the MVCC layer.
    fn mvcc(&self) -> String {
        format!("Error(Txn(Error(Mvcc(Error({self:?})))))")
    }
}

fn debug_info(key: &Bytes, mvcc: MvccInfo) -> DebugInfo {
    DebugInfo { mvcc_info: vec![MvccDebugInfo { key: key.clone(), mvcc: Some(mvcc) }] }
}
