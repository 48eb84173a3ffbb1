//! Looking into a response without decoding it.

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};
use tikv_proto::{errorpb, kvrpcpb};

use super::Command;

/// The region error of an encoded response to `command`, if it has one. Values are passed over, not copied.
///
/// # Errors
/// The bytes are no protobuf message.
pub fn region_error(command: Command, response: &Bytes) -> Result<Option<errorpb::Error>, DecodeError> {
    message(command.region_error_field(), response)
}

/// The execution details of an encoded response to `command`, if it has them.
///
/// # Errors
/// The bytes are no protobuf message.
///
/// client-go: `tikvrpc/tikvrpc.go: GetExecDetailsV2`.
pub fn exec_details(
    command: Command,
    response: &Bytes,
) -> Result<Option<kvrpcpb::ExecDetailsV2>, DecodeError> {
    if command.details_field().is_none() { Ok(None) } else { message(command.details_field(), response) }
}

/// The message in the field `wanted` of an encoded message. All of the message is looked at, so that bytes which are none are
/// found out.
fn message<M: Message + Default>(wanted: Option<u32>, whole: &Bytes) -> Result<Option<M>, DecodeError> {
    let mut rest: &[u8] = whole;
    let mut found: Option<M> = None;
    while rest.has_remaining() {
        let (field, wire_type) = decode_key(&mut rest)?;
        if Some(field) != wanted || wire_type != WireType::LengthDelimited {
            skip_field(wire_type, field, &mut rest, DecodeContext::default())?;
            continue;
        }
        let len = length(&mut rest)?;
        let at = whole.len() - rest.len();
        found.get_or_insert_default().merge(whole.slice(at..at + len))?;
        rest.advance(len);
    }
    Ok(found)
}

/// The number in the field `wanted` of an encoded message; 0 when it is not set, or the bytes are no message.
pub(super) fn number(wanted: Option<u32>, mut rest: &[u8]) -> u64 {
    let mut found = 0;
    while rest.has_remaining() {
        let Ok((field, wire_type)) = decode_key(&mut rest) else { return 0 };
        if Some(field) == wanted && wire_type == WireType::Varint {
            let Ok(value) = decode_varint(&mut rest) else { return 0 };
            found = value;
        } else if skip_field(wire_type, field, &mut rest, DecodeContext::default()).is_err() {
            return 0;
        }
    }
    found
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
        assert_eq!(region_error(Command::RawGet, &response.encode_to_vec().into()), Ok(None));
    }

    #[test]
    fn a_region_error_behind_other_fields_is_found() {
        let error = errorpb::Error { message: "gone".into(), ..Default::default() };
        let mut wire = pb::RawGetResponse { value: "v".into(), ..Default::default() }.encode_to_vec();
        let refused =
            pb::RawGetResponse { region_error: Some(Box::new(error.clone())), ..Default::default() };
        wire.extend(refused.encode_to_vec());
        assert_eq!(region_error(Command::RawGet, &wire.into()), Ok(Some(error)));
    }

    proptest! {
        #[test]
        fn hostile_bytes_give_an_error_or_what_prost_reads(wire in proptest::collection::vec(any::<u8>(), 0..64)) {
            let ours = region_error(Command::RawGet, &wire.clone().into());
            if let Ok(whole) = pb::RawGetResponse::decode(wire.as_slice()) {
                prop_assert_eq!(ours, Ok(whole.region_error.map(|error| *error)));
            }
        }
    }
}
