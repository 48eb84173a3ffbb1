//! The wire schema of TiKV and PD: kvproto's messages and the gRPC paths of its methods.
//!
//! * One module a protobuf package: [`kvrpcpb::GetRequest`], [`tikvpb::batch_commands_request`], …
//! * Every `bytes` field is a [`prost::bytes::Bytes`]; decoded from a `Bytes` it shares that buffer and copies nothing.
//! * [`methods`] has the path of each method (`methods::tikv::KV_GET`). There is no client and no server here: a
//!   transport moves the encoded bytes.
//!
//! What the comments take for granted:
//!
//! * A **ts** is a timestamp of PD: milliseconds since 1970, shifted left by 18 bits, plus a counter. 0 is none.
//! * **Keys** are those of the user, with the keyspace prefix of API V2. An **encoded** key is in the form of region
//!   bounds: memcomparable, except for raw data of API V1, where it is the key itself.
//! * A **range** contains its start and not its end; an empty end is no end.
//! * `context` says where a request goes. `region_error` set: the place was wrong or unfit, and nothing was done. `error`
//!   or `errors`: the place was right, the data in the way.
//! * Unset and default values are the same, except for messages, which are `Option`.
//!
//! The schema is that of the newest TiKV and PD. Deprecated fields and methods are left out and their numbers reserved;
//! so are the methods by which stores talk to each other. A decoder skips what it does not know.
//!
//! The code is generated from the crate's `protos` by `tikv-proto-gen` and committed, so that nothing is compiled from
//! protobuf when this crate is built.

/// Declares the module of a protobuf package from its generated file.
macro_rules! package {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[allow(missing_docs, reason = "a field or value whose name says all has no comment in the schema")]
        #[allow(
            clippy::exhaustive_enums,
            clippy::exhaustive_structs,
            reason = "the messages follow the schema: who builds one sets the new fields by `..Default::default()`"
        )]
        #[allow(
            clippy::large_enum_variant,
            clippy::use_self,
            reason = "the generator boxes no member of a oneof and writes every type's full name"
        )]
        pub mod $name {
            include!(concat!("generated/", stringify!($name), ".rs"));
        }
    )*};
}

package! {
    /// Who a request is made for: namespace and keyspace.
    apipb;
    /// Coprocessor: computation at the data, on TiKV and TiFlash.
    coprocessor;
    /// The wait-for graph of pessimistic locks, kept by the store that leads the first region.
    deadlock;
    /// Debugging of one store: raw reads, compaction, fail points, recovery.
    debugpb;
    /// TiFlash with disaggregated storage and compute.
    disaggregated;
    /// How full a store's disk is.
    disk_usage;
    /// Encryption at rest: the one message that a region's metadata holds.
    encryptionpb;
    /// Raft log entries, messages and snapshots.
    eraftpb;
    /// Errors of a region: the request did not reach the right place, or the place could not serve it now.
    errorpb;
    /// Keyspaces and namespaces of PD.
    keyspacepb;
    /// The commands of TiKV: transactional, raw, maintenance.
    kvrpcpb;
    /// PD's key-value store with revisions and watches.
    meta_storagepb;
    /// Cluster, store, region, peer.
    metapb;
    /// TiFlash MPP: tasks of a distributed query.
    mpp;
    /// PD: members, timestamps, routing, scheduling, GC states.
    pdpb;
    /// What stores send each other, and what they keep of it.
    raft_serverpb;
    /// Replication mode of the cluster and how far a region has come in it.
    replication_modepb;
    /// Resource groups: settings, token buckets, request units.
    resource_manager;
    /// The services of a store, and the batch stream that carries many commands at once.
    tikvpb;
    /// Spans of a store's request tracing.
    tracepb;
    /// The TSO service that runs apart from PD.
    tsopb;
}

/// The path of every gRPC method, as `/package.Service/Method`; a module a service.
pub mod methods {
    include!("generated/methods.rs");
}
