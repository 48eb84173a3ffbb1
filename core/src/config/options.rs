//! The table of options: each with its name, its kind and what its value must be. Files, environments, addresses, validation and
//! the list for people are all made from it, so an option is one row here beside its field.

use std::time::Duration;

use bytes::Bytes;

use super::text::{Codec, Count, Kind, Seed, Size, Switch, Time};
use super::{ApiVersion, Config, ConfigFault, Pem, Security, Tls};

/// An option of a configuration, as files, environments and addresses name it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConfigOption {
    /// Its name; a dot stands between a section and what is in it.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its value is not to be shown.
    pub secret: bool,
    get: fn(&Config) -> Option<String>,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    check: fn(&Config) -> Option<&'static str>,
}

impl ConfigOption {
    /// Its value in `config` as a text that reads as the same; `None`: it is not set, or secret.
    #[must_use]
    pub fn value(&self, config: &Config) -> Option<String> {
        if self.secret { None } else { (self.get)(config) }
    }

    /// The option of a name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        OPTIONS.iter().find(|option| option.name == name)
    }

    /// The same as the environment names it, without its prefix.
    pub(super) fn env_name(&self) -> String {
        self.name.replace(['-', '.'], "_").to_ascii_uppercase()
    }
}

/// What `config` must be and is not.
pub(super) fn faults(config: &Config) -> Vec<ConfigFault> {
    let wrong = |option: &ConfigOption| Some(ConfigFault::new(option.name, (option.check)(config)?));
    let of_one = OPTIONS.iter().filter_map(wrong);
    let of_many = TOGETHER.iter().filter_map(|(name, check)| Some(ConfigFault::new(*name, check(config)?)));
    of_one.chain(of_many).collect()
}

/// Any value will do.
fn any<T>(_: &T) -> Option<&'static str> {
    None
}

fn longer_than_0(time: &Duration) -> Option<&'static str> {
    time.is_zero().then_some("must be longer than 0")
}

fn at_least_1<T: Default + PartialEq>(count: &T) -> Option<&'static str> {
    (*count == T::default()).then_some("must be at least 1")
}

/// HTTP/2 counts in 31 bits. RFC 9113 6.9.1.
fn window(bytes: &u32) -> Option<&'static str> {
    (*bytes == 0 || *bytes > i32::MAX as u32).then_some("must be from 1 to 2147483647 bytes")
}

/// client-go: `config/client.go: Valid`.
fn keepalive(timeout: &Duration) -> Option<&'static str> {
    (*timeout < Duration::from_millis(50)).then_some("must be at least 50ms")
}

macro_rules! options {
    ($($name:literal: $kind:ty = $($field:ident).+, $check:expr, $about:literal;)*) => {
        &[$(ConfigOption {
            name: $name,
            about: $about,
            secret: false,
            get: |config| Some(<$kind>::show(&config.$($field).+)),
            set: |config, text| {
                config.$($field).+ = <$kind>::read(text)?;
                Ok(())
            },
            check: |config| $check(&config.$($field).+),
        },)*
        ConfigOption {
            name: "keyspace",
            about: "the keyspace of API v2, `DEFAULT` for the one that is always there; without it API v1",
            secret: false,
            get: |config| match &config.api_version {
                ApiVersion::V1 => None,
                ApiVersion::V2 { keyspace } => Some(keyspace.clone()),
            },
            set: |config, text| {
                config.api_version = ApiVersion::V2 { keyspace: text.to_owned() };
                Ok(())
            },
            check: |_| None,
        },
        pem!("security.ca", Memory, "the authorities of servers' certificates, PEM; with it connections are TLS", ca),
        pem!("security.ca-file", File, "the same, from a file that is read anew for each connection", ca),
        pem!("security.certificate", Memory, "this client's certificate chain, PEM", certificate),
        pem!("security.certificate-file", File, "the same, from a file", certificate),
        pem!("security.key", Memory, "the private key of this client's certificate, PEM", key),
        pem!("security.key-file", File, "the same, from a file", key),
        ConfigOption {
            name: "security.server-name",
            about: "the name in servers' certificates, in place of their host's",
            secret: false,
            get: |config| tls_of(config)?.server_name.clone(),
            set: |config, text| {
                tls_mut(config).server_name = Some(text.to_owned());
                Ok(())
            },
            check: |_| None,
        },
        ]
    };
}

/// Certificates, or a key: that one is given asks for TLS. What is given itself is not shown, where it is may be.
macro_rules! pem {
    ($name:literal, $where:ident, $about:literal, $place:ident) => {
        ConfigOption {
            name: $name,
            about: $about,
            secret: matches!(stringify!($where).as_bytes(), b"Memory"),
            get: |config| match place::$place(&mut tls_of(config)?.clone()) {
                Pem::File(path) => path.to_str().filter(|path| !path.is_empty()).map(str::to_owned),
                Pem::Memory(_) => None,
            },
            set: |config, text| {
                *place::$place(tls_mut(config)) = Pem::$where(text.to_owned().into());
                Ok(())
            },
            check: |_| None,
        }
    };
}

/// Where each of them lies.
mod place {
    use super::{Pem, Tls, missing};

    pub(super) fn ca(tls: &mut Tls) -> &mut Pem {
        &mut tls.ca
    }

    pub(super) fn certificate(tls: &mut Tls) -> &mut Pem {
        &mut tls.identity.get_or_insert_with(|| (missing(), missing())).0
    }

    pub(super) fn key(tls: &mut Tls) -> &mut Pem {
        &mut tls.identity.get_or_insert_with(|| (missing(), missing())).1
    }
}

/// What stands for a certificate that was not given.
fn missing() -> Pem {
    Pem::Memory(Bytes::new())
}

fn is_missing(pem: &Pem) -> bool {
    match pem {
        Pem::Memory(pem) => pem.is_empty(),
        Pem::File(path) => path.as_os_str().is_empty(),
    }
}

fn tls_of(config: &Config) -> Option<&Tls> {
    match &config.security {
        Security::Tls(tls) => Some(tls),
        Security::Plain => None,
    }
}

fn tls_mut(config: &mut Config) -> &mut Tls {
    if config.security == Security::Plain {
        config.security = Security::Tls(Tls::new(missing()));
    }
    match &mut config.security {
        Security::Tls(tls) => tls,
        Security::Plain => unreachable!("it was made TLS above"),
    }
}

/// Every option.
pub(super) static OPTIONS: &[ConfigOption] = options! {
    "deadline": Time = deadline, longer_than_0, "what a call may take that names no deadline of its own";
    "connect-timeout": Time = connect_timeout, longer_than_0, "how long connecting tries to reach PD";
    "pd-timeout": Time = pd_timeout, longer_than_0, "what one request to PD may take";
    "region-ttl": Time = region_ttl, longer_than_0, "how long a region is trusted that is not used";
    "region-ttl-jitter": Time = region_ttl_jitter, any, "up to so much is added to it, drawn for each region";
    "max-regions": Size = max_regions, at_least_1, "regions of one key space that are remembered";
    "preload-regions": Switch = preload_regions, any, "all regions are asked for when the client begins";
    "refresh-regions": Time = refresh_regions, any, "how often all regions are asked for again; 0s: never";
    "redact-keys": Switch = redact_keys, any, "errors show `?` instead of keys";
    "max-waiting": Count = max_waiting, at_least_1, "commands that can wait in one service of the client";
    "concurrency": Count = concurrency, at_least_1, "requests of one call under way at a time";
    "max-entry": Size = max_entry, at_least_1, "the largest key with its value";
    "max-key": Size = max_key, at_least_1, "the longest key";
    "max-txn": Size = max_txn, at_least_1, "the most bytes a transaction may hold";
    "seed": Seed = seed, any, "the seed of all random numbers";
    "backoff.weight": Count = backoff.weight, any, "what most operations' time for retries is multiplied with";
    "backoff.lock-fast-ms": Count = backoff.lock_fast_ms, any, "the first pause of a read behind a lock, in ms";
    "connection.timeout": Time = connection.timeout, longer_than_0, "how long connecting to one server may take";
    "connection.keepalive-interval": Time = connection.keepalive_interval, longer_than_0,
        "a ping goes out when nothing came for so long";
    "connection.keepalive-timeout": Time = connection.keepalive_timeout, keepalive,
        "how long a ping may stay unanswered";
    "connection.window": Size = connection.window, window,
        "bytes that a server may send on one stream before they are read";
    "connection.connection-window": Size = connection.connection_window, window,
        "the same on all streams of a connection";
    "connection.max-message": Size = connection.max_message, at_least_1, "the largest message that is accepted";
    "connection.max-sent-message": Size = connection.max_sent_message, at_least_1, "the largest message that is sent";
    "connection.compression": Codec = connection.compression, any, "of messages: `none` or `gzip`";
    "stream.max-batch": Count = stream.max_batch, any, "requests in one frame at the most; 0: each alone, without a stream";
    "stream.max-frame-bytes": Size = stream.max_frame_bytes, at_least_1,
        "a frame of so many bytes takes no further request";
    "stream.max-queued": Count = stream.max_queued, at_least_1, "requests that can wait for a store's stream";
    "stream.max-in-flight": Count = stream.max_in_flight, at_least_1, "requests under way on one connection";
    "stream.connections": Count = stream.connections, at_least_1, "connections to one store at the most";
    "stream.per-connection": Count = stream.per_connection, at_least_1,
        "requests under way on a connection that make a further one worth while";
    "stream.batch-wait": Time = stream.batch_wait, any, "how long a frame waits for more when a store is overloaded";
    "stream.batch-wait-size": Count = stream.batch_wait_size, any, "a frame of so many requests waits for no more";
    "stream.overload-threshold": Count = stream.overload_threshold, any,
        "the load of a store, percent, above which frames wait for more";
    "stream.idle-timeout": Time = stream.idle_timeout, longer_than_0, "a connection that is not used for so long is closed";
    "stream.reconnect-base": Time = stream.reconnect_base, longer_than_0,
        "the first pause after a stream could not be opened";
    "stream.reconnect-cap": Time = stream.reconnect_cap, longer_than_0, "the longest pause between such attempts";
    "stores.refresh": Time = stores.refresh, any, "how often PD is asked for all stores; 0s: never";
    "stores.liveness-timeout": Time = stores.liveness_timeout, any, "how long a probe of a store may take; 0s: none is probed";
    "stores.probe-every": Time = stores.probe_every, longer_than_0, "how often a store is probed that failed";
    "stores.resolve-every": Time = stores.resolve_every, longer_than_0,
        "how often the address of such a store is asked for again";
    "stores.judge-every": Time = stores.judge_every, any, "how often stores are judged by their speed; 0s: never";
    "stores.safe-ts-every": Time = stores.safe_ts_every, any, "how often safe timestamps of stores are asked for";
};

/// What more than one option must be together, under the name of the one that is to be looked at.
type Together = (&'static str, fn(&Config) -> Option<&'static str>);

static TOGETHER: &[Together] = &[
    ("stream.reconnect-base", |config| {
        let stream = &config.stream;
        (stream.reconnect_base > stream.reconnect_cap).then_some("must not be above stream.reconnect-cap")
    }),
    ("max-key", |config| {
        let no_room =
            config.api_version != ApiVersion::V1 && config.max_key <= crate::codec::keyspace::PREFIX_LEN;
        no_room.then_some("must be above 4 with API v2: each key has a prefix of that length")
    }),
    ("security.ca", |config| {
        is_missing(&tls_of(config)?.ca).then_some("or security.ca-file must be given for TLS")
    }),
    ("security.certificate", |config| {
        let (certificate, key) = tls_of(config)?.identity.as_ref()?;
        (is_missing(certificate) || is_missing(key)).then_some("and security.key must be given together")
    }),
    ("connection.security", |config| {
        // It is filled from `security`: what was asked for in the other place would be left out without a word.
        (config.connection.security != Security::Plain)
            .then_some("is not to be set: `security` is for all connections")
    }),
];
