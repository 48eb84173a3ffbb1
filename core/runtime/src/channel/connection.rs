//! Connecting, and the task that owns a connection.
//!
//! A connection counts as made when the server has spoken: a host that accepts and says nothing would otherwise swallow
//! requests. The task keeps the connection alive:
//!
//! ```text
//! Idle --a call is open--> Listening --nothing came for an interval--> Asked --nothing came in time--> broken
//!   ^----no call is open----'  ^-----------something came----------------'
//! any --channel and calls are gone--> Leaving --said goodbye, or the time is over--> ended
//! ```
//!
//! No ping goes out while no call is open: servers punish it by closing the connection (etcd, and so PD:
//! `server/embed/etcd.go`, EnforcementPolicy with PermitWithoutStream false). A call on a connection that was silent for
//! longer than the interval brings a ping with it.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use http::uri::{Authority, Scheme};
use tikv_client_core::client::{BoxFuture, ConnectOptions, Runtime};
use tikv_client_core::config::Security;
use tikv_client_core::machine::{Address, TransportFault};
use tikv_client_core::types::Instant;

use super::Connected;
use super::call::{Limits, Target};
use super::gzip;
use super::line::{CLOSED, Line, unreachable, words};
use super::message::Outgoing;
use super::socket::{Carrier, Socket};

/// The largest window. RFC 9113: 6.9.1.
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// The largest frame that servers may send: a value of a batch then mostly comes in one piece, and is not copied.
const MAX_FRAME: u32 = 1 << 20;

/// Bytes of messages that wait in h2 before a stream is not ready for more.
const SEND_BUFFER: usize = 1 << 20;

/// Calls given up whose late answers are still expected: more than any burst of cancelled calls.
const RESET_STREAMS: usize = 4096;

/// The shortest keepalive that makes sense; less would only burn the processor.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// Why a runtime could not open a socket; told with its causes.
pub type DialError = Box<dyn Error + Send + Sync>;

/// Makes a channel to `to` over the socket that `dial` opens: with TLS on it, where `options` ask for that.
///
/// `runtime` gives the time and carries the connection's task; `dial` is polled by whoever polls this.
///
/// # Errors
/// [`Unreachable`](tikv_client_core::machine::TransportClass::Unreachable) with the address and the cause: no socket, no
/// HTTP/2 at its other end, or not within `options.timeout`.
///
/// # Cancel safety
/// Dropping the future drops the socket.
pub async fn connect(
    runtime: Arc<dyn Runtime>,
    to: Address,
    options: ConnectOptions,
    dial: impl Future<Output = Result<Pin<Box<dyn Carrier>>, DialError>>,
) -> Result<Connected, TransportFault> {
    let mut timer = runtime.sleep_until(runtime.now() + options.timeout);
    let mut opening = pin!(open(runtime, &to, &options, dial));
    let opened = poll_fn(|cx| match opening.as_mut().poll(cx) {
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
        ready => ready.map(Some),
    });
    match opened.await {
        Some(Ok(connected)) => Ok(connected),
        Some(Err(why)) => Err(unreachable(&to, &why)),
        None => Err(unreachable(&to, &format!("not connected within {:?}", options.timeout))),
    }
}

async fn open(
    runtime: Arc<dyn Runtime>,
    to: &Address,
    options: &ConnectOptions,
    dial: impl Future<Output = Result<Pin<Box<dyn Carrier>>, DialError>>,
) -> Result<Connected, String> {
    let authority = Authority::try_from(&**to).map_err(|error| format!("not an address: {error}"))?;
    gzip::check(options.compression)?;
    let carrier = dial.await.map_err(|error| words(&*error))?;
    let scheme = if options.security == Security::Plain { Scheme::HTTP } else { Scheme::HTTPS };
    let line = Arc::new(Line::new(Arc::clone(to), Arc::clone(&runtime) as _));
    let socket = Socket::new(carrier, Arc::clone(&line));
    let (requests, mut connection) = handshake(socket, options).await.map_err(|error| words(&error))?;
    let pings = connection.ping_pong().ok_or("the connection has no pings")?;
    poll_fn(|cx| poll_spoken(&mut connection, &line, cx)).await?;
    let task = Task {
        line: Arc::clone(&line),
        connection,
        pings,
        watch: Watch::Idle,
        timer: Timer::new(Arc::clone(&runtime)),
        interval: options.keepalive_interval.max(MIN_INTERVAL),
        timeout: options.keepalive_timeout.max(MIN_INTERVAL),
    };
    let limits = Limits {
        received: options.max_message,
        sent: options.max_sent_message,
        compression: options.compression,
    };
    let target = Target::new(line, (scheme, authority), limits, requests);
    runtime.spawn(Box::pin(task));
    Ok(Connected { target })
}

async fn handshake(
    socket: Socket,
    options: &ConnectOptions,
) -> Result<(SendRequest<Outgoing>, Connection<Socket, Outgoing>), h2::Error> {
    h2::client::Builder::new()
        .initial_window_size(options.window.min(MAX_WINDOW))
        .initial_connection_window_size(options.connection_window.min(MAX_WINDOW))
        .max_frame_size(MAX_FRAME)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_push(false)
        .max_concurrent_reset_streams(RESET_STREAMS)
        // Guards against clients that mean ill. Servers are trusted, and here the guards would break a connection for
        // many calls given up, or for a burst of small answers that are not read yet: the window alone bounds those.
        .max_local_error_reset_streams(None)
        .data_frame_budget(usize::MAX)
        .handshake(socket)
        .await
}

/// Waits for the server's first bytes: they are its settings. RFC 9113: 3.4.
fn poll_spoken(
    connection: &mut Connection<Socket, Outgoing>,
    line: &Line,
    cx: &mut Context<'_>,
) -> Poll<Result<(), String>> {
    match Pin::new(connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(CLOSED.to_owned())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(words(&error))),
        Poll::Pending if line.has_spoken() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    }
}

/// What the timer is for.
#[derive(Clone, Copy, Debug)]
enum Watch {
    /// Nothing.
    Idle,
    /// When the connection has been silent for an interval.
    Listening,
    /// When something must have come since the ping.
    Asked { at: Instant },
    /// When the connection ends, whether its last bytes are gone or not.
    Leaving,
}

/// A sleep that can be put off.
struct Timer {
    runtime: Arc<dyn Runtime>,
    due: Instant,
    sleep: Option<(Instant, BoxFuture<()>)>,
}

impl Timer {
    fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, due: Instant::FAR, sleep: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.due <= self.runtime.now() {
                return Poll::Ready(());
            }
            let sleep = match &mut self.sleep {
                // One that ends too soon is kept: a call that ends puts the time off, and that is cheaper so.
                Some((until, sleep)) if *until <= self.due => sleep,
                _ => &mut self.sleep.insert((self.due, self.runtime.sleep_until(self.due))).1,
            };
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
    }
}

/// See the module.
struct Task {
    /// One hold of this task and one of the socket.
    line: Arc<Line>,
    connection: Connection<Socket, Outgoing>,
    pings: PingPong,
    watch: Watch,
    timer: Timer,
    interval: Duration,
    timeout: Duration,
}

/// Holds of a line that the connection's own task has.
const OWN_HOLDS: usize = 2;

impl Task {
    /// Ready when the connection is to be given up.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !matches!(self.watch, Watch::Leaving) && Arc::strong_count(&self.line) <= OWN_HOLDS {
                self.wait_for(Watch::Leaving, self.timer.runtime.now() + self.timeout);
            }
            match self.watch {
                Watch::Idle if self.line.is_busy() => self.listen(),
                Watch::Idle => return Poll::Pending,
                Watch::Listening if !self.line.is_busy() => self.watch = Watch::Idle,
                Watch::Listening => {
                    ready!(self.timer.poll(cx));
                    let now = self.timer.runtime.now();
                    if self.silence_ends() > now { self.listen() } else { self.ask(now) }
                }
                Watch::Asked { at } if self.line.heard() >= at => self.listen(),
                Watch::Asked { .. } => {
                    ready!(self.timer.poll(cx));
                    self.line.ends(|| format!("no answer to a ping within {:?}", self.timeout));
                    return Poll::Ready(());
                }
                Watch::Leaving => return self.timer.poll(cx),
            }
        }
    }

    /// When the connection will have been silent for an interval.
    fn silence_ends(&self) -> Instant {
        self.line.heard() + self.interval
    }

    fn listen(&mut self) {
        self.wait_for(Watch::Listening, self.silence_ends());
    }

    fn ask(&mut self, now: Instant) {
        // An answer that was not taken (something else came before it) would keep the next ping from going out.
        let _taken = self.pings.poll_pong(&mut Context::from_waker(Waker::noop()));
        // This fails while the last ping is not answered, though something came since: then that one still asks.
        let _asked = self.pings.send_ping(Ping::opaque());
        self.wait_for(Watch::Asked { at: now }, now + self.timeout);
    }

    fn wait_for(&mut self, watch: Watch, until: Instant) {
        self.watch = watch;
        self.timer.due = until;
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        match Pin::new(&mut task.connection).poll(cx) {
            Poll::Ready(Ok(())) => {
                task.line.ends(|| CLOSED.to_owned());
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                task.line.ends(|| words(&error));
                Poll::Ready(())
            }
            Poll::Pending => task.poll_watch(cx),
        }
    }
}

impl Drop for Task {
    /// Calls learn of the end when the connection is dropped, after this.
    fn drop(&mut self) {
        self.line.ends(|| "the runtime has ended".to_owned());
    }
}
