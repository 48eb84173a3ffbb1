//! The older GC calls, on top of the GC states: safe points, and service safe points, which are barriers.
//!
//! Their failures are the call's status, not an error in the header.
//!
//! PD: `server/gc_service.go`, `pkg/gc/gc_state_manager.go: Compatible…`, `server/api/service_gc_safepoint.go`.

use bytes::Bytes;
use tikv_proto::pdpb;

use super::super::keyspaces::NULL_KEYSPACE;
use super::super::{Answer, Asked, Pd};
use super::{GC_WORKER, GcError};
use crate::model::clock::Now;
use crate::model::status::Status;

/// The id of BR, whose service safe point holds back all keyspaces.
// PD: pkg/utils/keypath/absolute_key_path.go: NativeBRServiceSafePointID
const NATIVE_BR: &str = "native_br";

/// A service safe point as the HTTP API lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model::pd) struct ServiceSafePoint {
    pub(in crate::model::pd) service: String,
    /// In seconds since the Unix epoch.
    pub(in crate::model::pd) expired_at: i64,
    pub(in crate::model::pd) safe_point: u64,
}

impl ServiceSafePoint {
    fn endless(service: impl Into<String>, safe_point: u64) -> Self {
        Self { service: service.into(), expired_at: i64::MAX, safe_point }
    }
}

impl From<GcError> for Status {
    fn from(error: GcError) -> Self {
        Self::unknown(error.to_string())
    }
}

fn status(error: GcError) -> Status {
    error.into()
}

impl Pd {
    pub(in crate::model::pd) fn get_gc_safe_point(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::GetGcSafePointRequest,
    ) -> Answer<pdpb::GetGcSafePointResponse> {
        let safe_point = self.gc_safe_point(NULL_KEYSPACE);
        Ok(pdpb::GetGcSafePointResponse { header: None, safe_point })
    }

    pub(in crate::model::pd) fn get_gc_safe_point_v2(
        &mut self,
        _: &mut Asked<'_>,
        request: pdpb::GetGcSafePointV2Request,
    ) -> Answer<pdpb::GetGcSafePointV2Response> {
        use pdpb::get_gc_safe_point_v2_request::Keyspace;
        let keyspace = match request.keyspace {
            Some(Keyspace::KeyspaceId(id)) => id,
            _ => 0,
        };
        let safe_point = self.gc_safe_point(self.gc_keyspace(keyspace).map_err(status)?);
        Ok(pdpb::GetGcSafePointV2Response { header: None, safe_point })
    }

    /// Moves the GC safe point; a smaller one is no error and moves nothing. Returns where it stands.
    fn update_gc(&mut self, keyspace: u32, target: u64) -> Result<u64, Status> {
        let keyspace = self.gc_keyspace(keyspace).map_err(status)?;
        match self.advance_gc(keyspace, target) {
            Ok(_) => Ok(target),
            Err(GcError::DecreasingGc(old, _)) => Ok(old),
            Err(other) => Err(other.into()),
        }
    }

    pub(in crate::model::pd) fn update_gc_safe_point(
        &mut self,
        _: &mut Asked<'_>,
        request: pdpb::UpdateGcSafePointRequest,
    ) -> Answer<pdpb::UpdateGcSafePointResponse> {
        let new_safe_point = self.update_gc(NULL_KEYSPACE, request.safe_point)?;
        Ok(pdpb::UpdateGcSafePointResponse { header: None, new_safe_point })
    }

    pub(in crate::model::pd) fn update_gc_safe_point_v2(
        &mut self,
        _: &mut Asked<'_>,
        request: pdpb::UpdateGcSafePointV2Request,
    ) -> Answer<pdpb::UpdateGcSafePointV2Response> {
        use pdpb::update_gc_safe_point_v2_request::Keyspace;
        let keyspace = match request.keyspace {
            Some(Keyspace::KeyspaceId(id)) => id,
            _ => 0,
        };
        let new_safe_point = self.update_gc(keyspace, request.safe_point)?;
        Ok(pdpb::UpdateGcSafePointV2Response { header: None, new_safe_point })
    }

    pub(in crate::model::pd) fn all_gc_safe_points_v2(
        &mut self,
        _: &mut Asked<'_>,
        _: pdpb::GetAllGcSafePointV2Request,
    ) -> Answer<pdpb::GetAllGcSafePointV2Response> {
        let all = self.keyspaces.enabled().map(|(id, _)| pdpb::GcSafePointV2 {
            keyspace: Some(pdpb::gc_safe_point_v2::Keyspace::KeyspaceId(id)),
            gc_safe_point: self.gc_safe_point(id),
        });
        let gc_safe_points = all.collect();
        Ok(pdpb::GetAllGcSafePointV2Response { header: None, gc_safe_points, revision: 0 })
    }

    pub(in crate::model::pd) fn update_service_safe_point(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::UpdateServiceGcSafePointRequest,
    ) -> Answer<pdpb::UpdateServiceGcSafePointResponse> {
        let (service_id, ttl, min_safe_point) =
            self.service(asked.now, NULL_KEYSPACE, &request.service_id, request.safe_point, request.ttl)?;
        Ok(pdpb::UpdateServiceGcSafePointResponse { header: None, service_id, ttl, min_safe_point })
    }

    pub(in crate::model::pd) fn update_service_safe_point_v2(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::UpdateServiceSafePointV2Request,
    ) -> Answer<pdpb::UpdateServiceSafePointV2Response> {
        use pdpb::update_service_safe_point_v2_request::Keyspace;
        let keyspace = match request.keyspace {
            Some(Keyspace::KeyspaceId(id)) => id,
            _ => 0,
        };
        let (service_id, ttl, min_safe_point) =
            self.service(asked.now, keyspace, &request.service_id, request.safe_point, request.ttl)?;
        Ok(pdpb::UpdateServiceSafePointV2Response { header: None, service_id, ttl, min_safe_point })
    }

    /// Sets, moves or removes a service safe point; returns the least one: its service, its time left, its timestamp.
    fn service(
        &mut self,
        now: Now,
        keyspace: u32,
        service: &Bytes,
        ts: u64,
        ttl: i64,
    ) -> Result<(Bytes, i64, u64), Status> {
        // PD takes the time of its timestamps for these calls.
        let (physical_ms, _) = self.oracle.draw(now, 1)?;
        let now = Now::from_unix(std::time::Duration::from_millis(physical_ms));
        let keyspace = self.gc_keyspace_of_user(keyspace)?;
        let service = String::from_utf8_lossy(service);
        let least = self.update_service(now, keyspace, &service, ts, ttl)?;
        let seconds = i64::try_from(now.unix_seconds()).unwrap_or(i64::MAX);
        Ok((Bytes::from(least.service), least.expired_at.saturating_sub(seconds), least.safe_point))
    }

    fn update_service(
        &mut self,
        now: Now,
        keyspace: u32,
        service: &str,
        ts: u64,
        ttl: i64,
    ) -> Result<ServiceSafePoint, GcError> {
        if service == GC_WORKER {
            if ttl != i64::MAX {
                return Err(GcError::WorkerTtl);
            }
            let advanced = self.advance_txn(now, keyspace, ts)?;
            let held = advanced.new != ts;
            let service = if held { advanced.service } else { GC_WORKER.to_owned() };
            return Ok(ServiceSafePoint::endless(service, advanced.new));
        }
        let everywhere = service == NATIVE_BR && keyspace == NULL_KEYSPACE;
        let done = match (ttl > 0, everywhere) {
            (true, false) => self.set_barrier(now, keyspace, service, ts, ttl).map(drop),
            (false, false) => self.delete_barrier(keyspace, service).map(drop),
            (true, true) => self.set_global_barrier(now, service, ts, ttl).map(drop),
            (false, true) => {
                self.gc.global.remove(service);
                Ok(())
            }
        };
        match done {
            // Too late is no error: the least safe point in the answer tells it.
            Ok(()) | Err(GcError::BehindTxn(..) | GcError::GlobalBehindTxn(..)) => {}
            Err(error) => return Err(error),
        }
        let txn = if everywhere { self.largest_txn_safe_point().0 } else { self.txn_safe_point(keyspace) };
        Ok(ServiceSafePoint::endless(GC_WORKER, txn))
    }

    /// The service safe points of the null keyspace, the least that lives among them, and the GC safe point.
    pub(in crate::model::pd) fn service_safe_points(&self, now: Now) -> (Vec<ServiceSafePoint>, u64, u64) {
        let barriers = self.gc_barriers(NULL_KEYSPACE).map(|(id, barrier)| {
            let seconds = |at: Now| i64::try_from(at.unix_seconds()).unwrap_or(i64::MAX);
            let expired_at = barrier.expires.map_or(i64::MAX, seconds);
            ServiceSafePoint { service: id.clone(), expired_at, safe_point: barrier.ts }
        });
        let worker = ServiceSafePoint::endless(GC_WORKER, self.txn_safe_point(NULL_KEYSPACE));
        let all: Vec<ServiceSafePoint> = barriers.chain([worker]).collect();
        let seconds = i64::try_from(now.unix_seconds()).unwrap_or(i64::MAX);
        let living = all.iter().filter(|point| point.expired_at > seconds);
        let least = living.map(|point| point.safe_point).min().unwrap_or(0);
        (all, least, self.gc_safe_point(NULL_KEYSPACE))
    }
}
