//! What a service of the client could not give.

use std::sync::Arc;

use super::ErrorKind;
use crate::types::{ClusterId, StoreId};

/// PD, the region loader or the store registry could not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// No address of PD was given, or one that is no address.
    #[error("PD address {address:?}: {reason}")]
    BadAddress {
        /// What was given.
        address: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// No address was given at all.
    #[error("no address of PD was given")]
    NoAddress,
    /// None of the PD addresses answered.
    #[error("no PD answers at {addresses}: {last}")]
    PdUnreachable {
        /// The addresses that were tried.
        addresses: Arc<str>,
        /// The last failure.
        last: Arc<str>,
    },
    /// PD members name different clusters, or the cluster changed under the client.
    #[error("PD at {address} belongs to cluster {found}, wanted cluster {wanted}")]
    ClusterMismatch {
        /// The PD that answered.
        address: Arc<str>,
        /// The cluster the client is connected to.
        wanted: ClusterId,
        /// The cluster it belongs to.
        found: ClusterId,
    },
    /// PD answered with an error.
    #[error("PD at {address}: {message}")]
    Pd {
        /// The PD that answered.
        address: Arc<str>,
        /// What it said.
        message: Arc<str>,
    },
    /// PD knows no region where there must be one.
    #[error("PD knows no region for {place}")]
    NoRegion {
        /// What was looked for.
        place: Arc<str>,
    },
    /// A region has no peer that a request can go to.
    #[error("region {region} has no peer to talk to")]
    NoPeer {
        /// The region.
        region: crate::types::RegionId,
    },
    /// A store is gone for good.
    #[error("store {store} was removed from the cluster")]
    StoreRemoved {
        /// The store.
        store: StoreId,
    },
    /// An answer cannot be understood.
    #[error("PD at {address}: an answer cannot be understood: {detail}")]
    Corrupt {
        /// The PD that answered.
        address: Arc<str>,
        /// What is wrong.
        detail: Arc<str>,
    },
    /// An interceptor of the program has refused the request: nothing was sent.
    #[error("refused by an interceptor: {reason}")]
    Intercepted {
        /// What it said.
        reason: Arc<str>,
    },
    /// The keyspace of the configuration cannot be used.
    #[error("keyspace {name:?}: {reason}")]
    BadKeyspace {
        /// Its name.
        name: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// Certificates or keys cannot be used.
    #[error("TLS: {reason}")]
    Tls {
        /// What is wrong with them.
        reason: Arc<str>,
    },
}

impl ServiceError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadAddress { .. }
            | Self::NoAddress
            | Self::ClusterMismatch { .. }
            | Self::BadKeyspace { .. }
            | Self::Tls { .. } => ErrorKind::Invalid,
            Self::PdUnreachable { .. }
            | Self::Pd { .. }
            | Self::NoRegion { .. }
            | Self::NoPeer { .. }
            | Self::StoreRemoved { .. } => ErrorKind::Unavailable,
            Self::Intercepted { .. } => ErrorKind::Cancelled,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }
}
