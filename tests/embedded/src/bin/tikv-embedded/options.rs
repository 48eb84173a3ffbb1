//! The command line.

use std::fmt;
use std::path::PathBuf;

use tikv_embedded::model::Api;

pub(crate) const USAGE: &str = "\
usage: tikv-embedded [--stores N] [--regions N] [--pd-members N] [--pd-port P] [--api-version V] [--admin-port P]
                     [--script FILE]

Runs a TiKV cluster in memory until Ctrl-C and prints its PD addresses on the first line; on a terminal it then
shows its stores, regions and calls.

  --stores N      stores, 1 to 128 (default 1)
  --regions N     regions, 1 to 50000, spread over printable and binary keys (default: those of a new
                  cluster, which begin where the keyspace DEFAULT begins and ends)
  --pd-members N  PD members, 1 to 128, the first leads (default 1)
  --pd-port P     port of the first PD member on 127.0.0.1 (default: any free one); --port is the same
  --api-version V storage API of the stores: 1, 1ttl (raw values may have lifetimes), or 2 for keyspaces (default 1)
  --admin-port P  also listens here for instructions over HTTP, 0: at any free port; GET /help lists them
  --script FILE   carries out instructions at their times: lines such as \"5s stop node=store:1\"
  --help          this text
  --version       the version
";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked {
    Run(Options),
    Help,
    Version,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) stores: usize,
    /// None: as a new cluster has them.
    pub(crate) regions: Option<usize>,
    pub(crate) pd_members: usize,
    pub(crate) pd_port: u16,
    pub(crate) api: Api,
    pub(crate) admin_port: Option<u16>,
    pub(crate) script: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stores: 1,
            regions: None,
            pd_members: 1,
            pd_port: 0,
            api: Api::V1,
            admin_port: None,
            script: None,
        }
    }
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq)]
pub(crate) enum BadUsage {
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

/// Reads the arguments behind the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Asked, BadUsage> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (option, given) = match argument.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let mut value =
            || given.clone().or_else(|| arguments.next()).ok_or_else(|| BadUsage::NoValue(option.clone()));
        match option.as_str() {
            "--help" | "-h" => return Ok(Asked::Help),
            "--version" | "-V" => return Ok(Asked::Version),
            "--stores" => options.stores = number(&option, value()?)?,
            "--regions" => options.regions = Some(number(&option, value()?)?),
            "--pd-members" => options.pd_members = number(&option, value()?)?,
            "--pd-port" | "--port" => options.pd_port = number(&option, value()?)?,
            "--api-version" => options.api = api(value()?)?,
            "--admin-port" => options.admin_port = Some(number(&option, value()?)?),
            "--script" => options.script = Some(value()?.into()),
            _ => return Err(BadUsage::Unknown(option)),
        }
    }
    Ok(Asked::Run(options))
}

fn number<T: std::str::FromStr>(option: &str, value: String) -> Result<T, BadUsage> {
    value.parse().map_err(|_| BadUsage::NotANumber { option: option.to_owned(), value })
}

fn api(value: String) -> Result<Api, BadUsage> {
    match value.as_str() {
        "1" => Ok(Api::V1),
        "1ttl" => Ok(Api::V1Ttl),
        "2" => Ok(Api::V2),
        _ => Err(BadUsage::NoApi(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, BadUsage> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_in_both_forms() {
        let options = Options {
            stores: 3,
            regions: Some(8),
            pd_members: 2,
            pd_port: 2379,
            api: Api::V2,
            admin_port: Some(0),
            script: Some("f.txt".into()),
        };
        let line = "--stores 3 --regions=8 --pd-members 2 --pd-port=2379 --api-version 2 --admin-port 0 --script=f.txt";
        assert_eq!(parsed(line), Ok(Asked::Run(options)));
        assert_eq!(parsed("--stores 3 --help"), Ok(Asked::Help));
        assert_eq!(parsed(""), Ok(Asked::Run(Options::default())));
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
        assert_eq!(parsed("--admin-port x"), Err(not("--admin-port", "x")));
    }
}
