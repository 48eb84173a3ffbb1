//! A client dies between the two phases of its commit and leaves its locks. A reader meets one while its owner may still live:
//! it asks the owner's primary, which promises to commit behind the reader, and reads the value of before. A second one comes
//! when the locks' time to live is over: it has the owner rolled back, and its locks removed.

use std::time::Duration;

use tikv_client_core::error::Error;
use tikv_embedded::control::{Action, Node};

use crate::scene::Stage;

pub(super) async fn play(stage: Stage) -> Result<(), Error> {
    let client = stage.client().await?;
    let mut before = client.begin().await?;
    for key in ["primary", "secondary"] {
        before.put(key, "old")?;
    }
    before.commit().await?;
    stage.sleep(Duration::from_millis(50)).await;

    let (dies, group) = stage.stranger().await?;
    stage.trouble("KvCommit", Node::AnyStore, Action::Lose, u64::MAX);
    stage.beside(group, async move {
        if let Ok(mut txn) = dies.begin().await {
            for key in ["primary", "secondary"] {
                drop(txn.put(key, "new"));
            }
            // It does not live to see what comes of it.
            drop(txn.commit().await);
        }
    });
    stage.sleep(Duration::from_millis(20)).await;
    stage.kill(group);

    for later in [Duration::ZERO, Duration::from_secs(4)] {
        stage.sleep(later).await;
        let snapshot = client.snapshot(client.current_timestamp().await?);
        if snapshot.get("secondary").await?.as_deref() != Some(b"old") {
            return Err(Error::Corrupt {
                operation: "scene",
                detail: "it is not the value of before".into(),
            });
        }
    }
    stage.sleep(Duration::from_millis(100)).await;
    client.close(Duration::from_secs(1)).await;
    Ok(())
}
