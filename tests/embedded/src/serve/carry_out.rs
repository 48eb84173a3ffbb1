//! Instructions, carried out on a running cluster.

use std::net::SocketAddr;

use super::cluster::{Cluster, ControlError};
use crate::control::{Action, Instruction, Matcher, Node, Rule};

/// What an instruction has brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// What was asked for, and there is no more to say.
    Done,
    /// A store: a new one, or one with a new address.
    Store {
        /// Its id.
        store: u64,
        /// Where it listens.
        address: SocketAddr,
    },
    /// These regions, by key.
    Regions(Vec<u64>),
    /// A new peer.
    Peer(u64),
    /// A fault has acted on so many calls.
    Hits(u64),
}

impl Cluster {
    /// Carries an instruction out. It blocks while the instruction waits.
    ///
    /// # Errors
    /// What was asked for is not there or cannot be, or the cluster is stopped.
    pub fn carry_out(&self, instruction: &Instruction) -> Result<Outcome, ControlError> {
        use Instruction as I;
        match instruction {
            I::AddStore { labels } => {
                let store = self.add_store(labels.clone())?;
                return self.store_outcome(store);
            }
            I::Stop { node } => self.stop_server(*node)?,
            I::Restart { node } => self.restart_server(*node)?,
            I::Disconnect { node } => self.disconnect(*node)?,
            I::Partition { node } => self.partition(*node)?,
            I::Heal { node } => self.heal(*node)?,
            I::Move { store } => {
                let address = self.move_store(*store)?;
                return Ok(Outcome::Store { store: *store, address });
            }
            I::Swap { stores: (a, b) } => self.swap_stores(*a, *b)?,
            I::TellAddress { store, address } => self.set_store_address(*store, address)?,
            I::SetState { store, state } => self.set_store_state(*store, *state)?,
            I::RemoveStore { store } => self.remove_store(*store)?,
            I::SetElections { pd, region } => self.set_elections(*pd, *region),
            I::FailOver { store } => self.fail_over(*store),
            I::TransferLeader { region, store } => {
                self.transfer_leader(self.region_where(region)?, *store)?;
            }
            I::DropLeader { region } => self.drop_leader(self.region_where(region)?)?,
            I::Split { at } => return Ok(Outcome::Regions(self.split_where(at)?)),
            I::Merge { source, target } => {
                self.merge(self.region_where(source)?, *target)?;
                return Ok(Outcome::Regions(vec![*target]));
            }
            I::AddPeer { region, store, role } => {
                return Ok(Outcome::Peer(self.add_peer(self.region_where(region)?, *store, *role)?));
            }
            I::SetRole { region, store, role } => {
                self.set_peer_role(self.region_where(region)?, *store, *role)?;
            }
            I::MovePeer { region, from, to } => self.move_peer(self.region_where(region)?, *from, *to)?,
            I::RemovePeer { region, store } => self.remove_peer(self.region_where(region)?, *store)?,
            I::PdLeader { member } => self.set_pd_leader(*member),
            I::FreezeRegions => self.freeze_regions(),
            I::ThawRegions => self.thaw_regions(),
            I::HideRegion { region } => self.hide_region(self.region_where(region)?),
            I::ShowRegion { region } => self.show_region(self.region_where(region)?),
            I::ForgetLeaders => self.forget_leaders(),
            I::RestoreLeaders => self.restore_leaders(),
            I::OperatorStep { by } => self.set_operator_step(*by),
            I::AdvanceClock { by } => self.advance_clock(*by),
            I::SetClockBack { by } => self.set_clock_back(*by),
            I::Slow { store, by: Some(by) } => {
                let matcher = Matcher::any().at(Node::Store(*store));
                self.set_fault(slow(*store), [Rule::new(matcher, Action::Delay(*by))]);
            }
            I::Slow { store, by: None } => return Ok(Outcome::Hits(self.end_fault(&slow(*store))?)),
            I::Busy { store, wait } => self.conditions(|conditions| conditions.set_busy(*store, *wait)),
            I::Disk { store, is } => self.conditions(|conditions| conditions.set_disk(*store, *is)),
            I::Lag { region, store, by } => {
                let regions = match region {
                    Some(region) => vec![self.region_where(region)?],
                    None => self.state().regions.iter().map(|region| region.id).collect(),
                };
                self.conditions(|conditions| {
                    regions.iter().for_each(|region| conditions.set_lag(*region, *store, *by));
                });
            }
            I::SafeTs { region, store, ts } => {
                let region = self.region_where(region)?;
                self.conditions(|conditions| conditions.set_safe_ts(region, *store, *ts));
            }
            I::Uninitialised { region, store, is } => {
                let region = self.region_where(region)?;
                self.conditions(|conditions| conditions.set_uninitialised(region, *store, *is));
            }
            I::MaxTsUnsynced { region, is } => {
                let region = self.region_where(region)?;
                self.conditions(|conditions| conditions.set_max_ts_unsynced(region, *is));
            }
            I::Recovering { region, is } => {
                let region = self.region_where(region)?;
                self.conditions(|conditions| conditions.set_recovering(region, *is));
            }
            I::EntryLimit { bytes } => self.conditions(|conditions| conditions.set_entry_limit(*bytes)),
            I::FreezeTimestamps { is } => self.freeze_timestamps(*is),
            I::JumpTimestamps { by } => self.jump_timestamps(*by),
            I::MinResolvedTs { store, ts } => self.set_min_resolved_ts(*store, *ts),
            I::FailHttp { status } => self.fail_http(*status),
            I::SlowScore { store, score } => self.set_slow_score(*store, *score),
            I::ReportBuckets { region, version, bounds } => {
                self.report_buckets(self.region_where(region)?, *version, bounds);
            }
            I::CreateKeyspace { name, config } => {
                self.create_keyspace(name, config.clone())?;
            }
            I::SetResourceGroup { name, ru, burst } => self.set_resource_group(name, *ru, *burst)?,
            I::LoseMemoryLocks { region } => {
                let region = self.region_where(region)?;
                self.cluster(|cluster, _| cluster.lose_memory_locks(region));
            }
            I::Fault { name, rule } => self.set_fault(name.as_str(), [rule.clone()]),
            I::EndFault { name } => return Ok(Outcome::Hits(self.end_fault(name)?)),
            I::Wait { name, hits, within } => {
                return Ok(Outcome::Hits(self.wait_fault(name, *hits, *within)?));
            }
            I::Pause { by } => std::thread::sleep(*by),
        }
        Ok(Outcome::Done)
    }

    fn store_outcome(&self, store: u64) -> Result<Outcome, ControlError> {
        let address = self.address(Node::Store(store)).ok_or(ControlError::Stopped)?;
        Ok(Outcome::Store { store, address })
    }
}

/// The name of the fault that makes a store slow.
fn slow(store: u64) -> String {
    format!("slow:{store}")
}
