//! Faults of single commands: rules that the model carries out.

use std::sync::PoisonError;
use std::time::Duration;

use tikv_embedded::control::{Action, Matcher, Node, Refusal, Rule, RuleId};
use tikv_embedded::model::{Code, Status};
use tikv_proto::errorpb;

use super::Nemesis;
use crate::plan::Fault;

/// Commands that rules are about; the ones that decide come more than once.
const METHODS: [&str; 20] = [
    "KvPrewrite",
    "KvPrewrite",
    "KvPrewrite",
    "KvCommit",
    "KvCommit",
    "KvCommit",
    "KvCommit",
    "KvGet",
    "KvBatchGet",
    "KvScan",
    "KvBatchRollback",
    "KvCheckTxnStatus",
    "KvResolveLock",
    "RawGet",
    "RawPut",
    "RawPut",
    "RawDelete",
    "RawScan",
    "Tso",
    "GetRegion",
];

impl Nemesis {
    pub(super) fn rule(&mut self, fault: Fault) {
        let (name, action) = self.action(fault);
        let mut matcher = match self.rng.u32(..8) {
            0 => Matcher::any().at(Node::AnyStore),
            1 => Matcher::any(),
            _ => Matcher::method(METHODS[self.rng.usize(..METHODS.len())]),
        };
        if self.rng.u32(..4) == 0 {
            let store = self.any_store();
            matcher = matcher.at(Node::Store(store));
        }
        let rule = Rule::new(matcher, action).skip(self.rng.u64(0..6)).times(self.rng.u64(1..5));
        let rule = self.ctx.net.with(|state, _| state.cluster.add_fault(rule));
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push((rule, name.clone()));
        let after = self.ms(50, 5_000);
        self.later(after, move |nemesis| {
            nemesis.rules.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != rule);
            nemesis.remove_rule(rule, &name);
        });
    }

    /// Takes a rule away and counts how often it acted.
    pub(super) fn remove_rule(&self, rule: RuleId, name: &str) {
        if let Some(hits) = self.ctx.net.with(|state, now| state.cluster.remove_fault(now, rule)) {
            self.ctx.tally.add(&format!("fault.{name}"), hits);
        }
    }

    fn action(&mut self, fault: Fault) -> (String, Action) {
        let late = |nemesis: &mut Self| {
            if nemesis.rng.u32(..4) == 0 { nemesis.ms(1_000, 8_000) } else { nemesis.ms(1, 400) }
        };
        let name = fault.name().to_owned();
        let action = match fault {
            Fault::LoseRequest => Action::Lose,
            Fault::LoseAnswer => Action::DropAnswer,
            Fault::Break => Action::Break,
            Fault::BreakAfter => Action::BreakAfter,
            Fault::Late => Action::Delay(late(self)),
            Fault::LateAnswer => Action::DelayAnswer(late(self)),
            Fault::RegionErrorAfter => {
                let refusal =
                    if self.rng.bool() { Refusal::StaleCommand } else { Refusal::UndeterminedResult };
                return (format!("{name}-{}", refusal_name(&refusal)), Action::RefuseAfter(refusal));
            }
            Fault::RegionError => {
                let refusal = self.refusal();
                return (format!("{name}-{}", refusal_name(&refusal)), Action::Refuse(refusal));
            }
            _ => {
                let code =
                    [Code::Unavailable, Code::Unknown, Code::DeadlineExceeded, Code::ResourceExhausted];
                Action::Fail(Status::new(code[self.rng.usize(..code.len())], "ordered by a fault"))
            }
        };
        (name, action)
    }

    fn refusal(&mut self) -> Refusal {
        let store = self.any_store();
        let siblings = self.rng.u64(..3);
        match self.rng.u32(..20) {
            0 => Refusal::NotLeader { leader: Some(store) },
            1 => Refusal::NotLeader { leader: None },
            2 => Refusal::EpochNotMatch { siblings },
            3 => Refusal::EpochNotMatchUnknown,
            4 => Refusal::RegionNotFound,
            5 => Refusal::busy(),
            6 => Refusal::StaleCommand,
            7 => Refusal::StoreNotMatch,
            8 => Refusal::MaxTimestampNotSynced,
            9 => Refusal::ReadIndexNotReady,
            10 => Refusal::DataIsNotReady { safe_ts: 1 },
            11 => Refusal::ProposalInMergingMode,
            12 => Refusal::DiskFull,
            13 | 14 => Refusal::UndeterminedResult,
            kind => Refusal::Exactly(Box::new(rare(kind))),
        }
    }
}

/// Errors that the model has no name for, of some region that nobody asked about.
fn rare(kind: u32) -> errorpb::Error {
    let mut error = errorpb::Error { message: "ordered by a fault".to_owned(), ..Default::default() };
    match kind {
        15 => error.recovery_in_progress = Some(errorpb::RecoveryInProgress { region_id: 2 }),
        16 => error.region_not_initialized = Some(errorpb::RegionNotInitialized { region_id: 2 }),
        17 => error.is_witness = Some(errorpb::IsWitness { region_id: 2 }),
        18 => error.key_not_in_region = Some(errorpb::KeyNotInRegion { region_id: 2, ..Default::default() }),
        _ => error.mismatch_peer_id = Some(errorpb::MismatchPeerId { request_peer_id: 2, store_peer_id: 3 }),
    }
    error
}

fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotLeader { leader: Some(_) } => "not-leader-hint",
        Refusal::NotLeader { leader: None } => "not-leader",
        Refusal::EpochNotMatch { .. } => "epoch",
        Refusal::EpochNotMatchUnknown => "epoch-unknown",
        Refusal::RegionNotFound => "not-found",
        Refusal::ServerIsBusy { .. } => "busy",
        Refusal::StaleCommand => "stale-command",
        Refusal::StoreNotMatch => "store-not-match",
        Refusal::MaxTimestampNotSynced => "max-ts",
        Refusal::ReadIndexNotReady => "read-index",
        Refusal::DataIsNotReady { .. } => "data-not-ready",
        Refusal::ProposalInMergingMode => "merging",
        Refusal::DiskFull => "disk-full",
        Refusal::UndeterminedResult => "undetermined",
        Refusal::Exactly(_) => "rare",
        _ => "other",
    }
}

/// How late a command can be executed behind the end of all faults.
pub(crate) const LATEST: Duration = Duration::from_secs(8);
