//! Request units: what calls cost by the account of resource control.

use std::fmt::{self, Display};
use std::time::Duration;

use tikv_proto::kvrpcpb::{ExecutorInputs, Ruv2};
use tikv_proto::resource_manager::Consumption;

use super::format::exact;

/// Request units of calls.
///
/// client-go: `util/execdetails.go: RUDetails`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RuDetails {
    /// Units of reads.
    pub read: f64,
    /// Units of writes.
    pub write: f64,
    /// Waiting for units.
    pub wait: Duration,
    /// Of the units, those of TiFlash.
    pub tiflash: f64,
    /// Units of version 2, of TiKV.
    pub tikv_v2: f64,
    /// What units of version 2 are reckoned from, since it was taken last.
    counters: Option<Box<Ruv2>>,
}

impl RuDetails {
    /// Adds what was consumed, and what was waited for it.
    ///
    /// client-go: `util/execdetails.go: RUDetails.Update`.
    pub fn add(&mut self, consumption: &Consumption, wait: Duration) {
        self.read += consumption.r_r_u;
        self.write += consumption.w_r_u;
        self.wait += wait;
    }

    /// Adds what TiFlash consumed.
    ///
    /// client-go: `util/execdetails.go: RUDetails.UpdateTiFlash`.
    pub fn add_tiflash(&mut self, consumption: &Consumption) {
        self.add(consumption, Duration::ZERO);
        self.tiflash += consumption.r_r_u + consumption.w_r_u;
    }

    /// Adds counters of units of version 2.
    ///
    /// client-go: `util/execdetails.go: RUDetails.AddRUV2`.
    pub fn add_counters(&mut self, counters: &Ruv2) {
        match &mut self.counters {
            Some(sum) => merge(sum, counters),
            None => self.counters = Some(Box::new(*counters)),
        }
    }

    /// The counters of units of version 2, which begin anew; `None` when none came since they were taken last.
    ///
    /// client-go: `util/execdetails.go: RUDetails.DrainRUV2`.
    pub fn take_counters(&mut self) -> Option<Ruv2> {
        self.counters.take().map(|counters| *counters)
    }

    /// Adds `other`.
    pub fn merge(&mut self, other: &Self) {
        self.read += other.read;
        self.write += other.write;
        self.wait += other.wait;
        self.tiflash += other.tiflash;
        self.tikv_v2 += other.tikv_v2;
        if let Some(counters) = &other.counters {
            self.add_counters(counters);
        }
    }
}

fn merge(sum: &mut Ruv2, other: &Ruv2) {
    sum.kv_engine_cache_miss += other.kv_engine_cache_miss;
    sum.coprocessor_executor_iterations += other.coprocessor_executor_iterations;
    sum.coprocessor_response_bytes += other.coprocessor_response_bytes;
    sum.raftstore_store_write_trigger_wb_bytes += other.raftstore_store_write_trigger_wb_bytes;
    sum.storage_processed_keys_batch_get += other.storage_processed_keys_batch_get;
    sum.storage_processed_keys_get += other.storage_processed_keys_get;
    sum.read_rpc_count += other.read_rpc_count;
    sum.write_rpc_count += other.write_rpc_count;
    let Some(other) = &other.executor_inputs else { return };
    let sum = sum.executor_inputs.get_or_insert_default();
    let pairs = inputs(sum).into_iter().zip(inputs(&mut { *other }).map(|input| *input));
    for (sum, input) in pairs {
        *sum += input;
    }
}

fn inputs(of: &mut ExecutorInputs) -> [&mut u64; 7] {
    [
        &mut of.tikv_coprocessor_executor_work_total_batch_index_scan,
        &mut of.tikv_coprocessor_executor_work_total_batch_table_scan,
        &mut of.tikv_coprocessor_executor_work_total_batch_selection,
        &mut of.tikv_coprocessor_executor_work_total_batch_top_n,
        &mut of.tikv_coprocessor_executor_work_total_batch_limit,
        &mut of.tikv_coprocessor_executor_work_total_batch_simple_aggr,
        &mut of.tikv_coprocessor_executor_work_total_batch_fast_hash_aggr,
    ]
}

impl Display for RuDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = exact(self.wait.as_nanos());
        write!(f, "RRU:{:.6}, WRU:{:.6}, WaitDuration:{wait}", self.read, self.write)
    }
}
