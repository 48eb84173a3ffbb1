//! Texts of what a trace holds, for people: messages are decoded.

use std::fmt::Debug;

use prost::Message;
use tikv_proto::kvrpcpb as pb;

use super::format::{Call, Start};
use crate::request::{Command, Typed};

/// The name of an operation; `unknown` of one that this version does not have.
#[must_use]
pub fn operation(start: &Start) -> &'static str {
    super::start::decode(start).map_or("unknown", |start| start.name())
}

/// The command of a call; `None` for one that this version does not have.
#[must_use]
pub const fn command(call: &Call) -> Option<Command> {
    Command::of_batch_tag(call.command)
}

macro_rules! by_command {
    ($command:expr, $body:expr, $of:ident: $($name:ident = $request:ident),* $(,)?) => {
        match $command {
            $(Command::$name => $of::<pb::$request>($body),)*
        }
    };
}

macro_rules! texts {
    ($($name:ident = $request:ident),* $(,)?) => {
        /// The request of a call as `Debug` shows its message.
        #[must_use]
        pub fn request(call: &Call) -> String {
            match command(call) {
                Some(command) => by_command!(command, &call.body, text: $($name = $request),*),
                None => format!("a command of number {}", call.command),
            }
        }

        /// The response to a command as `Debug` shows its message.
        #[must_use]
        pub fn response(command: Command, body: &[u8]) -> String {
            by_command!(command, body, response_text: $($name = $request),*)
        }
    };
}

texts! {
    Get = GetRequest, Scan = ScanRequest, Prewrite = PrewriteRequest, Commit = CommitRequest, BatchGet = BatchGetRequest,
    BatchRollback = BatchRollbackRequest, ScanLock = ScanLockRequest, ResolveLock = ResolveLockRequest,
    RawGet = RawGetRequest, RawBatchGet = RawBatchGetRequest, RawPut = RawPutRequest, RawBatchPut = RawBatchPutRequest,
    RawDelete = RawDeleteRequest, RawBatchDelete = RawBatchDeleteRequest, RawScan = RawScanRequest,
    RawDeleteRange = RawDeleteRangeRequest, PessimisticRollback = PessimisticRollbackRequest,
    CheckTxnStatus = CheckTxnStatusRequest, TxnHeartBeat = TxnHeartBeatRequest,
    CheckSecondaryLocks = CheckSecondaryLocksRequest,
}

fn text<M: Message + Default + Debug>(body: &[u8]) -> String {
    match M::decode(body) {
        Ok(message) => format!("{message:?}"),
        Err(error) => format!("{} bytes that are no message: {error}", body.len()),
    }
}

fn response_text<M: Typed<Response: Debug>>(body: &[u8]) -> String {
    text::<M::Response>(body)
}
