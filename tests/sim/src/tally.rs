//! How often everything happened: operations, outcomes, faults, and what of the protocol was reached.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<String, u64>);

impl Totals {
    /// Counts `count` more of `name`.
    pub fn add(&mut self, name: &str, count: u64) {
        match self.0.get_mut(name) {
            Some(total) => *total += count,
            None => {
                self.0.insert(name.to_owned(), count);
            }
        }
    }

    /// How many of `name`.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            self.add(name, *count);
        }
    }
}

impl fmt::Display for Totals {
    /// A line for each group: the part of a name before its first dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = "";
        for (name, count) in &self.0 {
            let (head, tail) = name.split_once('.').unwrap_or(("", name));
            if head != group {
                let end = if group.is_empty() { "" } else { "\n" };
                write!(f, "{end}{head:<10}")?;
                group = head;
            }
            write!(f, " {tail} {count}")?;
        }
        Ok(())
    }
}

/// Totals of a run under way; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<Totals>>);

impl Tally {
    /// Counts one more of `name`.
    pub(crate) fn count(&self, name: &str) {
        self.add(name, 1);
    }

    /// Counts `count` more of `name`.
    pub(crate) fn add(&self, name: &str, count: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(name, count);
    }

    pub(crate) fn totals(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
