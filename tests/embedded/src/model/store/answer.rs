//! How a failure looks in each response message.
//!
//! The messages carry an error of the region in one field and all other errors in another one, whose form differs: a
//! `KeyError`, a list of them, a text, or a `KeyError` that is also put into the list of pairs.

use tikv_proto::errorpb;
use tikv_proto::kvrpcpb::*;

use super::error::TxnError;

/// Why a command has no result.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// The request is at the wrong place, or came too early.
    Region(Box<errorpb::Error>),
    /// The command itself failed.
    Command(TxnError),
}

impl From<Box<errorpb::Error>> for Failure {
    fn from(error: Box<errorpb::Error>) -> Self {
        Self::Region(error)
    }
}

impl From<TxnError> for Failure {
    fn from(error: TxnError) -> Self {
        Self::Command(error)
    }
}

/// A response that can tell a failure.
pub(super) trait Answer: Default {
    fn set_region_error(&mut self, error: errorpb::Error);
    fn set_error(&mut self, error: TxnError);

    /// The result, or the response that tells why there is none.
    fn of(result: Result<Self, Failure>) -> Self {
        result.unwrap_or_else(|failure| {
            let mut told = Self::default();
            match failure {
                Failure::Region(error) => told.set_region_error(*error),
                Failure::Command(error) => told.set_error(error),
            }
            told
        })
    }
}

/// A pair that stands for a key which could not be read.
pub(super) fn failed_pair(error: TxnError) -> KvPair {
    KvPair { error: Some(Box::new(error.into_key_error())), ..Default::default() }
}

macro_rules! answers {
    ($($response:ty => |$told:ident, $error:ident| $set:expr;)*) => {$(
        impl Answer for $response {
            fn set_region_error(&mut self, error: errorpb::Error) {
                self.region_error = Some(Box::new(error));
            }

            fn set_error(&mut self, error: TxnError) {
                let ($told, $error) = (self, error);
                $set;
            }
        }
    )*};
}

answers! {
    RawGetResponse => |told, error| told.error = error.to_string();
    RawBatchGetResponse => |told, error| told.pairs = vec![failed_pair(error)];
    RawPutResponse => |told, error| told.error = error.to_string();
    RawBatchPutResponse => |told, error| told.error = error.to_string();
    RawDeleteResponse => |told, error| told.error = error.to_string();
    RawBatchDeleteResponse => |told, error| told.error = error.to_string();
    RawDeleteRangeResponse => |told, error| told.error = error.to_string();
    RawScanResponse => |told, error| told.kvs = vec![failed_pair(error)];
    RawBatchScanResponse => |told, error| told.kvs = vec![failed_pair(error)];
    RawGetKeyTtlResponse => |told, error| told.error = error.to_string();
    RawCasResponse => |told, error| told.error = error.to_string();
    RawChecksumResponse => |told, error| told.error = error.to_string();
    GetResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    BatchGetResponse => |told, error| {
        told.error = Some(Box::new(error.clone().into_key_error()));
        told.pairs = vec![failed_pair(error)];
    };
    ScanResponse => |told, error| {
        told.error = Some(Box::new(error.clone().into_key_error()));
        told.pairs = vec![failed_pair(error)];
    };
    PessimisticLockResponse => |told, error| told.errors = vec![error.into_key_error()];
    PessimisticRollbackResponse => |told, error| told.errors = vec![error.into_key_error()];
    FlushResponse => |told, error| told.errors = vec![error.into_key_error()];
    BufferBatchGetResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    PrewriteResponse => |told, error| told.errors = vec![error.into_key_error()];
    CommitResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    BatchRollbackResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    CleanupResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    CheckTxnStatusResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    TxnHeartBeatResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    CheckSecondaryLocksResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    ResolveLockResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    ScanLockResponse => |told, error| told.error = Some(Box::new(error.into_key_error()));
    PrepareFlashbackToVersionResponse => |told, error| told.error = error.to_string();
    FlashbackToVersionResponse => |told, error| told.error = error.to_string();
    DeleteRangeResponse => |told, error| told.error = error.to_string();
    UnsafeDestroyRangeResponse => |told, error| told.error = error.to_string();
    MvccGetByKeyResponse => |told, error| told.error = error.to_string();
    MvccGetByStartTsResponse => |told, error| told.error = error.to_string();
}
