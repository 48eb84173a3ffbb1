//! Our client, as a program would use it.

use std::fmt::Display;

use tikv_bench_load::{Action, Failure, Keys, Space, Task};
use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_client_core::raw::RawClient;
use tikv_client_core::trace::Recorder;
use tikv_client_core::types::{KeyRange, Timestamp};

use super::space;

/// Keys that one request of [`fill`] writes, and bytes, whichever are fewer.
const FILLED: (usize, usize) = (1_000, 1 << 20);

/// Writes what the task reads.
pub(crate) async fn fill(task: &Task) -> Result<(), Failure> {
    let client = tikv_client_tokio::connect(&task.pd, Config::default()).await?;
    let space = space(task.action);
    let keys: Vec<_> = (0..u64::from(task.keys)).map(|n| space.key(task.value_bytes, n)).collect();
    let value = bytes::Bytes::from(vec![b'v'; task.value_bytes as usize]);
    let at_once = (FILLED.1 / value.len().max(1)).clamp(1, FILLED.0);
    for some in keys.chunks(at_once) {
        let pairs = some.iter().map(|key| (key.as_slice(), value.clone()));
        if space == Space::Raw {
            client.raw().batch_put(pairs).await?;
        } else {
            let mut txn = client.begin().await?;
            for (key, value) in pairs {
                txn.put(key, value)?;
            }
            txn.commit().await?;
        }
    }
    // Otherwise the first readers resolve the last locks.
    let left = client.close(std::time::Duration::from_secs(30)).await;
    if left == 0 { Ok(()) } else { Err(format!("{left} commits were not done in time").into()) }
}

/// A connected client and what it is to do. It lives as long as its process.
#[derive(Debug)]
pub(crate) struct Ours {
    client: Client,
    raw: RawClient,
    ts: Timestamp,
    task: Task,
    keys: Keys,
}

fn text(error: impl Display) -> String {
    error.to_string()
}

impl Ours {
    pub(crate) async fn on_tokio(task: &Task, trace: Option<Recorder>) -> Result<&'static Self, Failure> {
        let mut config = Config::default();
        config.trace = trace;
        let client = tikv_client_tokio::connect(&task.pd, config).await?;
        Self::new(client, task).await
    }

    pub(crate) async fn on_smol(task: &Task) -> Result<&'static Self, Failure> {
        let client = tikv_client_smol::connect(&task.pd, Config::default()).await?;
        Self::new(client, task).await
    }

    async fn new(client: Client, task: &Task) -> Result<&'static Self, Failure> {
        let (raw, ts) = (client.raw(), client.current_timestamp().await?);
        let keys = Keys::new(task, space(task.action));
        // Shared by all callers without a count that they would all write.
        Ok(Box::leak(Box::new(Self { client, raw, ts, task: task.clone(), keys })))
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) async fn operate(&'static self, caller: u32, turn: u64) -> Result<(), String> {
        let (keys, action) = (&self.keys, self.task.action);
        let number = keys.draw(caller, self.task.callers, turn);
        let many = action.keys();
        match action {
            Action::RawGet => found(self.raw.get(keys.key(number)).await.map_err(text)?),
            Action::RawPut => {
                let value = bytes::Bytes::from_static(keys.value());
                self.raw.put(keys.key(number), value).await.map_err(text)
            }
            Action::RawBatchGet => {
                let values = self.raw.batch_get(keys.batch(number, many)).await.map_err(text)?;
                complete(values.iter().flatten().count(), many)
            }
            Action::RawScan => {
                let pairs = self.raw.scan(range(keys, number, many), many as usize).await.map_err(text)?;
                complete(pairs.len(), many)
            }
            Action::SnapshotGet => {
                let snapshot = self.client.snapshot(self.ts);
                found(snapshot.get(keys.key(number)).await.map_err(text)?)
            }
            Action::SnapshotBatchGet => {
                let snapshot = self.client.snapshot(self.ts);
                let pairs = snapshot.batch_get(keys.batch(number, many)).await.map_err(text)?;
                complete(pairs.len(), many)
            }
            Action::SnapshotScan => {
                let snapshot = self.client.snapshot(self.ts);
                let pairs =
                    snapshot.scan(range(keys, number, many)).limit(many as usize).await.map_err(text)?;
                complete(pairs.len(), many)
            }
            Action::TxnGet => {
                let txn = self.client.begin().await.map_err(text)?;
                found(txn.get(keys.key(number)).await.map_err(text)?)
            }
            Action::Commit1 | Action::Commit10 => {
                let mut txn = self.client.begin().await.map_err(text)?;
                let value = bytes::Bytes::from_static(keys.value());
                for key in keys.fresh(caller, self.task.callers, turn, many) {
                    txn.put(key, value.clone()).map_err(text)?;
                }
                txn.commit().await.map(drop).map_err(text)
            }
        }
    }
}

fn range(keys: &Keys, number: u32, many: u32) -> KeyRange {
    let (from, to) = keys.range(number, many);
    (from..to).into()
}

fn found(value: Option<bytes::Bytes>) -> Result<(), String> {
    value.map(drop).ok_or_else(|| "a key that was written has no value".into())
}

fn complete(found: usize, wanted: u32) -> Result<(), String> {
    if found == wanted as usize { Ok(()) } else { Err(format!("{found} of {wanted} keys were found")) }
}
