//! What PD grants: the last of a row of timestamps.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::error::ServiceError;
use crate::machine::Address;
use crate::pd::wire::check_header;
use crate::types::{ClusterId, Timestamp};
use tikv_proto::pdpb;

/// Logical parts of one millisecond. TiKV: `components/txn_types/src/timestamp.rs: TSO_PHYSICAL_SHIFT_BITS`.
const LOGICALS: u64 = 1 << 18;

/// The first millisecond that does not fit above the logical part.
const PHYSICALS: u64 = 1 << 46;

/// A row of timestamps that are ours alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Grant {
    /// The timestamp of number `index`, from 0 on, of the row.
    pub(super) fn at(self, index: usize) -> Option<Timestamp> {
        let at = self.first.0.checked_add(u64::try_from(index).ok()?)?;
        (at <= self.last.0).then_some(Timestamp(at))
    }
}

/// Reads PD's answer to a request for `count` timestamps.
///
/// The row ends with the timestamp of the answer and lies within one millisecond.
///
/// # Errors
/// What is wrong with the answer; the stream that brought it is not to be used any more.
///
/// pd: `client/clients/tso/stream.go: processRequests`, where the header is not looked at.
pub(super) fn read(
    body: Bytes,
    count: u32,
    from: &Address,
    cluster: ClusterId,
) -> Result<Grant, ServiceError> {
    let corrupt = |detail: String| ServiceError::Corrupt { address: Arc::clone(from), detail: detail.into() };
    let answer = pdpb::TsoResponse::decode(body).map_err(|error| corrupt(error.to_string()))?;
    check_header(answer.header.as_ref(), from, Some(cluster)).map_err(|failure| failure.into_error())?;
    if answer.count != count {
        return Err(corrupt(format!("asked for {count} timestamps, granted {}", answer.count)));
    }
    let last = answer.timestamp.unwrap_or_default();
    let row = || -> Option<Grant> {
        let physical = u64::try_from(last.physical).ok().filter(|ms| (1..PHYSICALS).contains(ms))?;
        let logical = u64::try_from(last.logical).ok().filter(|logical| *logical < LOGICALS)?;
        let first = logical.checked_sub(u64::from(count.checked_sub(1)?))?;
        // With suffix bits the row has gaps, which belong to others.
        (last.suffix_bits == 0).then(|| Grant {
            first: Timestamp::compose(physical, first),
            last: Timestamp::compose(physical, logical),
        })
    };
    row().ok_or_else(|| {
        corrupt(format!(
            "{count} timestamps that end at physical {}, logical {}, with {} suffix bits",
            last.physical, last.logical, last.suffix_bits
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(count: u32, physical: i64, logical: i64, suffix_bits: u32) -> pdpb::TsoResponse {
        let timestamp = Some(pdpb::Timestamp { physical, logical, suffix_bits });
        pdpb::TsoResponse { header: crate::pd::tests::header(), count, timestamp }
    }

    fn of(answer: &pdpb::TsoResponse, count: u32) -> Result<Grant, String> {
        let body = answer.encode_to_vec().into();
        read(body, count, &"pd:1".into(), ClusterId(7)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_row_ends_with_the_timestamp_of_the_answer() {
        let grant = of(&answer(3, 5, 12, 0), 3).unwrap();
        let row: Vec<_> = (0..4).map_while(|index| grant.at(index)).collect();
        assert_eq!(row, [10, 11, 12].map(|logical| Timestamp::compose(5, logical)));
        assert_eq!(of(&answer(1, 5, 0, 0), 1).unwrap().last, Timestamp::compose(5, 0));
    }

    #[test]
    fn what_is_no_row_of_ours_is_refused_with_the_reason() {
        let error = pdpb::TsoResponse {
            header: crate::pd::tests::error_header(pdpb::ErrorType::Unknown, "boom"),
            ..answer(1, 5, 9, 0)
        };
        let other = pdpb::TsoResponse {
            header: Some(pdpb::ResponseHeader { cluster_id: 8, error: None }),
            ..answer(1, 5, 9, 0)
        };
        let table = [
            (answer(2, 5, 9, 0), 3),
            (answer(3, 5, 1, 0), 3),
            (answer(0, 5, 1, 0), 0),
            (answer(1, 5, 1 << 18, 0), 1),
            (answer(1, 5, -1, 0), 1),
            (answer(1, -1, 1, 0), 1),
            (answer(1, 1 << 46, 1, 0), 1),
            (answer(1, 5, 9, 2), 1),
            (pdpb::TsoResponse { timestamp: None, ..answer(1, 0, 0, 0) }, 1),
            (error, 1),
            (other, 1),
        ];
        let texts: Vec<String> =
            table.iter().map(|(answer, count)| of(answer, *count).unwrap_err()).collect();
        insta::assert_snapshot!(texts.join("\n"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_a_row_of_just_that_length(
            count in 1..9_u32, bytes: Vec<u8>, at in 0..60_usize, byte: u8,
        ) {
            let mut changed = answer(count, 5, 12, 0).encode_to_vec();
            let at = at % changed.len();
            changed[at] = byte;
            for bytes in [bytes, changed] {
                if let Ok(grant) = read(bytes.into(), count, &"pd:1".into(), ClusterId(7)) {
                    prop_assert_eq!(grant.last.0 - grant.first.0 + 1, u64::from(count));
                    prop_assert_eq!(grant.last.physical_ms(), grant.first.physical_ms());
                }
            }
        }
    }
}
