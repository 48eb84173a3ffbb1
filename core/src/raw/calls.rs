//! Raw calls as values: refine one, then await it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::RawClient;
use super::batch::{Batch, BatchMachine};
use super::batches::{BatchDelete, BatchGet, BatchPut};
use super::delete_range::DeleteRangeMachine;
use super::scan::ScanMachine;
use super::single::{DeleteMachine, GetMachine, PutMachine};
use crate::backoff::Allowance;
use crate::client::{Checked, Client, Pending, Space, Terms};
use crate::codec::Placed;
use crate::error::{Error, InputError};
use crate::machine::Machine;
use crate::replica::{ReadProfile, Replica};
use crate::start::{
    Operation, RawBatchDelete, RawBatchGet, RawBatchPut, RawDelete, RawDeleteRange, RawGet, RawPut, RawScan,
    Shown,
};
use crate::types::{Key, KeyRange, KvPair, ShownKey};

/// What every raw call has: its client, and its time.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) raw: RawClient,
    pub(super) deadline: Option<Duration>,
    /// How it reads; `None`: as the client does.
    reading: Option<Arc<ReadProfile>>,
}

impl Common {
    pub(super) fn new(raw: &RawClient) -> Self {
        Self { raw: raw.clone(), deadline: None, reading: raw.reading.clone() }
    }

    pub(super) fn client(&self) -> &Client {
        &self.raw.client
    }

    fn cf(&self) -> Cow<'static, str> {
        self.raw.cf.clone()
    }

    fn shown(&self, key: &Key) -> ShownKey {
        ShownKey::new(key.clone(), self.client().config().redact_keys)
    }

    /// Refuses a key that TiKV refuses, before anything is sent.
    pub(super) fn check_key(&self, operation: &'static str, key: &Key) -> Result<(), Error> {
        let limit = self.client().config().max_key;
        if key.is_empty() {
            return Err(InputError::EmptyKey { operation }.into());
        }
        if key.len() > limit {
            return Err(InputError::KeyTooLarge { key: self.shown(key), size: key.len(), limit }.into());
        }
        Ok(())
    }

    /// Refuses an entry that TiKV or the configuration refuses; a value of no bytes is fine.
    pub(super) fn check_entry(&self, operation: &'static str, key: &Key, value: &Bytes) -> Result<(), Error> {
        self.check_key(operation, key)?;
        let (size, limit) = (key.len() + value.len(), self.client().config().max_entry);
        if size > limit {
            return Err(InputError::EntryTooLarge { key: self.shown(key), size, limit }.into());
        }
        Ok(())
    }

    fn pending<O, T>(&self, operation: Result<O, Error>) -> Pending<Checked<O::Machine>>
    where
        O: Operation<Machine: Machine<Output = Result<T, Error>>> + Placed,
        T: Shown,
    {
        let inner = self.client().inner();
        let named = || self.reading.as_ref().and_then(|profile| profile.deadline);
        let patience = self.deadline.or_else(named).unwrap_or(inner.config.deadline);
        let terms = Terms {
            deadline: inner.clock.now() + patience,
            allowance: Allowance::RAW,
            space: Space::Raw,
            options: self.client().options().clone(),
            background: false,
            manner: inner.manner(self.reading.as_ref()),
        };
        Pending::checked(inner, terms, operation)
    }
}

/// Seconds as TiKV counts them: an entry lives at least as long as asked for.
fn whole_seconds(ttl: Duration) -> u64 {
    ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)
}

macro_rules! deadline {
    () => {
        /// Gives the whole call this much time instead of the client's default.
        pub fn deadline(mut self, patience: Duration) -> Self {
            self.common.deadline = Some(patience);
            self
        }

        /// Lets the call's requests carry `options`, too: they go before what its client names.
        pub fn with(mut self, options: &crate::request::RequestOptions) -> Self {
            self.common.raw.client = self.common.raw.client.with(options);
            self
        }

        /// Tells with the result what the call's requests met: which stores were asked, how, why these, and what came of it.
        pub fn explain(self) -> crate::client::Explained<<Self as IntoFuture>::IntoFuture> {
            self.into_future().explain()
        }
    };
}

macro_rules! replica {
    () => {
        /// Reads from these replicas.
        pub fn replica(mut self, replica: Replica) -> Self {
            Arc::make_mut(self.common.reading.get_or_insert_default()).replica = replica;
            self
        }

        /// Reads as `profile` says.
        pub fn profile(mut self, profile: impl Into<Arc<ReadProfile>>) -> Self {
            self.common.reading = Some(profile.into());
            self
        }
    };
}

/// A [`RawClient::get`] to be awaited.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct Get {
    common: Common,
    key: Key,
}

impl Get {
    pub(super) fn new(raw: &RawClient, key: Key) -> Self {
        Self { common: Common::new(raw), key }
    }

    deadline!();
    replica!();
}

impl IntoFuture for Get {
    type Output = <GetMachine as Machine>::Output;
    type IntoFuture = Pending<Checked<GetMachine>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, key } = self;
        let cf = common.cf();
        common.pending(common.check_key("raw get", &key).map(|()| RawGet { key, cf }))
    }
}

/// A [`RawClient::put`] to be awaited.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct Put {
    common: Common,
    key: Key,
    value: Bytes,
    ttl_s: u64,
}

impl Put {
    pub(super) fn new(raw: &RawClient, key: Key, value: Bytes) -> Self {
        Self { common: Common::new(raw), key, value, ttl_s: 0 }
    }

    deadline!();

    /// Lets the entry live for `ttl`, in whole seconds (rounded up); the cluster must have TTL enabled.
    ///
    /// client-go: `rawkv/rawkv.go: PutWithTTL`.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl_s = whole_seconds(ttl);
        self
    }
}

impl IntoFuture for Put {
    type Output = <PutMachine as Machine>::Output;
    type IntoFuture = Pending<Checked<PutMachine>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, key, value, ttl_s } = self;
        let (cf, for_cas) = (common.cf(), common.raw.atomic);
        let checked = common.check_entry("raw put", &key, &value);
        common.pending(checked.map(|()| RawPut { key, value, cf, ttl_s, for_cas }))
    }
}

/// A [`RawClient::delete`] to be awaited.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct Delete {
    common: Common,
    key: Key,
}

impl Delete {
    pub(super) fn new(raw: &RawClient, key: Key) -> Self {
        Self { common: Common::new(raw), key }
    }

    deadline!();
}

impl IntoFuture for Delete {
    type Output = <DeleteMachine as Machine>::Output;
    type IntoFuture = Pending<Checked<DeleteMachine>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, key } = self;
        let (cf, for_cas) = (common.cf(), common.raw.atomic);
        common.pending(common.check_key("raw delete", &key).map(|()| RawDelete { key, cf, for_cas }))
    }
}

/// A [`RawClient::batch_get`] to be awaited.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct BatchGetCall {
    common: Common,
    keys: Vec<Key>,
}

impl BatchGetCall {
    pub(super) fn new(raw: &RawClient, keys: Vec<Key>) -> Self {
        Self { common: Common::new(raw), keys }
    }

    deadline!();
    replica!();
}

impl IntoFuture for BatchGetCall {
    type Output = <BatchMachine<BatchGet> as Machine>::Output;
    type IntoFuture = Pending<Checked<BatchMachine<BatchGet>>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, keys } = self;
        let checked = keys.iter().try_for_each(|key| common.check_key(BatchGet::OPERATION, key));
        let cf = common.cf();
        common.pending(checked.map(|()| RawBatchGet { keys, cf }))
    }
}

/// A [`RawClient::batch_put`] to be awaited.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct BatchPutCall {
    common: Common,
    pairs: Vec<KvPair>,
    ttl_s: u64,
}

impl BatchPutCall {
    pub(super) fn new(raw: &RawClient, pairs: Vec<KvPair>) -> Self {
        Self { common: Common::new(raw), pairs, ttl_s: 0 }
    }

    deadline!();

    /// Lets every entry live for `ttl`; see [`Put::ttl`].
    ///
    /// client-go: `rawkv/rawkv.go: BatchPutWithTTL`.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl_s = whole_seconds(ttl);
        self
    }
}

impl IntoFuture for BatchPutCall {
    type Output = <BatchMachine<BatchPut> as Machine>::Output;
    type IntoFuture = Pending<Checked<BatchMachine<BatchPut>>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, pairs, ttl_s } = self;
        let check = |pair: &KvPair| common.check_entry(BatchPut::OPERATION, &pair.key, &pair.value);
        let checked = pairs.iter().try_for_each(check);
        let (cf, for_cas) = (common.cf(), common.raw.atomic);
        common.pending(checked.map(|()| RawBatchPut { pairs, cf, ttl_s, for_cas }))
    }
}

/// A [`RawClient::batch_delete`] to be awaited.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct BatchDeleteCall {
    common: Common,
    keys: Vec<Key>,
}

impl BatchDeleteCall {
    pub(super) fn new(raw: &RawClient, keys: Vec<Key>) -> Self {
        Self { common: Common::new(raw), keys }
    }

    deadline!();
}

impl IntoFuture for BatchDeleteCall {
    type Output = <BatchMachine<BatchDelete> as Machine>::Output;
    type IntoFuture = Pending<Checked<BatchMachine<BatchDelete>>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, keys } = self;
        let checked = keys.iter().try_for_each(|key| common.check_key(BatchDelete::OPERATION, key));
        let (cf, for_cas) = (common.cf(), common.raw.atomic);
        common.pending(checked.map(|()| RawBatchDelete { keys, cf, for_cas }))
    }
}

/// A [`RawClient::scan`] to be awaited.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct ScanCall {
    common: Common,
    scan: RawScan,
}

impl ScanCall {
    pub(super) fn new(raw: &RawClient, range: KeyRange, limit: usize) -> Self {
        let common = Common::new(raw);
        let scan = RawScan { range, limit, reverse: false, keys_only: false, cf: common.cf() };
        Self { common, scan }
    }

    deadline!();
    replica!();

    /// Reads from the last key of the range down.
    ///
    /// client-go: `rawkv/rawkv.go: ReverseScan`.
    pub fn reverse(mut self) -> Self {
        self.scan.reverse = true;
        self
    }

    /// Leaves values empty: only keys travel.
    ///
    /// client-go: `rawkv/rawkv.go: ScanKeyOnly`.
    pub fn keys_only(mut self) -> Self {
        self.scan.keys_only = true;
        self
    }
}

impl IntoFuture for ScanCall {
    type Output = <ScanMachine as Machine>::Output;
    type IntoFuture = Pending<Checked<ScanMachine>>;

    fn into_future(self) -> Self::IntoFuture {
        self.common.pending(Ok(self.scan))
    }
}

/// A [`RawClient::delete_range`] to be awaited.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct DeleteRangeCall {
    common: Common,
    range: KeyRange,
}

impl DeleteRangeCall {
    pub(super) fn new(raw: &RawClient, range: KeyRange) -> Self {
        Self { common: Common::new(raw), range }
    }

    deadline!();
}

impl IntoFuture for DeleteRangeCall {
    type Output = <DeleteRangeMachine as Machine>::Output;
    type IntoFuture = Pending<Checked<DeleteRangeMachine>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { common, range } = self;
        let cf = common.cf();
        common.pending(Ok(RawDeleteRange { range, cf }))
    }
}
