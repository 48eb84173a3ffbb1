//! Our client, as a program would use it.

use crate::measure::{self, Cost, KEYS, Load};
use tikv_client_tokio::config::Config;

/// Writes the keys that are read, through the client.
pub(crate) async fn fill(pd: &str) -> Result<(), Box<dyn std::error::Error>> {
    let raw = tikv_client_tokio::connect([pd], Config::default()).await?.raw();
    for n in 0..KEYS {
        raw.put(measure::key(n), vec![b'v'; 64]).await?;
    }
    Ok(())
}

/// Raw gets of 64 bytes, regions cached.
pub(crate) async fn run(pd: &str, load: Load) -> Result<Cost, Box<dyn std::error::Error>> {
    let raw = tikv_client_tokio::connect([pd], Config::default()).await?.raw();
    measure::run(load, move |key| {
        let raw = raw.clone();
        async move {
            let value = raw.get(key).await.map_err(|error| error.to_string())?;
            value.map(drop).ok_or_else(|| "a key that was written has no value".into())
        }
    })
    .await
}
