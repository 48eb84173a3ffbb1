//! The embedded cluster's doors: arbitrary bytes as requests to stores, PD, health checks and pages.
//!
//! A request's context is often one that is admitted, and what stands behind it any bytes: protobuf joins them. Laws: no
//! request makes the cluster panic; the regions cover every key without gap or overlap whatever is asked; what a door answers
//! can be decoded; a call that waits is answered in time; timestamps grow.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_client_core::types::Timestamp;
use tikv_embedded::control::{Action, Matcher, Node, Refusal, Rule};
use tikv_embedded::model::cluster::HEALTH_PATH;
use tikv_embedded::model::pd::http::{Request, store_page};
use tikv_embedded::model::pd::{Asked, Watch};
use tikv_embedded::model::{
    Api, Call, Cluster, Command, Layout, Member, Met, Now, Pd, Reply, frame, key, pd,
};
use tikv_proto::{kvrpcpb, metapb, methods, pdpb};

use crate::choices::Choices;

const CLUSTER: u64 = 7;
const STORES: u64 = 3;

struct Play {
    cluster: Cluster,
    now: Now,
    newest: u64,
    /// Streams that are told what changes.
    watches: Vec<Watch>,
}

/// Paths of PD's pages; `#` stands for an id.
const PAGES: [&str; 34] = [
    "/pd/api/v1/min-resolved-ts",
    "/pd/api/v1/min-resolved-ts/#",
    "/pd/api/v1/members",
    "/pd/api/v1/leader",
    "/pd/api/v1/leader/resign",
    "/pd/api/v1/leader/transfer/pd-2",
    "/pd/api/v1/cluster",
    "/pd/api/v1/config",
    "/pd/api/v1/config/replicate",
    "/pd/api/v1/gc/safepoint",
    "/pd/api/v1/gc/safepoint/x",
    "/pd/api/v1/stores",
    "/pd/api/v1/stores/remove-tombstone",
    "/pd/api/v1/store/#",
    "/pd/api/v1/store/#/state",
    "/pd/api/v1/store/#/label",
    "/pd/api/v1/regions",
    "/pd/api/v1/regions/key",
    "/pd/api/v1/regions/store/#",
    "/pd/api/v1/regions/scatter",
    "/pd/api/v1/regions/split",
    "/pd/api/v1/region/id/#",
    "/pd/api/v1/region/key/a",
    "/pd/api/v1/stats/region",
    "/pd/api/v1/operators",
    "/pd/api/v1/operators/#",
    "/pd/api/v1/config/rule",
    "/pd/api/v1/config/rules",
    "/pd/api/v1/config/rule/pd/x",
    "/pd/api/v1/config/placement-rule",
    "/pd/api/v2/keyspaces",
    "/pd/api/v2/keyspaces/id/#",
    "/pd/api/v2/keyspaces/x/config",
    "/pd/api/v2/keyspaces/x/state",
];

const QUERIES: [&str; 8] = [
    "?scope=cluster",
    "?scope=1,2,x",
    "?state=Up",
    "?state=Offline",
    "?key=%61&limit=2",
    "?key=%6&end_key=%FF%zz&limit=-1",
    "?page_token=1&limit=x",
    "?start_key=61&end_key=62",
];

/// Names that the pages look for in a body.
const NAMES: [&str; 20] = [
    "name",
    "config",
    "state",
    "region_id",
    "region_ids",
    "regions_id",
    "split_keys",
    "keys",
    "policy",
    "to_store_id",
    "from_store_id",
    "to_store_ids",
    "target_region_id",
    "store_id",
    "group_id",
    "id",
    "start_key",
    "end_key",
    "role",
    "count",
];

const VALUES: [&str; 16] = [
    "1",
    "4",
    "9",
    "-1",
    "1e99",
    "null",
    "true",
    "\"x\"",
    "\"pd\"",
    "\"61\"",
    "\"6\"",
    "\"split-region\"",
    "\"transfer-leader\"",
    "\"merge-region\"",
    "\"add-peer\"",
    "\"voter\"",
];

/// Some JSON, mostly an object of known names.
fn json(choices: &mut Choices<'_>, depth: u32) -> String {
    let count = choices.below(5);
    match choices.below(8) {
        0..5 if depth < 3 => {
            let pair = |choices: &mut Choices<'_>| {
                format!("\"{}\":{}", choices.of(&NAMES), json(choices, depth + 1))
            };
            format!("{{{}}}", (0..count).map(|_| pair(choices)).collect::<Vec<_>>().join(","))
        }
        5 if depth < 3 => {
            format!("[{}]", (0..count).map(|_| json(choices, depth + 1)).collect::<Vec<_>>().join(","))
        }
        _ => (*choices.of(&VALUES)).to_owned(),
    }
}

/// Fields of any kind, as if of some message.
fn fields(choices: &mut Choices<'_>, depth: u32) -> Vec<u8> {
    use prost::encoding::{bytes, uint64};
    let mut wire = Vec::new();
    for _ in 0..choices.below(5) {
        let field = 2 + choices.below(15) as u32;
        match choices.below(5) {
            0 => uint64::encode(field, &u64::from(choices.any::<u8>()), &mut wire),
            1 => uint64::encode(field, &choices.any(), &mut wire),
            2 => bytes::encode(field, &choices.key().0, &mut wire),
            3 if depth < 3 => {
                let mut inner = Vec::new();
                for number in 1..4 {
                    match choices.below(4) {
                        0 => uint64::encode(number, &u64::from(choices.any::<u8>()), &mut inner),
                        1 => bytes::encode(number, &choices.key().0, &mut inner),
                        _ => {}
                    }
                }
                inner.extend(fields(choices, depth + 1));
                bytes::encode(field, &Bytes::from(inner), &mut wire);
            }
            _ => bytes::encode(field, &choices.bytes(20), &mut wire),
        }
    }
    wire
}

impl Play {
    fn context(&self, choices: &mut Choices<'_>) -> (u64, kvrpcpb::Context) {
        let at = key::encode(choices.key().as_slice());
        let region = self.cluster.topology.region_at(&at).expect("every key has a region");
        let peer = if choices.one_in(8) { region.peers.first().copied() } else { region.leader_peer() };
        let peer = peer.map_or_else(metapb::Peer::default, |peer| pd::wire_peer(&peer));
        let store = if choices.one_in(16) { choices.below(5) as u64 } else { peer.store_id };
        let version = region.version - u64::from(choices.one_in(16));
        let context = kvrpcpb::Context {
            region_id: region.id,
            region_epoch: Some(metapb::RegionEpoch { version, conf_ver: region.conf_ver }),
            peer: Some(peer),
            replica_read: choices.one_in(8),
            stale_read: choices.one_in(8),
            resolved_locks: (0..choices.below(6).saturating_sub(4)).map(|_| choices.any()).collect(),
            api_version: choices.below(8).saturating_sub(5) as i32,
            cluster_id: choices.below(10).saturating_sub(8) as u64 * CLUSTER,
            ..Default::default()
        };
        (store, context)
    }

    /// A request of which much is understood.
    fn body(&self, choices: &mut Choices<'_>) -> (u64, Bytes) {
        let (store, context) = self.context(choices);
        let mut wire = kvrpcpb::GetRequest { context: Some(context), ..Default::default() }.encode_to_vec();
        match choices.below(3) {
            0 => wire.extend(choices.bytes(60)),
            1 => wire.extend(fields(choices, 0)),
            _ => {
                // Commands that leave something behind, so that others meet it.
                let (key, value) = (choices.key().0, choices.bytes(6));
                let start = u64::from(choices.any::<u8>()) << 18;
                let mutation = kvrpcpb::Mutation {
                    op: choices.below(7) as i32,
                    key: key.clone(),
                    value,
                    ..Default::default()
                };
                let prewrite = kvrpcpb::PrewriteRequest {
                    mutations: vec![mutation],
                    primary_lock: choices.key().0,
                    start_version: start,
                    lock_ttl: choices.any::<u16>().into(),
                    use_async_commit: choices.one_in(4),
                    try_one_pc: choices.one_in(4),
                    min_commit_ts: if choices.one_in(4) { choices.any() } else { 0 },
                    ..Default::default()
                };
                let commit = kvrpcpb::CommitRequest {
                    start_version: start,
                    keys: vec![key.clone()],
                    commit_version: start + u64::from(choices.any::<u8>()),
                    ..Default::default()
                };
                let get =
                    kvrpcpb::GetRequest { key, version: choices.any::<u32>().into(), ..Default::default() };
                wire.extend(match choices.below(3) {
                    0 => prewrite.encode_to_vec(),
                    1 => commit.encode_to_vec(),
                    _ => get.encode_to_vec(),
                });
                wire.extend(fields(choices, 2));
            }
        }
        let wire = if choices.one_in(6) { choices.spoil(wire.into()) } else { wire.into() };
        (store, wire)
    }

    fn call(&mut self, call: Call) {
        match self.cluster.call(self.now, call) {
            Met::Now(Reply::Store(answer)) => drop(answer.encode()),
            Met::Now(Reply::Fail(status)) => assert!(!status.to_string().is_empty()),
            Met::Now(Reply::Watch(watch)) => self.watches.push(*watch),
            _ => {}
        }
    }

    fn store(&mut self, choices: &mut Choices<'_>) {
        let (store, body) = self.body(choices);
        let path = *choices.of(methods::tikv::ALL);
        if let Ok(command) = Command::decode(path, body) {
            assert!(path.ends_with(command.method()), "{path} was decoded as {}", command.method());
            self.call(Call::Store { store, command: Box::new(command) });
        }
    }

    /// A frame of commands, as a stream of a store takes it.
    fn frame(&mut self, choices: &mut Choices<'_>) {
        let mut wire = Vec::new();
        let mut store = 1;
        for id in 0..choices.below(4) as u64 {
            let (at, body) = self.body(choices);
            store = at;
            let mut inner = Vec::new();
            prost::encoding::bytes::encode(1 + choices.below(40) as u32, &body, &mut inner);
            prost::encoding::bytes::encode(1, &Bytes::from(inner), &mut wire);
            prost::encoding::uint64::encode(2, &id, &mut wire);
        }
        let frame = choices.spoil(wire.into());
        let Ok(commands) = frame::commands(frame) else { return };
        let commands: Vec<_> = commands.map_while(Result::ok).filter_map(|(_, command)| command).collect();
        for command in commands {
            self.call(Call::Store { store, command });
        }
    }

    fn pd(&mut self, choices: &mut Choices<'_>) {
        let header = Some(pdpb::RequestHeader { cluster_id: CLUSTER, ..Default::default() });
        let mut body = pdpb::GetMembersRequest { header }.encode_to_vec();
        let services = [
            methods::pd::ALL,
            methods::pd::ALL,
            methods::keyspace::ALL,
            methods::meta_storage::ALL,
            methods::resource_manager::ALL,
            pd::etcd::METHODS,
        ];
        let service = *choices.of(&services);
        let path = *choices.of(service);
        assert_eq!(pd::method(path), Some(path));
        if path.starts_with("/etcd") || choices.one_in(8) {
            body.clear();
        }
        body.extend(fields(choices, 0));
        let body = if choices.one_in(4) { choices.spoil(body.into()) } else { body.into() };
        let member = choices.below(3);
        self.call(Call::Pd { member, follower_may: choices.one_in(2), path, body });
    }

    fn timestamp(&mut self) {
        let header = Some(pdpb::RequestHeader { cluster_id: CLUSTER, ..Default::default() });
        let body = pdpb::TsoRequest { header, count: 3, ..Default::default() }.encode_to_vec().into();
        let Some(member) = self.cluster.pd.leader() else { return };
        let path = methods::pd::TSO;
        let met = self.cluster.call(self.now, Call::Pd { member, follower_may: false, path, body });
        let Met::Now(Reply::Bytes(body)) = met else { return };
        let last =
            pdpb::TsoResponse::decode(body).expect("our own answer").timestamp.expect("three timestamps");
        let part = |part: i64| u64::try_from(part).expect("a timestamp");
        let last = Timestamp::compose(part(last.physical), part(last.logical));
        assert!(last.0 - 2 > self.newest, "{last} was granted after {}", self.newest);
        self.newest = last.0;
    }

    fn page(&mut self, choices: &mut Choices<'_>) {
        let known = *choices.of(&PAGES);
        let mut target = known.replace('#', if choices.one_in(8) { "18446744073709551616" } else { "1" });
        match choices.below(4) {
            0 => {
                let query: &&str = choices.of(&QUERIES);
                target.push_str(query);
            }
            1 => target.push_str(&String::from_utf8_lossy(&choices.bytes(12))),
            _ => {}
        }
        let body = if choices.one_in(6) { choices.bytes(30).to_vec() } else { json(choices, 0).into_bytes() };
        let method = *choices.of(&["GET", "POST", "DELETE", "PUT", "PATCH", ""]);
        let asked = Asked::new(&mut self.cluster.topology, choices.below(3), self.now);
        let page = self.cluster.pd.http(asked, Request::new(method, &target, &body));
        assert!((100..600).contains(&page.status), "{method} {target} has status {}", page.status);
        let api = *choices.of(&[Api::V1, Api::V1Ttl, Api::V2]);
        assert!((100..600).contains(&store_page(method, &target, api).status));
    }

    fn fault(&mut self, choices: &mut Choices<'_>) {
        let by = Duration::from_millis(choices.any::<u8>().into());
        let action = match choices.below(6) {
            0 => Action::Refuse(Refusal::busy()),
            1 => Action::RefuseAfter(Refusal::EpochNotMatch { siblings: 1 }),
            2 => Action::Delay(by),
            3 => Action::DelayAnswer(by),
            4 => Action::Hold,
            _ => Action::DropAnswer,
        };
        let node = *choices.of(&[Node::AnyStore, Node::AnyPd, Node::Store(1)]);
        let rule = Rule::new(Matcher::any().at(node), action).times(1 + choices.below(3) as u64);
        let id = self.cluster.add_fault(rule);
        if choices.one_in(2) {
            self.cluster.remove_fault(self.now, id);
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(20) {
            0..9 => self.store(choices),
            9..11 => self.frame(choices),
            11..15 => self.pd(choices),
            15 => self.timestamp(),
            16 => self.page(choices),
            17 => {
                let node = *choices.of(&[Node::Pd(0), Node::Store(1), Node::Store(9)]);
                let body = choices.bytes(8);
                self.call(Call::Health { node, body });
                assert!(pd::method(HEALTH_PATH).is_none());
                assert!(!pd::unknown_method(&String::from_utf8_lossy(&choices.bytes(8))).message.is_empty());
            }
            18 if choices.one_in(3) => self.fault(choices),
            _ => {
                self.now = self.now.after(Duration::from_millis(choices.any::<u16>().into()));
                self.cluster.wake(self.now);
            }
        }
        self.check();
    }

    fn check(&mut self) {
        for (_, reply) in self.cluster.take_replies() {
            if let Reply::Store(answer) = reply {
                drop(answer.encode());
            }
        }
        // What watches are told; a stream that failed has ended.
        let cluster = &self.cluster;
        self.watches.retain_mut(|watch| {
            for _ in 0..1000 {
                match cluster.watched(watch) {
                    Some(Reply::Fail(_)) => return false,
                    Some(_) => {}
                    None => return true,
                }
            }
            panic!("a watch is told things for ever: {watch:?}");
        });
        let mut from = Bytes::new();
        let mut regions = self.cluster.topology.regions().peekable();
        while let Some(region) = regions.next() {
            assert_eq!(region.start, from, "a gap or overlap before region {}", region.id);
            assert_eq!(
                region.end.is_empty(),
                regions.peek().is_none(),
                "region {} ends too early or late",
                region.id
            );
            assert!(region.end.is_empty() || region.start < region.end, "region {} holds no key", region.id);
            from = region.end.clone();
        }
    }
}

/// Requests of one input at the most.
const STEPS: usize = 60;

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let addresses = (1..=STORES).map(|n| format!("127.0.0.1:{n}")).collect();
    let mut layout = Layout::new(addresses, 3);
    layout.bounds = vec![key::encode(b"a"), key::encode(b"b")];
    let pd = Pd::new(CLUSTER, members(), 3);
    let now = Now::from_unix(Duration::from_secs(1));
    let mut play = Play { cluster: Cluster::new(layout.build(), pd), now, newest: 0, watches: Vec::new() };
    for _ in 0..STEPS {
        if choices.is_over() {
            break;
        }
        play.step(&mut choices);
    }
    // Time makes what waits for it ready.
    play.now = play.now.after(Duration::from_secs(3600));
    play.cluster.wake(play.now);
    play.check();
}

fn members() -> Vec<Member> {
    (1..3).map(|id| Member::new(id, format!("pd-{id}"), format!("http://127.0.0.1:{}", 2378 + id))).collect()
}
