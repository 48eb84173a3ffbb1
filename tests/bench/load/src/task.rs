//! What one run of one client is to do, and what came of it.

use serde_derive::{Deserialize, Serialize};

/// What a caller does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums, reason = "a client must say of each whether it can do it")]
pub enum Action {
    /// Read one raw key.
    RawGet,
    /// Write one raw key.
    RawPut,
    /// Read 100 raw keys of all regions.
    RawBatchGet,
    /// Read a range of 100 raw keys of one region.
    RawScan,
    /// Read one key at a timestamp that was taken before.
    SnapshotGet,
    /// Read 100 keys of all regions at such a timestamp.
    SnapshotBatchGet,
    /// Read a range of 100 keys of one region at such a timestamp.
    SnapshotScan,
    /// Begin a transaction, which asks for a timestamp, and read one key in it.
    TxnGet,
    /// Begin a transaction, write one key, commit.
    #[serde(rename = "commit-1")]
    Commit1,
    /// Begin a transaction, write ten keys over all regions, commit.
    #[serde(rename = "commit-10")]
    Commit10,
}

impl Action {
    /// Keys that one operation reads or writes.
    #[must_use]
    pub const fn keys(self) -> u32 {
        match self {
            Self::RawGet | Self::RawPut | Self::SnapshotGet | Self::TxnGet | Self::Commit1 => 1,
            Self::Commit10 => 10,
            Self::RawBatchGet | Self::RawScan | Self::SnapshotBatchGet | Self::SnapshotScan => 100,
        }
    }
}

/// How the keys that are read are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums, reason = "a sampler needs each")]
pub enum Draw {
    /// All alike.
    Uniform,
    /// The n-th most frequent key is drawn 1/n as often as the most frequent one.
    Zipf,
}

/// What one run of one client is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "the argument of a program, built field by field")]
pub struct Task {
    /// PD addresses, `host:port`.
    pub pd: Vec<String>,
    /// What the callers do.
    pub action: Action,
    /// Calls under way at a time.
    pub callers: u32,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Which keys.
    pub draw: Draw,
    /// Keys that are there to read.
    pub keys: u32,
    /// Of the draws.
    pub seed: u64,
    /// In every key that is written: no run meets the locks that one before has left.
    pub run: u64,
    /// Before anything is measured, in seconds.
    pub warm_up: f64,
    /// What is measured, in seconds.
    pub seconds: f64,
}

/// What one run cost. CPU and memory are of the client's process alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a record, read field by field")]
pub struct Outcome {
    /// Operations that were measured.
    pub operations: u64,
    /// Operations a second.
    pub per_second: f64,
    /// CPU of an operation, user and kernel, in µs.
    pub cpu_us: f64,
    /// Half of the operations took at most this long, in µs.
    pub p50_us: f64,
    /// 99 of 100 took at most this long, in µs.
    pub p99_us: f64,
    /// 999 of 1000 took at most this long, in µs.
    pub p999_us: f64,
    /// Allocations of an operation, where they were counted.
    pub allocations: Option<f64>,
    /// The most memory that the process held, in KiB.
    pub peak_kib: u64,
    /// A checksum of the draws: the same for every client with the same task.
    pub draws: String,
}
