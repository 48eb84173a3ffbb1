//! What a step consists of: the completion, the facts, the effects.

use bytes::Bytes;

use super::{Feedback, Located, Peer, Place, Range, Region, Regions, Start};

/// Something that an operation waited for.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Completed {
    /// What waited: the ticket of a call, a question or a timer, counted from 1 in the operation.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// What came.
    #[prost(oneof = "Completion", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub completion: Option<Completion>,
}

/// What came.
#[derive(Clone, PartialEq, prost::Oneof)]
#[non_exhaustive]
pub enum Completion {
    /// A store's response, encoded.
    #[prost(bytes = "bytes", tag = "2")]
    Response(Bytes),
    /// The timer that was set for this time, in ns on the client's clock.
    #[prost(uint64, tag = "3")]
    Fired(u64),
    /// A timestamp.
    #[prost(uint64, tag = "4")]
    Timestamp(u64),
    /// A region.
    #[prost(message, tag = "5")]
    Region(Located),
    /// Regions with their keys.
    #[prost(message, tag = "6")]
    Regions(Regions),
    /// None of these.
    #[prost(message, tag = "7")]
    Fault(Fault),
    /// A response of so many bytes whose values could not be found to be zeroed: it is not a message of its type.
    #[prost(uint64, tag = "8")]
    Withheld(u64),
    /// An answer that no operation of this version asks for, as `Debug` shows it.
    #[prost(string, tag = "9")]
    Other(String),
    /// PD's answer.
    #[prost(message, tag = "10")]
    Pd(PdTold),
}

/// PD's answer to a question of an operation. The fields that its kind does not have are unset.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct PdTold {
    /// What was asked.
    #[prost(enumeration = "PdKind", tag = "1")]
    pub kind: i32,
    /// How much of a scattering is ordered, percent.
    #[prost(uint64, tag = "2")]
    pub percent: u64,
    /// The regions that could not be scattered.
    #[prost(uint64, repeated, tag = "3")]
    pub regions: Vec<u64>,
    /// There is an order, or the region of buckets is known.
    #[prost(bool, tag = "4")]
    pub found: bool,
    /// What the order is.
    #[prost(bytes = "bytes", tag = "5")]
    pub description: Bytes,
    /// The order is not done yet.
    #[prost(bool, tag = "6")]
    pub running: bool,
    /// The region of buckets.
    #[prost(message, optional, tag = "7")]
    pub region: Option<Region>,
    /// The version of buckets.
    #[prost(uint64, tag = "8")]
    pub version: u64,
    /// The bounds of buckets, in PD's form.
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub keys: Vec<Bytes>,
}

/// What PD can be asked by an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum PdKind {
    /// Not said.
    Unknown = 0,
    /// To scatter regions.
    Scatter = 1,
    /// What it does to a region.
    Order = 2,
    /// A region's buckets.
    Buckets = 3,
}

/// What PD is asked by an operation.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct PdAsk {
    /// What.
    #[prost(enumeration = "PdKind", tag = "1")]
    pub kind: i32,
    /// The regions.
    #[prost(uint64, repeated, tag = "2")]
    pub regions: Vec<u64>,
    /// The group of a scattering.
    #[prost(string, tag = "3")]
    pub group: String,
}

/// What came instead of an answer.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Fault {
    /// What.
    #[prost(oneof = "FaultKind", tags = "1, 2, 3, 4, 5")]
    pub fault: Option<FaultKind>,
}

/// A fault.
#[derive(Clone, PartialEq, prost::Oneof)]
#[non_exhaustive]
pub enum FaultKind {
    /// The request got no answer.
    #[prost(message, tag = "1")]
    Transport(Transport),
    /// The operation's deadline passed meanwhile.
    #[prost(message, tag = "2")]
    Late(Transport),
    /// The operation was stopped.
    #[prost(enumeration = "Interrupt", tag = "3")]
    Interrupted(i32),
    /// Too much waits within the client.
    #[prost(bool, tag = "4")]
    Overloaded(bool),
    /// A service could not give what was asked for.
    #[prost(message, tag = "5")]
    Refused(ServiceError),
}

/// Why an operation was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum Interrupt {
    /// Not said.
    Unknown = 0,
    /// Its deadline passed.
    Deadline = 1,
    /// The caller asked for it.
    Killed = 2,
    /// The client is closed.
    Closed = 3,
}

/// A request without answer.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Transport {
    /// What is known of it.
    #[prost(enumeration = "TransportClass", tag = "1")]
    pub class: i32,
    /// The gRPC status code of a refusal.
    #[prost(uint32, tag = "2")]
    pub code: u32,
    /// The address, and what the runtime said.
    #[prost(string, tag = "3")]
    pub detail: String,
}

/// What is known of a request without answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum TransportClass {
    /// Not said.
    Unknown = 0,
    /// Nothing was sent.
    Unreachable = 1,
    /// The connection broke behind it.
    Lost = 2,
    /// No answer in time.
    TimedOut = 3,
    /// Refused with a gRPC status.
    Rejected = 4,
}

/// What a service could not give. The fields that its kind does not have are empty.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct ServiceError {
    /// The kind.
    #[prost(enumeration = "Service", tag = "1")]
    pub kind: i32,
    /// An address, or several.
    #[prost(string, tag = "2")]
    pub address: String,
    /// What was said, or what is wrong.
    #[prost(string, tag = "3")]
    pub text: String,
    /// The cluster that was wanted, the region or the store.
    #[prost(uint64, tag = "4")]
    pub id: u64,
    /// The cluster that was found.
    #[prost(uint64, tag = "5")]
    pub found: u64,
}

/// Kinds of [`ServiceError`], one for each of [`crate::error::ServiceError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum Service {
    /// Not said.
    Unknown = 0,
    /// An address that is none.
    BadAddress = 1,
    /// No address at all.
    NoAddress = 2,
    /// No PD answers.
    PdUnreachable = 3,
    /// Another cluster.
    ClusterMismatch = 4,
    /// PD answered with an error.
    Pd = 5,
    /// PD knows no region.
    NoRegion = 6,
    /// A region without peers.
    NoPeer = 7,
    /// A store that is gone.
    StoreRemoved = 8,
    /// An answer that is none.
    Corrupt = 9,
    /// Certificates that cannot be used.
    Tls = 10,
    /// A keyspace that cannot be used.
    BadKeyspace = 11,
    /// A program's interceptor has refused it.
    Intercepted = 12,
}

/// Something that was read of the state that all operations share.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Fact {
    /// What.
    #[prost(oneof = "FactKind", tags = "1, 2, 3, 4, 5")]
    pub fact: Option<FactKind>,
}

/// A fact.
#[derive(Clone, PartialEq, prost::Oneof)]
#[non_exhaustive]
pub enum FactKind {
    /// Where a request goes.
    #[prost(message, tag = "1")]
    Locate(Locate),
    /// The keys of a region.
    #[prost(message, tag = "2")]
    Span(Span),
    /// The replicas of a region.
    #[prost(message, tag = "3")]
    Replicas(Replicas),
    /// What is known of a store.
    #[prost(message, tag = "4")]
    Store(Store),
    /// The labels of a store.
    #[prost(message, tag = "5")]
    Labels(Labels),
}

/// Where a request for a key goes.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Locate {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The region of the keys just below it was asked for; with an empty key the last.
    #[prost(bool, tag = "2")]
    pub below: bool,
    /// The answer; none: not known.
    #[prost(message, optional, tag = "3")]
    pub answer: Option<Located>,
}

/// The keys of a region.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Span {
    /// The region.
    #[prost(message, optional, tag = "1")]
    pub region: Option<Region>,
    /// The answer; none: not known.
    #[prost(message, optional, tag = "2")]
    pub answer: Option<Range>,
}

/// The replicas of a region.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Replicas {
    /// The region.
    #[prost(message, optional, tag = "1")]
    pub region: Option<Region>,
    /// The answer; none: not known.
    #[prost(message, optional, tag = "2")]
    pub answer: Option<KnownReplicas>,
}

/// Replicas that are known.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct KnownReplicas {
    /// The peer that leads.
    #[prost(uint64, tag = "1")]
    pub leader: u64,
    /// All that can be talked to.
    #[prost(message, repeated, tag = "2")]
    pub peers: Vec<Peer>,
}

/// What is known of a store.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct Store {
    /// The store.
    #[prost(uint64, tag = "1")]
    pub store: u64,
    /// The answer.
    #[prost(message, optional, tag = "2")]
    pub answer: Option<StoreView>,
}

/// A store as choosing a replica sees it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct StoreView {
    /// 0 unknown, 1 serving, 2 removed.
    #[prost(uint32, tag = "1")]
    pub presence: u32,
    /// 0 TiKV, 1 TiFlash, 2 TiFlash compute.
    #[prost(uint32, tag = "2")]
    pub engine: u32,
    /// 0 reachable, 1 unreachable, 2 unknown.
    #[prost(uint32, tag = "3")]
    pub liveness: u32,
    /// Whether it is slow.
    #[prost(bool, tag = "4")]
    pub slow: bool,
    /// How long a read would wait there, in ns.
    #[prost(uint64, tag = "5")]
    pub busy_ns: u64,
    /// Up to which timestamp every read sees all data; 0: not known.
    #[prost(uint64, tag = "6")]
    pub safe_ts: u64,
}

/// The labels of a store.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Labels {
    /// The store.
    #[prost(uint64, tag = "1")]
    pub store: u64,
    /// The answer.
    #[prost(message, repeated, tag = "2")]
    pub labels: Vec<Label>,
}

/// A label of a store.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct Label {
    /// Its key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Something that is to be done.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Effect {
    /// What.
    #[prost(oneof = "EffectKind", tags = "1, 2, 3, 4, 5, 6")]
    pub effect: Option<EffectKind>,
}

/// An effect.
#[derive(Clone, PartialEq, prost::Oneof)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a reader holds one at a time")]
pub enum EffectKind {
    /// Send a request.
    #[prost(message, tag = "1")]
    Call(Call),
    /// Ask a service of the client.
    #[prost(message, tag = "2")]
    Ask(Ask),
    /// Wait.
    #[prost(message, tag = "3")]
    Timer(Timer),
    /// Leave an operation to the background.
    #[prost(message, tag = "4")]
    Spawn(Start),
    /// The shared state was told this.
    #[prost(message, tag = "5")]
    Report(Feedback),
    /// This ticket is not waited for any more.
    #[prost(uint64, tag = "6")]
    Cancel(u64),
}

/// A request on its way.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Call {
    /// Who waits, counted from 1 in the operation.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// Where it goes.
    #[prost(message, optional, tag = "2")]
    pub to: Option<Located>,
    /// Whether it was sent before.
    #[prost(bool, tag = "3")]
    pub retry: bool,
    /// How long the store may work on it, in ms.
    #[prost(uint32, tag = "4")]
    pub max_execution_ms: u32,
    /// When it is given up, in ns on the client's clock.
    #[prost(uint64, tag = "5")]
    pub deadline_ns: u64,
    /// The command: its field number in `tikvpb.BatchCommandsRequest.Request`.
    #[prost(uint32, tag = "6")]
    pub command: u32,
    /// The encoded message, without context.
    #[prost(bytes = "bytes", tag = "7")]
    pub body: Bytes,
    /// The encoded `kvrpcpb.Context` that all attempts have in common.
    #[prost(bytes = "bytes", tag = "8")]
    pub profile: Bytes,
    /// How it asks: 0 as a leader is asked, 1 by replica read, 2 by stale read.
    #[prost(uint32, tag = "9")]
    pub asked: u32,
    /// How long a busy store may let it wait, in ms; 0: as long as it wants.
    #[prost(uint32, tag = "10")]
    pub busy_threshold_ms: u32,
    /// Whether the peer does not lead, as far as is known.
    #[prost(bool, tag = "11")]
    pub follower: bool,
    /// Who was asked first, of a retry: 1 a leader, 2 a follower, 3 and 4 the same by stale read; 0: nobody.
    #[prost(uint32, tag = "12")]
    pub first: u32,
    /// The store through which it goes; 0: its own.
    #[prost(uint64, tag = "13")]
    pub through: u64,
}

/// A question to a service of the client.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Ask {
    /// Who waits, counted from 1 in the operation.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// When it is given up, in ns on the client's clock.
    #[prost(uint64, tag = "2")]
    pub deadline_ns: u64,
    /// The question.
    #[prost(oneof = "Question", tags = "3, 4, 5, 7")]
    pub question: Option<Question>,
    /// Of `Regions`: how many at the most.
    #[prost(uint32, tag = "6")]
    pub limit: u32,
}

/// A question.
#[derive(Clone, PartialEq, prost::Oneof)]
#[non_exhaustive]
pub enum Question {
    /// A timestamp.
    #[prost(bool, tag = "3")]
    Timestamp(bool),
    /// The region at a place.
    #[prost(message, tag = "4")]
    Region(Place),
    /// The regions of a range.
    #[prost(message, tag = "5")]
    Regions(Range),
    /// PD.
    #[prost(message, tag = "7")]
    Pd(PdAsk),
}

/// A wait.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Timer {
    /// Who waits, counted from 1 in the operation.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// Until when, in ns on the client's clock.
    #[prost(uint64, tag = "2")]
    pub at_ns: u64,
    /// What for.
    #[prost(enumeration = "Why", tag = "3")]
    pub why: i32,
    /// Of a pause between two attempts: the name of what went wrong.
    #[prost(string, tag = "4")]
    pub name: String,
}

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[non_exhaustive]
pub enum Why {
    /// Not said.
    Unknown = 0,
    /// A pause between two attempts.
    BackOff = 1,
    /// A lock's time to live.
    LockTtl = 2,
    /// The next heartbeat of a lock.
    Heartbeat = 3,
}
