//! The batches of raw calls: get, put, delete.

use std::borrow::Cow;

use tikv_proto::kvrpcpb as pb;

use super::batch::Batch;
use crate::error::Error;
use crate::region_call::{Cut, Reply};
use crate::request::{Profile, Request};
use crate::types::{Key, KvPair, ShownKey, Value};

/// Requests of keys alone. client-go: `rawkv/rawkv.go: rawBatchPairCount`.
const KEYS: Cut = Cut { count: 512, bytes: usize::MAX };

/// Requests with values. client-go: `rawkv/rawkv.go: rawBatchPutSize`.
const PAIRS: Cut = Cut { bytes: 16 << 10, ..KEYS };

/// Values of keys, in the order of the keys; a key may be there twice.
///
/// client-go: `rawkv/rawkv.go: BatchGet`.
#[derive(Debug)]
pub struct BatchGet {
    cf: Cow<'static, str>,
    redacted: bool,
    /// Each key once, sorted, with the value once it came.
    found: Vec<(Key, Option<Value>)>,
    /// Where each given key is in `found`.
    order: Vec<usize>,
}

impl BatchGet {
    /// The batch, and the keys to look up: each once.
    #[must_use]
    pub fn new(keys: Vec<Key>, cf: impl Into<Cow<'static, str>>, redacted: bool) -> (Self, Vec<Key>) {
        let mut sorted: Vec<usize> = (0..keys.len()).collect();
        sorted.sort_unstable_by(|&one, &other| keys[one].cmp(&keys[other]));
        let mut order = vec![0; keys.len()];
        let mut found: Vec<(Key, Option<Value>)> = Vec::with_capacity(keys.len());
        for at in sorted {
            if found.last().is_none_or(|last| last.0 != keys[at]) {
                found.push((keys[at].clone(), None));
            }
            order[at] = found.len() - 1;
        }
        let wanted = found.iter().map(|(key, _)| key.clone()).collect();
        (Self { cf: cf.into(), redacted, found, order }, wanted)
    }
}

impl Batch for BatchGet {
    type Item = Key;
    type Output = Vec<Option<Value>>;
    const OPERATION: &'static str = "raw batch get";
    const CUT: Cut = KEYS;

    fn request(&self, items: &[Key]) -> Request {
        let keys = items.iter().map(|key| key.0.clone()).collect();
        let message = pb::RawBatchGetRequest { keys, cf: self.cf.clone().into_owned(), ..Default::default() };
        Request::new(&message, Profile::default())
    }

    fn absorb(&mut self, reply: Reply) -> Result<(), Error> {
        let response: pb::RawBatchGetResponse = reply.decode(Self::OPERATION)?;
        // A store answers in the order of the request, which is sorted: mostly the next key is the one.
        let mut next = 0;
        for pair in response.pairs {
            let pair = checked(Self::OPERATION, pair, self.redacted)?;
            let is_next = self.found.get(next).is_some_and(|entry| entry.0 == pair.key);
            let at =
                if is_next { Ok(next) } else { self.found.binary_search_by(|entry| entry.0.cmp(&pair.key)) };
            if let Ok(at) = at {
                self.found[at].1 = Some(pair.value);
                next = at + 1;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Self::Output {
        self.order.iter().map(|&at| self.found.get(at).and_then(|entry| entry.1.clone())).collect()
    }
}

/// A pair of an answer, unless the store gives an error in its place. client-go takes such a pair for a missing one.
pub(super) fn checked(operation: &'static str, pair: pb::KvPair, redacted: bool) -> Result<KvPair, Error> {
    match pair.error {
        None => Ok(KvPair { key: pair.key.into(), value: pair.value }),
        Some(error) => Err(Error::Server {
            operation,
            key: Some(ShownKey::new(pair.key, redacted)),
            message: match redacted {
                // A store's words may hold any key.
                true => "the store refused the key".into(),
                false if error.abort.is_empty() => format!("{error:?}").into(),
                false => error.abort.into(),
            },
        }),
    }
}

/// Refuses an answer that holds an error text.
fn refused(operation: &'static str, message: String) -> Result<(), Error> {
    if message.is_empty() {
        return Ok(());
    }
    Err(Error::Server { operation, key: None, message: message.into() })
}

/// Pairs to write. Of two with one key the last counts.
///
/// client-go: `rawkv/rawkv.go: BatchPutWithTTL`.
#[derive(Debug)]
pub struct BatchPut {
    cf: Cow<'static, str>,
    ttl_s: u64,
    for_cas: bool,
}

impl BatchPut {
    /// The batch, and the pairs to write: each key once.
    #[must_use]
    pub fn new(
        mut pairs: Vec<KvPair>,
        cf: impl Into<Cow<'static, str>>,
        ttl_s: u64,
        for_cas: bool,
    ) -> (Self, Vec<KvPair>) {
        // The sort keeps the order of equal keys; the last of each stays.
        pairs.reverse();
        pairs.sort_by(|one, other| one.key.cmp(&other.key));
        pairs.dedup_by(|one, other| one.key == other.key);
        (Self { cf: cf.into(), ttl_s, for_cas }, pairs)
    }
}

impl Batch for BatchPut {
    type Item = KvPair;
    type Output = ();
    const OPERATION: &'static str = "raw batch put";
    const CUT: Cut = PAIRS;

    fn request(&self, items: &[KvPair]) -> Request {
        let pair = |pair: &KvPair| pb::KvPair {
            key: pair.key.0.clone(),
            value: pair.value.clone(),
            ..Default::default()
        };
        let message = pb::RawBatchPutRequest {
            pairs: items.iter().map(pair).collect(),
            cf: self.cf.clone().into_owned(),
            // One for all: the server takes a single number for every pair.
            ttls: if self.ttl_s > 0 { vec![self.ttl_s] } else { Vec::new() },
            for_cas: self.for_cas,
            ..Default::default()
        };
        Request::new(&message, Profile::default())
    }

    fn absorb(&mut self, reply: Reply) -> Result<(), Error> {
        let response: pb::RawBatchPutResponse = reply.decode(Self::OPERATION)?;
        refused(Self::OPERATION, response.error)
    }

    fn finish(&mut self) {}
}

/// Keys to delete.
///
/// client-go: `rawkv/rawkv.go: BatchDelete`.
#[derive(Debug)]
pub struct BatchDelete {
    cf: Cow<'static, str>,
    for_cas: bool,
}

impl BatchDelete {
    /// The batch, and the keys to delete: each once.
    #[must_use]
    pub fn new(mut keys: Vec<Key>, cf: impl Into<Cow<'static, str>>, for_cas: bool) -> (Self, Vec<Key>) {
        keys.sort_unstable();
        keys.dedup();
        (Self { cf: cf.into(), for_cas }, keys)
    }
}

impl Batch for BatchDelete {
    type Item = Key;
    type Output = ();
    const OPERATION: &'static str = "raw batch delete";
    const CUT: Cut = KEYS;

    fn request(&self, items: &[Key]) -> Request {
        let message = pb::RawBatchDeleteRequest {
            keys: items.iter().map(|key| key.0.clone()).collect(),
            cf: self.cf.clone().into_owned(),
            for_cas: self.for_cas,
            ..Default::default()
        };
        Request::new(&message, Profile::default())
    }

    fn absorb(&mut self, reply: Reply) -> Result<(), Error> {
        let response: pb::RawBatchDeleteResponse = reply.decode(Self::OPERATION)?;
        refused(Self::OPERATION, response.error)
    }

    fn finish(&mut self) {}
}
