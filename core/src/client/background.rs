//! The client's background set: operations that nobody waits for, such as the commit of secondaries.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

use super::runtime::{BoxFuture, Runtime};
use super::shared::Inner;
use crate::machine::Mailbox;
use crate::request::RequestOptions;
use crate::start::Start;
use crate::types::Instant;

/// Background operations at work at a time; more wait in order.
const AT_WORK: usize = 256;

/// What the background set is told.
pub(crate) enum BackgroundCommand {
    /// Run an operation that another one has left.
    Run(Box<Left>),
    /// One has ended.
    Ended,
    /// Say when none is left, or at a time how many are.
    Drain { until: Instant, drained: Said },
}

/// An operation that another one has left.
pub(crate) struct Left {
    pub(crate) start: Start,
    pub(crate) client: Arc<Inner>,
    /// The number under which the other one is recorded; 0: it is not.
    pub(crate) parent: u64,
    /// What its requests carry.
    pub(crate) options: RequestOptions,
}

/// Whether the background set is empty.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    waker: AtomicWaker,
    over: AtomicBool,
    left: AtomicUsize,
}

/// The end of a wait: says something in any case, also when the set ended before the question came.
pub(crate) struct Said(pub(crate) Arc<Drained>);

impl Drop for Said {
    fn drop(&mut self) {
        if !self.0.over.load(Ordering::Acquire) {
            self.0.say(0);
        }
    }
}

impl Drained {
    fn say(&self, left: usize) {
        self.left.store(left, Ordering::Relaxed);
        self.over.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<usize> {
        self.waker.register(cx.waker());
        if self.over.load(Ordering::Acquire) {
            Poll::Ready(self.left.load(Ordering::Relaxed))
        } else {
            Poll::Pending
        }
    }
}

struct Drain {
    sleep: BoxFuture<()>,
    drained: Said,
}

/// The task of the background set.
pub(super) struct Background {
    mailbox: Arc<Mailbox<BackgroundCommand>>,
    runtime: Arc<dyn Runtime>,
    waiting: VecDeque<Box<Left>>,
    at_work: usize,
    drains: Vec<Drain>,
}

impl Background {
    pub(super) fn spawn(mailbox: Arc<Mailbox<BackgroundCommand>>, runtime: Arc<dyn Runtime>) {
        let task = Self {
            mailbox,
            runtime: Arc::clone(&runtime),
            waiting: VecDeque::new(),
            at_work: 0,
            drains: Vec::new(),
        };
        runtime.spawn(Box::pin(task));
    }

    fn take(&mut self, command: BackgroundCommand) {
        match command {
            BackgroundCommand::Run(left) => self.waiting.push_back(left),
            BackgroundCommand::Ended => self.at_work = self.at_work.saturating_sub(1),
            BackgroundCommand::Drain { until, drained } => {
                self.drains.push(Drain { sleep: self.runtime.sleep_until(until), drained });
            }
        }
    }

    fn begin(&mut self) {
        while self.at_work < AT_WORK
            && let Some(left) = self.waiting.pop_front()
        {
            self.at_work += 1;
            let end = End(Arc::clone(&self.mailbox));
            self.runtime.spawn(Box::pin(async move {
                left.run().await;
                drop(end);
            }));
        }
    }
}

/// Says that an operation ended, also when its task was dropped.
struct End(Arc<Mailbox<BackgroundCommand>>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.tell(BackgroundCommand::Ended);
    }
}

impl Future for Background {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.mailbox.register(cx.waker());
        while let Some(command) = this.mailbox.take() {
            this.take(command);
        }
        this.begin();
        let left = this.at_work + this.waiting.len();
        this.drains.retain_mut(|drain| {
            let over = left == 0 || drain.sleep.as_mut().poll(cx).is_ready();
            if over {
                drain.drained.0.say(left);
            }
            !over
        });
        if this.mailbox.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Background {
    /// The runtime ended: what was left stays undone, and whoever waits for the end learns how much that is.
    fn drop(&mut self) {
        self.mailbox.close();
        let left = self.at_work + self.waiting.len();
        for drain in &self.drains {
            drain.drained.0.say(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_wait_that_comes_behind_the_end_of_the_set_is_answered() {
        let mailbox = Mailbox::new(9);
        mailbox.shut();
        let drained = Arc::new(Drained::default());
        let command = BackgroundCommand::Drain { until: Instant(0), drained: Said(Arc::clone(&drained)) };
        mailbox.tell(command);
        assert_eq!(drained.poll(&Context::from_waker(Waker::noop())), Poll::Ready(0));
    }
}
