//! Names with several addresses: one that is a black hole does not use up the time of the others.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tikv_client_core::client::Runtime;

/// How long an address is tried alone. RFC 8305: 5, Connection Attempt Delay.
const ALONE: Duration = Duration::from_millis(250);

/// The first socket that one of `addresses` gives.
///
/// They are tried in order; the next one begins when the last has failed, or has not answered for 250 ms: then both go on.
/// Who polls this bounds its time.
///
/// # Errors
/// That of the last address to fail; [`NotFound`](io::ErrorKind::NotFound) when there is none.
///
/// # Cancel safety
/// Dropping the future drops all sockets.
pub async fn first_of<A, S, F>(
    runtime: &dyn Runtime,
    addresses: impl IntoIterator<Item = A>,
    mut connect: impl FnMut(A) -> F,
) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let mut addresses = addresses.into_iter().peekable();
    let mut trying: Vec<Pin<Box<F>>> = Vec::new();
    // The next address is due; until then this sleep says when it is.
    let mut due = true;
    let mut alone = runtime.sleep_until(runtime.now());
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    poll_fn(move |cx| {
        loop {
            if due && addresses.peek().is_some() {
                trying.extend(addresses.next().map(|address| Box::pin(connect(address))));
                due = false;
                // A lone address needs no timer.
                if addresses.peek().is_some() {
                    alone = runtime.sleep_until(runtime.now() + ALONE);
                }
            }
            let mut failed = false;
            let mut at = 0;
            while let Some(one) = trying.get_mut(at) {
                match one.as_mut().poll(cx) {
                    Poll::Ready(Ok(socket)) => return Poll::Ready(Ok(socket)),
                    Poll::Ready(Err(error)) => {
                        last = error;
                        failed = true;
                        drop(trying.remove(at));
                    }
                    Poll::Pending => at += 1,
                }
            }
            if addresses.peek().is_none() {
                if !trying.is_empty() {
                    return Poll::Pending;
                }
                let none = io::Error::from(io::ErrorKind::NotFound);
                return Poll::Ready(Err(std::mem::replace(&mut last, none)));
            }
            due = failed;
            if !due {
                ready!(alone.as_mut().poll(cx));
                due = true;
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tikv_client_core::client::{BoxFuture, Channel, Clock, ConnectOptions};
    use tikv_client_core::machine::{Address, TransportFault};
    use tikv_client_core::types::{Instant, WallTime};

    use super::*;
    use crate::Wait;

    /// Time that goes to the end of each sleep as soon as it is polled.
    #[derive(Clone, Debug, Default)]
    struct Hurried(Arc<AtomicU64>);

    impl Clock for Hurried {
        fn now(&self) -> Instant {
            Instant(self.0.load(Ordering::Relaxed))
        }

        fn wall(&self) -> WallTime {
            WallTime(0)
        }
    }

    impl Runtime for Hurried {
        fn sleep_until(&self, at: Instant) -> BoxFuture<()> {
            let time = self.clone();
            Box::pin(async move {
                time.0.fetch_max(at.0, Ordering::Relaxed);
            })
        }

        fn spawn(&self, _: BoxFuture<()>) {}

        fn connect(
            &self,
            to: Address,
            _: &ConnectOptions,
        ) -> BoxFuture<Result<Box<dyn Channel>, TransportFault>> {
            Box::pin(async move { Err(crate::unreachable(&to, "no network")) })
        }
    }

    const HOLE: u32 = 0;
    const REFUSES: u32 = 1;

    async fn connect(address: u32) -> io::Result<u32> {
        match address {
            HOLE => std::future::pending().await,
            REFUSES => Err(io::ErrorKind::ConnectionRefused.into()),
            open => Ok(open),
        }
    }

    fn dialled(addresses: &[u32]) -> (Result<u32, io::ErrorKind>, Duration) {
        let time = Hurried::default();
        let socket = first_of(&time, addresses.iter().copied(), connect).wait();
        (socket.map_err(|error| error.kind()), time.now().since(Instant(0)))
    }

    #[test]
    fn a_black_hole_does_not_use_up_the_time_of_the_others() {
        assert_eq!(dialled(&[HOLE, HOLE, 7]), (Ok(7), 2 * ALONE));
    }

    #[test]
    fn an_address_that_refuses_gives_its_turn_away_at_once() {
        assert_eq!(dialled(&[REFUSES, REFUSES, 7]), (Ok(7), Duration::ZERO));
        assert_eq!(dialled(&[7, 8]), (Ok(7), Duration::ZERO));
    }

    #[test]
    fn a_name_whose_addresses_all_fail_fails_with_the_last() {
        assert_eq!(dialled(&[REFUSES, REFUSES]).0, Err(io::ErrorKind::ConnectionRefused));
        assert_eq!(dialled(&[]).0, Err(io::ErrorKind::NotFound));
    }
}
