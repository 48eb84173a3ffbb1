//! What the program is asked for.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use tikv_bench_load::{Failure, Task};

use crate::clients::Who;
use crate::server::Cluster;

pub(crate) const USAGE: &str = "\
tikv-bench: what the client costs, beside its floor and its peers

  tikv-bench floor [options]         a raw get beside a bare echo: CPU and allocations of 1 and 64 callers
  tikv-bench trace [options]         the same with what is done recorded: not at all, in memory, to a file
  tikv-bench rpc [options]           the transport: a raw get of 1, 64 and 512 callers beside both floors and every peer
  tikv-bench peers [options]         every client in turn, round by round
    --quick                          a small selection of workloads, under 5 minutes
    --only TEXT,TEXT                 workloads whose names begin with one of these
    --clients NAME,NAME              of echo, echo-h2, ours, ours-smol, tikv-client, client-go, ours-ring, ours-file
    --rounds N                       5, quick 3
    --seconds S                      of each run, 1.5, quick 1
    --stores N                       of the embedded cluster, 3
    --record FILE                    target/tikv-bench/peers-DATE.jsonl
  tikv-bench list                    names of all workloads
  tikv-bench micro [--only TEXT,TEXT] [--rounds N] [--record FILE]
                                     pure parts of the core: no I/O, one thread
  tikv-bench routing [--regions N,N] [--rounds N]
                                     the region directory beside client-go's region cache
  tikv-bench report FILE [--to HTML] a recording as one page with plots
  tikv-bench compare BEFORE AFTER    what changed between two recordings beyond noise

  TIKV_PD=host:port,... measures against that cluster instead of the embedded one.
  It writes keys that begin with \"bench/\".
";

/// What is to be done; the last two are what the program starts itself as.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Help,
    List,
    Peers(Plan),
    Micro(Micro),
    Routing(Routing),
    Report { recording: PathBuf, to: PathBuf },
    Compare { before: PathBuf, after: PathBuf },
    Child { who: Who, task: Task },
    Server(Cluster),
}

/// A comparison of clients.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    pub(crate) only: Vec<String>,
    pub(crate) clients: Vec<Who>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) stores: usize,
    pub(crate) record: Option<PathBuf>,
}

/// Benches of the pure parts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Micro {
    pub(crate) only: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) record: Option<PathBuf>,
}

/// Benches of the region directory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Routing {
    pub(crate) regions: Vec<usize>,
    pub(crate) rounds: usize,
}

/// Reads a command line, without the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let command = match parser.next()? {
        Some(Value(command)) => command.string()?,
        Some(Long("help") | Short('h')) => return Ok(Asked::Help),
        Some(other) => return Err(other.unexpected().into()),
        None => return Err("what is to be measured?".into()),
    };
    match command.as_str() {
        "floor" => peers(&mut parser, floor(&[Who::Echo, Who::Ours])),
        "trace" => peers(&mut parser, floor(&Who::RECORDING)),
        "rpc" => peers(&mut parser, rpc()),
        "peers" => peers(&mut parser, every()),
        "micro" => micro(&mut parser),
        "routing" => routing(&mut parser),
        "list" => end(&mut parser, Asked::List),
        "report" => report(&mut parser),
        "compare" => {
            let (before, after) = (path(&mut parser)?, path(&mut parser)?);
            end(&mut parser, Asked::Compare { before, after })
        }
        "child" => {
            let name: String = parser.value()?.parse()?;
            let who = Who::named(&name).ok_or_else(|| format!("{name} is no client"))?;
            let task = serde_json::from_str(&parser.value()?.string()?)?;
            end(&mut parser, Asked::Child { who, task })
        }
        "server" => {
            let cluster = serde_json::from_str(&parser.value()?.string()?)?;
            end(&mut parser, Asked::Server(cluster))
        }
        other => Err(format!("{other} is not known").into()),
    }
}

/// Every workload of every client.
fn every() -> Plan {
    let clients = Who::PEERS.to_vec();
    Plan { quick: false, only: Vec::new(), clients, rounds: 0, seconds: 0.0, stores: 3, record: None }
}

/// What one raw get costs these clients.
fn floor(clients: &[Who]) -> Plan {
    let only = ["raw-get/1/", "raw-get/64/16B"].map(str::to_owned).to_vec();
    Plan { only, clients: clients.to_vec(), ..every() }
}

/// What the transport costs, beside floors and peers.
fn rpc() -> Plan {
    let only = ["raw-get/1/16B", "raw-get/64/16B", "raw-get/512/16B"].map(str::to_owned).to_vec();
    Plan { only, ..every() }
}

fn peers(parser: &mut lexopt::Parser, mut plan: Plan) -> Result<Asked, Failure> {
    let (mut rounds, mut seconds) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => plan.quick = true,
            Long("only") => plan.only = list(parser)?,
            Long("clients") => {
                let known = |name: &String| Who::named(name).ok_or_else(|| format!("{name} is no client"));
                plan.clients = list(parser)?.iter().map(known).collect::<Result<_, _>>()?;
            }
            Long("rounds") => rounds = Some(rounds_of(parser)?),
            Long("seconds") => seconds = Some(seconds_of(parser)?),
            Long("stores") => plan.stores = parser.value()?.parse()?,
            Long("record") => plan.record = Some(path(parser)?),
            other => return Err(other.unexpected().into()),
        }
    }
    plan.rounds = rounds.unwrap_or(if plan.quick { 3 } else { 5 });
    plan.seconds = seconds.unwrap_or(if plan.quick { 1.0 } else { 1.5 });
    Ok(Asked::Peers(plan))
}

fn micro(parser: &mut lexopt::Parser) -> Result<Asked, Failure> {
    let mut micro = Micro { only: Vec::new(), rounds: 5, record: None };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("only") => micro.only = list(parser)?,
            Long("rounds") => micro.rounds = rounds_of(parser)?,
            Long("record") => micro.record = Some(path(parser)?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Asked::Micro(micro))
}

fn routing(parser: &mut lexopt::Parser) -> Result<Asked, Failure> {
    // The largest first: its memory is that of a fresh process.
    let mut routing = Routing { regions: vec![1_000_000, 10_000, 1], rounds: 9 };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("regions") => {
                routing.regions =
                    list(parser)?.iter().map(|count| count.parse()).collect::<Result<_, _>>()?;
                if routing.regions.contains(&0) {
                    return Err("there must be a region".into());
                }
            }
            Long("rounds") => routing.rounds = rounds_of(parser)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Asked::Routing(routing))
}

fn report(parser: &mut lexopt::Parser) -> Result<Asked, Failure> {
    let recording = path(parser)?;
    let mut to = recording.with_extension("html");
    while let Some(argument) = parser.next()? {
        match argument {
            Long("to") => to = path(parser)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Asked::Report { recording, to })
}

fn end(parser: &mut lexopt::Parser, asked: Asked) -> Result<Asked, Failure> {
    match parser.next()? {
        Some(more) => Err(more.unexpected().into()),
        None => Ok(asked),
    }
}

fn path(parser: &mut lexopt::Parser) -> Result<PathBuf, Failure> {
    Ok(parser.value().map_err(|_| "the name of a file is missing")?.into())
}

fn list(parser: &mut lexopt::Parser) -> Result<Vec<String>, Failure> {
    let words = parser.value()?.string()?;
    Ok(words.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

fn rounds_of(parser: &mut lexopt::Parser) -> Result<usize, Failure> {
    let rounds = parser.value()?.parse()?;
    if rounds == 0 { Err("there must be a round".into()) } else { Ok(rounds) }
}

fn seconds_of(parser: &mut lexopt::Parser) -> Result<f64, Failure> {
    let seconds: f64 = parser.value()?.parse()?;
    // Also refuses what is no number.
    if (0.01..=600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("a run takes 0.01 to 600 seconds".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_quick_run_is_shorter_unless_it_is_told_otherwise() {
        let Ok(Asked::Peers(plan)) = parsed("peers --quick --seconds 0.5 --clients ours,echo") else {
            panic!("no plan")
        };
        assert_eq!((plan.rounds, plan.seconds, plan.stores), (3, 0.5, 3));
        assert_eq!(plan.clients, [Who::Ours, Who::Echo]);
        let Ok(Asked::Peers(plan)) = parsed("peers --only=raw-get,commit") else { panic!("no plan") };
        assert_eq!((plan.rounds, plan.seconds, plan.only.len()), (5, 1.5, 2));
        assert_eq!(plan.clients, Who::PEERS);
        let Ok(Asked::Peers(plan)) = parsed("floor --rounds 2") else { panic!("no plan") };
        assert_eq!((plan.rounds, plan.clients), (2, vec![Who::Echo, Who::Ours]));
        let Ok(Asked::Peers(plan)) = parsed("trace --clients ours,ours-file") else { panic!("no plan") };
        assert_eq!(plan.clients, [Who::Ours, Who::OursFile]);
    }

    #[test]
    fn regions_are_counted_from_one() {
        let asked = Asked::Routing(Routing { regions: vec![10, 1], rounds: 2 });
        assert_eq!(parsed("routing --regions 10,1 --rounds 2"), Ok(asked));
        assert_eq!(parsed("routing --regions 0"), Err("there must be a region".into()));
    }

    #[test]
    fn what_the_program_starts_itself_as_is_read_back() {
        let task = r#"{"pd":["a:1"],"action":"commit-1","callers":2,"value_bytes":16,"draw":"zipf","keys":10,"seed":1,"run":1,"warm_up":0.1,"seconds":1.0}"#;
        let Ok(Asked::Child { who, task }) = parsed(&format!("child echo {task}")) else {
            panic!("no child")
        };
        assert_eq!((who, task.callers), (Who::Echo, 2));
    }

    #[test]
    fn a_report_stands_beside_its_recording() {
        let asked = Asked::Report { recording: "a/b.jsonl".into(), to: "a/b.html".into() };
        assert_eq!(parsed("report a/b.jsonl"), Ok(asked));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (line, error) in [
            ("", "what is to be measured?"),
            ("pears", "pears is not known"),
            ("peers --clients ours,theirs", "theirs is no client"),
            ("peers --rounds 0", "there must be a round"),
            ("peers --seconds NaN", "a run takes 0.01 to 600 seconds"),
            ("peers --quickly", "invalid option '--quickly'"),
            ("compare one", "the name of a file is missing"),
            ("list all", "unexpected argument \"all\""),
        ] {
            assert_eq!(parsed(line), Err(error.into()), "{line}");
        }
    }
}
