//! Configurations from many places, one laid over the other.

use std::ffi::OsStr;

use super::options::{self, OPTIONS};
use super::{Config, ConfigError, ConfigFault, ConfigOption};

/// What names of the environment begin with.
pub const ENV_PREFIX: &str = "TIKV_CLIENT_";

/// Makes a [`Config`] of what is given in many places: what comes later counts. Everything that is wrong is told at the end.
///
/// ```
/// use std::time::Duration;
/// use tikv_client_core::config::Config;
///
/// let environment = [("TIKV_CLIENT_PD_TIMEOUT", "5s"), ("HOME", "/root")];
/// let config = Config::builder()
///     .option("stream.max-batch", "64")
///     .env(environment) // in a program: std::env::vars_os()
///     .with(|config| config.deadline = Duration::from_secs(10))
///     .build()?;
/// assert_eq!((config.pd_timeout, config.stream.max_batch), (Duration::from_secs(5), 64));
///
/// let error = Config::builder().option("deadline", "soon").option("concurrency", "0").build().unwrap_err();
/// assert_eq!(error.faults.len(), 2);
/// # Ok::<(), tikv_client_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing until it is built"]
pub struct ConfigBuilder {
    config: Config,
    faults: Vec<ConfigFault>,
}

impl From<Config> for ConfigBuilder {
    fn from(config: Config) -> Self {
        Self { config, faults: Vec::new() }
    }
}

impl ConfigBuilder {
    /// Changes fields.
    pub fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Gives an option by its name (see [`Config::options`]) a value by its text.
    pub fn option(mut self, name: &str, text: &str) -> Self {
        self.set(ConfigOption::named(name), name, text);
        self
    }

    /// Takes what an environment has for the client: `TIKV_CLIENT_` and an option's name in capitals, with `_` for all else
    /// (`TIKV_CLIENT_STREAM_MAX_BATCH`). Other variables are passed over.
    ///
    /// The core reads no environment: hand over `std::env::vars_os()`.
    pub fn env<N: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        for (name, text) in pairs {
            let Some(name) = name.as_ref().to_str() else { continue };
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
            match text.as_ref().to_str() {
                Some(text) => self.set(OPTIONS.iter().find(|option| option.env_name() == rest), name, text),
                None => self.faults.push(ConfigFault::new(name, "is no text")),
            }
        }
        self
    }

    /// Gives `option`, which was called `name`, a value.
    pub(super) fn set(&mut self, option: Option<&ConfigOption>, name: &str, text: &str) {
        let Some(option) = option else {
            self.faults.push(ConfigFault::new(name, "is no option"));
            return;
        };
        if let Err(reason) = (option.set)(&mut self.config, text) {
            let given = if option.secret { String::new() } else { format!("{text:?} ") };
            self.faults.push(ConfigFault::new(name, given + &reason));
        }
    }

    pub(super) fn fault(&mut self, option: &str, reason: &str) {
        self.faults.push(ConfigFault::new(option, reason));
    }

    /// The configuration.
    ///
    /// # Errors
    /// All that is wrong: texts that could not be read, names that are none, and what [`Config::validate`] finds.
    pub fn build(self) -> Result<Config, ConfigError> {
        let Self { config, mut faults } = self;
        faults.extend(options::faults(&config));
        ConfigError::of(faults).map(|()| config)
    }
}
