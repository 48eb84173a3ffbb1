//! Random histories: whatever regions do meanwhile, the client answers as a map does.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use macro_rules_attribute::apply;
use tikv_client_core::raw::RawClient;
use tikv_client_core::types::{Key, KeyRange, KvPair};

use crate::fixture::{Cluster, client, in_time};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Few enough keys that operations meet.
fn key(rng: &mut Rng) -> Key {
    let length = rng.usize(1..=3);
    let letters = b"abcdefghkmptz\0\xff";
    (0..length).map(|_| letters[rng.usize(..letters.len())]).collect::<Vec<u8>>().into()
}

fn value(rng: &mut Rng) -> Bytes {
    (0..rng.usize(..20)).map(|_| rng.u8(..)).collect()
}

fn range(rng: &mut Rng) -> KeyRange {
    let bound = |rng: &mut Rng| if rng.u8(..8) == 0 { Key::EMPTY } else { key(rng) };
    KeyRange { start: bound(rng), end: bound(rng) }
}

#[derive(Default)]
struct Model(BTreeMap<Key, Bytes>);

impl Model {
    fn within(&self, range: &KeyRange) -> Vec<KvPair> {
        let inside = self.0.iter().filter(|(key, _)| range.contains(key.as_slice()) && !range.is_empty());
        inside.map(|(key, value)| KvPair { key: key.clone(), value: value.clone() }).collect()
    }
}

async fn step(rng: &mut Rng, raw: &RawClient, model: &mut Model) {
    match rng.u8(..10) {
        0 | 1 => {
            let (key, value) = (key(rng), value(rng));
            raw.put(&key, value.clone()).await.unwrap();
            model.0.insert(key, value);
        }
        2 => {
            let key = key(rng);
            raw.delete(&key).await.unwrap();
            model.0.remove(&key);
        }
        3 => {
            let key = key(rng);
            assert_eq!(raw.get(&key).await.unwrap().as_ref(), model.0.get(&key), "{key:?}");
        }
        4 | 5 => {
            let pairs: Vec<(Key, Bytes)> = (0..rng.usize(..30)).map(|_| (key(rng), value(rng))).collect();
            raw.batch_put(pairs.clone()).await.unwrap();
            model.0.extend(pairs);
        }
        6 => {
            let keys: Vec<Key> = (0..rng.usize(..10)).map(|_| key(rng)).collect();
            raw.batch_delete(&keys).await.unwrap();
            model.0.retain(|key, _| !keys.contains(key));
        }
        7 => {
            let keys: Vec<Key> = (0..rng.usize(..30)).map(|_| key(rng)).collect();
            let wanted: Vec<_> = keys.iter().map(|key| model.0.get(key).cloned()).collect();
            assert_eq!(raw.batch_get(&keys).await.unwrap(), wanted, "{keys:?}");
        }
        8 => {
            let (range, limit) = (range(rng), rng.usize(..60));
            let mut wanted = model.within(&range);
            let mut scan = raw.scan(&range, limit);
            if rng.bool() {
                wanted.reverse();
                scan = scan.reverse();
            }
            wanted.truncate(limit);
            assert_eq!(scan.await.unwrap(), wanted, "{range:?} {limit}");
        }
        _ => {
            // Seldom a wide one, or the map is empty most of the time.
            let start = key(rng);
            let range = if rng.u8(..8) == 0 { range(rng) } else { KeyRange::prefix(start) };
            raw.delete_range(&range).await.unwrap();
            model.0.retain(|key, _| range.is_empty() || !range.contains(key.as_slice()));
        }
    }
}

/// Splits a region or moves a leader; a bound that is there already or a store without a peer changes nothing.
fn disturb(rng: &mut Rng, cluster: &Cluster) {
    let key = key(rng);
    if rng.u8(..4) == 0 {
        drop(cluster.split_raw(&key));
    } else {
        let region = cluster.region_of_raw(&key).unwrap();
        drop(cluster.transfer_leader(region, rng.u64(1..=3)));
    }
}

async fn history(rt: &Rt, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let mut model = Model::default();
    for _ in 0..300 {
        if rng.u8(..4) == 0 {
            disturb(&mut rng, &cluster);
        }
        in_time(step(&mut rng, &raw, &mut model)).await;
    }
    assert_eq!(raw.scan(.., usize::MAX).await.unwrap(), model.within(&KeyRange::ALL));
}

#[apply(test_on_each_runtime)]
async fn random_histories_equal_a_map_while_regions_split_and_leaders_move(rt: Rt) {
    for seed in 0..6 {
        history(&rt, seed).await;
    }
}
