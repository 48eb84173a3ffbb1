//! The cluster, and the steps of a scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message;
use serde_json::{Map, Value, json};
use tikv_embedded::control::Node;
use tikv_embedded::model::cluster::HEALTH_PATH;
use tikv_embedded::model::pd::http::Request;
use tikv_embedded::model::pd::{self, Asked, Watch};
use tikv_embedded::model::{Call, Cluster, Code, Layout, Member, Met, Now, Pd, Reply, Status};

use super::value::{Env, compare, integer};
use super::wire::{Schema, from_json, timestamp, to_json};

const CLUSTER: u64 = 7_000_000_000_000_000_001;
/// How long a call takes, and how long until a step is tried again.
const CALL: Duration = Duration::from_millis(1);
const AGAIN: Duration = Duration::from_millis(200);

/// A stream that is told what changes.
#[derive(Debug)]
enum Stream {
    Open(Box<Watch>, prost_reflect::MessageDescriptor),
    /// It ended with this before anything was told.
    Failed(Value),
    Ended,
}

/// Plays scenarios on one cluster of three stores.
#[derive(Debug)]
pub(crate) struct Player {
    schema: Schema,
    cluster: Cluster,
    now: Now,
    streams: BTreeMap<String, Stream>,
    /// The last timestamp that a `tso` check has seen in this scenario.
    last_ts: i128,
}

fn failed(status: &Status) -> Value {
    let code = match status.code {
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::NotFound => "NOT_FOUND",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        other => panic!("no scenario has {other}"),
    };
    json!([code, status.message])
}

fn seconds(step: &Value, name: &str) -> Option<Duration> {
    step.get(name).and_then(Value::as_f64).map(Duration::from_secs_f64)
}

impl Player {
    pub(crate) fn new() -> Self {
        let addresses: Vec<String> = (1..=3).map(|n| format!("127.0.0.1:{n}")).collect();
        let mut topology = Layout::new(addresses, 3).build();
        let now = Now::from_unix(Duration::from_secs(1_800_000_000));
        topology.set_started(now.unix_seconds());
        let client_url = "http://127.0.0.1:9".to_owned();
        let mut pd = Pd::new(CLUSTER, vec![Member::new(1, "pd-1".to_owned(), client_url)], 3);
        pd.bootstrap_keyspaces(&mut topology, now, true);
        let cluster = Cluster::new(topology, pd);
        Self { schema: Schema::load(), cluster, now, streams: BTreeMap::new(), last_ts: 0 }
    }

    /// Plays the lines of a file; returns how many scenarios hold, and what differs.
    pub(crate) fn file(&mut self, text: &str, run: &str) -> (usize, Vec<String>) {
        let mut shared = Env::default();
        shared.0.insert("cluster".to_owned(), CLUSTER.into());
        shared.0.insert("run".to_owned(), run.into());
        let (mut held, mut differences) = (0, Vec::new());
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let scenario: Value = serde_json::from_str(line).expect("a scenario is JSON");
            let name = scenario.get("name").and_then(Value::as_str).expect("a scenario has a name");
            let setup = scenario.get("setup").is_some();
            let mut env = shared.clone();
            let out = self.scenario(&scenario, &mut env);
            if setup {
                shared = env;
            }
            if out.is_empty() {
                held += usize::from(!setup);
            } else {
                differences.push(format!("{name} ({run})\n    {}", out.join("\n    ")));
            }
        }
        (held, differences)
    }

    /// A scenario stops at its first difference.
    fn scenario(&mut self, scenario: &Value, env: &mut Env) -> Vec<String> {
        self.last_ts = 0;
        let mut out = Vec::new();
        let steps = scenario.get("steps").and_then(Value::as_array).expect("a scenario has steps");
        for (index, step) in steps.iter().enumerate() {
            let what = step.get("rpc").or_else(|| step.get("path")).and_then(Value::as_str).unwrap_or("");
            self.step(step, env, &mut out, &format!("step {} ({what})", index + 1));
            if !out.is_empty() {
                break;
            }
        }
        self.streams.clear();
        out
    }

    fn step(&mut self, step: &Value, env: &mut Env, out: &mut Vec<String>, tag: &str) {
        if let Some(pause) = seconds(step, "sleep") {
            return self.pass(pause);
        }
        if let Some(bound) = step.get("let").and_then(Value::as_object) {
            let bound: Vec<_> =
                bound.iter().map(|(name, value)| (name.clone(), env.resolve(value))).collect();
            return env.0.extend(bound);
        }
        let flag = |name| step.get(name).and_then(Value::as_bool).unwrap_or(false);
        let until = self.now.after(seconds(step, "retry").unwrap_or_default());
        let condition = step.get("when");
        let wanted = step.get("want").filter(|_| !flag("quiet"));
        let result = loop {
            let result = self.once(step, env);
            let mut probe = Vec::new();
            if let Some(condition) = condition.or(wanted) {
                compare(condition, Some(&result), &mut env.clone(), tag, &mut probe);
            }
            if probe.is_empty() || self.now >= until {
                if condition.is_some() && !probe.is_empty() {
                    return out.append(&mut probe);
                }
                break result;
            }
            self.pass(AGAIN);
        };
        for (name, path) in step.get("save").and_then(Value::as_object).into_iter().flatten() {
            let value = dig(&result, path.as_str().expect("a path"));
            env.0.insert(name.clone(), value.unwrap_or_else(|| 0.into()));
        }
        if let Some(check) = step.get("check").and_then(Value::as_str) {
            self.check(check, &result, env, tag, out);
        }
        if flag("quiet") {
            let failed = result.get("err").is_some() || dig(&result, "ok.header.error").is_some();
            let failed =
                failed || result.get("status").and_then(Value::as_u64).is_some_and(|status| status >= 400);
            if failed && !flag("may_fail") {
                out.push(format!("{tag}: preparing failed: {result}"));
            }
        } else if let Some(wanted) = wanted {
            compare(wanted, Some(&result), env, tag, out);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.cluster.wake(self.now);
    }

    fn once(&mut self, step: &Value, env: &Env) -> Value {
        let text = |name| step.get(name).and_then(Value::as_str);
        if let Some(method) = text("http") {
            return self.http(method, step, env);
        }
        if let Some(path) = text("raw") {
            return self.raw(path, text("hex").expect("bytes in hexadecimal"));
        }
        if let Some(stream) = text("recv") {
            return self.receive(stream, step);
        }
        if let Some(stream) = text("close") {
            self.streams.remove(stream);
            return json!({});
        }
        let request = step.get("req").cloned().unwrap_or_else(|| json!({}));
        if let Some(stream) = text("open") {
            self.open(stream, step, &request, env);
            return json!({});
        }
        if step.get("bidi").is_some() {
            let mut received = Vec::new();
            for item in step.get("send").and_then(Value::as_array).into_iter().flatten() {
                let answer = match self.call(step, item, env) {
                    Ok(answer) => json!({ "ok": answer }),
                    Err(status) => json!({ "end": failed(&status) }),
                };
                let ended = answer.get("end").is_some();
                received.push(answer);
                if ended {
                    break;
                }
            }
            return json!({ "recv": received });
        }
        match self.call(step, &request, env) {
            Ok(answer) => json!({ "ok": answer }),
            Err(status) => json!({ "err": failed(&status) }),
        }
    }

    /// The call of a step, as the model takes it.
    fn prepared(
        &self,
        step: &Value,
        request: &Value,
        env: &Env,
    ) -> Result<(Call, prost_reflect::MessageDescriptor), Status> {
        let method = self.schema.method(step.get("rpc").and_then(Value::as_str).expect("a method"));
        let mut request = env.resolve(request);
        let fields = request.as_object_mut().expect("a request is an object");
        let header =
            method.input().get_field_by_name("header").and_then(|field| field.kind().as_message().cloned());
        if header.is_some_and(|header| header.get_field_by_name("cluster_id").is_some()) {
            fields.entry("header").or_insert_with(|| json!({ "cluster_id": CLUSTER }));
        }
        fields.retain(|name, value| name != "header" || !value.is_null());
        let body = from_json(method.input(), &request).encode_to_vec().into();
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = pd::method(&path).ok_or_else(|| pd::unknown_method(&path))?;
        let follower_may =
            step.get("meta").is_some_and(|meta| meta.get("pd-allow-follower-handle").is_some());
        Ok((Call::Pd { member: 0, follower_may, path, body }, method.output()))
    }

    fn reply(&mut self, call: Call) -> Reply {
        self.now = self.now.after(CALL);
        match self.cluster.call(self.now, call) {
            Met::Now(reply) => reply,
            Met::Later(token) => panic!("PD answers at once, not later ({token:?})"),
            other => panic!("{other:?}"),
        }
    }

    fn call(&mut self, step: &Value, request: &Value, env: &Env) -> Result<Value, Status> {
        let (call, output) = self.prepared(step, request, env)?;
        match self.reply(call) {
            Reply::Bytes(answer) => Ok(message(output, answer)),
            Reply::Fail(status) => Err(status),
            other => panic!("{other:?} to a unary call"),
        }
    }

    fn open(&mut self, name: &str, step: &Value, request: &Value, env: &Env) {
        let stream = match self.prepared(step, request, env) {
            Err(status) => Stream::Failed(failed(&status)),
            Ok((call, output)) => match self.reply(call) {
                Reply::Watch(watch) => Stream::Open(watch, output),
                Reply::Fail(status) => Stream::Failed(failed(&status)),
                other => panic!("{other:?} to a stream"),
            },
        };
        self.streams.insert(name.to_owned(), stream);
    }

    fn receive(&mut self, name: &str, step: &Value) -> Value {
        let count = step.get("n").and_then(Value::as_u64).unwrap_or(1);
        let mut got = Vec::new();
        for _ in 0..count {
            let patience = seconds(step, "for").unwrap_or(Duration::from_secs(10));
            got.push(self.receive_one(name).unwrap_or_else(|| {
                self.pass(patience);
                self.receive_one(name).unwrap_or_else(|| json!({ "timeout": null }))
            }));
        }
        json!({ "got": got })
    }

    fn receive_one(&mut self, name: &str) -> Option<Value> {
        let stream = self.streams.get_mut(name).expect("the stream has been opened");
        let (told, ended) = match stream {
            Stream::Ended => return None,
            Stream::Failed(status) => (json!({ "end": status }), true),
            Stream::Open(watch, output) => match self.cluster.watched(watch)? {
                Reply::Bytes(answer) => (json!({ "ok": message(output.clone(), answer) }), false),
                Reply::Fail(status) => (json!({ "end": failed(&status) }), true),
                other => panic!("{other:?} on a stream"),
            },
        };
        if ended {
            *stream = Stream::Ended;
        }
        Some(told)
    }

    fn raw(&mut self, path: &str, digits: &str) -> Value {
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal");
        let body: Bytes = (0..digits.len() / 2).map(byte).collect();
        let reply = if path == HEALTH_PATH {
            self.reply(Call::Health { node: Node::Pd(0), body })
        } else {
            match pd::method(path) {
                Some(path) => self.reply(Call::Pd { member: 0, follower_may: false, path, body }),
                None => Reply::Fail(pd::unknown_method(path)),
            }
        };
        match reply {
            Reply::Bytes(answer) => json!({ "ok": format!("{answer:x}") }),
            Reply::Fail(status) => json!({ "err": failed(&status) }),
            other => panic!("{other:?} to a unary call"),
        }
    }

    fn http(&mut self, method: &str, step: &Value, env: &Env) -> Value {
        let target = env.text(step.get("path").and_then(Value::as_str).expect("a path"));
        let body = match step.get("body") {
            None => String::new(),
            Some(Value::String(raw)) => env.text(raw.strip_prefix("raw:").expect("raw: or JSON")),
            Some(body) => env.resolve(body).to_string(),
        };
        self.now = self.now.after(CALL);
        let asked = Asked::new(&mut self.cluster.topology, 0, self.now);
        let page = self.cluster.pd.http(asked, Request::new(method, &target, body.as_bytes()));
        match serde_json::from_str::<Value>(&page.body) {
            Ok(body) => json!({ "status": page.status, "json": body }),
            Err(_) => json!({ "status": page.status, "text": page.body.trim_end_matches('\n') }),
        }
    }

    /// `tso`: each answer owns timestamps above all before it in this scenario; `ts>=x`: none is below `x`.
    fn check(&mut self, kind: &str, result: &Value, env: &Env, tag: &str, out: &mut Vec<String>) {
        let alone = [result.clone()];
        let answers = result.get("recv").and_then(Value::as_array).map_or(alone.as_slice(), Vec::as_slice);
        for answer in answers {
            let Some(last) = dig(answer, "tso:ok.timestamp").as_ref().and_then(integer) else { continue };
            if kind == "tso" {
                let count = dig(answer, "ok.count").as_ref().and_then(integer).unwrap_or(0);
                if last - count < self.last_ts {
                    out.push(format!("{tag}: the {count} timestamps up to {last} overlap {}", self.last_ts));
                }
                self.last_ts = last;
            } else {
                let least = kind.strip_prefix("ts>=").and_then(|name| integer(env.0.get(name)?));
                if last < least.expect("a timestamp to compare with") {
                    out.push(format!("{tag}: timestamp {last} below the earlier one"));
                }
            }
        }
    }
}

fn message(output: prost_reflect::MessageDescriptor, answer: Bytes) -> Value {
    to_json(&DynamicMessage::decode(output, answer).expect("an answer of the method's type"))
}

/// What a path leads to: `tso:PATH` a timestamp as one number, `up:PATH:FIELD` of the first store that is up.
fn dig(value: &Value, path: &str) -> Option<Value> {
    if let Some(path) = path.strip_prefix("tso:") {
        return timestamp(&dig(value, path)?);
    }
    if let Some(rest) = path.strip_prefix("up:") {
        let (list, field) = rest.split_once(':').expect("up:PATH:FIELD");
        let stores = dig(value, list)?;
        let up = |store: &&Value| {
            store.get("state").is_none() && store.get("node_state").is_some_and(|state| state == "Serving")
        };
        let id = |store: &&Value| store.get("id").and_then(integer);
        let first = stores.as_array()?.iter().filter(up).min_by_key(id)?;
        return if field.is_empty() { Some(first.clone()) } else { first.get(field).cloned() };
    }
    let step = |at: Value, key: &str| match at {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?).cloned(),
        Value::Object(fields) => Map::get(&fields, key).cloned(),
        _ => None,
    };
    path.split('.').try_fold(value.clone(), step)
}
