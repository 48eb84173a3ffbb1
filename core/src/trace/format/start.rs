//! What an operation begins with.

use bytes::Bytes;

use super::{Place, Range};

/// An operation's arguments. One message for all kinds: those that a kind does not have are unset.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Start {
    /// The kind.
    #[prost(enumeration = "Operation", tag = "1")]
    pub operation: i32,
    /// Keys that are read, deleted, committed or rolled back; one of a get.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub keys: Vec<Bytes>,
    /// What is written; of a transaction's scan its own writes, in the scan's order.
    #[prost(message, repeated, tag = "3")]
    pub writes: Vec<Write>,
    /// The range of a scan or a range delete.
    #[prost(message, optional, tag = "4")]
    pub range: Option<Range>,
    /// The timestamp of a read, or a transaction's begin.
    #[prost(uint64, tag = "5")]
    pub ts: u64,
    /// When a transaction was committed, or is to be.
    #[prost(uint64, tag = "6")]
    pub commit_ts: u64,
    /// The primary of a transaction.
    #[prost(bytes = "bytes", tag = "7")]
    pub primary: Bytes,
    /// A raw column family; empty: the default one.
    #[prost(string, tag = "8")]
    pub cf: String,
    /// How long raw entries live, in seconds; 0: for ever.
    #[prost(uint64, tag = "9")]
    pub ttl_s: u64,
    /// A raw write that takes turns with compare-and-swap.
    #[prost(bool, tag = "10")]
    pub for_cas: bool,
    /// Pairs at the most.
    #[prost(uint64, tag = "11")]
    pub limit: u64,
    /// From the last key down.
    #[prost(bool, tag = "12")]
    pub reverse: bool,
    /// Values stay empty.
    #[prost(bool, tag = "13")]
    pub keys_only: bool,
    /// Pairs in one page at the most.
    #[prost(uint32, tag = "14")]
    pub page: u32,
    /// Transactions whose locks a page ignores.
    #[prost(uint64, repeated, tag = "15")]
    pub ignore: Vec<u64>,
    /// Transactions whose locks a page reads through.
    #[prost(uint64, repeated, tag = "16")]
    pub access: Vec<u64>,
    /// What a transaction itself wrote at the key of a get.
    #[prost(message, optional, tag = "17")]
    pub own: Option<Own>,
    /// When a transaction began, in ns on the client's clock.
    #[prost(uint64, tag = "18")]
    pub begun_ns: u64,
    /// How often a transaction was run.
    #[prost(uint32, tag = "19")]
    pub attempt: u32,
    /// Locks that are to be removed.
    #[prost(message, repeated, tag = "20")]
    pub cleanings: Vec<Cleaning>,
    /// The own writes of a scan stand in reverse order.
    #[prost(bool, tag = "21")]
    pub overlay_reverse: bool,
    /// Where a region is looked for.
    #[prost(message, optional, tag = "22")]
    pub place: Option<Place>,
    /// Regions.
    #[prost(uint64, repeated, tag = "23")]
    pub regions: Vec<u64>,
    /// The group of a scattering.
    #[prost(string, optional, tag = "24")]
    pub group: Option<String>,
    /// Waits for the end of a scattering.
    #[prost(bool, tag = "25")]
    pub waits: bool,
    /// PD has the keys as they are.
    #[prost(bool, tag = "26")]
    pub raw: bool,
}

/// Kinds of operations, one for each of [`crate::start::Start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum Operation {
    /// Not said.
    Unknown = 0,
    /// Read one raw value.
    RawGet = 1,
    /// Write one raw value.
    RawPut = 2,
    /// Delete one raw key.
    RawDelete = 3,
    /// Read many raw values.
    RawBatchGet = 4,
    /// Write many raw values.
    RawBatchPut = 5,
    /// Delete many raw keys.
    RawBatchDelete = 6,
    /// Read a range of raw keys.
    RawScan = 7,
    /// Delete a range of raw keys.
    RawDeleteRange = 8,
    /// Read one key at a timestamp.
    Get = 9,
    /// Read many keys at a timestamp.
    BatchGet = 10,
    /// Read a range at a timestamp.
    Scan = 11,
    /// Read a page of a range at a timestamp.
    Page = 12,
    /// Get the timestamp that a transaction begins with.
    BeginTimestamp = 13,
    /// Get the timestamp that a caller asked for.
    CurrentTimestamp = 14,
    /// Commit a transaction.
    Commit = 15,
    /// Wait before a transaction is run again.
    Pause = 16,
    /// Commit the other keys of a transaction.
    CommitSecondaries = 17,
    /// Carry a commit to its end.
    FinishCommit = 18,
    /// Roll a transaction back.
    RollBack = 19,
    /// Remove locks.
    CleanLocks = 20,
    /// Find one region.
    FindRegion = 21,
    /// List the regions of a range.
    ListRegions = 22,
    /// Find the buckets of a region.
    RegionBuckets = 23,
    /// Split regions.
    SplitRegions = 24,
    /// Scatter regions.
    ScatterRegions = 25,
    /// See whether a region is being scattered.
    RegionOrder = 26,
}

/// A key and what is done to it.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Write {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// What is done.
    #[prost(enumeration = "WriteKind", tag = "2")]
    pub kind: i32,
    /// The value.
    #[prost(bytes = "bytes", tag = "3")]
    pub value: Bytes,
}

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum WriteKind {
    /// It is given a value.
    Put = 0,
    /// It is given a value, and must have none.
    Insert = 1,
    /// Its value is taken away.
    Delete = 2,
    /// Nothing; it must have no value.
    CheckNotExists = 3,
}

/// What a transaction wrote at a key.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Own {
    /// The value; none: it deleted the key.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub value: Option<Bytes>,
}

/// Locks of one transaction that are to be removed.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Cleaning {
    /// The transaction.
    #[prost(uint64, tag = "1")]
    pub start_ts: u64,
    /// What becomes of them.
    #[prost(enumeration = "Verdict", tag = "2")]
    pub verdict: i32,
    /// The commit timestamp, or the newest `for_update_ts` that is released.
    #[prost(uint64, tag = "3")]
    pub ts: u64,
    /// The keys.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub keys: Vec<Bytes>,
    /// All locks in the regions of the keys are meant.
    #[prost(bool, tag = "5")]
    pub whole_regions: bool,
    /// The transaction wrote through a file.
    #[prost(bool, tag = "6")]
    pub is_txn_file: bool,
}

/// What becomes of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum Verdict {
    /// They are rolled back.
    RollBack = 0,
    /// They are committed.
    Commit = 1,
    /// They are released.
    Release = 2,
}
