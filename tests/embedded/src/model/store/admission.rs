//! Whether a request may be served here: the region that its context names, and the API version.
//!
//! Spec: `cluster.md` 4.2, 4.5. TiKV: `raftstore/src/store/{worker/read.rs, fsm/peer.rs}`, `store/util.rs`.

use std::time::Duration;

use bytes::Bytes;
use tikv_proto::kvrpcpb::{Context, DiskFullOpt};
use tikv_proto::{errorpb, metapb};

use super::error::{OutOfRegion, TxnError};
use super::{Engine, Place};
use crate::model::pd::wire_region;
use crate::model::region_error::*;
use crate::model::{Disk, Peer, PeerRole, Region, Topology};

/// What a request does with the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It reads; a follower serves it if the context says so.
    Read,
    /// It reads at this timestamp.
    ReadAt(u64),
    /// It writes what gives room or locks back, or settles what is there; only the leader serves it.
    Write,
    /// It writes new data.
    WriteData,
    /// It is part of a flashback that was prepared.
    Flashback,
}

impl Access {
    fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadAt(_))
    }
}

/// The region of an admitted request, and how it is met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted<'a> {
    pub(super) region: &'a Region,
    /// The peer that serves.
    pub(super) peer: Peer,
    pub(super) leads: bool,
}

/// Finds the region that a request names, or why this store does not serve it; the first failing check answers.
pub(super) fn admit<'a>(
    topology: &'a Topology,
    store: u64,
    context: Option<&Context>,
    access: Access,
) -> Result<Admitted<'a>, Box<errorpb::Error>> {
    let absent = Context::default();
    let context = context.unwrap_or(&absent);
    let conditions = &topology.conditions;
    if access.reads() {
        check_busy(conditions.busy(store), context)?;
    }
    let asked = context.peer.unwrap_or_default();
    if asked.store_id != store {
        return Err(store_not_match(asked.store_id, store));
    }
    let place = topology.region(context.region_id).and_then(|region| Some((region, region.peer_on(store)?)));
    let Some((region, peer)) = place else { return Err(region_not_found(context.region_id)) };
    if peer.id != asked.id {
        return Err(mismatch_peer_id(asked.id, peer.id));
    }
    if conditions.is_recovering(region.id) {
        return Err(recovery_in_progress(region.id));
    }
    let leads = region.leader == Some(peer.id);
    let follower_may = access.reads() && (context.replica_read || context.stale_read);
    if !leads && !follower_may {
        return Err(not_leader(region));
    }
    if peer.role == PeerRole::Witness {
        return Err(is_witness(region.id));
    }
    if conditions.is_uninitialised(region.id, store) {
        return Err(region_not_initialized(region.id));
    }
    if context.term != 0 && region.term > context.term.saturating_add(1) {
        return Err(stale_command());
    }
    check_epoch(topology, region, context.region_epoch.as_ref())?;
    if !access.reads() {
        check_disk(conditions.disk(store), store, context, access)?;
    }
    // TiKV: raftstore/src/store/peer.rs: read_index, of a follower that knows no leader to ask.
    if !leads && !context.stale_read && region.leader.is_none() {
        return Err(not_leader(region));
    }
    Ok(Admitted { region, peer, leads })
}

impl Engine {
    /// [`admit`], and whether the region is being taken back to an older version.
    ///
    /// TiKV: `raftstore/src/store/util.rs: check_flashback_state`.
    pub(super) fn admit<'t>(
        &self,
        at: Place<'t>,
        context: Option<&Context>,
        access: Access,
    ) -> Result<Admitted<'t>, Box<errorpb::Error>> {
        let place = admit(at.topology, at.store, context, access)?;
        let id = place.region.id;
        match (self.flashbacks.get(&id), access) {
            (None, Access::Flashback) => Err(flashback_not_prepared(id)),
            (None, _) | (Some(_), Access::Flashback) => Ok(place),
            (Some(&start_ts), Access::ReadAt(ts)) if 0 < ts && ts < start_ts => Ok(place),
            (Some(&start_ts), _) => Err(flashback_in_progress(id, start_ts)),
        }
    }
}

/// A read that does not want to wait as long as it would have to.
fn check_busy(wait: Option<Duration>, context: &Context) -> Result<(), Box<errorpb::Error>> {
    let Some(wait) = wait else { return Ok(()) };
    let threshold = Duration::from_millis(context.busy_threshold_ms.into());
    if threshold.is_zero() || wait <= threshold {
        return Ok(());
    }
    let estimated_wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let busy = errorpb::ServerIsBusy {
        reason: "estimated wait time exceeds threshold".to_owned(),
        estimated_wait_ms,
        ..Default::default()
    };
    Err(Box::new(errorpb::Error {
        message: "server is busy".to_owned(),
        server_is_busy: Some(busy),
        ..Default::default()
    }))
}

/// A write for which the leader has no room.
///
/// TiKV: `raftstore/src/store/peer.rs: check_normal_proposal_with_disk_full_opt`.
fn check_disk(disk: Disk, store: u64, context: &Context, access: Access) -> Result<(), Box<errorpb::Error>> {
    let allowed = match context.disk_full_opt() {
        _ if disk == Disk::Normal => return Ok(()),
        DiskFullOpt::AllowedOnAlreadyFull => Disk::AlreadyFull,
        DiskFullOpt::AllowedOnAlmostFull => Disk::AlmostFull,
        DiskFullOpt::NotAllowedOnFull if access == Access::Write => Disk::AlmostFull,
        DiskFullOpt::NotAllowedOnFull => Disk::Normal,
    };
    if disk <= allowed {
        return Ok(());
    }
    let reason = format!("propose failed: tikv disk full, cmd diskFullOpt={:?}", context.disk_full_opt());
    Err(disk_full(store, reason))
}

/// [`admit`] for a split, which is no business of the engine.
pub(in crate::model) fn admit_write<'a>(
    topology: &'a Topology,
    store: u64,
    context: Option<&Context>,
) -> Result<&'a Region, Box<errorpb::Error>> {
    admit(topology, store, context, Access::Write).map(|admitted| admitted.region)
}

impl Admitted<'_> {
    /// Checks a key, in region form, where being outside the region is a region error.
    pub(super) fn check_key(&self, key: &Bytes) -> Result<(), Box<errorpb::Error>> {
        if self.region.contains(key) { Ok(()) } else { Err(self.outside(key)) }
    }

    /// That `key`, in region form, lies outside the region.
    pub(super) fn outside(&self, key: &Bytes) -> Box<errorpb::Error> {
        key_not_in_region(key, self.region)
    }

    /// Checks where a cursor starts, in region form: it may stand on the region's end.
    pub(super) fn check_seek(&self, key: &Bytes) -> Result<(), Box<errorpb::Error>> {
        if self.region.contains(key) || (!key.is_empty() && *key == self.region.end) {
            Ok(())
        } else {
            Err(self.outside(key))
        }
    }

    /// Checks a key, in region form, where being outside the region is an error of the key.
    pub(super) fn check_point(&self, key: &Bytes) -> Result<(), TxnError> {
        if self.region.contains(key) {
            Ok(())
        } else {
            Err(TxnError::OutOfRegion(OutOfRegion::new(key, self.region)))
        }
    }

    /// The part of `[start, end)`, an empty end being open, that lies in the region.
    pub(super) fn clip(&self, start: &Bytes, end: &Bytes) -> (Bytes, Bytes) {
        let start = start.max(&self.region.start).clone();
        let end = match (end.is_empty(), self.region.end.is_empty()) {
            (true, _) => self.region.end.clone(),
            (false, true) => end.clone(),
            (false, false) => end.min(&self.region.end).clone(),
        };
        (start, end)
    }
}

/// Only the version counts: a changed membership alone does not refuse a request.
fn check_epoch(
    topology: &Topology,
    region: &Region,
    sent: Option<&metapb::RegionEpoch>,
) -> Result<(), Box<errorpb::Error>> {
    let version = sent.map_or(0, |epoch| epoch.version);
    if version == region.version {
        return Ok(());
    }
    let text = |conf_ver, version| format!("conf_ver: {conf_ver} version: {version}");
    let message = format!(
        "EpochNotMatch current epoch of region {} is {}, but you sent {}",
        region.id,
        text(region.conf_ver, region.version),
        sent.map(|epoch| text(epoch.conf_ver, epoch.version)).unwrap_or_default(),
    );
    let behind = region.version.saturating_sub(version);
    let current_regions = topology.epoch_siblings(region, behind).map(wire_region).collect();
    let epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
    Err(Box::new(errorpb::Error { message, epoch_not_match, ..Default::default() }))
}
