//! Who makes the trouble: draws faults of the plan, does them, and undoes them after a while.
//!
//! * here: [`Nemesis`], its course, and how all is healed;
//! * `servers`: faults of stores, PD and the network;
//! * `regions`: regions that split, merge, move, and lose their leaders;
//! * `rules`: faults of single commands, by rules of the model.

mod regions;
mod rules;
mod servers;

pub(crate) use regions::any_bound;
pub(crate) use rules::LATEST;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tikv_embedded::control::{Node, RuleId};

use crate::digest::Mark;
use crate::exec::{WORLD, nanos};
use crate::load::Ctx;
use crate::net::Weather;
use crate::plan::Fault;
use crate::processes::Processes;

/// See the module. Clones share what has been done.
#[derive(Clone)]
pub(crate) struct Nemesis {
    ctx: Ctx,
    processes: Processes,
    rng: Rng,
    over: Arc<AtomicBool>,
    rules: Arc<Mutex<Vec<(RuleId, String)>>>,
    /// The network as it is without faults.
    weather: Weather,
}

impl Nemesis {
    pub(crate) fn new(ctx: Ctx, processes: Processes, rng: Rng) -> Self {
        let weather = ctx.plan.weather.clone();
        Self { ctx, processes, rng, over: Arc::default(), rules: Arc::default(), weather }
    }

    /// Makes trouble until it is over.
    pub(crate) async fn run(mut self) {
        while !self.is_over() {
            let gap = Duration::from_nanos(self.rng.u64(0..=2 * nanos(self.ctx.plan.gap)));
            self.ctx.executor.sleep(gap).await;
            let Some(&fault) = self.rng.choice(&self.ctx.plan.faults) else { return };
            if !self.is_over() {
                self.ctx.digest.add(Mark::Fault, self.ctx.executor.now(), 0, fault.name().as_bytes());
                self.strike(fault);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::SlowStore => self.slow_store(),
            Fault::Disconnect => self.disconnect(),
            Fault::LoseRequest
            | Fault::LoseAnswer
            | Fault::Break
            | Fault::BreakAfter
            | Fault::Status
            | Fault::Late
            | Fault::LateAnswer
            | Fault::RegionError
            | Fault::RegionErrorAfter => self.rule(fault),
            Fault::CutStore => self.cut(false),
            Fault::CutPd => self.cut(true),
            Fault::RestartStore => self.restart_store(),
            Fault::RestartPd => self.restart_pd(),
            Fault::MoveLeader => self.move_leader(),
            Fault::NoLeader => self.no_leader(),
            Fault::Split => self.split(),
            Fault::Merge => self.merge(),
            Fault::MovePeer => self.move_peer(),
            Fault::MoveStore => self.move_store(),
            Fault::PdLeader => self.pd_leader(false),
            Fault::PdNoLeader => self.pd_leader(true),
            Fault::PdStale => self.pd_stale(),
            Fault::TsoJump => self.tso_jump(),
            Fault::Clock => self.clock(),
            Fault::BadNetwork => self.bad_network(),
            // The workers do it.
            Fault::DropCall => {}
            Fault::Crash => self.crash(),
        }
    }

    fn did(&self, fault: Fault) {
        self.ctx.tally.count(&format!("fault.{}", fault.name()));
    }

    /// From `least` ms to `most` ms.
    fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(self.rng.u64(least * 1000..=most * 1000))
    }

    /// Mostly a short while, sometimes long.
    fn while_(&mut self) -> Duration {
        if self.rng.u32(..5) == 0 { self.ms(3_000, 15_000) } else { self.ms(20, 1_500) }
    }

    /// Undoes something after a while.
    fn later(&self, after: Duration, undo: impl FnOnce(Self) + Send + 'static) {
        let nemesis = self.clone();
        self.ctx.executor.after(after, move || undo(nemesis));
    }

    /// Ends all trouble: from now on nothing fails but what is under way.
    pub(crate) fn heal(&self) {
        self.over.store(true, Ordering::Relaxed);
        let net = &self.ctx.net;
        let rules = std::mem::take(&mut *self.rules.lock().unwrap_or_else(PoisonError::into_inner));
        for (rule, name) in rules {
            self.remove_rule(rule, &name);
        }
        let (absent, cuts) = net.troubles();
        absent.into_iter().for_each(|node| net.start(node));
        cuts.into_iter().for_each(|(client, node)| net.heal(client, node));
        net.with(|state, _| {
            state.weather = Weather::calm();
            state.slow.clear();
            state.cluster.pd.freeze_regions(None);
            if state.cluster.pd.leader().is_none() {
                state.cluster.pd.set_leader(Some(0));
            }
            let regions: Vec<(u64, u64)> = state
                .cluster
                .topology
                .regions()
                .filter(|region| region.leader.is_none())
                .filter_map(|region| Some((region.id, region.peers.first()?.store)))
                .collect();
            for (region, store) in regions {
                // The peer was just read from the region.
                drop(state.cluster.topology.transfer_leader(region, store));
            }
        });
        self.ctx.digest.add(Mark::Fault, self.ctx.executor.now(), 1, b"heal");
    }

    fn crash(&mut self) {
        let Some(slot) = self.processes.any(&mut self.rng) else { return };
        if self.processes.kill(slot) {
            self.did(Fault::Crash);
            let (processes, after) = (self.processes.clone(), self.ms(0, 2_000));
            let executor = self.ctx.executor.clone();
            // It works off what its worker had left.
            let working = processes.working();
            self.ctx.executor.spawn(
                WORLD,
                Box::pin(async move {
                    executor.sleep(after).await;
                    processes.boot(slot).await;
                    drop(working);
                }),
            );
        }
    }

    fn any_store(&mut self) -> u64 {
        let stores = self.ctx.plan.stores as u64;
        self.rng.u64(1..=stores)
    }

    fn any_pd(&mut self) -> Node {
        Node::Pd(self.rng.usize(..self.ctx.plan.pd_members))
    }
}
