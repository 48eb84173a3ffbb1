//! A store's calls one by one.

use super::dispatch::Served;
use super::grpc::Gone;
use crate::model::{Call, Command};

/// Answers one call to `store`.
pub(super) async fn serve(mut served: Served, store: u64, path: &str) -> Result<(), Gone> {
    let body = served.request().await;
    match body.and_then(|body| Command::decode(path, body)) {
        Ok(command) => served.unary(Call::Store { store, command: Box::new(command) }).await,
        Err(status) => served.outgoing.finish(Err(status)),
    }
}
