//! What a connection's task and its calls share: who is at the other end, what was heard of them, and the faults of
//! calls in words.

use std::error::Error;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tikv_client_core::client::Clock;
use tikv_client_core::machine::{Address, TransportClass, TransportFault};
use tikv_client_core::types::Instant;

use super::status::Status;

/// What is said of an end without a word.
pub(super) const CLOSED: &str = "the server closed the connection";

/// A connection, as its task and its calls know it.
#[derive(Debug)]
pub(super) struct Line {
    address: Address,
    /// Calls that are open.
    open: AtomicUsize,
    clock: Arc<dyn Clock>,
    since: Instant,
    /// When something last came; 0: nothing came yet.
    heard: AtomicU64,
    /// Why the connection ended, when that is known better than by a call's own error.
    cause: OnceLock<String>,
}

impl Line {
    pub(super) fn new(address: Address, clock: Arc<dyn Clock>) -> Self {
        Self {
            address,
            open: AtomicUsize::new(0),
            since: clock.now(),
            clock,
            heard: AtomicU64::new(0),
            cause: OnceLock::new(),
        }
    }

    /// Counts a call in.
    pub(super) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call out.
    pub(super) fn end(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether any call is open.
    pub(super) fn is_busy(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// Something came.
    pub(super) fn hear(&self) {
        self.heard.store(self.clock.now().0.max(1), Ordering::Relaxed);
    }

    /// When something last came; the line's beginning when nothing did.
    pub(super) fn heard(&self) -> Instant {
        self.since.max(Instant(self.heard.load(Ordering::Relaxed)))
    }

    /// Whether anything ever came.
    pub(super) fn has_spoken(&self) -> bool {
        self.heard.load(Ordering::Relaxed) > 0
    }

    /// Says why the connection ends. The first to say so is right.
    pub(super) fn ends(&self, why: impl FnOnce() -> String) {
        self.cause.get_or_init(why);
    }

    /// A fault with a text that names the address.
    pub(super) fn fault(&self, class: TransportClass, what: &str) -> TransportFault {
        fault(class, &self.address, what)
    }

    pub(super) fn rejected(&self, status: &Status) -> TransportFault {
        self.fault(TransportClass::Rejected(status.code), &status.message)
    }

    /// The fault of a call that did not begin.
    pub(super) fn not_begun(&self, error: &h2::Error) -> TransportFault {
        self.fault(TransportClass::Unreachable, &self.words(error))
    }

    /// The fault of a call that began. `sent`: a message was given to the transport; `answered`: the server began to
    /// answer.
    pub(super) fn broken(&self, error: &h2::Error, sent: bool, answered: bool) -> TransportFault {
        let happened = sent && (answered || !is_untouched(error));
        let class = if happened { TransportClass::Lost } else { TransportClass::Unreachable };
        self.fault(class, &self.words(error))
    }

    fn words(&self, error: &h2::Error) -> String {
        // h2 reports an end without a word as a broken pipe; the connection's task may know more.
        if error.get_io().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            return self.cause.get().map_or(CLOSED, String::as_str).to_owned();
        }
        let text = words(error);
        let received = |what: &str| text.strip_prefix(what).map(str::to_owned);
        if let Some(reason) = received("connection error received: ") {
            return format!("the server gave the connection up: {reason}");
        }
        received("stream error received: ")
            .map_or(text, |reason| format!("the server reset the stream: {reason}"))
    }
}

fn fault(class: TransportClass, address: &str, what: &str) -> TransportFault {
    TransportFault::new(class, format!("{address}: {what}"))
}

/// The fault of a connection to `address` that was never made.
#[must_use]
pub fn unreachable(address: &str, why: &str) -> TransportFault {
    fault(TransportClass::Unreachable, address, why)
}

/// Whether the server vouches that it did nothing with the stream: it refused it, or named it in a GOAWAY as one that it
/// did not look at. h2 gives a remote GOAWAY as a stream's error to streams above the last one only.
///
/// RFC 9113: 6.8, 8.7.
fn is_untouched(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

/// An error with its causes, in lower case as all of our texts.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    let mut text = uncapitalised(error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        let more = uncapitalised(cause.to_string());
        // Many errors print their source themselves.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

fn uncapitalised(text: String) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_ascii_uppercase() && !second.is_ascii_uppercase() => {
            format!("{}{}", first.to_ascii_lowercase(), text.get(1..).unwrap_or_default())
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tikv_client_core::types::WallTime;

    use super::*;

    /// A clock that stands still.
    #[derive(Debug)]
    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            Instant(7)
        }

        fn wall(&self) -> WallTime {
            WallTime(7)
        }
    }

    #[test]
    fn what_is_heard_is_known_from_then_on() {
        let line = Line::new("a:1".into(), Arc::new(Stopped));
        assert_eq!((line.has_spoken(), line.heard()), (false, Instant(7)));
        line.hear();
        assert_eq!((line.has_spoken(), line.heard()), (true, Instant(7)));
    }

    #[test]
    fn an_error_is_told_with_its_causes_once() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(words(&refused), "connection refused (os error 111)");
        let tls = io::Error::new(ErrorKind::InvalidData, "TLS says no");
        assert_eq!(words(&tls), "TLS says no");
    }

    #[test]
    fn a_stream_the_server_did_not_look_at_did_not_happen() {
        let line = Line::new("a:1".into(), Arc::new(Stopped));
        let local = h2::Error::from(h2::Reason::REFUSED_STREAM);
        assert_eq!(line.broken(&local, true, false).class, TransportClass::Lost, "not the server's word");
        assert_eq!(line.broken(&local, false, false).class, TransportClass::Unreachable, "nothing was sent");
        assert_eq!(line.not_begun(&local).class, TransportClass::Unreachable);
    }
}
