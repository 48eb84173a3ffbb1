//! Servers for tests: `Server` runs them, `grpc` answers calls as told, `Raw` speaks frame by frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// A server on a runtime of its own, which ends with it.
pub(crate) struct Server {
    pub(crate) address: String,
    open: Arc<AtomicUsize>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Runs `serve` for each connection.
    pub(crate) fn new<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                tokio::spawn(served(serve(socket), Arc::clone(&count)));
            }
        });
        Self { address, open, runtime: Some(runtime) }
    }

    /// Connections that have not ended.
    pub(crate) fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Answers calls with `handler`.
    pub(crate) fn grpc<F>(handler: impl Fn(Incoming) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handler = Arc::new(handler);
        Self::new(move |socket| grpc(socket, Arc::clone(&handler)))
    }

    /// Leads each connection by hand.
    pub(crate) fn raw<F>(lead: impl Fn(Raw) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let lead = Arc::new(lead);
        Self::new(move |socket| {
            let lead = Arc::clone(&lead);
            async move { lead(Raw::begin(socket).await).await }
        })
    }
}

/// Serves a connection and counts it meanwhile.
async fn served(serving: impl Future<Output = ()>, count: Arc<AtomicUsize>) {
    count.fetch_add(1, Ordering::Relaxed);
    serving.await;
    count.fetch_sub(1, Ordering::Relaxed);
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves calls on a connection, each in a task.
pub(crate) async fn grpc<T, F>(socket: T, handler: Arc<impl Fn(Incoming) -> F + Send + Sync + 'static>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(100);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(handler(Incoming { request, respond }));
    }
}

/// A call that came.
pub(crate) struct Incoming {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

impl Incoming {
    /// The next data of the client; empty at the end.
    pub(crate) async fn data(&mut self) -> Bytes {
        let body = self.request.body_mut();
        match body.data().await {
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len()).unwrap();
                data
            }
            _ => Bytes::new(),
        }
    }

    /// All data of the client.
    pub(crate) async fn all(&mut self) -> Bytes {
        let mut all = BytesMut::new();
        loop {
            let data = self.data().await;
            if data.is_empty() {
                return all.freeze();
            }
            all.put(data);
        }
    }

    /// Begins the answer.
    pub(crate) fn begin(&mut self) -> SendStream<Bytes> {
        self.respond.send_response(grpc_head(), false).unwrap()
    }
}

pub(crate) fn grpc_head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

pub(crate) fn status(code: &'static str, message: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from_static(code));
    if let Some(message) = message {
        headers.insert("grpc-message", HeaderValue::from_static(message));
    }
    headers
}

/// A message with its head.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed.freeze()
}

/// Sends back what comes, as it comes.
pub(crate) async fn echo(mut call: Incoming) {
    let mut answer = call.begin();
    loop {
        let data = call.data().await;
        if data.is_empty() {
            break;
        }
        answer.send_data(data, false).unwrap();
    }
    answer.send_trailers(status("0", None)).unwrap_or_default();
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame. RFC 9113: 4.1.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Bytes,
}

/// A server's end of a connection, led by hand.
pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
}

impl Raw {
    /// Takes the client's preface and says its own.
    pub(crate) async fn begin(mut socket: TcpStream) -> Self {
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).await.unwrap();
        let mut raw = Self { socket };
        raw.write(SETTINGS, 0, 0, &[]).await;
        raw
    }

    pub(crate) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_uint(payload.len() as u64, 3);
        frame.put_u8(kind);
        frame.put_u8(flags);
        frame.put_u32(stream);
        frame.put_slice(payload);
        // The client may be gone.
        self.socket.write_all(&frame).await.unwrap_or_default();
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).await.ok()?;
        let mut head = &head[..];
        let mut payload = vec![0; usize::try_from(head.get_uint(3)).unwrap()];
        let (kind, flags, stream) = (head.get_u8(), head.get_u8(), head.get_u32());
        self.socket.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind, flags, stream, payload: payload.into() })
    }

    /// Reads until a frame of `kind` has come; panics when the client ends before.
    pub(crate) async fn expect(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.read().await.expect("the client sends more");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads until the client is gone.
    pub(crate) async fn drain(&mut self) {
        while self.read().await.is_some() {}
    }

    pub(crate) async fn go_away(&mut self, last: u32, reason: u32) {
        let mut payload = BytesMut::new();
        payload.put_u32(last);
        payload.put_u32(reason);
        payload.put_slice(b"too_many_pings");
        self.write(GOAWAY, 0, 0, &payload).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, reason: u32) {
        self.write(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }

    /// Answers with a message and the status 0. RFC 7541: 6.1 (indexed), 6.2.2 (literal, not indexed).
    pub(crate) async fn answer(&mut self, stream: u32, message: &[u8]) {
        let mut head = vec![0x88, 0x0f, 0x10, 16];
        head.extend_from_slice(b"application/grpc");
        self.write(HEADERS, END_HEADERS, stream, &head).await;
        self.write(DATA, 0, stream, &framed(message)).await;
        let mut trailers = vec![0x00, 11];
        trailers.extend_from_slice(b"grpc-status\x010");
        self.write(HEADERS, END_HEADERS | END_STREAM, stream, &trailers).await;
    }
}
