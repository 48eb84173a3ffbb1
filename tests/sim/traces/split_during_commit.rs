//! Between the two phases of a commit its region is split: the commit of the primary finds another region and goes on there, and
//! the secondaries, in the background, go to both halves.

use std::time::Duration;

use tikv_client_core::error::Error;
use tikv_embedded::control::{Action, Node};

use crate::scene::{Stage, split_at};

pub(super) async fn play(stage: Stage) -> Result<(), Error> {
    let client = stage.client().await?;
    let mut txn = client.begin().await?;
    for key in ["a", "g", "t"] {
        txn.put(key, "v")?;
    }
    // PD answers the commit timestamp late; meanwhile the region is split.
    stage.trouble("Tso", Node::AnyPd, Action::Delay(Duration::from_millis(40)), 1);
    stage.after(Duration::from_millis(20), |cluster| split_at(cluster, "k"));
    txn.commit().await?;
    stage.sleep(Duration::from_millis(100)).await;
    client.close(Duration::from_secs(1)).await;
    Ok(())
}
