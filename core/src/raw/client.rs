//! The raw client: what applications call.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::calls::{
    BatchDeleteCall, BatchGetCall, BatchPutCall, Delete, DeleteRangeCall, Get, Put, ScanCall,
};
use crate::client::Client;
use crate::replica::ReadProfile;
use crate::types::{Key, KeyRange, KvPair};

/// Raw calls to one column family. Cloning shares the client.
///
/// Raw and transactional calls must not touch the same keys: TiKV keeps them in different forms.
///
/// client-go: `rawkv/rawkv.go: Client`.
#[derive(Clone, Debug)]
pub struct RawClient {
    pub(super) client: Client,
    pub(super) cf: Cow<'static, str>,
    pub(super) atomic: bool,
    pub(super) reading: Option<Arc<ReadProfile>>,
}

impl RawClient {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, cf: Cow::Borrowed(""), atomic: false, reading: None }
    }

    /// The same, with reads that are done as `profile` says.
    #[must_use]
    pub fn profile(mut self, profile: impl Into<Arc<ReadProfile>>) -> Self {
        self.reading = Some(profile.into());
        self
    }

    /// Calls to another column family (`default`, `lock` or `write`).
    ///
    /// client-go: `rawkv/rawkv.go: SetColumnFamily`.
    #[must_use]
    pub fn column_family(mut self, cf: impl Into<Cow<'static, str>>) -> Self {
        self.cf = cf.into();
        self
    }

    /// Writes that take turns with compare-and-swap: needed for keys that anyone swaps.
    ///
    /// client-go: `rawkv/rawkv.go: SetAtomicForCAS`.
    #[must_use]
    pub fn atomic(mut self) -> Self {
        self.atomic = true;
        self
    }

    /// Reads the value of `key`; `None` when it has none.
    ///
    /// ```no_run
    /// # async fn f(client: tikv_client_core::client::Client) -> Result<(), tikv_client_core::error::Error> {
    /// let value = client.raw().get("greeting").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`InputError::EmptyKey`](crate::error::InputError::EmptyKey), and what any call can fail with.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `rawkv/rawkv.go: Get`.
    pub fn get(&self, key: impl Into<Key>) -> Get {
        Get::new(self, key.into())
    }

    /// Writes `value`, which may have no bytes, under `key`.
    ///
    /// # Errors
    /// [`InputError::EmptyKey`](crate::error::InputError::EmptyKey), an entry over the limits, and what any call can fail
    /// with. An error that is not about the input does not say that the write did not happen.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have written.
    ///
    /// client-go: `rawkv/rawkv.go: Put`.
    pub fn put(&self, key: impl Into<Key>, value: impl Into<Bytes>) -> Put {
        Put::new(self, key.into(), value.into())
    }

    /// Deletes `key`; a key without a value is no error.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Cancel safety
    /// A dropped call may or may not have deleted.
    ///
    /// client-go: `rawkv/rawkv.go: Delete`.
    pub fn delete(&self, key: impl Into<Key>) -> Delete {
        Delete::new(self, key.into())
    }

    /// Reads the values of `keys`, in their order; `None` for a key that has none.
    ///
    /// The regions are asked side by side; the keys are not read at one moment.
    ///
    /// # Errors
    /// As [`get`](Self::get); the first error ends the call.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `rawkv/rawkv.go: BatchGet`.
    pub fn batch_get<K: Into<Key>>(&self, keys: impl IntoIterator<Item = K>) -> BatchGetCall {
        BatchGetCall::new(self, keys.into_iter().map(Into::into).collect())
    }

    /// Writes `pairs`; of two with one key the last counts.
    ///
    /// Not atomic: when it fails, some may be written.
    ///
    /// # Errors
    /// As [`put`](Self::put); the first error ends the call.
    ///
    /// # Cancel safety
    /// A dropped call may have written some.
    ///
    /// client-go: `rawkv/rawkv.go: BatchPut`.
    pub fn batch_put<P: Into<KvPair>>(&self, pairs: impl IntoIterator<Item = P>) -> BatchPutCall {
        BatchPutCall::new(self, pairs.into_iter().map(Into::into).collect())
    }

    /// Deletes `keys`.
    ///
    /// Not atomic: when it fails, some may be deleted.
    ///
    /// # Errors
    /// As [`delete`](Self::delete); the first error ends the call.
    ///
    /// # Cancel safety
    /// A dropped call may have deleted some.
    ///
    /// client-go: `rawkv/rawkv.go: BatchDelete`.
    pub fn batch_delete<K: Into<Key>>(&self, keys: impl IntoIterator<Item = K>) -> BatchDeleteCall {
        BatchDeleteCall::new(self, keys.into_iter().map(Into::into).collect())
    }

    /// Reads up to `limit` pairs of `range` in the order of their keys.
    ///
    /// The result is held in memory: scan large ranges in pieces, each from behind the last key of the one before.
    ///
    /// ```no_run
    /// # async fn f(client: tikv_client_core::client::Client) -> Result<(), tikv_client_core::error::Error> {
    /// use tikv_client_core::types::KeyRange;
    /// let newest = client.raw().scan(KeyRange::prefix("event/"), 10).reverse().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What any call can fail with.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `rawkv/rawkv.go: Scan, ReverseScan`.
    pub fn scan(&self, range: impl Into<KeyRange>, limit: usize) -> ScanCall {
        ScanCall::new(self, range.into(), limit)
    }

    /// Deletes every key of `range`, region by region. Not atomic.
    ///
    /// # Errors
    /// What any call can fail with; what was deleted before stays deleted.
    ///
    /// # Cancel safety
    /// A dropped call may have deleted a part.
    ///
    /// client-go: `rawkv/rawkv.go: DeleteRange`.
    pub fn delete_range(&self, range: impl Into<KeyRange>) -> DeleteRangeCall {
        DeleteRangeCall::new(self, range.into())
    }
}
