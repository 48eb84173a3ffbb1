//! A first look on tokio: `cargo run --release --example quickstart [FILE]`.
//!
//! What it does is told in `story.rs`, which is the same for every runtime.

use tikv_client_tokio as tikv;

mod stage;
mod story;

#[tokio::main]
async fn main() -> Result<(), stage::Failure> {
    let (pd, _running) = stage::cluster()?;
    let client = tikv::connect(pd, tikv::config::Config::default()).await?;
    story::run(client, |task| {
        let running = tokio::spawn(task);
        Box::pin(async { running.await? })
    })
    .await
}
