//! What a real PD answered to written scenarios, held against the model, without sockets and in virtual time.
//!
//! The scenarios are data, in `conformance/pd`; their README, with the format, is in the folder that they were copied
//! from. Each file is one test, played twice on one cluster.
//!
//! * `play`: the cluster, and the steps of a scenario.
//! * `value`: symbols, and the comparison of what came with what must come.
//! * `wire`: messages as JSON, by the descriptors of the project's own schema.

mod play;
mod value;
mod wire;

use play::Player;

/// Words that make the names of one run unlike those of another.
const RUNS: [&str; 2] = ["qwerty", "asdfgh"];

fn hold(file: &str) {
    let path = format!("{}/conformance/pd/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the scenarios are in the folder");
    let mut player = Player::new();
    let mut held = 0;
    let mut differences = Vec::new();
    for run in RUNS {
        let (held_now, different) = player.file(&text, run);
        held += held_now;
        differences.extend(different);
    }
    assert!(held > 0, "{file} has no scenario");
    assert!(differences.is_empty(), "{} of {file} differ:\n{}", differences.len(), differences.join("\n"));
}

macro_rules! files {
    ($($name:ident $file:literal;)*) => {
        $(#[test]
        fn $name() {
            hold($file);
        })*

        #[test]
        fn no_file_is_left_out() {
            let folder = format!("{}/conformance/pd", env!("CARGO_MANIFEST_DIR"));
            let entries = std::fs::read_dir(folder).expect("the folder is there");
            let mut names: Vec<String> = entries
                .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
                .filter_map(|name| Some(name.strip_suffix(".jsonl")?.to_owned()))
                .collect();
            names.sort();
            let mut tested = [$($file),*];
            tested.sort_unstable();
            assert_eq!(names, tested);
        }
    };
}

files! {
    headers "headers";
    timestamps "tso";
    regions "regions";
    operators "operators";
    http_regions "http-regions";
    stores "stores";
    config "config";
    keyspaces "keyspaces";
    gc_states "gc";
    meta_storage "meta";
    resource_groups "resource";
}

#[test]
fn an_answer_that_was_not_recorded_is_noticed() {
    let table = [
        (r#"{"ok":{"header":{"cluster_id":"$cluster"},"bootstrapped":true}}"#, 0),
        (r#"{"ok":{"header":{"cluster_id":"$cluster"}}}"#, 1),
        (r#"{"ok":{"header":{"cluster_id":"$cluster+1"},"bootstrapped":true}}"#, 1),
        (r#"{"ok":{"$part":true,"bootstrapped":"~absent"}}"#, 1),
        (r#"{"ok":{"$part":true,"region":{}}}"#, 1),
        (r#"{"err":["UNKNOWN","{*}"]}"#, 1),
    ];
    for (want, differences) in table {
        let step = format!(r#"{{"rpc":"PD/IsBootstrapped","req":{{}},"want":{want}}}"#);
        let scenario = format!(r#"{{"name":"x","steps":[{step}]}}"#);
        let (held, different) = Player::new().file(&scenario, "qwerty");
        assert_eq!((held, different.len()), (1 - differences, differences), "{want}: {different:?}");
    }
}
