//! What the cluster's data says.

use tikv_client_core::codec::Mode;
use tikv_client_core::types::{Key, Timestamp, Value};
use tikv_proto::{kvrpcpb as pb, metapb};

use super::cluster::World;

/// What became of a transaction at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Neither lock nor record.
    Nothing,
    Locked,
    Committed(Timestamp),
    RolledBack,
}

/// The lock and all records of a key.
#[derive(Debug)]
pub(crate) struct History(pub(crate) pb::MvccInfo);

impl World {
    /// The context that one who knows everything would send for `key`.
    pub(crate) fn context(&self, key: &Key) -> (u64, pb::Context) {
        let region =
            self.cluster.topology.region_at(&Mode::Txn.encode_key(key)).expect("every key has a region");
        let leader =
            region.leader_peer().or_else(|| region.peers.first().copied()).expect("a region has peers");
        let context = pb::Context {
            region_id: region.id,
            region_epoch: Some(metapb::RegionEpoch { conf_ver: region.conf_ver, version: region.version }),
            peer: Some(metapb::Peer { id: leader.id, store_id: leader.store, ..Default::default() }),
            // Whoever leads: a look, no request.
            replica_read: true,
            ..Default::default()
        };
        (leader.store, context)
    }

    /// The lock and all records of `key`.
    pub(crate) fn history(&self, key: &Key) -> History {
        History(self.cluster.engine().history(&key.0))
    }
}

impl History {
    /// What became of the transaction that began at `start_ts`.
    pub(crate) fn of(&self, start_ts: Timestamp) -> At {
        if self.0.lock.as_ref().is_some_and(|lock| lock.start_ts == start_ts.0) {
            return At::Locked;
        }
        let own = self.0.writes.iter().find(|write| write.start_ts == start_ts.0);
        let collapsed =
            self.0.writes.iter().any(|write| write.commit_ts == start_ts.0 && write.has_overlapped_rollback);
        match own {
            Some(write) if write.r#type() == pb::Op::Rollback => At::RolledBack,
            Some(write) => At::Committed(Timestamp(write.commit_ts)),
            None if collapsed => At::RolledBack,
            None => At::Nothing,
        }
    }

    /// What a reader at `ts` sees, locks aside.
    pub(crate) fn at(&self, ts: Timestamp) -> Option<Value> {
        let data = |write: &&pb::MvccWrite| {
            write.commit_ts <= ts.0 && matches!(write.r#type(), pb::Op::Put | pb::Op::Del)
        };
        let newest = self.0.writes.iter().filter(data).max_by_key(|write| write.commit_ts)?;
        if newest.r#type() == pb::Op::Del {
            return None;
        }
        let long = self
            .0
            .values
            .iter()
            .find(|value| value.start_ts == newest.start_ts)
            .map(|value| value.value.clone());
        Some(if newest.short_value.is_empty() {
            long.unwrap_or_default()
        } else {
            newest.short_value.clone()
        })
    }
}
