//! The records of a trace, as protobuf messages: what is in the file, and what a reader gets.
//!
//! Here are the records themselves; `step` has what a step consists of, `start` what an operation begins with, `values` what
//! both use. The field numbers are in the tables of [`trace`](super); a reader skips fields that it does not know.

mod start;
mod step;
mod values;

pub use start::{Cleaning, Operation, Own, Start, Verdict, Write, WriteKind};
pub use step::{
    Ask, Call, Completed, Completion, Effect, EffectKind, Fact, FactKind, Fault, FaultKind, Interrupt,
    KnownReplicas, Label, Labels, Locate, PdAsk, PdKind, PdTold, Question, Replicas, Service, ServiceError,
    Span, Store, StoreView, Timer, Transport, TransportClass, Why,
};
pub use values::{
    Buckets, Feedback, FeedbackKind, LeaderIs, Loaded, Located, Peer, Place, PlaceKind, Range, Region,
    RegionInfo, Regions, Replaced, Spanned, Stale, StoreTold, Unreachable,
};

/// One record of a trace.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Record {
    /// What it records; none: something that this version of the reader does not know.
    #[prost(oneof = "Entry", tags = "1, 2, 3, 4")]
    pub entry: Option<Entry>,
}

/// What a record is about.
#[derive(Clone, PartialEq, prost::Oneof)]
#[allow(clippy::large_enum_variant, reason = "a reader holds one at a time")]
#[non_exhaustive]
pub enum Entry {
    /// An operation begins.
    #[prost(message, tag = "1")]
    Begin(Begin),
    /// An operation goes a step.
    #[prost(message, tag = "2")]
    Step(Step),
    /// An operation is over.
    #[prost(message, tag = "3")]
    End(End),
    /// A service of the client does something on the network. Not replayed.
    #[prost(message, tag = "4")]
    Wire(Wire),
}

/// An operation begins.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Begin {
    /// The operation's number, unique in the trace.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// The client it belongs to, from 1 on: clients may share a recorder.
    #[prost(uint64, tag = "2")]
    pub client: u64,
    /// The operation that left it to the background; 0: an application called it, or the one that did was not recorded.
    #[prost(uint64, tag = "3")]
    pub parent: u64,
    /// When, in ns on the client's monotonic clock.
    #[prost(uint64, tag = "4")]
    pub at_ns: u64,
    /// When, in ms since the Unix epoch.
    #[prost(uint64, tag = "5")]
    pub wall_ms: u64,
    /// The seed of its random numbers.
    #[prost(fixed64, tag = "6")]
    pub seed: u64,
    /// Which keys it speaks of.
    #[prost(enumeration = "KeySpace", tag = "7")]
    pub space: i32,
    /// When it is to be over, in ns on the client's clock.
    #[prost(uint64, tag = "8")]
    pub deadline_ns: u64,
    /// What it may sleep.
    #[prost(message, optional, tag = "9")]
    pub budget: Option<Budget>,
    /// Its requests under way at a time.
    #[prost(uint64, tag = "10")]
    pub concurrency: u64,
    /// Whether its errors hide keys.
    #[prost(bool, tag = "11")]
    pub redact_keys: bool,
    /// Whether values are zeroed in all records of it.
    #[prost(bool, tag = "12")]
    pub zeroed_values: bool,
    /// What it does.
    #[prost(message, optional, tag = "13")]
    pub start: Option<Start>,
    /// Whether its keys are those of API v2: PD has raw ones in the form of transactional ones.
    #[prost(bool, tag = "14")]
    pub api_v2: bool,
    /// Where its reads go; unset: to leaders.
    #[prost(message, optional, tag = "15")]
    pub reading: Option<Reading>,
    /// A leader that cannot be reached is asked through another store.
    #[prost(bool, tag = "16")]
    pub forwarding: bool,
}

/// How an operation's reads are done.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Reading {
    /// 0 the leader, 1 a follower, 2 any, 3 a learner, 4 the leader unless slow, 5 the closest.
    #[prost(uint32, tag = "1")]
    pub replica: u32,
    /// Labels that a store should have.
    #[prost(message, repeated, tag = "2")]
    pub labels: Vec<Label>,
    /// Stores that should be asked.
    #[prost(uint64, repeated, tag = "3")]
    pub stores: Vec<u64>,
    /// Data as old as the timestamp.
    #[prost(bool, tag = "4")]
    pub stale: bool,
    /// Nobody but the leader.
    #[prost(bool, tag = "5")]
    pub leader_only: bool,
    /// A store that is busier passes the read on, in ns; 0: none does.
    #[prost(uint64, tag = "6")]
    pub busy_threshold_ns: u64,
    /// What an attempt may take, in ns.
    #[prost(uint64, optional, tag = "7")]
    pub attempt_ns: Option<u64>,
}

/// A key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum KeySpace {
    /// Not said.
    Unknown = 0,
    /// Raw keys.
    Raw = 1,
    /// Transactional keys.
    Txn = 2,
}

/// What an operation may sleep between its attempts.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Budget {
    /// How `ms` is meant.
    #[prost(enumeration = "AllowanceKind", tag = "1")]
    pub kind: i32,
    /// So many ms.
    #[prost(uint32, tag = "2")]
    pub ms: u32,
    /// What a weighted allowance is multiplied with.
    #[prost(uint32, tag = "3")]
    pub weight: u32,
    /// The first pause behind a lock, in ms.
    #[prost(uint64, tag = "4")]
    pub lock_fast_ms: u64,
}

/// How an allowance is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum AllowanceKind {
    /// No pause at all.
    Nothing = 0,
    /// So many ms, times the weight.
    Weighted = 1,
    /// So many ms.
    Plain = 2,
    /// No bound.
    Unlimited = 3,
}

/// An operation goes a step: what made it possible, what it read, what it wants done.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Step {
    /// The operation.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Counts the operation's steps from 0.
    #[prost(uint32, tag = "2")]
    pub index: u32,
    /// When, in ns on the client's monotonic clock.
    #[prost(uint64, tag = "3")]
    pub at_ns: u64,
    /// When, in ms since the Unix epoch.
    #[prost(uint64, tag = "4")]
    pub wall_ms: u64,
    /// What made the step possible.
    #[prost(oneof = "Cause", tags = "5, 6, 7, 8")]
    pub cause: Option<Cause>,
    /// What it read of the state that all operations share, in order.
    #[prost(message, repeated, tag = "9")]
    pub facts: Vec<Fact>,
    /// What it wants done, in order.
    #[prost(message, repeated, tag = "10")]
    pub effects: Vec<Effect>,
}

/// What makes a step possible.
#[derive(Clone, PartialEq, prost::Oneof)]
#[non_exhaustive]
pub enum Cause {
    /// It is the first.
    #[prost(bool, tag = "5")]
    First(bool),
    /// Something that it waited for.
    #[prost(message, tag = "6")]
    Completed(Completed),
    /// The operation was stopped: all that it waited for completes at once.
    #[prost(enumeration = "Interrupt", tag = "7")]
    Interrupted(i32),
    /// The caller dropped it: the last step, which cleans up.
    #[prost(bool, tag = "8")]
    Dropped(bool),
}

/// An operation is over.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct End {
    /// The operation.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// When, in ns on the client's monotonic clock.
    #[prost(uint64, tag = "2")]
    pub at_ns: u64,
    /// The caller dropped it; there is no output.
    #[prost(bool, tag = "3")]
    pub dropped: bool,
    /// What a caller can do about its error, in the words of [`ErrorKind`](crate::error::ErrorKind); empty: it succeeded.
    #[prost(string, tag = "4")]
    pub error: String,
    /// Its output or error as `Debug` shows it, or the beginning of that.
    #[prost(string, tag = "5")]
    pub text: String,
    /// Bytes of the whole text.
    #[prost(uint64, tag = "6")]
    pub bytes: u64,
    /// FNV-1a of the whole text, 64 bits.
    #[prost(fixed64, tag = "7")]
    pub hash: u64,
    /// How many steps it went.
    #[prost(uint32, tag = "8")]
    pub steps: u32,
}

/// A service of the client does something on the network.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Wire {
    /// The client.
    #[prost(uint64, tag = "1")]
    pub client: u64,
    /// The service: `pd`, `timestamps`, `store 7`.
    #[prost(string, tag = "2")]
    pub service: String,
    /// When, in ns on the client's monotonic clock.
    #[prost(uint64, tag = "3")]
    pub at_ns: u64,
    /// What happened.
    #[prost(enumeration = "WireKind", tag = "4")]
    pub kind: i32,
    /// The stream or the unary call, by the service's own count.
    #[prost(uint64, tag = "5")]
    pub id: u64,
    /// `host:port`, where it is known.
    #[prost(string, tag = "6")]
    pub address: String,
    /// The gRPC method, where it is known.
    #[prost(string, tag = "7")]
    pub path: String,
    /// Bytes of the message.
    #[prost(uint64, tag = "8")]
    pub bytes: u64,
    /// Why it ended or failed.
    #[prost(message, optional, tag = "9")]
    pub fault: Option<Fault>,
}

/// What a service does on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum WireKind {
    /// Not said.
    Unknown = 0,
    /// It opens a stream.
    Open = 1,
    /// The stream takes messages, for the first time.
    Opened = 2,
    /// It sends a message on the stream.
    Send = 3,
    /// The stream brought a message.
    Item = 4,
    /// The stream ended or could not be opened: `fault` says why.
    Closed = 5,
    /// It ended the stream.
    Close = 6,
    /// It calls a unary method.
    Call = 7,
    /// The call's answer, or its `fault`.
    Answer = 8,
}
