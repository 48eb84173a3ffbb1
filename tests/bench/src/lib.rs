//! Benchmarks of the TiKV client beside its floor and its peers. `README.md` says how to use them.
//!
//! * `arguments`: what the program is asked for; `workload`: the table of what is measured;
//! * `peers`: the comparison. It starts `server` and the clients, each in a process of its own: those of this program
//!   (`clients`) and those that `build` makes from `peers/`;
//! * `record`: a recording, lines of JSON; `stats`: medians and what is beyond noise;
//! * `table`, `report` and `compare` show recordings;
//! * `micro`: the pure parts of the core alone; `routing`: the region directory beside client-go's region cache.

mod arguments;
mod build;
mod clients;
mod compare;
mod micro;
mod peers;
mod record;
mod report;
mod routing;
mod server;
mod stats;
mod table;
mod workload;

use std::io::Write;
use std::process::ExitCode;

use arguments::Asked;

/// The program. `allocations` counts those of the process, if its allocator does.
#[must_use]
pub fn main(allocations: Option<fn() -> u64>) -> ExitCode {
    let done = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Help) => {
            say(arguments::USAGE.trim_end());
            Ok(())
        }
        Ok(Asked::List) => {
            workload::WORKLOADS.iter().for_each(|row| say(&row.name()));
            Ok(())
        }
        Ok(Asked::Peers(plan)) => peers::run(&plan),
        Ok(Asked::Micro(plan)) => micro::run(&plan),
        Ok(Asked::Routing(plan)) => routing::run(&plan),
        Ok(Asked::Report { recording, to }) => report::run(&recording, &to),
        Ok(Asked::Compare { before, after }) => compare::run(&before, &after),
        Ok(Asked::Child { who, task }) => clients::child(who, &task, allocations),
        Ok(Asked::Server(cluster)) => server::serve(&cluster),
        Err(error) => Err(format!("{error}\n\n{}", arguments::USAGE).into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&format!("tikv-bench: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Prints a line; a closed pipe is no failure of a benchmark.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Prints a line for people to the error stream.
fn say_error(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
