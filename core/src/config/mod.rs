//! The configuration of one client. Nothing is global: two clients in one process have two of these.
//!
//! A [`Config`] is plain fields with defaults. `options` is the table of those that have a text: from it come the
//! [`ConfigBuilder`] (fields, texts and the environment, one laid over the other), the [`Dsn`] (a cluster and its options in one
//! line), files by serde, validation, and the list for people. `text` has the kinds of values; [`ConfigError`] tells all that is
//! wrong at once. The core reads neither environment nor files: whoever does hands over what is there.

mod builder;
mod dsn;
mod fault;
mod options;
#[cfg(feature = "serde")]
mod serde;
#[cfg(test)]
mod tests;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use builder::{ConfigBuilder, ENV_PREFIX};
pub use dsn::Dsn;
pub use fault::{ConfigError, ConfigFault};
pub use options::ConfigOption;

use crate::backoff::Tuning;
use crate::metrics::Sink;
use crate::replica::ReadProfile;
use crate::request::RequestOptions;
use crate::store::StoreConfig;
use crate::stream::StreamConfig;
use crate::trace::Recorder;

/// Plain connections, or TLS. One setting for PD and stores: what is asked for is never quietly weakened.
///
/// client-go talks plainly to PD when there is a CA without a client certificate; here a CA alone is TLS to both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Security {
    /// No encryption.
    #[default]
    Plain,
    /// TLS by rustls.
    Tls(Tls),
}

/// Where certificates or a key are, in PEM form.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pem {
    /// Here.
    Memory(Bytes),
    /// In a file, which the runtime reads anew for each connection: certificates can be changed while the client runs, and
    /// connections that are made stay. A file that is gone, or cannot be used, changes nothing once there were certificates
    /// that could.
    File(PathBuf),
}

impl std::fmt::Debug for Pem {
    /// A key never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(pem) => write!(f, "Memory({} bytes)", pem.len()),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

macro_rules! pem_of {
    ($($from:ty => $variant:ident,)*) => {
        $(impl From<$from> for Pem {
            fn from(pem: $from) -> Self {
                Self::$variant(pem.into())
            }
        })*
    };
}

pem_of! {
    Bytes => Memory,
    String => Memory,
    Vec<u8> => Memory,
    &'static str => Memory,
    &'static [u8] => Memory,
    PathBuf => File,
    &Path => File,
}

/// Certificates of a TLS connection, in PEM form.
///
/// ```
/// use std::path::Path;
///
/// use tikv_client_core::config::{Config, Security, Tls};
///
/// let mut config = Config::default();
/// let tls = Tls::new(Path::new("/tls/ca.pem")).identity(Path::new("/tls/client.pem"), Path::new("/tls/client-key.pem"));
/// config.security = Security::Tls(tls);
/// ```
///
/// client-go: `config/security.go: Security`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// The authorities that servers' certificates must come from.
    pub ca: Pem,
    /// This client's certificate chain and private key, where servers ask for one.
    pub identity: Option<(Pem, Pem)>,
    /// The name servers' certificates must have, instead of the host's in their address.
    pub server_name: Option<String>,
}

impl Tls {
    /// Trusts the authorities of `ca`, PEM form.
    pub fn new(ca: impl Into<Pem>) -> Self {
        Self { ca: ca.into(), identity: None, server_name: None }
    }

    /// Shows `certificate` with its private `key`, both PEM form.
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Expects `name` in servers' certificates.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// The version of TiKV's storage API that the cluster's stores are set to.
///
/// client-go: `rawkv/rawkv.go: WithAPIVersion, WithKeyspace`, `txnkv/client.go: WithAPIVersion, WithKeyspace`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiVersion {
    /// Keys as they are; also of stores whose raw values have lifetimes (`V1TTL`).
    #[default]
    V1,
    /// Keys of one keyspace: the client sees nothing else, and its keys are seen by nobody else.
    V2 {
        /// The keyspace's name; empty: that of the keyspace that each cluster has, `DEFAULT`.
        keyspace: String,
    },
}

/// The configuration of one client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What a call may take when it names no deadline of its own.
    pub deadline: Duration,
    /// How long `connect` tries to reach PD.
    pub connect_timeout: Duration,
    /// What one request to PD may take. pd: `opt/option.go: defaultPDTimeout`.
    pub pd_timeout: Duration,
    /// How long the region directory trusts an entry that is not used. client-go: `RegionCacheTTL`.
    pub region_ttl: Duration,
    /// Up to so much is added to `region_ttl`, drawn for each entry.
    pub region_ttl_jitter: Duration,
    /// Regions of one key space that are remembered at the most: of more, those leave that have not been used for longest. A
    /// region takes about 400 bytes with its keys. client-go has no bound.
    pub max_regions: usize,
    /// Whether all regions are asked for when the client begins, before they are needed. client-go: `EnablePreload`.
    pub preload_regions: bool,
    /// How often all regions are asked for again; zero: never, each when it has changed. client-go: `RegionsRefreshInterval`.
    pub refresh_regions: Duration,
    /// How reads are done that name no profile of their own; `None`: by the leaders.
    pub reading: Option<Arc<ReadProfile>>,
    /// The zone this client is in, as stores name theirs by the label `zone`: what is closest. client-go: `ZoneLabel`.
    pub zone: Option<String>,
    /// Whether a leader that cannot be reached from here is asked through another store of its region. client-go:
    /// `EnableForwarding`.
    pub forwarding: bool,
    /// Whether errors show `?` instead of keys.
    pub redact_keys: bool,
    /// Commands that can wait in one service of the client.
    pub max_waiting: usize,
    /// Requests of one call under way at a time.
    pub concurrency: usize,
    /// The version of the storage API, with API v2 the keyspace.
    pub api_version: ApiVersion,
    /// The largest key with its value. client-go: `config.go: TxnEntrySizeLimit`.
    pub max_entry: usize,
    /// The longest key. TiKV: `storage.max-key-size`. With API v2 a client's own configuration has 4 less: each key goes with the
    /// prefix of its keyspace.
    pub max_key: usize,
    /// The most bytes a transaction may hold.
    pub max_txn: usize,
    /// How patient retries are.
    pub backoff: Tuning,
    /// Plain or TLS.
    pub security: Security,
    /// How connections are kept.
    pub connection: crate::client::ConnectOptions,
    /// Bounds of a store's stream.
    pub stream: StreamConfig,
    /// How often stores are looked at.
    pub stores: StoreConfig,
    /// The seed of all random numbers; `None`: the runtime's clock gives one.
    pub seed: Option<u64>,
    /// What the requests of all calls carry, and who looks on at them.
    pub requests: RequestOptions,
    /// Takes the metrics of this client; `None`: nothing is counted, and nothing is paid for it.
    pub metrics: Option<Arc<dyn Sink>>,
    /// Records what every operation does, to be replayed; `None`: nothing is recorded, and nothing is paid for it.
    pub trace: Option<Recorder>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(40),
            connect_timeout: Duration::from_secs(10),
            pd_timeout: Duration::from_secs(3),
            region_ttl: Duration::from_secs(600),
            region_ttl_jitter: Duration::from_secs(60),
            max_regions: usize::MAX,
            preload_regions: false,
            refresh_regions: Duration::ZERO,
            reading: None,
            zone: None,
            forwarding: false,
            redact_keys: false,
            max_waiting: 1 << 16,
            concurrency: 64,
            api_version: ApiVersion::V1,
            max_entry: 6 << 20,
            max_key: 8 << 10,
            max_txn: 100 << 20,
            backoff: Tuning::default(),
            security: Security::Plain,
            connection: crate::client::ConnectOptions::default(),
            stream: StreamConfig::default(),
            stores: StoreConfig::default(),
            seed: None,
            requests: RequestOptions::new(),
            metrics: None,
            trace: None,
        }
    }
}

impl Config {
    /// A configuration of fields, texts and an environment, one laid over the other.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// Lays more over this one.
    pub fn into_builder(self) -> ConfigBuilder {
        self.into()
    }

    /// Every option that has a text, as builders, files, environments and addresses name it. For the list of a program's help.
    pub fn options() -> impl Iterator<Item = &'static ConfigOption> {
        options::OPTIONS.iter()
    }

    /// Looks at every option; connecting does it, too.
    ///
    /// # Errors
    /// All that is wrong, at once.
    ///
    /// client-go: `config/client.go: Valid`, `config/config.go: Valid`, which nobody calls there.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::of(options::faults(self))
    }
}
