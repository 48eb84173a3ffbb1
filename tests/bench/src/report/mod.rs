//! A recording as one page: no script, no other file, no network.
//!
//! First all workloads in one picture, ratios of CPU to the floor; then each with its plots (`plot`) and its table.

mod plot;

use std::path::Path;

use tikv_bench_load::Failure;

use crate::record::{Number, Recording, Runs};
use crate::stats::{paired, spread};
use crate::{say, table};
use plot::{Mark, escaped};

const STYLE: &str = include_str!("style.css");

const FLOOR: &str = "echo";

pub(crate) fn run(recording: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::write(to, page(&Recording::read(recording)?))?;
    say(&to.display().to_string());
    Ok(())
}

/// The whole page.
fn page(recording: &Recording) -> String {
    let head = &recording.head;
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>tikv-bench {date}</title>\n<style>\n{STYLE}</style>\n<h1>TiKV clients, side by side</h1>\n\
         <p>{date}, commit {commit}. {machine}. Cluster: {cluster}. {rounds} rounds of {seconds} s.</p>\n",
        date = escaped(&head.date),
        commit = escaped(&head.commit),
        machine = escaped(&head.machine),
        cluster = escaped(&head.cluster),
        rounds = head.rounds,
        seconds = head.seconds,
    );
    for (client, why) in &recording.left_out {
        html.push_str(&format!("<p>Left out: {}: {}</p>\n", escaped(client), escaped(why)));
    }
    if !recording.workloads.is_empty() {
        html.push_str(&overview(recording));
    }
    for (name, clients) in &recording.workloads {
        html.push_str(&workload(name, clients));
    }
    if !recording.micro.is_empty() {
        html.push_str(&micro(recording));
    }
    html.push_str("</html>\n");
    html
}

fn cpu(runs: &Runs) -> Vec<f64> {
    runs.of(|outcome| outcome.cpu_us)
}

/// Each workload a row, each client a mark: CPU as a ratio to the floor of the same round.
fn overview(recording: &Recording) -> String {
    let mut rows = Vec::new();
    for (name, clients) in &recording.workloads {
        let Some(floor) = recording.runs(name, FLOOR).map(cpu) else { continue };
        let marks = table::sorted(clients).into_iter().filter(|(client, _)| *client != FLOOR);
        let marks = marks.filter_map(|(client, runs)| {
            Some(Mark { client, spread: paired(cpu(runs), floor.iter().copied())? })
        });
        rows.push((name.as_str(), marks.collect()));
    }
    format!(
        "<h2>CPU of the client's process for one operation, as a ratio to the floor</h2>\n\
         <p>The floor is a bare stream with the same requests. A dot is the median of the rounds, its line their \
         spread. Further right costs more; the scale is logarithmic.</p>\n{}{}",
        plot::legend(recording),
        plot::ratios(&rows)
    )
}

fn workload(name: &str, clients: &[(String, Runs)]) -> String {
    let sorted = table::sorted(clients);
    let marks = |number: Number| -> Vec<Mark<'_>> {
        let marks = sorted.iter();
        marks.filter_map(|&(client, runs)| Some(Mark { client, spread: spread(runs.of(number))? })).collect()
    };
    let mut html = format!("<h2>{}</h2>\n<div class=\"plots\">\n", escaped(name));
    let plots: [(&str, Number); 3] = [
        ("CPU, µs an operation", |outcome| outcome.cpu_us),
        ("operations a second", |outcome| outcome.per_second),
        ("99 of 100 took at most, µs", |outcome| outcome.p99_us),
    ];
    for (title, number) in plots {
        html.push_str(&plot::bars(title, &marks(number)));
    }
    html.push_str("</div>\n<pre>");
    html.push_str(&escaped(&table::workload(name, clients)));
    html.push_str("</pre>\n");
    html
}

fn micro(recording: &Recording) -> String {
    let mut html = "<h2>Pure parts, one thread</h2>\n<table>\n\
                    <tr><th></th><th>ns</th><th>operations/s</th><th>least-most ns</th></tr>\n"
        .to_owned();
    for (bench, rounds) in &recording.micro {
        if let Some(ns) = spread(rounds.iter().copied()) {
            html.push_str(&format!(
                "<tr><td>{}</td><td>{:.1}</td><td>{:.0}</td><td>{:.1}-{:.1}</td></tr>\n",
                escaped(bench),
                ns.median,
                1e9 / ns.median,
                ns.low,
                ns.high
            ));
        }
    }
    html + "</table>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Line;
    use crate::record::tests::recording;

    fn sample() -> Recording {
        let mut recording = recording([10.0, 10.0, 10.4, 9.8]);
        recording.add(Line::Micro { bench: "codec <encode>".into(), round: 0, ns: 12.5 });
        recording.add(Line::LeftOut { client: "x".into(), why: "a < b && c".into() });
        recording
    }

    #[test]
    fn the_page_of_a_recording() {
        insta::assert_snapshot!(page(&sample()).replace(STYLE, "…\n"));
    }

    #[test]
    fn a_page_needs_nothing_but_itself() {
        let page = page(&sample());
        for outside in ["http:", "https:", "<script", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("a &lt; b &amp;&amp; c"));
    }

    #[test]
    fn a_recording_of_nothing_has_a_page() {
        assert!(page(&Recording::default()).ends_with("</html>\n"));
    }
}
