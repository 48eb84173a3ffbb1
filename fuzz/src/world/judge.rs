//! What was reported, against what is true in the end.

use tikv_client_core::start::Start;
use tikv_client_core::types::{Key, Timestamp, Value};
use tikv_proto::kvrpcpb as pb;

use super::play::{End, Of, Play, Read, Txn};
use super::truth::At;

/// When a transaction was committed, by all its keys: all are, at one time, or none is.
fn committed(play: &Play, start_ts: Timestamp, keys: &[Key]) -> Option<Timestamp> {
    let fates: Vec<At> = keys.iter().map(|key| play.world.history(key).of(start_ts)).collect();
    let at = fates.iter().find_map(|fate| match fate {
        At::Committed(ts) => Some(*ts),
        _ => None,
    });
    if let Some(ts) = at {
        assert!(
            fates.iter().all(|fate| *fate == At::Committed(ts)),
            "{start_ts} is committed in parts: {fates:?}"
        );
        assert!(ts > start_ts, "{start_ts} is committed at {ts}");
    }
    at
}

fn txn(play: &Play, txn: &Txn) {
    let Txn { start_ts, keys, end, uncertain, prewrote, spawned, .. } = txn;
    let truth = committed(play, *start_ts, keys);
    let rolled_back = spawned.iter().any(|start| matches!(start, Start::RollBack { .. }));
    let finished = spawned.iter().any(|start| matches!(start, Start::FinishCommit { .. }));
    let seconded = spawned.iter().any(|start| matches!(start, Start::CommitSecondaries { .. }));
    assert!(
        spawned.len() <= 1 || spawned.iter().all(|start| matches!(start, Start::CleanLocks { .. })),
        "{spawned:?}"
    );
    match end.as_ref().expect("every transaction has ended") {
        End::Committed(info) if keys.is_empty() => assert_eq!(info.commit_ts, *start_ts),
        End::Committed(info) => {
            assert_eq!(truth, Some(info.commit_ts), "{start_ts} was reported as committed");
            assert!(!rolled_back && !finished);
        }
        End::Failed(error) if error.is_undetermined() => {
            assert!(uncertain, "{start_ts} is said to be undetermined and is not: {error}");
            assert!(!rolled_back && !finished && !seconded, "nobody may touch it: {spawned:?}");
        }
        End::Failed(error) => {
            assert_eq!(truth, None, "{start_ts} is committed, reported was {error}");
            assert!(rolled_back || !prewrote || keys.is_empty(), "nobody cleans up after {error}");
            assert!(!seconded && !finished);
        }
        End::Dropped => {
            assert!(rolled_back || finished || !prewrote || keys.is_empty(), "nobody cleans up after a drop");
            assert!(!seconded);
            assert!(finished || truth.is_none(), "{start_ts} was dropped before its commit and is committed");
        }
    }
}

fn expected(play: &Play, read: &Read) -> Vec<(Key, Value)> {
    let mut seen = |key: &Key| {
        let value = play.world.history(key).at(read.ts)?;
        // A value of no bytes is none.
        (!value.is_empty()).then(|| (key.clone(), value))
    };
    match &read.of {
        Of::Keys(keys) => keys.iter().filter_map(seen).collect(),
        Of::Range { range, limit, reverse } => {
            let within: Vec<Key> =
                play.keys.iter().filter(|key| range.contains(key.as_slice())).cloned().collect();
            let mut found: Vec<_> = within.iter().filter_map(&mut seen).collect();
            if *reverse {
                found.reverse();
            }
            found.truncate(*limit);
            found
        }
    }
}

/// Versions of a key by different transactions do not overlap: who wrote later had read later.
fn isolated(play: &Play) {
    for key in play.keys.clone() {
        let writes = play.world.history(&key).0.writes;
        let data = |write: &&pb::MvccWrite| matches!(write.r#type(), pb::Op::Put | pb::Op::Del);
        let mut spans: Vec<(u64, u64)> =
            writes.iter().filter(data).map(|write| (write.start_ts, write.commit_ts)).collect();
        spans.sort_by_key(|span| span.1);
        for pair in spans.windows(2) {
            assert!(pair[1].0 >= pair[0].1, "two writers of {key:?} overlapped: {pair:?}");
        }
    }
}

/// Judges all; the world has come to rest and holds no lock.
pub(crate) fn judge(play: &mut Play) {
    for own in std::mem::take(&mut play.txns) {
        txn(play, &own);
    }
    for read in std::mem::take(&mut play.reads) {
        if let Some(found) = &read.found {
            let expected = expected(play, &read);
            assert_eq!(*found, expected, "{:?} at {} sees something else", read.of, read.ts);
        }
    }
    for dead in std::mem::take(&mut play.dead) {
        let truth = committed(play, dead.start_ts, &dead.keys);
        assert_eq!(truth, dead.committed, "{dead:?} was decided against");
    }
    isolated(play);
}
