//! A recording: lines of JSON, the first about the run, then one for each run of a client.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tikv_bench_load::{Failure, Outcome};

/// Where and when a recording was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) commit: String,
    pub(crate) cluster: String,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub(crate) enum Line {
    Head(Head),
    LeftOut {
        client: String,
        why: String,
    },
    /// A bench of a pure part.
    Micro {
        bench: String,
        round: usize,
        ns: f64,
    },
    Run {
        workload: String,
        round: usize,
        client: String,
        /// Whether it ran with the allocator that counts: then its times are not to be compared.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        counted: bool,
        #[serde(flatten)]
        outcome: Outcome,
    },
}

/// One number of an outcome.
pub(crate) type Number = fn(&Outcome) -> f64;

/// What one client did in one workload, round by round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Runs {
    pub(crate) rounds: BTreeMap<usize, Outcome>,
    pub(crate) allocations: Option<f64>,
}

impl Runs {
    /// One number of each round.
    pub(crate) fn of(&self, number: Number) -> Vec<f64> {
        self.rounds.values().map(number).collect()
    }
}

/// All that a recording has, by workload in the order in which they were run, then by client.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recording {
    pub(crate) head: Head,
    pub(crate) left_out: Vec<(String, String)>,
    pub(crate) workloads: Vec<(String, Vec<(String, Runs)>)>,
    /// Nanoseconds of each round.
    pub(crate) micro: Vec<(String, Vec<f64>)>,
}

impl Recording {
    pub(crate) fn add(&mut self, line: Line) {
        match line {
            Line::Head(head) => self.head = head,
            Line::LeftOut { client, why } => self.left_out.push((client, why)),
            Line::Micro { bench, ns, .. } => entry(&mut self.micro, bench).push(ns),
            Line::Run { workload, round, client, counted, outcome } => {
                let runs = entry(entry(&mut self.workloads, workload), client);
                if counted {
                    runs.allocations = outcome.allocations;
                } else {
                    runs.allocations = runs.allocations.or(outcome.allocations);
                    runs.rounds.insert(round, outcome);
                }
            }
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut recording = Self::default();
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let parsed = serde_json::from_str(&line?);
            let line = parsed.map_err(|error| format!("{}:{}: {error}", path.display(), number + 1))?;
            recording.add(line);
        }
        Ok(recording)
    }

    /// The runs of a client in a workload.
    pub(crate) fn runs(&self, workload: &str, client: &str) -> Option<&Runs> {
        let (_, clients) = self.workloads.iter().find(|(name, _)| name == workload)?;
        clients.iter().find(|(name, _)| name == client).map(|(_, runs)| runs)
    }
}

fn entry<T: Default>(list: &mut Vec<(String, T)>, name: String) -> &mut T {
    let at = list.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
        list.push((name, T::default()));
        list.len() - 1
    });
    &mut list[at].1
}

/// A recording that is being made.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: File,
    pub(crate) recording: Recording,
}

impl Recorder {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Self { file: File::create(path)?, recording: Recording::default() })
    }

    /// Writes a line at once: what was measured stays when the run is ended.
    pub(crate) fn add(&mut self, line: Line) -> Result<(), Failure> {
        writeln!(self.file, "{}", serde_json::to_string(&line)?)?;
        self.recording.add(line);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn outcome(cpu_us: f64) -> Outcome {
        Outcome {
            operations: 1_000,
            per_second: 1e6 / cpu_us / 2.0,
            cpu_us,
            p50_us: 100.0 * cpu_us,
            p99_us: 200.0 * cpu_us,
            p999_us: 300.0 * cpu_us,
            allocations: None,
            peak_kib: 8_192,
            draws: "d".into(),
        }
    }

    /// Two workloads; CPU of clients in µs by round.
    pub(crate) fn recording(ours: [f64; 4]) -> Recording {
        let mut recording = Recording::default();
        recording.add(Line::Head(Head {
            date: "2026-11-26T14:00:00Z".into(),
            machine: "2 x a processor".into(),
            commit: "abc".into(),
            cluster: "embedded, 3 stores".into(),
            rounds: 4,
            seconds: 1.0,
        }));
        recording.add(Line::LeftOut { client: "client-go".into(), why: "no go".into() });
        let mut run = |workload: &str, round, client: &str, counted: bool, cpu| {
            let mut outcome = outcome(cpu);
            outcome.allocations = counted.then_some(6.5);
            let (workload, client) = (workload.to_owned(), client.to_owned());
            recording.add(Line::Run { workload, round, client, counted, outcome });
        };
        for (round, ours) in ours.into_iter().enumerate() {
            let noise = 1.0 + round as f64 / 10.0;
            run("raw-get/64/16B", round, "echo", false, 8.0 * noise);
            run("raw-get/64/16B", round, "ours", false, ours * noise);
            run("raw-get/64/16B", round, "tikv-client", false, 30.0 * noise);
            run("commit-1/64/16B", round, "ours", false, 50.0 * noise);
        }
        run("raw-get/64/16B", 0, "ours", true, 99.0);
        recording
    }

    #[test]
    fn a_recording_reads_back_as_it_was_written() {
        let path = std::env::temp_dir().join(format!("tikv-bench-{}.jsonl", std::process::id()));
        let mut recorder = Recorder::create(&path).unwrap();
        let (workload, client) = ("raw-get/64/16B".to_owned(), "ours".to_owned());
        recorder.add(Line::Head(Head { date: "today".into(), ..Head::default() })).unwrap();
        recorder.add(Line::LeftOut { client: "x".into(), why: "\"y\"\n".into() }).unwrap();
        recorder
            .add(Line::Run { workload, round: 2, client, counted: false, outcome: outcome(9.5) })
            .unwrap();
        let read = Recording::read(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.unwrap(), recorder.recording);
    }

    #[test]
    fn counted_runs_give_allocations_and_nothing_else() {
        let recording = recording([10.0; 4]);
        let runs = recording.runs("raw-get/64/16B", "ours").unwrap();
        assert_eq!(runs.allocations, Some(6.5));
        assert_eq!(runs.of(|outcome| outcome.cpu_us), [10.0, 11.0, 12.0, 13.0]);
    }
}
