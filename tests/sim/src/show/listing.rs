//! A trace as text: every operation with its steps and what they want done, in the order in which they began.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tikv_client_core::request::Command;
use tikv_client_core::trace::format::{Cause, Completion, Effect, EffectKind, Entry, Record, Step};

use super::text;

/// The operations of `records`, step by step: for a person, and for a test to see what a new recording changes.
#[must_use]
pub fn listing(records: &[Record]) -> String {
    let mut operations: BTreeMap<u64, (String, BTreeMap<u64, Option<Command>>)> = BTreeMap::new();
    for record in records {
        match &record.entry {
            Some(Entry::Begin(begin)) => {
                let (name, detail) = text::start(begin);
                let (lines, _) = operations.entry(begin.number).or_default();
                line(lines, format_args!("#{} {name} {detail}", begin.number));
            }
            Some(Entry::Step(step)) => {
                let (lines, calls) = operations.entry(step.number).or_default();
                list_step(step, lines, calls);
            }
            Some(Entry::End(end)) => {
                let (lines, _) = operations.entry(end.number).or_default();
                let how = if end.dropped {
                    "dropped"
                } else if end.error.is_empty() {
                    "ok"
                } else {
                    &end.error
                };
                line(
                    lines,
                    format_args!("  {:>9.3} ends: {how} {}", ms(end.at_ns), text::cut(&end.text, 200)),
                );
            }
            Some(_) | None => {}
        }
    }
    operations.into_values().map(|(lines, _)| lines).collect::<Vec<_>>().join("\n")
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn line(lines: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _written: Result<(), std::fmt::Error> = writeln!(lines, "{}", text.to_string().trim_end());
}

fn list_step(step: &Step, lines: &mut String, calls: &mut BTreeMap<u64, Option<Command>>) {
    let at = ms(step.at_ns);
    match &step.cause {
        Some(Cause::Completed(completed)) => {
            let command = calls.remove(&completed.ticket).flatten();
            let (result, why) = text::completion(command, completed.completion.as_ref());
            let what = match &completed.completion {
                Some(Completion::Fired(_)) => "has waited".to_owned(),
                _ => format!("{result} {why}"),
            };
            line(lines, format_args!("  {at:>9.3} <- {}: {what}", completed.ticket));
        }
        Some(Cause::Interrupted(_)) => line(lines, format_args!("  {at:>9.3} is stopped")),
        Some(Cause::Dropped(_)) => line(lines, format_args!("  {at:>9.3} is dropped")),
        Some(_) | None => line(lines, format_args!("  {at:>9.3} begins")),
    }
    for effect in &step.effects {
        line(lines, format_args!("            {}", list_effect(effect, calls)));
    }
}

fn list_effect(effect: &Effect, calls: &mut BTreeMap<u64, Option<Command>>) -> String {
    match &effect.effect {
        Some(EffectKind::Call(call)) => {
            let command = Command::of_number(call.command);
            calls.insert(call.ticket, command);
            let to = call.to.unwrap_or_default();
            let (region, again) =
                (to.region.map(text::region).unwrap_or_default(), if call.retry { ", again" } else { "" });
            let name = command.map_or_else(|| call.command.to_string(), |command| format!("{command:?}"));
            format!("-> {}: {name} to {region} at store {}{again}", call.ticket, to.store)
        }
        Some(EffectKind::Ask(ask)) => {
            let (name, detail) = text::question(ask);
            format!("-> {}: asks for {name} {detail}", ask.ticket)
        }
        Some(EffectKind::Timer(timer)) => {
            format!("-> {}: {} until {:.3}", timer.ticket, text::why(timer), ms(timer.at_ns))
        }
        Some(EffectKind::Spawn(start)) => format!("leaves to the background: {}", text::operation(start)),
        Some(EffectKind::Report(feedback)) => format!("learned: {}", text::feedback(feedback)),
        Some(EffectKind::Cancel(ticket)) => format!("does not wait for {ticket} any more"),
        Some(_) | None => "something else".to_owned(),
    }
}
