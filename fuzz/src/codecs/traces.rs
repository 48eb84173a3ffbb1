//! Traces from a hostile hand: the reader and the replay take any records.
//!
//! Laws: a trace is read or refused, never a panic; replaying is a function of the trace; each operation is counted once.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use tikv_client_core::request::Command;
use tikv_client_core::trace::format::{self as f, Cause, Completion, Entry, FactKind, FaultKind, Record};
use tikv_client_core::trace::{MAGIC, Records, TraceError, VERSION, replay, replay_records, show};

use crate::choices::Choices;

fn located(choices: &mut Choices<'_>) -> f::Located {
    let mut region = f::Region::default();
    (region.id, region.version, region.conf_ver) = (choices.below(3) as u64, 1, choices.any::<u8>().into());
    let mut located = f::Located::default();
    (located.region, located.peer, located.store) =
        (choices.one_in(2).then_some(region), 1, choices.below(3) as u64);
    located
}

fn range(choices: &mut Choices<'_>) -> f::Range {
    let mut range = f::Range::default();
    (range.start, range.end) = (choices.key().0, choices.key().0);
    range
}

fn write(choices: &mut Choices<'_>) -> f::Write {
    let mut write = f::Write::default();
    (write.key, write.value, write.kind) = (choices.key().0, choices.bytes(3), choices.below(8) as i32);
    write
}

/// Any operation, with arguments that it has or has not.
fn start(choices: &mut Choices<'_>) -> f::Start {
    let mut start = f::Start::default();
    start.operation = choices.below(24) as i32;
    start.keys = (0..choices.below(4)).map(|_| choices.key().0).collect();
    start.writes = (0..choices.below(4)).map(|_| write(choices)).collect();
    start.range = choices.one_in(2).then(|| range(choices));
    (start.ts, start.commit_ts) = (choices.any(), choices.any());
    start.primary = choices.key().0;
    start.limit = choices.any::<u64>() >> (choices.any::<u8>() % 64);
    start.page = choices.any::<u8>().into();
    (start.reverse, start.overlay_reverse) = (choices.one_in(2), choices.one_in(2));
    (start.attempt, start.begun_ns) = (choices.any(), choices.any());
    if choices.one_in(3) {
        let mut cleaning = f::Cleaning::default();
        cleaning.keys = vec![choices.key().0];
        start.cleanings.push(cleaning);
    }
    start
}

fn begin(number: u64, choices: &mut Choices<'_>) -> f::Begin {
    let mut begin = f::Begin::default();
    begin.number = number;
    begin.seed = choices.any();
    begin.deadline_ns = choices.any();
    begin.concurrency = choices.below(3) as u64;
    begin.redact_keys = choices.one_in(2);
    begin.start = (!choices.one_in(8)).then(|| start(choices));
    if choices.one_in(2) {
        let mut budget = f::Budget::default();
        (budget.kind, budget.ms, budget.weight) = (choices.below(5) as i32, choices.any(), choices.any());
        begin.budget = Some(budget);
    }
    begin
}

fn completion(choices: &mut Choices<'_>) -> Completion {
    match choices.below(8) {
        0 => Completion::Response(choices.bytes(20)),
        1 => Completion::Fired(choices.any()),
        2 => Completion::Timestamp(choices.any()),
        3 => Completion::Region(located(choices)),
        4 => Completion::Regions(f::Regions::default()),
        5 => {
            let mut fault = f::Fault::default();
            fault.fault = Some(match choices.below(3) {
                0 => FaultKind::Interrupted(choices.below(5) as i32),
                1 => FaultKind::Transport(f::Transport::default()),
                _ => FaultKind::Overloaded(true),
            });
            Completion::Fault(fault)
        }
        6 => Completion::Withheld(choices.any()),
        _ => Completion::Other("x".into()),
    }
}

fn step(number: u64, index: u32, choices: &mut Choices<'_>) -> f::Step {
    let mut step = f::Step::default();
    (step.number, step.index, step.at_ns) = (number, index, choices.any());
    step.cause = match choices.below(6) {
        0 => None,
        1 => Some(Cause::Dropped(true)),
        2 => Some(Cause::Interrupted(choices.below(5) as i32)),
        3 => {
            let mut completed = f::Completed::default();
            completed.ticket = choices.below(4) as u64;
            completed.completion = (!choices.one_in(6)).then(|| completion(choices));
            Some(Cause::Completed(completed))
        }
        _ => Some(Cause::First(true)),
    };
    for _ in 0..choices.below(3) {
        let mut locate = f::Locate::default();
        (locate.key, locate.below) = (choices.key().0, choices.one_in(3));
        locate.answer = choices.one_in(2).then(|| located(choices));
        let mut fact = f::Fact::default();
        fact.fact = Some(FactKind::Locate(locate));
        step.facts.push(fact);
    }
    step
}

fn record(choices: &mut Choices<'_>) -> Record {
    let number = choices.below(3) as u64;
    let mut record = Record::default();
    record.entry = match choices.below(8) {
        0..3 => Some(Entry::Begin(begin(number, choices))),
        3..6 => Some(Entry::Step(step(number, choices.below(3) as u32, choices))),
        6 => {
            let mut end = f::End::default();
            (end.number, end.dropped, end.hash) = (number, choices.one_in(2), choices.any());
            Some(Entry::End(end))
        }
        _ => None,
    };
    record
}

/// A trace of some records, as a file.
fn file(choices: &mut Choices<'_>) -> Bytes {
    let mut file = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    for _ in 0..choices.below(8) {
        file.extend(record(choices).encode_length_delimited_to_vec());
    }
    file.into()
}

/// See the module.
pub(crate) fn check(choices: &mut Choices<'_>) {
    let file = file(choices);
    let file = if choices.one_in(3) { choices.spoil(file) } else { file };
    let report = replay(&file);
    assert_eq!(report, replay(&file), "a replay is a function of its trace");
    let Ok(report) = report else { return };
    // A torn tail is no error: what stands before it is replayed.
    let read: Vec<_> = Records::new(&file).expect("it was read").collect();
    let torn = matches!(read.last(), Some(Err(TraceError::Truncated { .. })));
    assert_eq!(report.truncated, torn);
    let records: Vec<Record> = read.into_iter().filter_map(Result::ok).collect();
    let mut whole = replay_records(records.clone());
    whole.truncated = torn;
    assert_eq!(report, whole);
    assert!(!report.to_string().is_empty());
    let numbers: BTreeSet<u64> = records
        .iter()
        .filter_map(|record| match record.entry.as_ref()? {
            Entry::Begin(begin) => Some(begin.number),
            Entry::Step(step) => Some(step.number),
            Entry::End(end) => Some(end.number),
            _ => None,
        })
        .collect();
    let begins = records.iter().filter(|record| matches!(record.entry, Some(Entry::Begin(_)))).count() as u64;
    let counted = report.identical + report.cut + report.withheld + report.different;
    assert!(counted <= begins + numbers.len() as u64 && report.unfinished <= report.identical, "{report:?}");
    // Requests and answers are shown whatever they are.
    let body = choices.bytes(30);
    for command in Command::ALL {
        assert!(!show::response(*command, &body).is_empty());
    }
}
