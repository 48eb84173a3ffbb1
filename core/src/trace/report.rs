//! What a replay came to.

use std::fmt;

/// Differences that a report lists; the others are counted.
const LISTED: usize = 100;

/// The first thing in which an operation's replay is not what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The operation's number.
    pub operation: u64,
    /// Its name.
    pub name: &'static str,
    /// The step, counted from 0.
    pub step: u32,
    /// What differs.
    pub what: String,
    /// What the trace has.
    pub recorded: String,
    /// What the replay came to.
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, name, step, what, recorded, replayed } = self;
        write!(
            f,
            "operation {operation} ({name}), step {step}: {what}\n  recorded: {recorded}\n  replayed: {replayed}"
        )
    }
}

/// What a replay came to. Its text is one line if all is identical, else the first difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Operations whose recorded steps were all replayed, and were identical; those that are not over are among them.
    pub identical: u64,
    /// Steps that were identical.
    pub steps: u64,
    /// Of the identical operations those whose end the trace does not have.
    pub unfinished: u64,
    /// Operations whose beginning the trace does not have, or a step between: they cannot be replayed.
    pub cut: u64,
    /// Operations that got a response which was withheld, identical up to it.
    pub withheld: u64,
    /// The last record is not there to its end.
    pub truncated: bool,
    /// Operations that differ.
    pub different: u64,
    /// The first differences of the first 100 of them, in the order of the trace.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether nothing differs. What is cut or withheld does not differ; see [`is_whole`](Self::is_whole).
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.different == 0
    }

    /// Whether there are operations, and all that the trace holds of any could be replayed to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.identical > 0 && self.cut == 0 && self.withheld == 0 && !self.truncated
    }
}

impl Report {
    pub(super) fn differs(&mut self, difference: Difference) {
        self.different += 1;
        if self.differences.len() < LISTED {
            self.differences.push(difference);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.differences.first() {
            write!(
                f,
                "{first}\n{} of {} operations differ",
                self.different,
                self.different + self.identical
            )?;
        } else {
            write!(f, "identical, {} steps of {} operations", self.steps, self.identical)?;
        }
        for (count, what) in [
            (self.unfinished, "not over"),
            (self.cut, "cut off"),
            (self.withheld, "with a withheld response"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if self.truncated {
            f.write_str(", the last record is cut off")?;
        }
        Ok(())
    }
}
