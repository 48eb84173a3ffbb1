//! The rows of the table of commands: see [`Command`](super::Command) for what the columns say.
//!
//! Sources: kvproto: `tikvpb.proto, kvrpcpb.proto, coprocessor.proto, mpp.proto, debugpb.proto`; client-go:
//! `tikvrpc/tikvrpc.go`.

use tikv_proto::methods::{debug, tikv};
use tikv_proto::{coprocessor, debugpb, kvrpcpb as pb, mpp};

use super::command::{Fields, Level, Row, Travel, Typed, Visitor};

macro_rules! commands {
    ($($variant:ident = $name:literal, $travel:ident, $number:literal, $path:path,
        $request:path => $response:path, $level:ident, $effect:ident, $fields:expr;)*) => {
        /// A command that stores understand: one row of the table in `table.rs`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Command {
            $(
                #[doc = concat!("`", stringify!($request), "`")]
                $variant,
            )*
        }

        impl Command {
            /// Every command, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
        }

        pub(super) static ROWS: &[Row] = &[$(Row {
            name: $name,
            travel: Travel::$travel,
            number: $number,
            path: $path,
            level: Level::$level,
            writes: $effect,
            fields: Fields::new($fields),
        }),*];

        typed! { $($variant $request => $response;)* }

        impl Command {
            /// Calls `visitor` with the types of the command's messages.
            pub(crate) fn visit<V: Visitor>(self, visitor: V) -> V::Output {
                match self {
                    $(Self::$variant => visitor.visit::<$request, $response>(),)*
                }
            }
        }
    };
}

/// A message type names its command. `coprocessor::Request` is that of two: its typed one is the unary.
macro_rules! typed {
    () => {};
    (CoprocessorStream $request:path => $response:path; $($rest:tt)*) => { typed! { $($rest)* } };
    ($variant:ident $request:path => $response:path; $($rest:tt)*) => {
        impl Typed for $request {
            type Response = $response;
            const COMMAND: Command = Command::$variant;
        }

        typed! { $($rest)* }
    };
}

#[allow(non_upper_case_globals, reason = "they stand in the table as words")]
mod effect {
    pub(super) const reads: bool = false;
    pub(super) const writes: bool = true;
}
use effect::{reads, writes};

// Numbers of fields: context, start timestamp (of the request); region error, key error, execution details (of the response).
commands! {
    Get = "Get", Batched, 1, tikv::KV_GET, pb::GetRequest => pb::GetResponse, Region, reads, [1, 3, 1, 2, 6];
    Scan = "Scan", Batched, 2, tikv::KV_SCAN, pb::ScanRequest => pb::ScanResponse, Region, reads, [1, 4, 1, 3, 0];
    Prewrite = "Prewrite", Batched, 3, tikv::KV_PREWRITE, pb::PrewriteRequest => pb::PrewriteResponse, Region, writes, [1, 4, 1, 2, 5];
    Commit = "Commit", Batched, 4, tikv::KV_COMMIT, pb::CommitRequest => pb::CommitResponse, Region, writes, [1, 2, 1, 2, 4];
    Cleanup = "Cleanup", Batched, 6, tikv::KV_CLEANUP, pb::CleanupRequest => pb::CleanupResponse, Region, writes, [1, 3, 1, 2, 0];
    BatchGet = "BatchGet", Batched, 7, tikv::KV_BATCH_GET, pb::BatchGetRequest => pb::BatchGetResponse, Region, reads, [1, 3, 1, 5, 4];
    BatchRollback = "BatchRollback", Batched, 8, tikv::KV_BATCH_ROLLBACK, pb::BatchRollbackRequest => pb::BatchRollbackResponse, Region, writes, [1, 2, 1, 2, 3];
    ScanLock = "ScanLock", Batched, 9, tikv::KV_SCAN_LOCK, pb::ScanLockRequest => pb::ScanLockResponse, Region, reads, [1, 2, 1, 2, 4];
    ResolveLock = "ResolveLock", Batched, 10, tikv::KV_RESOLVE_LOCK, pb::ResolveLockRequest => pb::ResolveLockResponse, Region, writes, [1, 2, 1, 2, 3];
    Gc = "GC", Batched, 11, tikv::KV_GC, pb::GcRequest => pb::GcResponse, Region, writes, [1, 0, 1, 2, 0];
    DeleteRange = "DeleteRange", Batched, 12, tikv::KV_DELETE_RANGE, pb::DeleteRangeRequest => pb::DeleteRangeResponse, Region, writes, [1, 0, 1, 0, 0];
    RawGet = "RawGet", Batched, 13, tikv::RAW_GET, pb::RawGetRequest => pb::RawGetResponse, Region, reads, [1, 0, 1, 0, 0];
    RawBatchGet = "RawBatchGet", Batched, 14, tikv::RAW_BATCH_GET, pb::RawBatchGetRequest => pb::RawBatchGetResponse, Region, reads, [1, 0, 1, 0, 0];
    RawPut = "RawPut", Batched, 15, tikv::RAW_PUT, pb::RawPutRequest => pb::RawPutResponse, Region, writes, [1, 0, 1, 0, 0];
    RawBatchPut = "RawBatchPut", Batched, 16, tikv::RAW_BATCH_PUT, pb::RawBatchPutRequest => pb::RawBatchPutResponse, Region, writes, [1, 0, 1, 0, 0];
    RawDelete = "RawDelete", Batched, 17, tikv::RAW_DELETE, pb::RawDeleteRequest => pb::RawDeleteResponse, Region, writes, [1, 0, 1, 0, 0];
    RawBatchDelete = "RawBatchDelete", Batched, 18, tikv::RAW_BATCH_DELETE, pb::RawBatchDeleteRequest => pb::RawBatchDeleteResponse, Region, writes, [1, 0, 1, 0, 0];
    RawScan = "RawScan", Batched, 19, tikv::RAW_SCAN, pb::RawScanRequest => pb::RawScanResponse, Region, reads, [1, 0, 1, 0, 0];
    RawDeleteRange = "RawDeleteRange", Batched, 20, tikv::RAW_DELETE_RANGE, pb::RawDeleteRangeRequest => pb::RawDeleteRangeResponse, Region, writes, [1, 0, 1, 0, 0];
    RawBatchScan = "RawBatchScan", Batched, 21, tikv::RAW_BATCH_SCAN, pb::RawBatchScanRequest => pb::RawBatchScanResponse, Region, reads, [1, 0, 1, 0, 0];
    Coprocessor = "Cop", Batched, 22, tikv::COPROCESSOR, coprocessor::Request => coprocessor::Response, Region, reads, [1, 7, 2, 0, 11];
    PessimisticLock = "PessimisticLock", Batched, 23, tikv::KV_PESSIMISTIC_LOCK, pb::PessimisticLockRequest => pb::PessimisticLockResponse, Region, writes, [1, 4, 1, 2, 7];
    PessimisticRollback = "PessimisticRollback", Batched, 24, tikv::KV_PESSIMISTIC_ROLLBACK, pb::PessimisticRollbackRequest => pb::PessimisticRollbackResponse, Region, writes, [1, 2, 1, 2, 3];
    CheckTxnStatus = "CheckTxnStatus", Batched, 25, tikv::KV_CHECK_TXN_STATUS, pb::CheckTxnStatusRequest => pb::CheckTxnStatusResponse, Region, writes, [1, 3, 1, 2, 7];
    TxnHeartBeat = "TxnHeartBeat", Batched, 26, tikv::KV_TXN_HEART_BEAT, pb::TxnHeartBeatRequest => pb::TxnHeartBeatResponse, Region, writes, [1, 3, 1, 2, 4];
    CheckSecondaryLocks = "CheckSecondaryLocks", Batched, 33, tikv::KV_CHECK_SECONDARY_LOCKS, pb::CheckSecondaryLocksRequest => pb::CheckSecondaryLocksResponse, Region, writes, [1, 3, 1, 2, 5];
    RawCoprocessor = "RawCoprocessor", Batched, 34, tikv::RAW_COPROCESSOR, pb::RawCoprocessorRequest => pb::RawCoprocessorResponse, Region, writes, [1, 0, 1, 0, 0];
    FlashbackToVersion = "FlashbackToVersion", Batched, 35, tikv::KV_FLASHBACK_TO_VERSION, pb::FlashbackToVersionRequest => pb::FlashbackToVersionResponse, Region, writes, [1, 5, 1, 0, 0];
    PrepareFlashbackToVersion = "PrepareFlashbackToVersion", Batched, 36, tikv::KV_PREPARE_FLASHBACK_TO_VERSION, pb::PrepareFlashbackToVersionRequest => pb::PrepareFlashbackToVersionResponse, Region, writes, [1, 4, 1, 0, 0];
    Flush = "Flush", Batched, 37, tikv::KV_FLUSH, pb::FlushRequest => pb::FlushResponse, Region, writes, [1, 4, 1, 2, 3];
    BufferBatchGet = "BufferBatchGet", Batched, 38, tikv::KV_BUFFER_BATCH_GET, pb::BufferBatchGetRequest => pb::BufferBatchGetResponse, Region, reads, [1, 3, 1, 2, 4];
    GetHealthFeedback = "GetHealthFeedback", Batched, 39, tikv::GET_HEALTH_FEEDBACK, pb::GetHealthFeedbackRequest => pb::GetHealthFeedbackResponse, Store, reads, [1, 0, 1, 0, 0];
    BroadcastTxnStatus = "BroadcastTxnStatus", Batched, 40, tikv::BROADCAST_TXN_STATUS, pb::BroadcastTxnStatusRequest => pb::BroadcastTxnStatusResponse, Store, reads, [1, 0, 0, 0, 0];
    RawGetKeyTtl = "RawGetKeyTTL", Unary, 301, tikv::RAW_GET_KEY_TTL, pb::RawGetKeyTtlRequest => pb::RawGetKeyTtlResponse, Region, reads, [1, 0, 1, 0, 0];
    RawCompareAndSwap = "RawCompareAndSwap", Unary, 302, tikv::RAW_COMPARE_AND_SWAP, pb::RawCasRequest => pb::RawCasResponse, Region, writes, [1, 0, 1, 0, 0];
    RawChecksum = "RawChecksum", Unary, 303, tikv::RAW_CHECKSUM, pb::RawChecksumRequest => pb::RawChecksumResponse, Region, reads, [1, 0, 1, 0, 0];
    UnsafeDestroyRange = "UnsafeDestroyRange", Unary, 304, tikv::UNSAFE_DESTROY_RANGE, pb::UnsafeDestroyRangeRequest => pb::UnsafeDestroyRangeResponse, Store, writes, [1, 0, 1, 0, 0];
    RegisterLockObserver = "RegisterLockObserver", Unary, 305, tikv::REGISTER_LOCK_OBSERVER, pb::RegisterLockObserverRequest => pb::RegisterLockObserverResponse, Store, writes, [1, 0, 0, 0, 0];
    CheckLockObserver = "CheckLockObserver", Unary, 306, tikv::CHECK_LOCK_OBSERVER, pb::CheckLockObserverRequest => pb::CheckLockObserverResponse, Store, reads, [1, 0, 0, 0, 0];
    RemoveLockObserver = "RemoveLockObserver", Unary, 307, tikv::REMOVE_LOCK_OBSERVER, pb::RemoveLockObserverRequest => pb::RemoveLockObserverResponse, Store, writes, [1, 0, 0, 0, 0];
    PhysicalScanLock = "PhysicalScanLock", Unary, 308, tikv::PHYSICAL_SCAN_LOCK, pb::PhysicalScanLockRequest => pb::PhysicalScanLockResponse, Store, reads, [1, 0, 0, 0, 0];
    StoreSafeTs = "StoreSafeTS", Unary, 309, tikv::GET_STORE_SAFE_TS, pb::StoreSafeTsRequest => pb::StoreSafeTsResponse, Store, reads, [0, 0, 0, 0, 0];
    LockWaitInfo = "LockWaitInfo", Unary, 310, tikv::GET_LOCK_WAIT_INFO, pb::GetLockWaitInfoRequest => pb::GetLockWaitInfoResponse, Store, reads, [1, 0, 1, 0, 0];
    LockWaitHistory = "LockWaitHistory", Unary, 311, tikv::GET_LOCK_WAIT_HISTORY, pb::GetLockWaitHistoryRequest => pb::GetLockWaitHistoryResponse, Store, reads, [1, 0, 1, 0, 0];
    MvccGetByKey = "MvccGetByKey", Unary, 312, tikv::MVCC_GET_BY_KEY, pb::MvccGetByKeyRequest => pb::MvccGetByKeyResponse, Region, reads, [1, 0, 1, 0, 0];
    MvccGetByStartTs = "MvccGetByStartTS", Unary, 313, tikv::MVCC_GET_BY_START_TS, pb::MvccGetByStartTsRequest => pb::MvccGetByStartTsResponse, Region, reads, [1, 2, 1, 0, 0];
    SplitRegion = "SplitRegion", Unary, 314, tikv::SPLIT_REGION, pb::SplitRegionRequest => pb::SplitRegionResponse, Region, writes, [1, 0, 1, 100, 0];
    CoprocessorStream = "CopStream", Streamed, 315, tikv::COPROCESSOR_STREAM, coprocessor::Request => coprocessor::Response, Region, reads, [1, 7, 2, 0, 11];
    BatchCoprocessor = "BatchCop", Streamed, 316, tikv::BATCH_COPROCESSOR, coprocessor::BatchRequest => coprocessor::BatchResponse, TiFlash, reads, [1, 5, 0, 0, 0];
    DispatchMppTask = "DispatchMPPTask", Unary, 317, tikv::DISPATCH_MPP_TASK, mpp::DispatchTaskRequest => mpp::DispatchTaskResponse, TiFlash, reads, [0, 0, 0, 0, 0];
    EstablishMppConnection = "EstablishMPPConnection", Streamed, 318, tikv::ESTABLISH_MPP_CONNECTION, mpp::EstablishMppConnectionRequest => mpp::MppDataPacket, TiFlash, reads, [0, 0, 0, 0, 0];
    CancelMppTask = "CancelMPPTask", Unary, 319, tikv::CANCEL_MPP_TASK, mpp::CancelTaskRequest => mpp::CancelTaskResponse, TiFlash, reads, [0, 0, 0, 0, 0];
    MppAlive = "MPPAlive", Unary, 320, tikv::IS_ALIVE, mpp::IsAliveRequest => mpp::IsAliveResponse, TiFlash, reads, [0, 0, 0, 0, 0];
    Compact = "Compact", Unary, 321, tikv::COMPACT, pb::CompactRequest => pb::CompactResponse, TiFlash, reads, [0, 0, 0, 0, 0];
    TiFlashSystemTable = "GetTiFlashSystemTable", Unary, 322, tikv::GET_TI_FLASH_SYSTEM_TABLE, pb::TiFlashSystemTableRequest => pb::TiFlashSystemTableResponse, TiFlash, reads, [0, 0, 0, 0, 0];
    RegionProperties = "DebugGetRegionProperties", Unary, 323, debug::GET_REGION_PROPERTIES, debugpb::GetRegionPropertiesRequest => debugpb::GetRegionPropertiesResponse, Store, reads, [0, 0, 0, 0, 0];
}
