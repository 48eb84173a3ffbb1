//! Clusters and clients of the tests, and how they wait. A test's clients run on its runtime; its own timers are smol's, which
//! any executor can poll.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use smol::Timer;
use smol::future::or;
pub(crate) use smol::future::{poll_once, yield_now};
use tikv_client_core::client::Client;
use tikv_client_core::config::Config;
use tikv_client_core::error::Error;
use tikv_client_core::txn::CommitInfo;
use tikv_client_core::types::{Key, KvPair};
use tikv_embedded::{Builder, Cluster as Embedded};

use crate::runtimes::Rt;

/// Where regions begin in most tests: eight of them, seven with letters.
pub(crate) const BOUNDS: [&str; 7] = ["b", "d", "f", "h", "k", "p", "t"];

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running cluster, and the runtime of the clients that connect to it.
#[derive(Debug)]
pub(crate) struct Cluster {
    embedded: Embedded,
    pub(crate) rt: Rt,
}

impl Deref for Cluster {
    type Target = Embedded;

    fn deref(&self) -> &Embedded {
        &self.embedded
    }
}

impl Rt {
    /// Starts a cluster.
    pub(crate) fn start(&self, builder: Builder) -> Cluster {
        Cluster { embedded: builder.start().wait().unwrap(), rt: self.clone() }
    }

    /// Three stores, and eight regions of raw keys.
    pub(crate) fn raw_cluster(&self) -> Cluster {
        self.start(Embedded::builder().stores(3).raw_split_keys(BOUNDS))
    }

    /// Three stores, and eight regions of transactional keys.
    pub(crate) fn txn_cluster(&self) -> Cluster {
        self.start(Embedded::builder().stores(3).split_keys(BOUNDS))
    }

    /// Connects to addresses that may be none.
    pub(crate) async fn connect(&self, addresses: Vec<String>, config: Config) -> Result<Client, Error> {
        Client::connect(self.runtime(), &addresses, config).await
    }

    /// Waits until no task of this runtime is left; the test's own body is not counted as one.
    pub(crate) async fn no_tasks(&self) {
        let end = Instant::now() + PATIENCE;
        while self.tasks() > 0 {
            assert!(Instant::now() < end, "{} tasks are left", self.tasks());
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Connects with the default configuration.
pub(crate) async fn client(cluster: &Cluster) -> Client {
    client_with(cluster, Config::default()).await
}

/// Connects with a configuration.
pub(crate) async fn client_with(cluster: &Cluster, config: Config) -> Client {
    cluster.rt.connect(cluster.pd_addresses(), config).await.unwrap()
}

/// A configuration whose calls end soon.
pub(crate) fn hasty(deadline: Duration) -> Config {
    let mut config = Config::default();
    config.deadline = deadline;
    config.connect_timeout = deadline;
    config
}

/// Awaits `call`, which must be over in half as much time again as it was given, and says what came of it.
pub(crate) async fn within<T>(deadline: Duration, call: impl IntoFuture<Output = T>) -> T {
    let begun = Instant::now();
    let output = in_time(call).await;
    // What the host's scheduler adds, with three other programs at work.
    let slack = deadline / 2 + Duration::from_millis(150);
    assert!(begun.elapsed() <= deadline + slack, "{:?} of {deadline:?}", begun.elapsed());
    output
}

/// Awaits `call`, which must not hang.
pub(crate) async fn in_time<T>(call: impl IntoFuture<Output = T>) -> T {
    timeout(PATIENCE, call).await.expect("it hangs")
}

/// Awaits `call`; `None` when it is not over in time.
pub(crate) async fn timeout<T>(time: Duration, call: impl IntoFuture<Output = T>) -> Option<T> {
    or(async { Some(call.into_future().await) }, async {
        sleep(time).await;
        None
    })
    .await
}

/// Waits for some time.
pub(crate) async fn sleep(time: Duration) {
    Timer::after(time).await;
}

/// The pairs as text.
pub(crate) fn texts(pairs: Vec<KvPair>) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    pairs.iter().map(|pair| (text(pair.key.as_slice()), text(&pair.value))).collect()
}

/// What a snapshot of now holds, as text, read without the transactions' help.
pub(crate) async fn all_now(client: &Client) -> Vec<(String, String)> {
    let snapshot = client.snapshot(in_time(client.current_timestamp()).await.unwrap());
    texts(in_time(snapshot.scan(..)).await.unwrap())
}

/// The pairs of `keys`, each with `value`, as [`all_now`] tells them.
pub(crate) fn each<'a>(keys: impl IntoIterator<Item = &'a str>, value: &str) -> Vec<(String, String)> {
    keys.into_iter().map(|key| (key.to_owned(), value.to_owned())).collect()
}

/// Writes `value` under each of `keys` in one transaction.
pub(crate) async fn write(client: &Client, keys: &[&str], value: &str) -> Result<CommitInfo, Error> {
    let mut txn = client.begin().await?;
    for &key in keys {
        txn.put(key, value.to_owned())?;
    }
    txn.commit().await
}

/// The keys as text.
pub(crate) fn keys(pairs: Vec<KvPair>) -> Vec<String> {
    texts(pairs).into_iter().map(|(key, _)| key).collect()
}

/// A key of each region, in order.
pub(crate) const ONE_EACH: [&str; 8] = ["a1", "c1", "e1", "g1", "i1", "m1", "r1", "z1"];

/// [`ONE_EACH`] as keys.
pub(crate) fn a_key_of_each_region() -> Vec<Key> {
    ONE_EACH.map(Key::from).to_vec()
}

/// A folder that goes with this.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tikv-suite-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is only litter.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// All that an error says: its own text and those of its sources.
pub(crate) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
