//! How a row is held.
//!
//! [`tikv`] and [`pd`] name recorded scenarios, by their names in a file of `conformance/`, with a `*` for any part of
//! one. [`Recorded::shows`] says what the recorded answers hold, so that a row cannot name a scenario about something
//! else. [`elsewhere`] names a test by its file.

use std::path::Path;

use serde_json::Value;

/// Scenarios, and parts of what was answered.
#[derive(Debug)]
pub(crate) struct Recorded {
    file: &'static str,
    of_pd: bool,
    names: &'static [&'static str],
    shows: &'static [&'static str],
}

/// Scenarios of a TiKV.
pub(crate) const fn tikv(file: &'static str, names: &'static [&'static str]) -> Recorded {
    Recorded { file, of_pd: false, names, shows: &[] }
}

/// Scenarios of a PD.
pub(crate) const fn pd(file: &'static str, names: &'static [&'static str]) -> Recorded {
    Recorded { file, of_pd: true, names, shows: &[] }
}

/// A test in another file, by its path in the crate.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    file: &'static str,
    test: &'static str,
}

/// A test that stands elsewhere.
pub(crate) const fn elsewhere(file: &'static str, test: &'static str) -> Elsewhere {
    Elsewhere { file, test }
}

/// What holds a row.
pub(crate) trait Proof {
    /// Fails the test if the row does not hold.
    fn hold(&self);
}

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether `name` is the one meant; a `*` stands for any part.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices().any(|(at, _)| fits(tail, &rest[at..])) || tail.is_empty()
        }),
    }
}

#[test]
fn a_star_stands_for_any_part() {
    for (pattern, name, fit) in [
        ("a: b", "a: b", true),
        ("a: b", "a: bc", false),
        ("a: *", "a: bc", true),
        ("a *: c", "a b: c", true),
        ("a *: c", "a b: d", false),
        ("a: *x*", "a: yxz", true),
        ("a: *x*", "a: yz", false),
        ("a*", "a", true),
    ] {
        assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
    }
}

/// What was answered, as text without spaces.
fn answers(scenario: &Value) -> String {
    let steps = scenario["steps"].as_array().unwrap();
    let told = steps.iter().flat_map(|step| [step.get("ans"), step.get("want")]).flatten();
    told.map(ToString::to_string).collect()
}

impl Recorded {
    /// Each part stands in some answer.
    pub(crate) const fn shows(mut self, shows: &'static [&'static str]) -> Self {
        self.shows = shows;
        self
    }

    /// The lines of the scenarios, those that prepare others in front.
    fn lines(&self) -> Vec<String> {
        let folder = if self.of_pd { "conformance/pd" } else { "conformance" };
        let text = text(&format!("{folder}/{}.jsonl", self.file));
        let mut told = String::new();
        let mut found = vec![false; self.names.len()];
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let scenario: Value = serde_json::from_str(line).unwrap();
            let name = scenario["name"].as_str().unwrap();
            let by: Vec<usize> = (0..found.len()).filter(|&at| fits(self.names[at], name)).collect();
            if by.is_empty() && scenario.get("setup").is_none() {
                continue;
            }
            by.iter().for_each(|&at| found[at] = true);
            if scenario.get("setup").is_none() {
                told.push_str(&answers(&scenario));
            }
            lines.push(line.to_owned());
        }
        let missing = (0..found.len()).filter(|&at| !found[at]).map(|at| self.names[at]);
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&str>::new(), "no scenario of {}", self.file);
        let unseen = self.shows.iter().filter(|part| !told.contains(**part));
        assert_eq!(unseen.collect::<Vec<_>>(), Vec::<&&str>::new(), "no answer holds this: {told}");
        lines
    }
}

impl Proof for Recorded {
    fn hold(&self) {
        let lines = self.lines();
        let differs: Vec<String> = if self.of_pd {
            crate::play::Player::new().file(&lines.join("\n"), "qwerty").1
        } else {
            let mut player = crate::player::Player::new();
            let scenarios = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
            scenarios.flat_map(|scenario| player.play(&scenario)).collect()
        };
        assert!(differs.is_empty(), "{}:\n{}", self.file, differs.join("\n"));
    }
}

/// Both hold.
impl<A: Proof, B: Proof> Proof for (A, B) {
    fn hold(&self) {
        self.0.hold();
        self.1.hold();
    }
}

impl Proof for Elsewhere {
    fn hold(&self) {
        let text = text(self.file);
        let head = format!("fn {}(", self.test);
        let at = text.find(&head).unwrap_or_else(|| panic!("{} has no {}", self.file, self.test));
        let attribute = text[..at].trim_end_matches("async ").lines().rev().find(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with("///")
        });
        assert_eq!(attribute.map(str::trim), Some("#[test]"), "{} is no test", self.test);
    }
}

/// A test for each row of a table.
macro_rules! rows {
    ($(#[$about:meta])* mod $table:ident { $($row:ident => $proof:expr;)* }) => {
        $(#[$about])*
        mod $table {
            use super::*;
            $(#[test]
            fn $row() {
                Proof::hold(&$proof);
            })*
        }
    };
}

pub(crate) use rows;
