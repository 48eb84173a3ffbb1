//! What is known of a store: the plain copy that choosing a replica reads, and its labels.

use std::sync::Arc;
use std::time::Duration;

use super::Timestamp;

/// Whether a store is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Presence {
    /// PD was not asked yet, or did not answer: a call to it asks.
    #[default]
    Unknown,
    /// PD named its address.
    Serving,
    /// It is gone for good; its id is never used again.
    Removed,
}

/// Whether a store answers.
///
/// client-go: `internal/locate/store_cache.go: livenessState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Liveness {
    /// Nothing is known against it.
    #[default]
    Reachable,
    /// A call failed, and so did the probe behind it.
    Unreachable,
    /// It answers, but does not say that it serves.
    Unknown,
}

/// What a store is, by its label `engine`.
///
/// client-go: `tikvrpc/endpoint.go: GetStoreTypeByMeta`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// TiKV: no such label, or another value.
    #[default]
    TiKv,
    /// `tiflash`: columns, learners only.
    TiFlash,
    /// `tiflash_compute`: holds no peers of its own.
    TiFlashCompute,
}

/// A store as choosing a replica sees it: a plain copy. [`Default`] is what is assumed of a store never heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a fact crosses the trace boundary field by field")]
pub struct StoreView {
    /// Whether it is there.
    pub presence: Presence,
    /// What it is.
    pub engine: Engine,
    /// Whether it answers.
    pub liveness: Liveness,
    /// Its own score or this client's says that it is slow.
    pub slow: bool,
    /// How long a read would wait there, as it said last when it was too busy, less the time since; zero: not known to.
    pub busy: Duration,
    /// Every read at this timestamp or below sees all data on its replicas; zero: not known.
    pub safe_ts: Timestamp,
}

/// A store's labels, such as `zone` and `engine`, or those that a store is wanted to have. Cloning shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[(String, String)]>);

impl Labels {
    /// The labels of `pairs`, of key and value.
    pub fn new<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// All of them, as they were given.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The value of `key`.
    ///
    /// client-go: `internal/locate/store_cache.go: GetLabelValue`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|label| label.0 == key).map(|label| label.1.as_str())
    }

    /// Whether every label of `wanted` is among these; none wanted: yes.
    ///
    /// client-go: `internal/locate/store_cache.go: IsLabelsMatch`.
    #[must_use]
    pub fn have(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|label| self.0.contains(label))
    }

    /// What a store with these labels is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.get("engine") {
            Some("tiflash") => Engine::TiFlash,
            Some("tiflash_compute") => Engine::TiFlashCompute,
            _ => Engine::TiKv,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // client-go: region_cache_test.go: TestStoreLabels.
    #[test]
    fn labels_match_when_all_that_are_wanted_are_there() {
        let labels = |pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied());
        let store = labels(&[("zone", "z1"), ("host", "h1")]);
        assert!(store.have(&Labels::default()));
        assert!(store.have(&labels(&[("zone", "z1")])));
        assert!(store.have(&labels(&[("host", "h1"), ("zone", "z1")])));
        assert!(!store.have(&labels(&[("zone", "z2")])));
        assert!(!store.have(&labels(&[("zone", "z1"), ("rack", "r")])));
        assert!(!Labels::default().have(&labels(&[("zone", "z1")])));
        assert_eq!((store.get("zone"), store.get("rack")), (Some("z1"), None));
    }

    #[test]
    fn the_label_engine_says_what_a_store_is() {
        let engine = |value: &str| Labels::new([("zone", "z"), ("engine", value)]).engine();
        assert_eq!(engine("tiflash"), Engine::TiFlash);
        assert_eq!(engine("tiflash_compute"), Engine::TiFlashCompute);
        assert_eq!(engine("raftstore"), Engine::TiKv);
        assert_eq!(Labels::default().engine(), Engine::TiKv);
    }
}
