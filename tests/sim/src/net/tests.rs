//! The network alone, with one store and one PD behind it.

use std::future::poll_fn;

use prost::Message;
use tikv_client_core::client::{Channel, ConnectOptions, Runtime};
use tikv_client_core::machine::Metadata;
use tikv_embedded::control::{Action, Matcher, Rule};
use tikv_embedded::model::{Layout, Member, Pd};
use tikv_proto::methods::{meta_storage, pd, tikv};
use tikv_proto::{kvrpcpb, meta_storagepb, pdpb};

use super::*;

const PD: &str = "pd:1";
const STORE: &str = "store:1";
const CLIENT: Group = 1;

struct World {
    executor: Executor,
    net: Net,
    runtime: Arc<SimRuntime>,
}

fn world(weather: Weather) -> World {
    let digest = Digest::default();
    let executor = Executor::new(None, digest.clone());
    let topology = Layout::new(vec![STORE.to_owned()], 1).build();
    let cluster = Cluster::new(topology, Pd::new(7, vec![Member::new(1, "pd", "http://pd:1")], 1));
    let addresses = BTreeMap::from([(PD.to_owned(), Node::Pd(0)), (STORE.to_owned(), Node::Store(1))]);
    let ends = (digest, Tally::default(), Verdict::default());
    let net = Net::new(executor.clone(), ends, cluster, addresses, weather, Rng::with_seed(3));
    let runtime = SimRuntime::new(executor.clone(), net.clone(), CLIENT, Arc::default());
    World { executor, net, runtime: Arc::new(runtime) }
}

impl World {
    fn run<T: Send + 'static>(&self, test: impl Future<Output = T> + Send + 'static) -> T {
        self.executor.run(test, u64::MAX, || false).expect("it comes to its end")
    }

    async fn connect(runtime: &SimRuntime, to: &str) -> Result<Box<dyn Channel>, TransportClass> {
        runtime.connect(to.into(), &ConnectOptions::default()).await.map_err(|fault| fault.class)
    }
}

fn tso(count: u32) -> Bytes {
    let header = pdpb::RequestHeader { cluster_id: 7, ..Default::default() };
    pdpb::TsoRequest { header: Some(header), count, ..Default::default() }.encode_to_vec().into()
}

fn put(value: &'static str) -> Bytes {
    let context = kvrpcpb::Context { region_id: 2, ..Default::default() };
    let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(value.as_bytes()));
    let message = kvrpcpb::RawPutRequest { context: Some(context), key, value, ..Default::default() };
    message.encode_to_vec().into()
}

#[test]
fn a_stream_that_watches_is_told_what_changes_until_its_connection_breaks() {
    let world = world(Weather::calm());
    let (runtime, net) = (Arc::clone(&world.runtime), world.net.clone());
    world.run(async move {
        let channel = World::connect(&runtime, PD).await.expect("it listens");
        let put = |value: &'static str| {
            let header = Some(meta_storagepb::RequestHeader::default());
            let (key, value) = (Bytes::from_static(b"watched"), Bytes::from_static(value.as_bytes()));
            meta_storagepb::PutRequest { header, key, value, ..Default::default() }.encode_to_vec().into()
        };
        let mut stream = channel.stream(meta_storage::WATCH, &Metadata::new());
        let watch =
            meta_storagepb::WatchRequest { key: Bytes::from_static(b"watched"), ..Default::default() };
        poll_fn(|cx| stream.poll_ready(cx)).await.expect("room");
        stream.send(watch.encode_to_vec().into());
        runtime.sleep_until(tikv_client_core::types::Instant(1_000_000_000)).await;
        for value in ["a", "b"] {
            channel.unary(meta_storage::PUT, &Metadata::new(), put(value)).await.expect("an answer");
        }
        let mut told = Vec::new();
        while told.len() < 2 {
            let answer = poll_fn(|cx| stream.poll_next(cx)).await.expect("it goes on").expect("it goes on");
            let answer = meta_storagepb::WatchResponse::decode(answer).expect("its type");
            told.extend(answer.events.into_iter().filter_map(|event| Some(event.kv?.value)));
        }
        assert_eq!(told, ["a", "b"]);
        net.disconnect(None, Node::Pd(0));
        assert!(poll_fn(|cx| stream.poll_next(cx)).await.is_none_or(|end| end.is_err()));
    });
}

#[test]
fn a_stream_keeps_its_order_and_loses_nothing_whatever_is_sent_again() {
    let mut weather = Weather::calm();
    weather.resent_per_mille = 300;
    weather.trip.1 = Duration::from_millis(50);
    let world = world(weather);
    let runtime = Arc::clone(&world.runtime);
    let counts = world.run(async move {
        let channel = World::connect(&runtime, PD).await.expect("it is there");
        let mut stream = channel.stream(pd::TSO, &Metadata::new());
        for count in 1..=50 {
            poll_fn(|cx| stream.poll_ready(cx)).await.expect("open");
            stream.send(tso(count));
        }
        let mut counts = Vec::new();
        for _ in 1..=50 {
            let answer = poll_fn(|cx| stream.poll_next(cx)).await.expect("not over").expect("an answer");
            counts.push(pdpb::TsoResponse::decode(answer).expect("an answer").count);
        }
        counts
    });
    assert_eq!(counts, (1..=50).collect::<Vec<u32>>());
}

#[test]
fn behind_a_cut_messages_wait_and_arrive_when_it_heals() {
    let world = world(Weather::calm());
    let (runtime, net, executor) = (Arc::clone(&world.runtime), world.net.clone(), world.executor.clone());
    let second = 1_000_000_000;
    let (silent, came) = world.run(async move {
        let channel = World::connect(&runtime, PD).await.expect("it is there");
        net.cut(CLIENT, Node::Pd(0));
        let call = channel.unary(pd::GET_MEMBERS, &Metadata::new(), Bytes::new());
        let dialled = executor.now();
        let silent = World::connect(&runtime, PD).await.expect_err("cut off");
        let waited = executor.now() - dialled;
        // Before the keepalive of the connection finds out.
        net.heal(CLIENT, Node::Pd(0));
        let came = call.await;
        ((silent, waited), came.is_ok() || matches!(came, Err(fault) if fault.class == TransportClass::Lost))
    });
    assert_eq!(silent.0, TransportClass::Unreachable);
    assert_eq!(silent.1, 5 * second, "a dial into a cut takes its whole time");
    assert!(came, "answered, or lost to the keepalive, but not hanging");
}

#[test]
fn a_broken_connection_loses_what_waits_and_another_can_be_made() {
    let world = world(Weather::calm());
    let (runtime, net) = (Arc::clone(&world.runtime), world.net.clone());
    net.with(|state, _| state.cluster.add_fault(Rule::new(Matcher::method("RawPut"), Action::Lose).times(1)));
    let ends = world.run(async move {
        let channel = World::connect(&runtime, STORE).await.expect("it is there");
        let lost = channel.unary(tikv::RAW_PUT, &Metadata::new(), put("a"));
        runtime.sleep_until(tikv_client_core::types::Instant(50_000_000)).await;
        net.disconnect(None, Node::Store(1));
        let lost = lost.await.map_err(|fault| fault.class);
        let unsent =
            channel.unary(tikv::RAW_PUT, &Metadata::new(), put("b")).await.map_err(|fault| fault.class);
        let again = World::connect(&runtime, STORE).await.expect("it is there still");
        (lost, unsent, again.unary(tikv::RAW_PUT, &Metadata::new(), put("c")).await.is_ok())
    });
    assert_eq!(ends, (Err(TransportClass::Lost), Err(TransportClass::Unreachable), true));
}

#[test]
fn a_server_that_stopped_refuses_dials_or_is_silent_until_it_starts() {
    let world = world(Weather::calm());
    let (runtime, net, executor) = (Arc::clone(&world.runtime), world.net.clone(), world.executor.clone());
    world.run(async move {
        for (absence, at_least) in [(Absence::Refuses, 0), (Absence::Silent, 5_000_000_000)] {
            net.stop(Node::Store(1), absence);
            let begun = executor.now();
            let refused = World::connect(&runtime, STORE).await.expect_err("stopped");
            let took = executor.now() - begun;
            assert_eq!(refused, TransportClass::Unreachable);
            assert!(took >= at_least && took < at_least + 10_000_000, "{absence:?} took {took}");
            net.start(Node::Store(1));
            World::connect(&runtime, STORE).await.expect("started");
        }
    });
}
