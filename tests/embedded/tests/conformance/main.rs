//! Recorded behaviour of a real TiKV, held against the model without sockets and in virtual time.
//!
//! The vectors lie in `conformance/` beside `tests/`: scenarios of requests and what was answered, with keys and
//! timestamps as symbols. [`names`] turns the symbols into bytes and numbers and back, [`schema`] knows the messages by
//! the names of their fields, [`normal`] takes out of an answer what differs from run to run, and [`player`] plays a
//! scenario and compares. Each file is one test.

#![allow(clippy::unwrap_used, reason = "a scenario that cannot be read fails its test")]

mod names;
mod normal;
mod player;
mod schema;

use std::io::Read;
use std::path::Path;

use player::Player;
use serde_json::Value;

fn scenarios(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    if file.ends_with(".gz") {
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Plays all of a file on one cluster, again on the same one if `twice`.
fn hold(file: &str, twice: bool) {
    let scenarios = scenarios(file);
    assert!(!scenarios.is_empty(), "{file} has no scenario");
    let mut player = Player::new();
    let mut differing = Vec::new();
    for round in 0..=usize::from(twice) {
        for scenario in &scenarios {
            let differs = player.play(scenario);
            if !differs.is_empty() {
                let name = scenario["name"].as_str().unwrap_or_default();
                differing.push(format!("{name} (round {round})\n  {}", differs.join("\n  ")));
            }
        }
    }
    let count = differing.len();
    differing.truncate(20);
    assert!(count == 0, "{count} scenarios of {file} differ:\n{}", differing.join("\n"));
}

#[test]
fn an_answer_that_was_not_recorded_is_noticed() {
    let mut scenario = scenarios("commit.jsonl").swap_remove(0);
    assert_eq!(Player::new().play(&scenario), Vec::<String>::new());
    for step in scenario["steps"].as_array_mut().unwrap() {
        step["ans"] = serde_json::json!({"error": {"already_exist": {"key": "@"}}});
    }
    assert!(!Player::new().play(&scenario).is_empty());
}

macro_rules! files {
    ($($test:ident $file:literal $twice:literal;)*) => {
        $(#[test] fn $test() { hold($file, $twice); })*

        #[test]
        fn every_file_is_a_test() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
            let mut there: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".jsonl") || name.ends_with(".jsonl.gz"))
                .collect();
            there.sort();
            let mut named = vec![$($file),*];
            named.sort_unstable();
            assert_eq!(there, named);
        }
    };
}

files! {
    admission "admission.jsonl" true;
    async_commit "async_commit.jsonl" true;
    batch_commands "batch_commands.jsonl" true;
    check_txn_status "check_txn_status.jsonl" true;
    commit "commit.jsonl" true;
    fair_locking "fair_locking.jsonl" true;
    gc_delete_range "gc_delete_range.jsonl" true;
    mvcc "mvcc.jsonl" true;
    one_pc "one_pc.jsonl" true;
    pessimistic "pessimistic.jsonl" true;
    pipelined "pipelined.jsonl" true;
    prewrite "prewrite.jsonl" true;
    random_raw "random-raw.jsonl.gz" false;
    random_txn "random-txn.jsonl.gz" false;
    raw "raw.jsonl" true;
    reads "reads.jsonl" true;
    resolve "resolve.jsonl" true;
    scan "scan.jsonl" true;
    scan_lock "scan_lock.jsonl" true;
    secondaries "secondaries.jsonl" true;
    shared_lock "shared_lock.jsonl" true;
}
