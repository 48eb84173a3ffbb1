//! A program's own code around each request.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use macro_rules_attribute::apply;
use tikv_client_core::config::Config;
use tikv_client_core::error::{Error, ErrorKind, ServiceError};
use tikv_client_core::machine::Fault;
use tikv_client_core::request::{Answered, Command, Flow, Interceptor, Outgoing, RequestOptions};
use tikv_client_core::trace::{Recorder, replay};
use tikv_embedded::control::{Action, Matcher, Refusal, Rule, Trait};
use tikv_proto::kvrpcpb as pb;

use crate::fixture::{client, client_with, in_time};
use crate::runtimes::{Rt, test_on_each_runtime};

/// What interceptors have seen, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what it sees, and does what it is told to.
#[derive(Debug)]
struct Witness {
    name: &'static str,
    log: Log,
    flow: Flow,
}

impl Witness {
    fn new(name: &'static str, log: &Log) -> Self {
        Self { name, log: Arc::clone(log), flow: Flow::Send }
    }

    fn doing(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }
}

impl Interceptor for Witness {
    fn name(&self) -> &str {
        self.name
    }

    fn before(&self, call: &mut Outgoing<'_>) -> Flow {
        let retry = if call.attempt().retry { " again" } else { "" };
        self.log.lock().unwrap().push(format!("{} before {}{retry}", self.name, call.command().name()));
        self.flow.clone()
    }

    fn after(&self, call: &Answered<'_>, answer: Result<&mut Bytes, &Fault>) {
        let how = if answer.is_ok() { "answered" } else { "failed" };
        self.log.lock().unwrap().push(format!("{} after {} {how}", self.name, call.request.command().name()));
    }
}

fn lines(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

/// client-go: `tikvrpc/interceptor/interceptor_test.go: TestInterceptor`; `internal/client/client_interceptor_test.go:
/// TestAppendChainedInterceptor`.
#[apply(test_on_each_runtime)]
async fn a_chain_is_called_in_order_and_back_and_a_name_counts_once(rt: Rt) {
    let cluster = rt.raw_cluster();
    let log = Log::default();
    let first = RequestOptions::new()
        .interceptor(Witness::new("replaced", &Log::default()))
        .interceptor(Witness::new("one", &log));
    let more = RequestOptions::new()
        .interceptor(Witness::new("two", &log))
        .interceptor(Witness::new("replaced", &log));
    let raw = client(&cluster).await.with(&first).with(&more).raw();
    in_time(raw.get("a")).await.unwrap();
    let expected = [
        "one before RawGet",
        "two before RawGet",
        "replaced before RawGet",
        "replaced after RawGet answered",
        "two after RawGet answered",
        "one after RawGet answered",
    ];
    assert_eq!(lines(&log), expected);
}

#[apply(test_on_each_runtime)]
async fn each_attempt_is_seen_also_those_in_the_background(rt: Rt) {
    let cluster = rt.txn_cluster();
    let log = Log::default();
    let client = client(&cluster).await.with(&RequestOptions::new().interceptor(Witness::new("w", &log)));
    let rule = Rule::new(Matcher::method("KvPrewrite"), Action::Refuse(Refusal::StaleCommand)).times(1);
    let fault = cluster.fault(rule);
    let mut txn = in_time(client.begin()).await.unwrap();
    txn.put("a1", "v").unwrap();
    txn.put("c1", "v").unwrap();
    in_time(txn.commit()).await.unwrap();
    assert_eq!(fault.hits(), 1);
    assert_eq!(client.close(Duration::from_secs(5)).await, 0);
    let seen = lines(&log);
    let count = |line: &str| seen.iter().filter(|seen| *seen == line).count();
    assert_eq!((count("w before Prewrite"), count("w before Prewrite again")), (2, 1));
    assert_eq!((count("w after Prewrite answered"), count("w after Commit answered")), (3, 2));
}

/// client-go runs the program's interceptor of an asynchronous call only when resource control is on, and then only behind the
/// answer (`internal/client/client_interceptor.go: SendRequestAsync`). Here all calls are asynchronous, and it runs around each.
#[apply(test_on_each_runtime)]
async fn fixes_interceptors_of_asynchronous_calls_that_run_only_with_resource_control(rt: Rt) {
    let cluster = rt.raw_cluster();
    let log = Log::default();
    let client = client(&cluster).await.with(&RequestOptions::new().interceptor(Witness::new("w", &log)));
    let call = client.raw().get("a").into_future();
    assert_eq!(lines(&log), [""; 0]);
    in_time(call).await.unwrap();
    assert_eq!(lines(&log), ["w before RawGet", "w after RawGet answered"]);
}

#[apply(test_on_each_runtime)]
async fn one_that_answers_keeps_the_request_from_the_store_and_those_before_it_see_its_answer(rt: Rt) {
    let cluster = rt.raw_cluster();
    let log = Log::default();
    let answer = pb::RawGetResponse { value: "made up".into(), ..Default::default() };
    let answer = Flow::Answer(prost::Message::encode_to_vec(&answer).into());
    let options = RequestOptions::new()
        .interceptor(Witness::new("outer", &log))
        .interceptor(Witness::new("cache", &log).doing(answer))
        .interceptor(Witness::new("inner", &log));
    let sent = cluster.count(Matcher::method("RawGet"));
    let raw = client(&cluster).await.with(&options).raw();
    assert_eq!(in_time(raw.get("a")).await.unwrap().unwrap(), "made up");
    assert_eq!(sent.hits(), 0);
    let expected = ["outer before RawGet", "cache before RawGet", "outer after RawGet answered"];
    assert_eq!(lines(&log), expected);
}

#[apply(test_on_each_runtime)]
async fn one_that_refuses_ends_the_call_with_its_reason_and_nothing_is_sent(rt: Rt) {
    let cluster = rt.txn_cluster();
    let log = Log::default();
    let refuse = Flow::Refuse("out of units".into());
    let options = RequestOptions::new().interceptor(Witness::new("gate", &log).doing(refuse));
    let sent = cluster.count(Matcher::method("KvPrewrite"));
    let client = client(&cluster).await;
    let mut txn = in_time(client.begin()).await.unwrap();
    txn.put("a1", "v").unwrap();
    let error = in_time(txn.commit().with(&options)).await.unwrap_err();
    assert!(error.to_string().contains("out of units"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(matches!(&error, Error::Service(ServiceError::Intercepted { .. })), "{error:?}");
    assert_eq!(sent.hits(), 0);
}

/// Resource control waits so; client-go: `internal/client/client_interceptor_test.go: TestInterceptedClient`.
#[apply(test_on_each_runtime)]
async fn one_that_holds_a_request_back_delays_it_and_no_longer_than_the_calls_time(rt: Rt) {
    let cluster = rt.raw_cluster();
    let log = Log::default();
    let held = |time| {
        let witness = Witness::new("gate", &log).doing(Flow::SendAfter(time));
        RequestOptions::new().interceptor(witness)
    };
    let raw = client(&cluster).await.raw();
    in_time(raw.get("a")).await.unwrap();
    let begun = Instant::now();
    in_time(raw.get("a").with(&held(Duration::from_millis(80)))).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(80));
    assert_eq!(lines(&log), ["gate before RawGet", "gate after RawGet answered"]);
    let sent = cluster.count(Matcher::method("RawGet"));
    let begun = Instant::now();
    let call = raw.get("a").with(&held(Duration::from_secs(60))).deadline(Duration::from_millis(100));
    let error = in_time(call).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(sent.hits(), 0);
    // A call that is dropped while its request is held back leaves nothing behind.
    let call = raw.get("a").with(&held(Duration::from_secs(60)));
    assert_eq!(crate::fixture::timeout(Duration::from_millis(20), call).await, None);
    assert_eq!(sent.hits(), 0);
}

/// Marks each get, asks for another key than it was told to, and changes what comes back.
#[derive(Debug)]
struct Meddler;

impl Interceptor for Meddler {
    fn name(&self) -> &str {
        "meddler"
    }

    fn before(&self, call: &mut Outgoing<'_>) -> Flow {
        assert!(call.message::<pb::RawPutRequest>().is_none());
        let Some(mut get) = call.message::<pb::RawGetRequest>() else { return Flow::Send };
        get.key = "b0".into();
        assert!(call.replace(&get) && !call.replace(&pb::RawPutRequest::default()));
        call.mark(&RequestOptions::new().source("marked"));
        Flow::Send
    }

    fn after(&self, call: &Answered<'_>, answer: Result<&mut Bytes, &Fault>) {
        assert_eq!(call.request.command(), Command::RawGet);
        assert!(call.options.request_source().ends_with("marked"));
        let Ok(body) = answer else { return };
        let mut got: pb::RawGetResponse = prost::Message::decode(body.clone()).unwrap();
        got.value = [&got.value[..], b"!"].concat().into();
        *body = prost::Message::encode_to_vec(&got).into();
    }
}

#[apply(test_on_each_runtime)]
async fn requests_can_be_changed_and_marked_and_answers_changed(rt: Rt) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    in_time(client.raw().put("b0", "value")).await.unwrap();
    let marked = cluster.count(Matcher::method("RawGet").saying(Trait::Source("leader_marked".to_owned())));
    let options = RequestOptions::new().interceptor(Meddler);
    let value = in_time(client.raw().get("c9").with(&options)).await.unwrap();
    assert_eq!(value.unwrap(), "value!");
    assert_eq!(marked.hits(), 1);
}

/// What an interceptor decides is an input of the operation: its trace replays without it.
#[apply(test_on_each_runtime)]
async fn an_intercepted_operation_replays_without_the_interceptor(rt: Rt) {
    let cluster = rt.raw_cluster();
    let tape = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&tape);
    let mut config = Config::default();
    config.trace = Some(Recorder::to_sink(move |bytes: &[u8]| sink.lock().unwrap().extend_from_slice(bytes)));
    let client = client_with(&cluster, config).await;
    in_time(client.raw().put("b0", "value")).await.unwrap();
    let log = Log::default();
    let refuse = Witness::new("gate", &log).doing(Flow::Refuse("no".into()));
    let hold = Witness::new("hold", &log).doing(Flow::SendAfter(Duration::from_millis(5)));
    for options in [
        RequestOptions::new().interceptor(Meddler),
        RequestOptions::new().interceptor(refuse),
        RequestOptions::new().interceptor(hold),
    ] {
        drop(in_time(client.raw().get("b1").with(&options)).await);
    }
    client.close(Duration::from_secs(5)).await;
    let trace = tape.lock().unwrap().clone();
    let report = replay(&trace).unwrap();
    assert_eq!((report.identical, report.different), (4, 0), "{report}");
}
