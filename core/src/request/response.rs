//! Looking into a response without decoding it.

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};
use tikv_proto::errorpb;

/// The field of every response in the command table that holds its region error.
const REGION_ERROR: u32 = 1;

/// The region error of an encoded response, if it has one. Values are passed over, not copied.
///
/// # Errors
/// The bytes are no protobuf message.
pub fn region_error(response: &Bytes) -> Result<Option<errorpb::Error>, DecodeError> {
    let mut rest: &[u8] = response;
    let mut found: Option<errorpb::Error> = None;
    while rest.has_remaining() {
        let (field, wire_type) = decode_key(&mut rest)?;
        if field != REGION_ERROR || wire_type != WireType::LengthDelimited {
            skip_field(wire_type, field, &mut rest, DecodeContext::default())?;
            continue;
        }
        let len = length(&mut rest)?;
        let at = response.len() - rest.len();
        let error = found.get_or_insert_default();
        error.merge(response.slice(at..at + len))?;
        rest.advance(len);
    }
    Ok(found)
}

/// The length of a length-delimited field, checked against what is there.
pub(crate) fn length(rest: &mut &[u8]) -> Result<usize, DecodeError> {
    let len = decode_varint(rest)?;
    match usize::try_from(len) {
        Ok(len) if len <= rest.len() => Ok(len),
        // prost gives its own errors no constructor: let it find the same fault.
        _ => Err(truncated()),
    }
}

/// The error prost reports for a message that ends too soon.
#[expect(clippy::unwrap_used, reason = "a length without its bytes is always an error")]
fn truncated() -> DecodeError {
    errorpb::Error::decode(&[0x0a, 0x01][..]).unwrap_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tikv_proto::kvrpcpb as pb;

    #[test]
    fn a_response_without_region_error_has_none() {
        let response = pb::RawGetResponse { value: vec![1; 300].into(), ..Default::default() };
        assert_eq!(region_error(&response.encode_to_vec().into()), Ok(None));
    }

    #[test]
    fn a_region_error_behind_other_fields_is_found() {
        let error = errorpb::Error { message: "gone".into(), ..Default::default() };
        let mut wire = pb::RawGetResponse { value: "v".into(), ..Default::default() }.encode_to_vec();
        let refused =
            pb::RawGetResponse { region_error: Some(Box::new(error.clone())), ..Default::default() };
        wire.extend(refused.encode_to_vec());
        assert_eq!(region_error(&wire.into()), Ok(Some(error)));
    }

    proptest! {
        #[test]
        fn hostile_bytes_give_an_error_or_what_prost_reads(wire in proptest::collection::vec(any::<u8>(), 0..64)) {
            let ours = region_error(&wire.clone().into());
            if let Ok(whole) = pb::RawGetResponse::decode(wire.as_slice()) {
                prop_assert_eq!(ours, Ok(whole.region_error.map(|error| *error)));
            }
        }
    }
}
