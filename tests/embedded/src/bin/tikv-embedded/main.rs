//! A cluster of PD and TiKV stores in memory, until Ctrl-C.
//!
//! * `options`: the command line. `run`: the cluster with its admin port and script. `table`: what a terminal shows.

mod options;
mod run;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use options::{Asked, USAGE};
use run::Failure;

/// Exit code of a command line that cannot be understood, as is usual.
const BAD_USAGE: u8 = 2;

fn finished(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&tikv_embedded::control::chain(&failure));
            if failure.is_bad_usage() { ExitCode::from(BAD_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn main() -> ExitCode {
    match options::parse(std::env::args().skip(1)) {
        Ok(Asked::Run(options)) => finished(run::run(options)),
        Ok(Asked::Help) => finished(io::stdout().lock().write_all(USAGE.as_bytes()).map_err(Failure::Io)),
        Ok(Asked::Version) => {
            let told = writeln!(io::stdout().lock(), "tikv-embedded {}", env!("CARGO_PKG_VERSION"));
            finished(told.map_err(Failure::Io))
        }
        Err(bad) => {
            tell(&format!("{bad}\n\n{USAGE}"));
            ExitCode::from(BAD_USAGE)
        }
    }
}

/// Writes to standard error; when that is closed, the exit code still tells.
fn tell(text: &str) {
    drop(writeln!(io::stderr().lock(), "tikv-embedded: {text}"));
}
