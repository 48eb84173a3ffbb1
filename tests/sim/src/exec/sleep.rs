//! Waiting for a time, and waiting for something at most so long.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Due, DueKey, Executor};

/// Ready at its time. Dropped, it is forgotten.
pub(crate) struct Sleep {
    executor: Executor,
    at: u64,
    key: Option<DueKey>,
}

impl Sleep {
    pub(super) fn new(executor: Executor, at: u64) -> Self {
        Self { executor, at, key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(key) = this.key.take() {
            this.executor.forget(key);
        }
        if this.executor.now() >= this.at {
            return Poll::Ready(());
        }
        this.key = Some(this.executor.put(this.at, Due::Wake(cx.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.executor.forget(key);
        }
    }
}

/// Awaits `future` until `at`; `None` when it was not ready by then, and it is dropped.
pub(crate) async fn within<F: Future>(executor: &Executor, at: u64, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut sleep = executor.sleep_until(at);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut sleep).poll(cx).map(|()| None)
    })
    .await
}
