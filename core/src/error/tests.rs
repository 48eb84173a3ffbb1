//! Every text of every error, what can be done about it, and what it is about.

use std::fmt::Write as _;

use super::*;
use crate::backoff::{Allowance, Attempts, Budget, Decision, Kind, Tuning};
use crate::codec::KeyspaceId;
use crate::config::Config;
use crate::machine::TransportClass;
use crate::types::{ClusterId, Instant, Key, Timestamp};
use tikv_proto::kvrpcpb as pb;

fn key(redacted: bool) -> ShownKey {
    ShownKey::new("k", redacted)
}

fn exhausted() -> Box<Exhausted> {
    let mut budget = Budget::new(Allowance::Nothing, Tuning::default());
    let mut rng = fastrand::Rng::with_seed(7);
    let next = budget.next(Kind::RegionMiss, &mut Attempts::default(), "gone".into(), Instant(0), &mut rng);
    let Decision::GiveUp(account) = next else { panic!("nothing is allowed") };
    account
}

fn lost() -> Error {
    let fault = TransportFault::new(TransportClass::Lost, "store:1: reset");
    Error::Transport { operation: "commit", fault }
}

fn inputs(redacted: bool) -> Vec<InputError> {
    let operation = "put";
    vec![
        InputError::EmptyKey { operation },
        InputError::EmptyValue { operation, key: key(redacted) },
        InputError::KeyTooLarge { key: key(redacted), size: 9, limit: 8 },
        InputError::EntryTooLarge { key: key(redacted), size: 9, limit: 8 },
        InputError::TxnTooLarge { size: 9, limit: 8 },
        InputError::BadTimestamp { ts: Timestamp(0) },
        InputError::LimitTooLarge { asked: 9, most: 8 },
    ]
}

fn services() -> Vec<ServiceError> {
    let address: Arc<str> = "pd:1".into();
    let text: Arc<str> = "words".into();
    vec![
        ServiceError::BadAddress { address: Arc::clone(&address), reason: Arc::clone(&text) },
        ServiceError::NoAddress,
        ServiceError::PdUnreachable { addresses: Arc::clone(&address), last: Arc::clone(&text) },
        ServiceError::ClusterMismatch {
            address: Arc::clone(&address),
            wanted: ClusterId(1),
            found: ClusterId(2),
        },
        ServiceError::Pd { address: Arc::clone(&address), message: Arc::clone(&text) },
        ServiceError::NoRegion { place: Arc::clone(&text) },
        ServiceError::NoPeer { region: RegionId(4) },
        ServiceError::StoreRemoved { store: StoreId(5) },
        ServiceError::Corrupt { address, detail: Arc::clone(&text) },
        ServiceError::BadKeyspace { name: "mine".into(), reason: Arc::clone(&text) },
        ServiceError::Tls { reason: text },
    ]
}

fn transactions(redacted: bool) -> Vec<TxnError> {
    let (start_ts, other) = (Timestamp(10), Timestamp(11));
    let key = || key(redacted);
    let edge = |waiter, holder| {
        WaitsFor::new(Timestamp(waiter), Timestamp(holder), ShownKey::new("k", redacted), "tag".into())
    };
    let conflict = |reason| TxnError::WriteConflict {
        key: key(),
        start_ts,
        conflict_ts: other,
        conflict_commit_ts: Timestamp(12),
        reason,
    };
    let assertion = |assertion, existing| TxnError::AssertionFailed {
        key: key(),
        start_ts,
        assertion,
        existing_start_ts: Timestamp(existing),
        existing_commit_ts: Timestamp(existing),
        history: None,
    };
    vec![
        conflict(ConflictReason::Unknown),
        conflict(ConflictReason::Optimistic),
        conflict(ConflictReason::PessimisticRetry),
        conflict(ConflictReason::SelfRolledBack),
        conflict(ConflictReason::RcCheckTs),
        conflict(ConflictReason::LazyUniquenessCheck),
        conflict(ConflictReason::NotLockedKey),
        TxnError::Deadlock {
            key: key(),
            start_ts,
            holder: other,
            chain: Arc::new([edge(11, 10), edge(10, 11)]),
        },
        TxnError::Deadlock { key: key(), start_ts, holder: other, chain: Arc::new([]) },
        assertion(Assertion::NotExists, 4),
        assertion(Assertion::Exists, 0),
        assertion(Assertion::None, 0),
        TxnError::LockUpgrade { key: key(), start_ts, owner: other },
        TxnError::SharedLockLost { key: key(), start_ts },
        TxnError::CommitTsTooLarge { start_ts, commit_ts: other },
        TxnError::Locked { key: key(), holder: other, account: exhausted() },
        TxnError::AlreadyExists { key: key() },
        TxnError::RolledBack { start_ts },
        TxnError::Undetermined { start_ts, cause: Box::new(lost()) },
        TxnError::Over { start_ts },
        TxnError::TooOld { start_ts, commit_ts: other },
        TxnError::Retryable { operation: "prewrite", start_ts, message: "words".into() },
        TxnError::Refused { operation: "prewrite", start_ts, message: "words".into() },
    ]
}

fn errors(redacted: bool) -> Vec<Error> {
    let operation = "get";
    let text: Arc<str> = "words".into();
    let interrupts = [Interrupt::Deadline, Interrupt::Killed, Interrupt::Closed];
    let mut errors: Vec<Error> = inputs(redacted).into_iter().map(Error::from).collect();
    errors.push(Config::builder().option("deadline", "x").option("none", "y").build().unwrap_err().into());
    errors.extend(interrupts.map(|why| Error::Interrupted { operation, why, last: None }));
    errors.extend([
        Error::Interrupted { operation, why: Interrupt::Deadline, last: Some(Arc::clone(&text)) },
        Error::Exhausted { operation, account: exhausted() },
        lost(),
        Error::Region { region: RegionId(4), store: StoreId(5), message: Arc::clone(&text) },
        Error::Server { operation, key: Some(key(redacted)), message: Arc::clone(&text) },
        Error::Server { operation, key: None, message: Arc::clone(&text) },
        Error::Overloaded { operation },
        Error::Corrupt { operation, detail: text },
    ]);
    errors.extend(services().into_iter().map(Error::from));
    errors.extend(transactions(redacted).into_iter().map(Error::from));
    errors
}

/// The name of a variant, with that of the subject's own enum.
fn name(error: &Error) -> String {
    let debug = format!("{error:?}");
    let mut words = debug.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let inner = matches!(error, Error::Input(_) | Error::Service(_) | Error::Txn(_));
    if inner { format!("{first}::{}", words.next().unwrap_or_default()) } else { first.to_owned() }
}

#[test]
fn every_error_has_its_text_and_says_what_can_be_done() {
    let mut table = String::new();
    for error in errors(false) {
        write!(table, "{} | {:?} | {error}", name(&error), error.kind()).unwrap();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            write!(table, " <- {cause}").unwrap();
            source = cause.source();
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table);
}

#[test]
fn an_error_names_the_key_the_region_and_the_store_that_it_is_about() {
    let mut table = String::new();
    for error in errors(false) {
        let (key, region, store) = (error.key(), error.region(), error.store());
        if key.is_some() || region.is_some() || store.is_some() {
            writeln!(table, "{} | {key:?} | {region:?} | {store:?}", name(&error)).unwrap();
        }
    }
    insta::assert_snapshot!(table);
    let undetermined = TxnError::Undetermined {
        start_ts: Timestamp(1),
        cause: Box::new(Error::Region { region: RegionId(4), store: StoreId(5), message: "words".into() }),
    };
    let error = Error::from(undetermined);
    assert_eq!((error.region(), error.store()), (Some(RegionId(4)), Some(StoreId(5))));
}

// client-go: util/redact/redact.go.
#[test]
fn no_text_shows_a_key_of_a_client_that_redacts() {
    for error in errors(true) {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("6B") && !text.contains("k\""), "{text}");
    }
}

/// What it names is what the caller called it. client-go leaves the prefix on the keys of `lock_upgrade_conflict` and
/// `shared_lock_lost`.
#[test]
fn fixes_every_key_of_an_error_leaves_the_keyspace_also_those_of_the_newest_errors() {
    let keyspace = Prefix::txn(KeyspaceId::new(7).unwrap());
    let whole = format!("{:?}", ShownKey::new(keyspace.encode_key(b"k"), false));
    for mut error in errors(false) {
        // What the caller gave never entered.
        if matches!(error, Error::Input(_)) {
            continue;
        }
        let before = format!("{error:?}");
        enter(&mut error, keyspace);
        assert_eq!(error.key().is_some(), format!("{error:?}").contains(&whole), "{error:?}");
        error.leave(keyspace);
        assert_eq!(format!("{error:?}"), before);
    }
}

// client-go: internal/apicodec/codec_v2_test.go: TestDecodeMvccInfoPreservesEmptyLockKeys.
#[test]
fn keys_of_a_history_leave_the_keyspace_and_empty_ones_stay_empty() {
    let keyspace = Prefix::txn(KeyspaceId::new(7).unwrap());
    let lock = |primary: Key| pb::MvccLock { start_ts: 8, primary: primary.into(), ..Default::default() };
    let info = |primary: Key| {
        let mvcc = pb::MvccInfo { lock: Some(lock(primary)), ..Default::default() };
        pb::MvccDebugInfo { key: keyspace.encode_key(b"k").into(), mvcc: Some(mvcc) }
    };
    let told = pb::DebugInfo { mvcc_info: vec![info(Key::EMPTY), info(keyspace.encode_key(b"p"))] };
    let mut error = Error::from(TxnError::AssertionFailed {
        key: ShownKey::new(keyspace.encode_key(b"k"), false),
        start_ts: Timestamp(10),
        assertion: Assertion::Exists,
        existing_start_ts: Timestamp(0),
        existing_commit_ts: Timestamp(0),
        history: Some(Arc::new(KeyHistory::read(&told, false))),
    });
    error.leave(keyspace);
    let Error::Txn(TxnError::AssertionFailed { key, history: Some(history), .. }) = error else {
        panic!("as it was")
    };
    let expected = "key 6B: locked by 8, primary ; key 6B: locked by 8, primary 70";
    assert_eq!((key.to_string().as_str(), history.to_string().as_str()), ("6B", expected));
}

/// The opposite of [`Error::leave`], by the keys that errors can be told to have.
fn enter(error: &mut Error, keyspace: Prefix) {
    let inside = |key: &mut ShownKey| *key.key_mut() = keyspace.encode_key(key.key().as_slice());
    match error {
        Error::Server { key: Some(key), .. } => inside(key),
        Error::Txn(
            TxnError::WriteConflict { key, .. }
            | TxnError::AssertionFailed { key, .. }
            | TxnError::LockUpgrade { key, .. }
            | TxnError::SharedLockLost { key, .. }
            | TxnError::Locked { key, .. }
            | TxnError::AlreadyExists { key },
        ) => inside(key),
        Error::Txn(TxnError::Deadlock { key, chain, .. }) => {
            inside(key);
            *chain = chain
                .iter()
                .cloned()
                .map(|mut edge| {
                    inside(&mut edge.key);
                    edge
                })
                .collect();
        }
        _ => {}
    }
}
