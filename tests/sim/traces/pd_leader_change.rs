//! PD's leader goes while transactions begin. Their timestamps wait for the next leader, and go on growing.

use std::time::Duration;

use tikv_client_core::error::Error;

use crate::scene::Stage;

pub(super) async fn play(stage: Stage) -> Result<(), Error> {
    let client = stage.client().await?;
    let before = client.current_timestamp().await?;
    stage.now(|cluster| cluster.pd.set_leader(None));
    stage.after(Duration::from_millis(700), |cluster| cluster.pd.set_leader(Some(1)));
    let mut txn = client.begin().await?;
    txn.put("k", "v")?;
    let committed = txn.commit().await?;
    if committed.commit_ts <= txn.start_ts() || txn.start_ts() <= before {
        return Err(Error::Corrupt { operation: "scene", detail: "timestamps do not grow".into() });
    }
    stage.sleep(Duration::from_millis(100)).await;
    client.close(Duration::from_secs(1)).await;
    Ok(())
}
