//! Benchmarks of the TiKV client: what it costs beside its floor.
//!
//! `cargo run --release -p tikv-bench -- floor` compares raw gets of the client with a bare echo of the same requests over the
//! same stream: client CPU and allocations for each get. The server side and each client run in processes of their own, one
//! after the other and in turn over several rounds, so that a ratio is of one moment of the machine.

mod client;
mod echo;
mod floor;
mod measure;

use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const USAGE: &str = "\
tikv-bench: what the client costs beside its floor

  tikv-bench floor [--rounds N] [--seconds N] [--callers N,N]   raw gets beside a bare echo
      against the embedded cluster, or against TIKV_PD=host:port
";

/// What the program is to do; the children are the program itself.
enum Task {
    Floor(floor::Plan),
    Child { who: floor::Who, pd: String, load: measure::Load },
    Server,
}

fn main() -> ExitCode {
    let done = match arguments() {
        Ok(Task::Floor(plan)) => floor::run(&plan),
        Ok(Task::Child { who, pd, load }) => floor::child(who, &pd, load),
        Ok(Task::Server) => floor::server(),
        Err(error) => Err(format!("{error}\n\n{USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            measure::say_error(&error.to_string());
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<Task, Box<dyn std::error::Error>> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    let command = parser.next()?;
    let Some(Value(command)) = command else { return Err("what is to be measured?".into()) };
    let mut plan = floor::Plan::default();
    let (mut who, mut pd) = (None, String::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => plan.rounds = parser.value()?.parse()?,
            Long("seconds") => plan.seconds = parser.value()?.parse()?,
            Long("callers") => {
                let list: String = parser.value()?.parse()?;
                plan.callers = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            Long("pd") => pd = parser.value()?.parse()?,
            Long("who") => who = Some(parser.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    match command.to_str() {
        Some("floor") => Ok(Task::Floor(plan)),
        Some("child") => {
            let callers = plan.callers.first().copied().unwrap_or(1);
            let load = measure::Load { callers, seconds: plan.seconds };
            Ok(Task::Child { who: who.ok_or("--who")?, pd, load })
        }
        Some("server") => Ok(Task::Server),
        _ => Err(format!("{} is not known", command.display()).into()),
    }
}
