//! PD's calls. A stream of PD (timestamps, regions, tokens) answers each item in order, as if it were a call; one that
//! watches has one request, and is told what changes until its client has enough.

use bytes::{Bytes, BytesMut};

use super::dispatch::Served;
use super::grpc::{Gone, framed};
use crate::model::pd::Watch;
use crate::model::{Call, Reply, Status};

/// Answers of this size together are sent before more items are looked at, in bytes.
const FULL: usize = 1 << 20;

/// Answers one call to the `member`th PD.
pub(super) async fn serve(
    mut served: Served,
    member: usize,
    follower_may: bool,
    path: &str,
) -> Result<(), Gone> {
    let Some(path) = crate::model::pd::method(path) else {
        return served.outgoing.finish(Err(crate::model::pd::unknown_method(path)));
    };
    if crate::model::pd::is_stream(path) {
        return stream(served, member, follower_may, path).await;
    }
    match served.request().await {
        Ok(body) => served.unary(Call::Pd { member, follower_may, path, body }).await,
        Err(status) => served.outgoing.finish(Err(status)),
    }
}

async fn stream(
    mut served: Served,
    member: usize,
    follower_may: bool,
    path: &'static str,
) -> Result<(), Gone> {
    served.outgoing = served.outgoing.open()?;
    loop {
        let bodies = match served.incoming.ready().await {
            Ok(bodies) if bodies.is_empty() => return served.outgoing.finish(Ok(())),
            Ok(bodies) => bodies,
            Err(status) => return served.outgoing.finish(Err(status)),
        };
        let mut answers = BytesMut::new();
        let mut end = None;
        for body in bodies {
            if answers.len() >= FULL {
                served.outgoing.send(answers.split().freeze()).await?;
            }
            match item(&mut served, Call::Pd { member, follower_may, path, body }, &mut answers).await? {
                None => {}
                ended => {
                    end = ended;
                    break;
                }
            }
        }
        served.outgoing.send(answers.freeze()).await?;
        match end {
            None => {}
            Some(End::Status(status)) => return served.outgoing.finish(Err(status)),
            Some(End::Broken) => {
                served.outgoing.reset();
                return Ok(());
            }
        }
    }
}

/// How a stream ends before its client ends it.
enum End {
    Status(Status),
    Broken,
}

/// Adds the answer to one item to `answers`. An item that waits holds up those behind it, as answers come in order.
async fn item(served: &mut Served, call: Call, answers: &mut BytesMut) -> Result<Option<End>, Gone> {
    let reply = match served.shared.call(call) {
        Ok(reply) => reply,
        Err(later) => {
            let ready: Bytes = std::mem::take(answers).freeze();
            served.outgoing.send(ready).await?;
            tokio::select! {
                reply = later => reply.map_err(|_| Gone)?,
                () = served.outgoing.gone() => return Err(Gone),
            }
        }
    };
    match reply {
        Reply::Bytes(answer) => answers.extend_from_slice(&framed(&answer)),
        Reply::Fail(status) => return Ok(Some(End::Status(status))),
        Reply::Broken => return Ok(Some(End::Broken)),
        // A stream with a lost answer in it goes on; its client sees the gap. PD answers no store's answer, and items
        // of a stream open no other one.
        Reply::Lost | Reply::Store(_) | Reply::Watch(_) => {}
    }
    Ok(None)
}

/// Tells a stream that watches what changes, until it ends or its client is gone.
pub(super) async fn watch(mut served: Served, mut watch: Watch) -> Result<(), Gone> {
    served.outgoing = served.outgoing.open()?;
    loop {
        // Registered before looking, so that no change is missed in between.
        let mut revised = std::pin::pin!(served.shared.revised());
        revised.as_mut().enable();
        match served.shared.with(|cluster, _| cluster.watched(&mut watch)) {
            Some(Reply::Bytes(answer)) => served.outgoing.send(framed(&answer)).await?,
            Some(Reply::Fail(status)) => return served.outgoing.finish(Err(status)),
            _ => tokio::select! {
                () = revised => {}
                () = served.outgoing.gone() => return Err(Gone),
            },
        }
    }
}
