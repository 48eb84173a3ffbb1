//! What a command is about: its transaction, its primary key, its keys and ranges.

use bytes::Bytes;
use tikv_proto::tikvpb::batch_commands_request::request::Cmd;

use crate::model::Command;
use crate::model::store::Unary;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Subject<'a> {
    /// The start timestamp of the transaction, or the version of a read; 0: none.
    pub(super) ts: u64,
    pub(super) primary: Option<&'a Bytes>,
    keys: Vec<&'a Bytes>,
    /// From and to, an empty end is open.
    ranges: Vec<(&'a Bytes, &'a Bytes)>,
}

impl<'a> Subject<'a> {
    fn new(ts: u64, keys: impl IntoIterator<Item = &'a Bytes>) -> Self {
        Self { ts, keys: keys.into_iter().collect(), ..Self::default() }
    }

    fn range(ts: u64, start: &'a Bytes, end: &'a Bytes) -> Self {
        Self { ts, ranges: vec![(start, end)], ..Self::default() }
    }

    fn with_primary(self, key: &'a Bytes) -> Self {
        Self { primary: Some(key), ..self }
    }

    /// What `command` is about.
    pub(super) fn of(command: &'a Command) -> Self {
        match command {
            Command::Batched(command) => Self::of_batched(command),
            Command::Unary(command) => Self::of_unary(command),
            Command::Split(ask) => Self::new(0, &ask.split_keys),
            _ => Self::default(),
        }
    }

    fn of_batched(command: &'a Cmd) -> Self {
        match command {
            Cmd::Get(ask) => Self::new(ask.version, [&ask.key]),
            Cmd::BatchGet(ask) => Self::new(ask.version, &ask.keys),
            Cmd::BufferBatchGet(ask) => Self::new(ask.version, &ask.keys),
            Cmd::Scan(ask) if ask.reverse => Self::range(ask.version, &ask.end_key, &ask.start_key),
            Cmd::Scan(ask) => Self::range(ask.version, &ask.start_key, &ask.end_key),
            Cmd::Prewrite(ask) => Self::new(ask.start_version, ask.mutations.iter().map(|of| &of.key))
                .with_primary(&ask.primary_lock),
            Cmd::Flush(ask) => {
                Self::new(ask.start_ts, ask.mutations.iter().map(|of| &of.key)).with_primary(&ask.primary_key)
            }
            Cmd::PessimisticLock(ask) => Self::new(ask.start_version, ask.mutations.iter().map(|of| &of.key))
                .with_primary(&ask.primary_lock),
            Cmd::PessimisticRollback(ask) => Self::new(ask.start_version, &ask.keys),
            Cmd::Commit(ask) => Self::new(ask.start_version, &ask.keys).with_primary(&ask.primary_key),
            Cmd::BatchRollback(ask) => Self::new(ask.start_version, &ask.keys),
            Cmd::Cleanup(ask) => Self::new(ask.start_version, [&ask.key]),
            Cmd::ResolveLock(ask) => Self::new(ask.start_version, &ask.keys),
            Cmd::TxnHeartBeat(ask) => {
                Self::new(ask.start_version, [&ask.primary_lock]).with_primary(&ask.primary_lock)
            }
            Cmd::CheckTxnStatus(ask) => {
                Self::new(ask.lock_ts, [&ask.primary_key]).with_primary(&ask.primary_key)
            }
            Cmd::CheckSecondaryLocks(ask) => Self::new(ask.start_version, &ask.keys),
            Cmd::ScanLock(ask) => Self::range(0, &ask.start_key, &ask.end_key),
            Cmd::DeleteRange(ask) => Self::range(0, &ask.start_key, &ask.end_key),
            Cmd::PrepareFlashbackToVersion(ask) => Self::range(ask.start_ts, &ask.start_key, &ask.end_key),
            Cmd::FlashbackToVersion(ask) => Self::range(ask.start_ts, &ask.start_key, &ask.end_key),
            Cmd::Coprocessor(ask) => Self {
                ts: ask.start_ts,
                ranges: ask.ranges.iter().map(|range| (&range.start, &range.end)).collect(),
                ..Self::default()
            },
            Cmd::RawGet(ask) => Self::new(0, [&ask.key]),
            Cmd::RawBatchGet(ask) => Self::new(0, &ask.keys),
            Cmd::RawPut(ask) => Self::new(0, [&ask.key]),
            Cmd::RawBatchPut(ask) => Self::new(0, ask.pairs.iter().map(|pair| &pair.key)),
            Cmd::RawDelete(ask) => Self::new(0, [&ask.key]),
            Cmd::RawBatchDelete(ask) => Self::new(0, &ask.keys),
            Cmd::RawScan(ask) if ask.reverse => Self::range(0, &ask.end_key, &ask.start_key),
            Cmd::RawScan(ask) => Self::range(0, &ask.start_key, &ask.end_key),
            Cmd::RawDeleteRange(ask) => Self::range(0, &ask.start_key, &ask.end_key),
            Cmd::RawBatchScan(ask) => Self {
                ranges: ask.ranges.iter().map(|range| (&range.start_key, &range.end_key)).collect(),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }

    fn of_unary(command: &'a Unary) -> Self {
        match command {
            Unary::RawCompareAndSwap(ask) => Self::new(0, [&ask.key]),
            Unary::RawGetKeyTtl(ask) => Self::new(0, [&ask.key]),
            Unary::RawChecksum(ask) => Self {
                ranges: ask.ranges.iter().map(|range| (&range.start_key, &range.end_key)).collect(),
                ..Self::default()
            },
            Unary::UnsafeDestroyRange(ask) => Self::range(0, &ask.start_key, &ask.end_key),
            Unary::MvccGetByKey(ask) => Self::new(0, [&ask.key]),
            Unary::MvccGetByStartTs(ask) => Self::new(ask.start_ts, []),
        }
    }

    /// Whether a key or a range of it lies in, or meets, `[start, end)`; an empty end is open.
    pub(super) fn meets(&self, start: &Bytes, end: &Bytes) -> bool {
        let before = |key: &Bytes, end: &Bytes| end.is_empty() || key < end;
        self.keys.iter().any(|key| *key >= start && before(key, end))
            || self.ranges.iter().any(|(from, to)| before(from, end) && before(start, to))
    }
}

#[cfg(test)]
mod tests {
    use tikv_proto::kvrpcpb::*;

    use super::*;
    use crate::control::{CallFacts, Matcher, Node};

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn fits(matcher: &Matcher, command: Cmd) -> bool {
        let command = Command::Batched(command);
        matcher.matches(&CallFacts::new(Node::Store(1), "").with_command(&command))
    }

    #[test]
    fn a_rule_can_be_about_keys_ranges_and_transactions() {
        let get = |key, version| Cmd::Get(GetRequest { key: bytes(key), version, ..Default::default() });
        let scan = |start, end, reverse| {
            let (start_key, end_key) = (bytes(start), bytes(end));
            Cmd::Scan(ScanRequest { start_key, end_key, reverse, version: 9, ..Default::default() })
        };
        let mutation = Mutation { key: bytes("k"), ..Default::default() };
        let prewrite = Cmd::Prewrite(PrewriteRequest {
            mutations: vec![mutation],
            primary_lock: bytes("p"),
            start_version: 7,
            ..Default::default()
        });
        for (matcher, command, fit) in [
            (Matcher::any().key("k"), get("k", 1), true),
            (Matcher::any().key("k"), get("ka", 1), false),
            (Matcher::any().key("k"), scan("a", "l", false), true),
            (Matcher::any().key("k"), scan("a", "k", false), false),
            (Matcher::any().key("k"), scan("l", "a", true), true),
            (Matcher::any().key("k"), scan("a", "", false), true),
            (Matcher::any().keys("a", ""), get("z", 1), true),
            (Matcher::any().keys("a", "c"), get("c", 1), false),
            (Matcher::any().start_ts(7), prewrite.clone(), true),
            (Matcher::any().start_ts(8), prewrite.clone(), false),
            (Matcher::any().start_ts(1), get("k", 1), true),
            (Matcher::any().primary("p"), prewrite.clone(), true),
            (Matcher::any().primary("k"), prewrite.clone(), false),
            (Matcher::any().primary("p").key("k").start_ts(7), prewrite, true),
            (Matcher::any().primary("p"), get("p", 1), false),
        ] {
            assert_eq!(fits(&matcher, command), fit, "{matcher:?}");
        }
        let pd = CallFacts::new(Node::Pd(0), "Tso");
        assert!(!Matcher::any().key("k").matches(&pd), "PD's calls are about no key");
    }
}
