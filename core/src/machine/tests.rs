//! What the kernel promises, shown with a small machine: a ping with hints, pauses and retries.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use proptest::prelude::*;

use super::script::Script;
use super::*;
use crate::backoff::{Allowance, Attempts, Budget, Kind, Tuning};
use crate::request::{Profile, Request};
use crate::types::{Instant, KeyRange, Located, PeerId, RegionId, RegionVersion, StoreId, WallTime};
use tikv_proto::kvrpcpb as pb;

fn region(id: u64) -> RegionVersion {
    RegionVersion { id: RegionId(id), version: 1, conf_ver: 1 }
}

/// One region whose leader moves when it is told so.
#[derive(Debug)]
struct OneRegion(RefCell<u64>);

impl Facts for OneRegion {
    fn locate(&self, _: &[u8], _: Instant) -> Option<Located> {
        let store = *self.0.borrow();
        Some(Located { region: region(1), peer: PeerId(store * 10), store: StoreId(store) })
    }
    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.locate(key, now)
    }
    fn span(&self, _: RegionVersion) -> Option<KeyRange> {
        Some(KeyRange::ALL)
    }
    fn report(&self, feedback: &Feedback, _: Instant) {
        if let Feedback::LeaderIs { store, .. } = feedback {
            *self.0.borrow_mut() = store.0;
        }
    }
}

fn one_region() -> OneRegion {
    OneRegion(RefCell::new(1))
}

/// Sends until the answer is empty: a byte names the store to go to, two bytes ask for a pause.
#[derive(Debug)]
struct Ping {
    request: Arc<Request>,
    attempts: Attempts,
    phase: PingPhase,
}

#[derive(Debug)]
enum PingPhase {
    Selecting,
    InFlight(Ticket<Bytes>),
    BackingOff(Ticket<Fired>),
}

fn ping() -> Ping {
    let request = Arc::new(Request::new(&pb::RawGetRequest::default(), Profile::default()));
    Ping { request, attempts: Attempts::default(), phase: PingPhase::Selecting }
}

impl Machine for Ping {
    type Output = Result<u32, Fault>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            self.phase = match &self.phase {
                PingPhase::Selecting => {
                    let Some(to) = cx.locate(b"k") else { return Poll::Ready(Err(Fault::Overloaded)) };
                    let attempt = Attempt::first(to);
                    PingPhase::InFlight(cx.call(attempt, Arc::clone(&self.request), Instant::FAR))
                }
                PingPhase::InFlight(call) => match ready!(cx.take(call)) {
                    Ok(reply) if reply.is_empty() => return Poll::Ready(Ok(cx.budget().setbacks())),
                    Ok(reply) if reply.len() == 1 => {
                        let store = StoreId(reply[0].into());
                        cx.report(Feedback::LeaderIs { region: region(1), peer: PeerId(0), store });
                        PingPhase::Selecting
                    }
                    Ok(_) | Err(Fault::Transport(_)) => {
                        match cx.back_off(Kind::RegionMiss, &mut self.attempts, "busy") {
                            Ok(timer) => PingPhase::BackingOff(timer),
                            Err(_) => return Poll::Ready(Err(Fault::Overloaded)),
                        }
                    }
                    Err(fault) => return Poll::Ready(Err(fault)),
                },
                PingPhase::BackingOff(timer) => {
                    if let Err(fault) = ready!(cx.take(timer)) {
                        return Poll::Ready(Err(fault));
                    }
                    PingPhase::Selecting
                }
            };
        }
    }
}

fn response(bytes: &'static [u8]) -> Completion {
    Completion::Response(Bytes::from_static(bytes))
}

#[test]
fn a_hint_moves_at_once_and_a_pause_is_a_timer() {
    let mut s = Script::given(ping(), one_region());
    let (call, ..) = s.expect_call(StoreId(1));
    s.complete(call, response(b"\x02"));
    s.expect_report();
    let (call, ..) = s.expect_call(StoreId(2)); // no timer in between
    s.complete(call, response(b"bu"));
    let timer = s.expect_timer();
    s.fire(timer);
    let (call, ..) = s.expect_call(StoreId(2));
    s.complete(call, response(b""));
    let (output, transcript) = s.done();
    assert_eq!(output, Ok(1));
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_spurious_step_changes_nothing() {
    let facts = one_region();
    let mut op = Op::default();
    op.begin(1, Instant::FAR, Budget::default());
    let mut machine = ping();
    let mut step = |op: &mut Op| machine.step(&mut Cx::root(Instant(5), WallTime(0), &facts, op));
    assert!(step(&mut op).is_pending());
    assert!(op.next_effect().is_some());
    assert!(step(&mut op).is_pending());
    assert!(op.next_effect().is_none());
}

#[test]
#[should_panic(expected = "unread effect")]
fn a_forgotten_effect_fails_a_script() {
    let mut s = Script::given(ping(), one_region());
    let (call, ..) = s.expect_call(StoreId(1));
    s.complete(call, response(b"\x02"));
    s.expect_report();
    s.interrupt(Interrupt::Killed);
    drop(s.done());
}

#[test]
#[should_panic(expected = "nobody waits")]
fn a_completion_that_nobody_waits_for_fails_a_script() {
    let mut s = Script::given(ping(), one_region());
    let (call, ..) = s.expect_call(StoreId(1));
    s.complete(call, response(b"\x02"));
    s.complete(call, response(b""));
}

#[test]
#[should_panic(expected = "not done")]
fn a_forgotten_completion_fails_a_script() {
    let mut s = Script::given(ping(), one_region());
    s.expect_call(StoreId(1));
    drop(s.done());
}

#[test]
fn a_deadline_completes_every_open_ticket_and_nothing_leaves_afterwards() {
    let mut s = Script::given(ping(), one_region());
    let (call, ..) = s.expect_call(StoreId(1));
    s.interrupt(Interrupt::Deadline);
    s.expect_cancel(call);
    assert_eq!(s.done().0, Err(Fault::Interrupted(Interrupt::Deadline)));
}

#[test]
fn a_pause_that_the_deadline_cuts_short_ends_as_interrupted() {
    let mut s = Script::until(Instant(1_000_000), ping(), one_region());
    let (call, ..) = s.expect_call(StoreId(1));
    s.complete(call, response(b"bu"));
    let timer = s.expect_timer();
    assert_eq!(timer.1, Instant(1_000_000));
    s.fire(timer);
    assert_eq!(s.done().0, Err(Fault::Interrupted(Interrupt::Deadline)));
}

/// Counts how often it is stepped.
#[derive(Debug)]
struct Counted(Ping, Arc<std::sync::atomic::AtomicU32>);

impl Machine for Counted {
    type Output = Result<u32, Fault>;
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.step(cx)
    }
}

#[derive(Debug)]
struct All(Fanout<Counted>, u32);

impl Machine for All {
    type Output = Result<u32, Fault>;
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        while let Some(result) = ready!(self.0.next(cx)) {
            match result {
                Ok(_) => self.1 += 1,
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
        Poll::Ready(Ok(self.1))
    }
}

fn all(children: usize, limit: usize) -> (All, Vec<Arc<std::sync::atomic::AtomicU32>>) {
    let mut fanout = Fanout::new(limit);
    let counts: Vec<_> = (0..children).map(|_| Arc::default()).collect();
    for count in &counts {
        fanout.push(Counted(ping(), Arc::clone(count)));
    }
    (All(fanout, 0), counts)
}

fn steps(counts: &[Arc<std::sync::atomic::AtomicU32>]) -> Vec<u32> {
    counts.iter().map(|count| count.load(std::sync::atomic::Ordering::Relaxed)).collect()
}

#[test]
fn only_the_child_whose_ticket_completed_is_stepped() {
    let (machine, counts) = all(3, 3);
    let mut s = Script::given(machine, one_region());
    let calls = [1, 1, 1].map(|store| s.expect_call(StoreId(store)).0);
    assert_eq!(steps(&counts), [1, 1, 1]);
    s.complete(calls[1], response(b"bu"));
    assert_eq!(steps(&counts), [1, 2, 1]);
    let timer = s.expect_timer();
    s.complete(calls[0], response(b""));
    s.complete(calls[2], response(b""));
    s.fire(timer);
    assert_eq!(steps(&counts), [2, 3, 2]);
    let (call, ..) = s.expect_call(StoreId(1));
    s.complete(call, response(b""));
    assert_eq!(s.done().0, Ok(3));
}

#[test]
fn no_more_children_than_the_limit_are_at_work_and_they_start_in_order() {
    let (machine, counts) = all(4, 2);
    let mut s = Script::given(machine, one_region());
    let first = [1, 1].map(|store| s.expect_call(StoreId(store)).0);
    s.expect_nothing();
    assert_eq!(steps(&counts), [1, 1, 0, 0]);
    s.complete(first[1], response(b""));
    let (third, ..) = s.expect_call(StoreId(1));
    assert_eq!(steps(&counts), [1, 2, 1, 0]);
    s.complete(first[0], response(b""));
    let (fourth, ..) = s.expect_call(StoreId(1));
    s.complete(third, response(b""));
    s.complete(fourth, response(b""));
    assert_eq!(s.done().0, Ok(4));
}

#[test]
fn a_machine_that_ends_early_cancels_what_its_children_wait_for() {
    let (machine, _) = all(3, 3);
    let mut s = Script::given(machine, one_region());
    let calls = [1, 1, 1].map(|store| s.expect_call(StoreId(store)).0);
    s.complete(calls[1], Completion::Fault(Fault::Interrupted(Interrupt::Killed)));
    s.expect_cancel(calls[0]);
    s.expect_cancel(calls[2]);
    assert!(s.done().0.is_err());
}

#[test]
fn a_dropped_operation_gives_back_every_ticket() {
    let (machine, _) = all(3, 3);
    let mut s = Script::given(machine, one_region());
    let calls = [1, 1, 1].map(|store| s.expect_call(StoreId(store)).0);
    s.abandon();
    for call in calls {
        s.expect_cancel(call);
    }
}

#[test]
fn used_again_storage_takes_no_completion_of_the_operation_before() {
    let facts = one_region();
    let mut op = Op::default();
    op.begin(1, Instant::FAR, Budget::default());
    let mut first = ping();
    assert!(first.step(&mut Cx::root(Instant(0), WallTime(0), &facts, &mut op)).is_pending());
    let Some(Effect::Call { ticket: late, .. }) = op.next_effect() else { panic!("a call") };
    op.end();
    assert!(matches!(op.next_effect(), Some(Effect::Cancel { ticket, .. }) if ticket == late));
    op.begin(2, Instant::FAR, Budget::default());
    let mut second = ping();
    assert!(second.step(&mut Cx::root(Instant(0), WallTime(0), &facts, &mut op)).is_pending());
    assert!(!op.deliver(late, response(b"")), "a late completion found the next operation");
}

#[test]
fn tickets_are_given_back_in_an_order_that_does_not_depend_on_what_the_storage_was_used_for_before() {
    let facts = one_region();
    let mut used = Op::default();
    used.begin(1, Instant::FAR, Budget::default());
    let cancelled = |op: &mut Op| {
        let mut cx = Cx::root(Instant(0), WallTime(0), &facts, op);
        let timers = [1, 2, 3].map(|at| cx.timer(Instant(at), Why::LockTtl).id());
        while op.next_effect().is_some() {}
        // The middle one is taken out of order.
        op.release(timers[1]);
        while op.next_effect().is_some() {}
        op.end();
        let mut order = Vec::new();
        while let Some(Effect::Cancel { at: Destination::Timers(at), .. }) = op.next_effect() {
            order.push(at.0);
        }
        order
    };
    // Now its free slots stand in another order than those of new storage.
    assert_eq!(cancelled(&mut used), [1, 3]);
    used.begin(2, Instant::FAR, Budget::default());
    assert_eq!(cancelled(&mut used), [1, 3]);
}

/// The effects of a run of pings, as text.
fn effects(seed: u64, children: usize, choices: &[(usize, u8)]) -> String {
    let facts = one_region();
    let (mut machine, _) = all(children, 3);
    let mut op = Op::default();
    op.begin(seed, Instant::FAR, Budget::new(Allowance::GET, Tuning::default()));
    let mut seen = String::new();
    let mut open: Vec<(TicketId, Option<Instant>)> = Vec::new();
    let mut now = Instant(0);
    let mut polled = machine.step(&mut Cx::root(now, WallTime(0), &facts, &mut op));
    for &(which, what) in choices {
        while let Some(effect) = op.next_effect() {
            seen += &format!("{effect:?}\n");
            match effect {
                Effect::Call { ticket, .. } => open.push((ticket, None)),
                Effect::Timer { ticket, at, .. } => open.push((ticket, Some(at))),
                _ => {}
            }
        }
        if polled.is_ready() || open.is_empty() {
            break;
        }
        let (ticket, timer) = open.remove(which % open.len());
        let completion = match timer {
            Some(at) => {
                now = now.max(at);
                Completion::TimerFired(at)
            }
            None => match what % 4 {
                0 => response(b""),
                1 => response(b"\x02"),
                2 => response(b"bu"),
                _ => Completion::Fault(Fault::Transport(TransportFault::new(TransportClass::Lost, "x"))),
            },
        };
        if op.deliver(ticket, completion) {
            polled = machine.step(&mut Cx::root(now, WallTime(0), &facts, &mut op));
        }
    }
    op.end();
    while let Some(effect) = op.next_effect() {
        seen += &format!("{effect:?}\n");
    }
    assert_eq!(op.open_tickets(), 0);
    seen
}

proptest! {
    #[test]
    fn same_seed_completions_and_facts_give_the_same_effects(
        seed: u64, children in 1usize..8, choices in proptest::collection::vec(any::<(usize, u8)>(), 0..60),
    ) {
        prop_assert_eq!(effects(seed, children, &choices), effects(seed, children, &choices));
    }
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn an_asker_that_is_dropped_answers_that_the_client_is_closed() {
    let seat = Arc::new(Seat::default());
    seat.register(noop().waker());
    drop(Asker::new(Arc::clone(&seat), TicketId::new(3, 1)));
    let closed = Completion::Fault(Fault::Interrupted(Interrupt::Closed));
    assert_eq!(seat.next(), Some((TicketId::new(3, 1), closed)));
}

#[test]
fn a_forgotten_asker_answers_nothing() {
    let seat = Arc::new(Seat::default());
    Asker::new(Arc::clone(&seat), TicketId::new(3, 1)).forget();
    assert_eq!(seat.next(), None);
}

#[test]
fn a_closed_mailbox_drops_what_it_has_and_what_comes() {
    let seat = Arc::new(Seat::default());
    let mailbox = Mailbox::new(10);
    mailbox.ask(Asker::new(Arc::clone(&seat), TicketId::new(1, 0))).unwrap();
    mailbox.close();
    mailbox.ask(Asker::new(Arc::clone(&seat), TicketId::new(2, 0))).unwrap();
    let answered: Vec<_> = std::iter::from_fn(|| seat.next()).map(|(ticket, _)| ticket).collect();
    assert_eq!(answered, [TicketId::new(1, 0), TicketId::new(2, 0)]);
}

#[test]
fn a_full_mailbox_refuses_questions_and_takes_what_nobody_waits_for() {
    let mailbox = Mailbox::new(2);
    assert_eq!(mailbox.ask(1), Ok(()));
    assert_eq!(mailbox.ask(2), Ok(()));
    assert_eq!(mailbox.ask(3), Err(3));
    mailbox.tell(4);
    assert_eq!(std::iter::from_fn(|| mailbox.take()).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(mailbox.ask(5), Ok(()));
}

#[test]
fn effects_stay_small() {
    // They are moved at every call; a fat variant belongs in a box.
    assert!(size_of::<Effect>() <= 112, "Effect has {} bytes", size_of::<Effect>());
    assert!(size_of::<Completion>() <= 128, "Completion has {} bytes", size_of::<Completion>());
}
