//! What requests, answers and faults are, in few words.

use prost::Message;
use tikv_client_core::request::{Command, response};
use tikv_client_core::trace::format::{
    Ask, Begin, Completion, Fault, FaultKind, Feedback, FeedbackKind, Operation, Place, PlaceKind, Question,
    Range, Region, Start, Timer, Transport, TransportClass, Why,
};
use tikv_proto::{errorpb, kvrpcpb as pb};

/// At most `most` bytes of a text.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().map(|(at, _)| at).take_while(|&at| at <= most).last() {
        Some(at) if text.len() > most => format!("{} …", &text[..at]),
        _ => text.to_owned(),
    }
}

fn key(key: &[u8]) -> String {
    cut(&format!("\"{}\"", key.escape_ascii()), 60)
}

fn range(range: &Range) -> String {
    let end = if range.end.is_empty() { "the end".to_owned() } else { key(&range.end) };
    format!("{} to {end}", key(&range.start))
}

/// A region in its version.
pub(super) fn region(region: Region) -> String {
    format!("region {} v{}", region.id, region.version)
}

/// The name of an operation, and what it works on.
pub(super) fn start(begin: &Begin) -> (&'static str, String) {
    let Some(start) = &begin.start else { return ("operation", String::new()) };
    (name(start), detail(start))
}

/// An operation in one line.
pub(super) fn operation(start: &Start) -> String {
    format!("{}: {}", name(start), detail(start))
}

fn name(start: &Start) -> &'static str {
    match Operation::try_from(start.operation) {
        Ok(Operation::RawGet) => "raw get",
        Ok(Operation::RawPut) => "raw put",
        Ok(Operation::RawDelete) => "raw delete",
        Ok(Operation::RawBatchGet) => "raw batch get",
        Ok(Operation::RawBatchPut) => "raw batch put",
        Ok(Operation::RawBatchDelete) => "raw batch delete",
        Ok(Operation::RawScan) => "raw scan",
        Ok(Operation::RawDeleteRange) => "raw delete range",
        Ok(Operation::Get) => "get",
        Ok(Operation::BatchGet) => "batch get",
        Ok(Operation::Scan) => "scan",
        Ok(Operation::Page) => "scan page",
        Ok(Operation::BeginTimestamp) => "begin",
        Ok(Operation::CurrentTimestamp) => "current timestamp",
        Ok(Operation::Commit) => "commit",
        Ok(Operation::Pause) => "pause before another try",
        Ok(Operation::CommitSecondaries) => "commit secondaries",
        Ok(Operation::FinishCommit) => "finish commit",
        Ok(Operation::RollBack) => "roll back",
        Ok(Operation::CleanLocks) => "clean locks",
        Ok(_) | Err(_) => "operation",
    }
}

fn detail(start: &Start) -> String {
    let locks: usize = start.cleanings.iter().map(|cleaning| cleaning.keys.len()).sum();
    let counted = |count: usize, first: Option<String>| match (count, first) {
        (1, Some(first)) => first,
        (count, _) => format!("{count} keys"),
    };
    let mut parts = Vec::new();
    if let Some(of) = &start.range {
        parts.push(range(of));
    } else if !start.writes.is_empty() {
        parts.push(counted(start.writes.len(), start.writes.first().map(|write| key(&write.key))));
    } else if !start.keys.is_empty() {
        parts.push(counted(start.keys.len(), start.keys.first().map(|first| key(first))));
    }
    if locks > 0 {
        parts.push(format!("{locks} locks"));
    }
    if start.ts > 0 {
        parts.push(format!("at {}", start.ts));
    }
    parts.join(" ")
}

/// What PD is asked.
pub(super) fn question(ask: &Ask) -> (&'static str, String) {
    match &ask.question {
        Some(Question::Timestamp(_)) => ("timestamp", String::new()),
        Some(Question::Region(place)) => ("region", at(place)),
        Some(Question::Regions(of)) => ("regions", format!("{}, at most {}", range(of), ask.limit)),
        Some(_) | None => ("question", String::new()),
    }
}

fn at(place: &Place) -> String {
    match &place.place {
        Some(PlaceKind::Holding(of)) => format!("of {}", key(of)),
        Some(PlaceKind::Below(of)) if of.is_empty() => "the last".to_owned(),
        Some(PlaceKind::Below(of)) => format!("below {}", key(of)),
        Some(PlaceKind::Id(id)) => format!("of id {id}"),
        Some(_) | None => String::new(),
    }
}

/// What a timer is for.
pub(super) fn why(timer: &Timer) -> String {
    match Why::try_from(timer.why) {
        Ok(Why::BackOff) => format!("backs off: {}", timer.name),
        Ok(Why::LockTtl) => "waits for a lock's time to live".to_owned(),
        Ok(Why::Heartbeat) => "until the next heartbeat".to_owned(),
        Ok(_) | Err(_) => "waits".to_owned(),
    }
}

/// What was learned.
pub(super) fn feedback(feedback: &Feedback) -> String {
    let named = |of: Option<Region>| of.map_or_else(|| "a region".to_owned(), region);
    match &feedback.feedback {
        Some(FeedbackKind::LeaderIs(is)) => {
            format!("peer {} at store {} leads {}", is.peer, is.store, named(is.region))
        }
        Some(FeedbackKind::Stale(stale)) => format!("{} is out of date: {}", named(stale.region), stale.why),
        Some(FeedbackKind::Replaced(by)) => {
            let new: Vec<_> = by.new.iter().map(|info| named(info.region)).collect();
            format!("where {} was there are {}", named(by.old), new.join(", "))
        }
        Some(FeedbackKind::Loaded(loaded)) => format!("{} regions from PD", loaded.regions.len()),
        Some(FeedbackKind::Unreachable(of)) => {
            format!("store {} could not be reached for {}", of.store, named(of.region))
        }
        Some(_) | None => "something new".to_owned(),
    }
}

/// How a request ended, and what was wrong.
pub(super) fn completion(
    command: Option<Command>,
    completion: Option<&Completion>,
) -> (&'static str, String) {
    match completion {
        Some(Completion::Response(body)) => {
            if let Some(Ok(Some(error))) = command.map(|command| response::region_error(command, body)) {
                return ("retry", region_error(&error));
            }
            command
                .and_then(|command| key_error(command, body))
                .map_or(("ok", String::new()), |error| refusal(&error))
        }
        Some(Completion::Fault(failed)) => fault(failed),
        Some(Completion::Withheld(bytes)) => ("error", format!("{bytes} bytes that are no answer")),
        Some(_) => ("ok", String::new()),
        None => ("open", String::new()),
    }
}

fn region_error(error: &errorpb::Error) -> String {
    if let Some(other) = &error.not_leader {
        return match &other.leader {
            Some(leader) => format!("not leader: store {} leads", leader.store_id),
            None => "not leader, and nobody is".to_owned(),
        };
    }
    let named = [
        (error.region_not_found.is_some(), "region not found"),
        (error.key_not_in_region.is_some(), "key not in region"),
        (error.epoch_not_match.is_some(), "epoch not match"),
        (error.server_is_busy.is_some(), "server is busy"),
        (error.stale_command.is_some(), "stale command"),
        (error.store_not_match.is_some(), "store not match"),
        (error.raft_entry_too_large.is_some(), "raft entry too large"),
        (error.max_timestamp_not_synced.is_some(), "max timestamp not synced"),
        (error.read_index_not_ready.is_some(), "read index not ready"),
        (error.proposal_in_merging_mode.is_some(), "proposal in merging mode"),
        (error.data_is_not_ready.is_some(), "data is not ready"),
        (error.region_not_initialized.is_some(), "region not initialized"),
        (error.disk_full.is_some(), "disk full"),
        (error.is_witness.is_some(), "is witness"),
        (error.mismatch_peer_id.is_some(), "mismatch peer id"),
        (error.bucket_version_not_match.is_some(), "bucket version not match"),
        (error.undetermined_result.is_some(), "undetermined result"),
    ];
    let found = named.into_iter().find(|named| named.0).map(|named| named.1.to_owned());
    found.unwrap_or_else(|| cut(&error.message, 80))
}

/// The first key error of an answer.
fn key_error(command: Command, body: &[u8]) -> Option<pb::KeyError> {
    fn of<M: Message + Default>(body: &[u8]) -> Option<M> {
        M::decode(body).ok()
    }
    let pairs = |pairs: Vec<pb::KvPair>| pairs.into_iter().find_map(|pair| pair.error).map(|error| *error);
    match command {
        Command::Prewrite => of::<pb::PrewriteResponse>(body)?.errors.into_iter().next(),
        Command::Commit => of::<pb::CommitResponse>(body)?.error.map(|error| *error),
        Command::Get => of::<pb::GetResponse>(body)?.error.map(|error| *error),
        Command::BatchGet => {
            let answer: pb::BatchGetResponse = of(body)?;
            answer.error.map(|error| *error).or_else(|| pairs(answer.pairs))
        }
        Command::Scan => {
            let answer: pb::ScanResponse = of(body)?;
            answer.error.map(|error| *error).or_else(|| pairs(answer.pairs))
        }
        Command::CheckTxnStatus => of::<pb::CheckTxnStatusResponse>(body)?.error.map(|error| *error),
        Command::CheckSecondaryLocks => {
            of::<pb::CheckSecondaryLocksResponse>(body)?.error.map(|error| *error)
        }
        Command::ResolveLock => of::<pb::ResolveLockResponse>(body)?.error.map(|error| *error),
        Command::BatchRollback => of::<pb::BatchRollbackResponse>(body)?.error.map(|error| *error),
        Command::TxnHeartBeat => of::<pb::TxnHeartBeatResponse>(body)?.error.map(|error| *error),
        _ => None,
    }
}

fn refusal(error: &pb::KeyError) -> (&'static str, String) {
    if let Some(lock) = &error.locked {
        return ("retry", format!("locked by {}", lock.lock_version));
    }
    let named = [
        (error.commit_ts_expired.is_some(), "retry", "commit timestamp expired"),
        (error.conflict.is_some(), "error", "write conflict"),
        (error.already_exist.is_some(), "error", "already exists"),
        (error.deadlock.is_some(), "error", "deadlock"),
        (error.txn_not_found.is_some(), "error", "transaction not found"),
        (error.txn_lock_not_found.is_some(), "error", "lock not found"),
        (error.assertion_failed.is_some(), "error", "assertion failed"),
        (error.primary_mismatch.is_some(), "error", "primary mismatch"),
        (!error.retryable.is_empty(), "error", error.retryable.as_str()),
        (!error.abort.is_empty(), "error", error.abort.as_str()),
    ];
    let found = named.into_iter().find(|named| named.0);
    found.map_or_else(|| ("error", "a key error".to_owned()), |(_, result, text)| (result, cut(text, 80)))
}

/// What a fault means, and its text.
pub(super) fn fault(fault: &Fault) -> (&'static str, String) {
    match &fault.fault {
        Some(FaultKind::Transport(of)) => transport(of),
        Some(FaultKind::Late(of)) => ("lost", format!("the deadline passed; {}", transport(of).1)),
        Some(FaultKind::Interrupted(_)) => ("cancelled", "the operation was stopped".to_owned()),
        Some(FaultKind::Overloaded(_)) => ("error", "too much waits within the client".to_owned()),
        Some(FaultKind::Refused(error)) => ("error", cut(&format!("{error:?}"), 120)),
        Some(_) | None => ("error", "a fault".to_owned()),
    }
}

fn transport(of: &Transport) -> (&'static str, String) {
    let (result, what) = match TransportClass::try_from(of.class) {
        Ok(TransportClass::Unreachable) => ("error", "unreachable".to_owned()),
        Ok(TransportClass::Lost) => ("lost", "connection lost".to_owned()),
        Ok(TransportClass::TimedOut) => ("lost", "no answer in time".to_owned()),
        Ok(TransportClass::Rejected) => ("lost", format!("refused with status {}", of.code)),
        Ok(_) | Err(_) => ("error", "a fault".to_owned()),
    };
    (result, format!("{what}: {}", cut(&of.detail, 120)))
}
