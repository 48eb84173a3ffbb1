//! Counters: one that loses no count has had the values 1, 2, 3 and so on.

use super::{Missed, Worker};

/// What counters begin with.
pub(crate) const PREFIX: &str = "count/";

impl Worker {
    pub(super) async fn counter(&mut self) -> Result<(), Missed> {
        let key = format!("{PREFIX}{:02}", self.rng.usize(..self.ctx.plan.keys));
        let mut txn = self.begin("count").await?;
        let count: u64 = txn
            .get(&key)
            .await?
            .and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok())
            .unwrap_or(0);
        txn.put(&key, (count + 1).to_string())?;
        txn.commit().await
    }
}
