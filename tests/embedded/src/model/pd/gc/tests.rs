//! The rules of GC states that the recorded scenarios do not reach.

use proptest::prelude::*;
use tikv_proto::{methods::pd as m, pdpb};

use super::super::tests::{World, error_of, header};

fn advance(world: &mut World, target: u64) -> pdpb::AdvanceTxnSafePointResponse {
    let request = pdpb::AdvanceTxnSafePointRequest { header: header(), target, ..Default::default() };
    world.ask(m::ADVANCE_TXN_SAFE_POINT, &request)
}

fn barrier(world: &mut World, id: &str, barrier_ts: u64, ttl_seconds: i64) -> String {
    let request = pdpb::SetGcBarrierRequest {
        header: header(),
        barrier_id: id.into(),
        barrier_ts,
        ttl_seconds,
        ..Default::default()
    };
    error_of(world.ask::<pdpb::SetGcBarrierResponse>(m::SET_GC_BARRIER, &request).header)
}

fn etcd_put(world: &mut World, key: &str, value: &str) {
    world.pd.keys.set_text(key, value.to_owned());
}

#[test]
fn the_transaction_safe_point_is_where_older_clients_read_it() {
    let mut world = World::new();
    assert_eq!(advance(&mut world, 100).new_txn_safe_point, 100);
    let key = b"/tidb/store/gcworker/saved_safe_point";
    assert_eq!(world.pd.keys.value(key), Some("100".into()));
    // And what an older client writes there counts.
    etcd_put(&mut world, "/tidb/store/gcworker/saved_safe_point", "150");
    assert_eq!(advance(&mut world, 160).old_txn_safe_point, 150);
}

#[test]
fn the_start_timestamps_of_tidb_servers_hold_it_back() {
    let mut world = World::new();
    etcd_put(&mut world, "/tidb/server/minstartts/server-b", "70");
    etcd_put(&mut world, "/tidb/server/minstartts/server-a", "90");
    let advanced = advance(&mut world, 100);
    assert_eq!(advanced.new_txn_safe_point, 70);
    assert_eq!(advanced.blocker_description, "TiDBMinStartTS { Key: \"server-b\", MinStartTS: 70 }");
    etcd_put(&mut world, "/tidb/server/minstartts/server-b", "no number");
    assert_eq!(error_of(advance(&mut world, 100).header), "[PD:strconv:ErrStrconvParseUint]parse uint error");
}

#[test]
fn a_barrier_holds_until_it_expires_and_is_described_with_its_end() {
    let mut world = World::new();
    assert_eq!(barrier(&mut world, "b", 50, 10), "");
    let advanced = advance(&mut world, 100);
    let described =
        "GCBarrier { BarrierID: \"b\", BarrierTS: 50, ExpirationTime: \"2023-11-14 22:13:30 +0000 UTC\" }";
    assert_eq!((advanced.new_txn_safe_point, advanced.blocker_description.as_str()), (50, described));
    world.pass(10);
    assert_eq!(advance(&mut world, 100).new_txn_safe_point, 50, "it ends when its time is over, not before");
    world.pass(1);
    assert_eq!(advance(&mut world, 100).new_txn_safe_point, 100);
}

#[test]
fn brs_service_safe_point_holds_all_keyspaces_back() {
    let mut world = World::new();
    let service = pdpb::UpdateServiceGcSafePointRequest {
        header: header(),
        service_id: "native_br".into(),
        ttl: 100,
        safe_point: 40,
    };
    let told: pdpb::UpdateServiceGcSafePointResponse = world.ask(m::UPDATE_SERVICE_GC_SAFE_POINT, &service);
    assert_eq!((told.service_id, told.min_safe_point), ("gc_worker".into(), 0));
    let advanced = advance(&mut world, 100);
    assert_eq!(advanced.new_txn_safe_point, 40);
    assert!(advanced.blocker_description.starts_with("GlobalGCBarrier { BarrierID: \"native_br\""));
    // Too late it is not stored, and no error: the answer tells where the safe point is.
    let late = pdpb::UpdateServiceGcSafePointRequest { safe_point: 30, ..service };
    let told: pdpb::UpdateServiceGcSafePointResponse = world.ask(m::UPDATE_SERVICE_GC_SAFE_POINT, &late);
    assert_eq!(told.min_safe_point, 40);
}

#[test]
fn the_gc_worker_is_told_who_holds_it_back() {
    let mut world = World::new();
    assert_eq!(barrier(&mut world, "cdc", 50, 100), "");
    let worker = pdpb::UpdateServiceGcSafePointRequest {
        header: header(),
        service_id: "gc_worker".into(),
        ttl: i64::MAX,
        safe_point: 80,
    };
    let told: pdpb::UpdateServiceGcSafePointResponse = world.ask(m::UPDATE_SERVICE_GC_SAFE_POINT, &worker);
    assert_eq!((told.service_id, told.min_safe_point), ("cdc".into(), 50));
}

/// What is done to the GC state of a cluster.
#[derive(Clone, Debug)]
enum Act {
    AdvanceTxn(u64),
    AdvanceGc(u64),
    Barrier { id: u8, ts: u64, ttl: i64, global: bool },
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..60_u64).prop_map(Act::AdvanceTxn),
        (0..60_u64).prop_map(Act::AdvanceGc),
        (0..3_u8, 0..60_u64, 1..5_i64, any::<bool>()).prop_map(|(id, ts, ttl, global)| Act::Barrier {
            id,
            ts,
            ttl,
            global
        }),
        (0..4_u64).prop_map(Act::Pass),
    ]
}

proptest! {
    #[test]
    fn safe_points_only_grow_and_never_pass_what_holds_them(acts in prop::collection::vec(act(), 0..40)) {
        let mut world = World::new();
        let (mut txn, mut gc) = (0, 0);
        // Barriers that were set and live, by id and kind, with the second behind which they are over.
        let mut living: std::collections::BTreeMap<(bool, u8), (u64, u64)> = Default::default();
        let mut second = 0;
        for act in acts {
            match act {
                Act::AdvanceTxn(target) => {
                    let told = advance(&mut world, target);
                    if error_of(told.header).is_empty() {
                        prop_assert_eq!(told.old_txn_safe_point, txn);
                        let least = living.values().filter(|(_, end)| second <= *end).map(|(ts, _)| *ts).min();
                        prop_assert_eq!(told.new_txn_safe_point, txn.max(target.min(least.unwrap_or(target))));
                        let held = told.new_txn_safe_point < target;
                        prop_assert!(!held || !told.blocker_description.is_empty());
                        // What is over is forgotten for good, even if the clock should go back.
                        living.retain(|_, (_, end)| second <= *end);
                        txn = told.new_txn_safe_point;
                    } else {
                        prop_assert!(target < txn);
                    }
                }
                Act::AdvanceGc(target) => {
                    let request =
                        pdpb::AdvanceGcSafePointRequest { header: header(), target, ..Default::default() };
                    let told: pdpb::AdvanceGcSafePointResponse = world.ask(m::ADVANCE_GC_SAFE_POINT, &request);
                    let fine = error_of(told.header).is_empty();
                    prop_assert_eq!(fine, target >= gc && target <= txn);
                    gc = if fine { target } else { gc };
                }
                Act::Barrier { id, ts, ttl, global } => {
                    let name = format!("b{id}");
                    let error = if global {
                        let request = pdpb::SetGlobalGcBarrierRequest {
                            header: header(),
                            barrier_id: name,
                            barrier_ts: ts,
                            ttl_seconds: ttl,
                        };
                        error_of(world.ask::<pdpb::SetGlobalGcBarrierResponse>(m::SET_GLOBAL_GC_BARRIER, &request).header)
                    } else {
                        barrier(&mut world, &name, ts, ttl)
                    };
                    prop_assert_eq!(error.is_empty(), ts >= txn);
                    if error.is_empty() {
                        living.insert((global, id), (ts, second + ttl.unsigned_abs()));
                    }
                }
                Act::Pass(seconds) => {
                    second += seconds;
                    world.pass(seconds);
                }
            }
        }
    }
}
