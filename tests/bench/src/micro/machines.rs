//! Whole operations in a world that answers at once: what the core costs between an application and the bytes.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tikv_client_core::backoff::{Allowance, Budget, Tuning};
use tikv_client_core::machine::{
    Answer, Completion, Cx, Effect, Facts, Feedback, Machine, Manner, Op, Question, TicketId,
};
use tikv_client_core::membuf::{Limits, MemBuf};
use tikv_client_core::raw::single::GetMachine;
use tikv_client_core::region::Directory;
use tikv_client_core::replica::walk::Terms;
use tikv_client_core::replica::{ReadProfile, Replica, Walk};
use tikv_client_core::store::{StoreMeta, StoreTable};
use tikv_client_core::txn::commit::{CommitMachine, CommitPlan};
use tikv_client_core::txn::mutation::Mutation;
use tikv_client_core::types::{
    Engine, Instant, Key, KeyRange, Labels, Liveness, Located, Presence, RegionVersion, Replicas, StoreId,
    StoreView, Timestamp, WallTime,
};
use tikv_proto::kvrpcpb as pb;
use tonic_prost::prost::Message;

use super::values::{directory, key};
use super::{Bench, Row};

pub(super) const ROWS: &[Row] = &[
    ("raw get machine", || raw_get(Replica::Leader)),
    ("raw get machine, a follower", || raw_get(Replica::Follower)),
    ("choose: leader", || choose(Replica::Leader)),
    ("choose: follower", || choose(Replica::Follower)),
    ("choose: mixed", || choose(Replica::Mixed)),
    ("choose: learner", || choose(Replica::Learner)),
    ("choose: prefer leader", || choose(Replica::PreferLeader)),
    ("commit machine, 1 key", || commit(1)),
    ("commit machine, 10 keys", || commit(10)),
    ("commit machine, 1000 keys", || commit(1_000)),
];

/// Regions of the world; keys of a commit are in three of them.
const REGIONS: usize = 1_000;

/// A directory as facts.
#[derive(Debug)]
struct World(Directory, StoreTable);

impl Facts for World {
    fn locate(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.locate(key, now)
    }

    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.locate_below(key, now)
    }

    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        self.0.span(region)
    }

    fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        self.0.replicas(region)
    }

    fn store(&self, store: StoreId, now: Instant) -> StoreView {
        self.1.view(store, now)
    }

    fn report(&self, feedback: &Feedback, now: Instant) {
        self.0.apply(feedback, now);
    }
}

fn world() -> World {
    let stores = StoreTable::default();
    for store in 1..=3 {
        let meta = StoreMeta {
            presence: Presence::Serving,
            address: "store:20160".into(),
            peer_address: "store:20160".into(),
            labels: Labels::default(),
            engine: Engine::TiKv,
        };
        stores.know(StoreId(store), meta);
    }
    World(directory(REGIONS), stores)
}

/// Makes the storage ready for an operation that reads from `replica`.
fn begin(op: &mut Op, replica: Replica) {
    op.begin(7, Instant::FAR, Budget::new(Allowance::GET, Tuning::default()));
    let profile = ReadProfile::new().replica(replica);
    op.set_manner(Manner { reading: (!replica.is_leader()).then(|| Arc::new(profile)), forwarding: false });
}

/// Runs a machine to its end: one completion, one step, as the client does.
fn drive<M: Machine>(
    machine: &mut M,
    op: &mut Op,
    world: &World,
    answer: impl Fn(Effect) -> Option<(TicketId, Completion)>,
) -> M::Output {
    loop {
        let cx = &mut Cx::root(Instant::default(), WallTime(0), world, op);
        if let Poll::Ready(output) = machine.step(cx) {
            op.end();
            while op.next_effect().is_some() {}
            return output;
        }
        // A world that answers every effect never lets a machine wait for nothing.
        while let Some(effect) = op.next_effect() {
            if let Some((ticket, completion)) = answer(effect)
                && op.deliver(ticket, completion)
            {
                break;
            }
        }
    }
}

fn raw_get(replica: Replica) -> Bench {
    let world = world();
    let response = pb::RawGetResponse { value: Bytes::from_static(&[b'v'; 64]), ..Default::default() };
    let response = Bytes::from(response.encode_to_vec());
    let keys: Vec<Key> = (0..REGIONS).map(key).collect();
    let (mut op, mut turn) = (Op::default(), 0);
    Bench::new(1, move || {
        turn = (turn + 389) % keys.len();
        let mut machine = GetMachine::new(keys[turn].clone(), "", false);
        begin(&mut op, replica);
        drive(&mut machine, &mut op, &world, |effect| match effect {
            Effect::Call { ticket, .. } => Some((ticket, Completion::Response(response.clone()))),
            _ => None,
        })
    })
}

/// Finding the region of a key and choosing the replica that is asked.
fn choose(replica: Replica) -> Bench {
    let world = world();
    let keys: Vec<Key> = (0..REGIONS).map(key).collect();
    let (mut op, mut turn) = (Op::default(), 0);
    let profile = (!replica.is_leader()).then(|| Arc::new(ReadProfile::new().replica(replica)));
    Bench::new(1, move || {
        turn = (turn + 389) % keys.len();
        let mut cx = Cx::root(Instant::default(), WallTime(0), &world, &mut op);
        let to = cx.locate(keys[turn].as_slice())?;
        if profile.is_none() {
            return (cx.store(to.store).liveness == Liveness::Reachable).then_some(to.store);
        }
        let terms = Terms { profile: profile.clone(), reads: true, forwarding: false };
        let mut walk = Walk::begin(to.region, terms, &cx)?;
        let field = walk.field(&cx)?;
        walk.choose(&field, cx.rng()).map(|choice| choice.peer.store)
    })
}

/// A commit from the write buffer to its answer; the commits of the secondaries are not run.
fn commit(many: usize) -> Bench {
    let world = world();
    let third = many.div_ceil(3);
    let keys: Vec<Key> = (0..many)
        .map(|n| Key::from([key(n / third + 1).as_slice(), format!("/{n:06}").as_bytes()].concat()))
        .collect();
    let limits = Limits { key: 1 << 10, entry: 1 << 20, total: 1 << 30, redacted: false };
    let mut op = Op::default();
    Bench::new(1, move || {
        let mut buffer = MemBuf::new(limits);
        for key in &keys {
            // Within the limits.
            drop(buffer.put(key.clone(), Bytes::from_static(&[b'v'; 64])));
        }
        let mutations = buffer.take().map(|(key, entry)| Mutation::new(key, entry)).collect();
        let plan = CommitPlan {
            start_ts: Timestamp(1 << 40),
            begun: Instant::default(),
            mutations,
            limit: 64,
            redacted: false,
        };
        let mut machine = CommitMachine::new(plan);
        begin(&mut op, Replica::Leader);
        drive(&mut machine, &mut op, &world, |effect| match effect {
            // The answer that all went well has no field, for a prewrite as for a commit.
            Effect::Call { ticket, .. } => Some((ticket, Completion::Response(Bytes::new()))),
            Effect::Ask { ticket, question: Question::Timestamp, .. } => {
                let ts = Answer::Timestamp(Timestamp((1 << 40) + (1 << 19)));
                Some((ticket, Completion::Answer(ts)))
            }
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driven_get_brings_its_value() {
        let world = World(directory(10), StoreTable::default());
        let response = pb::RawGetResponse { value: Bytes::from_static(b"v"), ..Default::default() };
        let response = Bytes::from(response.encode_to_vec());
        let mut machine = GetMachine::new(key(3), "", false);
        let mut op = Op::default();
        begin(&mut op, Replica::Leader);
        let value = drive(&mut machine, &mut op, &world, |effect| match effect {
            Effect::Call { ticket, .. } => Some((ticket, Completion::Response(response.clone()))),
            _ => None,
        });
        assert_eq!(value.unwrap().as_deref(), Some(&b"v"[..]));
    }
}
