//! What requests carry beside their message: who makes them, on whose account, and how stores are to treat them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tikv_proto::kvrpcpb as pb;
pub use tikv_proto::kvrpcpb::{
    CommandPri as Priority, DiskFullOpt as DiskFull, IsolationLevel as Isolation, RequestOrigin as Origin,
};

use super::intercept::{Chain, Interceptor};
use super::{Profile, Request, TraceFlags, TraceId};
use crate::observe::Observer;

/// Makes the tag of a request's resource group of the request.
pub type Tagger = dyn Fn(&Request) -> Bytes + Send + Sync;

/// What requests carry beside their message: who makes them, on whose account, and how stores are to treat them; and who looks on.
///
/// Named by a client ([`Config::requests`](crate::config::Config::requests), [`Client::with`](crate::client::Client::with)), and so
/// by all that is made of it: transactions, snapshots, calls. What a call's client names later goes before what it named earlier.
/// Cloning shares it; the empty options cost nothing.
///
/// ```
/// use tikv_client_core::request::{RequestOptions, RequestSource, options::Priority};
///
/// let batch = RequestOptions::new()
///     .source(RequestSource::external("report"))
///     .resource_group("analytics")
///     .priority(Priority::Low);
/// ```
#[derive(Clone, Default)]
pub struct RequestOptions(Option<Arc<Options>>);

#[derive(Clone, Default)]
struct Options {
    context: pb::Context,
    profile: Profile,
    tagger: Option<Arc<Tagger>>,
    chain: Chain,
    observers: Vec<Arc<dyn Observer>>,
}

impl RequestOptions {
    /// No options.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    fn change(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(self.0.get_or_insert_default()));
        self
    }

    fn context(self, set: impl FnOnce(&mut pb::Context)) -> Self {
        self.change(|options| {
            set(&mut options.context);
            options.profile = Profile::new(&options.context);
        })
    }

    /// How urgent the requests are.
    ///
    /// client-go: `txnkv/transaction/txn.go: SetPriority`, `txnkv/txnsnapshot/snapshot.go: SetPriority`.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        self.context(|context| context.priority = priority.into())
    }

    /// What reads see of others' transactions.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetIsolationLevel`.
    #[must_use]
    pub fn isolation(self, isolation: Isolation) -> Self {
        self.context(|context| context.isolation_level = isolation.into())
    }

    /// Who makes the requests.
    ///
    /// client-go: `util/request_source.go: RequestSource`, `txnkv/transaction/txn.go: SetRequestSourceType`.
    #[must_use]
    pub fn source(self, source: impl fmt::Display) -> Self {
        self.context(|context| context.request_source = source.to_string())
    }

    /// On whose account they go; empty: the `default` group's.
    ///
    /// client-go: `util/request_source.go: WithResourceGroupName`, `txnkv/transaction/txn.go: SetResourceGroupName`.
    #[must_use]
    pub fn resource_group(self, name: impl Into<String>) -> Self {
        self.context(|context| {
            context.resource_control_context.get_or_insert_default().resource_group_name = name.into();
        })
    }

    /// Puts this priority, 1 to 16, in the place of the group's.
    ///
    /// client-go: `kvrpcpb.ResourceControlContext.OverridePriority`.
    #[must_use]
    pub fn group_priority(self, priority: u64) -> Self {
        self.context(|context| {
            context.resource_control_context.get_or_insert_default().override_priority = priority;
        })
    }

    /// Bytes that come back in stores' statistics of load; TiDB puts the digest of a statement in.
    ///
    /// client-go: `txnkv/transaction/txn.go: SetResourceGroupTag`.
    #[must_use]
    pub fn resource_group_tag(self, tag: impl Into<Bytes>) -> Self {
        self.context(|context| context.resource_group_tag = tag.into())
    }

    /// Makes the tag of each request; not called where [`resource_group_tag`](Self::resource_group_tag) says it.
    ///
    /// client-go: `txnkv/transaction/txn.go: SetResourceGroupTagger`.
    #[must_use]
    pub fn tag_by(self, tagger: impl Fn(&Request) -> Bytes + Send + Sync + 'static) -> Self {
        self.change(|options| options.tagger = Some(Arc::new(tagger)))
    }

    /// Where what is written comes from, as change data capture tells it apart.
    ///
    /// client-go: `txnkv/transaction/txn.go: SetTxnSource`.
    #[must_use]
    pub fn txn_source(self, source: u64) -> Self {
        self.context(|context| context.txn_source = source)
    }

    /// Keeps what is read out of the stores' block caches: for large scans.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetNotFillCache`.
    #[must_use]
    pub fn not_fill_cache(self, not: bool) -> Self {
        self.context(|context| context.not_fill_cache = not)
    }

    /// Asks for a synced log; stores of today always do it.
    ///
    /// client-go: `kvrpcpb.Context.SyncLog`.
    #[must_use]
    pub fn sync_log(self, sync: bool) -> Self {
        self.context(|context| context.sync_log = sync)
    }

    /// Whether writes go on while a disk is nearly full.
    ///
    /// client-go: `txnkv/transaction/txn.go: SetDiskFullOpt`.
    #[must_use]
    pub fn disk_full(self, option: DiskFull) -> Self {
        self.context(|context| context.disk_full_opt = option.into())
    }

    /// Requests with the same id share one priority; 0 is none.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetTaskID`.
    #[must_use]
    pub fn task_id(self, id: u64) -> Self {
        self.context(|context| context.task_id = id)
    }

    /// What kind of program makes them.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: SetDefaultRequestOrigin`, there for the whole process.
    #[must_use]
    pub fn origin(self, origin: Origin) -> Self {
        self.context(|context| context.request_origin = origin.into())
    }

    /// Asks stores to say where the time went and what was looked at, also of requests that were quick.
    ///
    /// client-go: `kvrpcpb.Context.RecordTimeStat, RecordScanStat`.
    #[must_use]
    pub fn record_details(self, record: bool) -> Self {
        self.context(|context| {
            context.record_time_stat = record;
            context.record_scan_stat = record;
        })
    }

    /// The id that the requests have in stores' logs and traces, with [`TraceFlags::REQUEST`] unless other flags are named.
    ///
    /// client-go: `trace/trace.go: ContextWithTraceID`.
    #[must_use]
    pub fn trace_id(self, id: TraceId) -> Self {
        self.context(|context| {
            context.trace_id = id.bytes().clone();
            if context.trace_control_flags == 0 {
                context.trace_control_flags = TraceFlags::REQUEST.0;
            }
        })
    }

    /// What stores trace of the requests.
    ///
    /// client-go: `trace/trace.go: SetTraceControlExtractor`, there a function for the whole process.
    #[must_use]
    pub fn trace_flags(self, flags: TraceFlags) -> Self {
        self.context(|context| context.trace_control_flags = flags.0)
    }

    /// Adds an interceptor behind those that are there. One of the same name that is there goes.
    ///
    /// client-go: `tikvrpc/interceptor/interceptor.go: WithRPCInterceptor`, `txnkv/transaction/txn.go: SetRPCInterceptor,
    /// AddRPCInterceptor`.
    #[must_use]
    pub fn interceptor(self, interceptor: impl Interceptor + 'static) -> Self {
        self.change(|options| options.chain.link(Arc::new(interceptor)))
    }

    /// Adds an observer.
    #[must_use]
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.change(|options| options.observers.push(Arc::new(observer)))
    }

    /// These options, and those of `more` on top: of what both name, `more` has the last word; interceptors and observers of both.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        let (Some(base), Some(top)) = (&self.0, &more.0) else {
            return if more.0.is_some() { more.clone() } else { self.clone() };
        };
        let profile = base.profile.and(&top.profile);
        let mut options = Options {
            context: profile.context(),
            profile,
            tagger: top.tagger.as_ref().or(base.tagger.as_ref()).map(Arc::clone),
            chain: base.chain.clone(),
            observers: base.observers.clone(),
        };
        options.chain.append(&top.chain);
        options.observers.extend(top.observers.iter().map(Arc::clone));
        Self(Some(Arc::new(options)))
    }

    /// What goes into the context of each request, encoded.
    #[must_use]
    pub fn profile(&self) -> Option<&Profile> {
        self.0.as_deref().map(|options| &options.profile)
    }

    /// The context that requests carry, without what belongs to an attempt.
    #[must_use]
    pub fn as_context(&self) -> pb::Context {
        self.0.as_deref().map(|options| options.context.clone()).unwrap_or_default()
    }

    /// Who makes the requests; empty when nothing was said.
    #[must_use]
    pub fn request_source(&self) -> &str {
        self.0.as_deref().map_or("", |options| &options.context.request_source)
    }

    /// The switches of what stores trace; without a trace id and flags, none.
    ///
    /// client-go: `trace/trace.go: GetTraceControlFlags, ImmediateLoggingEnabled`.
    #[must_use]
    pub fn flags(&self) -> TraceFlags {
        TraceFlags(self.0.as_deref().map_or(0, |options| options.context.trace_control_flags))
    }

    pub(crate) fn chain(&self) -> Option<&Chain> {
        self.0.as_deref().map(|options| &options.chain).filter(|chain| !chain.is_empty())
    }

    pub(crate) fn observers(&self) -> &[Arc<dyn Observer>] {
        self.0.as_deref().map_or(&[], |options| &options.observers)
    }

    /// The tag of `request`, where a function makes it.
    pub(crate) fn tag(&self, request: &Request) -> Option<Bytes> {
        let options = self.0.as_deref()?;
        let tagger = options.tagger.as_ref().filter(|_| options.context.resource_group_tag.is_empty())?;
        Some(tagger(request))
    }

    /// Whether somebody is to see each request of an operation before it is sent, or what becomes of it.
    pub(crate) fn is_watching(&self) -> bool {
        self.0.as_deref().is_some_and(|options| {
            !options.chain.is_empty() || !options.observers.is_empty() || options.tagger.is_some()
        })
    }
}

impl fmt::Debug for RequestOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(options) = &self.0 else { return f.write_str("RequestOptions") };
        f.debug_struct("RequestOptions")
            .field("context", &options.profile)
            .field("tagger", &options.tagger.is_some())
            .field("interceptors", &options.chain)
            .field("observers", &options.observers)
            .finish()
    }
}
