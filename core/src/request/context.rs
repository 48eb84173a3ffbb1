//! The context of one attempt, encoded straight into the frame.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tikv_proto::kvrpcpb as pb;

use crate::codec::KeyspaceId;
use crate::machine::{Asked, Attempt};
use crate::types::Located;

/// The field of every request that holds its context.
const CONTEXT: u32 = 1;

/// Fields of `kvrpcpb.Context` that differ between attempts.
mod field {
    pub(super) const REGION_ID: u32 = 1;
    pub(super) const REGION_EPOCH: u32 = 2;
    pub(super) const PEER: u32 = 3;
    pub(super) const REPLICA_READ: u32 = 12;
    pub(super) const MAX_EXECUTION_DURATION_MS: u32 = 14;
    pub(super) const STALE_READ: u32 = 17;
    pub(super) const IS_RETRY_REQUEST: u32 = 20;
    pub(super) const REQUEST_SOURCE: u32 = 24;
    pub(super) const BUSY_THRESHOLD_MS: u32 = 27;
}

/// What all attempts of a call have in their context: priority, isolation, request source, resource group …
///
/// Encoded once and shared by every call that uses the profile; the empty profile costs nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Profile {
    encoded: Bytes,
    priority: u64,
    /// The request source, which attempts put their own words before.
    source: Option<Arc<str>>,
}

impl Profile {
    /// A profile of these fields. Fields that belong to an attempt (region, peer, retry mark, execution time, replica and stale
    /// read, busy threshold) must be unset.
    #[must_use]
    pub fn new(context: &pb::Context) -> Self {
        debug_assert!(context.region_id == 0 && context.peer.is_none() && !context.is_retry_request);
        let control = context.resource_control_context.as_ref();
        let priority = control.map_or(0, |control| control.override_priority);
        let source = (!context.request_source.is_empty()).then(|| context.request_source.as_str().into());
        Self { encoded: context.encode_to_vec().into(), priority, source }
    }

    /// The fields of both, those of `more` behind: of a field that both have, the last counts.
    pub(super) fn and(&self, more: &Self) -> Self {
        if self.encoded.is_empty() {
            return more.clone();
        }
        if more.encoded.is_empty() {
            return self.clone();
        }
        Self {
            encoded: [&self.encoded[..], &more.encoded[..]].concat().into(),
            priority: if more.priority == 0 { self.priority } else { more.priority },
            source: more.source.clone().or_else(|| self.source.clone()),
        }
    }

    /// The fields, decoded.
    pub(super) fn context(&self) -> pb::Context {
        // It was encoded from such messages.
        pb::Context::decode(self.encoded.clone()).unwrap_or_default()
    }

    /// What the requests of a client of API v2 have in their context.
    ///
    /// client-go: `internal/apicodec/codec.go: setAPICtx`.
    pub(crate) fn of_keyspace(id: KeyspaceId, name: &str) -> Self {
        Self::new(&pb::Context {
            api_version: pb::ApiVersion::V2.into(),
            keyspace: Some(pb::context::Keyspace::KeyspaceId(id.get())),
            keyspace_name: name.to_owned(),
            ..Default::default()
        })
    }

    /// The source that `attempt` puts its words before: what goes to a store as a whole has none.
    fn source_of(&self, attempt: &Attempt) -> Option<&str> {
        self.source.as_deref().filter(|_| attempt.to.region.id.0 != 0)
    }

    /// The encoded fields.
    #[must_use]
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Which of the requests that wait for a stream goes first: the highest; from 10 on without regard to how many are in flight.
    ///
    /// It is the context's `resource_control_context.override_priority`. client-go: `tikvrpc/tikvrpc.go: Request`.
    #[must_use]
    pub fn priority(&self) -> u64 {
        self.priority
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match pb::Context::decode(self.encoded.clone()) {
            Ok(context) => context.fmt(f),
            Err(error) => write!(f, "Profile({error})"),
        }
    }
}

fn uint_len(field: u32, value: u64) -> usize {
    if value == 0 { 0 } else { key_len(field) + encoded_len_varint(value) }
}

fn put_uint(field: u32, value: u64, into: &mut impl BufMut) {
    if value != 0 {
        encode_key(field, WireType::Varint, into);
        encode_varint(value, into);
    }
}

/// A nested message of two numbers: RegionEpoch{conf_ver, version}, Peer{id, store_id}.
fn put_pair(field: u32, (first, second): (u64, u64), into: &mut impl BufMut) {
    encode_key(field, WireType::LengthDelimited, into);
    encode_varint((uint_len(1, first) + uint_len(2, second)) as u64, into);
    put_uint(1, first, into);
    put_uint(2, second, into);
}

fn pair_len(field: u32, (first, second): (u64, u64)) -> usize {
    let inner = uint_len(1, first) + uint_len(2, second);
    key_len(field) + encoded_len_varint(inner as u64) + inner
}

/// The fields that say where the request goes; what goes to a store as a whole has none of them.
fn target_len(to: &Located) -> usize {
    if to.region.id.0 == 0 {
        return 0;
    }
    uint_len(field::REGION_ID, to.region.id.0)
        + pair_len(field::REGION_EPOCH, (to.region.conf_ver, to.region.version))
        + pair_len(field::PEER, (to.peer.0, to.store.0))
}

fn put_target(to: &Located, into: &mut impl BufMut) {
    if to.region.id.0 == 0 {
        return;
    }
    put_uint(field::REGION_ID, to.region.id.0, into);
    put_pair(field::REGION_EPOCH, (to.region.conf_ver, to.region.version), into);
    put_pair(field::PEER, (to.peer.0, to.store.0), into);
}

fn inner_len(client: &Profile, profile: &Profile, attempt: &Attempt) -> usize {
    client.encoded.len()
        + profile.encoded.len()
        + target_len(&attempt.to)
        + uint_len(field::MAX_EXECUTION_DURATION_MS, attempt.max_execution_ms.into())
        + uint_len(field::IS_RETRY_REQUEST, attempt.retry.into())
        + uint_len(field::REPLICA_READ, (attempt.asked == Asked::ReplicaRead).into())
        + uint_len(field::STALE_READ, (attempt.asked == Asked::StaleRead).into())
        + uint_len(field::BUSY_THRESHOLD_MS, attempt.busy_threshold_ms.into())
        + profile.source_of(attempt).map_or(0, |source| {
            let len = words(attempt).iter().map(|word| word.len()).sum::<usize>() + source.len();
            key_len(field::REQUEST_SOURCE) + encoded_len_varint(len as u64) + len
        })
}

/// How many bytes [`append_client_context`] adds.
#[must_use]
pub(crate) fn context_len(client: &Profile, profile: &Profile, attempt: &Attempt) -> usize {
    let inner = inner_len(client, profile, attempt);
    key_len(CONTEXT) + encoded_len_varint(inner as u64) + inner
}

/// Appends the context field of `attempt` to an encoded request.
pub fn append_context(profile: &Profile, attempt: &Attempt, into: &mut impl BufMut) {
    append_client_context(&Profile::default(), profile, attempt, into);
}

/// Appends the context field of `attempt` to an encoded request; `client` is what all requests of the client have in it.
pub(crate) fn append_client_context(
    client: &Profile,
    profile: &Profile,
    attempt: &Attempt,
    into: &mut impl BufMut,
) {
    encode_key(CONTEXT, WireType::LengthDelimited, into);
    encode_varint(inner_len(client, profile, attempt) as u64, into);
    into.put_slice(&client.encoded);
    into.put_slice(&profile.encoded);
    put_target(&attempt.to, into);
    put_uint(field::MAX_EXECUTION_DURATION_MS, attempt.max_execution_ms.into(), into);
    put_uint(field::IS_RETRY_REQUEST, attempt.retry.into(), into);
    put_uint(field::REPLICA_READ, (attempt.asked == Asked::ReplicaRead).into(), into);
    put_uint(field::STALE_READ, (attempt.asked == Asked::StaleRead).into(), into);
    put_uint(field::BUSY_THRESHOLD_MS, attempt.busy_threshold_ms.into(), into);
    if let Some(source) = profile.source_of(attempt) {
        // It stands in the profile, too: of a field that comes twice the last counts.
        let words = words(attempt);
        let len = words.iter().map(|word| word.len()).sum::<usize>() + source.len();
        encode_key(field::REQUEST_SOURCE, WireType::LengthDelimited, into);
        encode_varint(len as u64, into);
        words.iter().for_each(|word| into.put_slice(word.as_bytes()));
        into.put_slice(source.as_bytes());
    }
}

/// What an attempt puts before the request source: who is asked, and of a retry who was asked first. TiKV limits by what is behind
/// the last underscore, so the source itself stays last.
///
/// client-go: `internal/locate/region_request.go: patchRequestSource`.
fn words(attempt: &Attempt) -> [&'static str; 4] {
    const fn role(leads: bool) -> &'static str {
        if leads { "leader_" } else { "follower_" }
    }
    const fn mark(stale: bool) -> &'static str {
        if stale { "stale_" } else { "" }
    }
    match attempt.first {
        Some(first) if attempt.retry => ["retry_", mark(first.stale), role(first.leads), role(attempt.leads)],
        _ => ["", "", mark(attempt.asked == Asked::StaleRead), role(attempt.leads)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Reader;
    use crate::types::{PeerId, RegionId, RegionVersion, StoreId};
    use proptest::prelude::*;
    use tikv_proto::metapb;

    proptest! {
        #[test]
        fn an_appended_context_reads_as_the_whole_context(
            mut ids in any::<[u64; 5]>(), to_store: bool, retry: bool, ms: u32, source in "[a-z]{0,9}", key in "[a-z]{1,9}", keyspace in 0..3_u32,
            threshold: u32, leads: bool, first in proptest::option::of(any::<(bool, bool)>()), how in 0usize..3,
        ) {
            if to_store {
                ids[0] = 0;
            }
            let attempt = Attempt {
                to: Located {
                    region: RegionVersion { id: RegionId(ids[0]), version: ids[1], conf_ver: ids[2] },
                    peer: PeerId(ids[3]),
                    store: StoreId(ids[4]),
                },
                retry,
                max_execution_ms: ms,
                asked: [Asked::Plainly, Asked::ReplicaRead, Asked::StaleRead][how],
                busy_threshold_ms: threshold,
                leads,
                first: first.map(|(leads, stale)| Reader { leads, stale }),
                through: None,
            };
            let told = if source.is_empty() || to_store { source.clone() } else { words(&attempt).concat() + &source };
            let shared = pb::Context { request_source: source, priority: 2, ..Default::default() };
            let profile = Profile::new(&shared);
            let id = KeyspaceId::new(keyspace).unwrap();
            let client = if keyspace > 0 { Profile::of_keyspace(id, "mine") } else { Profile::default() };
            let api_v2 = pb::Context {
                api_version: pb::ApiVersion::V2.into(),
                keyspace_name: "mine".into(),
                keyspace: Some(pb::context::Keyspace::KeyspaceId(keyspace)),
                ..Default::default()
            };
            let shared = pb::Context {
                request_source: shared.request_source,
                priority: 2,
                ..if keyspace > 0 { api_v2 } else { pb::Context::default() }
            };
            let message = pb::RawGetRequest { key: key.into(), ..Default::default() };
            let mut wire = message.encode_to_vec();
            let before = wire.len();
            append_client_context(&client, &profile, &attempt, &mut wire);
            prop_assert_eq!(wire.len() - before, context_len(&client, &profile, &attempt));
            let to_region = ids[0] != 0;
            let expected = pb::RawGetRequest {
                context: Some(pb::Context {
                    region_id: ids[0],
                    region_epoch: to_region.then_some(metapb::RegionEpoch { conf_ver: ids[2], version: ids[1] }),
                    peer: to_region.then(|| metapb::Peer { id: ids[3], store_id: ids[4], ..Default::default() }),
                    max_execution_duration_ms: ms.into(),
                    is_retry_request: retry,
                    replica_read: how == 1,
                    stale_read: how == 2,
                    busy_threshold_ms: threshold,
                    request_source: told,
                    ..shared
                }),
                ..message
            };
            prop_assert_eq!(pb::RawGetRequest::decode(wire.as_slice()).unwrap(), expected);
        }
    }

    // client-go: region_request3_test.go: TestRetryRequestSource.
    #[test]
    fn the_source_tells_who_is_asked_and_who_was_asked_first() {
        let to = Located {
            region: RegionVersion { id: RegionId(1), version: 1, conf_ver: 1 },
            peer: PeerId(1),
            store: StoreId(1),
        };
        let profile =
            Profile::new(&pb::Context { request_source: "external_test".into(), ..Default::default() });
        let told = |attempt: Attempt| {
            let mut wire = Vec::new();
            append_context(&profile, &attempt, &mut wire);
            let read = pb::RawGetRequest::decode(wire.as_slice()).unwrap();
            read.context.unwrap().request_source
        };
        let leader = Attempt::first(to);
        let follower = Attempt { leads: false, ..leader };
        let stale = Attempt { asked: Asked::StaleRead, ..follower };
        assert_eq!(told(leader), "leader_external_test");
        assert_eq!(told(follower), "follower_external_test");
        assert_eq!(told(stale), "stale_follower_external_test");
        assert_eq!(told(Attempt { leads: true, ..stale }), "stale_leader_external_test");
        for (first, name) in [
            (Reader { leads: true, stale: false }, "leader"),
            (Reader { leads: false, stale: false }, "follower"),
            (Reader { leads: true, stale: true }, "stale_leader"),
            (Reader { leads: false, stale: true }, "stale_follower"),
        ] {
            let retry = Attempt { retry: true, first: Some(first), ..leader };
            assert_eq!(told(retry), format!("retry_{name}_leader_external_test"));
            assert_eq!(
                told(Attempt { leads: false, ..retry }),
                format!("retry_{name}_follower_external_test")
            );
        }
    }
}
