//! Appends to lists, and reads of several lists at one moment.

use super::{Missed, Worker};
use crate::check::lists::append;

/// What list keys begin with.
pub(crate) const PREFIX: &str = "list/";

impl Worker {
    fn some_lists(&mut self, most: usize) -> Vec<String> {
        let keys = self.ctx.plan.keys;
        let count = self.rng.usize(1..=most.min(keys));
        let mut all: Vec<usize> = (0..keys).collect();
        self.rng.shuffle(&mut all);
        all.truncate(count);
        all.into_iter().map(|n| format!("{PREFIX}{n:02}")).collect()
    }

    pub(super) async fn lists(&mut self) -> Result<(), Missed> {
        if self.rng.u32(..4) == 0 {
            let keys = self.some_lists(6);
            let mut txn = self.begin("read lists").await?;
            if self.rng.bool() {
                txn.batch_get(&keys).await?;
            } else {
                for key in &keys {
                    txn.get(key).await?;
                }
            }
            return txn.commit().await;
        }
        let keys = self.some_lists(4);
        let mut txn = self.begin("append").await?;
        let values = txn.batch_get(&keys).await?;
        for (key, list) in keys.iter().zip(values) {
            let element = self.ctx.unique();
            txn.put(key, append(list.as_ref(), element))?;
        }
        if self.rng.u32(..12) == 0 { txn.rollback().await } else { txn.commit().await }
    }
}
