//! What a cluster is to be like ([`Builder`]), and its start ([`Starting`]).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, mpsc as blocking};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot};

use super::cluster::Cluster;
use super::place::{self, Place};
use super::shared::Shared;
use crate::control::Node;
use crate::model::{Api, Cluster as Model, Layout, Member, Now, Pd, key, layout};

/// Peers of a region, if there are stores for them.
const REPLICAS: usize = 3;
/// The most stores or PD members of one cluster: each listens, and a process has only so many files.
pub const MOST_SERVERS: usize = 128;

/// The most regions that a cluster starts with; splits can make more.
pub const MOST_REGIONS: usize = layout::MOST_SPREAD;

/// Why a cluster did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No socket, port or thread could be had.
    #[error("could not start the cluster's servers")]
    Io(#[from] io::Error),
    /// A number of servers or regions that cannot be.
    #[error("{count} {what}, must be from 1 to {most}")]
    Number {
        /// Of what: stores, regions or PD members.
        what: &'static str,
        /// How many were asked for.
        count: usize,
        /// How many there can be.
        most: usize,
    },
}

/// What a cluster is to be like: one store, one region and one PD member unless told otherwise.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    stores: usize,
    regions: usize,
    pd_members: usize,
    port: u16,
    cluster_id: Option<u64>,
    api: Api,
    bounds: Vec<Bytes>,
    raw_bounds: Vec<Bytes>,
    labels: Vec<Vec<(String, String)>>,
    keyspaces: Vec<String>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            stores: 1,
            regions: 1,
            pd_members: 1,
            port: 0,
            cluster_id: None,
            api: Api::V1,
            bounds: Vec::new(),
            raw_bounds: Vec::new(),
            labels: Vec::new(),
            keyspaces: Vec::new(),
        }
    }
}

impl Builder {
    /// How many stores there are. A region has a peer on each, on three of them if there are more.
    pub fn stores(mut self, stores: usize) -> Self {
        self.stores = stores;
        self
    }

    /// How many regions there are (`8`), spread over printable and binary keys; or where they begin (`&[b"k", b"t"]`),
    /// as [`Self::split_keys`]. Explicit split keys come on top.
    pub fn regions(mut self, regions: impl Into<Regions>) -> Self {
        match regions.into() {
            Regions::Spread(count) => self.regions = count,
            Regions::At(keys) => return self.split_keys(keys),
        }
        self
    }

    /// How many PD members there are; the first one leads.
    pub fn pd_members(mut self, members: usize) -> Self {
        self.pd_members = members;
        self
    }

    /// Where the first PD member listens on the loopback interface; 0: at any free port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The cluster's id; by default another one each time.
    pub fn cluster_id(mut self, id: u64) -> Self {
        self.cluster_id = Some(id);
        self
    }

    /// Which version of the storage API the stores speak; version 1 without lifetimes of raw values by default. With
    /// version 2, for clients that use keyspaces, regions begin where the keyspace `DEFAULT` begins and ends.
    pub fn api_version(mut self, api: Api) -> Self {
        self.api = api;
        self
    }

    /// Begins regions at the bounds of the keyspace `DEFAULT`, raw and transactional, as a new cluster does, also with API
    /// version 1.
    pub fn keyspace_bounds(mut self) -> Self {
        self.bounds.extend(layout::default_keyspace());
        self
    }

    /// Begins regions at these keys, in their transactional (memory-comparable) form.
    pub fn split_keys<K: AsRef<[u8]>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.bounds.extend(keys.into_iter().map(|user| key::encode(user.as_ref())));
        self
    }

    /// Begins regions at these raw keys: as they are with API version 1, where transactional clients cannot decode such
    /// bounds, and in memory-comparable form with version 2, as that stores them.
    pub fn raw_split_keys<K: AsRef<[u8]>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.raw_bounds.extend(keys.into_iter().map(|raw| Bytes::copy_from_slice(raw.as_ref())));
        self
    }

    /// Creates these keyspaces with their region bounds. A name that is taken, too long or otherwise none is left out.
    pub fn keyspaces<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.keyspaces.extend(names.into_iter().map(Into::into));
        self
    }

    /// Labels of the stores such as `("zone", "z1")`, a list for each store in turn.
    pub fn labels<L, K, V>(mut self, stores: impl IntoIterator<Item = L>) -> Self
    where
        L: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        let own = |(key, value): (K, V)| (key.into(), value.into());
        self.labels = stores.into_iter().map(|labels| labels.into_iter().map(own).collect()).collect();
        self
    }

    /// The cluster, to be awaited or waited for: then it starts, on a thread of its own.
    pub fn start(self) -> Starting {
        Starting { builder: self }
    }

    fn check(&self) -> Result<(), StartError> {
        let numbers = [
            ("stores", self.stores, MOST_SERVERS),
            ("regions", self.regions, MOST_REGIONS),
            ("PD members", self.pd_members, MOST_SERVERS),
        ];
        for (what, count, most) in numbers {
            if !(1..=most).contains(&count) {
                return Err(StartError::Number { what, count, most });
            }
        }
        Ok(())
    }

    fn bind(&self) -> io::Result<BTreeMap<Node, TcpSocket>> {
        let mut sockets = BTreeMap::new();
        for member in 0..self.pd_members {
            let port = if member == 0 { self.port } else { 0 };
            sockets.insert(Node::Pd(member), place::bind(port)?);
        }
        for store in (1..).take(self.stores) {
            sockets.insert(Node::Store(store), place::bind(0)?);
        }
        Ok(sockets)
    }

    fn cluster(self, addresses: &BTreeMap<Node, SocketAddr>) -> Model {
        let at = |wanted: fn(&Node) -> bool| {
            addresses.iter().filter(move |(node, _)| wanted(node)).map(|(_, address)| *address)
        };
        let stores: Vec<String> =
            at(|node| matches!(node, Node::Store(_))).map(|at| at.to_string()).collect();
        let members = at(|node| matches!(node, Node::Pd(_))).zip(1..).map(|(at, id)| Member {
            id,
            name: format!("pd-{id}"),
            client_url: format!("http://{at}"),
        });
        let members: Vec<Member> = members.collect();
        let replicas = REPLICAS.min(self.stores);
        let mut layout = Layout::new(stores, replicas);
        layout.labels = self.labels;
        layout.bounds = layout::spread(self.regions);
        layout.bounds.extend(self.bounds);
        layout.bounds.extend(self.raw_bounds.iter().map(|raw| self.api.raw_key(raw)));
        // Nanoseconds since the epoch: no two clusters of a process start at the same one.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let from_clock = u64::try_from(started.as_nanos()).unwrap_or(1);
        let cluster_id = self.cluster_id.unwrap_or(from_clock);
        let max_peers = u32::try_from(REPLICAS).unwrap_or(u32::MAX);
        let mut topology = layout.build();
        topology.set_started(started.as_secs());
        let mut pd = Pd::new(cluster_id, members, max_peers);
        let started_at = Now::from_unix(started);
        pd.bootstrap_keyspaces(&mut topology, started_at, self.api == Api::V2);
        for name in &self.keyspaces {
            // What cannot be created is left out, as PD does with keyspaces that it is configured to create.
            drop(pd.create_keyspace(&mut topology, started_at, name, BTreeMap::new(), false));
        }
        Model::new(topology, pd).with_api(self.api)
    }
}

/// How many regions there are, or where they begin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Regions {
    /// So many, spread over printable and binary keys.
    Spread(usize),
    /// One in front of the first of these keys, and one that begins at each.
    At(Vec<Bytes>),
}

impl From<usize> for Regions {
    fn from(count: usize) -> Self {
        Self::Spread(count)
    }
}

impl<K: AsRef<[u8]>, const N: usize> From<&[K; N]> for Regions {
    fn from(keys: &[K; N]) -> Self {
        Self::from(keys.as_slice())
    }
}

impl<K: AsRef<[u8]>> From<&[K]> for Regions {
    fn from(keys: &[K]) -> Self {
        Self::At(keys.iter().map(|key| Bytes::copy_from_slice(key.as_ref())).collect())
    }
}

/// A cluster that is about to start: `.await` it, on any executor, or [`Self::wait`] for it in blocking code. Either
/// takes about as long as a thread and a few sockets do, far less than a millisecond. Dropped before, it does not start.
#[derive(Debug)]
#[must_use = "it starts when it is awaited or waited for"]
pub struct Starting {
    builder: Builder,
}

impl Starting {
    /// Starts the cluster; it serves when this returns.
    ///
    /// # Errors
    /// The port is taken, no thread or socket is to be had, or there would be no server or too many.
    pub fn wait(self) -> Result<Cluster, StartError> {
        super::wait::wait(self.run())
    }

    async fn run(self) -> Result<Cluster, StartError> {
        let builder = self.builder;
        builder.check()?;
        // Sockets are tied to a runtime, so the thread makes them.
        let (tell, told) = oneshot::channel();
        let (orders, given) = mpsc::unbounded_channel();
        let (ended, end) = blocking::sync_channel(0);
        let thread = std::thread::Builder::new().name("tikv-embedded".to_owned()).spawn(move || {
            serve(builder, given, tell);
            // Dropping it is what tells the handle.
            drop(ended);
        })?;
        let (shared, addresses) =
            told.await.map_err(|_| io::Error::other("the cluster's thread ended"))??;
        Ok(Cluster::new(shared, addresses, orders, end, thread))
    }
}

impl IntoFuture for Starting {
    type Output = Result<Cluster, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Starts the cluster; it serves when the future completes. Dropped before that, the cluster ends.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// What the thread tells once the sockets are bound and listen.
pub(super) type Started = io::Result<(Arc<Shared>, BTreeMap<Node, SocketAddr>)>;

/// The body of the cluster's thread.
fn serve(builder: Builder, orders: mpsc::UnboundedReceiver<place::Ordered>, tell: oneshot::Sender<Started>) {
    // Who starts a cluster waits for what is told; if it has gone, so does the thread.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(tell.send(Err(error))),
    };
    runtime.block_on(async {
        let bound = builder.bind().and_then(|sockets| {
            sockets
                .into_iter()
                .map(|(node, socket)| Ok((node, Place::new(socket)?)))
                .collect::<io::Result<BTreeMap<Node, Place>>>()
        });
        let mut places = match bound {
            Ok(places) => places,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let addresses: BTreeMap<Node, SocketAddr> =
            places.iter().map(|(&node, place)| (node, place.address())).collect();
        let shared = Arc::new(Shared::new(builder.cluster(&addresses)));
        let opened = place::open_all(&shared, &mut places);
        let serves = opened.is_ok();
        let told = tell.send(opened.map(|()| (Arc::clone(&shared), addresses)));
        if serves && told.is_ok() {
            place::run(shared, places, orders).await;
        }
    });
    // Ends what still runs without waiting for it.
    runtime.shutdown_background();
}
