//! A cluster of PD and TiKV stores in memory, until Ctrl-C.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use tikv_embedded::model::Api;
use tikv_embedded::{Builder, Embedded, StartError};

const USAGE: &str = "\
usage: tikv-embedded [--stores N] [--regions N] [--pd-members N] [--pd-port P] [--api-version V]

Runs a TiKV cluster in memory until Ctrl-C and prints its PD addresses on the first line.

  --stores N      stores, 1 to 128 (default 1)
  --regions N     regions, 1 to 50000, spread over printable and binary keys (default: those of a new
                  cluster, which begin where the keyspace DEFAULT begins and ends)
  --pd-members N  PD members, 1 to 128, the first leads (default 1)
  --pd-port P     port of the first PD member on 127.0.0.1 (default: any free one); --port is the same
  --api-version V storage API of the stores: 1, 1ttl (raw values may have lifetimes), or 2 for keyspaces (default 1)
  --help          this text
  --version       the version
";

/// Exit code of a command line that cannot be understood, as is usual.
const BAD_USAGE: u8 = 2;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
enum Asked {
    Run(Options),
    Help,
    Version,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Options {
    stores: usize,
    /// None: as a new cluster has them.
    regions: Option<usize>,
    pd_members: usize,
    pd_port: u16,
    api: Api,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq)]
enum BadUsage {
    Unknown(String),
    NoValue(String),
    NotANumber { option: String, value: String },
    NoApi(String),
}

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "unknown argument {option:?}"),
            Self::NoValue(option) => write!(f, "{option} needs a value"),
            Self::NotANumber { option, value } => write!(f, "{option} needs a number, got {value:?}"),
            Self::NoApi(value) => write!(f, "--api-version needs 1, 1ttl or 2, got {value:?}"),
        }
    }
}

fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Asked, BadUsage> {
    let mut options = Options { stores: 1, regions: None, pd_members: 1, pd_port: 0, api: Api::V1 };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (option, given) = match argument.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        match option.as_str() {
            "--help" | "-h" => return Ok(Asked::Help),
            "--version" | "-V" => return Ok(Asked::Version),
            "--stores" | "--regions" | "--pd-members" | "--pd-port" | "--port" | "--api-version" => {}
            _ => return Err(BadUsage::Unknown(option)),
        }
        let value = given.or_else(|| arguments.next()).ok_or_else(|| BadUsage::NoValue(option.clone()))?;
        let number = value.parse::<usize>().ok();
        let not_a_number = || BadUsage::NotANumber { option: option.clone(), value: value.clone() };
        match option.as_str() {
            "--stores" => options.stores = number.ok_or_else(not_a_number)?,
            "--regions" => options.regions = Some(number.ok_or_else(not_a_number)?),
            "--pd-members" => options.pd_members = number.ok_or_else(not_a_number)?,
            "--api-version" => {
                options.api = match value.as_str() {
                    "1" => Api::V1,
                    "1ttl" => Api::V1Ttl,
                    "2" => Api::V2,
                    _ => return Err(BadUsage::NoApi(value)),
                }
            }
            _ => options.pd_port = value.parse().map_err(|_| not_a_number())?,
        }
    }
    Ok(Asked::Run(options))
}

fn start(options: Options) -> Result<Embedded, StartError> {
    let builder = Builder::default()
        .stores(options.stores)
        .pd_members(options.pd_members)
        .port(options.pd_port)
        .api_version(options.api);
    match options.regions {
        Some(regions) => builder.regions(regions).start(),
        None => builder.keyspace_bounds().start(),
    }
}

/// Serves until Ctrl-C.
fn serve(cluster: &Embedded) -> io::Result<()> {
    let mut out = io::stdout().lock();
    // In one piece: a reader that closes the pipe behind the first line must not end the cluster.
    let text = format!(
        "TIKV_PD={}\n\
         Give the address behind TIKV_PD= to a TiKV client as its PD endpoint.\n\
         The data is in memory; Ctrl-C ends the cluster and forgets it.\n",
        cluster.pd_addresses().join(",")
    );
    out.write_all(text.as_bytes())?;
    out.flush()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(tokio::signal::ctrl_c())?;
    cluster.stop();
    Ok(())
}

fn run(options: Options) -> ExitCode {
    match start(options) {
        Ok(cluster) => finished(serve(&cluster)),
        Err(error) => {
            tell(&chain(&error));
            let bad_usage = matches!(error, StartError::Number { .. });
            if bad_usage { ExitCode::from(BAD_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn finished(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Asked::Run(options)) => run(options),
        Ok(Asked::Help) => finished(io::stdout().lock().write_all(USAGE.as_bytes())),
        Ok(Asked::Version) => {
            finished(writeln!(io::stdout().lock(), "tikv-embedded {}", env!("CARGO_PKG_VERSION")))
        }
        Err(bad) => {
            tell(&format!("{bad}\n\n{USAGE}"));
            ExitCode::from(BAD_USAGE)
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text.push_str(&format!(": {cause}"));
        at = cause.source();
    }
    text
}

/// Writes to standard error; when that is closed, the exit code still tells.
fn tell(text: &str) {
    drop(writeln!(io::stderr().lock(), "tikv-embedded: {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, BadUsage> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_in_both_forms() {
        let options = Options { stores: 3, regions: Some(8), pd_members: 2, pd_port: 2379, api: Api::V2 };
        let line = "--stores 3 --regions=8 --pd-members 2 --pd-port=2379 --api-version 2";
        assert_eq!(parsed(line), Ok(Asked::Run(options)));
        assert_eq!(parsed("--stores 3 --help"), Ok(Asked::Help));
        let default = Options { stores: 1, regions: None, pd_members: 1, pd_port: 0, api: Api::V1 };
        assert_eq!(parsed(""), Ok(Asked::Run(default)));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(parsed("--store 3"), Err(BadUsage::Unknown("--store".into())));
        assert_eq!(parsed("--stores"), Err(BadUsage::NoValue("--stores".into())));
        let not =
            |option: &str, value: &str| BadUsage::NotANumber { option: option.into(), value: value.into() };
        assert_eq!(parsed("--regions many"), Err(not("--regions", "many")));
        assert_eq!(parsed("--pd-port 70000"), Err(not("--pd-port", "70000")));
        assert_eq!(parsed("--api-version 3"), Err(BadUsage::NoApi("3".into())));
    }
}
