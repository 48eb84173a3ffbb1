//! The program of client-go: a line in, a line out.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tikv_bench_load::{Draw, Failure};

use super::Lookup;
use super::keys::SEED;
use crate::build;
use crate::clients::Who;

/// Runs until it is dropped.
pub(super) struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    /// Builds and starts it; why it is not there if it is not.
    pub(super) fn start() -> Result<Self, Failure> {
        let program = build::program(Who::ClientGo)?;
        let mut child = Command::new(program.path)
            .arg("routing")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let to = child.stdin.take().ok_or("no input")?;
        let from = child.stdout.take().ok_or("no output")?;
        Ok(Self { child, to, from: BufReader::new(from) })
    }

    fn ask(&mut self, line: &str) -> Result<f64, Failure> {
        writeln!(self.to, "{line}")?;
        self.to.flush()?;
        let mut answer = String::new();
        self.from.read_line(&mut answer)?;
        answer.trim().parse().map_err(|_| format!("client-go answered {answer:?} to {line:?}").into())
    }

    /// Fills a new cache; KiB that it takes.
    pub(super) fn fill(&mut self, count: usize) -> Result<f64, Failure> {
        self.ask(&format!("regions {count}"))
    }

    /// Nanoseconds of CPU for a lookup.
    pub(super) fn locate(&mut self, lookup: Lookup, ms: u64) -> Result<f64, Failure> {
        let draw = match lookup.draw {
            Draw::Uniform => "uniform",
            Draw::Zipf => "zipf",
        };
        self.ask(&format!("locate {draw} {} {SEED} {ms}", lookup.threads))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
