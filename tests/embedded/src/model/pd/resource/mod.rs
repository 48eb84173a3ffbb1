//! Resource groups: their settings, and the tokens that they may use.
//!
//! * here: [`Groups`], the groups of each keyspace. `rpc`: the calls. [`bucket`]: what a request for tokens is granted.
//!
//! A group's settings also lie among PD's keys, where clients watch them. A keyspace has the group `default` from the
//! first time that anything is asked of its groups.
//!
//! PD: `pkg/mcs/resourcemanager/server/manager.go`, `keyspace_manager.go`, `resource_group.go`.

pub(super) mod bucket;
mod rpc;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use tikv_proto::resource_manager::{
    self as rm, BackgroundSettings, Consumption, GroupMode, GroupRequestUnitSettings, ResourceGroup,
    RunawaySettings, TokenBucket, TokenLimitSettings,
};

use super::keyspaces::NULL_KEYSPACE;
use super::{Pd, encode};
use crate::model::status::Status;
use bucket::Bucket;

/// The group of everything that names none.
const DEFAULT: &str = "default";
/// The longest name, in bytes, and the highest priority.
const LONGEST_NAME: usize = 32;
const HIGHEST_PRIORITY: u32 = 16;
const MIDDLE_PRIORITY: u32 = 8;
/// The fill rate that is no limit, and the burst limit that is none.
const UNLIMITED_RATE: u64 = i32::MAX as u64;
const UNLIMITED_BURST: i64 = -1;

/// Where the configuration of clients lies among PD's keys, and what it is unless it is changed.
// PD: pkg/utils/keypath/absolute_key_path.go: controllerConfigPath; pkg/mcs/resourcemanager/server/config.go
const CONTROLLER_KEY: &str = "resource_group/controller";
const CONTROLLER: &str = r#"{"degraded-mode-wait-duration":"0s","ltb-max-wait-duration":"30s","ltb-token-rpc-max-delay":"1s","request-unit":{"read-base-cost":0.125,"read-per-batch-base-cost":0.5,"read-cost-per-byte":0.0000152587890625,"write-base-cost":1,"write-per-batch-base-cost":1,"write-cost-per-byte":0.0009765625,"read-cpu-ms-cost":0.3333333333333333},"enable-controller-trace-log":"false"}"#;

/// The groups of one keyspace.
type OfKeyspace = BTreeMap<String, Group>;

/// All groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups(BTreeMap<u32, OfKeyspace>);

/// One group: settings, what is left in its bucket, what has been used.
#[derive(Clone, Debug)]
struct Group {
    name: String,
    priority: u32,
    runaway: Option<RunawaySettings>,
    background: Option<BackgroundSettings>,
    bucket: Bucket,
    used: Consumption,
}

/// Why a group cannot be had or changed. The texts are PD's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum GroupError {
    #[error("[PD:resourcemanager:ErrInvalidGroup]invalid group settings, please check {0}")]
    Invalid(&'static str),
    #[error("[PD:resourcemanager:ErrGroupNotExists]the {0} resource group does not exist")]
    NoGroup(String),
    #[error("[PD:resourcemanager:ErrKeyspaceNotExists]the keyspace does not exist with id {0}")]
    NoKeyspace(u32),
    #[error("[PD:resourcemanager:ErrDeleteReservedGroup]cannot delete reserved group")]
    Reserved,
    #[error("only support reconfigure in same mode, maybe you should delete and create a new one")]
    OtherMode,
    #[error("invalid resource group priority, the value should be in [0,16]")]
    Priority,
    #[error("invalid resource group settings, RU mode should set RU settings")]
    NoSettings,
}

impl From<GroupError> for Status {
    fn from(error: GroupError) -> Self {
        Self::unknown(error.to_string())
    }
}

impl Group {
    /// The group that `settings` describe.
    fn new(settings: ResourceGroup) -> Result<Self, GroupError> {
        if settings.name.is_empty() || settings.name.len() > LONGEST_NAME {
            return Err(GroupError::Invalid("the group name"));
        }
        if settings.priority > HIGHEST_PRIORITY {
            return Err(GroupError::Invalid("the group priority"));
        }
        // PD ends with a group of another mode: it knows how to keep no other.
        if settings.mode() != GroupMode::RuMode {
            return Err(GroupError::Invalid("the group mode"));
        }
        Ok(Self {
            name: settings.name,
            priority: settings.priority,
            runaway: settings.runaway_settings,
            background: settings.background_settings,
            bucket: Bucket::new(settings.r_u_settings.and_then(|settings| settings.r_u)),
            used: settings.ru_stats.unwrap_or_default(),
        })
    }

    /// The group that each keyspace has.
    fn default_group() -> ResourceGroup {
        let settings =
            TokenLimitSettings { fill_rate: UNLIMITED_RATE, burst_limit: UNLIMITED_BURST, max_tokens: 0.0 };
        let bucket = TokenBucket { settings: Some(settings), tokens: 0.0 };
        ResourceGroup {
            name: DEFAULT.to_owned(),
            mode: GroupMode::RuMode.into(),
            r_u_settings: Some(GroupRequestUnitSettings { r_u: Some(bucket) }),
            priority: MIDDLE_PRIORITY,
            ..Default::default()
        }
    }

    fn wire(&self, keyspace: u32, with_stats: bool) -> ResourceGroup {
        ResourceGroup {
            name: self.name.clone(),
            mode: GroupMode::RuMode.into(),
            r_u_settings: Some(GroupRequestUnitSettings { r_u: self.bucket.wire() }),
            raw_resource_settings: None,
            priority: self.priority,
            runaway_settings: self.runaway.clone(),
            background_settings: self.background.clone(),
            ru_stats: with_stats.then_some(self.used),
            keyspace_id: wire_keyspace(keyspace),
        }
    }

    fn use_up(&mut self, more: &Consumption) {
        let used = &mut self.used;
        used.r_r_u += more.r_r_u;
        used.w_r_u += more.w_r_u;
        used.read_bytes += more.read_bytes;
        used.write_bytes += more.write_bytes;
        used.total_cpu_time_ms += more.total_cpu_time_ms;
        used.sql_layer_cpu_time_ms += more.sql_layer_cpu_time_ms;
        used.kv_read_rpc_count += more.kv_read_rpc_count;
        used.kv_write_rpc_count += more.kv_write_rpc_count;
        used.read_cross_az_traffic_bytes =
            used.read_cross_az_traffic_bytes.saturating_add(more.read_cross_az_traffic_bytes);
        used.write_cross_az_traffic_bytes =
            used.write_cross_az_traffic_bytes.saturating_add(more.write_cross_az_traffic_bytes);
        used.tikv_r_u_v2 += more.tikv_r_u_v2;
        used.tidb_r_u_v2 += more.tidb_r_u_v2;
        used.tiflash_r_u_v2 += more.tiflash_r_u_v2;
    }
}

fn wire_keyspace(id: u32) -> Option<rm::KeyspaceIdValue> {
    Some(rm::KeyspaceIdValue { keyspace: Some(rm::keyspace_id_value::Keyspace::Value(id)) })
}

/// Where a group's settings lie among PD's keys.
fn settings_key(keyspace: u32, name: &str) -> String {
    match keyspace {
        NULL_KEYSPACE => format!("resource_group/settings/{name}"),
        id => format!("resource_group/keyspace/settings/{id}/{name}"),
    }
}

impl Pd {
    /// What a new cluster has of resource control.
    pub(super) fn add_default_groups(&mut self) {
        self.keys.set_text(CONTROLLER_KEY, CONTROLLER);
        self.ensure_default_group(NULL_KEYSPACE);
    }

    fn ensure_default_group(&mut self, keyspace: u32) {
        let there = self.groups.0.get(&keyspace).is_some_and(|groups| groups.contains_key(DEFAULT));
        if there {
            return;
        }
        // Its settings are fine.
        if let Ok(group) = Group::new(Group::default_group()) {
            self.save_group(keyspace, group);
        }
    }

    fn save_group(&mut self, keyspace: u32, group: Group) {
        self.keys.set_text(&settings_key(keyspace, &group.name), encode(&group.wire(keyspace, true)));
        self.groups.0.entry(keyspace).or_default().insert(group.name.clone(), group);
    }

    /// The groups of a keyspace; asking for the default group makes them.
    fn groups_of(&mut self, keyspace: u32, name: &str) -> Result<&mut OfKeyspace, GroupError> {
        if name == DEFAULT {
            self.ensure_default_group(keyspace);
        }
        self.groups.0.get_mut(&keyspace).ok_or(GroupError::NoKeyspace(keyspace))
    }

    fn group(&mut self, keyspace: u32, name: &str) -> Result<&mut Group, GroupError> {
        let groups = self.groups_of(keyspace, name)?;
        groups.get_mut(name).ok_or_else(|| GroupError::NoGroup(name.to_owned()))
    }

    fn add_group(&mut self, keyspace: u32, settings: ResourceGroup) -> Result<(), GroupError> {
        self.ensure_default_group(keyspace);
        let group = Group::new(settings)?;
        self.save_group(keyspace, group);
        Ok(())
    }

    fn modify_group(&mut self, keyspace: u32, settings: ResourceGroup) -> Result<(), GroupError> {
        let groups = self.groups_of(keyspace, &settings.name)?;
        if settings.name.is_empty() {
            return Err(GroupError::Invalid("the group name"));
        }
        let group =
            groups.get_mut(&settings.name).ok_or_else(|| GroupError::NoGroup(settings.name.clone()))?;
        if settings.mode() != GroupMode::RuMode {
            return Err(GroupError::OtherMode);
        }
        if settings.priority > HIGHEST_PRIORITY {
            return Err(GroupError::Priority);
        }
        let units = settings.r_u_settings.as_ref().ok_or(GroupError::NoSettings)?;
        group.bucket.patch(units.r_u.as_ref());
        group.priority = settings.priority;
        group.runaway = settings.runaway_settings;
        group.background = settings.background_settings;
        let group = group.clone();
        self.save_group(keyspace, group);
        Ok(())
    }

    fn delete_group(&mut self, keyspace: u32, name: &str) -> Result<(), GroupError> {
        let groups = self.groups.0.get_mut(&keyspace).ok_or(GroupError::NoKeyspace(keyspace))?;
        if name == DEFAULT {
            return Err(GroupError::Reserved);
        }
        groups.remove(name).ok_or_else(|| GroupError::NoGroup(name.to_owned()))?;
        self.keys.write(vec![(settings_key(keyspace, name).into(), None)]);
        Ok(())
    }

    /// Sets what the group `name` of the null keyspace may use a second, and in a burst (0: no more than that, -1: any
    /// amount); the group is made if there is none.
    ///
    /// # Errors
    /// A name that is empty or too long.
    pub fn set_resource_group(&mut self, name: &str, ru_per_second: u64, burst: i64) -> Result<(), Status> {
        let settings =
            TokenLimitSettings { fill_rate: ru_per_second, burst_limit: burst, ..Default::default() };
        let units = GroupRequestUnitSettings {
            r_u: Some(TokenBucket { settings: Some(settings), ..Default::default() }),
        };
        let group = ResourceGroup {
            name: name.to_owned(),
            mode: GroupMode::RuMode.into(),
            r_u_settings: Some(units),
            priority: MIDDLE_PRIORITY,
            ..Default::default()
        };
        let known = self.groups.0.get(&NULL_KEYSPACE).is_some_and(|groups| groups.contains_key(name));
        if known {
            self.modify_group(NULL_KEYSPACE, group)?
        } else {
            self.add_group(NULL_KEYSPACE, group)?
        }
        Ok(())
    }
}
