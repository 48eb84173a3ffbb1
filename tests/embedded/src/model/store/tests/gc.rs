//! Garbage collection.

use proptest::prelude::*;

use super::*;

fn collect(bench: &mut Bench, safe_point: u64) {
    bench.engine.collect_garbage(&Bytes::new(), &Bytes::new(), safe_point);
}

#[test]
fn of_what_is_older_than_the_safe_point_only_the_newest_value_stays() {
    let mut bench = Bench::new();
    let long = "x".repeat(300);
    bench.write(10, 11, &[put("k", &long)]);
    bench.write(20, 21, &[put("k", "two")]);
    bench.write(30, 31, &[op(Op::Lock, "k")]);
    bench.roll_back(&["k"], 40);
    bench.write(60, 61, &[put("k", "new")]);
    collect(&mut bench, 50);
    assert_eq!(bench.stored("k"), "Put@60-61, Put@20-21");
    let open = Bytes::new();
    let default = super::super::columns::Column::Default;
    assert_eq!(bench.engine.columns.raw_rows(default, &open, &open, 0).count(), 0, "the long value is gone");
    bench.write(70, 71, &[op(Op::Del, "k")]);
    collect(&mut bench, 71);
    assert_eq!(bench.stored("k"), "");
}

#[test]
fn locks_and_other_keys_are_left() {
    let mut bench = Bench::new();
    bench.write(10, 11, &[put("a", "1"), put("b", "1")]);
    bench.lock(20, &[put("a", "2")]);
    collect(&mut bench, 30);
    assert_eq!((bench.stored("a"), bench.stored("b")), ("lock Put@20, Put@10-11".into(), "Put@10-11".into()));
}

proptest! {
    /// Reads at the safe point or above it give what they gave before.
    #[test]
    fn reads_from_the_safe_point_on_see_no_difference(
        writes in prop::collection::vec((0..3_usize, prop::option::of(0..9_u8)), 1..30),
        safe_point in 0..340_u64,
    ) {
        let mut bench = Bench::new();
        let keys = ["a", "b", "c"];
        for (nth, (key, value)) in writes.iter().enumerate() {
            let start_ts = 10 * (u64::try_from(nth).unwrap() + 1);
            let mutation = match value {
                Some(value) => put(keys[*key], &format!("{value}")),
                None => op(Op::Del, keys[*key]),
            };
            bench.write(start_ts, start_ts + 5, &[mutation]);
        }
        let read = |bench: &mut Bench| -> Vec<_> {
            let at: Vec<u64> = (safe_point..340).step_by(3).collect();
            keys.iter().flat_map(|key| at.iter().map(move |ts| (*key, *ts))).map(|(key, ts)| bench.value(key, ts)).collect()
        };
        let before = read(&mut bench);
        collect(&mut bench, safe_point);
        prop_assert_eq!(read(&mut bench), before);
    }
}
