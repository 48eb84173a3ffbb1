//! Scopes: which child of which machine a ticket belongs to, so that a completion steps its own child only.

use std::collections::VecDeque;

/// A place in the tree of machines of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Scope {
    index: u32,
    generation: u32,
}

impl Scope {
    /// The operation's own machine.
    pub(super) const ROOT: Self = Self { index: 0, generation: 0 };
}

#[derive(Debug)]
struct Node {
    generation: u32,
    parent: Option<Scope>,
    /// Children that have something to do, each once.
    woken: VecDeque<Scope>,
    marked: bool,
    /// Tickets that occupy a slot in this scope and all below it.
    tickets: u32,
}

impl Node {
    fn new(parent: Option<Scope>, generation: u32) -> Self {
        Self { generation, parent, woken: VecDeque::new(), marked: false, tickets: 0 }
    }
}

/// The tree. Index 0 is [`Scope::ROOT`] and stays.
#[derive(Debug)]
pub(super) struct Scopes {
    all: Vec<Node>,
    free: Vec<u32>,
}

impl Default for Scopes {
    fn default() -> Self {
        Self { all: vec![Node::new(None, 0)], free: Vec::new() }
    }
}

impl Scopes {
    pub(super) fn open(&mut self, parent: Scope) -> Scope {
        if let Some(index) = self.free.pop() {
            let generation = self.all[index as usize].generation;
            self.all[index as usize] = Node::new(Some(parent), generation);
            return Scope { index, generation };
        }
        let index = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(Node::new(Some(parent), 0));
        Scope { index, generation: 0 }
    }

    /// Ends a scope whose tickets are all given back.
    pub(super) fn close(&mut self, scope: Scope) {
        if scope != Scope::ROOT && self.is_live(scope) {
            let node = &mut self.all[scope.index as usize];
            node.generation = node.generation.wrapping_add(1);
            node.woken = VecDeque::new();
            self.free.push(scope.index);
        }
    }

    fn is_live(&self, scope: Scope) -> bool {
        self.all[scope.index as usize].generation == scope.generation
    }

    /// Marks the way from the root down to `scope`.
    pub(super) fn wake(&mut self, mut scope: Scope) {
        while let Some(parent) = self.all[scope.index as usize].parent {
            if !std::mem::replace(&mut self.all[scope.index as usize].marked, true) {
                self.all[parent.index as usize].woken.push_back(scope);
            }
            scope = parent;
        }
    }

    pub(super) fn next_woken(&mut self, own: Scope) -> Option<Scope> {
        loop {
            let scope = self.all[own.index as usize].woken.pop_front()?;
            if self.is_live(scope) {
                self.all[scope.index as usize].marked = false;
                return Some(scope);
            }
        }
    }

    pub(super) fn count(&mut self, scope: Scope, by: i32) {
        let mut at = Some(scope);
        while let Some(scope) = at {
            let node = &mut self.all[scope.index as usize];
            node.tickets = node.tickets.saturating_add_signed(by);
            at = node.parent;
        }
    }

    pub(super) fn tickets(&self, scope: Scope) -> u32 {
        self.all[scope.index as usize].tickets
    }

    pub(super) fn is_within(&self, mut scope: Scope, ancestor: Scope) -> bool {
        loop {
            if scope == ancestor {
                return true;
            }
            match self.all[scope.index as usize].parent {
                Some(parent) => scope = parent,
                None => return false,
            }
        }
    }

    /// Forgets every scope but the root. Late completions find nothing by their tickets' generation.
    pub(super) fn reset(&mut self) {
        self.free.clear();
        self.all.truncate(1);
        self.all[0].woken.clear();
        self.all[0].tickets = 0;
    }
}
