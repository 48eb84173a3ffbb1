//! The handle of a running cluster: where it listens, and what a test does to it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::builder::Builder;
use super::fault::Fault;
use super::place::{Gate, Order, Ordered};
use super::shared::Shared;
use crate::control::Node;
use crate::model::pd::KeyspaceError;
use crate::model::{Cluster as Model, Now, Status, TopologyError};

/// How long a stop waits for the cluster's thread; it has nothing to wait for, so this only bounds the unforeseen.
const LONGEST_STOP: Duration = Duration::from_secs(5);

/// Why something could not be done to a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The cluster has been stopped.
    #[error("the cluster is stopped")]
    Stopped,
    /// The servers could not be changed so.
    #[error("could not change {node:?}")]
    Io {
        /// The server.
        node: Node,
        /// Why not.
        source: io::Error,
    },
    /// The topology cannot be changed so.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// No keyspace can be made so.
    #[error(transparent)]
    Keyspace(#[from] KeyspaceError),
    /// No resource group can be made so.
    #[error(transparent)]
    ResourceGroup(#[from] Status),
    /// The cluster has as many servers as it can.
    #[error("the cluster has {most} stores already")]
    Full {
        /// How many there can be.
        most: usize,
    },
    /// No fault has this name.
    #[error("no fault {name:?}")]
    NoFault {
        /// The name.
        name: String,
    },
    /// A fault did not act as often as was waited for.
    #[error("{name:?} has acted {hits} times within {within:?}, not {wanted}")]
    NotHit {
        /// The fault's name.
        name: String,
        /// How often it has acted.
        hits: u64,
        /// How often it was to act.
        wanted: u64,
        /// How long was waited.
        within: Duration,
    },
}

/// A running cluster. It stops when this is dropped.
///
/// All methods can be called from any thread, inside an executor or not; none waits for the network.
#[derive(Debug)]
pub struct Cluster {
    pub(super) shared: Arc<Shared>,
    servers: Mutex<BTreeMap<Node, Server>>,
    /// Faults that live until they are ended by name.
    pub(super) named: Mutex<BTreeMap<String, Fault>>,
    /// `None` once it is stopped.
    running: Mutex<Option<Running>>,
}

/// How a server is to be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// It refuses dials.
    pub(super) stopped: bool,
    /// It hears nothing and is not heard.
    pub(super) partitioned: bool,
}

impl Server {
    pub(super) fn open(address: SocketAddr) -> Self {
        Self { address, stopped: false, partitioned: false }
    }
}

#[derive(Debug)]
struct Running {
    orders: mpsc::UnboundedSender<Ordered>,
    /// Closed by the thread when it ends.
    end: blocking::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Cluster {
    /// What a cluster is to be like.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(
        shared: Arc<Shared>,
        addresses: BTreeMap<Node, SocketAddr>,
        orders: mpsc::UnboundedSender<Ordered>,
        end: blocking::Receiver<()>,
        thread: JoinHandle<()>,
    ) -> Self {
        let running = Some(Running { orders, end, thread });
        let servers = addresses.into_iter().map(|(node, address)| (node, Server::open(address))).collect();
        Self {
            shared,
            servers: Mutex::new(servers),
            named: Mutex::new(BTreeMap::new()),
            running: Mutex::new(running),
        }
    }

    pub(super) fn servers(&self) -> MutexGuard<'_, BTreeMap<Node, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what has become of a server.
    fn note(&self, node: Node, change: impl FnOnce(&mut Server)) {
        self.servers().get_mut(&node).map(change).unwrap_or_default();
    }

    /// `host:port` of each PD member: what a client connects to.
    #[must_use]
    pub fn pd_addresses(&self) -> Vec<String> {
        let servers = self.servers();
        let members = servers.iter().filter(|(node, _)| matches!(node, Node::Pd(_)));
        members.map(|(_, server)| server.address.to_string()).collect()
    }

    /// Where a server listens, or would if it were not stopped.
    #[must_use]
    pub fn address(&self, node: Node) -> Option<SocketAddr> {
        self.servers().get(&node).map(|server| server.address)
    }

    /// Stops the cluster: all connections end, all dials are refused. Stopping twice is stopping once.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { orders, end, thread }) = running else { return };
        drop(orders);
        // The thread sends nothing: what ends this wait is that it lets go of its end, or the time.
        let timed_out = matches!(end.recv_timeout(LONGEST_STOP), Err(blocking::RecvTimeoutError::Timeout));
        if !timed_out {
            // A panic of the thread has been reported by itself; it must not become one of a drop.
            drop(thread.join());
        }
    }

    /// Does anything to the model, between two calls of clients. What `act` takes long for, everybody waits for.
    pub fn cluster<R>(&self, act: impl FnOnce(&mut Model, Now) -> R) -> R {
        self.shared.with(act)
    }

    pub(super) fn order(&self, node: Node, order: Order) -> Result<SocketAddr, ControlError> {
        let (outcome, told) = blocking::sync_channel(1);
        {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let running = running.as_ref().ok_or(ControlError::Stopped)?;
            running.orders.send((order, outcome)).map_err(|_| ControlError::Stopped)?;
        }
        let done = told.recv().map_err(|_| ControlError::Stopped)?;
        done.map_err(|source| ControlError::Io { node, source })
    }

    /// Stops a store or PD member: its connections end, dials are refused. Its data and its port stay.
    ///
    /// A stopped store goes on leading its regions, as a dead leader does for the others until the election
    /// timeout: see [`Self::fail_over`] and [`Self::set_elections`].
    ///
    /// # Errors
    /// No such server, or the cluster is stopped.
    pub fn stop_server(&self, node: Node) -> Result<(), ControlError> {
        self.order(node, Order::Close(node))?;
        self.note(node, |server| server.stopped = true);
        self.cluster(|cluster, now| match node {
            Node::Store(store) => cluster.pd.silence_store(store, now),
            Node::Pd(member) => cluster.pd.member_down(member, now),
            Node::AnyStore | Node::AnyPd => {}
        });
        Ok(())
    }

    /// Starts a stopped server again, at the same address.
    ///
    /// # Errors
    /// No such server, or the cluster is stopped.
    pub fn restart_server(&self, node: Node) -> Result<(), ControlError> {
        self.order(node, Order::Listen(node))?;
        self.note(node, |server| server.stopped = false);
        self.cluster(|cluster, _| match node {
            Node::Store(store) => cluster.pd.hear_of_store(store),
            Node::Pd(member) => cluster.pd.member_up(member),
            Node::AnyStore | Node::AnyPd => {}
        });
        Ok(())
    }

    /// Cuts a server off: no byte comes from it or goes to it, on connections old or new, and nobody is told.
    ///
    /// # Errors
    /// No such server, or the cluster is stopped.
    pub fn partition(&self, node: Node) -> Result<(), ControlError> {
        self.order(node, Order::Gate(node, Gate::Shut))?;
        self.note(node, |server| server.partitioned = true);
        Ok(())
    }

    /// Ends a partition: what was on its way arrives.
    ///
    /// # Errors
    /// No such server, or the cluster is stopped.
    pub fn heal(&self, node: Node) -> Result<(), ControlError> {
        self.order(node, Order::Gate(node, Gate::Open))?;
        self.note(node, |server| server.partitioned = false);
        Ok(())
    }

    /// Stops a store, see [`Self::stop_server`].
    ///
    /// # Errors
    /// No such store, or the cluster is stopped.
    pub fn stop_store(&self, store: u64) -> Result<(), ControlError> {
        self.stop_server(Node::Store(store))
    }

    /// Starts a stopped store again, at the same address.
    ///
    /// # Errors
    /// No such store, or the cluster is stopped.
    pub fn restart_store(&self, store: u64) -> Result<(), ControlError> {
        self.restart_server(Node::Store(store))
    }

    /// Breaks all connections to a server, which goes on listening.
    ///
    /// # Errors
    /// No such server, or the cluster is stopped.
    pub fn disconnect(&self, node: Node) -> Result<(), ControlError> {
        self.order(node, Order::Disconnect(node)).map(drop)
    }

    /// Gives a store a new address, which PD tells from now on; the old one refuses dials.
    ///
    /// # Errors
    /// No such store, or the cluster is stopped.
    pub fn move_store(&self, store: u64) -> Result<SocketAddr, ControlError> {
        let node = Node::Store(store);
        let address = self.order(node, Order::Move(node))?;
        self.moved(node, address)?;
        Ok(address)
    }

    /// Two stores change their addresses, which PD tells from now on.
    ///
    /// # Errors
    /// No such store, or the cluster is stopped.
    pub fn swap_stores(&self, a: u64, b: u64) -> Result<(), ControlError> {
        let (at_a, at_b) = (Node::Store(a), Node::Store(b));
        let old = self.address(at_a);
        let new = self.order(at_a, Order::Swap(at_a, at_b))?;
        self.moved(at_a, new)?;
        old.map_or(Ok(()), |old| self.moved(at_b, old))
    }

    fn moved(&self, node: Node, address: SocketAddr) -> Result<(), ControlError> {
        self.note(node, |server| server.address = address);
        let Node::Store(store) = node else { return Ok(()) };
        self.set_store_address(store, address.to_string())
    }

    /// Changes the address that PD tells of a store, and nothing else: clients that ask again do not find it there.
    ///
    /// # Errors
    /// No such store.
    pub fn set_store_address(&self, store: u64, address: impl Into<String>) -> Result<(), ControlError> {
        let address = address.into();
        let changed =
            self.cluster(|cluster, _| cluster.topology.update_store(store, |store| store.address = address));
        Ok(changed?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}
