//! What applications hold of a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calls::{BatchGet, Common, Get};
use super::overlay::Overlay;
use super::scan_call::Scan;
use crate::client::Client;
use crate::replica::{ReadProfile, Replica};
use crate::request::RequestOptions;
use crate::types::{Key, KeyRange, Timestamp};

/// Reads at one timestamp. Cloning shares the client; a snapshot itself costs the cluster nothing.
///
/// A read that meets a lock of a transaction that may be committed up to the timestamp finds out first; one that lives on and
/// cannot be pushed behind the snapshot is waited for.
///
/// client-go: `txnkv/txnsnapshot/snapshot.go: KVSnapshot`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    client: Client,
    ts: Timestamp,
    reading: Option<Arc<ReadProfile>>,
}

impl Snapshot {
    pub(crate) fn new(client: Client, ts: Timestamp) -> Self {
        Self { client, ts, reading: None }
    }

    /// The same, from these replicas.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetReplicaRead`.
    #[must_use]
    pub fn replica(mut self, replica: Replica) -> Self {
        Arc::make_mut(self.reading.get_or_insert_default()).replica = replica;
        self
    }

    /// The same, with reads that are done as `profile` says.
    #[must_use]
    pub fn profile(mut self, profile: impl Into<Arc<ReadProfile>>) -> Self {
        self.reading = Some(profile.into());
        self
    }

    /// The timestamp it reads at.
    #[must_use]
    pub fn ts(&self) -> Timestamp {
        self.ts
    }

    /// A snapshot of the same timestamp whose reads carry `options`, too: they go before those of this one.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetPriority, SetIsolationLevel, SetRPCInterceptor, …`.
    #[must_use]
    pub fn with(&self, options: &RequestOptions) -> Self {
        Self { client: self.client.with(options), ..self.clone() }
    }

    fn common(&self) -> Common {
        let mut common = Common::new(self.client.clone(), self.ts);
        common.reading.clone_from(&self.reading);
        common
    }

    /// Reads the value of `key`; `None` when it has none.
    ///
    /// ```no_run
    /// # async fn f(client: tikv_client_core::client::Client) -> Result<(), tikv_client_core::error::Error> {
    /// let snapshot = client.snapshot(client.current_timestamp().await?);
    /// let value = snapshot.get("greeting").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`InputError`](crate::error::InputError): an empty or too long key, a timestamp that is none;
    /// [`TxnError::Locked`](crate::error::TxnError::Locked): a lock outlived the retries; and what any call can fail with.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: Get`.
    pub fn get(&self, key: impl Into<Key>) -> Get {
        Get::new(self.common(), key.into(), None)
    }

    /// Reads many keys: the pairs of those that have a value, in key order. A key that is given twice comes once.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: BatchGet`.
    pub fn batch_get<K: Into<Key>>(&self, keys: impl IntoIterator<Item = K>) -> BatchGet {
        let keys = keys.into_iter().map(Into::into).collect();
        BatchGet::new(self.common(), keys, BTreeMap::new())
    }

    /// Reads the pairs of a range (`a..b`, `a..=b`, `..`, a [`KeyRange`]), in key order.
    ///
    /// ```no_run
    /// # async fn f(client: tikv_client_core::client::Client) -> Result<(), tikv_client_core::error::Error> {
    /// # let snapshot = client.snapshot(client.current_timestamp().await?);
    /// let last = snapshot.scan("user/".."user0").reverse().limit(10).await?;
    /// let mut cursor = snapshot.scan(..).cursor();
    /// while let Some(pairs) = cursor.next_batch().await? {
    ///     for pair in pairs {}
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: Iter`.
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        Scan::new(self.common(), range.into(), Overlay::default())
    }
}
