//! The part of etcd's API that client-go asks of PD: who the members are, and a few plain keys.
//!
//! PD serves etcd on its own port. The messages are written out here because they are no part of kvproto; fields that
//! nobody sets or reads are left out.
//!
//! etcd: `api/etcdserverpb/rpc.proto`, `api/mvccpb/kv.proto`.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use prost::Message;

use super::{Pd, decode, encode};
use crate::model::status::Status;

/// The members of etcd are those of PD.
pub const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";
/// Reads keys.
pub const RANGE: &str = "/etcdserverpb.KV/Range";
/// Writes a key.
pub const PUT: &str = "/etcdserverpb.KV/Put";
/// The paths served.
pub const METHODS: &[&str] = &[MEMBER_LIST, RANGE, PUT];

/// The keys, and the revision of the last change.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    revision: i64,
    by_key: BTreeMap<Bytes, KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "1")]
    cluster_id: u64,
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
    #[prost(uint64, tag = "4")]
    raft_term: u64,
}

#[derive(Clone, PartialEq, Message)]
struct WireMember {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    peer_urls: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    client_urls: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct MemberListResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(message, repeated, tag = "2")]
    members: Vec<WireMember>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(int64, tag = "2")]
    create_revision: i64,
    #[prost(int64, tag = "3")]
    mod_revision: i64,
    #[prost(int64, tag = "4")]
    version: i64,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(int64, tag = "3")]
    limit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
    #[prost(bool, tag = "3")]
    more: bool,
    #[prost(int64, tag = "4")]
    count: i64,
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
    #[prost(bool, tag = "4")]
    prev_kv: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(message, optional, tag = "2")]
    prev_kv: Option<KeyValue>,
}

impl Pd {
    /// Answers a call of [`METHODS`].
    pub(super) fn etcd(&mut self, member: usize, path: &str, body: &Bytes) -> Result<Bytes, Status> {
        match path {
            MEMBER_LIST => Ok(encode(&self.member_list(member))),
            RANGE => Ok(encode(&self.range(member, &decode(body)?))),
            PUT => Ok(encode(&self.put(member, decode(body)?))),
            _ => Err(Status::unimplemented(path)),
        }
    }

    fn etcd_header(&self, member: usize) -> Option<Header> {
        let member_id = self.members.get(member).map_or(0, |member| member.id);
        let revision = self.keys.revision;
        Some(Header { cluster_id: self.cluster_id, member_id, revision, raft_term: 1 })
    }

    fn member_list(&self, member: usize) -> MemberListResponse {
        let members = self.members.iter().map(|member| WireMember {
            id: member.id,
            name: member.name.clone(),
            peer_urls: vec![member.client_url.clone()],
            client_urls: vec![member.client_url.clone()],
        });
        MemberListResponse { header: self.etcd_header(member), members: members.collect() }
    }

    fn range(&self, member: usize, request: &RangeRequest) -> RangeResponse {
        let start = Bound::Included(request.key.as_ref());
        let end = match request.range_end.as_ref() {
            // Without an end it is the one key; an end of one zero byte is the end of all keys.
            b"" => Bound::Included(request.key.as_ref()),
            b"\0" => Bound::Unbounded,
            // An empty range, which must not reach the map: it panics on inverted ones.
            end if end <= request.key.as_ref() => {
                return RangeResponse { header: self.etcd_header(member), ..Default::default() };
            }
            end => Bound::Excluded(end),
        };
        let found = || self.keys.by_key.range::<[u8], _>((start, end));
        let limit = usize::try_from(request.limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX);
        let kvs: Vec<KeyValue> = found().take(limit).map(|(_, value)| value.clone()).collect();
        let all = found().count();
        let (more, count) = (all > kvs.len(), i64::try_from(all).unwrap_or(i64::MAX));
        RangeResponse { header: self.etcd_header(member), kvs, more, count }
    }

    fn put(&mut self, member: usize, request: PutRequest) -> PutResponse {
        self.keys.revision += 1;
        let revision = self.keys.revision;
        let old = self.keys.by_key.get(&request.key).cloned();
        let new = KeyValue {
            key: request.key.clone(),
            create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.as_ref().map_or(0, |old| old.version) + 1,
            value: request.value,
        };
        self.keys.by_key.insert(request.key, new);
        PutResponse { header: self.etcd_header(member), prev_kv: old.filter(|_| request.prev_kv) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pd::Member;

    fn pd() -> Pd {
        let client_url = "http://127.0.0.1:9".to_owned();
        Pd::new(7, vec![Member { id: 3, name: "pd-3".to_owned(), client_url }], 3)
    }

    #[test]
    fn members_have_names_and_urls() {
        let answer = pd().etcd(0, MEMBER_LIST, &Bytes::new()).expect("an answer");
        let answer = MemberListResponse::decode(answer).expect("its type");
        let member = answer.members.first().expect("one member");
        assert_eq!((member.id, member.name.as_str()), (3, "pd-3"));
        assert_eq!(member.client_urls, ["http://127.0.0.1:9"]);
    }

    #[test]
    fn keys_are_read_back_by_key_and_range() {
        let mut pd = pd();
        for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            let request = PutRequest { key: key.into(), value: value.into(), prev_kv: false };
            pd.etcd(0, PUT, &encode(&request)).expect("an answer");
        }
        let read = |key: &'static str, range_end: &'static str, limit| {
            let request = RangeRequest { key: key.into(), range_end: range_end.into(), limit };
            let answer = pd.clone().etcd(0, RANGE, &encode(&request)).expect("an answer");
            let answer = RangeResponse::decode(answer).expect("its type");
            let values = answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.value)).collect::<String>();
            (values, answer.more, answer.count)
        };
        assert_eq!(read("a", "", 0), ("3".into(), false, 1));
        assert_eq!(read("x", "", 0), (String::new(), false, 0));
        assert_eq!(read("a", "\0", 1), ("3".into(), true, 2));
        assert_eq!(read("a", "c", 0), ("32".into(), false, 2));
        assert_eq!(read("b", "a", 0), (String::new(), false, 0));
    }
}
