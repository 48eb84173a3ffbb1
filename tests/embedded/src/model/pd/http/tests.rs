//! Pages that the recorded scenarios do not reach.

use serde_json::json;

use super::super::tests::World;
use super::*;

#[test]
fn resolved_timestamps_are_told_by_store() {
    let mut world = World::new();
    world.pd.set_min_resolved_ts(1, Some(50));
    world.pd.set_min_resolved_ts(2, Some(u64::MAX));
    let page = world.page("GET", "/pd/api/v1/min-resolved-ts?scope=1,9", "");
    let told = json!({
        "is_real_time": true,
        "min_resolved_ts": 50,
        "persist_interval": "1s",
        "stores_min_resolved_ts": { "1": 50, "9": u64::MAX },
    });
    assert_eq!(page, (200, told));
    let page = world.page("GET", "/pd/api/v1/min-resolved-ts?scope=1,x", "");
    assert_eq!(page, (400, "strconv.ParseUint: parsing \"x\": invalid syntax".into()));
    let of_cluster = world.page("GET", "/pd/api/v1/min-resolved-ts?scope=cluster", "").1;
    assert_eq!(of_cluster["min_resolved_ts"], 50, "a store that has reported none does not count");
}

#[test]
fn a_store_without_regions_is_buried_and_forgotten() {
    let mut world = World::new();
    let empty = world.topology.add_store("127.0.0.1:44".into(), Vec::new());
    let mut delete = |target: &str| world.page("DELETE", target, "").0;
    assert_eq!(delete(&format!("/pd/api/v1/store/{empty}")), 200);
    assert_eq!(delete(&format!("/pd/api/v1/store/{empty}")), 410);
    assert_eq!(delete("/pd/api/v1/store/1"), 200);
    assert_eq!(delete("/pd/api/v1/stores/remove-tombstone"), 200);
    assert_eq!(delete(&format!("/pd/api/v1/store/{empty}")), 404);
    let state = world.page("GET", "/pd/api/v1/store/1", "").1["store"]["state_name"].clone();
    assert_eq!(state, "Offline", "it has the region");
}

#[test]
fn a_silent_store_is_disconnected_after_20_s_and_down_after_half_an_hour() {
    let mut world = World::new();
    world.pd.silence_store(2, world.now);
    let state =
        |world: &mut World| world.page("GET", "/pd/api/v1/store/2", "").1["store"]["state_name"].clone();
    world.pass(20);
    assert_eq!(state(&mut world), "Up");
    world.pass(1);
    assert_eq!(state(&mut world), "Disconnected");
    world.pass(30 * 60);
    assert_eq!(state(&mut world), "Down");
    let region = world.page("GET", "/pd/api/v1/region/id/4", "").1;
    assert_eq!(region["pending_peers"][0]["store_id"], 2);
    assert_eq!(region["down_peers"][0]["down_seconds"], 30 * 60 + 21);
    world.pd.hear_of_store(2);
    assert_eq!(state(&mut world), "Up");
}

#[test]
fn holes_of_the_key_space_are_listed() {
    let mut world = World::new();
    let parts = world.topology.split(4, &["b".into(), "c".into()]).expect("splits");
    assert_eq!(world.page("GET", "/pd/api/v1/regions/range-holes", ""), (200, json!([])));
    world.pd.hide_region(parts[1]);
    assert_eq!(world.page("GET", "/pd/api/v1/regions/range-holes", ""), (200, json!([["62", "63"]])));
    world.pd.hide_region(parts[2]);
    assert_eq!(world.page("GET", "/pd/api/v1/regions/range-holes", ""), (200, json!([["62", ""]])));
}

#[test]
fn regions_are_found_by_key_plain_and_in_hexadecimal() {
    let mut world = World::new();
    world.topology.split(4, &["b".into()]).expect("splits");
    for target in ["key/b%31", "key/6231?format=hex"] {
        let (status, region) = world.page("GET", &format!("/pd/api/v1/region/{target}"), "");
        assert_eq!((status, &region["start_key"]), (200, &json!("62")), "{target}");
    }
    assert_eq!(world.page("GET", "/pd/api/v1/region/key/zz?format=hex", "").0, 400);
    assert_eq!(world.page("GET", "/pd/api/v1/regions/key?key=%00&limit=x", "").0, 400);
    let split = json!({ "split_keys": ["63"] }).to_string();
    assert_eq!(world.page("POST", "/pd/api/v1/regions/split", &split).1["processed-percentage"], 100);
    assert_eq!(world.page("GET", "/pd/api/v1/regions/count", "").1["count"], 3);
}

#[test]
fn placement_rules_are_kept_and_told() {
    let mut world = World::new();
    let (_, rules) = world.page("GET", "/pd/api/v1/config/rules", "");
    assert_eq!(rules[0]["count"], 3);
    let rule = json!({ "group_id": "g", "id": "r", "role": "learner", "count": 1 });
    assert_eq!(world.page("POST", "/pd/api/v1/config/rule", &rule.to_string()).0, 200);
    assert_eq!(world.page("GET", "/pd/api/v1/config/rule/g/r", ""), (200, rule));
    assert_eq!(world.page("GET", "/pd/api/v1/config/placement-rule/g", "").1["rules"][0]["id"], "r");
    let bad = json!({ "group_id": "g", "id": "r", "role": "king" }).to_string();
    assert_eq!(world.page("POST", "/pd/api/v1/config/rule", &bad).0, 400);
    assert_eq!(world.page("DELETE", "/pd/api/v1/config/rule/g/r", "").0, 200);
    assert_eq!(world.page("GET", "/pd/api/v1/config/rule/g/r", "").0, 404);
}

#[test]
fn pds_leader_is_transferred_by_name_and_resigns() {
    let mut world = World::new();
    assert_eq!(world.page("POST", "/pd/api/v1/leader/transfer/pd-2", "").0, 200);
    assert_eq!(world.page("GET", "/pd/api/v1/leader", "").1["name"], "pd-2");
    assert_eq!(world.page("POST", "/pd/api/v1/leader/resign", "").0, 200);
    assert_eq!(world.pd.leader(), Some(0));
    world.pd.member_down(1, world.now);
    assert_eq!(world.page("GET", "/pd/api/v1/health", "").1[1]["health"], false);
    world.page("POST", "/pd/api/v1/leader/resign", "");
    assert_eq!(world.pd.leader(), Some(0), "there is nobody else");
}

#[test]
fn hostile_requests_get_a_page() {
    let mut world = World::new();
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "", "\u{7f}"];
    let paths = [
        "",
        "stores",
        "store/1/state",
        "store/1/label",
        "region/id/%",
        "region/key/%f",
        "regions/keyspace/id/-1",
        "regions/sibling/99",
        "regions/scatter",
        "regions/split",
        "operators",
        "operators/x",
        "config/rule",
        "config/rules",
        "gc/safepoint/x",
        "min-resolved-ts?scope=,",
        "stats/region?format=hex&start_key=1",
        "leader/transfer/x",
    ];
    let bodies: [&[u8]; 6] =
        [b"", b"{", b"[]", b"null", &[0xff, 0xfe], br#"{"regions_id":[-1],"split_keys":[1],"name":1}"#];
    for method in methods {
        for path in paths {
            for version in ["/pd/api/v1/", "/pd/api/v2/keyspaces/"] {
                for body in bodies {
                    let target = format!("{version}{path}");
                    let asked = Asked::new(&mut world.topology, 0, world.now);
                    let page = world.pd.http(asked, Request::new(method, &target, body));
                    assert!((200..600).contains(&page.status), "{method} {target}");
                }
            }
        }
    }
}
