//! What requests carry: it reaches the store, from whoever names it.

use std::time::Duration;

use macro_rules_attribute::apply;
use tikv_client_core::config::Config;
use tikv_client_core::request::options::{DiskFull, Isolation, Origin, Priority};
use tikv_client_core::request::{RequestOptions, RequestSource, TraceFlags, TraceId};
use tikv_client_core::txn::Transaction;
use tikv_embedded::control::{Action, Matcher, Rule, Trait};
use tikv_proto::kvrpcpb::{Context, ResourceControlContext};

use crate::fixture::{Cluster, client, client_with, in_time, write};
use crate::runtimes::{Rt, test_on_each_runtime};

fn everything() -> RequestOptions {
    RequestOptions::new()
        .priority(Priority::High)
        .isolation(Isolation::Rc)
        .source(RequestSource::external("report").task("dumpling"))
        .resource_group("analytics")
        .group_priority(8)
        .resource_group_tag(&b"tag"[..])
        .txn_source(3)
        .not_fill_cache(true)
        .sync_log(true)
        .disk_full(DiskFull::AllowedOnAlmostFull)
        .task_id(11)
        .origin(Origin::TiDb)
        .record_details(true)
        .trace_id(TraceId::new(&b"\x01\x02\x03"[..]))
        .trace_flags(TraceFlags::IMMEDIATE_LOG | TraceFlags::READ_DETAILS)
}

fn in_the_context() -> Context {
    Context {
        priority: Priority::High.into(),
        isolation_level: Isolation::Rc.into(),
        resource_control_context: Some(ResourceControlContext {
            resource_group_name: "analytics".to_owned(),
            override_priority: 8,
            ..Default::default()
        }),
        resource_group_tag: "tag".into(),
        txn_source: 3,
        not_fill_cache: true,
        sync_log: true,
        disk_full_opt: DiskFull::AllowedOnAlmostFull.into(),
        task_id: 11,
        request_origin: Origin::TiDb.into(),
        record_time_stat: true,
        record_scan_stat: true,
        trace_id: vec![1, 2, 3].into(),
        trace_control_flags: 9,
        ..Default::default()
    }
}

/// How many calls of `method` carry what `wanted` has.
fn carrying(cluster: &Cluster, method: &str, wanted: &Context) -> tikv_embedded::Fault {
    cluster.count(Matcher::method(method).saying(Trait::carrying(wanted)))
}

#[apply(test_on_each_runtime)]
async fn every_option_reaches_the_store_in_the_context_of_each_request(rt: Rt) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    let counted = carrying(&cluster, "RawGet", &in_the_context());
    let sourced = cluster
        .count(Matcher::method("RawGet").saying(Trait::Source("leader_external_report_dumpling".to_owned())));
    // A client without options shares everything with one that has some, but not these.
    let with = client.with(&everything());
    in_time(client.raw().get("a")).await.unwrap();
    assert_eq!((counted.hits(), sourced.hits()), (0, 0));
    in_time(with.raw().get("a")).await.unwrap();
    assert_eq!(counted.hits(), 1);
    in_time(client.raw().get("z").with(&everything())).await.unwrap();
    assert_eq!(counted.hits(), 2);
}

#[apply(test_on_each_runtime)]
async fn a_commit_and_its_work_in_the_background_carry_what_the_transaction_names(rt: Rt) {
    let cluster = rt.txn_cluster();
    let client = client(&cluster).await;
    let group = |name: &str| Trait::ResourceGroup(name.to_owned());
    let prewrites = cluster.count(Matcher::method("KvPrewrite").saying(group("writers")));
    let commits = cluster.count(Matcher::method("KvCommit").saying(group("writers")));
    let reads = cluster.count(Matcher::method("KvGet").saying(group("readers")));
    let options = RequestOptions::new().resource_group("readers");
    let mut txn = in_time(client.with(&options).begin()).await.unwrap();
    in_time(txn.get("a")).await.unwrap();
    assert_eq!(reads.hits(), 1);
    txn.set_options(&RequestOptions::new().resource_group("writers"));
    for key in ["a1", "c1", "e1"] {
        txn.put(key, "v").unwrap();
    }
    in_time(txn.commit()).await.unwrap();
    assert_eq!(prewrites.hits(), 3);
    // The primary, then the others in the background.
    in_time(commits.hit(3)).await;
}

#[apply(test_on_each_runtime)]
async fn what_is_named_later_has_the_last_word_and_the_rest_stays(rt: Rt) {
    let cluster = rt.raw_cluster();
    let mut config = Config::default();
    config.requests = RequestOptions::new().resource_group("default").task_id(5).priority(Priority::Low);
    let client = client_with(&cluster, config).await;
    let raw = client.with(&RequestOptions::new().priority(Priority::High)).raw();
    let group = ResourceControlContext { resource_group_name: "own".to_owned(), ..Default::default() };
    let wanted = Context {
        priority: Priority::High.into(),
        task_id: 5,
        resource_control_context: Some(group),
        ..Default::default()
    };
    let counted = carrying(&cluster, "RawGet", &wanted);
    in_time(raw.get("a").with(&RequestOptions::new().resource_group("own"))).await.unwrap();
    assert_eq!(counted.hits(), 1);
}

/// client-go: `txnkv/transaction/txn.go: SetResourceGroupTagger`: asked where no tag is named.
#[apply(test_on_each_runtime)]
async fn a_tag_is_made_of_the_request_unless_one_is_named(rt: Rt) {
    let cluster = rt.txn_cluster();
    let by_command = RequestOptions::new().tag_by(|request| request.command().name().into());
    let client = client(&cluster).await.with(&by_command);
    let tagged = |method: &str, tag: &'static str| {
        carrying(&cluster, method, &Context { resource_group_tag: tag.into(), ..Default::default() })
    };
    let (gets, prewrites) = (tagged("KvGet", "Get"), tagged("KvPrewrite", "Prewrite"));
    let named = tagged("KvGet", "named");
    let done = client.transact(async |txn: &mut Transaction| -> Result<_, tikv_client_core::error::Error> {
        txn.get("a").await?;
        txn.put("a", "v")
    });
    in_time(done).await.unwrap();
    assert_eq!((gets.hits(), prewrites.hits()), (1, 1));
    let snapshot = client.snapshot(in_time(client.current_timestamp()).await.unwrap());
    let own = RequestOptions::new().resource_group_tag("named");
    in_time(snapshot.with(&own).get("a")).await.unwrap();
    assert_eq!((gets.hits(), named.hits()), (1, 1));
}

/// client-go: `tikvrpc/tikvrpc_test.go: TestDefaultRequestOrigin`: one origin for the process, here for the client.
#[apply(test_on_each_runtime)]
async fn every_request_of_a_client_names_its_origin_also_those_that_look_after_locks(rt: Rt) {
    let cluster = rt.txn_cluster();
    let mut config = Config::default();
    config.requests = RequestOptions::new().origin(Origin::TiDb);
    let client = client_with(&cluster, config.clone()).await;
    let wanted = Context { request_origin: Origin::TiDb.into(), ..Default::default() };
    // Of two rules that a call fits, the first counts it.
    let methods = ["KvGet", "KvPrewrite", "KvCheckTxnStatus"];
    let named = methods.map(|method| carrying(&cluster, method, &wanted));
    let others = methods.map(|method| cluster.count(Matcher::method(method)));
    // A commit whose secondaries get lost leaves a lock, which the read looks after.
    let lost = cluster.fault(Rule::new(Matcher::method("KvCommit"), Action::Lose).skip(1));
    write(&client, &["a1", "c1"], "v").await.unwrap();
    in_time(lost.hit(1)).await;
    client.close(Duration::ZERO).await;
    drop(lost);
    let client = client_with(&cluster, config).await;
    let snapshot = client.snapshot(in_time(client.current_timestamp()).await.unwrap());
    assert_eq!(in_time(snapshot.get("c1")).await.unwrap().unwrap(), "v");
    assert!(named.iter().all(|count| count.hits() > 0));
    assert!(others.iter().all(|count| count.hits() == 0));
}
