//! Meta storage: PD's keys as a service of their own.
//!
//! It checks no cluster id. What it reads holds key and value only, a deletion ignores the end of its range and counts
//! nothing; both are PD's.
//!
//! PD: `pkg/mcs/metastorage/server/grpc_service.go`.

use bytes::Bytes;
use tikv_proto::meta_storagepb::{
    self, DeleteRequest, DeleteResponse, ErrorType, GetRequest, GetResponse, PutRequest, PutResponse,
    ResponseHeader,
};
use tikv_proto::methods::meta_storage as m;

use super::kv::{KeyValue, KvError, Span};
use super::{Asked, Pd, decode, encode};
use crate::model::status::Status;

impl Pd {
    /// Answers a unary call of meta storage.
    pub(super) fn meta(&mut self, asked: &Asked<'_>, path: &str, body: &Bytes) -> Result<Bytes, Status> {
        self.check_leads(asked.member)?;
        match path {
            m::GET => Ok(encode(&self.meta_get(decode(body)?))),
            m::PUT => Ok(encode(&self.meta_put(decode(body)?))),
            m::DELETE => Ok(encode(&self.meta_delete(decode(body)?))),
            _ => Err(Status::unimplemented(path)),
        }
    }

    pub(super) fn meta_header(&self, revision: i64, error: Option<meta_storagepb::Error>) -> ResponseHeader {
        ResponseHeader { cluster_id: self.cluster_id, error, revision }
    }

    /// The header of an answer that failed: it has no revision.
    fn meta_failed(&self, error: KvError) -> ResponseHeader {
        let error = meta_storagepb::Error { r#type: ErrorType::Unknown.into(), message: error.to_string() };
        self.meta_header(0, Some(error))
    }

    fn meta_get(&self, request: GetRequest) -> GetResponse {
        let span = Span::new(request.key, request.range_end);
        match self.keys.get(&span, request.revision, request.limit) {
            Ok(found) => GetResponse {
                header: Some(self.meta_header(self.keys.revision(), None)),
                kvs: found.kvs.into_iter().map(bare).collect(),
                more: found.more,
                count: found.count,
            },
            Err(error) => GetResponse { header: Some(self.meta_failed(error)), ..Default::default() },
        }
    }

    fn meta_put(&mut self, request: PutRequest) -> PutResponse {
        match self.keys.put(request.key, request.value, request.lease) {
            Ok(before) => PutResponse {
                header: Some(self.meta_header(self.keys.revision(), None)),
                prev_kv: before.filter(|_| request.prev_kv).map(bare),
            },
            Err(error) => PutResponse { header: Some(self.meta_failed(error)), prev_kv: None },
        }
    }

    fn meta_delete(&mut self, request: DeleteRequest) -> DeleteResponse {
        match self.keys.delete(&Span::One(request.key)) {
            Ok(before) => DeleteResponse {
                header: Some(self.meta_header(self.keys.revision(), None)),
                prev_kvs: before.into_iter().filter(|_| request.prev_kv).map(bare).collect(),
                deleted: 0,
            },
            Err(error) => DeleteResponse { header: Some(self.meta_failed(error)), ..Default::default() },
        }
    }
}

/// Key and value, without what etcd knows of them.
pub(super) fn bare(kv: KeyValue) -> meta_storagepb::KeyValue {
    meta_storagepb::KeyValue { key: kv.key, value: kv.value, ..Default::default() }
}
