//! The calls of the keyspace service.
//!
//! PD: `server/keyspace_service.go`.

use tikv_proto::keyspacepb;
use tikv_proto::pdpb::ErrorType;

use super::super::{Answer, Asked, HeaderError, Pd};
use super::KeyspaceError;
use crate::model::status::{Code, Status};

impl From<KeyspaceError> for HeaderError {
    fn from(error: KeyspaceError) -> Self {
        let kind = match error {
            KeyspaceError::NotFound => ErrorType::EntryNotFound,
            KeyspaceError::Exists => ErrorType::DuplicatedEntry,
            _ => ErrorType::Unknown,
        };
        Self::Header(kind, error.to_string())
    }
}

/// What PD's keyspace service has and does not serve.
pub(in crate::model::pd) fn not_implemented(path: &str) -> Status {
    let method = path.rsplit('/').next().unwrap_or(path);
    Status::new(Code::Unimplemented, format!("method {method} not implemented"))
}

impl Pd {
    pub(in crate::model::pd) fn load_keyspace(
        &mut self,
        asked: &mut Asked<'_>,
        request: keyspacepb::LoadKeyspaceRequest,
    ) -> Answer<keyspacepb::LoadKeyspaceResponse> {
        let meta = self.keyspaces.by_name(&request.name).ok_or(KeyspaceError::NotFound)?;
        // A keyspace whose regions are not split yet must not be used, so it is not told.
        if !self.has_bounds(asked.topology, super::id_of(meta)) {
            return Err(KeyspaceError::NotFound.into());
        }
        Ok(keyspacepb::LoadKeyspaceResponse { header: None, keyspace: Some(meta.clone()) })
    }

    pub(in crate::model::pd) fn load_keyspace_by_id(
        &mut self,
        _: &mut Asked<'_>,
        request: keyspacepb::LoadKeyspaceByIdRequest,
    ) -> Answer<keyspacepb::LoadKeyspaceResponse> {
        use keyspacepb::load_keyspace_by_id_request::Keyspace;
        let id = match request.keyspace {
            Some(Keyspace::Id(id)) => id,
            _ => 0,
        };
        let meta = self.keyspaces.by_id(id).ok_or(KeyspaceError::NotFound)?;
        Ok(keyspacepb::LoadKeyspaceResponse { header: None, keyspace: Some(meta.clone()) })
    }

    pub(in crate::model::pd) fn update_keyspace_state(
        &mut self,
        asked: &mut Asked<'_>,
        request: keyspacepb::UpdateKeyspaceStateRequest,
    ) -> Answer<keyspacepb::UpdateKeyspaceStateResponse> {
        use keyspacepb::update_keyspace_state_request::Keyspace;
        let id = match request.keyspace {
            Some(Keyspace::Id(id)) => id,
            _ => 0,
        };
        let to = keyspacepb::KeyspaceState::try_from(request.state)
            .map_err(|_| KeyspaceError::UnknownState(request.state.to_string()))?;
        let meta = self.set_keyspace_state(id, to, asked.now)?;
        Ok(keyspacepb::UpdateKeyspaceStateResponse { header: None, keyspace: Some(meta) })
    }

    pub(in crate::model::pd) fn all_keyspaces(
        &mut self,
        _: &mut Asked<'_>,
        request: keyspacepb::GetAllKeyspacesRequest,
    ) -> Answer<keyspacepb::GetAllKeyspacesResponse> {
        use keyspacepb::get_all_keyspaces_request::StartKeyspace;
        let start = match request.start_keyspace {
            Some(StartKeyspace::StartId(id)) => id,
            _ => 0,
        };
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let keyspaces = self.keyspaces.from(start, limit)?;
        Ok(keyspacepb::GetAllKeyspacesResponse { header: None, keyspaces })
    }
}
