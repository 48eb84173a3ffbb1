//! What holds on every cluster: the suite's core part. It needs no control of the cluster and touches only keys of its own, so
//! that it also runs against a real one: `TIKV_PD=host:port,… cargo test -p tikv-client-suite anywhere`.
//!
//! Each test runs on each runtime, blocking on a client with a thread of its own, and on `threads`: a runtime of the standard
//! library's against the model's doors, without sockets (that one never on a real cluster). `raw` and `txn` have the tests.

mod blocking;
mod raw;
mod threads;
mod txn;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tikv_client_core::client::Client;
use tikv_client_core::codec::memcomparable;
use tikv_client_core::config::Config;
use tikv_client_core::types::{Key, KeyRange, KvPair};
use tikv_client_tokio::Wait;
use tikv_embedded::Cluster;

use crate::fixture::in_time;
use crate::runtimes::Rt;
use threads::{Model, Threads};

/// Makes of its function a test for each runtime, a blocking one for each that can, and one on [`Threads`].
macro_rules! anywhere {
    ($(#[$meta:meta])* async fn $name:ident($client:ident: Client, $keys:ident: Keys) $body:block) => {
        $(#[$meta])*
        async fn $name($client: Client, $keys: Keys) $body

        mod $name {
            use crate::anywhere as any;
            use crate::runtimes as on;

            #[test]
            fn tokio() {
                on::on_tokio(|rt| any::connected(rt, super::$name));
            }

            #[test]
            fn tokio_current_thread() {
                on::on_tokio_current_thread(|rt| any::connected(rt, super::$name));
            }

            #[test]
            fn smol() {
                on::on_smol(|rt| any::connected(rt, super::$name));
            }

            #[test]
            fn async_std() {
                on::on_async_std(|rt| any::connected(rt, super::$name));
            }

            #[test]
            fn tokio_blocking() {
                any::blocked(tikv_client_tokio::connect_blocking, super::$name);
            }

            #[test]
            fn smol_blocking() {
                any::blocked(tikv_client_smol::connect_blocking, super::$name);
            }

            #[test]
            fn threads() {
                any::on_threads(super::$name);
            }
        }
    };
}
use anywhere;

/// The keys of one test: they begin with bytes that no other test, and no other run, has.
#[derive(Clone, Debug)]
struct Keys(String);

impl Keys {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self(format!("tikv-client-suite/{}-{}-{number}/", now.as_nanos(), std::process::id()))
    }

    /// The raw key of this name.
    fn raw(&self, name: &str) -> Key {
        format!("{}raw/{name}", self.0).into()
    }

    /// The transactional key of this name.
    fn txn(&self, name: &str) -> Key {
        format!("{}txn/{name}", self.0).into()
    }

    /// All raw keys.
    fn all_raw(&self) -> KeyRange {
        KeyRange::prefix(self.raw(""))
    }

    /// All transactional keys.
    fn all_txn(&self) -> KeyRange {
        KeyRange::prefix(self.txn(""))
    }

    /// The names of what was read, which must all be of these keys.
    fn names(&self, pairs: &[KvPair]) -> Vec<String> {
        let name = |pair: &KvPair| {
            let key = String::from_utf8(pair.key.as_slice().to_vec()).unwrap();
            key.strip_prefix(&self.0).and_then(|key| key.get(4..)).unwrap().to_owned()
        };
        pairs.iter().map(name).collect()
    }

    /// Where a new cluster's regions begin: each test has keys in several.
    fn bounds(&self) -> (Vec<Key>, Vec<Key>) {
        let bounds = ["d", "h", "m", "t"];
        (bounds.map(|name| self.raw(name)).into(), bounds.map(|name| self.txn(name)).into())
    }
}

/// The addresses of PD: of the real cluster that the environment names, or of a new one.
fn cluster(keys: &Keys) -> (Vec<String>, Option<Cluster>) {
    if let Ok(pd) = std::env::var("TIKV_PD") {
        return (pd.split(',').map(str::to_owned).collect(), None);
    }
    let (raw, txn) = keys.bounds();
    let cluster = Cluster::builder().stores(3).raw_split_keys(raw).split_keys(txn).start().wait().unwrap();
    (cluster.pd_addresses(), Some(cluster))
}

/// Runs a test with a client on `rt`.
async fn connected<F: Future<Output = ()>>(rt: Rt, test: impl FnOnce(Client, Keys) -> F) {
    let keys = Keys::new();
    let (pd, _running) = cluster(&keys);
    let client = rt.connect(pd, Config::default()).await.unwrap();
    in_time(test(client.clone(), keys)).await;
    assert_eq!(client.close(Duration::from_secs(10)).await, 0);
    rt.no_tasks().await;
}

/// Runs a test that blocks this thread.
fn blocked<F: Future<Output = ()>>(
    connect: impl FnOnce(Vec<String>, Config) -> Result<Client, tikv_client_core::error::Error>,
    test: impl FnOnce(Client, Keys) -> F,
) {
    let keys = Keys::new();
    let (pd, _running) = cluster(&keys);
    let client = connect(pd, Config::default()).unwrap();
    in_time(test(client.clone(), keys)).wait();
    assert_eq!(client.close(Duration::from_secs(10)).wait(), 0);
}

/// Runs a test on the standard library's runtime, against a model without sockets; the thread ends with the client.
fn on_threads<F: Future<Output = ()>>(test: impl FnOnce(Client, Keys) -> F) {
    let keys = Keys::new();
    let (raw, txn) = keys.bounds();
    let mut bounds: Vec<Bytes> = raw.into_iter().map(Bytes::from).collect();
    bounds.extend(txn.iter().map(|key| Bytes::from(memcomparable::encode(key.as_slice()))));
    let (runtime, thread) = Threads::start(Model::new(bounds));
    let client = Client::connect(Arc::new(runtime), &["pd:1"], Config::default()).wait().unwrap();
    in_time(test(client.clone(), keys)).wait();
    assert_eq!(client.close(Duration::from_secs(10)).wait(), 0);
    thread.join().unwrap();
}
