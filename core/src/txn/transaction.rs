//! What applications hold of a transaction.

use std::sync::Arc;

use bytes::Bytes;

use super::calls::Commit;
use super::mutation::Mutation;
use crate::client::Client;
use crate::error::{Error, TxnError};
use crate::membuf::{Limits, MemBuf};
use crate::replica::ReadProfile;
use crate::request::RequestOptions;
use crate::snapshot::calls::Common;
use crate::snapshot::overlay::Overlay;
use crate::snapshot::{BatchGet, Get, Scan};
use crate::start;
use crate::types::{Instant, Key, KeyRange, ShownKey, Timestamp};

/// An optimistic transaction: it reads what was committed before it began, and sees its own writes; nobody else sees them
/// before its commit, which fails when somebody else has committed one of its keys meanwhile.
///
/// Dropping it without a commit leaves nothing behind: what it wrote was in its buffer.
///
/// client-go: `txnkv/transaction/txn.go: KVTxn`.
#[derive(Debug)]
pub struct Transaction {
    client: Client,
    start_ts: Timestamp,
    begun: Instant,
    /// When each of its calls is to be over, whatever its own patience.
    until: Instant,
    buffer: MemBuf,
    over: bool,
    reading: Option<Arc<ReadProfile>>,
}

impl Transaction {
    pub(crate) fn new(client: Client, start_ts: Timestamp, begun: Instant, until: Instant) -> Self {
        let config = client.config();
        let limits = Limits {
            key: config.max_key,
            entry: config.max_entry,
            total: config.max_txn,
            redacted: config.redact_keys,
        };
        Self { client, start_ts, begun, until, buffer: MemBuf::new(limits), over: false, reading: None }
    }

    /// From now on its reads are done as `profile` says. What it wrote itself it sees anyway.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetReplicaRead` of the transaction's snapshot.
    pub fn read_as(&mut self, profile: impl Into<Arc<ReadProfile>>) {
        self.reading = Some(profile.into());
    }

    /// The timestamp it reads at, and its name in the cluster.
    ///
    /// client-go: `txnkv/transaction/txn.go: StartTS`.
    #[must_use]
    pub fn start_ts(&self) -> Timestamp {
        self.start_ts
    }

    /// How many keys it writes.
    ///
    /// client-go: `txnkv/transaction/txn.go: Len`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether it writes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes of all keys and values that it writes.
    ///
    /// client-go: `txnkv/transaction/txn.go: Size`.
    #[must_use]
    pub fn size(&self) -> usize {
        self.buffer.size()
    }

    /// Lets all requests of its calls from now on carry `options`, too: they go before those it has.
    ///
    /// client-go: `txnkv/transaction/txn.go: SetPriority, SetResourceGroupTag, SetRPCInterceptor, …`.
    pub fn set_options(&mut self, options: &RequestOptions) {
        self.client = self.client.with(options);
    }

    fn check(&self) -> Result<(), Error> {
        if self.over { Err(TxnError::Over { start_ts: self.start_ts }.into()) } else { Ok(()) }
    }

    fn common(&self) -> Common {
        let mut common = Common::new(self.client.clone(), self.start_ts);
        common.until = self.until;
        common.reading.clone_from(&self.reading);
        common.refused = self.check().err();
        common
    }

    /// Reads the value of `key`, as this transaction left it; `None` when it has none.
    ///
    /// # Errors
    /// As [`Snapshot::get`](crate::snapshot::Snapshot::get); [`TxnError::Over`] after the commit or rollback.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `txnkv/transaction/txn.go: Get`.
    pub fn get(&self, key: impl Into<Key>) -> Get {
        let key = key.into();
        let own = self.buffer.get(&key).map(|entry| entry.change.value().cloned());
        Get::new(self.common(), key, own)
    }

    /// Reads many keys, as this transaction left them: the pairs of those that have a value, in key order.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `txnkv/transaction/txn.go: BatchGet`.
    pub fn batch_get<K: Into<Key>>(&self, keys: impl IntoIterator<Item = K>) -> BatchGet {
        let (own, others): (Vec<Key>, Vec<Key>) =
            keys.into_iter().map(Into::into).partition(|key| self.buffer.get(key).is_some());
        let value = |key: &Key| self.buffer.get(key).and_then(|entry| entry.change.value().cloned());
        let own = own.into_iter().map(|key| (key.clone(), value(&key))).collect();
        BatchGet::new(self.common(), others, own)
    }

    /// Reads the pairs of a range, as this transaction left them when the scan was made.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `txnkv/transaction/txn.go: Iter, IterReverse`.
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        let range = range.into();
        let own = self.buffer.range(&range);
        let overlay = Overlay::new(own.map(|(key, entry)| (key.clone(), entry.change.value().cloned())));
        Scan::new(self.common(), range, overlay)
    }

    /// Gives `key` a value.
    ///
    /// # Errors
    /// [`InputError`](crate::error::InputError): an empty key or value, an entry or a transaction over the limits (nothing is
    /// changed then); [`TxnError::Over`] after the commit or rollback.
    ///
    /// client-go: `txnkv/transaction/txn.go: Set`.
    pub fn put(&mut self, key: impl Into<Key>, value: impl Into<Bytes>) -> Result<(), Error> {
        self.check()?;
        self.buffer.put(key.into(), value.into())
    }

    /// Gives `key` a value; the commit fails with [`TxnError::AlreadyExists`] if it has one.
    ///
    /// # Errors
    /// As [`put`](Self::put); [`TxnError::AlreadyExists`] at once when this transaction itself has given it a value.
    ///
    /// client-go: `kv/keyflags.go: SetPresumeKeyNotExists`.
    pub fn insert(&mut self, key: impl Into<Key>, value: impl Into<Bytes>) -> Result<(), Error> {
        self.check()?;
        let key = key.into();
        if self.buffer.insert(key.clone(), value.into())? {
            return Ok(());
        }
        let key = ShownKey::new(key, self.client.config().redact_keys);
        Err(TxnError::AlreadyExists { key }.into())
    }

    /// Takes the value of `key` away; a key without a value is no error.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// client-go: `txnkv/transaction/txn.go: Delete`.
    pub fn delete(&mut self, key: impl Into<Key>) -> Result<(), Error> {
        self.check()?;
        self.buffer.delete(key.into())
    }

    /// Commits what it wrote; the transaction is over from this call on, whatever comes of it.
    ///
    /// Ok means committed at the timestamp that it gives. [`TxnError::Undetermined`] means that nobody knows: find out by
    /// reading before doing anything again. Any other error means that nothing was committed, nor will be. A transaction
    /// that wrote nothing sends nothing.
    ///
    /// ```no_run
    /// # async fn f(client: tikv_client_core::client::Client) -> Result<(), tikv_client_core::error::Error> {
    /// let mut txn = client.begin().await?;
    /// txn.put("greeting", "hello")?;
    /// let committed = txn.commit().await?;
    /// println!("seen from {} on", committed.commit_ts);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`TxnError::WriteConflict`], [`TxnError::Locked`], [`TxnError::RolledBack`]: others were faster, run the transaction
    /// again. [`TxnError::AlreadyExists`]: a key of [`insert`](Self::insert). [`TxnError::Undetermined`]: see above.
    /// [`TxnError::Over`] after a commit or rollback. And what any call can fail with.
    ///
    /// # Cancel safety
    /// A dropped commit may or may not commit: before the decision was sent it is rolled back in the background, afterwards
    /// finished there.
    ///
    /// client-go: `txnkv/transaction/txn.go: Commit`.
    pub fn commit(&mut self) -> Commit {
        let common = self.common();
        self.over = true;
        let commit = start::Commit {
            start_ts: self.start_ts,
            begun: self.begun,
            mutations: self.buffer.take().map(|(key, entry)| Mutation::new(key, entry)).collect(),
        };
        Commit::new(common, commit)
    }

    /// Gives up what it wrote; the transaction is over. An optimistic transaction has nothing in the cluster yet, so nothing is
    /// sent.
    ///
    /// # Errors
    /// [`TxnError::Over`] after a commit or rollback.
    ///
    /// # Cancel safety
    /// Dropping the future is as good as awaiting it: nothing is left behind.
    ///
    /// client-go: `txnkv/transaction/txn.go: Rollback`.
    pub async fn rollback(&mut self) -> Result<(), Error> {
        self.check()?;
        self.over = true;
        drop(self.buffer.take());
        Ok(())
    }
}
