//! What there is to see of a running cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::cluster::{Cluster, Server};
use crate::control::Node;
use crate::model::{PeerRole, Region, Store, StoreState};

/// A cluster at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct State {
    /// The PD members by index.
    pub pd: Vec<PdView>,
    /// The stores by id, removed ones too.
    pub stores: Vec<StoreView>,
    /// The regions by key.
    pub regions: Vec<Region>,
    /// The named faults, and on how many calls each has acted.
    pub faults: BTreeMap<String, u64>,
    /// How many calls each server has had so far, by method.
    pub calls: BTreeMap<(Node, &'static str), u64>,
}

/// Whether a server can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// It serves.
    Serving,
    /// It refuses dials.
    Stopped,
    /// It hears nothing and is not heard.
    Partitioned,
    /// PD tells of it, but this cluster does not run it.
    Elsewhere,
}

/// A PD member.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PdView {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it can be reached.
    pub reach: Reach,
}

/// A store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreView {
    /// What PD tells of it.
    pub store: Store,
    /// Whether it can be reached.
    pub reach: Reach,
    /// How many regions it has a peer of.
    pub peers: usize,
    /// How many regions it leads.
    pub leaders: usize,
}

impl From<Option<&Server>> for Reach {
    fn from(server: Option<&Server>) -> Self {
        match server {
            None => Self::Elsewhere,
            Some(server) if server.stopped => Self::Stopped,
            Some(server) if server.partitioned => Self::Partitioned,
            Some(_) => Self::Serving,
        }
    }
}

impl Reach {
    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Stopped => "stopped",
            Self::Partitioned => "partitioned",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl Cluster {
    /// What there is to see at this moment.
    #[must_use]
    pub fn state(&self) -> State {
        let servers = self.servers().clone();
        let faults = self.fault_hits();
        let calls = self.shared.calls();
        self.cluster(|cluster, _| {
            let reach = |node| Reach::from(servers.get(&node));
            let mut peers: BTreeMap<u64, usize> = BTreeMap::new();
            let mut leaders: BTreeMap<u64, usize> = BTreeMap::new();
            for region in cluster.topology.regions() {
                region.peers.iter().for_each(|peer| *peers.entry(peer.store).or_default() += 1);
                region
                    .leader_peer()
                    .into_iter()
                    .for_each(|peer| *leaders.entry(peer.store).or_default() += 1);
            }
            let of = |counts: &BTreeMap<u64, usize>, store| counts.get(&store).copied().unwrap_or(0);
            let pd = servers.iter().filter_map(|(node, server)| match node {
                Node::Pd(index) => Some(PdView {
                    address: server.address,
                    leads: cluster.pd.leader() == Some(*index),
                    reach: Reach::from(Some(server)),
                }),
                _ => None,
            });
            let stores = cluster.topology.stores().map(|store| StoreView {
                store: store.clone(),
                reach: reach(Node::Store(store.id)),
                peers: of(&peers, store.id),
                leaders: of(&leaders, store.id),
            });
            State {
                pd: pd.collect(),
                stores: stores.collect(),
                regions: cluster.topology.regions().cloned().collect(),
                faults,
                calls,
            }
        })
    }
}

impl State {
    /// How many calls a server has had so far.
    #[must_use]
    pub fn calls_of(&self, node: Node) -> u64 {
        self.calls.iter().filter(|((at, _), _)| *at == node).map(|(_, count)| count).sum()
    }

    /// As JSON. Keys are in region form, bytes that are no printable ASCII escaped.
    #[must_use]
    pub fn json(&self) -> Value {
        let calls = |node: Node| -> Value {
            let of_node = self.calls.iter().filter(|((at, _), _)| *at == node);
            of_node
                .map(|((_, method), count)| ((*method).to_owned(), json!(count)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let pd = self.pd.iter().enumerate().map(|(index, member)| {
            json!({
                "address": member.address.to_string(),
                "leads": member.leads,
                "reach": member.reach.word(),
                "calls": calls(Node::Pd(index)),
            })
        });
        let stores = self.stores.iter().map(|view| {
            let labels = view.store.labels.iter().map(|(key, value)| (key.clone(), json!(value)));
            json!({
                "id": view.store.id,
                "address": view.store.address,
                "state": state_word(view.store.state),
                "reach": view.reach.word(),
                "labels": labels.collect::<serde_json::Map<_, _>>(),
                "peers": view.peers,
                "leaders": view.leaders,
                "calls": calls(Node::Store(view.store.id)),
            })
        });
        json!({
            "pd": pd.collect::<Vec<_>>(),
            "stores": stores.collect::<Vec<_>>(),
            "regions": self.regions.iter().map(region_json).collect::<Vec<_>>(),
            "faults": self.faults,
        })
    }
}

fn state_word(state: StoreState) -> &'static str {
    match state {
        StoreState::Up => "up",
        StoreState::Offline => "offline",
        StoreState::Tombstone => "tombstone",
    }
}

fn region_json(region: &Region) -> Value {
    let peers = region.peers.iter().map(|peer| {
        let role = match peer.role {
            PeerRole::Voter => "voter",
            PeerRole::Learner => "learner",
            PeerRole::Witness => "witness",
        };
        json!({"id": peer.id, "store": peer.store, "role": role})
    });
    json!({
        "id": region.id,
        "start": region.start.escape_ascii().to_string(),
        "end": region.end.escape_ascii().to_string(),
        "version": region.version,
        "conf_ver": region.conf_ver,
        "term": region.term,
        "leader": region.leader_peer().map(|peer| peer.store),
        "peers": peers.collect::<Vec<_>>(),
    })
}
