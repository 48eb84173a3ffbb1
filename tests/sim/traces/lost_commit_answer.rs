//! The connection breaks behind the commit of a primary. Once: the request is sent again, and finds the transaction committed.
//! For ever: nobody can know, and the caller is told just that.

use std::time::Duration;

use tikv_client_core::error::Error;
use tikv_embedded::control::{Action, Node};

use crate::scene::Stage;

pub(super) async fn play(stage: Stage) -> Result<(), Error> {
    let client = stage.client().await?;
    let mut once = client.begin().await?;
    once.put("once", "v")?;
    stage.trouble("KvCommit", Node::AnyStore, Action::BreakAfter, 1);
    once.commit().await?;

    let mut for_ever = client.begin().await?;
    for_ever.put("for ever", "v")?;
    stage.trouble("KvCommit", Node::AnyStore, Action::BreakAfter, u64::MAX);
    let unknown = for_ever.commit().deadline(Duration::from_secs(2)).await;
    if !unknown.as_ref().is_err_and(Error::is_undetermined) {
        return Err(Error::Corrupt {
            operation: "scene",
            detail: format!("it is known: {unknown:?}").into(),
        });
    }
    stage.sleep(Duration::from_millis(100)).await;
    client.close(Duration::from_secs(1)).await;
    Ok(())
}
