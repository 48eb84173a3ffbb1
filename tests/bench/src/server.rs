//! The server side: the embedded cluster in a process of its own, or one that is there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use tikv_bench_load::{Failure, Space};

use crate::clients::space;
use crate::say;
use crate::workload::Workload;

/// An embedded cluster for one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    stores: usize,
    /// Whether the keys are raw.
    raw: bool,
    /// Keys at which regions begin.
    splits: Vec<String>,
}

impl Cluster {
    /// A cluster whose regions cut the workload's keys in three.
    pub(crate) fn of(workload: &Workload, stores: usize) -> Self {
        let spaces: &[Space] = match space(workload.action) {
            Space::Raw => &[Space::Raw],
            Space::Txn | Space::Fresh => &[Space::Txn, Space::Fresh],
        };
        let splits = spaces.iter().flat_map(|space| space.splits(workload.value_bytes, workload.keys()));
        let splits = splits.map(|key| String::from_utf8_lossy(&key).into_owned()).collect();
        Self { stores, raw: spaces == [Space::Raw], splits }
    }
}

/// Serves until the process is killed.
pub(crate) fn serve(cluster: &Cluster) -> Result<(), Failure> {
    let builder = tikv_embedded::Cluster::builder().stores(cluster.stores);
    let builder = if cluster.raw {
        builder.raw_split_keys(&cluster.splits)
    } else {
        builder.split_keys(&cluster.splits)
    };
    let cluster = builder.start().wait()?;
    say(&cluster.pd_addresses().join(","));
    // Whoever started this process ends it, or is gone when its pipe is.
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

/// A cluster to measure against.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pd: Vec<String>,
    process: Option<Child>,
}

impl Running {
    /// Starts an embedded cluster in a process of its own, unless `TIKV_PD` names one.
    pub(crate) fn start(cluster: &Cluster) -> Result<Self, Failure> {
        if let Some(pd) = given() {
            return Ok(Self { pd, process: None });
        }
        let process = Command::new(std::env::current_exe()?)
            .args(["server", &serde_json::to_string(cluster)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut running = Self { pd: Vec::new(), process: Some(process) };
        let out = running.process.as_mut().and_then(|process| process.stdout.take());
        let mut pd = String::new();
        BufReader::new(out.ok_or("the server has no output")?).read_line(&mut pd)?;
        running.pd = pd.trim().split(',').filter(|pd| !pd.is_empty()).map(str::to_owned).collect();
        if running.pd.is_empty() { Err("the server did not start".into()) } else { Ok(running) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself.
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// The cluster that the environment names.
pub(crate) fn given() -> Option<Vec<String>> {
    let pd = std::env::var("TIKV_PD").ok()?;
    Some(pd.split(',').map(str::to_owned).collect())
}
