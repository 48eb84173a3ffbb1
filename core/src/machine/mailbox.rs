//! Mailboxes: how operations hand commands to a service, from any thread, without a lock.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use crossbeam_queue::SegQueue;

/// A queue of commands and the waker of the service's task.
///
/// Pushing never blocks and never calls a runtime. Once closed, what is pushed is dropped at once, and with it the
/// asker inside, who then learns that the client is closed.
pub struct Mailbox<C> {
    /// With whether somebody waits for the command.
    queue: SegQueue<(bool, C)>,
    waker: AtomicWaker,
    closed: AtomicBool,
    /// Commands inside that somebody waits for.
    waiting: AtomicUsize,
    limit: usize,
}

impl<C> Mailbox<C> {
    /// An empty mailbox that takes at most `limit` commands that somebody waits for.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            queue: SegQueue::new(),
            waker: AtomicWaker::new(),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            limit,
        }
    }

    /// Hands over a command that somebody waits for.
    ///
    /// # Errors
    /// The command, when too many wait already.
    pub fn ask(&self, command: C) -> Result<(), C> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(command);
        }
        self.push(true, command);
        Ok(())
    }

    /// Hands over a command that nobody waits for: never refused.
    pub fn tell(&self, command: C) {
        self.push(false, command);
    }

    fn push(&self, waited_for: bool, command: C) {
        self.queue.push((waited_for, command));
        if self.closed.load(Ordering::SeqCst) {
            while self.take().is_some() {}
            return;
        }
        self.waker.wake();
    }

    /// The next command.
    #[must_use]
    pub fn take(&self) -> Option<C> {
        let (waited_for, command) = self.queue.pop()?;
        if waited_for {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Some(command)
    }

    /// Wakes `waker` at the next push. To be called before the queue is drained.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Asks the service's task to end: it will close the mailbox.
    pub fn shut(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Refuses everything from now on and drops what is inside. The service's task is gone.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        while self.take().is_some() {}
    }

    /// Whether the service's task is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

impl<C> fmt::Debug for Mailbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("inside", &self.queue.len())
            .field("closed", &self.closed.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
