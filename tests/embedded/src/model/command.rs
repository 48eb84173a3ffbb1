//! What a store is asked and what it answers, whether it came in a `BatchCommands` frame or by a method of its own.
//!
//! The one table at the end of this file ties a method's path to the variants of requests and answers; all else here
//! is made from it.

use bytes::Bytes;
use prost::Message;
use tikv_proto::kvrpcpb::{self, Context};
use tikv_proto::methods::tikv as m;
use tikv_proto::tikvpb::{batch_commands_request::request, batch_commands_response::response};
use tikv_proto::{coprocessor, errorpb, metapb};

use super::status::{Code, Status};
use super::store::{Unary, UnaryAnswer};

/// A decoded request to a store.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// One that a `BatchCommands` frame can carry.
    Batched(request::Cmd),
    /// One that only has a method of its own.
    Unary(Unary),
    /// Splits a region.
    Split(SplitRequest),
    /// Asks up to which timestamp stale reads are served.
    SafeTs(kvrpcpb::StoreSafeTsRequest),
    /// Asks who waits for whose lock.
    LockWaits(kvrpcpb::GetLockWaitInfoRequest),
    /// Asks whether these are the leaders.
    CheckLeader(kvrpcpb::CheckLeaderRequest),
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "the large variant is the usual one")]
#[allow(missing_docs, reason = "the variants are those of the commands")]
pub enum Answer {
    Batched(response::Cmd),
    Unary(UnaryAnswer),
    Split(SplitAnswer),
    SafeTs(kvrpcpb::StoreSafeTsResponse),
    LockWaits(kvrpcpb::GetLockWaitInfoResponse),
    CheckLeader(kvrpcpb::CheckLeaderResponse),
}

/// `SplitRegionRequest` with the deprecated single key, which the schema of this project leaves out and servers read.
#[derive(Clone, PartialEq, Message)]
#[allow(clippy::exhaustive_structs, reason = "the wire's message")]
#[allow(missing_docs, reason = "the wire's message")]
pub struct SplitRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(bytes = "bytes", tag = "2")]
    pub split_key: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub split_keys: Vec<Bytes>,
    #[prost(bool, tag = "4")]
    pub is_raw_kv: bool,
}

/// `SplitRegionResponse` with the deprecated halves, which servers fill when there are two.
#[derive(Clone, PartialEq, Message)]
#[allow(clippy::exhaustive_structs, reason = "the wire's message")]
#[allow(missing_docs, reason = "the wire's message")]
pub struct SplitAnswer {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<errorpb::Error>,
    #[prost(message, optional, tag = "2")]
    pub left: Option<metapb::Region>,
    #[prost(message, optional, tag = "3")]
    pub right: Option<metapb::Region>,
    #[prost(message, repeated, tag = "4")]
    pub regions: Vec<metapb::Region>,
}

impl Command {
    /// The region that the command's context names; 0: none.
    #[must_use]
    pub fn region(&self) -> u64 {
        self.context().map_or(0, |context| context.region_id)
    }
}

impl Command {
    /// About how many bytes the command writes into the log of its region, if it brings data; 0 otherwise.
    #[must_use]
    pub fn written_bytes(&self) -> usize {
        match self {
            Self::Batched(request::Cmd::Prewrite(ask)) => ask.encoded_len(),
            Self::Batched(request::Cmd::Flush(ask)) => ask.encoded_len(),
            Self::Batched(request::Cmd::RawPut(ask)) => ask.encoded_len(),
            Self::Batched(request::Cmd::RawBatchPut(ask)) => ask.encoded_len(),
            Self::Unary(Unary::RawCompareAndSwap(ask)) => ask.encoded_len(),
            _ => 0,
        }
    }
}

fn decode<M: Message + Default>(body: Bytes) -> Result<M, Status> {
    M::decode(body)
        .map_err(|error| Status::new(Code::Internal, format!("no {}: {error}", std::any::type_name::<M>())))
}

fn name(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}

macro_rules! table {
    (
        batched { $($batched:ident $batched_path:path, $request:ty => $answer:ty;)* }
        silent { $($silent:ident $silent_path:path, $silent_request:ty => $silent_answer:ty;)* }
        unary { $($unary:ident $unary_path:path, $unary_request:ty => $unary_answer:ty;)* }
    ) => {
        impl Command {
            /// Decodes the request of the method `path`.
            ///
            /// # Errors
            /// A method that stores do not serve, or bytes that are not its request.
            pub fn decode(path: &str, body: Bytes) -> Result<Self, Status> {
                Ok(match path {
                    $($batched_path => Self::Batched(request::Cmd::$batched(decode::<$request>(body)?)),)*
                    $($silent_path => Self::Batched(request::Cmd::$silent(decode::<$silent_request>(body)?)),)*
                    $($unary_path => Self::Unary(Unary::$unary(decode::<$unary_request>(body)?)),)*
                    m::SPLIT_REGION => Self::Split(decode(body)?),
                    m::GET_STORE_SAFE_TS => Self::SafeTs(decode(body)?),
                    m::GET_LOCK_WAIT_INFO => Self::LockWaits(decode(body)?),
                    m::CHECK_LEADER => Self::CheckLeader(decode(body)?),
                    _ => return Err(Status::unimplemented(path)),
                })
            }

            /// The name of the command's own method, such as `KvGet`.
            #[must_use]
            pub fn method(&self) -> &'static str {
                match self {
                    $(Self::Batched(request::Cmd::$batched(_)) => name($batched_path),)*
                    $(Self::Batched(request::Cmd::$silent(_)) => name($silent_path),)*
                    Self::Batched(request::Cmd::Import(_)) => name(m::KV_IMPORT),
                    Self::Batched(request::Cmd::Empty(_)) => "Empty",
                    $(Self::Unary(Unary::$unary(_)) => name($unary_path),)*
                    Self::Split(_) => name(m::SPLIT_REGION),
                    Self::SafeTs(_) => name(m::GET_STORE_SAFE_TS),
                    Self::LockWaits(_) => name(m::GET_LOCK_WAIT_INFO),
                    Self::CheckLeader(_) => name(m::CHECK_LEADER),
                }
            }

            /// Where the caller believes the command belongs.
            #[must_use]
            pub fn context(&self) -> Option<&Context> {
                match self {
                    $(Self::Batched(request::Cmd::$batched(ask)) => ask.context.as_ref(),)*
                    $(Self::Batched(request::Cmd::$silent(ask)) => ask.context.as_ref(),)*
                    Self::Batched(request::Cmd::Import(_) | request::Cmd::Empty(_))
                    | Self::SafeTs(_)
                    | Self::CheckLeader(_) => None,
                    $(Self::Unary(Unary::$unary(ask)) => ask.context.as_ref(),)*
                    Self::Split(ask) => ask.context.as_ref(),
                    Self::LockWaits(ask) => ask.context.as_ref(),
                }
            }

            /// The command's answer with nothing but this region error; `None` for one whose answer cannot hold it.
            #[must_use]
            pub fn refused(&self, error: errorpb::Error) -> Option<Answer> {
                let region_error = Some(error);
                Some(match self {
                    $(Self::Batched(request::Cmd::$batched(_)) => Answer::Batched(
                        response::Cmd::$batched(<$answer as Refused>::refused(region_error))
                    ),)*
                    $(Self::Unary(Unary::$unary(_)) => Answer::Unary(
                        UnaryAnswer::$unary(<$unary_answer as Refused>::refused(region_error))
                    ),)*
                    Self::Split(_) => Answer::Split(SplitAnswer { region_error, ..Default::default() }),
                    Self::Batched(_) | Self::SafeTs(_) | Self::LockWaits(_) | Self::CheckLeader(_) => {
                        return None;
                    }
                })
            }
        }

        /// An answer that can hold a region error.
        trait Refused {
            fn refused(region_error: Option<errorpb::Error>) -> Self;
        }

        $(impl Refused for $answer {
            fn refused(region_error: Option<errorpb::Error>) -> Self {
                let region_error = region_error.map(Box::new);
                Self { region_error, ..Default::default() }
            }
        })*
        $(impl Refused for $unary_answer {
            fn refused(region_error: Option<errorpb::Error>) -> Self {
                let region_error = region_error.map(Box::new);
                Self { region_error, ..Default::default() }
            }
        })*

        impl Answer {
            /// The answer's message as bytes, for a method of its own.
            #[must_use]
            pub fn encode(&self) -> Bytes {
                match self {
                    $(Self::Batched(response::Cmd::$batched(tell)) => tell.encode_to_vec(),)*
                    $(Self::Batched(response::Cmd::$silent(tell)) => tell.encode_to_vec(),)*
                    Self::Batched(response::Cmd::Import(tell)) => tell.encode_to_vec(),
                    Self::Batched(response::Cmd::Empty(tell)) => tell.encode_to_vec(),
                    $(Self::Unary(UnaryAnswer::$unary(tell)) => tell.encode_to_vec(),)*
                    Self::Split(tell) => tell.encode_to_vec(),
                    Self::SafeTs(tell) => tell.encode_to_vec(),
                    Self::LockWaits(tell) => tell.encode_to_vec(),
                    Self::CheckLeader(tell) => tell.encode_to_vec(),
                }
                .into()
            }
        }
    };
}

table! {
    batched {
        Get m::KV_GET, kvrpcpb::GetRequest => kvrpcpb::GetResponse;
        Scan m::KV_SCAN, kvrpcpb::ScanRequest => kvrpcpb::ScanResponse;
        Prewrite m::KV_PREWRITE, kvrpcpb::PrewriteRequest => kvrpcpb::PrewriteResponse;
        Commit m::KV_COMMIT, kvrpcpb::CommitRequest => kvrpcpb::CommitResponse;
        Cleanup m::KV_CLEANUP, kvrpcpb::CleanupRequest => kvrpcpb::CleanupResponse;
        BatchGet m::KV_BATCH_GET, kvrpcpb::BatchGetRequest => kvrpcpb::BatchGetResponse;
        BatchRollback m::KV_BATCH_ROLLBACK, kvrpcpb::BatchRollbackRequest => kvrpcpb::BatchRollbackResponse;
        ScanLock m::KV_SCAN_LOCK, kvrpcpb::ScanLockRequest => kvrpcpb::ScanLockResponse;
        ResolveLock m::KV_RESOLVE_LOCK, kvrpcpb::ResolveLockRequest => kvrpcpb::ResolveLockResponse;
        Gc m::KV_GC, kvrpcpb::GcRequest => kvrpcpb::GcResponse;
        DeleteRange m::KV_DELETE_RANGE, kvrpcpb::DeleteRangeRequest => kvrpcpb::DeleteRangeResponse;
        RawGet m::RAW_GET, kvrpcpb::RawGetRequest => kvrpcpb::RawGetResponse;
        RawBatchGet m::RAW_BATCH_GET, kvrpcpb::RawBatchGetRequest => kvrpcpb::RawBatchGetResponse;
        RawPut m::RAW_PUT, kvrpcpb::RawPutRequest => kvrpcpb::RawPutResponse;
        RawBatchPut m::RAW_BATCH_PUT, kvrpcpb::RawBatchPutRequest => kvrpcpb::RawBatchPutResponse;
        RawDelete m::RAW_DELETE, kvrpcpb::RawDeleteRequest => kvrpcpb::RawDeleteResponse;
        RawBatchDelete m::RAW_BATCH_DELETE, kvrpcpb::RawBatchDeleteRequest => kvrpcpb::RawBatchDeleteResponse;
        RawScan m::RAW_SCAN, kvrpcpb::RawScanRequest => kvrpcpb::RawScanResponse;
        RawDeleteRange m::RAW_DELETE_RANGE, kvrpcpb::RawDeleteRangeRequest => kvrpcpb::RawDeleteRangeResponse;
        RawBatchScan m::RAW_BATCH_SCAN, kvrpcpb::RawBatchScanRequest => kvrpcpb::RawBatchScanResponse;
        Coprocessor m::COPROCESSOR, coprocessor::Request => coprocessor::Response;
        PessimisticLock m::KV_PESSIMISTIC_LOCK, kvrpcpb::PessimisticLockRequest => kvrpcpb::PessimisticLockResponse;
        PessimisticRollback m::KV_PESSIMISTIC_ROLLBACK,
            kvrpcpb::PessimisticRollbackRequest => kvrpcpb::PessimisticRollbackResponse;
        CheckTxnStatus m::KV_CHECK_TXN_STATUS, kvrpcpb::CheckTxnStatusRequest => kvrpcpb::CheckTxnStatusResponse;
        TxnHeartBeat m::KV_TXN_HEART_BEAT, kvrpcpb::TxnHeartBeatRequest => kvrpcpb::TxnHeartBeatResponse;
        CheckSecondaryLocks m::KV_CHECK_SECONDARY_LOCKS,
            kvrpcpb::CheckSecondaryLocksRequest => kvrpcpb::CheckSecondaryLocksResponse;
        RawCoprocessor m::RAW_COPROCESSOR, kvrpcpb::RawCoprocessorRequest => kvrpcpb::RawCoprocessorResponse;
        FlashbackToVersion m::KV_FLASHBACK_TO_VERSION,
            kvrpcpb::FlashbackToVersionRequest => kvrpcpb::FlashbackToVersionResponse;
        PrepareFlashbackToVersion m::KV_PREPARE_FLASHBACK_TO_VERSION,
            kvrpcpb::PrepareFlashbackToVersionRequest => kvrpcpb::PrepareFlashbackToVersionResponse;
        Flush m::KV_FLUSH, kvrpcpb::FlushRequest => kvrpcpb::FlushResponse;
        BufferBatchGet m::KV_BUFFER_BATCH_GET, kvrpcpb::BufferBatchGetRequest => kvrpcpb::BufferBatchGetResponse;
        GetHealthFeedback m::GET_HEALTH_FEEDBACK,
            kvrpcpb::GetHealthFeedbackRequest => kvrpcpb::GetHealthFeedbackResponse;
    }
    silent {
        BroadcastTxnStatus m::BROADCAST_TXN_STATUS,
            kvrpcpb::BroadcastTxnStatusRequest => kvrpcpb::BroadcastTxnStatusResponse;
    }
    unary {
        RawCompareAndSwap m::RAW_COMPARE_AND_SWAP, kvrpcpb::RawCasRequest => kvrpcpb::RawCasResponse;
        RawGetKeyTtl m::RAW_GET_KEY_TTL, kvrpcpb::RawGetKeyTtlRequest => kvrpcpb::RawGetKeyTtlResponse;
        RawChecksum m::RAW_CHECKSUM, kvrpcpb::RawChecksumRequest => kvrpcpb::RawChecksumResponse;
        UnsafeDestroyRange m::UNSAFE_DESTROY_RANGE,
            kvrpcpb::UnsafeDestroyRangeRequest => kvrpcpb::UnsafeDestroyRangeResponse;
        MvccGetByKey m::MVCC_GET_BY_KEY, kvrpcpb::MvccGetByKeyRequest => kvrpcpb::MvccGetByKeyResponse;
        MvccGetByStartTs m::MVCC_GET_BY_START_TS,
            kvrpcpb::MvccGetByStartTsRequest => kvrpcpb::MvccGetByStartTsResponse;
    }
}
