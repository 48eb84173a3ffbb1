//! A connection's bytes, plain or TLS, and when they last came.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::line::Line;

/// What carries a connection's bytes: a socket, or TLS on one.
pub trait Carrier: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Carrier for T {}

/// See the module.
pub(super) struct Socket {
    carrier: Pin<Box<dyn Carrier>>,
    line: Arc<Line>,
    /// Why a write failed, while the server's last words are waited for.
    broken: Option<io::Error>,
}

impl Socket {
    pub(super) fn new(carrier: Pin<Box<dyn Carrier>>, line: Arc<Line>) -> Self {
        Self { carrier, line, broken: None }
    }

    /// Makes a write's error that of the server's last words, if there are any.
    ///
    /// A TLS server that refuses the client's certificate sends an alert and hangs up, and the first to see it may be a
    /// write that finds a broken pipe. So before the server has spoken, a write that failed is pending until what the
    /// server said is read; how long that may take is bounded by the time that connecting may take.
    fn explain<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error)) if !self.line.has_spoken() => {
                self.broken = Some(error);
                self.poll_last_words(cx).map(Err)
            }
            written => written,
        }
    }

    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut words = [0; 1024];
        loop {
            let mut words = ReadBuf::new(&mut words);
            match ready!(self.carrier.as_mut().poll_read(cx, &mut words)) {
                Err(error) => return Poll::Ready(error),
                Ok(()) if words.filled().is_empty() => {
                    let error = self.broken.take();
                    return Poll::Ready(error.unwrap_or_else(|| ErrorKind::BrokenPipe.into()));
                }
                Ok(()) => {}
            }
        }
    }

    fn poll_written<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut dyn Carrier>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.broken.is_some() {
            return self.poll_last_words(cx).map(Err);
        }
        let written = write(self.carrier.as_mut(), cx);
        self.explain(cx, written)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.carrier.as_mut().poll_read(cx, buf);
        if buf.filled().len() > before {
            self.line.hear();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |carrier, cx| carrier.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |carrier, cx| carrier.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx, |carrier, cx| carrier.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.carrier.as_mut().poll_shutdown(cx)
    }
}
