//! A rule: which calls, and what happens to them.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_proto::kvrpcpb::{CommandPri, Context, DiskFullOpt, KeyError};
use tikv_proto::pdpb;

use super::{CallFacts, Refusal};
use crate::model::status::Status;

/// A server of the cluster, or a kind of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Node {
    /// The PD member of this index.
    Pd(usize),
    /// The store of this id.
    Store(u64),
    /// Whichever PD member; in rules only.
    AnyPd,
    /// Whichever store; in rules only.
    AnyStore,
}

/// What the context of a request says, for a rule that is about some requests only.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trait {
    /// Any replica may answer it, after it has caught up.
    ReplicaRead,
    /// Any replica may answer it that has resolved its timestamp.
    StaleRead,
    /// It is sent again.
    Retry,
    /// Its source begins with this.
    Source(String),
    /// It is for this resource group.
    ResourceGroup(String),
    /// It has this priority.
    Priority(CommandPri),
    /// It says this of full disks.
    DiskFull(DiskFullOpt),
    /// Its context has these fields, encoded: see [`carrying`](Self::carrying).
    Carries(Vec<u8>),
}

impl Trait {
    /// Its context has every field that `wanted` has, with the same value, and may have others.
    #[must_use]
    pub fn carrying(wanted: &Context) -> Self {
        Self::Carries(wanted.encode_to_vec())
    }

    fn fits(&self, context: &Context) -> bool {
        match self {
            Self::ReplicaRead => context.replica_read,
            Self::StaleRead => context.stale_read,
            Self::Retry => context.is_retry_request,
            Self::Source(start) => context.request_source.starts_with(start.as_str()),
            Self::ResourceGroup(name) => context
                .resource_control_context
                .as_ref()
                .is_some_and(|group| group.resource_group_name == *name),
            Self::Priority(priority) => context.priority() == *priority,
            Self::DiskFull(option) => context.disk_full_opt() == *option,
            // What has all that is wanted stays as it is when that is put on top.
            Self::Carries(wanted) => {
                let mut both = context.clone();
                both.merge(wanted.as_slice()).is_ok() && both == *context
            }
        }
    }
}

/// Which calls a rule is about: those that every given part fits.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    node: Option<Node>,
    methods: Vec<String>,
    region: Option<u64>,
    start_ts: Option<u64>,
    primary: Option<Bytes>,
    keys: Option<(Bytes, Bytes)>,
    traits: Vec<Trait>,
}

impl Matcher {
    /// Every call.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Calls of one method by its name, such as `KvPrewrite`, `RawGet`, `Tso`; alone or in a batch.
    pub fn method(name: impl Into<String>) -> Self {
        Self::any().or_method(name)
    }

    /// Calls of this method too.
    #[must_use]
    pub fn or_method(mut self, name: impl Into<String>) -> Self {
        self.methods.push(name.into());
        self
    }

    /// Only calls to this server.
    #[must_use]
    pub fn at(mut self, node: Node) -> Self {
        self.node = Some(node);
        self
    }

    /// Only calls whose context names this region.
    #[must_use]
    pub fn region(mut self, region: u64) -> Self {
        self.region = Some(region);
        self
    }

    /// Only calls of the transaction that began then, or, of reads, at this version.
    #[must_use]
    pub fn start_ts(mut self, start_ts: u64) -> Self {
        self.start_ts = Some(start_ts);
        self
    }

    /// Only calls that name this primary key.
    #[must_use]
    pub fn primary(mut self, key: impl Into<Bytes>) -> Self {
        self.primary = Some(key.into());
        self
    }

    /// Only calls that name a key of `[start, end)`, or a range that meets it; an empty end is open. Keys are as clients
    /// send them.
    #[must_use]
    pub fn keys(mut self, start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        self.keys = Some((start.into(), end.into()));
        self
    }

    /// Only calls that name this key, or a range that holds it.
    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> Self {
        let key = key.into();
        let mut next = key.to_vec();
        next.push(0);
        self.keys(key, next)
    }

    /// Only calls whose context says this; calls to PD have none.
    #[must_use]
    pub fn saying(mut self, what: Trait) -> Self {
        self.traits.push(what);
        self
    }

    /// Whether `call` is one of those meant.
    #[must_use]
    pub fn matches(&self, call: &CallFacts<'_>) -> bool {
        let says = |what: &Trait| call.context.is_some_and(|context| what.fits(context));
        let node = match self.node {
            None => true,
            Some(Node::AnyPd) => matches!(call.node, Node::Pd(_)),
            Some(Node::AnyStore) => matches!(call.node, Node::Store(_)),
            Some(node) => node == call.node,
        };
        node && self.region.is_none_or(|region| region == call.region)
            && (self.methods.is_empty() || self.methods.iter().any(|name| name == call.method))
            && self.start_ts.is_none_or(|ts| call.subject().is_some_and(|subject| subject.ts == ts))
            && self.primary.as_ref().is_none_or(|key| {
                call.subject().is_some_and(|subject| subject.primary.is_some_and(|primary| primary == key))
            })
            && self
                .keys
                .as_ref()
                .is_none_or(|(start, end)| call.subject().is_some_and(|subject| subject.meets(start, end)))
            && self.traits.iter().all(says)
    }
}

/// What happens to a call that a rule meets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Nothing but that the hit is counted.
    Pass,
    /// It is not executed and answers this region error; calls that have none (PD's) are executed instead.
    Refuse(Refusal),
    /// It is executed, but answers this region error; calls that have none answer as ever.
    RefuseAfter(Refusal),
    /// It is not executed and answers this error of a key: as the one of a whole answer, or as the only one of a list.
    /// Calls that have none (raw ones, PD's) are executed instead.
    KeyError(Box<KeyError>),
    /// It is executed, but answers this error of a key; calls that have none answer as ever.
    KeyErrorAfter(Box<KeyError>),
    /// It is not executed, and PD answers with this error in the header; calls to other servers are executed instead.
    PdError(pdpb::ErrorType, String),
    /// It is not executed and fails with this status; in a batch that ends the whole stream.
    Fail(Status),
    /// It is executed after this time.
    Delay(Duration),
    /// It is executed at once and answers after this time.
    DelayAnswer(Duration),
    /// It is executed, and never answers.
    DropAnswer,
    /// It is not executed and never answers.
    Lose,
    /// It is not executed, and its stream is broken off without a status.
    Break,
    /// It is executed, and its stream is broken off without a status.
    BreakAfter,
    /// It waits, and is executed once the rule is taken away.
    Hold,
}

/// A matcher and an action, for so many of the matches.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) matcher: Matcher,
    pub(super) action: Action,
    pub(super) skip: u64,
    pub(super) every: u64,
    pub(super) times: Option<u64>,
}

impl Rule {
    /// Does `action` to every call that `matcher` fits.
    #[must_use]
    pub fn new(matcher: Matcher, action: Action) -> Self {
        Self { matcher, action, skip: 0, every: 1, times: None }
    }

    /// Lets the first `matches` pass.
    #[must_use]
    pub fn skip(mut self, matches: u64) -> Self {
        self.skip = matches;
        self
    }

    /// Acts on every `nth` match only, the first of them first.
    #[must_use]
    pub fn every(mut self, nth: u64) -> Self {
        self.every = nth.max(1);
        self
    }

    /// Acts only so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}
