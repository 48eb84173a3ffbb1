//! The calls for GC states and barriers.
//!
//! PD: `server/gc_service.go`.

use tikv_proto::pdpb;

use super::super::keyspaces::NULL_KEYSPACE;
use super::super::{Answer, Asked, HeaderError, Pd};
use super::{Barrier, GcError};
use crate::model::clock::Now;

impl From<GcError> for HeaderError {
    fn from(error: GcError) -> Self {
        Self::Header(pdpb::ErrorType::Unknown, error.to_string())
    }
}

/// The keyspace that a scope names; none at all is the null keyspace.
fn keyspace_of(scope: Option<&pdpb::KeyspaceScope>) -> u32 {
    let Some(scope) = scope else { return NULL_KEYSPACE };
    match scope.keyspace {
        Some(pdpb::keyspace_scope::Keyspace::KeyspaceId(id)) => id,
        _ => 0,
    }
}

fn scope_of(keyspace: u32) -> Option<pdpb::KeyspaceScope> {
    let keyspace = Some(pdpb::keyspace_scope::Keyspace::KeyspaceId(keyspace));
    Some(pdpb::KeyspaceScope { keyspace })
}

fn info(id: &str, barrier: &Barrier, now: Now) -> pdpb::GcBarrierInfo {
    let (barrier_id, ttl_seconds) = (id.to_owned(), barrier.ttl_seconds(now));
    pdpb::GcBarrierInfo { barrier_id, barrier_ts: barrier.ts, ttl_seconds }
}

fn global_info(id: &str, barrier: &Barrier, now: Now) -> pdpb::GlobalGcBarrierInfo {
    let (barrier_id, ttl_seconds) = (id.to_owned(), barrier.ttl_seconds(now));
    pdpb::GlobalGcBarrierInfo { barrier_id, barrier_ts: barrier.ts, ttl_seconds }
}

fn check_ttl(ttl_seconds: i64) -> Result<(), GcError> {
    // PD counts a negative time as none before it prints it.
    if ttl_seconds > 0 { Ok(()) } else { Err(GcError::InvalidArgument("ttl", "0s".to_owned())) }
}

fn check_global_id(id: &str) -> Result<(), GcError> {
    if id.is_empty() { Err(GcError::InvalidArgument("barrierID", String::new())) } else { Ok(()) }
}

impl Pd {
    fn gc_state(&self, keyspace: u32, exclude_barriers: bool, now: Now) -> pdpb::GcState {
        let barriers = self.gc_barriers(keyspace).filter(|_| !exclude_barriers);
        pdpb::GcState {
            keyspace_scope: scope_of(keyspace),
            is_keyspace_level_gc: keyspace != NULL_KEYSPACE,
            txn_safe_point: self.txn_safe_point(keyspace),
            gc_safe_point: self.gc_safe_point(keyspace),
            gc_barriers: barriers.map(|(id, barrier)| info(id, barrier, now)).collect(),
        }
    }

    fn global_barriers(&self, now: Now) -> Vec<pdpb::GlobalGcBarrierInfo> {
        self.gc.global.iter().map(|(id, barrier)| global_info(id, barrier, now)).collect()
    }

    pub(in crate::model::pd) fn get_gc_state(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetGcStateRequest,
    ) -> Answer<pdpb::GetGcStateResponse> {
        let keyspace = self.gc_keyspace_of_user(keyspace_of(request.keyspace_scope.as_ref()))?;
        let barriers = request
            .include_global_gc_barriers
            .then(|| pdpb::GlobalGcBarriersInfo { barriers: self.global_barriers(asked.now) });
        Ok(pdpb::GetGcStateResponse {
            header: None,
            gc_state: Some(self.gc_state(keyspace, request.exclude_gc_barriers, asked.now)),
            global_gc_barriers: barriers,
        })
    }

    pub(in crate::model::pd) fn get_all_gc_states(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetAllKeyspacesGcStatesRequest,
    ) -> Answer<pdpb::GetAllKeyspacesGcStatesResponse> {
        let state = |id| self.gc_state(id, request.exclude_gc_barriers, asked.now);
        let gc_states = self.keyspaces.enabled().map(|(id, meta)| {
            if super::has_own_gc(meta) {
                return state(id);
            }
            pdpb::GcState { keyspace_scope: scope_of(id), ..Default::default() }
        });
        let global = !request.exclude_global_gc_barriers;
        Ok(pdpb::GetAllKeyspacesGcStatesResponse {
            header: None,
            gc_states: gc_states.chain([state(NULL_KEYSPACE)]).collect(),
            global_gc_barriers: if global { self.global_barriers(asked.now) } else { Vec::new() },
        })
    }

    pub(in crate::model::pd) fn advance_gc_safe_point(
        &mut self,
        _: &mut Asked<'_>,
        request: pdpb::AdvanceGcSafePointRequest,
    ) -> Answer<pdpb::AdvanceGcSafePointResponse> {
        let keyspace = self.gc_keyspace(keyspace_of(request.keyspace_scope.as_ref()))?;
        let old_gc_safe_point = self.advance_gc(keyspace, request.target)?;
        let new_gc_safe_point = request.target;
        Ok(pdpb::AdvanceGcSafePointResponse { header: None, old_gc_safe_point, new_gc_safe_point })
    }

    pub(in crate::model::pd) fn advance_txn_safe_point(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::AdvanceTxnSafePointRequest,
    ) -> Answer<pdpb::AdvanceTxnSafePointResponse> {
        let keyspace = self.gc_keyspace(keyspace_of(request.keyspace_scope.as_ref()))?;
        let advanced = self.advance_txn(asked.now, keyspace, request.target)?;
        Ok(pdpb::AdvanceTxnSafePointResponse {
            header: None,
            old_txn_safe_point: advanced.old,
            new_txn_safe_point: advanced.new,
            blocker_description: advanced.blocker,
        })
    }

    pub(in crate::model::pd) fn set_gc_barrier(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::SetGcBarrierRequest,
    ) -> Answer<pdpb::SetGcBarrierResponse> {
        check_ttl(request.ttl_seconds)?;
        let keyspace = self.gc_keyspace_of_user(keyspace_of(request.keyspace_scope.as_ref()))?;
        let (id, now) = (request.barrier_id, asked.now);
        let barrier = self.set_barrier(now, keyspace, &id, request.barrier_ts, request.ttl_seconds)?;
        let new_barrier_info = Some(info(&id, &barrier, now));
        Ok(pdpb::SetGcBarrierResponse { header: None, new_barrier_info })
    }

    pub(in crate::model::pd) fn delete_gc_barrier(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::DeleteGcBarrierRequest,
    ) -> Answer<pdpb::DeleteGcBarrierResponse> {
        let keyspace = self.gc_keyspace_of_user(keyspace_of(request.keyspace_scope.as_ref()))?;
        let deleted = self.delete_barrier(keyspace, &request.barrier_id)?;
        let deleted_barrier_info = deleted.map(|barrier| info(&request.barrier_id, &barrier, asked.now));
        Ok(pdpb::DeleteGcBarrierResponse { header: None, deleted_barrier_info })
    }

    pub(in crate::model::pd) fn set_global_gc_barrier(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::SetGlobalGcBarrierRequest,
    ) -> Answer<pdpb::SetGlobalGcBarrierResponse> {
        check_ttl(request.ttl_seconds)?;
        check_global_id(&request.barrier_id)?;
        let (id, now) = (request.barrier_id, asked.now);
        let barrier = self.set_global_barrier(now, &id, request.barrier_ts, request.ttl_seconds)?;
        let new_barrier_info = Some(global_info(&id, &barrier, now));
        Ok(pdpb::SetGlobalGcBarrierResponse { header: None, new_barrier_info })
    }

    pub(in crate::model::pd) fn delete_global_gc_barrier(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::DeleteGlobalGcBarrierRequest,
    ) -> Answer<pdpb::DeleteGlobalGcBarrierResponse> {
        check_global_id(&request.barrier_id)?;
        let deleted = self.gc.global.remove(&request.barrier_id);
        let deleted_barrier_info =
            deleted.map(|barrier| global_info(&request.barrier_id, &barrier, asked.now));
        Ok(pdpb::DeleteGlobalGcBarrierResponse { header: None, deleted_barrier_info })
    }
}
