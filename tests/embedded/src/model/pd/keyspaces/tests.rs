//! The rules of keyspaces that the recorded scenarios do not reach.

use tikv_proto::methods::keyspace as m;

use super::super::tests::{World, error_of, header};
use super::*;

fn create(world: &mut World, name: &str, skip_split: bool) -> Result<u32, KeyspaceError> {
    world.pd.create_keyspace(&mut world.topology, world.now, name, BTreeMap::new(), skip_split)
}

fn load(world: &mut World, name: &str) -> Result<u32, String> {
    let request =
        keyspacepb::LoadKeyspaceRequest { header: header(), name: name.into(), ..Default::default() };
    let answer: keyspacepb::LoadKeyspaceResponse = world.ask(m::LOAD_KEYSPACE, &request);
    answer.keyspace.as_ref().map(id_of).ok_or_else(|| error_of(answer.header))
}

#[test]
fn a_keyspace_without_region_bounds_is_not_found_by_name_until_they_are_there() {
    let mut world = World::new();
    let id = create(&mut world, "ks", true).expect("created");
    let not_found = Err("[PD:keyspace:ErrKeyspaceNotFound]keyspace does not exist".to_owned());
    assert_eq!(load(&mut world, "ks"), not_found);
    split_for(&mut world.topology, id);
    assert_eq!(load(&mut world, "ks"), Ok(id));
    // PD must know the region, too.
    let start = bounds(b'x', id)[0].clone();
    let region = world.topology.region_at(&start).map_or(0, |region| region.id);
    world.pd.hide_region(region);
    assert_eq!(load(&mut world, "ks"), not_found);
}

#[test]
fn region_bounds_are_the_encoded_prefixes_and_the_last_one_ends_with_its_mode() {
    assert_eq!(bounds(b'x', 1), [key::encode(b"x\0\0\x01"), key::encode(b"x\0\0\x02")]);
    assert_eq!(bounds(b'r', 0x00ff_ffff)[1], key::encode(b"s\0\0\0"));
}

#[test]
fn names_are_short_and_plain_and_not_pds_own() {
    let mut world = World::new();
    assert!(matches!(create(&mut world, "", false), Err(KeyspaceError::Name(_))));
    assert!(matches!(create(&mut world, "a.b", false), Err(KeyspaceError::Name(_))));
    assert!(matches!(create(&mut world, "DEFAULT", false), Err(KeyspaceError::ProtectedName(_))));
    assert_eq!(create(&mut world, "A-b_9", false), Ok(1));
    assert_eq!(create(&mut world, "A-b_9", false), Err(KeyspaceError::Exists));
}

#[test]
fn states_change_in_one_order_only() {
    use KeyspaceState::{Archived, Disabled, Enabled, Tombstone};
    let all = [Enabled, Disabled, Archived, Tombstone];
    let allowed = [(Enabled, Disabled), (Disabled, Enabled), (Disabled, Archived), (Archived, Tombstone)];
    let paths: [(KeyspaceState, &[KeyspaceState]); 4] = [
        (Enabled, &[]),
        (Disabled, &[Disabled]),
        (Archived, &[Disabled, Archived]),
        (Tombstone, &[Disabled, Archived, Tombstone]),
    ];
    for (from, path) in paths {
        for to in all {
            let mut world = World::new();
            let id = create(&mut world, "ks", true).expect("created");
            for &state in path {
                world.pd.set_keyspace_state(id, state, world.now).expect("on its way");
            }
            let changed = world.pd.set_keyspace_state(id, to, world.now).is_ok();
            assert_eq!(changed, from == to || allowed.contains(&(from, to)), "{from:?} to {to:?}");
        }
    }
    let mut world = World::new();
    assert_eq!(world.pd.set_keyspace_state(0, Disabled, world.now), Err(KeyspaceError::Default));
}

#[test]
fn what_pd_alone_writes_is_not_taken_from_a_request() {
    let mut world = World::new();
    let config = BTreeMap::from([("tso_keyspace_group_id".into(), "7".into()), ("a".into(), "1".into())]);
    let id = world.pd.create_keyspace(&mut world.topology, world.now, "ks", config, true).expect("created");
    let config = world.pd.keyspaces.by_id(id).map(|meta| meta.config.clone());
    assert_eq!(config, Some(BTreeMap::from([("a".to_owned(), "1".to_owned())])));
}
