//! What a store says of one request.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use tikv_proto::kvrpcpb as pb;

use super::format::{bytes_text, duration_text};
use super::pool::PoolTaskDetails;

/// Declares details that are sums: the struct, merging, and reading from TiKV's message.
macro_rules! sums {
    (
        $(#[$doc:meta])*
        $name:ident of $message:ident { $($(#[$field_doc:meta])* $field:ident: $type:ident = $wire:ident,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $name {
            /// Adds `other`.
            pub fn merge(&mut self, other: &Self) {
                $(self.$field = self.$field.saturating_add(other.$field);)*
            }

            /// Adds what a store said.
            pub fn merge_message(&mut self, message: &pb::$message) {
                self.merge(&Self { $($field: sums!(@$type message.$wire),)* });
            }
        }
    };
    (@Duration $nanos:expr) => { Duration::from_nanos($nanos) };
    (@u64 $count:expr) => { $count };
}

sums! {
    /// Where the time of a request went in the store.
    TimeDetail of TimeDetailV2 {
        /// Working, nearly all of it on the CPU.
        process: Duration = process_wall_time_ns,
        /// Put aside in favour of others, after it had begun.
        suspend: Duration = process_suspend_wall_time_ns,
        /// Waiting in queues.
        wait: Duration = wait_wall_time_ns,
        /// Reading keys and values; of a get nearly the whole.
        kv_read: Duration = kv_read_wall_time_ns,
        /// From arrival to the begin of the work, in the gRPC layer.
        grpc_process: Duration = kv_grpc_process_time_ns,
        /// From the answer to the begin of its sending.
        grpc_wait: Duration = kv_grpc_wait_time_ns,
        /// From arrival to answer.
        total: Duration = total_rpc_wall_time_ns,
    }
}

impl TimeDetail {
    /// Adds what a store said: the fine form, where it gave it, or else the coarse one.
    ///
    /// client-go: `util/execdetails.go: MergeFromTimeDetail`.
    pub fn merge_messages(&mut self, fine: Option<&pb::TimeDetailV2>, coarse: Option<&pb::TimeDetail>) {
        if let Some(fine) = fine {
            self.merge_message(fine);
        } else if let Some(coarse) = coarse {
            self.merge(&Self {
                wait: Duration::from_millis(coarse.wait_wall_time_ms),
                process: Duration::from_millis(coarse.process_wall_time_ms),
                kv_read: Duration::from_millis(coarse.kv_read_wall_time_ms),
                total: Duration::from_nanos(coarse.total_rpc_wall_time_ns),
                ..Self::default()
            });
        }
    }
}

/// Parts of a text, with a comma between each two.
struct Parts<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    any: bool,
}

impl<'a, 'f> Parts<'a, 'f> {
    fn new(to: &'a mut fmt::Formatter<'f>) -> Self {
        Self { to, any: false }
    }

    fn part(&mut self, name: &str, value: impl Display) -> fmt::Result {
        let comma = if std::mem::replace(&mut self.any, true) { ", " } else { "" };
        write!(self.to, "{comma}{name}: {value}")
    }

    fn time(&mut self, name: &str, value: Duration) -> fmt::Result {
        if value.is_zero() { Ok(()) } else { self.part(name, duration_text(value)) }
    }

    fn count(&mut self, name: &str, value: u64) -> fmt::Result {
        if value == 0 { Ok(()) } else { self.part(name, value) }
    }

    fn bytes(&mut self, name: &str, value: u64) -> fmt::Result {
        if value == 0 { Ok(()) } else { self.part(name, bytes_text(value)) }
    }
}

impl Display for TimeDetail {
    /// Without what is zero; nothing at all when everything is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        f.write_str("time_detail: {")?;
        let mut parts = Parts::new(f);
        parts.time("total_process_time", self.process)?;
        parts.time("total_suspend_time", self.suspend)?;
        parts.time("total_wait_time", self.wait)?;
        parts.time("total_kv_read_wall_time", self.kv_read)?;
        parts.time("tikv_grpc_process_time", self.grpc_process)?;
        parts.time("tikv_grpc_wait_time", self.grpc_wait)?;
        parts.time("tikv_wall_time", self.total)?;
        f.write_char('}')
    }
}

sums! {
    /// What a request made the store look at.
    ScanDetail of ScanDetailV2 {
        /// Versions met, with deleted and superseded ones.
        total_keys: u64 = total_versions,
        /// User keys read, without deleted ones.
        processed_keys: u64 = processed_versions,
        /// Bytes of those keys and values.
        processed_bytes: u64 = processed_versions_size,
        /// Tombstones that RocksDB passed.
        rocksdb_deletes_skipped: u64 = rocksdb_delete_skipped_count,
        /// Internal keys that RocksDB passed.
        rocksdb_keys_skipped: u64 = rocksdb_key_skipped_count,
        /// Blocks found in the cache.
        rocksdb_block_cache_hits: u64 = rocksdb_block_cache_hit_count,
        /// Blocks read from disk.
        rocksdb_blocks_read: u64 = rocksdb_block_read_count,
        /// Bytes of those blocks.
        rocksdb_block_bytes: u64 = rocksdb_block_read_byte,
        /// Time for those blocks.
        rocksdb_block_time: Duration = rocksdb_block_read_nanos,
        /// Until a snapshot was had.
        get_snapshot: Duration = get_snapshot_nanos,
        /// Segments of infrequently accessed data found in the cache.
        ia_cache_hits: u64 = ia_cache_hit_count,
        /// Such segments read from remote storage.
        ia_segments_read: u64 = ia_remote_read_segment_count,
        /// Bytes of those segments.
        ia_segment_bytes: u64 = ia_remote_read_segment_bytes,
        /// Time for those segments.
        ia_segment_time: Duration = ia_remote_read_segment_nanos,
    }
}

impl Display for ScanDetail {
    /// Without what is zero; nothing at all when everything is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        f.write_str("scan_detail: {")?;
        let mut parts = Parts::new(f);
        parts.count("total_process_keys", self.processed_keys)?;
        parts.count("total_process_keys_size", self.processed_bytes)?;
        parts.count("total_keys", self.total_keys)?;
        parts.time("get_snapshot_time", self.get_snapshot)?;
        let ia = InfrequentlyAccessed(self);
        if ia.is_some() {
            parts.part("ia", ia)?;
        }
        parts.part("rocksdb", RocksDb(self))?;
        f.write_char('}')
    }
}

struct InfrequentlyAccessed<'a>(&'a ScanDetail);

impl InfrequentlyAccessed<'_> {
    fn is_some(&self) -> bool {
        let Self(scan) = self;
        scan.ia_cache_hits | scan.ia_segments_read | scan.ia_segment_bytes > 0
            || !scan.ia_segment_time.is_zero()
    }
}

impl Display for InfrequentlyAccessed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        let mut parts = Parts::new(f);
        parts.count("cache_hit_count", self.0.ia_cache_hits)?;
        parts.count("remote_read_segment_count", self.0.ia_segments_read)?;
        parts.bytes("remote_read_segment_bytes", self.0.ia_segment_bytes)?;
        parts.time("remote_read_segment_wait_time", self.0.ia_segment_time)?;
        f.write_char('}')
    }
}

struct RocksDb<'a>(&'a ScanDetail);

impl Display for RocksDb<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        let mut parts = Parts::new(f);
        parts.count("delete_skipped_count", self.0.rocksdb_deletes_skipped)?;
        parts.count("key_skipped_count", self.0.rocksdb_keys_skipped)?;
        parts.part("block", Blocks(self.0))?;
        f.write_char('}')
    }
}

struct Blocks<'a>(&'a ScanDetail);

impl Display for Blocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        let mut parts = Parts::new(f);
        parts.count("cache_hit_count", self.0.rocksdb_block_cache_hits)?;
        parts.count("read_count", self.0.rocksdb_blocks_read)?;
        parts.bytes("read_byte", self.0.rocksdb_block_bytes)?;
        parts.time("read_time", self.0.rocksdb_block_time)?;
        f.write_char('}')
    }
}

sums! {
    /// Where the time of a write went in raft and storage.
    WriteDetail of WriteDetail {
        /// Waiting for the store loop.
        store_batch_wait: Duration = store_batch_wait_nanos,
        /// Waiting for the proposal to be sent.
        propose_send_wait: Duration = propose_send_wait_nanos,
        /// Making the log durable.
        persist_log: Duration = persist_log_nanos,
        /// Of that, waiting for the log's writer.
        raft_db_write_leader_wait: Duration = raft_db_write_leader_wait_nanos,
        /// Of that, syncing.
        raft_db_sync_log: Duration = raft_db_sync_log_nanos,
        /// Of that, writing to memory.
        raft_db_write_memtable: Duration = raft_db_write_memtable_nanos,
        /// Until enough peers had confirmed.
        commit_log: Duration = commit_log_nanos,
        /// Waiting for the apply loop.
        apply_batch_wait: Duration = apply_batch_wait_nanos,
        /// Applying.
        apply_log: Duration = apply_log_nanos,
        /// Of that, waiting for the database's lock.
        apply_mutex_lock: Duration = apply_mutex_lock_nanos,
        /// Of that, waiting for the database's writer.
        apply_write_leader_wait: Duration = apply_write_leader_wait_nanos,
        /// Of that, writing ahead.
        apply_write_wal: Duration = apply_write_wal_nanos,
        /// Of that, writing to memory.
        apply_write_memtable: Duration = apply_write_memtable_nanos,
        /// Waiting for other commands on the same keys.
        scheduler_latch_wait: Duration = latch_wait_nanos,
        /// In the transaction layer.
        scheduler_process: Duration = process_nanos,
        /// Held back because the store has too much to do.
        scheduler_throttle: Duration = throttle_nanos,
        /// Waiting behind pessimistic locks.
        scheduler_pessimistic_lock_wait: Duration = pessimistic_lock_wait_nanos,
    }
}

impl Display for WriteDetail {
    /// Nothing at all when everything is zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        let t = duration_text;
        let (batch, send, commit) = (t(self.store_batch_wait), t(self.propose_send_wait), t(self.commit_log));
        let (persist, leader) = (t(self.persist_log), t(self.raft_db_write_leader_wait));
        let (sync, memtable) = (t(self.raft_db_sync_log), t(self.raft_db_write_memtable));
        write!(
            f,
            "write_detail: {{store_batch_wait: {batch}, propose_send_wait: {send}, persist_log: {{total: {persist}, \
             write_leader_wait: {leader}, sync_log: {sync}, write_memtable: {memtable}}}, commit_log: {commit}"
        )?;
        let (wait, total, lock) = (t(self.apply_batch_wait), t(self.apply_log), t(self.apply_mutex_lock));
        let (leader, wal) = (t(self.apply_write_leader_wait), t(self.apply_write_wal));
        let (memtable, process) = (t(self.apply_write_memtable), t(self.scheduler_process));
        write!(
            f,
            ", apply_batch_wait: {wait}, apply: {{total:{total}, mutex_lock: {lock}, write_leader_wait: {leader}, \
             write_wal: {wal}, write_memtable: {memtable}}}, scheduler: {{process: {process}"
        )?;
        let mut parts = Parts { to: f, any: true };
        parts.time("latch_wait", self.scheduler_latch_wait)?;
        parts.time("pessimistic_lock_wait", self.scheduler_pessimistic_lock_wait)?;
        parts.time("throttle", self.scheduler_throttle)?;
        f.write_str("}}")
    }
}

/// All that a store says of one request.
///
/// client-go: `util/execdetails.go: TiKVExecDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreDetails {
    /// Where the time went.
    pub time: TimeDetail,
    /// What was looked at.
    pub scan: ScanDetail,
    /// Where the time of a write went.
    pub write: WriteDetail,
    /// How its tasks in the read pool ran.
    pub pool: PoolTaskDetails,
}

impl StoreDetails {
    /// Adds `other`.
    pub fn merge(&mut self, other: &Self) {
        self.time.merge(&other.time);
        self.scan.merge(&other.scan);
        self.write.merge(&other.write);
        self.pool.merge(&other.pool);
    }
}

impl From<&pb::ExecDetailsV2> for StoreDetails {
    fn from(message: &pb::ExecDetailsV2) -> Self {
        let mut details = Self::default();
        details.time.merge_messages(message.time_detail_v2.as_ref(), message.time_detail.as_ref());
        if let Some(scan) = &message.scan_detail_v2 {
            details.scan.merge_message(scan);
        }
        if let Some(write) = &message.write_detail {
            details.write.merge_message(write);
        }
        if let Some(pool) = &message.read_pool_task_details {
            details.pool.merge_message(pool);
        }
        details
    }
}

impl Display for StoreDetails {
    /// The parts that are not empty. client-go keeps the comma of an empty part; here it goes with it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.time.to_string(), self.scan.to_string(), self.write.to_string()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join(", "))
    }
}
