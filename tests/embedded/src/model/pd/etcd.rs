//! The part of etcd's API that clients ask of PD: who the members are, and plain keys with leases.
//!
//! PD serves etcd on its own port. The messages are written out here because they are no part of kvproto; fields that
//! nobody sets or reads are left out.
//!
//! etcd: `api/etcdserverpb/rpc.proto`, `api/mvccpb/kv.proto`.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::kv::{self, KvError, Span};
use super::{Asked, Pd, decode, encode};
use crate::model::status::{Code, Status};

/// The members of etcd are those of PD.
pub const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";
/// Reads keys.
pub const RANGE: &str = "/etcdserverpb.KV/Range";
/// Writes a key.
pub const PUT: &str = "/etcdserverpb.KV/Put";
/// Deletes keys.
pub const DELETE_RANGE: &str = "/etcdserverpb.KV/DeleteRange";
/// Forgets what keys were before a revision.
pub const COMPACT: &str = "/etcdserverpb.KV/Compact";
/// Begins a lease.
pub const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
/// Ends a lease.
pub const LEASE_REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
/// A stream: each item gives a lease its whole time again.
pub const LEASE_KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
/// The paths served.
pub const METHODS: &[&str] =
    &[MEMBER_LIST, RANGE, PUT, DELETE_RANGE, COMPACT, LEASE_GRANT, LEASE_REVOKE, LEASE_KEEP_ALIVE];

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
struct MemberListRequest {
    #[prost(bool, tag = "1")]
    linearizable: bool,
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
    #[prost(int64, tag = "6")]
    lease: i64,
}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(int64, tag = "3")]
    limit: i64,
    #[prost(int64, tag = "4")]
    revision: i64,
    #[prost(bool, tag = "8")]
    keys_only: bool,
    #[prost(bool, tag = "9")]
    count_only: bool,
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
    #[prost(int64, tag = "3")]
    lease: i64,
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

#[derive(Clone, PartialEq, Message)]
struct DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(bool, tag = "3")]
    prev_kv: bool,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteRangeResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(int64, tag = "2")]
    deleted: i64,
    #[prost(message, repeated, tag = "3")]
    prev_kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct CompactRequest {
    #[prost(int64, tag = "1")]
    revision: i64,
}

/// An answer with nothing but the header: of `Compact` and `LeaseRevoke`.
#[derive(Clone, PartialEq, Message)]
struct HeaderResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct LeaseGrantRequest {
    /// In seconds.
    #[prost(int64, tag = "1")]
    ttl: i64,
    #[prost(int64, tag = "2")]
    id: i64,
}

/// Of `LeaseRevoke` and `LeaseKeepAlive`.
#[derive(Clone, PartialEq, Message)]
struct LeaseRequest {
    #[prost(int64, tag = "1")]
    id: i64,
}

/// Of `LeaseGrant` and `LeaseKeepAlive`.
#[derive(Clone, PartialEq, Message)]
struct LeaseResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(int64, tag = "2")]
    id: i64,
    /// In seconds; 0: the lease is not there.
    #[prost(int64, tag = "3")]
    ttl: i64,
}

/// The longest lease, in seconds.
// etcd: server/lease/lessor.go: MaxLeaseTTL
const LONGEST_LEASE: i64 = 9_000_000_000;

impl From<KvError> for Status {
    fn from(error: KvError) -> Self {
        let code = match error {
            KvError::NoKey => Code::InvalidArgument,
            KvError::Compacted | KvError::Future => Code::OutOfRange,
            KvError::NoLease => Code::NotFound,
            KvError::LeaseExists => Code::FailedPrecondition,
        };
        Self::new(code, error.to_string())
    }
}

impl From<kv::KeyValue> for KeyValue {
    fn from(kv: kv::KeyValue) -> Self {
        Self {
            key: kv.key,
            create_revision: kv.created,
            mod_revision: kv.modified,
            version: kv.version,
            value: kv.value,
            lease: kv.lease,
        }
    }
}

impl Pd {
    /// Answers a call of [`METHODS`], which every member does.
    pub(super) fn etcd(&mut self, asked: &Asked<'_>, path: &str, body: &Bytes) -> Result<Bytes, Status> {
        let member = asked.member;
        match path {
            MEMBER_LIST => {
                decode::<MemberListRequest>(body)?;
                Ok(encode(&self.member_list(member)))
            }
            RANGE => Ok(encode(&self.range(member, decode(body)?)?)),
            PUT => Ok(encode(&self.put(member, decode(body)?)?)),
            DELETE_RANGE => Ok(encode(&self.delete_range(member, decode(body)?)?)),
            COMPACT => {
                let request: CompactRequest = decode(body)?;
                self.keys.compact(request.revision)?;
                Ok(encode(&HeaderResponse { header: self.etcd_header(member) }))
            }
            LEASE_GRANT => {
                let request: LeaseGrantRequest = decode(body)?;
                if request.ttl > LONGEST_LEASE {
                    return Err(Status::new(Code::OutOfRange, "etcdserver: too large lease TTL"));
                }
                let ttl = Duration::from_secs(u64::try_from(request.ttl).unwrap_or(0).max(1));
                let id = self.keys.grant(asked.now, request.id, ttl)?;
                Ok(encode(&LeaseResponse { header: self.etcd_header(member), id, ttl: seconds(ttl) }))
            }
            LEASE_REVOKE => {
                let request: LeaseRequest = decode(body)?;
                self.keys.revoke(request.id)?;
                Ok(encode(&HeaderResponse { header: self.etcd_header(member) }))
            }
            LEASE_KEEP_ALIVE => {
                let LeaseRequest { id } = decode(body)?;
                let ttl = self.keys.keep_alive(asked.now, id).map_or(0, seconds);
                Ok(encode(&LeaseResponse { header: self.etcd_header(member), id, ttl }))
            }
            _ => Err(Status::unimplemented(path)),
        }
    }

    fn etcd_header(&self, member: usize) -> Option<Header> {
        let member_id = self.members.get(member).map_or(0, |member| member.id);
        let revision = self.keys.revision();
        Some(Header { cluster_id: self.cluster_id, member_id, revision, raft_term: self.term })
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

    fn range(&self, member: usize, request: RangeRequest) -> Result<RangeResponse, KvError> {
        let found =
            self.keys.get(&Span::new(request.key, request.range_end), request.revision, request.limit)?;
        let mut kvs: Vec<KeyValue> = found.kvs.into_iter().map(Into::into).collect();
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        if request.count_only {
            kvs.clear();
        }
        let more = found.more && !request.count_only;
        Ok(RangeResponse { header: self.etcd_header(member), kvs, more, count: found.count })
    }

    fn put(&mut self, member: usize, request: PutRequest) -> Result<PutResponse, KvError> {
        let before = self.keys.put(request.key, request.value, request.lease)?;
        let prev_kv = before.filter(|_| request.prev_kv).map(Into::into);
        Ok(PutResponse { header: self.etcd_header(member), prev_kv })
    }

    fn delete_range(
        &mut self,
        member: usize,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, KvError> {
        let before = self.keys.delete(&Span::new(request.key, request.range_end))?;
        let deleted = i64::try_from(before.len()).unwrap_or(i64::MAX);
        let prev_kvs = before.into_iter().filter(|_| request.prev_kv).map(Into::into).collect();
        Ok(DeleteRangeResponse { header: self.etcd_header(member), deleted, prev_kvs })
    }
}

fn seconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Now;
    use crate::model::pd::Member;
    use crate::model::region::Topology;

    fn pd() -> Pd {
        let client_url = "http://127.0.0.1:9".to_owned();
        Pd::new(7, vec![Member { id: 3, name: "pd-3".to_owned(), client_url }], 3)
    }

    fn ask(pd: &mut Pd, path: &'static str, request: &impl Message, at_s: u64) -> Result<Bytes, Status> {
        let mut topology = Topology::new(&[], 1);
        let asked = Asked::new(&mut topology, 0, Now::from_unix(Duration::from_secs(at_s)));
        pd.call(asked, path, encode(request))
    }

    #[test]
    fn members_have_names_and_urls() {
        let answer =
            ask(&mut pd(), MEMBER_LIST, &MemberListRequest { linearizable: true }, 1).expect("an answer");
        let answer = MemberListResponse::decode(answer).expect("its type");
        let member = answer.members.first().expect("one member");
        assert_eq!((member.id, member.name.as_str()), (3, "pd-3"));
        assert_eq!(member.client_urls, ["http://127.0.0.1:9"]);
    }

    #[test]
    fn keys_are_read_back_by_key_and_range() {
        let mut pd = pd();
        for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            let request = PutRequest { key: key.into(), value: value.into(), ..Default::default() };
            ask(&mut pd, PUT, &request, 1).expect("an answer");
        }
        let read = |key: &'static str, range_end: &'static str, limit| {
            let request =
                RangeRequest { key: key.into(), range_end: range_end.into(), limit, ..Default::default() };
            let answer = ask(&mut pd.clone(), RANGE, &request, 1).expect("an answer");
            let answer = RangeResponse::decode(answer).expect("its type");
            let values = answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.value)).collect::<String>();
            (values, answer.more, answer.count)
        };
        assert_eq!(read("a", "", 0), ("3".into(), false, 1));
        assert_eq!(read("x", "", 0), (String::new(), false, 0));
        assert_eq!(read("a", "c", 1), ("3".into(), true, 2));
        assert_eq!(read("a", "c", 0), ("32".into(), false, 2));
        assert_eq!(read("b", "a", 0), (String::new(), false, 0));
    }

    #[test]
    fn a_key_ends_with_its_lease_unless_that_is_kept_alive() {
        let mut pd = pd();
        let granted = ask(&mut pd, LEASE_GRANT, &LeaseGrantRequest { ttl: 2, id: 0 }, 10).expect("granted");
        let LeaseResponse { id, ttl, .. } = LeaseResponse::decode(granted).expect("its type");
        assert_eq!(ttl, 2);
        let put = PutRequest { key: "a".into(), value: "1".into(), lease: id, prev_kv: false };
        ask(&mut pd, PUT, &put, 10).expect("written");
        ask(&mut pd, LEASE_KEEP_ALIVE, &LeaseRequest { id }, 11).expect("kept alive");
        let read = RangeRequest { key: "a".into(), ..Default::default() };
        let mut count = |at_s| {
            let answer = ask(&mut pd, RANGE, &read, at_s).expect("an answer");
            RangeResponse::decode(answer).expect("its type").count
        };
        assert_eq!((count(12), count(13)), (1, 0));
        let gone = ask(&mut pd, LEASE_KEEP_ALIVE, &LeaseRequest { id }, 13).expect("an answer");
        assert_eq!(LeaseResponse::decode(gone).expect("its type").ttl, 0);
        let late = ask(&mut pd, PUT, &put, 13).expect_err("the lease is over");
        assert_eq!(late, Status::new(Code::NotFound, "etcdserver: requested lease not found"));
    }
}
