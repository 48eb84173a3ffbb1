//! The committed traces: what they hold, and that the client still does the same with the same answers.

#![allow(clippy::unwrap_used, reason = "a test, and what helps it, panics to fail")]

use std::path::PathBuf;

use tikv_client_core::trace::{Record, Records, redact, replay};
use tikv_sim::show::data::Picture;
use tikv_sim::{scene, show};

fn trace(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("traces/{name}.trace"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn records(trace: &[u8]) -> Vec<Record> {
    Records::new(trace).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_committed_trace_replays_identically() {
    for name in scene::names() {
        let report = replay(&trace(name)).unwrap();
        assert!(report.is_identical() && report.cut == 0 && report.withheld == 0, "{name}: {report}");
        assert!(report.identical > 0, "{name} holds no operation");
    }
}

#[test]
fn a_trace_whose_keys_are_hidden_replays_and_holds_none_of_them() {
    for (name, key) in [("lock_of_a_dead_client", "secondary"), ("lost_commit_answer", "for ever")] {
        let (before, hidden) = (trace(name), redact(&trace(name)).unwrap());
        let report = replay(&hidden).unwrap();
        assert!(report.is_identical() && report == replay(&before).unwrap(), "{name}: {report}");
        let holds = |trace: &[u8]| trace.windows(key.len()).any(|part| part == key.as_bytes());
        assert!(holds(&before) && !holds(&hidden), "{name}");
    }
}

#[test]
fn what_the_committed_traces_hold() {
    for name in scene::names() {
        insta::assert_snapshot!(name, show::listing(&records(&trace(name))));
    }
}

#[test]
fn a_scene_gives_the_same_trace_each_time_and_it_replays() {
    for name in scene::names() {
        let (one, other) = (scene::record(name).unwrap(), scene::record(name).unwrap());
        assert_eq!(one, other, "{name}");
        let report = replay(&one).unwrap();
        assert!(report.is_identical(), "{name}: {report}");
    }
}

#[test]
fn a_scene_that_is_none_is_refused_with_those_there_are() {
    let error = scene::record("nothing").unwrap_err();
    assert!(error.contains("not_leader_storm"), "{error}");
}

#[test]
fn a_completion_that_is_another_is_found_and_named() {
    let changed = records(&trace("not_leader_storm")).into_iter().map(|mut record| {
        if let Some(tikv_client_core::trace::format::Entry::Step(step)) = &mut record.entry
            && step.number == 2
            && step.index == 3
        {
            step.at_ns += 1_000_000;
        }
        record
    });
    // A step that came later: the request's deadline, and all pauses behind it, move.
    let report = tikv_client_core::trace::replay_records(changed);
    assert_eq!(
        (report.different, report.differences[0].operation, report.differences[0].step),
        (1, 2, 3),
        "{report}"
    );
    assert!(report.to_string().contains("operation 2 (raw get), step 3"), "{report}");
}

#[test]
fn the_data_of_a_picture() {
    let picture = Picture::new("lost_commit_answer", &records(&trace("lost_commit_answer")));
    let outcomes: Vec<_> = picture.ops.iter().map(|op| (op.name, op.outcome)).collect();
    assert_eq!(outcomes, [("begin", "ok"), ("commit", "ok"), ("begin", "ok"), ("commit", "undetermined")]);
    insta::assert_snapshot!("picture", serde_json::to_string_pretty(&picture).unwrap());
}

#[test]
fn a_page_needs_nothing_else_and_texts_cannot_break_out_of_it() {
    let page = show::page("</script><b>", &trace("split_during_commit")).unwrap();
    assert!(!page.contains("</script><b>"), "a title is data");
    for outside in ["http://www.w3.org/2000/svg", "https://", "src=", "@import", "url(http"] {
        let there = page.matches(outside).count();
        assert_eq!(there, usize::from(outside.starts_with("http://www.w3.org")), "{outside}");
    }
    assert!(show::page("x", b"no trace").is_err());
}
