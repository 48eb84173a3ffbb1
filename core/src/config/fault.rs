//! What is wrong with a configuration, all of it at once.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigFault {
    /// The option, as it was named where it was given.
    pub option: Arc<str>,
    /// What is wrong with it.
    pub reason: Arc<str>,
}

impl ConfigFault {
    pub(super) fn new(option: impl Into<Arc<str>>, reason: impl Into<Arc<str>>) -> Self {
        Self { option: option.into(), reason: reason.into() }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.option, self.reason)
    }
}

/// A configuration that cannot be used: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub struct ConfigError {
    /// In the order of their discovery; at least one.
    pub faults: Vec<ConfigFault>,
}

impl ConfigError {
    /// Nothing, or all of it.
    pub(super) fn of(faults: Vec<ConfigFault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self { faults }) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("configuration: ")?;
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}
