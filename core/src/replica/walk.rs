//! A request on its way over the replicas of one region.
//!
//! A walk begins with a request's first setback, or with a read that may go elsewhere, and ends with its region: a region that
//! changed begins another. It has no time of its own and sends nothing: [`choose`](Walk::choose) says who is asked next and how,
//! the `mark`s tell it what came of that.
//!
//! | course | asks | how |
//! |---|---|---|
//! | leader | the leader, up to 10 times or 50 s | as the request is |
//! | | an idle follower, if the leader is busier than the threshold | replica read; none is idle: the leader, whatever it has to do |
//! | | the leader being of no use: each follower once, the best first | as the request is; replica read if the leader timed out |
//! | any | of a stale read that was set back, the leader if it was not asked | stale |
//! | | the best by [`score`] | see below |
//!
//! On the course "any" a replica that does not lead is asked by replica read, a leader as a leader is. A stale read is stale everywhere
//! until the leader was asked in vain for another reason than its load; from then on a replica read is surer. A leader that has not
//! the data of a stale read (older TiKVs) is asked as a leader is.
//!
//! A leader that refuses twice for its load, without saying for how long, may not lead any more and just not find the time to say so:
//! then one follower is asked in its place, which names the leader. At most once a walk.
//!
//! client-go: `internal/locate/replica_selector.go: next, nextForReplicaReadLeader, nextForReplicaReadMixed, onServerIsBusy`.

use std::sync::Arc;
use std::time::Duration;

use super::profile::{ReadProfile, Replica};
use super::score::{Candidate, LEADER_ATTEMPTS, LEADER_TIME, Marks, Score, Wanted, leader_is_usable, score};
use crate::backoff::Kind;
use crate::machine::{Asked, Cx};
use crate::types::{Liveness, Peer, PeerId, PeerRole, RegionVersion, StoreId};

/// Why a replica was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Chosen {
    /// It leads.
    Leader,
    /// It was given time to get the data.
    Again,
    /// The leader is busier than the caller waits, this one is not.
    Idle,
    /// The leader is of no use: this one was the best of the others.
    InsteadOfLeader(Score),
    /// It was the best.
    Best(Score),
    /// The stale read was set back: the leader has the data.
    LeaderHasIt,
    /// The leader was suspected to lead no more; nobody else is left.
    NobodyElse,
    /// The leader cannot be reached from here: the request goes through another store.
    Through(StoreId),
}

/// Who is asked next, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choice {
    /// The replica.
    pub peer: Peer,
    /// Whether it is believed to lead.
    pub leads: bool,
    /// How it is asked.
    pub asked: Asked,
    /// Through which store, if not its own.
    pub through: Option<StoreId>,
    /// What a store may let it wait, ms; 0: whatever.
    pub busy_threshold_ms: u32,
    /// Why.
    pub why: Chosen,
    /// Whether this request asked it before.
    pub again: bool,
}

/// A replica with what the request remembers of it.
#[derive(Clone, Copy, Debug)]
struct Met {
    peer: Peer,
    attempts: u32,
    time: Duration,
    marks: Marks,
}

/// Which way a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// The leader as long as it can be asked.
    Leader,
    /// Whoever is the best.
    Any,
}

/// What a request wants of its walk; it is the same for all walks of one call.
#[derive(Clone, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "built by the call field by field")]
pub struct Terms {
    /// The caller's wishes; `None`: the leader.
    pub profile: Option<Arc<ReadProfile>>,
    /// The request only reads.
    pub reads: bool,
    /// A leader that cannot be reached is asked through another store.
    pub forwarding: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Walk {
    region: RegionVersion,
    terms: Terms,
    met: Vec<Met>,
    course: Course,
    stale: bool,
    /// What a busy store may let the request wait; zero: whatever.
    threshold: Duration,
    /// How often it was chosen.
    choices: u32,
    /// Index of the replica that is asked (again) whatever the scores say.
    wait_for: Option<usize>,
    /// Index of the one that was chosen last.
    target: usize,
    asked: Asked,
    through: Option<usize>,
    /// How often the leader `suspected.0` refused for its load; whether a follower was asked for it.
    suspected: (PeerId, u32),
    probed: bool,
    /// Pauses that were skipped: served before that store is asked again, or when nobody is left.
    owed: Vec<(StoreId, Kind, Arc<str>)>,
}

/// What of the world a choice reads: each replica, in the walk's order, and which leads.
#[derive(Clone, Debug)]
pub struct Field {
    candidates: Vec<Candidate>,
    leader: usize,
}

impl Field {
    /// The leader among the candidates.
    fn leader(&self) -> Option<&Candidate> {
        self.candidates.get(self.leader)
    }
}

impl Walk {
    /// A walk over the replicas that `cx` knows of `region`; `None`: it knows none.
    #[must_use]
    pub fn begin(region: RegionVersion, terms: Terms, cx: &Cx<'_>) -> Option<Self> {
        let replicas = cx.replicas(region)?;
        let met = |&peer: &Peer| Met { peer, attempts: 0, time: Duration::ZERO, marks: Marks::default() };
        let profile = terms.profile.as_deref();
        let any = profile.is_some_and(|profile| profile.stale || !profile.replica.is_leader());
        Some(Self {
            region,
            met: replicas.peers.as_slice().iter().map(met).collect(),
            course: if any { Course::Any } else { Course::Leader },
            stale: profile.is_some_and(|profile| profile.stale),
            threshold: profile.map_or(Duration::ZERO, |profile| profile.busy_threshold),
            choices: 0,
            wait_for: None,
            target: 0,
            asked: Asked::Plainly,
            through: None,
            suspected: (PeerId(0), 0),
            probed: false,
            owed: Vec::new(),
            terms,
        })
    }

    /// The region it goes over.
    #[must_use]
    pub fn region(&self) -> RegionVersion {
        self.region
    }

    /// Takes in an attempt that was made before the walk began.
    pub fn began_with(&mut self, peer: PeerId) {
        if let Some(at) = self.position(peer) {
            self.choices += 1;
            self.met[at].attempts += 1;
            self.target = at;
        }
    }

    fn position(&self, peer: PeerId) -> Option<usize> {
        self.met.iter().position(|met| met.peer.id == peer)
    }

    /// What is known of the replicas now; `None`: the region is not known in this version any more.
    #[must_use]
    pub fn field(&self, cx: &Cx<'_>) -> Option<Field> {
        let leader = cx.replicas(self.region)?.leader;
        let profile = self.terms.profile.as_deref();
        let matches = |store: StoreId| {
            profile.is_none_or(|profile| {
                (profile.stores.is_empty() || profile.stores.contains(&store))
                    && (profile.labels.pairs().is_empty() || cx.labels(store).have(&profile.labels))
            })
        };
        let candidate = |met: &Met| Candidate {
            leads: met.peer.id == leader,
            learner: met.peer.role == PeerRole::Learner,
            store: cx.store(met.peer.store),
            matches: matches(met.peer.store),
            attempts: met.attempts,
            time: met.time,
            marks: met.marks,
        };
        let candidates = self.met.iter().map(candidate).collect();
        Some(Field { candidates, leader: self.position(leader)? })
    }

    /// Chooses who is asked next; `None`: nobody is left.
    pub fn choose(&mut self, field: &Field, rng: &mut fastrand::Rng) -> Option<Choice> {
        self.choices += 1;
        self.through = None;
        let (at, asked, why) = match self.wait_for.take() {
            Some(at) if field.candidates.get(at).is_some_and(|c| score(c, &Wanted::default()).is_some()) => {
                (at, Asked::StaleRead, Chosen::Again)
            }
            _ => match self.course {
                Course::Leader => self.leader_first(field, rng)?,
                Course::Any => self.whoever(field, rng)?,
            },
        };
        let met = &mut self.met[at];
        let again = met.attempts > 0;
        met.attempts += 1;
        let peer = met.peer;
        if let Some(through) = self.through {
            self.met[through].attempts += 1;
        }
        (self.target, self.asked) = (at, asked);
        let busy_threshold_ms =
            if self.terms.reads { u32::try_from(self.threshold.as_millis()).unwrap_or(u32::MAX) } else { 0 };
        let through = self.through.map(|at| self.met[at].peer.store);
        Some(Choice {
            peer,
            leads: at == field.leader,
            asked,
            through,
            busy_threshold_ms,
            why: through.map_or(why, Chosen::Through),
            again,
        })
    }

    /// The course of the leader.
    fn leader_first(&mut self, field: &Field, rng: &mut fastrand::Rng) -> Option<(usize, Asked, Chosen)> {
        let leader = field.leader()?;
        let as_it_is = if self.stale && !leader.marks.not_ready { Asked::StaleRead } else { Asked::Plainly };
        let reachable = leader.store.liveness == Liveness::Reachable && !leader.marks.failed;
        if self.terms.forwarding && !reachable && !leader.marks.not_leader {
            self.through = Some(proxy(field)?);
            return Some((field.leader, as_it_is, Chosen::Leader));
        }
        if leader_is_usable(leader) && !leader.marks.suspect {
            let diverts = !self.threshold.is_zero() && self.terms.reads;
            if diverts && (leader.store.busy > self.threshold || leader.marks.busy) {
                let idle = Wanted { idle_within: self.threshold, ..Wanted::default() };
                if let Some((at, _)) = best(field, &idle, rng) {
                    return Some((at, Asked::ReplicaRead, Chosen::Idle));
                }
                // All are busy: the leader, whatever it has to do.
                self.threshold = Duration::ZERO;
            }
            return Some((field.leader, as_it_is, Chosen::Leader));
        }
        let leader_only = self.terms.profile.as_deref().is_some_and(|profile| profile.leader_only);
        let timed_out = self.terms.reads && leader.marks.timed_out;
        match best(field, &Wanted { leader_only, ..Wanted::default() }, rng) {
            Some((at, score)) => {
                let asked = if timed_out { Asked::ReplicaRead } else { as_it_is };
                let why = if at == field.leader { Chosen::Leader } else { Chosen::InsteadOfLeader(score) };
                Some((at, asked, why))
            }
            None => self.nobody_else(field, as_it_is),
        }
    }

    /// The course of whoever is the best.
    fn whoever(&mut self, field: &Field, rng: &mut fastrand::Rng) -> Option<(usize, Asked, Chosen)> {
        let leader = field.leader()?;
        let set_back = self.stale && self.choices > 1 && leader.attempts == 0;
        if set_back && leader_is_usable(leader) && !leader.marks.suspect {
            return Some((field.leader, Asked::StaleRead, Chosen::LeaderHasIt));
        }
        let wanted = self.wanted();
        let Some((at, score)) = best(field, &wanted, rng) else {
            return self.nobody_else(field, Asked::Plainly);
        };
        let candidate = field.candidates.get(at)?;
        let surer = leader.attempts > 0 && !leader.marks.timed_out && !leader.marks.busy;
        let asked = if self.stale {
            let at_home = self.choices == 1 && (candidate.matches || candidate.leads);
            match (surer && !at_home, candidate.leads) {
                (true, true) => Asked::Plainly,
                (true, false) => Asked::ReplicaRead,
                (false, _) => Asked::StaleRead,
            }
        } else if candidate.leads || !self.terms.reads {
            Asked::Plainly
        } else {
            Asked::ReplicaRead
        };
        Some((at, asked, Chosen::Best(score)))
    }

    /// A leader that was passed over on suspicion, when nobody else can be asked.
    fn nobody_else(&mut self, field: &Field, asked: Asked) -> Option<(usize, Asked, Chosen)> {
        let leader = field.leader()?;
        if !leader.marks.suspect {
            return None;
        }
        self.met[field.leader].marks.suspect = false;
        leader_is_usable(leader).then_some((field.leader, asked, Chosen::NobodyElse))
    }

    fn wanted(&self) -> Wanted {
        let profile = self.terms.profile.as_deref();
        // A stale read goes anywhere, whatever else is said.
        let replica = match profile {
            _ if self.stale => Replica::Mixed,
            Some(profile) => profile.replica,
            None => Replica::Leader,
        };
        Wanted {
            leader_too: matches!(replica, Replica::Mixed | Replica::Closest | Replica::PreferLeader),
            prefer_leader: replica == Replica::PreferLeader,
            leader_only: profile.is_some_and(|profile| profile.leader_only),
            learners: replica == Replica::Learner,
            labelled: profile.is_some_and(|profile| !profile.labels.pairs().is_empty()),
            idle_within: Duration::ZERO,
        }
    }

    /// How the last attempt asked.
    #[must_use]
    pub fn asked(&self) -> Asked {
        self.asked
    }

    /// The store of the leader, if it is known not to answer.
    #[must_use]
    pub fn leader_out_of_reach(&self, field: &Field) -> Option<StoreId> {
        let gone = field.leader().is_some_and(|leader| leader.store.liveness == Liveness::Unreachable);
        self.met.get(field.leader).filter(|_| gone).map(|met| met.peer.store)
    }

    /// Whether the last attempt asked the leader.
    #[must_use]
    pub fn asked_leader(&self, field: &Field) -> bool {
        self.target == field.leader
    }

    /// Whether the leader was asked at all.
    #[must_use]
    pub fn leader_was_asked(&self, field: &Field) -> bool {
        self.met.get(field.leader).is_some_and(|met| met.attempts > 0)
    }

    /// Whether the leader is asked (again) as long as it can be, and can be.
    #[must_use]
    pub fn stays_with_leader(&self, field: &Field) -> bool {
        let usable = |leader: &Candidate| leader_is_usable(leader) && !leader.marks.busy;
        self.goes_to_leader() && field.leader().is_some_and(usable)
    }

    /// Whether the course is that of the leader.
    #[must_use]
    pub fn goes_to_leader(&self) -> bool {
        self.course == Course::Leader
    }

    /// Whether there are replicas that were not asked yet.
    #[must_use]
    pub fn has_others(&self, field: &Field) -> bool {
        let wanted = match self.course {
            Course::Leader => {
                let leader_only = self.terms.profile.as_deref().is_some_and(|profile| profile.leader_only);
                Wanted { leader_only, ..Wanted::default() }
            }
            Course::Any => self.wanted(),
        };
        let others = field.candidates.iter().enumerate().filter(|&(at, _)| at != self.target);
        others.into_iter().any(|(_, c)| c.attempts == 0 && score(c, &wanted).is_some())
    }

    /// Whether a busy store is to pass the request on.
    #[must_use]
    pub fn has_threshold(&self) -> bool {
        self.terms.reads && !self.threshold.is_zero()
    }

    /// Whether any replica ran out of the caller's time: the region is then not to blame when nobody is left.
    #[must_use]
    pub fn any_timed_out(&self) -> bool {
        self.met.iter().any(|met| met.marks.timed_out)
    }

    /// The last attempt took so long.
    pub fn took(&mut self, time: Duration) {
        for at in [Some(self.target), self.through].into_iter().flatten() {
            if let Some(met) = self.met.get_mut(at) {
                met.time = met.time.saturating_add(time);
            }
        }
    }

    fn marks(&mut self) -> Option<&mut Marks> {
        self.met.get_mut(self.target).map(|met| &mut met.marks)
    }

    /// The last attempt's replica answered that it does not lead.
    pub fn mark_not_leader(&mut self) {
        if let Some(marks) = self.marks() {
            marks.not_leader = true;
        }
    }

    /// The last attempt's replica did not have the data.
    pub fn mark_not_ready(&mut self) {
        if let Some(marks) = self.marks() {
            marks.not_ready = true;
        }
    }

    /// The last attempt's replica did not answer within the caller's time.
    pub fn mark_timed_out(&mut self) {
        if let Some(marks) = self.marks() {
            marks.timed_out = true;
        }
    }

    /// The last attempt's replica, or the one it went through, failed below the protocol.
    pub fn mark_failed(&mut self) {
        let at = self.through.unwrap_or(self.target);
        if let Some(met) = self.met.get_mut(at) {
            met.marks.failed = true;
        }
    }

    /// The last attempt's replica was busy. `told`: it said for how long; `passes_on`: the request goes to another one.
    pub fn mark_busy(&mut self, field: &Field, told: bool, passes_on: bool) {
        let diverts = told && self.has_threshold();
        if let Some(marks) = self.marks()
            && (diverts || passes_on)
        {
            marks.busy = true;
        }
        let leader_only = self.terms.profile.as_deref().is_some_and(|profile| profile.leader_only);
        let counts = !told && self.goes_to_leader() && !self.stale && !leader_only && !self.probed;
        let Some(leader) = self.met.get_mut(field.leader).filter(|_| counts && self.target == field.leader)
        else {
            return;
        };
        if self.suspected.0 != leader.peer.id {
            self.suspected = (leader.peer.id, 0);
        }
        self.suspected.1 += 1;
        if self.suspected.1 >= SUSPECT_AFTER {
            leader.marks.suspect = true;
            self.probed = true;
        }
    }

    /// A store named `peer` as the leader; whether the walk knows it.
    pub fn follow(&mut self, peer: PeerId, field: Option<&Field>) -> bool {
        let Some(at) = self.position(peer) else { return false };
        let met = &mut self.met[at];
        if met.attempts >= LEADER_ATTEMPTS || met.time >= LEADER_TIME {
            (met.attempts, met.time) = (LEADER_ATTEMPTS - 1, Duration::ZERO);
        }
        let marks = &mut met.marks;
        (marks.not_leader, marks.suspect, marks.failed) = (false, false, false);
        let usable = field.and_then(|field| field.candidates.get(at)).is_some_and(|candidate| {
            leader_is_usable(&Candidate {
                attempts: met.attempts,
                time: met.time,
                marks: met.marks,
                ..*candidate
            })
        });
        if usable {
            self.course = Course::Leader;
        }
        true
    }

    /// From now on the leader is asked first, for whatever it has to do.
    pub fn turn_to_leader(&mut self) {
        self.course = Course::Leader;
        self.threshold = Duration::ZERO;
    }

    /// Asks the last attempt's replica once more, as it was asked.
    pub fn wait_for_data(&mut self) {
        self.wait_for = Some(self.target);
    }

    /// Owes a pause to a store.
    pub fn owe(&mut self, store: StoreId, kind: Kind, reason: Arc<str>) {
        self.owed.retain(|owed| owed.0 != store);
        self.owed.push((store, kind, reason));
    }

    /// The pause that is owed to `store`; it counts as served.
    pub fn owed_to(&mut self, store: StoreId) -> Option<(Kind, Arc<str>)> {
        let at = self.owed.iter().position(|owed| owed.0 == store)?;
        let (_, kind, reason) = self.owed.swap_remove(at);
        Some((kind, reason))
    }

    /// The longest of the pauses that are owed: it stands for all.
    pub fn owed_to_all(&mut self) -> Option<(Kind, Arc<str>)> {
        let longest = self.owed.iter().max_by_key(|owed| owed.1.law().base_ms)?.clone();
        self.owed.clear();
        Some((longest.1, longest.2))
    }
}

/// Refusals for its load, without a wait, that make a leader suspect.
///
/// client-go: `internal/locate/replica_selector.go: leaderBusyProbeThreshold`.
const SUSPECT_AFTER: u32 = 2;

/// The best replica, by the seeded generator among equals.
fn best(field: &Field, wanted: &Wanted, rng: &mut fastrand::Rng) -> Option<(usize, Score)> {
    let scores = || {
        let scored = |(at, candidate)| score(candidate, wanted).map(|score| (at, score));
        field.candidates.iter().enumerate().filter_map(scored)
    };
    let top = scores().map(|(_, score)| score).max()?;
    let equals = scores().filter(|&(_, score)| score == top).count();
    let nth = if equals > 1 { rng.usize(0..equals) } else { 0 };
    scores().filter(|&(_, score)| score == top).nth(nth)
}

/// The first replica through which the leader can be asked.
///
/// client-go: `internal/locate/replica_selector.go: ReplicaSelectLeaderWithProxyStrategy`, which remembers the last one that worked; the
/// first that can is the same one as long as nothing changes.
fn proxy(field: &Field) -> Option<usize> {
    let can = |(at, c): (usize, &Candidate)| {
        let reachable = c.store.liveness == Liveness::Reachable;
        at != field.leader && reachable && score(c, &Wanted::default()).is_some() && c.attempts == 0
    };
    field.candidates.iter().enumerate().position(can)
}
