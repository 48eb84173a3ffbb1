//! Requests that no sane client sends: each is answered, and nothing panics.

use proptest::prelude::*;
use prost::Message;
use tikv_proto::methods::tikv as m;

use super::*;
use crate::model::{Api, Call, Cluster, Command, Layout, Met, Pd, Reply};

/// The methods of a store that take a request of their own.
const METHODS: [&str; 37] = [
    m::KV_GET,
    m::KV_SCAN,
    m::KV_PREWRITE,
    m::KV_COMMIT,
    m::KV_CLEANUP,
    m::KV_BATCH_GET,
    m::KV_BATCH_ROLLBACK,
    m::KV_SCAN_LOCK,
    m::KV_RESOLVE_LOCK,
    m::KV_GC,
    m::KV_DELETE_RANGE,
    m::RAW_GET,
    m::RAW_BATCH_GET,
    m::RAW_PUT,
    m::RAW_BATCH_PUT,
    m::RAW_DELETE,
    m::RAW_BATCH_DELETE,
    m::RAW_SCAN,
    m::RAW_DELETE_RANGE,
    m::RAW_BATCH_SCAN,
    m::RAW_COMPARE_AND_SWAP,
    m::RAW_GET_KEY_TTL,
    m::RAW_CHECKSUM,
    m::COPROCESSOR,
    m::KV_PESSIMISTIC_LOCK,
    m::KV_PESSIMISTIC_ROLLBACK,
    m::KV_CHECK_TXN_STATUS,
    m::KV_TXN_HEART_BEAT,
    m::KV_CHECK_SECONDARY_LOCKS,
    m::KV_FLASHBACK_TO_VERSION,
    m::KV_PREPARE_FLASHBACK_TO_VERSION,
    m::KV_FLUSH,
    m::KV_BUFFER_BATCH_GET,
    m::UNSAFE_DESTROY_RANGE,
    m::MVCC_GET_BY_KEY,
    m::MVCC_GET_BY_START_TS,
    m::SPLIT_REGION,
];

fn cluster(api: Api) -> Cluster {
    let layout = Layout::new(vec!["store:1".to_owned()], 1);
    Cluster::new(layout.build(), Pd::new(7, Vec::new(), 1)).with_api(api)
}

/// A field of the wire's form: its number, and a value of any kind.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let number = 2..25_u32;
    let bytes = prop_oneof![
        Just(Vec::new()),
        Just(b"k".to_vec()),
        Just(b"z".to_vec()),
        Just(b"rk".to_vec()),
        Just(b"xk".to_vec()),
        Just(vec![0xff; 9000]),
        prop::collection::vec(any::<u8>(), 0..20),
        // A message with a key or an operation in it.
        (0..12_u8, prop::collection::vec(any::<u8>(), 0..6)).prop_map(|(op, key)| {
            let mut inner = vec![0x08, op, 0x12, u8::try_from(key.len()).unwrap()];
            inner.extend(key);
            inner
        }),
    ];
    let integer = prop_oneof![Just(0), Just(1), Just(10), Just(50), Just(u64::MAX), any::<u64>(), 0..100_u64];
    (number, prop_oneof![bytes.prop_map(Ok), integer.prop_map(Err)]).prop_map(|(number, value)| {
        let mut field = Vec::new();
        match value {
            Ok(bytes) => prost::encoding::bytes::encode(number, &bytes, &mut field),
            Err(integer) => prost::encoding::uint64::encode(number, &integer, &mut field),
        }
        field
    })
}

/// The right context, or one with a part that is wrong.
fn context(cluster: &Cluster, wrong: u8, version: i32) -> Vec<u8> {
    let region = cluster.topology.regions().next().unwrap();
    let leader = region.leader_peer().unwrap();
    let mut context = Context {
        region_id: region.id,
        region_epoch: Some(metapb::RegionEpoch { conf_ver: region.conf_ver, version: region.version }),
        peer: Some(metapb::Peer { id: leader.id, store_id: leader.store, ..Default::default() }),
        api_version: version,
        ..Default::default()
    };
    match wrong {
        0 => context.region_id = 0,
        1 => context.region_epoch = None,
        2 => context.peer = None,
        3 => context.term = u64::MAX,
        4 => context.api_version = 77,
        5 => context.stale_read = true,
        6 => context.replica_read = true,
        _ => {}
    }
    let mut field = Vec::new();
    prost::encoding::message::encode(1, &context, &mut field);
    field
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever bytes a call has, it is replied, at once or when its wait is over.
    #[test]
    fn every_request_is_answered(
        calls in prop::collection::vec(
            (prop::sample::select(&METHODS[..]), 0..40_u8, prop::collection::vec(field(), 0..8)),
            1..12,
        ),
        api in prop_oneof![Just((Api::V1, 0)), Just((Api::V1Ttl, 0)), Just((Api::V2, 2))],
        cut in prop::option::weighted(0.1, 0..40_usize),
    ) {
        let (api, version) = api;
        let mut cluster = cluster(api);
        let mut now = Now::from_unix(std::time::Duration::from_secs(1_000_000));
        for (path, wrong, fields) in calls {
            let mut body = context(&cluster, wrong, version);
            body.extend(fields.concat());
            body.truncate(cut.unwrap_or(usize::MAX));
            let Ok(command) = Command::decode(path, body.into()) else { continue };
            let met = cluster.call(now, Call::Store { store: 1, command: Box::new(command) });
            let reply = match met {
                Met::Now(reply) => reply,
                Met::Later(token) => {
                    while let Some(at) = cluster.next_wake() {
                        now = now.max(at);
                        cluster.wake(now);
                    }
                    let mut replies = cluster.take_replies().into_iter();
                    replies.find(|(of, _)| *of == token).expect("its wait ends").1
                }
            };
            prop_assert!(matches!(reply, Reply::Store(_) | Reply::Fail(_)), "{reply:?}");
            if let Reply::Store(answer) = reply {
                drop(answer.encode());
            }
        }
    }
}

#[test]
fn an_upside_down_range_is_empty_or_refused() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("b", "v")]);
    let context = bench.context(b"b");
    let scan = ScanRequest {
        context: context.clone(),
        start_key: owned("z"),
        end_key: owned("a"),
        limit: 9,
        version: 30,
        ..Default::default()
    };
    assert_eq!(ask!(bench, Scan, scan).pairs, []);
    let delete = DeleteRangeRequest {
        context: context.clone(),
        start_key: owned("z"),
        end_key: owned("a"),
        ..Default::default()
    };
    assert!(ask!(bench, DeleteRange, delete).region_error.unwrap().message.contains("invalid delete range"));
    let scan = ScanLockRequest {
        context,
        max_version: 30,
        start_key: owned("z"),
        end_key: owned("a"),
        ..Default::default()
    };
    assert_eq!(ask!(bench, ScanLock, scan).locks, []);
    assert_eq!(bench.value("b", 30), Some(owned("v")));
}

#[test]
fn an_oversized_key_is_named_and_nothing_written() {
    let mut bench = Bench::new();
    let long = "k".repeat(9000);
    let errors = [
        bench.prewrite(10, &[put("a", "v"), put(&long, "v")]).errors,
        {
            let request = pessimistic::request(&bench, 10, &[&long]);
            ask!(bench, PessimisticLock, request).errors
        },
        {
            let mutations = vec![put("a", "v"), put(&long, "v")];
            let request = FlushRequest {
                context: bench.context(b"a"),
                mutations,
                start_ts: 10,
                generation: 1,
                ..Default::default()
            };
            ask!(bench, Flush, request).errors
        },
    ];
    for errors in errors {
        assert!(errors[0].abort.contains("KeyTooLarge"), "{errors:?}");
    }
    assert_eq!(bench.stored("a"), "");
}

#[test]
fn a_write_longer_than_an_entry_of_the_log_is_refused_where_it_would_be_served() {
    let (fresh, mut cluster) = (cluster(Api::V1), cluster(Api::V1));
    cluster.topology.conditions.set_entry_limit(100);
    let mut prewrite = |context: Vec<u8>| {
        let mut body = context;
        let mutations = vec![put("k", &"v".repeat(200))];
        PrewriteRequest { mutations, start_version: 10, ..Default::default() }.encode(&mut body).unwrap();
        let command = Box::new(Command::decode(m::KV_PREWRITE, body.into()).unwrap());
        let met = cluster.call(Now::default(), Call::Store { store: 1, command });
        let Met::Now(Reply::Store(answer)) = met else { panic!("{met:?}") };
        PrewriteResponse::decode(answer.encode()).unwrap().region_error.unwrap()
    };
    assert!(prewrite(context(&fresh, 9, 0)).raft_entry_too_large.unwrap().entry_size > 200);
    assert!(prewrite(context(&fresh, 1, 0)).epoch_not_match.is_some());
}
