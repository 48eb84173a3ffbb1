//! Every operation against stores that answer anything: well-formed answers to the command, spoiled ones, other bytes.
//!
//! Laws: no machine panics, each comes to its end and gives every ticket back; what cannot be decoded is an error; a commit is
//! reported only after an answer to the commit of its primary that could be read and has no error.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_client_core::backoff::Allowance;
use tikv_client_core::codec::Mode;
use tikv_client_core::lock::CleanLocks;
use tikv_client_core::machine::{
    Answer, Completion, Fault, Feedback, Machine, Place, Question, TransportClass, TransportFault,
};
use tikv_client_core::raw::{batch::BatchMachine, batches, delete_range::DeleteRangeMachine, scan, single};
use tikv_client_core::region::Directory;
use tikv_client_core::request::{Command, Request};
use tikv_client_core::snapshot::batch_get::BatchGetMachine;
use tikv_client_core::snapshot::get::GetMachine;
use tikv_client_core::snapshot::page::ScanOptions;
use tikv_client_core::snapshot::scan::ScanMachine;
use tikv_client_core::start::Start;
use tikv_client_core::txn::commit::CommitPlan;
use tikv_client_core::txn::mutation::{Mutation, Op};
use tikv_client_core::txn::{CommitMachine, CommitSecondaries, RollBack};
use tikv_client_core::types::{
    Instant, Key, KeyRange, KvPair, Located, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion,
    StoreId, Timestamp,
};
use tikv_proto::kvrpcpb as pb;

use crate::choices::Choices;
use crate::world::cluster::{Tables, refused};
use crate::world::operation::{Operation, Wait};

/// Completions that choices decide; afterwards stores refuse and operations end.
const TURNS: usize = 400;

/// The transaction of these machines.
const START: Timestamp = Timestamp::compose(1_000, 0);

fn ts(choices: &mut Choices<'_>) -> u64 {
    match choices.below(5) {
        0 => START.0,
        1 => START.0 - u64::from(choices.any::<u8>()),
        2 => START.0 + (u64::from(choices.any::<u16>()) << 10),
        3 => choices.any(),
        _ => 0,
    }
}

/// Any lock, now and then one of many holders.
pub(crate) fn lock(choices: &mut Choices<'_>, depth: u32) -> pb::LockInfo {
    let holders = if depth == 0 && choices.one_in(8) { choices.below(3) } else { 0 };
    pb::LockInfo {
        key: choices.key().0,
        primary_lock: choices.key().0,
        lock_version: ts(choices),
        lock_ttl: choices.any::<u16>().into(),
        txn_size: if choices.one_in(3) { choices.any() } else { 1 },
        lock_type: choices.below(12) as i32,
        lock_for_update_ts: if choices.one_in(3) { ts(choices) } else { 0 },
        use_async_commit: choices.one_in(3),
        min_commit_ts: ts(choices),
        secondaries: (0..choices.below(3)).map(|_| choices.key().0).collect(),
        shared_lock_infos: (0..holders).map(|_| lock(choices, 1)).collect(),
        is_txn_file: choices.one_in(8),
        ..Default::default()
    }
}

/// Any key error: one of its fields, now and then two.
pub(crate) fn key_error(choices: &mut Choices<'_>) -> pb::KeyError {
    let mut error = pb::KeyError::default();
    for _ in 0..1 + choices.below(8) / 7 {
        match choices.below(16) {
            0..5 => error.locked = Some(Box::new(lock(choices, 0))),
            5 => error.retryable = "again".into(),
            6 => error.abort = "no".into(),
            7 => {
                let (key, reason) = (choices.key().0, choices.below(7) as i32);
                let conflict =
                    pb::WriteConflict { key, conflict_ts: ts(choices), reason, ..Default::default() };
                error.conflict = Some(conflict);
            }
            8 => error.already_exist = Some(pb::AlreadyExist { key: choices.key().0 }),
            9 | 10 => {
                error.commit_ts_expired = Some(pb::CommitTsExpired {
                    start_ts: START.0,
                    attempted_commit_ts: ts(choices),
                    key: choices.key().0,
                    min_commit_ts: ts(choices),
                });
            }
            11 => error.txn_not_found = Some(pb::TxnNotFound::default()),
            12 => error.primary_mismatch = Some(pb::PrimaryMismatch::default()),
            13 => error.txn_lock_not_found = Some(pb::TxnLockNotFound { key: choices.key().0 }),
            14 => error.assertion_failed = Some(pb::AssertionFailed::default()),
            _ => {}
        }
    }
    error
}

fn maybe(choices: &mut Choices<'_>) -> Option<Box<pb::KeyError>> {
    choices.one_in(2).then(|| Box::new(key_error(choices)))
}

fn pairs(choices: &mut Choices<'_>) -> Vec<pb::KvPair> {
    let pair = |choices: &mut Choices<'_>| pb::KvPair {
        error: choices.one_in(4).then(|| Box::new(key_error(choices))),
        key: choices.key().0,
        value: choices.bytes(4),
        ..Default::default()
    };
    (0..choices.below(4)).map(|_| pair(choices)).collect()
}

/// A well-formed answer to the command.
fn well_formed(request: &Request, choices: &mut Choices<'_>) -> Bytes {
    let text = |choices: &mut Choices<'_>| if choices.one_in(4) { "no".to_owned() } else { String::new() };
    match request.command() {
        Command::Get => {
            let (error, value) = (maybe(choices), choices.bytes(4));
            pb::GetResponse { error, value, not_found: choices.one_in(3), ..Default::default() }
                .encode_to_vec()
        }
        Command::BatchGet => {
            let error = choices.one_in(6).then(|| Box::new(key_error(choices)));
            pb::BatchGetResponse { pairs: pairs(choices), error, ..Default::default() }.encode_to_vec()
        }
        Command::Scan => {
            let error = choices.one_in(6).then(|| Box::new(key_error(choices)));
            pb::ScanResponse { pairs: pairs(choices), error, ..Default::default() }.encode_to_vec()
        }
        Command::Prewrite => {
            let count = choices.below(6).saturating_sub(3);
            let errors = (0..count).map(|_| key_error(choices)).collect();
            pb::PrewriteResponse { errors, min_commit_ts: ts(choices), ..Default::default() }.encode_to_vec()
        }
        Command::Commit => {
            let (error, commit_version) = (maybe(choices), ts(choices));
            pb::CommitResponse { error, commit_version, ..Default::default() }.encode_to_vec()
        }
        Command::BatchRollback => {
            pb::BatchRollbackResponse { error: maybe(choices), ..Default::default() }.encode_to_vec()
        }
        Command::ResolveLock => {
            pb::ResolveLockResponse { error: maybe(choices), ..Default::default() }.encode_to_vec()
        }
        Command::CheckTxnStatus => pb::CheckTxnStatusResponse {
            error: choices.one_in(4).then(|| Box::new(key_error(choices))),
            lock_ttl: if choices.one_in(2) { choices.any::<u16>().into() } else { 0 },
            commit_version: if choices.one_in(2) { ts(choices) } else { 0 },
            action: choices.below(8) as i32,
            lock_info: choices.one_in(3).then(|| lock(choices, 0)),
            ..Default::default()
        }
        .encode_to_vec(),
        Command::CheckSecondaryLocks => pb::CheckSecondaryLocksResponse {
            locks: (0..choices.below(4)).map(|_| lock(choices, 0)).collect(),
            error: choices.one_in(6).then(|| Box::new(key_error(choices))),
            commit_ts: ts(choices),
            ..Default::default()
        }
        .encode_to_vec(),
        Command::RawGet => {
            let value = choices.bytes(4);
            let error = text(choices);
            pb::RawGetResponse { error, value, not_found: choices.one_in(3), ..Default::default() }
                .encode_to_vec()
        }
        Command::RawBatchGet => {
            pb::RawBatchGetResponse { pairs: pairs(choices), ..Default::default() }.encode_to_vec()
        }
        Command::RawScan => pb::RawScanResponse { kvs: pairs(choices), ..Default::default() }.encode_to_vec(),
        // Of the others an error's text is all that is looked at.
        _ => pb::RawPutResponse { error: text(choices), ..Default::default() }.encode_to_vec(),
    }
    .into()
}

fn completion(wait: &Wait, now: Instant, tables: &Tables, choices: &mut Choices<'_>) -> Completion {
    match wait {
        Wait::Timer { at } => Completion::TimerFired(*at),
        Wait::Call { request, .. } => match choices.below(12) {
            0..7 => Completion::Response(well_formed(request, choices)),
            7 | 8 => {
                let body = well_formed(request, choices);
                Completion::Response(choices.spoil(body))
            }
            9 => Completion::Response(choices.bytes(30)),
            10 => Completion::Response(refused(&crate::errors::any(choices))),
            _ => {
                let class = *choices.of(&[
                    TransportClass::Lost,
                    TransportClass::Unreachable,
                    TransportClass::Rejected(3),
                ]);
                Completion::Fault(Fault::Transport(TransportFault::new(class, "fuzz")))
            }
        },
        Wait::Ask { question, .. } => match question {
            _ if choices.one_in(16) => Completion::Fault(Fault::Overloaded),
            Question::Timestamp => {
                // A clock of its own.
                let ts = if choices.one_in(8) { ts(choices) } else { START.0 + (1 << 20) + (now.0 >> 2) };
                Completion::Answer(Answer::Timestamp(Timestamp(ts)))
            }
            Question::Region(place) => Completion::Answer(Answer::Region(load(place, now, tables))),
            _ => {
                let infos = [info(1), info(2)];
                let found = infos.iter().map(|info| (located(info), info.range.clone())).collect();
                loaded(&infos, now, tables);
                Completion::Answer(Answer::Regions(found))
            }
        },
    }
}

/// Two regions that part the keys at "b", in a version that grows with the number of the load.
fn info(id: u64) -> RegionInfo {
    let range = if id == 1 { KeyRange::new("", "b") } else { KeyRange::new("b", "") };
    let version = RegionVersion { id: RegionId(id), version: 1, conf_ver: 1 };
    let peer = |store| Peer { id: PeerId(id * 10 + store), store: StoreId(store), role: PeerRole::Voter };
    RegionInfo { version, range, peers: vec![peer(1), peer(2)], leader: Some(PeerId(id * 10 + 1)) }
}

fn located(info: &RegionInfo) -> Located {
    Located { region: info.version, peer: info.peers[0].id, store: info.peers[0].store }
}

fn loaded(infos: &[RegionInfo], now: Instant, tables: &Tables) {
    let expires = now + Duration::from_secs(600);
    tables.0.apply(&Feedback::Loaded { regions: infos.into(), expires }, now);
}

fn load(place: &Place, now: Instant, tables: &Tables) -> Located {
    let high = match place {
        Place::Holding(key) => *key >= Key::from("b"),
        Place::Below(key) => key.is_empty() || *key > Key::from("b"),
        other => panic!("nobody asks for {other:?}"),
    };
    let info = info(if high { 2 } else { 1 });
    loaded(std::slice::from_ref(&info), now, tables);
    located(&info)
}

/// Plays a machine to its end; the last answer to each command, and what was spawned.
fn play<M: Machine>(
    machine: M,
    mode: Mode,
    choices: &mut Choices<'_>,
) -> (Option<M::Output>, Vec<Start>, Option<Bytes>) {
    let tables = Tables(Directory::new(mode));
    let deadline = Instant(0) + Duration::from_secs(120);
    let terms = (choices.any(), Allowance::GET, deadline);
    let mut now = Instant(0);
    let mut operation = Operation::begin(machine, terms, now, &tables);
    let mut committed = None;
    for turn in 0..TURNS * 20 {
        if operation.over {
            return (operation.output, operation.spawned, committed);
        }
        if choices.is_over() && turn > TURNS {
            // Time runs out: what is open expires, the earliest first.
            let first = (0..operation.open.len()).min_by_key(|&at| operation.open[at].1.until());
            let first = first.expect("what is not over waits for something");
            let wait = operation.open[first].1.clone();
            now = now.max(wait.until());
            operation.complete(first, wait.expired(), now, &tables);
            continue;
        }
        if choices.one_in(60) {
            operation.abandon(now, &tables);
            continue;
        }
        let at = choices.below(operation.open.len());
        let wait = operation.open[at].1.clone();
        let completion = completion(&wait, now, &tables, choices);
        match (&wait, &completion) {
            (Wait::Timer { at }, _) => now = now.max(*at),
            (Wait::Call { request, .. }, Completion::Response(body))
                if request.command() == Command::Commit =>
            {
                committed = Some(body.clone());
            }
            _ => now = now + Duration::from_millis(1),
        }
        operation.complete(at, completion, now, &tables);
        // What expired meanwhile hears so.
        while let Some(at) = operation.open.iter().position(|open| open.1.until() < now) {
            let expired = operation.open[at].1.expired();
            operation.complete(at, expired, now, &tables);
        }
    }
    panic!("the machine does not come to its end: {:#?}", operation.machine);
}

fn some_keys(choices: &mut Choices<'_>) -> Vec<Key> {
    (0..1 + choices.below(4)).map(|_| choices.key()).collect()
}

fn commit(choices: &mut Choices<'_>) {
    let mut keys = some_keys(choices);
    keys.sort_unstable();
    keys.dedup();
    let op = |choices: &mut Choices<'_>| match choices.below(4) {
        0 => Op::Delete,
        1 => Op::Insert(choices.bytes(4)),
        2 if choices.one_in(3) => Op::CheckNotExists,
        _ => Op::Put(vec![7; choices.below(3) * 9000].into()),
    };
    let mutations: Vec<Mutation> = keys.into_iter().map(|key| Mutation { key, op: op(choices) }).collect();
    let locks = mutations.iter().any(Mutation::locks);
    let begun = Instant(0);
    let plan = CommitPlan {
        start_ts: START,
        begun,
        mutations,
        limit: 1 + choices.below(3),
        redacted: choices.one_in(2),
    };
    let (end, _, committed) = play(CommitMachine::new(plan), Mode::Txn, choices);
    reported(end, locks, committed);
}

fn reported(
    end: Option<Result<tikv_client_core::txn::CommitInfo, tikv_client_core::error::Error>>,
    locks: bool,
    committed: Option<Bytes>,
) {
    if let Some(Ok(info)) = end
        && locks
    {
        let body = committed.unwrap_or_else(|| panic!("{info:?} without an answer"));
        let answer = pb::CommitResponse::decode(body).expect("an answer that can be read");
        assert!(answer.error.is_none() && answer.region_error.is_none(), "{info:?} after {answer:?}");
        assert!(info.commit_ts > START);
    }
}

/// See the module.
pub(crate) fn play_any(choices: &mut Choices<'_>) {
    let redacted = choices.one_in(2);
    let range = |choices: &mut Choices<'_>| KeyRange { start: choices.key(), end: choices.key() };
    let options = |choices: &mut Choices<'_>| ScanOptions {
        reverse: choices.one_in(2),
        keys_only: choices.one_in(2),
        page: choices.below(4) as u32,
    };
    match choices.below(18) {
        0 | 1 => drop(play(GetMachine::new(choices.key(), START, redacted), Mode::Txn, choices)),
        2 => {
            let machine = BatchGetMachine::new(some_keys(choices), START, 1 + choices.below(3), redacted);
            drop(play(machine, Mode::Txn, choices));
        }
        3 => {
            let (range, limit, options) = (range(choices), choices.below(9), options(choices));
            let (end, ..) =
                play(ScanMachine::new(range, START, limit, options, redacted), Mode::Txn, choices);
            if let Some(Ok(pairs)) = end {
                assert!(pairs.len() <= limit);
            }
        }
        4..7 => commit(choices),
        7 => {
            let commit_ts = Timestamp(START.0 + 5);
            let machine = CommitMachine::finishing(START, commit_ts, some_keys(choices), redacted);
            let (end, _, committed) = play(machine, Mode::Txn, choices);
            reported(end, true, committed);
        }
        8 => {
            let machine =
                CommitSecondaries::new(START, Timestamp(START.0 + 5), choices.key(), some_keys(choices), 2);
            drop(play(machine, Mode::Txn, choices));
        }
        9 => drop(play(RollBack::new(START, some_keys(choices), 2, redacted), Mode::Txn, choices)),
        10 => cleaning(choices, redacted),
        11 => drop(play(single::GetMachine::new(choices.key(), "", redacted), Mode::Raw, choices)),
        12 => {
            let machine = single::PutMachine::new(choices.key(), "v".into(), "", 3, false, redacted);
            drop(play(machine, Mode::Raw, choices));
        }
        13 => drop(play(single::DeleteMachine::new(choices.key(), "", false, redacted), Mode::Raw, choices)),
        14 => {
            let keys = some_keys(choices);
            let count = keys.len();
            let (batch, items) = batches::BatchGet::new(keys, "", redacted);
            let (end, ..) = play(BatchMachine::new(batch, items, 2), Mode::Raw, choices);
            if let Some(Ok(values)) = end {
                assert_eq!(values.len(), count, "a value for each key");
            }
        }
        15 => {
            let pairs = some_keys(choices).into_iter().map(|key| KvPair { key, value: "v".into() }).collect();
            let (batch, items) = batches::BatchPut::new(pairs, "", 0, false);
            drop(play(BatchMachine::new(batch, items, 2), Mode::Raw, choices));
        }
        16 => {
            let (range, limit) = (range(choices), choices.below(9));
            let options = options(choices);
            let (reverse, keys_only) = (options.reverse, options.keys_only);
            let scan = scan::Scan { range, limit, reverse, keys_only, cf: "".into(), redacted };
            let (end, ..) = play(scan::ScanMachine::new(scan), Mode::Raw, choices);
            if let Some(Ok(pairs)) = end {
                assert!(pairs.len() <= limit);
            }
        }
        _ => drop(play(DeleteRangeMachine::new(range(choices), ""), Mode::Raw, choices)),
    }
}

/// Locks are met first: what a read spawns is what is to be removed.
fn cleaning(choices: &mut Choices<'_>, redacted: bool) {
    let (_, spawned, _) = play(GetMachine::new(choices.key(), START, redacted), Mode::Txn, choices);
    for start in spawned {
        let Start::CleanLocks { cleanings } = start else { panic!("a read spawns {start:?}") };
        drop(play(CleanLocks::new(cleanings, redacted), Mode::Txn, choices));
    }
}
