//! Fault rules at work.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::cluster::{Cluster, ControlError};
use super::shared::Shared;
use crate::control::{Action, Matcher, Rule, RuleId};
use crate::model::Cluster as Model;

impl Cluster {
    /// From now on does to calls what `rule` says, until the returned [`Fault`] is dropped.
    #[must_use = "the fault ends when this is dropped"]
    pub fn fault(&self, rule: Rule) -> Fault {
        self.faults([rule])
    }

    /// Several rules as one fault.
    fn faults(&self, rules: impl IntoIterator<Item = Rule>) -> Fault {
        let ids = self.cluster(|cluster, _| rules.into_iter().map(|rule| cluster.add_fault(rule)).collect());
        Fault { shared: Arc::clone(&self.shared), ids }
    }

    /// Counts the calls that `matcher` fits, and changes nothing.
    #[must_use = "the count ends when this is dropped"]
    pub fn count(&self, matcher: Matcher) -> Fault {
        self.fault(Rule::new(matcher, Action::Pass))
    }

    fn named(&self) -> MutexGuard<'_, BTreeMap<String, Fault>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on does to calls what `rules` say, until [`Self::end_fault`] of this name, or until other rules get
    /// the name.
    pub fn set_fault(&self, name: impl Into<String>, rules: impl IntoIterator<Item = Rule>) {
        let fault = self.faults(rules);
        let old = self.named().insert(name.into(), fault);
        // Dropping it takes the cluster's lock, so not under that of the names.
        drop(old);
    }

    /// Ends a named fault and lets the calls go that it holds; returns how many calls it has acted on.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn end_fault(&self, name: &str) -> Result<u64, ControlError> {
        let fault = self.named().remove(name);
        fault.map(|fault| fault.hits()).ok_or_else(|| ControlError::NoFault { name: name.to_owned() })
    }

    /// The named faults, and how many calls each has acted on.
    #[must_use]
    pub fn fault_hits(&self) -> BTreeMap<String, u64> {
        self.named().iter().map(|(name, fault)| (name.clone(), fault.hits())).collect()
    }

    /// Blocks until a named fault has acted on `hits` calls; returns on how many it has then.
    ///
    /// # Errors
    /// There is none of this name, or it has not acted as often within `within`.
    pub fn wait_fault(&self, name: &str, hits: u64, within: Duration) -> Result<u64, ControlError> {
        let ids = self.named().get(name).map(|fault| fault.ids.clone());
        let ids = ids.ok_or_else(|| ControlError::NoFault { name: name.to_owned() })?;
        self.shared.wait(within, |cluster| sum(cluster, &ids) >= hits);
        let has = self.shared.with(|cluster, _| sum(cluster, &ids));
        if has >= hits {
            return Ok(has);
        }
        Err(ControlError::NotHit { name: name.to_owned(), hits: has, wanted: hits, within })
    }
}

/// How many calls the rules have acted on.
fn sum(cluster: &Model, rules: &[RuleId]) -> u64 {
    rules.iter().map(|&id| cluster.faults().hits(id)).sum()
}

/// A fault rule at work. Dropping it takes the rule away and lets the calls go that it holds.
#[derive(Debug)]
pub struct Fault {
    shared: Arc<Shared>,
    ids: Vec<RuleId>,
}

impl Fault {
    /// How many calls it has acted on.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.shared.with(|cluster, _| sum(cluster, &self.ids))
    }

    /// Blocks until it has acted on `hits` calls, or until `timeout` has passed; says whether it has.
    ///
    /// It blocks the thread: inside an executor use [`Self::hit`].
    #[must_use]
    pub fn wait(&self, hits: u64, timeout: Duration) -> bool {
        self.shared.wait(timeout, |cluster| sum(cluster, &self.ids) >= hits)
    }

    /// Completes once it has acted on `hits` calls; on any executor.
    pub fn hit(&self, hits: u64) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(move |cx| {
            let done = |cluster: &Model| sum(cluster, &self.ids) >= hits;
            if self.shared.poll(cx.waker(), done) { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.shared.with(|cluster, now| {
            for &id in &self.ids {
                cluster.remove_fault(now, id);
            }
        });
    }
}
