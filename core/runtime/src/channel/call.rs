//! One call: an HTTP/2 stream of messages both ways, and the status that ends it.
//!
//! ```text
//! Waiting --headers--> Reading --end of data--> Ending --trailers--> Over
//!    |                    |                        |                   ^
//!    +--------------------+--- fault, or headers with the status ------+
//! ```
//!
//! Dropping a call resets its stream, so the server learns of it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use tikv_client_core::client::Compression;
use tikv_client_core::machine::{Metadata, TransportClass, TransportFault};

use super::line::Line;
use super::message::{Incoming, LONGEST, Outgoing};
use super::status::Status;

/// gRPC's code for what is too large for who reads it: `doc/statuscodes.md`, RESOURCE_EXHAUSTED.
const TOO_LARGE: u8 = 8;

const AGENT: &str = concat!("tikv-client/", env!("CARGO_PKG_VERSION"));

/// gRPC: `doc/PROTOCOL-HTTP2.md`, Message-Encoding, Message-Accept-Encoding.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Where calls go.
///
/// Its fields are dropped in this order: the connection's task, woken by the last handle's end, then sees that the line
/// is not in use.
#[derive(Clone)]
pub(super) struct Target {
    line: Arc<Line>,
    scheme: Scheme,
    authority: Authority,
    limits: Limits,
    requests: SendRequest<Outgoing>,
}

/// What messages may be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The longest that is taken.
    pub(super) received: usize,
    /// The longest that is sent.
    pub(super) sent: usize,
    pub(super) compression: Compression,
}

impl Target {
    pub(super) fn new(
        line: Arc<Line>,
        (scheme, authority): (Scheme, Authority),
        limits: Limits,
        requests: SendRequest<Outgoing>,
    ) -> Self {
        Self { line, scheme, authority, limits, requests }
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// Opens a call of the method at `path`. The server learns of it at once, before any message.
    pub(super) fn call(&self, path: &'static str, metadata: &Metadata) -> Result<Call, TransportFault> {
        let bad = |what: String| self.line.fault(TransportClass::Unreachable, &what);
        let mut request =
            self.request(path).map_err(|error| bad(format!("{path:?} is not a path: {error}")))?;
        for (name, value) in metadata {
            let header = HeaderName::try_from(*name).map_err(http::Error::from);
            let header = header.and_then(|name| Ok((name, HeaderValue::try_from(&**value)?)));
            let (name, value) = header.map_err(|error| bad(format!("{name:?} cannot be sent: {error}")))?;
            request.headers_mut().insert(name, value);
        }
        let open = Open::new(Arc::clone(&self.line));
        let mut requests = self.requests.clone();
        let (response, sending) =
            requests.send_request(request, false).map_err(|error| self.line.not_begun(&error))?;
        Ok(Call {
            open,
            phase: Phase::Waiting(response),
            incoming: Incoming::new(self.limits.received),
            limits: self.limits,
            sending,
            sent: false,
        })
    }

    fn request(&self, path: &'static str) -> Result<Request<()>, http::Error> {
        let path = PathAndQuery::from_maybe_shared(Bytes::from_static(path.as_bytes()))?;
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        if self.limits.compression == Compression::Gzip {
            headers.insert(ENCODING, GZIP);
            headers.insert(ACCEPTED, GZIP);
        }
        Ok(request)
    }
}

/// Counts a call for as long as it is open.
#[derive(Debug)]
struct Open(Arc<Line>);

impl Open {
    fn new(line: Arc<Line>) -> Self {
        line.begin();
        Self(line)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.end();
    }
}

enum Phase {
    /// The server has not begun to answer.
    Waiting(ResponseFuture),
    /// Messages come.
    Reading(RecvStream),
    /// The messages are over, the status is not here.
    Ending(RecvStream),
    Over,
}

/// See the module.
pub(super) struct Call {
    open: Open,
    phase: Phase,
    incoming: Incoming,
    limits: Limits,
    sending: SendStream<Outgoing>,
    /// A message was given to the transport: the server may have it.
    sent: bool,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match self.phase {
            Phase::Waiting(_) => "waiting",
            Phase::Reading(_) => "reading",
            Phase::Ending(_) => "ending",
            Phase::Over => "over",
        };
        f.debug_struct("Call")
            .field("line", &self.open.0)
            .field("phase", &phase)
            .field("sent", &self.sent)
            .finish()
    }
}

impl Call {
    /// Whether h2 has room for a message: its queue is below its bound and the server's windows are open.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        self.sending.reserve_capacity(1);
        while self.sending.capacity() == 0 {
            match ready!(self.sending.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(self.broken(&error))),
                None => return self.poll_why_closed(cx),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The stream takes no more messages: says why.
    fn poll_why_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        Poll::Ready(Err(match ready!(self.sending.poll_reset(cx)) {
            Ok(reason) => self.broken(&reason.into()),
            Err(error) => self.broken(&error),
        }))
    }

    /// Sends a message. A stream that is broken takes it in silence: the fault comes where answers do.
    pub(super) fn send(&mut self, message: Bytes, last: bool) -> Result<(), TransportFault> {
        let length = message.len();
        let message = (length <= self.limits.sent).then(|| Outgoing::new(message, self.limits.compression));
        let Some(message) = message.flatten() else {
            let class = if self.sent { TransportClass::Lost } else { TransportClass::Unreachable };
            let most = self.limits.sent.min(LONGEST);
            return Err(self
                .fault(class, &format!("a message of {length} bytes, more than the {most} that are sent")));
        };
        if self.sending.send_data(message, last).is_ok() {
            self.sent = true;
        }
        Ok(())
    }

    /// Says that no message follows; a stream that is broken takes it in silence.
    pub(super) fn finish(&mut self) {
        // An end of the stream without a message in front of it.
        drop(self.sending.send_data(Outgoing::nothing(), true));
    }

    /// The next message; `None` once the server has said that all is well.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportFault>>> {
        loop {
            match self.incoming.next() {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(error) => {
                    let class = TransportClass::Rejected(TOO_LARGE);
                    return self.over(self.fault(class, &error.to_string()));
                }
            }
            let step = match &mut self.phase {
                Phase::Waiting(response) => match ready!(std::pin::Pin::new(response).poll(cx)) {
                    Ok(response) => self.begin(response),
                    Err(error) => Step::Fault(self.broken(&error)),
                },
                Phase::Reading(body) => match ready!(body.poll_data(cx)) {
                    Some(Ok(piece)) => self.take(piece),
                    Some(Err(error)) => Step::Fault(self.broken(&error)),
                    None => self.end_of_data(),
                },
                Phase::Ending(body) => match ready!(body.poll_trailers(cx)) {
                    Ok(trailers) => self.concluded(&trailers.unwrap_or_default()),
                    Err(error) => Step::Fault(self.broken(&error)),
                },
                Phase::Over => return Poll::Ready(None),
            };
            match step {
                Step::On => {}
                Step::Well => self.phase = Phase::Over,
                Step::Fault(fault) => return self.over(fault),
            }
        }
    }

    fn over(&mut self, fault: TransportFault) -> Poll<Option<Result<Bytes, TransportFault>>> {
        self.phase = Phase::Over;
        self.incoming = Incoming::new(0);
        Poll::Ready(Some(Err(fault)))
    }

    fn begin(&mut self, response: http::Response<RecvStream>) -> Step {
        let (head, body) = response.into_parts();
        if let Some(status) = Status::find(&head.headers) {
            return self.status(&status);
        }
        if let Some(status) = Status::of_http(head.status, &head.headers) {
            return self.status(&status);
        }
        let encoding = head.headers.get(ENCODING);
        self.incoming.expect_gzip(self.limits.compression == Compression::Gzip && encoding == Some(&GZIP));
        self.phase = Phase::Reading(body);
        Step::On
    }

    fn take(&mut self, piece: Bytes) -> Step {
        let Phase::Reading(body) = &mut self.phase else { return Step::On };
        // Room is given back when a piece is taken, not when its message is whole: a message may be larger than the
        // window.
        let released = body.flow_control().release_capacity(piece.len());
        self.incoming.put(piece);
        match released {
            Ok(()) => Step::On,
            Err(error) => Step::Fault(self.broken(&error)),
        }
    }

    fn end_of_data(&mut self) -> Step {
        if !self.incoming.is_empty() {
            return Step::Fault(self.lost("the server ended the call in the midst of a message"));
        }
        if let Phase::Reading(body) = std::mem::replace(&mut self.phase, Phase::Over) {
            self.phase = Phase::Ending(body);
        }
        Step::On
    }

    fn concluded(&self, trailers: &HeaderMap) -> Step {
        match Status::find(trailers) {
            Some(status) => self.status(&status),
            None => Step::Fault(self.lost("the server ended the call without a status")),
        }
    }

    fn status(&self, status: &Status) -> Step {
        if status.is_ok() { Step::Well } else { Step::Fault(self.open.0.rejected(status)) }
    }

    fn lost(&self, what: &str) -> TransportFault {
        self.fault(TransportClass::Lost, what)
    }

    fn broken(&self, error: &h2::Error) -> TransportFault {
        let answered = !matches!(self.phase, Phase::Waiting(_));
        self.open.0.broken(error, self.sent, answered)
    }

    /// A fault of this call, in words.
    pub(super) fn fault(&self, class: TransportClass, what: &str) -> TransportFault {
        self.open.0.fault(class, what)
    }
}

enum Step {
    /// There may be more.
    On,
    /// The server ended the call without an error.
    Well,
    Fault(TransportFault),
}
