//! What a set of runs must have reached, and what it cannot yet.

use crate::plan::{Fault, Load};
use crate::tally::Totals;

/// Runs below which a zero says nothing: the rarest of these happens once in fifty.
const FEWEST: u64 = 1000;

/// What clients and servers must have done at least once.
const REACHED: &[&str] = &[
    "call.begin",
    "txn.committed",
    "txn.failed",
    "txn.undetermined",
    "txn.dropped",
    "error.write-conflict",
    "error.rolled-back",
    "error.interrupted",
    "error.already-exists",
    "method.KvGet",
    "method.KvBatchGet",
    "method.KvScan",
    "method.KvPrewrite",
    "method.KvCommit",
    "method.KvBatchRollback",
    "method.KvCheckTxnStatus",
    "method.KvResolveLock",
    "method.RawGet",
    "method.RawBatchGet",
    "method.RawPut",
    "method.RawBatchPut",
    "method.RawDelete",
    "method.RawBatchDelete",
    "method.RawScan",
    "method.RawDeleteRange",
    "method.Tso",
    "method.GetMembers",
    "method.GetRegion",
    "method.GetPrevRegion",
    "method.GetStore",
    "told.not_leader",
    "told.epoch_not_match",
    "told.region_not_found",
    "told.store_not_match",
    "told.stale_command",
    "told.server_is_busy",
    "told.undetermined_result",
    "told.key_not_in_region",
    "told.recovery_in_progress",
    "told.region_not_initialized",
    "told.is_witness",
    "told.mismatch_peer_id",
    "told.max_timestamp_not_synced",
    "told.read_index_not_ready",
    "told.proposal_in_merging_mode",
    "told.data_is_not_ready",
    "told.disk_full",
    "net.reordered",
    "net.doubled",
    "linear.order",
    "method.KvPessimisticLock",
    "method.KvPessimisticRollback",
    "method.KvTxnHeartBeat",
    "method.KvCheckSecondaryLocks",
    "method.KvScanLock",
    "method.RawCompareAndSwap",
    "method.RawGetKeyTTL",
    "method.RawChecksum",
];

/// What is not reached yet, and why.
const NOT_YET: &[(&str, &str)] = &[
    ("method.KvPessimisticLock", "no pessimistic transactions: queues of them wait"),
    ("method.KvPessimisticRollback", "no pessimistic transactions"),
    ("method.KvTxnHeartBeat", "locks of long transactions are not kept alive"),
    ("method.KvCheckSecondaryLocks", "no asynchronous commits: nobody meets their locks"),
    ("method.KvScanLock", "no garbage collection"),
    ("method.RawCompareAndSwap", "no compare-and-swap: counters by it wait"),
    ("method.RawGetKeyTTL", "no query of a time to live"),
    ("method.RawChecksum", "no checksums"),
];

/// What is not reached yet, and why.
#[must_use]
pub fn not_yet() -> &'static [(&'static str, &'static str)] {
    NOT_YET
}

/// What was to be reached and was not, by name, and what is on the list of "not yet" and was; empty when too few runs were made
/// to say so.
#[must_use]
pub fn missing(totals: &Totals) -> Vec<String> {
    if totals.of("run.seeds") < FEWEST {
        return Vec::new();
    }
    let done = |load: &Load| format!("{}.done", load.name());
    let faults =
        Fault::ALL.iter().filter(|fault| !by_kind(**fault)).map(|fault| format!("fault.{}", fault.name()));
    let names = REACHED.iter().map(|&name| name.to_owned()).chain(Load::ALL.iter().map(done)).chain(faults);
    names.filter(|name| (totals.of(name) == 0) != NOT_YET.iter().any(|(other, _)| other == name)).collect()
}

/// Faults that are counted kind by kind.
fn by_kind(fault: Fault) -> bool {
    matches!(fault, Fault::RegionError | Fault::RegionErrorAfter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_counts_only_among_many_runs() {
        let mut totals = Totals::default();
        totals.add("run.seeds", FEWEST - 1);
        assert_eq!(missing(&totals), Vec::<String>::new());
        totals.add("run.seeds", 1);
        let before = missing(&totals);
        assert!(before.contains(&"fault.split".to_owned()) && before.contains(&"bank.done".to_owned()));
        totals.add("fault.split", 1);
        assert_eq!(missing(&totals).len(), before.len() - 1);
        assert!(
            NOT_YET.iter().all(|(name, _)| REACHED.contains(name) && !before.contains(&(*name).to_owned()))
        );
        totals.add(NOT_YET[0].0, 1);
        assert!(missing(&totals).contains(&NOT_YET[0].0.to_owned()), "it is to be taken off the list");
    }
}
