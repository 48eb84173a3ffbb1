//! Stores over HTTP.
//!
//! PD: `server/api/store.go`, `pkg/response/store.go`.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::view::{DISCONNECTED_AFTER, DOWN_AFTER};
use super::super::{Asked, Pd, go};
use super::{Page, Request, body};
use crate::model::clock::Now;
use crate::model::region::{PeerRole, Store, StoreState, Topology};

/// The number that a store's state has in queries, and its name.
fn state_of(store: &Store) -> (u8, &'static str) {
    match store.state {
        StoreState::Up => (0, "Up"),
        StoreState::Offline => (1, "Offline"),
        StoreState::Tombstone => (2, "Tombstone"),
    }
}

/// Room that a store says it has, in bytes: enough for everybody.
const CAPACITY: &str = "1TiB";

impl Pd {
    pub(super) fn stores_page(&mut self, asked: &mut Asked<'_>, request: Request<'_>, path: &[&str]) -> Page {
        match (request.method, path) {
            ("GET", ["stores"]) => self.all_stores_page(asked, request),
            ("DELETE", ["stores", "remove-tombstone"]) => {
                remove_tombstones(asked.topology);
                Page::text(200, "Remove tombstone successfully.")
            }
            (_, ["store", id, verb @ ..]) => match id.parse() {
                Ok(id) => self.store_page(asked, request, id, verb),
                Err(_) => Page::value(400, &body::input_error(&go::no_number(id))),
            },
            _ => Page::not_found(),
        }
    }

    /// All stores but removed ones, or those of the states that the query names.
    fn all_stores_page(&self, asked: &Asked<'_>, request: Request<'_>) -> Page {
        let states: Vec<String> =
            request.parameters("state").map(|state| String::from_utf8_lossy(&state).into_owned()).collect();
        let wanted = |store: &&Store| match states.as_slice() {
            [] => store.state != StoreState::Tombstone,
            states => states.contains(&state_of(store).0.to_string()),
        };
        let stores = asked.topology.stores().filter(wanted);
        let stores: Vec<Value> =
            stores.map(|store| self.store_json(asked.topology, store, asked.now)).collect();
        Page::value(200, &json!({ "count": stores.len(), "stores": stores }))
    }

    fn store_json(&self, topology: &Topology, store: &Store, now: Now) -> Value {
        let (state, name) = state_of(store);
        let silent = self.silent_since(store.id).map_or(Duration::ZERO, |since| now.since(since));
        let name = match store.state {
            StoreState::Up if silent > DOWN_AFTER => "Down",
            StoreState::Up if silent > DISCONNECTED_AFTER => "Disconnected",
            _ => name,
        };
        let labels: Vec<Value> =
            store.labels.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        let peers = |role: Option<PeerRole>| {
            let on_it = topology.regions().filter_map(|region| region.peer_on(store.id));
            on_it.filter(|peer| role == Some(peer.role) || role.is_none()).count()
        };
        let started = Now::from_unix(Duration::from_secs(store.started_unix_s));
        let heard = self.silent_since(store.id).unwrap_or(now);
        json!({
            "store": {
                "id": store.id,
                "address": store.address,
                "labels": labels,
                "version": store.version,
                "status_address": store.address,
                "start_timestamp": store.started_unix_s,
                "last_heartbeat": heard.unix_nanos(),
                "state": state,
                "state_name": name,
                "node_state": state + 1,
            },
            "status": {
                "capacity": CAPACITY,
                "available": CAPACITY,
                "used_size": "0B",
                "leader_count": topology.regions().filter(|region| region.led_by(store.id)).count(),
                "leader_weight": 1,
                "region_count": peers(None),
                "region_weight": 1,
                "learner_count": peers(Some(PeerRole::Learner)),
                "witness_count": peers(Some(PeerRole::Witness)),
                "start_ts": go::rfc3339(started),
                "last_heartbeat_ts": go::rfc3339(heard),
            },
        })
    }

    fn store_page(&mut self, asked: &mut Asked<'_>, request: Request<'_>, id: u64, verb: &[&str]) -> Page {
        let Some(store) = asked.topology.store(id) else {
            return Page::text(404, &format!("[PD:core:ErrStoreNotFound]store {id} not found"));
        };
        let state = store.state;
        let removed = || Page::text(410, &format!("[PD:core:ErrStoreRemoved]store {id} has been removed"));
        match (request.method, verb) {
            ("GET", []) => Page::value(200, &self.store_json(asked.topology, store, asked.now)),
            ("DELETE", []) if state == StoreState::Tombstone => removed(),
            ("DELETE", []) => {
                // It is there: it has just been looked up.
                drop(self.remove_store(asked.topology, id));
                Page::text(200, "The store is set as Offline.")
            }
            ("POST", ["state"]) => {
                let wanted = request.text_parameter("state");
                if wanted.eq_ignore_ascii_case("up") || wanted.eq_ignore_ascii_case("offline") {
                    if state == StoreState::Tombstone {
                        return removed();
                    }
                    if wanted.eq_ignore_ascii_case("up") {
                        change_state(asked.topology, id, StoreState::Up);
                    } else {
                        drop(self.remove_store(asked.topology, id));
                    }
                    return Page::text(200, "The store's state is updated.");
                }
                Page::text(400, &format!("invalid state {wanted}"))
            }
            ("POST", ["label"]) => match body::read(request.body) {
                Ok(labels) => set_labels(asked.topology, id, &labels),
                Err(error) => Page::value(400, &body::input_error(&error)),
            },
            _ => Page::not_found(),
        }
    }
}

fn change_state(topology: &mut Topology, store: u64, state: StoreState) {
    // The store is there: it has just been looked up.
    drop(topology.update_store(store, |store| store.state = state));
}

fn set_labels(topology: &mut Topology, id: u64, labels: &Value) -> Page {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: Vec<(String, String)> =
        pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let done = topology.update_store(id, |store| {
        store.labels.retain(|(key, _)| pairs.iter().all(|(new, _)| new != key));
        store.labels.extend(pairs);
    });
    match done {
        Ok(()) => Page::text(200, "The store's label is updated."),
        Err(error) => Page::text(500, &error.to_string()),
    }
}

fn remove_tombstones(topology: &mut Topology) {
    let gone = topology.stores().filter(|store| store.state == StoreState::Tombstone);
    let gone: Vec<u64> = gone.map(|store| store.id).collect();
    for store in gone {
        topology.forget_store(store);
    }
}
