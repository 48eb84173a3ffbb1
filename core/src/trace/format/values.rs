//! Values that steps and starts have in common.

use bytes::Bytes;

/// Keys from `start` on and below `end`; an empty end is none.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Range {
    /// The first key.
    #[prost(bytes = "bytes", tag = "1")]
    pub start: Bytes,
    /// The first key behind.
    #[prost(bytes = "bytes", tag = "2")]
    pub end: Bytes,
}

/// A region in one of its versions.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct Region {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Counts splits and merges.
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// Counts changes of the peers.
    #[prost(uint64, tag = "3")]
    pub conf_ver: u64,
}

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct Located {
    /// The region.
    #[prost(message, optional, tag = "1")]
    pub region: Option<Region>,
    /// The peer.
    #[prost(uint64, tag = "2")]
    pub peer: u64,
    /// Its store.
    #[prost(uint64, tag = "3")]
    pub store: u64,
}

/// A region with its keys.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Spanned {
    /// Where requests go.
    #[prost(message, optional, tag = "1")]
    pub to: Option<Located>,
    /// Its keys.
    #[prost(message, optional, tag = "2")]
    pub range: Option<Range>,
}

/// Regions in order.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Regions {
    /// The regions.
    #[prost(message, repeated, tag = "1")]
    pub regions: Vec<Spanned>,
}

/// A replica of a region.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct Peer {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its store.
    #[prost(uint64, tag = "2")]
    pub store: u64,
    /// 0 votes, 1 is a learner, 2 a witness.
    #[prost(uint32, tag = "3")]
    pub role: u32,
}

/// A region as a store or PD describes it, keys in the user's form.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct RegionInfo {
    /// Its version.
    #[prost(message, optional, tag = "1")]
    pub region: Option<Region>,
    /// Its keys.
    #[prost(message, optional, tag = "2")]
    pub range: Option<Range>,
    /// Its replicas.
    #[prost(message, repeated, tag = "3")]
    pub peers: Vec<Peer>,
    /// The peer that leads; 0: not known.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
}

/// Where a region is looked for.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Place {
    /// The place.
    #[prost(oneof = "PlaceKind", tags = "1, 2, 3")]
    pub place: Option<PlaceKind>,
}

/// A place.
#[derive(Clone, PartialEq, prost::Oneof)]
#[non_exhaustive]
pub enum PlaceKind {
    /// The region that holds the key.
    #[prost(bytes = "bytes", tag = "1")]
    Holding(Bytes),
    /// The region of the keys just below the key; of an empty one the last.
    #[prost(bytes = "bytes", tag = "2")]
    Below(Bytes),
    /// The region of this id.
    #[prost(uint64, tag = "3")]
    Id(u64),
}

/// What an operation learned and tells the others.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Feedback {
    /// What.
    #[prost(oneof = "FeedbackKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub feedback: Option<FeedbackKind>,
}

/// What was learned.
#[derive(Clone, PartialEq, prost::Oneof)]
#[non_exhaustive]
pub enum FeedbackKind {
    /// A store named the leader.
    #[prost(message, tag = "1")]
    LeaderIs(LeaderIs),
    /// A cached region is out of date.
    #[prost(message, tag = "2")]
    Stale(Stale),
    /// A store described the regions that stand where one was.
    #[prost(message, tag = "3")]
    Replaced(Replaced),
    /// PD described regions.
    #[prost(message, tag = "4")]
    Loaded(Loaded),
    /// A store could not be reached.
    #[prost(message, tag = "5")]
    Unreachable(Unreachable),
    /// A store named the buckets of a region.
    #[prost(message, tag = "6")]
    Buckets(Buckets),
    /// A store is too busy.
    #[prost(message, tag = "7")]
    Busy(StoreTold),
    /// This store is slow.
    #[prost(uint64, tag = "8")]
    Slow(u64),
    /// How long a read took, in ns.
    #[prost(message, tag = "9")]
    Took(StoreTold),
    /// How slow a store says it is.
    #[prost(message, tag = "10")]
    Health(StoreTold),
}

/// A number of a store.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct StoreTold {
    /// The store.
    #[prost(uint64, tag = "1")]
    pub store: u64,
    /// The number: until when it is busy or how long it took, in ns, or its score.
    #[prost(uint64, tag = "2")]
    pub number: u64,
}

/// The buckets of a region.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Buckets {
    /// The region.
    #[prost(message, optional, tag = "1")]
    pub region: Option<Region>,
    /// Their version.
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// Their bounds.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub keys: Vec<Bytes>,
}

/// A store named the leader.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct LeaderIs {
    /// The region.
    #[prost(message, optional, tag = "1")]
    pub region: Option<Region>,
    /// The peer that leads.
    #[prost(uint64, tag = "2")]
    pub peer: u64,
    /// Its store.
    #[prost(uint64, tag = "3")]
    pub store: u64,
}

/// A cached region is out of date.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Stale {
    /// The region.
    #[prost(message, optional, tag = "1")]
    pub region: Option<Region>,
    /// Why, in the words of [`StaleReason`](crate::machine::StaleReason).
    #[prost(string, tag = "2")]
    pub why: String,
}

/// A store described the regions that stand where one was.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Replaced {
    /// The region that was.
    #[prost(message, optional, tag = "1")]
    pub old: Option<Region>,
    /// The regions that are.
    #[prost(message, repeated, tag = "2")]
    pub new: Vec<RegionInfo>,
}

/// PD described regions.
#[derive(Clone, PartialEq, prost::Message)]
#[non_exhaustive]
pub struct Loaded {
    /// The regions.
    #[prost(message, repeated, tag = "1")]
    pub regions: Vec<RegionInfo>,
    /// Until when they are trusted if they are not used, in ns on the client's clock.
    #[prost(uint64, tag = "2")]
    pub expires_ns: u64,
}

/// A store could not be reached.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
#[non_exhaustive]
pub struct Unreachable {
    /// The store.
    #[prost(uint64, tag = "1")]
    pub store: u64,
    /// The region the request was for.
    #[prost(message, optional, tag = "2")]
    pub region: Option<Region>,
}
