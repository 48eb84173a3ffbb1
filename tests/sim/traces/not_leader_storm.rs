//! Two stores name each other as the leader of a region: a client that believes them goes back and forth as fast as they answer.
//! Ours follows a few hints at once, then pauses, each time longer.

use std::time::Duration;

use tikv_client_core::error::Error;
use tikv_embedded::control::{Action, Node, Refusal};

use crate::scene::Stage;

pub(super) async fn play(stage: Stage) -> Result<(), Error> {
    let client = stage.client().await?;
    let raw = client.raw();
    raw.put("k", "v").await?;
    let leader =
        stage.now(|cluster| cluster.topology.region_at(b"k").and_then(|region| region.leader_peer()));
    let leads = leader.map_or(0, |peer| peer.store);
    let other = 1 + leads % 3;
    for (at, names) in [(leads, other), (other, leads)] {
        stage.trouble(
            "RawGet",
            Node::Store(at),
            Action::Refuse(Refusal::NotLeader { leader: Some(names) }),
            12,
        );
    }
    raw.get("k").await?;
    stage.sleep(Duration::from_millis(1)).await;
    client.close(Duration::from_secs(1)).await;
    Ok(())
}
