//! The clients that this program can be: ours on each runtime, and the floor.
//!
//! One run of a client is a process: [`child`] gets its [`Task`] as an argument and prints its outcome. Clients of others are
//! programs of their own under `peers/`.

mod echo;
mod ours;

use tikv_bench_load::{Action, Failure, Harness, Space, Task};

use crate::say;

pub(crate) use ours::fill;

/// The space of what an action reads.
pub(crate) fn space(action: Action) -> Space {
    match action {
        Action::RawGet | Action::RawPut | Action::RawBatchGet | Action::RawScan => Space::Raw,
        Action::SnapshotGet
        | Action::SnapshotBatchGet
        | Action::SnapshotScan
        | Action::TxnGet
        | Action::Commit1
        | Action::Commit10 => Space::Txn,
    }
}

/// A client under measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// The floor: nothing of a client around the same requests.
    Echo,
    /// Ours, on tokio.
    Ours,
    /// Ours, on smol.
    OursSmol,
    /// The published Rust client.
    TikvClient,
    /// TiKV's own client, in Go.
    ClientGo,
}

impl Who {
    pub(crate) const ALL: [Self; 5] =
        [Self::Echo, Self::Ours, Self::OursSmol, Self::TikvClient, Self::ClientGo];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Ours => "ours",
            Self::OursSmol => "ours-smol",
            Self::TikvClient => "tikv-client",
            Self::ClientGo => "client-go",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|who| who.name() == name)
    }
}

/// One run of one client of this program.
pub(crate) fn child(who: Who, task: &Task, allocations: Option<fn() -> u64>) -> Result<(), Failure> {
    let on_tokio = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match who {
        Who::Echo => {
            let runtime = on_tokio()?;
            let echo = runtime.block_on(echo::Echo::connect(task))?;
            let harness = Harness { spawn: &|future| drop(runtime.spawn(future)), allocations };
            let draws = echo.keys().checksum();
            tikv_bench_load::run(task, draws, &harness, move |caller, turn| echo.operate(caller, turn))
        }
        Who::Ours => {
            let runtime = on_tokio()?;
            let ours = runtime.block_on(ours::Ours::on_tokio(task))?;
            let harness = Harness { spawn: &|future| drop(runtime.spawn(future)), allocations };
            let draws = ours.keys().checksum();
            tikv_bench_load::run(task, draws, &harness, move |caller, turn| ours.operate(caller, turn))
        }
        Who::OursSmol => {
            let ours = smol::block_on(ours::Ours::on_smol(task))?;
            let harness = Harness { spawn: &|future| smol::spawn(future).detach(), allocations };
            let draws = ours.keys().checksum();
            tikv_bench_load::run(task, draws, &harness, move |caller, turn| ours.operate(caller, turn))
        }
        Who::TikvClient | Who::ClientGo => Err("this client is a program of its own".into()),
    }?;
    say(&serde_json::to_string(&outcome)?);
    Ok(())
}
