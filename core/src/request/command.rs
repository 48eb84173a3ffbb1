//! The table of commands: how each travels, and what it answers.

use prost::Message;
use tikv_proto::kvrpcpb as pb;
use tikv_proto::methods::tikv as method;

/// A message that is a command: its type names its response.
pub trait Typed: Message + Default {
    /// What a store answers to it.
    type Response: Message + Default;
    /// The command's row in the table.
    const COMMAND: Command;
}

macro_rules! commands {
    ($($name:ident = $tag:literal, $path:ident, $request:ident => $response:ident, $writes:literal;)*) => {
        /// A command of `tikvpb.Tikv` that this client sends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Command {
            $(
                #[doc = concat!("`", stringify!($request), "`")]
                $name,
            )*
        }

        impl Command {
            /// Every command, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The field of `BatchCommandsRequest.Request` (and of the response) that carries it.
            #[must_use]
            pub const fn batch_tag(self) -> u32 {
                match self { $(Self::$name => $tag,)* }
            }

            /// The command of such a field; `None` when this client sends none.
            #[must_use]
            pub const fn of_batch_tag(tag: u32) -> Option<Self> {
                match tag {
                    $($tag => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Whether its keys are raw ones, which PD and region errors have as they are.
            #[must_use]
            pub const fn is_raw(self) -> bool {
                // The raw commands' fields stand together: RawGet is the first, RawCoprocessor apart.
                matches!(self.batch_tag(), 13..=21 | 34)
            }

            /// The path of its unary twin.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Self::$name => method::$path,)* }
            }

            /// Whether it may change what is stored: without an answer nobody knows if it did.
            #[must_use]
            pub const fn writes(self) -> bool {
                match self { $(Self::$name => $writes,)* }
            }
        }

        $(
            impl Typed for pb::$request {
                type Response = pb::$response;
                const COMMAND: Command = Command::$name;
            }
        )*
    };
}

commands! {
    Get = 1, KV_GET, GetRequest => GetResponse, false;
    Scan = 2, KV_SCAN, ScanRequest => ScanResponse, false;
    Prewrite = 3, KV_PREWRITE, PrewriteRequest => PrewriteResponse, true;
    Commit = 4, KV_COMMIT, CommitRequest => CommitResponse, true;
    BatchGet = 7, KV_BATCH_GET, BatchGetRequest => BatchGetResponse, false;
    BatchRollback = 8, KV_BATCH_ROLLBACK, BatchRollbackRequest => BatchRollbackResponse, true;
    ScanLock = 9, KV_SCAN_LOCK, ScanLockRequest => ScanLockResponse, false;
    ResolveLock = 10, KV_RESOLVE_LOCK, ResolveLockRequest => ResolveLockResponse, true;
    RawGet = 13, RAW_GET, RawGetRequest => RawGetResponse, false;
    RawBatchGet = 14, RAW_BATCH_GET, RawBatchGetRequest => RawBatchGetResponse, false;
    RawPut = 15, RAW_PUT, RawPutRequest => RawPutResponse, true;
    RawBatchPut = 16, RAW_BATCH_PUT, RawBatchPutRequest => RawBatchPutResponse, true;
    RawDelete = 17, RAW_DELETE, RawDeleteRequest => RawDeleteResponse, true;
    RawBatchDelete = 18, RAW_BATCH_DELETE, RawBatchDeleteRequest => RawBatchDeleteResponse, true;
    RawScan = 19, RAW_SCAN, RawScanRequest => RawScanResponse, false;
    RawDeleteRange = 20, RAW_DELETE_RANGE, RawDeleteRangeRequest => RawDeleteRangeResponse, true;
    PessimisticRollback = 24, KV_PESSIMISTIC_ROLLBACK, PessimisticRollbackRequest => PessimisticRollbackResponse, true;
    CheckTxnStatus = 25, KV_CHECK_TXN_STATUS, CheckTxnStatusRequest => CheckTxnStatusResponse, true;
    TxnHeartBeat = 26, KV_TXN_HEART_BEAT, TxnHeartBeatRequest => TxnHeartBeatResponse, true;
    CheckSecondaryLocks = 33, KV_CHECK_SECONDARY_LOCKS, CheckSecondaryLocksRequest => CheckSecondaryLocksResponse, true;
}
