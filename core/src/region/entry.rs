//! One region as the directory has it: what never changes in plain fields, what does in atomics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::buckets::Buckets;
use crate::machine::report::StaleReason;
use crate::types::{
    Instant, KeyRange, Located, Peer, PeerId, PeerRole, Peers, RegionId, RegionInfo, RegionVersion, Replicas,
    StoreId,
};

/// A region as PD describes it, with what its [`RegionInfo`] does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Version, range, peers and leader.
    pub info: RegionInfo,
    /// Peers whose stores PD has not heard of for long.
    pub down: Vec<PeerId>,
    /// Peers that still receive their data.
    pub pending: Vec<PeerId>,
    /// The region's buckets, if asked for.
    pub buckets: Option<Arc<Buckets>>,
}

impl From<RegionInfo> for Found {
    fn from(info: RegionInfo) -> Self {
        Self { info, down: Vec::new(), pending: Vec::new(), buckets: None }
    }
}

impl Found {
    /// The peers that can answer: no down ones, no witness unless it leads.
    ///
    /// Peers on removed stores are left out by who knows the stores, before this.
    ///
    /// client-go: `internal/locate/region_cache.go: newRegion`.
    pub(super) fn usable_peers(&self) -> Peers {
        let leads = |peer: &Peer| self.info.leader == Some(peer.id);
        let usable =
            |peer: &&Peer| !self.down.contains(&peer.id) && (peer.role != PeerRole::Witness || leads(peer));
        self.info.peers.iter().filter(usable).copied().collect()
    }
}

/// Least time that a region not asked for lives: the base of [`expiry`].
///
/// client-go: `internal/locate/region_cache.go: nextTTL` (600 s).
const BASE: Duration = Duration::from_secs(640);
/// What is added to the base at most, so that regions that came together do not expire together.
const JITTER_NS: u64 = 60_000_000_000;

/// When a region loaded at `now` is to be loaded again unless it is used.
///
/// The jitter is a function of the region, not of chance: it spreads the regions of one load, and needs no
/// generator where one region is put in because a store named it.
#[must_use]
pub fn expiry(region: RegionVersion, now: Instant) -> Instant {
    // The finaliser of SplitMix64: neighbouring ids get unrelated jitters.
    let mut mixed = region.id.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    now + BASE + Duration::from_nanos((mixed ^ (mixed >> 31)) % JITTER_NS)
}

/// [`Entry::stale`] of an entry that is not stale.
const FRESH: u8 = 0;

/// Reasons by their number in [`Entry::stale`] less one.
const REASONS: [StaleReason; 5] = [
    StaleReason::NoLeader,
    StaleReason::RegionNotFound,
    StaleReason::EpochNotMatch,
    StaleReason::StoreNotMatch,
    StaleReason::Other,
];

const fn number_of(why: StaleReason) -> u8 {
    match why {
        StaleReason::NoLeader => 1,
        StaleReason::RegionNotFound => 2,
        StaleReason::EpochNotMatch => 3,
        StaleReason::StoreNotMatch => 4,
        StaleReason::Other => 5,
    }
}

/// A region of the directory.
///
/// Version, range and peers never change: a new version is a new entry. The atomics are each on their own,
/// so an update of one never undoes an update of another.
// In this order a lookup reads the beginning only: two or three lines of the cache.
#[repr(C)]
pub struct Entry {
    /// Until when the entry may be used.
    expires: AtomicU64,
    /// How long from an access on it may be used, ns.
    life: u64,
    /// Index into `peers` of the one to talk to.
    leader: AtomicUsize,
    /// [`FRESH`], or the number of the first reason not to use it.
    stale: AtomicU8,
    /// No access lengthens its life: something in it is suspect, so it is loaded again at the latest then.
    frozen: AtomicBool,
    version: RegionVersion,
    peers: Peers,
    range: KeyRange,
    buckets: ArcSwapOption<Buckets>,
    pending: Box<[PeerId]>,
}

impl Entry {
    /// `None` when no peer of `found` can be talked to.
    pub(super) fn new(found: Found, before: Option<&Self>, now: Instant, expires: Instant) -> Option<Self> {
        let peers = found.usable_peers();
        let leader = first_leader(peers.as_slice(), found.info.leader, before)?;
        let known = before.and_then(|entry| entry.buckets.load_full());
        let buckets = match (found.buckets, known) {
            (Some(new), Some(old)) => Some(if old.version() > new.version() { old } else { new }),
            (new, old) => new.or(old),
        };
        Some(Self {
            version: found.info.version,
            range: found.info.range,
            leader: AtomicUsize::new(leader),
            peers,
            expires: AtomicU64::new(expires.0),
            life: expires.0.saturating_sub(now.0),
            // Down peers may come up: PD then tells of more replicas.
            frozen: AtomicBool::new(!found.down.is_empty()),
            stale: AtomicU8::new(FRESH),
            pending: found.pending.into(),
            buckets: ArcSwapOption::new(buckets),
        })
    }

    /// The region's id and epoch.
    #[must_use]
    pub const fn version(&self) -> RegionVersion {
        self.version
    }

    pub(super) const fn id(&self) -> &RegionId {
        &self.version.id
    }

    /// The keys it holds.
    #[must_use]
    pub const fn range(&self) -> &KeyRange {
        &self.range
    }

    /// Its replicas that can be talked to, in PD's order.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        self.peers.as_slice()
    }

    /// The replicas that were still receiving their data.
    #[must_use]
    pub fn pending(&self) -> &[PeerId] {
        &self.pending
    }

    /// The peer believed to lead.
    #[must_use]
    pub fn leader(&self) -> Option<Peer> {
        self.peers().get(self.leader.load(Ordering::Relaxed)).copied()
    }

    /// Where a request goes now.
    #[must_use]
    pub fn located(&self) -> Option<Located> {
        self.leader().map(|peer| Located { region: self.version, peer: peer.id, store: peer.store })
    }

    /// Its replicas, as a plain copy.
    #[must_use]
    pub fn replicas(&self) -> Option<Replicas> {
        let leader = self.leader()?.id;
        Some(Replicas { region: self.version, leader, peers: self.peers.clone() })
    }

    /// Why the entry is not to be used, if it is not.
    #[must_use]
    pub fn stale(&self) -> Option<StaleReason> {
        let number = self.stale.load(Ordering::Relaxed).checked_sub(1)?;
        REASONS.get(usize::from(number)).copied()
    }

    /// The region's buckets as last heard of; they can be older, and so wider, than the region.
    #[must_use]
    pub fn buckets(&self) -> Option<Arc<Buckets>> {
        self.buckets.load_full()
    }

    /// Whether the entry may be used at `now`; if so, this counts as an access.
    ///
    /// The expiry moves once a 64th of the life is used up: of many accesses one writes.
    ///
    /// client-go: `internal/locate/region_cache.go: checkRegionCacheTTL`.
    pub fn is_usable(&self, now: Instant) -> bool {
        if self.stale.load(Ordering::Relaxed) != FRESH {
            return false;
        }
        let expires = self.expires.load(Ordering::Relaxed);
        if now.0 > expires {
            return false;
        }
        if expires - now.0 < self.life - self.life / 64 && !self.frozen.load(Ordering::Relaxed) {
            // Another access may have moved it: it then moved it to about the same instant.
            self.expires.store(now.0.saturating_add(self.life), Ordering::Relaxed);
        }
        true
    }

    /// Whether the entry may still be used at `now`; counts as no access.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.stale().is_none() && now.0 <= self.expires.load(Ordering::Relaxed)
    }

    /// When it was last used, or put in, about; a stale one counts as never used.
    pub(super) fn used(&self) -> u64 {
        match self.stale() {
            Some(_) => 0,
            None => self.expires.load(Ordering::Relaxed).saturating_sub(self.life),
        }
    }

    /// Marks the entry; the first reason stays. Whether this was the first.
    pub(super) fn invalidate(&self, why: StaleReason) -> bool {
        self.stale.compare_exchange(FRESH, number_of(why), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// From now on no access lengthens the entry's life.
    pub(super) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// Makes `peer` the leader; whether it was not before. `None`: it is none of the entry's peers.
    ///
    /// It need not be a voter as far as we know: who says that it leads knows better.
    pub(super) fn follow(&self, peer: PeerId, store: StoreId) -> Option<bool> {
        let at = self.peers().iter().position(|known| known.id == peer && known.store == store)?;
        Some(self.leader.swap(at, Ordering::Relaxed) != at)
    }

    /// Takes buckets that are newer than those it has; whether they are.
    pub(super) fn set_buckets(&self, new: &Arc<Buckets>) -> bool {
        let newer = |old: &Option<Arc<Buckets>>| old.as_ref().is_none_or(|old| old.version() < new.version());
        let before = self.buckets.rcu(|old| if newer(old) { Some(Arc::clone(new)) } else { old.clone() });
        newer(&before)
    }
}

/// The index of the peer to talk to first.
///
/// The leader named by who described the region, unless it has just answered that nobody leads: then the one
/// behind it. If no leader is named, the last one known; else the first voter.
///
/// client-go: `internal/locate/region_cache.go: insertRegionToCache`, which turns to the next peer whoever PD
/// says now leads, and divides by zero when there is none.
fn first_leader(peers: &[Peer], named: Option<PeerId>, before: Option<&Entry>) -> Option<usize> {
    let position = |id: PeerId| peers.iter().position(|peer| peer.id == id);
    let last = before.and_then(Entry::leader).map(|peer| peer.id);
    let leaderless = before.is_some_and(|entry| entry.stale() == Some(StaleReason::NoLeader));
    let named = named.and_then(position);
    match (named.or_else(|| last.and_then(position)), last) {
        (Some(at), Some(last)) if leaderless && peers.get(at).is_some_and(|peer| peer.id == last) => {
            Some(next_voter(peers, at))
        }
        (Some(at), _) => Some(at),
        (None, _) if peers.is_empty() => None,
        (None, _) => Some(peers.iter().position(|peer| peer.role == PeerRole::Voter).unwrap_or(0)),
    }
}

/// The index of the first voter behind `at`, around the end; `at` if there is no other.
fn next_voter(peers: &[Peer], at: usize) -> usize {
    let behind = (at + 1..peers.len()).chain(0..at);
    let votes = |&at: &usize| peers.get(at).is_some_and(|peer| peer.role == PeerRole::Voter);
    behind.into_iter().find(votes).unwrap_or(at)
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("version", &self.version)
            .field("range", &self.range)
            .field("leader", &self.leader())
            .field("stale", &self.stale())
            .field("expires", &self.expires.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
