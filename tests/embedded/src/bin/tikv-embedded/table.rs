//! What a terminal shows of a running cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use tikv_embedded::State;
use tikv_embedded::control::Node;

/// The methods that are shown, those called most.
const METHODS: usize = 8;

/// A text of at most `size` (columns, lines) about `state`, and what has happened since an earlier one.
pub(crate) fn draw(state: &State, since: Option<(&State, Duration)>, size: (u16, u16)) -> String {
    let mut lines = vec![headline(state), String::new()];
    lines.push(format!(
        "{:>6}  {:<21} {:<9} {:<11} {:>7} {:>7} {:>10} {:>8}",
        "STORE", "ADDRESS", "STATE", "REACH", "LEADERS", "PEERS", "CALLS", "PER S"
    ));
    for view in &state.stores {
        let calls = state.calls_of(Node::Store(view.store.id));
        let before = since.map(|(state, past)| (state.calls_of(Node::Store(view.store.id)), past));
        lines.push(format!(
            "{:>6}  {:<21} {:<9} {:<11} {:>7} {:>7} {:>10} {:>8}",
            view.store.id,
            view.store.address,
            format!("{:?}", view.store.state).to_lowercase(),
            view.reach.word(),
            view.leaders,
            view.peers,
            calls,
            per_second(calls, before),
        ));
    }
    lines.push(String::new());
    lines.extend(methods(state, since));
    if !state.faults.is_empty() {
        lines.push(String::new());
        lines.push(format!("{:<30} {:>10}", "FAULT", "HITS"));
        lines.extend(state.faults.iter().map(|(name, hits)| format!("{name:<30} {hits:>10}")));
    }
    lines.push(String::new());
    let (width, height) = (usize::from(size.0), usize::from(size.1));
    lines.extend(regions(state, height.saturating_sub(lines.len() + 1)));
    let mut text = String::new();
    for line in lines.into_iter().take(height.saturating_sub(1)) {
        text.extend(line.chars().take(width));
        text.push('\n');
    }
    text
}

fn headline(state: &State) -> String {
    let mut line = "tikv-embedded  PD".to_owned();
    for member in &state.pd {
        let leads = if member.leads { " (leads)" } else { "" };
        let reach = if member.reach.word() == "serving" { "" } else { " (out of reach)" };
        line.push_str(&format!(" {}{leads}{reach}", member.address));
    }
    line + "  Ctrl-C ends it"
}

/// The methods called most.
fn methods(state: &State, since: Option<(&State, Duration)>) -> Vec<String> {
    let sums = |state: &State| {
        let mut sums: BTreeMap<&'static str, u64> = BTreeMap::new();
        state.calls.iter().for_each(|((_, method), count)| *sums.entry(method).or_default() += count);
        sums
    };
    let before = since.map(|(state, past)| (sums(state), past));
    let mut most: Vec<(&str, u64)> = sums(state).into_iter().collect();
    most.sort_by_key(|(method, count)| (std::cmp::Reverse(*count), *method));
    let row = |(method, count): &(&str, u64)| {
        let before = before.as_ref().map(|(sums, past)| (sums.get(method).copied().unwrap_or(0), *past));
        format!("{method:<30} {count:>10} {:>8}", per_second(*count, before))
    };
    let heading = format!("{:<30} {:>10} {:>8}", "METHOD", "CALLS", "PER S");
    std::iter::once(heading).chain(most.iter().take(METHODS).map(row)).collect()
}

/// Regions by key, as many as there is room for.
fn regions(state: &State, room: usize) -> Vec<String> {
    let heading = format!("{:>8} {:>6} {:>9} {:<16} RANGE", "REGION", "LEADER", "EPOCH", "PEERS");
    let rows = room.saturating_sub(2).max(1);
    let mut lines = vec![heading];
    for region in state.regions.iter().take(rows) {
        let leader = region.leader_peer().map_or_else(|| "none".to_owned(), |peer| peer.store.to_string());
        let epoch = format!("{}/{}", region.version, region.conf_ver);
        let peers: Vec<String> = region.peers.iter().map(|peer| peer.store.to_string()).collect();
        let end = if region.end.is_empty() { "the end".to_owned() } else { format!("{:?}", region.end) };
        lines.push(format!(
            "{:>8} {leader:>6} {epoch:>9} {:<16} {:?} to {end}",
            region.id,
            peers.join(" "),
            region.start,
        ));
    }
    if state.regions.len() > rows {
        lines.push(format!("{:>8} more", state.regions.len() - rows));
    }
    lines
}

fn per_second(count: u64, before: Option<(u64, Duration)>) -> u64 {
    let Some((before, past)) = before else { return 0 };
    let ms = u64::try_from(past.as_millis()).unwrap_or(u64::MAX).max(1);
    count.saturating_sub(before).saturating_mul(1000) / ms
}

#[cfg(test)]
mod tests {
    use tikv_embedded::Cluster;
    use tikv_embedded::control::{Action, Matcher, Rule};

    use super::*;

    #[test]
    fn the_table_shows_stores_regions_and_faults_and_fits_the_terminal() {
        let cluster = Cluster::builder().stores(2).split_keys(["m"]).start().wait().expect("it starts");
        cluster.set_fault("lost", [Rule::new(Matcher::method("RawPut"), Action::Lose)]);
        cluster.stop_store(2).expect("such a store");
        let state = cluster.state();
        let text = draw(&state, None, (100, 40));
        for shown in ["(leads)", "serving", "stopped", "METHOD", "lost", "to the end"] {
            assert!(text.contains(shown), "{shown} in\n{text}");
        }
        let small = draw(&state, Some((&state, Duration::from_secs(1))), (20, 5));
        assert!(small.lines().count() < 5 && small.lines().all(|line| line.chars().count() <= 20), "{small}");
    }

    #[test]
    fn rates_are_of_the_time_that_has_passed() {
        assert_eq!(per_second(150, Some((50, Duration::from_millis(500)))), 200);
        assert_eq!(per_second(150, None), 0);
        assert_eq!(per_second(50, Some((150, Duration::ZERO))), 0, "a count that went back");
    }
}
