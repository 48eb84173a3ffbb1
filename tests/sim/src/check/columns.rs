//! Transactions as their clients saw them, against the versions that the model holds when all is over and no lock is left.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use tikv_embedded::model::store::{RowKind, WriteRow};

use crate::ledger::{Outcome, Read, Txn};
use crate::violation::{Invariant, Violation};

/// A version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) start_ts: u64,
    /// `None`: a delete.
    pub(crate) value: Option<Bytes>,
}

/// All versions of all keys.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By key and commit timestamp.
    versions: BTreeMap<Bytes, BTreeMap<u64, Version>>,
    /// Of each transaction the keys it is committed at, and when.
    commits: BTreeMap<u64, BTreeMap<Bytes, u64>>,
}

impl History {
    pub(crate) fn of(rows: Vec<WriteRow>) -> Self {
        let mut history = Self::default();
        for WriteRow { key, commit_ts, start_ts, kind, value, .. } in rows {
            if kind == RowKind::Rollback {
                continue;
            }
            history.commits.entry(start_ts).or_default().insert(key.clone(), commit_ts);
            if matches!(kind, RowKind::Put | RowKind::Delete) {
                history.versions.entry(key).or_default().insert(commit_ts, Version { start_ts, value });
            }
        }
        history
    }

    /// What a reader at `ts` is to see of a key.
    fn visible(versions: &BTreeMap<u64, Version>, ts: u64) -> Option<&Bytes> {
        versions.range(..=ts).next_back().and_then(|(_, version)| version.value.as_ref())
    }

    fn get(&self, key: &Bytes, ts: u64) -> Option<&Bytes> {
        self.versions.get(key).and_then(|versions| Self::visible(versions, ts))
    }

    fn range(&self, start: &Bytes, end: &Bytes, ts: u64) -> Vec<(Bytes, Bytes)> {
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end.max(start)) };
        self.versions
            .range::<Bytes, _>((Bound::Included(start), upper))
            .filter_map(|(key, versions)| Some((key.clone(), Self::visible(versions, ts)?.clone())))
            .collect()
    }

    /// The values that the keys with this prefix had, one after the other.
    pub(crate) fn values(&self, prefix: &[u8]) -> impl Iterator<Item = (&Bytes, Vec<Option<&Bytes>>)> {
        self.versions
            .iter()
            .filter(move |(key, _)| key.starts_with(prefix))
            .map(|(key, versions)| (key, versions.values().map(|version| version.value.as_ref()).collect()))
    }

    /// Checks every transaction.
    pub(crate) fn check(&self, txns: &[Txn]) -> Result<(), Violation> {
        for txn in txns {
            self.end(txn)?;
        }
        self.conflicts()?;
        for txn in txns {
            self.reads(txn)?;
        }
        Ok(())
    }

    /// It is committed or not, as its client was told; and whole.
    fn end(&self, txn: &Txn) -> Result<(), Violation> {
        let nothing = BTreeMap::new();
        let at = self.commits.get(&txn.start_ts).unwrap_or(&nothing);
        let name = format!("{} {} ({:?})", txn.what, txn.start_ts, txn.outcome);
        let broken = |invariant, why: String| Err(Violation::new(invariant, format!("{name}: {why}")));
        match txn.outcome {
            Outcome::Committed(ts) => {
                for (key, value) in &txn.writes {
                    let is = at.get(key);
                    let held = self.versions.get(key).and_then(|versions| versions.get(&ts));
                    if is != Some(&ts) || held.is_none_or(|held| held.value != *value) {
                        let key = key.escape_ascii();
                        return broken(Invariant::LostCommit, format!("{key} is at {is:?} with {held:?}"));
                    }
                }
            }
            Outcome::Failed(_) if !at.is_empty() => {
                return broken(Invariant::FailedCommitted, format!("committed: {at:?}"));
            }
            Outcome::Failed(_) => {}
            Outcome::Unknown | Outcome::Undetermined => {
                let first = at.values().next();
                let whole = txn.writes.keys().all(|key| at.get(key) == first);
                if !whole {
                    let keys: Vec<_> = txn.writes.keys().collect();
                    return broken(Invariant::Atomicity, format!("of {keys:?} committed: {at:?}"));
                }
            }
        }
        Ok(())
    }

    /// Between the begin of a transaction and its commit nobody commits what it writes.
    fn conflicts(&self) -> Result<(), Violation> {
        for (key, versions) in &self.versions {
            for ((before, _), (after, version)) in versions.iter().zip(versions.iter().skip(1)) {
                if version.start_ts <= *before {
                    let story = format!(
                        "{}: {} began before the commit at {before} and is committed at {after}",
                        key.escape_ascii(),
                        version.start_ts
                    );
                    return Err(Violation::new(Invariant::FirstCommitterWins, story));
                }
            }
        }
        Ok(())
    }

    fn reads(&self, txn: &Txn) -> Result<(), Violation> {
        let ts = txn.start_ts;
        for read in &txn.reads {
            let story = match read {
                Read::Key(key, value) => {
                    let wanted = self.get(key, ts);
                    if wanted == value.as_ref() {
                        continue;
                    }
                    format!("{} read {}: {value:?}, but there was {wanted:?}", txn.what, key.escape_ascii())
                }
                Read::Range { start, end, limit, reverse, pairs } => {
                    let mut wanted = self.range(start, end, ts);
                    if *reverse {
                        wanted.reverse();
                    }
                    wanted.truncate(*limit);
                    if wanted == *pairs {
                        continue;
                    }
                    format!("{} scanned {start:?}..{end:?}: {pairs:?}, but there was {wanted:?}", txn.what)
                }
            };
            return Err(Violation::new(Invariant::SnapshotRead, format!("at {ts} {story}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, start_ts: u64, commit_ts: u64, value: &'static str) -> (Bytes, u64, Version) {
        (key.into(), commit_ts, Version { start_ts, value: Some(value.into()) })
    }

    fn history(rows: &[(Bytes, u64, Version)]) -> History {
        let mut history = History::default();
        for (key, commit_ts, version) in rows {
            history.commits.entry(version.start_ts).or_default().insert(key.clone(), *commit_ts);
            history.versions.entry(key.clone()).or_default().insert(*commit_ts, version.clone());
        }
        history
    }

    fn txn(start_ts: u64, outcome: Outcome, writes: &[(&'static str, &'static str)]) -> Txn {
        let writes = writes.iter().map(|&(key, value)| (key.into(), Some(value.into()))).collect();
        Txn { what: "test", start_ts, reads: Vec::new(), writes, outcome }
    }

    fn broken(history: &History, txns: &[Txn]) -> Option<Invariant> {
        history.check(txns).err().map(|violation| violation.invariant)
    }

    #[test]
    fn a_sound_history_passes() {
        let history = history(&[put("a", 1, 2, "x"), put("b", 1, 2, "y"), put("a", 3, 4, "z")]);
        let mut reader = txn(3, Outcome::Committed(4), &[("a", "z")]);
        reader.reads.push(Read::Key("a".into(), Some("x".into())));
        let (start, end, pairs) = ("".into(), "".into(), vec![("b".into(), "y".into())]);
        reader.reads.push(Read::Range { start, end, limit: 1, reverse: true, pairs });
        let txns = [txn(1, Outcome::Committed(2), &[("a", "x"), ("b", "y")]), reader];
        assert_eq!(broken(&history, &txns), None);
        let maybe = [
            txn(1, Outcome::Undetermined, &[("a", "x"), ("b", "y")]),
            txn(7, Outcome::Unknown, &[("q", "q")]),
        ];
        assert_eq!(broken(&history, &maybe), None);
    }

    #[test]
    fn a_commit_that_is_missing_or_elsewhere_or_another_is_lost() {
        let both = [("a", "x"), ("b", "y")];
        for rows in [
            vec![put("a", 1, 2, "x")],
            vec![put("a", 1, 2, "x"), put("b", 1, 3, "y")],
            vec![put("a", 1, 2, "x"), put("b", 1, 2, "no")],
        ] {
            let found = broken(&history(&rows), &[txn(1, Outcome::Committed(2), &both)]);
            assert_eq!(found, Some(Invariant::LostCommit), "{rows:?}");
        }
    }

    #[test]
    fn a_failed_transaction_that_is_committed_and_half_a_transaction_are_found() {
        let history = history(&[put("a", 1, 2, "x")]);
        let failed = txn(1, Outcome::Failed("conflict".into()), &[("a", "x")]);
        assert_eq!(broken(&history, &[failed]), Some(Invariant::FailedCommitted));
        let half = txn(1, Outcome::Unknown, &[("a", "x"), ("b", "y")]);
        assert_eq!(broken(&history, &[half]), Some(Invariant::Atomicity));
    }

    #[test]
    fn two_at_once_at_one_key_are_found() {
        let history = history(&[put("a", 1, 3, "x"), put("a", 2, 4, "y")]);
        assert_eq!(broken(&history, &[]), Some(Invariant::FirstCommitterWins));
    }

    #[test]
    fn reads_of_the_future_the_past_or_a_part_are_found() {
        let history = history(&[put("a", 1, 2, "x"), put("a", 5, 6, "y"), put("b", 1, 2, "z")]);
        for value in [None, Some("y".into()), Some("z".into())] {
            let mut reader = txn(4, Outcome::Committed(4), &[]);
            reader.reads.push(Read::Key("a".into(), value));
            assert_eq!(broken(&history, &[reader]), Some(Invariant::SnapshotRead));
        }
        for pairs in
            [vec![], vec![("a", "x")], vec![("b", "z"), ("a", "x")], vec![("a", "x"), ("a", "x"), ("b", "z")]]
        {
            let mut reader = txn(4, Outcome::Committed(4), &[]);
            let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
            reader.reads.push(Read::Range {
                start: "a".into(),
                end: "".into(),
                limit: 9,
                reverse: false,
                pairs,
            });
            assert_eq!(broken(&history, &[reader]), Some(Invariant::SnapshotRead));
        }
    }
}
