//! What a seed draws: the cluster, the load, and which faults exist.
//!
//! Not every fault in every run: a run with two kinds of trouble gets further into each than one with all of them.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;

use crate::net::Weather;

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name on the command line and in totals.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The one of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

named! {
    /// A kind of trouble.
    Fault {
        /// Commands at a store take long.
        SlowStore = "slow-store",
        /// Connections to a server break.
        Disconnect = "disconnect",
        /// Requests are not executed and not answered.
        LoseRequest = "lose-request",
        /// Requests are executed and not answered.
        LoseAnswer = "lose-answer",
        /// Streams break off before a command.
        Break = "break",
        /// Streams break off behind a command.
        BreakAfter = "break-after",
        /// Calls fail with a status.
        Status = "status",
        /// Commands are executed late.
        Late = "late",
        /// Answers come late.
        LateAnswer = "late-answer",
        /// Region errors, without a reason that anyone could find.
        RegionError = "region-error",
        /// Region errors of commands that were executed.
        RegionErrorAfter = "region-error-after",
        /// A client and a store do not reach each other.
        CutStore = "cut-store",
        /// A client and a PD member do not reach each other.
        CutPd = "cut-pd",
        /// A store stops and starts again.
        RestartStore = "restart-store",
        /// A PD member stops and starts again.
        RestartPd = "restart-pd",
        /// Regions get another leader.
        MoveLeader = "move-leader",
        /// A region is without leader.
        NoLeader = "no-leader",
        /// A region splits.
        Split = "split",
        /// Two regions merge.
        Merge = "merge",
        /// A region gets a peer on another store, and loses one.
        MovePeer = "move-peer",
        /// A store gets another address.
        MoveStore = "move-store",
        /// PD gets another leader.
        PdLeader = "pd-leader",
        /// PD is without leader.
        PdNoLeader = "pd-no-leader",
        /// PD does not learn of changes.
        PdStale = "pd-stale",
        /// PD's timestamps jump ahead.
        TsoJump = "tso-jump",
        /// A client's wall clock is set.
        Clock = "clock",
        /// The network gets slow, and sends again.
        BadNetwork = "bad-network",
        /// Calls are dropped by their caller.
        DropCall = "drop-call",
        /// A client's process dies, and another takes its place.
        Crash = "crash",
    }
}

named! {
    /// What workers do.
    Load {
        /// Transfers between accounts.
        Bank = "bank",
        /// Appends to lists.
        Lists = "lists",
        /// Counters.
        Counter = "counter",
        /// Rows that come and go, and scans over them.
        Rows = "rows",
        /// Raw registers.
        Raw = "raw",
        /// Raw scans.
        RawScan = "raw-scan",
    }
}

/// What is cut away of a plan, to find the least that still fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "settings of the command line")]
pub struct Limits {
    /// Operations of each worker.
    pub ops: Option<usize>,
    /// The only faults that may exist.
    pub faults: Option<BTreeSet<Fault>>,
    /// The only loads.
    pub loads: Option<BTreeSet<Load>>,
}

/// What one run is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) stores: usize,
    pub(crate) replicas: usize,
    pub(crate) pd_members: usize,
    /// Bounds of regions at the beginning.
    pub(crate) bounds: usize,
    pub(crate) clients: usize,
    /// Of each client.
    pub(crate) workers: usize,
    /// Of each worker.
    pub(crate) ops: usize,
    /// Accounts, lists, raw registers: few are hot.
    pub(crate) keys: usize,
    pub(crate) loads: Vec<Load>,
    pub(crate) faults: Vec<Fault>,
    /// How long faults go on.
    pub(crate) storm: Duration,
    /// Between two faults on average.
    pub(crate) gap: Duration,
    /// The clients' deadline of a call.
    pub(crate) deadline: Duration,
    /// A worker rests up to so long between operations.
    pub(crate) rest: Duration,
    pub(crate) weather: Weather,
    /// Tasks run in a drawn order.
    pub(crate) any_order: bool,
    /// Clients' wall clocks are off by up to so much, in ms.
    pub(crate) skew_ms: u64,
}

/// The random numbers of one part of a run, which do not change when another part draws more or less.
pub(crate) fn stream(seed: u64, part: u64) -> Rng {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part.rotate_left(32));
    rng.fork()
}

/// Some of `all`: each with a chance that is drawn, too.
fn some<T: Copy>(all: &[T], rng: &mut Rng) -> Vec<T> {
    let eighths = rng.u32(1..=6);
    all.iter().copied().filter(|_| rng.u32(..8) < eighths).collect()
}

impl Plan {
    /// Draws the plan of `seed`.
    pub(crate) fn draw(seed: u64, limits: &Limits) -> Self {
        let mut rng = stream(seed, 1);
        let stores = rng.usize(1..=5);
        let mut loads = some(Load::ALL, &mut rng);
        if loads.is_empty() {
            loads.push(Load::ALL[rng.usize(..Load::ALL.len())]);
        }
        // One run in sixteen has no trouble: everything must succeed there.
        let mut faults = if rng.u32(..16) == 0 { Vec::new() } else { some(Fault::ALL, &mut rng) };
        let long = rng.u32(..4) == 0;
        let mut weather = Weather::calm();
        if !faults.is_empty() {
            weather.trip.1 = Duration::from_micros([300, 2_000, 20_000][rng.usize(..3)]);
            weather.work.1 = Duration::from_micros([200, 1_000, 10_000][rng.usize(..3)]);
            weather.reorders = rng.bool();
            weather.doubled_per_mille = if rng.bool() { 20 } else { 0 };
        }
        let mut plan = Self {
            seed,
            stores,
            replicas: rng.usize(1..=3).min(stores),
            pd_members: rng.usize(1..=3),
            bounds: rng.usize(0..=12),
            clients: rng.usize(1..=3),
            workers: rng.usize(1..=3),
            ops: rng.usize(4..=25),
            keys: rng.usize(2..=10),
            storm: Duration::from_millis(if long { rng.u64(10_000..60_000) } else { rng.u64(500..10_000) }),
            gap: Duration::from_millis(rng.u64(10..400)),
            deadline: Duration::from_millis([2_000, 5_000, 10_000, 40_000][rng.usize(..4)]),
            rest: Duration::from_millis([0, 10, 200, 1_000][rng.usize(..4)]),
            any_order: rng.bool(),
            skew_ms: if rng.bool() { rng.u64(0..100_000) } else { 0 },
            loads: Vec::new(),
            faults: Vec::new(),
            weather,
        };
        if let Some(most) = limits.ops {
            plan.ops = plan.ops.min(most);
        }
        if let Some(only) = &limits.faults {
            faults.retain(|fault| only.contains(fault));
        }
        if let Some(only) = &limits.loads {
            loads.retain(|load| only.contains(load));
        }
        plan.loads = loads;
        plan.faults = faults;
        plan
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_one_plan_and_seeds_draw_all_faults_and_loads() {
        let limits = Limits::default();
        let plans: Vec<Plan> = (0..200).map(|seed| Plan::draw(seed, &limits)).collect();
        assert_eq!(plans[7], Plan::draw(7, &limits));
        for &fault in Fault::ALL {
            let with = plans.iter().filter(|plan| plan.has(fault)).count();
            assert!((20..190).contains(&with), "{fault:?} in {with} of 200");
        }
        for load in Load::ALL {
            assert!(plans.iter().any(|plan| plan.loads.contains(load)), "{load:?}");
        }
        assert!(plans.iter().any(|plan| plan.faults.is_empty()));
    }

    #[test]
    fn limits_cut_a_plan_and_change_nothing_else() {
        let whole = Plan::draw(3, &Limits::default());
        let only = BTreeSet::from([Fault::Split]);
        let cut = Plan::draw(3, &Limits { ops: Some(2), faults: Some(only), loads: None });
        assert_eq!(cut.ops, 2);
        assert!(cut.faults.iter().all(|&fault| fault == Fault::Split));
        let like = Plan { ops: whole.ops, faults: whole.faults.clone(), ..cut };
        assert_eq!(like, whole);
    }

    #[test]
    fn names_are_read_back() {
        for &fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Load::named("nothing"), None);
    }
}
