//! Members, health, configuration, resolved timestamps and service safe points over HTTP.
//!
//! PD: `server/api/member.go`, `health.go`, `config.go`, `min_resolved_ts.go`, `service_gc_safepoint.go`.

use serde_json::{Map, Value, json};

use super::super::keyspaces::NULL_KEYSPACE;
use super::super::{Asked, Member, Pd, go};
use super::{Page, Request};
use crate::model::region::Topology;

/// The resolved timestamp of a store that PD does not know, or that has reported none.
const NONE: u64 = u64::MAX;

fn member_json(member: &Member) -> Value {
    json!({
        "name": member.name,
        "member_id": member.id,
        "peer_urls": [member.client_url],
        "client_urls": [member.client_url],
        "binary_version": env!("CARGO_PKG_VERSION"),
    })
}

fn resolved_page(least: u64, by_store: Value) -> Page {
    let page = json!({
        "is_real_time": true,
        "min_resolved_ts": least,
        "persist_interval": "1s",
        "stores_min_resolved_ts": by_store,
    });
    Page::value(200, &page)
}

impl Pd {
    pub(super) fn cluster_page(&mut self, asked: &Asked<'_>, request: Request<'_>, path: &[&str]) -> Page {
        let version = env!("CARGO_PKG_VERSION");
        match (request.method, path) {
            ("GET", ["min-resolved-ts"]) => self.min_resolved_page(asked.topology, request),
            ("GET", ["min-resolved-ts", id]) => match id.parse::<u64>() {
                Ok(id) => resolved_page(self.min_resolved_ts(id).unwrap_or(NONE), Value::Null),
                Err(_) => Page::text(400, &go::no_number(id)),
            },
            ("GET", ["ping"]) => Page::plain(200, ""),
            ("GET", ["health"]) => self.health_page(),
            ("GET", ["members"]) => Page::value(200, &self.members_json()),
            ("GET", ["leader"]) => match self.leader_json() {
                Value::Null => Page::text(500, "no leader"),
                leader => Page::value(200, &leader),
            },
            ("POST", ["leader", "resign"]) => {
                self.resign(asked.now);
                Page::text(200, "The resign command is submitted.")
            }
            ("POST", ["leader", "transfer", name]) => self.transfer_page(asked, name),
            ("GET", ["cluster"]) => {
                Page::value(200, &json!({ "id": self.cluster_id, "max_peer_count": self.max_peer_count }))
            }
            ("GET", ["cluster", "status"]) => {
                Page::value(200, &json!({ "is_initialized": true, "replication_status": "" }))
            }
            ("GET", ["status" | "version"]) => {
                let page = json!({ "build_ts": "", "version": version, "git_hash": "embedded" });
                Page::value(200, &page)
            }
            ("GET", ["config"]) => Page::value(200, &self.config_json()),
            ("GET", ["config", "cluster-version"]) => Page::text(200, version),
            ("GET", ["config", part @ ("replicate" | "schedule" | "pd-server")]) => {
                let field = if *part == "replicate" { "replication" } else { part };
                let config = self.config_json();
                Page::value(200, config.get(field).unwrap_or(&Value::Null))
            }
            ("GET", ["gc", "safepoint"]) => self.safe_points_page(asked),
            ("DELETE", ["gc", "safepoint", service]) => {
                self.remove_barrier(NULL_KEYSPACE, service);
                Page::text(200, "Delete service GC safepoint successfully.")
            }
            _ => Page::not_found(),
        }
    }

    pub(super) fn health_page(&self) -> Page {
        let members = self.members.iter().enumerate().map(|(index, member)| {
            json!({
                "name": member.name,
                "member_id": member.id,
                "client_urls": [member.client_url],
                "health": !self.is_down(index),
            })
        });
        Page::value(200, &members.collect())
    }

    fn leader_json(&self) -> Value {
        self.leader.and_then(|index| self.members.get(index)).map_or(Value::Null, member_json)
    }

    fn members_json(&self) -> Value {
        let leader = self.leader_json();
        json!({
            "header": { "cluster_id": self.cluster_id },
            "members": self.members.iter().map(member_json).collect::<Vec<_>>(),
            "leader": leader,
            "etcd_leader": leader,
        })
    }

    fn transfer_page(&mut self, asked: &Asked<'_>, name: &str) -> Page {
        let Some(index) = self.members.iter().position(|member| member.name == name) else {
            return Page::text(500, &format!("member: {name} not found"));
        };
        self.transfer_leader(index, asked.now);
        Page::text(200, "The transfer command is submitted.")
    }

    fn config_json(&self) -> Value {
        json!({
            "name": self.members.first().map(|member| member.name.as_str()),
            "cluster-version": env!("CARGO_PKG_VERSION"),
            "replication": {
                "max-replicas": self.max_peer_count,
                "location-labels": "",
                "strictly-match-label": "false",
                "enable-placement-rules": "true",
                "enable-placement-rules-cache": "false",
                "isolation-level": "",
            },
            "schedule": {
                "max-store-down-time": "30m0s",
                "max-merge-region-size": 54,
                "split-merge-interval": "1h0m0s",
                "enable-cross-table-merge": "true",
            },
            "pd-server": { "key-type": "table", "use-region-storage": "true", "server-memory-limit": 0 },
        })
    }

    /// The least of what the stores have reported; 0 if none has.
    fn least_resolved(&self) -> u64 {
        self.min_resolved.values().copied().filter(|&ts| ts != NONE).min().unwrap_or(0)
    }

    fn min_resolved_page(&self, topology: &Topology, request: Request<'_>) -> Page {
        let scope = request.text_parameter("scope");
        let known = |id: u64| self.min_resolved.get(&id).copied().unwrap_or(NONE);
        let by_store: Vec<(u64, u64)> = match scope.as_str() {
            "" => return resolved_page(self.least_resolved(), Value::Null),
            "cluster" => topology.stores().map(|store| (store.id, known(store.id))).collect(),
            ids => {
                let mut wanted = Vec::new();
                for id in ids.split(',') {
                    match id.parse() {
                        Ok(id) => wanted.push((id, known(id))),
                        Err(_) => return Page::text(400, &go::no_number(id)),
                    }
                }
                wanted
            }
        };
        let least = match scope.as_str() {
            "cluster" => self.least_resolved(),
            _ => by_store.iter().map(|(_, ts)| *ts).filter(|&ts| ts != NONE).min().unwrap_or(0),
        };
        let by_store: Map<String, Value> =
            by_store.into_iter().map(|(id, ts)| (id.to_string(), ts.into())).collect();
        resolved_page(least, by_store.into())
    }

    fn safe_points_page(&self, asked: &Asked<'_>) -> Page {
        let (points, least, gc_safe_point) = self.service_safe_points(asked.now);
        let points: Vec<Value> = points
            .into_iter()
            .map(|point| {
                json!({
                    "service_id": point.service,
                    "expired_at": point.expired_at,
                    "safe_point": point.safe_point,
                })
            })
            .collect();
        let page = json!({
            "service_gc_safe_points": points,
            "min_service_gc_safe_point": least,
            "gc_safe_point": gc_safe_point,
        });
        Page::value(200, &page)
    }
}
