//! The operators that the HTTP API orders.
//!
//! PD: `pkg/schedule/handler/handler.go: HandleOperatorCreation`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::Pd;
use super::super::http::Page;
use super::Step;
use crate::model::clock::Now;
use crate::model::region::{PeerRole, Region, StoreState, Topology};

/// How many steps a region can be ordered at most; more stores than a cluster has.
const MOST_STORES: usize = 1_000;

/// An order that cannot be carried out: HTTP's status and PD's words.
type Refused = (u16, String);

fn bad(message: &str) -> Refused {
    (400, message.to_owned())
}

fn failed(message: impl Into<String>) -> Refused {
    (500, message.into())
}

/// A number of the order; PD reads all numbers as floating point ones.
fn number(order: &Value, name: &str, missing: &str) -> Result<u64, Refused> {
    let value = order.get(name).ok_or_else(|| bad(missing))?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from floating point saturates, as good as anything for such an id"
    )]
    let rounded = || value.as_f64().map(|id| id as u64);
    value.as_u64().or_else(rounded).ok_or_else(|| bad(missing))
}

const NO_REGION: &str = "missing region id";

fn region_of(topology: &Topology, id: u64) -> Result<&Region, Refused> {
    topology.region(id).ok_or_else(|| failed(format!("[PD:region:ErrRegionNotFound]region {id} not found")))
}

/// A store that can get a peer.
fn check_store(topology: &Topology, id: u64) -> Result<(), Refused> {
    match topology.store(id).map(|store| store.state) {
        None => Err(failed(format!("[PD:core:ErrStoreNotFound]store {id} not found"))),
        Some(StoreState::Tombstone) => {
            Err(failed(format!("[PD:core:ErrStoreRemoved]store {id} has been removed")))
        }
        Some(StoreState::Up | StoreState::Offline) => Ok(()),
    }
}

fn no_peer(store: u64) -> Refused {
    failed(format!("region has no peer in store {store}"))
}

/// The steps that move a peer; a leader moves first to where a voter is.
fn moved(region: &Region, from: u64, to: u64) -> Vec<Step> {
    let role = region.peer_on(from).map(|peer| peer.role);
    let mut steps = vec![Step::AddLearner(to)];
    if role != Some(PeerRole::Learner) {
        steps.push(Step::Promote(to));
        if region.led_by(from) {
            steps.push(Step::TransferLeader(to));
        }
    }
    steps.push(Step::RemovePeer(from));
    steps
}

impl Pd {
    /// Orders the operator that `order` describes.
    pub(in crate::model::pd) fn order(&mut self, topology: &mut Topology, now: Now, order: &Value) -> Page {
        match self.try_order(topology, now, order) {
            Ok(Some(answer)) => Page::value(200, &answer),
            Ok(None) => Page::text(200, "The operator is created."),
            Err((status, message)) => Page::text(status, &message),
        }
    }

    fn try_order(
        &mut self,
        topology: &mut Topology,
        now: Now,
        order: &Value,
    ) -> Result<Option<Value>, Refused> {
        let name = order.get("name").and_then(Value::as_str).ok_or_else(|| bad("missing operator name"))?;
        let id = |name| number(order, name, NO_REGION);
        let (region, desc, steps) = match name {
            "transfer-leader" => {
                let region = id("region_id")?;
                let to = number(order, "to_store_id", "missing store id to transfer leader to")?;
                let voter = region_of(topology, region)?.peer_on(to);
                if voter.is_none_or(|peer| peer.role == PeerRole::Learner) {
                    return Err(failed(format!("region has no voter in store {to}")));
                }
                (region, ("admin-transfer-leader", "admin,leader"), vec![Step::TransferLeader(to)])
            }
            "transfer-peer" => {
                let region = id("region_id")?;
                let from = number(order, "from_store_id", "invalid store id to transfer peer from")?;
                let to = number(order, "to_store_id", "invalid store id to transfer peer to")?;
                let at = region_of(topology, region)?;
                at.peer_on(from).ok_or_else(|| no_peer(from))?;
                check_store(topology, to)?;
                let kind = if at.led_by(from) { "admin,region,leader" } else { "admin,region" };
                (region, ("admin-move-peer", kind), moved(at, from, to))
            }
            "transfer-region" => {
                let region = id("region_id")?;
                let steps = transfer_region(topology, region_of(topology, region)?, order)?;
                (region, ("admin-move-region", "admin,region"), steps)
            }
            "add-peer" | "add-learner" => {
                let region = id("region_id")?;
                let store = number(order, "store_id", "invalid store id to transfer peer to")?;
                if region_of(topology, region)?.peer_on(store).is_some() {
                    return Err(failed(format!("region already has peer in store {store}")));
                }
                check_store(topology, store)?;
                let add = Step::AddLearner(store);
                if name == "add-learner" {
                    (region, ("admin-add-learner", "admin,region"), vec![add])
                } else {
                    (region, ("admin-add-peer", "admin,region"), vec![add, Step::Promote(store)])
                }
            }
            "remove-peer" => {
                let region = id("region_id")?;
                let store = number(order, "store_id", "invalid store id to transfer peer to")?;
                let at = region_of(topology, region)?;
                at.peer_on(store).ok_or_else(|| no_peer(store))?;
                let kind = if at.led_by(store) { "admin,region,leader" } else { "admin,region" };
                (region, ("admin-remove-peer", kind), vec![Step::RemovePeer(store)])
            }
            "merge-region" => {
                let source = id("source_region_id")?;
                let target = number(order, "target_region_id", "invalid target region id to merge to")?;
                check_neighbours(region_of(topology, source)?, region_of(topology, target)?)?;
                (source, ("admin-merge-region", "admin,merge"), vec![Step::MergeInto(target)])
            }
            "split-region" => {
                let region = id("region_id")?;
                let at = region_of(topology, region)?;
                let keys = split_keys(at, order)?;
                (region, ("admin-split-region", "admin,split"), vec![Step::Split(keys)])
            }
            "scatter-region" => {
                let region = id("region_id")?;
                region_of(topology, region)?;
                self.spread(topology, now, &[region]);
                return Ok(None);
            }
            "scatter-regions" => {
                let ids = ids_of(order.get("region_ids")).ok_or_else(|| bad("region_ids is invalid"))?;
                let (percentage, error) = match self.scatter_all(topology, now, &ids) {
                    Ok((percentage, _)) => (percentage, String::new()),
                    Err(status) => (0, status.message),
                };
                return Ok(Some(json!({ "processed-percentage": percentage, "error": error })));
            }
            _ => return Err(bad("unknown operator")),
        };
        self.operate(topology, now, region, desc, steps);
        Ok(None)
    }
}

/// A list of ids; anything else in it makes it none.
pub(in crate::model::pd) fn ids_of(value: Option<&Value>) -> Option<Vec<u64>> {
    value?.as_array()?.iter().map(Value::as_u64).collect()
}

fn transfer_region(topology: &Topology, region: &Region, order: &Value) -> Result<Vec<Step>, Refused> {
    let to = ids_of(order.get("to_store_ids")).filter(|to| to.len() <= MOST_STORES);
    let to = to.ok_or_else(|| bad("invalid store ids to transfer region to"))?;
    if to.is_empty() {
        return Err(bad("missing store ids to transfer region to"));
    }
    let roles = order.get("peer_roles").and_then(Value::as_array);
    if roles.is_none_or(|roles| roles.len() != to.len()) {
        let without = "transfer region without peer role is not supported when placement rules enabled";
        return Err(failed(without));
    }
    let mut steps = Vec::new();
    for (&store, role) in to.iter().zip(roles.into_iter().flatten()) {
        check_store(topology, store)?;
        if region.peer_on(store).is_none() {
            steps.push(Step::AddLearner(store));
            if role.as_str() != Some("learner") {
                steps.push(Step::Promote(store));
            }
        }
    }
    let leader_stays = region.leader_peer().is_some_and(|leader| to.contains(&leader.store));
    if !leader_stays && let Some(&first) = to.first() {
        steps.push(Step::TransferLeader(first));
    }
    let gone = region.peers.iter().filter(|peer| !to.contains(&peer.store));
    steps.extend(gone.map(|peer| Step::RemovePeer(peer.store)));
    Ok(steps)
}

fn check_neighbours(source: &Region, target: &Region) -> Result<(), Refused> {
    let behind = !source.start.is_empty() && source.start == target.end;
    let before = !source.end.is_empty() && source.end == target.start;
    if behind || before {
        return Ok(());
    }
    Err(failed("[PD:region:ErrRegionNotAdjacent]two regions are not adjacent"))
}

/// Where to split: at the keys given in hexadecimal, or in the middle of the region.
fn split_keys(region: &Region, order: &Value) -> Result<Vec<Bytes>, Refused> {
    let policy = order.get("policy").and_then(Value::as_str).ok_or_else(|| bad("missing split policy"))?;
    match policy.to_ascii_uppercase().as_str() {
        "USEKEY" => {
            let keys = order.get("keys").and_then(Value::as_array);
            let keys = keys.into_iter().flatten().map(|key| {
                let hex = key.as_str().ok_or_else(|| bad("bad format keys"))?;
                let key = super::super::http::unhex(hex);
                key.ok_or_else(|| failed(format!("split key {hex} is not in hex format")))
            });
            keys.collect()
        }
        "SCAN" | "APPROXIMATE" => Ok(vec![middle(&region.start, &region.end)]),
        _ => Err(failed(format!("check policy {policy} is not supported"))),
    }
}

/// A key between two others, of the first of which it is an extension; as good as a middle for a model without sizes.
fn middle(start: &Bytes, end: &Bytes) -> Bytes {
    let key = [start.as_ref(), &[0x80]].concat();
    if end.is_empty() || key.as_slice() < end.as_ref() {
        key.into()
    } else {
        [start.as_ref(), &[0]].concat().into()
    }
}
