//! The part of PD's HTTP API that clients ask: resolved timestamps, stores, members, health.
//!
//! PD: `server/api/router.go`, `min_resolved_ts.go`, `store.go`, `member.go`.

use super::{Member, Pd};
use crate::model::region::{Store, StoreState, Topology};

/// The resolved timestamp of a store that PD does not know, or that has reported none.
const NONE: u64 = u64::MAX;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// HTTP's status code.
    pub status: u16,
    /// Whether the body is JSON, or else plain text.
    pub json: bool,
    /// The body.
    pub body: String,
}

impl Page {
    fn json(status: u16, body: String) -> Self {
        Self { status, json: true, body: body + "\n" }
    }

    /// A JSON text.
    fn text(status: u16, text: &str) -> Self {
        Self::json(status, quoted(text))
    }

    fn not_found() -> Self {
        Self { status: 404, json: false, body: "404 page not found\n".to_owned() }
    }
}

/// A store's own page: how it is configured.
#[must_use]
pub fn store_page(method: &str, target: &str) -> Page {
    match (method, target) {
        ("GET", "/config") => {
            Page::json(200, r#"{"storage":{"api-version":1,"enable-ttl":false}}"#.to_owned())
        }
        ("GET", "/status") => Page { status: 200, json: false, body: String::new() },
        _ => Page::not_found(),
    }
}

impl Pd {
    /// Answers an HTTP request for `target`, a path with its query.
    pub fn http(&self, topology: &mut Topology, method: &str, target: &str) -> Page {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some(path) = path.strip_prefix("/pd/api/v1/") else { return Page::not_found() };
        match (method, path.trim_end_matches('/')) {
            ("GET", "min-resolved-ts") => self.min_resolved_page(topology, query),
            ("GET", "ping") => Page { status: 200, json: false, body: String::new() },
            ("GET", "health") => Page::json(200, list(self.members.iter().map(health_json))),
            ("GET", "members") => Page::json(200, self.members_json()),
            ("GET", "leader") => match self.leader.and_then(|index| self.members.get(index)) {
                Some(leader) => Page::json(200, member_json(leader)),
                None => Page::text(500, "no leader"),
            },
            ("GET", "cluster") => {
                let (id, peers) = (self.cluster_id, self.max_peer_count);
                Page::json(200, format!(r#"{{"id":{id},"max_peer_count":{peers}}}"#))
            }
            ("GET", "status" | "version") => {
                let version = env!("CARGO_PKG_VERSION");
                Page::json(200, format!(r#"{{"build_ts":"","version":"{version}","git_hash":"embedded"}}"#))
            }
            ("GET", "config/cluster-version") => Page::text(200, env!("CARGO_PKG_VERSION")),
            ("GET", "config/replicate") => {
                let peers = self.max_peer_count;
                Page::json(200, format!(r#"{{"max-replicas":{peers},"enable-placement-rules":"true"}}"#))
            }
            ("GET", "stores") => stores_page(topology, query),
            ("DELETE", "stores/remove-tombstone") => {
                remove_tombstones(topology);
                Page::text(200, "Remove tombstone successfully.")
            }
            (_, path) => match path.split_once('/') {
                Some(("store", id)) => store_of(topology, method, id, query),
                Some(("min-resolved-ts", id)) if method == "GET" => self.min_resolved_of_store(id),
                _ => Page::not_found(),
            },
        }
    }

    /// The least of what the stores have reported; 0 if none has.
    fn least_resolved(&self) -> u64 {
        self.min_resolved.values().copied().filter(|&ts| ts != NONE).min().unwrap_or(0)
    }

    fn min_resolved_page(&self, topology: &Topology, query: &str) -> Page {
        let scope = value_of(query, "scope");
        let known = |id: u64| self.min_resolved.get(&id).copied().unwrap_or(NONE);
        let by_store = match scope {
            None | Some("") => return Page::json(200, resolved_json(self.least_resolved(), "null")),
            Some("cluster") => topology.stores().map(|store| (store.id, known(store.id))).collect::<Vec<_>>(),
            Some(ids) => {
                let mut wanted = Vec::new();
                for id in ids.split(',') {
                    match id.parse() {
                        Ok(id) => wanted.push((id, known(id))),
                        Err(_) => return Page::text(400, &no_number(id)),
                    }
                }
                wanted
            }
        };
        let pairs: Vec<String> = by_store.iter().map(|(id, ts)| format!("\"{id}\":{ts}")).collect();
        let least = match scope {
            Some("cluster") => self.least_resolved(),
            _ => by_store.iter().map(|(_, ts)| *ts).filter(|&ts| ts != NONE).min().unwrap_or(0),
        };
        Page::json(200, resolved_json(least, &format!("{{{}}}", pairs.join(","))))
    }

    fn min_resolved_of_store(&self, id: &str) -> Page {
        match id.parse::<u64>() {
            Ok(id) => Page::json(200, resolved_json(self.min_resolved_ts(id).unwrap_or(NONE), "null")),
            Err(_) => Page::text(400, &no_number(id)),
        }
    }

    fn members_json(&self) -> String {
        let leader = self.leader.and_then(|index| self.members.get(index)).map(member_json);
        let leader = leader.unwrap_or_else(|| "null".to_owned());
        format!(
            r#"{{"header":{{"cluster_id":{}}},"members":{},"leader":{leader},"etcd_leader":{leader}}}"#,
            self.cluster_id,
            list(self.members.iter().map(member_json)),
        )
    }
}

fn resolved_json(least: u64, by_store: &str) -> String {
    format!(
        r#"{{"is_real_time":true,"min_resolved_ts":{least},"persist_interval":"1s","stores_min_resolved_ts":{by_store}}}"#
    )
}

fn member_json(member: &Member) -> String {
    let (name, url) = (quoted(&member.name), quoted(&member.client_url));
    format!(r#"{{"name":{name},"member_id":{},"peer_urls":[{url}],"client_urls":[{url}]}}"#, member.id)
}

fn health_json(member: &Member) -> String {
    let (name, url) = (quoted(&member.name), quoted(&member.client_url));
    format!(r#"{{"name":{name},"member_id":{},"client_urls":[{url}],"health":true}}"#, member.id)
}

/// The number that a store's state has in queries, and its name.
fn state_of(store: &Store) -> (&'static str, &'static str) {
    match store.state {
        StoreState::Up => ("0", "Up"),
        StoreState::Offline => ("1", "Offline"),
        StoreState::Tombstone => ("2", "Tombstone"),
    }
}

fn store_json(topology: &Topology, store: &Store) -> String {
    let (state, state_name) = state_of(store);
    let leaders = topology.regions().filter(|region| region.led_by(store.id)).count();
    let regions = topology.regions().filter(|region| region.peer_on(store.id).is_some()).count();
    format!(
        r#"{{"store":{{"id":{},"address":{},"version":{},"state":{state},"state_name":"{state_name}"}},"status":{{"leader_count":{leaders},"region_count":{regions}}}}}"#,
        store.id,
        quoted(&store.address),
        quoted(&store.version),
    )
}

/// All stores but removed ones, or those of the states that the query names.
fn stores_page(topology: &Topology, query: &str) -> Page {
    let states: Vec<&str> = query.split('&').filter_map(|pair| pair.strip_prefix("state=")).collect();
    let wanted = |store: &&Store| {
        if states.is_empty() {
            store.state != StoreState::Tombstone
        } else {
            states.contains(&state_of(store).0)
        }
    };
    let stores: Vec<String> =
        topology.stores().filter(wanted).map(|store| store_json(topology, store)).collect();
    Page::json(200, format!(r#"{{"count":{},"stores":{}}}"#, stores.len(), list(stores.iter().cloned())))
}

fn store_of(topology: &mut Topology, method: &str, rest: &str, query: &str) -> Page {
    let (id_text, verb) = rest.split_once('/').unwrap_or((rest, ""));
    let Ok(id) = id_text.parse::<u64>() else {
        let message = quoted(&no_number(id_text));
        return Page::json(400, format!(r#"{{"code":"input","msg":{message},"data":{{}}}}"#));
    };
    let Some(store) = topology.store(id) else {
        return Page::text(404, &format!("[PD:core:ErrStoreNotFound]store {id} not found"));
    };
    match (method, verb) {
        ("GET", "") => Page::json(200, store_json(topology, store)),
        ("DELETE", "") if store.state == StoreState::Tombstone => {
            Page::text(410, &format!("[PD:core:ErrStoreRemoved]store {id} has been removed"))
        }
        ("DELETE", "") => {
            // PD buries a store once its last region has left it; one without regions soon after.
            let empty = topology.regions().all(|region| region.peer_on(id).is_none());
            let state = if empty { StoreState::Tombstone } else { StoreState::Offline };
            change_state(topology, id, state);
            Page::text(200, "The store is set as Offline.")
        }
        ("POST", "state") => match value_of(query, "state") {
            Some("Up") => {
                change_state(topology, id, StoreState::Up);
                Page::text(200, "The store's state is updated.")
            }
            Some("Offline") => {
                change_state(topology, id, StoreState::Offline);
                Page::text(200, "The store's state is updated.")
            }
            other => Page::text(400, &format!("invalid state {}", other.unwrap_or(""))),
        },
        _ => Page::not_found(),
    }
}

fn change_state(topology: &mut Topology, store: u64, state: StoreState) {
    // The store is there: it has just been looked up.
    drop(topology.update_store(store, |store| store.state = state));
}

fn remove_tombstones(topology: &mut Topology) {
    let gone: Vec<u64> = topology
        .stores()
        .filter(|store| store.state == StoreState::Tombstone)
        .map(|store| store.id)
        .collect();
    for store in gone {
        topology.forget_store(store);
    }
}

/// The value of a query's parameter.
fn value_of<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

/// Go's words for a text that is no number.
fn no_number(text: &str) -> String {
    format!("strconv.ParseUint: parsing {}: invalid syntax", quoted(text))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// A JSON text.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (Pd, Topology) {
        let stores: Vec<String> = (1..=2).map(|n| format!("127.0.0.1:{n}")).collect();
        let client_url = "http://127.0.0.1:9".to_owned();
        let member = Member { id: 1, name: "pd \"one\"".to_owned(), client_url };
        (Pd::new(7, vec![member], 3), Topology::new(&stores, 1))
    }

    fn get(pd: &Pd, topology: &mut Topology, target: &str) -> (u16, String) {
        let page = pd.http(topology, "GET", target);
        (page.status, page.body.trim_end().to_owned())
    }

    #[test]
    fn resolved_timestamps_are_told_by_store() {
        let (mut pd, mut topology) = world();
        pd.min_resolved.insert(1, 50);
        pd.min_resolved.insert(2, NONE);
        let page = get(&pd, &mut topology, "/pd/api/v1/min-resolved-ts?scope=1,9");
        let told = r#"{"is_real_time":true,"min_resolved_ts":50,"persist_interval":"1s","stores_min_resolved_ts":{"1":50,"9":18446744073709551615}}"#;
        assert_eq!(page, (200, told.to_owned()));
        let page = get(&pd, &mut topology, "/pd/api/v1/min-resolved-ts?scope=1,x");
        assert_eq!(page, (400, r#""strconv.ParseUint: parsing \"x\": invalid syntax""#.to_owned()));
    }

    #[test]
    fn a_store_without_regions_is_buried_and_forgotten() {
        let (pd, mut topology) = world();
        let mut delete = |target| pd.http(&mut topology, "DELETE", target).status;
        assert_eq!(delete("/pd/api/v1/store/2"), 200);
        assert_eq!(delete("/pd/api/v1/store/2"), 410);
        assert_eq!(delete("/pd/api/v1/store/1"), 200);
        assert_eq!(delete("/pd/api/v1/stores/remove-tombstone"), 200);
        assert_eq!(delete("/pd/api/v1/store/2"), 404);
        assert_eq!(
            topology.store(1).map(|store| store.state),
            Some(StoreState::Offline),
            "it has the region"
        );
    }

    #[test]
    fn texts_are_quoted() {
        let (pd, mut topology) = world();
        let (status, body) = get(&pd, &mut topology, "/pd/api/v1/leader");
        assert_eq!(status, 200);
        assert!(body.contains(r#""name":"pd \"one\"""#), "{body}");
        assert_eq!(get(&pd, &mut topology, "/nowhere"), (404, "404 page not found".to_owned()));
    }
}
