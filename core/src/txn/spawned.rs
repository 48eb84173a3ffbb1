//! Operations of the background set, run from their data.

use std::time::Duration;

use crate::backoff::Allowance;
use crate::client::{Left, Pending, Space, Terms};

/// What an operation in the background may take: the pauses of its budget, and late answers between them.
const PATIENCE: Duration = Duration::from_secs(120);

impl Left {
    /// Runs it to its end. What it comes to nobody hears: whoever meets what it left finishes its work.
    pub(crate) async fn run(self) {
        let Self { start, client, parent, options } = self;
        let terms = Terms {
            deadline: client.clock.now() + PATIENCE,
            allowance: Allowance::COMMIT_SECONDARIES,
            space: Space::Txn,
            options,
            background: true,
            manner: client.manner(None),
        };
        drop(Pending::of_parent(&client, terms, start, parent).await);
    }
}
