//! Errors: one enum a subject, all under [`Error`], each with a [`kind`](Error::kind) that says what to do.
//!
//! [`input`] is what the caller gave and cannot be sent, [`ConfigError`] a configuration that cannot be
//! used; [`service`] what a service of the client (PD, the region
//! loader, the store registry) could not give; [`txn`] how a transaction failed. A text says what and where, in lower
//! case; keys are shown as the client's redaction says.

mod history;
pub mod input;
pub mod service;
#[cfg(test)]
mod tests;
pub mod txn;
pub(crate) mod words;

use std::sync::Arc;

use prost::DecodeError;

pub use history::{KeyHistory, KeyVersions};
pub use input::InputError;
pub use service::ServiceError;
pub use txn::{Assertion, ConflictReason, TxnError, WaitsFor};

use crate::backoff::Exhausted;
use crate::codec::Prefix;
use crate::config::ConfigError;
use crate::machine::{Fault, Interrupt, TransportFault};
use crate::types::{RegionId, ShownKey, StoreId};

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Do the same again, later.
    Retry,
    /// Another transaction was faster: run the transaction again from its start.
    Conflict,
    /// The commit may or may not have happened: find out before doing anything again.
    Undetermined,
    /// The deadline passed.
    Timeout,
    /// The operation was stopped by its owner.
    Cancelled,
    /// What was asked for can never work.
    Invalid,
    /// The cluster, or the part of it that is needed, cannot be reached.
    Unavailable,
    /// What came from the cluster cannot be understood.
    Corrupt,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The arguments cannot be sent.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The configuration cannot be used; nothing was started.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operation was stopped from outside before it ended.
    #[error("{operation}: {why}{}", after(.last))]
    Interrupted {
        /// What was under way.
        operation: &'static str,
        /// Why it was stopped.
        why: Interrupt,
        /// The last failure before, which the operation was recovering from.
        last: Option<Arc<str>>,
    },
    /// Retries did not help within what the operation may wait.
    #[error("{operation} gave up after its retries")]
    Exhausted {
        /// What was under way.
        operation: &'static str,
        /// The account of all pauses, with the last causes.
        #[source]
        account: Box<Exhausted>,
    },
    /// A request got no answer, and must not be repeated.
    #[error("{operation} got no answer")]
    Transport {
        /// What was under way.
        operation: &'static str,
        /// What is known of the request.
        #[source]
        fault: TransportFault,
    },
    /// A region refuses what no retry can change.
    #[error("region {region} on store {store}: {message}")]
    Region {
        /// The region.
        region: RegionId,
        /// The store that answered.
        store: StoreId,
        /// What the store said.
        message: Arc<str>,
    },
    /// A store answered with an error text.
    #[error("the store refused {operation}{}: {message}", at(.key))]
    Server {
        /// What was under way.
        operation: &'static str,
        /// The key it was about.
        key: Option<ShownKey>,
        /// What the store said.
        message: Arc<str>,
    },
    /// A service of the client could not give what the operation needs.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A transaction failed.
    #[error(transparent)]
    Txn(#[from] TxnError),
    /// Too many requests wait within this client.
    #[error("{operation}: too many requests wait within this client")]
    Overloaded {
        /// What was under way.
        operation: &'static str,
    },
    /// An answer cannot be understood.
    #[error("{operation}: an answer cannot be understood: {detail}")]
    Corrupt {
        /// What was under way.
        operation: &'static str,
        /// What is wrong with it.
        detail: Arc<str>,
    },
}

/// A key of another keyspace, which no store should name, stays whole.
fn leave(key: &mut ShownKey, keyspace: Prefix) {
    if let Ok(own) = keyspace.decode_key(key.key()) {
        *key.key_mut() = own;
    }
}

fn at(key: &Option<ShownKey>) -> String {
    key.as_ref().map(|key| format!(" at key {key}")).unwrap_or_default()
}

/// The failure before an interrupt: it names the address or the region that the operation waited for.
fn after(last: &Option<Arc<str>>) -> String {
    last.as_ref().map(|last| format!("; before it {last}")).unwrap_or_default()
}

impl Error {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Input(_) | Self::Config(_) | Self::Region { .. } | Self::Server { .. } => {
                ErrorKind::Invalid
            }
            Self::Interrupted { why: Interrupt::Deadline, .. } => ErrorKind::Timeout,
            Self::Interrupted { why: Interrupt::Killed | Interrupt::Closed, .. } => ErrorKind::Cancelled,
            Self::Transport { .. } | Self::Exhausted { .. } => ErrorKind::Unavailable,
            Self::Service(error) => error.kind(),
            Self::Txn(error) => error.kind(),
            Self::Overloaded { .. } => ErrorKind::Retry,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }

    /// The key that it is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&ShownKey> {
        match self {
            Self::Input(error) => error.key(),
            Self::Server { key, .. } => key.as_ref(),
            Self::Txn(error) => error.key(),
            Self::Config(_)
            | Self::Interrupted { .. }
            | Self::Exhausted { .. }
            | Self::Transport { .. }
            | Self::Region { .. }
            | Self::Service(_)
            | Self::Overloaded { .. }
            | Self::Corrupt { .. } => None,
        }
    }

    /// The region that it is about, if it is about one.
    #[must_use]
    pub fn region(&self) -> Option<RegionId> {
        match self {
            Self::Region { region, .. } | Self::Service(ServiceError::NoPeer { region }) => Some(*region),
            Self::Txn(TxnError::Undetermined { cause, .. }) => cause.region(),
            _ => None,
        }
    }

    /// The store that it is about, if it is about one.
    #[must_use]
    pub fn store(&self) -> Option<StoreId> {
        match self {
            Self::Region { store, .. } | Self::Service(ServiceError::StoreRemoved { store }) => Some(*store),
            Self::Txn(TxnError::Undetermined { cause, .. }) => cause.store(),
            _ => None,
        }
    }

    /// Whether the same operation (of a transaction: the whole transaction) may well succeed when done again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Retry | ErrorKind::Conflict | ErrorKind::Timeout | ErrorKind::Unavailable
        )
    }

    /// Whether a commit may have happened: it must not be repeated blindly.
    #[must_use]
    pub fn is_undetermined(&self) -> bool {
        self.kind() == ErrorKind::Undetermined
    }

    /// The keys that it names become those of the keyspace's owner. Words of stores stay as they are.
    pub(crate) fn leave(&mut self, keyspace: Prefix) {
        match self {
            Self::Server { key, .. } => key.iter_mut().for_each(|key| leave(key, keyspace)),
            Self::Txn(error) => error.leave(keyspace),
            // What the caller gave is named as it was given; the others name no key.
            Self::Input(_)
            | Self::Config(_)
            | Self::Interrupted { .. }
            | Self::Exhausted { .. }
            | Self::Transport { .. }
            | Self::Region { .. }
            | Self::Service(_)
            | Self::Overloaded { .. }
            | Self::Corrupt { .. } => {}
        }
    }

    /// What a fault means to the operation that it stopped.
    #[must_use]
    pub fn of_fault(operation: &'static str, fault: Fault) -> Self {
        match fault {
            Fault::Transport(fault) => Self::Transport { operation, fault },
            Fault::Interrupted(why) => Self::Interrupted { operation, why, last: None },
            Fault::Late(fault) => Self::Interrupted {
                operation,
                why: Interrupt::Deadline,
                last: Some(fault.to_string().into()),
            },
            Fault::Overloaded => Self::Overloaded { operation },
            Fault::Refused(error) => error.into(),
        }
    }

    /// An answer that is no message of its type.
    #[must_use]
    pub fn corrupt(operation: &'static str, error: &DecodeError) -> Self {
        Self::Corrupt { operation, detail: error.to_string().into() }
    }
}
