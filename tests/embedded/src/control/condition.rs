//! The conditions of a store that clients have to live with, as the rules that make it so.

use std::time::Duration;

use tikv_proto::methods::tikv as m;

use super::{Action, DiskUsage, Matcher, Node, Refusal, Rule, Trait};

/// What ails a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It begins everything so much later.
    Slow(Duration),
    /// A read would wait so long; one that would rather not is refused.
    Busy(Duration),
    /// It refuses writes that may not fill its disk further.
    Disk(DiskUsage),
    /// Its followers apply everything so much later: a replica read waits, a stale read is not ready.
    Behind(Duration),
}

/// The methods that write through Raft, which a full disk concerns.
const WRITES: [&str; 18] = [
    m::KV_PREWRITE,
    m::KV_PESSIMISTIC_LOCK,
    m::KV_PESSIMISTIC_ROLLBACK,
    m::KV_TXN_HEART_BEAT,
    m::KV_COMMIT,
    m::KV_CLEANUP,
    m::KV_BATCH_ROLLBACK,
    m::KV_RESOLVE_LOCK,
    m::KV_CHECK_TXN_STATUS,
    m::KV_CHECK_SECONDARY_LOCKS,
    m::KV_DELETE_RANGE,
    m::KV_FLUSH,
    m::KV_FLASHBACK_TO_VERSION,
    m::RAW_PUT,
    m::RAW_BATCH_PUT,
    m::RAW_DELETE,
    m::RAW_BATCH_DELETE,
    m::RAW_DELETE_RANGE,
];

impl Condition {
    /// The condition's word, such as `slow`; a store has one condition of a word at a time.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Slow(_) => "slow",
            Self::Busy(_) => "busy",
            Self::Disk(_) => "disk",
            Self::Behind(_) => "behind",
        }
    }

    /// The rules that put `store` into this condition.
    #[must_use]
    pub fn rules(&self, store: u64) -> Vec<Rule> {
        let at_store = || Matcher::any().at(Node::Store(store));
        match *self {
            Self::Slow(by) => vec![Rule::new(at_store(), Action::Delay(by))],
            Self::Busy(wait) => {
                let refusal = Refusal::ServerIsBusy {
                    // TiKV: src/read_pool.rs: check_busy_threshold
                    reason: "estimated wait time exceeds threshold".to_owned(),
                    estimated_wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
                };
                vec![Rule::new(at_store().saying(Trait::WouldNotWait(wait)), Action::Refuse(refusal))]
            }
            Self::Disk(usage) => {
                let names = WRITES.iter().map(|path| path.rsplit('/').next().unwrap_or(path));
                let writes = names.fold(at_store(), Matcher::or_method);
                vec![Rule::new(writes.saying(Trait::NotAllowedOn(usage)), Action::Refuse(Refusal::DiskFull))]
            }
            Self::Behind(by) => vec![
                Rule::new(
                    at_store().saying(Trait::StaleRead),
                    Action::Refuse(Refusal::DataIsNotReady { safe_ts: 0 }),
                ),
                Rule::new(at_store().saying(Trait::ReplicaRead), Action::Delay(by)),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use tikv_proto::kvrpcpb::{Context, DiskFullOpt};

    use super::*;
    use crate::control::{CallFacts, Faults};

    #[test]
    fn a_full_disk_refuses_writes_that_are_not_allowed_on_it() {
        let mut faults = Faults::default();
        for rule in Condition::Disk(DiskUsage::AlmostFull).rules(2) {
            faults.add(rule);
        }
        let mut refused = |store, method, opt: DiskFullOpt| {
            let context = Context { disk_full_opt: opt.into(), ..Context::default() };
            faults.meet(&CallFacts::new(Node::Store(store), method).with_context(Some(&context))).is_some()
        };
        assert!(refused(2, "KvPrewrite", DiskFullOpt::NotAllowedOnFull));
        assert!(!refused(2, "KvPrewrite", DiskFullOpt::AllowedOnAlmostFull));
        assert!(!refused(2, "KvGet", DiskFullOpt::NotAllowedOnFull));
        assert!(!refused(1, "KvPrewrite", DiskFullOpt::NotAllowedOnFull));
    }

    #[test]
    fn a_busy_store_refuses_only_who_would_rather_not_wait() {
        let mut faults = Faults::default();
        for rule in Condition::Busy(Duration::from_secs(1)).rules(2) {
            faults.add(rule);
        }
        let mut refused = |busy_threshold_ms| {
            let context = Context { busy_threshold_ms, ..Context::default() };
            faults.meet(&CallFacts::new(Node::Store(2), "KvGet").with_context(Some(&context))).is_some()
        };
        assert!(refused(999));
        assert!(!refused(1000));
        assert!(!refused(0), "it waits as long as it takes");
    }
}
