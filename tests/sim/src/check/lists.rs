//! Is there a serial run that gives these appends and reads?
//!
//! Values are lists of elements, each appended once by one transaction that read the list. The lists themselves tell the order
//! of versions; from it and from who read what comes a graph of who was before whom, which must have no circle. It looks
//! at no timestamp and at no column, so it fails independently of the other checks.
//!
//! As in Elle (Kingsbury, Alvaro, 2020).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::ledger::{Outcome, Read, Txn};
use crate::violation::{Invariant, Violation};

/// The elements of a list.
pub(crate) fn elements(value: &[u8]) -> Vec<u32> {
    value.chunks(4).map(|four| four.iter().fold(0, |all, &byte| all << 8 | u32::from(byte))).collect()
}

/// A list with one element more.
pub(crate) fn append(list: Option<&Bytes>, element: u32) -> Bytes {
    let mut list = list.map_or_else(Vec::new, |list| list.to_vec());
    list.extend_from_slice(&element.to_be_bytes());
    list.into()
}

fn broken(story: String) -> Violation {
    Violation::new(Invariant::Serializable, story)
}

#[derive(Debug, Default)]
struct Graph {
    after: BTreeMap<usize, BTreeSet<usize>>,
}

impl Graph {
    fn edge(&mut self, before: Option<usize>, after: Option<usize>) {
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            self.after.entry(before).or_default().insert(after);
        }
    }

    /// Whom no order has: those on a circle or behind one.
    fn left_over(&self) -> Vec<usize> {
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        for (&node, after) in &self.after {
            before.entry(node).or_default();
            for &next in after {
                *before.entry(next).or_default() += 1;
            }
        }
        let mut free: Vec<usize> = before.iter().filter(|(_, count)| **count == 0).map(|(&n, _)| n).collect();
        while let Some(node) = free.pop() {
            before.remove(&node);
            for next in self.after.get(&node).into_iter().flatten() {
                if let Some(count) = before.get_mut(next) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(*next);
                    }
                }
            }
        }
        before.into_keys().collect()
    }
}

/// Checks the transactions that have lists: keys that begin with `prefix`.
pub(crate) fn check(txns: &[Txn], prefix: &[u8]) -> Result<(), Violation> {
    let seen = |txn: usize| {
        txns[txn].reads.iter().filter_map(|read| match read {
            Read::Key(key, value) if key.starts_with(prefix) => {
                Some((key, elements(value.as_deref().unwrap_or_default())))
            }
            _ => None,
        })
    };
    // The longest list of each key has the order of its versions.
    let mut order: BTreeMap<&Bytes, Vec<u32>> = BTreeMap::new();
    // Who appends an element.
    let mut by: BTreeMap<u32, usize> = BTreeMap::new();
    for (n, txn) in txns.iter().enumerate() {
        for (key, list) in seen(n) {
            let longest = order.entry(key).or_default();
            if list.len() > longest.len() {
                *longest = list;
            }
        }
        for (key, value) in txn.writes.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let list = elements(value.as_deref().unwrap_or_default());
            if let Some(last) = list.last() {
                by.insert(*last, n);
            }
            let longest = order.entry(key).or_default();
            if matches!(txn.outcome, Outcome::Committed(_)) && list.len() > longest.len() {
                *longest = list;
            }
        }
    }
    let mut graph = Graph::default();
    for (key, list) in &order {
        let name = key.escape_ascii();
        let once: BTreeSet<_> = list.iter().collect();
        if once.len() != list.len() {
            return Err(broken(format!("{name} has an element twice: {list:?}")));
        }
        for element in list {
            match by.get(element).map(|&n| &txns[n]) {
                None => return Err(broken(format!("{name} has {element}, which nobody appended"))),
                Some(Txn { outcome: Outcome::Failed(why), .. }) => {
                    return Err(broken(format!("{name} has {element}, whose append failed: {why}")));
                }
                Some(_) => {}
            }
        }
        for pair in list.windows(2) {
            graph.edge(by.get(&pair[0]).copied(), by.get(&pair[1]).copied());
        }
    }
    for (n, txn) in txns.iter().enumerate() {
        let is_there = |(key, value): (&Bytes, &Option<Bytes>)| {
            let list = elements(value.as_deref().unwrap_or_default());
            order.get(key).is_some_and(|all| all.starts_with(&list))
        };
        let mine = txn.writes.iter().filter(|(key, _)| key.starts_with(prefix));
        if matches!(txn.outcome, Outcome::Committed(_)) && !mine.clone().all(is_there) {
            return Err(broken(format!("an append of {} is not in its list", txn.start_ts)));
        }
        // What did not happen has seen nothing that binds others, but must have seen lists that were there.
        let happened = txn.writes.is_empty() || (mine.clone().next().is_some() && mine.clone().all(is_there));
        for (key, list) in seen(n) {
            let all = order.get(key).map_or(&[][..], Vec::as_slice);
            if !all.starts_with(&list) {
                return Err(broken(format!("{} read as {list:?} and as {all:?}", key.escape_ascii())));
            }
            if happened {
                graph.edge(list.last().and_then(|last| by.get(last)).copied(), Some(n));
                graph.edge(Some(n), all.get(list.len()).and_then(|next| by.get(next)).copied());
            }
        }
    }
    let circle: Vec<u64> = graph.left_over().into_iter().map(|n| txns[n].start_ts).collect();
    if circle.is_empty() {
        Ok(())
    } else {
        Err(broken(format!("no order has these transactions: {circle:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lists = &'static [(&'static str, &'static [u32])];

    fn list(elements: &[u32]) -> Bytes {
        elements.iter().fold(Bytes::new(), |list, &element| append(Some(&list), element))
    }

    fn txn(outcome: Outcome, reads: Lists, writes: Lists) -> Txn {
        let reads = reads.iter().map(|(key, all)| {
            let key = Bytes::from_static(key.as_bytes());
            Read::Key(key, (!all.is_empty()).then(|| list(all)))
        });
        let writes = writes.iter().map(|(key, all)| (Bytes::from_static(key.as_bytes()), Some(list(all))));
        let (reads, writes) = (reads.collect(), writes.collect());
        Txn { what: "test", start_ts: 1, reads, writes, outcome }
    }

    fn done(reads: Lists, writes: Lists) -> Txn {
        txn(Outcome::Committed(1), reads, writes)
    }

    fn found(txns: &[Txn]) -> String {
        check(txns, b"l").err().map(|violation| violation.story).unwrap_or_default()
    }

    #[test]
    fn a_serial_history_passes_with_its_unknowns_either_way() {
        let txns = [
            done(&[("la", &[])], &[("la", &[1])]),
            txn(Outcome::Undetermined, &[("la", &[1])], &[("la", &[1, 2])]),
            txn(Outcome::Unknown, &[("la", &[1])], &[("la", &[1, 9])]),
            done(&[("la", &[1, 2]), ("lb", &[])], &[("la", &[1, 2, 3]), ("lb", &[4])]),
            txn(Outcome::Failed("conflict".into()), &[("lb", &[])], &[("lb", &[5])]),
            done(&[("la", &[1]), ("lb", &[])], &[]),
        ];
        assert_eq!(found(&txns), "");
    }

    #[test]
    fn lost_doubled_invented_and_failed_appends_are_found() {
        let first = done(&[("la", &[])], &[("la", &[1])]);
        let lost = [first.clone(), done(&[("la", &[])], &[("la", &[2])])];
        assert!(
            found(&lost).contains("not in its list") || found(&lost).contains("and as"),
            "{}",
            found(&lost)
        );
        let doubled = [first.clone(), done(&[("la", &[1, 1])], &[])];
        assert!(found(&doubled).contains("twice"), "{}", found(&doubled));
        let invented = [first.clone(), done(&[("la", &[1, 7])], &[])];
        assert!(found(&invented).contains("nobody"), "{}", found(&invented));
        let failed = [
            first,
            txn(Outcome::Failed("x".into()), &[("la", &[1])], &[("la", &[1, 2])]),
            done(&[("la", &[1, 2])], &[]),
        ];
        assert!(found(&failed).contains("failed"), "{}", found(&failed));
    }

    #[test]
    fn readers_that_see_two_appends_in_two_orders_are_found() {
        let txns = [
            done(&[("la", &[])], &[("la", &[1])]),
            done(&[("lb", &[])], &[("lb", &[2])]),
            done(&[("la", &[1]), ("lb", &[])], &[]),
            done(&[("la", &[]), ("lb", &[2])], &[]),
        ];
        assert!(found(&txns).contains("no order"), "{}", found(&txns));
        let forked = [
            done(&[("la", &[])], &[("la", &[1])]),
            txn(Outcome::Unknown, &[("la", &[1])], &[("la", &[1, 2])]),
            txn(Outcome::Unknown, &[("la", &[1])], &[("la", &[1, 3])]),
            done(&[("la", &[1, 2])], &[]),
            done(&[("la", &[1, 3])], &[]),
        ];
        assert!(found(&forked).contains("and as"), "{}", found(&forked));
    }
}
