//! Recordings as text.

use crate::record::{Head, Number, Runs};
use crate::stats::{Spread, paired, spread};

/// What all ratios are to.
const FLOOR: &str = "echo";
const OURS: &str = "ours";

/// What a table begins with.
pub(crate) fn title(head: &Head) -> String {
    let Head { date, machine, commit, cluster, rounds, seconds } = head;
    format!(
        "{date}, commit {commit}; {machine}; cluster: {cluster}; {rounds} rounds of {seconds} s\n\
         Medians of the rounds. Ratios are of CPU for an operation, of runs of the same round: median (least-most).\n"
    )
}

/// One workload's clients.
pub(crate) fn workload(name: &str, clients: &[(String, Runs)]) -> String {
    let mut text = String::new();
    text.push_str(&format!(
        "{name:<26} {:>9} {:>9} {:>9} {:>9} {:>8} {:>7} {:>6}  {:<18} {:<18}\n",
        "ops/s", "p50 us", "p99 us", "p99.9 us", "CPU us", "allocs", "MiB", "CPU/floor", "CPU/ours"
    ));
    let cpu = |runs: &Runs| runs.of(|outcome| outcome.cpu_us);
    let of = |wanted: &str| clients.iter().find(|(client, _)| client == wanted).map(|(_, runs)| cpu(runs));
    let (floor, ours) = (of(FLOOR), of(OURS));
    for (client, runs) in sorted(clients) {
        let ratio = |under: &Option<Vec<f64>>| {
            let ratio = under.as_ref().and_then(|under| paired(cpu(runs), under.iter().copied()));
            ratio.map_or_else(String::new, |ratio| shown(&ratio))
        };
        let median = |number: Number| spread(runs.of(number)).map_or(f64::NAN, |it| it.median);
        let allocations = runs.allocations.map_or_else(|| "-".to_owned(), |count| format!("{count:.1}"));
        text.push_str(&format!("  {client:<24} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>8.2} {allocations:>7} {:>6.0}  {:<18} {:<18}\n",
            median(|outcome| outcome.per_second),
            median(|outcome| outcome.p50_us),
            median(|outcome| outcome.p99_us),
            median(|outcome| outcome.p999_us),
            median(|outcome| outcome.cpu_us),
            median(|outcome| outcome.peak_kib as f64 / 1024.0),
            if client == FLOOR { String::new() } else { ratio(&floor) },
            if client == OURS { String::new() } else { ratio(&ours) },
        ));
    }
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

pub(crate) fn shown(ratio: &Spread) -> String {
    format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.low, ratio.high)
}

/// The clients of a table in one order, whoever was run first.
pub(crate) fn sorted(clients: &[(String, Runs)]) -> Vec<(&str, &Runs)> {
    let place = |name: &str| crate::clients::Who::named(name);
    let mut sorted: Vec<_> = clients.iter().map(|(name, runs)| (name.as_str(), runs)).collect();
    sorted.sort_by_key(|(name, _)| (place(name).is_none(), place(name)));
    sorted
}

#[cfg(test)]
mod tests {
    use crate::record::tests::recording;

    #[test]
    fn the_table_has_medians_and_paired_ratios() {
        let recording = recording([10.0, 10.0, 10.4, 9.8]);
        let mut text = super::title(&recording.head);
        for (name, clients) in &recording.workloads {
            text.push_str(&super::workload(name, clients));
        }
        insta::assert_snapshot!(text);
    }
}
