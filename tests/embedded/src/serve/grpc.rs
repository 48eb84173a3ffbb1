//! gRPC on HTTP/2 streams: messages in, messages out, a status at the end. Nothing here knows a message's type.
//!
//! A message is a flag byte (1: compressed, which is refused), its length in four bytes, and its bytes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Response};

use crate::model::status::{Code, Status};

/// Bytes before a message: the flag and the length.
pub(crate) const PREFIX: usize = 5;
/// The longest message that is taken.
const LONGEST: usize = 256 << 20;

/// How many bytes of unfinished messages a cluster's servers hold, and may.
///
/// Whole messages that nobody has taken yet are bounded by HTTP/2's windows. An unfinished one must not be: it may be
/// longer than any window.
#[derive(Debug)]
pub(crate) struct Unfinished {
    bytes: AtomicUsize,
    most: usize,
}

impl Unfinished {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), most })
    }

    /// Notes that `old` bytes have become `new` ones.
    fn change(&self, old: usize, new: usize) -> Result<(), Status> {
        let before = self.bytes.fetch_add(new, Ordering::Relaxed);
        self.bytes.fetch_sub(old, Ordering::Relaxed);
        if new > old && before.saturating_add(new) > self.most.saturating_add(old) {
            let message = format!("unfinished messages of all clients have more than {} bytes", self.most);
            return Err(Status::new(Code::ResourceExhausted, message));
        }
        Ok(())
    }
}

/// The messages that a client sends on one stream.
#[derive(Debug)]
pub(crate) struct Incoming {
    body: RecvStream,
    /// Received and not yet a whole message.
    partial: BytesMut,
    whole: VecDeque<Bytes>,
    /// Bytes of whole messages that the client may send again once those have been taken.
    owed: usize,
    ended: bool,
    unfinished: Arc<Unfinished>,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Fewer bytes are never too many.
        drop(self.unfinished.change(self.partial.len(), 0));
    }
}

impl Incoming {
    pub(crate) fn new(body: RecvStream, unfinished: Arc<Unfinished>) -> Self {
        Self { body, partial: BytesMut::new(), whole: VecDeque::new(), owed: 0, ended: false, unfinished }
    }

    /// The next message; `None` at the end. Can be dropped at any point without losing a message.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        self.arrived().await?;
        Ok(self.pop())
    }

    /// All messages that have come, at least one; empty at the end. Can be dropped like [`Self::next`].
    pub(crate) async fn ready(&mut self) -> Result<VecDeque<Bytes>, Status> {
        self.arrived().await?;
        let whole = std::mem::take(&mut self.whole);
        self.repay();
        Ok(whole)
    }

    /// Waits until there is a message to [`Self::pop`], or the end: then it says false. Can be dropped like
    /// [`Self::next`].
    pub(crate) async fn arrived(&mut self) -> Result<bool, Status> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        Ok(!self.whole.is_empty())
    }

    /// The next of the messages that have come.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let message = self.whole.pop_front();
        if self.whole.is_empty() {
            self.repay();
        }
        message
    }

    /// Whether messages have come that have not been taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    fn repay(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        self.release(owed);
    }

    /// Lets the client send so many bytes more.
    fn release(&mut self, bytes: usize) {
        // Giving back what a stream that is gone had borrowed fails; nobody waits for it then.
        drop(self.body.flow_control().release_capacity(bytes));
    }

    /// Takes all that has come; ready once there is a message or the end.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        while !self.ended {
            match self.body.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    let (came, old) = (data.len(), self.partial.len());
                    self.take(data)?;
                    let partial = self.partial.len();
                    self.unfinished.change(old, partial)?;
                    // An unfinished message may be longer than the window.
                    let unfinished = came.min(partial);
                    self.release(unfinished);
                    self.owed += came - unfinished;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    return Poll::Ready(Err(Status::new(Code::Cancelled, error.to_string())));
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => break,
            }
        }
        if self.ended && !self.partial.is_empty() {
            drop(self.unfinished.change(self.partial.len(), 0));
            self.partial.clear();
            return Poll::Ready(Err(Status::new(Code::Internal, "the last message is cut short")));
        }
        if self.ended || !self.whole.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Cuts messages out of `data`; a message within one piece is not copied.
    fn take(&mut self, mut data: Bytes) -> Result<(), Status> {
        if self.partial.is_empty() {
            while let Some(length) = message_length(&data)?
                && data.len() >= PREFIX + length
            {
                data.advance(PREFIX);
                self.whole.push_back(data.split_to(length));
            }
            self.partial.extend_from_slice(&data);
            return Ok(());
        }
        self.partial.extend_from_slice(&data);
        while let Some(length) = message_length(&self.partial)? {
            if self.partial.len() < PREFIX + length {
                self.partial.reserve(PREFIX + length - self.partial.len());
                break;
            }
            self.partial.advance(PREFIX);
            self.whole.push_back(self.partial.split_to(length).freeze());
        }
        Ok(())
    }
}

/// The length of the message that `bytes` starts with; `None` if even that is not there yet.
fn message_length(bytes: &[u8]) -> Result<Option<usize>, Status> {
    let Some((&[flag, a, b, c, d], _)) = bytes.split_first_chunk::<PREFIX>() else { return Ok(None) };
    if flag != 0 {
        return Err(Status::new(Code::Unimplemented, "compressed messages are not supported"));
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(Status::new(
            Code::ResourceExhausted,
            format!("message of {length} bytes, at most {LONGEST}"),
        ));
    }
    Ok(Some(length))
}

/// A buffer for one message of about `length` bytes, its prefix left open; [`seal`] closes it.
pub(crate) fn open_message(length: usize) -> BytesMut {
    let mut message = BytesMut::with_capacity(PREFIX + length);
    message.put_bytes(0, PREFIX);
    message
}

/// Writes the prefix of a message begun by [`open_message`].
pub(crate) fn seal(mut message: BytesMut) -> Bytes {
    let length = u32::try_from(message.len().saturating_sub(PREFIX)).unwrap_or(u32::MAX);
    if let Some(field) = message.get_mut(1..PREFIX) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    message.freeze()
}

/// `message` with its prefix.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut out = open_message(message.len());
    out.extend_from_slice(message);
    seal(out)
}

/// The answering half of a call.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Nothing has been sent.
    Fresh(SendResponse<Bytes>),
    /// The headers have been sent.
    Open(SendStream<Bytes>),
}

/// The client is gone: nothing more can be sent.
#[derive(Debug)]
pub(crate) struct Gone;

impl From<h2::Error> for Gone {
    fn from(_: h2::Error) -> Self {
        Self
    }
}

impl Outgoing {
    /// Sends the headers, if they have not been; a stream's client may wait for them before it sends.
    pub(crate) fn open(self) -> Result<Self, Gone> {
        match self {
            Self::Fresh(mut respond) => Ok(Self::Open(respond.send_response(headers(), false)?)),
            Self::Open(_) => Ok(self),
        }
    }

    /// Sends one framed message; waits until the client takes more.
    pub(crate) async fn send(&mut self, mut framed: Bytes) -> Result<(), Gone> {
        if let Self::Fresh(respond) = self {
            *self = Self::Open(respond.send_response(headers(), false)?);
        }
        let Self::Open(stream) = self else { return Err(Gone) };
        while !framed.is_empty() {
            stream.reserve_capacity(framed.len());
            let room = match stream.capacity() {
                0 => poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or(Gone)??,
                room => room,
            };
            stream.send_data(framed.split_to(room.min(framed.len())), false)?;
        }
        Ok(())
    }

    /// Ends the call: with `Ok`, or with a status.
    pub(crate) fn finish(self, result: Result<(), Status>) -> Result<(), Gone> {
        match self {
            Self::Open(mut stream) => stream.send_trailers(trailers(result))?,
            Self::Fresh(mut respond) => {
                let mut response = headers();
                response.headers_mut().extend(trailers(result));
                respond.send_response(response, true)?;
            }
        }
        Ok(())
    }

    /// Answers one message and ends the call.
    pub(crate) async fn answer(mut self, framed: Bytes) -> Result<(), Gone> {
        self.send(framed).await?;
        self.finish(Ok(()))
    }

    /// Breaks the stream off, without a status.
    pub(crate) fn reset(self) {
        match self {
            Self::Fresh(mut respond) => respond.send_reset(h2::Reason::INTERNAL_ERROR),
            Self::Open(mut stream) => stream.send_reset(h2::Reason::INTERNAL_ERROR),
        }
    }

    /// Returns once the client has broken the stream off or its connection has ended.
    pub(crate) async fn gone(&mut self) {
        let ended = match self {
            Self::Fresh(respond) => poll_fn(|cx| respond.poll_reset(cx)).await,
            Self::Open(stream) => poll_fn(|cx| stream.poll_reset(cx)).await,
        };
        // Why it is gone changes nothing.
        drop(ended);
    }
}

fn headers() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn trailers(result: Result<(), Status>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    match result {
        Ok(()) => {
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
        }
        Err(status) => {
            trailers.insert("grpc-status", HeaderValue::from(status.code as u16));
            if let Ok(message) = HeaderValue::try_from(percent_encoded(&status.message)) {
                trailers.insert("grpc-message", message);
            }
        }
    }
    trailers
}

/// A status message as a header value: everything but printable ASCII is percent-encoded.
// gRPC over HTTP/2: "Percent-Encoded"
fn percent_encoded(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_needs_its_prefix() {
        assert_eq!(message_length(&[0, 0, 0, 1]), Ok(None));
        assert_eq!(message_length(&[0, 0, 0, 1, 2, 9]), Ok(Some(258)));
        assert!(message_length(&[1, 0, 0, 0, 0]).is_err(), "compressed");
        assert!(message_length(&[0, 0xff, 0, 0, 0]).is_err(), "too long");
    }

    #[test]
    fn unfinished_messages_are_bounded_together() {
        let unfinished = Unfinished::new(100);
        assert_eq!(unfinished.change(0, 60), Ok(()));
        assert_eq!(unfinished.change(0, 40), Ok(()));
        assert!(unfinished.change(40, 41).is_err(), "one too many");
        assert_eq!(unfinished.change(41, 0), Ok(()), "its stream ends");
        assert_eq!(unfinished.change(60, 100), Ok(()));
    }

    #[test]
    fn a_framed_message_reads_back() {
        let framed = framed(b"hello");
        assert_eq!(message_length(&framed), Ok(Some(5)));
        assert_eq!(&framed[PREFIX..], b"hello");
    }

    #[test]
    fn status_texts_survive_the_header() {
        assert_eq!(percent_encoded("not leader"), "not leader");
        assert_eq!(percent_encoded("100%\n"), "100%25%0A");
    }
}
