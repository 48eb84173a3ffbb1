//! The calls of the resource manager. Failures are the call's status.
//!
//! PD: `pkg/mcs/resourcemanager/server/grpc_service.go`.

use bytes::Bytes;
use tikv_proto::methods::resource_manager as m;
use tikv_proto::resource_manager::{
    DeleteResourceGroupRequest, DeleteResourceGroupResponse, GetResourceGroupRequest,
    GetResourceGroupResponse, GrantedRuTokenBucket, KeyspaceIdValue, ListResourceGroupsRequest,
    ListResourceGroupsResponse, PutResourceGroupRequest, PutResourceGroupResponse, RequestUnitType,
    TokenBucketRequest, TokenBucketResponse, TokenBucketsRequest, TokenBucketsResponse, keyspace_id_value,
    token_bucket_request,
};

use super::super::keyspaces::NULL_KEYSPACE;
use super::super::{Asked, Pd, decode, encode};
use super::{DEFAULT, wire_keyspace};
use crate::model::clock::Now;
use crate::model::status::Status;

const DONE: &str = "Success!";

/// No value is the null keyspace.
fn keyspace_of(value: Option<&KeyspaceIdValue>) -> u32 {
    let Some(value) = value else { return NULL_KEYSPACE };
    match value.keyspace {
        Some(keyspace_id_value::Keyspace::Value(id)) => id,
        _ => 0,
    }
}

impl Pd {
    /// Answers a unary call of the resource manager, or one item of the stream for tokens.
    pub(in crate::model::pd) fn resource(
        &mut self,
        asked: &Asked<'_>,
        path: &str,
        body: &Bytes,
    ) -> Result<Bytes, Status> {
        self.check_leads(asked.member)?;
        match path {
            m::GET_RESOURCE_GROUP => {
                let request: GetResourceGroupRequest = decode(body)?;
                let keyspace = keyspace_of(request.keyspace_id.as_ref());
                let group = self.group(keyspace, &request.resource_group_name)?;
                let group = Some(group.wire(keyspace, request.with_ru_stats));
                Ok(encode(&GetResourceGroupResponse { error: None, group }))
            }
            m::LIST_RESOURCE_GROUPS => {
                let request: ListResourceGroupsRequest = decode(body)?;
                let keyspace = keyspace_of(request.keyspace_id.as_ref());
                let groups = self.groups_of(keyspace, DEFAULT)?.values();
                let groups = groups.map(|group| group.wire(keyspace, request.with_ru_stats)).collect();
                Ok(encode(&ListResourceGroupsResponse { error: None, groups }))
            }
            m::ADD_RESOURCE_GROUP | m::MODIFY_RESOURCE_GROUP => {
                let request: PutResourceGroupRequest = decode(body)?;
                let group = request.group.unwrap_or_default();
                let keyspace = keyspace_of(group.keyspace_id.as_ref());
                if path == m::ADD_RESOURCE_GROUP {
                    self.add_group(keyspace, group)?;
                } else {
                    self.modify_group(keyspace, group)?;
                }
                Ok(encode(&PutResourceGroupResponse { error: None, body: DONE.to_owned() }))
            }
            m::DELETE_RESOURCE_GROUP => {
                let request: DeleteResourceGroupRequest = decode(body)?;
                let keyspace = keyspace_of(request.keyspace_id.as_ref());
                self.delete_group(keyspace, &request.resource_group_name)?;
                Ok(encode(&DeleteResourceGroupResponse { error: None, body: DONE.to_owned() }))
            }
            m::ACQUIRE_TOKEN_BUCKETS => Ok(encode(&self.acquire(asked.now, decode(body)?)?)),
            _ => Err(Status::unimplemented(path)),
        }
    }

    fn acquire(&mut self, now: Now, request: TokenBucketsRequest) -> Result<TokenBucketsResponse, Status> {
        let (client, period_ms) = (request.client_unique_id, request.target_request_period_ms);
        let mut responses = Vec::new();
        for request in request.requests {
            responses.extend(self.tokens_of(now, client, period_ms, request)?);
        }
        Ok(TokenBucketsResponse { error: None, responses })
    }

    /// What one group is granted; `None` for a group that is not there, and for background work.
    fn tokens_of(
        &mut self,
        now: Now,
        client: u64,
        period_ms: u64,
        request: TokenBucketRequest,
    ) -> Result<Option<TokenBucketResponse>, Status> {
        let keyspace = keyspace_of(request.keyspace_id.as_ref());
        let Ok(group) = self.group(keyspace, &request.resource_group_name) else { return Ok(None) };
        if request.is_background && request.is_tiflash {
            return Err(Status::unknown("background and tiflash cannot be true at the same time"));
        }
        if let Some(more) = &request.consumption_since_last_request {
            group.use_up(more);
        }
        if request.is_background {
            return Ok(None);
        }
        let items = match request.request {
            Some(token_bucket_request::Request::RuItems(items)) => items.request_r_u,
            _ => Vec::new(),
        };
        let mut granted_r_u_tokens = Vec::new();
        for item in items.iter().filter(|item| item.r#type() == RequestUnitType::Ru) {
            let Some((tokens, trickle_time_ms)) = group.bucket.request(now, item.value, period_ms, client)
            else {
                continue;
            };
            let kind = RequestUnitType::Ru.into();
            let granted_tokens = Some(tokens);
            granted_r_u_tokens.push(GrantedRuTokenBucket { r#type: kind, granted_tokens, trickle_time_ms });
        }
        Ok(Some(TokenBucketResponse {
            resource_group_name: group.name.clone(),
            granted_r_u_tokens,
            granted_resource_tokens: Vec::new(),
            keyspace_id: wire_keyspace(keyspace),
        }))
    }
}
