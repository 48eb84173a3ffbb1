//! Frames of the BatchCommands stream, encoded and taken apart by hand.
//!
//! A frame of n requests is one buffer: each request's bytes are copied once into it, its context appended. A response's
//! body is a slice of the received frame: no copy, and decoded by the operation that waits for it, on its own core.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint,
    key_len, skip_field,
};
use prost::{DecodeError, Message};

use crate::machine::Attempt;
use crate::request::response::length;
use crate::request::{Profile, Request, append_client_context, context_len};
use tikv_proto::kvrpcpb::HealthFeedback;

/// Fields of `BatchCommandsRequest` and `BatchCommandsResponse`.
mod field {
    /// `requests`, `responses`.
    pub(super) const MESSAGES: u32 = 1;
    /// `request_ids`.
    pub(super) const IDS: u32 = 2;
    /// `BatchCommandsResponse.transport_layer_load`.
    pub(super) const LOAD: u32 = 3;
    /// `BatchCommandsResponse.health_feedback`.
    pub(super) const HEALTH: u32 = 4;
}

/// A frame being filled with requests.
#[derive(Debug, Default)]
pub struct FrameWriter {
    buffer: BytesMut,
    ids: Vec<u64>,
    /// What every request has in its context.
    client: Profile,
}

impl FrameWriter {
    /// Adds `client` to the context of every request.
    pub(super) fn of_client(client: Profile) -> Self {
        Self { client, ..Self::default() }
    }

    /// How many requests are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many bytes its requests have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Adds a request under an id.
    pub fn push(&mut self, id: u64, request: &Request, attempt: &Attempt) {
        let context = context_len(&self.client, request.profile(), attempt);
        let message = request.body().len() + context;
        let tag = request.command().number();
        let outer = key_len(tag) + encoded_len_varint(message as u64) + message;
        self.buffer.reserve(outer + 12);
        encode_key(field::MESSAGES, WireType::LengthDelimited, &mut self.buffer);
        encode_varint(outer as u64, &mut self.buffer);
        encode_key(tag, WireType::LengthDelimited, &mut self.buffer);
        encode_varint(message as u64, &mut self.buffer);
        self.buffer.put_slice(request.body());
        append_client_context(&self.client, request.profile(), attempt, &mut self.buffer);
        self.ids.push(id);
    }

    /// The frame; the writer is empty again.
    pub fn finish(&mut self) -> Bytes {
        put_ids(&self.ids, &mut self.buffer);
        self.ids.clear();
        self.buffer.split().freeze()
    }
}

fn put_ids(ids: &[u64], buffer: &mut BytesMut) {
    let len: usize = ids.iter().map(|&id| encoded_len_varint(id)).sum();
    buffer.reserve(len + 12);
    encode_key(field::IDS, WireType::LengthDelimited, buffer);
    encode_varint(len as u64, buffer);
    for &id in ids {
        encode_varint(id, buffer);
    }
}

/// One response of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "what the frame has for each response")]
pub struct FrameResponse {
    /// The request it answers.
    pub id: u64,
    /// The oneof's field: which command it answers; 0 when the response is empty.
    pub tag: u32,
    /// The encoded response, a slice of the frame.
    pub body: Bytes,
}

/// Takes frames apart; keeps its storage between frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    responses: Vec<FrameResponse>,
    ids: Vec<u64>,
    load: u64,
    health: Option<HealthFeedback>,
}

impl FrameReader {
    /// The responses of a frame, each with its id.
    ///
    /// # Errors
    /// The bytes are no BatchCommandsResponse, or ids and responses are not of one number.
    pub fn read(&mut self, frame: &Bytes) -> Result<std::vec::Drain<'_, FrameResponse>, FrameError> {
        self.responses.clear();
        self.ids.clear();
        (self.load, self.health) = (0, None);
        let mut rest: &[u8] = frame;
        while rest.has_remaining() {
            let (field, wire_type) = decode_key(&mut rest)?;
            match (field, wire_type) {
                (field::MESSAGES, WireType::LengthDelimited) => {
                    let len = length(&mut rest)?;
                    let at = frame.len() - rest.len();
                    let (tag, body) = message(&frame.slice(at..at + len))?;
                    rest.advance(len);
                    self.responses.push(FrameResponse { id: 0, tag, body });
                }
                (field::IDS, WireType::LengthDelimited) => {
                    let len = length(&mut rest)?;
                    let (mut packed, behind) = rest.split_at(len);
                    while packed.has_remaining() {
                        self.ids.push(decode_varint(&mut packed)?);
                    }
                    rest = behind;
                }
                (field::IDS, WireType::Varint) => self.ids.push(decode_varint(&mut rest)?),
                (field::LOAD, WireType::Varint) => self.load = decode_varint(&mut rest)?,
                (field::HEALTH, WireType::LengthDelimited) => {
                    let len = length(&mut rest)?;
                    let (health, behind) = rest.split_at(len);
                    self.health = Some(HealthFeedback::decode(health)?);
                    rest = behind;
                }
                _ => skip_field(wire_type, field, &mut rest, DecodeContext::default())?,
            }
        }
        if self.ids.len() != self.responses.len() {
            return Err(FrameError::Uneven);
        }
        for (response, &id) in self.responses.iter_mut().zip(&self.ids) {
            response.id = id;
        }
        Ok(self.responses.drain(..))
    }

    /// How busy the store's connections are, percent of a core, as the last frame said; 0: it said nothing, and is not busy.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.load
    }

    /// A store, and how slow it is (1 to 100), if the last frame said so.
    #[must_use]
    pub fn health(&self) -> Option<(u64, u32)> {
        let health = self.health.as_ref()?;
        Some((health.store_id, u32::try_from(health.slow_score).unwrap_or(0)))
    }
}

/// The oneof of one response: its field and body.
fn message(response: &Bytes) -> Result<(u32, Bytes), DecodeError> {
    let mut rest: &[u8] = response;
    let mut last = (0, Bytes::new());
    while rest.has_remaining() {
        let (field, wire_type) = decode_key(&mut rest)?;
        if wire_type == WireType::LengthDelimited {
            let len = length(&mut rest)?;
            let at = response.len() - rest.len();
            last = (field, response.slice(at..at + len));
            rest.advance(len);
        } else {
            skip_field(wire_type, field, &mut rest, DecodeContext::default())?;
        }
    }
    Ok(last)
}

/// A frame that cannot be taken apart.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes are no protobuf message.
    #[error("no protobuf message: {0}")]
    Decode(#[from] DecodeError),
    /// The frame has more responses than ids or more ids than responses.
    #[error("a frame's responses and ids are not of one number")]
    Uneven,
}
