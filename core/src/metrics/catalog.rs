//! Every metric that the client has: its name, kind, labels and buckets.

/// What becomes of the samples of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// They are added up.
    Counter,
    /// The last one counts.
    Gauge,
    /// They are counted by buckets.
    Histogram,
    /// Their number and their sum are kept.
    Summary,
}

/// The upper bounds of a histogram's buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Buckets {
    /// None: it is no histogram.
    None,
    /// `count` bounds from `first` on, each `factor` times the one before.
    Exponential {
        /// The first bound.
        first: f64,
        /// From one to the next.
        factor: f64,
        /// How many.
        count: i32,
    },
    /// These.
    Listed(&'static [f64]),
}

impl Buckets {
    /// The bounds.
    #[must_use]
    pub fn bounds(self) -> Vec<f64> {
        match self {
            Self::None => Vec::new(),
            Self::Exponential { first, factor, count } => {
                (0..count).map(|at| first * factor.powi(at)).collect()
            }
            Self::Listed(bounds) => bounds.to_vec(),
        }
    }
}

const fn exp(first: f64, factor: f64, count: i32) -> Buckets {
    Buckets::Exponential { first, factor, count }
}

/// The part of a name that all metrics have but two.
const CLIENT: &str = "client_go";

/// The part of a name of indicators of the service level.
const SLI: &str = "sli";

struct Row {
    subsystem: &'static str,
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    buckets: Buckets,
    help: &'static str,
}

macro_rules! catalog {
    ($($variant:ident = $subsystem:ident $name:literal, $kind:ident [$($label:literal)*] $buckets:expr, $help:literal;)*) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Metric {
            $(
                #[doc = $help]
                $variant,
            )*
        }

        impl Metric {
            /// Every metric.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
        }

        static ROWS: &[Row] = &[$(Row {
            subsystem: $subsystem,
            name: $name,
            kind: MetricKind::$kind,
            labels: &[$($label),*],
            buckets: $buckets,
            help: $help,
        }),*];
    };
}

use Buckets::None as no;

catalog! {
    TxnCmdDuration = CLIENT "txn_cmd_duration_seconds", Histogram ["type" "scope"] exp(0.0005, 2.0, 29),
        "Time of transactional calls.";
    BackoffSeconds = CLIENT "backoff_seconds", Histogram ["type"] exp(0.0005, 2.0, 29),
        "Time of each pause between two attempts.";
    RequestSeconds = CLIENT "request_seconds", Histogram ["type" "store" "stale_read" "scope"] exp(0.0005, 2.0, 24),
        "Time of each request to a store; `scope`: whether the database makes it for itself.";
    SourceRequestSeconds = CLIENT "source_request_seconds", Summary ["type" "store" "stale_read" "scope" "source"] no,
        "Time of each request to a store, by who makes it.";
    RpcNetLatency = CLIENT "rpc_net_latency_seconds", Histogram ["store" "scope"] exp(0.0001, 2.0, 20),
        "Time of each request without that in the store, where the store tells it.";
    LockResolverActions = CLIENT "lock_resolver_actions_total", Counter ["type"] no,
        "What was done about others' locks.";
    RegionErrors = CLIENT "region_err_total", Counter ["type" "store"] no,
        "Region errors, by kind.";
    RpcErrors = CLIENT "rpc_err_total", Counter ["type" "store"] no,
        "Requests without an answer, by class.";
    TxnWriteKvNum = CLIENT "txn_write_kv_num", Histogram ["scope"] exp(1.0, 4.0, 17),
        "Keys of each commit.";
    TxnWriteSize = CLIENT "txn_write_size_bytes", Histogram ["scope"] exp(16.0, 4.0, 17),
        "Bytes of keys and values of each commit.";
    RawkvCmd = CLIENT "rawkv_cmd_seconds", Histogram ["type"] exp(0.0005, 2.0, 29),
        "Time of raw calls.";
    RawkvSize = CLIENT "rawkv_kv_size_bytes", Histogram ["type"] exp(1.0, 2.0, 30),
        "Bytes of the keys and values of raw puts.";
    TxnRegionsNum = CLIENT "txn_regions_num", Histogram ["type" "scope"] exp(1.0, 2.0, 25),
        "Regions that a call's requests went to.";
    LockCleanupTasks = CLIENT "lock_cleanup_task_total", Counter ["type"] no,
        "Cleanups in the background that left something undone.";
    RegionCacheOperations = CLIENT "region_cache_operations_total", Counter ["type" "result"] no,
        "What was done about remembered regions.";
    LoadRegionCache = CLIENT "load_region_cache_seconds", Histogram ["type"] exp(0.0001, 2.0, 20),
        "Time of loading regions.";
    TsFutureWait = CLIENT "ts_future_wait_seconds", Histogram [] exp(0.000_005, 2.0, 30),
        "Time of getting a timestamp.";
    CommitTxn = CLIENT "commit_txn_counter", Counter ["type"] no,
        "Commits in two phases.";
    TxnWriteConflict = CLIENT "txn_write_conflict_counter", Counter [] no,
        "Write conflicts that stores told of.";
    TxnCommitBackoffSeconds = CLIENT "txn_commit_backoff_seconds", Histogram [] exp(0.001, 2.0, 22),
        "Pauses of each commit, their time.";
    TxnCommitBackoffCount = CLIENT "txn_commit_backoff_count", Histogram [] exp(1.0, 2.0, 12),
        "Pauses of each commit, their number.";
    RequestRetryTimes = CLIENT "request_retry_times", Histogram []
        Buckets::Listed(&[1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
        "Attempts of a call's requests that were not their first.";
    SmallReadDuration = SLI "tikv_small_read_duration", Histogram [] exp(0.0005, 2.0, 28),
        "Time of small reads.";
    ReadThroughput = SLI "tikv_read_throughput", Histogram [] exp(1024.0, 2.0, 13),
        "Bytes a second of other reads.";
}

impl Metric {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Its name behind namespace and subsystem: client-go's.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        self.row().name
    }

    /// Its whole name, where the program does not choose another namespace: `tikv_client_go_request_seconds`.
    #[must_use]
    pub fn name(self) -> String {
        self.name_in("tikv", None)
    }

    /// Its whole name in another namespace and, unless it is an indicator of the service level, another subsystem.
    ///
    /// client-go: `metrics/metrics.go: InitMetrics`.
    #[must_use]
    pub fn name_in(self, namespace: &str, subsystem: Option<&str>) -> String {
        let row = self.row();
        let subsystem = subsystem.filter(|_| row.subsystem == CLIENT).unwrap_or(row.subsystem);
        let parts = [namespace, subsystem, row.name];
        parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("_")
    }

    /// Its kind.
    #[must_use]
    pub fn kind(self) -> MetricKind {
        self.row().kind
    }

    /// The names of its labels.
    #[must_use]
    pub fn labels(self) -> &'static [&'static str] {
        self.row().labels
    }

    /// The buckets of a histogram.
    #[must_use]
    pub fn buckets(self) -> Buckets {
        self.row().buckets
    }

    /// What it is, for people.
    #[must_use]
    pub fn help(self) -> &'static str {
        self.row().help
    }
}
