//! Faults of stores, PD members and the network between them and the clients.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tikv_embedded::control::Node;

use super::Nemesis;
use crate::net::Absence;
use crate::plan::Fault;

/// How far timestamps get ahead of PD's clock, ms: a run waits at its end until the clock is there.
const FARTHEST_MS: u64 = 60 * 60 * 1000;

impl Nemesis {
    pub(super) fn slow_store(&mut self) {
        let (store, by, after) = (self.any_store(), self.ms(5, 2_000), self.while_());
        self.ctx.net.with(|state, _| state.slow.insert(store, by));
        self.did(Fault::SlowStore);
        self.later(after, move |nemesis| {
            nemesis.ctx.net.with(|state, _| state.slow.remove(&store));
        });
    }

    pub(super) fn disconnect(&mut self) {
        let node = if self.rng.u32(..4) == 0 { self.any_pd() } else { Node::Store(self.any_store()) };
        let client = if self.rng.bool() { self.processes.any_group(&mut self.rng) } else { None };
        self.ctx.net.disconnect(client, node);
        self.did(Fault::Disconnect);
    }

    pub(super) fn cut(&mut self, pd: bool) {
        let node = if pd { self.any_pd() } else { Node::Store(self.any_store()) };
        let Some(client) = self.processes.any_group(&mut self.rng) else { return };
        let after = self.while_();
        self.ctx.net.cut(client, node);
        self.did(if pd { Fault::CutPd } else { Fault::CutStore });
        self.later(after, move |nemesis| nemesis.ctx.net.heal(client, node));
    }

    fn absence(&mut self) -> Absence {
        if self.rng.bool() { Absence::Refuses } else { Absence::Silent }
    }

    pub(super) fn restart_store(&mut self) {
        let (store, absence, after) = (self.any_store(), self.absence(), self.while_());
        let election = self.ms(0, 1_000);
        self.ctx.net.stop(Node::Store(store), absence);
        self.did(Fault::RestartStore);
        if self.rng.bool() {
            self.later(election, move |nemesis| {
                nemesis.ctx.net.with(|state, _| state.cluster.topology.fail_over(store));
            });
        }
        self.later(after, move |nemesis| nemesis.ctx.net.start(Node::Store(store)));
    }

    pub(super) fn restart_pd(&mut self) {
        let (node, absence, after) = (self.any_pd(), self.absence(), self.while_());
        let members = self.ctx.plan.pd_members;
        let Node::Pd(member) = node else { return };
        self.ctx.net.stop(node, absence);
        self.ctx.net.with(|state, _| {
            if state.cluster.pd.leader() == Some(member) && members > 1 {
                state.cluster.pd.set_leader(Some((member + 1) % members));
            }
        });
        self.did(Fault::RestartPd);
        self.later(after, move |nemesis| nemesis.ctx.net.start(node));
    }

    pub(super) fn move_store(&mut self) {
        let store = self.any_store();
        let address = format!("store-{store}:{}", self.rng.u16(20_000..30_000));
        self.ctx.net.with(|state, _| {
            state.addresses.retain(|_, node| *node != Node::Store(store));
            state.addresses.insert(address.clone(), Node::Store(store));
            // The store is there: it was drawn from those.
            drop(state.cluster.topology.update_store(store, |store| store.address = address));
        });
        self.ctx.net.disconnect(None, Node::Store(store));
        self.did(Fault::MoveStore);
    }

    pub(super) fn pd_leader(&mut self, none: bool) {
        let member = self.rng.usize(..self.ctx.plan.pd_members);
        if !none {
            self.ctx.net.with(|state, _| state.cluster.pd.set_leader(Some(member)));
            self.did(Fault::PdLeader);
            return;
        }
        let after = self.while_();
        self.ctx.net.with(|state, _| state.cluster.pd.set_leader(None));
        self.did(Fault::PdNoLeader);
        self.later(after, move |nemesis| {
            nemesis.ctx.net.with(|state, _| {
                if state.cluster.pd.leader().is_none() {
                    state.cluster.pd.set_leader(Some(member));
                }
            });
        });
    }

    pub(super) fn pd_stale(&mut self) {
        let after = self.while_();
        self.ctx.net.with(|state, _| {
            let frozen = state.cluster.topology.clone();
            state.cluster.pd.freeze_regions(Some(frozen));
        });
        self.did(Fault::PdStale);
        self.later(after, |nemesis| {
            nemesis.ctx.net.with(|state, _| state.cluster.pd.freeze_regions(None));
        });
    }

    pub(super) fn tso_jump(&mut self) {
        let ms = [10, 500, 5_000, 60_000][self.rng.usize(..4)];
        let jumped = self.ctx.net.with(|state, now| {
            let oracle = &mut state.cluster.pd.oracle;
            let ahead = (oracle.last() >> 18).saturating_sub(now.unix_ms());
            let jumps = ahead + ms <= FARTHEST_MS;
            if jumps {
                oracle.jump(now, ms);
            }
            jumps
        });
        if jumped {
            self.did(Fault::TsoJump);
        }
    }

    pub(super) fn clock(&mut self) {
        let Some(clock) = self.processes.any_clock(&mut self.rng) else { return };
        let most = [100, 10_000, 3_600_000][self.rng.usize(..3)];
        clock.store(self.rng.i64(-most..=most), Ordering::Relaxed);
        self.did(Fault::Clock);
    }

    pub(super) fn bad_network(&mut self) {
        let (after, slow) = (self.while_(), self.ms(1, 300));
        self.ctx.net.with(|state, _| {
            state.weather.trip.1 = slow.max(state.weather.trip.0);
            state.weather.resent_per_mille = 100;
            state.weather.work.1 = Duration::from_millis(20);
        });
        self.did(Fault::BadNetwork);
        self.later(after, |nemesis| {
            if !nemesis.is_over() {
                let weather = nemesis.weather.clone();
                nemesis.ctx.net.with(|state, _| state.weather = weather);
            }
        });
    }
}
