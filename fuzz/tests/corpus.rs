//! Runs every committed input through its fuzzer, and some inputs of chance.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};

/// Inputs of chance for each target.
const CHANCES: u64 = 150;
/// Their length at the most, in bytes.
const LONGEST: usize = 600;

fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn run_files(kind: &str, name: &str, run: Target) -> usize {
    let files = inputs(kind, name);
    for file in &files {
        let data = fs::read(file).expect("a file that can be read");
        let ended = std::panic::catch_unwind(|| run(&data));
        assert!(ended.is_ok(), "{} breaks a law", file.display());
    }
    files.len()
}

#[test]
fn every_target_has_a_corpus_that_it_bears() {
    for (name, run) in TARGETS {
        assert!(run_files("corpus", name, *run) > 0, "{name} has no corpus");
    }
}

#[test]
fn what_once_broke_a_law_breaks_none_now() {
    for (name, run) in TARGETS {
        run_files("crashes", name, *run);
    }
}

#[test]
fn every_target_bears_inputs_of_chance() {
    let seed = std::env::var("FUZZ_SEED").map_or(0, |seed| seed.parse().unwrap());
    let count = std::env::var("FUZZ_COUNT").map_or(CHANCES, |count| count.parse().unwrap());
    let only = std::env::var("FUZZ_TARGET").ok();
    for (name, run) in TARGETS.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)) {
        for number in seed..seed + count {
            let mut rng = fastrand::Rng::with_seed(number);
            let mut data = vec![0; rng.usize(..LONGEST)];
            rng.fill(&mut data);
            let ended = std::panic::catch_unwind(|| run(&data));
            assert!(ended.is_ok(), "{name} breaks a law: FUZZ_TARGET={name} FUZZ_SEED={number} FUZZ_COUNT=1");
        }
    }
}

#[test]
fn every_program_of_cargo_fuzz_is_one_of_the_targets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut programs: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    programs.sort();
    assert_eq!(programs, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}
