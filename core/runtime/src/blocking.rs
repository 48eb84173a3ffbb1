//! Calls that block, and the thread of a runtime that nobody else drives.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use futures_channel::oneshot;

/// Blocking use of calls: every call value, and every future, has `wait`.
///
/// It is the same call as with `.await`, so options are set in the same way before it:
///
/// ```
/// use std::time::Duration;
///
/// use tikv_client_core::client::Client;
/// use tikv_client_core::error::Error;
/// use tikv_client_runtime::Wait;
///
/// fn newest(client: &Client) -> Result<Option<bytes::Bytes>, Error> {
///     let ts = client.current_timestamp().wait()?;
///     client.snapshot(ts).get("key").deadline(Duration::from_secs(1)).wait()
/// }
/// ```
pub trait Wait: IntoFuture + Sized {
    /// Parks this thread until the call is over, and returns what came of it.
    ///
    /// # Deadlock
    /// Do not call this in a task, or in anything else that an executor polls: the executor's thread stands still
    /// meanwhile. Where it is the thread that the client's own tasks need (a current-thread runtime, or the last free
    /// worker of a larger one), the call would wait for ever. There, `.await` it. A client of `connect_blocking` brings
    /// its own thread, so waiting for it ends, but still keeps the executor's thread from other work.
    fn wait(self) -> Self::Output {
        pollster::block_on(self.into_future())
    }
}

impl<T: IntoFuture> Wait for T {}

/// Keeps a runtime's own thread going; dropping it lets the thread end, and waits for nothing.
#[derive(Debug)]
pub struct OwnThread {
    /// Only its end is told.
    _until_dropped: oneshot::Sender<Infallible>,
}

/// Completes when the thread's [`OwnThread`] is dropped.
#[derive(Debug)]
pub struct Released(oneshot::Receiver<Infallible>);

impl Future for Released {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Nothing can be sent, so this is the sender's end.
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// Starts a thread that runs an executor until its handle is dropped.
///
/// `run` gets a function that hands out what the thread has made (its executor's handle, say), and the future that says
/// when it is over.
///
/// # Errors
/// No thread could be started, or `run` ended without handing anything out: its own error.
pub fn on_own_thread<T: Send + 'static>(
    run: impl FnOnce(&mut dyn FnMut(T), Released) -> io::Result<()> + Send + 'static,
) -> io::Result<(T, OwnThread)> {
    let (until_dropped, released) = oneshot::channel();
    let (hand, handed) = std::sync::mpsc::sync_channel::<io::Result<T>>(1);
    thread::Builder::new().name("tikv-client".to_owned()).spawn(move || {
        // Nobody reads a second one, and nobody waits after the first: a failure to send is no loss.
        let ended = run(&mut |made| drop(hand.try_send(Ok(made))), Released(released));
        if let Err(error) = ended {
            drop(hand.try_send(Err(error)));
        }
    })?;
    let made = handed.recv().map_err(|_| io::Error::other("the client's thread ended at once"))??;
    Ok((made, OwnThread { _until_dropped: until_dropped }))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_thread_ends_when_its_handle_is_dropped_and_not_before() {
        let (tell, told) = mpsc::channel();
        let (name, thread) = on_own_thread(move |hand, released| {
            hand(thread::current().name().map(str::to_owned));
            released.wait();
            tell.send("ended").map_err(io::Error::other)
        })
        .unwrap();
        assert_eq!(name.as_deref(), Some("tikv-client"));
        assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "it goes on");
        drop(thread);
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok("ended"));
    }

    #[test]
    fn a_thread_that_cannot_begin_says_why() {
        let error = on_own_thread::<()>(|_, _| Err(io::Error::other("no executor"))).unwrap_err();
        assert_eq!(error.to_string(), "no executor");
        let error = on_own_thread::<()>(|_, _| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "the client's thread ended at once");
    }

    #[test]
    fn waiting_brings_what_a_future_ends_with() {
        assert_eq!(async { 7 }.wait(), 7);
        let (tell, told) = oneshot::channel();
        let other = thread::spawn(move || tell.send(8));
        assert_eq!(told.wait(), Ok(8));
        other.join().unwrap().unwrap();
    }
}
