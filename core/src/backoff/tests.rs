//! The tables of kinds and allowances, the laws of the budget, and the text of giving up.

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::types::Instant;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(7)
}

/// One child of an operation that does nothing but wait.
struct Waiter {
    budget: Budget,
    attempts: Attempts,
    rng: fastrand::Rng,
    now: Instant,
}

impl Waiter {
    fn new(allowance: Allowance) -> Self {
        let budget = Budget::new(allowance, Tuning::default());
        Self { budget, attempts: Attempts::default(), rng: rng(), now: Instant(0) }
    }

    /// Waits for `kind`, whole; `None` when the budget is spent.
    fn wait(&mut self, kind: Kind) -> Result<Duration, Box<Exhausted>> {
        self.wait_because(kind, "test")
    }

    fn wait_because(&mut self, kind: Kind, reason: &str) -> Result<Duration, Box<Exhausted>> {
        let decision = self.budget.next(kind, &mut self.attempts, reason.into(), self.now, &mut self.rng);
        self.sleep(decision)
    }

    fn wait_at_most(&mut self, kind: Kind, at_most: Duration) -> Result<Duration, Box<Exhausted>> {
        let (attempts, rng) = (&mut self.attempts, &mut self.rng);
        let decision = self.budget.next_at_most(kind, attempts, "test".into(), self.now, at_most, rng);
        self.sleep(decision)
    }

    fn sleep(&mut self, decision: Decision) -> Result<Duration, Box<Exhausted>> {
        match decision {
            Decision::Sleep(sleep) => {
                self.now = self.now + sleep;
                Ok(sleep)
            }
            Decision::GiveUp(error) => Err(error),
        }
    }
}

// rpc.md 11.1; client-go: config/retry/config.go.
#[test]
fn kinds_have_the_laws_of_client_go() {
    let mut table = String::new();
    for kind in Kind::ALL {
        let Law { name, base_ms, cap_ms, jitter, verdict, label, excluded_ms } = kind.law();
        let excluded = excluded_ms.map_or(String::new(), |ms| format!(" | excluded up to {ms}"));
        writeln!(table, "{name} | {base_ms} | {cap_ms} | {jitter:?} | {verdict} | {label:?}{excluded}")
            .unwrap();
    }
    insta::assert_snapshot!(table, @r#"
    tikvRPC | 100 | 2000 | Equal | tikv server timeout | "tikvRPC"
    tiflashRPC | 100 | 2000 | Equal | tiflash server timeout | "tikvRPC"
    txnLock | 100 | 3000 | Equal | resolve lock timeout | "txnLock"
    pdRPC | 500 | 3000 | Equal | pd server timeout | "pdRPC"
    regionMiss | 2 | 500 | None | region unavailable | "regionMiss"
    regionScheduling | 2 | 500 | None | region unavailable | "regionScheduling"
    tikvServerBusy | 2000 | 10000 | Equal | tikv server busy | "serverBusy" | excluded up to 600000
    tikvDiskFull | 500 | 5000 | None | tikv disk full | "tikvDiskFull"
    regionRecoveryInProgress | 100 | 10000 | Equal | region is being online unsafe recovered | "regionRecoveryInProgress"
    tiflashServerBusy | 2000 | 10000 | Equal | tiflash server busy | "serverBusy"
    txnNotFound | 2 | 500 | None | resolve lock timeout | ""
    staleCommand | 2 | 1000 | None | tikv stale command | "staleCommand"
    maxTsNotSynced | 2 | 500 | None | tikv max timestamp not synced | ""
    commitTSLag | 2 | 500 | None | commit timestamp lags behind expected | ""
    regionNotInitialized | 2 | 1000 | None | region not initialized | ""
    isWitness | 1000 | 10000 | Equal | peer is witness | "isWitness"
    txnLockFast | 10 | 3000 | Equal | resolve lock timeout | "tikvLockFast"
    "#);
}

#[test]
fn each_kind_has_its_own_place_in_the_table() {
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, index, "{kind}");
    }
}

#[test]
fn sleeps_double_up_to_the_cap() {
    let mut table = String::new();
    for kind in Kind::ALL {
        let mut waiter = Waiter::new(Allowance::Unlimited);
        let sleeps: Vec<u128> = (0..10).map(|_| waiter.wait(kind).unwrap().as_millis()).collect();
        writeln!(table, "{kind} {sleeps:?}").unwrap();
    }
    insta::assert_snapshot!(table, @r"
    tikvRPC [88, 122, 343, 592, 893, 1165, 1791, 1092, 1138, 1444]
    tiflashRPC [88, 122, 343, 592, 893, 1165, 1791, 1092, 1138, 1444]
    txnLock [88, 122, 343, 592, 893, 1748, 2687, 1638, 1708, 2166]
    pdRPC [443, 611, 1718, 2221, 1674, 1748, 2687, 1638, 1708, 2166]
    regionMiss [2, 4, 8, 16, 32, 64, 128, 256, 500, 500]
    regionScheduling [2, 4, 8, 16, 32, 64, 128, 256, 500, 500]
    tikvServerBusy [1773, 2444, 6873, 7405, 5582, 5827, 8958, 5462, 5693, 7221]
    tikvDiskFull [500, 1000, 2000, 4000, 5000, 5000, 5000, 5000, 5000, 5000]
    regionRecoveryInProgress [88, 122, 343, 592, 893, 1864, 5733, 5462, 5693, 7221]
    tiflashServerBusy [1773, 2444, 6873, 7405, 5582, 5827, 8958, 5462, 5693, 7221]
    txnNotFound [2, 4, 8, 16, 32, 64, 128, 256, 500, 500]
    staleCommand [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]
    maxTsNotSynced [2, 4, 8, 16, 32, 64, 128, 256, 500, 500]
    commitTSLag [2, 4, 8, 16, 32, 64, 128, 256, 500, 500]
    regionNotInitialized [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]
    isWitness [886, 1222, 3436, 5924, 5582, 5827, 8958, 5462, 5693, 7221]
    txnLockFast [8, 12, 34, 59, 89, 186, 573, 699, 1457, 2166]
    ");
}

// rpc.md 11.3.
#[test]
fn allowances_are_those_of_client_go() {
    let table = [
        ("get", Allowance::GET),
        ("batch get", Allowance::BATCH_GET),
        ("scan step", Allowance::SCAN_STEP),
        ("prewrite", Allowance::PREWRITE),
        ("commit", Allowance::COMMIT),
        ("commit secondaries", Allowance::COMMIT_SECONDARIES),
        ("cleanup", Allowance::CLEANUP),
        ("pipelined rollback", Allowance::PIPELINED_ROLLBACK),
        ("pipelined commit", Allowance::PIPELINED_COMMIT),
        ("pipelined flush", Allowance::PIPELINED_FLUSH),
        ("pessimistic lock", Allowance::PESSIMISTIC_LOCK),
        ("pessimistic rollback", Allowance::PESSIMISTIC_ROLLBACK),
        ("keep alive", Allowance::KEEP_ALIVE),
        ("broadcast", Allowance::BROADCAST),
        ("tso", Allowance::TSO),
        ("txn status", Allowance::TXN_STATUS),
        ("async resolve", Allowance::ASYNC_RESOLVE),
        ("gc resolve", Allowance::GC_RESOLVE),
        ("delete range", Allowance::DELETE_RANGE),
        ("locate", Allowance::LOCATE),
        ("wait scatter", Allowance::WAIT_SCATTER),
        ("raw", Allowance::RAW),
        ("preload", Allowance::PRELOAD),
        ("buckets", Allowance::BUCKETS),
        ("split 1", Allowance::split(1)),
        ("split 4", Allowance::split(4)),
        ("split 7", Allowance::split(7)),
        ("nothing", Allowance::Nothing),
        ("unlimited", Allowance::Unlimited),
        ("0", Allowance::Plain(0)),
        ("reconnect", Allowance::Weighted(i32::MAX.cast_unsigned())),
    ];
    let mut text = String::new();
    for (name, allowance) in table {
        let limit = allowance.limit(Tuning::default());
        writeln!(
            text,
            "{name}: {}",
            limit.map_or_else(|| "none".to_owned(), |limit| limit.as_millis().to_string())
        )
        .unwrap();
    }
    insta::assert_snapshot!(text, @r"
    get: 40000
    batch get: 40000
    scan step: 40000
    prewrite: 80000
    commit: 80000
    commit secondaries: 82000
    cleanup: 40000
    pipelined rollback: 20000
    pipelined commit: 41000
    pipelined flush: 40000
    pessimistic lock: 40000
    pessimistic rollback: 40000
    keep alive: 40000
    broadcast: 20000
    tso: 30000
    txn status: 20000
    async resolve: 40000
    gc resolve: 200000
    delete range: 200000
    locate: 40000
    wait scatter: 240000
    raw: 40000
    preload: 40000
    buckets: 20000
    split 1: 40000
    split 4: 160000
    split 7: 240000
    nothing: 0
    unlimited: none
    0: none
    reconnect: 2147483647
    ");
}

#[test]
fn the_weight_multiplies_unless_the_product_needs_32_bits() {
    let limit = |ms, weight| Allowance::Weighted(ms).limit(Tuning { weight, ..Tuning::default() });
    assert_eq!(limit(100, 3), Some(ms(300)));
    assert_eq!(limit(100, 0), Some(ms(100)), "a weight of 0 is no reason to retry without end");
    assert_eq!(limit(1 << 30, 1), Some(ms(1 << 30)));
    assert_eq!(limit(1 << 30, 2), Some(ms(1 << 30)));
    assert_eq!(limit(u32::MAX, 2), Some(ms(u32::MAX.into())));
    assert_eq!(limit(0, 2), None);
}

// client-go: config/retry/backoff_test.go: TestBackoffWithMax.
#[test]
fn a_clip_shortens_a_single_sleep() {
    let mut waiter = Waiter::new(Allowance::Weighted(2000));
    assert_eq!(waiter.wait_at_most(Kind::TxnLockFast, ms(5)), Ok(ms(5)));
    assert_eq!(waiter.budget.slept(), ms(5));
    assert_eq!(waiter.attempts.of(Kind::TxnLockFast), 1, "a clipped sleep lengthens the next");
}

#[test]
fn a_clip_to_nothing_still_spends_the_budget() {
    let mut waiter = Waiter::new(Allowance::Plain(3));
    for _ in 0..3 {
        assert_eq!(waiter.wait_at_most(Kind::TxnLock, Duration::ZERO), Ok(ms(1)));
    }
    assert!(waiter.wait_at_most(Kind::TxnLock, Duration::ZERO).is_err());
}

#[test]
fn fast_lock_waits_begin_with_the_setting_of_the_client() {
    for (set, first) in [(0, 1), (2, 1), (40, 20)] {
        let mut budget = Budget::new(Allowance::GET, Tuning { lock_fast_ms: set, ..Tuning::default() });
        let decision =
            budget.next(Kind::TxnLockFast, &mut Attempts::default(), "test".into(), Instant(0), &mut rng());
        let Decision::Sleep(sleep) = decision else { panic!("{decision:?}") };
        assert!((ms(first)..=ms(2 * first)).contains(&sleep), "{set}: {sleep:?}");
    }
}

// client-go: config/retry/backoff_test.go: TestBackoffErrorType.
#[test]
fn the_kind_that_slept_longest_decides_what_giving_up_means() {
    let mut waiter = Waiter::new(Allowance::Weighted(800));
    let kinds = [
        Kind::RegionMiss,
        Kind::RegionNotInitialized,
        Kind::RegionNotInitialized,
        Kind::RegionRecoveryInProgress,
        Kind::TikvServerBusy,
        Kind::IsWitness,
    ];
    for kind in kinds {
        waiter.wait(kind).unwrap();
    }
    let error = (0..15).find_map(|_| waiter.wait(Kind::TxnNotFound).err()).unwrap();
    assert_eq!(error.longest, Some(Kind::TxnNotFound));
    assert_eq!(error.verdict(), Verdict::ResolveLockTimeout);
    assert!(error.excluded >= ms(1000), "the busy store's sleep is reported but does not compete");
}

#[test]
fn of_kinds_that_slept_equally_long_the_first_decides() {
    for (first, second) in [(Kind::RegionMiss, Kind::StaleCommand), (Kind::StaleCommand, Kind::RegionMiss)] {
        let mut waiter = Waiter::new(Allowance::Plain(4));
        waiter.wait(first).unwrap();
        waiter.wait(second).unwrap();
        let error = waiter.wait(Kind::TxnLock).unwrap_err();
        assert_eq!((error.kind, error.longest), (Kind::TxnLock, Some(first)));
    }
}

// client-go: config/retry/backoff_test.go: TestBackoffDeepCopy (what a fork of a spent backoffer answers).
#[test]
fn every_child_finds_a_spent_budget_spent() {
    let mut waiter = Waiter::new(Allowance::Weighted(4));
    for _ in 0..3 {
        waiter.wait(Kind::RegionNotInitialized).unwrap();
    }
    let decision =
        waiter.budget.next(Kind::TikvRpc, &mut Attempts::default(), "test".into(), waiter.now, &mut rng());
    let Decision::GiveUp(error) = decision else { panic!("{decision:?}") };
    assert_eq!(error.verdict(), Verdict::RegionNotInitialized);
}

// client-go: config/retry/backoff_test.go: TestBackoffWithMaxExcludedExceed.
#[test]
fn sleeps_that_do_not_count_have_a_bound_of_their_own() {
    let mut waiter = Waiter::new(Allowance::Plain(1));
    let error = loop {
        match waiter.wait(Kind::TikvServerBusy) {
            Ok(_) => assert!(waiter.budget.slept() < ms(610_000)),
            Err(error) => break error,
        }
    };
    assert!(error.excluded >= ms(600_000) && error.slept == error.excluded);
    assert_eq!((error.longest, error.verdict()), (None, Verdict::TikvServerBusy));
    assert!(waiter.wait(Kind::TikvRpc).is_ok(), "what counts has not been spent");
}

#[test]
fn a_bound_above_ten_minutes_holds_for_busy_stores_too() {
    let mut waiter = Waiter::new(Allowance::Plain(1_200_000));
    while waiter.wait(Kind::TikvServerBusy).is_ok() {}
    assert!((ms(1_200_000)..ms(1_210_000)).contains(&waiter.budget.slept()));
}

#[test]
fn a_busy_tiflash_counts() {
    let mut waiter = Waiter::new(Allowance::Plain(1));
    waiter.wait(Kind::TiflashServerBusy).unwrap();
    let error = waiter.wait(Kind::TiflashServerBusy).unwrap_err();
    assert_eq!(error.longest, Some(Kind::TiflashServerBusy));
}

// client-go: config/retry/backoff_test.go: TestBackoffErrorsKeep.
#[test]
fn the_last_three_errors_are_kept_with_their_instants() {
    let mut waiter = Waiter::new(Allowance::Unlimited);
    for count in 1..=8_u32 {
        waiter.now = Instant(count.into());
        waiter.wait_because(Kind::RegionMiss, &format!("error {count}")).unwrap();
        assert_eq!(waiter.budget.setbacks(), count);
        let kept: Vec<_> = waiter.budget.mishaps().map(|m| (m.reason.to_string(), m.at.0)).collect();
        let expected: Vec<_> =
            (count.saturating_sub(2).max(1)..=count).map(|n| (format!("error {n}"), n.into())).collect();
        assert_eq!(kept, expected);
    }
}

#[test]
fn without_an_allowance_the_first_setback_ends_it() {
    for kind in Kind::ALL {
        let error = Waiter::new(Allowance::Nothing).wait(kind).unwrap_err();
        assert_eq!(error.verdict(), kind.law().verdict);
    }
    let error = Waiter::new(Allowance::Nothing).wait(Kind::TikvRpc).unwrap_err();
    insta::assert_snapshot!(error, @"tikv server timeout: no retry allowed: tikvRPC at 0.000 s: test");
}

#[test]
fn renewing_forgets_what_was_spent_and_remembers_what_happened() {
    let mut waiter = Waiter::new(Allowance::Plain(1));
    waiter.wait(Kind::RegionMiss).unwrap();
    waiter.wait(Kind::RegionMiss).unwrap_err();
    waiter.budget.renew(Allowance::Plain(5), Tuning::default());
    assert_eq!(waiter.budget.slept(), Duration::ZERO);
    assert_eq!(waiter.wait(Kind::RegionMiss), Ok(ms(4)));
    waiter.wait(Kind::StaleCommand).unwrap();
    let error = waiter.wait(Kind::StaleCommand).unwrap_err();
    let expected = [(Kind::RegionMiss, 2), (Kind::StaleCommand, 1)];
    assert_eq!(error.tallies.iter().map(|t| (t.kind, t.times)).collect::<Vec<_>>(), expected);
    assert_eq!(error.mishaps.len(), 3);
}

#[test]
fn the_error_tells_what_the_time_went_into() {
    let mut waiter = Waiter::new(Allowance::Plain(20));
    waiter.now = Instant(61_002_000_000);
    let steps = [
        (Kind::RegionMiss, "region 42: epoch not match"),
        (Kind::TikvServerBusy, "store 3: scheduler is busy"),
        (Kind::RegionMiss, "region 42: not found"),
        (Kind::TikvRpc, "store 3: connection refused"),
        (Kind::RegionScheduling, "region 42: no leader"),
    ];
    let outcome =
        steps.into_iter().map(|(kind, reason)| waiter.wait_because(kind, reason)).find_map(Result::err);
    insta::assert_snapshot!(outcome.unwrap(), @"tikv server timeout: gave up after 1840 ms of waiting (1773 ms not counted), limit 20 ms: regionMiss 2x (6 ms), tikvServerBusy 1x (1773 ms, not counted), tikvRPC 1x (61 ms); longest tikvRPC; last error regionScheduling at 62.842 s: region 42: no leader; before it tikvRPC at 62.781 s: store 3: connection refused, regionMiss at 62.777 s: region 42: not found, tikvServerBusy at 61.004 s: store 3: scheduler is busy");
}

#[test]
fn sleeps_of_children_at_the_same_time_count_once() {
    let mut budget = Budget::new(Allowance::Plain(1000), Tuning::default());
    for child in 0..1000_u64 {
        let decision = budget.next(
            Kind::TikvDiskFull,
            &mut Attempts::default(),
            "test".into(),
            Instant(child),
            &mut rng(),
        );
        assert_eq!(decision, Decision::Sleep(ms(500)));
    }
    assert_eq!(budget.slept(), ms(500) + Duration::from_nanos(999));
    assert_eq!(budget.tallies().map(|t| (t.kind, t.times)).collect::<Vec<_>>(), [(Kind::TikvDiskFull, 1000)]);
}

/// client-go: `error/error.go: ErrPDServerTimeout` has no text where a spent budget brings it.
#[test]
fn fixes_a_spent_budget_of_pd_says_what_it_waited_for() {
    let error = Waiter::new(Allowance::Nothing).wait(Kind::PdRpc).unwrap_err();
    assert_eq!(error.to_string(), "pd server timeout: no retry allowed: pdRPC at 0.000 s: test");
}

/// client-go: a fork or clone of a backoffer that allows nothing allows everything.
#[test]
fn fixes_every_child_of_an_operation_that_may_not_wait_may_not_wait() {
    let mut budget = Budget::new(Allowance::Nothing, Tuning::default());
    for _ in 0..3 {
        let mut child = Attempts::default();
        let next = budget.next(Kind::RegionMiss, &mut child, "test".into(), Instant(0), &mut rng());
        assert!(matches!(next, Decision::GiveUp(_)));
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(&Kind::ALL[..])
}

proptest! {
    #[test]
    fn a_budget_is_overdrawn_by_one_sleep_at_most(
        limit in 1..50_000_u32,
        kinds in proptest::collection::vec(any_kind(), 1..300),
        seed: u64,
    ) {
        let mut waiter = Waiter::new(Allowance::Plain(limit));
        waiter.rng = fastrand::Rng::with_seed(seed);
        let limit = ms(limit.into());
        let (mut counted, mut excluded) = (Duration::ZERO, Duration::ZERO);
        for kind in kinds {
            let spent = counted >= limit || (kind == Kind::TikvServerBusy && excluded >= ms(600_000));
            match waiter.wait(kind) {
                Ok(sleep) => {
                    prop_assert!(!spent);
                    *if kind == Kind::TikvServerBusy { &mut excluded } else { &mut counted } += sleep;
                }
                Err(error) => {
                    prop_assert!(spent);
                    prop_assert_eq!((error.slept, error.excluded), (counted + excluded, excluded));
                }
            }
            prop_assert!(counted < limit + ms(10_000));
        }
        prop_assert_eq!(waiter.budget.slept(), counted + excluded);
    }

    #[test]
    fn a_sleep_keeps_to_the_law_of_its_kind(kind in any_kind(), seed: u64) {
        let mut waiter = Waiter::new(Allowance::Unlimited);
        waiter.rng = fastrand::Rng::with_seed(seed);
        let law = kind.law();
        let mut full = law.base_ms;
        for _ in 0..300 {
            let sleep = u64::try_from(waiter.wait(kind).unwrap().as_millis()).unwrap();
            match law.jitter {
                Jitter::None => prop_assert_eq!(sleep, full),
                Jitter::Equal => prop_assert!((full / 2..full).contains(&sleep), "{} of {}", sleep, full),
            }
            full = (full * 2).min(law.cap_ms);
        }
    }

    #[test]
    fn one_seed_gives_one_walk(seed: u64, kinds in proptest::collection::vec(any_kind(), 1..50)) {
        let walk = || {
            let mut waiter = Waiter::new(Allowance::GET);
            waiter.rng = fastrand::Rng::with_seed(seed);
            kinds.iter().map(|&kind| waiter.wait(kind)).collect::<Vec<_>>()
        };
        prop_assert_eq!(walk(), walk());
    }

    /// Against a naive count of the milliseconds in which some child slept.
    #[test]
    fn the_budget_counts_the_time_in_which_some_child_sleeps(
        steps in proptest::collection::vec((0..700_u64, any_kind()), 1..60),
        seed: u64,
    ) {
        let mut budget = Budget::new(Allowance::Unlimited, Tuning::default());
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut now, mut asleep) = (0, std::collections::BTreeSet::new());
        for (pause, kind) in steps {
            now += pause;
            let at = Instant(now * 1_000_000);
            let decision = budget.next(kind, &mut Attempts::default(), "test".into(), at, &mut rng);
            let Decision::Sleep(sleep) = decision else { panic!("{decision:?}") };
            asleep.extend(now..now + u64::try_from(sleep.as_millis()).unwrap());
            prop_assert_eq!(budget.slept(), ms(asleep.len() as u64));
        }
    }
}
