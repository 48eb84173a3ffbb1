//! The raw client: what applications call.

use bytes::Bytes;

use super::calls::{Delete, Get, Put};
use crate::client::Client;
use crate::types::Key;

/// Raw calls to one column family. Cloning shares the client.
///
/// Raw and transactional calls must not touch the same keys: TiKV keeps them in different forms.
///
/// client-go: `rawkv/rawkv.go: Client`.
#[derive(Clone, Debug)]
pub struct RawClient {
    pub(super) client: Client,
    pub(super) cf: &'static str,
    pub(super) atomic: bool,
}

impl RawClient {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, cf: "", atomic: false }
    }

    /// Calls to another column family (`default`, `lock` or `write`).
    ///
    /// client-go: `rawkv/rawkv.go: SetColumnFamily`.
    #[must_use]
    pub fn column_family(mut self, cf: &'static str) -> Self {
        self.cf = cf;
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

    /// Writes `value` under `key`.
    ///
    /// # Errors
    /// [`InputError::EmptyKey`](crate::error::InputError::EmptyKey),
    /// [`InputError::EmptyValue`](crate::error::InputError::EmptyValue), an entry over the limits, and what any call can fail
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
}
