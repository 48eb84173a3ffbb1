//! Transfers between accounts: whatever happens, no money comes or goes.

use std::time::Duration;

use fastrand::Rng;
use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::error::Error;
use tikv_client_core::txn::{TransactOptions, Transaction};
use tikv_client_core::types::{KvPair, Value};
use tikv_embedded::control::{Action, Matcher, Refusal, Rule};

use crate::fixture::{Cluster, client, in_time, sleep, timeout};
use crate::runtimes::{Rt, test_on_each_runtime};

const ACCOUNTS: usize = 100;
const START: i64 = 1_000;

/// A thousand transactions that fight for the same keys take seconds of processor time; other programs may want it, too.
const AGES: Duration = Duration::from_secs(300);

/// Spread over all regions.
fn account(n: usize) -> String {
    format!("{}{n:03}", char::from(b'a' + (n % 26) as u8))
}

fn amount(value: &Value) -> i64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

async fn open(client: &Client) {
    let mut txn = client.begin().await.unwrap();
    for n in 0..ACCOUNTS {
        txn.put(account(n), START.to_string()).unwrap();
    }
    txn.commit().await.unwrap();
}

fn sum(pairs: &[KvPair]) -> i64 {
    assert_eq!(pairs.len(), ACCOUNTS);
    pairs.iter().map(|pair| amount(&pair.value)).sum()
}

/// Moves `money` and counts the transfer at both accounts' mirror keys; returns how often it was run.
async fn transfer(client: &Client, from: usize, to: usize, money: i64) -> Result<u32, Error> {
    let options = TransactOptions::default().deadline(AGES);
    let moved = client.transact_with(options, async move |txn: &mut Transaction| -> Result<(), Error> {
        let (from, to) = (account(from), account(to));
        let (Some(has), Some(gets)) = (txn.get(from.as_str()).await?, txn.get(to.as_str()).await?) else {
            panic!("an account is gone");
        };
        txn.put(from, (amount(&has) - money).to_string())?;
        txn.put(to, (amount(&gets) + money).to_string())
    });
    Ok(moved.await?.attempts)
}

/// The sums that readers see until they are told to stop, at moments of their own.
async fn watch(client: Client, mut over: tokio::sync::watch::Receiver<bool>) -> u32 {
    let mut seen = 0;
    while !*over.borrow_and_update() {
        let snapshot = client.snapshot(client.current_timestamp().await.unwrap());
        let pairs = snapshot.scan(..).batch_size(16).await.unwrap();
        assert_eq!(sum(&pairs), ACCOUNTS as i64 * START, "money came or went");
        seen += 1;
    }
    seen
}

/// `tasks` times `each` transfers at once, with a reader beside them; the sum and each account are right at the end.
async fn run(cluster: &Cluster, tasks: usize, each: usize) {
    let clients = [client(cluster).await, client(cluster).await];
    open(&clients[0]).await;
    let (stop, over) = tokio::sync::watch::channel(false);
    let reader = cluster.rt.spawn(watch(clients[1].clone(), over));
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let client = clients[task % 2].clone();
            cluster.rt.spawn(async move {
                let mut rng = Rng::with_seed(task as u64);
                let mut moved = vec![0; ACCOUNTS];
                for _ in 0..each {
                    let from = rng.usize(..ACCOUNTS);
                    let to = (from + rng.usize(1..ACCOUNTS)) % ACCOUNTS;
                    let money = rng.i64(1..50);
                    transfer(&client, from, to, money).await.unwrap();
                    moved[from] -= money;
                    moved[to] += money;
                }
                moved
            })
        })
        .collect();
    let mut wanted = vec![START; ACCOUNTS];
    for task in running {
        let moved = timeout(AGES, task).await.expect("it hangs").unwrap();
        wanted.iter_mut().zip(moved).for_each(|(account, moved)| *account += moved);
    }
    stop.send(true).unwrap();
    assert!(in_time(reader).await.unwrap() > 0);
    let last = clients[0].snapshot(clients[0].current_timestamp().await.unwrap());
    let mut found: Vec<(String, i64)> = in_time(last.scan(..))
        .await
        .unwrap()
        .into_iter()
        .map(|pair| (String::from_utf8_lossy(pair.key.as_slice()).into_owned(), amount(&pair.value)))
        .collect();
    let mut wanted: Vec<_> = (0..ACCOUNTS).map(account).zip(wanted).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted, "an update was lost");
}

#[apply(test_on_each_runtime)]
async fn a_thousand_concurrent_transactions_on_a_hundred_hot_keys_lose_no_update(rt: Rt) {
    let cluster = rt.txn_cluster();
    // All thousand at once.
    run(&cluster, 1_000, 1).await;
}

#[apply(test_on_each_runtime)]
async fn transfers_go_on_while_regions_split_leaders_move_and_stores_refuse(rt: Rt) {
    let cluster = rt.txn_cluster();
    let faults: Vec<_> = [
        ("KvPrewrite", Action::Refuse(Refusal::NotLeader { leader: None })),
        ("KvPrewrite", Action::RefuseAfter(Refusal::StaleCommand)),
        ("KvCommit", Action::RefuseAfter(Refusal::EpochNotMatch { siblings: 0 })),
        ("KvGet", Action::Refuse(Refusal::RegionNotFound)),
        ("KvScan", Action::Refuse(Refusal::StaleCommand)),
    ]
    .into_iter()
    .map(|(method, action)| cluster.fault(Rule::new(Matcher::method(method), action).skip(20).times(5)))
    .collect();
    let disturbed = async {
        let mut rng = Rng::with_seed(7);
        for _ in 0..40 {
            let key = account(rng.usize(..ACCOUNTS));
            if rng.bool() {
                drop(cluster.split(&key));
            } else {
                let region = cluster.region_of(&key).unwrap();
                drop(cluster.transfer_leader(region, rng.u64(1..=3)));
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(run(&cluster, 16, 20), disturbed);
    assert!(faults.iter().all(|fault| fault.hits() > 0));
}
