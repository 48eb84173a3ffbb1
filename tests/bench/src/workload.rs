//! The table of what is measured: a row is what callers do, how many they are, how large values are and which keys are drawn.

use serde::{Deserialize, Serialize};
use tikv_bench_load::{Action, Draw};

/// Keys that are there to read; fewer of large values.
const KEYS: u32 = 10_000;
const KEYS_OF_LARGE: u32 = 300;
/// From here on a value is large, in bytes.
const LARGE: u32 = 64 << 10;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Workload {
    pub(crate) action: Action,
    pub(crate) callers: u32,
    pub(crate) value_bytes: u32,
    pub(crate) draw: Draw,
    /// Whether a quick run has it.
    #[serde(skip)]
    pub(crate) quick: bool,
}

const fn row(action: Action, callers: u32, value_bytes: u32) -> Workload {
    Workload { action, callers, value_bytes, draw: Draw::Uniform, quick: false }
}

impl Workload {
    const fn zipf(mut self) -> Self {
        self.draw = Draw::Zipf;
        self
    }

    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    /// How many keys there are to read.
    pub(crate) const fn keys(&self) -> u32 {
        if self.value_bytes < LARGE { KEYS } else { KEYS_OF_LARGE }
    }

    /// `raw-get/64/16B`, with `/zipf` where keys are not drawn alike.
    pub(crate) fn name(&self) -> String {
        let action = serde_json::to_value(self.action).unwrap_or_default();
        let action = action.as_str().unwrap_or_default();
        let zipf = if self.draw == Draw::Zipf { "/zipf" } else { "" };
        format!("{action}/{}/{}{zipf}", self.callers, bytes(self.value_bytes))
    }
}

fn bytes(bytes: u32) -> String {
    if bytes < 1024 { format!("{bytes}B") } else { format!("{}KiB", bytes / 1024) }
}

/// All rows, in the order in which they are run.
pub(crate) const WORKLOADS: &[Workload] = &[
    row(Action::RawGet, 1, 16),
    row(Action::RawGet, 64, 16).quick(),
    row(Action::RawGet, 512, 16),
    row(Action::RawGet, 1, 1024).quick(),
    row(Action::RawGet, 64, 1024),
    row(Action::RawGet, 64, 1024).zipf(),
    row(Action::RawGet, 64, 64 << 10),
    row(Action::RawPut, 1, 1024),
    row(Action::RawPut, 64, 16),
    row(Action::RawPut, 64, 1024).quick(),
    row(Action::RawPut, 512, 1024),
    row(Action::RawPut, 64, 64 << 10),
    row(Action::RawBatchGet, 1, 1024),
    row(Action::RawBatchGet, 64, 16),
    row(Action::RawBatchGet, 64, 1024).quick(),
    row(Action::RawScan, 1, 1024),
    row(Action::RawScan, 64, 16),
    row(Action::RawScan, 64, 1024),
    row(Action::SnapshotGet, 1, 1024),
    row(Action::SnapshotGet, 64, 16),
    row(Action::SnapshotGet, 64, 1024),
    row(Action::SnapshotGet, 512, 1024),
    row(Action::SnapshotGet, 64, 1024).zipf(),
    row(Action::SnapshotGet, 64, 64 << 10),
    row(Action::TxnGet, 1, 1024),
    row(Action::TxnGet, 64, 1024).quick(),
    row(Action::TxnGet, 512, 1024),
    row(Action::SnapshotBatchGet, 1, 1024),
    row(Action::SnapshotBatchGet, 64, 1024).quick(),
    row(Action::SnapshotScan, 1, 1024),
    row(Action::SnapshotScan, 64, 1024).quick(),
    row(Action::Commit1, 1, 16),
    row(Action::Commit1, 64, 16).quick(),
    row(Action::Commit1, 512, 16),
    row(Action::Commit1, 64, 1024),
    row(Action::Commit10, 1, 16),
    row(Action::Commit10, 64, 16).quick(),
    row(Action::Commit10, 64, 1024),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: BTreeSet<_> = WORKLOADS.iter().map(Workload::name).collect();
        assert_eq!(names.len(), WORKLOADS.len());
        assert!(names.contains("raw-get/64/1KiB/zipf") && names.contains("commit-10/64/16B"), "{names:?}");
    }

    #[test]
    fn a_quick_run_has_every_kind_of_cost() {
        let quick: BTreeSet<_> =
            WORKLOADS.iter().filter(|row| row.quick).map(|row| row.action.keys()).collect();
        assert_eq!(quick, BTreeSet::from([1, 10, 100]));
    }
}
