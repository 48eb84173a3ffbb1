//! The cluster's configuration, the global configuration, and the external timestamp.

use bytes::Bytes;
use tikv_proto::{metapb, pdpb};

use super::kv::Span;
use super::{Answer, Asked, HeaderError, Pd};
use crate::model::status::{Code, Status};

/// The path below which all global configuration lies; requests without a path mean this one.
const ROOT: &str = "/global/config/";

impl Pd {
    pub(super) fn cluster_config(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::GetClusterConfigRequest,
    ) -> Answer<pdpb::GetClusterConfigResponse> {
        let cluster = Some(metapb::Cluster { id: self.cluster_id, max_peer_count: self.max_peer_count });
        Ok(pdpb::GetClusterConfigResponse { header: None, cluster })
    }

    pub(super) fn put_cluster_config(
        &mut self,
        _: &mut Asked<'_>,
        request: pdpb::PutClusterConfigRequest,
    ) -> Answer<pdpb::PutClusterConfigResponse> {
        self.max_peer_count = request.cluster.map_or(self.max_peer_count, |cluster| cluster.max_peer_count);
        Ok(pdpb::PutClusterConfigResponse::default())
    }

    // PD: server/grpc_service.go: SetExternalTimestamp; server/server.go: SetExternalTS
    pub(super) fn set_external_timestamp(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::SetExternalTimestampRequest,
    ) -> Answer<pdpb::SetExternalTimestampResponse> {
        let invalid =
            |message: &str| Err(HeaderError::Header(pdpb::ErrorType::InvalidValue, message.to_owned()));
        self.oracle.draw(asked.now, 1)?;
        if request.timestamp > self.oracle.last() {
            return invalid("the external timestamp should not be larger than global ts");
        }
        if request.timestamp <= self.external_timestamp {
            return invalid("the external timestamp should be larger than current external timestamp");
        }
        self.external_timestamp = request.timestamp;
        Ok(pdpb::SetExternalTimestampResponse::default())
    }

    pub(super) fn get_external_timestamp(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::GetExternalTimestampRequest,
    ) -> Answer<pdpb::GetExternalTimestampResponse> {
        Ok(pdpb::GetExternalTimestampResponse { header: None, timestamp: self.external_timestamp })
    }

    /// Writes global configuration, all in one revision; an item's `value` wins over its `payload`.
    pub(super) fn store_settings(
        &mut self,
        request: pdpb::StoreGlobalConfigRequest,
    ) -> Result<pdpb::StoreGlobalConfigResponse, Status> {
        let path = settings_path(&request.config_path)?;
        let mut changes: Vec<(Bytes, Option<Bytes>)> = Vec::with_capacity(request.changes.len());
        for item in request.changes {
            let key = Bytes::from(format!("{path}{}", item.name));
            if changes.iter().any(|(other, _)| *other == key) {
                return Err(Status::unknown("etcdserver: duplicate key given in txn request"));
            }
            let value = if item.value.is_empty() { item.payload } else { Bytes::from(item.value) };
            let deletes = item.kind == i32::from(pdpb::EventType::Delete);
            changes.push((key, (!deletes).then_some(value)));
        }
        self.keys.write(changes);
        Ok(pdpb::StoreGlobalConfigResponse::default())
    }

    /// Reads global configuration: the items named, or without names all below the path, by their full names.
    pub(super) fn load_settings(
        &self,
        request: &pdpb::LoadGlobalConfigRequest,
    ) -> Result<pdpb::LoadGlobalConfigResponse, Status> {
        let path = settings_path(&request.config_path)?;
        if request.names.is_empty() {
            let below = self.keys.get(&Span::prefix(&path), 0, 0)?.kvs.into_iter();
            let items = below.map(|kv| found(String::from_utf8_lossy(&kv.key).into_owned(), kv.value));
            return Ok(pdpb::LoadGlobalConfigResponse {
                items: items.collect(),
                revision: self.keys.revision(),
            });
        }
        let items = request.names.iter().map(|name| {
            let value = self.keys.value(format!("{path}{name}").as_bytes());
            value.map_or_else(|| missing(name), |value| found(name.clone(), value))
        });
        Ok(pdpb::LoadGlobalConfigResponse { items: items.collect(), revision: 0 })
    }
}

/// The path below which the items lie, with a slash at its end.
pub(super) fn settings_path(asked: &str) -> Result<String, Status> {
    if asked.is_empty() {
        return Ok(ROOT.to_owned());
    }
    let path = if asked.ends_with('/') { asked.to_owned() } else { format!("{asked}/") };
    if !path.starts_with(ROOT) {
        let message = format!("global config path \"{asked}\" is not allowed");
        return Err(Status::new(Code::InvalidArgument, message));
    }
    Ok(path)
}

fn found(name: String, payload: Bytes) -> pdpb::GlobalConfigItem {
    pdpb::GlobalConfigItem { name, payload, ..Default::default() }
}

fn missing(name: &str) -> pdpb::GlobalConfigItem {
    let kind = pdpb::ErrorType::GlobalConfigNotFound.into();
    let error = Some(pdpb::Error { r#type: kind, message: format!("key {name} not found") });
    pdpb::GlobalConfigItem { name: name.to_owned(), error, ..Default::default() }
}
