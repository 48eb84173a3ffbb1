//! What all operations of one client share: tables that are read without a lock, and mailboxes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;

use super::background::{BackgroundCommand, Left};
use super::drive::{Kit, Terms, refuse};
use super::runtime::Clock;
use crate::backoff::Budget;
use crate::codec::{KeyspaceId, Mode, Prefix};
use crate::config::Config;
use crate::machine::{Address, Asker, Facts, Feedback, Mailbox, Manner, Op, Seat, Withdrawn};
use crate::pd::PdCommand;
use crate::region::Directory;
use crate::region::loader::LoaderCommand;
use crate::replica::{ReadProfile, Replica};
use crate::request::{Command, RequestOptions};
use crate::start::{Settings, Start};
use crate::store::{RegistryCommand, StoreTable};
use crate::stream::StreamCommand;
use crate::timers::TimerCommand;
use crate::tso::TsoCommand;
use crate::types::{
    ClusterId, Instant, KeyRange, Labels, Located, RegionVersion, Replicas, StoreId, StoreView,
};

/// Kits that are kept for later operations.
const KITS: usize = 4096;

/// Which keys an operation speaks of: PD sees raw and transactional keys in different forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Space {
    /// Keys as they are.
    Raw,
    /// Memcomparable keys.
    Txn,
}

/// The regions of one key space, and the service that loads them.
pub(crate) struct SpaceState {
    pub(crate) directory: Directory,
    pub(crate) loader: Arc<Mailbox<LoaderCommand>>,
    pub(crate) stores: Arc<StoreTable>,
}

impl fmt::Debug for SpaceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpaceState").finish_non_exhaustive()
    }
}

impl Facts for SpaceState {
    fn locate(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.directory.locate(key, now)
    }

    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.directory.locate_below(key, now)
    }

    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        self.directory.span(region)
    }

    fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        self.directory.replicas(region)
    }

    fn store(&self, store: StoreId, now: Instant) -> StoreView {
        self.stores.view(store, now)
    }

    fn labels(&self, store: StoreId) -> Labels {
        self.stores.labels(store)
    }

    fn mode(&self, _: Command) -> Mode {
        self.directory.mode()
    }

    fn report(&self, feedback: &Feedback, now: Instant) {
        self.directory.apply(feedback, now);
        self.stores.apply(feedback, now);
    }
}

/// The streams of all stores, by store: read at each call, changed when a store comes or goes.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    table: ArcSwap<Vec<(StoreId, Arc<Mailbox<StreamCommand>>)>>,
    /// A stream that is started from now on ends at once.
    closed: AtomicBool,
}

impl Stores {
    fn with<T>(&self, store: StoreId, then: impl FnOnce(&Mailbox<StreamCommand>) -> T) -> Option<T> {
        let table = self.table.load();
        let at = table.binary_search_by_key(&store, |entry| entry.0).ok()?;
        Some(then(&table[at].1))
    }

    /// Gives a store its stream; the task of one that it had ends.
    pub(crate) fn put(&self, store: StoreId, mailbox: &Arc<Mailbox<StreamCommand>>) {
        self.change(store, Some(mailbox));
    }

    /// Forgets a store; its task ends.
    pub(crate) fn remove(&self, store: StoreId) {
        self.change(store, None);
    }

    /// Hands over a command that the registry held back or decided on.
    pub(crate) fn forward(&self, store: StoreId, command: StreamCommand) {
        // Without a stream the command is dropped, and its asker learns that.
        self.with(store, |mailbox| mailbox.tell(command));
    }

    fn change(&self, store: StoreId, mailbox: Option<&Arc<Mailbox<StreamCommand>>>) {
        let before = self.table.rcu(|table| {
            let mut table = table.as_ref().clone();
            table.retain(|entry| entry.0 != store);
            if let Some(mailbox) = mailbox {
                let at = table.partition_point(|entry| entry.0 < store);
                table.insert(at, (store, Arc::clone(mailbox)));
            }
            table
        });
        if let Ok(at) = before.binary_search_by_key(&store, |entry| entry.0) {
            before[at].1.shut();
        }
        if self.closed.load(Ordering::SeqCst)
            && let Some(mailbox) = mailbox
        {
            mailbox.shut();
        }
    }

    fn shut(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for (_, mailbox) in self.table.load().iter() {
            mailbox.shut();
        }
    }
}

/// What all operations of one client share.
///
/// Operations hold it by `Arc`; service tasks hold only their parts. When the last operation and the last handle are
/// gone, the tasks end.
pub(crate) struct Inner {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) cluster: ClusterId,
    /// The keyspace of API v2; `None`: API v1.
    pub(crate) keyspace: Option<KeyspaceId>,
    pub(crate) seed: u64,
    pub(crate) stores: Arc<Stores>,
    pub(crate) registry: Arc<Mailbox<RegistryCommand>>,
    pub(crate) timers: Arc<Mailbox<TimerCommand>>,
    pub(crate) tso: Arc<Mailbox<TsoCommand>>,
    pub(crate) pd: Arc<Mailbox<PdCommand>>,
    pub(crate) background: Arc<Mailbox<BackgroundCommand>>,
    pub(crate) raw: Arc<SpaceState>,
    pub(crate) txn: Arc<SpaceState>,
    /// The registry was told to ask for safe timestamps.
    pub(crate) watches_safe_ts: AtomicBool,
    pub(super) kits: Kits,
}

/// Storage of operations that have ended, for later ones.
pub(super) struct Kits {
    kept: ArrayQueue<Box<Kit>>,
    made: AtomicU64,
}

impl Default for Kits {
    fn default() -> Self {
        Self { kept: ArrayQueue::new(KITS), made: AtomicU64::new(0) }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Inner {
    /// What stands before each key of a space; `None`: nothing, as with API v1.
    pub(super) fn prefix(&self, space: Space) -> Option<Prefix> {
        let keyspace = self.keyspace?;
        Some(match space {
            Space::Raw => Prefix::raw(keyspace),
            Space::Txn => Prefix::txn(keyspace),
        })
    }

    pub(crate) fn space(&self, space: Space) -> &SpaceState {
        match space {
            Space::Raw => &self.raw,
            Space::Txn => &self.txn,
        }
    }

    /// Storage for an operation, used before if there is one.
    pub(super) fn kit(&self, terms: &Terms) -> Box<Kit> {
        let mut kit = self.kits.kept.pop().unwrap_or_else(|| {
            let number = self.kits.made.fetch_add(1, Ordering::Relaxed);
            Box::new(Kit { op: Op::default(), seat: Arc::new(Seat::default()), number, uses: 0, seed: 0 })
        });
        kit.uses += 1;
        kit.seed = mix(self.seed ^ mix(kit.number) ^ kit.uses);
        kit.op.begin(kit.seed, terms.deadline, Budget::new(terms.allowance, self.config.backoff));
        kit.op.set_manner(terms.manner.clone());
        kit
    }

    pub(super) fn give_back(&self, kit: Box<Kit>) {
        // Beyond the most that are kept it is simply freed.
        drop(self.kits.kept.push(kit));
    }

    /// Hands a request to the stream of its store; a store that has none yet gets one first.
    #[allow(
        clippy::result_large_err,
        reason = "a command that is refused goes on to the registry: it is moved"
    )]
    pub(super) fn send(&self, store: StoreId, command: StreamCommand) {
        let mut command = Some(command);
        let sent = self.stores.with(store, |mailbox| command.take().map(|command| mailbox.ask(command)));
        let refused = match (sent.flatten(), command) {
            (Some(Err(command)), _) => Some(command),
            (_, Some(command)) => match self.registry.ask(RegistryCommand::Call { store, command }) {
                Err(RegistryCommand::Call { command, .. }) => Some(command),
                Ok(()) | Err(_) => None,
            },
            (_, None) => None,
        };
        if let Some(StreamCommand::Call { asker, .. }) = refused {
            refuse(asker);
        }
    }

    /// Completes what `asker` waits for at a time.
    pub(super) fn wake_at(&self, at: Instant, asker: Asker) {
        if let Err(TimerCommand::Set { asker, .. }) = self.timers.ask(TimerCommand::Set { at, asker }) {
            refuse(asker);
        }
    }

    pub(super) fn withdraw(&self, store: StoreId, who: Withdrawn) {
        let mut command = Some(StreamCommand::Withdraw(who));
        let told = self.stores.with(store, |mailbox| {
            if let Some(command) = command.take() {
                mailbox.tell(command);
            }
        });
        if told.is_none()
            && let Some(command) = command
        {
            self.registry.tell(RegistryCommand::Call { store, command });
        }
    }

    /// Where a store serves, as far as PD has told.
    pub(super) fn address_of(&self, store: StoreId) -> Option<Address> {
        self.raw
            .stores
            .meta(store)
            .map(|meta| Arc::clone(&meta.address))
            .filter(|address| !address.is_empty())
    }

    /// How the requests of a call are sent that reads as `profile` says; `None`: as the client does.
    pub(crate) fn manner(&self, profile: Option<&Arc<ReadProfile>>) -> Manner {
        let profile = profile.or(self.config.reading.as_ref()).filter(|profile| !profile.is_plain());
        let reading = profile.map(|profile| match profile.replica {
            Replica::Closest => Arc::new(profile.in_zone(self.config.zone.as_deref())),
            _ => Arc::clone(profile),
        });
        Manner { reading, forwarding: self.config.forwarding }
    }

    /// What machines are built with.
    pub(crate) fn settings(&self) -> Settings {
        let Config { redact_keys, concurrency, .. } = self.config;
        Settings { redact_keys, concurrency, api_v2: self.keyspace.is_some() }
    }

    /// Runs an operation in the background set; it keeps the client's tasks alive until it ends. `parent` is the number of the
    /// recorded operation that leaves it; 0: none.
    pub(super) fn spawn(self: &Arc<Self>, start: Start, parent: u64, options: &RequestOptions) {
        let (client, options) = (Arc::clone(self), options.clone());
        self.background.tell(BackgroundCommand::Run(Box::new(Left { start, client, parent, options })));
    }

    /// Ends every task of the client: whoever waits learns that it is closed.
    pub(crate) fn shut(&self) {
        self.registry.shut();
        self.timers.shut();
        self.tso.shut();
        self.pd.shut();
        self.background.shut();
        self.raw.loader.shut();
        self.txn.loader.shut();
        self.stores.shut();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Spreads the bits of a number: neighbours give unlike seeds (splitmix64's finisher).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
