//! The region directory against a naive one, and the loader that fills it against a hostile PD.
//!
//! The first byte chooses: `directory` puts regions in, invalidates, sweeps, reports and looks up, and compares every state
//! and answer with `model`; `loader` asks for places and ranges in both key spaces while PD answers holes, old regions and
//! garbage.

mod directory;
mod loader;
mod model;

use tikv_client_core::types::{
    KeyRange, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, StoreId,
};

use crate::choices::Choices;

fn version(choices: &mut Choices<'_>) -> RegionVersion {
    let [id, version, conf_ver] = [8, 5, 3].map(|most| 1 + choices.below(most) as u64);
    RegionVersion { id: RegionId(id), version, conf_ver }
}

fn range(choices: &mut Choices<'_>) -> KeyRange {
    let (a, b) = (choices.key(), choices.key());
    let in_order = b.is_empty() || a < b || choices.one_in(16);
    if in_order { KeyRange { start: a, end: b } } else { KeyRange { start: b, end: a } }
}

fn info(choices: &mut Choices<'_>) -> RegionInfo {
    let version = version(choices);
    let peer = |store: u64, choices: &mut Choices<'_>| {
        let role = *choices.of(&[
            PeerRole::Voter,
            PeerRole::Voter,
            PeerRole::Voter,
            PeerRole::Learner,
            PeerRole::Witness,
        ]);
        Peer { id: PeerId(version.id.0 * 10 + store), store: StoreId(store), role }
    };
    let peers: Vec<Peer> = (1..=choices.below(6) as u64).map(|store| peer(store, choices)).collect();
    let leader = choices.one_in(2).then(|| PeerId(version.id.0 * 10 + choices.below(6) as u64));
    RegionInfo { version, range: range(choices), peers, leader }
}

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    if choices.one_in(3) {
        loader::play(&mut choices);
    } else {
        directory::play(&mut choices);
    }
}
