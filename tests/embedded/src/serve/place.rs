//! The thread with its runtime, the listeners, their connections.
//!
//! A server that is stopped keeps its port: the socket is bound but does not listen, so a dial is refused and nobody
//! else gets the port before the server comes back.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, mpsc as blocking};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::shared::Shared;
use super::{dispatch, http1};
use crate::control::Node;

/// Dials that may wait to be taken.
const BACKLOG: u32 = 1024;

/// What the handle asks of the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// Closes the listener and the connections of a server, and keeps its port.
    Close(Node),
    /// Gives a new server a port, and listens there.
    Add(Node),
    /// Listens again at the server's port.
    Listen(Node),
    /// Gives a server another port, listening or not as it was.
    Move(Node),
    /// Breaks the connections of a server; it goes on listening.
    Disconnect(Node),
    /// Two servers change places.
    Swap(Node, Node),
    /// Lets bytes from and to a server through, or not; its connections stay as they are.
    Gate(Node, Gate),
}

/// Whether bytes pass between a server and its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Shut,
}

/// An order, and where its outcome goes: the address of the (first) server.
pub(super) type Ordered = (Order, blocking::SyncSender<io::Result<SocketAddr>>);

/// Binds a port of the loopback interface, 0: any that is free. It does not listen.
pub(super) fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

/// A server's place on the network.
#[derive(Debug)]
pub(super) struct Place {
    address: SocketAddr,
    state: PlaceState,
    gate: watch::Sender<Gate>,
}

#[derive(Debug)]
enum PlaceState {
    /// The port is kept; dials are refused.
    Closed(TcpSocket),
    Open {
        task: JoinHandle<()>,
        close: oneshot::Sender<()>,
    },
    /// Neither: the port could not be had again.
    Lost,
}

impl Place {
    pub(super) fn new(socket: TcpSocket) -> io::Result<Self> {
        let (gate, _) = watch::channel(Gate::Open);
        Ok(Self { address: socket.local_addr()?, state: PlaceState::Closed(socket), gate })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn is_open(&self) -> bool {
        matches!(self.state, PlaceState::Open { .. })
    }

    fn open(&mut self, shared: &Arc<Shared>, node: Node) -> io::Result<()> {
        if self.is_open() {
            return Ok(());
        }
        let socket = match std::mem::replace(&mut self.state, PlaceState::Lost) {
            PlaceState::Closed(socket) => socket,
            _ => bind(self.address.port())?,
        };
        let listener = socket.listen(BACKLOG)?;
        let (close, closed) = oneshot::channel();
        let task = tokio::spawn(listen(Arc::clone(shared), node, listener, closed, self.gate.subscribe()));
        self.state = PlaceState::Open { task, close };
        Ok(())
    }

    async fn close(&mut self) -> io::Result<()> {
        if !self.is_open() {
            return Ok(());
        }
        if let PlaceState::Open { task, close } = std::mem::replace(&mut self.state, PlaceState::Lost) {
            drop(close);
            // Whether it ended well or has been ended: it is closed.
            drop(task.await);
        }
        self.state = PlaceState::Closed(bind(self.address.port())?);
        Ok(())
    }
}

/// Takes dials until it is told to close, or dropped; then all its connections end.
async fn listen(
    shared: Arc<Shared>,
    node: Node,
    listener: TcpListener,
    mut close: oneshot::Receiver<()>,
    gate: watch::Receiver<Gate>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            dialled = listener.accept() => {
                // A dial that is gone before it is taken concerns nobody.
                if let Ok((stream, _)) = dialled {
                    let connection = connection(Arc::clone(&shared), node, stream);
                    connections.spawn(gated(connection, gate.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
            _ = &mut close => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Goes on with `connection` only while the gate is open: shut, the socket is neither read nor written.
async fn gated(connection: impl Future<Output = ()>, mut gate: watch::Receiver<Gate>) {
    let mut connection = pin!(connection);
    // The gate's other end lives as long as the place does.
    while gate.wait_for(|gate| *gate == Gate::Open).await.is_ok() {
        tokio::select! {
            biased;
            shut = gate.wait_for(|gate| *gate == Gate::Shut) => if shut.is_err() { return },
            () = &mut connection => return,
        }
    }
}

async fn connection(shared: Arc<Shared>, node: Node, stream: TcpStream) {
    // A connection that cannot be set up is as good as broken.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match http1::is_plain(&stream).await {
        Ok(false) => dispatch::serve(shared, node, stream).await,
        Ok(true) => http1::serve(&shared, node, stream).await,
        Err(_) => {}
    }
}

/// Opens all places.
pub(super) fn open_all(shared: &Arc<Shared>, places: &mut BTreeMap<Node, Place>) -> io::Result<()> {
    places.iter_mut().try_for_each(|(&node, place)| place.open(shared, node))
}

/// Runs the servers until the handle is gone.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut places: BTreeMap<Node, Place>,
    mut orders: mpsc::UnboundedReceiver<Ordered>,
) {
    let driver = Arc::clone(&shared);
    // It ends with the runtime, as the listeners do.
    tokio::spawn(async move { driver.drive().await });
    while let Some((order, outcome)) = orders.recv().await {
        // Who gave the order may have left.
        drop(outcome.send(obey(&shared, &mut places, order).await));
    }
}

async fn obey(
    shared: &Arc<Shared>,
    places: &mut BTreeMap<Node, Place>,
    order: Order,
) -> io::Result<SocketAddr> {
    let unknown = || io::Error::from(io::ErrorKind::NotFound);
    match order {
        Order::Close(node) => {
            let place = places.get_mut(&node).ok_or_else(unknown)?;
            place.close().await?;
            Ok(place.address)
        }
        Order::Listen(node) => {
            let place = places.get_mut(&node).ok_or_else(unknown)?;
            place.open(shared, node)?;
            Ok(place.address)
        }
        Order::Disconnect(node) => {
            let place = places.get_mut(&node).ok_or_else(unknown)?;
            if place.is_open() {
                place.close().await?;
                place.open(shared, node)?;
            }
            Ok(place.address)
        }
        Order::Move(node) => {
            let place = places.get_mut(&node).ok_or_else(unknown)?;
            let was_open = place.is_open();
            // The new port is taken first, so that it is another one.
            let new = Place::new(bind(0)?)?;
            place.close().await?;
            new.gate.send_replace(*place.gate.borrow());
            *place = new;
            if was_open {
                place.open(shared, node)?;
            }
            Ok(place.address)
        }
        Order::Gate(node, gate) => {
            let place = places.get_mut(&node).ok_or_else(unknown)?;
            place.gate.send_replace(gate);
            Ok(place.address)
        }
        Order::Add(node) => {
            let mut place = Place::new(bind(0)?)?;
            place.open(shared, node)?;
            let address = place.address;
            places.insert(node, place);
            Ok(address)
        }
        Order::Swap(a, b) => {
            let (mut at_a, mut at_b) = match (places.remove(&a), places.remove(&b)) {
                (Some(at_a), Some(at_b)) => (at_a, at_b),
                (at_a, at_b) => {
                    places.extend(at_a.map(|place| (a, place)));
                    places.extend(at_b.map(|place| (b, place)));
                    return Err(unknown());
                }
            };
            let (open_a, open_b) = (at_a.is_open(), at_b.is_open());
            let closed = (at_a.close().await, at_b.close().await);
            let new_a = places.entry(a).or_insert(at_b);
            closed.0.and(closed.1)?;
            if open_a {
                new_a.open(shared, a)?;
            }
            let address = new_a.address;
            let new_b = places.entry(b).or_insert(at_a);
            if open_b {
                new_b.open(shared, b)?;
            }
            Ok(address)
        }
    }
}
