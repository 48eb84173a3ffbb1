//! Scores as a table, and laws of choosing.

use std::fmt::Write;
use std::time::Duration;

use proptest::prelude::*;

use super::score::{LEADER_ATTEMPTS, leader_is_usable};
use super::*;
use crate::backoff::Kind;
use crate::codec::Mode;
use crate::machine::{Cx, Op};
use crate::region::Directory;
use crate::types::{
    Engine, Instant, KeyRange, Liveness, Peer, PeerId, PeerRole, Presence, RegionId, RegionInfo,
    RegionVersion, StoreId, StoreView, WallTime,
};

fn replica(leads: bool) -> Candidate {
    Candidate {
        leads,
        learner: false,
        store: StoreView::default(),
        matches: true,
        attempts: 0,
        time: Duration::ZERO,
        marks: Marks::default(),
    }
}

// client-go: replica_selector_test.go: TestReplicaSelectorCalculateScore.
#[test]
fn the_table_of_scores() {
    let none = Wanted::default();
    let wishes = [
        ("nothing said", none),
        ("leader too", Wanted { leader_too: true, ..none }),
        ("leader too, labels", Wanted { leader_too: true, labelled: true, ..none }),
        ("prefer leader", Wanted { leader_too: true, prefer_leader: true, ..none }),
        ("prefer leader, labels", Wanted { leader_too: true, prefer_leader: true, labelled: true, ..none }),
        ("learners", Wanted { learners: true, ..none }),
        ("leader only", Wanted { leader_only: true, ..none }),
        ("idle within 10 ms", Wanted { idle_within: Duration::from_millis(10), ..none }),
    ];
    let slow = StoreView { slow: true, ..StoreView::default() };
    let busy = StoreView { busy: Duration::from_millis(11), ..StoreView::default() };
    let down = StoreView { liveness: Liveness::Unreachable, ..StoreView::default() };
    let unsure = StoreView { liveness: Liveness::Unknown, ..StoreView::default() };
    let tiflash = StoreView { engine: Engine::TiFlash, ..StoreView::default() };
    let removed = StoreView { presence: Presence::Removed, ..StoreView::default() };
    let (leader, follower) = (replica(true), replica(false));
    let marked = |change: fn(&mut Marks)| {
        let mut marks = Marks::default();
        change(&mut marks);
        marks
    };
    let replicas = [
        ("leader", leader),
        ("leader, slow", Candidate { store: slow, ..leader }),
        ("leader, elsewhere", Candidate { matches: false, ..leader }),
        ("leader, asked", Candidate { attempts: 1, ..leader }),
        ("follower", follower),
        ("follower, slow", Candidate { store: slow, ..follower }),
        ("follower, elsewhere", Candidate { matches: false, ..follower }),
        ("follower, asked", Candidate { attempts: 1, ..follower }),
        (
            "follower, asked, not ready",
            Candidate { attempts: 1, marks: marked(|m| m.not_ready = true), ..follower },
        ),
        ("follower, busy 11 ms", Candidate { store: busy, ..follower }),
        ("follower, was busy", Candidate { marks: marked(|m| m.busy = true), ..follower }),
        ("follower, failed", Candidate { marks: marked(|m| m.failed = true), ..follower }),
        ("learner", Candidate { learner: true, ..follower }),
        ("unreachable", Candidate { store: down, ..follower }),
        ("perhaps unreachable", Candidate { store: unsure, ..follower }),
        ("tiflash", Candidate { learner: true, store: tiflash, ..follower }),
        ("removed", Candidate { store: removed, ..follower }),
    ];
    let mut table = String::new();
    for (wish, wanted) in wishes {
        writeln!(table, "{wish}").unwrap();
        for (name, replica) in &replicas {
            let points = score(replica, &wanted);
            let told = points.map_or_else(|| "-".to_owned(), |points| format!("{:>2}  {points}", points.0));
            writeln!(table, "    {name:<28} {told}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

// client-go: replica_selector_test.go: TestCanFastRetry (a leader is asked ten times).
#[test]
fn a_leader_is_usable_until_something_speaks_against_it() {
    let leader = replica(true);
    assert!(leader_is_usable(&leader));
    let against: [fn(&mut Candidate); 9] = [
        |c| c.attempts = LEADER_ATTEMPTS,
        |c| c.time = Duration::from_secs(50),
        |c| c.marks.timed_out = true,
        |c| c.marks.not_leader = true,
        |c| c.marks.failed = true,
        |c| c.store.liveness = Liveness::Unreachable,
        |c| c.store.liveness = Liveness::Unknown,
        |c| c.store.presence = Presence::Removed,
        |c| c.store.engine = Engine::TiFlash,
    ];
    for change in against {
        let mut changed = leader;
        change(&mut changed);
        assert!(!leader_is_usable(&changed), "{changed:?}");
    }
    let nearly = Candidate { attempts: LEADER_ATTEMPTS - 1, time: Duration::from_secs(49), ..leader };
    assert!(leader_is_usable(&nearly));
}

#[test]
fn read_types_have_client_gos_names() {
    let all = [
        Replica::Leader,
        Replica::Follower,
        Replica::Mixed,
        Replica::Learner,
        Replica::PreferLeader,
        Replica::Closest,
    ];
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["leader", "follower", "mixed", "learner", "prefer-leader", "closest"]);
    assert!(all.iter().all(|replica| replica.is_leader() == (*replica == Replica::Leader)));
}

#[test]
fn the_closest_are_those_with_the_label_of_the_clients_zone() {
    let near = ReadProfile::new().replica(Replica::Closest).labels([("zone", "other"), ("disk", "ssd")]);
    let resolved = near.in_zone(Some("z1"));
    assert_eq!(resolved.replica, Replica::Mixed);
    assert_eq!((resolved.labels.get("zone"), resolved.labels.get("disk")), (Some("z1"), Some("ssd")));
    let nowhere = near.in_zone(None);
    assert_eq!((nowhere.replica, nowhere.labels.get("zone")), (Replica::Mixed, Some("other")));
    assert_eq!(ReadProfile::new().in_zone(Some("z1")), ReadProfile::new());
}

fn walk(terms: walk::Terms) -> Walk {
    let region = RegionVersion { id: RegionId(1), version: 1, conf_ver: 1 };
    let peer = |n| Peer { id: PeerId(10 + n), store: StoreId(n), role: PeerRole::Voter };
    let peers = (1..=3).map(peer).collect();
    let directory = Directory::new(Mode::Txn);
    let info = RegionInfo { version: region, range: KeyRange::ALL, peers, leader: Some(PeerId(11)) };
    directory.insert(info, Instant(0), Instant::FAR);
    let (world, mut op) = (directory, Op::default());
    Walk::begin(region, terms, &Cx::root(Instant(0), WallTime(0), &world, &mut op)).unwrap()
}

// client-go: replica_selector_test.go: TestPendingBackoff.
#[test]
fn a_pause_that_is_owed_is_kept_by_store_and_the_longest_stands_for_all() {
    let mut walk = walk(walk::Terms::default());
    assert_eq!((walk.owed_to(StoreId(1)), walk.owed_to_all()), (None, None));
    walk.owe(StoreId(1), Kind::TikvRpc, "one".into());
    walk.owe(StoreId(2), Kind::TikvDiskFull, "two".into());
    walk.owe(StoreId(1), Kind::TikvServerBusy, "three".into());
    assert_eq!(walk.owed_to(StoreId(9)), None);
    assert_eq!(walk.owed_to(StoreId(2)), Some((Kind::TikvDiskFull, "two".into())));
    assert_eq!(walk.owed_to(StoreId(2)), None, "it was served");
    walk.owe(StoreId(2), Kind::RegionMiss, "four".into());
    assert_eq!(walk.owed_to_all(), Some((Kind::TikvServerBusy, "three".into())));
    assert_eq!((walk.owed_to(StoreId(1)), walk.owed_to(StoreId(2))), (None, None));
}

fn candidates() -> impl Strategy<Value = Candidate> {
    let marks = any::<[bool; 6]>().prop_map(|m| Marks {
        timed_out: m[0],
        not_ready: m[1],
        not_leader: m[2],
        busy: m[3],
        suspect: m[4],
        failed: m[5],
    });
    let store =
        (0..3usize, 0..3usize, any::<bool>(), 0..30u64).prop_map(|(engine, alive, slow, busy)| StoreView {
            engine: [Engine::TiKv, Engine::TiFlash, Engine::TiFlashCompute][engine],
            liveness: [Liveness::Reachable, Liveness::Unreachable, Liveness::Unknown][alive],
            slow,
            busy: Duration::from_millis(busy),
            ..StoreView::default()
        });
    (any::<[bool; 3]>(), store, 0..3u32, marks).prop_map(
        |([leads, learner, matches], store, attempts, marks)| Candidate {
            leads,
            learner,
            store,
            matches,
            attempts,
            time: Duration::ZERO,
            marks,
        },
    )
}

proptest! {
    #[test]
    fn who_cannot_answer_is_never_scored(candidate in candidates(), flags in any::<[bool; 5]>(), idle in 0..20u64) {
        let wanted = Wanted {
            leader_too: flags[0],
            prefer_leader: flags[1],
            leader_only: flags[2],
            learners: flags[3],
            labelled: flags[4],
            idle_within: Duration::from_millis(idle),
        };
        if score(&candidate, &wanted).is_some() {
            prop_assert_eq!(candidate.store.engine, Engine::TiKv);
            prop_assert_ne!(candidate.store.liveness, Liveness::Unreachable);
            prop_assert!(!candidate.marks.failed && candidate.attempts < 2);
            prop_assert!(candidate.leads || !wanted.leader_only);
            prop_assert!(idle == 0 || candidate.store.busy <= wanted.idle_within);
        }
    }

    #[test]
    fn a_label_counts_more_than_leading_and_speed_more_than_a_label(one in candidates(), other in candidates()) {
        let wanted = Wanted { leader_too: true, labelled: true, ..Wanted::default() };
        if let (Some(a), Some(b)) = (score(&one, &wanted), score(&other, &wanted)) {
            let better = |c: &Candidate| (!c.store.slow, c.matches);
            if better(&one) > better(&other) {
                prop_assert!(a > b);
            }
        }
    }
}
