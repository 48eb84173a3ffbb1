//! The timestamp batcher against a hostile PD.
//!
//! Askers, withdrawals, deadlines, leaders that change, streams that close, and answers of every kind: rows that fall back,
//! overlap or have another length, foreign headers, cut and changed protobuf. Laws, beside those of every service:
//!
//! * no timestamp is handed out twice, and each is above all that were handed out before it was asked for;
//! * a timestamp belongs to a row that PD granted;
//! * when PD is well again, who has time left gets a timestamp.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_client_core::machine::{
    Answer, Completion, Fault, Input, Interrupt, StreamId, TransportClass, TransportFault,
};
use tikv_client_core::pd::PdReply;
use tikv_client_core::tso::{TsoBatcher, TsoCommand, TsoConfig};
use tikv_client_core::types::{ClusterId, Timestamp};
use tikv_proto::pdpb;

use crate::choices::Choices;
use crate::service::{Flow, Stage};

const CLUSTER: u64 = 7;

struct Play {
    stage: Stage<TsoBatcher>,
    /// PD's last timestamp.
    clock: u64,
    newest: Timestamp,
    /// Rows that PD granted.
    rows: Vec<(u64, u64)>,
}

fn response(count: u32, last: u64, cluster: u64) -> pdpb::TsoResponse {
    let timestamp = pdpb::Timestamp {
        physical: i64::try_from(last >> 18).unwrap_or(0),
        logical: i64::try_from(last & 0x3_ffff).unwrap_or(0),
        suffix_bits: 0,
    };
    let header = Some(pdpb::ResponseHeader { cluster_id: cluster, error: None });
    pdpb::TsoResponse { header, count, timestamp: Some(timestamp) }
}

impl Play {
    fn get(&mut self, patience: Duration) {
        let deadline = self.stage.now + patience;
        let (_, asker) = self.stage.asker(deadline);
        self.stage.input(Input::Command(TsoCommand::Get { asker, deadline }));
    }

    fn stream(&self) -> Option<StreamId> {
        self.stage.streams.iter().find(|(_, flow)| **flow != Flow::Opening).map(|(stream, _)| *stream)
    }

    /// PD's right answer to the oldest request of the stream that is open.
    fn right(&mut self) -> Option<(StreamId, pdpb::TsoResponse)> {
        let open = self.stream()?;
        self.stage.sent.retain(|(stream, _)| *stream == open);
        if self.stage.sent.is_empty() {
            return None;
        }
        let (_, message) = self.stage.sent.remove(0);
        let request = pdpb::TsoRequest::decode(message).expect("a request is a message");
        assert_eq!(request.header.expect("a request has a header").cluster_id, CLUSTER);
        assert!((1..=5).contains(&request.count), "asks for {} timestamps", request.count);
        let count = u64::from(request.count);
        // As PD does: what does not fit into this millisecond comes from the next.
        self.clock = if (self.clock & 0x3_ffff) + count < 1 << 18 {
            self.clock + count
        } else {
            (((self.clock >> 18) + 1) << 18) + count
        };
        Some((open, response(request.count, self.clock, CLUSTER)))
    }

    fn say(&mut self, stream: StreamId, body: Bytes) {
        if let Ok(answer) = pdpb::TsoResponse::decode(body.clone())
            && let Some(last) = answer.timestamp
            && (0..1 << 46).contains(&last.physical)
            && (0..1 << 18).contains(&last.logical)
        {
            let last = (last.physical.cast_unsigned() << 18).wrapping_add(last.logical.cast_unsigned());
            self.rows.push((last.saturating_sub(u64::from(answer.count).saturating_sub(1)), last));
        }
        self.stage.turn(Input::Item(stream, body));
    }

    fn answer(&mut self, choices: &mut Choices<'_>) {
        let Some((stream, mut answer)) = self.right() else {
            if let Some(stream) = self.stream() {
                let body = choices.bytes(30);
                self.say(stream, body);
            }
            return;
        };
        match choices.below(10) {
            0 => answer.count = choices.any(),
            1 => answer.timestamp.get_or_insert_default().physical -= i64::from(choices.any::<u8>()),
            2 => answer.timestamp.get_or_insert_default().logical = choices.any(),
            3 => answer.timestamp.get_or_insert_default().physical = choices.any(),
            4 => answer.timestamp.get_or_insert_default().suffix_bits = choices.any::<u8>().into(),
            5 => {
                let error = pdpb::Error { r#type: choices.below(9) as i32, message: "fuzz".into() };
                let error = choices.one_in(2).then_some(error);
                answer.header = Some(pdpb::ResponseHeader { cluster_id: choices.any::<u8>().into(), error });
            }
            6 => answer.header = None,
            7 => {
                // A row that ends about where the newest timestamp is.
                let last = self
                    .newest
                    .0
                    .wrapping_add(u64::from(answer.count))
                    .saturating_sub(choices.below(4) as u64);
                answer.timestamp = response(answer.count, last, CLUSTER).timestamp;
            }
            _ => {}
        }
        // A clock that went ahead is PD's own from then on.
        if let Some(last) = answer.timestamp
            && choices.one_in(2)
            && let Ok(physical) = u64::try_from(last.physical)
            && physical < 1 << 45
        {
            self.clock = self.clock.max((physical + 1) << 18);
        }
        let body = answer.encode_to_vec().into();
        let body = if choices.one_in(4) { choices.spoil(body) } else { body };
        self.say(stream, body);
    }

    fn leader(&mut self, how: usize) {
        if self.stage.queries.is_empty() {
            return;
        }
        let (ticket, ..) = self.stage.queries.remove(0);
        let completion = match how {
            0 => Completion::Fault(Fault::Overloaded),
            1 => Completion::Fault(Fault::Interrupted(Interrupt::Deadline)),
            2 => Completion::Answer(Answer::Pd(PdReply::Store(None))),
            3 => Completion::Fault(Fault::Transport(TransportFault::new(TransportClass::TimedOut, "pd"))),
            4 => Completion::Answer(Answer::Pd(PdReply::Leader {
                address: "b:1".into(),
                cluster: ClusterId(CLUSTER),
            })),
            _ => Completion::Answer(Answer::Pd(PdReply::Leader {
                address: "a:1".into(),
                cluster: ClusterId(CLUSTER),
            })),
        };
        self.stage.turn(Input::Done(ticket, completion));
    }

    fn writable(&mut self) {
        if let Some(stream) = self.stage.streams.keys().next_back().copied() {
            self.stage.turn(Input::Writable(stream));
        }
    }

    fn check(&mut self) {
        assert!(self.stage.streams.len() <= 1, "more than one stream: {:?}", self.stage.streams);
        for (n, deadline, completion) in self.stage.answers() {
            match completion {
                Completion::Answer(Answer::Timestamp(timestamp)) => {
                    assert!(timestamp > self.newest, "{timestamp} was handed out after {}", self.newest);
                    let granted =
                        self.rows.iter().any(|(first, last)| (*first..=*last).contains(&timestamp.0));
                    assert!(granted, "{n} got {timestamp}, which PD did not grant: {:?}", self.rows);
                    self.newest = timestamp;
                }
                Completion::Fault(Fault::Transport(fault)) => {
                    assert!(self.stage.now >= deadline, "{n} hears {fault} before its deadline");
                }
                Completion::Fault(Fault::Refused(_)) => {}
                other => panic!("{n} was answered {other:?}"),
            }
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0..3 => {
                for _ in 0..=choices.below(4) {
                    let patience = Duration::from_millis(u64::from(choices.any::<u8>()) * 40);
                    self.get(patience);
                }
                self.stage.input(Input::Idle);
            }
            3 => {
                if let Some(n) = self.stage.some_waiting(choices.below(256)) {
                    let who = self.stage.withdraw(n);
                    self.stage.turn(Input::Command(TsoCommand::Withdraw(who)));
                }
            }
            4..6 => self.writable(),
            6..10 => self.answer(choices),
            10..12 => self.leader(choices.below(9)),
            12 => {
                if let Some(stream) = self.stage.streams.keys().next().copied() {
                    let class = *choices.of(&[
                        TransportClass::Lost,
                        TransportClass::Unreachable,
                        TransportClass::Rejected(2),
                    ]);
                    self.stage.close(stream, class);
                }
            }
            // A stream that is not ours says something.
            13 => {
                let body = choices.bytes(20);
                let stream = StreamId(u64::from(choices.any::<u8>()));
                if !self.stage.streams.contains_key(&stream) {
                    self.stage.turn(Input::Item(stream, body));
                }
            }
            _ => self.stage.pass(Duration::from_millis(u64::from(choices.any::<u8>()) * 8)),
        }
        self.check();
    }
}

/// See the module.
pub(super) fn play(choices: &mut Choices<'_>) {
    let mut config = TsoConfig::default();
    (config.in_flight, config.max_batch) = (1 + choices.below(3), 5);
    let mut play = Play {
        stage: Stage::new(TsoBatcher::new(config), choices.any()),
        // Close to the end of a millisecond.
        clock: (1 << 18) + 0x3_fff0,
        newest: Timestamp::default(),
        rows: Vec::new(),
    };
    while !choices.is_over() {
        play.step(choices);
    }
    // PD is well again, and its clock ahead of all that was taken for a row, also of those that nobody waited for any more.
    let top = play.rows.iter().map(|row| Timestamp(row.1)).max().unwrap_or_default();
    if top.physical_ms() > 1 << 45 {
        return;
    }
    play.clock = play.clock.max((top.physical_ms() + 1) << 18);
    let wanted = play.newest;
    play.stage.pass(Duration::from_secs(12));
    play.check();
    assert!(
        play.stage.waiting.is_empty(),
        "{:?} wait for ever: {:#?}",
        play.stage.waiting,
        play.stage.service
    );
    for _ in 0..3 {
        play.get(Duration::from_secs(60));
    }
    for _ in 0..200 {
        play.leader(9);
        play.writable();
        if let Some((stream, answer)) = play.right() {
            play.say(stream, answer.encode_to_vec().into());
        }
        play.check();
        if play.stage.waiting.is_empty() {
            break;
        }
        play.stage.pass(Duration::from_millis(40));
        play.check();
    }
    assert!(
        play.stage.waiting.is_empty() && play.newest > wanted,
        "nobody gets a timestamp: {:#?}",
        play.stage.service
    );
}
