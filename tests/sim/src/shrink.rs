//! The least of a failing run that still fails.

use std::collections::BTreeSet;

use crate::plan::{Fault, Limits, Load, Plan};
use crate::run::run;

/// Runs that a search makes at the most.
const MOST: usize = 200;

/// Cuts faults, loads and operations away as long as the run of `seed` breaks the same invariant.
#[must_use]
pub fn shrink(seed: u64, limits: &Limits) -> Limits {
    let Some(wanted) = run(seed, limits).violation.map(|violation| violation.invariant) else {
        return limits.clone();
    };
    let plan = Plan::draw(seed, limits);
    let whole = Limits {
        ops: Some(plan.ops),
        faults: Some(plan.faults.iter().copied().collect()),
        loads: Some(plan.loads.iter().copied().collect()),
    };
    least(whole, |limits| run(seed, limits).violation.is_some_and(|violation| violation.invariant == wanted))
}

/// The least of `whole` that still fails: no single part of it can be taken away.
fn least(whole: Limits, mut fails: impl FnMut(&Limits) -> bool) -> Limits {
    let mut least = whole;
    let mut runs = 0;
    let mut fails = |limits: &Limits| {
        runs += 1;
        runs <= MOST && fails(limits)
    };
    loop {
        let before = least.clone();
        let faults: BTreeSet<Fault> = least.faults.clone().unwrap_or_default();
        for fault in faults {
            let mut less = least.clone();
            less.faults.get_or_insert_default().remove(&fault);
            if fails(&less) {
                least = less;
            }
        }
        let loads: BTreeSet<Load> = least.loads.clone().unwrap_or_default();
        for load in loads {
            let mut less = least.clone();
            let left = less.loads.get_or_insert_default();
            left.remove(&load);
            if !left.is_empty() && fails(&less) {
                least = less;
            }
        }
        let mut step = least.ops.unwrap_or(1) / 2;
        while step > 0 {
            let less = Limits { ops: least.ops.map(|ops| ops.saturating_sub(step).max(1)), ..least.clone() };
            if less != least && fails(&less) {
                least = less;
            } else {
                step /= 2;
            }
        }
        if least == before {
            return least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_cut_away() {
        let whole = Limits {
            ops: Some(25),
            faults: Some(Fault::ALL.iter().copied().collect()),
            loads: Some(Load::ALL.iter().copied().collect()),
        };
        let needs = [Fault::Split, Fault::Crash];
        let found = least(whole, |limits| {
            let faults = limits.faults.as_ref().unwrap();
            limits.ops >= Some(7) && needs.iter().all(|fault| faults.contains(fault))
        });
        assert_eq!(found.ops, Some(7));
        assert_eq!(found.faults, Some(needs.into_iter().collect()));
        assert_eq!(found.loads.map(|loads| loads.len()), Some(1));
    }
}
