//! The doors' witness must reject what clients must not do.

use std::time::Duration;

use tikv_embedded::model::{Layout, Now, Pd};

use super::*;

const NOW: u64 = 100 << 18;

fn cluster() -> Cluster {
    Cluster::new(Layout::new(vec!["store:1".to_owned()], 1).build(), Pd::new(7, Vec::new(), 1))
}

fn call(command: Cmd) -> Call {
    Call::Store { store: 1, command: Box::new(Command::Batched(command)) }
}

fn context() -> Option<pb::Context> {
    let epoch = tikv_proto::metapb::RegionEpoch { conf_ver: 1, version: 1 };
    let peer = tikv_proto::metapb::Peer { id: 3, store_id: 1, ..Default::default() };
    Some(pb::Context { region_id: 2, region_epoch: Some(epoch), peer: Some(peer), ..Default::default() })
}

fn prewrite() -> Cmd {
    let mutation =
        |key: &'static str| pb::Mutation { key: key.into(), value: "v".into(), ..Default::default() };
    Cmd::Prewrite(pb::PrewriteRequest {
        context: context(),
        mutations: vec![mutation("a"), mutation("b")],
        primary_lock: "a".into(),
        start_version: NOW,
        lock_ttl: 3000,
        ..Default::default()
    })
}

fn commit(key: &'static str) -> Cmd {
    let keys = vec![key.into()];
    let (start_version, commit_version) = (NOW, NOW + 5);
    Cmd::Commit(pb::CommitRequest {
        context: context(),
        keys,
        start_version,
        commit_version,
        ..Default::default()
    })
}

fn resolve(commit_version: u64) -> Cmd {
    let message = pb::ResolveLockRequest {
        context: context(),
        start_version: NOW,
        commit_version,
        ..Default::default()
    };
    Cmd::ResolveLock(message)
}

/// What the last of `commands` breaks, with the others executed before.
fn broken(commands: Vec<Cmd>) -> Option<Invariant> {
    let (mut cluster, mut witness) = (cluster(), Witness::default());
    let mut last = None;
    for command in commands {
        assert_eq!(last, None, "only the last may break something");
        let call = call(command);
        last = witness.before(&cluster, &call).err().map(|violation| violation.invariant);
        cluster.call(Now::from_unix(Duration::from_secs(1)), call);
    }
    last
}

#[test]
fn secondaries_end_only_as_the_primary_has() {
    assert_eq!(broken(vec![prewrite(), commit("a"), commit("b")]), None);
    assert_eq!(broken(vec![prewrite(), commit("b")]), Some(Invariant::PrimaryFirst));
    assert_eq!(broken(vec![prewrite(), resolve(NOW + 5)]), Some(Invariant::PrimaryFirst));
    assert_eq!(broken(vec![prewrite(), commit("a"), resolve(NOW + 5)]), None);
    assert_eq!(broken(vec![prewrite(), commit("a"), resolve(NOW + 9)]), Some(Invariant::PrimaryFirst));
    assert_eq!(broken(vec![prewrite(), resolve(0)]), Some(Invariant::LivingLock));
    assert_eq!(broken(vec![prewrite(), commit("a"), resolve(0)]), Some(Invariant::LivingLock));
}

#[test]
fn a_client_that_is_told_of_a_commit_is_told_of_one_that_is() {
    let (mut cluster, mut witness) = (cluster(), Witness::default());
    let told = |witness: &Witness, cluster: &Cluster, ts| {
        witness.told(cluster, NOW, ts).err().map(|violation| violation.invariant)
    };
    let lost = Some(Invariant::LostCommit);
    for (command, at_start, at_5, at_9) in [(prewrite(), None, lost, lost), (commit("a"), lost, None, lost)] {
        let call = call(command);
        witness.before(&cluster, &call).unwrap();
        cluster.call(Now::from_unix(Duration::from_secs(1)), call);
        assert_eq!(told(&witness, &cluster, NOW), at_start, "at its start: it wrote nothing");
        assert_eq!(told(&witness, &cluster, NOW + 5), at_5);
        assert_eq!(told(&witness, &cluster, NOW + 9), at_9);
    }
}

#[test]
fn a_commit_is_of_unknown_fate_only_while_an_answer_is_missing() {
    let mut witness = Witness::default();
    witness.before(&cluster(), &call(prewrite())).unwrap();
    assert!(!witness.explains_undetermined(NOW), "none was sent");
    let sent = |witness: &mut Witness, id| witness.sent(10, 1, id, &Command::Batched(commit("a")));
    sent(&mut witness, 1);
    assert!(witness.explains_undetermined(NOW));
    witness.answered(20, 1, 1, false);
    assert!(!witness.explains_undetermined(NOW));
    sent(&mut witness, 2);
    witness.answered(30, 1, 2, true);
    assert!(witness.explains_undetermined(NOW), "a region error decides nothing");
}
