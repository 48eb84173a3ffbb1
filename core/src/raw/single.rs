//! The machines of one key: get, put, delete. One request to the region that holds the key.

use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use prost::Message;
use tikv_proto::kvrpcpb as pb;

use crate::error::Error;
use crate::machine::{Cx, Machine};
use crate::region_call::{RegionCall, Route};
use crate::request::{Profile, Request, Typed};
use crate::types::{Key, ShownKey, Value};

/// What the machines of one key share: the call, and how its answer is told.
#[derive(Debug)]
struct Single {
    operation: &'static str,
    key: Key,
    redacted: bool,
    call: RegionCall,
}

impl Single {
    fn new(operation: &'static str, key: Key, redacted: bool, message: &impl Typed) -> Self {
        let request = Arc::new(Request::new(message, Profile::default()));
        let call = RegionCall::new(operation, Route::Key(key.clone()), request);
        Self { operation, key, redacted, call }
    }

    fn step<R: Message + Default>(&mut self, cx: &mut Cx<'_>) -> Poll<Result<R, Error>> {
        Poll::Ready(match ready!(self.call.step(cx)) {
            Ok(reply) => reply.decode(self.operation),
            Err(unanswered) => Err(unanswered.into_error(self.operation)),
        })
    }

    /// The store's own error text, which comes beside an otherwise empty answer.
    fn check(&self, message: String) -> Result<(), Error> {
        if message.is_empty() {
            return Ok(());
        }
        let key = Some(ShownKey::new(self.key.clone(), self.redacted));
        Err(Error::Server { operation: self.operation, key, message: message.into() })
    }
}

/// Reads the value of one key.
///
/// client-go: `rawkv/rawkv.go: Get`; TiKV: `src/server/service/kv.rs: future_raw_get`.
#[derive(Debug)]
pub struct GetMachine(Single);

impl GetMachine {
    /// Reads `key` of the column family `cf` (empty: the default one).
    #[must_use]
    pub fn new(key: Key, cf: &str, redacted: bool) -> Self {
        let message = pb::RawGetRequest { key: key.0.clone(), cf: cf.to_owned(), ..Default::default() };
        Self(Single::new("raw get", key, redacted, &message))
    }
}

impl Machine for GetMachine {
    type Output = Result<Option<Value>, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let response: pb::RawGetResponse = ready!(self.0.step(cx))?;
        self.0.check(response.error)?;
        Poll::Ready(Ok((!response.not_found).then_some(response.value)))
    }
}

/// Writes the value of one key.
///
/// client-go: `rawkv/rawkv.go: PutWithTTL`.
#[derive(Debug)]
pub struct PutMachine(Single);

impl PutMachine {
    /// Writes `value` under `key`, to live for `ttl_s` seconds (0: for ever).
    #[must_use]
    pub fn new(key: Key, value: Bytes, cf: &str, ttl_s: u64, for_cas: bool, redacted: bool) -> Self {
        let message = pb::RawPutRequest {
            key: key.0.clone(),
            value,
            cf: cf.to_owned(),
            ttl: ttl_s,
            for_cas,
            ..Default::default()
        };
        Self(Single::new("raw put", key, redacted, &message))
    }
}

impl Machine for PutMachine {
    type Output = Result<(), Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let response: pb::RawPutResponse = ready!(self.0.step(cx))?;
        Poll::Ready(self.0.check(response.error))
    }
}

/// Deletes one key.
///
/// client-go: `rawkv/rawkv.go: Delete`.
#[derive(Debug)]
pub struct DeleteMachine(Single);

impl DeleteMachine {
    /// Deletes `key`.
    #[must_use]
    pub fn new(key: Key, cf: &str, for_cas: bool, redacted: bool) -> Self {
        let message =
            pb::RawDeleteRequest { key: key.0.clone(), cf: cf.to_owned(), for_cas, ..Default::default() };
        Self(Single::new("raw delete", key, redacted, &message))
    }
}

impl Machine for DeleteMachine {
    type Output = Result<(), Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let response: pb::RawDeleteResponse = ready!(self.0.step(cx))?;
        Poll::Ready(self.0.check(response.error))
    }
}
