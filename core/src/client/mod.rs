//! What applications call, and what drives the machines.
//!
//! [`Client`] is the handle; `raw()` and the transaction calls give typed clients that share its state. A call is a
//! value that can be refined and then awaited; [`Pending`] is the future behind it (`drive`). `connect` starts one `host` a
//! service on the [`Runtime`]; `wire` keeps a host's connections. `shared` is what operations read and push to, `background`
//! runs operations that nobody waits for; `watch` is for who looks on at operations, `streaming` is calls that bring many
//! messages.

mod background;
mod checked;
mod connect;
mod drive;
mod host;
mod runtime;
mod shared;
mod streaming;
mod watch;
mod wire;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(crate) use background::Left;
pub use checked::Checked;
pub(crate) use drive::Terms;
pub use drive::{Explained, Pending};
pub use runtime::{BoxFuture, ByteStream, Channel, Clock, Compression, ConnectOptions, Runtime};
pub(crate) use shared::Inner;
pub use shared::Space;
pub use streaming::{Progress, Streaming};

use crate::config::Config;
use crate::error::Error;
use crate::range_task::Regions;
use crate::raw::RawClient;
use crate::request::RequestOptions;
use crate::store::{RegistryCommand, StoreMeta};
use crate::types::{ClusterId, Engine, Presence, StoreId, StoreView, Timestamp};

/// A client of one TiKV cluster. Cloning shares it; its tasks end when the last clone and the last call are gone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    /// What the requests of its calls carry.
    options: RequestOptions,
}

impl Client {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let options = inner.config.requests.clone();
        Self { inner, options }
    }

    /// A client of which all calls, and all that is made of it, carry `options`, too: they go before those that it has. It shares
    /// everything else with this one.
    #[must_use]
    pub fn with(&self, options: &RequestOptions) -> Self {
        Self { inner: Arc::clone(&self.inner), options: self.options.and(options) }
    }

    /// What the requests of its calls carry.
    #[must_use]
    pub fn options(&self) -> &RequestOptions {
        &self.options
    }

    /// Finds PD at one of `endpoints` (`host:port`) and starts the client's tasks on `runtime`.
    ///
    /// # Errors
    /// [`ConfigError`](crate::config::ConfigError): all that is wrong with `config`, before anything is started;
    /// [`ServiceError`](crate::error::ServiceError): an address that is none, no PD that answers within
    /// `config.connect_timeout`, PDs of different clusters, certificates that cannot be used, a keyspace that is not
    /// there or not in use.
    ///
    /// # Cancel safety
    /// Dropping the future ends what it had started.
    ///
    /// client-go: `txnkv/client.go: NewClient`, `rawkv/rawkv.go: NewClient`.
    pub async fn connect(
        runtime: Arc<dyn Runtime>,
        endpoints: &[impl AsRef<str>],
        config: Config,
    ) -> Result<Self, Error> {
        // On the heap: whoever awaits this has a small future.
        Box::pin(connect::connect(runtime, endpoints, config)).await
    }

    /// Raw calls, to the default column family.
    #[must_use]
    pub fn raw(&self) -> RawClient {
        RawClient::new(self.clone())
    }

    /// The regions of one key space: to find and list them, to split and scatter them.
    #[must_use]
    pub fn regions(&self, space: Space) -> Regions {
        Regions::new(self.clone(), space)
    }

    /// The cluster's id.
    ///
    /// client-go: `rawkv/rawkv.go: ClusterID`.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.inner.cluster
    }

    /// How many regions the client has met and remembers, of both key spaces.
    #[must_use]
    pub fn known_regions(&self) -> usize {
        self.inner.raw.directory.len() + self.inner.txn.directory.len()
    }

    /// A timestamp at or below which every read sees all data on every replica of the stores of `zone` (their label `zone`),
    /// or of all stores: a stale read at it needs no leader. `None` until a store has told its own.
    ///
    /// The first call has the stores asked from then on, every [`StoreConfig::safe_ts_every`](crate::store::StoreConfig).
    /// A value is that of the last answers; it need not rise when a store joins.
    ///
    /// client-go: `tikv/kv.go: GetMinSafeTS`.
    #[must_use]
    pub fn min_safe_ts(&self, zone: Option<&str>) -> Option<Timestamp> {
        if !self.inner.watches_safe_ts.swap(true, Ordering::Relaxed) {
            self.inner.registry.tell(RegistryCommand::WatchSafeTs);
        }
        self.inner.txn.stores.min_safe_ts(|meta| {
            let whole = meta.presence == Presence::Serving && meta.engine != Engine::TiFlashCompute;
            whole && zone.is_none_or(|zone| meta.labels.get("zone") == Some(zone))
        })
    }

    /// The stores that the client knows: all that PD lists, soon after the client begins.
    ///
    /// client-go: `internal/locate/region_cache.go: GetAllStores, GetStoresByType`.
    #[must_use]
    pub fn stores(&self) -> Vec<(StoreId, Arc<StoreMeta>)> {
        let stores = &self.inner.txn.stores;
        stores.ids().into_iter().filter_map(|store| stores.meta(store).map(|meta| (store, meta))).collect()
    }

    /// How a store is, as far as the client knows: whether it answers, and whether it is slow.
    ///
    /// client-go: `internal/locate/region_cache.go: GetStore…`, `store_cache.go: IsSlow`.
    #[must_use]
    pub fn store(&self, store: StoreId) -> StoreView {
        self.inner.txn.stores.view(store, self.inner.clock.now())
    }

    /// The configuration the client was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Waits until the operations in the background (commits of secondaries, cleanups) have ended, at most for
    /// `patience`, then ends the client's tasks. Calls under way complete as
    /// [`Interrupt::Closed`](crate::machine::Interrupt::Closed).
    ///
    /// Returns how many background operations were left undone. Other clones of the client are closed, too.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the client open.
    pub async fn close(self, patience: Duration) -> usize {
        let until = self.inner.clock.now() + patience;
        let drained = Arc::new(background::Drained::default());
        let said = background::Said(Arc::clone(&drained));
        let command = background::BackgroundCommand::Drain { until, drained: said };
        if self.inner.background.is_closed() {
            return 0;
        }
        self.inner.background.tell(command);
        let left = poll_fn(|cx| drained.poll(cx)).await;
        self.inner.shut();
        left
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}
