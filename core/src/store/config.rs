//! How often stores are looked at.

use std::time::Duration;

/// The rhythms of the store registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// PD is asked for all stores this often; zero: never, and each store when it is first called.
    ///
    /// client-go: `internal/locate/region_cache.go: refreshStoreListInterval`.
    pub refresh: Duration,
    /// How long a probe of a store that could not be reached may take; zero: stores are not probed.
    ///
    /// client-go: `internal/locate/store_cache.go: storeLivenessTimeout`.
    pub liveness_timeout: Duration,
    /// How often a store that does not answer is probed again. client-go: `startHealthCheckLoop`.
    pub probe_every: Duration,
    /// How often PD is asked where such a store is. client-go: `storeReResolveInterval`.
    pub resolve_every: Duration,
    /// How often the scores of slow stores are judged, and how long a store that told of trouble may be silent until it is
    /// asked; zero: never. client-go: `tikvSlowScoreActiveUpdateInterval`, `NewRegionCache` (health tick).
    pub judge_every: Duration,
    /// How often stores are asked for their safe timestamps, once somebody wants to know them.
    ///
    /// client-go: `tikv/kv.go: safeTSUpdateInterval`.
    pub safe_ts_every: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(10),
            liveness_timeout: Duration::from_secs(1),
            probe_every: Duration::from_secs(1),
            resolve_every: Duration::from_secs(30),
            judge_every: Duration::from_secs(15),
            safe_ts_every: Duration::from_secs(2),
        }
    }
}
