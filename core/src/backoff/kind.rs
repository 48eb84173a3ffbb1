//! The table of what there is to wait for.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// How chance shortens a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// Not at all: strictly exponential.
    None,
    /// By up to a half.
    Equal,
}

/// What giving up on a kind means to the user.
///
/// client-go: `error/error.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum Verdict {
    /// TiKV stores did not answer.
    #[error("tikv server timeout")]
    TikvServerTimeout,
    /// TiFlash stores did not answer.
    #[error("tiflash server timeout")]
    TiflashServerTimeout,
    /// Locks of other transactions stayed.
    #[error("resolve lock timeout")]
    ResolveLockTimeout,
    /// PD did not answer.
    #[error("pd server timeout")]
    PdServerTimeout,
    /// Regions kept moving, splitting or being without a leader.
    #[error("region unavailable")]
    RegionUnavailable,
    /// TiKV stores were busy.
    #[error("tikv server busy")]
    TikvServerBusy,
    /// A store's disk is full.
    #[error("tikv disk full")]
    TikvDiskFull,
    /// The region is recovered by hand.
    #[error("region is being online unsafe recovered")]
    RegionRecoveryInProgress,
    /// TiFlash stores were busy.
    #[error("tiflash server busy")]
    TiflashServerBusy,
    /// The leader kept changing between proposal and apply.
    #[error("tikv stale command")]
    TikvStaleCommand,
    /// A new leader did not learn the newest timestamp from PD.
    #[error("tikv max timestamp not synced")]
    MaxTimestampNotSynced,
    /// PD's timestamps stayed below what the commit waits for.
    #[error("commit timestamp lags behind expected")]
    CommitTsLag,
    /// The region's peer stayed without its data.
    #[error("region not initialized")]
    RegionNotInitialized,
    /// The peer that answered has no data to read.
    #[error("peer is witness")]
    IsWitness,
}

/// How long a kind sleeps, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a row of the table, only this module makes one")]
pub struct Law {
    /// Its name in texts and traces, the same as in client-go.
    pub name: &'static str,
    /// The first sleep, in ms; it doubles with each attempt.
    pub base_ms: u64,
    /// The longest sleep, in ms.
    pub cap_ms: u64,
    /// How chance shortens a sleep.
    pub jitter: Jitter,
    /// What giving up means.
    pub verdict: Verdict,
    /// The label of `backoff_seconds`; kinds share labels.
    pub label: &'static str,
    /// The sleeps do not count against the budget up to this total, in ms.
    pub excluded_ms: Option<u64>,
}

/// What there is to wait for.
///
/// client-go: `config/retry/config.go` (the `Bo...` variables).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A TiKV store that cannot be reached.
    TikvRpc,
    /// A TiFlash store that cannot be reached.
    TiflashRpc,
    /// A lock of another transaction.
    TxnLock,
    /// PD.
    PdRpc,
    /// A region that was not where the directory said.
    RegionMiss,
    /// A region that is electing, splitting or merging.
    RegionScheduling,
    /// A busy TiKV store.
    TikvServerBusy,
    /// A TiKV store with a full disk.
    TikvDiskFull,
    /// A region that is recovered by hand.
    RegionRecoveryInProgress,
    /// A busy TiFlash store.
    TiflashServerBusy,
    /// A transaction whose record was not yet written.
    TxnNotFound,
    /// A command of an older raft term.
    StaleCommand,
    /// A leader that does not know the newest timestamp yet.
    MaxTsNotSynced,
    /// A timestamp that lags behind the commit's.
    CommitTsLag,
    /// A peer without its data.
    RegionNotInitialized,
    /// A peer that never has data.
    IsWitness,
    /// A lock that a read hopes to see gone soon.
    TxnLockFast,
}

impl Kind {
    /// All kinds, in the order of the table.
    pub const ALL: [Self; 17] = [
        Self::TikvRpc,
        Self::TiflashRpc,
        Self::TxnLock,
        Self::PdRpc,
        Self::RegionMiss,
        Self::RegionScheduling,
        Self::TikvServerBusy,
        Self::TikvDiskFull,
        Self::RegionRecoveryInProgress,
        Self::TiflashServerBusy,
        Self::TxnNotFound,
        Self::StaleCommand,
        Self::MaxTsNotSynced,
        Self::CommitTsLag,
        Self::RegionNotInitialized,
        Self::IsWitness,
        Self::TxnLockFast,
    ];

    /// The table.
    ///
    /// client-go: `config/retry/config.go`; `isSleepExcluded` for the last column.
    #[must_use]
    pub const fn law(self) -> Law {
        use Jitter::{Equal, None as No};
        match self {
            Self::TikvRpc => row("tikvRPC", 100, 2000, Equal, Verdict::TikvServerTimeout, "tikvRPC"),
            Self::TiflashRpc => row("tiflashRPC", 100, 2000, Equal, Verdict::TiflashServerTimeout, "tikvRPC"),
            Self::TxnLock => row("txnLock", 100, 3000, Equal, Verdict::ResolveLockTimeout, "txnLock"),
            Self::PdRpc => row("pdRPC", 500, 3000, Equal, Verdict::PdServerTimeout, "pdRPC"),
            Self::RegionMiss => row("regionMiss", 2, 500, No, Verdict::RegionUnavailable, "regionMiss"),
            Self::RegionScheduling => {
                row("regionScheduling", 2, 500, No, Verdict::RegionUnavailable, "regionScheduling")
            }
            Self::TikvServerBusy => Law {
                excluded_ms: Some(600_000),
                ..row("tikvServerBusy", 2000, 10_000, Equal, Verdict::TikvServerBusy, "serverBusy")
            },
            Self::TikvDiskFull => row("tikvDiskFull", 500, 5000, No, Verdict::TikvDiskFull, "tikvDiskFull"),
            Self::RegionRecoveryInProgress => row(
                "regionRecoveryInProgress",
                100,
                10_000,
                Equal,
                Verdict::RegionRecoveryInProgress,
                "regionRecoveryInProgress",
            ),
            Self::TiflashServerBusy => {
                row("tiflashServerBusy", 2000, 10_000, Equal, Verdict::TiflashServerBusy, "serverBusy")
            }
            Self::TxnNotFound => row("txnNotFound", 2, 500, No, Verdict::ResolveLockTimeout, ""),
            Self::StaleCommand => row("staleCommand", 2, 1000, No, Verdict::TikvStaleCommand, "staleCommand"),
            Self::MaxTsNotSynced => row("maxTsNotSynced", 2, 500, No, Verdict::MaxTimestampNotSynced, ""),
            Self::CommitTsLag => row("commitTSLag", 2, 500, No, Verdict::CommitTsLag, ""),
            Self::RegionNotInitialized => {
                row("regionNotInitialized", 2, 1000, No, Verdict::RegionNotInitialized, "")
            }
            Self::IsWitness => row("isWitness", 1000, 10_000, Equal, Verdict::IsWitness, "isWitness"),
            // The base is a setting of the client: `Tuning::lock_fast_ms`, of which this is the default.
            Self::TxnLockFast => {
                row("txnLockFast", 10, 3000, Equal, Verdict::ResolveLockTimeout, "tikvLockFast")
            }
        }
    }

    /// Its name in texts and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.law().name
    }

    /// The sleep of attempt number `attempt` (from 0) in ms, with `base_ms` in place of the table's.
    ///
    /// client-go: `config/retry/config.go: newBackoffFn`.
    pub(super) fn sleep_ms(self, base_ms: u64, attempt: u8, rng: &mut fastrand::Rng) -> u64 {
        let law = self.law();
        // Half of a smaller base leaves nothing to draw from.
        let base = base_ms.max(2);
        let factor = 1_u64.checked_shl(u32::from(attempt)).unwrap_or(u64::MAX);
        let full = base.saturating_mul(factor).min(law.cap_ms.max(2));
        match law.jitter {
            Jitter::None => full,
            Jitter::Equal => full / 2 + rng.u64(0..full / 2),
        }
    }

    /// Up to how much the sleeps of this kind stay out of the budget.
    pub(super) fn excluded(self) -> Option<Duration> {
        self.law().excluded_ms.map(Duration::from_millis)
    }
}

const fn row(
    name: &'static str,
    base_ms: u64,
    cap_ms: u64,
    jitter: Jitter,
    verdict: Verdict,
    label: &'static str,
) -> Law {
    Law { name, base_ms, cap_ms, jitter, verdict, label, excluded_ms: None }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
