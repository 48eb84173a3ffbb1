//! The machines of transactions as one type.

use std::task::Poll;

use tikv_client_core::error::Error;
use tikv_client_core::lock::CleanLocks;
use tikv_client_core::machine::{Cx, Machine};
use tikv_client_core::snapshot::batch_get::BatchGetMachine;
use tikv_client_core::snapshot::get::GetMachine;
use tikv_client_core::snapshot::scan::ScanMachine;
use tikv_client_core::start::Start;
use tikv_client_core::txn::{CommitInfo, CommitMachine, CommitSecondaries, RollBack};
use tikv_client_core::types::{Key, KvPair, Value};

/// Requests of one operation at work at a time.
pub(crate) const LIMIT: usize = 2;

/// A machine of a transaction.
#[derive(Debug)]
pub(crate) enum Task {
    Commit(CommitMachine),
    Secondaries(CommitSecondaries),
    RollBack(RollBack),
    Clean(CleanLocks),
    Get(Key, GetMachine),
    BatchGet(BatchGetMachine),
    Scan(ScanMachine),
}

/// What it comes to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Commit(Result<CommitInfo, Error>),
    /// In the background: nobody hears what it came to.
    Background,
    /// What was read.
    Read(Result<Vec<(Key, Value)>, Error>),
}

impl Task {
    /// The operation that `start` describes.
    pub(crate) fn of_start(start: Start) -> Self {
        match start {
            Start::CommitSecondaries { start_ts, commit_ts, primary, keys } => {
                Self::Secondaries(CommitSecondaries::new(start_ts, commit_ts, primary, keys, LIMIT))
            }
            Start::FinishCommit { start_ts, commit_ts, keys } => {
                Self::Commit(CommitMachine::finishing(start_ts, commit_ts, keys, false))
            }
            Start::RollBack { start_ts, keys } => Self::RollBack(RollBack::new(start_ts, keys, LIMIT, false)),
            Start::CleanLocks { cleanings } => Self::Clean(CleanLocks::new(cleanings, false)),
            other => panic!("nobody runs {other:?}"),
        }
    }
}

fn pairs(found: Result<Vec<KvPair>, Error>) -> Outcome {
    Outcome::Read(found.map(|pairs| pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()))
}

impl Machine for Task {
    type Output = Outcome;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Outcome> {
        match self {
            Self::Commit(machine) => machine.step(cx).map(Outcome::Commit),
            Self::Secondaries(machine) => machine.step(cx).map(|_| Outcome::Background),
            Self::RollBack(machine) => machine.step(cx).map(|_| Outcome::Background),
            Self::Clean(machine) => machine.step(cx).map(|_| Outcome::Background),
            Self::Get(key, machine) => machine.step(cx).map(|found| {
                Outcome::Read(
                    found.map(|value| value.into_iter().map(|value| (key.clone(), value)).collect()),
                )
            }),
            Self::BatchGet(machine) => machine.step(cx).map(pairs),
            Self::Scan(machine) => machine.step(cx).map(pairs),
        }
    }

    fn abandon(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Commit(machine) => machine.abandon(cx),
            Self::Secondaries(machine) => machine.abandon(cx),
            Self::RollBack(machine) => machine.abandon(cx),
            Self::Clean(machine) => machine.abandon(cx),
            Self::Get(_, machine) => machine.abandon(cx),
            Self::BatchGet(machine) => machine.abandon(cx),
            Self::Scan(machine) => machine.abandon(cx),
        }
    }
}
