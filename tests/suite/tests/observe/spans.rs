//! Spans, events and observers of a program's own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::observe::event::End;
use tikv_client_core::observe::{At, Category, Event, Observer, Operation, Watch};
use tikv_client_core::request::{RequestOptions, TraceId};

use crate::fixture::{client, in_time, timeout, write};
use crate::runtimes::{Rt, test_on_each_runtime};

/// A flight recorder: keeps the names of events of some categories.
#[derive(Clone, Debug, Default)]
struct Flight {
    only: Option<Category>,
    seen: Arc<Mutex<Vec<String>>>,
}

struct Recording(Flight);

impl Observer for Flight {
    fn begins(&self, operation: &Operation<'_>) -> Option<Box<dyn Watch>> {
        let id = TraceId::new(operation.options.as_context().trace_id);
        self.seen.lock().unwrap().push(format!("{} {id}", operation.start.name()));
        Some(Box::new(Recording(self.clone())))
    }
}

impl Watch for Recording {
    fn see(&mut self, event: &Event<'_>, _: At) {
        if self.0.only.is_some() && event.category() != self.0.only {
            return;
        }
        let how = match event {
            Event::Ended { how: End::Done, .. } => " done",
            Event::Ended { how: End::Dropped, .. } => " dropped",
            _ => "",
        };
        self.0.seen.lock().unwrap().push(format!("{}{how}", event.name()));
    }
}

/// client-go: `trace/trace_test.go: TestTraceEventFunc`.
#[apply(test_on_each_runtime)]
async fn an_observer_sees_each_event_of_the_calls_that_name_it_and_of_no_other(rt: Rt) {
    let cluster = rt.raw_cluster();
    let flight = Flight::default();
    let client = client(&cluster).await;
    let options = RequestOptions::new().observer(flight.clone()).trace_id(TraceId::new(&b"\xab"[..]));
    in_time(client.raw().get("a")).await.unwrap();
    in_time(client.raw().get("a").with(&options)).await.unwrap();
    let expected = ["raw get ab", "kv.request.send", "kv.request.result", "client.ended done"];
    assert_eq!(*flight.seen.lock().unwrap(), expected);
}

/// client-go: `trace/trace_test.go: TestIsCategoryEnabledFunc`.
#[apply(test_on_each_runtime)]
async fn an_observer_can_keep_to_a_category(rt: Rt) {
    let cluster = rt.txn_cluster();
    let flight = Flight { only: Some(Category::Commit), ..Flight::default() };
    let client = client(&cluster).await.with(&RequestOptions::new().observer(flight.clone()));
    write(&client, &["a1"], "value").await.unwrap();
    let seen = std::mem::take(&mut *flight.seen.lock().unwrap());
    let sent = seen.iter().filter(|name| *name == "kv.request.send").count();
    // One prewrite and one commit: neither the timestamps nor the regions.
    assert_eq!(sent, 2, "{seen:?}");
    assert!(!seen.iter().any(|name| name.starts_with("client.")), "{seen:?}");
}

#[apply(test_on_each_runtime)]
async fn a_call_that_is_dropped_is_told_as_dropped_with_its_request(rt: Rt) {
    let cluster = rt.raw_cluster();
    let flight = Flight::default();
    let client = client(&cluster).await;
    in_time(client.raw().get("a")).await.unwrap();
    let stores: Vec<u64> = (1..=3).collect();
    for &store in &stores {
        cluster.partition(tikv_embedded::control::Node::Store(store)).unwrap();
    }
    let call = client.raw().get("a").with(&RequestOptions::new().observer(flight.clone()));
    assert_eq!(timeout(Duration::from_millis(30), call).await, None);
    let seen = std::mem::take(&mut *flight.seen.lock().unwrap());
    assert_eq!(seen.last().map(String::as_str), Some("client.ended dropped"), "{seen:?}");
    assert!(seen.iter().any(|name| name == "kv.request.withdrawn"), "{seen:?}");
}
