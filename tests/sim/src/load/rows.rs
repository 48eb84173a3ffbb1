//! Rows that come and go in transactions of many keys, and scans over them, while regions change.

use super::txn::range;
use super::{Missed, Worker};

/// How many row keys there are.
const ROWS: usize = 30;

/// What row keys begin with.
const PREFIX: &str = "row/";

impl Worker {
    pub(super) async fn rows(&mut self) -> Result<(), Missed> {
        let mut txn = self.begin("rows").await?;
        let scans = self.rng.usize(..3);
        for _ in 0..scans {
            let range = range(PREFIX, ROWS, &mut self.rng);
            txn.scan(range, &mut self.rng).await?;
        }
        if scans == 2 {
            return txn.commit().await;
        }
        for _ in 0..self.rng.usize(1..12) {
            let key = format!("{PREFIX}{:02}", self.rng.usize(..ROWS));
            // Long ones do not fit into the record itself.
            let length = if self.rng.u32(..8) == 0 { 300 } else { self.rng.usize(1..20) };
            let mut value = self.ctx.unique().to_string();
            value.extend(std::iter::repeat_n('.', length));
            match self.rng.u32(..8) {
                0 => match txn.insert(&key, value) {
                    // Written by this transaction itself.
                    Err(Missed::Error(_)) => self.ctx.tally.count("rows.own-insert"),
                    other => other?,
                },
                1..=4 => txn.put(&key, value)?,
                _ => txn.delete(&key)?,
            }
        }
        if self.rng.u32(..12) == 0 { txn.rollback().await } else { txn.commit().await }
    }
}
