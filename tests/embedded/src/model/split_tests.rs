//! Laws of changing topologies.

use super::*;

fn three_stores() -> Topology {
    let addresses: Vec<String> = (1..=3).map(|n| format!("127.0.0.1:{n}")).collect();
    Topology::new(&addresses, 3)
}

fn keys(keys: &[&'static str]) -> Vec<Bytes> {
    keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect()
}

/// The regions as text, one a line; also checks that they cover every key once.
fn layout(topology: &Topology) -> Vec<String> {
    let mut at = Bytes::new();
    let mut lines = Vec::new();
    let regions: Vec<&Region> = topology.regions().collect();
    for (i, region) in regions.iter().enumerate() {
        assert_eq!(region.start, at, "gap or overlap before region {}", region.id);
        assert_eq!(region.end.is_empty(), i + 1 == regions.len(), "region {}", region.id);
        at = region.end.clone();
        let (start, end) = (region.start.escape_ascii(), region.end.escape_ascii());
        lines.push(format!("{} [{start},{end}) {}/{}", region.id, region.version, region.conf_ver));
    }
    lines
}

#[test]
fn a_split_leaves_the_right_part_its_id() {
    let mut topology = three_stores();
    let id = topology.region_at(b"x").expect("covered").id;
    assert_eq!(id, 4);
    let old_peers = topology.region(id).expect("there").peers.clone();
    let parts = topology.split(id, &keys(&["p", "g", "p"])).expect("inside");
    assert_eq!(layout(&topology), ["8 [,g) 3/1", "12 [g,p) 3/1", "4 [p,) 3/1"]);
    assert_eq!(parts, [8, 12, 4]);
    assert_eq!(topology.region(id).expect("there").peers, old_peers);
    let new = topology.region(8).expect("there");
    assert_eq!(new.peers.iter().map(|peer| peer.store).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(new.led_by(1), "the new part is led from the store of the old one");
    assert!(new.peers.iter().all(|peer| old_peers.iter().all(|old| old.id != peer.id)));
}

#[test]
fn a_refused_split_changes_nothing() {
    let mut topology = three_stores();
    topology.split(4, &keys(&["m"])).expect("inside");
    let before = layout(&topology);
    let outside = TopologyError::KeyOutside { region: 4, key: "c".into() };
    assert_eq!(topology.split(4, &keys(&["x", "c"])), Err(outside));
    assert_eq!(topology.split(4, &keys(&["m"])), Err(TopologyError::NoSplitKey { region: 4 }));
    assert_eq!(topology.split(4, &[]), Err(TopologyError::NoSplitKey { region: 4 }));
    assert_eq!(topology.split(99, &keys(&["x"])), Err(TopologyError::NoRegion { region: 99 }));
    assert_eq!(layout(&topology), before);
}

#[test]
fn epoch_siblings_walk_left() {
    let mut topology = three_stores();
    topology.split(4, &keys(&["b", "c", "d"])).expect("inside");
    let right = topology.region(4).expect("there");
    let told = |behind| topology.epoch_siblings(right, behind).map(|r| r.start.clone()).collect::<Vec<_>>();
    assert_eq!(told(0), keys(&["d"]));
    assert_eq!(told(2), keys(&["d", "c", "b"]));
    assert_eq!(told(u64::MAX), keys(&["d", "c", "b", ""]));
}

#[test]
fn a_merge_gives_the_target_both_ranges() {
    let mut topology = three_stores();
    let parts = topology.split(4, &keys(&["h", "t"])).expect("inside");
    let (left, middle, right) = (parts[0], parts[1], parts[2]);
    let far = topology.merge(left, right);
    assert_eq!(far, Err(TopologyError::NotNeighbours { left, right }));
    topology.merge(left, middle).expect("neighbours");
    // Both had version 3: the source goes to 4 when it prepares, the target one above that.
    assert_eq!(layout(&topology), [format!("{middle} [,t) 5/1"), format!("{right} [t,) 3/1")]);
    topology.merge(right, middle).expect("neighbours");
    assert_eq!(layout(&topology), [format!("{middle} [,) 6/1")]);
}

#[test]
fn leaders_change_the_term_and_members_the_conf_ver() {
    let mut topology = three_stores();
    let term = topology.region(4).expect("there").term;
    topology.transfer_leader(4, 2).expect("has a peer");
    let region = topology.region(4).expect("there").clone();
    assert!(region.led_by(2) && !region.led_by(1));
    assert_eq!((region.term, region.version, region.conf_ver), (term + 1, 1, 1));

    topology.remove_peer(4, 2).expect("has a peer");
    let region = topology.region(4).expect("there").clone();
    assert_eq!((region.leader, region.conf_ver), (None, 2));
    assert_eq!(topology.transfer_leader(4, 2), Err(TopologyError::NoPeer { region: 4, store: 2 }));

    let peer = topology.add_peer(4, 2, PeerRole::Learner).expect("free");
    assert_eq!(topology.transfer_leader(4, 2), Err(TopologyError::NoPeer { region: 4, store: 2 }));
    let region = topology.region(4).expect("there");
    assert_eq!((region.peer_on(2).map(|p| p.id), region.conf_ver), (Some(peer), 3));
    assert_eq!(topology.add_peer(4, 9, PeerRole::Voter), Err(TopologyError::NoStore { store: 9 }));
}

#[test]
fn regions_are_found_by_key() {
    let mut topology = three_stores();
    topology.split(4, &keys(&["d", "m"])).expect("inside");
    let start = |key: &[u8]| topology.region_at(key).map(|region| region.start.clone());
    for (key, found) in [("", ""), ("c", ""), ("d", "d"), ("lzz", "d"), ("m", "m"), ("zz", "m")] {
        assert_eq!(start(key.as_bytes()), Some(found.into()), "{key}");
    }
    let before = |key: &[u8]| topology.region_before(key).map(|region| region.start.clone());
    assert_eq!(before(b"c"), None);
    assert_eq!(before(b"d"), Some("".into()));
    assert_eq!(before(b"z"), Some("d".into()));
    assert_eq!(topology.regions_from(b"e").count(), 2);
}
