//! Plays scenarios on a model of one store, in virtual time, and compares.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use serde_json::{Map, Value as Json, json};
use tikv_embedded::model::{
    Answer, Call, Cluster, Command, Layout, Met, Now, Pd, Reply, Status, Token, key, layout::default_keyspace,
};
use tikv_proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse, batch_commands_response};

use crate::names::{MS, Names};
use crate::normal::normal;
use crate::schema::{fill, method};

const STORE: u64 = 1;
/// Scenarios may use timestamps up to about this far ahead.
const RAISE_MS: i128 = 20_000;
/// A call without a deadline of its own has this one.
const DEADLINE_MS: u64 = 10_000;

/// Where a key of the request lies that is to be located by, in the order in which they are looked for.
const ROUTE: [&str; 10] = [
    "key",
    "keys",
    "mutations",
    "primary_key",
    "primary_lock",
    "start_key",
    "pairs",
    "ranges",
    "split_keys",
    "split_key",
];

/// A call that was made.
#[derive(Debug)]
struct Open {
    rpc: String,
    met: Met,
    deadline: Now,
    route: BTreeMap<&'static str, u64>,
}

/// A cluster with its clock.
#[derive(Debug)]
pub(crate) struct Player {
    cluster: Cluster,
    now: Now,
    replies: BTreeMap<Token, Reply>,
    saved: BTreeMap<String, (DynamicMessage, BTreeMap<&'static str, u64>)>,
    open: BTreeMap<String, Open>,
    /// The largest timestamp that a scenario has used.
    high: i128,
    played: u64,
}

impl Player {
    pub(crate) fn new() -> Self {
        let now = Now::from_unix(Duration::from_secs(1_700_000_000));
        let mut layout = Layout::new(vec!["store:1".to_owned()], 1);
        // As a new cluster has them.
        layout.bounds = default_keyspace();
        let cluster = Cluster::new(layout.build(), Pd::new(7, Vec::new(), 1));
        let (replies, saved, open) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { cluster, now, replies, saved, open, high: 0, played: 0 }
    }

    /// Plays a scenario; returns what differs.
    pub(crate) fn play(&mut self, scenario: &Json) -> Vec<String> {
        self.played += 1;
        // Above all that earlier scenarios have read at.
        let used_ms = (self.high / MS + 1 - RAISE_MS).max(0);
        let ahead = u64::try_from(used_ms).unwrap().saturating_sub(self.now.unix_ms());
        self.pass(self.now.after(Duration::from_millis(ahead + 1)));
        // As the first of the timestamps that PD gives out in one millisecond.
        let base = (self.now.unix_ms() << 18) + 1;
        let mut names = Names::new(base, format!("t{:08x}.{:07x}.", 1, self.played));
        self.saved.clear();
        self.open.clear();
        let mut differs = Vec::new();
        let steps = scenario["steps"].as_array().unwrap();
        for (number, step) in steps.iter().enumerate() {
            let got = self.step(step, &mut names);
            if let Some(got) = got {
                let mut here = Vec::new();
                let want = step.get("ans").map_or_else(|| json!({}), strip);
                compare(&want, &got, String::new(), &mut here);
                let rpc = step["rpc"].as_str().unwrap_or("join");
                differs.extend(here.into_iter().map(|what| format!("step {} {rpc}: {what}", number + 1)));
            }
        }
        self.high = self.high.max(names.high);
        differs
    }

    fn step(&mut self, step: &Json, names: &mut Names) -> Option<Json> {
        if let Some(ms) = step["pause_ms"].as_u64() {
            self.pass(self.now.after(Duration::from_millis(ms)));
        }
        if let Some(label) = step["join"].as_str() {
            let open = self.open.remove(label).unwrap();
            return Some(self.finish(open, names));
        }
        if let Some(labels) = step["pending"].as_array() {
            let pending = |label: &&Json| match self.open[label.as_str().unwrap()].met {
                Met::Later(token) => !self.replies.contains_key(&token),
                _ => false,
            };
            let pending: Vec<&Json> = labels.iter().filter(pending).collect();
            return Some(json!({"pending": pending}));
        }
        if step["rpc"] == "BatchCommands" {
            return Some(self.batch(step, names));
        }
        let open = self.start(step, names);
        if let Some(label) = step["async"].as_str() {
            self.open.insert(label.to_owned(), open);
            return None;
        }
        Some(self.finish(open, names))
    }

    /// Lets time pass, with all that it makes happen.
    fn pass(&mut self, until: Now) {
        while let Some(at) = self.cluster.next_wake()
            && at <= until
        {
            self.cluster.wake(at);
            self.take_replies();
        }
        self.now = self.now.max(until);
    }

    fn take_replies(&mut self) {
        self.replies.extend(self.cluster.take_replies());
    }

    fn call(&mut self, command: Result<Command, Status>) -> Met {
        let command = match command {
            Ok(command) => Box::new(command),
            Err(status) => return Met::Now(Reply::Fail(status)),
        };
        let met = self.cluster.call(self.now, Call::Store { store: STORE, command });
        self.take_replies();
        met
    }

    fn start(&mut self, step: &Json, names: &mut Names) -> Open {
        let rpc = step["rpc"].as_str().unwrap();
        let mut message = DynamicMessage::new(method(rpc).0);
        let empty = Map::new();
        fill(&mut message, step["req"].as_object().unwrap_or(&empty), names);
        let raw = rpc.starts_with("Raw") || step["raw"] == true;
        self.put_context(&mut message, step, names, raw);
        let path = format!("/tikvpb.Tikv/{rpc}");
        let met = self.call(Command::decode(&path, message.encode_to_vec().into()));
        let ms = step["timeout_ms"].as_u64().unwrap_or(DEADLINE_MS);
        let deadline = self.now.after(Duration::from_millis(ms));
        Open { rpc: rpc.to_owned(), met, deadline, route: names.route.clone() }
    }

    fn finish(&mut self, open: Open, names: &mut Names) -> Json {
        names.route = open.route;
        match self.await_reply(open.met, open.deadline) {
            Some(Reply::Store(answer)) => {
                let bytes = answer.encode();
                normal(&DynamicMessage::decode(method(&open.rpc).1, bytes).unwrap(), names)
            }
            Some(Reply::Fail(status)) => json!({"grpc": code(&status)}),
            Some(other) => panic!("no reply of a store: {other:?}"),
            None => json!({"grpc": "DEADLINE_EXCEEDED"}),
        }
    }

    fn await_reply(&mut self, met: Met, deadline: Now) -> Option<Reply> {
        let token = match met {
            Met::Now(reply) => return Some(reply),
            Met::Later(token) => token,
            other => panic!("neither now nor later: {other:?}"),
        };
        while !self.replies.contains_key(&token) {
            let next = self.cluster.next_wake().filter(|at| *at <= deadline);
            self.pass(next.unwrap_or(deadline));
            if next.is_none() {
                break;
            }
        }
        self.replies.remove(&token)
    }

    /// Fills in the context of a request: as one who knows the regions would, and then as the step says.
    fn put_context(&mut self, message: &mut DynamicMessage, step: &Json, names: &mut Names, raw: bool) {
        let Some(field) = message.descriptor().get_field_by_name("context") else { return };
        let mut context = match step["use_ctx"].as_str() {
            Some(label) => {
                let (saved, route) = self.saved[label].clone();
                names.route = route;
                saved
            }
            None => self.fresh_context(step, names, raw),
        };
        if let Some(label) = step["save_ctx"].as_str() {
            self.saved.insert(label.to_owned(), (context.clone(), names.route.clone()));
        }
        if let Some(changes) = step["ctx"].as_object() {
            let cleared = changes.get("clear").and_then(Json::as_array);
            for name in cleared.into_iter().flatten() {
                context.clear_field_by_name(name.as_str().unwrap());
            }
            let mut changes = changes.clone();
            changes.remove("clear");
            fill(&mut context, &changes, names);
        }
        message.set_field(&field, Value::Message(context));
    }

    fn fresh_context(&self, step: &Json, names: &mut Names, raw: bool) -> DynamicMessage {
        let plain = names.bytes_in(&route_key(step));
        let at = if raw { Bytes::from(plain) } else { key::encode(&plain) };
        let region = self.cluster.topology.region_at(&at).unwrap();
        let leader = region.leader_peer().unwrap();
        names.route = BTreeMap::from([
            ("region", region.id),
            ("peer", leader.id),
            ("store", leader.store),
            ("ver", region.version),
            ("conf", region.conf_ver),
        ]);
        let tree = json!({
            "region_id": "$region",
            "region_epoch": {"conf_ver": "$conf", "version": "$ver"},
            "peer": {"id": "$peer", "store_id": "$store"},
            "request_origin": 1,
        });
        let descriptor = crate::schema::pool().get_message_by_name("kvrpcpb.Context").unwrap();
        let mut context = DynamicMessage::new(descriptor);
        fill(&mut context, tree.as_object().unwrap(), names);
        context
    }

    /// Sends a frame of a `BatchCommands` stream; its answers are listed by request.
    fn batch(&mut self, step: &Json, names: &mut Names) -> Json {
        let mut frame = BatchCommandsRequest::default();
        let envelope = method("BatchCommands").0.get_field_by_name("requests").unwrap().kind();
        let envelope = envelope.as_message().unwrap().clone();
        for item in step["req"]["requests"].as_array().unwrap() {
            let (kind, body) = item.as_object().unwrap().iter().next().unwrap();
            let field = envelope.get_field_by_name(kind).unwrap();
            let mut inner = DynamicMessage::new(field.kind().as_message().unwrap().clone());
            fill(&mut inner, body.as_object().unwrap(), names);
            let part = json!({"req": body, "ctx": step.get("ctx").unwrap_or(&Json::Null)});
            self.put_context(&mut inner, &part, names, kind.starts_with("Raw"));
            let mut request = DynamicMessage::new(envelope.clone());
            request.set_field(&field, Value::Message(inner));
            frame.requests.push(Message::decode(request.encode_to_vec().as_slice()).unwrap());
        }
        let deadline = self.now.after(Duration::from_millis(step["timeout_ms"].as_u64().unwrap_or(5000)));
        let mets: Vec<Option<Met>> = frame
            .requests
            .into_iter()
            .map(|asked| Some(self.call(Ok(Command::Batched(asked.cmd?)))))
            .collect();
        let mut status = None;
        let mut responses = Vec::new();
        for met in mets {
            // What the store does not know is answered by an empty answer.
            let cmd = match met {
                None => None,
                Some(met) => match self.await_reply(met, deadline) {
                    Some(Reply::Store(answer)) => match *answer {
                        Answer::Batched(cmd) => Some(cmd),
                        other => panic!("no answer in a batch: {other:?}"),
                    },
                    Some(Reply::Fail(failed)) => {
                        status = Some(code(&failed));
                        responses.push(Json::Null);
                        continue;
                    }
                    Some(other) => panic!("no reply of a store: {other:?}"),
                    None => {
                        responses.push(Json::Null);
                        continue;
                    }
                },
            };
            responses.push(self.batched_answer(cmd, names));
        }
        let mut told = json!({"responses": responses});
        if let Some(status) = status {
            told["grpc"] = json!(status);
        }
        told
    }

    fn batched_answer(&self, cmd: Option<batch_commands_response::response::Cmd>, names: &mut Names) -> Json {
        let response = batch_commands_response::Response { cmd };
        let frame = BatchCommandsResponse { responses: vec![response], ..Default::default() };
        let frame =
            DynamicMessage::decode(method("BatchCommands").1, frame.encode_to_vec().as_slice()).unwrap();
        normal(&frame, names)["responses"][0].clone()
    }
}

/// The key that a request is located by.
fn route_key(step: &Json) -> String {
    if let Some(key) = step["key"].as_str() {
        return key.to_owned();
    }
    let request = &step["req"];
    if request["reverse"] == true
        && let Some(end) = request["end_key"].as_str().filter(|end| !end.is_empty())
    {
        return end.to_owned();
    }
    for name in ROUTE {
        let value = &request[name];
        let value = if value.is_array() { &value[0] } else { value };
        let key = [&value["key"], &value["start_key"], value].into_iter().find_map(Json::as_str);
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            return key.to_owned();
        }
    }
    "@".to_owned()
}

/// A status code as gRPC writes it.
fn code(status: &Status) -> String {
    let mut text = String::new();
    for c in status.code.to_string().chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

/// A recorded answer without what is not compared.
fn strip(tree: &Json) -> Json {
    match tree {
        Json::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "last_change_ts" | "versions_to_last_change"));
            Json::Object(kept.map(|(name, value)| (name.clone(), strip(value))).collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(strip).collect()),
        other => other.clone(),
    }
}

fn compare(want: &Json, got: &Json, path: String, differs: &mut Vec<String>) {
    match (want, got) {
        (Json::Object(want), Json::Object(got)) => {
            for (name, value) in want {
                let got = got.get(name).unwrap_or(&Json::Null);
                compare(value, got, format!("{path}.{name}"), differs);
            }
            for (name, value) in got.iter().filter(|(name, _)| !want.contains_key(*name)) {
                differs.push(format!("{path}.{name}: not recorded, answer has {value}"));
            }
        }
        (Json::Array(want), Json::Array(got)) if want.len() == got.len() => {
            for (at, (want, got)) in want.iter().zip(got).enumerate() {
                compare(want, got, format!("{path}[{at}]"), differs);
            }
        }
        (want, got) if want == got => {}
        (want, got) => differs.push(format!("{path}: recorded {want}, answer {got}")),
    }
}
