//! A naive region directory: a plain list, searched from end to end.

use std::time::Duration;

use tikv_client_core::machine::{Feedback, StaleReason};
use tikv_client_core::region::{Found, expiry};
use tikv_client_core::types::{
    Instant, Key, KeyRange, Peer, PeerId, PeerRole, RegionInfo, RegionVersion, StoreId,
};

/// A region of the list.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) version: RegionVersion,
    pub(super) range: KeyRange,
    pub(super) peers: Vec<Peer>,
    leader: usize,
    pub(super) stale: Option<StaleReason>,
    expires: Instant,
    life: Duration,
    frozen: bool,
}

impl Known {
    pub(super) fn leader(&self) -> Peer {
        self.peers[self.leader]
    }

    /// Whether it may be used; to be asked is to be used.
    fn use_at(&mut self, now: Instant) -> bool {
        if self.stale.is_some() || now > self.expires {
            return false;
        }
        if self.expires.since(now) < self.life - self.life / 16 && !self.frozen {
            self.expires = now + self.life;
        }
        true
    }

    fn invalidate(&mut self, why: StaleReason) {
        self.stale.get_or_insert(why);
    }
}

fn next_voter(peers: &[Peer], at: usize) -> usize {
    let behind = (1..peers.len()).map(|by| (at + by) % peers.len());
    behind.into_iter().find(|&at| peers[at].role == PeerRole::Voter).unwrap_or(at)
}

fn overlap(a: &KeyRange, b: &KeyRange) -> bool {
    (a.end.is_empty() || b.start < a.end) && (b.end.is_empty() || a.start < b.end)
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Model(pub(super) Vec<Known>);

impl Model {
    /// Whether the region was kept.
    pub(super) fn insert(&mut self, found: &Found, now: Instant, expires: Instant) -> bool {
        let RegionInfo { version, range, peers, leader } = &found.info;
        let newer = |old: &&Known| {
            let v = old.version;
            (v.id == version.id && (v.version > version.version || v.conf_ver > version.conf_ver))
                || (overlap(&old.range, range) && v.version > version.version)
        };
        let usable = |peer: &&Peer| {
            !found.down.contains(&peer.id) && (peer.role != PeerRole::Witness || *leader == Some(peer.id))
        };
        let peers: Vec<Peer> = peers.iter().filter(usable).copied().collect();
        if range.is_empty() || self.0.iter().any(|old| newer(&old)) || peers.is_empty() {
            return false;
        }
        let before = self.0.iter().find(|old| old.version.id == version.id).cloned();
        let at = leader_of(&peers, *leader, before.as_ref());
        self.0.retain(|old| old.version.id != version.id && !overlap(&old.range, range));
        self.0.push(Known {
            version: *version,
            range: range.clone(),
            peers,
            leader: at,
            stale: None,
            expires,
            life: expires.since(now),
            frozen: !found.down.is_empty(),
        });
        self.0.sort_by(|a, b| a.range.start.cmp(&b.range.start));
        true
    }

    pub(super) fn exactly(&mut self, version: RegionVersion) -> Option<&mut Known> {
        self.0.iter_mut().find(|known| known.version == version)
    }

    /// The region that holds `key`, if it may be used.
    pub(super) fn holding(&mut self, key: &[u8], now: Instant) -> Option<&Known> {
        let known = self.0.iter_mut().find(|known| known.range.contains(key))?;
        known.use_at(now).then_some(&*known)
    }

    /// The region that holds the keys just below `key`, if it may be used.
    pub(super) fn below(&mut self, key: &Key, now: Instant) -> Option<&Known> {
        let ends = |KeyRange { start, end }: &KeyRange| match (key.is_empty(), end.is_empty()) {
            (true, _) => end.is_empty(),
            (false, true) => start < key,
            (false, false) => start < key && key <= end,
        };
        let known = self.0.iter_mut().find(|known| ends(&known.range))?;
        known.use_at(now).then_some(&*known)
    }

    pub(super) fn cover(&mut self, range: &KeyRange, now: Instant, limit: usize) -> Vec<RegionVersion> {
        let (mut covered, mut from) = (Vec::new(), range.start.clone());
        while covered.len() < limit && !range.is_empty() {
            let Some(known) = self.holding(from.as_slice(), now) else { break };
            covered.push(known.version);
            from = known.range.end.clone();
            if from.is_empty() || (!range.end.is_empty() && from >= range.end) {
                break;
            }
        }
        covered
    }

    pub(super) fn apply(&mut self, feedback: &Feedback, now: Instant) {
        match feedback {
            Feedback::LeaderIs { region, peer, store } => {
                let Some(known) = self.exactly(*region) else { return };
                match known.peers.iter().position(|other| other.id == *peer && other.store == *store) {
                    Some(at) => known.leader = at,
                    None => known.invalidate(StaleReason::Other),
                }
            }
            Feedback::Stale { region, why } => {
                if let Some(known) = self.exactly(*region) {
                    known.invalidate(*why);
                }
            }
            Feedback::Regions { old, new } => {
                let earlier = |v: RegionVersion| {
                    v.id == old.id && (v.version < old.version || v.conf_ver < old.conf_ver)
                };
                if new.iter().any(|info| earlier(info.version)) {
                    return;
                }
                for info in &**new {
                    self.insert(&Found::from(info.clone()), now, expiry(info.version, now));
                }
                if new.iter().all(|info| info.version != *old)
                    && let Some(known) = self.exactly(*old)
                {
                    known.invalidate(StaleReason::EpochNotMatch);
                }
            }
            Feedback::Loaded { regions, expires } => {
                for info in &**regions {
                    self.insert(&Found::from(info.clone()), now, *expires);
                }
            }
            // Who leads while a store cannot be reached each request finds out by itself.
            Feedback::Unreachable { .. } => {}
            other => panic!("the model does not know {other:?}"),
        }
    }

    /// How many were taken out.
    pub(super) fn sweep(
        &mut self,
        from: &Key,
        limit: usize,
        now: Instant,
        suspect: impl Fn(StoreId) -> bool,
    ) -> usize {
        let (mut left, before) = (limit, self.0.len());
        self.0.retain_mut(|known| {
            if known.range.start < *from || left == 0 {
                return true;
            }
            left -= 1;
            let alive = known.stale.is_none() && now <= known.expires;
            known.frozen |= alive && known.peers.iter().any(|peer| suspect(peer.store));
            alive
        });
        before - self.0.len()
    }
}

/// Who is talked to first: the one named, unless it has just said that nobody leads; the one known; the first voter.
fn leader_of(peers: &[Peer], named: Option<PeerId>, before: Option<&Known>) -> usize {
    let position = |id: PeerId| peers.iter().position(|peer| peer.id == id);
    let last = before.map(|known| known.leader().id);
    let Some(at) = named.and_then(position).or_else(|| last.and_then(position)) else {
        return peers.iter().position(|peer| peer.role == PeerRole::Voter).unwrap_or(0);
    };
    let leaderless = before.is_some_and(|known| known.stale == Some(StaleReason::NoLeader));
    if leaderless && last == Some(peers[at].id) { next_voter(peers, at) } else { at }
}
