//! The stores' side of the cluster: one key-value engine, and the commands that TiKV runs on it.
//!
//! [`Engine`] is the one door. It takes a decoded request, the store that it was sent to, and the topology; it checks
//! the request against the region, runs it on the data at once, and returns the decoded answer. It reads no clock and
//! holds no locks over time, so a request is one step for whoever drives it.
//!
//! The data of all regions is one logical copy: replicas differ in their role only, which the topology knows.
//!
//! * [`admission`]: may this store serve this request? Region errors, API version.
//! * [`columns`], [`records`], [`key`]: the data: three columns as in TiKV, their records, their keys.
//! * [`raw`], [`raw_range`], [`crc64`]: raw commands.
//! * [`error`], [`answer`]: why a command failed, and how each response message tells it.
//!
//! Spec: `cluster.md` 4 to 9. The judge is recorded behaviour of a real TiKV.

mod admission;
mod answer;
mod columns;
mod crc64;
mod error;
mod key;
mod raw;
mod raw_range;
mod records;

use tikv_proto::kvrpcpb::*;
use tikv_proto::tikvpb::{batch_commands_request::request, batch_commands_response::response};

pub(super) use self::admission::{admit_write, bare, key_not_in_region};
use self::answer::Answer;
use self::columns::Columns;
use super::{Now, Topology};

/// The data of a cluster and the commands on it.
#[derive(Debug, Default)]
pub struct Engine {
    columns: Columns,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was run, or refused, and this is the answer.
    Ready(response::Cmd),
    /// The store does not serve it: gRPC `Unimplemented`.
    Unimplemented,
}

/// A command that no `BatchCommands` frame can carry.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Unary {
    /// Compares the value of a raw key and sets it if it is the expected one.
    RawCompareAndSwap(RawCasRequest),
    /// Asks how long a raw value lives.
    RawGetKeyTtl(RawGetKeyTtlRequest),
    /// Sums up the raw pairs of ranges.
    RawChecksum(RawChecksumRequest),
}

/// The answer to a [`Unary`] command, variant by variant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variants are those of the commands")]
pub enum UnaryAnswer {
    RawCompareAndSwap(RawCasResponse),
    RawGetKeyTtl(RawGetKeyTtlResponse),
    RawChecksum(RawChecksumResponse),
}

/// Where and when a request arrived.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    topology: &'a Topology,
    store: u64,
}

impl Engine {
    /// An engine without data.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a command that `store` received at `now`: one of those that a `BatchCommands` frame can carry, which
    /// came in one or by its own method.
    pub fn handle(&mut self, topology: &Topology, store: u64, _now: Now, command: request::Cmd) -> Outcome {
        use request::Cmd as Ask;
        use response::Cmd as Tell;

        let at = Place { topology, store };
        Outcome::Ready(match command {
            Ask::RawGet(ask) => Tell::RawGet(Answer::of(self.raw_get(at, ask))),
            Ask::RawBatchGet(ask) => Tell::RawBatchGet(Answer::of(self.raw_batch_get(at, ask))),
            Ask::RawPut(ask) => Tell::RawPut(Answer::of(self.raw_put(at, ask))),
            Ask::RawBatchPut(ask) => Tell::RawBatchPut(Answer::of(self.raw_batch_put(at, ask))),
            Ask::RawDelete(ask) => Tell::RawDelete(Answer::of(self.raw_delete(at, ask))),
            Ask::RawBatchDelete(ask) => Tell::RawBatchDelete(Answer::of(self.raw_batch_delete(at, ask))),
            Ask::RawScan(ask) => Tell::RawScan(Answer::of(self.raw_scan(at, ask))),
            Ask::RawBatchScan(ask) => Tell::RawBatchScan(Answer::of(self.raw_batch_scan(at, ask))),
            Ask::RawDeleteRange(ask) => Tell::RawDeleteRange(Answer::of(self.raw_delete_range(at, ask))),
            Ask::RawCoprocessor(_) => Tell::RawCoprocessor(RawCoprocessorResponse {
                error: "Coprocessor plugin is disabled!".to_owned(),
                ..Default::default()
            }),
            _ => return Outcome::Unimplemented,
        })
    }

    /// Runs a command that only has a method of its own.
    pub fn handle_unary(
        &mut self,
        topology: &Topology,
        store: u64,
        _now: Now,
        command: Unary,
    ) -> UnaryAnswer {
        let at = Place { topology, store };
        match command {
            Unary::RawCompareAndSwap(ask) => {
                UnaryAnswer::RawCompareAndSwap(Answer::of(self.raw_cas(at, ask)))
            }
            Unary::RawGetKeyTtl(ask) => UnaryAnswer::RawGetKeyTtl(Answer::of(self.raw_get_key_ttl(at, ask))),
            Unary::RawChecksum(ask) => UnaryAnswer::RawChecksum(Answer::of(self.raw_checksum(at, ask))),
        }
    }
}
