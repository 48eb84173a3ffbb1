//! The transactional calls of a client.

use super::Transaction;
use super::calls::{Begin, timestamp};
use super::timestamp::TimestampMachine;
use super::transact::{TransactOptions, Transacted, transact};
use crate::client::{Client, Pending};
use crate::error::Error;
use crate::snapshot::Snapshot;
use crate::start::Purpose;
use crate::types::{Instant, Timestamp};

impl Client {
    /// Begins an optimistic transaction, which reads what is committed by now.
    ///
    /// # Errors
    /// What any question to PD can fail with.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `txnkv/client.go: Begin`.
    pub fn begin(&self) -> Begin {
        Begin::new(self.clone(), Instant::FAR)
    }

    /// A timestamp of PD, newer than all that it gave before this call.
    ///
    /// # Errors
    /// What any question to PD can fail with.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `tikv/kv.go: CurrentTimestamp`.
    pub fn current_timestamp(&self) -> Pending<TimestampMachine> {
        timestamp(self, Purpose::Current, None, Instant::FAR)
    }

    /// Reads at `ts`.
    ///
    /// client-go: `txnkv/client.go: GetSnapshot`.
    #[must_use]
    pub fn snapshot(&self, ts: Timestamp) -> Snapshot {
        Snapshot::new(self.clone(), ts)
    }

    /// Runs `body` in a transaction and commits it; runs it again, in a new one, when others were faster.
    ///
    /// `body` must have no effect but what it does to the transaction: it may run many times. A commit of which nobody knows
    /// whether it happened is never repeated: it ends with
    /// [`TxnError::Undetermined`](crate::error::TxnError::Undetermined). An error of `body` ends it, too; nothing was sent
    /// then.
    ///
    /// In a task that moves between threads write `async move` and give the closure values of its own (clones, `Arc`s): the
    /// compiler cannot see yet that borrowed ones may move with it.
    ///
    /// ```no_run
    /// # use tikv_client_core::{client::Client, error::Error, txn::Transaction};
    /// # async fn f(client: Client) -> Result<(), Error> {
    /// let done = client
    ///     .transact(async move |txn: &mut Transaction| -> Result<u64, Error> {
    ///         let count = txn.get("count").await?.map_or(0, |value| value.len() as u64);
    ///         txn.put("count", vec![b'*'; count as usize + 1])?;
    ///         Ok(count + 1)
    ///     })
    ///     .await?;
    /// println!("{} after {} attempts", done.value, done.attempts);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What `body` returns, and what [`commit`](Transaction::commit) can end with; when the attempts or the time are used up,
    /// the error of the last attempt.
    ///
    /// # Cancel safety
    /// As [`commit`](Transaction::commit).
    pub async fn transact<T, E: From<Error>>(
        &self,
        body: impl AsyncFnMut(&mut Transaction) -> Result<T, E>,
    ) -> Result<Transacted<T>, E> {
        transact(self, TransactOptions::default(), body).await
    }

    /// As [`transact`](Self::transact), with bounds of its own.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    ///
    /// # Cancel safety
    /// As [`commit`](Transaction::commit).
    pub async fn transact_with<T, E: From<Error>>(
        &self,
        options: TransactOptions,
        body: impl AsyncFnMut(&mut Transaction) -> Result<T, E>,
    ) -> Result<Transacted<T>, E> {
        transact(self, options, body).await
    }
}
