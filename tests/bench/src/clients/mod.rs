//! The clients that this program can be: ours on each runtime, and the floor.
//!
//! One run of a client is a process: [`child`] gets its [`Task`] as an argument and prints its outcome. Clients of others are
//! programs of their own under `peers/`.

mod echo;
mod ours;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tikv_bench_load::{Action, Failure, Harness, Space, Task};
use tikv_client_core::trace::Recorder;

use crate::{say, say_error};

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
    /// The same on our own HTTP/2 channel in place of tonic's: what is above it is all that a client costs.
    EchoH2,
    /// Ours, on tokio.
    Ours,
    /// Ours, on smol.
    OursSmol,
    /// The published Rust client.
    TikvClient,
    /// TiKV's own client, in Go.
    ClientGo,
    /// Ours, on tokio, with the last seconds of what it does kept in memory.
    OursRing,
    /// Ours, on tokio, with all that it does written to a file.
    OursFile,
}

impl Who {
    /// The floors and every client as a program has it.
    pub(crate) const PEERS: [Self; 6] =
        [Self::Echo, Self::EchoH2, Self::Ours, Self::OursSmol, Self::TikvClient, Self::ClientGo];

    /// Ours, which records nothing, and the same with a recorder.
    pub(crate) const RECORDING: [Self; 3] = [Self::Ours, Self::OursRing, Self::OursFile];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::EchoH2 => "echo-h2",
            Self::Ours => "ours",
            Self::OursSmol => "ours-smol",
            Self::TikvClient => "tikv-client",
            Self::ClientGo => "client-go",
            Self::OursRing => "ours-ring",
            Self::OursFile => "ours-file",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::PEERS.into_iter().chain(Self::RECORDING).find(|who| who.name() == name)
    }
}

/// Records of the last seconds that [`Who::OursRing`] keeps, in bytes and time.
const RING: (Duration, usize) = (Duration::from_secs(10), 64 << 20);

fn recorder(who: Who) -> Result<Option<Recorder>, Failure> {
    Ok(match who {
        Who::OursRing => Some(Recorder::ring(RING.0, RING.1)),
        Who::OursFile => {
            let path = std::env::temp_dir().join(format!("tikv-bench-{}.trace", std::process::id()));
            let file = Mutex::new(BufWriter::new(File::create_new(&path)?));
            // Gone with the process: nobody reads it.
            std::fs::remove_file(path)?;
            Some(Recorder::to_sink(move |bytes: &[u8]| {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = file.write_all(bytes) {
                    say_error(&format!("recording: {error}"));
                }
            }))
        }
        Who::Echo | Who::EchoH2 | Who::Ours | Who::OursSmol | Who::TikvClient | Who::ClientGo => None,
    })
}

/// One run of one client of this program.
pub(crate) fn child(who: Who, task: &Task, allocations: Option<fn() -> u64>) -> Result<(), Failure> {
    let on_tokio = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match who {
        Who::Echo | Who::EchoH2 => {
            let runtime = on_tokio()?;
            let echo = runtime.block_on(echo::Echo::connect(task, who == Who::EchoH2))?;
            let harness = Harness { spawn: &|future| drop(runtime.spawn(future)), allocations };
            let draws = echo.keys().checksum();
            tikv_bench_load::run(task, draws, &harness, move |caller, turn| echo.operate(caller, turn))
        }
        Who::Ours | Who::OursRing | Who::OursFile => {
            let runtime = on_tokio()?;
            let ours = runtime.block_on(ours::Ours::on_tokio(task, recorder(who)?))?;
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
