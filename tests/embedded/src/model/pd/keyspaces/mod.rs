//! Keyspaces: their metadata, states and region bounds.
//!
//! * here: [`Keyspaces`] and the rules of creation and change. `rpc`: the calls. [`super::http`] has the way to create one.
//!
//! A keyspace is created disabled, gets its region bounds, and is enabled then: a watcher sees two changes. While its
//! bounds are not there it cannot be loaded by name. Metadata also lies among PD's keys, where watchers find it.
//!
//! PD: `pkg/keyspace/keyspace.go`, `util.go`, `server/keyspace_service.go`.

mod rpc;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use tikv_proto::keyspacepb::{self, KeyspaceMeta, KeyspaceState};

use super::{Pd, encode};
use crate::model::clock::Now;
use crate::model::key;
use crate::model::region::Topology;

pub(super) use rpc::not_implemented;

/// The keyspace of clients that have none.
pub(super) const NULL_KEYSPACE: u32 = u32::MAX;
/// The keyspace that is always there, and its name.
pub(super) const DEFAULT_KEYSPACE: u32 = 0;
const DEFAULT_NAME: &str = "DEFAULT";
/// The last id that a keyspace can have.
const LAST: u32 = 0x00ff_ffff - 1;
/// The longest name, in bytes.
const LONGEST_NAME: usize = 20;

/// How the GC of a keyspace is managed, in its configuration, and the value for GC of its own.
const GC_MANAGEMENT: &str = "gc_management_type";
const OWN_GC: &str = "keyspace_level";
/// Which region bounds a keyspace has, in its configuration.
const BOUND_TYPE: &str = "region_bound_type";
/// What only PD writes into a configuration.
const PD_KEYS: [&str; 3] = ["tso_keyspace_group_id", "meta_service_group_id", "meta_service_group_addresses"];

/// Whether the GC of this keyspace is managed apart from all others.
pub(super) fn has_own_gc(meta: &KeyspaceMeta) -> bool {
    meta.config.get(GC_MANAGEMENT).is_some_and(|kind| kind == OWN_GC)
}

/// Why a keyspace cannot be had or changed. The texts are PD's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyspaceError {
    /// There is none.
    #[error("[PD:keyspace:ErrKeyspaceNotFound]keyspace does not exist")]
    NotFound,
    /// The name or the id is taken.
    #[error("[PD:keyspace:ErrKeyspaceExists]keyspace already exists")]
    Exists,
    /// A name is 1 to 20 letters, digits, `_` and `-`.
    #[error("illegal keyspace name {0}, should contain only alphanumerical and underline")]
    Name(String),
    /// The name belongs to PD.
    #[error("illegal keyspace name {0}, collides with a protected keyspace name")]
    ProtectedName(String),
    /// All ids are taken.
    #[error("keyspace id space is exhausted")]
    NoId,
    /// The default keyspace stays enabled.
    #[error("[PD:keyspace:ErrModifyDefaultKeyspace]cannot modify default keyspace's state")]
    Default,
    /// States change in one order only.
    #[error("cannot change keyspace state from {from} to {to}")]
    State {
        /// The state it is in.
        from: &'static str,
        /// The state asked for.
        to: &'static str,
    },
    /// There is no such state.
    #[error("unknown target state: {0}")]
    UnknownState(String),
    /// Only a living keyspace can be configured.
    #[error("cannot change config for keyspace with state {0}")]
    ConfigState(&'static str),
    /// Part of the configuration is fixed at creation.
    #[error("[PD:keyspace:ErrUnsupportedOperationInKeyspace]{0}")]
    Fixed(&'static str),
    /// What the change demands of the present configuration does not hold.
    #[error("[PD:keyspace:ErrKeyspaceConfigPreconditionFailed]keyspace config precondition failed, {0}")]
    Precondition(String),
    /// A list can begin at an id that exists only.
    #[error("startID of the scan {0} exceeds spaceID Max {max}", max = LAST + 1)]
    Start(u32),
}

/// All keyspaces by id and by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Keyspaces {
    by_id: BTreeMap<u32, KeyspaceMeta>,
    ids: BTreeMap<String, u32>,
    last_id: u32,
}

impl Keyspaces {
    pub(super) fn by_id(&self, id: u32) -> Option<&KeyspaceMeta> {
        self.by_id.get(&id)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&KeyspaceMeta> {
        self.by_id(*self.ids.get(name)?)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &KeyspaceMeta> {
        self.by_id.values()
    }

    /// The enabled ones with their ids.
    pub(super) fn enabled(&self) -> impl Iterator<Item = (u32, &KeyspaceMeta)> {
        let all = self.by_id.iter().map(|(id, meta)| (*id, meta));
        all.filter(|(_, meta)| meta.state() == KeyspaceState::Enabled)
    }

    /// At most `limit` of them (0: all) from the id `start` on.
    pub(super) fn from(&self, start: u32, limit: usize) -> Result<Vec<KeyspaceMeta>, KeyspaceError> {
        if start > LAST + 1 {
            return Err(KeyspaceError::Start(start));
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        let range = self.by_id.range((Bound::Included(start), Bound::Unbounded));
        Ok(range.take(limit).map(|(_, meta)| meta.clone()).collect())
    }
}

/// The id of a keyspace's metadata.
pub(super) fn id_of(meta: &KeyspaceMeta) -> u32 {
    match meta.keyspace {
        Some(keyspacepb::keyspace_meta::Keyspace::Id(id)) => id,
        _ => 0,
    }
}

/// The bounds of a keyspace's transactional keys (`x`) or raw ones (`r`), in region form.
// PD: pkg/codec/codec.go: EncodeKeyspaceBoundary
pub(super) fn bounds(mode: u8, id: u32) -> [Bytes; 2] {
    let bound = |id: u32| match id.to_be_bytes() {
        [0, a, b, c] => key::encode(&[mode, a, b, c]),
        // Behind the last keyspace begins the next mode.
        _ => key::encode(&[mode + 1, 0, 0, 0]),
    };
    [bound(id), bound(id.saturating_add(1))]
}

fn check_name(name: &str) -> Result<(), KeyspaceError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(legal) {
        return Err(KeyspaceError::Name(name.to_owned()));
    }
    if name == DEFAULT_NAME {
        return Err(KeyspaceError::ProtectedName(name.to_owned()));
    }
    Ok(())
}

/// Splits regions so that those of a keyspace's transactional keys hold nothing else.
// PD: pkg/keyspace/keyspace.go: getRegionBoundType; "txn" is what it is unless PD is configured for raw keys.
pub(super) fn split_for(topology: &mut Topology, id: u32) {
    super::regions::split_at(topology, &bounds(b'x', id));
}

/// A change of a configuration: each key gets a value or is removed.
pub(super) type Patch = BTreeMap<String, Option<String>>;

impl Pd {
    /// The prefix of the keys under which the metadata lies.
    pub(super) fn keyspace_prefix(&self) -> String {
        format!("/pd/{}/keyspaces/meta/", self.cluster_id)
    }

    fn save_keyspace(&mut self, meta: KeyspaceMeta) {
        let id = id_of(&meta);
        self.keys.set_text(&format!("{}{id:08}", self.keyspace_prefix()), encode(&meta));
        self.keyspaces.ids.insert(meta.name.clone(), id);
        self.keyspaces.by_id.insert(id, meta);
    }

    /// The keyspace that every cluster has, without region bounds of its own.
    pub(super) fn add_default_keyspace(&mut self, now: Now) {
        let at = unix_seconds(now);
        self.save_keyspace(KeyspaceMeta {
            keyspace: Some(keyspacepb::keyspace_meta::Keyspace::Id(DEFAULT_KEYSPACE)),
            name: DEFAULT_NAME.to_owned(),
            state: KeyspaceState::Enabled.into(),
            created_at: at,
            state_changed_at: at,
            config: BTreeMap::from([(BOUND_TYPE.to_owned(), "txn".to_owned())]),
        });
    }

    /// Creates a keyspace and, unless told otherwise, its region bounds. It is enabled then; returns its id.
    ///
    /// # Errors
    /// The name is taken or is none.
    pub fn create_keyspace(
        &mut self,
        topology: &mut Topology,
        now: Now,
        name: &str,
        config: BTreeMap<String, String>,
        skip_split: bool,
    ) -> Result<u32, KeyspaceError> {
        check_name(name)?;
        if self.keyspaces.by_name(name).is_some() {
            return Err(KeyspaceError::Exists);
        }
        let id = self.keyspaces.last_id + 1;
        if id > LAST {
            return Err(KeyspaceError::NoId);
        }
        self.keyspaces.last_id = id;
        let mut config = config;
        config.retain(|key, _| !PD_KEYS.contains(&key.as_str()));
        let at = unix_seconds(now);
        self.save_keyspace(KeyspaceMeta {
            keyspace: Some(keyspacepb::keyspace_meta::Keyspace::Id(id)),
            name: name.to_owned(),
            state: KeyspaceState::Disabled.into(),
            created_at: at,
            state_changed_at: at,
            config,
        });
        if !skip_split {
            split_for(topology, id);
        }
        self.set_keyspace_state(id, KeyspaceState::Enabled, now)?;
        Ok(id)
    }

    /// Whether regions begin where the transactional keys of a keyspace begin and end.
    fn has_bounds(&self, topology: &Topology, id: u32) -> bool {
        let known = self.view(topology);
        let [start, end] = bounds(b'x', id);
        [start, end].iter().all(|bound| known.region_at(bound).is_some_and(|region| region.start == *bound))
    }

    /// Moves a keyspace to another state.
    pub(super) fn set_keyspace_state(
        &mut self,
        id: u32,
        to: KeyspaceState,
        now: Now,
    ) -> Result<KeyspaceMeta, KeyspaceError> {
        use KeyspaceState::{Archived, Disabled, Enabled, Tombstone};
        if id == DEFAULT_KEYSPACE {
            return Err(KeyspaceError::Default);
        }
        let mut meta = self.keyspaces.by_id(id).ok_or(KeyspaceError::NotFound)?.clone();
        let from = meta.state();
        match (from, to) {
            _ if from == to => {}
            (Enabled, Disabled) | (Disabled, Enabled | Archived) | (Archived, Tombstone) => {
                meta.state = to.into();
                meta.state_changed_at = unix_seconds(now);
            }
            _ => return Err(KeyspaceError::State { from: from.as_str_name(), to: to.as_str_name() }),
        }
        self.save_keyspace(meta.clone());
        Ok(meta)
    }

    /// Changes the configuration of a keyspace if what `demanded` says of it holds; `None` there means absent.
    pub(super) fn configure_keyspace(
        &mut self,
        name: &str,
        patch: Patch,
        demanded: &Patch,
    ) -> Result<KeyspaceMeta, KeyspaceError> {
        if patch.get(GC_MANAGEMENT).is_some_and(|kind| kind.as_deref() == Some(OWN_GC)) {
            return Err(KeyspaceError::Fixed("keyspace level GC"));
        }
        if patch.contains_key(BOUND_TYPE) {
            return Err(KeyspaceError::Fixed("region bound type"));
        }
        let mut meta = self.keyspaces.by_name(name).ok_or(KeyspaceError::NotFound)?.clone();
        if !matches!(meta.state(), KeyspaceState::Enabled | KeyspaceState::Disabled) {
            return Err(KeyspaceError::ConfigState(meta.state().as_str_name()));
        }
        for (key, expected) in demanded {
            let why = match (expected, meta.config.get(key)) {
                (None, None) => continue,
                (None, Some(_)) => format!("{key} must be absent"),
                (Some(_), None) => format!("{key} does not exist"),
                (Some(expected), Some(actual)) if expected == actual => continue,
                (Some(expected), Some(actual)) => format!("key={key} expected={expected} actual={actual}"),
            };
            return Err(KeyspaceError::Precondition(why));
        }
        for (key, value) in patch {
            match value {
                Some(value) => meta.config.insert(key, value),
                None => meta.config.remove(&key),
            };
        }
        self.save_keyspace(meta.clone());
        Ok(meta)
    }
}

fn unix_seconds(now: Now) -> i64 {
    i64::try_from(now.unix_seconds()).unwrap_or(i64::MAX)
}
