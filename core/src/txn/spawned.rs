//! Operations of the background set, run from their data.

use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Allowance;
use crate::client::{Inner, Pending, Space, Terms};
use crate::start::Start;

/// What an operation in the background may take: the pauses of its budget, and late answers between them.
const PATIENCE: Duration = Duration::from_secs(120);

impl Start {
    /// Runs it to its end. What it comes to nobody hears: whoever meets what it left finishes its work. `parent` is the recorded
    /// number of the operation that left it; 0: none.
    pub(crate) async fn run(self, client: Arc<Inner>, parent: u64) {
        let terms = Terms {
            deadline: client.clock.now() + PATIENCE,
            allowance: Allowance::COMMIT_SECONDARIES,
            space: Space::Txn,
        };
        drop(Pending::of_parent(&client, terms, self, parent).await);
    }
}
