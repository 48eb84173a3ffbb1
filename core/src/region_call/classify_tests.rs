//! The table of region errors for reads that may go to any replica, and the rows that could be confused.

use tikv_proto::{errorpb, metapb};

use super::classify::{Reaction, Situation, classify, classify_transport};
use super::classify_read::{
    Asked, Leader, Mark, Next, ReadVerdict, Reading, Threshold, classify_read, classify_transport_read,
};
use crate::backoff::Kind;
use crate::codec::{Mode, memcomparable};
use crate::machine::{Feedback, StaleReason, TransportClass, TransportFault};
use crate::types::{KeyRange, Located, PeerId, RegionId, RegionVersion, StoreId};

const REGION: RegionVersion = RegionVersion { id: RegionId(1), version: 5, conf_ver: 5 };

/// The attempt went to peer 11 on store 1.
fn situation() -> Situation {
    Situation { to: Located { region: REGION, peer: PeerId(11), store: StoreId(1) }, mode: Mode::Raw }
}

/// A replica read that asked a follower first.
fn follower() -> Reading {
    Reading {
        asked: Asked::ReplicaRead,
        leader: Leader::Never,
        leader_usable: true,
        leader_first: false,
        others: true,
        own_timeout: false,
        threshold: Threshold::None,
        waited_for_data: false,
    }
}

/// A read of the leader.
fn leader() -> Reading {
    Reading { asked: Asked::Plainly, leader: Leader::Now, leader_first: true, ..follower() }
}

macro_rules! error {
    ($field:ident) => {
        errorpb::Error { $field: Some(Default::default()), ..Default::default() }
    };
}

fn text(text: &str) -> errorpb::Error {
    errorpb::Error { message: text.into(), ..Default::default() }
}

fn hint(peer: u64, store: u64) -> errorpb::Error {
    let leader = Some(metapb::Peer { id: peer, store_id: store, ..Default::default() });
    errorpb::Error { not_leader: Some(errorpb::NotLeader { region_id: 1, leader }), ..Default::default() }
}

fn busy(reason: &str, estimated_wait_ms: u32) -> errorpb::Error {
    let busy = errorpb::ServerIsBusy { reason: reason.into(), estimated_wait_ms, ..Default::default() };
    errorpb::Error { server_is_busy: Some(busy), ..Default::default() }
}

/// A region with the peers 11 on store 1 (a learner if `learner`) and 12 on store 2.
fn region(id: u64, version: u64, conf_ver: u64, learner: bool) -> metapb::Region {
    let peer = |id, role: metapb::PeerRole| metapb::Peer {
        id,
        store_id: id - 10,
        role: role.into(),
        is_witness: false,
    };
    let role = if learner { metapb::PeerRole::Learner } else { metapb::PeerRole::Voter };
    metapb::Region {
        id,
        region_epoch: Some(metapb::RegionEpoch { version, conf_ver }),
        peers: vec![peer(11, role), peer(12, metapb::PeerRole::Voter)],
        ..Default::default()
    }
}

fn epoch_not_match(current_regions: Vec<metapb::Region>) -> errorpb::Error {
    let epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
    errorpb::Error { epoch_not_match, ..Default::default() }
}

fn errors() -> Vec<(&'static str, errorpb::Error)> {
    vec![
        ("undetermined_result", error!(undetermined_result)),
        ("not_leader hint", hint(12, 2)),
        ("not_leader", error!(not_leader)),
        ("disk_full", error!(disk_full)),
        ("recovery_in_progress", error!(recovery_in_progress)),
        ("is_witness", error!(is_witness)),
        ("flashback_in_progress", error!(flashback_in_progress)),
        ("flashback_not_prepared", error!(flashback_not_prepared)),
        ("region_not_found", error!(region_not_found)),
        ("key_not_in_region", error!(key_not_in_region)),
        ("epoch_not_match", epoch_not_match(vec![region(1, 6, 5, false)])),
        ("epoch_not_match lags", epoch_not_match(vec![region(1, 4, 5, false)])),
        ("epoch_not_match empty", error!(epoch_not_match)),
        ("bucket_version_not_match", error!(bucket_version_not_match)),
        ("server_is_busy", busy("", 0)),
        ("server_is_busy 7 ms", busy("", 7)),
        ("server_is_busy deadline", busy("deadline is exceeded", 0)),
        ("stale_command", error!(stale_command)),
        ("store_not_match", error!(store_not_match)),
        ("raft_entry_too_large", error!(raft_entry_too_large)),
        ("max_timestamp_not_synced", error!(max_timestamp_not_synced)),
        ("region_not_initialized", error!(region_not_initialized)),
        ("read_index_not_ready", error!(read_index_not_ready)),
        ("proposal_in_merging_mode", error!(proposal_in_merging_mode)),
        ("data_is_not_ready", error!(data_is_not_ready)),
        ("Deadline is exceeded", text("Deadline is exceeded")),
        ("mismatch_peer_id", error!(mismatch_peer_id)),
        ("invalid max_ts update", text("invalid max_ts update")),
        ("mismatch cluster id", text("mismatch cluster id, need 1 but got 2")),
        ("anything else", text("TiKV is closing")),
        ("nothing", errorpb::Error::default()),
    ]
}

fn row(verdict: &ReadVerdict) -> String {
    let report = |feedback: &Feedback| match feedback {
        Feedback::LeaderIs { peer, .. } => format!("leader {peer}"),
        Feedback::Stale { why, .. } => format!("stale {why:?}"),
        Feedback::Regions { new, .. } => format!("{} regions", new.len()),
        Feedback::Unreachable { store, .. } => format!("unreachable {store}"),
        Feedback::Loaded { .. } => "loaded".to_owned(),
        other => format!("{other:?}"),
    };
    let reports: Vec<String> = verdict.verdict.reports.iter().map(report).collect();
    let reaction = match verdict.verdict.reaction {
        Reaction::BackOff(kind) => format!("pause {kind}"),
        Reaction::Again => "at once".to_owned(),
        Reaction::Fail => return "fail".to_owned(),
        Reaction::Undetermined => return "undetermined".to_owned(),
    };
    let mark = verdict.mark.map_or(String::new(), |mark| format!(", mark {mark:?}"));
    let owed = verdict.owed.map_or(String::new(), |(store, kind)| format!(", owes store {store} {kind}"));
    format!("{reaction} -> {:?}{mark}{owed} [{}]", verdict.next, reports.join(", "))
}

/// Each error, and what differs from a follower's replica read for others.
#[test]
fn the_table_of_region_errors_for_reads() {
    let readings = [
        ("leader", leader()),
        ("leader, not usable again", Reading { leader_usable: false, ..leader() }),
        ("follower, leader asked before", Reading { leader: Leader::Before, ..follower() }),
        ("follower, the last", Reading { others: false, ..follower() }),
        ("own timeout", Reading { own_timeout: true, ..follower() }),
        ("threshold", Reading { threshold: Threshold::Set, ..leader() }),
        ("batch", Reading { threshold: Threshold::Batch, ..leader() }),
        ("stale", Reading { asked: Asked::StaleRead, ..follower() }),
        ("stale, waited", Reading { asked: Asked::StaleRead, waited_for_data: true, ..follower() }),
    ];
    let mut table = String::new();
    for (name, error) in errors() {
        let usual = row(&classify_read(&error, &situation(), &follower()));
        table += &format!("{name}: {usual}\n");
        for (reading, facts) in &readings {
            let other = row(&classify_read(&error, &situation(), facts));
            if other != usual {
                table += &format!("    {reading}: {other}\n");
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn the_table_of_transport_faults_for_reads() {
    let readings = [
        ("follower", follower()),
        ("the last", Reading { others: false, ..follower() }),
        ("own timeout", Reading { own_timeout: true, ..follower() }),
    ];
    let classes = [
        TransportClass::Unreachable,
        TransportClass::Lost,
        TransportClass::TimedOut,
        TransportClass::Rejected(14),
        TransportClass::Rejected(16),
    ];
    let mut table = String::new();
    for class in classes {
        for (name, reading) in readings {
            let fault = TransportFault::new(class, "store:1");
            let row = row(&classify_transport_read(&fault, &situation(), &reading));
            table += &format!("{class:?}, {name}: {row}\n");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn for_the_leader_both_tables_tell_all_the_same() {
    for (name, error) in errors().into_iter().filter(|(name, _)| *name != "not_leader") {
        let (plain, read) = (classify(&error, &situation()), classify_read(&error, &situation(), &leader()));
        assert_eq!(read.verdict.reports, plain.reports, "{name}");
        assert_eq!(read.verdict.reason, plain.reason, "{name}");
        if name != "anything else" && name != "nothing" && name != "Deadline is exceeded" {
            assert_eq!(read.verdict.reaction, plain.reaction, "{name}");
        }
    }
}

// A selector that walks the replicas needs no new region; a call without one does.
#[test]
fn without_a_hint_a_walk_over_replicas_keeps_the_region() {
    let stale = Feedback::Stale { region: REGION, why: StaleReason::NoLeader };
    assert_eq!(classify(&error!(not_leader), &situation()).reports, [stale]);
    assert_eq!(classify_read(&error!(not_leader), &situation(), &leader()).verdict.reports, []);
}

#[test]
fn a_busy_store_that_ran_out_of_time_is_not_a_busy_store() {
    let own = Reading { own_timeout: true, ..leader() };
    let late = classify_read(&busy("deadline is exceeded", 0), &situation(), &own);
    assert_eq!((late.mark, late.owed, late.next), (Some(Mark::TimedOut), None, Next::Another));
    let other = classify_read(&busy("scheduler is busy", 0), &situation(), &own);
    assert_eq!(other.mark, Some(Mark::Busy(None)));
    // TiKV writes the two texts differently, and each counts only in its place.
    let misplaced = classify_read(&busy("Deadline is exceeded", 0), &situation(), &own);
    assert_eq!(misplaced.mark, Some(Mark::Busy(None)));
    let misplaced = classify_read(&text("deadline is exceeded"), &situation(), &own);
    assert_eq!(misplaced.mark, None);
}

#[test]
fn a_deadline_in_the_message_counts_only_when_no_field_is_set_before_it() {
    let own = Reading { own_timeout: true, ..follower() };
    let message = "Deadline is exceeded".to_owned();
    let behind = errorpb::Error { message: message.clone(), ..error!(mismatch_peer_id) };
    assert_eq!(classify_read(&behind, &situation(), &own).mark, Some(Mark::TimedOut));
    for before in [error!(data_is_not_ready), error!(server_is_busy), error!(stale_command)] {
        let before = errorpb::Error { message: message.clone(), ..before };
        assert_ne!(classify_read(&before, &situation(), &own).mark, Some(Mark::TimedOut));
    }
}

// routing.md 4.9: only a read with `replica_read`, and only away from the leader.
#[test]
fn a_flashback_sends_replica_reads_to_the_leader_and_fails_all_others() {
    let reaction =
        |reading| classify_read(&error!(flashback_in_progress), &situation(), &reading).verdict.reaction;
    assert_eq!(reaction(follower()), Reaction::Again);
    assert_eq!(reaction(Reading { leader: Leader::Now, ..follower() }), Reaction::Fail);
    assert_eq!(reaction(Reading { asked: Asked::StaleRead, ..follower() }), Reaction::Fail);
    assert_eq!(reaction(leader()), Reaction::Fail);
}

// routing.md 7.4, departure 10 and design.md.
#[test]
fn a_stale_read_without_data_waits_once_then_asks_the_leader_and_the_region_stays() {
    let stale = Reading { asked: Asked::StaleRead, ..follower() };
    let first = classify_read(&error!(data_is_not_ready), &situation(), &stale);
    assert_eq!((first.verdict.reaction, first.next), (Reaction::BackOff(Kind::RegionScheduling), Next::Same));
    let again = Reading { waited_for_data: true, ..stale };
    let second = classify_read(&error!(data_is_not_ready), &situation(), &again);
    assert_eq!((second.verdict.reaction, second.next), (Reaction::Again, Next::Leader));
    assert_eq!((first.verdict.reports, second.verdict.reports), (vec![], vec![]));
}

// client-go: config/retry/backoff_test.go: TestMayBackoffForRegionError.
#[test]
fn only_a_region_error_that_brings_the_new_regions_needs_no_pause() {
    let genuine = epoch_not_match(vec![region(1, 6, 5, false)]);
    assert_eq!(classify(&genuine, &situation()).reaction, Reaction::Again);
    for error in [
        error!(epoch_not_match),
        error!(not_leader),
        error!(server_is_busy),
        error!(max_timestamp_not_synced),
    ] {
        let reaction = classify(&error, &situation()).reaction;
        assert!(matches!(reaction, Reaction::BackOff(_)), "{error:?}: {reaction:?}");
    }
}

fn successors(error: &errorpb::Error, reading: Option<&Reading>) -> Vec<(RegionId, Option<PeerId>)> {
    let reports = match reading {
        None => classify(error, &situation()).reports,
        Some(reading) => classify_read(error, &situation(), reading).verdict.reports,
    };
    let [Feedback::Regions { new, .. }] = reports.as_slice() else { panic!("{reports:?}") };
    new.iter().map(|info| (info.version.id, info.leader)).collect()
}

// client-go: region_cache_test.go: TestRegionEpochOnTiFlash.
#[test]
fn the_peers_on_the_leaders_store_lead_the_successors_if_they_vote() {
    let error = epoch_not_match(vec![region(1, 6, 5, false), region(2, 6, 5, true)]);
    let expected = vec![(RegionId(1), Some(PeerId(11))), (RegionId(2), None)];
    assert_eq!(successors(&error, None), expected);
    assert_eq!(successors(&error, Some(&leader())), expected);
    let unknown = vec![(RegionId(1), None), (RegionId(2), None)];
    assert_eq!(successors(&error, Some(&follower())), unknown, "a follower's store says nothing of leaders");
}

#[test]
fn bounds_are_decoded_whatever_they_are_and_a_region_without_epoch_is_left_out() {
    let bound = |text: &str| memcomparable::encode(text.as_bytes()).into();
    let good = metapb::Region { start_key: bound("a"), end_key: bound("m"), ..region(1, 6, 5, false) };
    let raw_bound = metapb::Region { start_key: "m".into(), ..region(2, 6, 5, false) };
    let no_epoch = metapb::Region { region_epoch: None, ..region(3, 6, 5, false) };
    let error = epoch_not_match(vec![raw_bound, no_epoch, good]);
    let verdict = classify(&error, &Situation { mode: Mode::Txn, ..situation() });
    let [Feedback::Regions { new, .. }] = verdict.reports.as_slice() else { panic!("{verdict:?}") };
    let ranges: Vec<_> = new.iter().map(|info| info.range.clone()).collect();
    // A cluster that is used raw and with transactions side by side has bounds that no transactional key encodes to.
    assert_eq!(ranges, [KeyRange::new("m", ""), KeyRange::new("a", "m")]);
}

#[test]
fn an_address_of_another_cluster_is_not_asked_again() {
    let fault = TransportFault::new(TransportClass::Rejected(2), "mismatch cluster id, need 1 but got 2");
    assert_eq!(classify_transport(&fault, &situation()).reaction, Reaction::Fail);
    assert_eq!(classify_transport_read(&fault, &situation(), &follower()).verdict.reaction, Reaction::Fail);
}
