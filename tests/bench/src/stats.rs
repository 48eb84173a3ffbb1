//! Medians, spreads, and what is beyond noise.

/// A median of rounds with the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
    pub(crate) rounds: usize,
}

/// The rounds' spread; `None` if there is no round.
pub(crate) fn spread(rounds: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut rounds: Vec<f64> = rounds.into_iter().filter(|number| number.is_finite()).collect();
    rounds.sort_by(f64::total_cmp);
    let (&low, &high) = (rounds.first()?, rounds.last()?);
    let upper = rounds.len() / 2;
    let median =
        if rounds.len() % 2 == 1 { rounds[upper] } else { f64::midpoint(rounds[upper - 1], rounds[upper]) };
    Some(Spread { low, median, high, rounds: rounds.len() })
}

/// Ratios of what was measured in the same round.
pub(crate) fn paired(
    over: impl IntoIterator<Item = f64>,
    under: impl IntoIterator<Item = f64>,
) -> Option<Spread> {
    spread(over.into_iter().zip(under).map(|(over, under)| over / under))
}

/// What two recordings say of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every round of one is beyond every round of the other, and the medians differ enough to care.
    Changed,
    /// The rounds overlap, or the medians are nearly the same.
    Same,
    /// So few rounds can lie apart by chance.
    TooFewRounds,
}

/// Fewer rounds than this prove nothing: of two times four that are all alike, every one of the one lies beyond the other's in
/// 3 of 100 cases.
pub(crate) const ENOUGH_ROUNDS: usize = 4;

/// A smaller change of a median is not worth a word.
const SMALLEST: f64 = 0.02;

pub(crate) fn verdict(before: &Spread, after: &Spread) -> Verdict {
    let apart = before.high < after.low || after.high < before.low;
    if !apart || (after.median / before.median - 1.0).abs() < SMALLEST {
        Verdict::Same
    } else if before.rounds.min(after.rounds) < ENOUGH_ROUNDS {
        Verdict::TooFewRounds
    } else {
        Verdict::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rounds: &[f64]) -> Spread {
        spread(rounds.iter().copied()).unwrap()
    }

    #[test]
    fn a_spread_is_of_the_sorted_rounds() {
        assert_eq!(of(&[3.0, 1.0, 2.0]), Spread { low: 1.0, median: 2.0, high: 3.0, rounds: 3 });
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(spread([]), None);
        assert_eq!(of(&[f64::NAN, 1.0]).rounds, 1);
    }

    #[test]
    fn noise_that_both_have_cancels_in_a_paired_ratio() {
        let machine = [1.0, 3.0, 0.5];
        let ratio = paired(machine.map(|slow| 2.0 * slow), machine).unwrap();
        assert_eq!((ratio.low, ratio.high), (2.0, 2.0));
    }

    #[test]
    fn only_rounds_that_lie_apart_are_a_change() {
        let before = of(&[10.0, 11.0, 10.5, 10.2]);
        assert_eq!(verdict(&before, &of(&[8.0, 8.5, 9.0, 9.9])), Verdict::Changed);
        assert_eq!(verdict(&before, &of(&[8.0, 8.5, 9.0, 10.1])), Verdict::Same);
        assert_eq!(verdict(&before, &of(&[8.0])), Verdict::TooFewRounds);
        assert_eq!(verdict(&of(&[1.0; 4]), &of(&[1.01; 4])), Verdict::Same);
    }
}
