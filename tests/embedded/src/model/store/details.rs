//! What a read says of its cost, to a client that asks.
//!
//! The times are made up, as nothing takes time here: so much for a request, and so much for each key. What is counted
//! is true, but that a key counts as one version.
//!
//! Spec: `cluster.md` 8.7. TiKV: `src/server/service/kv.rs: set_time_detail`, `Statistics::write_scan_detail`.

use tikv_proto::kvrpcpb::{Context, ExecDetailsV2, ScanDetailV2, TimeDetail, TimeDetailV2};

/// What a request takes, in nanoseconds.
const REQUEST_NS: u64 = 20_000;
/// What a key takes, in nanoseconds.
const KEY_NS: u64 = 500;

/// What a read has gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// Keys that it looked at.
    pub(super) keys: u64,
    /// Pairs that it answers.
    pub(super) pairs: u64,
    /// Their keys and values, in bytes.
    pub(super) bytes: u64,
}

impl Reading {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.pairs += 1;
        self.bytes += u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX);
    }

    /// The details that the client asked for.
    pub(super) fn details(self, context: Option<&Context>) -> Option<Box<ExecDetailsV2>> {
        let context = context?;
        if !context.record_time_stat && !context.record_scan_stat {
            return None;
        }
        let process_ns = REQUEST_NS + KEY_NS * self.keys;
        let time = TimeDetailV2 {
            process_wall_time_ns: process_ns,
            kv_read_wall_time_ns: process_ns,
            total_rpc_wall_time_ns: process_ns,
            ..Default::default()
        };
        let coarse = TimeDetail { total_rpc_wall_time_ns: process_ns, ..Default::default() };
        let scan = ScanDetailV2 {
            processed_versions: self.pairs,
            processed_versions_size: self.bytes,
            total_versions: self.keys,
            rocksdb_block_read_byte: self.bytes,
            ..Default::default()
        };
        Some(Box::new(ExecDetailsV2 {
            time_detail: Some(coarse),
            time_detail_v2: Some(time),
            scan_detail_v2: Some(scan),
            ..Default::default()
        }))
    }
}
