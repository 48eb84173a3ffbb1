//! One HTTP/2 connection, and who answers a call on it.

use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Request};
use tikv_proto::methods;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::grpc::{Gone, Incoming, Outgoing, framed};
use super::shared::Shared;
use super::{batch, pd, store};
use crate::control::Node;
use crate::model::cluster::HEALTH_PATH;
use crate::model::{Call, Code, Reply, Status};

/// What a client may send on one stream, and on all of a connection, before the server has taken it, in bytes.
const WINDOW: u32 = 1 << 24;
/// The longest HTTP/2 frame that is taken, in bytes: long ones make few of a big batch.
const LONGEST_FRAME: u32 = 1 << 20;
/// What the server keeps of answers that a client does not take, in bytes.
const SEND_BUFFER: usize = 1 << 20;
/// Streams that may be open or broken off at once; tests break off many, which is no attack here.
const STREAMS: u32 = 1 << 20;

/// Serves a connection until it ends; dropping it ends its streams.
pub(super) async fn serve(shared: Arc<Shared>, node: Node, io: TcpStream) {
    let mut http = h2::server::Builder::new();
    http.initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 4)
        .max_frame_size(LONGEST_FRAME)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_streams(STREAMS)
        .max_concurrent_reset_streams(STREAMS as usize)
        .max_pending_accept_reset_streams(STREAMS as usize)
        .max_local_error_reset_streams(None);
    let Ok(mut connection) = http.handshake::<_, Bytes>(io).await else { return };
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            call = connection.accept() => match call {
                Some(Ok((request, respond))) => {
                    streams.spawn(answer(Arc::clone(&shared), node, request, respond));
                }
                // The connection has ended, well or badly; both are the client's.
                Some(Err(_)) | None => return,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

/// Answers one call. That its client has gone meanwhile is no failure.
async fn answer(
    shared: Arc<Shared>,
    node: Node,
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    let incoming = Incoming::new(body, Arc::clone(&shared.unfinished));
    let call = Served { shared, incoming, outgoing: Outgoing::Fresh(respond) };
    let path = head.uri.path();
    let Ok(node) = forwarded(&call.shared, node, &head.headers) else {
        let status = Status::new(Code::Unavailable, "no server at the forwarded host");
        return drop(call.outgoing.finish(Err(status)));
    };
    let done = match node {
        _ if path == HEALTH_PATH => call.health(node).await,
        Node::Pd(member) => {
            let follower_may = head.headers.contains_key("pd-allow-follower-handle");
            pd::serve(call, member, follower_may, path).await
        }
        Node::Store(id) if path == methods::tikv::BATCH_COMMANDS => batch::serve(call, id).await,
        Node::Store(id) => store::serve(call, id, path).await,
        Node::AnyPd | Node::AnyStore => return,
    };
    drop(done);
}

/// The server that a call is for: the one that was dialled, or the one it is to be forwarded to.
fn forwarded(shared: &Shared, node: Node, headers: &HeaderMap) -> Result<Node, Gone> {
    let host = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match node {
        Node::Store(_) => {
            let Some(host) = host("tikv-forwarded-host") else { return Ok(node) };
            let found = shared.with(|cluster, _| {
                cluster.topology.stores().find(|store| store.address == host).map(|store| store.id)
            });
            found.map(Node::Store).ok_or(Gone)
        }
        _ => {
            let Some(host) = host("pd-forwarded-host") else { return Ok(node) };
            let bare = |url: &str| url.trim_start_matches("http://").to_owned();
            let found = shared.with(|cluster, _| {
                cluster.pd.members().iter().position(|member| bare(&member.client_url) == bare(host))
            });
            found.map(Node::Pd).ok_or(Gone)
        }
    }
}

/// A call that is being served.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) shared: Arc<Shared>,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
}

impl Served {
    /// The one message of a unary call.
    pub(super) async fn request(&mut self) -> Result<Bytes, Status> {
        let missing = || Status::new(Code::Internal, "the request has no message");
        self.incoming.next().await?.ok_or_else(missing)
    }

    /// Makes a unary call and sends its reply.
    pub(super) async fn unary(mut self, call: Call) -> Result<(), Gone> {
        let reply = match self.shared.call(call) {
            Ok(reply) => reply,
            Err(later) => tokio::select! {
                reply = later => reply.map_err(|_| Gone)?,
                () = self.outgoing.gone() => return Err(Gone),
            },
        };
        match reply {
            Reply::Store(answer) => self.outgoing.answer(framed(&answer.encode())).await,
            Reply::Bytes(answer) => self.outgoing.answer(framed(&answer)).await,
            Reply::Watch(watch) => pd::watch(self, *watch).await,
            Reply::Fail(status) => self.outgoing.finish(Err(status)),
            Reply::Lost => {
                self.outgoing.gone().await;
                Err(Gone)
            }
            Reply::Broken => {
                self.outgoing.reset();
                Ok(())
            }
        }
    }

    async fn health(mut self, node: Node) -> Result<(), Gone> {
        match self.request().await {
            Ok(body) => self.unary(Call::Health { node, body }).await,
            Err(status) => self.outgoing.finish(Err(status)),
        }
    }
}
