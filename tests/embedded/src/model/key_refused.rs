//! How an error of a key stands in each answer, for fault rules that order one.

use tikv_proto::kvrpcpb::{self, KeyError, KvPair};
use tikv_proto::tikvpb::{batch_commands_request::request, batch_commands_response::response};

use super::command::{Answer, Command};

impl Command {
    /// The command's answer with nothing but this error of a key; `None` for one whose answer has no place for it. Where an
    /// answer has two places for the error of a whole request, it stands in both, as in TiKV.
    #[must_use]
    pub fn key_refused(&self, error: KeyError) -> Option<Answer> {
        use request::Cmd as Ask;
        use response::Cmd as Tell;
        let Self::Batched(asked) = self else { return None };
        let boxed = Some(Box::new(error.clone()));
        let pairs = vec![KvPair { error: boxed.clone(), ..Default::default() }];
        macro_rules! with {
            ($variant:ident $message:ident $($field:ident: $value:expr),*) => {
                Tell::$variant(kvrpcpb::$message { $($field: $value,)* ..Default::default() })
            };
        }
        Some(Answer::Batched(match asked {
            Ask::Get(_) => with!(Get GetResponse error: boxed),
            Ask::BatchGet(_) => with!(BatchGet BatchGetResponse error: boxed, pairs: pairs),
            Ask::Scan(_) => with!(Scan ScanResponse error: boxed, pairs: pairs),
            Ask::BufferBatchGet(_) => with!(BufferBatchGet BufferBatchGetResponse error: boxed),
            Ask::Prewrite(_) => with!(Prewrite PrewriteResponse errors: vec![error]),
            Ask::Flush(_) => with!(Flush FlushResponse errors: vec![error]),
            Ask::PessimisticLock(_) => with!(PessimisticLock PessimisticLockResponse errors: vec![error]),
            Ask::PessimisticRollback(_) => {
                with!(PessimisticRollback PessimisticRollbackResponse errors: vec![error])
            }
            Ask::Commit(_) => with!(Commit CommitResponse error: boxed),
            Ask::BatchRollback(_) => with!(BatchRollback BatchRollbackResponse error: boxed),
            Ask::Cleanup(_) => with!(Cleanup CleanupResponse error: boxed),
            Ask::ResolveLock(_) => with!(ResolveLock ResolveLockResponse error: boxed),
            Ask::ScanLock(_) => with!(ScanLock ScanLockResponse error: boxed),
            Ask::CheckTxnStatus(_) => with!(CheckTxnStatus CheckTxnStatusResponse error: boxed),
            Ask::CheckSecondaryLocks(_) => {
                with!(CheckSecondaryLocks CheckSecondaryLocksResponse error: boxed)
            }
            Ask::TxnHeartBeat(_) => with!(TxnHeartBeat TxnHeartBeatResponse error: boxed),
            _ => return None,
        }))
    }
}
