//! Scenes: short stories of one client, played in the simulator and recorded. They give the committed traces.
//!
//! Each stands beside its trace, as `traces/NAME.rs`; `tikv-sim record NAME` writes `traces/NAME.trace`. A scene is a function of
//! itself: the same trace each time, down to the last byte. `Stage` is what a scene plays on: three stores, a calm network,
//! and the means to make trouble.

use std::pin::Pin;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tikv_client_core::client::{Client, Runtime};
use tikv_client_core::config::Config;
use tikv_client_core::error::Error;
use tikv_client_core::trace::Recorder;
use tikv_embedded::control::{Action, Matcher, Node, Rule, RuleId};
use tikv_embedded::model::key::encode;
use tikv_embedded::model::{Cluster, Layout, Member, Pd};

use crate::digest::Digest;
use crate::exec::{Executor, Group, Sleep, WORLD, nanos};
use crate::net::{Absence, Net, SimRuntime, Weather, cluster_time};
use crate::tally::Tally;
use crate::violation::Verdict;

#[path = "../../traces/lock_of_a_dead_client.rs"]
mod lock_of_a_dead_client;
#[path = "../../traces/lost_commit_answer.rs"]
mod lost_commit_answer;
#[path = "../../traces/not_leader_storm.rs"]
mod not_leader_storm;
#[path = "../../traces/pd_leader_change.rs"]
mod pd_leader_change;
#[path = "../../traces/split_during_commit.rs"]
mod split_during_commit;

/// A scene under way.
type Play = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A name, and how it is played.
type Scene = (&'static str, fn(Stage) -> Play);

/// The scenes by name.
const SCENES: [Scene; 5] = [
    ("lock_of_a_dead_client", |stage| Box::pin(lock_of_a_dead_client::play(stage))),
    ("lost_commit_answer", |stage| Box::pin(lost_commit_answer::play(stage))),
    ("not_leader_storm", |stage| Box::pin(not_leader_storm::play(stage))),
    ("pd_leader_change", |stage| Box::pin(pd_leader_change::play(stage))),
    ("split_during_commit", |stage| Box::pin(split_during_commit::play(stage))),
];

/// No scene takes longer.
const LONGEST: Duration = Duration::from_secs(600);

/// The names of all scenes.
pub fn names() -> impl Iterator<Item = &'static str> {
    SCENES.iter().map(|scene| scene.0)
}

/// Plays a scene, and gives its trace.
///
/// # Errors
/// What is wrong, for people: there is no such scene, or it did not come to its end.
pub fn record(name: &str) -> Result<Vec<u8>, String> {
    let known = || format!("there is no scene {name}; there are {}", names().collect::<Vec<_>>().join(", "));
    let (_, play) = SCENES.iter().find(|scene| scene.0 == name).ok_or_else(known)?;
    let executor = Executor::new(None, Digest::default());
    let (stage, trace) = Stage::new(&executor);
    let ended = executor.run(play(stage), nanos(LONGEST), || false);
    // What is left ends now, and hands over what it has recorded.
    executor.end();
    match ended {
        Ok(Ok(())) => Ok(std::mem::take(&mut trace.lock().unwrap_or_else(PoisonError::into_inner))),
        Ok(Err(error)) => Err(format!("{name}: {error}")),
        Err(stuck) => Err(format!("{name} does not end: {stuck:?}")),
    }
}

/// What a scene plays on. Clones share it.
#[derive(Clone)]
pub(crate) struct Stage {
    executor: Executor,
    net: Net,
    recorder: Recorder,
    groups: Arc<AtomicU32>,
}

impl Stage {
    pub(crate) fn new(executor: &Executor) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let stores: Vec<String> = (1..=3).map(|n| format!("store-{n}:20160")).collect();
        let pds: Vec<String> = (0..3).map(|n| format!("pd-{n}:2379")).collect();
        let addresses = stores.iter().cloned().zip((1..).map(Node::Store));
        let addresses = addresses.chain(pds.iter().cloned().zip((0..).map(Node::Pd))).collect();
        let members = pds.iter().zip(1..);
        let members =
            members.map(|(address, id)| Member::new(id, format!("pd-{id}"), format!("http://{address}")));
        let mut topology = Layout::new(stores, 3).build();
        topology.set_started(cluster_time(0).unix_seconds());
        let cluster = Cluster::new(topology, Pd::new(7, members.collect(), 3));
        let ends = (Digest::default(), Tally::default(), Verdict::default());
        let net = Net::new(executor.clone(), ends, cluster, addresses, Weather::calm(), Rng::with_seed(7));
        let trace: Arc<Mutex<Vec<u8>>> = Arc::default();
        let into = Arc::clone(&trace);
        let recorder = Recorder::to_sink(move |bytes: &[u8]| {
            into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        });
        (Self { executor: executor.clone(), net, recorder, groups: Arc::default() }, trace)
    }

    async fn connect(&self, recorder: Option<Recorder>) -> Result<(Client, Group), Error> {
        let group = self.groups.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + WORLD + 1;
        let (executor, net) = (self.executor.clone(), self.net.clone());
        let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(executor, net, group, Arc::default()));
        let mut config = Config::default();
        config.seed = Some(u64::from(group));
        config.trace = recorder;
        Ok((Client::connect(runtime, &["pd-0:2379", "pd-1:2379", "pd-2:2379"], config).await?, group))
    }

    /// The client that is recorded.
    pub(crate) async fn client(&self) -> Result<Client, Error> {
        Ok(self.connect(Some(self.recorder.clone())).await?.0)
    }

    /// Another client, which is not recorded, and the name under which it dies.
    pub(crate) async fn stranger(&self) -> Result<(Client, Group), Error> {
        self.connect(None).await
    }

    /// A client dies with all that it has under way.
    pub(crate) fn kill(&self, group: Group) {
        self.executor.kill(group);
    }

    /// Runs something beside the scene, until `group` dies or the scene ends.
    pub(crate) fn beside(&self, group: Group, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(group, Box::pin(task));
    }

    /// Does something to the cluster after `by`.
    pub(crate) fn after(&self, by: Duration, act: impl FnOnce(&mut Cluster) + Send + 'static) {
        let net = self.net.clone();
        self.executor.after(by, move || net.with(|state, _| act(&mut state.cluster)));
    }

    /// Does something to the cluster at once.
    pub(crate) fn now<T>(&self, act: impl FnOnce(&mut Cluster) -> T) -> T {
        self.net.with(|state, _| act(&mut state.cluster))
    }

    /// From now on `action` is done to the calls of `method` at `node`, so many times.
    pub(crate) fn trouble(&self, method: &str, node: Node, action: Action, times: u64) -> RuleId {
        let rule = Rule::new(Matcher::method(method).at(node), action).times(times);
        self.now(|cluster| cluster.add_fault(rule))
    }

    /// A server stops: its connections break, and dials fail.
    pub(crate) fn stop(&self, node: Node, absence: Absence) {
        self.net.stop(node, absence);
    }

    /// It serves again.
    pub(crate) fn start(&self, node: Node) {
        self.net.start(node);
    }

    pub(crate) fn sleep(&self, by: Duration) -> Sleep {
        self.executor.sleep(by)
    }
}

/// Splits the region of the transactional `key` there.
pub(crate) fn split_at(cluster: &mut Cluster, key: &str) {
    let bound = encode(key.as_bytes());
    let region = cluster.topology.region_at(&bound).map_or(0, |region| region.id);
    // The bound of a region that is there is no place to split it; then nothing is to be done.
    drop(cluster.topology.split(region, &[bound]));
}
