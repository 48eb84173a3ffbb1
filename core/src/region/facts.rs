//! A directory as all that a machine knows: for tests of machines, which have no client around them.

use super::Directory;
use crate::machine::{Facts, Feedback};
use crate::types::{Instant, KeyRange, Located, RegionVersion, Replicas};

impl Facts for Directory {
    fn locate(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.locate(key, now)
    }

    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.locate_below(key, now)
    }

    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        self.span(region)
    }

    fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        self.replicas(region)
    }

    fn report(&self, feedback: &Feedback, now: Instant) {
        self.apply(feedback, now);
    }
}
