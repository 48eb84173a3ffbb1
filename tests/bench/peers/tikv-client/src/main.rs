//! The published Rust client as `tikv-bench` runs it: one argument, a task; one line, its outcome.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use tikv_bench_load::{Action, Failure, Harness, Keys, Space, Task};
use tikv_client::{Key, RawClient, Snapshot, Timestamp, TransactionClient, TransactionOptions};

/// A connected client and what it is to do. It lives as long as its process.
struct Theirs {
    kind: Kind,
    task: Task,
    keys: Keys,
}

enum Kind {
    Raw(RawClient),
    Txn { client: TransactionClient, ts: Timestamp },
}

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            drop(writeln!(std::io::stdout(), "{line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Failure> {
    let task: Task = serde_json::from_str(&std::env::args().nth(1).ok_or("no task")?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let theirs: &'static Theirs = Box::leak(Box::new(runtime.block_on(Theirs::connect(&task))?));
    let harness = Harness { spawn: &|future| drop(runtime.spawn(future)), allocations: None };
    let draws = theirs.keys.checksum();
    let outcome =
        tikv_bench_load::run(&task, draws, &harness, move |caller, turn| theirs.operate(caller, turn))?;
    Ok(serde_json::to_string(&outcome)?)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn found(value: Option<Vec<u8>>) -> Result<(), String> {
    value.map(drop).ok_or_else(|| "a key that was written has no value".into())
}

fn complete(found: usize, wanted: u32) -> Result<(), String> {
    if found == wanted as usize { Ok(()) } else { Err(format!("{found} of {wanted} keys were found")) }
}

impl Theirs {
    async fn connect(task: &Task) -> Result<Self, Failure> {
        let raw = matches!(
            task.action,
            Action::RawGet | Action::RawPut | Action::RawBatchGet | Action::RawScan
        );
        let kind = if raw {
            Kind::Raw(RawClient::new(task.pd.clone()).await?)
        } else {
            let client = TransactionClient::new(task.pd.clone()).await?;
            let ts = client.current_timestamp().await?;
            Kind::Txn { client, ts }
        };
        let keys = Keys::new(task, if raw { Space::Raw } else { Space::Txn });
        Ok(Self { kind, task: task.clone(), keys })
    }

    async fn operate(&'static self, caller: u32, turn: u64) -> Result<(), String> {
        match &self.kind {
            Kind::Raw(client) => self.raw(client, caller, turn).await,
            Kind::Txn { client, ts } => self.txn(client, ts, caller, turn).await,
        }
    }

    fn number(&self, caller: u32, turn: u64) -> u32 {
        self.keys.draw(caller, self.task.callers, turn)
    }

    async fn raw(&self, client: &RawClient, caller: u32, turn: u64) -> Result<(), String> {
        let (keys, number, many) = (&self.keys, self.number(caller, turn), self.task.action.keys());
        match self.task.action {
            Action::RawGet => found(client.get(keys.key(number).to_vec()).await.map_err(text)?),
            Action::RawPut => {
                client.put(keys.key(number).to_vec(), keys.value().to_vec()).await.map_err(text)
            }
            Action::RawBatchGet => {
                let pairs = client.batch_get(keys.batch(number, many).map(<[u8]>::to_vec)).await;
                complete(pairs.map_err(text)?.len(), many)
            }
            Action::RawScan => {
                let (from, to) = keys.range(number, many);
                let pairs = client.scan(from.to_vec()..to.to_vec(), many).await;
                complete(pairs.map_err(text)?.len(), many)
            }
            other => Err(format!("{other:?} is not raw")),
        }
    }

    async fn txn(
        &self,
        client: &TransactionClient,
        ts: &Timestamp,
        caller: u32,
        turn: u64,
    ) -> Result<(), String> {
        let (keys, number, many) = (&self.keys, self.number(caller, turn), self.task.action.keys());
        // A snapshot remembers what it has read: a new one for each operation.
        let snapshot = || -> Snapshot { client.snapshot(ts.clone(), TransactionOptions::new_optimistic()) };
        match self.task.action {
            Action::SnapshotGet => found(snapshot().get(keys.key(number).to_vec()).await.map_err(text)?),
            Action::SnapshotBatchGet => {
                let pairs = snapshot().batch_get(keys.batch(number, many).map(<[u8]>::to_vec)).await;
                complete(pairs.map_err(text)?.count(), many)
            }
            Action::SnapshotScan => {
                let (from, to) = keys.range(number, many);
                let pairs = snapshot().scan(from.to_vec()..to.to_vec(), many).await;
                complete(pairs.map_err(text)?.count(), many)
            }
            Action::TxnGet => {
                let options = TransactionOptions::new_optimistic().read_only();
                let mut txn = client.begin_with_options(options).await.map_err(text)?;
                found(txn.get(keys.key(number).to_vec()).await.map_err(text)?)
            }
            Action::Commit1 | Action::Commit10 => {
                let mut txn = client.begin_optimistic().await.map_err(text)?;
                for key in keys.fresh(caller, self.task.callers, turn, many) {
                    txn.put(Key::from(key), keys.value().to_vec()).await.map_err(text)?;
                }
                txn.commit().await.map(drop).map_err(text)
            }
            other => Err(format!("{other:?} is not transactional")),
        }
    }
}
