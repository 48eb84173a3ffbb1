//! Which fields of TiKV's messages hold keys, bounds of regions, values and texts: one table, and the rewriting of a message by it.
//!
//! A message is rewritten as it is encoded, field by field. What the table does not name and is no number is left out: a field
//! that a newer TiKV adds may hold anything, and nobody here reads it.

use bytes::{Buf, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use crate::codec::Mode;
use crate::request::Command;

/// Messages within messages at the most.
const DEPTH: usize = 32;

/// What a field holds.
#[derive(Debug)]
enum Field {
    /// A key in the user's form.
    Key,
    /// A bound of a region, as PD has it.
    Bound,
    /// A value.
    Value,
    /// Words of a store: they may hold keys.
    Text,
    /// Nothing of these.
    Plain,
    /// A message.
    In(&'static Message),
}

/// The fields of a message that are no numbers, by their number in the schema.
#[derive(Debug)]
struct Message(&'static [(u32, Field)]);

use Field::{Bound, In, Key, Plain, Text, Value};

macro_rules! messages {
    ($($name:ident { $($tag:literal => $field:expr),* $(,)? })*) => {
        $(static $name: Message = Message(&[$(($tag, $field)),*]);)*
    };
}

// Numbers are those of `kvrpcpb.proto`, `errorpb.proto`, `metapb.proto` and `deadlock.proto`.
messages! {
    REGION { 2 => Bound, 3 => Bound, 4 => Plain, 5 => Plain }
    EPOCH_NOT_MATCH { 1 => In(&REGION) }
    KEY_NOT_IN_REGION { 1 => Bound, 3 => Bound, 4 => Bound }
    BUCKETS { 2 => Bound }
    REASON_1 { 1 => Text }
    DISK_FULL { 1 => Plain, 2 => Text }
    REGION_ERROR {
        1 => Text, 2 => Plain, 3 => Plain, 4 => In(&KEY_NOT_IN_REGION), 5 => In(&EPOCH_NOT_MATCH), 6 => In(&REASON_1),
        7 => Plain, 8 => Plain, 9 => Plain, 10 => Plain, 11 => In(&REASON_1), 12 => Plain, 13 => Plain, 14 => Plain,
        15 => In(&DISK_FULL), 16 => Plain, 17 => Plain, 18 => Plain, 19 => Plain, 20 => Plain, 21 => In(&BUCKETS),
        22 => In(&REASON_1),
    }
    LOCK_INFO { 1 => Key, 3 => Key, 10 => Key, 12 => In(&LOCK_INFO) }
    WAIT_FOR { 4 => Key }
    CONFLICT { 3 => Key, 4 => Key }
    KEY_AT_1 { 1 => Key }
    KEY_AT_2 { 2 => Key }
    KEY_AT_3 { 3 => Key }
    DEADLOCK { 2 => Key, 4 => In(&WAIT_FOR), 5 => Key }
    MISMATCH { 1 => In(&LOCK_INFO) }
    KEY_ERROR {
        1 => In(&LOCK_INFO), 2 => Text, 3 => Text, 4 => In(&CONFLICT), 5 => In(&KEY_AT_1), 6 => In(&DEADLOCK),
        7 => In(&KEY_AT_3), 8 => In(&KEY_AT_2), 9 => Plain, 10 => In(&KEY_AT_2), 11 => In(&MISMATCH), 12 => In(&KEY_AT_1),
        13 => In(&KEY_AT_1), 14 => In(&KEY_AT_1),
    }
    PAIR { 1 => In(&KEY_ERROR), 2 => Key, 3 => Value }
    MUTATION { 2 => Key, 3 => Value }

    GET_REQUEST { 2 => Key }
    GET_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&KEY_ERROR), 3 => Value, 6 => Plain }
    SCAN_REQUEST { 2 => Key, 7 => Key }
    PAIRS_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&PAIR), 3 => In(&KEY_ERROR), 4 => Plain }
    BATCH_GET_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&PAIR), 4 => Plain, 5 => In(&KEY_ERROR) }
    PREWRITE_REQUEST { 2 => In(&MUTATION), 3 => Key, 7 => Plain, 12 => Key, 16 => Plain, 100 => Plain }
    ERRORS_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&KEY_ERROR), 3 => Plain, 5 => Plain }
    COMMIT_REQUEST { 3 => Key, 7 => Key }
    COMMIT_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&KEY_ERROR), 4 => Plain }
    KEYS_AT_2_REQUEST { 2 => Key }
    KEYS_AT_3_REQUEST { 3 => Key }
    ERROR_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&KEY_ERROR), 3 => Plain }
    SCAN_LOCK_REQUEST { 3 => Key, 5 => Key }
    LOCKS_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&KEY_ERROR), 3 => In(&LOCK_INFO), 4 => Plain, 5 => Plain }
    RESOLVE_REQUEST { 4 => Plain, 5 => Key }
    ROLLBACK_REQUEST { 4 => Key }
    SPLIT_RESPONSE { 1 => In(&REGION_ERROR), 4 => In(&REGION), 100 => In(&KEY_ERROR) }
    STATUS_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&KEY_ERROR), 6 => In(&LOCK_INFO), 7 => Plain }
    HEARTBEAT_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&KEY_ERROR), 4 => Plain }

    RAW_KEYS_REQUEST { 2 => Key, 3 => Plain }
    RAW_GET_RESPONSE { 1 => In(&REGION_ERROR), 2 => Text, 3 => Value }
    RAW_PUT_REQUEST { 2 => Key, 3 => Value, 4 => Plain }
    RAW_BATCH_PUT_REQUEST { 2 => In(&PAIR), 3 => Plain, 6 => Plain }
    RAW_SCAN_REQUEST { 2 => Key, 5 => Plain, 7 => Key }
    RAW_RANGE_REQUEST { 2 => Key, 3 => Key, 4 => Plain }
    RAW_PAIRS_RESPONSE { 1 => In(&REGION_ERROR), 2 => In(&PAIR) }
    RAW_WRITE_RESPONSE { 1 => In(&REGION_ERROR), 2 => Text }

    // Of a command that no operation sends, nothing but numbers is shown.
    NUMBERS {}
}

/// The fields of a command's request.
fn request_fields(command: Command) -> &'static Message {
    match command {
        Command::Get => &GET_REQUEST,
        Command::Scan => &SCAN_REQUEST,
        Command::Prewrite => &PREWRITE_REQUEST,
        Command::Commit => &COMMIT_REQUEST,
        Command::BatchGet | Command::CheckSecondaryLocks => &KEYS_AT_2_REQUEST,
        Command::BatchRollback | Command::SplitRegion => &KEYS_AT_3_REQUEST,
        Command::ScanLock => &SCAN_LOCK_REQUEST,
        Command::ResolveLock => &RESOLVE_REQUEST,
        Command::RawGet | Command::RawBatchGet | Command::RawBatchDelete => &RAW_KEYS_REQUEST,
        // A delete's second string is its column family, as that of a get.
        Command::RawDelete => &RAW_KEYS_REQUEST,
        Command::RawPut => &RAW_PUT_REQUEST,
        Command::RawBatchPut => &RAW_BATCH_PUT_REQUEST,
        Command::RawScan => &RAW_SCAN_REQUEST,
        Command::RawDeleteRange => &RAW_RANGE_REQUEST,
        Command::PessimisticRollback => &ROLLBACK_REQUEST,
        Command::CheckTxnStatus | Command::TxnHeartBeat => &KEYS_AT_2_REQUEST,
        _ => &NUMBERS,
    }
}

/// The fields of a command's response.
fn response_fields(command: Command) -> &'static Message {
    match command {
        Command::Get => &GET_RESPONSE,
        Command::Scan => &PAIRS_RESPONSE,
        Command::BatchGet => &BATCH_GET_RESPONSE,
        Command::Prewrite | Command::PessimisticRollback => &ERRORS_RESPONSE,
        Command::Commit => &COMMIT_RESPONSE,
        Command::BatchRollback | Command::ResolveLock => &ERROR_RESPONSE,
        Command::ScanLock | Command::CheckSecondaryLocks => &LOCKS_RESPONSE,
        Command::SplitRegion => &SPLIT_RESPONSE,
        Command::CheckTxnStatus => &STATUS_RESPONSE,
        Command::TxnHeartBeat => &HEARTBEAT_RESPONSE,
        Command::RawGet => &RAW_GET_RESPONSE,
        Command::RawBatchGet | Command::RawScan => &RAW_PAIRS_RESPONSE,
        Command::RawPut
        | Command::RawBatchPut
        | Command::RawDelete
        | Command::RawBatchDelete
        | Command::RawDeleteRange => &RAW_WRITE_RESPONSE,
        _ => &NUMBERS,
    }
}

/// What becomes of the fields.
pub(super) trait Rewrite {
    /// A key in the user's form.
    fn key(&mut self, key: &Bytes) -> Bytes {
        key.clone()
    }
    /// A bound of a region, as PD has it; the mode is that of the command.
    fn bound(&mut self, bound: &Bytes, _: Mode) -> Bytes {
        bound.clone()
    }
    /// A value.
    fn value(&mut self, value: &Bytes) -> Bytes {
        value.clone()
    }
    /// Words of a store.
    fn text(&mut self, text: &Bytes) -> Bytes {
        text.clone()
    }
}

/// Every byte of a value becomes zero.
#[derive(Debug)]
pub(super) struct ZeroValues;

impl Rewrite for ZeroValues {
    fn value(&mut self, value: &Bytes) -> Bytes {
        zeroes(value)
    }
}

/// As many zero bytes.
pub(super) fn zeroes(value: &Bytes) -> Bytes {
    vec![0; value.len()].into()
}

/// Rewrites an encoded request; `None` when it is no message of its type.
pub(super) fn request(command: Command, body: &Bytes, with: &mut dyn Rewrite) -> Option<Bytes> {
    // A request has no bounds of regions, so the mode is not looked at.
    rewrite(body, request_fields(command), command.mode(false), with, DEPTH).map(Bytes::from)
}

/// Rewrites an encoded response, whose bounds of regions are in `mode`; `None` when it is no message of its type.
pub(super) fn response(command: Command, mode: Mode, body: &Bytes, with: &mut dyn Rewrite) -> Option<Bytes> {
    rewrite(body, response_fields(command), mode, with, DEPTH).map(Bytes::from)
}

fn rewrite(
    body: &Bytes,
    message: &Message,
    mode: Mode,
    with: &mut dyn Rewrite,
    depth: usize,
) -> Option<Vec<u8>> {
    let depth = depth.checked_sub(1)?;
    let mut rest = body.clone();
    let mut out = Vec::with_capacity(body.len());
    while rest.has_remaining() {
        let (tag, wire_type) = decode_key(&mut rest).ok()?;
        let bytes = match wire_type {
            WireType::Varint => {
                let number = decode_varint(&mut rest).ok()?;
                encode_key(tag, wire_type, &mut out);
                encode_varint(number, &mut out);
                continue;
            }
            WireType::SixtyFourBit | WireType::ThirtyTwoBit => {
                let len = if wire_type == WireType::SixtyFourBit { 8 } else { 4 };
                let number = (rest.len() >= len).then(|| rest.split_to(len))?;
                encode_key(tag, wire_type, &mut out);
                out.extend_from_slice(&number);
                continue;
            }
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                (len <= rest.len()).then(|| rest.split_to(len))?
            }
            // No message of TiKV has groups.
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let Some((_, field)) = message.0.iter().find(|(known, _)| *known == tag) else { continue };
        let bytes = match field {
            Key => with.key(&bytes),
            Bound => with.bound(&bytes, mode),
            Value => with.value(&bytes),
            Text => with.text(&bytes),
            Plain => bytes,
            In(inner) => rewrite(&bytes, inner, mode, with, depth)?.into(),
        };
        encode_key(tag, wire_type, &mut out);
        encode_varint(bytes.len() as u64, &mut out);
        out.extend_from_slice(&bytes);
    }
    Some(out)
}
