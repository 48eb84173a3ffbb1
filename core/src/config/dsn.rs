//! A cluster and its options in one line.

use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::{Config, ConfigError, ConfigOption};

/// `tikv://host:port,host:port?option=value&…`: where PD is, and options of a [`Config`].
///
/// Each option has the name that it has everywhere ([`Config::options`]), or one of client-go's: `keyspaceName` for `keyspace`;
/// `disableGC`, which is told on; `cluster`, which means nothing. Values are percent-encoded; an option that is given twice, or
/// that there is none of, is an error.
///
/// ```
/// use tikv_client_core::config::Dsn;
///
/// let dsn: Dsn = "tikv://pd1:2379,pd2:2379?keyspaceName=orders&deadline=5s".parse()?;
/// assert_eq!(dsn.endpoints, ["pd1:2379", "pd2:2379"]);
/// assert_eq!(dsn.config.deadline.as_secs(), 5);
/// # Ok::<(), tikv_client_core::config::ConfigError>(())
/// ```
///
/// client-go: `config/config.go: ParsePath`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dsn {
    /// Where the members of PD are.
    pub endpoints: Vec<String>,
    /// `disableGC`, for programs that run the garbage collection of the cluster; a client itself collects nothing.
    pub disable_gc: bool,
    /// What the options say.
    pub config: Config,
}

impl FromStr for Dsn {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut builder = Config::builder();
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        if !scheme.eq_ignore_ascii_case("tikv") {
            builder.fault("scheme", &format!("{scheme:?} is not \"tikv\""));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        if !path.is_empty() {
            builder.fault("path", &format!("{path:?} means nothing here"));
        }
        if hosts.is_empty() {
            builder.fault("endpoints", "are missing");
        }
        let mut disable_gc = false;
        let mut given: Vec<&str> = Vec::new();
        for (name, value) in query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            let name = if name == "keyspaceName" { "keyspace" } else { name };
            if given.contains(&name) {
                builder.fault(name, "is given twice");
                continue;
            }
            given.push(name);
            let Ok(value) = percent_decode_str(value).decode_utf8() else {
                builder.fault(name, "is no text");
                continue;
            };
            match name {
                "cluster" => {}
                "disableGC" if value.eq_ignore_ascii_case("true") => disable_gc = true,
                "disableGC" if value.is_empty() || value.eq_ignore_ascii_case("false") => {}
                "disableGC" => builder.fault(name, &format!("{value:?} is neither \"true\" nor \"false\"")),
                _ => builder.set(ConfigOption::named(name), name, &value),
            }
        }
        let endpoints = hosts.split(',').map(str::to_owned).collect();
        Ok(Self { endpoints, disable_gc, config: builder.build()? })
    }
}
