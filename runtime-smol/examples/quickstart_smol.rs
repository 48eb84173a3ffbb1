//! The quick-start on smol: `cargo run --release --example quickstart_smol [FILE]`.

use tikv_client_smol as tikv;

#[path = "../../runtime-tokio/examples/quickstart/stage.rs"]
mod stage;
#[path = "../../runtime-tokio/examples/quickstart/story.rs"]
mod story;

fn main() -> Result<(), stage::Failure> {
    smol::block_on(async {
        let (pd, _running) = stage::cluster()?;
        let client = tikv::connect(pd, tikv::config::Config::default()).await?;
        story::run(client, |task| Box::pin(smol::spawn(task))).await
    })
}
