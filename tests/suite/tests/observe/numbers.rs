//! Metrics of a client at work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::config::Config;
use tikv_client_core::metrics::{Sample, Sink};
use tikv_client_core::request::{RequestOptions, RequestSource};
use tikv_embedded::control::{Action, Matcher, Refusal, Rule};

use crate::fixture::{client_with, in_time, write};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Counts the samples of each series, and adds them up.
#[derive(Clone, Debug, Default)]
struct Sums(Arc<Mutex<BTreeMap<String, (u64, f64)>>>);

impl Sink for Sums {
    fn record(&self, sample: &Sample<'_>) {
        let labels: Vec<_> = sample.labels.iter().map(ToString::to_string).collect();
        let series = format!("{}{{{}}}", sample.metric.name(), labels.join(","));
        let mut sums = self.0.lock().unwrap();
        let sum = sums.entry(series).or_default();
        *sum = (sum.0 + 1, sum.1 + sample.value);
    }
}

impl Sums {
    fn count(&self, series: &str) -> u64 {
        self.0.lock().unwrap().get(series).map_or(0, |sum| sum.0)
    }

    /// Samples of all series whose name begins so.
    fn all(&self, start: &str) -> u64 {
        self.0.lock().unwrap().iter().filter(|entry| entry.0.starts_with(start)).map(|entry| entry.1.0).sum()
    }
}

#[apply(test_on_each_runtime)]
async fn a_client_counts_its_calls_requests_errors_and_pauses_and_another_one_none_of_them(rt: Rt) {
    let cluster = rt.txn_cluster();
    let (sums, others) = (Sums::default(), Sums::default());
    let counting = |sums: &Sums| {
        let mut config = Config::default();
        config.metrics = Some(Arc::new(sums.clone()));
        config
    };
    let client = client_with(&cluster, counting(&sums)).await;
    let other = client_with(&cluster, counting(&others)).await;
    let rule = Rule::new(Matcher::method("KvPrewrite"), Action::Refuse(Refusal::busy())).times(1);
    let fault = cluster.fault(rule);
    write(&client, &["a1", "c1"], "value").await.unwrap();
    assert_eq!(fault.hits(), 1);
    let internal = RequestOptions::new().source(RequestSource::internal("gc"));
    let snapshot = client.snapshot(in_time(client.current_timestamp()).await.unwrap());
    in_time(snapshot.get("a1").with(&internal)).await.unwrap();
    assert_eq!(client.close(Duration::from_secs(5)).await, 0);
    assert_eq!(sums.count("tikv_client_go_txn_cmd_duration_seconds{commit,general}"), 1);
    assert_eq!(sums.count("tikv_client_go_txn_cmd_duration_seconds{get,internal}"), 1);
    assert_eq!(sums.count("tikv_client_go_commit_txn_counter{ok}"), 1);
    assert_eq!(sums.all("tikv_client_go_request_seconds{Prewrite,"), 3);
    assert_eq!(sums.all("tikv_client_go_request_seconds{Commit,"), 2);
    assert_eq!(sums.all("tikv_client_go_source_request_seconds{Get,"), 1);
    assert_eq!(sums.all("tikv_client_go_region_err_total{server_is_busy,"), 1);
    assert_eq!(sums.all("tikv_client_go_backoff_seconds{"), 1);
    assert_eq!(sums.count("tikv_client_go_txn_regions_num{2pc_prewrite,general}"), 1);
    assert_eq!(sums.count("tikv_client_go_txn_write_kv_num{general}"), 1);
    assert!(sums.count("tikv_client_go_ts_future_wait_seconds{}") >= 3);
    assert!(sums.all("tikv_client_go_load_region_cache_seconds{") > 0);
    assert_eq!(others.all(""), 0);
    in_time(other.current_timestamp()).await.unwrap();
    assert_eq!(others.count("tikv_client_go_ts_future_wait_seconds{}"), 1);
}
