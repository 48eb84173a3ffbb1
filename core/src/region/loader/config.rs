//! How a loader is bounded, and which form its keys have.

use std::time::Duration;

use crate::codec::Mode;

/// Bounds of a region loader.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoaderConfig {
    /// The form of the keys at PD.
    pub mode: Mode,
    /// How long the directory trusts a region that is not used.
    pub ttl: Duration,
    /// Up to so much is added, drawn for each load.
    pub ttl_jitter: Duration,
    /// Errors show `?` instead of keys.
    pub redact_keys: bool,
    /// Questions to PD at a time; what waits meanwhile is mostly answered by their regions.
    pub at_work: usize,
    /// Askers that can wait; more are refused at once.
    pub most: usize,
    /// The pause before PD is asked again for what must be there.
    pub pause: Duration,
    /// Regions of one answer at the most. client-go: `internal/locate/region_cache.go: defaultRegionsPerBatch` (128).
    pub regions: u32,
    /// How often the directory is swept once it has regions; zero: never. client-go: `region_cache.go: cleanCacheInterval`.
    pub sweep_every: Duration,
    /// Regions that one round of sweeping looks at.
    pub sweep: usize,
    /// Whether all regions are asked for at the beginning.
    pub preload: bool,
    /// How often all regions are asked for; zero: never. client-go: `region_cache.go: refreshRegionIndex`.
    pub refresh_every: Duration,
}

impl LoaderConfig {
    /// The defaults, with what has none.
    #[must_use]
    pub const fn new(mode: Mode, ttl: Duration, ttl_jitter: Duration) -> Self {
        Self {
            mode,
            ttl,
            ttl_jitter,
            redact_keys: false,
            at_work: 64,
            most: 1 << 16,
            pause: Duration::from_millis(200),
            regions: 1024,
            sweep_every: Duration::from_secs(10),
            sweep: 2048,
            preload: false,
            refresh_every: Duration::ZERO,
        }
    }
}
