//! `floor`: raw gets of the client beside a bare echo, in processes of their own and in turn.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use crate::measure::{Cost, Load, say, say_error};
use crate::{client, echo};

type Failure = Box<dyn std::error::Error>;

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) callers: Vec<usize>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { rounds: 5, seconds: 2.0, callers: vec![1, 64] }
    }
}

/// A client under measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    Echo,
}

impl FromStr for Who {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "ours" => Ok(Self::Ours),
            "echo" => Ok(Self::Echo),
            other => Err(format!("{other} is no client")),
        }
    }
}

/// A child process that ends with its parent's interest in it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The embedded cluster, until it is killed.
pub(crate) fn server() -> Result<(), Failure> {
    let cluster = tikv_embedded::Embedded::builder().stores(1).regions(1).start()?;
    say(&cluster.pd_addresses().join(","));
    loop {
        std::thread::park();
    }
}

/// One run of one client.
pub(crate) fn child(who: Who, pd: &str, load: Load) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cost = runtime.block_on(async {
        match who {
            Who::Ours => client::run(pd, load).await,
            Who::Echo => echo::run(pd, load).await,
        }
    })?;
    say(&cost.line());
    Ok(())
}

/// Runs the whole comparison and prints its table.
pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    let (pd, _server) = cluster()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(client::fill(&pd))?;
    say("raw get of 64 bytes, region cached; client process only\n");
    say("callers  client     gets/s    CPU us/get  allocations/get   CPU ratio (median, range)");
    for &callers in &plan.callers {
        let load = Load { callers, seconds: plan.seconds };
        let mut rounds = Vec::new();
        for round in 0..plan.rounds.max(1) {
            say_error(&format!("  {callers} callers, round {} of {}", round + 1, plan.rounds));
            rounds.push((measured("echo", &pd, load)?, measured("ours", &pd, load)?));
        }
        let ratios = sorted(rounds.iter().map(|(echo, ours)| ours.cpu_us / echo.cpu_us));
        let (echo, ours): (Vec<Cost>, Vec<Cost>) = rounds.into_iter().unzip();
        row(callers, "echo", &echo, "");
        let spread = format!("{:.2} ({:.2}-{:.2})", median(&ratios), ratios[0], ratios[ratios.len() - 1]);
        row(callers, "ours", &ours, &spread);
    }
    Ok(())
}

fn row(callers: usize, who: &str, costs: &[Cost], ratio: &str) {
    let of = |field: fn(&Cost) -> f64| median(&sorted(costs.iter().map(field)));
    say(&format!(
        "{callers:>7}  {who:<6} {:>10.0} {:>13.2} {:>16.1}   {ratio}",
        of(|cost| cost.ops_per_second),
        of(|cost| cost.cpu_us),
        of(|cost| cost.allocations),
    ));
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `TIKV_PD`, or the embedded cluster in a process of its own.
fn cluster() -> Result<(String, Option<Killed>), Failure> {
    if let Ok(pd) = std::env::var("TIKV_PD") {
        return Ok((pd, None));
    }
    let mut server =
        Killed(Command::new(std::env::current_exe()?).arg("server").stdout(Stdio::piped()).spawn()?);
    let out = server.0.stdout.take().ok_or("the server has no output")?;
    let mut pd = String::new();
    BufReader::new(out).read_line(&mut pd)?;
    if pd.trim().is_empty() {
        return Err("the server did not start".into());
    }
    Ok((pd.trim().to_owned(), Some(server)))
}

fn measured(who: &str, pd: &str, load: Load) -> Result<Cost, Failure> {
    let (callers, seconds) = (load.callers.to_string(), load.seconds.to_string());
    let output = Command::new(std::env::current_exe()?)
        .args(["child", "--who", who, "--pd", pd, "--callers", &callers, "--seconds", &seconds])
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Cost::parse(&text).ok_or_else(|| format!("the {who} client failed").into())
}
