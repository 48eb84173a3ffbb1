//! What is known of each store, for all operations of a client: read without a lock.
//!
//! Numbers that change often are atomics of their own. The list itself changes when PD tells of a store that is new, and is
//! then swapped.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::score::{ClientScore, SLOW, ServerScore, Windows};
use crate::machine::{Address, Feedback};
use crate::types::{Engine, Instant, Labels, Liveness, Presence, StoreId, StoreView, Timestamp};

/// What PD says of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "what the registry makes of PD's answer")]
pub struct StoreMeta {
    /// Whether it is there.
    pub presence: Presence,
    /// Where it serves, `host:port`.
    pub address: Address,
    /// Of TiFlash: where its proxy serves.
    pub peer_address: Address,
    /// Its labels.
    pub labels: Labels,
    /// What it is, by its labels.
    pub engine: Engine,
}

/// The stores of a cluster, as far as this client has heard of them.
#[derive(Debug, Default)]
pub struct StoreTable {
    /// Sorted by id.
    table: ArcSwap<Vec<(StoreId, Arc<Record>)>>,
}

#[derive(Debug, Default)]
struct Record {
    meta: ArcSwapOption<StoreMeta>,
    /// The parts of `meta` that choosing a replica reads.
    presence: AtomicU8,
    engine: AtomicU8,
    liveness: AtomicU8,
    client: ClientScore,
    server: ServerScore,
    /// Until when a read would wait, ns.
    busy_until: AtomicU64,
    safe_ts: AtomicU64,
    /// Only who turns the intervals takes it.
    windows: Mutex<Windows>,
}

const PRESENCES: [Presence; 3] = [Presence::Unknown, Presence::Serving, Presence::Removed];
const ENGINES: [Engine; 3] = [Engine::TiKv, Engine::TiFlash, Engine::TiFlashCompute];
const LIVENESSES: [Liveness; 3] = [Liveness::Reachable, Liveness::Unreachable, Liveness::Unknown];

/// Each enum is kept as its index in the list of its values.
fn put<T: PartialEq>(to: &AtomicU8, value: T, all: &[T; 3]) {
    let at = all.iter().position(|one| *one == value).unwrap_or_default();
    to.store(at as u8, Ordering::Relaxed);
}

fn get<T: Copy + Default>(from: &AtomicU8, all: &[T; 3]) -> T {
    all.get(usize::from(from.load(Ordering::Relaxed))).copied().unwrap_or_default()
}

impl Record {
    fn is_slow(&self, now: Instant) -> bool {
        self.client.now() >= SLOW || self.server.at(now) >= SLOW
    }
}

impl StoreTable {
    fn with<T>(&self, store: StoreId, then: impl FnOnce(&Record) -> T) -> Option<T> {
        let table = self.table.load();
        let at = table.binary_search_by_key(&store, |entry| entry.0).ok()?;
        table.get(at).map(|entry| then(&entry.1))
    }

    /// What is known of a store; the default when nothing is.
    #[must_use]
    pub fn view(&self, store: StoreId, now: Instant) -> StoreView {
        let view = self.with(store, |record| StoreView {
            presence: get(&record.presence, &PRESENCES),
            engine: get(&record.engine, &ENGINES),
            liveness: get(&record.liveness, &LIVENESSES),
            slow: record.is_slow(now),
            busy: Instant(record.busy_until.load(Ordering::Relaxed)).since(now),
            safe_ts: Timestamp(record.safe_ts.load(Ordering::Relaxed)),
        });
        view.unwrap_or_default()
    }

    /// What PD said of a store.
    #[must_use]
    pub fn meta(&self, store: StoreId) -> Option<Arc<StoreMeta>> {
        self.with(store, |record| record.meta.load_full()).flatten()
    }

    /// The labels of a store; none when they are not known.
    #[must_use]
    pub fn labels(&self, store: StoreId) -> Labels {
        let labels = self.with(store, |record| record.meta.load().as_ref().map(|meta| meta.labels.clone()));
        labels.flatten().unwrap_or_default()
    }

    /// All stores, in order of their ids.
    #[must_use]
    pub fn ids(&self) -> Vec<StoreId> {
        self.table.load().iter().map(|entry| entry.0).collect()
    }

    /// PD said this of a store. It stays the same store, with its scores, wherever it serves.
    pub fn know(&self, store: StoreId, meta: StoreMeta) {
        if self.with(store, |_| ()).is_none() {
            self.table.rcu(|table| {
                let mut table = table.as_ref().clone();
                if let Err(at) = table.binary_search_by_key(&store, |entry| entry.0) {
                    table.insert(at, (store, Arc::default()));
                }
                table
            });
        }
        self.with(store, |record| {
            put(&record.presence, meta.presence, &PRESENCES);
            put(&record.engine, meta.engine, &ENGINES);
            record.meta.store(Some(Arc::new(meta)));
        });
    }

    /// A probe found this.
    pub fn set_liveness(&self, store: StoreId, liveness: Liveness) {
        self.with(store, |record| put(&record.liveness, liveness, &LIVENESSES));
    }

    /// Takes in what an operation or a stream learned of a store.
    pub fn apply(&self, feedback: &Feedback, now: Instant) {
        match *feedback {
            Feedback::Busy { store, until } => {
                self.with(store, |record| record.busy_until.store(until.0, Ordering::Relaxed));
            }
            Feedback::Slow { store } => {
                self.with(store, |record| record.client.slow());
            }
            Feedback::Took { store, time } => {
                self.with(store, |record| record.client.took(time));
            }
            Feedback::Health { store, slow_score } => {
                self.with(store, |record| record.server.told(slow_score, now));
            }
            // Of regions; what cannot be reached, a probe finds out.
            Feedback::LeaderIs { .. }
            | Feedback::Stale { .. }
            | Feedback::Regions { .. }
            | Feedback::Loaded { .. }
            | Feedback::Unreachable { .. }
            | Feedback::Buckets { .. } => {}
        }
    }

    /// Every read at `ts` or below sees all data on the store's replicas. Never set back.
    pub fn raise_safe_ts(&self, store: StoreId, ts: Timestamp) {
        self.with(store, |record| record.safe_ts.fetch_max(ts.0, Ordering::Relaxed));
    }

    /// The smallest safe timestamp of the stores that `belongs` takes: every read at it or below sees all data on their
    /// replicas. `None` when none of them has told one.
    ///
    /// A store that has told none is left out as long as another has. Computed when asked: client-go keeps the value of the
    /// round before.
    ///
    /// client-go: `tikv/kv.go: updateMinSafeTS, GetMinSafeTS`.
    pub fn min_safe_ts(&self, belongs: impl Fn(&StoreMeta) -> bool) -> Option<Timestamp> {
        let table = self.table.load();
        let counts = |record: &&Arc<Record>| record.meta.load().as_ref().is_some_and(|meta| belongs(meta));
        let told = table.iter().map(|entry| &entry.1).filter(counts);
        told.map(|record| record.safe_ts.load(Ordering::Relaxed)).filter(|ts| *ts != 0).min().map(Timestamp)
    }

    /// Judges the times of the last interval; the stores that are to be asked how they are.
    ///
    /// client-go: `internal/locate/store_cache.go: tick` (each 15 s).
    pub fn turn(&self, now: Instant, silent: Duration) -> Vec<StoreId> {
        let mut due = Vec::new();
        for (store, record) in self.table.load().iter() {
            record.windows.lock().unwrap_or_else(PoisonError::into_inner).turn(&record.client);
            let answers = get(&record.liveness, &LIVENESSES) == Liveness::Reachable;
            if answers && record.server.is_due(now, silent) {
                due.push(*store);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(address: &str, labels: &[(&str, &str)]) -> StoreMeta {
        let labels = Labels::new(labels.iter().copied());
        let address: Address = address.into();
        StoreMeta {
            presence: Presence::Serving,
            peer_address: Arc::clone(&address),
            address,
            engine: labels.engine(),
            labels,
        }
    }

    fn table() -> StoreTable {
        let table = StoreTable::default();
        for id in [3, 1, 2] {
            table.know(StoreId(id), meta("s:1", &[("zone", "z1")]));
        }
        table
    }

    const NOW: Instant = Instant(1_000_000_000_000);

    #[test]
    fn of_an_unknown_store_nothing_is_assumed_and_nothing_is_kept() {
        let table = table();
        table.apply(&Feedback::Slow { store: StoreId(9) }, NOW);
        table.set_liveness(StoreId(9), Liveness::Unreachable);
        assert_eq!(table.view(StoreId(9), NOW), StoreView::default());
        assert_eq!(table.ids(), [StoreId(1), StoreId(2), StoreId(3)]);
        assert_eq!((table.labels(StoreId(9)), table.meta(StoreId(9))), (Labels::default(), None));
    }

    // client-go: region_cache_test.go: TestStoreRestartWithNewLabels, TestResolveStateTransition.
    #[test]
    fn a_store_that_moved_or_has_other_labels_is_the_same_with_its_scores() {
        let table = table();
        table.apply(&Feedback::Slow { store: StoreId(1) }, NOW);
        table.set_liveness(StoreId(1), Liveness::Unreachable);
        table.know(StoreId(1), meta("elsewhere:2", &[("engine", "tiflash")]));
        let view = table.view(StoreId(1), NOW);
        assert!(view.slow && view.liveness == Liveness::Unreachable && view.engine == Engine::TiFlash);
        assert_eq!(table.meta(StoreId(1)).map(|meta| Arc::clone(&meta.address)), Some("elsewhere:2".into()));
        assert_eq!(table.labels(StoreId(1)).get("zone"), None);
        assert_eq!(table.ids().len(), 3);
    }

    // client-go: region_cache_test.go: TestStoreHealthStatus, TestRegionCacheHandleHealthStatus.
    #[test]
    fn a_store_is_slow_if_either_score_says_so_and_no_other_store_is() {
        let health = |score| Feedback::Health { store: StoreId(2), slow_score: score };
        let slow = |table: &StoreTable| [1, 2, 3].map(|id| table.view(StoreId(id), NOW).slow);
        let by_client = table();
        by_client.apply(&Feedback::Slow { store: StoreId(1) }, NOW);
        assert_eq!(slow(&by_client), [true, false, false]);
        let by_server = table();
        by_server.apply(&health(79), NOW);
        assert_eq!(slow(&by_server), [false, false, false]);
        by_server.apply(&health(80), Instant(NOW.0 + 100_000_000));
        assert_eq!(slow(&by_server), [false, true, false]);
    }

    // client-go: store_cache.go: EstimatedWaitTime.
    #[test]
    fn what_a_read_would_wait_shrinks_with_time() {
        let table = table();
        table.apply(&Feedback::Busy { store: StoreId(1), until: NOW + Duration::from_millis(500) }, NOW);
        let busy = |ms| table.view(StoreId(1), NOW + Duration::from_millis(ms)).busy;
        assert_eq!([0, 200, 500, 900].map(busy), [500, 300, 0, 0].map(Duration::from_millis));
    }

    #[test]
    fn a_safe_timestamp_is_never_set_back() {
        let table = table();
        for ts in [5, 9, 7] {
            table.raise_safe_ts(StoreId(1), Timestamp(ts));
        }
        assert_eq!(table.view(StoreId(1), NOW).safe_ts, Timestamp(9));
    }

    // client-go: tikv/kv_test.go: TestMinSafeTsFromStores, TestMinSafeTsFromStoresWithAllZeros, WithSomeZeros.
    #[test]
    fn the_smallest_safe_timestamp_is_of_the_stores_that_told_one() {
        let table = table();
        table.know(StoreId(4), meta("s:4", &[("zone", "z2")]));
        let zone = |zone: &'static str| table.min_safe_ts(move |meta| meta.labels.get("zone") == Some(zone));
        let all = || table.min_safe_ts(|_| true);
        assert_eq!((all(), zone("z1"), zone("z3")), (None, None, None));
        table.raise_safe_ts(StoreId(1), Timestamp(80));
        assert_eq!((all(), zone("z2")), (Some(Timestamp(80)), None));
        table.raise_safe_ts(StoreId(4), Timestamp(50));
        table.raise_safe_ts(StoreId(2), Timestamp(100));
        assert_eq!(
            (all(), zone("z1"), zone("z2")),
            (Some(Timestamp(50)), Some(Timestamp(80)), Some(Timestamp(50)))
        );
    }

    // routing.md 6.4 [Q]: client-go computes it before the answers of a round have come.
    #[test]
    fn fixes_the_smallest_safe_timestamp_is_of_this_round() {
        let table = table();
        for (ts, id) in [(10, 1), (20, 2), (30, 3)] {
            table.raise_safe_ts(StoreId(id), Timestamp(ts));
        }
        table.raise_safe_ts(StoreId(1), Timestamp(40));
        assert_eq!(table.min_safe_ts(|_| true), Some(Timestamp(20)));
    }

    #[test]
    fn who_told_of_trouble_and_fell_silent_is_asked_if_it_answers() {
        let (table, silent) = (table(), Duration::from_secs(15));
        for id in [1, 2] {
            table.apply(&Feedback::Health { store: StoreId(id), slow_score: 90 }, NOW);
        }
        table.set_liveness(StoreId(2), Liveness::Unreachable);
        assert_eq!(table.turn(NOW, silent), []);
        assert_eq!(table.turn(NOW + silent, silent), [StoreId(1)]);
    }
}
