use std::collections::BTreeMap;

use super::*;
use crate::pd::tests::world::World;

/// What happens next around the batcher.
#[derive(Clone, Debug)]
enum Step {
    Get {
        callers: u32,
        deadline_ms: u64,
    },
    Withdraw(usize),
    Writable,
    /// PD answers the oldest request, after its clock went on; how: 0 wrong count, 1 fallback, else right.
    Answer {
        how: u8,
        on: u64,
    },
    Leader {
        how: u8,
    },
    Close,
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5_u32, 100..8000_u64).prop_map(|(callers, deadline_ms)| Step::Get { callers, deadline_ms }),
        1 => any::<usize>().prop_map(Step::Withdraw),
        4 => Just(Step::Writable),
        6 => (0..20_u8, 0..3_u64).prop_map(|(how, on)| Step::Answer { how, on }),
        4 => (0..5_u8).prop_map(|how| Step::Leader { how }),
        1 => Just(Step::Close),
        2 => (0..1500_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// A batcher, PD's clock, and what every caller is owed.
struct Play {
    world: World<TsoBatcher>,
    clock: u64,
    count: u32,
    /// Who waits: its deadline, and the newest timestamp that had been handed out when it asked.
    open: BTreeMap<u32, (Instant, Timestamp)>,
    newest: Timestamp,
}

impl Play {
    fn new(seed: u64) -> Self {
        let config = TsoConfig { in_flight: 2, max_batch: 5, ..TsoConfig::default() };
        let world = World::new(TsoBatcher::new(config), seed);
        Self { world, clock: 1 << 18, count: 0, open: BTreeMap::new(), newest: Timestamp::default() }
    }

    fn stream(&self) -> Option<StreamId> {
        self.world.streams.keys().next().copied()
    }

    fn take(&mut self, step: Step) {
        let world = &mut self.world;
        match step {
            Step::Get { callers, deadline_ms } => {
                let deadline = world.now + Duration::from_millis(deadline_ms);
                for _ in 0..callers {
                    self.count += 1;
                    self.open.insert(self.count, (deadline, self.newest));
                    let asker = world.asker(self.count);
                    world.input(Input::Command(TsoCommand::Get { asker, deadline }));
                }
                world.input(Input::Idle);
            }
            Step::Withdraw(which) => {
                let Some(&n) = self.open.keys().nth(which % self.open.len().max(1)) else { return };
                self.open.remove(&n);
                let who = world.withdrawn(n);
                world.turn(Input::Command(TsoCommand::Withdraw(who)));
            }
            Step::Writable => {
                if let Some(stream) = world.streams.keys().next().copied() {
                    world.turn(Input::Writable(stream));
                }
            }
            Step::Answer { how, on } => self.answer(how, on),
            Step::Leader { how } => {
                let Some((ticket, ..)) = world.queries.pop() else { return };
                let completion = match how {
                    0 => Completion::Fault(Fault::Overloaded),
                    1 => leader("b:1"),
                    _ => leader("a:1"),
                };
                world.done(ticket, completion);
            }
            Step::Close => {
                let Some(stream) = self.stream() else { return };
                self.world.streams.remove(&stream);
                let fault = TransportFault::new(TransportClass::Lost, "reset");
                self.world.turn(Input::Closed(stream, fault));
            }
            Step::Pass { ms } => world.pass(Duration::from_millis(ms)),
        }
    }

    fn answer(&mut self, how: u8, on: u64) {
        let open = self.stream();
        self.world.sent.retain(|(stream, _)| Some(*stream) == open);
        if self.world.sent.is_empty() {
            return;
        }
        let (stream, message) = self.world.sent.remove(0);
        let count = pdpb::TsoRequest::decode(message).unwrap().count;
        assert!((1..=5).contains(&count));
        // As PD does: what does not fit into this millisecond comes from the next.
        self.clock += on << 18;
        let (physical, logical) = (self.clock >> 18, (self.clock & 0x3_ffff) + u64::from(count));
        let last = if logical < 1 << 18 {
            self.clock + u64::from(count)
        } else {
            ((physical + 1) << 18) + u64::from(count)
        };
        if how != 1 {
            self.clock = last;
        }
        let last = if how == 1 { last.saturating_sub(1 << 17) } else { last };
        let response = grant(
            if how == 0 { count + 1 } else { count },
            i64::try_from(last >> 18).unwrap(),
            i64::try_from(last & 0x3_ffff).unwrap(),
        );
        self.world.turn(Input::Item(stream, response.encode_to_vec().into()));
    }

    /// Looks at what was answered: once each, by the deadline, and never what had been handed out.
    fn check(&mut self) -> Result<(), TestCaseError> {
        for (n, completion) in self.world.answers() {
            let owed = self.open.remove(&n);
            let (deadline, before) = owed.ok_or_else(|| TestCaseError::fail("answered twice"))?;
            match completion {
                Completion::Answer(Answer::Timestamp(timestamp)) => {
                    prop_assert!(timestamp > self.newest, "{timestamp} after {}", self.newest);
                    prop_assert!(timestamp > before);
                    self.newest = timestamp;
                }
                Completion::Fault(Fault::Transport(_)) => prop_assert!(self.world.now >= deadline),
                Completion::Fault(Fault::Refused(_)) => {}
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }
        prop_assert!(self.open.values().all(|(deadline, _)| *deadline >= self.world.now));
        Ok(())
    }
}

proptest! {
    #[test]
    fn timestamps_are_unique_and_grow_and_everyone_is_answered(
        steps in proptest::collection::vec(step(), 0..150), seed: u64,
    ) {
        let mut play = Play::new(seed);
        for step in steps {
            play.take(step);
            play.check()?;
        }
        // PD is well again: whoever has time left gets a timestamp.
        play.take(Step::Get { callers: 3, deadline_ms: 60_000 });
        let (last, wanted) = (play.count, play.newest);
        for _ in 0..200 {
            for step in [Step::Leader { how: 2 }, Step::Writable, Step::Answer { how: 9, on: 1 }] {
                play.take(step);
            }
            if play.world.streams.is_empty() {
                play.take(Step::Pass { ms: 100 });
            }
            play.check()?;
        }
        prop_assert!(play.open.is_empty(), "{:?} wait: {:#?}", play.open, play.world.service);
        prop_assert!(play.newest > wanted && last == play.count);
        prop_assert_eq!(play.world.service.left(), 0);
    }
}
