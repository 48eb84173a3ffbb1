//! The file, and bytes that are none.

use proptest::prelude::*;
use prost::Message;

use super::super::format::Record;
use super::super::{Records, TraceError, VERSION, file, redact, replay};
use super::{identical, recorded, with_values};

#[test]
fn what_is_no_trace_is_refused() {
    for bytes in
        [&b""[..], b"tikv", b"tikvtrac", b"tikvtrac\x01\0\0", b"PK\x03\x04........", b"tikvtrac\0\0\0\0"]
    {
        assert_eq!(replay(bytes), Err(TraceError::NotATrace), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_newer_version_is_refused_by_its_number() {
    let mut trace = recorded(1, 1, with_values);
    trace[8] = 7;
    let error = replay(&trace).unwrap_err();
    assert_eq!(error, TraceError::Newer { found: 7, known: VERSION });
    assert!(error.to_string().contains("has version 7"), "{error}");
}

#[test]
fn a_trace_that_is_cut_off_says_where_and_what_is_before_still_replays() {
    let trace = recorded(1, 2, with_values);
    let torn = &trace[..trace.len() - 1];
    let error = Records::new(torn).unwrap().find_map(Result::err).unwrap();
    assert!(matches!(error, TraceError::Truncated { at } if at > 12 && at < trace.len()), "{error}");
    let (whole, report) = (replay(&trace).unwrap(), replay(torn).unwrap());
    assert!(report.is_identical() && report.truncated && !report.is_whole(), "{report}");
    assert!(report.to_string().ends_with("the last record is cut off"), "{report}");
    assert!(whole.is_whole() && report.steps + 1 >= whole.steps, "{report}");
    // Hiding keys leaves the torn record out.
    let hidden = replay(&redact(torn).unwrap()).unwrap();
    assert_eq!((hidden.truncated, hidden.steps, hidden.different), (false, report.steps, 0));
}

#[test]
fn fields_and_records_that_are_not_known_are_passed_over() {
    let old = recorded(2, 3, with_values);
    let mut new = file::head();
    for record in Records::new(&old).unwrap() {
        let mut bytes = record.unwrap().encode_to_vec();
        prost::encoding::string::encode(999, &"from a newer client".to_owned(), &mut bytes);
        prost::encoding::encode_varint(bytes.len() as u64, &mut new);
        new.extend(bytes);
        let mut unknown = Vec::new();
        prost::encoding::uint64::encode(77, &5, &mut unknown);
        assert_eq!(Record::decode(&unknown[..]).unwrap().entry, None);
        prost::encoding::encode_varint(unknown.len() as u64, &mut new);
        new.extend(unknown);
    }
    identical(&new, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn hostile_bytes_are_an_error_or_a_report_and_never_a_panic(
        seed in 0..50_u64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut: prop::sample::Index,
    ) {
        let mut trace = recorded(seed, 4, with_values);
        for (at, byte) in &flips {
            // Mostly behind the head.
            let at = 12 + at.index(trace.len() - 12);
            trace[at] = *byte;
        }
        let whole = replay(&trace);
        prop_assert_eq!(&whole, &replay(&trace), "a replay is a function of its trace");
        drop(redact(&trace));
        drop(replay(&trace[..cut.index(trace.len())]));
    }

    #[test]
    fn any_bytes_behind_a_head_are_an_error_or_a_report(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut trace = file::head();
        trace.extend(bytes);
        drop(replay(&trace));
        drop(redact(&trace));
    }
}
