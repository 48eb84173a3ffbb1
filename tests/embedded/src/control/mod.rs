//! Faults on purpose: rules that say which calls go wrong, and how.
//!
//! * [`rule`]: a [`Rule`] is a [`Matcher`] (which calls) and an [`Action`] (what happens to them), for the n-th match
//!   on, every n-th of them, so many times.
//!   `subject`: what a command is about, for rules about keys and transactions.
//! * [`refusal`]: the region errors that an action can answer, filled in from the region that the call names.
//! * here: [`Faults`], the rules of one cluster in the order in which they were added; the first live one that matches
//!   acts. Every rule counts its hits, so a test can wait until the fault has happened.
//!
//! * [`instruction`]: all that can be done to a cluster, as text: for scripts and for tests in another process.
//!   `words` and `action_text` read its parts, [`script`] a file with times.
//!
//! All of it is data without time or I/O: the model carries the actions out, under the server and the simulator alike.

mod action_text;
pub mod instruction;
pub mod refusal;
pub mod rule;
pub mod script;
mod subject;
mod words;

use std::collections::BTreeMap;

pub use instruction::{BadInstruction, Instruction, Where};
pub use refusal::Refusal;
pub use rule::{Action, Matcher, Node, Rule, Trait};
pub use script::{BadScript, Script};
use tikv_proto::kvrpcpb::Context;

use self::subject::Subject;
use crate::model::Command;

/// An error with its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Names a rule of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

/// What a rule has to know of a call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallFacts<'a> {
    /// Who was called.
    pub node: Node,
    /// The method's name, the last part of its path: `KvGet`, `Tso`.
    pub method: &'static str,
    /// The region that the call's context names; 0: none.
    pub region: u64,
    /// The call's context, if it is a store's call that has one.
    pub context: Option<&'a Context>,
    /// The command, if it is a store's call.
    command: Option<&'a Command>,
}

impl<'a> CallFacts<'a> {
    /// A call of `method` at `node` without context.
    #[must_use]
    pub fn new(node: Node, method: &'static str) -> Self {
        Self { node, method, region: 0, context: None, command: None }
    }

    /// With this context, whose region is the call's.
    #[must_use]
    pub fn with_context(mut self, context: Option<&'a Context>) -> Self {
        self.region = context.map_or(0, |context| context.region_id);
        self.context = context;
        self
    }

    /// With this command, and its context.
    #[must_use]
    pub fn with_command(self, command: &'a Command) -> Self {
        Self { command: Some(command), ..self.with_context(command.context()) }
    }

    /// What the command is about; looked at by rules only that ask for it.
    fn subject(&self) -> Option<Subject<'a>> {
        self.command.map(Subject::of)
    }
}

/// The rules of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: BTreeMap<RuleId, Live>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Live {
    rule: Rule,
    /// Calls that matched, acted upon or not.
    matched: u64,
    hits: u64,
}

impl Live {
    /// Whether the rule acts on its next match.
    fn due(&self) -> bool {
        let after = self.matched.checked_sub(self.rule.skip);
        after.is_some_and(|after| after % self.rule.every == 0)
            && self.rule.times.is_none_or(|times| self.hits < times)
    }
}

impl Faults {
    /// Adds a rule behind those that are there.
    pub fn add(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next);
        self.next += 1;
        self.rules.insert(id, Live { rule, matched: 0, hits: 0 });
        id
    }

    /// Takes a rule away; returns how often it has acted.
    pub fn remove(&mut self, id: RuleId) -> Option<u64> {
        self.rules.remove(&id).map(|live| live.hits)
    }

    /// How often a rule has acted; 0 for one that is not there.
    #[must_use]
    pub fn hits(&self, id: RuleId) -> u64 {
        self.rules.get(&id).map_or(0, |live| live.hits)
    }

    /// Whether no rule is there: the usual case, which costs a call nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What happens to this call. Rules in front of the one that acts count the match as well.
    pub fn meet(&mut self, call: &CallFacts<'_>) -> Option<(RuleId, Action)> {
        for (&id, live) in &mut self.rules {
            if !live.rule.matcher.matches(call) {
                continue;
            }
            let due = live.due();
            live.matched += 1;
            if due {
                live.hits += 1;
                return Some((id, live.rule.action.clone()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &'static str) -> CallFacts<'static> {
        CallFacts { region: 4, ..CallFacts::new(Node::Store(1), method) }
    }

    fn hit(faults: &mut Faults, method: &'static str) -> Option<RuleId> {
        faults.meet(&call(method)).map(|(id, _)| id)
    }

    #[test]
    fn a_rule_acts_from_its_nth_match_so_many_times() {
        let mut faults = Faults::default();
        let rule = faults.add(Rule::new(Matcher::method("KvCommit"), Action::DropAnswer).skip(1).times(2));
        let acted: Vec<bool> = (0..5).map(|_| hit(&mut faults, "KvCommit").is_some()).collect();
        assert_eq!(acted, [false, true, true, false, false]);
        assert_eq!(hit(&mut faults, "KvGet"), None);
        assert_eq!((faults.hits(rule), faults.remove(rule), faults.hits(rule)), (2, Some(2), 0));
    }

    #[test]
    fn a_rule_acts_on_every_nth_match() {
        let mut faults = Faults::default();
        faults.add(Rule::new(Matcher::any(), Action::Lose).skip(1).every(3).times(2));
        let acted: Vec<bool> = (0..9).map(|_| hit(&mut faults, "KvGet").is_some()).collect();
        assert_eq!(acted, [false, true, false, false, true, false, false, false, false]);
    }

    #[test]
    fn a_rule_can_be_about_what_the_context_says() {
        let plain = Context { request_source: "external_gc".to_owned(), ..Context::default() };
        let special = Context { stale_read: true, is_retry_request: true, ..Context::default() };
        for (what, in_plain, in_special) in [
            (Trait::StaleRead, false, true),
            (Trait::ReplicaRead, false, false),
            (Trait::Retry, false, true),
            (Trait::Source("external".to_owned()), true, false),
            (Trait::Source("internal".to_owned()), false, false),
            (Trait::ResourceGroup("g".to_owned()), false, false),
        ] {
            let matcher = Matcher::any().saying(what.clone());
            let fits = |context| matcher.matches(&call("KvPrewrite").with_context(Some(context)));
            assert_eq!((fits(&plain), fits(&special)), (in_plain, in_special), "{what:?}");
            assert!(!matcher.matches(&call("KvPrewrite")), "a call without context says nothing");
        }
    }

    #[test]
    fn the_first_live_rule_acts() {
        let mut faults = Faults::default();
        let once = faults.add(Rule::new(Matcher::any(), Action::Lose).times(1));
        let after = faults.add(Rule::new(Matcher::any().at(Node::Store(1)).region(4), Action::Break));
        assert_eq!(hit(&mut faults, "KvGet"), Some(once));
        assert_eq!(hit(&mut faults, "KvGet"), Some(after));
        let elsewhere = CallFacts { node: Node::Store(2), ..call("KvGet") };
        assert!(faults.meet(&elsewhere).is_none());
        let other_region = CallFacts { region: 9, ..call("KvGet") };
        assert!(faults.meet(&other_region).is_none());
    }

    #[test]
    fn any_store_is_no_pd() {
        let stores = Matcher::any().at(Node::AnyStore);
        assert!(stores.matches(&call("KvGet")));
        assert!(!stores.matches(&CallFacts { node: Node::Pd(0), ..call("Tso") }));
        let pds = Matcher::any().at(Node::AnyPd);
        assert!(pds.matches(&CallFacts { node: Node::Pd(1), ..call("Tso") }));
    }
}
