//! Pauses between tries, for the services that ask PD.

use std::time::Duration;

/// A pause that grows: half of the doubled base to all of it, at most the cap; none before the first failure.
///
/// pd: `client/pkg/retry`: doubling with a cap; the jitter is ours, so that clients do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pauses {
    /// After the first failure, at the most.
    pub(crate) base: Duration,
    /// The longest.
    pub(crate) cap: Duration,
}

impl Pauses {
    /// The pause after so many failures in a row.
    pub(crate) fn after(self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let doubled = self.base.saturating_mul(1 << doublings.min(16)).min(self.cap);
        let half = u64::try_from(doubled.as_nanos() / 2).unwrap_or(u64::MAX);
        Duration::from_nanos(half.saturating_add(rng.u64(0..=half)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_none_to_the_cap() {
        let pauses = Pauses { base: Duration::from_millis(20), cap: Duration::from_millis(100) };
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(pauses.after(0, &mut rng), Duration::ZERO);
        for (failures, most) in [(1, 20), (2, 40), (3, 80), (4, 100), (u32::MAX, 100)] {
            let pause = pauses.after(failures, &mut rng);
            assert!(
                pause <= Duration::from_millis(most) && pause * 2 >= Duration::from_millis(most),
                "{pause:?}"
            );
        }
    }
}
