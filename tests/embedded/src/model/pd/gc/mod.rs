//! The states of garbage collection: safe points and what holds them back, by keyspace.
//!
//! * here: [`Gc`], the rules. A transaction safe point never goes back and never passes a barrier that lives; the GC
//!   safe point never passes the transaction safe point.
//! * `rpc`: the calls for GC states. `compat`: the older calls (safe points, service safe points) on the same states.
//!
//! A keyspace without GC of its own shares the state of the null keyspace: what users ask is answered from there, what
//! drives GC is refused. Transaction safe points lie among PD's keys, where older clients read them.
//!
//! PD: `pkg/gc/gc_state_manager.go`.

mod compat;
mod rpc;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::keyspaces::{NULL_KEYSPACE, has_own_gc};
use super::kv::Span;
use super::{Pd, go};
use crate::model::clock::Now;

/// The id under which the GC worker of older clients holds its own safe point; no barrier may have it.
const GC_WORKER: &str = "gc_worker";

/// Ids up to this one are keyspaces; all others mean the null keyspace.
// PD: pkg/keyspace/constant/constant.go: ValidKeyspaceIDMask
const LAST_KEYSPACE: u32 = 0x00ff_ffff;

/// What holds the transaction safe point back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Barrier {
    pub(super) ts: u64,
    /// `None`: it never expires.
    pub(super) expires: Option<Now>,
}

impl Barrier {
    fn is_expired(&self, now: Now) -> bool {
        self.expires.is_some_and(|expires| now > expires)
    }

    /// Whole seconds that it still has; the largest number: it never expires.
    fn ttl_seconds(&self, now: Now) -> i64 {
        self.expires.map_or(i64::MAX, |at| i64::try_from(at.since(now).as_secs()).unwrap_or(i64::MAX))
    }

    fn describe(&self, kind: &str, id: &str) -> String {
        let expires = self.expires.map_or_else(|| "<nil>".to_owned(), go::time);
        let (id, expires) = (go::quoted(id), go::quoted(&expires));
        format!("{kind} {{ BarrierID: {id}, BarrierTS: {}, ExpirationTime: {expires} }}", self.ts)
    }
}

/// Why a GC call fails. The texts are PD's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GcError {
    #[error("[PD:common:ErrInvalidArgument]invalid argument for {0}: {1}")]
    InvalidArgument(&'static str, String),
    #[error(
        "[PD:gc:ErrReservedGCBarrierID]trying to set a GC barrier with a barrier ID that is reserved: {0}"
    )]
    Reserved(String),
    #[error(
        "[PD:gc:ErrDecreasingTxnSafePoint]trying to update txn safe point to a smaller value, current value: {0}, given: {1}"
    )]
    DecreasingTxn(u64, u64),
    #[error(
        "[PD:gc:ErrDecreasingGCSafePoint]trying to update GC safe point to a smaller value, current value: {0}, given: {1}"
    )]
    DecreasingGc(u64, u64),
    #[error(
        "[PD:gc:ErrGCSafePointExceedsTxnSafePoint]trying to update GC safe point to a too large value that exceeds the txn safe point, current value: {0}, given: {1}, current txn safe point: {2}"
    )]
    ExceedsTxn(u64, u64, u64),
    #[error(
        "[PD:gc:ErrGCBarrierTSBehindTxnSafePoint]trying to set a GC barrier on ts {0} which is already behind the txn safe point {1}"
    )]
    BehindTxn(u64, u64),
    #[error(
        "[PD:gc:ErrGlobalGCBarrierTSBehindTxnSafePoint]trying to set a global GC barrier on ts {0} which is already behind the txn safe point {1} of keyspace {2}"
    )]
    GlobalBehindTxn(u64, u64, String),
    #[error(
        "[PD:gc:ErrGCOnInvalidKeyspace]trying to manage GC in keyspace {0} (id: {1}) where keyspace level GC is not enabled"
    )]
    NotOwnGc(String, u32),
    #[error("[PD:keyspace:ErrKeyspaceNotFound]keyspace does not exist")]
    NoKeyspace,
    #[error("TTL of gc_worker's service safe point must be infinity")]
    WorkerTtl,
    #[error("[PD:strconv:ErrStrconvParseUint]parse uint error")]
    BadMinStart,
}

/// GC safe points and barriers; transaction safe points lie among PD's keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Gc {
    safe_points: BTreeMap<u32, u64>,
    barriers: BTreeMap<u32, BTreeMap<String, Barrier>>,
    global: BTreeMap<String, Barrier>,
}

/// What became of an advance of the transaction safe point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Advanced {
    pub(super) old: u64,
    pub(super) new: u64,
    /// What held it back, in words and as the service that an older client knows; empty: nothing did.
    pub(super) blocker: String,
    pub(super) service: String,
}

/// The longest time that PD can count, in seconds; longer ones never end.
// PD: pkg/utils/typeutil/duration.go: SaturatingStdDurationFromSeconds
const LONGEST_TTL_S: i64 = i64::MAX / 1_000_000_000;

fn expiry(now: Now, ttl_seconds: i64) -> Option<Now> {
    (ttl_seconds <= LONGEST_TTL_S)
        .then(|| now.after(Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0))))
}

impl Pd {
    /// The keyspace whose state counts when a user asks for `keyspace`.
    fn gc_keyspace_of_user(&self, keyspace: u32) -> Result<u32, GcError> {
        self.gc_keyspace(keyspace).or_else(|error| match error {
            GcError::NotOwnGc(..) => Ok(NULL_KEYSPACE),
            other => Err(other),
        })
    }

    /// The keyspace whose GC is driven through `keyspace`.
    fn gc_keyspace(&self, keyspace: u32) -> Result<u32, GcError> {
        if keyspace > LAST_KEYSPACE {
            return Ok(NULL_KEYSPACE);
        }
        let meta = self.keyspaces.by_id(keyspace).ok_or(GcError::NoKeyspace)?;
        if has_own_gc(meta) { Ok(keyspace) } else { Err(GcError::NotOwnGc(meta.name.clone(), keyspace)) }
    }

    /// Reads below this timestamp may find data gone.
    fn txn_safe_point(&self, keyspace: u32) -> u64 {
        let text = self.keys.value(txn_safe_point_key(keyspace).as_bytes());
        text.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()).unwrap_or(0)
    }

    /// The GC safe point of all data but that of keyspaces with a collection of their own.
    pub(in crate::model) fn common_gc_safe_point(&self) -> u64 {
        self.gc_safe_point(NULL_KEYSPACE)
    }

    fn gc_safe_point(&self, keyspace: u32) -> u64 {
        self.gc.safe_points.get(&keyspace).copied().unwrap_or(0)
    }

    /// The barriers of a keyspace by id, expired ones too, without the GC worker's own.
    fn gc_barriers(&self, keyspace: u32) -> impl Iterator<Item = (&String, &Barrier)> {
        self.gc.barriers.get(&keyspace).into_iter().flatten().filter(|(id, _)| *id != GC_WORKER)
    }

    /// Moves the GC safe point; returns the old one.
    fn advance_gc(&mut self, keyspace: u32, target: u64) -> Result<u64, GcError> {
        let (old, txn) = (self.gc_safe_point(keyspace), self.txn_safe_point(keyspace));
        if target < old {
            return Err(GcError::DecreasingGc(old, target));
        }
        if target > txn {
            return Err(GcError::ExceedsTxn(old, target, txn));
        }
        self.gc.safe_points.insert(keyspace, target);
        Ok(old)
    }

    /// Moves the transaction safe point as far towards `target` as nothing holds it back, and forgets what is expired.
    fn advance_txn(&mut self, now: Now, keyspace: u32, target: u64) -> Result<Advanced, GcError> {
        let old = self.txn_safe_point(keyspace);
        if target < old {
            return Err(GcError::DecreasingTxn(old, target));
        }
        let min_start = self.least_min_start(keyspace)?;
        let own = self.gc.barriers.entry(keyspace).or_default();
        own.retain(|_, barrier| !barrier.is_expired(now));
        self.gc.global.retain(|_, barrier| !barrier.is_expired(now));
        let mut least = target;
        let (mut blocker, mut service) = (String::new(), String::new());
        for (id, barrier) in own.iter().filter(|(id, _)| *id != GC_WORKER) {
            if barrier.ts < least {
                (least, blocker, service) = (barrier.ts, barrier.describe("GCBarrier", id), id.clone());
            }
        }
        if let Some((owner, ts)) = min_start.filter(|(_, ts)| *ts != 0 && *ts < least) {
            let new = old.max(ts);
            blocker = format!("TiDBMinStartTS {{ Key: {}, MinStartTS: {new} }}", go::quoted(&owner));
            (least, service) = (ts, format!("tidb_min_start_ts_{owner}"));
        }
        for (id, barrier) in &self.gc.global {
            if barrier.ts < least {
                (least, blocker, service) = (barrier.ts, barrier.describe("GlobalGCBarrier", id), id.clone());
            }
        }
        let new = old.max(least);
        if let Some(worker) = own.get_mut(GC_WORKER) {
            worker.ts = new;
        }
        if new != old || self.keys.value(txn_safe_point_key(keyspace).as_bytes()).is_none() {
            self.keys.set_text(&txn_safe_point_key(keyspace), new.to_string());
        }
        Ok(Advanced { old, new, blocker, service })
    }

    /// The least start timestamp that TiDB servers have written among PD's keys, and whose it is.
    fn least_min_start(&self, keyspace: u32) -> Result<Option<(String, u64)>, GcError> {
        let prefix = match keyspace {
            NULL_KEYSPACE => "/tidb/server/minstartts/".to_owned(),
            id => format!("/keyspaces/tidb/{id}/tidb/server/minstartts/"),
        };
        let written = self.keys.get(&Span::prefix(&prefix), 0, 0).map_err(|_| GcError::BadMinStart)?;
        let mut least: Option<(String, u64)> = None;
        for kv in written.kvs {
            let text = std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse().ok());
            let ts: u64 = text.ok_or(GcError::BadMinStart)?;
            if least.as_ref().is_none_or(|(_, other)| ts < *other) {
                let owner = String::from_utf8_lossy(&kv.key);
                least = Some((owner.strip_prefix(prefix.as_str()).unwrap_or_default().to_owned(), ts));
            }
        }
        Ok(least)
    }

    fn set_barrier(
        &mut self,
        now: Now,
        keyspace: u32,
        id: &str,
        ts: u64,
        ttl_seconds: i64,
    ) -> Result<Barrier, GcError> {
        check_barrier_id(id)?;
        let txn = self.txn_safe_point(keyspace);
        if ts < txn {
            return Err(GcError::BehindTxn(ts, txn));
        }
        let barrier = Barrier { ts, expires: expiry(now, ttl_seconds) };
        self.gc.barriers.entry(keyspace).or_default().insert(id.to_owned(), barrier.clone());
        Ok(barrier)
    }

    fn delete_barrier(&mut self, keyspace: u32, id: &str) -> Result<Option<Barrier>, GcError> {
        check_barrier_id(id)?;
        Ok(self.remove_barrier(keyspace, id))
    }

    /// Removes whatever stands under this id, with no question asked.
    pub(super) fn remove_barrier(&mut self, keyspace: u32, id: &str) -> Option<Barrier> {
        self.gc.barriers.get_mut(&keyspace)?.remove(id)
    }

    fn set_global_barrier(
        &mut self,
        now: Now,
        id: &str,
        ts: u64,
        ttl_seconds: i64,
    ) -> Result<Barrier, GcError> {
        let (txn, of) = self.largest_txn_safe_point();
        if ts < txn {
            return Err(GcError::GlobalBehindTxn(ts, txn, of));
        }
        let barrier = Barrier { ts, expires: expiry(now, ttl_seconds) };
        self.gc.global.insert(id.to_owned(), barrier.clone());
        Ok(barrier)
    }

    /// The largest transaction safe point of the null keyspace and all enabled ones, and whose it is, in words.
    fn largest_txn_safe_point(&self) -> (u64, String) {
        let mut largest = (0, String::new());
        for (id, meta) in self.keyspaces.enabled() {
            let txn = self.txn_safe_point(id);
            if txn > largest.0 {
                largest = (txn, format!("{{ name: {}, id: {id} }}", go::quoted(&meta.name)));
            }
        }
        let txn = self.txn_safe_point(NULL_KEYSPACE);
        if txn > largest.0 { (txn, "<null_keyspace>".to_owned()) } else { largest }
    }
}

fn check_barrier_id(id: &str) -> Result<(), GcError> {
    match id {
        GC_WORKER => Err(GcError::Reserved(id.to_owned())),
        "" => Err(GcError::InvalidArgument("barrierID", String::new())),
        _ => Ok(()),
    }
}

/// Where older clients read the transaction safe point.
fn txn_safe_point_key(keyspace: u32) -> String {
    match keyspace {
        NULL_KEYSPACE => "/tidb/store/gcworker/saved_safe_point".to_owned(),
        id => format!("/keyspaces/tidb/{id}/tidb/store/gcworker/saved_safe_point"),
    }
}
