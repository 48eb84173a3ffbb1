//! `tikv-sim`: see the library.

mod cli;
mod trace_cli;

use std::io::Write as _;
use std::process::ExitCode;

const USAGE: &str = "\
usage: tikv-sim replay FILE…             drives the client's machines with a trace, says the first thing that differs
       tikv-sim show FILE [-o OUT.html]  draws a trace as a page
       tikv-sim list FILE                prints a trace
       tikv-sim redact FILE [-o OUT]     hides the keys of a trace: their order and common beginnings stay, and it still replays
       tikv-sim record [NAME] [-o FILE]  plays a scene (without a name: each) and records it
       tikv-sim storm [--callers N] [--seconds N] [--seed N]
                                         10,000 callers for 60 s of virtual time, while a store is killed each second
       tikv-sim run --seeds A..B [--jobs N] [--twice] [--replay] [--keep-going]
                    [--no-shrink] [--traces FOLDER]
                    [--ops N] [--faults NAME,NAME | none] [--loads NAME,NAME]

`run` runs the seeds from A to B, both included (one number is one seed). Ends with 0 when all holds.

  --jobs N      threads (default: one a core)
  --twice       runs each seed twice and compares
  --replay      records what clients do in each run, and replays it
  --traces      where the trace of a run that fails goes (default: here)
  --keep-going  runs all seeds, whatever fails
  --no-shrink   does not look for the least of a failing run that still fails
  --ops, --faults, --loads
                cut away of what a seed draws";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let result = match args.next().as_deref() {
        Some("run") => cli::run(args),
        Some("replay") => trace_cli::replays(args),
        Some("show") => trace_cli::draws(args),
        Some("list") => trace_cli::lists(args),
        Some("redact") => trace_cli::redacts(args),
        Some("record") => trace_cli::records(args),
        Some("storm") => cli::storms(args),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            // Nobody is left to tell when this fails.
            drop(writeln!(std::io::stderr(), "{text}"));
            ExitCode::from(2)
        }
    }
}
