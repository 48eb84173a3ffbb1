//! The comparison: for each workload a cluster, and in each round every client in turn.
//!
//! A round's runs follow one another within seconds, so that their ratios are of one moment of the machine; who comes first
//! changes from round to round.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use indicatif::{ProgressBar, ProgressStyle};
use tikv_bench_load::{Failure, Outcome, Task};

use crate::arguments::Plan;
use crate::build::{self, Program};
use crate::clients::{Who, fill};
use crate::record::{Head, Line, Recorder};
use crate::server::{self, Cluster, Running};
use crate::workload::{WORKLOADS, Workload};
use crate::{say, say_error, table};

/// Before anything is measured, in seconds: connections, regions, the first frames.
const WARM_UP: f64 = 0.3;

/// Of one run that counts allocations, in seconds.
const COUNTED: f64 = 0.3;

pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    let workloads: Vec<_> = WORKLOADS.iter().filter(|row| chosen(row, plan)).collect();
    if workloads.is_empty() {
        return Err("no workload has such a name; `tikv-bench list` has them".into());
    }
    let path = plan.record.clone().unwrap_or_else(recording);
    let mut recorder = Recorder::create(&path)?;
    recorder.add(Line::Head(head(cluster(plan), plan.rounds, plan.seconds)))?;
    let (programs, counted) = programs(plan, &mut recorder)?;
    let bar = ProgressBar::new((workloads.len() * plan.rounds * programs.len()) as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}, {eta} left  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    say(&table::title(&recorder.recording.head));
    for workload in workloads {
        compare(plan, workload, &programs, &counted, &mut recorder, &bar)?;
        if let Some((name, clients)) = recorder.recording.workloads.last() {
            bar.suspend(|| say(&table::workload(name, clients)));
        }
    }
    bar.finish_and_clear();
    for (client, why) in &recorder.recording.left_out {
        say(&format!("left out: {client}: {why}"));
    }
    say(&format!("recorded in {}", path.display()));
    Ok(())
}

fn chosen(row: &Workload, plan: &Plan) -> bool {
    let named = plan.only.iter().any(|only| row.name().starts_with(only.as_str()));
    if plan.only.is_empty() { row.quick || !plan.quick } else { named && (row.quick || !plan.quick) }
}

fn recording() -> PathBuf {
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    build::output().join(format!("peers-{}.jsonl", date.replace(':', "")))
}

fn cluster(plan: &Plan) -> String {
    server::given().map_or_else(
        || format!("embedded, {} stores, one process", plan.stores),
        |pd| format!("at {}", pd.join(",")),
    )
}

/// Where, when and of what a recording is made.
pub(crate) fn head(cluster: String, rounds: usize, seconds: f64) -> Head {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Head {
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        machine: format!("{} x {}", cores(), model.trim_start_matches(['\t', ':', ' '])),
        commit: commit.unwrap_or_default(),
        cluster,
        rounds,
        seconds,
    }
}

type Programs = BTreeMap<Who, Program>;

/// What can be started of what was asked for, and those of our clients whose allocations are counted.
fn programs(plan: &Plan, recorder: &mut Recorder) -> Result<(Programs, Programs), Failure> {
    let mut programs = Programs::new();
    for &who in &plan.clients {
        say_error(&format!("building {}", who.name()));
        match build::program(who) {
            Ok(program) => drop(programs.insert(who, program)),
            Err(why) => {
                // Now, not only below the table: a long run without a peer may not be what is wanted.
                say_error(&format!("left out: {}: {why}", who.name()));
                recorder.add(Line::LeftOut { client: who.name().into(), why })?;
            }
        }
    }
    let mut counted = Programs::new();
    let ours: Vec<_> = Who::RECORDING.into_iter().filter(|who| plan.clients.contains(who)).collect();
    if !ours.is_empty() {
        say_error("building ours with an allocator that counts");
        match build::counted() {
            Ok(path) => {
                counted.extend(ours.into_iter().map(|who| (who, build::of_ours(path.clone(), who))));
            }
            Err(why) => say_error(&format!("allocations are not counted: {why}")),
        }
    }
    if programs.is_empty() { Err("no client is left".into()) } else { Ok((programs, counted)) }
}

fn compare(
    plan: &Plan,
    workload: &Workload,
    programs: &Programs,
    counted: &Programs,
    recorder: &mut Recorder,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let running = Running::start(&Cluster::of(workload, plan.stores))?;
    let task = |round: usize, seconds| Task {
        pd: running.pd.clone(),
        action: workload.action,
        callers: workload.callers,
        value_bytes: workload.value_bytes,
        draw: workload.draw,
        keys: workload.keys(),
        seed: 1 + round as u64,
        run: run_number(),
        warm_up: WARM_UP,
        seconds,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fill(&task(0, 0.0)))?;
    let name = workload.name();
    let mut add = |round, who: Who, counted, outcome| {
        let (workload, client) = (name.clone(), who.name().to_owned());
        recorder.add(Line::Run { workload, round, client, counted, outcome })
    };
    for round in 0..plan.rounds {
        let mut draws: Option<String> = None;
        let turn = round % programs.len();
        for (&who, program) in programs.iter().cycle().skip(turn).take(programs.len()) {
            bar.set_message(format!("{name} {}", who.name()));
            let outcome = measure(who, program, &task(round, plan.seconds))?;
            // All clients of a round read the same keys in the same order, or the ratio means nothing.
            let same = draws.get_or_insert_with(|| outcome.draws.clone());
            if *same != outcome.draws {
                return Err(format!("{} drew other keys", who.name()).into());
            }
            add(round, who, false, outcome)?;
            bar.inc(1);
        }
    }
    for (&who, program) in counted {
        add(plan.rounds, who, true, measure(who, program, &task(0, COUNTED))?)?;
    }
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Another one each time, also on a cluster that was measured before.
fn run_number() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or_default()
}

/// One run of one client.
fn measure(who: Who, program: &Program, task: &Task) -> Result<Outcome, Failure> {
    let output = Command::new(&program.path)
        .args(&program.arguments)
        .arg(serde_json::to_string(task)?)
        // Else smol has one thread, and all others one for each core.
        .env("SMOL_THREADS", cores().to_string())
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    outcome.ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("{} failed ({}): {}{}", who.name(), output.status, text.trim(), errors.trim()).into()
    })
}
