//! A sink for recorders of the `metrics` crate.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label as Tag, Level, Metadata, Recorder, Unit};

use super::{Label, Metric, MetricKind, Sample, Sink};

/// Where the samples of one metric with one set of labels go.
#[derive(Clone)]
enum Handle {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

type Handles = BTreeMap<Metric, BTreeMap<Box<[Label]>, Handle>>;

/// A sink for any recorder of the `metrics` crate; there are some for Prometheus, OpenTelemetry, StatsD. The recorder is this
/// client's own, and need not be that of the process.
///
/// A sample finds its series without a lock. A series is registered with its first sample.
///
/// client-go: `metrics/metrics.go: InitMetricsWithConstLabels, RegisterMetrics`.
pub struct Facade {
    recorder: Arc<dyn Recorder + Send + Sync>,
    namespace: String,
    subsystem: Option<String>,
    constant: Vec<Tag>,
    handles: ArcSwap<Handles>,
}

impl Facade {
    /// A sink for `recorder`, with client-go's names. Describes every metric to it.
    pub fn new(recorder: impl Recorder + Send + Sync + 'static) -> Self {
        Self {
            recorder: Arc::new(recorder),
            namespace: "tikv".to_owned(),
            subsystem: None,
            constant: Vec::new(),
            handles: ArcSwap::default(),
        }
        .described()
    }

    /// With names that begin with `namespace` and `subsystem` instead of `tikv` and `client_go`, and with labels that every
    /// series has.
    pub fn named(
        recorder: impl Recorder + Send + Sync + 'static,
        namespace: impl Into<String>,
        subsystem: impl Into<String>,
        constant: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            recorder: Arc::new(recorder),
            namespace: namespace.into(),
            subsystem: Some(subsystem.into()),
            constant: constant.into_iter().map(|(name, value)| Tag::new(name, value)).collect(),
            handles: ArcSwap::default(),
        }
        .described()
    }

    fn name(&self, metric: Metric) -> String {
        metric.name_in(&self.namespace, self.subsystem.as_deref())
    }

    fn described(self) -> Self {
        for &metric in Metric::ALL {
            let name = KeyName::from(self.name(metric));
            let unit = match metric.short_name() {
                name if name.contains("seconds") || name.contains("duration") => Some(Unit::Seconds),
                name if name.contains("bytes") => Some(Unit::Bytes),
                _ => None,
            };
            let help = metric.help().into();
            match metric.kind() {
                MetricKind::Counter => self.recorder.describe_counter(name, unit, help),
                MetricKind::Gauge => self.recorder.describe_gauge(name, unit, help),
                MetricKind::Histogram | MetricKind::Summary => {
                    self.recorder.describe_histogram(name, unit, help);
                }
            }
        }
        self
    }

    /// The handle of a series that has had no sample yet.
    #[cold]
    fn register(&self, sample: &Sample<'_>) -> Handle {
        let named = sample.metric.labels().iter().zip(sample.labels);
        let own = named.map(|(name, value)| Tag::new(*name, value.to_string()));
        let tags: Vec<Tag> = own.chain(self.constant.iter().cloned()).collect();
        let key = Key::from_parts(self.name(sample.metric), tags);
        let metadata = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
        let handle = match sample.metric.kind() {
            MetricKind::Counter => Handle::Counter(self.recorder.register_counter(&key, &metadata)),
            MetricKind::Gauge => Handle::Gauge(self.recorder.register_gauge(&key, &metadata)),
            MetricKind::Histogram | MetricKind::Summary => {
                Handle::Histogram(self.recorder.register_histogram(&key, &metadata))
            }
        };
        self.handles.rcu(|handles| {
            let mut handles = handles.as_ref().clone();
            handles.entry(sample.metric).or_default().insert(sample.labels.into(), handle.clone());
            handles
        });
        handle
    }
}

impl Sink for Facade {
    fn record(&self, sample: &Sample<'_>) {
        let handles = self.handles.load();
        let found = handles.get(&sample.metric).and_then(|series| series.get(sample.labels)).cloned();
        match found.unwrap_or_else(|| self.register(sample)) {
            // Counters count whole things.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
            Handle::Counter(counter) => counter.increment(sample.value as u64),
            Handle::Gauge(gauge) => gauge.set(sample.value),
            Handle::Histogram(histogram) => histogram.record(sample.value),
        }
    }
}

impl fmt::Debug for Facade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facade").field("metrics", &self.handles.load().len()).finish_non_exhaustive()
    }
}
