//! Random histories of transactions: whatever regions do meanwhile, they answer as a map with a copy for each transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::txn::Transaction;
use tikv_client_core::types::{Key, KeyRange, KvPair, Timestamp};

use crate::fixture::{Cluster, client, in_time};
use crate::runtimes::{Rt, test_on_each_runtime};

type Map = BTreeMap<Key, Bytes>;

fn key(rng: &mut Rng) -> Key {
    let letters = b"abcdefghkmptz\0\xff";
    (0..rng.usize(1..=2)).map(|_| letters[rng.usize(..letters.len())]).collect::<Vec<u8>>().into()
}

fn value(rng: &mut Rng) -> Bytes {
    (0..rng.usize(1..20)).map(|_| rng.u8(..)).collect()
}

fn within(map: &Map, range: &KeyRange) -> Vec<KvPair> {
    let inside = map.iter().filter(|(key, _)| range.contains(key.as_slice()));
    inside.map(|(key, value)| KvPair { key: key.clone(), value: value.clone() }).collect()
}

async fn step(rng: &mut Rng, txn: &mut Transaction, view: &mut Map) {
    match rng.u8(..8) {
        0..=2 => {
            let (key, value) = (key(rng), value(rng));
            txn.put(&key, value.clone()).unwrap();
            view.insert(key, value);
        }
        3 | 4 => {
            let key = key(rng);
            txn.delete(&key).unwrap();
            view.remove(&key);
        }
        5 => {
            let key = key(rng);
            assert_eq!(txn.get(&key).await.unwrap().as_ref(), view.get(&key), "{key:?}");
        }
        6 => {
            let keys: Vec<Key> = (0..rng.usize(..20)).map(|_| key(rng)).collect();
            let wanted: Vec<KvPair> =
                within(view, &KeyRange::ALL).into_iter().filter(|pair| keys.contains(&pair.key)).collect();
            assert_eq!(txn.batch_get(&keys).await.unwrap(), wanted, "{keys:?}");
        }
        _ => {
            let bound = |rng: &mut Rng| if rng.u8(..6) == 0 { Key::EMPTY } else { key(rng) };
            let range = KeyRange { start: bound(rng), end: bound(rng) };
            let limit = rng.usize(1..40);
            let mut scan = txn.scan(&range).limit(limit).batch_size(rng.u32(1..20));
            let mut wanted = if range.is_empty() { Vec::new() } else { within(view, &range) };
            if rng.bool() {
                scan = scan.reverse();
                wanted.reverse();
            }
            wanted.truncate(limit);
            assert_eq!(scan.await.unwrap(), wanted, "{range:?} {limit}");
        }
    }
}

/// Splits a region or moves a leader; what cannot be done changes nothing.
fn disturb(rng: &mut Rng, cluster: &Cluster) {
    let key = key(rng);
    if rng.u8(..4) == 0 {
        drop(cluster.split(&key));
    } else {
        let region = cluster.region_of(&key).unwrap();
        drop(cluster.transfer_leader(region, rng.u64(1..=3)));
    }
}

async fn history(seed: u64, cluster: &Cluster, client: &Client) {
    let mut rng = Rng::with_seed(seed);
    let mut map = Map::new();
    let mut versions: Vec<(Timestamp, Map)> = Vec::new();
    for _ in 0..40 {
        let mut txn = client.begin().await.unwrap();
        let mut view = map.clone();
        for _ in 0..rng.usize(..15) {
            if rng.u8(..6) == 0 {
                disturb(&mut rng, cluster);
            }
            in_time(step(&mut rng, &mut txn, &mut view)).await;
        }
        if rng.u8(..5) == 0 {
            txn.rollback().await.unwrap();
        } else {
            let commit_ts = in_time(txn.commit()).await.unwrap().commit_ts;
            map = view;
            versions.push((commit_ts, map.clone()));
        }
    }
    for (ts, map) in versions {
        let snapshot = client.snapshot(ts);
        assert_eq!(in_time(snapshot.scan(..)).await.unwrap(), within(&map, &KeyRange::ALL), "at {ts}");
    }
}

#[apply(test_on_each_runtime)]
async fn random_histories_equal_a_map_of_versions_while_regions_split_and_leaders_move(rt: Rt) {
    for seed in 0..5 {
        let cluster = rt.txn_cluster();
        let client = client(&cluster).await;
        history(seed, &cluster, &client).await;
    }
}
