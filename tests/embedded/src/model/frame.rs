//! Frames of a store's `BatchCommands` stream: the commands in one, and the answers in another.
//!
//! Whoever serves the model takes frames apart and makes them here: the gRPC server and the simulator.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tikv_proto::kvrpcpb::HealthFeedback;
use tikv_proto::tikvpb::BatchCommandsRequest;
use tikv_proto::tikvpb::batch_commands_request::request;
use tikv_proto::tikvpb::batch_commands_response::{Response, response};

use super::command::Command;
use super::status::{Code, Status};

/// `BatchCommandsResponse.responses`
const RESPONSES: u32 = 1;
/// `BatchCommandsResponse.request_ids`
const REQUEST_IDS: u32 = 2;
/// `BatchCommandsResponse.health_feedback`
const HEALTH_FEEDBACK: u32 = 4;

/// A command of a frame: its id, and itself.
pub type Asked = Result<(u64, Option<Box<Command>>), Status>;

/// The commands of a frame with their ids, in its order; without a command stands one that the store does not know,
/// whose answer is there and empty. An error ends the stream.
// TiKV: src/server/service/kv.rs: handle_batch_commands_request
pub fn commands(frame: Bytes) -> Result<impl Iterator<Item = Asked>, Status> {
    let frame = BatchCommandsRequest::decode(frame)
        .map_err(|error| Status::new(Code::Internal, format!("no batch of commands: {error}")))?;
    Ok(frame.request_ids.into_iter().zip(frame.requests).map(|(id, asked)| match asked.cmd {
        Some(request::Cmd::Import(_)) => Err(Status::new(Code::Unimplemented, "import is not served")),
        Some(command) => Ok((id, Some(Box::new(Command::Batched(command))))),
        None => Ok((id, None)),
    }))
}

/// A frame of answers that is being filled.
///
/// Answers are encoded as they come: decoded ones are large, and a frame has many.
#[derive(Debug)]
pub struct Answers {
    head: usize,
    frame: BytesMut,
    ids: Vec<u64>,
    health: Option<HealthFeedback>,
}

impl Answers {
    /// A frame without answers, with `head` zero bytes in front for whatever the transport writes there.
    #[must_use]
    pub fn new(head: usize) -> Self {
        let mut frame = BytesMut::new();
        frame.put_bytes(0, head);
        Self { head, frame, ids: Vec::new(), health: None }
    }

    /// Adds the answer to the command `id`; `None` to one that the store does not know. What a store is asked about
    /// its health, the frame tells as well.
    // TiKV: src/server/service/kv.rs: HealthFeedbackAttacher
    pub fn push(&mut self, id: u64, answer: Option<response::Cmd>) {
        if let Some(response::Cmd::GetHealthFeedback(told)) = &answer {
            self.health.clone_from(&told.health_feedback);
        }
        prost::encoding::message::encode(RESPONSES, &Response { cmd: answer }, &mut self.frame);
        self.ids.push(id);
    }

    /// Adds what the store says of itself; a frame with it goes without answers, too.
    pub fn tell_health(&mut self, feedback: &HealthFeedback) {
        self.health = Some(*feedback);
    }

    /// Whether it has no answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Its bytes so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frame.len()
    }

    /// The frame, if anything is in it; begins another.
    pub fn close(&mut self) -> Option<BytesMut> {
        if self.frame.len() == self.head && self.health.is_none() {
            return None;
        }
        prost::encoding::uint64::encode_packed(REQUEST_IDS, &self.ids, &mut self.frame);
        if let Some(health) = &self.health {
            prost::encoding::message::encode(HEALTH_FEEDBACK, health, &mut self.frame);
        }
        Some(std::mem::replace(self, Self::new(self.head)).frame)
    }
}
