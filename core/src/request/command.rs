//! The table of commands: how each travels, what it answers, and where the fields stand that every command has.

use std::fmt::Debug;

use prost::Message;

use super::table::{Command, ROWS};
use crate::codec::Mode;

/// A message that is a command: its type names its response.
pub trait Typed: Message + Default {
    /// What a store answers to it; of a streamed command, each item.
    type Response: Message + Default;
    /// The command's row in the table.
    const COMMAND: Command;
}

/// What is done with the types of a command's messages.
pub(crate) trait Visitor {
    /// What comes of it.
    type Output;

    /// `Q` is the request's type, `R` the response's.
    fn visit<Q: Message + Default + Debug, R: Message + Default + Debug>(self) -> Self::Output;
}

/// How a command reaches its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Travel {
    /// In a frame of the BatchCommands stream; it has a unary twin, too.
    Batched,
    /// As a unary call.
    Unary,
    /// As a call that is answered by a stream of items.
    Streamed,
}

/// What a command is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Level {
    /// One region: its context names region, epoch and peer.
    Region,
    /// A TiKV store as a whole.
    Store,
    /// A TiFlash store; where regions matter, its message lists them.
    TiFlash,
}

/// Numbers of protobuf fields; 0: the message has no such field.
#[derive(Debug)]
pub(super) struct Fields {
    context: u32,
    start_ts: u32,
    region_error: u32,
    key_error: u32,
    details: u32,
}

impl Fields {
    pub(super) const fn new([context, start_ts, region_error, key_error, details]: [u32; 5]) -> Self {
        Self { context, start_ts, region_error, key_error, details }
    }
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) travel: Travel,
    pub(super) number: u32,
    pub(super) path: &'static str,
    pub(super) level: Level,
    pub(super) writes: bool,
    pub(super) fields: Fields,
}

/// The number of a field, if there is one.
const fn field(number: u32) -> Option<u32> {
    if number == 0 { None } else { Some(number) }
}

impl Command {
    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Its name in metrics and texts.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: CmdType.String`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// How it reaches its store.
    #[must_use]
    pub const fn travel(self) -> Travel {
        self.row().travel
    }

    /// The field of `BatchCommandsRequest.Request` (and of the response) that carries it; `None` when it cannot be batched.
    #[must_use]
    pub const fn batch_tag(self) -> Option<u32> {
        match self.row().travel {
            Travel::Batched => Some(self.row().number),
            Travel::Unary | Travel::Streamed => None,
        }
    }

    /// Its number in traces: the batch tag, where it has one. It never changes.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.row().number
    }

    /// The command of a number.
    #[must_use]
    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|command| command.number() == number)
    }

    /// The path of its unary or streaming method.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.row().path
    }

    /// What it is sent to.
    #[must_use]
    pub const fn level(self) -> Level {
        self.row().level
    }

    /// Whether it may change what is stored: without an answer nobody knows if it did.
    ///
    /// client-go takes `RawBatchDelete`, `RawDeleteRange` and `RawCompareAndSwap` for reads where it counts request units
    /// (`tikvrpc/tikvrpc.go: IsRawWriteRequest`); here they are the writes that they are.
    #[must_use]
    pub const fn writes(self) -> bool {
        self.row().writes
    }

    /// Whether sending it once more leaves the same as sending it once, also when the first was executed and its answer lost.
    #[must_use]
    pub const fn repeats_safely(self) -> bool {
        !matches!(self, Self::RawCompareAndSwap | Self::RawCoprocessor | Self::DispatchMppTask)
    }

    /// Whether a killed operation stops before sending it again. Those that give locks back, and a commit, go on.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: IsInterruptible`.
    #[must_use]
    pub const fn is_interruptible(self) -> bool {
        !matches!(self, Self::PessimisticRollback | Self::BatchRollback | Self::Commit)
    }

    /// Whether its keys are raw ones, which with API v1 PD and region errors have as they are.
    #[must_use]
    pub const fn is_raw(self) -> bool {
        matches!(
            self,
            Self::RawGet
                | Self::RawBatchGet
                | Self::RawPut
                | Self::RawBatchPut
                | Self::RawDelete
                | Self::RawBatchDelete
                | Self::RawScan
                | Self::RawDeleteRange
                | Self::RawBatchScan
                | Self::RawCoprocessor
                | Self::RawGetKeyTtl
                | Self::RawCompareAndSwap
                | Self::RawChecksum
        )
    }

    /// In which form PD, and stores in region errors, have its keys: with API v2 all as they have transactional ones.
    #[must_use]
    pub const fn mode(self, api_v2: bool) -> Mode {
        if self.is_raw() && !api_v2 { Mode::Raw } else { Mode::Txn }
    }

    /// Whether it is a user's read: a read time-out of its own and the choice of a replica are for these.
    ///
    /// client-go: `internal/locate/region_request.go: isReadReq`.
    #[must_use]
    pub const fn is_read(self) -> bool {
        matches!(
            self,
            Self::Get
                | Self::BatchGet
                | Self::Scan
                | Self::Coprocessor
                | Self::CoprocessorStream
                | Self::BatchCoprocessor
        )
    }

    /// Whether it reads at a timestamp that must not lie in PD's future.
    ///
    /// client-go: `internal/locate/region_request.go: validateReadTS`.
    #[must_use]
    pub const fn reads_at_timestamp(self) -> bool {
        self.is_read() || matches!(self, Self::ScanLock | Self::BufferBatchGet)
    }

    /// The field of the request that holds its context.
    #[must_use]
    pub const fn context_field(self) -> Option<u32> {
        field(self.row().fields.context)
    }

    /// The field of the request that holds its transaction's start timestamp, or the timestamp it reads at.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: GetStartTS`.
    #[must_use]
    pub const fn start_ts_field(self) -> Option<u32> {
        field(self.row().fields.start_ts)
    }

    /// The field of the response that holds its region error.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: GetRegionError`.
    #[must_use]
    pub const fn region_error_field(self) -> Option<u32> {
        field(self.row().fields.region_error)
    }

    /// The field of the response that holds its key error, or its key errors.
    #[must_use]
    pub const fn key_error_field(self) -> Option<u32> {
        field(self.row().fields.key_error)
    }

    /// The field of the response that holds an `ExecDetailsV2`.
    ///
    /// client-go: `tikvrpc/tikvrpc.go: GetExecDetailsV2`.
    #[must_use]
    pub const fn details_field(self) -> Option<u32> {
        field(self.row().fields.details)
    }
}
