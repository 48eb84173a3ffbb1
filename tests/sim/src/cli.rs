//! `tikv-sim run`: many seeds on many threads, their progress, their totals.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tikv_sim::{
    Fault, Invariant, Limits, Load, Report, Storm, Totals, Violation, missing, not_yet, record,
    run as simulate, shrink, storm as run_storm,
};

/// Between two looks at the progress.
const LOOK: Duration = Duration::from_millis(100);

struct Options {
    from: u64,
    to: u64,
    jobs: usize,
    twice: bool,
    keep_going: bool,
    shrinks: bool,
    /// Records each run and replays what was recorded.
    replays: bool,
    traces: PathBuf,
    limits: Limits,
}

fn names<T: Ord>(text: &str, named: impl Fn(&str) -> Option<T>) -> Result<BTreeSet<T>, String> {
    let names = text.split(',').filter(|name| !name.is_empty() && *name != "none");
    names.map(|name| named(name).ok_or_else(|| format!("there is no {name}"))).collect()
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            from: 1,
            to: 100,
            jobs,
            twice: false,
            keep_going: false,
            shrinks: true,
            replays: false,
            traces: PathBuf::new(),
            limits: Limits::default(),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--seeds" => {
                    let seeds = value()?;
                    let (from, to) = seeds.split_once("..").unwrap_or((&seeds, &seeds));
                    (options.from, options.to) = (number(from)?, number(to)?);
                }
                "--jobs" => options.jobs = number::<usize>(&value()?)?.max(1),
                "--twice" => options.twice = true,
                "--replay" => options.replays = true,
                "--traces" => options.traces = value()?.into(),
                "--no-shrink" => options.shrinks = false,
                "--keep-going" => options.keep_going = true,
                "--ops" => options.limits.ops = Some(number(&value()?)?),
                "--faults" => options.limits.faults = Some(names(&value()?, Fault::named)?),
                "--loads" => options.limits.loads = Some(names(&value()?, Load::named)?),
                other => return Err(format!("what is {other}?\n\n{}", super::USAGE)),
            }
        }
        Ok(options)
    }
}

/// What all threads have come to.
#[derive(Default)]
struct Found {
    totals: Totals,
    failures: Vec<(u64, Violation)>,
}

fn one(seed: u64, options: &Options) -> Report {
    let mut report =
        if options.replays { record(seed, &options.limits).0 } else { simulate(seed, &options.limits) };
    if options.twice && report.violation.is_none() {
        let again = simulate(seed, &options.limits);
        if again.digest != report.digest {
            let story = format!("digests {:?} and {:?}", report.digest, again.digest);
            report.violation = Some(Violation::new(Invariant::Determinism, story));
        }
    }
    report
}

/// Runs seeds; false when something did not hold.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<bool, String> {
    let options = Options::parse(args)?;
    let (next, done) = (AtomicU64::new(options.from), AtomicU64::new(0));
    let (stop, found) = (AtomicBool::new(false), Mutex::new(Found::default()));
    let lock = || found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let begun = Instant::now();
    let all = (options.to + 1).saturating_sub(options.from);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > options.to {
                return;
            }
            let report = one(seed, &options);
            done.fetch_add(1, Ordering::Relaxed);
            let mut found = lock();
            found.totals.merge(&report.totals);
            if let Some(violation) = report.violation {
                found.failures.push((seed, violation));
                stop.store(!options.keep_going, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs)
            .map(|n| std::thread::Builder::new().name(format!("sim-{n}")).spawn_scoped(scope, work))
            .collect();
        while workers.iter().any(|worker| worker.as_ref().is_ok_and(|worker| !worker.is_finished())) {
            std::thread::sleep(LOOK);
            progress(done.load(Ordering::Relaxed), all, begun);
        }
    });
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.failures.sort_by_key(|failure| failure.0);
    let mut out = std::io::stdout().lock();
    tell(&mut out, &options, &found, begun).map_err(|error| error.to_string())
}

fn progress(done: u64, all: u64, begun: Instant) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let speed = rate(done, begun);
        // A terminal that is gone needs no progress.
        drop(write!(err, "\r{done}/{all} seeds, {speed:.0} seeds/s "));
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(done: u64, begun: Instant) -> f64 {
    done as f64 / begun.elapsed().as_secs_f64().max(1e-9)
}

fn tell(out: &mut impl Write, options: &Options, found: &Found, begun: Instant) -> std::io::Result<bool> {
    let done = found.totals.of("run.seeds");
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(out, "\r{done} seeds in {seconds:.1} s, {:.1} seeds/s", rate(done, begun))?;
    for (seed, violation) in &found.failures {
        writeln!(out, "seed {seed} violates {violation}")?;
    }
    if let Some((seed, _)) = found.failures.first().filter(|_| options.shrinks) {
        let least = shrink(*seed, &options.limits);
        let (report, trace) = record(*seed, &least);
        if let Some(violation) = report.violation {
            writeln!(out, "the least that fails: {violation}")?;
        }
        let file = options.traces.join(format!("sim-{seed}.trace"));
        match std::fs::write(&file, trace) {
            Ok(()) => writeln!(out, "what its clients did: {}", file.display())?,
            Err(error) => writeln!(out, "no trace at {}: {error}", file.display())?,
        }
        writeln!(out, "run it again: {}", command(*seed, &least))?;
    }
    let zeros = missing(&found.totals);
    writeln!(out, "{}", found.totals)?;
    for (name, why) in not_yet() {
        writeln!(out, "not yet    {name}: {why}")?;
    }
    for zero in &zeros {
        writeln!(out, "never happened, or is not to yet: {zero}")?;
    }
    let failed = found.failures.len();
    writeln!(out, "{failed} violations, {} zeros", zeros.len())?;
    Ok(failed == 0 && zeros.is_empty())
}

/// Runs a storm; an error says what did not hold.
pub(crate) fn storms(mut args: impl Iterator<Item = String>) -> Result<bool, String> {
    let mut storm = Storm::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--callers" => storm.callers = number(&value()?)?,
            "--seconds" => storm.time = Duration::from_secs(number(&value()?)?),
            "--seed" => storm.seed = number(&value()?)?,
            other => return Err(format!("what is {other}?\n\n{}", super::USAGE)),
        }
    }
    let begun = Instant::now();
    let weathered = run_storm(storm)?;
    let mut out = std::io::stdout().lock();
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(out, "{weathered:?} in {seconds:.1} s").map_err(|error| error.to_string())?;
    Ok(true)
}

fn command(seed: u64, limits: &Limits) -> String {
    let mut command = format!("tikv-sim run --seeds {seed}");
    if let Some(ops) = limits.ops {
        command += &format!(" --ops {ops}");
    }
    let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(",") };
    if let Some(faults) = &limits.faults {
        command += &format!(" --faults {}", list(faults.iter().map(|fault| fault.name()).collect()));
    }
    if let Some(loads) = &limits.loads {
        command += &format!(" --loads {}", list(loads.iter().map(|load| load.name()).collect()));
    }
    command
}
