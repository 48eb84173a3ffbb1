//! A store's `BatchCommands` stream.
//!
//! The commands of all frames that have come run under one lock, and what is ready is answered in one frame, or, as
//! soon as that is full, in several; what waits is answered when it is ready, so that no command holds up another. A lost answer is one that
//! never comes.

use std::time::Duration;

use bytes::Bytes;
use tikv_proto::tikvpb::batch_commands_response::response;
use tokio::sync::mpsc;

use super::dispatch::Served;
use super::grpc::{Gone, Incoming, PREFIX, seal};
use super::shared::Waiter;
use crate::model::frame::{Answers, commands};
use crate::model::{Answer, Call, Command, Now, Reply, Status};

/// A frame of answers is closed at this size, so that a client's limit of a message is met.
const FULL: usize = 3 << 20;
/// The commands of one stream that may wait; those behind them are not begun.
const MOST_WAITING: usize = 10_000;

/// How often a client is told how the store feels, along with answers.
// TiKV: src/server/service/kv.rs: DEFAULT_HEALTH_FEEDBACK_INTERVAL
const FEEDBACK_INTERVAL: Duration = Duration::from_secs(1);

/// What is ready to be sent, and how the stream ends if it does.
#[derive(Debug)]
struct Ready {
    full: Vec<Bytes>,
    answers: Answers,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Status(Status),
    Broken,
}

impl Ready {
    fn new() -> Self {
        Self { full: Vec::new(), answers: Answers::new(PREFIX), end: None }
    }

    fn add(&mut self, id: u64, reply: Reply) {
        match reply {
            Reply::Store(answer) => {
                // No other answer belongs to a command of a batch.
                if let Answer::Batched(answer) = *answer {
                    self.push(id, Some(answer));
                }
            }
            Reply::Fail(status) => self.end = Some(End::Status(status)),
            Reply::Broken => self.end = Some(End::Broken),
            Reply::Lost | Reply::Bytes(_) | Reply::Watch(_) => {}
        }
    }

    fn push(&mut self, id: u64, answer: Option<response::Cmd>) {
        self.answers.push(id, answer);
        if self.answers.bytes() >= FULL {
            self.close_frame();
        }
    }

    fn close_frame(&mut self) {
        self.full.extend(self.answers.close().map(seal));
    }

    /// All that is ready, as framed messages: one, unless they would be too many bytes.
    fn frames(&mut self) -> Vec<Bytes> {
        self.close_frame();
        std::mem::take(&mut self.full)
    }
}

/// A command with its id; without a command stands one that the store does not know. An error ends the stream.
type Asked = Result<(u64, Option<Box<Command>>), Status>;
/// The commands of one frame.
type Commands = Box<dyn Iterator<Item = Asked> + Send>;

/// A stream's next command, out of the frame that is begun or the next one; `None`: all that has come is done.
fn next(begun: &mut Option<Commands>, incoming: &mut Incoming) -> Option<Asked> {
    loop {
        if let Some(next) = begun.as_mut().and_then(Iterator::next) {
            return Some(next);
        }
        *begun = None;
        match commands(incoming.pop()?) {
            Ok(commands) => *begun = Some(Box::new(commands)),
            Err(status) => return Some(Err(status)),
        }
    }
}

/// Serves the stream until either side ends it.
///
/// A client that does not take its answers is not asked for more: what is ready then is a frame, and what waits has a
/// bound.
pub(super) async fn serve(mut served: Served, store: u64) -> Result<(), Gone> {
    served.outgoing = served.outgoing.open()?;
    let (late, mut later) = mpsc::unbounded_channel();
    // The client has sent all it will; what waits is still answered.
    let mut half_closed = false;
    // Commands that are answered later.
    let mut waiting: usize = 0;
    // When the client was last told how the store feels.
    let mut told: Option<Now> = None;
    let mut begun = None;
    loop {
        let mut ready = Ready::new();
        let more = begun.is_some() || !served.incoming.is_empty();
        let full = waiting >= MOST_WAITING;
        if full || !more {
            tokio::select! {
                biased;
                arrived = served.incoming.arrived(), if !half_closed && !full => match arrived {
                    Ok(arrived) => half_closed = !arrived,
                    Err(status) => ready.end = Some(End::Status(status)),
                },
                Some((id, reply)) = later.recv(), if waiting > 0 => {
                    waiting -= 1;
                    ready.add(id, reply);
                }
                () = served.outgoing.gone(), if half_closed || full => return Err(Gone),
            }
        }
        while let Ok((id, reply)) = later.try_recv() {
            waiting = waiting.saturating_sub(1);
            ready.add(id, reply);
        }
        waiting +=
            run(&mut served, store, &mut begun, MOST_WAITING.saturating_sub(waiting), &late, &mut ready);
        let now = served.shared.now();
        if !ready.answers.is_empty() && told.is_none_or(|told| now.since(told) >= FEEDBACK_INTERVAL) {
            told = Some(now);
            let feedback = served.shared.with(|cluster, _| cluster.feedback(store));
            ready.answers.tell_health(&feedback);
        }
        for frame in ready.frames() {
            served.outgoing.send(frame).await?;
        }
        match ready.end {
            Some(End::Status(status)) => return served.outgoing.finish(Err(status)),
            Some(End::Broken) => {
                served.outgoing.reset();
                return Ok(());
            }
            None if half_closed && waiting == 0 && begun.is_none() && served.incoming.is_empty() => {
                return served.outgoing.finish(Ok(()));
            }
            None => {}
        }
    }
}

/// Runs commands that have come, until a frame of answers is full or `room` of them wait; returns how many are answered
/// later.
fn run(
    served: &mut Served,
    store: u64,
    begun: &mut Option<Commands>,
    room: usize,
    late: &mpsc::UnboundedSender<(u64, Reply)>,
    ready: &mut Ready,
) -> usize {
    let mut waiting = 0;
    let Served { shared, incoming, .. } = served;
    if begun.is_none() && incoming.is_empty() {
        return waiting;
    }
    shared.call_all(|call| {
        while waiting < room && ready.end.is_none() && ready.full.is_empty() {
            let (id, command) = match next(begun, incoming) {
                Some(Ok((id, Some(command)))) => (id, command),
                Some(Ok((id, None))) => {
                    ready.push(id, None);
                    continue;
                }
                Some(Err(status)) => {
                    ready.end = Some(End::Status(status));
                    return;
                }
                None => return,
            };
            let waiter = || Waiter::Batch(late.clone(), id);
            match call(Call::Store { store, command }, &waiter) {
                Some(reply) => ready.add(id, reply),
                None => waiting += 1,
            }
        }
    });
    waiting
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tikv_proto::kvrpcpb::RawGetResponse;
    use tikv_proto::tikvpb::BatchCommandsResponse;

    use super::*;

    #[test]
    fn big_answers_go_into_several_frames_and_keep_their_ids() {
        let mut ready = Ready::new();
        for id in 0..10 {
            let value = Bytes::from(vec![7; 1 << 20]);
            let answer = RawGetResponse { value, ..Default::default() };
            ready.add(id, Reply::Store(Box::new(Answer::Batched(response::Cmd::RawGet(answer)))));
        }
        let frames = ready.frames();
        assert_eq!(frames.len(), 4, "three of three answers, one of one");
        let ids: Vec<u64> = frames
            .into_iter()
            .map(|frame| BatchCommandsResponse::decode(frame.slice(PREFIX..)).expect("a whole message"))
            .flat_map(|answers| answers.request_ids)
            .collect();
        assert_eq!(ids, (0..10).collect::<Vec<u64>>());
    }
}
