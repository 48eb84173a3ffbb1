//! What entries become, and how long locks live.

use tikv_proto::kvrpcpb as pb;

use crate::membuf::{Limits, MemBuf};
use crate::region_call::Keyed;
use crate::txn::mutation::{Mutation, lock_ttl_ms};

#[test]
fn the_table_of_mutations() {
    let limits = Limits { key: 100, entry: 100, total: 1000, redacted: false };
    let mut buffer = MemBuf::new(limits);
    buffer.put("a".into(), "1".into()).unwrap();
    buffer.insert("b".into(), "2".into()).unwrap();
    buffer.delete("c".into()).unwrap();
    buffer.insert("d".into(), "4".into()).unwrap();
    buffer.delete("d".into()).unwrap();
    let table: Vec<_> = buffer
        .take()
        .map(|(key, entry)| {
            let mutation = Mutation::new(key, entry);
            let message = mutation.message();
            (message.op(), message.value, mutation.locks(), mutation.bytes())
        })
        .collect();
    let wanted = [
        (pb::Op::Put, "1".into(), true, 2),
        (pb::Op::Insert, "2".into(), true, 2),
        (pb::Op::Del, "".into(), true, 1),
        (pb::Op::CheckNotExists, "".into(), false, 1),
    ];
    assert_eq!(table, wanted);
}

// client-go: TestLockTTL, TestElapsedTTL.
#[test]
fn the_table_of_lives() {
    let rows = [
        (0, 3000),
        (16 << 10, 3000),
        (256 << 10, 3000),
        (1 << 20, 6000),
        (4 << 20, 12_000),
        (12 << 20, 20_000),
        (usize::MAX, 20_000),
    ];
    for (size, ttl_ms) in rows {
        assert_eq!(lock_ttl_ms(size, 0), ttl_ms, "{size} bytes");
        assert_eq!(lock_ttl_ms(size, 500), ttl_ms + 500);
    }
}
