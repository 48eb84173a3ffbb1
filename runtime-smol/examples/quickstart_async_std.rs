//! The quick-start on async-std:
//! `cargo run --release -p tikv-client-smol --features async-std --example quickstart_async_std [FILE]`.

use std::sync::Arc;

use tikv::client::Client;
use tikv_client_smol as tikv;

#[path = "../../runtime-tokio/examples/quickstart/stage.rs"]
mod stage;
#[path = "../../runtime-tokio/examples/quickstart/story.rs"]
mod story;

fn main() -> Result<(), stage::Failure> {
    async_std::task::block_on(async {
        let (pd, _running) = stage::cluster()?;
        let runtime = Arc::new(tikv::AsyncStd::new());
        let client = Client::connect(runtime, &pd, tikv::config::Config::default()).await?;
        story::run(client, |task| Box::pin(async_std::task::spawn(task))).await
    })
}
