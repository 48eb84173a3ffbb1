//! Plots as SVG, drawn by hand: bars with their spread, and ratios on a logarithmic scale.

use crate::clients::Who;
use crate::record::Recording;
use crate::stats::Spread;
use std::collections::BTreeSet;

/// One number of one client.
pub(super) struct Mark<'a> {
    pub(super) client: &'a str,
    pub(super) spread: Spread,
}

/// Widths and heights in CSS pixels.
const ROW: f64 = 24.0;
const LABEL: f64 = 100.0;
const BAR: f64 = 190.0;
const NUMBER: f64 = 70.0;
const NAMES: f64 = 190.0;
const RATIOS: f64 = 640.0;

/// Text that may stand in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A client's colour; those that are not known share the last.
fn class(client: &str) -> String {
    format!("c{}", Who::named(client).map_or(7, |who| who as usize))
}

/// Which colour is whose.
pub(super) fn legend(recording: &Recording) -> String {
    let clients = recording.workloads.iter().flat_map(|(_, clients)| clients.iter());
    let known: BTreeSet<_> =
        clients.map(|(client, _)| (Who::named(client).is_none(), Who::named(client), client)).collect();
    let of = |client: &str| format!("<span class=\"{}\">{}</span>", class(client), escaped(client));
    let names: Vec<_> = known.into_iter().map(|(.., client)| of(client)).collect();
    format!("<div class=\"legend\">{}</div>\n", names.join(""))
}

/// A bar for each client, from zero, with a line from the least to the most.
pub(super) fn bars(title: &str, marks: &[Mark<'_>]) -> String {
    let most = marks.iter().map(|mark| mark.spread.high).fold(0.0, f64::max);
    let x = |value: f64| LABEL + if most > 0.0 { value / most * BAR } else { 0.0 };
    let (width, height) = (LABEL + BAR + NUMBER, ROW * (marks.len() + 1) as f64);
    let mut svg = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <text x=\"0\" y=\"14\" class=\"quiet\">{}</text>\n",
        escaped(title)
    );
    for (row, Mark { client, spread }) in (1..).zip(marks) {
        let (top, class) = (ROW * f64::from(row), class(client));
        let (middle, base) = (top + ROW / 2.0 - 3.0, top + ROW / 2.0 + 2.0);
        svg.push_str(&format!(
            "<g class=\"{class}\"><title>{client}: {median} ({low} to {high})</title>\
             <text x=\"0\" y=\"{base:.0}\">{client}</text>\
             <rect x=\"{LABEL}\" y=\"{top:.0}\" width=\"{bar:.1}\" height=\"18\" fill=\"currentColor\" \
             fill-opacity=\".55\"/>\
             <line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.0}\" y2=\"{middle:.0}\" class=\"line\" \
             stroke=\"currentColor\"/>\
             <text x=\"{number:.1}\" y=\"{base:.0}\">{median}</text></g>\n",
            client = escaped(client),
            median = short(spread.median),
            low = short(spread.low),
            high = short(spread.high),
            bar = x(spread.median) - LABEL,
            from = x(spread.low),
            to = x(spread.high),
            number = x(spread.high) + 5.0,
        ));
    }
    svg + "</svg>\n"
}

/// A row for each workload, a mark for each client, on a logarithmic scale.
pub(super) fn ratios(rows: &[(&str, Vec<Mark<'_>>)]) -> String {
    let all = || rows.iter().flat_map(|(_, marks)| marks.iter());
    let low = all().map(|mark| mark.spread.low).fold(1.0, f64::min) / 1.05;
    let high = all().map(|mark| mark.spread.high).fold(2.0, f64::max) * 1.05;
    let x = |ratio: f64| NAMES + (ratio / low).ln() / (high / low).ln() * RATIOS;
    let (width, height) = (NAMES + RATIOS + 20.0, ROW * (rows.len() + 1) as f64 + 6.0);
    let mut svg = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n"
    );
    let ticks = [0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0, 80.0];
    for tick in ticks.into_iter().filter(|tick| (low..=high).contains(tick)) {
        svg.push_str(&format!(
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"20\" y2=\"{height}\" class=\"grid\"/>\
             <text x=\"{at:.1}\" y=\"14\" text-anchor=\"middle\" class=\"quiet\">{tick}</text>\n",
            at = x(tick)
        ));
    }
    for (row, (name, marks)) in (1..).zip(rows) {
        let middle = ROW * f64::from(row) + ROW / 2.0;
        svg.push_str(&format!("<text x=\"0\" y=\"{:.0}\">{}</text>\n", middle + 4.0, escaped(name)));
        for Mark { client, spread } in marks {
            svg.push_str(&format!(
                "<g class=\"{class}\"><title>{name}, {client}: {median:.2} ({low:.2} to {high:.2})</title>\
                 <line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle}\" y2=\"{middle}\" class=\"line\" \
                 stroke=\"currentColor\"/>\
                 <circle cx=\"{at:.1}\" cy=\"{middle}\" r=\"5\" fill=\"currentColor\"/></g>\n",
                class = class(client),
                name = escaped(name),
                client = escaped(client),
                median = spread.median,
                low = spread.low,
                high = spread.high,
                from = x(spread.low),
                to = x(spread.high),
                at = x(spread.median),
            ));
        }
    }
    svg + "</svg>\n"
}

/// A number in as many digits as one reads.
fn short(number: f64) -> String {
    match number {
        number if number >= 100_000.0 => format!("{:.0}k", number / 1e3),
        number if number >= 100.0 => format!("{number:.0}"),
        number => format!("{number:.1}"),
    }
}
