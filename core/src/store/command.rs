//! What the registry is told, and what it wants done.

use std::time::Duration;

use super::table::StoreMeta;
use crate::machine::Address;
use crate::stream::StreamCommand;
use crate::types::{Liveness, StoreId, Timestamp};

/// What the registry is told.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every command")]
pub enum RegistryCommand {
    /// The client begins: the stores are to be known.
    Begin,
    /// A command for the stream of a store that had none when it was sent.
    Call {
        /// The store.
        store: StoreId,
        /// The command.
        command: StreamCommand,
    },
    /// A store could not be reached: it may be down, or have moved.
    Check {
        /// The store.
        store: StoreId,
    },
    /// A store told of trouble and fell silent: it is asked how it is.
    AskHealth {
        /// The store.
        store: StoreId,
    },
    /// Somebody wants to know the stores' safe timestamps from now on.
    WatchSafeTs,
}

/// What the registry wants done about streams, and what it knows of stores now.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the launcher carries out every effect")]
pub enum RegistryEffect {
    /// Start the stream of a store.
    Launch {
        /// The store.
        store: StoreId,
        /// Where it serves.
        address: Address,
    },
    /// Hand a held command to the store's stream.
    Forward {
        /// The store.
        store: StoreId,
        /// The command.
        command: StreamCommand,
    },
    /// The store serves elsewhere: its stream is to turn there.
    Move {
        /// The store.
        store: StoreId,
        /// Where it serves now.
        address: Address,
    },
    /// The store is gone: end its stream, if it has one.
    Remove {
        /// The store.
        store: StoreId,
    },
    /// PD said this of a store.
    Know {
        /// The store.
        store: StoreId,
        /// What it is.
        meta: StoreMeta,
    },
    /// A store passed a probe, or did not.
    Alive {
        /// The store.
        store: StoreId,
        /// What the probe found.
        liveness: Liveness,
    },
    /// A store told its safe timestamp.
    SafeTs {
        /// The store.
        store: StoreId,
        /// The timestamp.
        ts: Timestamp,
    },
    /// Judge the scores of all stores; who told of trouble and was silent for so long is to be asked.
    Judge {
        /// How long.
        silent: Duration,
    },
}

/// The timers of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "the service handles every timer")]
pub enum RegistryTimer {
    /// The earliest deadline of a held call.
    Deadline,
    /// The next list of all stores.
    List,
    /// The next judgement of scores.
    Judge,
    /// The next round of safe timestamps.
    SafeTs,
    /// The next probe of a store that does not answer.
    Probe(StoreId),
}
