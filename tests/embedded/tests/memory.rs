//! What data costs in memory: a million small keys are to take at most 400 MB.

#![allow(clippy::unwrap_used, reason = "an answer that is none fails the test")]

#[path = "rows/world.rs"]
#[allow(dead_code, reason = "this test asks for little")]
mod world;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tikv_proto::kvrpcpb::*;
use tikv_proto::methods::tikv as m;

use world::{World, bytes};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const KEYS: usize = 20_000;
/// As many bytes may each key take.
const MOST: usize = 400;

fn name(n: usize) -> String {
    format!("key-{n:012}")
}

/// What `fill` leaves allocated, for each of the keys. Allocators add a little to each allocation, so this is counted.
fn cost(mut fill: impl FnMut(&mut World)) -> usize {
    let mut world = World::of(1);
    let region = Region::new(ALLOCATOR);
    fill(&mut world);
    let change = region.change();
    let bytes = change.bytes_allocated as isize - change.bytes_deallocated as isize;
    let alive = change.allocations as isize - change.deallocations as isize;
    drop(world);
    usize::try_from(bytes + 8 * alive).unwrap() / KEYS
}

/// One test, as the counter is of the whole process.
#[test]
fn a_small_key_takes_a_few_hundred_bytes() {
    let raw = cost(|world| {
        for first in (0..KEYS).step_by(500) {
            let pairs = (first..first + 500).map(|n| {
                let value = vec![7; 64].into();
                KvPair { key: bytes(&name(n)), value, ..Default::default() }
            });
            let context = Some(world.context_at(b"k"));
            let put = RawBatchPutRequest { context, pairs: pairs.collect(), ..Default::default() };
            assert_eq!(world.ask::<RawBatchPutResponse>(m::RAW_BATCH_PUT, &put).error, "");
        }
    });
    let value = "v".repeat(64);
    let txn = cost(|world| {
        for first in (0..KEYS).step_by(500) {
            let names: Vec<String> = (first..first + 500).map(name).collect();
            let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
            world.write(10, 20, &pairs);
        }
    });
    assert!((100..MOST).contains(&raw), "a raw key takes {raw} bytes");
    assert!((100..MOST).contains(&txn), "a key of a transaction takes {txn} bytes");
}
