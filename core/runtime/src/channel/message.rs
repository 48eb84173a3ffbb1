//! Messages in HTTP/2's DATA: five bytes of head (compressed or not, length), then the message.
//!
//! Neither direction copies a message that the transport has in one piece.
//!
//! gRPC: `doc/PROTOCOL-HTTP2.md`, Length-Prefixed-Message.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use tikv_client_core::client::Compression;

use super::gzip;

/// Bytes before a message.
const HEAD: usize = 5;

/// Bytes that HTTP/2's flow control can count for one piece of data.
const PIECE: usize = (1 << 31) - 1;

/// The longest message that HTTP/2 can carry in one piece of ours.
pub(super) const LONGEST: usize = PIECE - HEAD;

/// Bytes set aside for a message that comes in pieces before its bytes have come: its length is only the peer's word.
const AHEAD: usize = 4 << 20;

/// A message on its way out, with its head.
#[derive(Debug)]
pub(super) struct Outgoing {
    head: [u8; HEAD],
    /// Bytes of the head that are gone.
    gone: usize,
    body: Bytes,
}

impl Outgoing {
    /// `None` when the message is too long for HTTP/2.
    pub(super) fn new(body: Bytes, compression: Compression) -> Option<Self> {
        let (flag, body) = match compression {
            Compression::Gzip => gzip::pack(&body).map_or((0, body), |packed| (1, packed)),
            _ => (0, body),
        };
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= LONGEST)?;
        let [a, b, c, d] = length.to_be_bytes();
        Some(Self { head: [flag, a, b, c, d], gone: 0, body })
    }

    /// No message: not even a head.
    pub(super) fn nothing() -> Self {
        Self { head: [0; HEAD], gone: HEAD, body: Bytes::new() }
    }

    fn head(&self) -> &[u8] {
        self.head.get(self.gone..).unwrap_or_default()
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        HEAD - self.gone + self.body.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.gone < HEAD { self.head() } else { &self.body }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = [self.head(), &self.body];
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces.into_iter().filter(|piece| !piece.is_empty())) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, count: usize) {
        let of_head = count.min(HEAD - self.gone);
        self.gone += of_head;
        self.body.advance(count - of_head);
    }
}

/// What is wrong with what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadMessage {
    #[error("compressed message, which was not agreed on")]
    Compressed,
    #[error("message of {length} bytes, more than the {max} that are accepted")]
    TooLong { length: usize, max: usize },
    #[cfg(feature = "gzip")]
    #[error("message of more than the {max} bytes that are accepted once it is decompressed")]
    Swells { max: usize },
    #[cfg(feature = "gzip")]
    #[error("message that is not gzip, though it says so")]
    NotGzip,
}

/// Takes messages out of pieces of data.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The piece that came last, less what was taken.
    piece: Bytes,
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    came: usize,
    /// The message so far, when it is not in one piece.
    partial: BytesMut,
    max: usize,
    /// Messages may be compressed.
    gzip: bool,
}

impl Incoming {
    pub(super) fn new(max: usize) -> Self {
        Self { piece: Bytes::new(), head: [0; HEAD], came: 0, partial: BytesMut::new(), max, gzip: false }
    }

    /// Whether messages may be compressed.
    pub(super) fn expect_gzip(&mut self, gzip: bool) {
        self.gzip = gzip;
    }

    /// Adds a piece; only after `next` gave none.
    pub(super) fn put(&mut self, piece: Bytes) {
        debug_assert!(self.piece.is_empty(), "a piece is taken whole before the next comes");
        self.piece = piece;
    }

    /// Whether no message has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.piece.is_empty() && self.came == 0
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, BadMessage> {
        if self.came < HEAD {
            let rest = self.head.get_mut(self.came..).unwrap_or_default();
            let count = rest.len().min(self.piece.len());
            self.piece.split_to(count).copy_to_slice(rest.get_mut(..count).unwrap_or_default());
            self.came += count;
            if self.came < HEAD {
                return Ok(None);
            }
        }
        let [compressed, a, b, c, d] = self.head;
        if compressed != 0 && !(compressed == 1 && self.gzip) {
            return Err(BadMessage::Compressed);
        }
        // The length fits: no target of this crate has pointers of 16 bits.
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.max {
            return Err(BadMessage::TooLong { length, max: self.max });
        }
        match self.body(length) {
            Some(packed) if compressed != 0 => gzip::unpack(&packed, self.max).map(Some),
            body => Ok(body),
        }
    }

    fn body(&mut self, length: usize) -> Option<Bytes> {
        if self.partial.is_empty() && self.piece.len() >= length {
            self.came = 0;
            return Some(self.piece.split_to(length));
        }
        if self.partial.is_empty() {
            self.partial.reserve(length.min(AHEAD));
        }
        let count = (length - self.partial.len()).min(self.piece.len());
        self.partial.extend_from_slice(&self.piece.split_to(count));
        if self.partial.len() < length {
            return None;
        }
        self.came = 0;
        Some(std::mem::take(&mut self.partial).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(bodies: &[&'static [u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for body in bodies {
            let mut message = Outgoing::new(Bytes::from_static(body), Compression::None).unwrap();
            while message.has_remaining() {
                let chunk = message.chunk();
                let count = chunk.len().min(3);
                bytes.extend_from_slice(&chunk[..count]);
                message.advance(count);
            }
        }
        bytes
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_the_data_is_cut() {
        let bodies: [&[u8]; 5] = [b"one", b"", b"a longer message", b"", b"x"];
        let bytes = wire(&bodies);
        for cut in 1..=bytes.len() {
            let mut incoming = Incoming::new(usize::MAX);
            let mut came = Vec::new();
            for piece in bytes.chunks(cut) {
                incoming.put(Bytes::copy_from_slice(piece));
                while let Some(message) = incoming.next().unwrap() {
                    came.push(message);
                }
            }
            assert_eq!(came, bodies, "pieces of {cut} bytes");
            assert!(incoming.is_empty());
        }
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let piece = Bytes::from(wire(&[b"first", b"second"]));
        let mut incoming = Incoming::new(usize::MAX);
        incoming.put(piece.clone());
        let first = incoming.next().unwrap().unwrap();
        let second = incoming.next().unwrap().unwrap();
        assert_eq!(first.as_ptr(), piece[5..].as_ptr());
        assert_eq!(second.as_ptr(), piece[15..].as_ptr());
    }

    #[test]
    fn head_and_body_go_out_as_two_slices() {
        let body = Bytes::from_static(b"body");
        let mut message = Outgoing::new(body.clone(), Compression::None).unwrap();
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(message.chunks_vectored(&mut slices), 2);
        assert_eq!(&*slices[0], [0, 0, 0, 0, 4]);
        assert_eq!(slices[1].as_ptr(), body.as_ptr());
        message.advance(7);
        assert_eq!(message.chunks_vectored(&mut [IoSlice::new(&[]); 4]), 1);
        assert_eq!((message.remaining(), message.chunk()), (2, &b"dy"[..]));
    }

    #[test]
    fn what_was_not_agreed_on_is_refused() {
        let mut incoming = Incoming::new(3);
        incoming.put(Bytes::from(wire(&[b"four"])));
        assert_eq!(incoming.next(), Err(BadMessage::TooLong { length: 4, max: 3 }));
        let mut incoming = Incoming::new(3);
        incoming.put(Bytes::from_static(&[1, 0, 0, 0, 1, 0]));
        assert_eq!(incoming.next(), Err(BadMessage::Compressed));
    }

    #[test]
    fn a_length_alone_sets_little_aside() {
        let mut incoming = Incoming::new(usize::MAX);
        incoming.put(Bytes::from_static(&[0, 255, 255, 255, 255, 7]));
        assert_eq!(incoming.next(), Ok(None));
        assert!(incoming.partial.capacity() <= 2 * AHEAD);
        assert!(!incoming.is_empty());
    }
}
