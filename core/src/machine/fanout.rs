//! Children of one kind at work side by side.

use std::collections::{BTreeMap, VecDeque};
use std::task::Poll;

use super::cx::{Cx, Machine};
use super::scope::Scope;

/// Machines of one kind, at most `limit` at work; a completion steps only the child it belongs to.
///
/// Children start in the order in which they were pushed. [`Fanout::next`] gives results in the order in which
/// children end, which only completions decide.
#[derive(Debug)]
pub struct Fanout<M> {
    scope: Option<Scope>,
    queue: VecDeque<M>,
    live: BTreeMap<Scope, M>,
    limit: usize,
}

impl<M: Machine> Fanout<M> {
    /// No children yet; at most `limit` (at least one) will be at work at a time.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { scope: None, queue: VecDeque::new(), live: BTreeMap::new(), limit: limit.max(1) }
    }

    /// Adds a child; it starts in the next [`Fanout::next`] that has a place for it.
    pub fn push(&mut self, child: M) {
        self.queue.push_back(child);
    }

    /// Whether no child is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.live.is_empty()
    }

    /// The result of the next child that ends; `None` once all have.
    pub fn next(&mut self, cx: &mut Cx<'_>) -> Poll<Option<M::Output>> {
        let own = match self.scope {
            Some(own) => own,
            None => *self.scope.insert(cx.op.scopes.open(cx.scope)),
        };
        loop {
            while self.live.len() < self.limit
                && let Some(child) = self.queue.pop_front()
            {
                let scope = cx.op.scopes.open(own);
                cx.op.scopes.wake(scope);
                self.live.insert(scope, child);
            }
            let Some(scope) = cx.op.scopes.next_woken(own) else {
                if !self.live.is_empty() {
                    return Poll::Pending;
                }
                self.scope = None;
                cx.op.close(own);
                return Poll::Ready(None);
            };
            let Some(child) = self.live.get_mut(&scope) else { continue };
            if let Poll::Ready(output) = child.step(&mut cx.within(scope)) {
                self.live.remove(&scope);
                cx.op.close(scope);
                return Poll::Ready(Some(output));
            }
        }
    }

    /// Ends every child that is at work and forgets the others: their tickets are given back.
    pub fn stop(&mut self, cx: &mut Cx<'_>) {
        self.queue.clear();
        for scope in std::mem::take(&mut self.live).into_keys() {
            cx.op.close(scope);
        }
    }
}
