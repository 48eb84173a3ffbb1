//! Operations of the background set, run from their data.

use std::sync::Arc;
use std::time::Duration;

use super::{CommitMachine, CommitSecondaries, RollBack};
use crate::backoff::{Allowance, Budget, Tuning};
use crate::client::{Inner, Pending, Space, Terms};
use crate::lock::CleanLocks;
use crate::machine::Machine;
use crate::start::Start;

/// What an operation in the background may take: the pauses of its budget, and late answers between them.
const PATIENCE: Duration = Duration::from_secs(120);

impl Start {
    /// Runs it to its end. What it comes to nobody hears: whoever meets what it left finishes its work.
    pub(crate) async fn run(self, client: Arc<Inner>) {
        let (redacted, limit) = (client.config.redact_keys, client.config.concurrency);
        match self {
            Self::CommitSecondaries { start_ts, commit_ts, primary, keys } => {
                drive(client, CommitSecondaries::new(start_ts, commit_ts, primary, keys, limit)).await;
            }
            Self::FinishCommit { start_ts, commit_ts, keys } => {
                drive(client, CommitMachine::finishing(start_ts, commit_ts, keys, redacted)).await;
            }
            Self::RollBack { start_ts, keys } => {
                drive(client, RollBack::new(start_ts, keys, limit, redacted)).await;
            }
            Self::CleanLocks { cleanings } => drive(client, CleanLocks::new(cleanings, redacted)).await,
        }
    }
}

async fn drive<M: Machine + Unpin>(client: Arc<Inner>, machine: M) {
    let terms = Terms {
        deadline: client.clock.now() + PATIENCE,
        budget: || Budget::new(Allowance::COMMIT_SECONDARIES, Tuning::default()),
        space: Space::Txn,
    };
    drop(Pending::new(client, terms, machine).await);
}
