//! A runtime from nothing but the standard library: one thread, channels, and the model's doors in the place of sockets.
//!
//! It shows what a third runtime takes. The thread owns all tasks and timers; whoever spawns, sleeps or wakes tells it so. A
//! channel calls the model behind its lock, and has the answer at once.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tikv_client_core::client::{BoxFuture, ByteStream, Channel, Clock, ConnectOptions, Runtime};
use tikv_client_core::machine::{Address, Metadata, TransportClass, TransportFault};
use tikv_client_core::types::{Instant, WallTime};
use tikv_embedded::control::Node;
use tikv_embedded::model::frame::{Answers, commands};
use tikv_embedded::model::{Answer, Call, Cluster, Command, Layout, Member, Met, Now, Pd, Reply, Status};
use tikv_proto::methods::tikv::BATCH_COMMANDS;

/// What a call comes to.
type Called<T> = BoxFuture<Result<T, TransportFault>>;

/// What the thread is told.
enum Told {
    Spawn(BoxFuture<()>),
    Wake(u64),
    Sleep(Instant, Waker),
    End,
}

/// The runtime; its thread ends with it.
#[derive(Debug)]
pub(crate) struct Threads {
    start: std::time::Instant,
    tell: Sender<Told>,
    model: Arc<Model>,
}

impl Threads {
    /// Starts the thread.
    pub(crate) fn start(model: Model) -> (Self, JoinHandle<()>) {
        let ((tell, told), start) = (channel(), std::time::Instant::now());
        let thread =
            Thread { start, told, tell: tell.clone(), tasks: BTreeMap::new(), timers: BTreeMap::new() };
        (Self { start, tell, model: Arc::new(model) }, std::thread::spawn(move || thread.run()))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.tell.send(Told::End));
    }
}

impl Clock for Threads {
    fn now(&self) -> Instant {
        Instant(0) + self.start.elapsed()
    }

    fn wall(&self) -> WallTime {
        WallTime(unix().as_millis() as u64)
    }
}

impl Runtime for Threads {
    fn sleep_until(&self, at: Instant) -> BoxFuture<()> {
        Box::pin(Sleep { start: self.start, at, tell: self.tell.clone(), told: None })
    }

    fn spawn(&self, task: BoxFuture<()>) {
        drop(self.tell.send(Told::Spawn(task)));
    }

    fn connect(&self, to: Address, _: &ConnectOptions) -> Called<Box<dyn Channel>> {
        let door = self.model.at(&to).map(|node| Door {
            model: Arc::clone(&self.model),
            node,
            address: Arc::clone(&to),
        });
        Box::pin(async move {
            let nobody = || TransportFault::new(TransportClass::Unreachable, format!("{to}: nobody"));
            Ok(Box::new(door.ok_or_else(nobody)?) as Box<dyn Channel>)
        })
    }
}

fn unix() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// A sleep: asks the thread to be woken.
struct Sleep {
    start: std::time::Instant,
    at: Instant,
    tell: Sender<Told>,
    told: Option<Waker>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant(0) + self.start.elapsed() >= self.at {
            return Poll::Ready(());
        }
        if !self.told.as_ref().is_some_and(|told| told.will_wake(cx.waker())) {
            self.told = Some(cx.waker().clone());
            drop(self.tell.send(Told::Sleep(self.at, cx.waker().clone())));
        }
        Poll::Pending
    }
}

/// Wakes a task of the thread's.
struct WakeTask {
    id: u64,
    tell: Sender<Told>,
}

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        drop(self.tell.send(Told::Wake(self.id)));
    }
}

/// What the thread owns.
struct Thread {
    start: std::time::Instant,
    told: Receiver<Told>,
    tell: Sender<Told>,
    tasks: BTreeMap<u64, (BoxFuture<()>, Waker)>,
    timers: BTreeMap<(Instant, u64), Waker>,
}

impl Thread {
    fn run(mut self) {
        for number in 0.. {
            match self.next() {
                Told::Spawn(task) => {
                    let waker = Arc::new(WakeTask { id: number, tell: self.tell.clone() });
                    self.tasks.insert(number, (task, waker.into()));
                    self.poll(number);
                }
                Told::Wake(id) => self.poll(id),
                Told::Sleep(at, waker) => drop(self.timers.insert((at, number), waker)),
                Told::End => return,
            }
        }
    }

    /// What the thread is told next; meanwhile it wakes sleepers.
    fn next(&mut self) -> Told {
        loop {
            let now = Instant(0) + self.start.elapsed();
            let told = match self.timers.first_entry() {
                Some(timer) if timer.key().0 <= now => {
                    timer.remove().wake();
                    continue;
                }
                Some(timer) => self.told.recv_timeout(timer.key().0.since(now)),
                None => self.told.recv().map_err(RecvTimeoutError::from),
            };
            // This end holds a sender, too: all that comes instead of a message is a time.
            if let Ok(told) = told {
                return told;
            }
        }
    }

    fn poll(&mut self, id: u64) {
        // A task that is over may still be woken.
        let Some((task, waker)) = self.tasks.get_mut(&id) else { return };
        if task.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            self.tasks.remove(&id);
        }
    }
}

/// The model of a cluster, whose servers have addresses and no sockets.
#[derive(Debug)]
pub(crate) struct Model(Mutex<Cluster>);

impl Model {
    /// One PD and three stores; regions begin at `bounds`, as the model's regions have them.
    pub(crate) fn new(bounds: Vec<Bytes>) -> Self {
        let mut layout = Layout::new((1..=3).map(|store| format!("store:{store}")).collect(), 3);
        layout.bounds = bounds;
        let pd = Pd::new(7, vec![Member::new(1, "pd-1", "http://pd:1")], 3);
        Self(Mutex::new(Cluster::new(layout.build(), pd)))
    }

    fn at(&self, address: &str) -> Option<Node> {
        let cluster = self.0.lock().unwrap();
        let store = cluster.topology.stores().find(|store| store.address == address).map(|store| store.id);
        store.map(Node::Store).or_else(|| (address == "pd:1").then_some(Node::Pd(0)))
    }

    fn call(&self, call: Call) -> Reply {
        match self.0.lock().unwrap().call(Now::from_unix(unix()), call) {
            Met::Now(reply) => reply,
            // Only fault rules make calls wait, and nobody orders any here.
            other => panic!("{other:?}"),
        }
    }
}

/// A channel to one of the model's servers.
#[derive(Clone, Debug)]
struct Door {
    model: Arc<Model>,
    node: Node,
    address: Address,
}

impl Door {
    fn failed(&self, status: &Status) -> TransportFault {
        let class = TransportClass::Rejected(status.code as u8);
        TransportFault::new(class, format!("{}: {}", self.address, status.message))
    }

    /// Makes a call.
    fn call(&self, path: &'static str, body: Bytes) -> Result<Bytes, TransportFault> {
        let call = match self.node {
            Node::Store(store) => {
                let command = Command::decode(path, body).map_err(|status| self.failed(&status))?;
                Call::Store { store, command: Box::new(command) }
            }
            _ => Call::Pd { member: 0, follower_may: false, path, body },
        };
        match self.model.call(call) {
            Reply::Store(answer) => Ok(answer.encode()),
            Reply::Bytes(answer) => Ok(answer),
            Reply::Fail(status) => Err(self.failed(&status)),
            // Only fault rules make the model silent, or break calls off, and nobody orders any here.
            other => panic!("{other:?}"),
        }
    }

    /// Runs a frame of commands.
    fn frame(&self, store: u64, frame: Bytes) -> Result<Bytes, TransportFault> {
        let failed = |status| self.failed(&status);
        let mut answers = Answers::new(0);
        for asked in commands(frame).map_err(failed)? {
            let (id, Some(command)) = asked.map_err(failed)? else { continue };
            if let Reply::Store(answer) = self.model.call(Call::Store { store, command })
                && let Answer::Batched(answer) = *answer
            {
                answers.push(id, Some(answer));
            }
        }
        Ok(answers.close().unwrap_or_default().freeze())
    }
}

impl Channel for Door {
    fn unary(&self, path: &'static str, _: &Metadata, body: Bytes) -> Called<Bytes> {
        let door = self.clone();
        Box::pin(async move { door.call(path, body) })
    }

    fn stream(&self, path: &'static str, _: &Metadata) -> Box<dyn ByteStream> {
        Box::new(Stream { door: self.clone(), path, answers: VecDeque::new(), reader: None })
    }
}

/// A stream, whose messages are answered when they are sent.
#[derive(Debug)]
struct Stream {
    door: Door,
    path: &'static str,
    answers: VecDeque<Result<Bytes, TransportFault>>,
    reader: Option<Waker>,
}

impl ByteStream for Stream {
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, message: Bytes) {
        self.answers.push_back(match self.door.node {
            Node::Store(store) if self.path == BATCH_COMMANDS => self.door.frame(store, message),
            _ => self.door.call(self.path, message),
        });
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn finish(&mut self) {}

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportFault>>> {
        self.reader = Some(cx.waker().clone());
        self.answers.pop_front().map_or(Poll::Pending, |answer| Poll::Ready(Some(answer)))
    }
}
