//! Is there an order of the calls of one raw key that one register has?
//!
//! The search of Wing and Gong, with Lowe's memory of where it has been: at each point one of those calls is next that began before
//! the first end of all that are left.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::ledger::{Raw, RawOp};

/// Places the search looks at before it gives up.
const MOST: usize = 100_000;

/// What the search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is an order.
    Order,
    /// There is none.
    None,
    /// It was not found out.
    TooMany,
}

struct Search<'a> {
    calls: &'a [Raw],
    been: BTreeSet<(Vec<u64>, Option<Bytes>)>,
}

/// `calls` are of one key, which has no value at first. A call without end that is no read may happen at any time behind its
/// begin, or never; one that happened several times stands there several times.
pub(crate) fn check(calls: &[Raw]) -> Found {
    let read = |value: &Bytes| calls.iter().any(|call| call.op == RawOp::Get(Some(value.clone())));
    let mut kept: Vec<Raw> = calls
        .iter()
        .filter(|call| match &call.op {
            RawOp::Get(_) => call.ended.is_some(),
            // One that nobody saw need not have happened.
            RawOp::Put(value) => call.ended.is_some() || read(value),
            RawOp::Delete => true,
        })
        .cloned()
        .collect();
    kept.sort_by_key(|call| (call.begun, call.ended));
    let mut search = Search { calls: &kept, been: BTreeSet::new() };
    let mut done = vec![0_u64; kept.len().div_ceil(64)];
    search.from(&mut done, None)
}

impl Search<'_> {
    fn is_done(done: &[u64], n: usize) -> bool {
        done[n / 64] >> (n % 64) & 1 == 1
    }

    fn from(&mut self, done: &mut [u64], value: Option<Bytes>) -> Found {
        if self.been.len() > MOST {
            return Found::TooMany;
        }
        if !self.been.insert((done.to_vec(), value.clone())) {
            return Found::None;
        }
        let left = (0..self.calls.len()).filter(|&n| !Self::is_done(done, n));
        let Some(first_end) = left.clone().filter_map(|n| self.calls[n].ended).min() else {
            return Found::Order;
        };
        let next: Vec<usize> = left.filter(|&n| self.calls[n].begun <= first_end).collect();
        for n in next {
            let after = match &self.calls[n].op {
                RawOp::Get(seen) if *seen != value => continue,
                RawOp::Get(_) => value.clone(),
                RawOp::Put(put) => Some(put.clone()),
                RawOp::Delete => None,
            };
            done[n / 64] |= 1 << (n % 64);
            let found = self.from(done, after);
            done[n / 64] &= !(1 << (n % 64));
            if found != Found::None {
                return found;
            }
        }
        Found::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(op: RawOp, begun: u64, ended: impl Into<Option<u64>>) -> Raw {
        Raw { key: "k".into(), op, begun, ended: ended.into() }
    }

    fn put(value: &'static str, begun: u64, ended: impl Into<Option<u64>>) -> Raw {
        call(RawOp::Put(value.into()), begun, ended)
    }

    fn get(value: &'static str, begun: u64, ended: u64) -> Raw {
        call(RawOp::Get((!value.is_empty()).then(|| value.into())), begun, ended)
    }

    #[test]
    fn overlapping_calls_may_stand_in_any_order() {
        assert_eq!(check(&[]), Found::Order);
        let calls = [
            put("a", 0, 10),
            get("a", 5, 8),
            get("", 1, 9),
            put("b", 7, 20),
            get("b", 8, 9),
            get("b", 30, 31),
        ];
        assert_eq!(check(&calls), Found::Order);
    }

    #[test]
    fn a_value_that_was_overwritten_never_written_or_not_yet_written_is_no_registers() {
        for calls in [
            vec![put("a", 0, 1), put("b", 2, 3), get("a", 4, 5)],
            vec![put("a", 0, 1), get("q", 4, 5)],
            vec![get("a", 0, 1), put("a", 2, 3)],
            vec![put("a", 0, 1), get("", 4, 5)],
            vec![put("a", 0, 9), get("a", 1, 2), get("", 3, 4)],
            vec![put("a", 0, 1), call(RawOp::Delete, 2, 3), get("a", 4, 5)],
        ] {
            assert_eq!(check(&calls), Found::None, "{calls:?}");
        }
    }

    #[test]
    fn a_call_without_end_may_happen_late_or_never_but_once() {
        assert_eq!(check(&[put("a", 0, None), put("b", 1, 2), get("b", 3, 4), get("a", 5, 6)]), Found::Order);
        assert_eq!(check(&[put("a", 0, None), get("", 3, 4)]), Found::Order);
        let twice = [put("a", 0, None), get("a", 1, 2), put("b", 3, 4), get("b", 5, 6), get("a", 7, 8)];
        assert_eq!(check(&twice), Found::None);
    }
}
