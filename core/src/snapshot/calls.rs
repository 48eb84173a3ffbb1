//! Reads as values: refine one, then await it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::batch_get::BatchGetMachine;
use super::get::GetMachine;
use crate::backoff::Allowance;
use crate::client::{Checked, Client, Pending, Space, Terms};
use crate::codec::Placed;
use crate::error::{Error, InputError};
use crate::machine::Machine;
use crate::replica::ReadProfile;
use crate::start::{self, Operation, Shown};
use crate::types::{Instant, Key, KvPair, ShownKey, Timestamp, Value};

/// What every read has: its client, its timestamp and its time.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) client: Client,
    pub(crate) ts: Timestamp,
    pub(super) patience: Option<Duration>,
    /// How it reads; `None`: as the client does.
    pub(crate) reading: Option<Arc<ReadProfile>>,
    /// When it is to be over, whatever its patience.
    pub(crate) until: Instant,
    /// Why it cannot begin.
    pub(crate) refused: Option<Error>,
}

impl Common {
    pub(crate) fn new(client: Client, ts: Timestamp) -> Self {
        Self { client, ts, patience: None, reading: None, until: Instant::FAR, refused: None }
    }

    fn check_key(&self, operation: &'static str, key: &Key) -> Result<(), Error> {
        let limit = self.client.config().max_key;
        if key.is_empty() {
            return Err(InputError::EmptyKey { operation }.into());
        }
        if key.len() > limit {
            let (size, key) = (key.len(), ShownKey::new(key.clone(), self.client.config().redact_keys));
            return Err(InputError::KeyTooLarge { key, size, limit }.into());
        }
        Ok(())
    }

    /// Refuses a timestamp that no snapshot can have: TiKV keeps the upper half for itself.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: NewTiKVSnapshot`, which panics.
    fn check(&self) -> Result<(), Error> {
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        if self.ts.0 == 0 || self.ts.0 > i64::MAX as u64 {
            return Err(InputError::BadTimestamp { ts: self.ts }.into());
        }
        Ok(())
    }

    /// The future of `operation`, unless the read cannot begin.
    pub(crate) fn pending<O, T>(
        &self,
        operation: impl FnOnce() -> Result<O, Error>,
    ) -> Pending<Checked<O::Machine>>
    where
        O: Operation<Machine: Machine<Output = Result<T, Error>>> + Placed,
        T: Shown,
    {
        let inner = self.client.inner();
        let manner = inner.manner(self.reading.as_ref());
        let named = || self.reading.as_ref().and_then(|profile| profile.deadline);
        let patience = self.patience.or_else(named).unwrap_or(inner.config.deadline);
        let terms = Terms {
            deadline: (inner.clock.now() + patience).min(self.until),
            allowance: Allowance::GET,
            space: Space::Txn,
            options: self.client.options().clone(),
            background: false,
            manner,
        };
        Pending::checked(inner, terms, self.check().and_then(|()| operation()))
    }
}

macro_rules! deadline {
    () => {
        /// Gives the whole call this much time instead of the client's default.
        pub fn deadline(mut self, patience: Duration) -> Self {
            self.common.patience = Some(patience);
            self
        }

        /// Lets the call's requests carry `options`, too: they go before what its snapshot, transaction or client names.
        pub fn with(mut self, options: &crate::request::RequestOptions) -> Self {
            self.common.client = self.common.client.with(options);
            self
        }

        /// Reads from these replicas.
        ///
        /// client-go: `txnkv/txnsnapshot/snapshot.go: SetReplicaRead`.
        pub fn replica(mut self, replica: crate::replica::Replica) -> Self {
            std::sync::Arc::make_mut(self.common.reading.get_or_insert_default()).replica = replica;
            self
        }

        /// Reads as `profile` says.
        pub fn profile(mut self, profile: impl Into<std::sync::Arc<crate::replica::ReadProfile>>) -> Self {
            self.common.reading = Some(profile.into());
            self
        }
    };
}
pub(super) use deadline;

macro_rules! explain {
    () => {
        /// Tells with the result what the call's requests met: which stores were asked, how, why these, and what came of it.
        /// Costs an entry for each request; the first 64 are told one by one.
        pub fn explain(self) -> crate::client::Explained<<Self as IntoFuture>::IntoFuture> {
            self.into_future().explain()
        }
    };
}
pub(crate) use explain;

/// A read of one key, to be awaited. `None`: the key has no value.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct Get {
    common: Common,
    key: Key,
    /// What the transaction itself wrote there.
    own: Option<Option<Value>>,
}

impl Get {
    pub(crate) fn new(common: Common, key: Key, own: Option<Option<Value>>) -> Self {
        Self { common, key, own }
    }

    deadline!();
    explain!();
}

impl IntoFuture for Get {
    type Output = <GetMachine as Machine>::Output;
    type IntoFuture = Pending<Checked<GetMachine>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, key, own } = self;
        common.pending(|| {
            common.check_key("get", &key)?;
            Ok(start::Get { key, ts: common.ts, own })
        })
    }
}

/// A read of many keys, to be awaited: the pairs of those that have a value, in key order.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct BatchGet {
    common: Common,
    keys: Vec<Key>,
    own: BTreeMap<Key, Option<Value>>,
}

impl BatchGet {
    /// `keys` are those to be read from the store, `own` what the transaction itself wrote at the others.
    pub(crate) fn new(common: Common, keys: Vec<Key>, own: BTreeMap<Key, Option<Value>>) -> Self {
        Self { common, keys, own }
    }

    deadline!();
    explain!();
}

impl IntoFuture for BatchGet {
    type Output = <BatchGetMachine as Machine>::Output;
    type IntoFuture = Pending<Checked<BatchGetMachine>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, keys, own } = self;
        common.pending(|| {
            keys.iter().try_for_each(|key| common.check_key("batch get", key))?;
            let own =
                own.into_iter().filter_map(|(key, value)| Some(KvPair { key, value: value? })).collect();
            Ok(start::BatchGet { keys, ts: common.ts, own })
        })
    }
}
