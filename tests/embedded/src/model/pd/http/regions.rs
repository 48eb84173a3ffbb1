//! Regions over HTTP. Keys are in upper-case hexadecimal; models have no sizes, so all sizes are 0.
//!
//! PD: `server/api/region.go`, `stats.go`, `pkg/response/region.go`.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::keyspaces::bounds;
use super::super::operators::admin::ids_of;
use super::super::regions::split_at;
use super::super::view::View;
use super::super::{Asked, Pd, go};
use super::{Page, Request, body, hex, unhex};
use crate::model::clock::Now;
use crate::model::region::{Peer, PeerRole, Region};

/// A list without a limit has so many regions, and never more than the second number.
// PD: pkg/schedule/handler/handler.go: defaultRegionLimit, maxRegionLimit
const DEFAULT_LIMIT: usize = 16;
const LARGEST_LIMIT: usize = 10_240;

fn peer_json(peer: &Peer) -> Value {
    let (role, name) = if peer.role == PeerRole::Learner { (1, "Learner") } else { (0, "Voter") };
    let mut out = json!({ "id": peer.id, "store_id": peer.store, "role_name": name });
    if let Some(fields) = out.as_object_mut() {
        if role == 1 {
            fields.insert("role".to_owned(), 1.into());
            fields.insert("is_learner".to_owned(), true.into());
        }
        if peer.role == PeerRole::Witness {
            fields.insert("is_witness".to_owned(), true.into());
        }
    }
    out
}

fn region_json(known: View<'_>, region: &Region, now: Now) -> Value {
    let down: Vec<Value> = known
        .down(region, now)
        .into_iter()
        .filter_map(|down| {
            let peer =
                region.peers.iter().find(|peer| down.peer.as_ref().is_some_and(|at| at.id == peer.id))?;
            Some(json!({ "peer": peer_json(peer), "down_seconds": down.down_seconds }))
        })
        .collect();
    let pending = known.pending(region);
    let pending: Vec<Value> =
        region.peers.iter().filter(|peer| pending.iter().any(|at| at.id == peer.id)).map(peer_json).collect();
    json!({
        "id": region.id,
        "start_key": hex(&region.start),
        "end_key": hex(&region.end),
        "epoch": { "conf_ver": region.conf_ver, "version": region.version },
        "peers": region.peers.iter().map(peer_json).collect::<Vec<_>>(),
        "leader": known.leader(region).as_ref().map_or_else(|| json!({ "role_name": "Voter" }), peer_json),
        "down_peers": down,
        "pending_peers": pending,
        "cpu_usage": 0,
        "written_bytes": 0,
        "read_bytes": 0,
        "written_keys": 0,
        "read_keys": 0,
        "approximate_size": 0,
        "approximate_keys": 0,
        "approximate_kv_size": 0,
        "approximate_columnar_kv_size": 0,
    })
}

fn list<'a>(known: View<'_>, regions: impl Iterator<Item = &'a Region>, now: Now) -> Page {
    let regions: Vec<Value> = regions.map(|region| region_json(known, region, now)).collect();
    Page::value(200, &json!({ "count": regions.len(), "regions": regions }))
}

fn no_region(id: u64) -> Page {
    Page::text(404, &format!("[PD:region:ErrRegionNotFound]region {id} not found"))
}

fn limit(request: Request<'_>) -> Result<usize, Page> {
    match request.text_parameter("limit").as_str() {
        "" => Ok(DEFAULT_LIMIT),
        text => match text.parse::<i64>() {
            Ok(limit) => Ok(usize::try_from(limit).unwrap_or(LARGEST_LIMIT).min(LARGEST_LIMIT)),
            Err(_) => Err(Page::text(400, &go::no_number(text).replace("ParseUint", "Atoi"))),
        },
    }
}

/// A key of the query: as it is, or in hexadecimal when the query says so.
fn key(request: Request<'_>, name: &str) -> Result<Bytes, Page> {
    let key = request.parameter(name);
    if request.text_parameter("format") != "hex" {
        return Ok(key.into());
    }
    hex_key(&String::from_utf8_lossy(&key))
}

fn hex_key(text: &str) -> Result<Bytes, Page> {
    unhex(text).ok_or_else(|| {
        let bad = text.bytes().find(|byte| !byte.is_ascii_hexdigit());
        let why = bad.map_or_else(
            || "encoding/hex: odd length hex string".to_owned(),
            |byte| format!("encoding/hex: invalid byte: U+{byte:04X} '{}'", char::from(byte)),
        );
        Page::text(400, &why)
    })
}

impl Pd {
    pub(super) fn regions_page(
        &mut self,
        asked: &mut Asked<'_>,
        request: Request<'_>,
        path: &[&str],
    ) -> Page {
        if request.method == "POST" {
            return match (path, body::read(request.body)) {
                (["regions", "scatter"], Ok(order)) => self.scatter_page(asked, &order),
                (["regions", "split"], Ok(order)) => split_page(asked, &order),
                (["regions", "scatter" | "split"], Err(error)) => {
                    Page::value(400, &body::input_error(&error))
                }
                _ => Page::not_found(),
            };
        }
        if request.method != "GET" {
            return Page::not_found();
        }
        self.read_regions(asked, request, path).unwrap_or_else(|page| page)
    }

    fn read_regions(&self, asked: &Asked<'_>, request: Request<'_>, path: &[&str]) -> Result<Page, Page> {
        let known = self.view(asked.topology);
        let now = asked.now;
        let id = |text: &str| text.parse::<u64>().map_err(|_| Page::text(400, &go::no_number(text)));
        let one = |region: Option<&Region>, missing: Page| {
            region.map_or(missing, |region| Page::value(200, &region_json(known, region, now)))
        };
        Ok(match path {
            ["region", "id", text] => match id(text)? {
                0 => Page::text(400, "[PD:region:ErrRegionInvalidID]invalid region id"),
                id => one(known.region(id), no_region(id)),
            },
            ["region", "key", text] => {
                let key = super::unescape(text);
                let key = if request.text_parameter("format") == "hex" { hex_key(text)? } else { key.into() };
                let missing = Page::text(404, "[PD:region:ErrRegionNotFound]region %v not found");
                one(known.region_at(&key), missing)
            }
            ["regions"] => list(known, known.regions(), now),
            ["regions", "count"] => {
                Page::value(200, &json!({ "count": known.regions().count(), "regions": null }))
            }
            ["regions", "key"] => {
                let (start, end) = (key(request, "key")?, key(request, "end_key")?);
                list(known, known.in_range(&start, &end).take(limit(request)?), now)
            }
            ["regions", "store", text] => {
                let store = id(text)?;
                list(known, known.regions().filter(|region| region.peer_on(store).is_some()), now)
            }
            ["regions", "keyspace", "id", text] => {
                let keyspace = text.parse().map_err(|_| Page::text(400, &go::no_number(text)))?;
                if self.keyspaces.by_id(keyspace).is_none() {
                    let error = super::super::keyspaces::KeyspaceError::NotFound;
                    return Err(Page::text(400, &error.to_string()));
                }
                let [raw_start, raw_end] = bounds(b'r', keyspace);
                let [start, end] = bounds(b'x', keyspace);
                let regions = known.in_range(&raw_start, &raw_end).chain(known.in_range(&start, &end));
                list(known, regions.take(limit(request)?), now)
            }
            ["regions", "sibling", text] => {
                let id = id(text)?;
                let region = known.region(id).ok_or_else(|| no_region(id))?;
                let sides = known.neighbours(region);
                let empty = || json!({ "id": 0, "start_key": "", "end_key": "" });
                let sides = sides.map(|side| side.map_or_else(empty, |side| region_json(known, side, now)));
                Page::value(200, &json!({ "count": sides.len(), "regions": sides }))
            }
            ["regions", "range-holes"] => Page::value(200, &range_holes(known)),
            ["regions", "replicated"] => {
                let start = hex_key(&request.text_parameter("startKey"))?;
                let end = hex_key(&request.text_parameter("endKey"))?;
                let whole = |region: &Region| self.is_replicated(region);
                let all = known.in_range(&start, &end).all(whole);
                Page::text(200, if all { "REPLICATED" } else { "INPROGRESS" })
            }
            ["regions", "check", what] => self.checked_regions(known, what, now)?,
            ["stats", "region"] => {
                let (start, end) = (key(request, "start_key")?, key(request, "end_key")?);
                stats_page(known.in_range(&start, &end))
            }
            _ => Page::not_found(),
        })
    }

    fn is_replicated(&self, region: &Region) -> bool {
        let wanted = usize::try_from(self.max_peer_count).unwrap_or(usize::MAX);
        region.peers.len() == wanted && region.peers.iter().all(|peer| peer.role != PeerRole::Learner)
    }

    /// The regions with something unusual about them.
    fn checked_regions(&self, known: View<'_>, what: &str, now: Now) -> Result<Page, Page> {
        let wanted = usize::try_from(self.max_peer_count).unwrap_or(usize::MAX);
        let unusual: &dyn Fn(&Region) -> bool = match what {
            "miss-peer" => &|region| region.peers.len() < wanted,
            "extra-peer" => &|region| region.peers.len() > wanted,
            "pending-peer" => &|region| !known.pending(region).is_empty(),
            "down-peer" => &|region| !known.down(region, now).is_empty(),
            "learner-peer" => &|region| region.peers.iter().any(|peer| peer.role == PeerRole::Learner),
            "empty-region" | "undersized-region" => &|_| true,
            "offline-peer" | "oversized-region" => &|_| false,
            _ => return Err(Page::not_found()),
        };
        Ok(list(known, known.regions().filter(|region| unusual(region)), now))
    }

    fn scatter_page(&mut self, asked: &mut Asked<'_>, order: &Value) -> Page {
        let text = |name| order.get(name).and_then(Value::as_str);
        let ids = match (text("start_key"), text("end_key")) {
            (Some(start), Some(end)) => {
                let (Some(start), Some(end)) = (unhex(start), unhex(end)) else {
                    return Page::text(500, "encoding/hex: invalid byte");
                };
                let known = self.view(asked.topology);
                known.in_range(&start, &end).map(|region| region.id).collect()
            }
            _ => match ids_of(order.get("regions_id")) {
                Some(ids) => ids,
                None => return Page::text(500, "regions_id is invalid"),
            },
        };
        match self.scatter_all(asked.topology, asked.now, &ids) {
            Ok((percentage, _)) => Page::value(200, &json!({ "processed-percentage": percentage })),
            Err(status) => Page::text(500, &status.message),
        }
    }
}

fn split_page(asked: &mut Asked<'_>, order: &Value) -> Page {
    let Some(keys) = order.get("split_keys") else {
        return Page::text(400, "split_keys should be provided.");
    };
    let Some(keys) = keys.as_array() else { return Page::text(400, "split_keys should be an array.") };
    if keys.is_empty() {
        return Page::text(400, "empty split keys.");
    }
    let mut split_keys = Vec::with_capacity(keys.len());
    for key in keys {
        let Some(text) = key.as_str() else {
            return Page::text(400, "split_keys should contain only strings.");
        };
        match hex_key(text) {
            Ok(key) => split_keys.push(key),
            Err(page) => return Page { status: 500, ..page },
        }
    }
    let (percentage, regions) = split_at(asked.topology, &split_keys);
    Page::value(200, &json!({ "processed-percentage": percentage, "regions-id": regions }))
}

/// The ranges of which PD knows no region.
fn range_holes(known: View<'_>) -> Value {
    let mut holes = Vec::new();
    let mut last_end = Bytes::new();
    let mut seen = false;
    for region in known.regions() {
        if region.start != last_end {
            holes.push(json!([hex(&last_end), hex(&region.start)]));
        }
        last_end = region.end.clone();
        seen = true;
    }
    if !last_end.is_empty() || !seen {
        holes.push(json!([hex(&last_end), ""]));
    }
    holes.into()
}

fn stats_page<'a>(regions: impl Iterator<Item = &'a Region>) -> Page {
    let mut leaders: BTreeMap<String, usize> = BTreeMap::new();
    let mut peers: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = 0_usize;
    for region in regions {
        count += 1;
        if let Some(leader) = region.leader_peer() {
            *leaders.entry(leader.store.to_string()).or_default() += 1;
        }
        for peer in &region.peers {
            *peers.entry(peer.store.to_string()).or_default() += 1;
        }
    }
    let zero = |stores: &BTreeMap<String, usize>| {
        stores.keys().map(|id| (id.clone(), 0)).collect::<BTreeMap<_, _>>()
    };
    Page::value(
        200,
        &json!({
            "count": count,
            "empty_count": count,
            "storage_size": 0,
            "storage_keys": 0,
            "user_storage_size": 0,
            "user_columnar_storage_size": 0,
            "store_leader_size": zero(&leaders),
            "store_leader_keys": zero(&leaders),
            "store_peer_size": zero(&peers),
            "store_peer_keys": zero(&peers),
            "store_leader_count": leaders,
            "store_peer_count": peers,
        }),
    )
}
