//! Connecting: finds PD, then starts the client's service tasks.

use std::fmt::Debug;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;

use super::Client;
use super::background::Background;
use super::host::{Host, Surroundings};
use super::runtime::{ConnectOptions, Runtime};
use super::shared::{Inner, Kits, SpaceState, Stores};
use super::wire::Wire;
use crate::codec::keyspace::{DEFAULT_KEYSPACE, PREFIX_LEN};
use crate::codec::{KeyspaceId, Mode};
use crate::config::{ApiVersion, Config, Security};
use crate::error::{Error, ServiceError};
use crate::machine::{Answer, Asker, Completion, Fault, Feedback, Mailbox, Seat, Service, TicketId};
use crate::metrics::OperationMetrics;
use crate::pd::{PdCommand, PdConfig, PdQuery, PdReply, PdService, parse_endpoints};
use crate::region::Directory;
use crate::region::loader::{LoaderCommand, LoaderConfig, LoaderEffect, RegionLoader};
use crate::request::Profile;
use crate::store::{Registry, RegistryCommand, RegistryEffect, StoreTable};
use crate::stream::{StoreStream, StreamCommand};
use crate::timers::Timers;
use crate::trace::Tap;
use crate::tso::TsoBatcher;
use crate::types::{ClusterId, Instant, Key, Liveness, StoreId};

/// The operation that errors name.
const CONNECT: &str = "connect";

/// The queues, seeds and connections that every service task gets.
struct Founder {
    runtime: Arc<dyn Runtime>,
    config: Config,
    /// What every request has in its context.
    context: Profile,
    pd: Arc<Mailbox<PdCommand>>,
    seeds: fastrand::Rng,
}

impl Founder {
    fn mailbox<C>(&self) -> Arc<Mailbox<C>> {
        Arc::new(Mailbox::new(self.config.max_waiting))
    }

    fn options(&self) -> ConnectOptions {
        let mut options = self.config.connection.clone();
        options.security = self.config.security.clone();
        options
    }

    /// Starts the task of `service`, which traces call `name`.
    fn start<S>(
        &mut self,
        name: impl Into<String>,
        service: S,
        mailbox: &Arc<Mailbox<S::Command>>,
        report: impl FnMut(&Feedback, Instant) + Send + 'static,
        special: impl FnMut(S::Special) + Send + 'static,
    ) where
        S: Service + Send + Unpin + 'static,
        S::Command: Send + 'static,
        S::Timer: Send + Unpin + 'static,
        S::Special: Send + Unpin + 'static,
    {
        let around = Surroundings {
            mailbox: Arc::clone(mailbox),
            runtime: Arc::clone(&self.runtime),
            pd: Arc::clone(&self.pd),
            wire: Wire::new(Arc::clone(&self.runtime), self.options()),
            seed: self.seeds.u64(..),
            report: Box::new(report),
            special: Box::new(special),
            tap: self.config.trace.as_ref().map(|recorder| Tap::new(recorder, name)),
        };
        Host::spawn(service, around);
    }

    fn space(&mut self, name: &'static str, mode: Mode, stores: &Arc<StoreTable>) -> Arc<SpaceState> {
        let stores = Arc::clone(stores);
        let directory = Directory::bounded(mode, self.config.max_regions);
        let space = Arc::new(SpaceState { directory, loader: self.mailbox(), stores });
        let loader = Arc::clone(&space.loader);
        let mut config = LoaderConfig::new(mode, self.config.region_ttl, self.config.region_ttl_jitter);
        config.redact_keys = self.config.redact_keys;
        config.preload = self.config.preload_regions;
        config.refresh_every = self.config.refresh_regions;
        // The task holds the directory only weakly: it ends with the client.
        let directory = Arc::downgrade(&space);
        let report = move |feedback: &Feedback, now| {
            if let Some(space) = directory.upgrade() {
                space.directory.apply(feedback, now);
            }
        };
        let (directory, runtime) = (Arc::downgrade(&space), Arc::clone(&self.runtime));
        let mut from = Key::EMPTY;
        let sweep = move |LoaderEffect::Sweep { limit }| {
            if let Some(space) = directory.upgrade() {
                let now = runtime.now();
                let suspect = |store| space.stores.view(store, now).liveness != Liveness::Reachable;
                let swept = space.directory.sweep(&from, limit, now, suspect);
                from = swept.next.unwrap_or(Key::EMPTY);
            }
        };
        self.start(name, RegionLoader::new(config), &loader, report, sweep);
        loader.tell(LoaderCommand::Begin);
        space
    }
}

/// Ends the tasks of a client that was not finished: connecting failed, or was dropped.
struct Unfinished(Option<Arc<Mailbox<PdCommand>>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(pd) = &self.0 {
            pd.shut();
        }
    }
}

/// See [`Client::connect`].
pub(super) async fn connect(
    runtime: Arc<dyn Runtime>,
    endpoints: &[impl AsRef<str>],
    mut config: Config,
) -> Result<Client, Error> {
    config.validate()?;
    config.trace = config.trace.map(|recorder| recorder.join());
    if let Some(sink) = &config.metrics {
        config.requests = config.requests.observer(OperationMetrics::new(Arc::clone(sink)));
    }
    let endpoints = parse_endpoints(endpoints)?;
    let seed = config.seed.unwrap_or_else(|| runtime.wall().0.rotate_left(32) ^ runtime.now().0);
    let mut founder = Founder {
        runtime,
        pd: Arc::new(Mailbox::new(config.max_waiting)),
        seeds: fastrand::Rng::with_seed(seed),
        context: Profile::default(),
        config,
    };
    let pd = Arc::clone(&founder.pd);
    let mut unfinished = Unfinished(Some(Arc::clone(&pd)));
    let mut pd_config = PdConfig::new(endpoints, founder.config.connect_timeout, founder.config.pd_timeout);
    pd_config.encrypted = founder.config.security != Security::Plain;
    founder.start("pd", PdService::new(pd_config), &pd, |_, _| {}, |never| match never {});
    let cluster = find_cluster(&pd).await?;
    let keyspace = match &founder.config.api_version {
        ApiVersion::V1 => None,
        ApiVersion::V2 { keyspace } => {
            let name = if keyspace.is_empty() { DEFAULT_KEYSPACE } else { keyspace.as_str() };
            let deadline = founder.runtime.now() + founder.config.connect_timeout;
            let id = find_keyspace(&pd, name, deadline).await?;
            founder.context = Profile::of_keyspace(id, name);
            Some(id)
        }
    };
    if keyspace.is_some() {
        // The limit is that of the stores, for which the prefix is a part of the key.
        founder.config.max_key = founder.config.max_key.saturating_sub(PREFIX_LEN);
    }
    unfinished.0 = None;
    Ok(Client::new(Arc::new(found(founder, cluster, keyspace, seed))))
}

/// Asks PD for its cluster; ends within the connect time-out, which PD's service keeps.
async fn find_cluster(pd: &Mailbox<PdCommand>) -> Result<ClusterId, Error> {
    match ask(pd, |asker| PdCommand::Connect { asker }).await? {
        PdReply::Leader { cluster, .. } => Ok(cluster),
        other => Err(no_answer(&other)),
    }
}

/// Asks PD for the id of a keyspace, which must be in use.
///
/// client-go: `internal/locate/pd_codec.go: NewCodecPDClientWithKeyspace`.
async fn find_keyspace(pd: &Mailbox<PdCommand>, name: &str, deadline: Instant) -> Result<KeyspaceId, Error> {
    let query = PdQuery::Keyspace { name: name.into() };
    let found = match ask(pd, |asker| PdCommand::Query { query, asker, deadline }).await? {
        PdReply::Keyspace(found) => found,
        other => return Err(no_answer(&other)),
    };
    let unknown = || ServiceError::BadKeyspace { name: name.into(), reason: "PD does not know it".into() };
    Ok(found.ok_or_else(unknown)?.usable()?)
}

/// Asks PD's service, before there is any operation.
async fn ask(pd: &Mailbox<PdCommand>, command: impl FnOnce(Asker) -> PdCommand) -> Result<PdReply, Error> {
    let seat = Arc::new(Seat::default());
    let asker = Asker::new(Arc::clone(&seat), TicketId::new(0, 0));
    if pd.ask(command(asker)).is_err() {
        return Err(Error::of_fault(CONNECT, Fault::Overloaded));
    }
    let (_, completion) = poll_fn(|cx| {
        seat.register(cx.waker());
        seat.next().map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    match completion {
        Completion::Answer(Answer::Pd(reply)) => Ok(reply),
        Completion::Fault(fault) => Err(Error::of_fault(CONNECT, fault)),
        other => Err(no_answer(&other)),
    }
}

fn no_answer(instead: &dyn Debug) -> Error {
    Error::Corrupt { operation: CONNECT, detail: format!("{instead:?}").into() }
}

/// Starts every service task.
fn found(mut founder: Founder, cluster: ClusterId, keyspace: Option<KeyspaceId>, seed: u64) -> Inner {
    let timers = founder.mailbox();
    founder.start("timers", Timers::default(), &timers, |_, _| {}, |never| match never {});
    let tso = founder.mailbox();
    founder.start("timestamps", TsoBatcher::default(), &tso, |_, _| {}, |never| match never {});
    let known = Arc::new(StoreTable::default());
    let raw_mode = if keyspace.is_some() { Mode::Txn } else { Mode::Raw };
    let raw = founder.space("raw regions", raw_mode, &known);
    let txn = founder.space("transactional regions", Mode::Txn, &known);
    let stores = Arc::new(Stores::default());
    let registry = founder.mailbox();
    let special = launcher(&mut founder, &stores, &known, &registry);
    let service = Registry::new(founder.config.stores.clone());
    let told = Arc::clone(&known);
    founder.start("stores", service, &registry, move |feedback, now| told.apply(feedback, now), special);
    registry.tell(RegistryCommand::Begin);
    let background = founder.mailbox();
    Background::spawn(Arc::clone(&background), Arc::clone(&founder.runtime));
    Inner {
        clock: founder.runtime,
        config: founder.config,
        cluster,
        keyspace,
        seed,
        stores,
        registry,
        timers,
        tso,
        pd: founder.pd,
        background,
        raw,
        txn,
        watches_safe_ts: AtomicBool::new(false),
        kits: Kits::default(),
    }
}

/// Carries out what the registry decides about the streams of stores.
fn launcher(
    founder: &mut Founder,
    stores: &Arc<Stores>,
    known: &Arc<StoreTable>,
    registry: &Arc<Mailbox<RegistryCommand>>,
) -> impl FnMut(RegistryEffect) + Send + 'static {
    let (stores, known, registry) = (Arc::clone(stores), Arc::clone(known), Arc::downgrade(registry));
    let mut founder = Founder {
        runtime: Arc::clone(&founder.runtime),
        config: founder.config.clone(),
        context: founder.context.clone(),
        pd: Arc::clone(&founder.pd),
        seeds: founder.seeds.fork(),
    };
    let (table, clock) = (Arc::clone(&known), Arc::clone(&founder.runtime));
    let mut launch = move |stores: &Stores, store: StoreId, address| {
        let mailbox: Arc<Mailbox<StreamCommand>> = founder.mailbox();
        let stream =
            StoreStream::new(address, founder.config.stream.clone()).of_client(founder.context.clone());
        let told = Arc::clone(&table);
        let report = move |feedback: &Feedback, now| told.apply(feedback, now);
        founder.start(format!("store {store}"), stream, &mailbox, report, |never| match never {});
        stores.put(store, &mailbox);
    };
    move |effect| match effect {
        RegistryEffect::Launch { store, address } => launch(&stores, store, address),
        RegistryEffect::Move { store, address } => stores.forward(store, StreamCommand::Move { address }),
        RegistryEffect::Forward { store, command } => stores.forward(store, command),
        RegistryEffect::Remove { store } => stores.remove(store),
        RegistryEffect::Know { store, meta } => known.know(store, meta),
        RegistryEffect::Alive { store, liveness } => known.set_liveness(store, liveness),
        RegistryEffect::SafeTs { store, ts } => known.raise_safe_ts(store, ts),
        RegistryEffect::Judge { silent } => {
            for store in known.turn(clock.now(), silent) {
                if let Some(registry) = registry.upgrade() {
                    registry.tell(RegistryCommand::AskHealth { store });
                }
            }
        }
    }
}
