//! The stream service of a store against a hostile server.
//!
//! Calls, withdrawals, deadlines, closings and moves, and frames of every kind: right answers, unknown and doubled ids, answers to
//! other commands, cut and changed protobuf, huge lengths. Laws, beside those of every service (see [`service`](crate::service)):
//!
//! * a frame has requests of those who wait only, each once under an id never used before, and no more than its bound;
//! * an answer is just what the server sent under that id, for that command;
//! * "unreachable" is said only of what was never sent: whoever was sent hears "lost" or "timed out";
//! * a move loses nothing: "lost" is said only after a stream broke or a frame could not be understood.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_client_core::machine::{Attempt, Completion, Fault, Input, StreamId, TransportClass};
use tikv_client_core::request::{Command, Profile, Request};
use tikv_client_core::stream::frame::FrameReader;
use tikv_client_core::stream::{BatchPolicy, Rate, StoreStream, StreamCommand, StreamConfig};
use tikv_client_core::types::{Instant, Located, PeerId, RegionId, RegionVersion, StoreId};
use tikv_proto::kvrpcpb as pb;
use tikv_proto::tikvpb::batch_commands_request::request::Cmd;
use tikv_proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse};

use crate::choices::Choices;
use crate::service::{Flow, Stage};

/// Requests in a frame at the most.
const BATCH: usize = 3;

struct Play {
    stage: Stage<StoreStream>,
    /// Who was sent, and under which id.
    sent: BTreeMap<u32, u64>,
    ids: BTreeSet<u64>,
    /// Ids that can be answered, with the stream they were sent on and the command's tag.
    flight: BTreeMap<u64, (StreamId, u32)>,
    /// What the server said on a stream under an id: tags and bodies.
    said: BTreeMap<(StreamId, u64), Vec<(u32, Bytes)>>,
    /// Streams that ended, or said what cannot be understood.
    broken: BTreeSet<StreamId>,
    /// How often the store has moved.
    moves: u32,
}

fn request(n: u32, put: bool) -> Request {
    // The key names the caller.
    let key = n.to_be_bytes().to_vec().into();
    if put {
        Request::new(&pb::RawPutRequest { key, ..Default::default() }, Profile::default())
    } else {
        Request::new(&pb::RawGetRequest { key, ..Default::default() }, Profile::default())
    }
}

fn attempt() -> Attempt {
    let region = RegionVersion { id: RegionId(3), version: 2, conf_ver: 1 };
    Attempt { max_execution_ms: 9, ..Attempt::first(Located { region, peer: PeerId(5), store: StoreId(7) }) }
}

impl Play {
    fn call(&mut self, choices: &mut Choices<'_>) {
        let patience = Duration::from_millis(u64::from(choices.any::<u8>()) * 20);
        let deadline = if choices.one_in(4) { Instant::FAR } else { self.stage.now + patience };
        let (n, asker) = self.stage.asker(deadline);
        let request = Arc::new(request(n, choices.one_in(2)));
        self.stage.input(Input::Command(StreamCommand::Call {
            asker,
            attempt: attempt(),
            request,
            deadline,
            forward: choices.one_in(6).then(|| "store:9".into()),
        }));
    }

    /// Reads what the service has sent.
    fn read_sent(&mut self) {
        for (stream, message) in std::mem::take(&mut self.stage.sent) {
            let frame = BatchCommandsRequest::decode(message).expect("a frame is a message");
            assert_eq!(frame.requests.len(), frame.request_ids.len());
            assert!(
                (1..=BATCH).contains(&frame.requests.len()),
                "{} requests in a frame",
                frame.requests.len()
            );
            for (id, request) in frame.request_ids.into_iter().zip(frame.requests) {
                let (key, context, tag) = match request.cmd.expect("a request has a command") {
                    Cmd::RawGet(get) => (get.key, get.context, Command::RawGet.number()),
                    Cmd::RawPut(put) => (put.key, put.context, Command::RawPut.number()),
                    other => panic!("nobody asked for {other:?}"),
                };
                assert!(
                    context.is_some_and(
                        |context| context.region_id == 3 && context.max_execution_duration_ms == 9
                    )
                );
                let n = u32::from_be_bytes(key.as_ref().try_into().expect("our own key"));
                assert!(self.stage.waiting.contains_key(&n), "{n} does not wait and was sent");
                assert!(self.ids.insert(id) && id != 0, "id {id} was used before");
                assert!(self.sent.insert(n, id).is_none(), "{n} was sent twice");
                self.flight.insert(id, (stream, tag));
            }
        }
    }

    /// A frame of some answers; what prost reads in it is noted as said.
    fn frame(&mut self, stream: StreamId, choices: &mut Choices<'_>) -> Bytes {
        let mut frame = Vec::new();
        let known: Vec<(u64, u32)> = self.flight.iter().map(|(id, (_, tag))| (*id, *tag)).collect();
        let old: Vec<u64> = self.ids.iter().copied().collect();
        let mut ids = Vec::new();
        for _ in 0..choices.below(5) {
            let (mut id, mut tag) = if known.is_empty() { (0, 13) } else { *choices.of(&known) };
            match choices.below(10) {
                0 => id = choices.any(),
                1 if !old.is_empty() => id = *choices.of(&old),
                2 => tag = u32::from(choices.any::<u8>()) + 1,
                3 => id = 0,
                _ => {}
            }
            let body = choices.bytes(9);
            let mut inner = Vec::new();
            prost::encoding::bytes::encode(tag, &body, &mut inner);
            let inner = choices.one_in(12).then(Bytes::new).unwrap_or_else(|| inner.into());
            prost::encoding::bytes::encode(1, &inner, &mut frame);
            ids.push(id);
        }
        if choices.one_in(12) {
            ids.pop();
        }
        if choices.one_in(4) {
            prost::encoding::uint64::encode_repeated(2, &ids, &mut frame);
        } else {
            prost::encoding::uint64::encode_packed(2, &ids, &mut frame);
        }
        let frame = if choices.one_in(3) { choices.spoil(frame.into()) } else { frame.into() };
        self.note(stream, &frame);
        frame
    }

    /// The reader is judged against prost where prost understands the frame; what it reads is what the server said.
    fn note(&mut self, stream: StreamId, frame: &Bytes) {
        let mut reader = FrameReader::default();
        let ours: Option<Vec<_>> = reader.read(frame).ok().map(|responses| responses.collect());
        if let Ok(whole) = BatchCommandsResponse::decode(frame.clone())
            && whole.request_ids.len() == whole.responses.len()
        {
            let ours = ours.as_ref().expect("what prost reads, the reader reads");
            let ids: Vec<u64> = ours.iter().map(|response| response.id).collect();
            assert_eq!(ids, whole.request_ids);
        }
        if ours.is_none() {
            self.broken.insert(stream);
        }
        for response in ours.into_iter().flatten() {
            self.said.entry((stream, response.id)).or_default().push((response.tag, response.body));
        }
    }

    fn check(&mut self) {
        self.read_sent();
        for (n, deadline, completion) in self.stage.answers() {
            let id = self.sent.get(&n).copied();
            let sent = id.and_then(|id| Some((id, self.flight.remove(&id)?)));
            let said = sent.and_then(|(id, (stream, _))| self.said.get(&(stream, id)));
            let said = said.map(Vec::as_slice).unwrap_or_default();
            match completion {
                Completion::Response(body) => {
                    let tag = sent.map(|(_, (_, tag))| tag);
                    let said = said.iter().any(|(said, text)| Some(*said) == tag && *text == body);
                    assert!(said, "{n} was given an answer that nobody sent");
                }
                Completion::Fault(Fault::Transport(fault)) => match (fault.class, sent) {
                    (TransportClass::Unreachable, None) => assert!(id.is_none()),
                    (TransportClass::Lost, Some((_, (stream, tag)))) => {
                        let other = said.iter().any(|(said, _)| *said != tag);
                        assert!(
                            other || self.broken.contains(&stream),
                            "{n} was lost on a stream that works"
                        );
                    }
                    (TransportClass::TimedOut, Some(_)) => assert!(deadline <= self.stage.now),
                    (class, sent) => panic!("{n}, sent as {sent:?}, hears {class:?}"),
                },
                Completion::Fault(Fault::Overloaded) => assert!(id.is_none()),
                other => panic!("{n} was answered {other:?}"),
            }
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let open = self.stage.streams.keys().next_back().copied();
        match choices.below(15) {
            0..3 => self.call(choices),
            3 | 4 => self.stage.input(Input::Idle),
            5 => {
                if let Some(n) = self.stage.some_waiting(choices.below(256)) {
                    let who = self.stage.withdraw(n);
                    if let Some(id) = self.sent.get(&n) {
                        self.flight.remove(id);
                    }
                    self.stage.input(Input::Command(StreamCommand::Withdraw(who)));
                }
            }
            6..8 => {
                if let Some(stream) = open {
                    self.stage.turn(Input::Writable(stream));
                }
            }
            8..11 => {
                // Messages come on streams that are open, also on one that the store has moved away from.
                let streams = self.stage.streams.iter().filter(|(_, flow)| **flow != Flow::Opening);
                let streams: Vec<StreamId> = streams.map(|(stream, _)| *stream).collect();
                if !streams.is_empty() {
                    let stream = *choices.of(&streams);
                    let frame = self.frame(stream, choices);
                    self.stage.input(Input::Item(stream, frame));
                }
            }
            11 => {
                let streams: Vec<StreamId> = self.stage.streams.keys().copied().collect();
                if !streams.is_empty() {
                    let stream = *choices.of(&streams);
                    let class = *choices.of(&[
                        TransportClass::Lost,
                        TransportClass::Unreachable,
                        TransportClass::Rejected(14),
                    ]);
                    self.closed(stream, class);
                }
            }
            12 => self.stage.pass(Duration::from_millis(choices.any::<u8>().into())),
            13 => {
                // Now and then back to where it was.
                self.moves += u32::from(!choices.one_in(4));
                let address = format!("store:{}", self.moves % 3).into();
                self.stage.input(Input::Command(StreamCommand::Move { address }));
            }
            // A stream that is long gone says something.
            _ => {
                let stream = StreamId(choices.below(4) as u64);
                if !self.stage.streams.contains_key(&stream) {
                    let frame = self.frame(stream, choices);
                    self.stage.input(Input::Item(stream, frame));
                    self.stage.input(Input::Writable(stream));
                }
            }
        }
        self.check();
    }

    fn closed(&mut self, stream: StreamId, class: TransportClass) {
        self.broken.insert(stream);
        // A stream that never opened says why; whoever waits for it was not sent.
        self.stage.close(stream, class);
    }
}

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let config = config(&mut choices);
    let stream = StoreStream::new("store:1".into(), config);
    let mut play = Play {
        stage: Stage::new(stream, choices.any()),
        sent: BTreeMap::new(),
        ids: BTreeSet::new(),
        flight: BTreeMap::new(),
        said: BTreeMap::new(),
        broken: BTreeSet::new(),
        moves: 0,
    };
    while !choices.is_over() {
        play.step(&mut choices);
    }
    // Time alone ends every wait that has an end, and a store that closes the others.
    play.stage.pass(Duration::from_secs(10));
    play.check();
    while let Some(stream) = play.stage.streams.keys().next().copied() {
        play.closed(stream, TransportClass::Unreachable);
        play.check();
        // It opens once more at once, for what was not sent.
        play.stage.pass(Duration::from_millis(1));
    }
    play.check();
    assert!(play.stage.waiting.is_empty(), "{:?} wait for ever", play.stage.waiting);
}

fn config(choices: &mut Choices<'_>) -> StreamConfig {
    let mut config = StreamConfig::default();
    config.max_batch = BATCH;
    config.max_queued = 1 + choices.below(12);
    config.connections = 1 + u32::from(choices.any::<u8>() % 3);
    config.per_connection = 1 + choices.below(4);
    if choices.one_in(2) {
        config.max_in_flight = 1 + choices.below(6);
    }
    if choices.one_in(4) {
        config.policy = BatchPolicy::Positive;
    }
    if choices.one_in(4) {
        let at_least_one = |n: u8| NonZeroU32::MIN.saturating_add(n.into());
        config.rate = Some(Rate::new(at_least_one(choices.any()), at_least_one(choices.any())));
    }
    if choices.one_in(4) {
        config.idle_timeout = Duration::from_millis(choices.any::<u8>().into());
    }
    config
}
