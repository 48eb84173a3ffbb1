//! The handle of a running cluster: where it listens, and what a test does to it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::builder::Builder;
use super::place::{Order, Ordered};
use super::shared::Shared;
use crate::control::{Action, Matcher, Node, Rule, RuleId};
use crate::model::{Cluster, Conditions, Now, TopologyError, key};

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
}

/// A running cluster. It stops when this is dropped.
///
/// All methods can be called from any thread, inside an executor or not; none waits for the network.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    addresses: Mutex<BTreeMap<Node, SocketAddr>>,
    /// `None` once it is stopped.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    orders: mpsc::UnboundedSender<Ordered>,
    /// Closed by the thread when it ends.
    end: blocking::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Embedded {
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
        Self { shared, addresses: Mutex::new(addresses), running: Mutex::new(running) }
    }

    /// `host:port` of each PD member: what a client connects to.
    #[must_use]
    pub fn pd_addresses(&self) -> Vec<String> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let members = addresses.iter().filter(|(node, _)| matches!(node, Node::Pd(_)));
        members.map(|(_, address)| address.to_string()).collect()
    }

    /// Where a server listens, or would if it were not stopped.
    #[must_use]
    pub fn address(&self, node: Node) -> Option<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
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
    pub fn cluster<R>(&self, act: impl FnOnce(&mut Cluster, Now) -> R) -> R {
        self.shared.with(act)
    }

    /// Makes disks full, stores busy, replicas lag and the like.
    ///
    /// ```
    /// use tikv_embedded::Embedded;
    /// use tikv_embedded::model::Disk;
    ///
    /// # fn main() -> Result<(), tikv_embedded::StartError> {
    /// let cluster = Embedded::builder().start()?;
    /// cluster.conditions(|conditions| conditions.set_disk(1, Disk::AlmostFull));
    /// # Ok(())
    /// # }
    /// ```
    pub fn conditions<R>(&self, change: impl FnOnce(&mut Conditions) -> R) -> R {
        self.cluster(|cluster, _| change(&mut cluster.topology.conditions))
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
        self.cluster(|cluster, _| match node {
            Node::Store(store) => cluster.pd.hear_of_store(store),
            Node::Pd(member) => cluster.pd.member_up(member),
            Node::AnyStore | Node::AnyPd => {}
        });
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

    pub(super) fn keep_address(&self, node: Node, address: SocketAddr) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(node, address);
    }

    fn moved(&self, node: Node, address: SocketAddr) -> Result<(), ControlError> {
        self.keep_address(node, address);
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

    /// Splits the region that holds a transactional key, at that key; returns the parts by key.
    ///
    /// # Errors
    /// A region begins there already.
    pub fn split(&self, user_key: impl AsRef<[u8]>) -> Result<Vec<u64>, ControlError> {
        self.split_raw(key::encode(user_key.as_ref()))
    }

    /// Splits the region that holds a key in region form, at that key; returns the parts by key.
    ///
    /// # Errors
    /// A region begins there already.
    pub fn split_raw(&self, key: impl AsRef<[u8]>) -> Result<Vec<u64>, ControlError> {
        let key = bytes::Bytes::copy_from_slice(key.as_ref());
        let parts = self.cluster(|cluster, _| {
            let region = cluster.topology.region_at(&key).map_or(0, |region| region.id);
            cluster.topology.split(region, &[key])
        });
        Ok(parts?)
    }

    /// The id of the region that holds a transactional key.
    #[must_use]
    pub fn region_of(&self, user_key: impl AsRef<[u8]>) -> Option<u64> {
        self.region_of_raw(key::encode(user_key.as_ref()))
    }

    /// The id of the region that holds a key in region form.
    #[must_use]
    pub fn region_of_raw(&self, key: impl AsRef<[u8]>) -> Option<u64> {
        self.cluster(|cluster, _| cluster.topology.region_at(key.as_ref()).map(|region| region.id))
    }

    /// The store that leads `region`.
    #[must_use]
    pub fn leader_of(&self, region: u64) -> Option<u64> {
        self.cluster(|cluster, _| Some(cluster.topology.region(region)?.leader_peer()?.store))
    }

    /// Makes the peer on `store` lead `region`.
    ///
    /// # Errors
    /// No such region, or no peer there that may lead.
    pub fn transfer_leader(&self, region: u64, store: u64) -> Result<(), ControlError> {
        Ok(self.cluster(|cluster, _| cluster.topology.transfer_leader(region, store))?)
    }

    /// Moves every leader away from `store`, to the next peer of its region, as an election does after a store died.
    /// Regions without another voter keep theirs.
    pub fn fail_over(&self, store: u64) {
        self.cluster(|cluster, _| cluster.topology.fail_over(store));
    }

    /// Makes another PD member the leader; `None`: none leads.
    pub fn set_pd_leader(&self, member: Option<usize>) {
        self.cluster(|cluster, _| cluster.pd.set_leader(member));
    }

    /// From now on PD tells the regions as they are now, whatever becomes of them, until [`Self::thaw_regions`].
    pub fn freeze_regions(&self) {
        self.cluster(|cluster, _| {
            let regions = cluster.topology.clone();
            cluster.pd.freeze_regions(Some(regions));
        });
    }

    /// PD knows all regions again.
    pub fn thaw_regions(&self) {
        self.cluster(|cluster, _| cluster.pd.freeze_regions(None));
    }

    /// Moves the cluster's clock forward by `by` against the host's: lock lifetimes and timers see it.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.shift_clock(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX));
    }

    /// Sets the cluster's clock back by `by`; timestamps still grow.
    pub fn set_clock_back(&self, by: Duration) {
        self.shared.shift_clock(i64::try_from(by.as_nanos()).map_or(i64::MIN, |by| -by));
    }

    /// From now on does to calls what `rule` says, until the returned [`Fault`] is dropped.
    #[must_use = "the fault ends when this is dropped"]
    pub fn fault(&self, rule: Rule) -> Fault {
        let id = self.cluster(|cluster, _| cluster.add_fault(rule));
        Fault { shared: Arc::clone(&self.shared), id }
    }

    /// Counts the calls that `matcher` fits, and changes nothing.
    #[must_use = "the count ends when this is dropped"]
    pub fn count(&self, matcher: Matcher) -> Fault {
        self.fault(Rule::new(matcher, Action::Pass))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A fault rule at work. Dropping it takes the rule away and lets the calls go that it holds.
#[derive(Debug)]
pub struct Fault {
    shared: Arc<Shared>,
    id: RuleId,
}

impl Fault {
    /// How many calls it has acted on.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.shared.with(|cluster, _| cluster.faults().hits(self.id))
    }

    /// Blocks until it has acted on `hits` calls, or until `timeout` has passed; says whether it has.
    ///
    /// It blocks the thread: inside an executor use [`Self::hit`].
    #[must_use]
    pub fn wait(&self, hits: u64, timeout: Duration) -> bool {
        self.shared.wait(timeout, |cluster| cluster.faults().hits(self.id) >= hits)
    }

    /// Completes once it has acted on `hits` calls; on any executor.
    pub fn hit(&self, hits: u64) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(move |cx| {
            let done = |cluster: &Cluster| cluster.faults().hits(self.id) >= hits;
            if self.shared.poll(cx.waker(), done) { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.shared.with(|cluster, now| cluster.remove_fault(now, self.id));
    }
}
