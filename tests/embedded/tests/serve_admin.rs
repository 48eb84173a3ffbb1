//! What another process does to a cluster through the admin port, and sees of it.

#![cfg(feature = "serve")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::*;
use tikv_embedded::control::Node;
use tikv_embedded::{Admin, Cluster};
use tikv_proto::{kvrpcpb, methods};

/// One HTTP exchange: the status and the body.
fn http(admin: SocketAddr, method: &str, target: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).expect("it listens");
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.trim_end().to_owned())
}

fn told(admin: SocketAddr, instructions: &str) -> String {
    let (status, body) = http(admin, "POST", "/", instructions);
    assert_eq!(status, 200, "{body}");
    body
}

fn state(admin: SocketAddr) -> serde_json::Value {
    let (status, body) = http(admin, "GET", "/", "");
    assert_eq!(status, 200);
    serde_json::from_str(&body).expect("JSON")
}

fn start(stores: usize) -> (Arc<Cluster>, Admin) {
    let cluster = Arc::new(Cluster::builder().stores(stores).start().wait().expect("it starts"));
    let admin = Admin::start(Arc::clone(&cluster), 0).expect("a port");
    (cluster, admin)
}

#[test]
fn instructions_change_what_the_state_tells() {
    let (cluster, admin) = start(3);
    let admin = admin.address();
    assert_eq!(
        told(admin, "split key=m\n\n# a comment\ntransfer-leader key=z store=2\nstop node=store:3"),
        {
            let parts =
                cluster.cluster(|cluster, _| cluster.topology.regions().map(|at| at.id).collect::<Vec<_>>());
            format!(r#"[{{"regions":{parts:?}}},{{}},{{}}]"#).replace(' ', "")
        }
    );
    assert_eq!(cluster.leader_of(cluster.region_of("z").expect("covered")), Some(2));
    let state = state(admin);
    let words = |of: &str, field: &str| -> Vec<String> {
        state[of].as_array().expect("a list").iter().map(|at| at[field].to_string()).collect()
    };
    assert_eq!(words("stores", "reach"), [r#""serving""#, r#""serving""#, r#""stopped""#]);
    assert_eq!(words("stores", "leaders"), ["1", "1", "0"]);
    assert_eq!(words("regions", "leader"), ["1", "2"]);
    assert_eq!(words("regions", "version"), ["2", "2"]);
    assert_eq!(state["pd"][0]["leads"], true);
}

/// Each example of the help, one after the other: none is misread, and all are done but those about a region or a hit that
/// there is not.
#[test]
fn every_instruction_can_be_given() {
    let (_cluster, admin) = start(4);
    let admin = admin.address();
    let (status, help) = http(admin, "GET", "/help", "");
    assert_eq!(status, 200);
    let mut not_done = Vec::new();
    for line in help.lines().filter(|line| !line.starts_with('#')) {
        let (status, body) = http(admin, "POST", "/", &line.replace("within=5s", "within=1ms"));
        assert!(status == 200 || status == 409, "{line}: {status} {body}");
        if status == 409 {
            not_done.push(line.to_owned());
        }
    }
    let those = [
        "drop-leader region=4",
        "merge region=4 into=8",
        "wait lost hits=1 within=5s",
        // The region has a peer there, until it is moved.
        "add-peer key=a store=3 role=learner",
        "remove-peer key=a store=3",
    ];
    let unexpected: Vec<_> = not_done.iter().filter(|line| !those.contains(&line.as_str())).collect();
    assert_eq!(unexpected, Vec::<&String>::new());
}

#[test]
fn a_line_that_cannot_be_read_leaves_everything_as_it_is() {
    let (cluster, admin) = start(1);
    let (status, body) = http(admin.address(), "POST", "/", "split key=m\nsplit quay=z");
    assert_eq!(
        (status, body.as_str()),
        (400, r#"{"done":[],"error":"region, key or raw is missing","line":2}"#)
    );
    assert_eq!(cluster.state().regions.len(), 1);
}

#[test]
fn an_instruction_that_fails_ends_the_list_and_tells_why() {
    let (cluster, admin) = start(1);
    let (status, body) = http(admin.address(), "POST", "/", "split key=m\nstop node=store:9\nsplit key=z");
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("could not change Store(9)") && body.contains(r#""line":2"#), "{body}");
    assert_eq!(cluster.state().regions.len(), 2);
    let (status, body) = http(admin.address(), "POST", "/", "end nothing");
    assert_eq!((status, body.contains(r#"no fault \"nothing\""#)), (409, true), "{body}");
}

#[test]
fn a_fault_acts_until_it_is_ended_and_can_be_waited_for() {
    let (cluster, admin) = start(1);
    let admin = admin.address();
    told(admin, "fault busy on=RawPut do=refuse:server-is-busy every=2");
    let waiter = std::thread::spawn(move || told(admin, "wait busy hits=2 within=10s"));
    let refused: Vec<bool> = block_on(async {
        let store = leader(&cluster, "k").await;
        let mut refused = Vec::new();
        for _ in 0..4 {
            let answer: kvrpcpb::RawPutResponse =
                store.call(methods::tikv::RAW_PUT, &put(&cluster, "k", "v")).await.expect("an answer");
            refused.push(answer.region_error.is_some());
        }
        refused
    });
    assert_eq!(refused, [true, false, true, false]);
    assert_eq!(waiter.join().expect("it was hit"), r#"[{"hits":2}]"#);
    assert_eq!(state(admin)["faults"]["busy"], 2);
    assert_eq!(state(admin)["stores"][0]["calls"]["RawPut"], 4);
    assert_eq!(told(admin, "end busy"), r#"[{"hits":2}]"#);
    let begin = Instant::now();
    told(admin, "fault never on=KvGet do=lose");
    let (status, body) = http(admin, "POST", "/", "wait never hits=1 within=30ms");
    assert_eq!((status, body.contains("has acted 0 times")), (409, true), "{body}");
    assert!(begin.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_new_store_serves_and_pd_tells_of_it() {
    let (cluster, admin) = start(1);
    let outcomes: serde_json::Value =
        serde_json::from_str(&told(admin.address(), "add-store labels=zone:z2")).expect("JSON");
    let id = outcomes[0]["store"].as_u64().expect("an id");
    told(admin.address(), &format!("add-peer key=k store={id} role=learner"));
    block_on(async {
        Client::dial(&cluster, Node::Store(id)).await.expect("it listens");
    });
    let stores = state(admin.address())["stores"].clone();
    assert_eq!(stores[1]["labels"]["zone"], "z2");
    assert_eq!(stores[1]["address"], cluster.address(Node::Store(id)).expect("a store").to_string());
    assert_eq!(stores[1]["peers"], 1);
}

#[test]
fn a_partitioned_store_hears_nothing_until_it_is_healed() {
    let (cluster, admin) = start(1);
    let admin = admin.address();
    block_on(async {
        let store = leader(&cluster, "k").await;
        let ask = put(&cluster, "k", "v");
        told(admin, "partition node=store:1");
        assert_eq!(state(admin)["stores"][0]["reach"], "partitioned");
        let call = store.call::<kvrpcpb::RawPutResponse>(methods::tikv::RAW_PUT, &ask);
        let mut call = std::pin::pin!(call);
        let hung = tokio::time::timeout(Duration::from_millis(100), &mut call).await;
        assert!(hung.is_err(), "{hung:?}");
        assert_eq!(state(admin)["stores"][0]["calls"]["RawPut"], serde_json::Value::Null, "not even heard");
        told(admin, "heal node=store:1");
        assert_eq!(call.await, Ok(kvrpcpb::RawPutResponse::default()), "the connection has survived");
    });
}

#[test]
fn a_slow_store_is_slow_until_told_off() {
    let (cluster, admin) = start(1);
    let admin = admin.address();
    block_on(async {
        told(admin, "slow store=1 by=120ms");
        let begin = Instant::now();
        assert_eq!(read(&cluster, "k").await, None);
        assert!(begin.elapsed() >= Duration::from_millis(120), "{:?}", begin.elapsed());
        told(admin, "slow store=1 by=off");
        assert_eq!(state(admin)["faults"], serde_json::json!({}));
    });
}

#[test]
fn help_and_mistakes_are_answered() {
    let (_cluster, admin) = start(1);
    let admin = admin.address();
    let (status, help) = http(admin, "GET", "/help", "");
    assert!(status == 200 && help.contains("transfer-leader"), "{help}");
    assert_eq!(http(admin, "GET", "/nothing", "").0, 404);
    assert_eq!(http(admin, "DELETE", "/", "").0, 405);
}

#[test]
fn a_dropped_admin_port_is_closed() {
    let (_cluster, admin) = start(1);
    let address = admin.address();
    drop(admin);
    assert!(TcpStream::connect(address).is_err());
}
