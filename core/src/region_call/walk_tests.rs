//! Ways over the replicas: errors in; who is asked and how, what is paused for, and the end, out.
//!
//! `walks.txt` has the cases of client-go's access-path tests, a line each: the request, what each attempt meets in order, client-go's
//! way (`2R` a replica read at store 2, `2S` a stale read, `2>1` through store 2 to store 1), how it ends, and its pauses. All go
//! through one harness. The snapshot has our way beside theirs where they differ; [`why`] names each kind of difference.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tikv_proto::{errorpb, kvrpcpb as pb, metapb};

use super::{RegionCall, Reply, Route, Unanswered};
use crate::codec::Mode;
use crate::explain::Explanation;
use crate::machine::script::Script;
use crate::machine::{
    Answer, Asked, Attempt, Cx, Effect, Facts, Feedback, Machine, Manner, Question, TransportClass, Why,
};
use crate::region::Directory;
use crate::replica::{ReadProfile, Replica};
use crate::request::{Profile, Request};
use crate::types::{
    Instant, Key, KeyRange, Labels, Liveness, Located, Peer, PeerId, PeerRole, RegionId, RegionInfo,
    RegionVersion, Replicas, StoreId, StoreView,
};

/// One region on some stores, each with its number as the label `id`.
#[derive(Clone, Debug)]
struct World(Rc<Inside>);

impl World {
    /// Another one that stands where this one does.
    fn copy(&self) -> Self {
        let Inside { directory, info, stores, .. } = &*self.0;
        let mut info = info.clone();
        if let Some(replicas) = directory.replicas(info.version) {
            info.leader = Some(replicas.leader);
        }
        let copy = Directory::new(Mode::Txn);
        copy.insert(info.clone(), Instant(0), Instant::FAR);
        let stores = RefCell::new(stores.borrow().clone());
        Self(Rc::new(Inside { directory: copy, info, stores, reports: RefCell::default() }))
    }
}

#[derive(Debug)]
struct Inside {
    directory: Directory,
    info: RegionInfo,
    stores: RefCell<BTreeMap<StoreId, StoreView>>,
    reports: RefCell<Vec<Feedback>>,
}

impl World {
    fn new(stores: u64, leader: u64, learner: bool) -> Self {
        let peer = |store: u64| {
            let role = if learner && store == stores { PeerRole::Learner } else { PeerRole::Voter };
            Peer { id: PeerId(10 + store), store: StoreId(store), role }
        };
        let info = RegionInfo {
            version: RegionVersion { id: RegionId(1), version: 5, conf_ver: 5 },
            range: KeyRange::ALL,
            peers: (1..=stores).map(peer).collect(),
            leader: Some(PeerId(10 + leader)),
        };
        let directory = Directory::new(Mode::Txn);
        directory.insert(info.clone(), Instant(0), Instant::FAR);
        Self(Rc::new(Inside { directory, info, stores: RefCell::default(), reports: RefCell::default() }))
    }

    fn set(&self, store: u64, change: impl FnOnce(&mut StoreView)) {
        change(self.0.stores.borrow_mut().entry(StoreId(store)).or_default());
    }
}

impl Facts for World {
    fn locate(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.directory.locate(key, now)
    }
    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.directory.locate_below(key, now)
    }
    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        self.0.directory.span(region)
    }
    fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        self.0.directory.replicas(region)
    }
    fn store(&self, store: StoreId, _: Instant) -> StoreView {
        self.0.stores.borrow().get(&store).copied().unwrap_or_default()
    }
    fn labels(&self, store: StoreId) -> Labels {
        Labels::new([("id", store.to_string())])
    }
    fn report(&self, feedback: &Feedback, now: Instant) {
        self.0.directory.apply(feedback, now);
        match feedback {
            Feedback::Busy { store, until } => self.set(store.0, |view| view.busy = until.since(now)),
            Feedback::Slow { store } => self.set(store.0, |view| view.slow = true),
            _ => {}
        }
        self.0.reports.borrow_mut().push(feedback.clone());
    }
}

/// The call as an operation of its own.
#[derive(Debug)]
struct Alone(RegionCall);

impl Machine for Alone {
    type Output = Result<Reply, Unanswered>;
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.0.step(cx)
    }
}

fn get() -> Alone {
    let message = pb::GetRequest { key: "k".into(), version: 5, ..Default::default() };
    Alone(RegionCall::new(
        "get",
        Route::Key(Key::from("k")),
        Arc::new(Request::new(&message, Profile::default())),
    ))
}

fn prewrite() -> Alone {
    let request = Arc::new(Request::new(&pb::PrewriteRequest::default(), Profile::default()));
    Alone(RegionCall::new("prewrite", Route::Key(Key::from("k")), request))
}

/// What an attempt meets.
fn error(name: &str) -> errorpb::Error {
    macro_rules! set {
        ($field:ident) => {
            errorpb::Error { $field: Some(Default::default()), ..Default::default() }
        };
    }
    let busy = |estimated_wait_ms| {
        let busy = errorpb::ServerIsBusy { estimated_wait_ms, ..Default::default() };
        errorpb::Error { server_is_busy: Some(busy), ..Default::default() }
    };
    match name {
        "notleader" => set!(not_leader),
        "busy" => busy(0),
        "busy10ms" => busy(10),
        "busy20ms" => busy(20),
        "region_not_found" => set!(region_not_found),
        "key_not_in_region" => set!(key_not_in_region),
        "epoch_not_match" => set!(epoch_not_match),
        "stale_command" => set!(stale_command),
        "store_not_match" => set!(store_not_match),
        "raft_entry_too_large" => set!(raft_entry_too_large),
        "max_timestamp_not_synced" => set!(max_timestamp_not_synced),
        "read_index_not_ready" => set!(read_index_not_ready),
        "proposal_in_merging_mode" => set!(proposal_in_merging_mode),
        "data_is_not_ready" => set!(data_is_not_ready),
        "region_not_initialized" => set!(region_not_initialized),
        "disk_full" => set!(disk_full),
        "recovery_in_progress" => set!(recovery_in_progress),
        "flashback_in_progress" => set!(flashback_in_progress),
        "flashback_not_prepared" => set!(flashback_not_prepared),
        "is_witness" => set!(is_witness),
        "mismatch_peer_id" => set!(mismatch_peer_id),
        "bucket_version_not_match" => set!(bucket_version_not_match),
        _ => {
            let store: u64 = name.strip_prefix("hint").unwrap().parse().unwrap();
            let leader = Some(metapb::Peer { id: 10 + store, store_id: store, ..Default::default() });
            let not_leader = Some(errorpb::NotLeader { region_id: 1, leader });
            errorpb::Error { not_leader, ..Default::default() }
        }
    }
}

/// What is asked for, and of what cluster.
#[derive(Clone, Debug)]
struct Case {
    write: bool,
    /// The cluster is the one that the case before has left.
    goes_on: bool,
    profile: ReadProfile,
    forwarding: bool,
    stores: u64,
    leader: u64,
    learner: bool,
    slow: Option<u64>,
}

impl Case {
    fn read(words: &str) -> Self {
        let mut case = Self {
            write: false,
            goes_on: false,
            profile: ReadProfile::new(),
            forwarding: false,
            stores: 3,
            leader: 1,
            learner: false,
            slow: None,
        };
        for word in words.split_whitespace() {
            let number = || word.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap();
            match word.trim_end_matches("ms").trim_end_matches(|c: char| c.is_ascii_digit()) {
                "then" => case.goes_on = true,
                "get" => {}
                "prewrite" => case.write = true,
                "leader" => {}
                "follower" => case.profile.replica = Replica::Follower,
                "mixed" => case.profile.replica = Replica::Mixed,
                "learner" if word == "learner" => case.profile.replica = Replica::Learner,
                "learner" => (case.stores, case.learner) = (number(), true),
                "prefer-leader" => case.profile.replica = Replica::PreferLeader,
                "leader-only" => case.profile.leader_only = true,
                "stale" => case.profile.stale = true,
                "label" => case.profile.labels = Labels::new([("id", number().to_string())]),
                "own" => case.profile.attempt = Some(Duration::from_secs(1)),
                "idle" => case.profile.busy_threshold = Duration::from_millis(number()),
                "led" => case.leader = number(),
                "forwarding" => case.forwarding = true,
                "single" => case.stores = 1,
                "slow" => case.slow = Some(number()),
                other => panic!("{other}"),
            }
        }
        case
    }

    fn manner(&self) -> Manner {
        let profile = &self.profile;
        Manner {
            reading: (!profile.is_plain()).then(|| Arc::new(profile.clone())),
            forwarding: self.forwarding,
        }
    }
}

/// A way as it was gone.
#[derive(Debug)]
struct Way {
    attempts: Vec<String>,
    pauses: BTreeMap<&'static str, u32>,
    /// PD was asked for the region.
    reloaded: bool,
    failed: bool,
    explanation: Explanation,
}

impl Way {
    fn path(&self) -> String {
        self.attempts.join(" ")
    }

    /// The pauses, but those that client-go makes in its callers.
    fn pauses(&self) -> String {
        let told: Vec<String> = self
            .pauses
            .iter()
            .map(|(kind, count)| format!("{kind}+{count}"))
            .filter(|told| !told.starts_with("regionMiss"))
            .collect();
        if told.is_empty() { "-".to_owned() } else { told.join(" ") }
    }
}

fn token(attempt: &Attempt) -> String {
    let through = attempt.through.map(|store| format!("{store}>")).unwrap_or_default();
    let how = match attempt.asked {
        Asked::Plainly => "",
        Asked::ReplicaRead => "R",
        Asked::StaleRead => "S",
    };
    format!("{through}{}{how}", attempt.to.store)
}

/// Goes the way of `case` with this seed: the attempts meet `errors` in order, then an answer.
fn go(case: &Case, errors: &[&str], world: &World, seed: u64) -> Way {
    let call = if case.write { prewrite() } else { get() };
    let mut s = Script::with(seed, case.manner(), call, world.clone());
    let (mut attempts, mut pauses, mut reloaded) = (Vec::new(), BTreeMap::new(), false);
    while !s.is_done() {
        match s.effect() {
            Effect::Call { ticket, attempt, .. } => {
                let met = errors.get(attempts.len()).copied();
                attempts.push(token(&attempt));
                s.wait(Duration::from_millis(1));
                match met {
                    None => s.reply(ticket, &pb::GetResponse::default()),
                    Some("deadline") => {
                        if case.write || case.profile.attempt.is_none() {
                            // The probe behind the failure fails at once.
                            let at = attempt.through.unwrap_or(attempt.to.store);
                            world.set(at.0, |view| view.liveness = Liveness::Unreachable);
                        }
                        s.fail(ticket, TransportClass::TimedOut);
                    }
                    Some(name) => {
                        let region_error = Some(Box::new(error(name)));
                        s.reply(ticket, &pb::GetResponse { region_error, ..Default::default() });
                    }
                }
            }
            Effect::Timer { ticket, at, why } => {
                let Why::BackOff(kind) = why else { panic!("{why}") };
                *pauses.entry(kind).or_default() += 1;
                s.fire((ticket, at, why));
            }
            Effect::Ask { ticket, question: Question::Region(_), .. } => {
                reloaded = true;
                let regions = [world.0.info.clone()].into();
                s.facts_report(&Feedback::Loaded { regions, expires: Instant::FAR });
                let info = &world.0.info;
                let to = Located {
                    region: info.version,
                    peer: info.leader.unwrap(),
                    store: StoreId(info.leader.unwrap().0 - 10),
                };
                s.answer(ticket, Answer::Region(to));
            }
            Effect::Report(_) => {}
            other => panic!("{other:?}"),
        }
    }
    s.read_reports();
    let explanation = s.explanation();
    let failed = s.done().0.is_err();
    Way { attempts, pauses, reloaded, failed, explanation }
}

fn world_of(case: &Case) -> World {
    let world = World::new(case.stores, case.leader, case.learner);
    if let Some(store) = case.slow {
        world.set(store, |view| view.slow = true);
    }
    world
}

/// A case of the file.
struct Line<'a> {
    request: &'a str,
    errors: Vec<&'a str>,
    path: &'a str,
    end: &'a str,
    pauses: &'a str,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Self {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [request, errors, path, end, pauses] = parts[..] else { panic!("{line}") };
        let errors = errors.split_whitespace().filter(|error| *error != "-").collect();
        Self { request, errors, path, end, pauses }
    }

    /// Whether our way is theirs: as far as theirs goes, and the end.
    fn is_like(&self, way: &Way) -> bool {
        let theirs: Vec<&str> = self.path.split_whitespace().collect();
        let same = way.attempts.iter().zip(&theirs).all(|(ours, theirs)| ours == theirs);
        match self.end {
            "ok" => !way.failed && way.path() == self.path,
            // Its caller sends it again; here that is one call, which ends like any.
            "again" => same && way.attempts.len() >= theirs.len(),
            "fails" => way.failed && way.path() == self.path,
            other => panic!("{other}"),
        }
    }
}

/// The reason of a difference, by what the case is about.
fn why(line: &Line<'_>, same_path: bool) -> &'static str {
    let stale = line.request.contains("stale");
    if same_path && line.end == "again" && line.errors.len() > line.path.split_whitespace().count() {
        return "an answer is left for the request that is sent again";
    }
    let meets = |name: &str| line.errors.contains(&name);
    if stale && meets("data_is_not_ready") && !line.path.starts_with("1S 2R") {
        "stale reads wait for their data once, then the leader has it, and they stay stale"
    } else if stale && meets("data_is_not_ready") {
        "a leader without the data of a stale read is asked as a leader is"
    } else if stale && !same_path {
        "stale reads stay stale at the leader"
    } else if meets("deadline") {
        "no pause behind a failure while other replicas are left"
    } else {
        "?"
    }
}

#[test]
fn the_ways_of_client_gos_access_path_tests() {
    let mut table = String::new();
    let mut world = World::new(3, 1, false);
    for text in include_str!("walks.txt").lines() {
        if text.is_empty() || text.starts_with('#') {
            writeln!(table, "{text}").unwrap();
            continue;
        }
        let line = Line::read(text);
        let case = Case::read(line.request);
        // Equals are drawn: theirs is one of the ways that can be gone.
        let attempt = |seed| {
            let own = if case.goes_on { world.copy() } else { world_of(&case) };
            (go(&case, &line.errors, &own, seed), own)
        };
        let found = (0..40).map(attempt).find(|(way, _)| line.is_like(way));
        let like = found.is_some();
        let (way, after) = found.unwrap_or_else(|| attempt(2));
        let same_pauses = way.pauses() == line.pauses;
        let errors = if line.errors.is_empty() { "-".to_owned() } else { line.errors.join(" ") };
        let mark = if like && same_pauses { '=' } else { '~' };
        let end = if way.failed { "fails" } else { "ok" };
        let end = if way.reloaded { "reloads" } else { end };
        writeln!(table, "{mark} {} | {errors} | {} | {end} | {}", line.request, way.path(), way.pauses())
            .unwrap();
        if mark == '~' {
            writeln!(table, "      theirs: {} | {} | {}", line.path, line.end, line.pauses).unwrap();
            writeln!(table, "      {}", why(&line, like)).unwrap();
        }
        world = after;
    }
    insta::assert_snapshot!(table);
}

/// All that an attempt can meet.
const ERRORS: [&str; 26] = [
    "notleader",
    "hint1",
    "hint2",
    "hint3",
    "hint9",
    "busy",
    "busy10ms",
    "busy20ms",
    "region_not_found",
    "key_not_in_region",
    "epoch_not_match",
    "stale_command",
    "store_not_match",
    "max_timestamp_not_synced",
    "read_index_not_ready",
    "proposal_in_merging_mode",
    "data_is_not_ready",
    "region_not_initialized",
    "disk_full",
    "recovery_in_progress",
    "flashback_in_progress",
    "is_witness",
    "mismatch_peer_id",
    "bucket_version_not_match",
    "deadline",
    "lost",
];

/// Requests of each kind.
const REQUESTS: [&str; 12] = [
    "get leader",
    "get leader own",
    "get leader idle10ms",
    "get leader forwarding",
    "get follower",
    "get follower own idle10ms",
    "get mixed label2",
    "get prefer-leader",
    "get learner",
    "get stale",
    "get stale label3 own",
    "prewrite leader forwarding",
];

/// Meets `errors` over and over until it ends; how many requests it sent in how many seconds.
fn storm(case: &Case, errors: &[&str], seed: u64) -> (u32, f64) {
    let world = world_of(case);
    let call = if case.write { prewrite() } else { get() };
    let mut s = Script::with(seed, case.manner(), call, world.clone());
    let mut sent = 0u32;
    while !s.is_done() && sent < 3_000 {
        match s.effect() {
            Effect::Call { ticket, .. } => {
                let met = errors[sent as usize % errors.len()];
                sent += 1;
                match met {
                    "deadline" => s.fail(ticket, TransportClass::TimedOut),
                    "lost" => s.fail(ticket, TransportClass::Lost),
                    name => {
                        let region_error = Some(Box::new(error(name)));
                        s.reply(ticket, &pb::GetResponse { region_error, ..Default::default() });
                    }
                }
            }
            Effect::Timer { ticket, at, why } => s.fire((ticket, at, why)),
            Effect::Ask { ticket, question: Question::Region(_), .. } => {
                // PD answers as fast as it is asked.
                let regions = [world.0.info.clone()].into();
                s.facts_report(&Feedback::Loaded { regions, expires: Instant::FAR });
                let peer = world.0.info.leader.unwrap();
                let to = Located { region: world.0.info.version, peer, store: StoreId(peer.0 - 10) };
                s.answer(ticket, Answer::Region(to));
            }
            Effect::Report(_) => {}
            other => panic!("{other:?}"),
        }
    }
    (sent, s.now().since(Instant(0)).as_secs_f64())
}

use proptest::prelude::*;

proptest! {
    /// Whatever finite set of answers is repeated for ever, at whatever speed: no request makes more than 120 attempts and 24 a
    /// second. Every attempt but a replica's first costs a pause or one of few at once.
    #[test]
    fn no_answers_repeated_for_ever_make_a_storm(
        request in 0..REQUESTS.len(),
        which in proptest::collection::vec(0..ERRORS.len(), 1..5),
        seed in 0..9u64,
    ) {
        let errors: Vec<&str> = which.iter().map(|&at| ERRORS[at]).collect();
        let (sent, seconds) = storm(&Case::read(REQUESTS[request]), &errors, seed);
        prop_assert!(f64::from(sent) <= 120.0 + 24.0 * seconds, "{sent} requests in {seconds} s");
    }

    /// Whatever it meets: it never asks who is known to be gone, a follower only as often as it may, and tells its way.
    #[test]
    fn a_way_is_bounded_and_told_whatever_it_meets(
        request in 0..REQUESTS.len(),
        which in proptest::collection::vec(0..ERRORS.len() - 1, 0..8),
        seed in 0..9u64,
    ) {
        let errors: Vec<&str> = which.iter().map(|&at| ERRORS[at]).collect();
        let case = Case::read(REQUESTS[request]);
        let way = go(&case, &errors, &world_of(&case), seed);
        prop_assert_eq!(way.attempts.len(), way.explanation.attempts());
        prop_assert!(way.attempts.len() <= errors.len() + 1);
        let last = way.explanation.hops.last().unwrap();
        prop_assert_eq!(last.error.is_some(), way.failed);
        for hop in &way.explanation.hops {
            prop_assert!(hop.asked == Asked::Plainly || case.profile.stale || !case.profile.is_plain());
            prop_assert!(hop.through.is_none() || case.forwarding);
        }
    }
}

/// A way in short: who was asked, and what was paused for.
fn way(request: &str, errors: &[&str]) -> (String, String) {
    let case = Case::read(request);
    let way = go(&case, errors, &world_of(&case), 0);
    (way.path(), way.pauses())
}

// routing.md 7.4, departure 3. client-go: 12 requests back to back.
#[test]
fn fixes_errors_without_a_pause_ask_the_leader_ten_times_back_to_back() {
    let (path, pauses) = way("get leader", &["stale_command"; 6]);
    assert_eq!(path, "1 1 1 1 1 1 1");
    assert_eq!(pauses, "regionScheduling+1", "behind the fourth");
}

// routing.md 7.4, departure 4. client-go: the region error comes back with a nil error.
#[test]
fn fixes_a_full_disk_that_outlasts_the_budget_is_no_error() {
    let case = Case::read("get leader");
    let way = go(&case, &["disk_full"; 40], &world_of(&case), 0);
    assert!(way.failed && way.pauses["tikvDiskFull"] > 5, "{way:?}");
}

// routing.md 7.4, departure 5. client-go: the caller gets the transport error itself.
#[test]
fn fixes_a_store_that_never_answers_ends_without_saying_what_was_tried() {
    let mut s = Script::with(0, Manner::default(), get(), World::new(1, 1, false));
    while !s.is_done() {
        match s.effect() {
            Effect::Call { ticket, .. } => s.fail(ticket, TransportClass::Lost),
            Effect::Timer { ticket, at, why } => s.fire((ticket, at, why)),
            Effect::Ask { ticket, .. } => {
                let region = RegionVersion { id: RegionId(1), version: 5, conf_ver: 5 };
                s.answer(ticket, Answer::Region(Located { region, peer: PeerId(11), store: StoreId(1) }));
            }
            _ => {}
        }
    }
    s.read_reports();
    let Err(unanswered) = s.done().0 else { panic!("an error") };
    let error = unanswered.into_error("get");
    let account = std::error::Error::source(&error).unwrap().to_string();
    assert!(account.contains("tikv server timeout") && account.contains("region 1 at store 1"), "{account}");
}

// client-go: the flag of an idle replica's read stays in the request when it comes back to the leader (routing.md 4.3).
#[test]
fn fixes_a_read_that_comes_back_to_the_leader_is_still_a_replica_read() {
    let (path, _) = way("get leader idle10ms", &["busy20ms", "busy20ms", "busy20ms"]);
    assert!(path.starts_with("1 2R 3R 1") || path.starts_with("1 3R 2R 1"), "{path}");
}

// client-go: flags of one attempt stay in the caller's request for the next (TestTiKVClientReadTimeout shows a leader read with
// replica_read=true).
#[test]
fn fixes_the_flags_of_an_attempt_leak_into_the_next_request() {
    let case = Case::read("get leader own");
    let world = world_of(&case);
    assert!(go(&case, &["deadline"], &world, 0).path().ends_with('R'));
    assert_eq!(go(&case, &[], &world, 0).path(), "1");
}

// client-go: replica_selector_test.go: TestTiKVClientReadTimeout; region_request3_test.go: TestSendReqFirstTimeout.
#[test]
fn an_attempt_time_of_ones_own_goes_round_all_replicas_without_a_pause_then_is_the_clients() {
    let case = Case::read("get leader own");
    let mut s = Script::with(0, case.manner(), get(), World::new(3, 1, false));
    let mut limits = Vec::new();
    let mut pauses = Vec::new();
    while !s.is_done() {
        match s.effect() {
            Effect::Call { ticket, attempt, deadline, .. } => {
                limits.push(attempt.max_execution_ms);
                assert_eq!(deadline.since(s.now()).as_millis(), u128::from(attempt.max_execution_ms));
                match limits.len() {
                    1..=3 => s.fail(ticket, TransportClass::TimedOut),
                    _ => s.reply(ticket, &pb::GetResponse::default()),
                }
            }
            Effect::Timer { ticket, at, why } => {
                pauses.push(why.to_string());
                s.fire((ticket, at, why));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(limits, [1_000, 1_000, 1_000, 30_000]);
    assert_eq!(pauses, ["back off (regionMiss)"], "the region stays, the caller's time was too short");
}

// client-go: region_request_test.go: TestNoReloadRegionWhenCtxCanceled, TestOnSendFailedWithCancelled.
#[test]
fn a_call_that_is_stopped_leaves_the_region_as_it_is() {
    let world = World::new(3, 1, false);
    let mut s = Script::with(0, Manner::default(), get(), world.clone());
    let Effect::Call { ticket, .. } = s.effect() else { panic!("a call") };
    s.interrupt(crate::machine::Interrupt::Killed);
    s.expect_cancel(ticket);
    assert!(s.done().0.is_err());
    assert_eq!(*world.0.reports.borrow(), []);
    assert!(world.0.directory.locate(b"k", Instant(0)).is_some());
    assert_eq!(go(&Case::read("get leader"), &[], &world, 0).path(), "1");
}

// client-go: region_request_test.go: TestOnSendFailedWithCloseKnownStoreThenUseNewOne.
#[test]
fn a_leader_that_is_gone_is_left_for_the_new_one_within_the_request() {
    let case = Case::read("get leader");
    let paths = (0..20).map(|seed| go(&case, &["deadline", "hint3"], &world_of(&case), seed).path());
    assert!(paths.into_iter().any(|path| path == "1 2 3"), "whoever of the others is asked first");
}

// client-go: region_request3_test.go: TestAccessFollowerAfter1TiKVDown.
#[test]
fn followers_that_cannot_be_reached_are_not_asked() {
    let case = Case::read("get follower");
    let world = world_of(&case);
    world.set(2, |view| view.liveness = Liveness::Unreachable);
    for seed in 0..100 {
        assert_eq!(go(&case, &[], &world, seed).path(), "3R");
    }
}

// client-go: region_request3_test.go: TestDoNotTryUnreachableLeader.
#[test]
fn a_leader_that_cannot_be_reached_is_not_asked_first() {
    let case = Case::read("get leader");
    let world = world_of(&case);
    world.set(1, |view| view.liveness = Liveness::Unreachable);
    let way = go(&case, &[], &world, 0);
    assert!(["2", "3"].contains(&way.path().as_str()), "{way:?}");
    let report = world.0.reports.borrow().last().cloned();
    assert!(matches!(report, Some(Feedback::LeaderIs { .. })), "who answers as a leader leads: {report:?}");
    assert_eq!(go(&case, &[], &world, 0).path(), way.path(), "the next request goes there at once");
}

// client-go: region_request3_test.go: TestPreferLeader.
#[test]
fn a_preferred_leader_is_asked_until_it_cannot_be_reached_then_followers_then_the_region_is_looked_for() {
    let case = Case::read("get prefer-leader");
    let world = world_of(&case);
    assert_eq!(go(&case, &[], &world, 0).path(), "1");
    world.set(1, |view| view.liveness = Liveness::Unreachable);
    assert!(go(&case, &[], &world, 0).path().ends_with('R'));
    world.set(2, |view| view.liveness = Liveness::Unreachable);
    assert_eq!(go(&case, &[], &world, 0).path(), "3R");
}

// client-go: replica_selector_test.go: TestReplicaSelectorLeaderBusyProbe.
#[test]
fn a_leader_only_request_never_asks_another_one_for_a_busy_leader() {
    let (path, pauses) = way("get leader leader-only", &["busy", "busy", "busy"]);
    assert_eq!((path.as_str(), pauses.as_str()), ("1 1 1 1", "tikvServerBusy+3"));
}

// client-go: region_request_test.go: TestRPCContextString, TestBackoffErrWithRPCContext; region_request3_test.go: TestLogging.
#[test]
fn a_way_is_told_as_data_and_as_a_text() {
    let case = Case::read("get leader");
    let way = go(&case, &["hint2", "busy", "region_not_found"], &world_of(&case), 3);
    insta::assert_snapshot!(way.explanation);
}

// client-go: region_cache_test.go: TestSendFailedButLeaderNotChange, TestSendFailedInMultipleNode.
#[test]
fn failures_go_on_to_the_other_replicas_and_a_hint_brings_back() {
    let (path, _) = way("get leader", &["deadline", "deadline"]);
    assert!(["1 2 3", "1 3 2"].contains(&path.as_str()), "{path}");
    // The store answers again, and nobody else leads.
    let world = World::new(3, 1, false);
    let case = Case::read("get leader");
    let mut s = Script::with(0, Manner::default(), get(), world.clone());
    let Effect::Call { ticket, .. } = s.effect() else { panic!("a call") };
    s.fail(ticket, TransportClass::Lost);
    s.expect_report();
    let Effect::Call { ticket, attempt, .. } = s.effect() else { panic!("a call") };
    assert_ne!(attempt.to.store, StoreId(1));
    let region_error = Some(Box::new(error("hint1")));
    s.reply(ticket, &pb::GetResponse { region_error, ..Default::default() });
    s.expect_report();
    let timer = s.expect_timer();
    s.fire(timer);
    let Effect::Call { ticket, attempt, .. } = s.effect() else { panic!("a call") };
    assert_eq!(attempt.to.store, StoreId(1), "once its pause was served");
    s.reply(ticket, &pb::GetResponse::default());
    assert!(s.done().0.is_ok());
    assert_eq!(go(&case, &[], &world, 0).path(), "1");
}

// routing.md 7.4, departure 7.
#[test]
fn fixes_a_read_of_buffered_writes_goes_to_followers_as_if_they_led() {
    let message = pb::BufferBatchGetRequest { keys: vec!["k".into()], ..Default::default() };
    let request = Arc::new(Request::new(&message, Profile::default()));
    let call = Alone(RegionCall::new("buffer batch get", Route::Key(Key::from("k")), request));
    let manner = Case::read("get follower").manner();
    let mut s = Script::with(0, manner, call, World::new(3, 1, false));
    let Effect::Call { ticket, attempt, .. } = s.effect() else { panic!("a call") };
    assert_eq!(attempt.asked, Asked::ReplicaRead);
    s.reply(ticket, &pb::BufferBatchGetResponse::default());
    assert!(s.done().0.is_ok());
}
