//! The generated paths against the `.proto` files, which are read here by themselves.

use std::collections::BTreeSet;

use tikv_proto::methods;

/// The word after `keyword` at the start of a line, up to what cannot be part of a name.
fn declared<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let rest = line.trim_start().strip_prefix(keyword)?.strip_prefix(' ')?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn paths_of(text: &str) -> Vec<String> {
    let (mut package, mut service, mut paths) = ("", "", Vec::new());
    for line in text.lines() {
        if let Some(name) = declared(line, "package") {
            package = name;
        } else if let Some(name) = declared(line, "service") {
            service = name;
        } else if let Some(name) = declared(line, "rpc") {
            paths.push(format!("/{package}.{service}/{name}"));
        }
    }
    paths
}

#[test]
fn every_method_of_the_schema_has_its_path_and_no_other_has_one() {
    let mut expected = BTreeSet::new();
    // `cargo test` runs in the folder of the package.
    for entry in std::fs::read_dir("protos").unwrap() {
        expected.extend(paths_of(&std::fs::read_to_string(entry.unwrap().path()).unwrap()));
    }
    let found = methods::ALL.iter().copied().flatten().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    assert_eq!(found.len(), 175, "a method came or went; the number is here so that none is lost unseen");
    let unique = found.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(unique.len(), found.len(), "a path is given twice");
    assert_eq!(unique, expected);
}

#[test]
fn constants_have_the_name_of_their_method() {
    assert_eq!(methods::tikv::KV_GET, "/tikvpb.Tikv/KvGet");
    assert_eq!(methods::tikv::KV_PESSIMISTIC_ROLLBACK, "/tikvpb.Tikv/KVPessimisticRollback");
    assert_eq!(methods::tikv::RAW_GET_KEY_TTL, "/tikvpb.Tikv/RawGetKeyTTL");
    assert_eq!(methods::tikv::BATCH_COMMANDS, "/tikvpb.Tikv/BatchCommands");
    assert_eq!(methods::tikv::TRY_ADD_LOCK, "/tikvpb.Tikv/tryAddLock");
    assert_eq!(methods::pd::GET_REGION, "/pdpb.PD/GetRegion");
    assert_eq!(methods::pd::TSO, "/pdpb.PD/Tso");
    assert_eq!(methods::tso::TSO, "/tsopb.TSO/Tso");
    assert_eq!(methods::router::QUERY_REGION, "/routerpb.Router/QueryRegion");
    assert_eq!(methods::keyspace::LOAD_KEYSPACE, "/keyspacepb.Keyspace/LoadKeyspace");
    assert_eq!(methods::meta_storage::WATCH, "/meta_storagepb.MetaStorage/Watch");
    assert_eq!(
        methods::resource_manager::ACQUIRE_TOKEN_BUCKETS,
        "/resource_manager.ResourceManager/AcquireTokenBuckets"
    );
}
